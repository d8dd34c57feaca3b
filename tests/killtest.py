"""Kill the suite again and again, at any moment, and see that nothing is lost: python tests/killtest.py --kills 100.

A small grid with everything in it (demonstrations that must be built, methods of every kind, lanes, checkpoints after
every few steps) is run once in peace. Then it is run in fresh folders, where the whole process group gets SIGKILL
again and again and the same command is given anew, until all runs have ended; then in the next folder. Every second
kill comes from outside after a random time, the others from inside at a random file operation (opening, renaming,
removing...), which is where files break. Most commands are forks of this process, which has everything imported
already; some are `ndi-bench` as a user starts it, with a worker process.

After every kill: every run that had been reported as stored is there, with the same bytes, and every file counts.
In the end: all runs are completed, once, with the returns of the undisturbed grid bit for bit.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"  # the number of threads changes the last bits

import torch

from benchmarks import __main__ as cli
from benchmarks import provenance
from benchmarks.data import datasets
from benchmarks.experts.policy import load_expert
from benchmarks.kit import replay
from benchmarks.plan import registry
from benchmarks.store.store import Store
from benchmarks.store.verification import verify

GRID = """
tasks = ["inverted-pendulum"]
methods = ["bc", "sac", "gail", "ndi-made"]
seeds = [0, 1]
steps = 120
evaluations = 3
eval_episodes = 2
[overrides]
bc = { "fit.steps" = 60, "fit.check_every" = 20 }
sac = { "sac.hidden" = [16, 16], "sac.batch_size" = 16 }
gail = { "sac.hidden" = [16, 16], "sac.batch_size" = 16, hidden = [16] }
[overrides.ndi-made]
density = { hidden = [16], fit = { steps = 30 } }
sac = { hidden = [16, 16], batch_size = 16, cloned = 0 }
"""
RUNS = 4 * 2
COMMAND_LINE_EVERY = 20
"""One command in so many is not a fork."""


class Place:
    """One results folder with a folder of datasets of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.out, self.data = folder, folder / "out", folder / "data"
        self.data.mkdir(parents=True)
        (folder / "kill.toml").write_text(GRID)
        self.reported = folder / "reported"
        self.seen: dict[str, bytes] = {}
        self.begun = False

    def command(self, workers: int) -> list[str]:
        options = ["--out", str(self.out), "--workers", str(workers), "--checkpoint-minutes", "0", "--no-report"]
        return ["ndi-bench", "run", "--profile", str(self.folder / "kill.toml"), *options]

    def fork(self, die_at: int = 0) -> int:
        """Start the command in a fork, in a process group of its own, that kills itself at a file operation."""
        child = os.fork()
        if child:
            return child
        try:
            os.setsid()
            os.environ["MINARI_DATASETS_PATH"] = str(self.data)
            log = os.open(self.folder / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
            os.dup2(log, 1)
            os.dup2(log, 2)
            self._report_writes()
            self._count_operations(die_at)
            sys.argv = self.command(workers=0)
            cli.main()
        except SystemExit as ended:
            os._exit(int(ended.code or 0))
        except BaseException:
            sys.excepthook(*sys.exc_info())
        os._exit(99)

    def start(self) -> int:
        """Start the command as a user does."""
        with open(self.folder / "log", "a") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "benchmarks", *self.command(workers=1)[1:]],
                stdout=log,
                stderr=log,
                env=os.environ | {"MINARI_DATASETS_PATH": str(self.data)},
                start_new_session=True,
            )
        process.returncode = 0  # waited for below
        return process.pid

    def _report_writes(self) -> None:
        """Note every run that the store says is written."""
        write, descriptor = Store.write_together, os.open(self.reported, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

        def write_and_tell(store, runs, kept):
            write(store, runs, kept)
            os.write(descriptor, "".join(run["run_id"] + "\n" for run, _ in runs).encode())

        Store.write_together = write_and_tell

    def _count_operations(self, die_at: int) -> None:
        count = 0

        def hook(event, arguments):
            nonlocal count
            if event.partition(".")[0] in ("open", "os", "shutil") and arguments and str(self.folder) in str(arguments):
                count += 1
                if count == die_at:
                    os.killpg(0, signal.SIGKILL)

        sys.addaudithook(hook)

    def check(self) -> None:
        """Nothing that was reported is lost or changed, and every file counts."""
        reported = set(self.reported.read_text().split()) if self.reported.exists() else set()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            stored = set(Store(self.out).runs()["run_id"])
        assert reported <= stored, f"lost: {reported - stored}"
        number, found = verify(Store(self.out))
        assert number == len(stored)
        assert not [finding for finding in found if finding.wrong], found
        for run_id, before in self.seen.items():
            assert self.bytes_of(run_id) == before, f"changed: {run_id}"
        self.seen = {run_id: self.bytes_of(run_id) for run_id in stored}

    def bytes_of(self, run_id: str) -> bytes:
        return (self.out / "runs" / f"{run_id}.parquet").read_bytes()

    def result(self) -> object:
        """Every evaluation episode of all runs, which are completed."""
        store = Store(self.out)
        runs = store.runs()
        assert len(runs) == RUNS, runs["run_id"].tolist()
        assert set(runs["status"]) == {"completed"}, runs[["run_id", "status", "error"]].to_string()
        left = sorted(path.name for path in self.out.iterdir())
        assert left == ["policies", "runs"], f"left over: {left}"
        kept = {path.stem for path in (self.out / "policies").iterdir()}
        assert kept == set(runs.loc[runs["policy_sha256"].notna(), "run_id"])
        return store.evaluations()

    def content(self) -> str:
        os.environ["MINARI_DATASETS_PATH"] = str(self.data)
        return datasets.prepare(registry.find_task("inverted-pendulum"), "embedded").content_hash


def wait_for(child: int, seconds: float | None = None) -> int | None:
    """Exit code of a child, negative for the signal that killed it; None if it has not ended in time."""
    end = None if seconds is None else time.monotonic() + seconds
    while end is None or time.monotonic() < end:
        found, status = os.waitpid(child, 0 if end is None else os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    return None


def kill_test(kills: int, seed: int, folder: Path) -> str:
    """Run the test; what happened, in one line. Raises AssertionError if anything was lost."""
    torch.set_num_threads(1)
    replay.BLOCK = 16  # small enough for checkpoints in pieces; only where commands are forks
    provenance.commit(), provenance.versions(), provenance.cpu()  # what every process reads once
    load_expert("inverted-pendulum", torch.device("cpu"))
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])  # imports what takes seconds
    choice, began = random.Random(seed), time.monotonic()
    peace = Place(folder / "peace")
    assert wait_for(peace.fork()) == 0, (peace.folder / "log").read_text()
    calm = time.monotonic() - began
    peace.check()
    expected, content = peace.result(), peace.content()

    place, grids, killed, commands, by_clock = Place(folder / "0"), 0, 0, 0, 0
    while killed < kills or place.begun:
        commands, place.begun = commands + 1, True
        as_user = commands % COMMAND_LINE_EVERY == 0
        clock = choice.random() < 0.5 or as_user
        enough = killed >= kills
        child = place.start() if as_user else place.fork(0 if clock or enough else int(10 ** choice.uniform(0, 2.7)))
        code = wait_for(child, None if enough or not clock else choice.uniform(0, 8.0 if as_user else calm / 4))
        if code is None:
            os.killpg(child, signal.SIGKILL)
            code = wait_for(child)
        assert code in (0, -signal.SIGKILL), f"exit code {code}: {(place.folder / 'log').read_text()[-3000:]}"
        killed += code != 0
        by_clock += clock and code != 0
        place.check()
        if code == 0:
            found = place.result()
            assert found.equals(expected), "the returns are not those of the undisturbed grid"
            assert place.content() == content, "the demonstrations are not those of the undisturbed grid"
            grids += 1
            place = Place(folder / str(grids))
    return (
        f"{killed} kills ({by_clock} by the clock, {killed - by_clock} at a file operation) in {commands} commands "
        f"and {time.monotonic() - began:.0f} s: {grids} grids of {RUNS} runs ended as the undisturbed one, bit for bit"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        print(kill_test(options.kills, options.seed, Path(temporary)))
