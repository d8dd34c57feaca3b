"""How far the cells under way are, as files in the results folder that everyone can read: `logs/<cell_id>.progress`."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field, TypeAdapter

from benchmarks.files import read_regular
from benchmarks.plan.grid import Cell

from .machine import job
from .notes import Name, Notes
from .record import Pulse

EVERY_SECONDS = 10.0
"""Time between two notes of a cell."""
_LONGEST = 10_000
"""Bytes of a note that is read."""
Whole = Annotated[int, Field(ge=0, lt=2**53)]


@dataclass(frozen=True)
class Note:
    """How far a cell is."""

    cell: Name
    """Its id, which is the name of its log, too."""
    lanes: Whole
    """How many runs train together."""
    budget: Whole
    """Environment steps of each; 0 for offline methods."""
    steps: Whole
    """Those taken by now."""
    updates: Whole
    """Gradient updates made."""
    mean_return: float | None
    """Of the last evaluation; None before the first."""
    activity: str
    """What it is at besides its steps."""
    job: str
    """The Slurm job that makes it; empty on machines without."""


_NOTES = TypeAdapter(Note)


class Progress(Notes):
    """The notes of a results folder."""

    KIND = "progress"

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._told: dict[str, float] = {}

    def tell(self, cell: Cell, pulse: Pulse) -> None:
        """Note how far a cell is, if it has not been noted just now."""
        now = time.monotonic()
        if now < self._told.get(cell.cell_id, -EVERY_SECONDS) + EVERY_SECONDS:
            return
        self._told[cell.cell_id] = now
        note = Note(
            cell.cell_id, len(cell.runs), cell.first.budget, pulse.steps, pulse.updates, pulse.mean_return,
            pulse.activity, job(),
        )  # fmt: skip
        with contextlib.suppress(OSError):
            self._write(cell, json.dumps(asdict(note)))

    def forget(self, cell: Cell) -> None:
        """Remove the note of a cell."""
        self._told.pop(cell.cell_id, None)
        super().forget(cell)

    def read(self) -> Iterator[Note]:
        """The notes that are whole, by the cells' names."""
        try:
            paths = self._all()
        except OSError:
            return
        for path in paths:
            with contextlib.suppress(OSError, ValueError):
                yield _NOTES.validate_json(read_regular(path)[:_LONGEST], strict=True)
