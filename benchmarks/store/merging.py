"""Several results folders to one: files are copied as they are, each run once; their folders stay as they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.kit.errors import UserError

from . import policies
from .frame import opened
from .store import Store, rank
from .verification import verify


class Merged(NamedTuple):
    """What became of the runs, by id."""

    copied: list[str]
    """They are new in the folder, or stand there instead of a result that was not completed."""
    kept: list[str]
    """The folder has had them."""
    differing: dict[str, list[Path]]
    """Files that hold another result of a run than the one that counts; they are left where they are."""


def merge(folders: Sequence[Path], out: Path) -> Merged:
    """Copy the runs of results folders into one; may be repeated after a kill.

    Of several results of a run the completed one counts, then the latest; but no completed run of `out` is replaced.

    Args:
        folders: sound results folders, as `verify` has it.
        out: results folder, which need not exist.

    Raises:
        UserError: one of them is no results folder or not sound, or `out` cannot be written to.
    """
    if Path(out).is_dir():
        _check(opened(out))
    stores = [opened(folder) for folder in folders]
    for store in stores:
        _check(store)
    target, merged = Store(out), Merged([], [], {})
    chosen: dict[str, tuple[Path, dict[str, Any]]] = {}
    holders: dict[str, list[tuple[Path, dict[str, Any]]]] = {}
    for path, record in (found for store in stores for found in _runs(store)):
        run_id = record["run_id"]
        holders.setdefault(run_id, []).append((path.parent.parent, record))
        rival_path, rival = chosen.setdefault(run_id, (path, record))
        if rival != record:
            better = rank(record) > rank(rival)
            merged.differing.setdefault(run_id, []).append(rival_path if better else path)
            chosen[run_id] = (path, record) if better else (rival_path, rival)
    for run_id, (path, record) in sorted(chosen.items()):
        held = target.record(run_id)
        if held is None or (held["status"] != "completed" and rank(record) > rank(held)):
            _bring_policy(out, record, holders[run_id])
            target.adopt(path)
            merged.copied.append(run_id)
        else:
            merged.kept.append(run_id)
            if policies.is_missing(out, held):
                _bring_policy(out, held, holders[run_id])
            if held != record:
                merged.differing.setdefault(run_id, []).append(path)
    return merged


def _bring_policy(out: Path, record: dict[str, Any], holders: Sequence[tuple[Path, dict[str, Any]]]) -> None:
    """Copy a run's policy from the first of the folders with that run that has it, if any has."""
    for folder, other in holders:
        if record["policy_sha256"] and other == record and not policies.is_missing(folder, record):
            policies.write(out, record["run_id"], policies.read(folder, record))
            return


def _check(store: Store) -> None:
    _, found = verify(store)
    wrong = [finding for finding in found if finding.wrong]
    if wrong:
        first = f"{wrong[0].path.name}: {wrong[0].reason}"
        raise UserError(f"{store.folder} is not sound ({first}); see `ndi-bench store verify {store.folder}`")


def _runs(store: Store) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Files and records of the runs that count."""
    for path, run in store.scan():
        if not isinstance(run, Exception) and run[0]["run_id"] == path.stem:
            if path.is_symlink():
                raise UserError(f"{path} is a symbolic link, which is not followed; put the file in its place")
            yield path, run[0]
