"""From the record of a cell to stored rows: of cells that ended by themselves, and of those whose process is gone."""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import asdict
from pathlib import Path
from typing import Any

from benchmarks import provenance
from benchmarks.kit.errors import legible
from benchmarks.plan.configuration import as_json
from benchmarks.plan.grid import Run
from benchmarks.store import policies
from benchmarks.store.store import Store

from . import tracking
from .record import Ending, Record
from .settings import Settings


def store_runs(record: Record, settings: Settings) -> None:
    """Store one run per lane with its final policy, all or none.

    Raises:
        UserError: the folder cannot be written to.
    """
    kept = {record.cell.runs[lane].run_id: data for lane, data in record.policies.items()}
    ended = [(_columns(record, settings, lane), record.evaluations[lane]) for lane in range(record.lanes)]
    Store(settings.folder).write_together(ended, kept)
    if settings.wandb:
        for (columns, evaluations), diagnostics in zip(ended, record.diagnostics, strict=True):
            tracking.mirror(columns, evaluations, Path(settings.folder), diagnostics)


def store_failure(
    record: Record, settings: Settings, status: str, error: str, stored: Collection[str] = ()
) -> dict[str, Ending]:
    """Store the runs of a cell whose process is gone, with all that it told, over those of former times.

    Args:
        record: what it told.
        settings: how it was run.
        status: how the runs ended.
        error: why.
        stored: ids of runs that the process had stored itself before it died; they stay.

    Returns:
        How each of the other runs ended, by run id.

    Raises:
        UserError: the folder cannot be written to.
    """
    record.end(status, error)
    lost = [lane for lane, run in enumerate(record.cell.runs) if run.run_id not in stored]
    for lane in lost:
        Store(settings.folder).write(_columns(record, settings, lane), record.evaluations[lane])
    return {record.cell.runs[lane].run_id: record.endings[lane] for lane in lost}


def shared_columns(run: Run) -> dict[str, Any]:
    """The columns that runs and evaluations share."""
    return {"run_id": run.run_id, "method": run.method, "task": run.task.name, "demos": run.demos, "seed": run.seed}


def _columns(record: Record, settings: Settings, lane: int) -> dict[str, Any]:
    """The stored record of a lane's run."""
    run = record.cell.runs[lane]
    notes = {str(name): str(text) for name, text in record.notes.items()}  # a method's own
    if settings.allocation is not None:
        notes["allocation"] = settings.allocation
    columns = {
        **shared_columns(run),
        "label": run.label,
        "privileged": run.privileged,
        "env_id": run.task.env_id,
        "dataset_id": run.dataset_id,
        "draw": run.draw,
        "subsample": run.subsample,
        "profile": run.profile,
        "config": as_json(run.config),
        "config_hash": run.config_hash,
        "changes": run.changes,
        "episode_ids": list(record.episode_ids[lane]),
        "dataset_hash": run.dataset_hash,
        "dataset_notes": record.dataset_notes,
        **provenance.columns(settings.device, record.origin, notes),
        "lanes": record.lanes,
        "budget": run.budget,
        **asdict(record.endings[lane]),
        "audit": json.dumps(record.audit),
        "policy_sha256": policies.digest(record.policies[lane]) if lane in record.policies else None,
        "train_seconds": record.train_seconds,
        "eval_seconds": record.eval_seconds,
        "started": record.started,
    }
    return {name: legible(value) if isinstance(value, str) else value for name, value in columns.items()}
