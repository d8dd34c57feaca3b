"""Scores to numbers: means, spreads and aggregates over tasks with stratified bootstrap intervals. Arrays only.

Definitions follow Agarwal et al., "Deep Reinforcement Learning at the Edge of the Statistical Precipice", NeurIPS 2021
(the rliable package). One method's scores are a sequence with one array per task, the runs (seeds) on its last axis.
Tasks may hold different numbers of runs; with equal numbers every value equals rliable's. Leading axes are batches:
the bootstrap hands all its resamples to a statistic at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Scores = Sequence[np.ndarray]
"""One array (..., runs) per task."""


def mean_and_std(values: np.ndarray) -> tuple[float, float]:
    """Mean and sample standard deviation (divisor n - 1) over seeds; NaN where undefined (std of one, mean of none)."""
    values = np.asarray(values, dtype=np.float64)
    mean = float(values.mean()) if len(values) else float("nan")
    return mean, float(values.std(ddof=1)) if len(values) > 1 else float("nan")


def interquartile_mean(scores: Scores) -> np.ndarray:
    """Mean of the middle half of all runs of all tasks, (...): `scipy.stats.trim_mean(runs, 0.25)`."""
    pooled = np.concatenate(scores, axis=-1)
    cut = int(0.25 * pooled.shape[-1])
    end = pooled.shape[-1] - cut
    return np.partition(pooled, (cut, end - 1), axis=-1)[..., cut:end].mean(-1)


def mean(scores: Scores) -> np.ndarray:
    """Mean over tasks of the mean over runs, (...)."""
    return _task_means(scores).mean(-1)


def median(scores: Scores) -> np.ndarray:
    """Median over tasks of the mean over runs, (...)."""
    return np.median(_task_means(scores), axis=-1)


def optimality_gap(scores: Scores, target: float = 1.0) -> np.ndarray:
    """By how much runs fall short of the target, runs above it counting as the target, (...): lower is better."""
    return target - _task_means([np.minimum(task, target) for task in scores]).mean(-1)


def probability_of_improvement(scores: Scores, others: Scores) -> np.ndarray:
    """Chance that a run beats a run of the other method on a random task, ties counting half, (...).

    Raises:
        ValueError: the two do not hold the same number of tasks.
    """
    wins = [
        (np.sign(ours[..., :, None] - theirs[..., None, :]).mean((-2, -1)) + 1) / 2
        for ours, theirs in zip(scores, others, strict=True)
    ]
    return np.stack(wins, axis=-1).mean(-1)


def performance_profile(scores: Scores, thresholds: np.ndarray) -> np.ndarray:
    """Fraction of runs, averaged over tasks, that score above each threshold (T,): (..., T)."""
    return np.stack([(task[..., None] > thresholds).mean(-2) for task in scores]).mean(0)


def bootstrap_interval(
    statistic: Callable[..., np.ndarray],
    *groups: Scores,
    confidence: float = 0.95,
    repetitions: int = 20_000,
    seed: int = 0,
) -> np.ndarray:
    """Percentile interval of a statistic under resampling of the runs within each task (stratified bootstrap).

    Args:
        statistic: Function of as many score sequences as there are groups; must accept leading batch axes.
        groups: One score sequence per argument of the statistic, each task's array (runs,).
        confidence: Coverage aimed at.
        repetitions: Number of resamples; of more than 200 runs fewer, to the same effort, but 1,000 at least.
        seed: Of the resampling: same scores, same interval.

    Returns:
        Lower and upper end, (2, ...); NaN where no task has more than one run, since nothing is known of the spread.
    """
    generator = np.random.default_rng(seed)
    runs = sum(len(task) for scores in groups for task in scores)
    repetitions = min(repetitions, max(1_000, 4_000_000 // max(runs, 1)))
    chunks = []
    for start in range(0, repetitions, 5_000):  # bounds the memory
        size = min(5_000, repetitions - start)
        resampled = [[_resample(np.asarray(task), size, generator) for task in scores] for scores in groups]
        chunks.append(statistic(*resampled))
    tail = (1 - confidence) / 2
    interval = np.quantile(np.concatenate(chunks), [tail, 1 - tail], axis=0)
    known = any(len(task) > 1 for scores in groups for task in scores)
    return interval if known else np.full_like(interval, np.nan)


def _task_means(scores: Scores) -> Any:
    return np.stack([task.mean(-1) for task in scores], axis=-1)


def _resample(runs: np.ndarray, size: int, generator: np.random.Generator) -> np.ndarray:
    return runs[generator.integers(0, len(runs), (size, len(runs)))]
