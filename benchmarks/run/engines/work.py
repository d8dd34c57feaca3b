"""What an engine is: whoever starts workers for some work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from benchmarks.plan.grid import Cell
    from benchmarks.run.locks import Stamps
    from benchmarks.run.machine import Machine
    from benchmarks.run.pool import Outcome
    from benchmarks.run.settings import Settings


@dataclass(frozen=True)
class Work:
    """What is to be made."""

    cells: list[Cell]
    """Longest first."""
    settings: Settings
    """How."""
    stamps: Stamps
    """Those of the stored runs when it was decided what is to be made."""


Engine = Callable[[Work, "Machine", "Console"], "Outcome"]
"""Starts as many workers as the machine says, each run with the rest of it, makes the cells, and shows progress.

Raises UserError if the folder cannot be written to or it refuses the work, KeyboardInterrupt if interrupted twice."""
