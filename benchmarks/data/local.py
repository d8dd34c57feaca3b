"""Which datasets there are, by their metadata alone: without Minari, torch or a simulator.

They lie where Minari has them: MINARI_DATASETS_PATH, or ~/.minari/datasets.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.experts import has_expert
from benchmarks.files import read_regular
from benchmarks.kit.errors import UserError, in_one_line
from benchmarks.tasks import MINARI_ID, TASKS, Task

from . import manifest

EPISODES = 25
"""Episodes of an embedded dataset."""


@dataclass(frozen=True)
class DatasetInfo:
    """A dataset as far as a user wants to know it."""

    dataset_id: str
    """Minari id."""
    content_hash: str | None
    """First 16 hex digits of the SHA-256 of all episodes; None if not known without reading the dataset."""
    episodes: int
    """Number of whole episodes."""
    mean_return: float
    """Mean undiscounted return over all episodes; NaN if not known without reading the dataset."""
    path: Path | None
    """Folder of the dataset; None while it is not there."""


def folder(dataset_id: str = "") -> Path:
    """Where a dataset lies, or would; of no id, the folder of all datasets, which is there from now on.

    Raises:
        UserError: that folder cannot be made.
    """
    root = Path(os.environ.get("MINARI_DATASETS_PATH") or Path.home() / ".minari" / "datasets")
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"the folder of Minari datasets cannot be made ({error}); set MINARI_DATASETS_PATH") from error
    return root / dataset_id


def embedded(task: Task) -> DatasetInfo:
    """The embedded dataset of a task: as it was built here, or as the manifest says that it will be.

    Raises:
        UserError: the task has none, or its metadata cannot be read.
    """
    dataset_id = task.dataset_id("embedded")
    path = folder(dataset_id)
    if path.exists():
        return _summary(dataset_id, read_metadata(dataset_id, path), path)
    return _summary(dataset_id, manifest.read().get(task.name, {}), None)


def listing() -> list[DatasetInfo]:
    """All local datasets, then the embedded ones that can be built; reads no episodes.

    Raises:
        UserError: a folder among the datasets is none.
    """
    here = {dataset_id: folder(dataset_id) for dataset_id in ids()}
    found = [_summary(dataset_id, read_metadata(dataset_id, path), path) for dataset_id, path in here.items()]
    for task in TASKS.values():
        if task.embedded_dataset is not None and task.embedded_dataset not in here and has_expert(task.name):
            found.append(embedded(task))
    return found


def ids() -> list[str]:
    """Ids of all local datasets: like Minari, every folder that has a folder `data`, hidden ones aside.

    Raises:
        UserError: the name of one is no Minari id, or the folder cannot be read.
    """
    root = folder()
    try:
        found = sorted(_below(root, ""), key=lambda name: (name.rpartition("-v")[0], int(name.rpartition("-v")[2])))
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(
            f"the datasets in {root} cannot be listed ({in_one_line(error)}); tidy up that folder"
        ) from error
    return found


def read_metadata(dataset_id: str, path: Path) -> dict[str, Any]:
    """The metadata of a dataset in a folder.

    Raises:
        UserError: they cannot be read, or are of another dataset.
    """
    try:
        metadata = json.loads(read_regular(path / "data" / "metadata.json"))
        if not isinstance(metadata, dict) or metadata.get("dataset_id") != dataset_id:
            raise ValueError(f"its metadata are not those of {dataset_id}")
    except (OSError, ValueError, RecursionError) as error:
        raise damaged(dataset_id, path, error) from error
    return metadata


def damaged(dataset_id: str, path: Path, error: Exception) -> UserError:
    """The error to raise of a dataset that cannot be read."""
    fix = "delete the folder and obtain the dataset anew"
    return UserError(f"dataset {dataset_id} in {path} cannot be read ({in_one_line(error)}); {fix}")


def _below(root: Path, namespace: str) -> Iterator[str]:
    for entry in sorted(os.scandir(root / namespace), key=lambda entry: entry.name):
        if entry.name.startswith(".") or not entry.is_dir():
            continue
        name = f"{namespace}/{entry.name}".lstrip("/")
        if not (root / name / "data").exists():
            yield from _below(root, name)
        elif MINARI_ID.fullmatch(name) is None:
            raise ValueError(f"{name} is no id of a dataset, NAMESPACE/NAME-vN")
        else:
            yield name


def _summary(dataset_id: str, metadata: Mapping[str, Any], path: Path | None) -> DatasetInfo:
    try:
        episodes, mean = int(metadata.get("total_episodes", EPISODES)), float(metadata.get("mean_return", math.nan))
    except (TypeError, ValueError, OverflowError) as error:
        raise damaged(dataset_id, path or folder(dataset_id), error) from error
    return DatasetInfo(dataset_id, metadata.get("content_hash"), episodes, mean, path)
