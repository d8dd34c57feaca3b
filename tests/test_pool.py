"""Cells in processes: deaths, interrupts, forced ends; few processes, since each takes seconds to start."""

import io
import re
import signal
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch
import toy_methods
from rich.console import Console
from test_recovery import killed_before

from benchmarks.kit.errors import UserError
from benchmarks.run import pool, runner
from benchmarks.run.display import Display
from benchmarks.run.picking import CellLocks
from benchmarks.run.record import Pulse, Record
from benchmarks.run.rows import store_failure
from benchmarks.run.settings import Settings
from benchmarks.store.store import Store
from benchmarks.store.verification import verify
from benchmarks.terminal import duration


@pytest.fixture
def console():
    return Console(file=io.StringIO(), width=200)


def cells(faults=("",), **changes):
    """One cell of the toy method per fault."""
    return toy_methods.cells(sweep={"walker": {"fault": list(faults)}}, **changes)


def values(rows):
    """Seed, step and return of evaluation episodes."""
    return rows.sort_values(["seed", "step", "episode"])[["seed", "step", "return"]].values.tolist()


def returns(folder):
    """The same of all that is stored."""
    return values(Store(folder).evaluations())


def test_a_dying_worker_costs_its_own_cell_alone(tmp_path, console):
    sound, deadly = cells(faults=("", "kill"), at=30)
    outcome = pool.run_cells([sound, deadly], Settings(tmp_path / "pool"), 2, console)
    assert outcome.failed
    assert not outcome.interrupted
    runs = Store(tmp_path / "pool").runs().set_index("run_id")
    assert [runs["status"][run.run_id] for run in sound.runs] == ["completed"] * 2
    assert [runs["status"][run.run_id] for run in deadly.runs] == ["failed"] * 2
    assert runs["error"][deadly.runs[0].run_id] == (
        "the worker process was killed by SIGKILL; was there enough memory?"
    )
    pool.run_cells([sound], Settings(tmp_path / "here"), 0, console)
    expected, rows = returns(tmp_path / "here"), Store(tmp_path / "pool").evaluations()
    completed = rows["run_id"].isin([run.run_id for run in sound.runs])
    assert values(rows[completed]) == expected  # another process, the same bits
    # what the dying process had told is kept: the evaluation at step 20, and how far it had come
    assert values(rows[~completed]) == [row for row in expected if row[1] == 20]
    assert {runs["steps"][run.run_id] for run in deadly.runs} <= set(range(20, 31))
    text = console.file.getvalue()
    assert "2 completed" in text
    assert "2 failed" in text
    assert "SIGKILL" in text
    assert "walker-d0: 20/40 steps" in text or "walker-d0: started, 2 lanes" in text


def test_a_failure_in_a_worker_leaves_its_traceback_in_a_log(tmp_path, console):
    pool.run_cells(cells(faults=("raise",)), Settings(tmp_path), 1, console)
    (log,) = (tmp_path / "logs").iterdir()
    assert "in walk" in log.read_text()
    assert str(log) in console.file.getvalue()


def test_an_interrupt_lets_cells_save_themselves_and_the_same_command_goes_on(tmp_path, console):
    work = cells(steps=60, faults=("interrupt parent",), sleep=0.05)
    outcome = pool.run_cells(work * 2, Settings(tmp_path / "broken"), 1, console)
    assert outcome.interrupted
    assert outcome.endings == {}
    assert Store(tmp_path / "broken").runs().empty
    assert (tmp_path / "broken" / "checkpoints" / f"{work[0].cell_id}.pt").exists()
    assert "left before its end" in console.file.getvalue()
    pool.run_cells(work, Settings(tmp_path / "broken"), 0, console)  # past the step that interrupts
    straight = cells(steps=60)
    pool.run_cells(straight, Settings(tmp_path / "straight"), 0, console)
    assert returns(tmp_path / "broken") == returns(tmp_path / "straight")


def test_an_interrupt_in_this_process(tmp_path, console):
    work = cells(faults=("interrupt",))
    outcome = pool.run_cells(work, Settings(tmp_path), 0, console)
    assert outcome.interrupted
    assert (tmp_path / "checkpoints").exists()
    outcome = pool.run_cells(work, Settings(tmp_path), 0, console)
    assert {ending.status for ending in outcome.endings.values()} == {"completed"}


@pytest.mark.parametrize(("workers", "fault"), [(0, "interrupt twice"), (1, "interrupt parent twice")])
def test_a_second_interrupt_ends_at_once_and_damages_nothing(tmp_path, console, monkeypatch, workers, fault):
    work, settings = cells(faults=(fault,), at=30), Settings(tmp_path / "broken", checkpoint_minutes=0)
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        pool.run_cells(work, settings, workers, console)
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
    assert verify(Store(settings.folder)) == (0, [])
    assert (settings.folder / "checkpoints" / f"{work[0].cell_id}.pt").exists()
    monkeypatch.setenv("WALKERS_ARE_SOUND", "1")
    outcome = pool.run_cells(work, settings, 0, console)
    assert {ending.status for ending in outcome.endings.values()} == {"completed"}
    assert verify(Store(settings.folder)) == (2, [])
    pool.run_cells(cells(), Settings(tmp_path / "straight"), 0, console)
    assert returns(settings.folder) == returns(tmp_path / "straight")


def test_a_cell_that_gives_no_sign_of_life_is_ended_by_force(tmp_path, console, monkeypatch):
    monkeypatch.setattr(pool, "GRACE_SECONDS", 0.1)
    (cell,) = cells(faults=("hang",))
    outcome = pool.run_cells([cell], Settings(tmp_path, timeout=0.1), 1, console)
    assert {ending.status for ending in outcome.endings.values()} == {"timeout"}
    assert "ended by force" in Store(tmp_path).runs()["error"][0]


def test_what_a_process_stored_survives_its_crash(tmp_path):
    (cell,) = cells()
    with CellLocks(tmp_path, [cell]) as locks:
        assert locks.stored_since(cell) == set()
        runner.run_cell(cell, Settings(tmp_path))
        stored, before = locks.stored_since(cell), returns(tmp_path)
    assert stored == set(cell.run_ids)
    assert store_failure(Record(cell), Settings(tmp_path), "failed", "a crash", stored) == {}
    assert returns(tmp_path) == before


def test_a_process_that_died_while_it_stored_its_runs_has_made_them(tmp_path, a_run, monkeypatch):
    (cell,) = cells()
    store, runs = Store(tmp_path), [a_run(seed=lane, run_id=run_id) for lane, run_id in enumerate(cell.run_ids)]
    with CellLocks(tmp_path, [cell]) as locks:
        killed_before(f"{max(cell.run_ids)}.parquet", monkeypatch, lambda: store.write_together(runs))
        assert len(locks.stored_since(cell)) == len(runs) - 1
        locks.recover(cell)
        assert locks.stored_since(cell) == set(cell.run_ids)
    assert set(store.runs()["status"]) == {"completed"}


def test_a_result_of_former_times_does_not_stand_for_a_process_that_died(tmp_path, console, monkeypatch):
    (cell,) = cells(faults=("kill",), at=30)
    monkeypatch.setenv("WALKERS_ARE_SOUND", "1")
    assert not pool.run_cells([cell], Settings(tmp_path), 0, console).failed
    monkeypatch.delenv("WALKERS_ARE_SOUND")
    outcome = pool.run_cells([cell], Settings(tmp_path, anew=True), 1, console)
    assert {ending.status for ending in outcome.endings.values()} == {"failed"}
    assert set(Store(tmp_path).runs()["status"]) == {"failed"}


def test_a_worker_whose_parent_is_gone_saves_itself(tmp_path):
    (cell,) = cells()
    assert runner.run_cell(cell, Settings(tmp_path), stop=iter([False] * 3 + [True] * 9).__next__) is None
    path = tmp_path / "checkpoints" / f"{cell.cell_id}.pt"
    torch.save(torch.load(path) | {"commit": ["another", False]}, path)  # of which it has to warn
    with CellLocks(tmp_path, [cell]) as locks:
        locks.lock(cell)
        worker = pool._Worker(cell, Settings(tmp_path), locks.of(cell))
        worker.connection.close()
        worker.process.join()
    assert worker.process.exitcode == 0
    assert path.exists()
    assert Store(tmp_path).runs().empty


def test_deaths_by_signals_without_a_name_are_told():
    dead = SimpleNamespace(process=SimpleNamespace(exitcode=-signal.SIGRTMIN - 1))
    assert pool._Worker.death(dead) == f"the worker process was killed by signal {signal.SIGRTMIN + 1}"


def test_a_refused_checkpoint_lets_the_other_cells_save_themselves(tmp_path, console):
    refused, other = cells(faults=("", "none"), sleep=0.05, steps=400)
    assert runner.run_cell(refused, Settings(tmp_path), stop=iter([False] * 3 + [True] * 9).__next__) is None
    path = tmp_path / "checkpoints" / f"{refused.cell_id}.pt"
    torch.save(torch.load(path) | {"device": "abacus"}, path)
    with pytest.raises(UserError, match="it was begun on abacus"):
        pool.run_cells([refused, other], Settings(tmp_path), 2, console)
    assert path.exists()
    assert (tmp_path / "checkpoints" / f"{other.cell_id}.pt").exists()
    assert "Stopping: cells save themselves" in console.file.getvalue()
    assert not list((tmp_path / "locks").glob("*"))


def test_a_folder_that_cannot_be_written_to_is_the_users_mistake(tmp_path, console):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write to"):
        pool.run_cells(cells(), Settings(tmp_path / "file"), 0, console)
    with pytest.raises(UserError, match="cannot write to"):
        pool.run_cells(cells(), Settings(tmp_path / "file"), 1, console)


def test_a_cell_that_cannot_be_begun_lets_the_other_cells_save_themselves(tmp_path, console):
    long, short, last = cells(faults=("", "raise", "none"), sleep=0.05, steps=400)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / f"{last.cell_id}.log").symlink_to(tmp_path / "theirs")
    with pytest.raises(UserError, match="is a symbolic link, which is not followed"):
        pool.run_cells([long, short, last], Settings(tmp_path), 2, console)
    assert [path.stem for path in (tmp_path / "checkpoints").glob("*.pt")] == [long.cell_id]
    assert not (tmp_path / "theirs").exists()


def test_a_planted_folder_of_logs_is_left_alone(tmp_path, console):
    theirs, folder = tmp_path / "theirs", tmp_path / "results"
    folder.mkdir()
    theirs.mkdir()
    (theirs / "empty.log").touch()
    (folder / "logs").symlink_to(theirs)
    pool.run_cells(cells(steps=4), Settings(folder), 0, console)
    assert list(theirs.iterdir()) == [theirs / "empty.log"]


def test_a_terminal_shows_a_line_per_running_cell(tmp_path):
    console = Console(file=io.StringIO(), width=200, force_terminal=True)
    pool.run_cells(cells(sleep=0.03, seeds=(0,)), Settings(tmp_path), 0, console)
    text = console.file.getvalue()
    assert "inverted-pendulum-walker-d0" in text
    assert "steps/s" in text
    assert "0/1 runs" in text


@pytest.mark.parametrize("width", [80, 200])
def test_progress_is_readable_in_80_columns(width):
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    first, second = (replace(cell, seconds=100.0) for cell in cells(steps=250_000, faults=("", "none")))
    display = Display(console, [first, second])
    clock = iter(range(0, 10_000, 10))
    display._progress.get_time = lambda: float(next(clock))
    display.start(first)
    display.start(second)
    display.update(first, Pulse(0, 0, None, "density fit 10%"))
    for steps in (100_000, 125_000, 150_000):  # it goes on from a checkpoint
        display.update(first, Pulse(steps, steps, 12_345.6))
    with console.capture() as shown:
        console.print(display._progress.get_renderable())
    header, one, two, everything = (line.rstrip() for line in shown.get().splitlines())
    assert all(len(line) <= 80 for line in (header, one, two, everything))
    assert header.split() == ["done", "return", "steps/s", "left"]
    name, _, done, score, speed, left = one.rsplit(maxsplit=5)
    assert name == "inverted-pendulum-walker-d0 x2"
    assert (done, score) == ("60%", "12,345.6")
    assert re.fullmatch("[0-9,]+", speed)
    assert re.fullmatch("[0-9]+:[0-9:]+", left)
    assert "starting" in two
    assert everything.startswith("0/4 runs in ")
    assert re.search(r" 1[23]% +[0-9:]+$", everything), "of what is left, not of what an earlier command did"
    display.end(first, {"completed": 2})
    display.end(second, {})
    assert "walker-d0: 2 completed, return 12,345.6 (1/2 cells)" in console.file.getvalue()
    assert "walker-d0: left before its end (1/2 cells)" in console.file.getvalue()


def test_lines_that_a_narrower_terminal_breaks_are_erased_whole():
    console = Console(file=io.StringIO(), width=80, force_terminal=True, color_system=None)
    (cell,) = cells(seeds=(0,))
    with Display(console, [cell]) as display:
        display.start(cell)
        display._progress.refresh()
        for width, broken in ((80, 3), (40, 6), (40, 3)):  # 62 columns are two lines in 40
            console._width = width
            console.file.truncate(0)
            display.say("something")
            assert console.file.getvalue().partition("something")[0].count("\x1b[1A") == broken - 1


def test_durations_in_words():
    assert [duration(s) for s in (3, 89, 90, 3600, 3 * 3600)] == ["3 s", "89 s", "2 min", "60 min", "3.0 h"]
