"""Who meets whom in a comparison, on equal terms: the same protocol enforced, runs paired by seed.

Runs with the same seed have the same demonstrations, or are refused.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from benchmarks.kit.errors import UserError, near_miss
from benchmarks.terminal import counted

from .results import PROTOCOL, Results, followed
from .variants import Variant


def who_meets(
    ours: Results, theirs: Results, method: str | None = None, against: str | None = None
) -> list[tuple[Variant, Variant]]:
    """Who meets whom.

    Args:
        ours: results that hold the first of every pair.
        theirs: results that hold the second; may be the same.
        method: ours, by commas; default: all that learn.
        against: theirs, by commas; default: each method's own runs.

    Raises:
        UserError: a name has no runs, or there is nothing but itself to compare it with; names the option.
    """
    here, there = ({variant.name: variant for variant in side.variants} for side in (ours, theirs))
    chosen = [_find(here, name, "--method") for name in _names(method or "")]
    if against is not None:
        others = [_find(there, name, "--against") for name in _names(against)]
        chosen = chosen or [variant for variant in here.values() if variant.contestant]
        pairs = [(own, other) for other in others for own in chosen if ours is not theirs or own != other]
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


def partners(own: pd.DataFrame, other: pd.DataFrame, column: str = "score") -> tuple[np.ndarray, np.ndarray]:
    """Values (pairs,) of paired runs of which both count."""
    both = (own["counted"] & other["counted"]).to_numpy()
    here, there = (side.loc[both, column].to_numpy(np.float64) for side in (own, other))
    return here, there


def gaps(own: pd.DataFrame, other: pd.DataFrame, column: str = "score") -> np.ndarray:
    """Ours minus theirs, (pairs,), over paired runs of which both count."""
    here, there = partners(own, other, column)
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


def versus(ours: Variant, theirs: Variant) -> str:
    """Who meets whom; one name where a method meets itself."""
    return ours.label if ours.label == theirs.label else f"{ours.label} / {theirs.label}"
