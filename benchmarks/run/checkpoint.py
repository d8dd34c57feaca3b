"""Checkpoints of a cell under way: written at once or not at all, and read only by exactly the same cell.

`FOLDER/checkpoints/<cell_id>.pt` holds the state. What a part calls settled (see `kit.contract.Stateful`) is written
only once, each piece to a file of its own in `FOLDER/checkpoints/<cell_id>/`, before the state that refers to it.
"""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.files import inside, remove_halves, whole_file
from benchmarks.kit.contract import SETTLED
from benchmarks.kit.errors import RestoringError


class CheckpointWarning(UserWarning):
    """A checkpoint cannot be used or written, or not without doubt."""


class Checkpoint:
    """The place of one cell's checkpoint; nothing is read or written by creating it.

    Args:
        path: of the file, with an ending.
        run_ids: the cell's runs, in the order of their lanes.
    """

    def __init__(self, path: Path, run_ids: Sequence[str]) -> None:
        self.path, self.run_ids, self.pieces = path, list(run_ids), path.with_suffix("")
        self._written: set[str] = set()
        """Pieces known to hold what their names say; others of the same name were left by a process that died."""

    def save(self, state: dict[str, Any]) -> None:
        """Write all of it or nothing.

        Raises:
            OSError: the folder cannot be written to.
        """
        pieces: dict[str, Tensor] = {}

        def referred_to(settled: dict[str, Tensor], place: str) -> list[str]:
            pieces.update({place + name: tensor for name, tensor in settled.items()})
            return list(settled)

        state = _with_settled(state, referred_to)
        for name in pieces.keys() - self._written:
            with whole_file(self._piece(name)) as file:
                torch.save(pieces[name].clone(), file)  # of a view, torch would save all that it is part of
            self._written.add(name)
        with whole_file(self._place(self.path.name)) as file:
            torch.save({"run_ids": self.run_ids, **state}, file)
        self._remove_pieces_but(pieces)

    def load(self) -> dict[str, Any] | None:
        """The state, on the CPU; None if there is none. Warns `CheckpointWarning` of one that is not usable.

        Raises:
            RestoringError: it is there and cannot be read now, which may change.
        """
        if not self._elsewhere:
            remove_halves(self.path)
        pieces: dict[str, Tensor] = {}

        def read(names: list[str], place: str) -> dict[str, Tensor]:
            pieces.update({place + name: _read(self._piece(place + name)) for name in names})
            return {name: pieces[place + name] for name in names}

        state = fault = None
        if os.path.exists(self.path):
            try:
                state = _read(self.path)
                fault = None if state["run_ids"] == self.run_ids else "is of other runs and is ignored"
                state = None if fault else _with_settled(state, read)
            except Exception as error:  # a torn file makes torch raise almost anything
                reason = str(error).strip().partition("\n")[0]
                if isinstance(error, OSError):
                    raise RestoringError(f"it cannot be read ({reason}); mend that") from error
                state, fault = None, f"cannot be read and is ignored: {reason}"
        if fault is not None:
            warnings.warn(f"checkpoint {self.path} {fault}", CheckpointWarning, 2)
        self._written = set() if state is None else set(pieces)
        self._remove_pieces_but(self._written)
        return state

    def delete(self) -> None:
        """Remove the files if they are there and can be removed, and their folder with the last ones."""
        if self._elsewhere:
            return
        with contextlib.suppress(OSError):
            self.path.unlink(missing_ok=True)
        self._remove_pieces_but(())
        with contextlib.suppress(OSError):
            self.path.parent.rmdir()

    @property
    def _elsewhere(self) -> bool:
        """Whether a link leads to where the files lie, so that they are not ours to remove."""
        return os.path.islink(self.pieces) or os.path.islink(self.path.parent)  # no error where one may not look

    def _piece(self, name: str) -> Path:
        return self._place(self.pieces.name, f"{name}.pt")

    def _place(self, *names: str) -> Path:
        """Where a file of it lies; OSError if that is outside the results folder, or behind a link."""
        return inside(self.path.parent.parent, self.path.parent.name, *names)

    def _remove_pieces_but(self, names: Collection[str]) -> None:
        self._written &= set(names)
        if self._elsewhere:
            return
        if not names:
            _remove_pieces(self.pieces)
            return
        kept = {self._piece(name) for name in names}
        for path in self.pieces.iterdir():
            if path not in kept:
                path.unlink(missing_ok=True)


def saved_run_ids(folder: Path) -> Iterator[tuple[Path, tuple[str, ...]]]:
    """The checkpoints of a folder that can be read, each with the runs it holds in the order of their lanes."""
    for path in sorted(folder.glob("*.pt")):
        with contextlib.suppress(Exception):  # whoever runs its cell is told of one that cannot be read
            run_ids = tuple(_read(path)["run_ids"])
            yield path, run_ids


def remove_finished(folder: Path, stored: Callable[[str], int]) -> None:
    """Remove the checkpoints of runs that have all ended since, left by a process that was killed in between.

    What no checkpoint has left stays, and so does everything if the folder is a link to elsewhere.

    Args:
        folder: of the checkpoints; nobody may be at work there.
        stored: when the result of a run was written, by its id, in ns since the epoch; 0 if there is none.
    """
    if folder.is_symlink():
        return
    for path, run_ids in saved_run_ids(folder):
        with contextlib.suppress(OSError):  # somebody removed it
            saved = path.stat().st_mtime_ns
            if all(stored(run_id) > saved for run_id in run_ids):
                Checkpoint(path, run_ids).delete()
    for pieces in folder.glob("*/"):
        if not pieces.with_suffix(".pt").exists():
            _remove_pieces(pieces)
    with contextlib.suppress(OSError):
        folder.rmdir()


def _remove_pieces(folder: Path) -> None:
    """Remove a folder of pieces, whole or half written; it stays if it is a link or holds anything else."""
    with contextlib.suppress(OSError):
        found = [] if folder.is_symlink() else list(folder.iterdir())
        if all(path.suffix in (".pt", ".tmp") for path in found):
            for path in found:
                path.unlink()
            folder.rmdir()


def _read(path: Path) -> Any:
    if not path.is_file():  # a pipe would be waited for
        raise ValueError("it is no regular file")
    return torch.load(path, map_location="cpu", weights_only=True, mmap=True)  # a large replay is not held twice


def _with_settled(state: dict[str, Any], change: Callable[[Any, str], Any], place: str = "") -> dict[str, Any]:
    """A state in which `change` has replaced all settled pieces of a part; it is told the part's dotted name, too."""
    return {
        key: change(value, place)
        if key == SETTLED
        else _with_settled(value, change, f"{place}{key}.")
        if isinstance(value, dict)
        else value
        for key, value in state.items()
    }
