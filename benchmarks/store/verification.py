"""Is a results folder sound? Every file is read to its last byte, and whatever does not count is named.

A file with a digest is as the store wrote it, which has checked its rows; the rows of older files are checked here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa

from . import policies, runfile
from .store import Store, row_faults


class Finding(NamedTuple):
    """One thing worth knowing about a file."""

    path: Path
    reason: str
    wrong: bool
    """Whether somebody should look at it; leftovers, equal copies and missing policies do no harm."""


def verify(store: Store) -> tuple[int, list[Finding]]:
    """Read all files of a results folder; changes nothing.

    Returns:
        The number of runs that count, and everything else that was found.
    """
    found = [Finding(path, reason, wrong) for path, reason, wrong in store.others()]
    sound: dict[str, tuple[Path, dict[str, Any]]] = {}
    copies: list[tuple[Path, dict[str, Any]]] = []
    without = 0
    for path, run in store.scan():
        if isinstance(run, runfile.NotARunError):
            found.append(Finding(path, str(run), True))
            continue
        record, averages, rows = run
        found += [Finding(path, fault, True) for fault in _faults(record, averages, rows)]
        if record["policy_sha256"] and policies.is_missing(store.folder, record):
            without += 1
        elif record["policy_sha256"] and (fault := policies.fault(store.folder, record)):
            found.append(Finding(path, fault, True))
        if record["run_id"] == path.stem:
            sound[path.stem] = path, record
        else:
            copies.append((path, record))
    for path, record in copies:
        named, original = sound.setdefault(record["run_id"], (path, record))
        if named == path:
            found.append(Finding(path, f"it holds run {record['run_id']} and counts, but has another name", True))
        elif original == record:
            found.append(Finding(path, f"it is a copy of {named.name}, which counts", False))
        else:
            found.append(Finding(path, f"it holds another result of the run in {named.name}; keep one of them", True))
    if without:
        reason = f"{without} missing; only play, render and films need them"
        found.append(Finding(store.folder / policies.FOLDER, reason, False))
    return len(sound), sorted(found)


def _faults(record: Mapping[str, Any], averages: Mapping[str, list[Any]], rows: pa.Table | None) -> Iterator[str]:
    """What a run should not have."""
    if record["status"] == "completed" and not any(averages["final"]):
        yield "the run is completed but has no final evaluation"
    if rows is not None:
        yield from row_faults(record, rows)
        if averages != runfile.averages(rows):
            yield "its averages, which reports use, are not those of its rows"
