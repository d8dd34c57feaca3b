"""Final policies of stored runs: `FOLDER/policies/<run_id>.safetensors`, whose SHA-256 stands in the run's record.

A policy takes its place just before its run, so that a run that names one has it, unless the folder was passed on
without; one without a run does no harm. After a kill in between the next `run` brings the run, see `Store.recover`.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.files import inside, put, read_regular
from benchmarks.kit.errors import UserError, writing

FOLDER = "policies"


def digest(data: bytes) -> str:
    """What a run's `policy_sha256` is."""
    return hashlib.sha256(data).hexdigest()


def write(folder: Path, run_id: str, data: bytes) -> None:
    """Keep a run's final policy, over an older one; the file appears whole or not at all.

    Raises:
        UserError: the folder cannot be written to.
    """
    with writing(Path(folder) / FOLDER):
        put(data, Path(folder), FOLDER, _name(run_id))


def read(folder: Path, record: Mapping[str, Any]) -> bytes:
    """The final policy of a stored run, which is the one that was stored with it.

    Args:
        folder: results folder.
        record: the run's columns.

    Raises:
        UserError: none was kept, its file is gone, or it is not what was stored.
    """
    if not isinstance(record["policy_sha256"], str):  # in a frame, what is missing may be NaN
        raise UserError(
            f"run {record['run_id']} has no policy: none was kept (runs of older versions have none, nor have runs "
            "that failed, random and scripted agents, and runs with --no-policies; train it anew to have one)"
        )
    found = _checked(folder, record)
    if isinstance(found, str):
        raise UserError(f"{Path(folder) / FOLDER / _name(record['run_id'])}: {found}")
    return found


def is_missing(folder: Path, record: Mapping[str, Any]) -> bool:
    """Whether a run's policy is not there: a folder may be passed on without its policies, which are large."""
    try:
        return not os.path.lexists(place(folder, record["run_id"]))
    except OSError:
        return False


def fault(folder: Path, record: Mapping[str, Any]) -> str | None:
    """What is wrong with the policy that a run's record names, in one line; None if nothing is."""
    found = _checked(folder, record)
    return found if isinstance(found, str) else None


def _checked(folder: Path, record: Mapping[str, Any]) -> bytes | str:
    """The policy that a run's record names, or what is wrong with it."""
    try:
        data = read_regular(place(folder, record["run_id"]))
    except FileNotFoundError:
        return "the run's policy is not there (git keeps none); restore the file, or run the run again"
    except OSError as error:
        return f"the run's policy cannot be read ({error.strerror or error}); restore the file"
    if digest(data) != record["policy_sha256"]:
        return "it is not the policy that was stored with the run; restore the file, or run the run again"
    return data


def _name(run_id: str) -> str:
    return f"{run_id}.safetensors"


def place(folder: Path, run_id: str) -> Path:
    """Where a run's policy lies; OSError if that is behind a link."""
    return inside(Path(folder), FOLDER, _name(run_id))
