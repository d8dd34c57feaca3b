"""The record of a cell under way: its lanes' evaluations and endings, its clocks, its checkpoint and its rows."""

from __future__ import annotations

import time
import warnings
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import provenance
from benchmarks.instrument.evaluation import Evaluator
from benchmarks.instrument.nonfinite import check_info, contained
from benchmarks.kit.contract import Progress, Stateful
from benchmarks.kit.errors import RestoringError, in_one_line
from benchmarks.plan import registry
from benchmarks.plan.configuration import as_json
from benchmarks.plan.grid import Cell, Run
from benchmarks.store.store import Store

from . import tracking
from .checkpoint import Checkpoint, CheckpointWarning
from .snapshots import keep_if_best

_CARRIED = ("evaluations", "episode_ids", "steps", "updates", "train_seconds", "eval_seconds", "mean_return", "started")


@dataclass(frozen=True)
class Settings:
    """How cells are run; nothing here changes what is learnt, but the device draws other random numbers."""

    folder: Path
    """Results folder."""
    device: str = "cpu"
    """Torch device."""
    timeout: float | None = None
    """Seconds of training and evaluation that a cell may take."""
    checkpoint_minutes: float = 5.0
    """Minutes between two checkpoints."""
    wandb: bool = False
    """Mirror finished runs to Weights & Biases."""
    threads: int = 1
    """Threads that step the environments of a cell."""
    anew: bool = False
    """Begin at the beginning, and drop the checkpoint of an interrupted run."""
    keep_policies: bool = False
    """Keep the best policy of every run, to make an expert of it."""


@dataclass(frozen=True)
class Ending:
    """How a lane ended."""

    status: str
    """One of `store.STATUSES`."""
    error: str | None
    """Why, in one line; None if completed."""
    steps: int
    """Environment steps taken."""
    updates: int
    """Gradient updates made."""


class Recording:
    """What is known of a cell.

    Args:
        cell: the cell.
        settings: how it is run.
    """

    def __init__(self, cell: Cell, settings: Settings) -> None:
        # read and kept now: the code may have moved on when a long cell ends
        provenance.commit()
        self.origin = registry.origin(cell.first.reference)
        self.cell, self.settings = cell, settings
        self.store = Store(settings.folder)
        self.checkpoint = Checkpoint(
            Path(settings.folder) / "checkpoints" / f"{cell.cell_id}.pt", [run.run_id for run in cell.runs]
        )
        self.started = datetime.now(UTC).isoformat(timespec="seconds")
        self.evaluations: list[list[dict[str, Any]]] = [[] for _ in cell.runs]
        self.endings: dict[int, Ending] = {}
        """How the lanes ended that have ended."""
        self.episode_ids: list[tuple[int, ...]] = [() for _ in cell.runs]
        """The demonstrated episodes of every lane."""
        self.steps = self.updates = 0
        self.train_seconds = self.eval_seconds = 0.0
        self.mean_return: float | None = None

    @property
    def ended(self) -> bool:
        """Whether every lane has ended."""
        return len(self.endings) == len(self.cell.runs)

    def endings_by_run(self) -> dict[str, Ending]:
        """How each run ended, by run id."""
        return {run.run_id: self.endings[lane] for lane, run in enumerate(self.cell.runs)}

    def diverged(self, lane: int, reason: str) -> None:
        """End a lane as diverged; the first reason counts."""
        if lane not in self.endings:
            error = f"{reason} (step {self.steps}, update {self.updates})"
            self.endings[lane] = Ending("diverged", error, self.steps, self.updates)

    def end_all(self, status: str, error: str | None = None) -> None:
        """End every lane that has not ended yet."""
        for lane in range(len(self.cell.runs)):
            self.endings.setdefault(lane, Ending(status, error, self.steps, self.updates))

    def evaluate(self, evaluator: Evaluator, progress: Progress, final: bool = False) -> None:
        """Play every lane's policy on the evaluation episodes; keep the rows of those that have not ended."""
        begin = time.perf_counter()
        check_info(progress.info, len(self.cell.runs), self.diverged)
        policy = contained(progress.policy, self.diverged)
        seen = evaluator.evaluate(policy, len(self.cell.runs), self.settings.device)
        for lost in np.flatnonzero(~np.isfinite(seen.returns).all(1)).tolist():
            self.diverged(lost, "a return in evaluation was not finite")
        normalized = self.cell.first.task.normalize(seen.returns)
        alive = [lane for lane in range(len(self.cell.runs)) if lane not in self.endings]
        for lane in alive:
            self.evaluations[lane] += [
                {
                    **_shared_columns(self.cell.runs[lane]),
                    "step": self.steps,
                    "update": progress.updates,
                    "episode": episode,
                    "eval_seed": seed,
                    "return": float(seen.returns[lane, episode]),
                    "length": int(seen.lengths[lane, episode]),
                    "normalized": float(normalized[lane, episode]),
                    "kl": _finite(seen.kl, lane, episode),
                    "kl_uniform": _finite(seen.kl_uniform, lane, episode),
                    "final": final,
                }
                for episode, seed in enumerate(evaluator.seeds)
            ]
            if self.settings.keep_policies:
                run_id = self.cell.runs[lane].run_id
                keep_if_best(self.settings.folder, run_id, progress.policy, lane, self.evaluations[lane])
        self.mean_return = float(seen.returns[alive].mean()) if alive else None
        self.eval_seconds += time.perf_counter() - begin

    def save(self, environments: Stateful, parts: Mapping[str, Stateful]) -> None:
        """Write the checkpoint: this record, the environments, and the method's parts.

        Warns `CheckpointWarning` if the folder cannot be written to: the cell can go on, and there may be room later.
        """
        state = {
            **self.carried(),
            "commit": list(provenance.commit()),
            "device": torch.device(self.settings.device).type,
            "environments": environments.state_dict(),
            "parts": {name: part.state_dict() for name, part in parts.items()},
        }
        try:
            self.checkpoint.save(state)
        except OSError as error:
            reason = error.strerror or str(error)
            message = f"the checkpoint of {self.cell.name} cannot be written to {self.checkpoint.path.parent}: {reason}"
            warnings.warn(f"{message}; make room there", CheckpointWarning, stacklevel=2)

    def carried(self) -> dict[str, Any]:
        """All that is known of the cell so far, for `take_up` in another process."""
        endings = {lane: asdict(ending) for lane, ending in self.endings.items()}
        return {**{name: getattr(self, name) for name in _CARRIED}, "endings": endings}

    def take_up(self, carried: Mapping[str, Any]) -> None:
        """Go on from what another process knew."""
        for name in _CARRIED:
            if name in carried:  # a checkpoint of an older version may have less
                setattr(self, name, carried[name])
        self.endings = {lane: Ending(**ending) for lane, ending in carried["endings"].items()}

    def resume(self, environments: Stateful) -> dict[str, Any] | None:
        """Take up this record and the environments from the checkpoint; the state of the method's parts, if any.

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
            self.take_up(saved)
            environments.load_state_dict(saved["environments"])
        except Exception as error:  # the state of another version makes them raise almost anything
            raise RestoringError(
                f"it is of another version ({in_one_line(error)}); give the code it was begun with to go on"
            ) from error
        if commit != list(provenance.commit()):
            message = f"{self.cell.name} goes on from its checkpoint with other code than it began with"
            warnings.warn(message, CheckpointWarning, stacklevel=2)
        return dict(parts)

    def write(self) -> None:
        """Store one run per lane, all or none, then drop the checkpoint.

        Raises:
            UserError: the folder cannot be written to.
        """
        ended = [(self._columns(lane), self.evaluations[lane]) for lane in range(len(self.cell.runs))]
        self.store.write_together(ended)
        if self.settings.wandb:
            for record, evaluations in ended:
                tracking.mirror(record, evaluations, Path(self.settings.folder))
        self.checkpoint.delete()

    def write_failure(self, status: str, error: str, stored: Collection[str] = ()) -> dict[str, Ending]:
        """Store the runs of a cell whose process is gone, with all that it told, over those of former times.

        Args:
            status: how they ended.
            error: why.
            stored: ids of runs that the process had stored itself before it died; they stay.

        Returns:
            How each of the other runs ended, by run id.

        Raises:
            UserError: the folder cannot be written to.
        """
        self.end_all(status, error)
        lost = [n for n, run in enumerate(self.cell.runs) if run.run_id not in stored]
        for lane in lost:
            self.store.write(self._columns(lane), self.evaluations[lane], replace=True)
        return {self.cell.runs[lane].run_id: self.endings[lane] for lane in lost}

    def _columns(self, lane: int) -> dict[str, Any]:
        """The stored record of a lane's run."""
        run = self.cell.runs[lane]
        return {
            **_shared_columns(run),
            "label": run.label,
            "privileged": run.privileged,
            "env_id": run.task.env_id,
            "dataset_id": run.dataset_id,
            "subsample": run.subsample,
            "profile": run.profile,
            "config": as_json(run.config),
            "config_hash": run.config_hash,
            "changes": run.changes,
            "episode_ids": list(self.episode_ids[lane]),
            "dataset_hash": run.dataset_hash,
            **provenance.columns(self.settings.device, self.origin),
            "lanes": len(self.cell.runs),
            "budget": run.budget,
            **asdict(self.endings[lane]),
            "train_seconds": self.train_seconds,
            "eval_seconds": self.eval_seconds,
            "started": self.started,
        }


def _finite(values: np.ndarray | None, lane: int, episode: int) -> float | None:
    """A divergence for the store: None where it is not defined or not finite."""
    return None if values is None or not np.isfinite(values[lane, episode]) else float(values[lane, episode])


def _shared_columns(run: Run) -> dict[str, Any]:
    """The columns that runs and evaluations share."""
    return {"run_id": run.run_id, "method": run.method, "task": run.task.name, "demos": run.demos, "seed": run.seed}
