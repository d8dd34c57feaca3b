"""One stored run as a parquet file: its evaluation episodes as rows, its record as JSON in the schema's metadata."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from . import schema


class NotARunError(Exception):
    """A file that this version of the store did not write; the message is the reason."""


def write(file: BinaryIO, record: dict[str, Any], evaluations: pa.Table) -> None:
    """Write a run whose record and rows have been checked against the schema."""
    # one JSON value: parquet keeps the order of metadata keys, but nothing promises that it always will
    table = evaluations.replace_schema_metadata({"run": json.dumps(record, sort_keys=True)})
    # a run has few rows: dictionaries and statistics would only make its file bigger and slower to read
    pq.write_table(table, file, compression="zstd", use_dictionary=False, write_statistics=False)


def read(path: Path, columns: Sequence[str] = ()) -> tuple[dict[str, Any], pa.Table]:
    """A run's record, and the named columns of its evaluations.

    Raises:
        NotARunError: it is something else.
        OSError: the file cannot be read.
    """
    data = path.read_bytes()  # at once: parquet would come back to the disk for every column
    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        found = file.schema_arrow
        record = json.loads((found.metadata or {})[b"run"])
        version = record.get("schema")
    except (pa.ArrowException, KeyError, ValueError, AttributeError):
        raise NotARunError("it is torn or was not written by the store; delete it to run it again") from None
    if version not in (*schema.LATER_COLUMNS, schema.SCHEMA_VERSION):
        raise NotARunError(f"it has schema version {version}, this version reads up to {schema.SCHEMA_VERSION}")
    record = schema.current(record)
    if not found.equals(schema.written(version)) or set(record) != set(schema.RUNS.names):
        raise NotARunError("its columns are not those of its schema version")
    if not columns:
        return record, schema.EVALUATIONS.empty_table().select([])
    try:
        table = file.read([name for name in columns if name in found.names], use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise NotARunError(f"its rows cannot be read ({error}); delete it to run it again") from None
    fields = [schema.EVALUATIONS.field(name) for name in columns]
    arrays = [
        table.column(field.name) if field.name in found.names else pa.nulls(len(table), field.type) for field in fields
    ]
    return record, pa.Table.from_arrays(arrays, schema=pa.schema(fields))
