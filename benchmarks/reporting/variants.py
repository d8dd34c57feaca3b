"""Who competes: methods, and settings of one method where a folder holds several; what sets runs apart."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchmarks.plan.configuration import flat

from . import style

_IDENTITY = ("budget", "env_id", "dataset_id", "dataset_hash", "subsample", "draw")


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


def settings(config: str) -> dict[str, str]:
    """Fields of a config's JSON text as text, nested ones with their names joined by dots.

    What is no JSON object is one field without a name.
    """
    try:
        fields = flat(json.loads(config))
    except (ValueError, RecursionError, AttributeError):
        return {"": config}
    return {name: value if isinstance(value, str) else json.dumps(value) for name, value in fields.items()}


def identities(runs: pd.DataFrame) -> list[dict[str, str]]:
    """What sets runs apart, as text by name; runs that agree in all of it share one dictionary."""
    shared = runs[list(_IDENTITY)].fillna({"dataset_id": "", "dataset_hash": ""}).astype("str")
    rows = list(zip(runs["config"], *(shared[name] for name in _IDENTITY), strict=True))
    known = {row: {**_own(row[0]), **dict(zip(_IDENTITY, row[1:], strict=True))} for row in dict.fromkeys(rows)}
    return [known[row] for row in rows]


def _own(config: str) -> dict[str, str]:
    """`settings`, where what bears a name of `_IDENTITY` is told from it."""
    return {f"config.{name}" if name in _IDENTITY else name: value for name, value in settings(config).items()}


def _hub(identities: list[dict[str, str]], names: list[str]) -> dict[str, str]:
    """The one of several settings that has the commonest value of every name; empty if values tie or none has them."""
    distinct = list(dict.fromkeys(tuple(identity.get(name) for name in names) for identity in identities))
    hub = []
    for values in zip(*distinct, strict=True):
        (commonest, times), *others = Counter(values).most_common(2)
        if others and others[0][1] == times:
            return {}
        hub.append(commonest)
    if len(names) < 2 or tuple(hub) not in distinct:
        return {}
    return {name: value for name, value in zip(names, hub, strict=True) if value is not None}


def _telling(groups: list[list[dict[str, str]]]) -> list[str]:
    """What identities of a group differ in, over all groups of a method.

    A name that only some have, and those with one value, tells that their code is younger. It is left out where the
    others tell the same identities apart.
    """
    names: list[str] = []
    for found in groups:
        for name in dict.fromkeys(name for identity in found for name in identity):
            if name not in names and len({identity.get(name) for identity in found}) > 1:
                names.append(name)

    def apart(told: list[str]) -> list[int]:
        return [len({tuple(identity.get(name) for name in told) for identity in found}) for found in groups]

    for name in list(names):
        values = {identity[name] for found in groups for identity in found if name in identity}
        others = [other for other in names if other != name]
        if len(values) == 1 and apart(others) == apart(names):
            names = others
    return names


def variants(runs: pd.DataFrame) -> tuple[pd.Series, pd.Series, dict[str, list[str]]]:
    """Names and labels of variants, and what they differ in: runs of different settings must not be averaged.

    Where one variant of a method has the commonest value of every setting, as where switches are tried one at a time,
    the others are told by what they differ in from it, and the one by nothing.
    """
    told = identities(runs)
    groups: dict[str, list[list[dict[str, str]]]] = {method: [] for method in runs["method"]}
    for places in runs.groupby(["method", "task", "demos"]).indices.values():
        distinct = list({id(told[row]): told[row] for row in places}.values())
        groups[runs["method"].iloc[places[0]]].append(distinct)
    varying = {method: _telling(found) for method, found in groups.items()}
    hubs = {
        method: _hub([told[row] for row in np.flatnonzero(runs["method"] == method)], names)
        for method, names in varying.items()
    }
    suffix = pd.Series(
        [
            ", ".join(
                f"{name}={identity.get(name, 'none')}"
                for name in varying[method]
                if (name in identity or name in hubs[method]) and identity.get(name) not in ("", hubs[method].get(name))
            )
            for method, identity in zip(runs["method"], told, strict=True)
        ],
        index=runs.index,
        dtype="str",
    )
    plain = suffix == ""
    titles = runs["method"].where(plain, runs["method"] + "[" + suffix + "]")
    labels = runs["label"].where(plain, runs["label"] + " (" + suffix + ")")
    return titles, labels, varying
