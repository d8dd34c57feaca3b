"""Checkpoints of a cell under way: when one is due, what goes into it, and how a cell goes on from it."""

from __future__ import annotations

import time
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from benchmarks import provenance
from benchmarks.kit.contract import Stateful
from benchmarks.kit.errors import RestoringError, in_one_line

from .checkpoint import Checkpoint, CheckpointWarning
from .record import Record
from .settings import Settings

SHARE = 0.05
"""Most of a cell's time that may go into writing checkpoints; large replays are saved less often."""


class Saves:
    """The checkpoint of a cell, written on a clock.

    Args:
        record: what is known of the cell.
        settings: how it is run.
    """

    def __init__(self, record: Record, settings: Settings) -> None:
        self.record, self.settings = record, settings
        path = Path(settings.folder) / "checkpoints" / f"{record.cell.cell_id}.pt"
        self.checkpoint = Checkpoint(path, record.cell.run_ids)
        self._interval = settings.checkpoint_minutes * 60
        self._at = time.monotonic() + self._interval

    @property
    def due(self) -> bool:
        """Whether it is time."""
        return time.monotonic() >= self._at

    def save(self, environments: Stateful, parts: Mapping[str, Stateful]) -> None:
        """Write the checkpoint: the record, the environments, and the method's parts.

        Warns `CheckpointWarning` if the folder cannot be written to: the cell can go on, and there may be room later.
        """
        begin = time.monotonic()
        state = {
            **self.record.carried(),
            "commit": list(provenance.commit()),
            "device": torch.device(self.settings.device).type,
            "environments": environments.state_dict(),
            "parts": {name: part.state_dict() for name, part in parts.items()},
        }
        try:
            self.checkpoint.save(state)
        except OSError as error:
            name, folder = self.record.cell.name, self.checkpoint.path.parent
            reason = error.strerror or str(error)
            message = f"the checkpoint of {name} cannot be written to {folder}: {reason}; make room there"
            warnings.warn(message, CheckpointWarning, stacklevel=2)
        now = time.monotonic()
        self._at = now + max(self._interval, (now - begin) / SHARE)

    def resume(self, environments: Stateful) -> dict[str, Any] | None:
        """Take up the record and the environments from the checkpoint; the state of the method's parts, if any.

        Raises:
            RestoringError: it was made on another kind of device, whose random streams cannot go on here, or by a
                version whose checkpoints were others.
        """
        if self.settings.anew:
            self.checkpoint.delete()
        saved = self.checkpoint.load()
        if saved is None:
            return None
        here = torch.device(self.settings.device).type
        if saved.get("device", here) != here:  # a checkpoint of an older version does not say
            raise RestoringError(
                f"it was begun on {saved['device']} and this is {here}; give --device {saved['device']} to go on"
            )
        try:
            commit, parts = saved["commit"], saved["parts"]
            self.record.take_up(saved)
            environments.load_state_dict(saved["environments"])
        except Exception as error:  # the state of another version makes them raise almost anything
            raise RestoringError(
                f"it is of another version ({in_one_line(error)}); give the code it was begun with to go on"
            ) from error
        if commit != list(provenance.commit()):
            message = f"{self.record.cell.name} goes on from its checkpoint with other code than it began with"
            warnings.warn(message, CheckpointWarning, stacklevel=2)
        return dict(parts)
