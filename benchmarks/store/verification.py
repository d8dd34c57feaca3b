"""Is a results folder sound? Every file is read to its last row, and whatever does not count is named."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from . import runfile
from .store import Store


class Finding(NamedTuple):
    """One thing worth knowing about a file."""

    path: Path
    reason: str
    wrong: bool
    """Whether somebody should look at it; leftovers of killed processes and equal copies do no harm."""


def verify(store: Store) -> tuple[int, list[Finding]]:
    """Read all files of a results folder; changes nothing.

    Returns:
        The number of runs that count, and everything else that was found.
    """
    found = [Finding(path, reason, wrong) for path, reason, wrong in store.others()]
    sound: dict[str, tuple[Path, dict[str, Any]]] = {}
    copies: list[tuple[Path, dict[str, Any]]] = []
    for path, run in store.scan():
        if isinstance(run, Exception):
            found.append(Finding(path, str(run), True))
            continue
        record, rows = run
        found += [Finding(path, fault, True) for fault in _faults(record, rows)]
        try:
            if runfile.read_averages(path)[1] != runfile.averages(rows):
                found.append(Finding(path, "its averages, which reports use, are not those of its rows", True))
        except runfile.NotARunError as error:
            found.append(Finding(path, str(error), True))
            continue
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
    return len(sound), sorted(found)


def _faults(record: Mapping[str, Any], rows: pa.Table) -> Iterator[str]:
    """What the store would never have written."""
    for name in ("run_id", "method", "task", "demos", "seed"):
        if pc.any(pc.not_equal(rows[name], record[name])).as_py():
            yield f"its rows and its record differ in {name}"
    keys = ["step", "update", "episode"]
    if len(rows.group_by(keys).aggregate([])) < len(rows):
        yield "an evaluation episode is there twice"
    if record["status"] == "completed" and not pc.any(rows["final"]).as_py():
        yield "the run is completed but has no final evaluation"
