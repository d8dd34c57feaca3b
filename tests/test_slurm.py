"""Jobs on a real Slurm: killed, cancelled, requeued and warned ones, refusals, full disks. `one-node-slurm` starts one.

Each job is a few processes that import torch; so grids are small, and every command is shared by what it can show.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.files import variables
from benchmarks.run import queue, submissions
from benchmarks.run.progress import Progress
from benchmarks.store.store import Store
from benchmarks.store.verification import verify


def no_slurm():
    """Why these tests cannot run here; empty if they can."""
    if shutil.which("sbatch") is None:
        return "Slurm is not installed (Debian: slurm-wlm, munge)"
    asked = subprocess.run(["sinfo", "--noheader"], capture_output=True, check=False)
    return "" if asked.returncode == 0 and asked.stdout else "no Slurm answers; tests/one-node-slurm starts one"


pytest.importorskip("submitit", reason="submitit is an extra")
pytestmark = [pytest.mark.slurm, pytest.mark.skipif(bool(no_slurm()), reason=no_slurm())]

GRID = ["--tasks", "inverted-pendulum", "--steps", "40", "--evaluations", "2", "--eval-episodes", "2", "--lanes", "1"]
GRID += ["--no-report", "--methods"]
SLOW = ["--set", "walker.sleep=0.15", "--checkpoint-minutes", "0"]
SECONDS = 900
"""How long a command may take on a busy machine."""


def start(out, *options, methods="toy_methods:WALKER"):
    """A command under way, with its output in a file beside the results folder."""
    said = open(f"{out}.said", "w")  # noqa: SIM115 - the command writes to it
    with said:
        return subprocess.Popen(
            [sys.executable, "-m", "benchmarks", "run", *GRID, methods, "--out", str(out), *options],
            stdout=said, stderr=said,
        )  # fmt: skip


def end(command, out):
    """Exit code and output."""
    return command.wait(SECONDS), Path(f"{out}.said").read_text()


def until(found):
    """Wait until this finds something, and return it."""
    limit = time.monotonic() + SECONDS
    while time.monotonic() < limit:
        if value := found():
            return value
        time.sleep(0.3)
    raise AssertionError("it has not come to that")


def jobs(out):
    return [job for _, found in submissions.submissions(out) for job in queue.jobs(found.jobs)]


def running(out, number):
    """The jobs, as soon as so many run and hold cells."""
    seen = until(lambda: (found := jobs(out)) and sum(job.state == "RUNNING" for job in found) >= number and found)
    until(lambda: len(list((out / "locks").glob("[!.]*"))) >= number)
    return [job.name for job in seen]


def slurm(*command):
    subprocess.run(command, check=True, capture_output=True)


def kill(job):
    """End a job's worker as the kernel does that is out of memory."""
    array, task = job.split("_")
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            said, variables = (entry / "cmdline").read_bytes(), (entry / "environ").read_bytes().split(b"\0")
        except OSError:
            continue
        mine = {f"SLURM_ARRAY_JOB_ID={array}".encode(), f"SLURM_ARRAY_TASK_ID={task}".encode()} <= set(variables)
        if mine and b"submitit.core._submit" in said and said.startswith(sys.executable.encode()):
            os.kill(int(entry.name), signal.SIGKILL)
            return
    raise AssertionError(f"job {job} has no worker")


def status(out, *options):
    command = [sys.executable, "-m", "benchmarks", "status", *options, str(out)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def makers(out):
    """Which job makes which method's cell."""
    return {note.cell.split("-")[2]: note.job for note in Progress(out).read()}


def restarts(out):
    """How often each job has been requeued."""
    return {job.name: job.restarts for job in jobs(out)}


def log(out, name):
    """What a job has printed."""
    return "".join(path.read_text() for path in (out / "slurm").glob(f"*/{name}_0_log.out"))


def rows(out):
    return Store(out).evaluations()


def test_lost_jobs_lose_nothing(tmp_path):
    """One is cancelled, one killed, one requeued: all runs end, once, as on one machine, and nothing is left over."""
    grid, cluster, here = ["--seeds", "0-7", *SLOW], tmp_path / "cluster", tmp_path / "here"
    command = start(cluster, *grid, "--engine", "slurm", "--workers", "4", "--slurm", "time=30")
    first, second, third, _ = running(cluster, 3)
    slurm("scancel", first)
    kill(second)
    slurm("scontrol", "requeue", third)
    code, said = end(command, cluster)
    assert code == 0, said
    assert "8/8 runs made (8 completed)" in said
    assert end(start(here, *grid, "--workers", "2"), here)[0] == 0
    assert rows(cluster).equals(rows(here))
    assert verify(Store(cluster)) == (8, [])
    assert {path.name for path in cluster.iterdir()} == {path.name for path in here.iterdir()}
    assert {path.name for path in cluster.iterdir()} <= {"runs", "policies"}


def test_a_time_limit_that_is_reached(tmp_path):
    """Slurm's own signals. One run saves itself when it is warned, and goes on; one does not react, and is lost at the
    limit; one always fails. All of them end, though whoever follows has left.
    """
    out, here = tmp_path / "cluster", tmp_path / "here"
    methods = "toy_methods:WALKER,toy_methods:SINGLE,toy_methods:FALLER"
    grid = ["--seeds", "0", "--set", "walker.sleep=2.7", "--set", "single.fault=hang", "--set", "faller.fault=raise"]
    grid += ["--checkpoint-minutes", "60"]
    limits = ["--engine", "slurm", "--slurm", "time=2", "--slurm", "signal_delay_s=15"]
    limits += ["--slurm", f"setup=ls {out}/logs/*single*.attempts 2> /dev/null && export WALKERS_ARE_SOUND=1"]
    command = start(out, *grid, *limits, methods=methods)
    names = running(out, 3)
    makes = until(lambda: (found := makers(out)).keys() >= {"walker", "single"} and found)
    command.send_signal(signal.SIGINT)  # whoever follows may leave at any time
    code, said = end(command, out)
    assert code == 130
    array = names[0].partition("_")[0]
    assert re.search(rf"go on without this command.*status --follow {out}\n.*scancel {array}\n", said, re.DOTALL), said

    until(lambda: list((out / "checkpoints").glob("*walker*.pt")))  # though none was due
    until(lambda: restarts(out)[makes["walker"]] != "0")
    assert restarts(out)[makes["single"]] == "0", "a job is requeued alone, not with its array"
    until(lambda: restarts(out)[makes["single"]] != "0")
    assert "some cells had not been saved when the time was up" in log(out, makes["single"])
    watched = status(out, "--follow")
    assert watched.returncode == 1
    assert "3/3 runs made" in watched.stdout
    assert "2 completed" in watched.stdout
    assert watched.stdout.count("failed: ValueError: first line the walker stumbled") == 1, watched.stdout
    assert end(start(out, *grid, *limits, methods=methods), out)[0] == 1
    assert not list((out / "slurm").rglob("*.pkl")), "what jobs load is removed; logs stay, since a run has failed"
    (fault,) = (out / "logs").iterdir()
    assert "the walker stumbled" in fault.read_text()
    assert {path.name for path in out.iterdir()} == {"logs", "runs", "slurm"}

    with variables(WALKERS_ARE_SOUND="1"):
        assert end(start(here, *grid, "--workers", "2", methods=methods), here)[0] == 0
    completed = rows(here)[lambda found: found["method"] != "faller"].reset_index(drop=True)
    made = rows(out)[lambda found: found["method"] != "faller"].reset_index(drop=True)
    assert made.equals(completed)


def test_a_cluster_that_refuses_the_jobs_is_quoted_in_one_line(tmp_path):
    out = tmp_path / "out"
    code, said = end(start(out, "--seeds", "0-1", "--engine", "slurm", "--slurm", "partition=none"), out)
    assert code == 2
    told = [line for line in said.splitlines() if line.startswith("error:")]
    assert told == [
        "error: the cluster refuses the jobs: invalid partition specified: none; see --slurm"
    ], said  # fmt: skip
    assert not (out / "slurm").exists()


def test_a_folder_that_names_jobs_of_others_ends_none_of_them(tmp_path):
    """As a copy does, or one that was made to do harm."""
    out, script = tmp_path / "out", ["--begin=now+1hour", f"--output={tmp_path}/%j.out", "--wrap=true"]
    held = subprocess.run(["sbatch", "--parsable", *script], capture_output=True, text=True, check=True).stdout.strip()
    try:
        assert end(start(out, "--seeds", "0", "--workers", "1"), out)[0] == 0
        place = submissions.new_place(out)
        submissions.Submission([held], [path.stem for path in (out / "runs").iterdir()], {}).write(place)
        assert end(start(out, "--seeds", "0", "--engine", "slurm"), out)[0] == 0
        assert [job.state for job in queue.jobs([held])] == ["PENDING"]
        assert not place.exists()
    finally:
        slurm("scancel", held)


def test_jobs_that_make_nothing_are_not_submitted_for_ever(tmp_path):
    out = tmp_path / "out"
    code, said = end(start(out, "--seeds", "0", "--engine", "slurm", "--slurm", "setup=exit 3"), out)
    assert code == 2
    assert "\nerror: 4 times all jobs have ended without making a run, 1 run left; a log is " in said, said
    shown = status(out)
    assert shown.returncode == 1
    assert shown.stdout.count("FAILED") == 4


def test_a_full_disk_and_a_folder_that_is_none_are_told_in_one_line(tmp_path):
    place = tmp_path / "small"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(place)]
    if subprocess.run(mount, capture_output=True, check=False).returncode != 0:
        pytest.skip("this process may not mount file systems")
    try:
        out = place / "out"
        command = start(tmp_path / "said", "--out", str(out), "--seeds", "0-1", "--engine", "slurm", *SLOW)
        until(lambda: jobs(out))
        with open(place / "filler", "wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(512))
            except OSError:
                pass
        code, said = end(command, tmp_path / "said")
        assert code == 2, said
        assert re.search(r"^error: .*cannot write to .*No space left on device", said, re.MULTILINE), said
        assert "Traceback" not in said
        until(lambda: not any(job.alive for job in jobs(out)))
    finally:
        subprocess.run(["umount", "--lazy", str(place)], capture_output=True, check=False)
    (tmp_path / "file").write_text("")
    code, said = end(start(tmp_path / "file", "--seeds", "0", "--engine", "slurm"), tmp_path / "file")
    assert code == 2
    assert said.count("error: ") == 1
