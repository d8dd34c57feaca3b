"""Ablations: a method of which a folder holds several values of one setting, as a table and a figure.

Return and imitation performance stand side by side, as in the paper's table of lambda_f. Imitation performance is the
paper's metric: KL(pi || pi_E) at the visited states, divided by that of uniformly random actions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.terminal import spanned

from . import statistics, style
from .formats import EMPTY, Entry, Row, Table, with_interval
from .results import Board, interval
from .tables import KL_NOTE
from .variants import Variant

ROOM = 24
"""Characters of all values that stand side by side below a panel; more are turned, or they would touch."""


@dataclass(frozen=True)
class Ablation:
    """Variants of one method that differ in one setting alone."""

    label: str
    """The method's."""
    setting: str
    """Dotted name of the setting."""
    values: Sequence[str]
    """As stored, in the order of the variants."""
    variants: Sequence[Variant]
    board: Board

    @property
    def name(self) -> str:
        """File name without suffix."""
        about = re.sub(r"[^\w-]+", "-", f"{self.variants[0].method}-{self.setting}")
        return f"ablation-{about}-{self.board.suffix}"


def ablations(board: Board) -> list[Ablation]:
    """Every method of which several values of exactly one setting are stored at a number of demonstrations."""
    results, variants, found = board.results, board.variants, []
    for method in dict.fromkeys(variant.method for variant in variants):
        names = results.varying.get(method, ())
        own = [v for v in variants if v.method == method]
        # on tasks where draws are not crossed with seeds no draw is named
        own = [v for v in own if len(names) != 1 or results.identity(v).get(names[0]) != ""]
        if len(names) == 1 and len(own) > 1:
            values = [results.identity(variant).get(names[0], "") for variant in own]
            label = own[0].label.removesuffix(f" ({names[0]}={values[0]})")
            found.append(Ablation(label, names[0], values, own, board))
    return found


def ablation_table(ablation: Ablation) -> Table:
    """Values of the setting down; return and imitation performance of every task across, with 95% intervals."""
    board, results = ablation.board, ablation.board.results
    kinds = [("return", "score", 0), ("KL / KL random", "imitation", 3)]
    columns = [(task, *kind) for task in results.tasks for kind in kinds]
    rows = [
        Row(value, [_entry(board.scores(variant.name, task, column), digits) for task, _, column, digits in columns])
        for value, variant in zip(ablation.values, ablation.variants, strict=True)
    ]
    sizes = {len(board.scores(v.name, task)) for v in ablation.variants for task in results.tasks} - {0}
    return Table(
        ablation.name,
        f"{ablation.label}: {ablation.setting}",
        [ablation.setting, *(f"{results.title(task)} {title}" for task, title, *_ in columns)],
        [rows],
        [
            f"Mean and 95% t interval over {spanned(sizes, 'seed')} at the last evaluation. {KL_NOTE}",
            *(_sources(ablation) if ablation.setting == "draw" else ()),
        ],
    )


def _sources(ablation: Ablation) -> list[str]:
    """How much of the spread of returns is the demonstrations', where draws of them were crossed with seeds."""
    told, results = [], ablation.board.results
    for task in results.tasks:
        places = [ablation.board.sample(variant.name, task).places for variant in ablation.variants]
        runs = results.runs.loc[np.concatenate(places)]
        runs = runs[runs["counted"]].assign(episodes=runs["episode_ids"].map(tuple))
        # draws that have the same episodes are one draw
        crossed = runs.pivot_table("score", "episodes", "seed").dropna(axis="columns").to_numpy()
        if min(crossed.shape) < 2:
            continue
        share, low, high = statistics.variance_share(crossed)
        sizes = " by ".join(map(str, crossed.shape))
        told.append(f"{results.title(task)} {share:.0%} [{low:.0%}, {high:.0%}], {sizes}")
    about = "Share of the variance of returns that is the draw's of the demonstrations, with its 95% interval (two-way "
    what = "random effects, ICC(2,1)), by distinct draws and seeds that met: "
    rest = "The rest is the seed's, alone and together with the draw."
    return [f"{about}{what}{'; '.join(told)}. {rest}"] if told else []


def ablation_figure(ablation: Ablation) -> Figure:
    """Every seed's return and imitation performance at each value, with means and 95% intervals; a row per task."""
    looks = style.looks([ablation.variants[0].method])
    look = looks[ablation.variants[0].method]
    board, results = ablation.board, ablation.board.results
    tasks = results.tasks
    with matplotlib.rc_context(style.theme()):
        figure = Figure(figsize=(7.2, 0.5 + 2.2 * len(tasks)), layout="constrained")
        rows = figure.subplots(len(tasks), 2, squeeze=False)
        for (left, right), task in zip(rows, tasks, strict=True):
            for panel, column, title in (
                (left, "score", "Return (sum of rewards)"),
                (right, "imitation", "KL to expert /\nKL of random actions"),
            ):
                for place, variant in enumerate(ablation.variants):
                    scores = board.scores(variant.name, task, column)
                    _point(panel, place, scores[np.isfinite(scores)], look)
                panel.set_xticks(range(len(ablation.values)), map(style.literal, ablation.values))
                if sum(map(len, ablation.values)) > ROOM:
                    panel.tick_params(axis="x", labelrotation=30)
                panel.set_xlabel(style.literal(ablation.setting))
                panel.set_ylabel(title)
                panel.set_title(style.literal(results.title(task)))
                panel.set_xlim(-0.5, len(ablation.values) - 0.5)
            best, worst = (results.reference(task, name) for name in ("expert", "random"))
            if best is not None:
                left.axhline(best, linewidth=1.1, zorder=1, **style.looks(["expert"])["expert"].line)
            if worst is not None:  # differences look as large as they are
                left.set_ylim(bottom=min(left.get_ylim()[0], worst))
            right.set_ylim(bottom=0)
        figure.supxlabel(
            f"{style.literal(ablation.label)}; dots: seeds, bars: mean and 95% t interval, dashed: expert",
            fontsize=7.5,
            color="#555555",
        )
    return figure


def _point(panel: Axes, place: int, scores: np.ndarray, look: style.Look) -> None:
    if not len(scores):
        return
    low, high = interval(scores)
    panel.plot([place, place], [low, high], color=look.color, linewidth=3.2, alpha=0.45, solid_capstyle="butt")
    panel.plot([place - 0.12, place + 0.12], [scores.mean()] * 2, color=look.color, linewidth=1.8)
    panel.plot([place] * len(scores), scores, ".", color=look.color, markersize=6, mec="white", mew=0.5)


def _entry(scores: np.ndarray, digits: int) -> Entry:
    scores = scores[np.isfinite(scores)]
    return with_interval(scores.mean(), *interval(scores), f"z.{digits}f") if len(scores) else EMPTY
