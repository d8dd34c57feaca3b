"""A verdict on every entry that a paper has a number for: reproduced, above, below, undecided, or why there is none.

Tasks, experts and simulators differ from the paper's, so returns are compared as shares of the way from the random
policy (0) to the expert (1), each side by its own two references.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from . import notes, statistics, style
from .formats import EMPTY, Entry, Row, Table, with_deviation, with_interval
from .papers import Paper, papers
from .results import Board, Sample, family, interval
from .variants import Variant

REPRODUCED, ABOVE, BELOW, NOT_RUN = "reproduced", "above", "below", "not run"
UNDECIDED, ONE_SEED, FAILED = "undecided", "one seed", "failed"
MARGIN = 0.05
"""Differences of so much of the way from random to expert are none."""

RULE = (
    "Shares: both sides as shares of the way from the random policy (0) to the expert (1), each by its own "
    "references, since experts differ. Above or below: our 95% interval lies wholly outside the paper's mean ± "
    f"(its spread + {MARGIN}); reproduced: wholly inside; undecided: partly. One seed decides nothing."
)


class Verdict(NamedTuple):
    """Our scores on one task against a paper's number."""

    task: str
    status: str
    """`REPRODUCED`, `ABOVE`, `BELOW`, `UNDECIDED`, `ONE_SEED`, `NOT_RUN` or `FAILED` (no run counts)."""
    paper: Paper
    published: tuple[float, float]
    """Return and spread (NaN if the paper gives none)."""
    share: tuple[float, float]
    """The same, normalised by the paper's own references."""
    differences: tuple[str, ...]
    """What is known to differ, in words."""


def verdict(board: Board, variant: Variant, task: str) -> Verdict | None:
    """On one entry; None for the references themselves, and where no paper or reference return is known."""
    if variant.method in ("random", "expert"):
        return None
    # one setting of several need not have been run everywhere
    sample = board.sample(variant.name, task)
    if variant.name != variant.method and not len(sample.places):
        return None
    if len(sample.score) and not np.isfinite(sample.normalized).any():
        return None  # nobody knows what random and expert policies return there
    environment = family(board.results.environments[task])
    for paper in papers():
        values = paper.values(variant.method, environment)
        references = [paper.values(name, environment) for name in ("random", "expert")]
        if paper.beside_ours and paper.demos == board.demos and values and all(references):
            low, high = (float(one[0]) for one in references if one)
            mean, spread = float(values[0]), float((*values, np.nan)[1])
            share = (mean - low) / (high - low), spread / (high - low)
            status = _status(sample, share)
            differences = _differences(board, variant, task, paper, high)
            return Verdict(task, status, paper, (mean, spread), share, differences)
    return None


def _status(sample: Sample, share: tuple[float, float]) -> str:
    scores = sample.normalized[np.isfinite(sample.normalized)]
    if not len(scores):
        return FAILED if len(sample.places) else NOT_RUN
    if len(scores) < 2:
        return ONE_SEED
    low, high = interval(scores)
    reach = np.nan_to_num(share[1]) + MARGIN
    least, most = share[0] - reach, share[0] + reach
    if low > most or high < least:
        return ABOVE if low > most else BELOW
    return REPRODUCED if least <= low and high <= most else UNDECIDED


def _differences(board: Board, variant: Variant, task: str, paper: Paper, expert: float) -> tuple[str, ...]:
    found = []
    ours = board.results.reference(task, "expert")
    if ours is not None and abs(ours - expert) > 0.1 * abs(expert):
        found.append(f"our expert returns {ours:,.0f} as it demonstrates, the paper's {expert:,.0f}")
    if variant.method in style.NOTES:
        found.append(style.NOTES[variant.method])
    return (*found, *paper.differences)


def verdict_table(board: Board) -> Table | None:
    """One line per entry of a paper, by method and task; None where no paper has a number for anything that was run."""
    tasks, sections = board.results.tasks, []
    differing: dict[str, list[str]] = {}
    sources: dict[str, None] = {}
    for variant in board.variants:
        found = [one for task in tasks if (one := verdict(board, variant, task))]
        if all(one.status == NOT_RUN for one in found):
            continue
        sections.append([Row(variant.label, _entries(board, variant.name, one)) for one in found])
        for one in found:
            sources[f"{one.paper.title}: {one.paper.source}."] = None
            for told in one.differences:
                differing.setdefault(told, []).append(board.results.title(one.task))
    if not sections:
        return None
    known = (f"{told} ({', '.join(dict.fromkeys(where))})" for told, where in differing.items())
    return Table(
        f"verdicts-{board.suffix}",
        f"Beside the paper's numbers, {board.told}",
        ["Method", "Task", "Published", "Its share", "Our share [95%]", "Seeds", "Verdict"],
        sections,
        [RULE, statistics.MEAN_NOTE, f"Known to differ: {'; '.join(known)}.", *sources],
    )


def _entries(board: Board, variant: str, found: Verdict) -> list[Entry]:
    ours = board.scores(variant, found.task, "normalized")
    ours = ours[np.isfinite(ours)]
    return [
        Entry(board.results.title(found.task)),
        with_deviation(*found.published, ",.0f"),
        with_deviation(*found.share, "z.2f"),
        with_interval(float(ours.mean()), *interval(ours), "z.2f") if len(ours) else EMPTY,
        Entry(str(len(ours))),
        Entry(found.status, note=notes.unusual(board, variant, found.task)),
    ]
