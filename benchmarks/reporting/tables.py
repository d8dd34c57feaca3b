"""The result tables: returns in the paper's layout, normalised scores with aggregates, and published values."""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.terminal import counted

from . import statistics, style
from .formats import EMPTY, Cell, Row, Table
from .results import Entry, Results, family, settings, shipped_reference


@dataclass(frozen=True)
class Paper:
    """Published results of one table of one paper."""

    title: str
    citation: str
    source: str
    """Where the numbers come from; stands wherever one of them is shown."""
    beside_ours: bool
    """Shown line by line in our own tables, since the setting is the one we reproduce."""
    demos: int
    environments: Sequence[str]
    rows: Mapping[str, Sequence[Sequence[float]]]
    """Method -> one [mean] or [mean, spread] per environment."""

    def values(self, method: str, environment: str) -> Sequence[float] | None:
        """[mean] or [mean, spread] of a method, None if the paper has none."""
        if method not in self.rows or environment not in self.environments:
            return None
        return self.rows[method][self.environments.index(environment)]


@cache
def papers() -> tuple[Paper, ...]:
    """All transcribed papers of `papers.toml`."""
    return tuple(Paper(**paper) for paper in _transcribed()["papers"].values())


@cache
def _transcribed() -> dict[str, dict[str, Any]]:
    return tomllib.loads(files(__package__).joinpath("papers.toml").read_text(encoding="utf-8"))


def returns_table(results: Results, demos: int) -> Table:
    """Mean ± standard deviation over seeds of the final return: methods down, tasks across, papers beside ours."""
    entries = _with_references(results, demos)
    beside = [paper for paper in papers() if paper.beside_ours and paper.demos == demos]
    usual = _usual_seeds(results, demos)
    columns: list[dict[str, Cell]] = []
    quoted: list[dict[tuple[str, str], Cell]] = []
    for task in results.tasks:
        numbers = {e.name: statistics.mean_and_std(results.scores(e.name, task, demos)) for e in entries}
        shipped = {e.name: shipped_reference(task, e.method) for e in entries if e.method in ("random", "expert")}
        for name, value in shipped.items():
            if value is not None and np.isnan(numbers[name][0]):
                numbers[name] = value, float("nan")
        published = {
            (paper.title, e.name): values
            for paper in beside
            for e in entries
            if (values := paper.values(e.method, family(results.environment(task))))
        }
        digits = _digits([mean for mean, _ in numbers.values()] + [values[0] for values in published.values()])
        best = _best({e.name: round(numbers[e.name][0], digits) for e in entries if e.contestant})
        column = {}
        for entry in entries:
            runs = results.cell(entry.name, task, demos)
            note = _seeds_note(runs, usual)
            if runs.empty and shipped.get(entry.name) is not None:
                note = "reference return that comes with the task; no such run is stored here"
            column[entry.name] = _cell(*numbers[entry.name], digits, note, entry.name in best)
        columns.append(column)
        quoted.append(
            {
                key: _cell(values[0], values[1] if len(values) > 1 else np.nan, digits)
                for key, values in published.items()
            }
        )

    last = {entry.method: entry.name for entry in entries}  # of several settings only the last has the paper's line

    def lines(entry: Entry) -> list[Row]:
        ours = Row(entry.label, [column[entry.name] for column in columns])
        theirs = [
            Row(paper.title, [cells.get((paper.title, entry.name), EMPTY) for cells in quoted], quiet=True)
            for paper in beside
            if last[entry.method] == entry.name and any((paper.title, entry.name) in cells for cells in quoted)
        ]
        return [ours, *theirs]

    notes = [
        (f"Mean ± standard deviation (divisor n − 1) over {usual} seeds of each seed's mean" if usual > 1 else "Mean")
        + f" return{_episodes(results, demos)}. "
        "Bold: highest mean among the methods that learn from demonstrations.",
        *_protocol(results, demos, entries),
        *(
            f"{paper.title}: {paper.source}."
            for paper in beside
            if any(key[0] == paper.title for c in quoted for key in c)
        ),
    ]
    return Table(
        f"returns-{suffix(demos)}",
        f"Return with {counted(demos, 'demonstration')}" if demos else "Return without demonstrations",
        ["Method", *map(results.title, results.tasks)],
        _sections(entries, lines),
        notes,
    )


def normalized_table(results: Results, demos: int) -> Table:
    """Normalised scores (0 random, 1 expert): mean per task, and aggregates over tasks with their uncertainty."""
    entries = results.entries(demos)
    usual = _usual_seeds(results, demos)
    values: dict[str, dict[str, float]] = {"IQM [95%]": {}, "Gap": {}}
    cells: dict[str, dict[str, Cell]] = {}
    for task in results.tasks:
        scores = {e.name: results.scores(e.name, task, demos, "normalized") for e in entries}
        values[task] = {name: statistics.mean_and_std(runs)[0] for name, runs in scores.items()}
        cells[task] = {
            e.name: _cell(values[task][e.name], np.nan, 2, _seeds_note(results.cell(e.name, task, demos), usual))
            for e in entries
        }
    cells["IQM [95%]"], cells["Gap"] = {}, {}
    scored = scored_tasks(results, demos)
    for entry in entries:
        by_task = task_scores(results, entry, demos)
        complete = set(by_task) == scored
        note = "" if complete or not by_task else f"over {len(by_task)} of {counted(len(scored), 'task')}"
        iqm, (low, high) = aggregate([*by_task.values()])
        gap = float(statistics.optimality_gap([*by_task.values()])) if by_task else float("nan")
        spread = "" if np.isnan(low) else f"[{low:z.2f}, {high:z.2f}]"
        cells["IQM [95%]"][entry.name] = EMPTY if np.isnan(iqm) else Cell(f"{iqm:z.2f}", spread, note)
        cells["Gap"][entry.name] = _cell(gap, np.nan, 2, note)
        values["IQM [95%]"][entry.name] = iqm if complete else float("nan")
        values["Gap"][entry.name] = -gap if complete else float("nan")
    header = [*results.tasks, "IQM [95%]", "Gap"]
    for name in header:
        for winner in _best({e.name: round(values[name][e.name], 2) for e in entries if e.contestant}):
            cells[name][winner] = cells[name][winner]._replace(bold=True)
    notes = [
        f"Normalised return: 0 is the random policy, 1 the expert; mean over {counted(usual, 'seed')}"
        f"{_episodes(results, demos).replace(' over', ' and')}.",
        "IQM: interquartile mean over all seeds of all tasks, with the 95% interval of a stratified bootstrap (seeds "
        "resampled within each task). Gap: mean shortfall below 1. Bold: best of the methods that learn from "
        "demonstrations.",
        *_protocol(results, demos, entries),
    ]
    return Table(
        f"normalized-{suffix(demos)}",
        f"Normalised return with {counted(demos, 'demonstration')}" if demos else "Normalised return",
        ["Method", *map(results.title, results.tasks), "IQM [95%]", "Gap"],
        _sections(entries, lambda entry: [Row(entry.label, [cells[name][entry.name] for name in header])]),
        notes,
    )


def published_table(demos: int) -> Table | None:
    """Every transcribed result at a number of demonstrations, one section per paper; None if there is none."""
    chosen = [paper for paper in papers() if paper.demos == demos]
    if not chosen:
        return None
    environments = list(dict.fromkeys(name for paper in chosen for name in paper.environments))
    labels = _transcribed()["labels"]
    sections = []
    for paper in chosen:
        rows = []
        for method in paper.rows:
            found = [paper.values(method, environment) for environment in environments]
            cells = [Cell(" ± ".join(map(str, v))) if v else EMPTY for v in found]  # to the digit as published
            rows.append(Row(f"{labels[method]}, {paper.title}", cells))
        sections.append(rows)
    return Table(
        f"published-{suffix(demos)}",
        f"Published returns with {counted(demos, 'demonstration')}, as the papers give them",
        ["Method", *environments],
        sections,
        [
            *(f"{paper.title}: {paper.citation}; {paper.source}." for paper in chosen),
            "Tasks, experts and budgets differ between papers and from this suite's, so returns compare only within "
            "a paper.",
        ],
    )


def aggregate(scores: Sequence[np.ndarray]) -> tuple[float, np.ndarray]:
    """Interquartile mean of one method and its 95% interval (2,); NaN where there is no score or no spread."""
    return _aggregate(tuple(np.asarray(task, np.float64).tobytes() for task in scores))


@lru_cache(maxsize=1024)
def _aggregate(scores: tuple[bytes, ...]) -> tuple[float, np.ndarray]:
    """The same; kept, since tables and figures ask for the same and resampling takes long."""
    if not scores:
        return float("nan"), np.full(2, np.nan)
    arrays = [np.frombuffer(task) for task in scores]
    return (
        float(statistics.interquartile_mean(arrays)),
        statistics.bootstrap_interval(statistics.interquartile_mean, arrays),
    )


def task_scores(results: Results, entry: Entry, demos: int) -> dict[str, np.ndarray]:
    """Normalised final scores (seeds,) of one entry on each task that has any; none where references are unknown."""
    scores = {task: results.scores(entry.name, task, demos, "normalized") for task in results.tasks}
    return {task: runs for task, runs in scores.items() if len(runs) and np.isfinite(runs).all()}


def scored_tasks(results: Results, demos: int) -> set[str]:
    """Tasks on which any entry has a normalised score: aggregates compare only between entries that have them all."""
    return {task for entry in results.entries(demos) for task in task_scores(results, entry, demos)}


def suffix(demos: int) -> str:
    """How file names tell the number of demonstrations."""
    return counted(demos, "demonstration").replace(" ", "-")


def _cell(mean: float, std: float, digits: int, note: str = "", bold: bool = False) -> Cell:
    if np.isnan(mean):
        return EMPTY._replace(note=note)
    return Cell(f"{mean:z.{digits}f}", "" if np.isnan(std) else f"± {std:z.{digits}f}", note, bold)


def _digits(means: Sequence[float]) -> int:
    """Decimals that leave three to four figures of the largest mean of a column."""
    largest = max((abs(mean) for mean in means if np.isfinite(mean)), default=100.0)
    return 0 if largest >= 100 else 1 if largest >= 10 else 2


def _best(scores: Mapping[str, float]) -> set[str]:
    """Names with the highest score as printed; none where fewer than two compete."""
    known = {name: score for name, score in scores.items() if not np.isnan(score)}
    return {name for name in known if known[name] == max(known.values())} if len(known) > 1 else set()


def _with_references(results: Results, demos: int) -> list[Entry]:
    """The entries, with the random and the expert policy even if only the task table knows their returns."""
    entries = results.entries(demos)
    for method, label in (("random", "Random"), ("expert", "Expert")):
        known = any(shipped_reference(task, method) is not None for task in results.tasks)
        if known and all(entry.method != method for entry in entries):
            entries.append(Entry(method, method, label, privileged=method == "expert"))
    return sorted(entries, key=lambda entry: entry.order)


def _sections(entries: Sequence[Entry], lines: Callable[[Entry], list[Row]]) -> list[list[Row]]:
    groups = (
        [entry for entry in entries if entry.method == "random"],
        [entry for entry in entries if entry.contestant],
        [entry for entry in entries if not entry.contestant and entry.method != "random"],
    )
    return [[row for entry in group for row in lines(entry)] for group in groups if group]


def _usual_seeds(results: Results, demos: int) -> int:
    """The number of seeds that most cells have."""
    sizes = Counter(results.at(demos).groupby(["entry", "task"]).size())
    return max(sizes, key=lambda size: (sizes[size], size))


def _seeds_note(runs: pd.DataFrame, usual: int) -> str:
    """What is unusual about the seeds of a cell."""
    good = int(runs["counted"].sum())
    names = {"completed": "without a final score", "timeout": "timed out"}
    ends = Counter(names.get(status, status) for status in runs.loc[~runs["counted"], "status"])
    ends["ended before the budget"] = int((runs["counted"] & (runs["steps"] < runs["budget"])).sum())
    faults = [f"{number} {end}" for end, number in sorted(ends.items()) if number]
    if not faults:
        return "" if good in (0, usual) else counted(good, "seed")
    return f"{good}/{counted(len(runs), 'seed')}, {', '.join(faults)}"


def _episodes(results: Results, demos: int) -> str:
    rows = results.at(demos)
    numbers = sorted(rows.loc[rows["counted"], "episodes"].unique())
    if not numbers:
        return ""
    span = str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
    return f" over {span} episodes of the deterministic policy at the last evaluation"


def _protocol(results: Results, demos: int, entries: Sequence[Entry]) -> list[str]:
    """How the numbers of a table came about: demonstrations, budgets, profile, differing settings, labels."""
    runs = results.at(demos)
    lines = []
    learned = runs[runs["demos"] > 0]
    if len(learned):
        kept = [f"every {k}th transition kept" for k in sorted(learned["subsample"].unique()) if k > 1]
        datasets = sorted(learned["dataset_id"].dropna().unique())
        lines.append(
            f"Demonstrations: {counted(demos, 'whole episode')} per seed"
            + (f" ({', '.join(kept)})" if kept else "")
            + (f" from {', '.join(datasets)}" if datasets else "")
            + (", the same for every method." if _alike(learned) else ", not the same for every method.")
        )
    online = runs[runs["steps"] > 0].groupby("task")["budget"].unique()
    budgets = {
        results.title(task): "/".join(f"{steps:,}" for steps in sorted(online[task]))
        for task in results.tasks
        if task in online
    }
    if budgets:
        same = len(set(budgets.values())) == 1
        told = next(iter(budgets.values())) if same else ", ".join(f"{t} {b}" for t, b in budgets.items())
        lines.append(f"Environment steps per run: {told}.")
    lines.append(f"Profile: {', '.join(sorted(runs['profile'].unique()))}.")
    for entry in entries:
        lines += _settings_note(results, runs[runs["entry"] == entry.name], entry)
    lines += _changes_note(runs, entries)
    methods = {entry.method for entry in entries}
    lines += [f"{note}." for method, note in style.NOTES.items() if method in methods]
    return lines


def _alike(runs: pd.DataFrame) -> bool:
    """Whether all runs of a task had the same demonstrations, by seed."""
    columns = ["dataset_id", "dataset_hash", "subsample"]
    return bool((runs.groupby("task")[columns].nunique(dropna=False) == 1).all(axis=None))


def _changes_note(runs: pd.DataFrame, entries: Sequence[Entry]) -> list[str]:
    """Which entries did not run with their methods' own settings, in one line; those alike are named together."""
    labels: dict[str, list[str]] = {}
    for entry in entries:
        for changed in runs.loc[(runs["entry"] == entry.name) & (runs["changes"] != "{}"), "changes"].unique():
            told = ", ".join(f"{name} {value}" for name, value in settings(changed).items())
            labels.setdefault(told, []).append(entry.label)
    if not labels:
        return []
    told_of = "; ".join(f"{', '.join(who)}: {told}" for told, who in labels.items())
    return [f"Not the methods' own settings: {told_of}."]


def _settings_note(results: Results, runs: pd.DataFrame, entry: Entry) -> list[str]:
    """The settings of a method that are not the same on all tasks, in one line."""
    values: dict[str, dict[str, list[str]]] = {}
    for task in results.tasks:
        for config in runs.loc[runs["task"] == task, "config"].unique()[:1]:
            for name, value in settings(config).items():
                values.setdefault(name, {}).setdefault(value, []).append(results.title(task))
    differing = [
        f"{name} " + ", ".join(f"{value} ({', '.join(titles)})" for value, titles in by_value.items())
        for name, by_value in values.items()
        if len(by_value) > 1
    ]
    return [f"{entry.label}: {'; '.join(differing)}."] if differing else []
