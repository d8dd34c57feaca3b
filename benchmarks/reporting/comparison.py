"""One method, or one version of the code, against another: equal protocol enforced, differences tested, verdicts.

Seeds' final returns are compared by Welch's t-test, which needs no equal spread and holds its level with few seeds,
where bootstrap intervals are too narrow. Over all lines of a comparison the tests are adjusted by Holm's method: the
chance that any verdict of "better" or "worse" is a false alarm stays below one stated level.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from benchmarks.kit.errors import UserError
from benchmarks.terminal import counted

from . import statistics
from .formats import EMPTY, Entry, Row, Table
from .results import Results, Variant, settings

BETTER, WORSE, UNDECIDED = "better", "worse", "undecided"


class Difference(NamedTuple):
    """Mean of ours minus mean of theirs, its 95% interval (NaN with fewer than two seeds a side) and p-value."""

    mean: float
    low: float
    high: float
    p: float
    """Two-sided, of no difference; 1 where it cannot be tested."""


class Match(NamedTuple):
    """Two variants on one task with one number of demonstrations, on the seeds that both completed."""

    ours: Variant
    theirs: Variant
    task: str
    """Its title."""
    demos: int
    scores: np.ndarray
    """Our final return of every seed that counts, (seeds,)."""
    others: np.ndarray
    """Theirs."""
    normalized: tuple[np.ndarray, np.ndarray]
    """Both, normalised."""
    lost: int
    """Our runs that failed or diverged where theirs completed."""
    difference: Difference
    verdict: str
    """`BETTER`, `WORSE`, or why neither."""


def difference(ours: np.ndarray, theirs: np.ndarray) -> Difference:
    """Welch's t-test of two samples of seeds (n,) and (m,): `scipy.stats.ttest_ind(equal_var=False)`."""
    if min(len(ours), len(theirs)) < 2:
        gap = ours.mean() - theirs.mean() if len(ours) and len(theirs) else np.nan
        return Difference(float(gap), np.nan, np.nan, 1.0)
    gap = float(ours.mean() - theirs.mean())
    if np.ptp(ours) == 0 and np.ptp(theirs) == 0:  # tasks whose best return every seed reaches
        return Difference(gap, gap, gap, float(gap == 0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of digits lost between nearly equal returns
        test = stats.ttest_ind(ours, theirs, equal_var=False)
        low, high = test.confidence_interval(0.95)
    return Difference(gap, float(low), float(high), float(test.pvalue))


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Adjusted p-values (m,), Holm 1979: cut at a level, the chance of any false rejection is at most that level."""
    p = np.asarray(p_values, dtype=np.float64)
    order = p.argsort(kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)).clip(max=1)
    return adjusted


def compare(
    ours: Results, theirs: Results, pairs: Sequence[tuple[Variant, Variant]], level: float = 0.05, margin: float = 0.05
) -> list[Match]:
    """Every pair on every task and number of demonstrations that both sides have.

    Args:
        ours: results that hold the first variant of every pair.
        theirs: results that hold the second; may be the same.
        pairs: whom to compare.
        level: chance of any false alarm, over all matches together.
        margin: smallest difference that is called one, as a share of the way from the random policy to the expert; 0
            where a task's references are not known.

    Raises:
        UserError: nothing can be compared, or runs that are to be compared followed different protocols.
    """
    drawn = [(*pair, *common) for pair in pairs for common in _common(ours, theirs, *pair)]
    conflicts = [
        f"{versus(first, second)} on {task}: {conflict}"
        for first, second, task, _, cell, other in drawn
        for conflict in _conflicts(cell, other)
    ]
    if conflicts:
        raise UserError(
            f"these runs followed different protocols: {'; '.join(dict.fromkeys(conflicts))}. "
            "Run both with the same profile"
        )
    if not drawn:
        names = ", ".join(dict.fromkeys(variant.name for pair in pairs for variant in pair))
        raise UserError(f"no task has runs of both sides with the same seeds and demonstrations ({names})")
    differences = [difference(*_of_both(cell, other, "score")) for *_, cell, other in drawn]
    adjusted = holm([found.p for found in differences])
    matches = []
    for (first, second, task, demos, cell, other), found, p in zip(drawn, differences, adjusted, strict=True):
        lost = int((~cell["counted"] & other["counted"].to_numpy()).sum())
        best, worst = (theirs.reference(task, name) for name in ("expert", "random"))
        least = 0.0 if best is None or worst is None else margin * abs(best - worst)
        scores, others = _of_both(cell, other, "score")
        normalized = _of_both(cell, other, "normalized")
        verdict = _verdict(found, p < level, least, lost, len(scores))
        title = ours.title(task)
        matches.append(Match(first, second, title, demos, scores, others, normalized, lost, found, verdict))
    return matches


def _verdict(found: Difference, shown: bool, least: float, lost: int, seeds: int) -> str:
    if lost:
        return f"{WORSE}: {lost} failed"
    if seeds < 2:
        return "too few seeds"
    if not shown:
        return UNDECIDED
    if abs(found.mean) <= least:
        return "within the margin"
    return BETTER if found.mean > 0 else WORSE


def _common(
    ours: Results, theirs: Results, first: Variant, second: Variant
) -> Iterator[tuple[str, int, pd.DataFrame, pd.DataFrame]]:
    """Tasks and demonstrations of both, with the runs of the seeds that both have, in the order of the seeds."""
    used = {*ours.runs.loc[ours.runs["variant"] == first.name, "demos"]}
    used |= {*theirs.runs.loc[theirs.runs["variant"] == second.name, "demos"]}
    for demos in sorted(used - {0}) or [0]:
        for task in (task for task in ours.tasks if task in theirs.tasks):
            cells = ours.at(demos).cell(first.name, task), theirs.at(demos).cell(second.name, task)
            seeds = sorted(set(cells[0]["seed"]) & set(cells[1]["seed"]))
            if seeds:
                cell, other = (one.set_index("seed").loc[seeds] for one in cells)
                yield task, demos, cell, other


def _conflicts(cell: pd.DataFrame, other: pd.DataFrame) -> Iterator[str]:
    """In what the runs of one match differ that must be equal."""
    names = {"env_id": "environment", "dataset_hash": "demonstrations", "subsample": "subsampling"}
    names |= {"budget": "environment steps", "episodes": "evaluation episodes"}
    for column, name in names.items():
        # an offline method takes no steps, a method without demonstrations has no dataset: nothing to be equal
        sides = [
            sorted({value for value in side.loc[side["counted"], column].dropna() if value}) for side in (cell, other)
        ]
        if all(sides) and sides[0] != sides[1]:
            here, there = (" and ".join(map(str, side)) for side in sides)
            yield f"{name} {here} here, {there} there"


def missing(ours: Results, theirs: Results, pairs: Sequence[tuple[Variant, Variant]]) -> list[str]:
    """Runs of the second of a pair that the first does not have, in words: of a cell that lacks some, which seeds."""
    found = []
    for first, second in pairs:
        there = theirs.runs[theirs.runs["variant"] == second.name]
        here = ours.runs[ours.runs["variant"] == first.name]
        # if one side uses no demonstrations, only task and seed can be the same
        alike = 0 not in {*there["demos"], *here["demos"]}
        wanted, made = _seeds(there, alike), _seeds(here, alike)
        for (task, demos), seeds in sorted(wanted.items()):
            lacking = seeds - made.get((task, demos), set())
            if lacking:
                words = f"{first.label} on {task}" + (f" with {counted(demos, 'demonstration')}" if alike else "")
                found.append(words if lacking == seeds else f"{words}, seed {', '.join(map(str, sorted(lacking)))}")
    return found


def _seeds(runs: pd.DataFrame, by_demos: bool) -> dict[tuple[str, int], set[int]]:
    """Seeds that were run, by task and number of demonstrations (0 for all, unless `by_demos`)."""
    found: dict[tuple[str, int], set[int]] = {}
    for task, demos, seed in zip(runs["task"], runs["demos"], runs["seed"], strict=True):
        found.setdefault((task, demos if by_demos else 0), set()).add(seed)
    return found


def _of_both(cell: pd.DataFrame, other: pd.DataFrame, column: str) -> tuple[np.ndarray, np.ndarray]:
    """Values of the seeds that count on both sides, of runs in the same order of seeds."""
    both = cell["counted"].to_numpy() & other["counted"].to_numpy()
    here, there = (side.loc[both, column].to_numpy(np.float64) for side in (cell, other))
    return here, there


def notes(ours: Results, theirs: Results, matches: Sequence[Match]) -> list[str]:
    """In what the two sides differ that may explain a difference: settings of the same method, versions, commits."""
    found = []
    for first, second in dict.fromkeys((match.ours, match.theirs) for match in matches):
        if first.method == second.method:
            configs = (_first(ours, first), _first(theirs, second))
            if changed := _apart(*(settings(config) for config in configs)):
                found.append(f"Settings of {first.label}: {changed}.")
    if ours is not theirs and (changed := _apart(_versions(ours), _versions(theirs))):
        found.append(f"Versions: {changed}.")
    return found


def _first(results: Results, variant: Variant) -> str:
    """Config (JSON) of an variant's first run."""
    return str(results.runs.loc[results.runs["variant"] == variant.name, "config"].iloc[0])


def _versions(results: Results) -> dict[str, str]:
    """Versions of all packages that the runs recorded, by package."""
    used: dict[str, set[str]] = {}
    for text in results.runs["versions"].unique():
        for package, version in json.loads(text).items():
            used.setdefault(package, set()).add(version)
    return {package: " and ".join(sorted(versions)) for package, versions in sorted(used.items())}


def _apart(here: Mapping[str, str], there: Mapping[str, str]) -> str:
    """Where two sides differ, in words; a dash where one side recorded nothing."""
    names = (name for name in dict.fromkeys([*here, *there]) if here.get(name) != there.get(name))
    return "; ".join(f"{name} {here.get(name, '–')} here, {there.get(name, '–')} there" for name in names)


def comparison_table(matches: Sequence[Match], level: float, margin: float, remarks: Sequence[str] = ()) -> Table:
    """The matches as a table, a section for every pair, with a line over all its tasks if there are several."""
    pairs = list(dict.fromkeys((match.ours, match.theirs) for match in matches))
    sections = []
    for pair in pairs:
        own = [match for match in matches if (match.ours, match.theirs) == pair]
        several = len({match.demos for match in own}) > 1
        rows = [_row(match, several) for match in own]
        sections.append([*rows, *([_overall(own)] if len(own) > 1 else [])])
    header = ["Ours / theirs", "Seeds", "Ours", "Theirs", "Difference [95%]", "P(better)", "Verdict"]
    explained = [
        "Mean ± standard deviation of the final returns of the seeds that both completed. Difference: with the 95% "
        "interval of Welch's t-test. P(better): chance that a run of ours returns more than one of theirs. All tasks: "
        "interquartile means of normalised returns, with the interval of a stratified bootstrap.",
        f"Verdict: Welch's test adjusted by Holm's method over all lines, so that the chance of any false alarm is at "
        f"most {level:.0%} for returns that are about normally distributed; differences within {margin:.0%} of the way "
        "from random to expert are not called one. A run that failed where theirs completed counts as worse. "
        "Undecided is not equal: more seeds narrow the interval.",
        *remarks,
    ]
    return Table("comparison", "Ours against theirs", header, sections, explained)


def _row(match: Match, several: bool) -> Row:
    number = f", {counted(match.demos, 'demonstration')}" if several else ""
    chance = EMPTY
    if len(match.scores) and len(match.others):
        chance = Entry(f"{float(statistics.probability_of_improvement([match.scores], [match.others])):.2f}")
    seeds = Entry(str(min(len(match.scores), len(match.others))))
    sides = [_mean(match.scores), _mean(match.others)]
    gap = match.difference
    cells = [seeds, *sides, _with_interval(gap.mean, gap.low, gap.high, 0), chance, Entry(match.verdict)]
    return Row(f"{versus(match.ours, match.theirs)}: {match.task}{number}", cells)


def _overall(matches: Sequence[Match]) -> Row:
    """All tasks of a pair: interquartile means of normalised returns, with stratified bootstrap intervals."""
    scores, others = ([match.normalized[side] for match in matches] for side in (0, 1))
    label = f"{versus(matches[0].ours, matches[0].theirs)}: all tasks"
    if not all(map(len, [*scores, *others])):
        return Row(label, [EMPTY] * 6)

    def gap(ours: statistics.Scores, theirs: statistics.Scores) -> np.ndarray:
        return statistics.interquartile_mean(ours) - statistics.interquartile_mean(theirs)

    low, high = statistics.bootstrap_interval(gap, scores, others)
    chance = float(statistics.probability_of_improvement(scores, others))
    sides = [Entry(f"{float(statistics.interquartile_mean(side)):.2f}") for side in (scores, others)]
    return Row(
        label, [EMPTY, *sides, _with_interval(float(gap(scores, others)), low, high, 2), Entry(f"{chance:.2f}"), EMPTY]
    )


def versus(ours: Variant, theirs: Variant) -> str:
    """Who meets whom; one name where a method meets itself."""
    return ours.label if ours.label == theirs.label else f"{ours.label} / {theirs.label}"


def _mean(scores: np.ndarray) -> Entry:
    mean, std = statistics.mean_and_std(scores)
    return EMPTY if np.isnan(mean) else Entry(f"{mean:,.0f}", "" if np.isnan(std) else f"± {std:,.0f}")


def _with_interval(value: float, low: float, high: float, digits: int) -> Entry:
    if np.isnan(value):
        return EMPTY
    return Entry(f"{value:+,.{digits}f}", "" if np.isnan(low) else f"[{low:+,.{digits}f}, {high:+,.{digits}f}]")
