"""One method against another: paired differences tested, verdicts.

Runs with the same seed are a pair: they have the same demonstrations, or are refused. What those do to both is no
difference. The mean difference of the final returns is tested by the paired t-test, also over all tasks; the tests of a
table are adjusted by Holm's method, so that the chance of any false "better" or "worse" stays below a stated level if
differences are about normally distributed. Two one-sided tests that it lies within the margin do the same for any false
"equal".
Where runs are lost now and then they are not, and fewer pairs than `LEAST_PAIRS` would break the level; no verdict is
given on so few, and they take no part in the adjustment. Runs that failed are no pairs: they stand beside the verdict,
which is then none in favour of the side that they are of.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmarks.kit.errors import UserError
from benchmarks.plan import profiles
from benchmarks.terminal import counted

from . import statistics
from .formats import EMPTY, Entry, Row, Table, with_deviation, with_interval
from .meetings import gaps, meetings, partners, versus
from .results import Results
from .statistics import Difference
from .variants import Variant, settings

BETTER, WORSE, UNDECIDED, TOO_FEW = "better", "worse", "undecided", "too few seeds"
EQUAL = "equal within the margin"
LEAST_PAIRS = 5
"""If half of all runs are lost by nature, one side loses all and the other none in 2 of 4^pairs cases: with three pairs
in one of 32, with five in one of 512."""


class Match(NamedTuple):
    """Two variants on one task with one number of demonstrations, paired."""

    ours: Variant
    theirs: Variant
    task: str
    """Its title."""
    demos: int
    scores: np.ndarray
    """Our final return of every pair, (pairs,)."""
    others: np.ndarray
    """Theirs."""
    lost: tuple[int, int]
    """Our runs that failed or diverged where theirs completed, and theirs where ours did."""
    difference: Difference
    verdict: str
    """`BETTER`, `WORSE`, `EQUAL`, or why none of them; and which runs failed."""


class Total(NamedTuple):
    """A pair over all its tasks, from normalised returns."""

    ours: Variant
    theirs: Variant
    places: int
    """On how many tasks, or numbers of demonstrations, they met."""
    difference: Difference
    verdict: str


def compare(
    ours: Results, theirs: Results, pairs: Sequence[tuple[Variant, Variant]], level: float = 0.05, margin: float = 0.05
) -> tuple[list[Match], list[Total]]:
    """Every pair on every task and number of demonstrations that both sides have, and over all of them.

    Args:
        ours: results that hold the first variant of every pair.
        theirs: results that hold the second; may be the same.
        pairs: whom to compare.
        level: chance of any false alarm, over all matches and totals together.
        margin: smallest difference that is called one, as a share of the way from the random policy to the expert; 0
            where a task's references are not known.

    Returns:
        The matches; and the totals of those pairs that met more than once, in runs of their own each time and at least
        two of them, and whose returns can be normalised.

    Raises:
        UserError: nothing can be compared, or runs that are to be compared followed different protocols.
    """
    drawn = [(*pair, *common) for pair in pairs for common in meetings(ours, theirs, *pair)]
    if not drawn:
        names = ", ".join(dict.fromkeys(variant.name for pair in pairs for variant in pair))
        crossed = any((side.runs["draw"] != "").any() for side in (ours, theirs))
        hint = "; draws that are crossed with seeds meet only the same draws" if crossed else ""
        raise UserError(f"no task has runs of both sides with the same seeds and demonstrations ({names}){hint}")
    sides = [(own, other) for *_, own, other in drawn]
    scores = [partners(*both) for both in sides]
    normalized = [gaps(*both, "normalized") for both in sides]
    of_pair: dict[tuple[Variant, Variant], list[int]] = {}
    for place, (first, second, *_) in enumerate(drawn):
        of_pair.setdefault((first, second), []).append(place)
    over_all = {
        pair: places
        for pair, places in of_pair.items()
        if len(places) > 1
        and all(len(normalized[p]) > 1 and np.isfinite(normalized[p]).all() for p in places)
        and _own_runs([sides[p] for p in places])
    }
    lines = [
        _Line([here - there], _least(theirs, task, margin))
        for (here, there), (_, _, task, *_) in zip(scores, drawn, strict=True)
    ]
    lines += [_Line([normalized[place] for place in places], margin) for places in over_all.values()]
    verdicts, lost = _verdicts(lines, level), [_lost(*both) for both in sides]
    matches = [
        Match(first, second, ours.title(task), demos, *met, failed, line.found, _told(verdict, failed))
        for (first, second, task, demos, *_), met, failed, line, verdict in zip(
            drawn, scores, lost, lines, verdicts, strict=False
        )
    ]
    totals = []
    for (pair, places), line, verdict in zip(
        over_all.items(), lines[len(drawn) :], verdicts[len(drawn) :], strict=True
    ):
        ours_lost, theirs_lost = (sum(side) for side in zip(*(lost[place] for place in places), strict=True))
        totals.append(Total(*pair, len(places), line.found, _told(verdict, (ours_lost, theirs_lost))))
    return matches, totals


def _lost(own: pd.DataFrame, other: pd.DataFrame) -> tuple[int, int]:
    """How many paired runs count on the other side alone."""
    return int((~own["counted"] & other["counted"]).sum()), int((own["counted"] & ~other["counted"]).sum())


def _told(verdict: str, lost: tuple[int, int]) -> str:
    """A verdict on the runs that both sides completed, beside those that one of them did not."""
    ours, theirs = lost
    if (ours and verdict in (BETTER, EQUAL)) or (theirs and verdict in (WORSE, EQUAL)):
        verdict = UNDECIDED
    failed = [f"{number} of {side}" for number, side in zip(lost, ("ours", "theirs"), strict=True) if number]
    return f"{verdict}; failed: {', '.join(failed)}" if failed else verdict


def _own_runs(met: Sequence[tuple[pd.DataFrame, pd.DataFrame]]) -> bool:
    """Whether every meeting has its own runs: who needs no demonstrations brings the same to every number of them."""
    return all(pd.concat([own["run_id"] for own in side]).is_unique for side in zip(*met, strict=True))


def _least(results: Results, task: str, margin: float) -> float:
    """The margin in returns of a task; 0 where its references are not known."""
    best, worst = (results.reference(task, name) for name in ("expert", "random"))
    return 0.0 if best is None or worst is None else margin * abs(best - worst)


class _Line:
    """What is tested at once: differences (pairs,) on one task or on each of several, and the margin among them."""

    def __init__(self, gaps: Sequence[np.ndarray], least: float) -> None:
        self.gaps, self.least = gaps, least
        self.found = statistics.difference(gaps)
        self.pairs = min(map(len, gaps))


def _verdicts(lines: Sequence[_Line], level: float) -> list[str]:
    """In words; of a line over several tasks how many more seeds it needs is not told."""
    judged = [line for line in lines if line.pairs >= LEAST_PAIRS]
    differ = statistics.holm([line.found.p for line in judged]) < level
    alike = statistics.holm([statistics.equivalence(line.found, line.least) for line in judged]) < level
    each = level / 2 / max(len(judged), 1)  # what is left to one of the tests at worst, on one side
    told = iter([_verdict(*line, each) for line in zip(judged, differ, alike, strict=True)])
    return [
        next(told) if line.pairs >= LEAST_PAIRS else f"{TOO_FEW}: {LEAST_PAIRS - line.pairs} more" for line in lines
    ]


def _verdict(line: _Line, differs: bool, alike: bool, each: float) -> str:
    mean = line.found.mean
    if differs and abs(mean) > line.least:
        return BETTER if mean > 0 else WORSE
    if alike:
        return EQUAL
    if len(line.gaps) > 1:
        return UNDECIDED
    beyond, deviation = abs(mean) - line.least, float(line.gaps[0].std(ddof=1))
    # a verdict beyond the margin needs the t-test, and a mean that lies beyond it once more
    effects = [(abs(mean), each), (beyond, 0.5)] if beyond > 0 else [(-beyond, each)]
    needed = [statistics.pairs_needed(deviation, *effect) or np.inf for effect in effects]
    told = f"{max(1, max(needed) - line.pairs):.0f}" if np.isfinite(needed).all() else "very many"
    return f"{UNDECIDED}: {told} more"


def notes(ours: Results, theirs: Results, matches: Sequence[Match]) -> list[str]:
    """In what the two sides differ that may explain a difference: settings of the same method, versions, commits."""
    found = []
    for first, second in dict.fromkeys((match.ours, match.theirs) for match in matches):
        if first.method == second.method:
            configs = (_first(ours, first), _first(theirs, second))
            if changed := _apart(*(settings(config) for config in configs)):
                found.append(f"Settings of {first.label}: {changed}.")
    used = [{package: " and ".join(found) for package, found in side.versions.items()} for side in (ours, theirs)]
    if changed := _apart(*used):
        found.append(f"Versions: {changed}.")
    return found


def _first(results: Results, variant: Variant) -> str:
    """Config (JSON) of a variant's first run."""
    return str(results.runs.loc[results.runs["variant"] == variant.name, "config"].iloc[0])


def _apart(here: Mapping[str, str], there: Mapping[str, str]) -> str:
    """Where two sides differ, in words; a dash where one side recorded nothing."""
    names = (name for name in dict.fromkeys([*here, *there]) if here.get(name) != there.get(name))
    return "; ".join(f"{name} {here.get(name, '–')} here, {there.get(name, '–')} there" for name in names)


def comparison_table(
    matches: Sequence[Match], totals: Sequence[Total], level: float, margin: float, remarks: Sequence[str] = ()
) -> Table:
    """The matches as a table, a section for every pair, with its total below."""
    sections = []
    for pair in dict.fromkeys((match.ours, match.theirs) for match in matches):
        own = [match for match in matches if (match.ours, match.theirs) == pair]
        several = len({match.demos for match in own}) > 1
        rows = [_row(match, several) for match in own]
        sections.append(rows + [_total(total) for total in totals if (total.ours, total.theirs) == pair])
    header = ["Ours / theirs", "Pairs", "Ours", "Theirs", "Difference [95%]", "P(better)", "Verdict"]
    explained = [
        "Mean ± standard deviation of the final returns of the runs that both sides completed. Difference: mean over "
        "pairs of runs with the same seed, hence the same demonstrations, with its 95% t interval. P(better): chance "
        "that a run of ours returns more than one of theirs. Over several tasks: mean of the difference of normalised "
        "returns. An interval is of its line alone: it may exclude 0 where the adjusted verdict is undecided. "
        f"{statistics.DIFFERENCES_NOTE}",
        f"Verdict: paired t-tests, adjusted by Holm's method over all lines of {LEAST_PAIRS} pairs or more: the "
        f"chance of any false better or worse is at most {level:.0%} if differences are about normally distributed. "
        f"Differences within {margin:.0%} of the way from random to expert are not called one. {EQUAL.capitalize()}: "
        "likewise and at the same level once more, by two one-sided tests that the difference lies within it. Runs "
        "that failed are no pairs, and a side that has any gets no verdict in its favour. "
        "Undecided is not equal: beside it stands how many more pairs would show, with 80% chance, on which side of "
        "the margin a difference as large as the one seen lies, with as much spread.",
        *remarks,
    ]
    return Table("comparison", "Ours against theirs", header, sections, explained)


def planned(results: Results, level: float = 0.05, margin: float = 0.05) -> Table | None:
    """The comparisons that the runs' own profiles plan, tested together; None where there are none, or no such runs."""
    known = {variant.name: variant for variant in results.variants}
    pairs: dict[tuple[Variant, Variant], None] = {}
    for profile in sorted({*results.runs["profile"]} & {*profiles.names()}):
        for method, others in profiles.load(profile).compare.items():
            pairs |= {(known[method], known[other]): None for other in others if {method, other} <= known.keys()}
    try:
        matches, totals = compare(results, results, list(pairs), level, margin)
    except UserError:  # no runs that can be compared
        return None
    table = comparison_table(matches, totals, level, margin)
    return replace(table, name="planned-comparisons", title="Planned comparisons")


def _row(match: Match, several: bool) -> Row:
    number = f", {counted(match.demos, 'demonstration')}" if several else ""
    chance = EMPTY
    if len(match.scores) and len(match.others):
        chance = Entry(f"{statistics.probability_of_improvement([match.scores], [match.others]):.2f}")
    sides = [with_deviation(*statistics.mean_and_std(side), ",.0f") for side in (match.scores, match.others)]
    difference = with_interval(*match.difference[:3], "+,.0f")
    entries = [Entry(str(len(match.scores))), *sides, difference, chance, Entry(match.verdict)]
    return Row(f"{versus(match.ours, match.theirs)}: {match.task}{number}", entries)


def _total(total: Total) -> Row:
    label = f"{versus(total.ours, total.theirs)}: {counted(total.places, 'line')} together"
    difference = with_interval(*total.difference[:3], "+,.2f")
    return Row(label, [EMPTY, EMPTY, EMPTY, difference, EMPTY, Entry(total.verdict)])
