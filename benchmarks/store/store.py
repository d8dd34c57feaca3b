"""Finished runs on disk: one parquet file per run, written atomically. The only file that knows the layout of results.

`FOLDER/runs/<run_id>.parquet` holds one row per evaluation episode; the run's own record travels as JSON in the file's
schema metadata, so a run is there completely or not at all, and folders of several machines merge by copying files.
Names that begin with a dot are not read: `.*.tmp` is half written, `.*.together` holds runs that appear together, with
their policies.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import stat
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeVar
from uuid import uuid4

import pyarrow as pa
import pyarrow.compute as pc

from benchmarks.files import flush, inside, put, read_regular, server_time, whole_file
from benchmarks.kit.errors import UserError, writing

from . import policies, runfile, schema
from .runfile import NotARunError
from .schema import AVERAGES, EVALUATIONS, RUNS, SAFE_NAME

if TYPE_CHECKING:
    import pandas as pd

_SHARED = ("run_id", "method", "task", "demos", "seed")
_BATCH = 4096
"""Runs that become one piece of a table."""
_ERRAND = 64
"""Files that a thread reads at a time."""
_ABANDONED_SECONDS = 3600.0
"""What is half written and has not changed for so long was left by a killed process."""

Anything = TypeVar("Anything")
Found = tuple[dict[str, Any], Any]
"""A stored run: its record and what was read of its evaluations."""
Read = Callable[[Path | bytes], Found]
"""From a file, or its content, to a run; raises what `runfile.read` does."""
Reduce = Callable[[Sequence[Found]], pa.Table]
"""From some runs to one table with a column `run_id`."""


class SetAside(UserWarning):
    """A file among the runs that does not count; it is left where it is and its rows are not read."""


@dataclass(frozen=True)
class Store:
    """The runs of one results folder; creating it touches no disk."""

    folder: Path

    @property
    def _runs(self) -> Path:
        return Path(self.folder) / "runs"

    def _path(self, run_id: str) -> Path:
        return self._runs / f"{run_id}.parquet"

    def _place(self, *names: str) -> Path:
        """Where to write among the runs; see `files.inside`."""
        return inside(Path(self.folder), "runs", *names)

    # ----------------------------------------------------------------------------------------------------- writing

    def write(self, run: Mapping[str, Any], evaluations: Sequence[Mapping[str, Any]]) -> Path:
        """Store one run, over an older one; after a kill or a full disk there is the whole file or the older one.

        Args:
            run: Every column of `RUNS` but `schema`.
            evaluations: Rows with every column of `EVALUATIONS`; may be empty, as for a run that failed early.

        Returns:
            The file written.

        Raises:
            ValueError: a column is missing, unknown, of the wrong type, or does not agree between run and evaluations.
            UserError: the folder cannot be written to.
        """
        record, table = _checked(run, evaluations)
        with writing(self._runs):
            path = self._place(self._path(record["run_id"]).name)
            with whole_file(path) as file:
                runfile.write(file, record, table)
        return path

    def adopt(self, path: Path) -> None:
        """Store a run of another folder by its file, as it is, over an older one.

        Raises:
            UserError: the folder cannot be written to, or the file not be read.
        """
        with writing(self._runs), whole_file(self._place(path.name)) as file:
            file.write(read_regular(path))

    def write_together(
        self,
        runs: Sequence[tuple[Mapping[str, Any], Sequence[Mapping[str, Any]]]],
        kept: Mapping[str, bytes] = MappingProxyType({}),
    ) -> None:
        """Store runs that ended together, over older ones: after a kill `recover` brings all of them or none.

        Args:
            runs: For each run what `write` takes.
            kept: Final policies, by run id.

        Raises:
            ValueError: as `write` does.
            UserError: the folder cannot be written to.
        """
        checked = [_checked(run, evaluations) for run, evaluations in runs]
        with writing(self._runs):
            half = self._place(f".{uuid4().hex}.tmp")
            try:
                for record, table in checked:
                    with whole_file(half / self._path(record["run_id"]).name) as file:
                        runfile.write(file, record, table)
                for run_id, policy in kept.items():
                    put(policy, half, policies.place(self.folder, run_id).name)
                together = half.rename(half.with_suffix(".together"))
            finally:
                shutil.rmtree(half, ignore_errors=True)
            flush(self._runs)
            self._publish(together, over_newer=True)

    def recover(self, alone: Callable[[list[str]], contextlib.AbstractContextManager[bool]]) -> None:
        """Finish what killed processes had begun to store together, and remove what they left half written.

        What was stored later stays as it is, and so does what the store cannot have left, such as a link elsewhere.

        Args:
            alone: Asked with the ids of such runs whether they may be stored, and left once they are: a context that
                gives false while somebody is at work on one.

        Raises:
            UserError: the folder cannot be written to.
        """
        with writing(self._runs):
            self._place()
            for together in sorted(self._runs.glob(".*.together")):
                with contextlib.suppress(FileNotFoundError):  # another process finishes it
                    if _holds_runs(together):
                        with alone(sorted({path.stem for path in together.iterdir()})) as may:
                            if may:
                                self._publish(together, over_newer=False)
            halves = list(self._runs.glob(".*.tmp"))
            now = server_time(self._place(f".{uuid4().hex}.tmp")) if halves else 0.0
            for half in halves:
                with contextlib.suppress(FileNotFoundError):  # its process has ended it
                    if now - half.lstat().st_mtime > _ABANDONED_SECONDS:
                        shutil.rmtree(half) if half.is_dir() and not half.is_symlink() else half.unlink()

    def _publish(self, together: Path, over_newer: bool) -> None:
        """Put every run in its place, and just before it its policy."""
        for path in sorted(together.iterdir(), key=lambda path: (path.stem, path.suffix == ".parquet")):
            target = self._place(path.name) if path.suffix == ".parquet" else policies.place(self.folder, path.stem)
            if not over_newer and target.exists() and target.stat().st_mtime_ns > path.stat().st_mtime_ns:
                path.unlink()
            else:
                target.parent.mkdir(exist_ok=True)
                os.replace(path, target)
                flush(target.parent)
        together.rmdir()

    # ----------------------------------------------------------------------------------------------------- reading

    def status(self, run_id: str) -> str | None:
        """How the stored run ended, or None if there is no readable file of it (so it may be run and written).

        Raises:
            UserError: as `record`.
        """
        record = self.record(run_id)
        return None if record is None else str(record["status"])

    def record(self, run_id: str) -> dict[str, Any] | None:
        """The columns of a stored run, or None if there is no readable file of it.

        Raises:
            UserError: the file, or what has its name, cannot be opened, hence not be replaced either.
        """
        found = self._found(run_id, runfile.read)
        return found[0] if found is not None and found[0]["run_id"] == run_id else None

    def stamp(self, run_id: str) -> tuple[int, int] | None:
        """What changes whenever a run is written; None if it has no file.

        Raises:
            UserError: as `record`.
        """
        found = self._found(run_id, Path.stat)
        return None if found is None else (found.st_mtime_ns, found.st_ino)

    def _found(self, run_id: str, read: Callable[[Path], Anything]) -> Anything | None:
        """What `read` gives of a run's file; None if it is not there or no run."""
        path = self._path(run_id)
        try:
            return read(path)
        except (FileNotFoundError, NotADirectoryError, NotARunError):
            return None
        except OSError as error:
            raise UserError(f"{path} cannot be read: {error.strerror or error}; move it away, or mend it") from None

    def runs(self) -> pd.DataFrame:
        """All runs, one row each with the columns of `RUNS`, sorted by run id.

        Warns `SetAside` of files that do not count.
        """
        return _to_pandas(self._read(runfile.read, _no_rows)[0])

    def evaluations(self) -> pd.DataFrame:
        """All evaluation episodes with the columns of `EVALUATIONS`, sorted by run, step, update and episode.

        Warns `SetAside` of files that do not count.
        """
        _, table = self._read(partial(runfile.read, columns=EVALUATIONS.names), _all_rows)
        return _to_pandas(table.sort_by([(name, "ascending") for name in ("run_id", "step", "update", "episode")]))

    def averages(self) -> tuple[pd.DataFrame, pd.DataFrame]:
        """All runs as `runs` gives them, and their evaluations averaged over the episodes, in one pass over the files.

        The second frame has the columns of `AVERAGES`, sorted by run, step and update; a mean is NaN where any
        episode's value is. Of many runs it takes a small part of the time and memory of `evaluations`.
        Warns `SetAside` of files that do not count.
        """
        runs, averages = self._read(runfile.read_averages, _all_averages)
        return _to_pandas(runs), _to_pandas(averages.sort_by([(n, "ascending") for n in ("run_id", "step", "update")]))

    def scan(self) -> Iterator[tuple[Path, runfile.Whole | NotARunError]]:
        """Every file that is named like a run, with what `runfile.read_whole` gives, or why it is not a run."""
        return ((self._runs / name, _attempt(runfile.read_whole, self._runs / name)) for name in self._names())

    def others(self) -> list[tuple[Path, str, bool]]:
        """What else lies among the runs, what it is, and whether it does not belong there."""
        ours = {
            ".tmp": "it is half written, by a process that is at work or was killed; the next `run` clears it up",
            ".together": "it holds runs that a killed process was about to store; the next `run` finishes it",
        }
        found = [self._runs / name for name in self._listed() if not _named_like_a_run(name)]
        kinds = [ours.get(path.suffix) if path.name.startswith(".") else None for path in found]
        return [
            (path, kind or "it was not written by the store", kind is None)
            for path, kind in zip(found, kinds, strict=True)
        ]

    def _listed(self) -> list[str]:
        """All that lies among the runs; names, since making paths takes seconds where there are very many."""
        return sorted(os.listdir(self._runs)) if self._runs.is_dir() else []

    def _names(self) -> list[str]:
        """Files that are named like runs."""
        return list(filter(_named_like_a_run, self._listed()))

    def _read(self, read: Read, reduce: Reduce) -> tuple[pa.Table, pa.Table]:
        """Records of all runs by run id, and what `reduce` makes of the rest that `read` gives."""
        runs, rows, strangers = [RUNS.empty_table()], [reduce([])], []
        with ThreadPoolExecutor() as threads:
            for batch in _chunks(self._names(), _BATCH):
                # threads wait for the disk; more than one that parses would only wait for the others
                errands = threads.map(partial(_contents, str(self._runs)), _chunks(batch, _ERRAND))
                named = []
                for name, data in zip(batch, itertools.chain.from_iterable(errands), strict=True):
                    one = data if isinstance(data, NotARunError) else _attempt(read, data)
                    if isinstance(one, NotARunError):
                        _set_aside(self._runs / name, str(one))
                    elif f"{one[0]['run_id']}.parquet" == name:
                        named.append(one)
                    else:
                        strangers.append((self._runs / name, *one))
                runs.append(_run_table(named))
                rows.append(reduce(named))
        better = self._better(strangers)
        if better:
            others = [_without(part, better) for part in (*runs, *rows)]
            runs = [*others[: len(runs)], _run_table(list(better.values()))]
            rows = [*others[len(rows) :], reduce(list(better.values()))]
        return pa.concat_tables(runs).sort_by("run_id"), pa.concat_tables(rows)

    def _better(self, strangers: Iterable[tuple[Path, dict[str, Any], Any]]) -> dict[str, Found]:
        """Of copies under other names, those that count instead of the file that has the run's name, by run id.

        Equal copies are passed over; of different results of a run the completed one counts, then the latest.
        """
        chosen: dict[str, tuple[Path, Found]] = {}
        for path, record, rest in strangers:
            run_id = record["run_id"]
            rival_path, rival = chosen.get(run_id) or (self._path(run_id), _attempt(runfile.read, self._path(run_id)))
            if not isinstance(rival, NotARunError) and rival[0]["run_id"] != run_id:
                rival = NotARunError("another run's")
            if isinstance(rival, NotARunError) or rank(record) > rank(rival[0]):
                chosen[run_id] = path, (record, rest)
                loser = None if isinstance(rival, NotARunError) else rival_path
            else:
                loser = None if rival[0] == record else path
            if loser is not None:
                _set_aside(loser, f"{chosen.get(run_id, (rival_path,))[0].name} holds a better result of the same run")
        return {run_id: found for run_id, (_, found) in chosen.items()}


def _holds_runs(together: Path) -> bool:
    """Whether a folder is one that the store made: no link, and with nothing in it but files of runs and policies."""
    if together.is_symlink() or not together.is_dir():
        return False
    found = list(together.iterdir())
    named = all(path.suffix in (".parquet", ".safetensors") and SAFE_NAME.fullmatch(path.stem) for path in found)
    return named and all(stat.S_ISREG(path.lstat().st_mode) for path in found)


def _named_like_a_run(name: str) -> bool:
    return name.endswith(".parquet") and not name.startswith(".")


def _contents(folder: str, names: Sequence[str]) -> list[bytes | NotARunError]:
    return [_attempt(read_regular, os.path.join(folder, name)) for name in names]


def _attempt(read: Callable[[Any], Anything], source: Path | str | bytes) -> Anything | NotARunError:
    """What `read` gives, or why it cannot be had."""
    try:
        return read(source)
    except OSError as error:
        return NotARunError(error.strerror or str(error))
    except NotARunError as error:
        return error


def _chunks(names: list[str], size: int) -> Iterator[list[str]]:
    return (names[start : start + size] for start in range(0, len(names), size))


def _set_aside(path: Path, reason: str) -> None:
    warnings.warn(f"{path.name} in {path.parent} is set aside: {reason}", SetAside, stacklevel=5)


def rank(record: Mapping[str, Any]) -> tuple[bool, str]:
    """Greater for the result that counts if there are several of a run."""
    return record["status"] == "completed", str(record["started"])


def _checked(run: Mapping[str, Any], evaluations: Sequence[Mapping[str, Any]]) -> tuple[dict[str, Any], pa.Table]:
    """Record and rows of a run as they are stored; raises ValueError, see `Store.write`."""
    record: dict[str, Any] = schema.table([{**run, "schema": schema.SCHEMA_VERSION}], RUNS, "run").to_pylist()[0]
    table = schema.table(evaluations, EVALUATIONS, "evaluation")
    for fault in (schema.record_fault(record), *row_faults(record, table)):
        if fault is not None:
            raise ValueError(fault)
    return record, table


def row_faults(record: Mapping[str, Any], rows: pa.Table) -> Iterator[str]:
    """What rows of a run must not have."""
    for name in _SHARED:
        strangers = set(rows[name].unique().to_pylist()) - {record[name]}
        if strangers:
            yield f"evaluation column {name} holds {sorted(strangers)}, the run says {record[name]!r}"
    keys = zip(*(rows[name].to_pylist() for name in ("step", "update", "episode")), strict=True)
    if len(set(keys)) < len(rows):
        yield "an evaluation episode is there twice"


def _without(table: pa.Table, run_ids: Iterable[str]) -> pa.Table:
    return table.filter(pc.invert(pc.is_in(table["run_id"], pa.array(run_ids, pa.string()))))


def _run_table(found: Sequence[Found]) -> pa.Table:
    return pa.Table.from_pylist([record for record, _ in found], RUNS)


def _no_rows(found: Sequence[Found]) -> pa.Table:
    return EVALUATIONS.empty_table()


def _all_rows(found: Sequence[Found]) -> pa.Table:
    return pa.concat_tables([EVALUATIONS.empty_table(), *(table for _, table in found)])


def _all_averages(found: Sequence[Found]) -> pa.Table:
    """One row per evaluation with the columns of `AVERAGES`."""
    names = [name for name in AVERAGES.names if name != "run_id"]
    columns = {name: [value for _, averages in found for value in averages[name]] for name in names}
    columns["run_id"] = [record["run_id"] for record, averages in found for _ in averages["step"]]
    return pa.table([columns[name] for name in AVERAGES.names], schema=AVERAGES)


def _to_pandas(table: pa.Table) -> pd.DataFrame:
    frame: pd.DataFrame = table.to_pandas()
    return frame
