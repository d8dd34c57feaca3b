"""What stands below the tables: how their numbers came about, and what is unusual about some of them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from benchmarks.terminal import counted

from . import style
from .results import Board
from .variants import Variant, settings


def unusual(board: Board, variant: str, task: str) -> str:
    """What is unusual about an entry: its seeds, or a budget that most methods did not have."""
    sample, number = board.sample(variant, task), len(board.scores(variant, task))
    seeds = sample.fault or (counted(number, "seed") if number not in (0, board.usual_seeds) else "")
    steps = f"{sample.budget:,} steps" if sample.budget not in (0, board.usual_budgets.get(task)) else ""
    return ", ".join(filter(None, [seeds, steps]))


def episodes(board: Board) -> str:
    """Over how many episodes a score is a mean; begins with a blank."""
    numbers = sorted(board.runs.loc[board.runs["counted"], "episodes"].unique())
    if not numbers:
        return ""
    span = str(numbers[0]) if len(numbers) == 1 else f"{numbers[0]} to {numbers[-1]}"
    return f" over {span} episodes of the deterministic policy at the last evaluation"


def protocol(board: Board, variants: Sequence[Variant]) -> list[str]:
    """How the numbers of a table came about: demonstrations, budgets, profile, differing settings, labels."""
    runs = board.runs
    lines = [*_demonstrations(board), *_budgets(board), f"Profile: {', '.join(sorted(runs['profile'].unique()))}."]
    for variant in variants:
        lines += _settings(board, runs[runs["variant"] == variant.name], variant)
    lines += _changes(runs, variants)
    methods = {variant.method for variant in variants}
    return lines + list(dict.fromkeys(f"{note}." for method, note in style.NOTES.items() if method in methods))


def _demonstrations(board: Board) -> list[str]:
    learned = board.runs[board.runs["demos"] > 0]
    if learned.empty:
        return []
    kept = [f"every {k}th transition kept" for k in sorted(learned["subsample"].unique()) if k > 1]
    datasets = sorted(learned["dataset_id"].dropna().unique())
    # whether all runs of a task had the same demonstrations, by seed
    columns = ["dataset_id", "dataset_hash", "subsample"]
    draws = sorted(learned["draw"].unique(), key=style.natural)
    each = "draw" if any(draws) else "seed"
    each += f", {draws[0]} for all seeds" if any(draws) and len(draws) == 1 else ""
    alike = (learned.groupby("task")[columns].nunique(dropna=False) == 1).all(axis=None)
    drawn = learned.groupby(["task", "method"])["draw"].agg(frozenset)
    alike = alike and (drawn.groupby("task").nunique() == 1).all()
    return [
        f"Demonstrations: {counted(board.demos, 'whole episode')} per {each}"
        + (f" ({', '.join(kept)})" if kept else "")
        + (f" from {', '.join(datasets)}" if datasets else "")
        + (", the same for every method." if alike else ", not the same for every method.")
    ]


def _budgets(board: Board) -> list[str]:
    online = board.runs[board.runs["steps"] > 0].groupby("task")["budget"].unique()
    tasks = [task for task in board.results.tasks if task in online]
    budgets = {board.results.title(task): "/".join(f"{steps:,}" for steps in sorted(online[task])) for task in tasks}
    if not budgets:
        return []
    same = len(set(budgets.values())) == 1
    told = next(iter(budgets.values())) if same else ", ".join(f"{t} {b}" for t, b in budgets.items())
    return [f"Environment steps per run: {told}."]


def _changes(runs: pd.DataFrame, variants: Sequence[Variant]) -> list[str]:
    """Which variants did not run with their methods' defaults, in one line; those alike are named together."""
    labels: dict[str, list[str]] = {}
    for variant in variants:
        for changed in runs.loc[(runs["variant"] == variant.name) & (runs["changes"] != "{}"), "changes"].unique():
            told = ", ".join(f"{name} {value}" for name, value in settings(changed).items())
            labels.setdefault(told, []).append(variant.label)
    if not labels:
        return []
    told_of = "; ".join(f"{', '.join(who)}: {told}" for told, who in labels.items())
    return [f"Not the methods' defaults at that commit: {told_of}."]


def _settings(board: Board, runs: pd.DataFrame, variant: Variant) -> list[str]:
    """The settings of a method that are not the same on all tasks, in one line."""
    values: dict[str, dict[str, list[str]]] = {}
    configs = dict(zip(runs["task"][::-1], runs["config"][::-1], strict=True))  # the first of each task
    for task in (task for task in board.results.tasks if task in configs):
        for name, value in settings(configs[task]).items():
            values.setdefault(name, {}).setdefault(value, []).append(board.results.title(task))
    differing = [
        f"{name} " + ", ".join(f"{value} ({', '.join(titles)})" for value, titles in by_value.items())
        for name, by_value in values.items()
        if len(by_value) > 1
    ]
    return [f"{variant.label}: {'; '.join(differing)}."] if differing else []
