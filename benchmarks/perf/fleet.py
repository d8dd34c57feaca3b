"""`python -m benchmarks.perf.fleet RESULTS`: many workers on one results folder, simulated before a cluster is asked.

Durations are drawn from the stored runs of a results folder. Workers behave as `run.picking` and `run.locks` do: each
lists the folder once per pick, takes the longest cell that nobody holds, gives signs of life, and is pre-empted or dies
at random; a cell then goes on from its last checkpoint once its holder is seen to be dead. Calls to the file server are
counted, not timed: what a server can take differs by a hundred.
"""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from benchmarks.kit.errors import UserError
from benchmarks.run.locks import EXPIRY_SECONDS, PULSE_SECONDS
from benchmarks.store.store import Store
from benchmarks.terminal import answered, duration, say

TAKE, GIVE, LIST, PULSE, STORE = 7, 2, 2, 1, 12
"""Calls to the file server for a lock taken (make, date, rename, two looks at the store, removal of what is in the
way), let go, two listings, a sign of life, and a stored run: read off the code, rounded up."""
NAME_BYTES = 60
"""Of a name in a listing."""
REQUEUE_SECONDS = 120.0
"""Slurm's wait before a requeued job starts again."""


@dataclass
class Fleet:
    """A grid under way on many workers.

    Args:
        durations: seconds of every run.
        workers: how many there are.
        checkpoint: seconds between checkpoints.
        deaths: per worker and hour: killed, with what was not saved.
        preemptions: per worker and hour: warned, so that all is saved.
        generator: of randomness.
    """

    durations: np.ndarray
    workers: int
    checkpoint: float
    deaths: float
    preemptions: float
    generator: np.random.Generator
    calls: Counter[str] = field(default_factory=Counter)
    """Calls to the file server, by what they are for."""
    peak: Counter[int] = field(default_factory=Counter)
    """Calls in each second, but for signs of life."""
    redone: float = 0.0
    """Seconds of work that were lost."""
    listed: float = 0.0
    """Bytes of listings."""

    def run(self) -> float:
        """The makespan in seconds."""
        left = [(-seconds, number) for number, seconds in enumerate(sorted(self.durations, reverse=True))]
        heapq.heapify(left)
        free = [(self.generator.uniform(0, 60), number) for number in range(self.workers)]  # jobs start within a minute
        heapq.heapify(free)
        back: list[tuple[float, float, int]] = []
        """Cells whose holder has died, by when that is seen."""
        made, end = 0, 0.0
        while made < len(self.durations):
            now, worker = heapq.heappop(free)
            while back and back[0][0] <= now:
                _, seconds, number = heapq.heappop(back)
                heapq.heappush(left, (-seconds, number))
            self._count("list", LIST, now)
            self.listed += NAME_BYTES * (made + min(self.workers, len(self.durations) - made))
            if not left:
                if not back and not free:
                    break
                heapq.heappush(free, (max(now + 5.0, back[0][0] if back else 0.0), worker))
                if not back and all(time > now + EXPIRY_SECONDS for time, _ in free):
                    break
                continue
            remaining, number = heapq.heappop(left)
            made, end = self._make(-remaining, number, now, worker, free, back, made, end)
        return end

    def _make(
        self, seconds: float, number: int, now: float, worker: int, free: list[tuple[float, int]],
        back: list[tuple[float, float, int]], made: int, end: float,
    ) -> tuple[int, float]:  # fmt: skip
        """One worker at one cell, to its end or to the worker's."""
        self._count("lock", TAKE + GIVE, now)
        died, warned = (self.generator.exponential(3600 / max(rate, 1e-12)) for rate in (self.deaths, self.preemptions))
        lasted = min(seconds, died, warned)
        self.calls["pulse"] += int(lasted / PULSE_SECONDS) * PULSE  # spread evenly, so no part of any peak
        if lasted == seconds:
            self._count("store", STORE, now + seconds)
            heapq.heappush(free, (now + seconds, worker))
            return made + 1, max(end, now + seconds)
        saved = lasted if lasted == warned else lasted // self.checkpoint * self.checkpoint
        self.redone += lasted - saved
        seen = now + lasted + (0.0 if lasted == warned else EXPIRY_SECONDS)
        heapq.heappush(back, (seen, seconds - saved, number))
        heapq.heappush(free, (now + lasted + REQUEUE_SECONDS, worker))
        return made, end

    def _count(self, kind: str, calls: int, second: float) -> None:
        self.calls[kind] += calls
        self.peak[int(second)] += calls


def main(
    results: Annotated[Path, typer.Argument(help="Folder whose stored runs give the durations.")],
    runs: int = 10_000,
    workers: int = 500,
    checkpoint_minutes: float = 5.0,
    deaths: Annotated[float, typer.Option(help="Per worker and hour.")] = 0.01,
    preemptions: Annotated[float, typer.Option(help="Per worker and hour.")] = 0.1,
    seed: int = 0,
) -> None:
    """Print the makespan beside the ideal one, the traffic on the folder, and what was lost."""
    stored = Store(results).runs()
    stored = stored[stored["status"] == "completed"]
    if stored.empty:
        raise UserError(f"there are no completed runs in {results}")
    # as if every run were a cell of its own, which makes most locks
    known = (stored["train_seconds"] + stored["eval_seconds"]).to_numpy() / stored["lanes"].to_numpy() + 8.0
    generator = np.random.default_rng(seed)
    durations = generator.choice(known, runs)
    fleet = Fleet(durations, workers, 60 * checkpoint_minutes, deaths, preemptions, generator)
    took, ideal = fleet.run(), max(durations.sum() / workers, durations.max())
    calls = fleet.calls.total()
    say(f"{runs:,} runs of {np.median(durations) / 60:.0f} min (median) on {workers} workers")
    say(f"makespan {duration(took)}, {took / ideal:.2f} times the ideal {duration(ideal)}")
    say(f"lost and made again: {duration(fleet.redone)} of {duration(durations.sum())}")
    kinds = ", ".join(f"{kind} {number:,}" for kind, number in fleet.calls.most_common())
    most = max(fleet.peak.values()) + workers * PULSE / PULSE_SECONDS
    say(f"file server: {calls:,} calls ({kinds}), {calls / took:,.0f} a second, {most:,.0f} at most")
    say(f"listings: {fleet.listed / 1e9:.1f} GB, {fleet.listed / took / 1e6:.2f} MB a second")


if __name__ == "__main__":
    answered(lambda: typer.run(main))
