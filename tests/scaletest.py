"""How the store fares with very many runs: python tests/scaletest.py --runs 100000.

Makes a results folder with so many runs, of several methods, tasks, numbers of demonstrations and seeds, each with ten
evaluations of ten episodes; the files are those that the store writes. Then `ndi-bench store ls`, `store verify` and
`report` are run on it as a user does, each in a process of its own, and their time and peak memory are printed; beside
them what it takes to store one run.
"""

import argparse
import itertools
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import pyarrow as pa
from synthetic import rows_of_a_run

from benchmarks.store import runfile, schema
from benchmarks.store.store import Store
from benchmarks.tasks import TASKS

METHODS = ("bc", "gail", "valuedice", "red", "sqil", "iq-learn", "ndi-made", "ndi-ebm")
DEMOS = (1, 5, 10)
CELLS = list(itertools.product(METHODS, TASKS.values(), DEMOS))
EVALUATIONS = EPISODES = 10
STEPS = 1000 * EVALUATIONS


def record(number: int) -> dict:
    """What is stored of one of many runs; one in a hundred has failed."""
    method, task, demos = CELLS[number % len(CELLS)]
    seed, failed = number // len(CELLS), number % 100 == 99
    status, error = ("failed", "RuntimeError: made up") if failed else ("completed", None)
    run, _ = rows_of_a_run(
        method, task.name, seed, demos, finals=(), run_id=f"{task.name}-{method}-d{demos}-s{seed}-{number:08x}",
        env_id=task.env_id, commit="0" * 40, budget=STEPS, updates=STEPS, status=status, error=error,
    )  # fmt: skip
    return run | {"steps": STEPS}


def rows(run: dict) -> pa.Table:
    """Ten evaluations of ten episodes; none of the last if the run has failed."""
    evaluation, episode = (index.ravel() for index in np.indices((EVALUATIONS, EPISODES)))
    returns = np.random.default_rng(run["seed"]).normal(1000.0, 100.0, len(episode))
    columns = {name: [run[name]] * len(episode) for name in ("run_id", "method", "task", "demos", "seed")} | {
        "step": 1000 * (evaluation + 1),
        "update": 1000 * (evaluation + 1),
        "episode": episode,
        "eval_seed": episode,
        "return": returns,
        "length": np.full(len(episode), 1000),
        "normalized": returns / 3000,
        "kl": returns / 100,
        "kl_uniform": np.full(len(episode), 30.0),
        "final": evaluation == EVALUATIONS - 1,
    }
    table = pa.table([columns[name] for name in schema.EVALUATIONS.names], schema=schema.EVALUATIONS)
    return table if run["status"] == "completed" else table[:-EPISODES]


def fill(folder: Path, runs: int) -> None:
    """Files of so many runs, as `Store.write` makes them, but not flushed one by one."""
    (folder / "runs").mkdir(parents=True)
    for run in map(record, range(runs)):
        with open(folder / "runs" / f"{run['run_id']}.parquet", "wb") as file:
            runfile.write(file, run | {"schema": schema.SCHEMA_VERSION}, rows(run))


def command(folder: Path, *verb: str) -> tuple[float, float, float]:
    """Run a verb on the folder: seconds, seconds of processor time, and peak memory in GiB."""
    begin = time.monotonic()
    log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    words = [sys.executable, "-m", "benchmarks", *verb, str(folder)]
    actions = [(os.POSIX_SPAWN_DUP2, log, 1), (os.POSIX_SPAWN_DUP2, log, 2)]
    _, status, usage = os.wait4(os.posix_spawn(sys.executable, words, os.environ, file_actions=actions), 0)
    assert status == 0, (folder / "log").read_text()
    memory = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return time.monotonic() - begin, usage.ru_utime + usage.ru_stime, memory / 2**30


def write_times(folder: Path, runs: int) -> list[float]:
    """Seconds that `Store.write` takes, run by run."""
    store, seconds = Store(folder), []
    for run in map(record, range(runs)):
        evaluations = rows(run).to_pylist()
        begin = time.perf_counter()
        store.write(run, evaluations)
        seconds.append(time.perf_counter() - begin)
    return seconds


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100_000)
    parser.add_argument("--writes", type=int, default=500)
    parser.add_argument("--keep", type=Path, help="Folder to keep; what is there already is not made again.")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or Path(temporary) / "many"
        if not folder.exists():
            fill(folder, options.runs)
        print(f"{options.runs:,} runs:")
        for verb in ("store ls", "store verify", "report"):
            seconds, work, memory = command(folder, *verb.split())
            print(f"{verb}: {seconds:.1f} s ({work:.1f} s of processor time), {memory:.2f} GiB")
        times = sorted(write_times(Path(temporary) / "one", options.writes))
        median, late = statistics.median(times), times[int(len(times) * 0.99)]
        print(f"storing one run: median {1000 * median:.1f} ms, 99th percentile {1000 * late:.1f} ms")
