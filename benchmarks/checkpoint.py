"""Checkpoints of a cell under way: written at once or not at all, and read only by exactly the same cell."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from .staging import remove_halves, whole_file


class CheckpointWarning(UserWarning):
    """A checkpoint cannot be used, or not without doubt."""


@dataclass(frozen=True)
class Checkpoint:
    """The place of one cell's checkpoint; nothing is read or written by creating it."""

    path: Path
    run_ids: Sequence[str]
    """The cell's runs, in the order of their lanes."""

    def save(self, state: dict[str, Any]) -> None:
        """Write all of it or nothing.

        Raises:
            OSError: the folder cannot be written to.
        """
        with whole_file(self.path) as file:
            torch.save({"run_ids": list(self.run_ids), **state}, file)

    def load(self) -> dict[str, Any] | None:
        """The state, on the CPU; None if there is none. Warns `CheckpointWarning` of one that is not usable."""
        remove_halves(self.path)
        if not self.path.exists():
            return None
        try:
            state = torch.load(self.path, map_location="cpu", weights_only=True)
            run_ids = state["run_ids"]
        except Exception as error:  # a torn file makes torch raise almost anything
            reason = str(error).strip().partition("\n")[0]
            warnings.warn(f"checkpoint {self.path} cannot be read and is ignored: {reason}", CheckpointWarning, 2)
            return None
        if run_ids != list(self.run_ids):
            warnings.warn(f"checkpoint {self.path} is of other runs and is ignored", CheckpointWarning, 2)
            return None
        return state

    def delete(self) -> None:
        """Remove the file if it is there, and its folder with the last one."""
        self.path.unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            self.path.parent.rmdir()
