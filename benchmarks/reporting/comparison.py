"""One method against another, on equal terms: the same protocol enforced, paired differences tested, verdicts.

Runs with the same seed are a pair: they have the same demonstrations, or are refused. What those do to both is no
difference. The mean difference of the final returns is tested by the paired t-test, also over all tasks; the tests of a
table are adjusted by Holm's method, so that the chance of any false "better" or "worse" stays below a stated level if
differences are about normally distributed. Two one-sided tests that it lies within the margin do the same for any false
"equal".
Where runs are lost now and then they are not, and fewer pairs than `LEAST_PAIRS` would break the level; no verdict is
given on so few.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmarks.kit.errors import UserError, near_miss
from benchmarks.terminal import counted

from . import statistics
from .formats import EMPTY, Entry, Row, Table, with_deviation, with_interval
from .results import PROTOCOL, Results, followed
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
    gaps: np.ndarray
    """Ours minus theirs."""
    normalized: np.ndarray
    """The same of normalised returns."""
    lost: int
    """Our runs that failed or diverged where theirs completed."""
    difference: Difference
    verdict: str
    """`BETTER`, `WORSE`, `EQUAL`, or why none of them."""


class Total(NamedTuple):
    """A pair over all its tasks, from normalised returns."""

    ours: Variant
    theirs: Variant
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
    returns = [gaps(*both) for both in sides]
    normalized = [gaps(*both, "normalized") for both in sides]
    of_pair: dict[tuple[Variant, Variant], list[int]] = {}
    for place, (first, second, *_) in enumerate(drawn):
        of_pair.setdefault((first, second), []).append(place)
    over_all = {
        pair: [normalized[place] for place in places]
        for pair, places in of_pair.items()
        if len(places) > 1
        and all(len(normalized[p]) > 1 and np.isfinite(normalized[p]).all() for p in places)
        and _own_runs([sides[p] for p in places])
    }
    lines = [
        _Line([gap], _least(theirs, task, margin)) for gap, (_, _, task, *_) in zip(returns, drawn, strict=True)
    ] + [_Line(parts, margin) for parts in over_all.values()]
    verdicts = _verdicts(lines, level)
    matches = []
    for (first, second, task, demos, own, other), gap, share, line, verdict in zip(
        drawn, returns, normalized, lines, verdicts, strict=False
    ):
        lost = int((~own["counted"] & other["counted"]).sum())
        told = _with_lost(verdict, lost)
        met = _partners(own, other)
        matches.append(Match(first, second, ours.title(task), demos, *met, gap, share, lost, line.found, told))
    totals = []
    for pair, line, verdict in zip(over_all, lines[len(drawn) :], verdicts[len(drawn) :], strict=True):
        lost = sum(match.lost for match in matches if (match.ours, match.theirs) == pair)
        totals.append(Total(*pair, line.found, _with_lost(verdict, lost)))
    return matches, totals


def _with_lost(verdict: str, lost: int) -> str:
    """A verdict on the runs that both sides completed, where so many of ours failed and theirs did not."""
    return f"{WORSE}: {lost} failed" if lost else verdict


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


def _verdicts(lines: Sequence[_Line], level: float) -> list[str]:
    """In words; of a line over several tasks how many more seeds it needs is not told."""
    differ = statistics.holm([line.found.p for line in lines]) < level
    alike = statistics.holm([statistics.equivalence(line.found, line.least) for line in lines]) < level
    each = level / 2 / len(lines)  # what is left to one of the tests at worst, on one side
    return [_verdict(*line, each) for line in zip(lines, differ, alike, strict=True)]


def _verdict(line: _Line, differs: bool, alike: bool, each: float) -> str:
    pairs, mean = min(map(len, line.gaps)), line.found.mean
    if pairs < LEAST_PAIRS:
        return f"{TOO_FEW}: {LEAST_PAIRS - pairs} more"
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
    told = f"{max(1, max(needed) - pairs):.0f}" if np.isfinite(needed).all() else "very many"
    return f"{UNDECIDED}: {told} more"


def who_meets(
    ours: Results, theirs: Results, method: str | None = None, against: str | None = None
) -> list[tuple[Variant, Variant]]:
    """Who meets whom.

    Args:
        ours: results that hold the first of every pair.
        theirs: results that hold the second; may be the same.
        method: ours, by commas; default: all that learn.
        against: one of theirs; default: each method's own runs.

    Raises:
        UserError: a name has no runs, or there is nothing but itself to compare it with; names the option.
    """
    here, there = ({variant.name: variant for variant in side.variants} for side in (ours, theirs))
    chosen = [_find(here, name, "--method") for name in _names(method or "")]
    if against is not None:
        other = _find(there, against, "--against")
        chosen = chosen or [variant for variant in here.values() if variant.contestant]
        pairs = [(variant, other) for variant in chosen if ours is not theirs or variant != other]
        if not pairs:
            raise UserError(f"--against {against}: there is nothing but itself to compare it with; change --method")
        return pairs
    chosen = chosen or [variant for variant in there.values() if variant.method not in ("random", "expert")]
    # what is there and not here is still a pair: it is missing
    return [(here.get(variant.name, variant), _find(there, variant.name, "--method")) for variant in chosen]


def _names(text: str) -> list[str]:
    """Names by commas; those within the brackets of a name are part of it."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter == "[") - (letter == "]")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return [part.strip() for part in parts if part.strip()]


def _find(variants: dict[str, Variant], name: str, option: str) -> Variant:
    if name not in variants:
        raise UserError(f"{option} {name}: no such runs are stored; {near_miss(name, tuple(variants))}")
    return variants[name]


def meetings(
    ours: Results, theirs: Results, first: Variant, second: Variant
) -> Iterator[tuple[str, int, pd.DataFrame, pd.DataFrame]]:
    """Tasks and demonstrations that two variants share, with the paired runs of both.

    Raises:
        UserError: the runs followed different protocols.
    """
    used = {*ours.runs.loc[ours.runs["variant"] == first.name, "demos"]}
    used |= {*theirs.runs.loc[theirs.runs["variant"] == second.name, "demos"]}
    for demos in sorted(used - {0}) or [0]:
        for task in (task for task in ours.tasks if task in theirs.tasks):
            own, other = ours.at(demos).sample_runs(first.name, task), theirs.at(demos).sample_runs(second.name, task)
            if conflicts := list(_conflicts(own, other)):
                raise UserError(
                    f"these runs followed different protocols: {versus(first, second)} on {task}: "
                    f"{'; '.join(conflicts)}. Run both with the same profile and draws"
                )
            own, other = paired(own, other)
            if len(own):
                yield task, demos, own, other


def paired(own: pd.DataFrame, other: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The runs of the seeds that both sides have, by seed, in the same order."""
    seeds = sorted(set(own["seed"]) & set(other["seed"]))
    own, other = (side.set_index("seed").loc[seeds] for side in (own, other))
    return own, other


def _partners(own: pd.DataFrame, other: pd.DataFrame, column: str = "score") -> tuple[np.ndarray, np.ndarray]:
    """Values (pairs,) of paired runs of which both count."""
    both = (own["counted"] & other["counted"]).to_numpy()
    here, there = (side.loc[both, column].to_numpy(np.float64) for side in (own, other))
    return here, there


def gaps(own: pd.DataFrame, other: pd.DataFrame, column: str = "score") -> np.ndarray:
    """Ours minus theirs, (pairs,), over paired runs of which both count."""
    here, there = _partners(own, other, column)
    return here - there


def _conflicts(own: pd.DataFrame, other: pd.DataFrame) -> Iterator[str]:
    """In what the runs of one match differ that must be equal."""
    for column, name in PROTOCOL.items():
        sides = [followed(side, column) for side in (own, other)]
        if all(sides) and sides[0] != sides[1]:
            here, there = (" and ".join(map(str, side)) for side in sides)
            yield f"{name} {here} here, {there} there"
    ours, theirs = (side["episode_ids"] for side in paired(own, other))
    for seed, *episodes in zip(ours.index, ours, theirs, strict=True):
        here, there = (" and ".join(map(str, numbers)) for numbers in episodes)
        if here and there and here != there:
            yield f"demonstrated episode {here} here, {there} there for seed {seed}"
            return


def missing(ours: Results, theirs: Results, pairs: Sequence[tuple[Variant, Variant]]) -> list[str]:
    """Runs of the second of a pair that the first does not have, in words: of a sample that lacks some, which seeds."""
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
        "that a run of ours returns more than one of theirs. All tasks: mean over tasks of the difference of "
        f"normalised returns. {statistics.DIFFERENCES_NOTE}",
        f"Verdict: paired t-tests, adjusted by Holm's method over all lines, so that the chance of any false alarm is "
        f"at most {level:.0%} if differences are about normally distributed; differences within {margin:.0%} of the "
        f"way from random to expert are not called one. {EQUAL.capitalize()}: likewise, by two one-sided tests that "
        "the difference lies within it. A run that failed where theirs completed counts as worse. "
        "Undecided is not equal: beside it stands how many more pairs would show, with 80% chance, on which side of "
        "the margin a difference as large as the one seen lies, with as much spread.",
        *remarks,
    ]
    return Table("comparison", "Ours against theirs", header, sections, explained)


def _row(match: Match, several: bool) -> Row:
    number = f", {counted(match.demos, 'demonstration')}" if several else ""
    chance = EMPTY
    if len(match.scores) and len(match.others):
        chance = Entry(f"{statistics.probability_of_improvement([match.scores], [match.others]):.2f}")
    sides = [with_deviation(*statistics.mean_and_std(side), ",.0f") for side in (match.scores, match.others)]
    difference = with_interval(*match.difference[:3], "+,.0f")
    entries = [Entry(str(len(match.gaps))), *sides, difference, chance, Entry(match.verdict)]
    return Row(f"{versus(match.ours, match.theirs)}: {match.task}{number}", entries)


def _total(total: Total) -> Row:
    label = f"{versus(total.ours, total.theirs)}: all tasks"
    difference = with_interval(*total.difference[:3], "+,.2f")
    return Row(label, [EMPTY, EMPTY, EMPTY, difference, EMPTY, Entry(total.verdict)])


def versus(ours: Variant, theirs: Variant) -> str:
    """Who meets whom; one name where a method meets itself."""
    return ours.label if ours.label == theirs.label else f"{ours.label} / {theirs.label}"
