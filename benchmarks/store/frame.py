"""The rows of a results folder as one frame, all of them or some."""

from __future__ import annotations

import difflib
import warnings
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.kit.errors import UserError, near_miss

from .schema import STATUSES
from .store import SetAside, Store


def frame(
    folder: str | Path,
    rows: str = "evaluations",
    *,
    task: str | None = None,
    method: str | None = None,
    status: str | None = None,
) -> pd.DataFrame:
    """The stored rows of a results folder as one tidy frame.

    Args:
        folder: results folder.
        rows: "evaluations", one row an evaluation episode with the columns of its run; or "runs", one row a run. The
            columns are those of `benchmarks.store.schema`.
        task: only these tasks, by commas.
        method: only these methods, by commas.
        status: only runs that ended so, by commas: "completed,failed".

    Raises:
        UserError: there is no such folder, or nothing that is chosen is in it.
    """
    if rows not in ("evaluations", "runs"):
        raise UserError(f"--rows {rows}: it must be evaluations or runs")
    store = opened(folder)
    runs = select(store.runs(), task=task, method=method, status=status)
    if rows == "runs":
        return runs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SetAside)  # said when the runs were read
        evaluations = store.evaluations()
    shared = [name for name in evaluations if name in runs and name != "run_id"]
    return evaluations.merge(runs.drop(columns=shared), on="run_id")


def opened(folder: str | Path) -> Store:
    """The store of a folder that exists.

    Raises:
        UserError: there is no such folder, or it holds results folders instead of results.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}; make results with `ndi-bench run --out {folder}`")
    inside = sorted(str(runs.parent) for runs in folder.glob("*/runs") if runs.is_dir())
    if inside and not (folder / "runs").is_dir():
        raise UserError(f"{folder} is no results folder; there are {', '.join(inside)}")
    return Store(folder)


def one(runs: pd.DataFrame, name: str) -> dict[str, Any]:
    """The columns of the run with an id, or of the only one whose id begins so.

    Raises:
        UserError: there is none, or there are several.
    """
    begin = runs[runs["run_id"].str.startswith(name)]
    chosen = begin[begin["run_id"] == name] if (begin["run_id"] == name).any() else begin
    if len(chosen) > 1:
        raise UserError(f"{len(chosen)} runs begin with {name}; see `ndi-bench store ls`")
    if chosen.empty:
        near = difflib.get_close_matches(name, list(runs["run_id"]), n=1, cutoff=0.5)
        meant = f"did you mean {near[0]}? " if near else ""
        raise UserError(f"there is no run {name}: {meant}`ndi-bench store ls` lists the {len(runs)} that are there")
    return {str(key): value for key, value in chosen.to_dict("records")[0].items()}


def select(runs: pd.DataFrame, **choices: str | None) -> pd.DataFrame:
    """The runs that agree with comma-separated choices of columns.

    Raises:
        UserError: a choice is in none of the runs.
    """
    for column, text in choices.items():
        names = [part.strip() for part in (text or "").split(",") if part.strip()]
        known = sorted(set(runs[column]) | set(STATUSES if column == "status" else ()))
        for name in names:
            if name not in known:
                raise UserError(f"--{column} {name}: {near_miss(name, known)}")
        if names:
            runs = runs[runs[column].isin(names)]
    return runs
