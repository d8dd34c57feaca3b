"""Scores to numbers: means, spreads and aggregates over tasks, and their t intervals. Arrays only.

Aggregates follow Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice", NeurIPS 2021
(the rliable package): one method's scores are a sequence with one array per task, the runs (seeds) on it; tasks may
hold different numbers of runs, and with equal numbers every value equals rliable's. Its intervals are percentiles of a
bootstrap, which are too narrow for a handful of seeds (with three, the 95 % interval of a mean covers it three times in
four); ours are t intervals, with degrees of freedom by Welch and Satterthwaite where tasks have spreads of their own.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import fdtri, ndtri, stdtr, stdtrit
from scipy.stats import rankdata

Scores = Sequence[np.ndarray]
"""One array (runs,) per task."""

TAILS = np.array([0.025, 0.975])
"""Ends of a 95 % interval."""
POWER = 0.8
"""Chance to find what is called visible."""


def mean_and_std(values: np.ndarray) -> tuple[float, float]:
    """Mean and sample standard deviation (divisor n - 1) over seeds; NaN where undefined (std of one, mean of none)."""
    values = np.asarray(values, dtype=np.float64)
    mean = float(values.mean()) if len(values) else float("nan")
    return mean, float(values.std(ddof=1)) if len(values) > 1 else float("nan")


def interquartile_mean(scores: Scores) -> float:
    """Mean of the middle half of all runs of all tasks: `scipy.stats.trim_mean(runs, 0.25)`."""
    pooled = np.sort(np.concatenate(scores))  # sorted, so that the sum has the same bits on every machine
    cut = int(0.25 * len(pooled))
    return float(pooled[cut : len(pooled) - cut].mean())


def mean(scores: Scores) -> float:
    """Mean over tasks of the mean over runs."""
    return float(np.mean([task.mean() for task in scores]))


def optimality_gap(scores: Scores) -> float:
    """By how much runs fall short of 1, runs above it counting as 1: lower is better."""
    return 1.0 - mean([np.minimum(task, 1.0) for task in scores])


def probability_of_improvement(scores: Scores, others: Scores) -> float:
    """Chance that a run beats a run of the other method on a random task, ties counting half.

    Raises:
        ValueError: the two do not hold the same number of tasks.
    """
    wins = [np.sign(ours[:, None] - theirs).mean() for ours, theirs in zip(scores, others, strict=True)]
    return float(np.mean(wins) + 1) / 2


def performance_profile(scores: Scores, thresholds: np.ndarray) -> np.ndarray:
    """Fraction of runs, averaged over tasks, that score above each threshold (T,): (T,)."""
    return np.mean([(task[:, None] > thresholds).mean(0) for task in scores], axis=0)


class Difference(NamedTuple):
    """A mean difference with its 95 % t interval (NaN where nothing is known of the spread) and p-value."""

    mean: float
    low: float
    high: float
    p: float
    """Two-sided, of no difference; 1 where it cannot be tested."""
    error: float
    """Standard error."""
    freedom: float
    """Degrees of freedom of that error."""


def difference(gaps: Scores) -> Difference:
    """t-test of the mean over tasks of paired differences: with one task `scipy.stats.ttest_rel`.

    Args:
        gaps: ours minus theirs, one array (pairs,) per task.
    """
    middle = mean(gaps) if all(len(task) for task in gaps) else float("nan")
    error, freedom = _error([task / len(gaps) for task in gaps])
    low, high = middle + _reach(error, freedom)
    if np.isnan(error) or np.isnan(middle):
        p = 1.0
    elif error == 0:  # tasks whose best return every seed reaches
        p = float(middle == 0)
    else:
        p = float(2 * stdtr(freedom, -abs(middle) / error))
    return Difference(middle, float(low), float(high), p, error, freedom)


def equivalence(found: Difference, margin: float) -> float:
    """p-value of two one-sided t-tests that a mean difference does not lie within ± margin (Schuirmann, 1987)."""
    if np.isnan(found.error) or np.isnan(found.mean):
        return 1.0
    if found.error == 0:
        return float(abs(found.mean) >= margin)
    return float(stdtr(found.freedom, (abs(found.mean) - margin) / found.error))


def holm(p_values: Sequence[float]) -> np.ndarray:
    """Adjusted p-values (m,), Holm 1979: cut at a level, the chance of any false rejection is at most that level."""
    p = np.asarray(p_values, dtype=np.float64)
    order = p.argsort(kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)).clip(max=1)
    return adjusted


def visible(deviation: float, pairs: int, level: float) -> float:
    """Smallest mean difference that a t-test of so many pairs finds with 80 % power.

    Args:
        deviation: standard deviation of the differences.
        pairs: their number, at least 2.
        level: of the one-sided test; half of that of a two-sided one.
    """
    return float((stdtrit(pairs - 1, 1 - level) + stdtrit(pairs - 1, POWER)) * deviation / np.sqrt(pairs))


def pairs_needed(deviation: float, effect: float, level: float) -> int | None:
    """Pairs with which `visible` is at most `effect`; None if more than 10,000 are needed."""
    sizes = range(2, 10_001)
    place = bisect_left(sizes, -effect, key=lambda pairs: -visible(deviation, pairs, level))
    return sizes[place] if place < len(sizes) else None


def mean_interval(scores: Scores) -> np.ndarray:
    """95 % t interval of `mean`; with one task `scipy.stats.ttest_1samp(runs, 0).confidence_interval()`.

    Returns:
        Lower and upper end, (2,); NaN where a task has one run alone, since nothing is known of its spread.
    """
    return mean(scores) + _reach(*_error([task / len(scores) for task in scores]))


def interquartile_interval(scores: Scores) -> np.ndarray:
    """95 % t interval of `interquartile_mean`, from the variances of the winsorised runs (Tukey & McLaughlin 1963).

    What is cut off tells nothing of the spread, so the degrees of freedom shrink by the share that is left. Where a
    task has fewer than three runs, or there are four in all, too little would be left: all count, as for a mean.

    Returns:
        Lower and upper end, (2,); NaN as for `mean_interval`.
    """
    pooled = np.sort(np.concatenate(scores))
    cut = int(0.25 * len(pooled)) if min(map(len, scores)) > 2 and len(pooled) > 4 else 0
    low, high, left = pooled[cut], pooled[-1 - cut], len(pooled) - 2 * cut
    error, freedom = _error([task.clip(low, high) * len(task) / left for task in scores])
    return interquartile_mean(scores) + _reach(error, max(1.0, freedom * left / len(pooled)))


def improvement_interval(scores: Scores, others: Scores) -> np.ndarray:
    """95 % t interval of `probability_of_improvement`, from the runs' placements (Brunner & Munzel 2000).

    Returns:
        Lower and upper end in [0, 1], (2,); NaN as for `mean_interval`, and where every run of one method beats every
        run of the other, since such placements do not vary.
    """
    wins = [
        (np.sign(ours[:, None] - theirs) + 1) / 2 / len(scores) for ours, theirs in zip(scores, others, strict=True)
    ]
    placements = [*(won.mean(1) for won in wins), *(-won.mean(0) for won in wins)]
    error, freedom = _error(placements)
    return (probability_of_improvement(scores, others) + _reach(error or np.nan, freedom)).clip(0, 1)


def variance_share(scores: np.ndarray) -> np.ndarray:
    """Share of the variance of runs that is the rows', where rows were crossed with columns, both drawn at random.

    It is the intraclass correlation ICC(2,1) of Shrout & Fleiss (1979), with their interval.

    Args:
        scores: (rows, columns), at least 2 by 2.

    Returns:
        The share and the ends of its 95 % interval, within [0, 1], (3,); NaN where all scores are the same.
    """
    n, k = scores.shape
    rows, columns = scores.mean(1) - scores.mean(), scores.mean(0) - scores.mean()
    left = scores - scores.mean() - rows[:, None] - columns
    of_rows, of_columns = k * (rows**2).sum() / (n - 1), n * (columns**2).sum() / (k - 1)
    rest = (left**2).sum() / ((n - 1) * (k - 1))
    total = of_rows + (k - 1) * rest + k / n * (of_columns - rest)
    if total <= 0:
        return np.full(3, np.nan)
    share = (of_rows - rest) / total
    # degrees of freedom of what a row's mean is measured against, by Satterthwaite
    mine, others = k * share * of_columns, (n * (1 + (k - 1) * share) - k * share) * rest
    if mine == others == 0:  # the rows alone
        return np.full(3, share)
    freedom = (mine + others) ** 2 / (mine**2 / (k - 1) + others**2 / ((n - 1) * (k - 1)))
    against = k * of_columns + (k * n - k - n) * rest
    least, most = 1 / fdtri(n - 1, freedom, TAILS[1]), fdtri(freedom, n - 1, TAILS[1])
    low = n * (least * of_rows - rest) / (against + n * least * of_rows)
    high = n * (most * of_rows - rest) / (against + n * most * of_rows)
    return np.array([share, low, high]).clip(0, 1)


def correlation_interval(correlations: np.ndarray, pairs: int) -> np.ndarray:
    """95 % interval of the mean of rank correlations, each over so many pairs (Bonett & Wright 2000).

    Returns:
        Lower and upper end, (2,); [-1, 1] with fewer than four pairs.
    """
    if pairs < 4:
        return np.array([-1.0, 1.0])
    middle = float(np.mean(correlations))
    error = np.sqrt((1 + middle**2 / 2) / (pairs - 3) / len(correlations))
    with np.errstate(divide="ignore"):  # a perfect correlation
        return np.tanh(np.arctanh(middle) + ndtri(TAILS) * error)


def relabelled(ours: np.ndarray, blocks: np.ndarray, repetitions: int, seed: int = 0) -> np.ndarray:
    """Which runs are called ours, in so many draws that exchange the names within each block at random.

    Args:
        ours: (runs,) bool.
        blocks: (runs,), equal for runs that would be exchangeable if the two sides were the same.
        repetitions: number of draws.
        seed: same seed, same draws.

    Returns:
        (repetitions + 1, runs) bool; the first is `ours` itself.
    """
    generator = np.random.default_rng(seed)
    names = np.tile(ours, (repetitions + 1, 1))
    for block in np.unique(blocks):
        places = np.flatnonzero(blocks == block)
        names[1:, places] = generator.permuted(names[1:, places], axis=1)
    return names


def losses(values: np.ndarray, names: np.ndarray, blocks: np.ndarray) -> np.ndarray:
    """By how much the runs called ours fall short of the others: mean over blocks of the difference of the means.

    Args:
        values: (runs, measures), higher is better.
        names: (draws, runs) bool; in every block some runs are ours and some are not.
        blocks: (runs,).

    Returns:
        (draws, measures).
    """
    labels, places = np.unique(blocks, return_inverse=True)
    here = np.array([names[0, places == block].sum() for block in range(len(labels))])[places]
    there = np.bincount(places)[places] - here
    both = names @ (values * (1 / here + 1 / there)[:, None]) / len(labels)
    return (values / there[:, None]).sum(0) / len(labels) - both


def adjusted(statistic: np.ndarray, level: float) -> tuple[np.ndarray, float]:
    """p-values of many statistics at once, adjusted by their common distribution (Westfall & Young 1993, min p).

    The chance that any of them falls below a level by chance is at most that level, however they depend on each other.

    Args:
        statistic: (draws, statistics) under exchanged names, the first draw the one that was seen; high is extreme.
        level: see below.

    Returns:
        The adjusted p-values (statistics,), and the largest p-value of a single statistic that is below the level then;
        0 where none can be.
    """
    rounded = statistic.round(12)  # equal draws must tie
    p = rankdata(-rounded, method="max", axis=0) / len(statistic)
    least = np.sort(p.min(1))
    rank = np.searchsorted(least, p[0], side="right")
    allowed = np.unique(least)[np.cumsum(np.unique(least, return_counts=True)[1]) <= level * len(least)]
    return rank / len(least), float(allowed.max(initial=0.0))


def _error(parts: Scores) -> tuple[float, float]:
    """Standard error of the sum of the parts' means, and its degrees of freedom (Welch, Satterthwaite).

    Args:
        parts: independent runs, one array (runs,) per task.

    Returns:
        NaN and 1 where a part has fewer than two runs.
    """
    if min(map(len, parts)) < 2:
        return float("nan"), 1.0
    errors = np.array([part.var(ddof=1) / len(part) for part in parts])
    freedom = np.array([len(part) - 1 for part in parts])
    total = errors.sum()
    effective = total**2 / (errors**2 / freedom).sum() if total > 0 else freedom.sum()
    return float(np.sqrt(total)), float(effective)


def _reach(error: float, freedom: float) -> np.ndarray:
    """From an estimate to the ends of its 95 % interval, (2,)."""
    reach = stdtrit(freedom, TAILS) * error
    return np.asarray(reach)


DIFFERENCES_NOTE = (
    "Such an interval covers the difference in 95% of all cases if differences are about normally distributed, and in "
    "95% to 99% if one run in five of both sides alike learns nothing. If one side alone loses one in five, it covers "
    "in 60% to 90%: a few seeds seldom show what is rare."
)
"""What stands below a table with intervals of paired differences; by simulation, see `tests/test_statistics.py`."""


def middle_note(seeds: int) -> str:
    """What stands below a table with `interquartile_interval`s; by simulation of up to five tasks, likewise."""
    if seeds < 2:
        return "One seed tells nothing of the spread, hence no interval."
    return (
        "Such an interval covers the interquartile mean in 89% to 98% of all cases, also if one run in five learns "
        "nothing: that hardly moves it, so look at the gap and at the single tasks too. If two in five do, it covers "
        "in 58% to 92%."
    )


MEAN_NOTE = (
    "A t interval of a mean covers it in 95% of all cases if scores are about normal; if one run in five learns "
    "nothing, with 2 to 5 seeds in 50% to 80%."
)
"""What stands below tables with `mean_interval`s; by simulation."""
