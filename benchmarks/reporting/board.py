"""The scores that stand beside each other: variants x tasks x seeds at one number of demonstrations, computed once.

Every table and figure is a function of a `Board`, and every number in it a function of some of its arrays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from benchmarks.terminal import counted

from . import statistics

if TYPE_CHECKING:
    from .results import Results, Variant

ENDS = {"completed": "without a final score", "timeout": "timed out"}
"""How a run that does not count has ended, in words, where its status is not that word."""
_NOTHING = np.array([], dtype=np.float64)


class Sample(NamedTuple):
    """The runs of one variant on one task, one per seed; the arrays (seeds,) hold those that count."""

    places: np.ndarray
    """Rows in `Results.runs` of all of them, also of those that do not count."""
    score: np.ndarray = _NOTHING
    """Final returns."""
    normalized: np.ndarray = _NOTHING
    imitation: np.ndarray = _NOTHING
    faults: Mapping[str, int] = {}
    """What is wrong -> with how many runs; those that ended before their budget count all the same."""

    @property
    def fault(self) -> str:
        """The faults in words, "" if there are none."""
        told = ", ".join(f"{number} {end}" for end, number in sorted(self.faults.items()))
        return f"{len(self.score)}/{len(self.places)} seed{'s' * (len(self.places) != 1)}, {told}" if told else ""


def interval(scores: np.ndarray) -> tuple[float, float]:
    """95 % interval of the mean over seeds (seeds,); NaN with fewer than two."""
    low, high = statistics.mean_interval([scores]) if len(scores) else (np.nan, np.nan)
    return float(low), float(high)


class Aggregate(NamedTuple):
    """One variant over all its tasks, from normalised returns."""

    scores: list[np.ndarray]
    """One array (seeds,) per task."""
    iqm: float
    """Interquartile mean; NaN where there is no score."""
    low: float
    """Lower end of its 95 % interval; NaN where nothing is known of the spread."""
    high: float
    """Upper end."""
    gap: float
    """Mean shortfall below 1."""
    complete: bool
    """Whether it has a score on every task on which any variant has: others do not compare."""


class Board:
    """Runs with one number of demonstrations, and those that use none.

    Args:
        results: the frame of all scores.
        demos: number of demonstrations.
    """

    def __init__(self, results: Results, demos: int) -> None:
        self.results = results
        self.demos = demos

    @property
    def told(self) -> str:
        """The number of demonstrations in words: "1 demonstration"."""
        return counted(self.demos, "demonstration")

    @property
    def suffix(self) -> str:
        """The same in names of files."""
        return self.told.replace(" ", "-")

    @cached_property
    def runs(self) -> pd.DataFrame:
        """Their rows in the frame of scores."""
        runs = self.results.runs
        return runs[runs["demos"].isin([self.demos, 0])]

    @cached_property
    def variants(self) -> list[Variant]:
        """Those present, in the order of the tables."""
        present = set(self.runs["variant"])
        return [variant for variant in self.results.variants if variant.name in present]

    @cached_property
    def scored(self) -> list[Variant]:
        """Those with at least one run that counts."""
        return [v for v in self.variants if any(len(self.sample(v.name, task).score) for task in self.results.tasks)]

    def cell(self, variant: str, task: str) -> pd.DataFrame:
        """Runs of one variant on one task, one per seed, also those that failed."""
        return self.results.runs.iloc[self.sample(variant, task).places]

    def sample(self, variant: str, task: str) -> Sample:
        """Scores of one variant on one task; empty where it was not run."""
        return self._samples.get((variant, task), Sample(np.array([], dtype=np.intp)))

    def scores(self, variant: str, task: str, column: str = "score") -> np.ndarray:
        """Final scores of the seeds that count, (seeds,) float64; the column is one of `Sample`'s arrays."""
        found: np.ndarray = getattr(self.sample(variant, task), column)
        return found

    @cached_property
    def _samples(self) -> dict[tuple[str, str], Sample]:
        runs = self.results.runs
        counted = runs["counted"].to_numpy()
        arrays = {name: runs[name].to_numpy(np.float64) for name in ("score", "normalized", "imitation")}
        noticed = runs["audit"].fillna("[]").ne("[]").to_numpy()
        early = counted & (runs["steps"] < runs["budget"]).to_numpy()
        ends = runs["status"].replace(ENDS).to_numpy(object)
        samples: dict[tuple[str, str], Sample] = {}
        for (variant, task, demos), places in self.results.cells.items():
            if demos not in (0, self.demos):
                continue
            if (variant, task) in samples:
                places = np.sort(np.concatenate([samples[variant, task].places, places]))
            good = places[counted[places]]
            faults = Counter(ends[places[~counted[places]]])
            if number := int(early[places].sum()):
                faults["ended before the budget"] = number
            if number := int(noticed[places].sum()):
                faults["noticed by the audit"] = number
            samples[variant, task] = Sample(places, **{name: a[good] for name, a in arrays.items()}, faults=faults)
        return samples

    @cached_property
    def usual_seeds(self) -> int:
        """The number of seeds that most cells have."""
        sizes = Counter(len(sample.places) for sample in self._samples.values())
        return max(sizes, key=lambda size: (sizes[size], size))

    def normalized(self, variant: str) -> dict[str, np.ndarray]:
        """Normalised final scores (seeds,) of a variant by task; without tasks whose references are unknown."""
        found = {task: self.scores(variant, task, "normalized") for task in self.results.tasks}
        return {task: scores for task, scores in found.items() if len(scores) and np.isfinite(scores).all()}

    @cached_property
    def scored_tasks(self) -> list[str]:
        """Tasks on which any variant has a normalised score."""
        present = {task for variant in self.variants for task in self.normalized(variant.name)}
        return [task for task in self.results.tasks if task in present]

    @cached_property
    def aggregates(self) -> dict[str, Aggregate]:
        """By name of variant, for all that have a normalised score."""
        found = {}
        for variant in self.variants:
            by_task = self.normalized(variant.name)
            scores = [*by_task.values()]
            if scores:
                iqm = statistics.interquartile_mean(scores)
                low, high = statistics.interquartile_interval(scores)
                gap = statistics.optimality_gap(scores)
                complete = len(by_task) == len(self.scored_tasks)
                found[variant.name] = Aggregate(scores, iqm, float(low), float(high), gap, complete)
        return found

    def curves(self, variant: str, task: str) -> pd.DataFrame:
        """Evaluations of the runs of a cell that count."""
        sample, evaluations = self.sample(variant, task), self.results.evaluations
        counted = sample.places[self.results.runs["counted"].to_numpy()[sample.places]]
        runs = evaluations["run"].to_numpy()
        spans = zip(np.searchsorted(runs, counted), np.searchsorted(runs, counted, "right"), strict=True)
        return evaluations.iloc[np.concatenate([np.arange(*span) for span in spans] or [counted])]
