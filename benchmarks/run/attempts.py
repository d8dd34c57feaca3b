"""How often a cell was begun by jobs that did not end it, where no parent sees them die: `logs/<cell_id>.attempts`.

A worker notes that it begins a cell, and takes the note back when the cell ends, or when it is left for another reason
than Slurm's warning. What is found was left by jobs that were killed or had to leave; it counts while none of them has
written a checkpoint. Only who holds the cell writes.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from benchmarks.files import read_regular
from benchmarks.plan.grid import Cell

from .notes import Notes


class Attempts(Notes):
    """The notes of a results folder."""

    KIND = "attempts"

    def begin(self, cell: Cell) -> int:
        """Note that a cell is begun; how often before it was since its last checkpoint."""
        before = 0
        with contextlib.suppress(OSError):
            before = self._noted(self._place(cell))
        with contextlib.suppress(OSError):
            self._write(cell, f"{before + 1} {self._saved(cell.cell_id)}")
        return before

    def read(self) -> dict[str, int]:
        """How often each cell was begun since its last checkpoint, by its id; the present attempt counts."""
        with contextlib.suppress(OSError):
            return {path.stem: self._noted(path) for path in self._all()}
        return {}

    def _noted(self, path: Path) -> int:
        """What a note says; 0 if it is none, or of a time before the cell's last checkpoint."""
        try:
            found = re.fullmatch(rb"(\d{1,6}) (\d{1,20})", read_regular(path))
        except OSError:
            return 0
        return int(found[1]) if found is not None and int(found[2]) == self._saved(path.stem) else 0

    def _saved(self, cell_id: str) -> int:
        """When a cell's checkpoint was written, in ns since the epoch; 0 if there is none."""
        try:
            return (self.folder / "checkpoints" / f"{cell_id}.pt").lstat().st_mtime_ns
        except OSError:
            return 0
