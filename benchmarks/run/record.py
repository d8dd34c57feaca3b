"""What is known of a cell under way: how far it is, its lanes' evaluations and endings, and the time it took."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from benchmarks import provenance
from benchmarks.plan import registry
from benchmarks.plan.grid import Cell

_CARRIED = (
    "evaluations",
    "diagnostics",
    "episode_ids",
    "dataset_notes",
    "steps",
    "updates",
    "train_seconds",
    "eval_seconds",
    "mean_return",
    "started",
    "notes",
    "audit",
)


@dataclass(frozen=True)
class Ending:
    """How a lane ended."""

    status: str
    """One of `store.STATUSES`."""
    error: str | None
    """Why, in one line; None if completed."""
    steps: int
    """Environment steps taken."""
    updates: int
    """Gradient updates made."""


@dataclass(frozen=True)
class Pulse:
    """A sign of life of a cell under way."""

    steps: int
    """Environment steps so far in every lane."""
    updates: int
    """Gradient updates so far."""
    mean_return: float | None
    """Mean over lanes and episodes of the last evaluation; None before the first."""
    activity: str = ""
    """What the method is at besides its steps, such as "density fit 10%"."""
    carried: dict[str, Any] | None = field(default=None, compare=False)
    """After an evaluation, what `Record.take_up` takes: all that is lost with the process if it dies."""


class Record:
    """What is known of a cell.

    Args:
        cell: the cell.
    """

    def __init__(self, cell: Cell) -> None:
        # read and kept now: the code may have moved on when a long cell ends
        provenance.commit()
        self.origin = registry.origin(cell.first.reference)
        self.cell, self.lanes = cell, len(cell.runs)
        self.started = datetime.now(UTC).isoformat(timespec="seconds")
        self.evaluations: list[list[dict[str, Any]]] = [[] for _ in cell.runs]
        """The evaluation rows of every lane."""
        self.diagnostics: list[list[dict[str, float]]] = [[] for _ in cell.runs]
        """What every lane's method said at its evaluations: losses and the like, with step and update."""
        self.endings: dict[int, Ending] = {}
        """How the lanes ended that have ended."""
        self.episode_ids: list[tuple[int, ...]] = [() for _ in cell.runs]
        """The demonstrated episodes of every lane."""
        self.notes: dict[str, str] = {}
        """What the method notes of how it was carried out, see `Problem.notes`."""
        self.dataset_notes: str | None = None
        """How their dataset differs from the task; None if it does not."""
        self.audit: list[str] = []
        """What was noticed that a method must not do, see `audit`."""
        self.policies: dict[int, bytes] = {}
        """The final policies of the lanes, as files; of those that have one which can be kept."""
        self.steps = self.updates = 0
        self.train_seconds = self.eval_seconds = 0.0
        self.mean_return: float | None = None

    @property
    def ended(self) -> bool:
        """Whether every lane has ended."""
        return len(self.endings) == self.lanes

    @property
    def alive(self) -> list[int]:
        """The lanes that have not ended."""
        return [lane for lane in range(self.lanes) if lane not in self.endings]

    @property
    def seconds(self) -> float:
        """Training and evaluation so far."""
        return self.train_seconds + self.eval_seconds

    def endings_by_run(self) -> dict[str, Ending]:
        """How each run ended, by run id."""
        return {run.run_id: self.endings[lane] for lane, run in enumerate(self.cell.runs)}

    def diverged(self, lane: int, reason: str) -> None:
        """End a lane as diverged; the first reason counts."""
        if lane not in self.endings:
            error = f"{reason} (step {self.steps}, update {self.updates})"
            self.endings[lane] = Ending("diverged", error, self.steps, self.updates)

    def end(self, status: str, error: str | None = None) -> None:
        """End every lane that has not ended yet."""
        for lane in self.alive:
            self.endings[lane] = Ending(status, error, self.steps, self.updates)

    def carried(self) -> dict[str, Any]:
        """All that is known of the cell so far, for `take_up` in another process."""
        endings = {lane: asdict(ending) for lane, ending in self.endings.items()}
        return {**{name: getattr(self, name) for name in _CARRIED}, "endings": endings}

    def take_up(self, carried: Mapping[str, Any]) -> None:
        """Go on from what another process knew."""
        for name in _CARRIED:
            if name in carried:  # a checkpoint of an older version may have less
                setattr(self, name, carried[name])
        self.endings = {lane: Ending(**ending) for lane, ending in carried["endings"].items()}
