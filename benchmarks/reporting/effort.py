"""Time to expert: environment steps and core-seconds until a run first returns 90 % of what the expert does."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from . import notes
from .formats import EMPTY, Entry, Row, Table
from .results import Board
from .variants import Variant, settings

SHARE = 0.9
"""Of the way from the random policy to the expert."""


class Effort(NamedTuple):
    """What the runs of a sample needed; medians over the seeds that arrived, NaN if none did."""

    steps: float
    seconds: float
    """Core-seconds of training."""
    arrived: int
    """Seeds with an evaluation at that level or above."""
    seeds: int
    """Seeds that count."""


def effort(board: Board, variant: str, task: str) -> Effort:
    """Of one sample."""
    rows = board.curves(variant, task)
    arrived = rows[rows["normalized"] >= SHARE].drop_duplicates("run")
    seeds = len(board.scores(variant, task))
    if arrived.empty:
        return Effort(np.nan, np.nan, 0, seeds)
    return Effort(float(arrived["step"].median()), float(arrived["core_seconds"].median()), len(arrived), seeds)


def effort_table(board: Board) -> Table | None:
    """Methods down, tasks across; None where no run of a method that learns has arrived."""
    learners = [variant for variant in board.scored if variant.method not in ("random", "expert")]
    tasks = board.results.tasks
    found = {variant: [effort(board, variant.name, task) for task in tasks] for variant in learners}
    found = {variant: efforts for variant, efforts in found.items() if any(one.seeds for one in efforts)}
    if not any(one.arrived for efforts in found.values() for one in efforts):
        return None
    return Table(
        f"effort-{board.suffix}",
        f"Time to {SHARE:.0%} of the expert's return" + (f", {board.told}" if board.demos else ""),
        ["Method", *map(board.results.title, tasks)],
        [
            [
                Row(v.label, [_entry(one, board, v, task) for one, task in zip(efforts, tasks, strict=True)])
                for v, efforts in found.items()
            ]
        ],
        [
            f"Core-seconds of training and environment steps until the first evaluation at {SHARE:.0%} of the way from "
            "the random policy to the expert: medians over the seeds that arrived, with their number of all that do. "
            "It is as fine as the evaluations lie apart; the time of a run is its lane's share of its process, spread "
            "evenly over its updates.",
            *_terms(board, list(found)),
        ],
    )


def _terms(board: Board, variants: list[Variant]) -> list[str]:
    """Who was timed on what, in one line, where that is not the same for all."""
    lines: dict[str, list[str]] = {}
    for variant in variants:
        runs = board.runs[board.runs["variant"] == variant.name]
        plain = "plain steps" if (runs["steps"] > 0).any() else "no steps"
        forms = {settings(text).get("learner", plain) for text in runs["versions"].unique()}
        told = f"{'/'.join(sorted(runs['cpu'].unique()))}, {'/'.join(sorted(forms))}"
        lines.setdefault(told, []).append(variant.label)
    if len(lines) < 2:
        return []
    told = "; ".join(f"{', '.join(labels)}: {terms}" for terms, labels in lines.items())
    return [f"Seconds compare only between methods with the same machine and form of a learner's step. {told}."]


def _entry(found: Effort, board: Board, variant: Variant, task: str) -> Entry:
    remark = notes.unusual(board, variant.name, task)
    if not found.seeds:
        return Entry(EMPTY.text, note=remark)
    if not found.arrived:
        return Entry("not reached", f"0/{found.seeds}", remark)
    return Entry(f"{found.seconds:,.0f} s", f"{found.steps:,.0f} steps, {found.arrived}/{found.seeds}", remark)
