"""Which cells this process makes of a grid that others may be making too: leases before the work, then the store."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from pathlib import Path

from benchmarks.plan import grid
from benchmarks.plan.grid import Cell, Run
from benchmarks.store.store import Store

from .leases import Leases, holder_of


class Claims:
    """The cells of one command; a context, at whose end everything is let go.

    Args:
        folder: results folder.
        cells: what the command has to make, by its reading of the store a moment ago.

    Raises:
        UserError: the folder cannot be written to.
    """

    def __init__(self, folder: Path, cells: Iterable[Cell]) -> None:
        self.folder, self.leases, self._store = Path(folder), Leases(folder), Store(folder)
        self._stamps = {run_id: self._store.stamp(run_id) for cell in cells for run_id in cell.run_ids}
        self._deferred: list[Run] = []

    def __enter__(self) -> Claims:
        self.leases.__enter__()
        self._store.recover(self._all_free)
        return self

    def __exit__(self, *error: object) -> None:
        self.leases.__exit__(*error)

    def claim(self, cell: Cell) -> Cell | None:
        """The part of a cell that nobody else is making or has made meanwhile, for this process alone; None if empty.

        Raises:
            UserError: the folder cannot be written to.
        """
        mine = self.leases.take(cell.run_ids)
        made = mine & self.stored_since(cell)
        self.leases.release(made)
        self._deferred += [run for run in cell.runs if run.run_id not in mine]
        free = [run for run in cell.runs if run.run_id in mine - made]
        if len(free) == len(cell.runs):
            return cell
        return grid.cells(free)[0] if free else None

    def stored_since(self, cell: Cell) -> set[str]:
        """The runs of a cell that have been stored since the command began."""
        return {run_id for run_id in cell.run_ids if self._store.stamp(run_id) != self._stamps[run_id]}

    def holds(self, cell: Cell) -> bool:
        """Whether a claimed cell is still this process's; to be asked before anything is written for it."""
        return self.leases.confirm(cell.run_ids)

    def held(self, cell: Cell) -> Leases:
        """The leases of a claimed cell, for the worker process that makes it."""
        return Leases(self.folder, {run_id: self.leases.held[run_id] for run_id in cell.run_ids})

    def end(self, cell: Cell) -> None:
        """Let go of a cell; runs of it that have been lost are deferred."""
        self._deferred += [run for run in cell.runs if run.run_id not in self.leases.held]
        self.leases.release(cell.run_ids)

    def deferred(self) -> list[Cell]:
        """Cells of the runs that others held at some time, to be claimed once more; forgets them."""
        self._store.recover(self._all_free)
        runs, self._deferred = self._deferred, []
        return grid.cells(runs)

    def _all_free(self, run_ids: list[str]) -> bool:
        """Whether nobody at work holds any of some runs."""
        taken = self.leases.take(run_ids)
        self.leases.release(taken)
        return len(taken) == len(run_ids)

    def elsewhere(self) -> dict[str, str]:
        """Deferred runs that others are making now, by run id, with who it is."""
        holders = map(partial(holder_of, self.folder), run_ids := [run.run_id for run in self._deferred])
        return {run_id: holder for run_id, holder in zip(run_ids, holders, strict=True) if holder is not None}
