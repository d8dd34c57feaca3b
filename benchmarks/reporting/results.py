"""What the stored rows say, as one tidy frame of scores: who competes, on which tasks, every seed's final score."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchmarks.tasks import TASKS

from . import style
from .board import Board

_RUN_KEY = ["variant", "task", "demos", "seed"]
_IDENTITY = ("budget", "env_id", "dataset_id", "dataset_hash", "subsample")


class Variant(NamedTuple):
    """One row of a table, one line of a plot: a method, or one setting of it where a folder holds several."""

    name: str
    """Unique; equals the method's name unless several of its settings are in the folder."""
    method: str
    label: str
    privileged: bool = False
    """Sees the true reward or the expert."""

    @property
    def contestant(self) -> bool:
        """May win: neither privileged nor the random policy."""
        return not self.privileged and self.method != "random"

    @property
    def order(self) -> tuple[Any, ...]:
        """Sort key: the methods' fixed order, settings of one method by their numbers."""
        return *style.order(self.method), *style.natural(self.name)


@dataclass(frozen=True)
class Results:
    """Runs and evaluations of one store, one run per (variant, task, demonstrations, seed).

    `runs` is the frame of scores: the columns of the store and also `variant`, `variant_label`, `counted` (completed,
    with a finite final score), `score` and `normalized` (means over the episodes of the run's final evaluation, NaN
    where there is none), `imitation` (there, the divergence from the expert in units of uniform actions' own; NaN where
    it is not defined) and `episodes` (their number). `evaluations` has the means over the episodes of every evaluation,
    `run`, the place of its run in `runs`, by which it is sorted, and `core_seconds`, see the function.
    """

    runs: pd.DataFrame
    evaluations: pd.DataFrame
    superseded: tuple[str, ...]
    """Run ids left out because a newer run of the same variant, task, demonstrations and seed is there."""
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
        runs["variant"], runs["variant_label"], varying = _variants(runs)
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
    def cells(self) -> Mapping[Any, np.ndarray]:
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
        return _identities(self.runs[self.runs["variant"] == variant.name].iloc[:1])[0]

    def environment(self, task: str) -> str:
        """Gymnasium id of a task."""
        return self._environments[task]

    @cached_property
    def _environments(self) -> dict[str, str]:
        first = self.runs.drop_duplicates("task")
        return dict(zip(first["task"], first["env_id"], strict=True))

    def title(self, task: str) -> str:
        """The task's heading: its environment without the version, or its own name where that would be ambiguous."""
        titles = [family(self.environment(other)) for other in self.tasks]
        own = family(self.environment(task))
        return own if titles.count(own) == 1 else task

    def reference(self, task: str, method: str) -> float | None:
        """Return of `random` or `expert`: mean over stored runs, else the task's own reference, else None."""
        stored = self.at(0).scores(method, task)
        return float(stored.mean()) if len(stored) else shipped_reference(task, method)


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


def settings(config: str) -> dict[str, str]:
    """Fields of a config's JSON text as text, nested ones with their names joined by dots.

    What is no JSON object is one field without a name.
    """
    try:
        return dict(_flatten(json.loads(config), ""))
    except (ValueError, RecursionError):
        return {"": config}


def _flatten(value: Any, name: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flatten(inner, f"{name}.{key}" if name else key)
    else:
        yield name, value if isinstance(value, str) else json.dumps(value)


def _identities(runs: pd.DataFrame) -> list[dict[str, str]]:
    """What sets runs apart, as text by name; runs that agree in all of it share one dictionary."""
    shared = runs[list(_IDENTITY)].fillna({"dataset_id": "", "dataset_hash": ""}).astype("str")
    rows = list(zip(runs["config"], *(shared[name] for name in _IDENTITY), strict=True))
    known = {row: {**settings(row[0]), **dict(zip(_IDENTITY, row[1:], strict=True))} for row in dict.fromkeys(rows)}
    return [known[row] for row in rows]


def _hub(identities: list[dict[str, str]], names: list[str]) -> dict[str, str]:
    """Values of the several settings, of which all others differ in one at most; empty if there are none such."""
    distinct = list(dict.fromkeys(tuple(identity.get(name) for name in names) for identity in identities))
    for hub in distinct if len(names) > 1 else []:
        if all(sum(one != two for one, two in zip(hub, other, strict=True)) <= 1 for other in distinct):
            return {name: value for name, value in zip(names, hub, strict=True) if value is not None}
    return {}


def _variants(runs: pd.DataFrame) -> tuple[pd.Series, pd.Series, dict[str, list[str]]]:
    """Names and labels of variants, and what they differ in: runs of different settings must not be averaged.

    Where all variants of a method differ from one of them in a single setting, one switch at a time, they are told by
    that setting alone, and the one by none.
    """
    identities = _identities(runs)
    varying: dict[str, list[str]] = {method: [] for method in runs["method"]}
    for cell in runs.groupby(["method", "task", "demos"]).indices.values():
        names = varying[runs["method"].iloc[cell[0]]]
        found = list({id(identities[row]): identities[row] for row in cell}.values())
        for name in dict.fromkeys(name for identity in found for name in identity):
            if name not in names and len({identity.get(name) for identity in found}) > 1:
                names.append(name)
    hubs = {
        method: _hub([identities[row] for row in np.flatnonzero(runs["method"] == method)], names)
        for method, names in varying.items()
    }
    suffix = pd.Series(
        [
            ", ".join(
                f"{name}={identity[name]}"
                for name in varying[method]
                if name in identity and identity[name] != hubs[method].get(name)
            )
            for method, identity in zip(runs["method"], identities, strict=True)
        ],
        index=runs.index,
        dtype="str",
    )
    plain = suffix == ""
    titles = runs["method"].where(plain, runs["method"] + "[" + suffix + "]")
    labels = runs["label"].where(plain, runs["label"] + " (" + suffix + ")")
    return titles, labels, varying
