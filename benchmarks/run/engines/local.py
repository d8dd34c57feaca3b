"""The engine of this machine: one worker, with as many processes as it is told."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.run import pool

from .work import Work

if TYPE_CHECKING:
    from rich.console import Console

    from benchmarks.run.machine import Machine


class Local:
    """Is the worker."""

    def run(self, work: Work, using: Machine, console: Console) -> pool.Outcome:
        """See `Engine.run`; workers are processes at a time, 0 runs all in this process."""
        return pool.run_cells(work.cells, using.of(work.settings), using.workers, console, work.stamps)
