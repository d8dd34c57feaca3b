"""How often a cell was begun by workers that died with it, where no parent sees them die: `logs/<cell_id>.attempts`.

A worker notes that it begins a cell, and takes the note back when the cell ends or is left. What is found was left by
workers that are dead; it counts while none of them has written a checkpoint. Only who holds the cell writes.
"""

from __future__ import annotations

import contextlib
import re

from benchmarks.files import read_regular
from benchmarks.plan.grid import Cell

from .notes import Notes


class Attempts(Notes):
    """The notes of a results folder."""

    KIND = "attempts"

    def begin(self, cell: Cell) -> int:
        """Note that a cell is begun; how many before have died since its last checkpoint."""
        died, saved = 0, self._saved(cell)
        with contextlib.suppress(OSError):
            found = re.fullmatch(rb"(\d{1,6}) (\d{1,20})", read_regular(self._place(cell)))
            died = int(found[1]) if found is not None and int(found[2]) == saved else 0
        with contextlib.suppress(OSError):
            self._write(cell, f"{died + 1} {saved}")
        return died

    def _saved(self, cell: Cell) -> int:
        """When the cell's checkpoint was written, in ns since the epoch; 0 if there is none."""
        try:
            return (self.folder / "checkpoints" / f"{cell.cell_id}.pt").lstat().st_mtime_ns
        except OSError:
            return 0
