"""Several processes on one results folder: every run is made once, and who loses a run leaves it alone."""

import errno
import io
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console
from toy_methods import after, cells

from benchmarks.kit.errors import UserError
from benchmarks.run import picking, pool, rows, runner, saving
from benchmarks.run.attempts import Attempts
from benchmarks.run.locks import Locks
from benchmarks.run.picking import CellLocks
from benchmarks.run.record import Record
from benchmarks.run.settings import Settings
from benchmarks.run.tidying import tidy
from benchmarks.store.store import Store


def a_cell(seeds=(0, 1)):
    (cell,) = cells(seeds=seeds)
    return cell


def work(folder, cell):
    console = Console(file=io.StringIO(), width=200)
    return pool.run_cells([cell], Settings(folder), 0, console), console.file.getvalue()


def test_runs_that_others_hold_are_left_to_them(tmp_path):
    cell, other = a_cell(), Locks(tmp_path)
    other.take(cell.run_ids[:1])
    outcome, said = work(tmp_path, cell)
    assert outcome.elsewhere.keys() == {cell.run_ids[0]}
    assert outcome.failed, "the grid is not complete"
    assert outcome.endings.keys() == {cell.run_ids[1]}
    assert f"1 run left to process {os.getpid()} on" in said
    other.release(cell.run_ids)
    outcome, _ = work(tmp_path, a_cell(seeds=(0,)))
    assert not outcome.failed
    assert set(Store(tmp_path).runs()["status"]) == {"completed"}
    assert not (tmp_path / "locks").exists()


def test_runs_whose_holder_leaves_meanwhile_are_made_at_the_end(tmp_path):
    first, second = (a_cell(seeds=(seed,)) for seed in (0, 1))
    locks, other = CellLocks(tmp_path, [first, second]), Locks(tmp_path)
    other.take(first.run_ids)
    assert locks.pick() is second
    assert locks.pick() is None
    assert locks.left
    other.release(first.run_ids)
    assert locks.elsewhere() == {}
    assert locks.pick() is first
    assert locks.pick() is None
    assert not locks.left


def test_runs_that_others_have_made_meanwhile_are_not_made_again(tmp_path):
    cell, late = a_cell(), a_cell(seeds=(0, 1, 2))
    work(tmp_path, cell)
    again, rest = CellLocks(tmp_path, [cell]), CellLocks(tmp_path, [late])
    assert again.lock(cell) == cell, "runs that were stored when the command began are to be made again"
    again.release(cell)
    work(tmp_path, cell)
    assert again.pick() is None
    assert rest.pick().seeds == (2,)
    assert not again.left
    assert not rest.left
    assert Locks(tmp_path).take(cell.run_ids) == set(cell.run_ids), "nothing is held that is not made"


def test_who_has_lost_a_run_writes_nothing_more(tmp_path, monkeypatch):
    monkeypatch.setattr(saving, "SHARE", float("inf"))  # after every step
    cell = a_cell()
    held = iter([True] * 5)
    settings = Settings(tmp_path, checkpoint_minutes=0)
    assert runner.run_cell(cell, settings, holds=lambda: next(held, False)) is None
    (checkpoint,) = (tmp_path / "checkpoints").iterdir()
    before = checkpoint.read_bytes()
    assert runner.run_cell(cell, settings, holds=lambda: False) is None
    assert runner.run_cell(cell, Settings(tmp_path), stop=lambda: True, holds=lambda: False) is None
    assert checkpoint.read_bytes() == before
    assert Store(tmp_path).runs().empty
    assert runner.run_cell(cell, Settings(tmp_path / "other"), holds=lambda: False) is None
    assert not (tmp_path / "other").exists()


def lost(folder, run_id):
    """A run is taken by a process of another machine."""
    (holder,) = (folder / "locks" / run_id).iterdir()
    return holder.rename(holder.with_name("far-away-012345-678901-abcdef.77.1234.0a1b2c3d"))


@pytest.mark.parametrize("parent", [True, False], ids=["seen by the parent", "seen by the worker"])
def test_a_run_lost_at_work_is_deferred(tmp_path, monkeypatch, parent):
    monkeypatch.setattr(picking, "SETTLE_SECONDS", 0.0)
    cell = a_cell()
    with CellLocks(tmp_path, [cell]) as locks:
        assert locks.lock(cell) is cell
        worker = locks.of(cell)
        taken = lost(tmp_path, cell.run_ids[0])
        assert not (locks.holds(cell) if parent else worker.confirm(cell.run_ids))
        assert not locks.of(cell).confirm(cell.run_ids)
        locks.release(cell)
        assert locks.pick().seeds == (1,), "what is not lost is made"
        assert locks.elsewhere() == {cell.run_ids[0]: "process 77 on far-away"}
    assert taken.exists(), "the other's lock is not touched"


def test_notes_of_a_lost_cell_are_the_others(tmp_path, monkeypatch):
    cell = a_cell(seeds=(0,))
    monkeypatch.setattr(pool, "run_cell", lambda cell, *_: lost(tmp_path, cell.run_ids[0]) and None)
    console = Console(file=io.StringIO())
    assert pool.run_cells([cell], Settings(tmp_path, attempts=5), 0, console).elsewhere.keys() == {cell.run_ids[0]}
    assert Attempts(tmp_path).read() == {cell.cell_id: 1}


def test_runs_whose_holder_dies_while_nobody_looks_are_made(tmp_path, monkeypatch):
    cell = a_cell()

    def dies(*_):
        Locks(tmp_path).take(cell.run_ids[:1])
        os.utime(lost(tmp_path, cell.run_ids[0]), (1, 1))

    monkeypatch.setattr(pool, "prepare", dies)  # the folder has been swept by then
    outcome, _ = work(tmp_path, cell)
    assert outcome.endings.keys() == set(cell.run_ids)


def test_what_is_no_run_makes_none(tmp_path):
    cell = a_cell()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / f"{cell.run_ids[0]}.old").touch()
    with CellLocks(tmp_path, [cell]) as locks:
        assert locks.pick() is cell


def test_what_this_process_is_storing_is_left_to_it(tmp_path):
    cell = a_cell()
    together = tmp_path / "runs" / ".0123.together"
    with CellLocks(tmp_path, [cell]) as locks:
        locks.lock(cell)
        together.mkdir(parents=True)
        (together / f"{cell.run_ids[0]}.parquet").touch()
        locks._clear()
        assert locks.holds(cell)
        assert together.exists()
    with CellLocks(tmp_path, []):
        assert not together.exists()


def test_a_folder_that_cannot_be_listed_is_a_user_error(tmp_path, monkeypatch):
    def fail(place):
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(place))

    with CellLocks(tmp_path, [a_cell()]) as locks:
        monkeypatch.setattr(picking, "names", fail)
        with pytest.raises(UserError, match=r"cannot write to .*: Input/output error \(.*/runs\)"):
            locks.pick()


def test_two_commands_at_once_share_the_work(tmp_path):
    command = [sys.executable, "-m", "benchmarks", "run", "--methods", "toy_methods:WALKER", "--out", str(tmp_path)]
    command += ["--tasks", "inverted-pendulum", "--seeds", "0-5", "--lanes", "1", "--steps", "40", "--eval-episodes"]
    command += ["1", "--workers", "0", "--no-report", "--set", "walker.sleep=0.01"]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) for _ in range(2)]
    written: dict[Path, set[int]] = {}
    while any(process.poll() is None for process in both):
        for path in (tmp_path / "runs").glob("[!.]*.parquet"):
            written.setdefault(path, set()).add(path.stat().st_mtime_ns)
        time.sleep(0.01)
    said = [process.communicate()[0] for process in both]
    assert sum(text.count("1 completed") for text in said) == 6, said
    assert len(written) == 6
    assert all(len(files) == 1 for files in written.values()), "no run was written twice"
    assert set(Store(tmp_path).runs()["status"]) == {"completed"}
    assert not (tmp_path / "locks").exists()


@pytest.mark.parametrize("part", ["checkpoints", "locks", "logs", "runs"])
def test_nothing_behind_a_planted_link_is_changed(part, tmp_path):
    victim, folder = tmp_path / "victim", tmp_path / "results"
    (victim / "thesis").mkdir(parents=True)
    (victim / "thesis" / "chapter.tex").write_text("ten years")
    (victim / "empty.log").touch()
    folder.mkdir()
    (folder / part).symlink_to(victim)
    try:
        work(folder, a_cell())
    except UserError as error:
        assert "is a symbolic link, which is not followed; remove it" in str(error)  # noqa: PT017 - some runs are made
    assert sorted(path.name for path in victim.rglob("*")) == ["chapter.tex", "empty.log", "thesis"]
    assert (victim / "thesis" / "chapter.tex").read_text() == "ten years"


def test_a_run_whose_worker_was_killed_is_tried_again_from_its_checkpoint(tmp_path):
    cell, settings, steps = a_cell(), Settings(tmp_path), []
    assert runner.run_cell(cell, settings, stop=after(7)) is None
    rows.store_failure(Record(cell), settings, "failed", "the worker process was killed by SIGKILL")
    tidy(tmp_path, attempts=True)
    runner.run_cell(cell, settings, report=lambda pulse: steps.append(pulse.steps))
    assert steps[0] == 9
    assert set(Store(tmp_path).runs()["status"]) == {"completed"}
    assert not (tmp_path / "checkpoints").exists()
