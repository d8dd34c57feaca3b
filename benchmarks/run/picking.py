"""Which cell a process makes next, of a grid that other processes and machines may be making too."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Container, Iterable, Iterator
from pathlib import Path

from benchmarks.kit.errors import writing
from benchmarks.plan import grid
from benchmarks.plan.grid import Cell, Run
from benchmarks.store.store import Store

from .locks import EXPIRY_SECONDS, Locks, Stamps, holders, names, stamps_of, sweep

SETTLE_SECONDS = 1.0
"""Within which whoever takes the first run of a cell takes the others."""


class CellLocks:
    """The cells that one command makes of a grid which others may be making too: locks first, then the store.

    A context, at whose end everything is let go. The folder is listed once per pick, however many cells are left.

    Args:
        folder: results folder.
        cells: what the command has to make, in the order in which it is to be begun.
        stamps: those of the stored runs (see `Store.stamp`) when it was decided what is to be made; default: now.
        first: how many cells to pass over at the first pick, for one of many workers that begin at once: they would
            all try to lock the same.

    Raises:
        UserError: the folder cannot be written to.
    """

    def __init__(self, folder: Path, cells: Iterable[Cell], stamps: Stamps | None = None, first: int = 0) -> None:
        self.folder, self.locks, self._store = Path(folder), Locks(folder), Store(folder)
        self._left, self._first = list(cells), first
        run_ids = [run_id for cell in self._left for run_id in cell.run_ids]
        self._stamps = stamps_of(folder, run_ids) if stamps is None else stamps
        self._swept = time.monotonic()

    def __enter__(self) -> CellLocks:
        self.locks.__enter__()
        self._clear()
        return self

    def __exit__(self, *error: object) -> None:
        self.locks.__exit__(*error)

    def pick(self, last: bool = False) -> Cell | None:
        """The first cell, or part of one, that nobody else is making or has made, locked for this process alone.

        None if there is none now; see `left`.

        Args:
            last: whether nobody will ask again; then those who make the others are looked up once more.

        Raises:
            UserError: the folder cannot be written to.
        """
        if time.monotonic() - self._swept > EXPIRY_SECONDS:
            self._clear()
        free, parts = self._look()
        if last and self._left and not free:
            self._clear()
            free, parts = self._look()
        for cell in free:
            locked = self.lock(cell)
            if locked is not None:
                return locked
        if parts:  # perhaps of cells that somebody is taking lane by lane just now: who takes the others splits them
            time.sleep(SETTLE_SECONDS)
            known = {cell.run_ids for cell in parts}
            for cell in self._look()[1]:
                locked = self.lock(cell) if cell.run_ids in known else None
                if locked is not None:
                    return locked
        return None

    @property
    def left(self) -> bool:
        """Whether others had cells at the last pick that this process would make if they left them."""
        return bool(self._left)

    def lock(self, cell: Cell) -> Cell | None:
        """Of a cell what nobody else is making or has made meanwhile, for this process alone; None if another process
        has its first run, and hence is taking the others.

        Raises:
            UserError: the folder cannot be written to.
        """
        if not self.locks.take([min(cell.run_ids)]):
            return None
        mine = self.locks.take(cell.run_ids)
        made = mine & self.stored_since(cell)
        self.locks.release(made)
        self._left = self._without(mine)
        return _part(cell, [run for run in cell.runs if run.run_id in mine - made])

    def stored_since(self, cell: Cell, among: Container[str] | None = None) -> set[str]:
        """The runs of a cell that have been stored since it was decided to make them; only those `among` are asked."""
        asked = [run_id for run_id in cell.run_ids if among is None or run_id in among]
        return {run_id for run_id in asked if self._store.stamp(run_id) not in (None, self._stamps.get(run_id))}

    def recover(self, cell: Cell) -> None:
        """Finish what a dead worker had begun to store of a locked cell."""
        self._store.recover(lambda run_ids: contextlib.nullcontext({*cell.run_ids} >= {*run_ids}))

    def holds(self, cell: Cell) -> bool:
        """Whether a locked cell is still this process's; to be asked before anything is written for it."""
        return self.locks.confirm(cell.run_ids)

    def of(self, cell: Cell) -> Locks:
        """The locks of a locked cell, for the worker process that makes it, but for those that have been lost since."""
        held = dict(self.locks.held)
        return Locks(self.folder, {run_id: held[run_id] for run_id in cell.run_ids if run_id in held})

    def release(self, cell: Cell) -> None:
        """Let go of a cell; if a run of it has been lost, what nobody has made of it is left to be picked once more."""
        self._left += [] if self.locks.confirm(cell.run_ids) else [cell]
        self.locks.release(cell.run_ids)

    def elsewhere(self) -> dict[str, str]:
        """Runs that were left to others who are making them now, by run id, with who it is."""
        with writing(self.folder):
            found = holders(self.folder, [run_id for cell in self._left for run_id in cell.run_ids])
        return found

    def _look(self) -> tuple[list[Cell], list[Cell]]:
        """The cells that are free, and the free parts of others; what has been made is left no longer."""
        with writing(self.folder):
            stored, held = names(self.folder / "runs"), names(self.folder / "locks")
        made, taken = {name.removesuffix(".parquet") for name in stored}, set(held)
        left, free, parts = list[Cell](), list[Cell](), list[Cell]()
        for cell in self._left:
            new = self.stored_since(cell, made)
            rest = _part(cell, [run for run in cell.runs if run.run_id not in new])
            if rest is None:
                continue
            left.append(rest)
            part = _part(rest, [run for run in rest.runs if run.run_id not in taken])
            if part is not None:
                (free if part is rest else parts).append(part)
        first, self._left, self._first = self._first % max(len(free), 1), left, 0
        return free[first:] + free[:first], parts

    def _without(self, run_ids: set[str]) -> list[Cell]:
        """What is left but for some runs."""
        left = []
        for cell in self._left:
            rest = _part(cell, [run for run in cell.runs if run.run_id not in run_ids])
            left += [] if rest is None else [rest]
        return left

    def _clear(self) -> None:
        """Let go of what dead processes hold, and finish what they had begun to store."""
        self._swept = time.monotonic()
        sweep(self.folder)
        self._store.recover(self._alone)

    @contextlib.contextmanager
    def _alone(self, run_ids: list[str]) -> Iterator[bool]:
        """Hold some runs for a while; whether nobody was at work on any, this process included."""
        taken = self.locks.take(run_ids) if self.locks.held.keys().isdisjoint(run_ids) else set()
        try:
            yield len(taken) == len(run_ids)
        finally:
            self.locks.release(taken)


def _part(cell: Cell, runs: list[Run]) -> Cell | None:
    """The cell of some runs of a cell; the same one if these are all of them, None of none."""
    if len(runs) == len(cell.runs):
        return cell
    return grid.cells(runs)[0] if runs else None
