"""What the stored rows say: one tidy frame of scores, and boards of what stands beside each other, computed once.

`Results` knows who competes, on which tasks, and every seed's final score. A `Board` has the scores of variants x tasks
x seeds at one number of demonstrations. Every table and figure is a function of a board, and every number in it a
function of some of its arrays.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchmarks.tasks import TASKS
from benchmarks.terminal import counted

from . import statistics
from .variants import Variant, identities, settings, variants

_RUN_KEY = ["variant", "task", "demos", "seed"]
ENDS = {"completed": "without a final score", "timeout": "timed out"}
"""How a run that does not count has ended, in words, where its status is not that word."""
PROTOCOL = {
    "env_id": "environment",
    "dataset_hash": "demonstrations",
    "subsample": "subsampling",
    "budget": "environment steps",
    "episodes": "evaluation episodes",
}
"""What must be equal for runs of one task to stand beside each other, and how it is called."""


def followed(runs: pd.DataFrame, column: str) -> list[Any]:
    """What the runs that count had of a column of `PROTOCOL`; nothing where it does not apply to them.

    An offline method takes no steps, a method without demonstrations has no dataset.
    """
    return sorted({value for value in runs.loc[runs["counted"], column].dropna() if value})


_NOTHING = np.array([], dtype=np.float64)


@dataclass(frozen=True)
class Results:
    """Runs and evaluations of one store, one run per (variant, task, demonstrations, seed).

    `runs` is the frame of scores: the columns of the store and also `variant`, `variant_label`, `counted` (completed,
    with a finite final score), `score` and `normalized` (means over the episodes of the run's final evaluation, NaN
    where there is none), `imitation` (there, KL(policy || expert) in units of uniform actions' own; NaN where
    it is not defined) and `episodes` (their number). `evaluations` has the means over the episodes of every evaluation,
    `run`, the place of its run in `runs`, by which it is sorted, and `core_seconds`, see the function.
    """

    runs: pd.DataFrame
    evaluations: pd.DataFrame
    superseded: tuple[str, ...]
    """Run ids left out for another run of the same variant, task, demonstrations and seed: one that counts, else the
    newest."""
    varying: Mapping[str, Sequence[str]]
    """Method -> settings in which its variants differ."""
    remarks: tuple[str, ...] = ()
    """In what the protocols of several folders differ."""

    @classmethod
    def of(cls, runs: pd.DataFrame, evaluations: pd.DataFrame) -> Results:
        """Arrange the frames of a store, as `Store.averages` gives them."""
        runs, evaluations = _visible(runs), _visible(evaluations)
        wanted = ["run_id", "return", "normalized", "kl", "kl_uniform", "episodes"]
        final = evaluations.loc[evaluations["final"], wanted].drop_duplicates("run_id", keep="last")
        runs = runs.merge(final.rename(columns={"return": "score"}), how="left", on="run_id")
        runs["imitation"] = runs.pop("kl") / runs.pop("kl_uniform")
        runs["episodes"] = runs["episodes"].fillna(0).astype("int64")
        runs["counted"] = (runs["status"] == "completed") & np.isfinite(runs["score"])
        same = runs.assign(other=runs["draw"] != runs["seed"]).groupby(["method", "task", "demos"])
        # sets runs apart where draws are crossed with seeds
        runs["draw"] = runs["draw"].astype("str").where(same["other"].transform("any"), "")
        runs["variant"], runs["variant_label"], varying = variants(runs)
        runs = runs.sort_values([*_RUN_KEY, "counted", "started", "run_id"], ignore_index=True)
        stale = runs.duplicated(_RUN_KEY, keep="last")
        superseded = tuple(sorted(runs["run_id"][stale]))
        runs = runs[~stale].reset_index(drop=True)
        places = pd.Series(runs.index, index=runs["run_id"], name="run")
        evaluations = evaluations.join(places, on="run_id", how="inner").sort_values("run", kind="stable")
        evaluations["core_seconds"] = core_seconds(runs, evaluations)
        return cls(runs, evaluations, superseded, varying)

    @cached_property
    def tasks(self) -> list[str]:
        """Tasks in the order of the task table, those it does not know behind, by name."""
        known = list(TASKS)
        return sorted(self.runs["task"].unique(), key=lambda t: (known.index(t) if t in known else len(known), t))

    @cached_property
    def demonstration_numbers(self) -> list[int]:
        """Numbers of demonstrations that have a table of their own; [0] if no stored run uses any."""
        return sorted(int(n) for n in self.runs["demos"].unique() if n > 0) or [0]

    @cached_property
    def boards(self) -> list[Board]:
        """One for every number of demonstrations."""
        return [self.at(demos) for demos in self.demonstration_numbers]

    def at(self, demos: int) -> Board:
        """Runs that belong beside each other: those with so many demonstrations and those that use none."""
        if demos not in self._boards:
            self._boards[demos] = Board(self, demos)
        return self._boards[demos]

    @cached_property
    def _boards(self) -> dict[int, Board]:
        return {}

    @cached_property
    def samples(self) -> Mapping[Any, np.ndarray]:
        """Places in `runs` of the runs of every (variant, task, number of demonstrations), one per seed."""
        groups = self.runs.groupby(["variant", "task", "demos"]).indices
        return {key: np.asarray(places) for key, places in groups.items()}

    @cached_property
    def variants(self) -> list[Variant]:
        """All that compete, in the order of the tables."""
        rows = self.runs[["variant", "method", "variant_label", "privileged"]].drop_duplicates("variant")
        return sorted((Variant(*row) for row in rows.itertuples(index=False)), key=lambda variant: variant.order)

    def identity(self, variant: Variant) -> dict[str, str]:
        """The settings of a variant's first run, as text, with its environment, dataset, subsampling and budget."""
        return identities(self.runs[self.runs["variant"] == variant.name].iloc[:1])[0]

    @cached_property
    def versions(self) -> dict[str, list[str]]:
        """Versions of all packages that the runs recorded, by package."""
        used: dict[str, set[str]] = {}
        for text in self.runs["versions"].unique():
            for package, version in settings(text).items():  # as text: null where a package was not installed
                used.setdefault(package, set()).add(version)
        return {package: sorted(found) for package, found in sorted(used.items())}

    @cached_property
    def environments(self) -> dict[str, str]:
        """Gymnasium ids, by task."""
        first = self.runs.drop_duplicates("task")
        return dict(zip(first["task"], first["env_id"], strict=True))

    def title(self, task: str) -> str:
        """The task's heading: its environment without the version, or its own name where that would be ambiguous."""
        titles = [family(self.environments[other]) for other in self.tasks]
        own = family(self.environments[task])
        return own if titles.count(own) == 1 else task

    def reference(self, task: str, method: str) -> float | None:
        """Return of `random` or `expert` that scores are normalised by: the task's own, else that of stored runs."""
        stored, own = self.at(0).scores(method, task), shipped_reference(task, method)
        return float(stored.mean()) if own is None and len(stored) else own


class Sample(NamedTuple):
    """The runs of one variant on one task, one per seed; the arrays (seeds,) hold those that count."""

    places: np.ndarray
    """Rows in `Results.runs` of all of them, also of those that do not count."""
    score: np.ndarray = _NOTHING
    """Final returns."""
    normalized: np.ndarray = _NOTHING
    imitation: np.ndarray = _NOTHING
    budget: int = 0
    """Environment steps that a run was given; 0 where none makes any."""
    faults: Mapping[str, int] = {}
    """What is wrong -> with how many runs; those that ended before their budget count all the same."""

    @property
    def fault(self) -> str:
        """The faults in words, "" if there are none."""
        told = ", ".join(f"{number} {end}" for end, number in sorted(self.faults.items()))
        return f"{len(self.score)}/{len(self.places)} seed{'s' * (len(self.places) != 1)}, {told}" if told else ""


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
    """Whether it has a score on every task of the totals: others do not compare."""


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

    def sample_runs(self, variant: str, task: str) -> pd.DataFrame:
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
        budgets = runs["budget"].where(runs["steps"] > 0, 0).to_numpy()
        noticed = runs["audit"].fillna("[]").ne("[]").to_numpy()
        early = counted & (runs["steps"] < runs["budget"]).to_numpy()
        ends = runs["status"].replace(ENDS).to_numpy(object)
        samples: dict[tuple[str, str], Sample] = {}
        for (variant, task, demos), places in sorted(self.results.samples.items()):
            if demos not in (0, self.demos):  # who has used none and some has those with some here
                continue
            good = places[counted[places]]
            faults = Counter(ends[places[~counted[places]]])
            if number := int(early[places].sum()):
                faults["ended before the budget"] = number
            if number := int(noticed[places].sum()):
                faults["noticed by the audit"] = number
            columns = {name: array[good] for name, array in arrays.items()}
            samples[variant, task] = Sample(places, **columns, budget=int(budgets[places].max()), faults=faults)
        return samples

    @cached_property
    def usual_seeds(self) -> int:
        """The number of seeds that most samples have."""
        sizes = Counter(len(sample.places) for sample in self._samples.values())
        return max(sizes, key=lambda size: (sizes[size], size))

    @cached_property
    def usual_budgets(self) -> dict[str, int]:
        """By task with any, the environment steps that most methods had there, of equally many the larger."""
        given: dict[str, Counter[int]] = {}
        for (_, task), sample in self._samples.items():
            if sample.budget:
                given.setdefault(task, Counter())[sample.budget] += 1
        return {task: max(found, key=lambda budget: (found[budget], budget)) for task, found in given.items()}

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
    def shared_tasks(self) -> list[str]:
        """What totals are over: of the sets of tasks that a contestant was run on, the one with the most results.

        These are its tasks times the contestants that were run on all of them; of equals the larger set counts.
        """
        covered = [set(found) for v in self.variants if v.contestant and (found := self.normalized(v.name))]
        size = lambda tasks: (len(tasks) * sum(tasks <= other for other in covered), len(tasks))  # noqa: E731
        most = max(covered, key=size, default=set(self.scored_tasks))
        return [task for task in self.results.tasks if task in most]

    @property
    def totals_over(self) -> str:
        """The tasks of the totals in words: their number if they are all, else their names."""
        if self.shared_tasks == self.scored_tasks:
            return counted(len(self.shared_tasks), "task")
        *first, last = map(self.results.title, self.shared_tasks)
        return f"{', '.join(first)} and {last}" if first else last

    @cached_property
    def aggregates(self) -> dict[str, Aggregate]:
        """By name of variant, for all that have a normalised score on any of the shared tasks."""
        found = {}
        for variant in self.variants:
            by_task = self.normalized(variant.name)
            scores = [by_task[task] for task in self.shared_tasks if task in by_task]
            if scores:
                iqm = statistics.interquartile_mean(scores)
                low, high = statistics.interquartile_interval(scores)
                gap = statistics.optimality_gap(scores)
                complete = len(scores) == len(self.shared_tasks)
                found[variant.name] = Aggregate(scores, iqm, float(low), float(high), gap, complete)
        return found

    def curves(self, variant: str, task: str) -> pd.DataFrame:
        """Evaluations of the runs of a sample that count."""
        sample, evaluations = self.sample(variant, task), self.results.evaluations
        counted = sample.places[self.results.runs["counted"].to_numpy()[sample.places]]
        runs = evaluations["run"].to_numpy()
        spans = zip(np.searchsorted(runs, counted), np.searchsorted(runs, counted, "right"), strict=True)
        return evaluations.iloc[np.concatenate([np.arange(*span) for span in spans] or [counted])]


def interval(scores: np.ndarray) -> tuple[float, float]:
    """95 % interval of the mean over seeds (seeds,); NaN with fewer than two."""
    low, high = statistics.mean_interval([scores]) if len(scores) else (np.nan, np.nan)
    return float(low), float(high)


def core_seconds(runs: pd.DataFrame, evaluations: pd.DataFrame) -> np.ndarray:
    """Training time of runs up to each of their evaluations, (evaluations,): a lane's share of its process's.

    Only the time of the whole training is stored; it is divided over the updates, or over the steps of a method that
    makes none, as if each took the same.
    """
    own = runs.iloc[evaluations["run"].to_numpy()]
    shares = []
    for done, whole in (("update", "updates"), ("step", "steps")):
        total = own[whole].to_numpy(np.float64)
        reached = evaluations[done].to_numpy(np.float64)
        shares.append(np.divide(reached, total, out=np.full_like(total, np.nan), where=total > 0))
    share = np.where(np.isfinite(shares[0]), shares[0], np.nan_to_num(shares[1], nan=1.0))
    seconds = own["train_seconds"].to_numpy(np.float64) / np.maximum(own["lanes"].to_numpy(np.float64), 1)
    return np.asarray(np.minimum(share, 1.0) * seconds)


def _visible(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with characters that steer a terminal or turn text around written out, so that all text is text."""
    columns = {}
    for name in frame.columns[[kind.kind in "OT" or kind == "str" for kind in frame.dtypes]]:
        texts = [value for value in frame[name].unique() if isinstance(value, str)] if name != "episode_ids" else []
        written = {text: plain for text in texts if (plain := _written_out(text)) != text}
        if written:
            columns[name] = frame[name].map(lambda value, written=written: written.get(value, value))
    return frame.assign(**columns)


def _written_out(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def family(env_id: str) -> str:
    """Name of a Gymnasium environment without namespace and version: "Hopper" for "Hopper-v5"."""
    return env_id.rsplit("/", 1)[-1].rsplit("-v", 1)[0]


def shipped_reference(task: str, method: str) -> float | None:
    """The reference return of `random` or `expert` in the task table; None where it is unknown or not measured."""
    if task not in TASKS:
        return None
    value = float(TASKS[task].random_return if method == "random" else TASKS[task].expert_return)
    return value if np.isfinite(value) else None
