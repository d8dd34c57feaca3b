"""`python -m benchmarks.perf.growth`: time and memory of the SAC update and the replay as the work grows.

One of lanes, batch and observation size is varied at a time, from the default setting. The rows go into
`results/perf/growth-MACHINE.parquet`, and the figure beside it is made from them alone (`--plot` makes it anew).
"""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # torch's profiler announces itself otherwise

import json

import matplotlib
import pandas as pd
import torch
import typer
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator
from torch.profiler import ProfilerActivity, profile

from benchmarks import provenance
from benchmarks.kit.errors import UserError
from benchmarks.kit.replay import Experience
from benchmarks.kit.sac import SAC, SACConfig
from benchmarks.kit.standardiser import Standardiser
from benchmarks.reporting import plots, style
from benchmarks.terminal import answered, console

from . import cases, machine

FOLDER = Path("results/perf")
SWEEPS = {
    "lanes": (1, 2, 4, 8, 16, 32),
    "batch": (32, 64, 128, 256, 512, 1024),
    "observations": (11, 17, 45, 105, 210, 376),
}
"""What is varied, one at a time."""
CAPACITY = 20_000
"""Transitions per lane of the replay that is measured; one demonstration lies beside it, as in any imitation."""
SECONDS = 0.3
"""CPU time of the calls behind one median."""
PARTS = {
    "update": ("SAC update", style.looks(["ndi-made"])["ndi-made"]),
    "sample": ("replay: sample a batch", style.looks(["ndi-ebm"])["ndi-ebm"]),
    "add": ("replay: add a step", style.looks(["gail"])["gail"]),
}
"""What is measured, with its label and look."""


@dataclass(frozen=True)
class Size:
    """A size of the work; the defaults are HalfCheetah's and the learner's."""

    lanes: int = 1
    batch: int = 128
    observations: int = 17


def measured() -> Iterator[dict[str, Any]]:
    """A row per varied value and part: seconds (median CPU time of one), and bytes (most held at once)."""
    for name, values in SWEEPS.items():
        for value in values:
            size = replace(Size(), **{name: value})
            for part, prepare in (("update", _update), ("sample", _sample), ("add", _add)):
                torch.manual_seed(0)
                most, (once, count) = peak_bytes(lambda prepare=prepare, size=size: prepare(size))  # type: ignore[misc]
                seconds, rounds = _median_seconds(once)
                yield {
                    "part": part, "varied": name, **asdict(size), "actions": cases.ACTIONS,
                    "seconds": seconds / count, "rounds": rounds, "bytes": most,
                }  # fmt: skip


def peak_bytes(prepare: Callable[[], tuple[Callable[[], Any], int]]) -> tuple[int, tuple[Callable[[], Any], int]]:
    """Most bytes in tensors at any time while something is built and called twice, with what was built.

    Args:
        prepare: builds a function; returns it with the number of things that one call does.
    """
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiled:
        made = prepare()
        for _ in range(2):
            made[0]()
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace.json"
        profiled.export_chrome_trace(str(trace))
        events = json.loads(trace.read_text())["traceEvents"]
    found = [event["args"] for event in events if event["name"] == "[memory]"]
    before = found[0]["Total Allocated"] - found[0]["Bytes"]  # the count goes on from profile to profile
    return max(event["Total Allocated"] for event in found) - before, made


def _median_seconds(function: Callable[[], Any]) -> tuple[float, int]:
    """Median CPU time of a call, and of how many."""
    taken: list[float] = []
    while sum(taken) < SECONDS or len(taken) < 5:
        begin = time.process_time()
        function()
        taken.append(time.process_time() - begin)
    return statistics.median(taken), len(taken)


def _update(size: Size) -> tuple[Callable[[], Any], int]:
    problem = cases.problem(size.lanes, size.observations)
    config = SACConfig(batch_size=size.batch, compile=False)
    sac, batch = SAC(problem, config, Standardiser.identity(problem)), cases.batch(*asdict(size).values())

    def updates() -> None:
        for _ in range(config.actor_period):
            sac.update(batch)

    return updates, config.actor_period


def _experience(size: Size) -> tuple[Experience, Any]:
    problem = cases.problem(size.lanes, size.observations, budget=CAPACITY)
    experience = Experience(problem, Standardiser.identity(problem), size.batch)
    experience.replay.added.fill_(CAPACITY)  # full, of zeros
    return experience, problem.environments.step(torch.zeros(size.lanes, cases.ACTIONS).numpy())


def _sample(size: Size) -> tuple[Callable[[], Any], int]:
    return _experience(size)[0].sample, 1


def _add(size: Size) -> tuple[Callable[[], Any], int]:
    experience, transition = _experience(size)
    return lambda: experience.add(transition), 1


def figure(rows: pd.DataFrame) -> Figure:
    """Time (above) and memory (below) against each varied size, on logarithmic axes."""
    labels = {"lanes": "Lanes", "batch": "Batch (transitions per lane)", "observations": "Observation size"}
    with matplotlib.rc_context(style.theme()):
        made = Figure(figsize=(7.2, 4.4), layout="constrained")
        panels = made.subplots(2, 3, sharex="col", sharey="row")
        for (name, label), column in zip(labels.items(), panels.T, strict=True):
            for (part, (text, look)), panel, (what, scale) in (
                (item, panel, axis)
                for item in PARTS.items()
                for panel, axis in zip(column, (("seconds", 1e3), ("bytes", 1e-6)), strict=True)
            ):
                if part == "add" and what == "bytes":
                    continue  # the same replay as that of sampling
                line = rows[(rows["varied"] == name) & (rows["part"] == part)].sort_values(name)
                panel.plot(line[name], line[what] * scale, label=text, marker=look.marker, mec="white", **look.line)
                panel.set(xscale="log", yscale="log")
                panel.xaxis.set_major_locator(FixedLocator(SWEEPS[name]))
                panel.xaxis.set_minor_locator(NullLocator())
                panel.xaxis.set_major_formatter("{x:g}")
                panel.yaxis.set_major_formatter("{x:g}")
            column[1].set_xlabel(label)
        panels[0, 0].set_ylabel("CPU time (ms)")
        panels[1, 0].set_ylabel("Memory, at most (MB)")
        made.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=len(PARTS))
        first = rows.iloc[0]
        made.suptitle(
            f"One update of {cases.ACTIONS} actions, and a replay of {CAPACITY:,} steps a lane "
            f"({first['processor']}, torch {first['torch']})\n"
            "Memory is what all tensors hold at once, at most: it bounds the lanes that fit into a process", fontsize=8,
        )  # fmt: skip
    return made


def main(
    out: Annotated[Path, typer.Option(help="Folder of rows and figure.")] = FOLDER,
    plot: Annotated[bool, typer.Option("--plot", help="Only make the figure anew.")] = False,
) -> None:
    """Measure how time and memory grow (about two minutes), store the rows, and draw them."""
    torch.set_num_threads(1)
    described = machine.described()
    stem = out / f"growth-{machine.key(described)}"
    rows = stem.with_name(f"{stem.name}.parquet")
    if plot and not rows.exists():
        raise UserError(f"there is no {rows}; measure this machine type first, without --plot")
    if not plot:
        commit, dirty = provenance.commit()
        shared = {**described, "commit": commit, "dirty": dirty, "timer": "process_time", "capacity": CAPACITY}
        shared["measured"] = datetime.now(UTC).isoformat(timespec="seconds")
        out.mkdir(parents=True, exist_ok=True)
        pd.DataFrame([{**row, **shared} for row in measured()]).to_parquet(rows)
    drawn = stem.with_name(f"{stem.name}.svg")
    drawn.write_bytes(plots.svg(figure(pd.read_parquet(rows))))
    console.print(f"{rows}, {drawn.name}", highlight=False, soft_wrap=True)


if __name__ == "__main__":
    answered(lambda: typer.run(main))
