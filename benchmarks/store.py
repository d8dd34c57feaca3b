"""Finished runs on disk: one parquet file per run, written atomically. The only file that knows the layout of results.

`FOLDER/runs/<run_id>.parquet` holds one row per evaluation episode; the run's own record travels as JSON in the file's
schema metadata, so a run is there completely or not at all, and folders of several machines merge by copying files.
`FOLDER/runs.parquet` and `FOLDER/evaluations.parquet` are exports for readers of other tools and are never read back.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from .kit.errors import UserError
from .staging import whole_file

SCHEMA_VERSION = 3
"""Raised with every change of the columns; older files are read as if they had the new ones, newer ones are set aside,
never misread. Version 2 brought `changes` to the runs, version 3 `kl` and `kl_uniform` to the evaluations."""

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
        _required("subsample", pa.int64()),
        _required("seed", pa.int64()),
        _required("profile", pa.string()),
        _required("config", pa.string()),
        _required("config_hash", pa.string()),
        _required("changes", pa.string()),
        _required("episode_ids", pa.list_(pa.int64())),
        pa.field("dataset_hash", pa.string()),
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
        _required("train_seconds", pa.float64()),
        _required("eval_seconds", pa.float64()),
        _required("started", pa.string()),
        _required("schema", pa.int64()),
    ]
)
"""Columns of `Store.runs`. Steps and budget are environment steps, `started` is UTC in ISO 8601, `demos` is the number
of whole trajectories (0 for methods that use none), `privileged` marks methods that see the true reward or the expert,
`changes` holds the settings that are not the method's own (JSON, dotted names), `schema` is filled in by the store.
Columns that may be null: the dataset (methods without demonstrations), the commit (no checkout) and the error."""

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
(0 random, 1 expert), the divergence from the expert of the policy and of uniformly random actions at the visited states
(nats; null where it is not defined or not finite), and whether the row belongs to the last scheduled evaluation, the
one that tables use."""

_LATER_COLUMNS = {1: ("kl", "kl_uniform"), 2: ("kl", "kl_uniform")}
"""Columns of `EVALUATIONS` that files of older versions lack."""

_SHARED = ("run_id", "method", "task", "demos", "seed")
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._=+,-]*")


class SetAside(UserWarning):
    """A file among the runs that is not a run; it is left where it is and its rows are not read."""


@dataclass(frozen=True)
class Store:
    """The runs of one results folder; creating it touches no disk."""

    folder: Path

    @property
    def _runs(self) -> Path:
        return Path(self.folder) / "runs"

    def write(self, run: Mapping[str, Any], evaluations: Sequence[Mapping[str, Any]], replace: bool = False) -> Path:
        """Store one finished (or failed) run at once: after a kill or a full disk there is the whole file or none.

        Args:
            run: Every column of `RUNS` but `schema`.
            evaluations: Rows with every column of `EVALUATIONS`; may be empty, as for a run that failed early.
            replace: Overwrite the run if it is there already.

        Returns:
            The file written.

        Raises:
            ValueError: a column is missing, unknown, of the wrong type, or does not agree between run and evaluations.
            UserError: the run is there already and `replace` is false, or the folder cannot be written to.
        """
        record = _table([{**run, "schema": SCHEMA_VERSION}], RUNS, "run").to_pylist()[0]
        table = _table(evaluations, EVALUATIONS, "evaluation")
        if not _SAFE_NAME.fullmatch(record["run_id"]):
            raise ValueError(f"run_id {record['run_id']!r} is no safe file name; use letters, digits and . _ = + , -")
        if record["status"] not in STATUSES:
            raise ValueError(f"status {record['status']!r} is not one of {', '.join(STATUSES)}")
        for name in _SHARED:
            strangers = set(table.column(name).to_pylist()) - {record[name]}
            if strangers:
                raise ValueError(f"evaluation column {name} holds {sorted(strangers)}, the run says {record[name]!r}")
        path = self._path(record["run_id"])
        if not replace and self.status(record["run_id"]) is not None:
            raise UserError(f"run {record['run_id']} is already in {self._runs}; delete its file to run it again")
        # one JSON value: parquet keeps the order of metadata keys, but nothing promises that it always will
        _write_atomically(table.replace_schema_metadata({"run": json.dumps(record, sort_keys=True)}), path)
        return path

    def status(self, run_id: str) -> str | None:
        """How the stored run ended, or None if there is no readable file of it (so it may be run and written)."""
        try:
            return str(_read_record(self._path(run_id))["status"])
        except (FileNotFoundError, NotADirectoryError, _NotARunError):
            return None

    def stamp(self, run_id: str) -> tuple[int, int] | None:
        """What changes whenever a run is written; None if it has no file."""
        try:
            found = self._path(run_id).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        return found.st_mtime_ns, found.st_ino

    def runs(self) -> pd.DataFrame:
        """All runs, one row each with the columns of `RUNS`, sorted by run id. Warns `SetAside` of unreadable files."""
        return _to_pandas(self._run_table())

    def evaluations(self) -> pd.DataFrame:
        """All evaluation episodes with the columns of `EVALUATIONS`, sorted by run, step, update and episode.

        Warns `SetAside` of unreadable files.
        """
        return _to_pandas(self._evaluation_table())

    def export(self) -> None:
        """Write `runs.parquet` and `evaluations.parquet` into the folder: same rows, same bytes.

        Raises:
            UserError: the folder cannot be written to.
        """
        _write_atomically(self._run_table(), Path(self.folder) / "runs.parquet")
        _write_atomically(self._evaluation_table(), Path(self.folder) / "evaluations.parquet")

    def _path(self, run_id: str) -> Path:
        return self._runs / f"{run_id}.parquet"

    def _run_table(self) -> pa.Table:
        return pa.Table.from_pylist(self._read_all(_read_record), RUNS)

    def _evaluation_table(self) -> pa.Table:
        tables = self._read_all(_read_evaluations)
        table = pa.concat_tables([EVALUATIONS.empty_table(), *tables])
        return table.sort_by([(name, "ascending") for name in ("run_id", "step", "update", "episode")])

    def _read_all(self, read: Any) -> list[Any]:
        """What `read` makes of every run's file, in the order of run ids; files it cannot read are warned of."""

        def attempt(path: Path) -> Any:
            try:
                return read(path)
            except (OSError, _NotARunError) as error:
                return error

        paths = sorted(path for path in self._runs.glob("*.parquet") if not path.name.startswith("."))
        with ThreadPoolExecutor() as threads:
            results = list(threads.map(attempt, paths))
        for path, result in zip(paths, results, strict=True):
            if isinstance(result, Exception):
                warnings.warn(f"{path.name} in {path.parent} is set aside: {result}", SetAside, stacklevel=4)
        return [result for result in results if not isinstance(result, Exception)]


class _NotARunError(Exception):
    """A file that this version of the store did not write; the message is the reason."""


def _table(rows: Iterable[Mapping[str, Any]], schema: pa.Schema, kind: str) -> pa.Table:
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


def _open(path: Path) -> tuple[pq.ParquetFile, dict[str, Any]]:
    """The file and its run's record."""
    try:
        file = pq.ParquetFile(path)
        record = json.loads((file.schema_arrow.metadata or {})[b"run"])
    except (pa.ArrowException, KeyError, ValueError):
        raise _NotARunError("it is torn or was not written by the store; delete it to run it again") from None
    version = record.get("schema")
    if version not in (*_LATER_COLUMNS, SCHEMA_VERSION):
        raise _NotARunError(f"it has schema version {version}, this version reads up to {SCHEMA_VERSION}")
    record = {**({"changes": "{}"} if version == 1 else {}), **record, "schema": SCHEMA_VERSION}
    written = pa.schema(field for field in EVALUATIONS if field.name not in _LATER_COLUMNS.get(version, ()))
    if not file.schema_arrow.equals(written) or set(record) != set(RUNS.names):
        raise _NotARunError("its columns are not those of its schema version")
    if record["run_id"] != path.stem:
        raise _NotARunError(f"it holds run {record['run_id']}; files are named after their run")
    return file, record


def _read_record(path: Path) -> dict[str, Any]:
    file, record = _open(path)
    file.close()
    return record


def _read_evaluations(path: Path) -> pa.Table:
    file, _ = _open(path)
    with file:
        try:
            table = file.read(use_threads=False).replace_schema_metadata(None)
        except (pa.ArrowException, OSError) as error:
            raise _NotARunError(f"its rows cannot be read ({error}); delete it to run it again") from None
    columns = [
        table.column(field.name) if field.name in table.column_names else pa.nulls(len(table), field.type)
        for field in EVALUATIONS
    ]
    return pa.Table.from_arrays(columns, schema=EVALUATIONS)


def _to_pandas(table: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas()
    return frame


def _write_atomically(table: pa.Table, path: Path) -> None:
    """Write a whole file or none; readers ignore names that begin with a dot."""
    try:
        with whole_file(path) as file:
            pq.write_table(table, file, compression="zstd")
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"cannot write to {path.parent}: {reason}; make room there or choose another folder") from None
