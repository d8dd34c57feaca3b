"""One stored run as a parquet file: its evaluation episodes as rows, its record as JSON in the schema's metadata.

Beside the record lie the averages of the rows, which are all that a report needs: reading them decodes no row. A digest
of the whole file lies there, too, so that every reader notices a flipped bit; it protects from accidents, not from
whoever writes another digest.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.files import read_regular

from . import schema

_AVERAGED_FROM = ("step", "update", "final", *schema.MEANS)
_DIGITS = 64
"""Hex digits of a SHA-256."""
_FIRST_WITH_DIGEST = 5
"""Schema version from which on every file has one."""


Whole = tuple[dict[str, Any], dict[str, list[Any]], pa.Table | None]
"""A run's record, its averages as they are stored, and all rows; no rows where a digest stands for the whole file."""


class NotARunError(Exception):
    """A file that this version of the store did not write; the message is the reason."""


def write(file: BinaryIO, record: dict[str, Any], evaluations: pa.Table) -> None:
    """Write a run whose record and rows have been checked against the schema."""
    # JSON values: parquet keeps the order of metadata keys, but nothing promises that it always will
    token = secrets.token_hex(_DIGITS // 2)
    metadata = {
        "run": json.dumps(record, sort_keys=True),
        "averages": json.dumps(averages(evaluations)),
        "digest": token,
    }
    whole = pa.BufferOutputStream()
    # a run has few rows: dictionaries, statistics and Arrow's own schema would only make its file bigger and slower
    with pq.ParquetWriter(
        whole, evaluations.schema, compression="zstd", use_dictionary=False, write_statistics=False, store_schema=False
    ) as writer:
        writer.write_table(evaluations)
        writer.add_key_value_metadata(metadata)
    data = whole.getvalue().to_pybytes()
    file.write(data.replace(token.encode(), _digest(data, token.encode())))


def read(source: Path | bytes, columns: Sequence[str] = ()) -> tuple[dict[str, Any], pa.Table]:
    """A run's record, and the named columns of its evaluations, from a file or its content.

    Raises:
        NotARunError: it is something else, or damaged.
        OSError: the file cannot be read, or is no regular one.
    """
    record, _, file = _checked(source)
    return record, _rows(file, columns)


def read_averages(source: Path | bytes) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """A run's record, and the averages of its evaluations, from a file or its content.

    Raises:
        NotARunError: it is something else, or damaged.
        OSError: the file cannot be read, or is no regular one.
    """
    record, stored, file = _checked(source)
    return record, _averages_in(file, stored)


def read_whole(source: Path | bytes) -> Whole:
    """All of a run, from a file or its content.

    Raises:
        NotARunError: it is something else, or damaged.
        OSError: the file cannot be read, or is no regular one.
    """
    record, stored, file = _checked(source)
    rows = None if b"digest" in file.metadata.metadata else _rows(file, schema.EVALUATIONS.names)
    return record, _averages_in(file, stored), rows


def _averages_in(file: pq.ParquetFile, stored: bytes | None) -> dict[str, list[Any]]:
    """The averages as they are stored in a file, or where they are not, of its rows."""
    if stored is None:
        return averages(_rows(file, _AVERAGED_FROM))
    try:
        found = json.loads(stored)
    except (ValueError, RecursionError):
        found = None
    fault = schema.averages_fault(found)
    if fault is not None:
        raise NotARunError(f"{fault}; delete it to run it again")
    return dict(found)


def averages(rows: pa.Table) -> dict[str, list[Any]]:
    """One row per evaluation with the columns of `AVERAGES` but the run's id; a mean is None where a value is NaN."""
    columns = {name: rows[name].to_numpy() for name in _AVERAGED_FROM}
    keys = ("step", "update", "final")
    order = np.lexsort([columns[key] for key in reversed(keys)])
    columns = {name: values[order] for name, values in columns.items()}
    first = np.zeros(min(len(order), 1), int)
    if len(order):
        changed = [columns[key][1:] != columns[key][:-1] for key in keys]
        first = np.concatenate([first, np.flatnonzero(changed[0] | changed[1] | changed[2]) + 1])
    episodes = np.concatenate([first[1:], [len(order)][: len(first)]]) - first
    averaged = {key: columns[key][first] for key in keys} | {"episodes": episodes}
    for name in schema.MEANS:
        averaged[name] = np.add.reduceat(columns[name], first) / episodes if len(first) else first
    return {name: [None if value != value else value for value in values.tolist()] for name, values in averaged.items()}


def _checked(source: Path | bytes) -> tuple[dict[str, Any], bytes | None, pq.ParquetFile]:
    """A run's record, its averages as they are stored, if they are, and the file as parquet."""
    data = source if isinstance(source, bytes) else read_regular(source)
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        found = file.metadata
        metadata = found.metadata or {}
        record = json.loads(metadata[b"run"])
        version = record.get("schema")
    except (pa.ArrowException, OSError, KeyError, ValueError, AttributeError, RecursionError):
        raise NotARunError("it is torn or was not written by the store; delete it to run it again") from None
    if type(version) is not int or not 1 <= version <= schema.SCHEMA_VERSION:
        raise NotARunError(f"it has schema version {version}, this version reads up to {schema.SCHEMA_VERSION}")
    digest = metadata.get(b"digest")
    if digest != _digest(data, digest) if digest is not None else version >= _FIRST_WITH_DIGEST:
        raise NotARunError("it is damaged, its content is not what was written; delete it to run it again")
    # what has its digest was written by the store; schemas of parquet are compared first, one of Arrow takes long
    usual = digest is not None or found.schema.equals(_parquet_schema(version))
    if not usual and not found.schema.to_arrow_schema().equals(schema.written(version)):
        raise NotARunError("its columns are not those of its schema version")
    record = schema.current(record)
    fault = schema.record_fault(record)
    if fault is not None:
        raise NotARunError(f"{fault}; delete it to run it again")
    return record, metadata.get(b"averages"), file


def _digest(data: bytes, there: bytes) -> bytes:
    """Hex digits of the SHA-256 of a file's content in which zeros stand in the place of its digest.

    Args:
        data: the content.
        there: what stands in that place.
    """
    begin = data.rfind(there)
    whole = hashlib.sha256(memoryview(data)[:begin])
    whole.update(b"0" * _DIGITS)
    whole.update(memoryview(data)[begin + _DIGITS :])
    return whole.hexdigest().encode()


@cache
def _parquet_schema(version: int) -> pq.ParquetSchema:
    """Columns of the evaluations in a file of a schema version, as parquet knows them."""
    file = pa.BufferOutputStream()
    pq.write_table(schema.written(version).empty_table(), file)
    return pq.read_metadata(pa.BufferReader(file.getvalue())).schema


def _rows(file: pq.ParquetFile, columns: Sequence[str]) -> pa.Table:
    """Named columns of the evaluations in a file; those that its version lacks are null."""
    if not columns:
        return schema.EVALUATIONS.empty_table().select([])
    found, wanted = file.metadata.schema.names, _fields(tuple(columns))
    try:
        table = file.read([name for name in columns if name in found], use_threads=False)
        arrays = [table[field.name] if field.name in found else pa.nulls(len(table), field.type) for field in wanted]
        return pa.Table.from_arrays(arrays, schema=wanted)
    except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
        raise NotARunError(f"its rows cannot be read ({error}); delete it to run it again") from None


@cache
def _fields(columns: tuple[str, ...]) -> pa.Schema:
    """Named columns of the evaluations."""
    return pa.schema([schema.EVALUATIONS.field(name) for name in columns])
