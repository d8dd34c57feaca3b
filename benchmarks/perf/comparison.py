"""A run of the suites beside the baseline of the same machine type, as one table."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.kit.errors import UserError
from benchmarks.terminal import table

from . import machine

BASELINES = Path(__file__).with_name("baselines")
NOTABLE = 1.15
"""A ratio to the baseline above it, or below its inverse, is coloured: less than that is noise on a busy machine."""


@dataclass(frozen=True)
class Timing:
    """One benchmark of a run."""

    name: str
    group: str
    unit: str
    """What one of is timed."""
    seconds: float
    """Median time of one."""
    gflop: float | None = None
    """Floating-point operations of one, in billions, if it is made of products."""
    ratio: float | None = None
    """Median quotient to the reference that was measured in turns with it, if there was one."""
    reference: str | None = None
    """What that was."""
    estimate: float | None = None
    """The ratio that `Method.cost` foretells."""
    arithmetic: float | None = None
    """Quotient of the floating-point operations in products to the reference's."""

    @classmethod
    def of(cls, entry: dict[str, Any]) -> Timing:
        """From an entry of pytest-benchmark's JSON."""
        extra = entry["extra_info"]
        count = extra["count"]
        return cls(
            name=entry["name"].removeprefix("test_").replace("_", " ").replace("[", ": ").rstrip("]"),
            group=entry["group"],
            unit=extra["unit"],
            seconds=entry["stats"]["median"] / count,
            gflop=extra["gflop"] / count if "gflop" in extra else None,
            ratio=extra.get("ratio"),
            reference=extra.get("beside_name"),
            estimate=extra.get("estimate"),
            arithmetic=extra.get("arithmetic"),
        )

    @property
    def label(self) -> str:
        """What tells the benchmark apart within its group."""
        return self.name.partition(": ")[2] or self.name

    @property
    def remark(self) -> str:
        """What follows from this run alone: pace and share of the limit, or the overhead."""
        if self.gflop is not None:
            pace = f"{self.gflop / self.seconds:,.1f} GFLOP/s"
            return pace if self.ratio is None else f"{pace}, {1 / self.ratio:.0%} of {self.reference}"
        if self.ratio is None:
            return ""
        beside = {"assumed": self.estimate, "products": self.arithmetic}
        known = ", ".join(f"{name} {value:.2f}" for name, value in beside.items() if value is not None)
        return f"{self.ratio:.2f} x {self.reference}" + f" ({known})" * bool(known)


@dataclass(frozen=True)
class Measured:
    """A run of the suites, on one machine."""

    machine: dict[str, str]
    timer: str
    """The clock, such as "process_time"."""
    commit: str
    when: str
    load: float | None
    """Processes that wanted to run at the end of it, mean over five minutes; None if it was not noted."""
    timings: tuple[Timing, ...]

    @classmethod
    def read(cls, path: Path) -> Measured:
        """From a JSON file of pytest-benchmark.

        Raises:
            UserError: the file is not one of these suites' runs.
        """
        try:
            content = json.loads(path.read_text())
            entries, commit = content["benchmarks"], content["commit_info"]
            return cls(
                machine=content["machine_info"],
                timer=entries[0]["options"]["timer"],
                commit=str(commit["id"])[:7] + " and changes" * bool(commit["dirty"]),
                when=content["datetime"][:10],
                load=content.get("load"),
                timings=tuple(map(Timing.of, entries)),
            )
        except (OSError, ValueError, KeyError, IndexError) as error:
            raise UserError(f"{path} is no run of these benchmarks ({type(error).__name__}); store one anew") from None


def baseline_path(described: dict[str, str]) -> Path:
    """Where the baseline of a machine type lies, whether it is there or not."""
    return BASELINES / f"{machine.key(described)}.json"


def find_baseline(described: dict[str, str]) -> Measured | None:
    """The stored baseline of the same processor model and torch version, if there is one."""
    path = baseline_path(described)
    return Measured.read(path) if path.exists() else None


def save_baseline(run: Path) -> Path:
    """Store a run, without its single rounds, as the baseline of its machine type; returns the file.

    Raises:
        UserError: it lacks benchmarks that the stored baseline has.
    """
    content, measured = json.loads(run.read_text()), Measured.read(run)
    before = find_baseline(measured.machine)
    missing = {timing.name for timing in before.timings if before} if before else set()
    missing -= {timing.name for timing in measured.timings}
    path = baseline_path(measured.machine)
    if missing:
        raise UserError(
            f"this run lacks {', '.join(sorted(missing))}, which {path.name} has; "
            "run all benchmarks to store a baseline, or delete that file first"
        )
    for entry in content["benchmarks"]:
        entry["stats"].pop("data", None)
        entry |= {"param": None, "params": None}  # the name says it; functions among them are known by their address
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    return path


def compared(now: Measured, before: Measured | None) -> Table:
    """The table of a run: time, pace, ratio to the baseline (above 1 is slower), and what the run itself says."""
    then = {timing.name: timing for timing in before.timings} if before else {}
    shown = table("", "Median", "per", "1/s", "Baseline", "Ratio", "In the same run")
    group = None
    for timing in now.timings:
        if timing.group != group:
            group = timing.group
            shown.add_section()
            shown.add_row(f"[bold]{group}[/bold]")
        old = then.get(timing.name)
        pair = ("-", "-") if old is None else (in_words(old.seconds), coloured(timing.seconds / old.seconds))
        rate = f"{1 / timing.seconds:,.0f}" if timing.seconds < 1 else f"{1 / timing.seconds:.2f}"
        shown.add_row(f"  {timing.label}", in_words(timing.seconds), timing.unit, rate, *pair, timing.remark)
    return shown


def explained(now: Measured, before: Measured | None) -> str:
    """The lines under the table: the machine, the clock, and what the baseline is or how to store one."""
    versions = ", ".join(f"{name} {value}" for name, value in now.machine.items() if name != "processor")
    clock = "CPU time" if now.timer == "process_time" else f"time by {now.timer}"
    lines = [f"{now.machine['processor']}, {versions}; medians of {clock}, one thread"]
    if before is None:
        lines.append("No baseline of this machine type is stored; `nox -s bench -- --save` stores this run as one")
    else:
        lines.append(f"Baseline: {before.when}, commit {before.commit}; ratio = now / baseline, above 1 is slower")
        lines.append(f"Load of the machine: {_load(now)} now, {_load(before)} then; memory and caches are shared")
        if before.timer != now.timer:
            lines.append(f"The baseline was measured by {before.timer}: its ratios say nothing here")
    return "\n".join(lines)


def in_words(seconds: float) -> str:
    """A short time for people: "1.24 ms"."""
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds / 1e-6:.3g} µs"


def _load(measured: Measured) -> str:
    return "not noted" if measured.load is None else f"{measured.load:.1f}"


def coloured(ratio: float) -> str:
    """A ratio to the baseline, red where it is notably slower and green where it is notably faster."""
    colour = "red" if ratio > NOTABLE else "green" if ratio < 1 / NOTABLE else ""
    return f"[{colour}]{ratio:.2f}[/{colour}]" if colour else f"{ratio:.2f}"
