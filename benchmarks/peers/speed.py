"""Environment steps per second of whole training loops, ours and the peers': interleaved, pinned to one core, kept."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import provenance
from benchmarks.files import whole_file
from benchmarks.kit.errors import UserError
from benchmarks.reporting.formats import Entry, Row, Table
from benchmarks.store import schema
from benchmarks.terminal import console

from .exchange import COLUMNS, SCRIPTS
from .venvs import interpreter

ONE_THREAD = {
    **dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"),
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
    "JAX_PLATFORMS": "cpu",
    "CUDA_VISIBLE_DEVICES": "",
}
OURS = "ours"
TASK = "halfcheetah"

ROWS = pa.schema(
    [
        pa.field(name, kind, nullable=False)
        for name, kind in {
            "series": pa.string(),
            "comparison": pa.string(),
            "contestant": pa.string(),
            "command": pa.string(),
            "version": pa.string(),
            "versions": pa.string(),
            "env_id": pa.string(),
            "round": pa.int64(),
            "position": pa.int64(),
            "steps": pa.int64(),
            "updates": pa.int64(),
            "wall_seconds": pa.float64(),
            "cpu_seconds": pa.float64(),
            "steps_per_second": pa.float64(),
            "steps_per_cpu_second": pa.float64(),
            "processor": pa.string(),
            "cores": pa.int64(),
            "core": pa.int64(),
            "load": pa.float64(),
            "commit": pa.string(),
            "dirty": pa.bool_(),
        }.items()
    ]
)
"""One row per measurement. `series` is when its interleaved rounds began (UTC), `comparison` what is compared ("sac" or
"gail"), `command` the script with its options, `version` the library's own, `position` the place within the round,
`steps` and `updates` those of the timed part, the seconds those of this process alone (CPU: all its threads), `core`
what it was pinned to (-1: nothing), `load` the machine's one-minute load average before, `commit` and `dirty` the
suite's code."""


@dataclass(frozen=True)
class Contestant:
    """What is timed."""

    name: str
    comparison: str
    """Contestants of one comparison are timed against each other."""
    script: str
    """File in `scripts/`."""
    peer: str | None = None
    """Whose virtual environment it runs in; None for the suite's own."""
    package: str = "torch"
    """Which of the reported versions is the contestant's own."""
    options: tuple[str, ...] = ()
    """Further options of the script."""
    demos: int = 0
    """Episodes that it finds as `demonstrations.npz` where it is started."""

    def command(self, warmup: int, steps: int, seed: int) -> list[str]:
        """The command line after the interpreter, without folders."""
        return [self.script, f"--warmup={warmup}", f"--steps={steps}", f"--seed={seed}", *self.options]


SAC = (
    Contestant(OURS, "sac", "ours.py"),
    Contestant("sbx", "sac", "sbx_sac.py", "sbx", "sbx-rl"),
    Contestant("stable-baselines3", "sac", "sb3_sac.py", "stable-baselines3", "stable-baselines3"),
    Contestant("cleanrl-style", "sac", "cleanrl_sac.py", "stable-baselines3"),
)
GAIL_DEMOS = 10
"""Demonstrated episodes for both sides of the comparison of GAIL; a discriminator batch of the peer needs nine."""
GAIL = (
    Contestant(OURS, "gail", "ours.py", options=("--method=gail", f"--demos={GAIL_DEMOS}")),
    Contestant("imitation", "gail", "imitation_gail.py", "imitation", "imitation", demos=GAIL_DEMOS),
)


def variants(contestants: Sequence[Contestant], changes: Sequence[str]) -> list[Contestant]:
    """The contestants, ours followed by its variants.

    Args:
        contestants: one comparison.
        changes: each "LABEL:METHOD.FIELD=VALUE,METHOD.FIELD=VALUE", such as "bfloat16:sac.sac.precision=bfloat16"; a
            change of another comparison's method is passed over.

    Raises:
        UserError: a change is written otherwise.
    """
    made = list(contestants)
    for change in changes:
        label, colon, settings = change.partition(":")
        fields = settings.split(",")
        if not (label and colon and all("=" in field and "." in field.partition("=")[0] for field in fields)):
            example = "bfloat16:sac.sac.precision=bfloat16"
            raise UserError(f"--set {change}: it must be LABEL:METHOD.FIELD=VALUE,..., such as {example}")
        own = contestants[0]
        if fields[0].partition(".")[0] == own.comparison:
            options = (*own.options, *(f"--set={field}" for field in fields))
            place = sum(c.name.startswith(OURS) for c in made)
            made.insert(place, replace(own, name=f"{OURS} ({label})", options=options))
    return made


def schedule(contestants: Sequence[Contestant], rounds: int) -> Iterator[tuple[int, int, Contestant]]:
    """(round, position, contestant): A B C A B C ..., so that what drifts over time meets all of them alike."""
    for number in range(rounds):
        for position, contestant in enumerate(contestants):
            yield number, position, contestant


def measure(contestant: Contestant, warmup: int, steps: int, seed: int, core: int | None) -> dict[str, Any]:
    """Time one process; the columns of `ROWS` but series, round and position.

    Raises:
        UserError: the script died; holds its last line.
    """
    command = contestant.command(warmup, steps, seed)
    python = interpreter(contestant.peer) if contestant.peer else Path(sys.executable)
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as place:  # libraries drop their logs where they are started
        if contestant.demos:
            _export(Path(place) / "demonstrations.npz", contestant.demos, seed)
        done = subprocess.run(
            [str(python), str(SCRIPTS / command[0]), *command[1:]],
            capture_output=True,
            text=True,
            cwd=place,
            env=os.environ | ONE_THREAD,
            preexec_fn=None if core is None else lambda: os.sched_setaffinity(0, {core}),
        )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise UserError(f"{contestant.name} ({shlex.join(command)}) failed: {reason}")
    return row(contestant, command, json.loads(done.stdout.strip().splitlines()[-1]), core, load)


def row(
    contestant: Contestant, command: Sequence[str], answer: Mapping[str, Any], core: int | None, load: float
) -> dict[str, Any]:
    """A measurement as columns, from what the script answered."""
    commit, dirty = provenance.commit()
    ours = contestant.peer is None
    return {
        "comparison": contestant.comparison,
        "contestant": contestant.name,
        "command": shlex.join(command),
        "version": (commit or "unknown")[:7] if ours else answer["versions"][contestant.package],
        "versions": json.dumps(answer["versions"], sort_keys=True),
        **{name: answer[name] for name in ("env_id", "steps", "updates", "wall_seconds", "cpu_seconds")},
        "steps_per_second": answer["steps"] / answer["wall_seconds"],
        "steps_per_cpu_second": answer["steps"] / answer["cpu_seconds"],
        "processor": provenance.cpu(),
        "cores": os.cpu_count() or 1,
        "core": -1 if core is None else core,
        "load": load,
        "commit": commit or "unknown",
        "dirty": dirty,
    }


def append(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add measurements to those in a file, which is replaced whole.

    Raises:
        ValueError: a row does not have the columns of `ROWS`.
    """
    table = schema.table(rows, ROWS, "speed")
    if path.exists():
        table = pa.concat_tables([pq.read_table(path, schema=ROWS), table])
    with whole_file(path) as file:
        pq.write_table(table, file, compression="zstd")


def summary(rows: pd.DataFrame) -> pd.DataFrame:
    """Medians of one series, and how many times as fast ours is, by comparison and contestant.

    Columns: `wall` and `cpu` (median steps per second of wall and of CPU time), `updates` (median per CPU second),
    `ratio` (median over rounds of ours against the contestant in the same round, by CPU time) with `low` and `high`,
    the smallest and largest of them, `ratio_wall`, and `rounds`. Ours is the variant without a label.
    """
    made = []
    for comparison, group in rows.groupby("comparison", sort=False):
        by_round = {key: group.pivot(index="round", columns="contestant", values=key) for key in _SPEEDS.values()}
        for name in dict.fromkeys(group["contestant"]):
            own = group[group["contestant"] == name]
            ratios = {key: (speeds[OURS] / speeds[name]).dropna() for key, speeds in by_round.items()}
            cpu = ratios[_SPEEDS["cpu"]]
            made.append(
                {
                    "comparison": comparison,
                    "contestant": name,
                    "version": own["version"].iloc[0],
                    **{label: float(own[key].median()) for label, key in _SPEEDS.items()},
                    "updates": float((own["updates"] / own["cpu_seconds"]).median()),
                    "ratio": float(cpu.median()),
                    "low": float(cpu.min()),
                    "high": float(cpu.max()),
                    "ratio_wall": float(ratios[_SPEEDS["wall"]].median()),
                    "rounds": len(own),
                }
            )
    return pd.DataFrame(made)


_SPEEDS = {"wall": "steps_per_second", "cpu": "steps_per_cpu_second"}


def as_table(name: str, rows: pd.DataFrame) -> Table:
    """The summary of one series for people."""
    lines = [
        Row(
            f"{line.contestant} {line.version}",
            [
                Entry(f"{line.cpu:.1f}"),
                Entry(f"{line.wall:.1f}"),
                Entry(f"{line.updates:.1f}"),
                Entry(f"{line.ratio:.2f}", f"[{line.low:.2f}, {line.high:.2f}]"),
                Entry(f"{line.ratio_wall:.2f}"),
            ],
        )
        for line in summary(rows).itertuples()
    ]
    first = rows.iloc[0]
    low, high = rows["load"].min(), rows["load"].max()
    notes = [
        "Medians over rounds. Ratio: ours against the contestant in the same round, median [lowest, highest].",
        f"{rows['round'].nunique()} rounds from {first['series']} on {first['processor']} ({first['cores']} cores, "
        f"load {low:.1f} to {high:.1f}), code {first['commit'][:7]}{' and changes' if first['dirty'] else ''}, "
        f"{rows['steps'].min():,} timed steps or more.",
    ]
    header = ["", "Steps per CPU second", "Steps per second", "Updates per CPU second", "Ours / it", "by wall time"]
    return Table(name, f"Training loop on {first['env_id'].partition('-')[0]}", header, [lines], notes)


def last_series(path: Path) -> pd.DataFrame:
    """Rows of the latest series in a file.

    Raises:
        UserError: nothing was measured yet.
    """
    if not path.exists():
        raise UserError(f"no measurements in {path}; make some with `python -m benchmarks.peers {path.stem}`")
    rows: pd.DataFrame = pq.read_table(path, schema=ROWS).to_pandas()
    return rows[rows["series"] == rows["series"].max()]


def run(path: Path, contestants: Sequence[Contestant], rounds: int, warmup: int, steps: int, core: int | None) -> None:
    """Time one series and keep every measurement as soon as it is made.

    Args:
        path: file of the rows.
        contestants: of one comparison, ours first.
        rounds: how often each is timed; each round has a seed of its own.
        warmup: environment steps before the clock starts.
        steps: timed environment steps.
        core: what all are pinned to; None for nothing.

    Raises:
        UserError: the core does not exist, or a contestant cannot be built or run.
    """
    if core is not None and not (hasattr(os, "sched_getaffinity") and core in os.sched_getaffinity(0)):
        raise UserError(f"--core {core}: nothing can be pinned to that core here; -1 pins nothing")
    for peer in dict.fromkeys(contestant.peer for contestant in contestants if contestant.peer):
        interpreter(peer)
    series = datetime.now(UTC).isoformat(timespec="seconds")
    for number, position, contestant in schedule(contestants, rounds):
        made = measure(contestant, warmup, steps, number, core)
        append(path, [{**made, "series": series, "round": number, "position": position}])
        console.print(
            f"round {number + 1}/{rounds}  {contestant.name:20} {made['steps_per_cpu_second']:7.1f} steps per CPU "
            f"second, {made['steps_per_second']:.1f} per second",
            highlight=False,
        )


def _export(path: Path, demos: int, seed: int) -> None:
    """Write the suite's demonstrations as arrays, for a script that cannot read them itself."""
    from benchmarks.data import datasets  # imports minari and torch
    from benchmarks.plan import registry

    lent = datasets.load(registry.find_task(TASK), "embedded", demos, 1, seed)
    np.savez(path, **{name: getattr(lent, name) for name in COLUMNS})
