"""What the embedded datasets must contain: a dataset is built on the user's machine and compared with this record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.kit.errors import UserError
from benchmarks.tasks import TASKS

PATH = Path(__file__).with_name("manifest.json")
"""The committed manifest."""

RECORDED = ("dataset_id", "content_hash", "policy_sha256", "total_episodes", "mean_return", "versions")
"""The metadata of a dataset that the manifest keeps."""


def read(path: Path = PATH) -> dict[str, dict[str, Any]]:
    """The entries by task name; empty if there is no manifest."""
    return json.loads(path.read_text()) if path.exists() else {}


def record(task_name: str, metadata: Mapping[str, Any], path: Path = PATH) -> None:
    """Set the entry of one task of the suite from the metadata of its embedded dataset."""
    entries = {**read(path), task_name: {key: metadata[key] for key in RECORDED}}
    path.write_text(json.dumps({name: entries[name] for name in TASKS if name in entries}, indent=2) + "\n")


def difference(task_name: str, metadata: Mapping[str, Any], path: Path = PATH) -> str:
    """How an embedded dataset differs from its entry, in words; empty if it does not, or if the expert has no entry.

    Simulations repeat to the last bit only with the same versions on the same kind of machine; elsewhere a difference
    is to be expected, and the mean return tells whether it matters.

    Raises:
        UserError: the content differs although the expert, the versions and the kind of machine are the same.
    """
    entry = read(path).get(task_name)
    if entry is None or entry["policy_sha256"] != metadata["policy_sha256"]:
        return ""
    if entry["content_hash"] == metadata["content_hash"]:
        return ""
    here, there = metadata["versions"], entry["versions"]
    differ = [f"{key} {here.get(key)} (published: {there[key]})" for key in there if here.get(key) != there[key]]
    if not differ:
        raise UserError(
            f"dataset {metadata['dataset_id']} has content {metadata['content_hash']}, published is "
            f"{entry['content_hash']}, with the same expert and versions; delete it to build it anew, and report this"
        )
    return (
        f"differs from the published one: mean return {metadata['mean_return']:.1f} instead of "
        f"{entry['mean_return']:.1f}, built with {', '.join(differ)}"
    )
