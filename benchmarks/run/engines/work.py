"""What an engine is: whoever starts workers for some work."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

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


class Engine(Protocol):
    """Starts workers."""

    def run(self, work: Work, using: Machine, console: Console) -> Outcome:
        """Make the cells and show progress.

        Args:
            work: what is to be made.
            using: how many workers to start, and what each is run with.
            console: where to show progress.

        Raises:
            UserError: the folder cannot be written to, or the engine refuses the work.
            KeyboardInterrupt: interrupted twice.
        """
        ...
