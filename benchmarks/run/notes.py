"""What a worker notes of a cell for others, one file per cell: `logs/<cell_id>.<kind>` in the results folder."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Annotated, ClassVar

from pydantic import Field

from benchmarks.files import inside
from benchmarks.plan.grid import Cell
from benchmarks.store.schema import SAFE_NAME

Name = Annotated[str, Field(pattern=f"^{SAFE_NAME.pattern}$")]
"""The id of a run or a cell, as it is read from a file that anybody may have written."""


class Notes:
    """The notes of one kind in a results folder; those that cannot be written or read are passed over.

    Args:
        folder: results folder.
    """

    KIND: ClassVar[str]
    """How the files' names end."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def forget(self, cell: Cell) -> None:
        """Remove the note of a cell."""
        with contextlib.suppress(OSError):
            self._place(cell).unlink(missing_ok=True)

    def clear(self) -> None:
        """Remove all notes, where nobody is at work."""
        with contextlib.suppress(OSError):
            for path in self._all():
                path.unlink()

    def _place(self, cell: Cell) -> Path:
        """Where the note of a cell lies; OSError if that is behind a link."""
        return inside(self.folder, "logs", f"{cell.cell_id}.{self.KIND}")

    def _all(self) -> list[Path]:
        """The notes there are, by the cells' names; OSError as above."""
        found = sorted(inside(self.folder, "logs").glob(f"*.{self.KIND}"))
        return [path for path in found if SAFE_NAME.fullmatch(path.stem)]

    def _write(self, cell: Cell, text: str) -> None:
        """Write the note of a cell; OSError as above, or if there is no room."""
        path = self._place(cell)
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
