"""Results folders to one frame of scores: several are merged by run id, and in what their protocols differ is told."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pandas as pd
from rich.console import Console
from rich.markup import escape

from benchmarks.kit.errors import UserError, legible
from benchmarks.store.store import SetAside, Store

from .results import PROTOCOL, Results, followed


def read(folder: Path, console: Console, *others: Path) -> Results:
    """What a results folder holds, or several together; files that are set aside are told.

    Raises:
        UserError: no run is stored there.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SetAside)
        stored = {legible(str(one)): Store(one).averages() for one in dict.fromkeys((folder, *others))}
    for message in sorted({str(warning.message) for warning in caught if warning.category is SetAside}):
        console.print(f"[yellow]{escape(message)}[/yellow]", highlight=False)
    if all(runs.empty for runs, _ in stored.values()):
        named = " or ".join(stored)
        raise UserError(f"no runs are stored in {named}; make some with `ndi-bench run --out {folder}`")
    runs, evaluations = _merged(stored)
    results = Results.of(runs, evaluations)
    return results if len(stored) == 1 else replace(results, remarks=tuple(protocols(results)))


def _merged(stored: dict[str, tuple[pd.DataFrame, pd.DataFrame]]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """All runs, each once: of several copies the completed one counts, then the latest, then that of the last folder.

    Evaluations go with the copy that counts.
    """
    runs, rows = (pd.concat([pair[n].assign(folder=name) for name, pair in stored.items()]) for n in (0, 1))
    if len(stored) > 1:
        ranked = runs.assign(done=runs["status"] == "completed").sort_values(["done", "started"], kind="stable")
        runs = ranked.drop(columns="done").drop_duplicates("run_id", keep="last")
        rows = rows.merge(runs[["run_id", "folder"]], on=["run_id", "folder"])
    return runs.sort_values("run_id", ignore_index=True), rows.drop(columns="folder")


def protocols(results: Results) -> Iterator[str]:
    """In what folders differ that should be equal between runs of a task, in words."""
    for column, name in PROTOCOL.items():
        for task, rows in results.runs.groupby("task"):
            found = {str(folder): had for folder, own in rows.groupby("folder") if (had := followed(own, column))}
            if len({tuple(values) for values in found.values()}) > 1:
                sides = (f"{' and '.join(map(_plain, values))} in {folder}" for folder, values in found.items())
                yield f"{name} on {results.title(str(task))}: {', '.join(sides)}"


def _plain(value: object) -> str:
    return f"{value:,}" if isinstance(value, int) else str(value)
