"""One stored run as a parquet file: its evaluation episodes as rows, its record as JSON in the schema's metadata.

Beside the record lie the averages of the rows, which are all that a report needs: reading them decodes no row.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from . import schema

_RECORD = set(schema.RUNS.names)
_AVERAGED_FROM = ("step", "update", "final", *schema.MEANS)
_AVERAGED = set(schema.AVERAGES.names) - {"run_id"}


class NotARunError(Exception):
    """A file that this version of the store did not write; the message is the reason."""


def write(file: BinaryIO, record: dict[str, Any], evaluations: pa.Table) -> None:
    """Write a run whose record and rows have been checked against the schema."""
    # JSON values: parquet keeps the order of metadata keys, but nothing promises that it always will
    metadata = {"run": json.dumps(record, sort_keys=True), "averages": json.dumps(averages(evaluations))}
    # a run has few rows: dictionaries and statistics would only make its file bigger and slower to read
    pq.write_table(
        evaluations.replace_schema_metadata(metadata), file, compression="zstd", use_dictionary=False,
        write_statistics=False,
    )  # fmt: skip


def content(path: Path) -> bytes:
    """All of a file, at once: parquet would come back to the disk for every column."""
    with open(path, "rb", buffering=0) as file:
        return file.read()


def read(source: Path | bytes, columns: Sequence[str] = ()) -> tuple[dict[str, Any], pa.Table]:
    """A run's record, and the named columns of its evaluations, from a file or its content.

    Raises:
        NotARunError: it is something else.
        OSError: the file cannot be read.
    """
    data = source if isinstance(source, bytes) else content(source)
    record, _ = _checked(data)
    return record, _rows(data, columns)


def read_averages(source: Path | bytes) -> tuple[dict[str, Any], dict[str, list[Any]]]:
    """A run's record, and the averages of its evaluations, from a file or its content.

    Raises:
        NotARunError: it is something else.
        OSError: the file cannot be read.
    """
    data = source if isinstance(source, bytes) else content(source)
    record, stored = _checked(data)
    if stored is None:
        return record, averages(_rows(data, _AVERAGED_FROM))
    try:
        found = json.loads(stored)
        sound = found.keys() == _AVERAGED and len({len(values) for values in found.values()}) == 1
    except (ValueError, AttributeError, TypeError):
        sound = False
    if not sound:
        raise NotARunError("its averages cannot be read; delete it to run it again")
    return record, found


def averages(rows: pa.Table) -> dict[str, list[Any]]:
    """One row per evaluation with the columns of `AVERAGES` but the run's id; a mean is None where a value is NaN."""
    columns = {name: rows[name].to_numpy() for name in _AVERAGED_FROM}
    keys = ("step", "update", "final")
    order = np.lexsort([columns[key] for key in reversed(keys)])
    columns = {name: values[order] for name, values in columns.items()}
    changed = np.any([np.diff(columns[key]) != 0 for key in keys], axis=0)
    first = np.concatenate([[0], np.flatnonzero(changed) + 1]) if len(order) else np.array([], int)
    episodes = np.diff(first, append=len(order))
    averaged = {key: columns[key][first] for key in keys} | {"episodes": episodes}
    averaged |= {
        name: np.add.reduceat(columns[name], first) / episodes if len(first) else first for name in schema.MEANS
    }
    return {name: [None if value != value else value for value in values.tolist()] for name, values in averaged.items()}


def _checked(data: bytes) -> tuple[dict[str, Any], bytes | None]:
    """A run's record, and its averages as they are stored, if they are."""
    try:
        found = _footer(data)
        metadata = found.metadata or {}
        record = json.loads(metadata[b"run"])
        version = record.get("schema")
    except (pa.ArrowException, KeyError, ValueError, AttributeError):
        raise NotARunError("it is torn or was not written by the store; delete it to run it again") from None
    if version not in range(1, schema.SCHEMA_VERSION + 1):
        raise NotARunError(f"it has schema version {version}, this version reads up to {schema.SCHEMA_VERSION}")
    record = schema.current(record)
    # schemas of parquet are compared first, since one of Arrow takes long to make
    usual = found.schema.equals(_parquet_schema(version)) or found.schema.to_arrow_schema().equals(
        schema.written(version)
    )
    if not usual or record.keys() != _RECORD:
        raise NotARunError("its columns are not those of its schema version")
    return record, metadata.get(b"averages")


def _footer(data: bytes) -> pq.FileMetaData:
    """What `pq.read_metadata` gives, without the paths of all columns, which take it as long again as the footer."""
    reader = pq.core.ParquetReader()
    reader.open(pa.BufferReader(data))
    return reader.metadata


@cache
def _parquet_schema(version: int) -> pq.ParquetSchema:
    """Columns of the evaluations in a file of a schema version, as parquet knows them."""
    file = pa.BufferOutputStream()
    pq.write_table(schema.written(version).empty_table(), file)
    return pq.read_metadata(pa.BufferReader(file.getvalue())).schema


def _rows(data: bytes, columns: Sequence[str]) -> pa.Table:
    """Named columns of the evaluations in a file; those that its version lacks are null."""
    if not columns:
        return schema.EVALUATIONS.empty_table().select([])
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        found = file.schema_arrow.names
        table = file.read([name for name in columns if name in found], use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise NotARunError(f"its rows cannot be read ({error}); delete it to run it again") from None
    fields = [schema.EVALUATIONS.field(name) for name in columns]
    arrays = [table.column(field.name) if field.name in found else pa.nulls(len(table), field.type) for field in fields]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))
