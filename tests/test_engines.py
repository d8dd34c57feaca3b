"""Engines without a cluster: notes in the folder, what is picked, who is told what. See also test_slurm.py."""

import hashlib
import io
import json
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console
from toy_methods import cells

from benchmarks import provenance
from benchmarks.kit.errors import UserError
from benchmarks.run import engines, interrupts, locks, picking, pool, queue, status, submissions
from benchmarks.run.attempts import Attempts
from benchmarks.run.engines import job, slurm
from benchmarks.run.interrupts import WARNING, Interrupts
from benchmarks.run.locks import Locks
from benchmarks.run.machine import Machine, allocation
from benchmarks.run.picking import CellLocks
from benchmarks.run.progress import Progress
from benchmarks.run.record import Ending, Pulse
from benchmarks.run.settings import Settings
from benchmarks.run.submissions import Submission

# --- what is picked ---------------------------------------------------------------------------------------------------


def test_workers_that_begin_at_once_do_not_all_try_the_same_cell(tmp_path):
    made = cells(seeds="0-3", lanes=1)
    assert [CellLocks(tmp_path, made, first=rank).pick() for rank in (2, 0, 2, 7)] == [
        made[2],
        made[0],
        made[1],
        made[3],
    ]


def test_a_cell_is_taken_whole_or_not_at_all(tmp_path, monkeypatch):
    (cell,) = cells(seeds="0-2")
    waits = []

    def the_other_takes_the_rest(seconds):
        waits.append(seconds)
        other.take(cell.run_ids)

    monkeypatch.setattr(picking.time, "sleep", the_other_takes_the_rest)
    other, mine = Locks(tmp_path), CellLocks(tmp_path, [cell])
    other.take([min(cell.run_ids)])  # it is about to take the others
    assert mine.pick() is None
    assert waits == [picking.SETTLE_SECONDS]
    assert mine.left
    other.release(cell.run_ids)
    assert mine.pick() is cell


def test_a_cell_of_few_lanes_stays_a_cell_when_it_is_picked_late(tmp_path):
    first, second = cells(lanes=1)
    other, mine = Locks(tmp_path), CellLocks(tmp_path, [first, second])
    other.take([*first.run_ids, *second.run_ids])
    assert mine.pick() is None
    other.release([*first.run_ids, *second.run_ids])
    assert [mine.pick(), mine.pick()] == [first, second], "the company of a run decides its last bits"


def test_the_folder_is_listed_once_per_pick(tmp_path, monkeypatch):
    made, listed = cells(seeds="0-29", lanes=1), []
    listing = picking.names
    monkeypatch.setattr(picking, "names", lambda place: listed.append(place.name) or listing(place))
    mine, other = CellLocks(tmp_path, made), Locks(tmp_path)
    other.take([run_id for cell in made[:29] for run_id in cell.run_ids])
    stamps = []
    monkeypatch.setattr(picking.Store, "stamp", lambda store, run_id: stamps.append(run_id))
    assert mine.pick() is made[29]
    assert listed == ["runs", "locks"]
    assert len(stamps) == 1, "only what is to be made is looked at"


@pytest.mark.parametrize("shift", [-86_400, 86_400])
def test_a_process_whose_clock_is_wrong_shares_the_work(tmp_path, shift):
    """A whole worker with shifted clocks beside one that holds a run, as on another machine that is alive."""
    alive, dead, free = cells(seeds="0-2", lanes=1)
    for cell, silent in ((alive, 0), (dead, 2 * locks.EXPIRY_SECONDS)):
        Locks(tmp_path).take(cell.run_ids)
        (path,) = (tmp_path / "locks" / cell.run_ids[0]).iterdir()
        moved = path.rename(path.with_name("far-away-012345-678901-abcdef.77.1234.0a1b2c3d"))
        now = moved.stat().st_mtime
        os.utime(moved, (now - silent, now - silent))
    (tmp_path / "sitecustomize.py").write_text(
        f"import time\nreal, real_ns = time.time, time.time_ns\ntime.time = lambda: real() + {shift}\n"
        f"time.time_ns = lambda: real_ns() + {shift} * 10**9\n"
    )
    code = (
        "import io, pickle, sys; from rich.console import Console; from benchmarks.run import pool;"
        "from benchmarks.run.settings import Settings; cells = pickle.load(sys.stdin.buffer);"
        f"pool.run_cells(cells, Settings({str(tmp_path)!r}), 0, Console(file=io.StringIO()))"
    )
    paths = os.pathsep.join([str(tmp_path), str(Path(__file__).parent), str(Path(__file__).parents[1])])
    subprocess.run(
        [sys.executable, "-c", code], input=pickle.dumps([alive, dead, free]), check=True,
        env=os.environ | {"PYTHONPATH": paths},
    )  # fmt: skip
    stored = {path.stem for path in (tmp_path / "runs").iterdir()}
    assert stored == {*dead.run_ids, *free.run_ids}
    assert locks.holders(tmp_path).keys() == set(alive.run_ids)


# --- notes of progress, attempts, submissions -------------------------------------------------------------------------


def test_progress_is_noted_for_others_and_forgotten(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_JOB_ID", "12")
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "3")
    (cell,) = cells(seeds="0")
    progress = Progress(tmp_path)
    progress.tell(cell, Pulse(5, 3, 1.5))
    progress.tell(cell, Pulse(6, 4, 1.5))
    (note,) = progress.read()
    assert (note.cell, note.steps, note.updates, note.mean_return, note.job) == (cell.cell_id, 5, 3, 1.5, "12_3")
    progress.forget(cell)
    assert list(progress.read()) == []


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 5000, '{"cell": "../x"}', "null"])
def test_notes_that_are_none_are_passed_over(tmp_path, text):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a.progress").write_text(text)
    os.symlink("/etc/passwd", tmp_path / "logs" / "b.progress")
    os.mkfifo(tmp_path / "logs" / "c.progress")
    assert list(Progress(tmp_path).read()) == []


def test_deaths_count_until_something_is_saved(tmp_path):
    (cell,) = cells(seeds="0")
    attempts = Attempts(tmp_path)
    assert [attempts.begin(cell) for _ in range(3)] == [0, 1, 2]
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / f"{cell.cell_id}.pt").write_text("")
    assert [attempts.begin(cell) for _ in range(2)] == [0, 1]
    assert attempts.read() == {cell.cell_id: 2}
    attempts.forget(cell)
    assert attempts.begin(cell) == 0


@pytest.mark.parametrize(("number", "noted"), [(WARNING, 3), (signal.SIGTERM, None)])
def test_a_cell_that_is_left_unsaved_counts_as_begun_if_its_time_was_up(tmp_path, monkeypatch, number, noted, bench):
    """Else a cell whose first checkpoint lies behind the time limit would be begun for ever."""
    (cell,) = cells(seeds="0")
    for _ in range(2):
        Attempts(tmp_path).begin(cell)

    def leave(cell, settings, report, stop, holds):
        os.kill(os.getpid(), number)

    monkeypatch.setattr(pool, "run_cell", leave)
    pool.run_cells([cell], Settings(tmp_path, attempts=5), 0, Console(file=io.StringIO()))
    assert Attempts(tmp_path).read().get(cell.cell_id) == noted
    _, said, _ = bench("status", tmp_path)
    assert (f"{cell.cell_id}: begun 3 times since it was last saved" in said) == (noted is not None)


def test_a_cell_that_kills_job_after_job_counts_as_failed(tmp_path, monkeypatch):
    deadly, sound = cells(lanes=1)
    for _ in range(job.ATTEMPTS):
        Attempts(tmp_path).begin(deadly)
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "1")
    submitted = tmp_path / "work.pkl"
    settings = Settings(tmp_path, threads=0)
    submitted.write_bytes(pickle.dumps(engines.Work([deadly, sound], settings, {})))
    job.work(str(submitted), hashlib.sha256(submitted.read_bytes()).hexdigest())
    seen = status.Watch(tmp_path).look()
    assert seen.endings[sound.run_ids[0]].status == "completed"
    ended = seen.endings[deadly.run_ids[0]]
    assert (ended.status, ended.error) == (
        "failed",
        f"{job.ATTEMPTS} jobs were killed or had to leave before they saved more of it; give them more time or memory",
    )  # fmt: skip
    assert {path.name for path in tmp_path.iterdir()} - {"policies"} == {"runs", "work.pkl"}
    record = json.loads(picking.Store(tmp_path).record(sound.run_ids[0])["versions"])
    assert record["allocation"] == "1 core, 1 process, 1 thread each"


def test_a_job_loads_nothing_but_what_was_submitted(tmp_path, capsys):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "pwned"),)

    planted = tmp_path / "work.pkl"
    planted.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(SystemExit) as ended:
        job.work(str(planted), "0" * 64)
    assert ended.value.code == 2
    assert capsys.readouterr().out == f"error: {planted} is not what was submitted; submit again\n"
    assert not (tmp_path / "pwned").exists()


def test_status_loads_nothing_and_passes_over_what_is_planted(tmp_path, bench):
    place = submissions.new_place(tmp_path)
    Submission(["12_0"], ["a-run"], {}).write(place)
    for name, text in {
        "b": '{"jobs": ["1; rm"], "runs": [], "stamps": {}}',
        "c": "[" * 9000,
        "d": '{"jobs": 3}',
        "f": '{"jobs": ["1"], "runs": ["a"], "stamps": {"a": [Infinity, 1]}}',
    }.items():
        (place.parent / name).mkdir()
        (place.parent / name / submissions.FILE).write_text(text)
    os.symlink(place, place.parent / "e")
    (place / "work.pkl").write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    assert [found.jobs for _, found in submissions.submissions(tmp_path)] == [["12_0"]]
    code, said, _ = bench("status", tmp_path)
    assert code == 1, "nobody makes what is left"
    assert "0/1 run made, 0 under way, 1 waiting" in said
    assert not Path("pwned").exists()


def test_a_folder_of_jobs_that_others_may_write_to_is_refused(tmp_path):
    (tmp_path / "slurm").mkdir()
    os.chmod(tmp_path / "slurm", 0o777)
    with pytest.raises(UserError, match="open to others, and jobs load what lies there"):
        submissions.new_place(tmp_path)
    (tmp_path / "slurm").rmdir()
    (tmp_path / "elsewhere").mkdir()
    os.symlink(tmp_path / "elsewhere", tmp_path / "slurm")
    with pytest.raises(UserError, match="cannot write to"):
        submissions.new_place(tmp_path)
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_status_counts_runs_alone(tmp_path, a_run):
    path = picking.Store(tmp_path).write(*a_run())
    path.with_name("README.md").touch()
    path.with_name(f"{path.stem}-2.old").touch()
    assert status.Watch(tmp_path).look().runs == [path.stem]


def test_status_of_a_folder_that_cannot_be_read(tmp_path, bench):
    assert bench("status", tmp_path / "none")[2] == f"error: there is no folder {tmp_path / 'none'}\n"
    (tmp_path / "file").write_text("")
    assert bench("status", tmp_path / "file")[0] == 2


# --- the queue, signals, the machine ----------------------------------------------------------------------------------


@pytest.fixture
def squeue(tmp_path, monkeypatch):
    """A stand-in for squeue that answers so; the real one is asked in test_slurm.py."""

    def answer(text, code=0, error=""):
        script = tmp_path / "bin" / "squeue"
        script.parent.mkdir(exist_ok=True)
        script.write_text(f"#!/bin/sh\ncat << 'END'\n{text}\nEND\necho '{error}' >&2\nexit {code}\n")
        script.chmod(0o755)
        monkeypatch.setenv("PATH", f"{script.parent}{os.pathsep}{os.environ['PATH']}")

    return answer


def test_the_queue_is_read_and_its_silence_told(squeue):
    squeue(
        "7_0|RUNNING|None|node3|1|3:50:00|/a|b/%j.out|\n8_0|PENDING|Priority||0|4:00:00||\nstrange\n"
        "7_1|TIMEOUT|None|node1|0|0:00|/a|"
    )
    found = queue.jobs(["7_0", "7_1", "7_2"])
    assert [(one.name, one.state, one.alive) for one in found] == [
        ("7_0", "RUNNING", True), ("7_1", "TIMEOUT", False), ("7_2", "GONE", False)
    ]  # fmt: skip
    assert (found[0].node, found[0].restarts, found[0].reason, found[0].log) == ("node3", "1", "", "/a|b/%j.out")
    squeue("", 1, "slurm_load_jobs error: Unable to contact slurm controller")
    with pytest.raises(queue.QueueError, match="Unable to contact slurm controller"):
        queue.jobs(["7_0"])


def test_the_jobs_of_another_command_are_left_alone(tmp_path, squeue, monkeypatch):
    """Two commands share a folder: whoever ends first takes back only its own jobs that wait, and their folder."""
    folder, prints = tmp_path / "out", {}
    for names, runs in ((["7_0", "7_1"], ["a", "b"]), (["8_0"], ["b", "c"]), (["9_0"], ["d"])):
        Submission(names, runs, {}).write(place := submissions.new_place(folder))
        prints |= dict.fromkeys(names, place / "%A_%a_0_log.out")

    def answer(**states):
        squeue("\n".join(f"{name[1:]}|{state}|None||0||{prints[name[1:]]}|" for name, state in states.items()))

    answer(j7_0="COMPLETED", j7_1="PENDING", j8_0="PENDING", j9_0="PENDING")
    seen = status.Watch(folder, ["a", "b"]).look()
    assert [one.name for one in seen.jobs] == ["7_0", "7_1", "8_0"]
    cancelled = []

    def cancel(names):
        cancelled.extend(names)
        answer(j7_0="COMPLETED", j7_1="CANCELLED", j8_0="PENDING", j9_0="PENDING")

    monkeypatch.setattr(queue, "cancel", cancel)
    ended = dict.fromkeys("ab", Ending("completed", None, 1, 1))
    monkeypatch.setattr(status.Watch, "_endings", lambda watch, run_ids, stamps: ended.items())
    slurm._finish(folder, Interrupts())
    assert cancelled == ["7_1"]
    assert [one.jobs for _, one in submissions.submissions(folder)] == [["8_0"], ["9_0"]]


def test_the_first_signal_asks_and_a_second_one_ends_unless_one_is_patient(monkeypatch):
    with Interrupts() as impatient:
        os.kill(os.getpid(), WARNING)
        assert impatient.asked == WARNING
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGTERM)
    with Interrupts(patient=True) as patient, patient:
        os.kill(os.getpid(), WARNING)
        os.kill(os.getpid(), signal.SIGTERM)
        assert patient.asked == WARNING
        assert not patient.overdue
        end = time.monotonic() + interrupts.LAST_SECONDS
        monkeypatch.setattr(time, "monotonic", lambda: end)
        assert patient.overdue
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_cores_are_those_of_the_allocation(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(16)))
    monkeypatch.setattr(provenance, "_quota", lambda: [])
    assert provenance.cores() == 16
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", "4")
    assert provenance.cores() == 4
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2")
    assert allocation(Machine("cuda", 1, 4)) == "4 cores, 1 process, 4 threads each, GPU 2"


def test_jobs_that_cannot_be_noted_are_taken_back(tmp_path, monkeypatch):
    pytest.importorskip("submitit", reason="submitit is an extra")
    executor, cancelled = SimpleNamespace(map_array=lambda *_: [SimpleNamespace(job_id="7_0")]), []
    monkeypatch.setattr(slurm.Slurm, "_executor", lambda *_: executor)
    monkeypatch.setattr(Submission, "write", lambda *_: (tmp_path / "none").read_bytes())
    monkeypatch.setattr(queue, "cancel", cancelled.extend)
    with pytest.raises(UserError, match="cannot write to"):
        slurm.Slurm()._submit(engines.Work(cells(), Settings(tmp_path), {}), Machine("cpu", 1, 1), 1)
    assert cancelled == ["7_0"]
    assert not (tmp_path / "slurm").exists()
