"""The columns of stored runs and evaluation episodes, their versions, and rows checked against them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any

import pyarrow as pa

from benchmarks.kit.errors import legible

SCHEMA_VERSION = 6
"""Raised with every change of the files; older ones are read as if they were new, newer ones are set aside, never
misread. Version 2 brought `changes` to the runs, version 3 `kl` and `kl_uniform` to the evaluations, version 4 their
averages beside the run's record, version 5 `dataset_notes`, `audit` and `policy_sha256` to the runs and a digest of the
whole file, version 6 `draw` to the runs."""

SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+,-]*")
"""What a run's id looks like, which is also the name of its file."""

STATUSES = ("completed", "failed", "diverged", "timeout")
"""How a run can have ended."""


def _required(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


RUNS = pa.schema(
    [
        _required("run_id", pa.string()),
        _required("method", pa.string()),
        _required("label", pa.string()),
        _required("privileged", pa.bool_()),
        _required("task", pa.string()),
        _required("env_id", pa.string()),
        pa.field("dataset_id", pa.string()),
        _required("demos", pa.int64()),
        _required("draw", pa.int64()),
        _required("subsample", pa.int64()),
        _required("seed", pa.int64()),
        _required("profile", pa.string()),
        _required("config", pa.string()),
        _required("config_hash", pa.string()),
        _required("changes", pa.string()),
        _required("episode_ids", pa.list_(pa.int64())),
        pa.field("dataset_hash", pa.string()),
        pa.field("dataset_notes", pa.string()),
        pa.field("commit", pa.string()),
        _required("dirty", pa.bool_()),
        _required("versions", pa.string()),
        _required("device", pa.string()),
        _required("cpu", pa.string()),
        _required("lanes", pa.int64()),
        _required("budget", pa.int64()),
        _required("status", pa.string()),
        pa.field("error", pa.string()),
        _required("steps", pa.int64()),
        _required("updates", pa.int64()),
        pa.field("audit", pa.string()),
        pa.field("policy_sha256", pa.string()),
        _required("train_seconds", pa.float64()),
        _required("eval_seconds", pa.float64()),
        _required("started", pa.string()),
        _required("schema", pa.int64()),
    ]
)
"""Columns of `Store.runs`. Steps and budget are environment steps, `started` is UTC in ISO 8601, `demos` is the number
of whole trajectories (0 for methods that use none), `draw` says which: those of the seed's number, unless draws were
crossed with seeds, `privileged` marks methods that see the true reward or the expert, `changes` holds the settings that
are not the method's own (JSON, dotted names), `dataset_notes` says how demonstrations that were used all the same
differ from the task, `audit` lists what was noticed that a method must not do (JSON list of sentences, empty if nothing
was), `policy_sha256` is the hash of the final policy's file, `schema` is filled in by the store. Columns that may be
null: the dataset (methods without demonstrations) and the notes on it (nothing to note), the commit (no checkout), the
error, the audit (not made, as of runs of older versions) and the policy (not kept)."""

EVALUATIONS = pa.schema(
    [
        _required("run_id", pa.string()),
        _required("method", pa.string()),
        _required("task", pa.string()),
        _required("demos", pa.int64()),
        _required("seed", pa.int64()),
        _required("step", pa.int64()),
        _required("update", pa.int64()),
        _required("episode", pa.int64()),
        _required("eval_seed", pa.int64()),
        _required("return", pa.float64()),
        _required("length", pa.int64()),
        _required("normalized", pa.float64()),
        pa.field("kl", pa.float64()),
        pa.field("kl_uniform", pa.float64()),
        _required("final", pa.bool_()),
    ]
)
"""Columns of `Store.evaluations`, one row per evaluation episode: the undiscounted true return, its normalised value
(0 random, 1 expert), the KL to the expert of the policy and of uniformly random actions at the visited states
(nats; null where it is not defined or not finite), and whether the row belongs to the last scheduled evaluation, the
one that tables use."""

MEANS = ("return", "normalized", "kl", "kl_uniform")
"""Columns of `EVALUATIONS` that are averaged over the episodes of an evaluation."""

AVERAGES = pa.schema(
    [
        _required("run_id", pa.string()),
        _required("step", pa.int64()),
        _required("update", pa.int64()),
        _required("final", pa.bool_()),
        _required("episodes", pa.int64()),
        _required("return", pa.float64()),
        _required("normalized", pa.float64()),
        _required("kl", pa.float64()),
        _required("kl_uniform", pa.float64()),
    ]
)
"""Columns of `Store.averages`: one row per evaluation, the number of its episodes and the means over them."""

LATER_COLUMNS = {1: ("kl", "kl_uniform"), 2: ("kl", "kl_uniform")}
"""Columns of `EVALUATIONS` that files of older versions lack."""


def table(rows: Iterable[Mapping[str, Any]], schema: pa.Schema, kind: str) -> pa.Table:
    """Rows as a table of the schema, refusing what pyarrow would silently drop or fill with nulls."""
    rows = list(rows)
    for row in rows:
        missing = [name for name in schema.names if name not in row]
        unknown = [name for name in row if name not in schema.names]
        if missing or unknown:
            faults = (f"{fault} {', '.join(names)}" for fault, names in (("lacks", missing), ("has unknown", unknown)))
            raise ValueError(
                f"{kind} row " + " and ".join(f for f, n in zip(faults, (missing, unknown), strict=True) if n)
            )
    columns = []
    for field in schema:
        try:
            column = pa.array([row[field.name] for row in rows], field.type)
        except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
            raise ValueError(f"{kind} column {field.name} must be {field.type}: {error}") from None
        if column.null_count and not field.nullable:
            raise ValueError(f"{kind} column {field.name} must not be empty")
        columns.append(column)
    return pa.Table.from_arrays(columns, schema=schema)


@cache
def written(version: int) -> pa.Schema:
    """Columns of the evaluations in a file of a schema version."""
    return pa.schema(field for field in EVALUATIONS if field.name not in LATER_COLUMNS.get(version, ()))


def current(record: Mapping[str, Any]) -> dict[str, Any]:
    """A run's record as if the present version had written it."""
    return {**_BEFORE, "draw": record.get("seed"), **record, "schema": SCHEMA_VERSION}


_BEFORE = {"changes": "{}", "dataset_notes": None, "audit": None, "policy_sha256": None}
"""Columns of `RUNS` that records of older versions lack, and what they have been; their draw was their seed's."""


def record_fault(record: Mapping[str, Any]) -> str | None:
    """What is wrong with a record that was read as JSON; None if it has the columns of `RUNS` and their types."""
    if record.keys() != _KINDS.keys():
        return "its columns are not those of its schema version"
    for name, kinds in _KINDS.items():
        kind = type(value := record[name])
        sound = abs(value) <= _MOST if kind is int else math.isfinite(value) if kind is float else True
        if kind not in kinds or not sound or (kind is str and not _is_text(value)):
            return f"its record has no sound {name}"
    if not SAFE_NAME.fullmatch(record["run_id"]):
        return "its run_id is no safe file name"
    if record["status"] not in STATUSES:
        return f"its status is none of {', '.join(STATUSES)}"
    if not all(type(number) is int and abs(number) <= _MOST for number in record["episode_ids"]):
        return "its record has no sound episode_ids"
    for name, kind in (("config", dict), ("versions", dict), ("changes", dict), ("audit", list)):
        if record[name] is not None and not _holds(record[name], kind):
            return f"its record has no sound {name}"
    return None


def averages_fault(found: Any) -> str | None:
    """What is wrong with averages that were read as JSON; None if they have the columns of `AVERAGES` but `run_id`."""
    if not isinstance(found, dict) or found.keys() != _AVERAGED.keys():
        return "its averages cannot be read"
    for name, kinds in _AVERAGED.items():
        values = found[name]
        whole = int in kinds and float not in kinds
        if (
            not isinstance(values, list)
            or not set(map(type, values)) <= kinds
            or (whole and max(map(abs, values), default=0) > _MOST)
        ):
            return "its averages cannot be read"
    return None if len(set(map(len, found.values()))) == 1 else "its averages cannot be read"


@cache
def _holds(text: str, kind: type) -> bool:
    """Whether a text is JSON of a kind; the same few texts are asked about for every run."""
    try:
        found = json.loads(text)
        return isinstance(found, kind) and _is_text(json.dumps(found, ensure_ascii=False))
    except (ValueError, RecursionError):
        return False


def _is_text(text: str) -> bool:
    """Whether a text can be written to a file: JSON may hold halves of characters."""
    return text.isascii() or legible(text) == text


_MOST = 2**63 - 1
"""Largest whole number of a column."""


def _kinds(field: pa.Field, nullable: bool) -> frozenset[type]:
    """The types of a column's values as JSON has them."""
    types: dict[pa.DataType, tuple[type, ...]] = {
        pa.string(): (str,), pa.int64(): (int,), pa.float64(): (float, int), pa.bool_(): (bool,),
        pa.list_(pa.int64()): (list,),
    }  # fmt: skip
    return frozenset((*types[field.type], *([type(None)] if nullable else [])))


_KINDS = {field.name: _kinds(field, field.nullable) for field in RUNS}
_AVERAGED = {field.name: _kinds(field, field.name in MEANS) for field in AVERAGES if field.name != "run_id"}
