"""Time to expert: environment steps and seconds until a run first returns 90 % of what the expert does."""

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
    """What the runs of a sample needed; medians over all, of which those that never arrived count as infinite."""

    steps: float
    seconds: float
    """Of training, on the clock, a lane's share of its process."""
    arrived: int
    """Seeds with an evaluation at that level or above."""
    seeds: int
    """All seeds."""


def effort(board: Board, variant: str, task: str) -> Effort:
    """Of one sample."""
    seeds = len(board.sample(variant, task).places)
    if not seeds:
        return Effort(np.inf, np.inf, 0, 0)
    rows = board.curves(variant, task)
    arrived = rows[rows["normalized"] >= SHARE].drop_duplicates("run")
    never = np.full(seeds - len(arrived), np.inf)
    steps, seconds = (float(np.median([*arrived[name], *never])) for name in ("step", "core_seconds"))
    return Effort(steps, seconds, len(arrived), seeds)


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
            f"Seconds of training and environment steps until the first evaluation at {SHARE:.0%} of the way from "
            "the random policy to the expert: medians over all seeds, beside how many arrive; unless more than half of "
            "them do there is none. It is as fine as the evaluations lie apart. Other work on the machine stretches "
            "the seconds. The time of a run is its lane's share of its process, spread evenly over its "
            "updates: who fits a density or a clone before the first of them looks faster than it is.",
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
    same = "Seconds compare only between entries with the same machine, form of a learner's step and lanes"
    return [f"{same}; a method with several has them on different tasks. {told}."]


def _entry(found: Effort, board: Board, variant: Variant, task: str) -> Entry:
    remark = notes.unusual(board, variant.name, task)
    if not found.seeds:
        return Entry(EMPTY.text, note=remark)
    if np.isinf(found.steps):
        return Entry("not reached", f"{found.arrived}/{found.seeds}", remark)
    return Entry(f"{found.seconds:,.0f} s", f"{found.steps:,.0f} steps, {found.arrived}/{found.seeds}", remark)
