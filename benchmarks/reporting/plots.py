"""The figures: learning curves, aggregates over tasks, and return against the number of demonstrations.

Every function returns a matplotlib `Figure` of its own (no pyplot, nothing global is changed) or None where the rows
give nothing to draw; `save` writes it as PNG and SVG, with the same bytes for the same rows.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from math import ceil
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from . import statistics, style
from .results import Entry, Results
from .tables import aggregate, scored_tasks, task_scores

_STEPS = "Environment steps (thousands)"
_RETURN = "Return (sum of rewards)"
_NORMALIZED = "Normalised return (0 random, 1 expert)"
_THRESHOLDS = np.linspace(-0.1, 1.3, 141)


def learning_curves(results: Results, demos: int) -> Figure | None:
    """Return against environment steps, a panel per task: mean over seeds, the band spans the seeds.

    Offline methods and oracles that were evaluated once are horizontal lines beside the curves of others; None where
    there are no curves.
    """
    entries = [entry for entry in _scored(results, demos) if entry.method not in ("random", "expert")]
    drawn = {task: [(entry, *_curve(results, entry, task, demos)) for entry in entries] for task in results.tasks}
    drawn = {task: curves for task, curves in drawn.items() if any(len(steps) > 1 for _, steps, _ in curves)}
    if not drawn:
        return None
    looks = style.looks(results.runs["entry"].unique())
    with matplotlib.rc_context(style.theme()):
        figure, panels, free = _panels([*drawn], _STEPS)
        handles: dict[str, Line2D] = {}
        for panel, (task, curves) in zip(panels, drawn.items(), strict=True):
            end = max(steps[-1] for _, steps, returns in curves if len(returns)) / 1000
            for entry, steps, returns in curves:
                if not len(returns):
                    continue
                look, once = looks[entry.name], len(steps) == 1
                x = np.array([0.0, end]) if once else steps / 1000
                returns = np.repeat(returns, 2, axis=1) if once else returns
                if len(returns) > 1:
                    panel.fill_between(x, returns.min(0), returns.max(0), color=look.color, alpha=0.16, linewidth=0)
                marker: dict[str, Any] = (
                    {} if once else {"marker": look.marker, "markevery": max(1, len(x) // 8), "mec": "white"}
                )
                (line,) = panel.plot(
                    x, returns.mean(0), label=style.literal(entry.label), mew=0.5, **look.line, **marker
                )
                handles.setdefault(entry.name, line)
            for name, line in _reference_lines(panel, results, task):
                handles.setdefault(name, line)
            panel.set_title(results.title(task))
            panel.set_xlim(0, end * 1.02)
            panel.xaxis.set_major_locator(MaxNLocator(5))
        _legend(figure, free, _ordered(handles, entries), _seeds(results, entries, [demos]))
    return figure


def aggregates(results: Results, demos: int) -> Figure | None:
    """Interquartile mean over tasks with its 95% interval, best at the top, beside the performance profiles.

    Only entries that were run on every task that any entry was run on: others would not compare.
    """
    tasks = scored_tasks(results, demos)
    found = {e: task_scores(results, e, demos) for e in _scored(results, demos) if e.method != "random"}
    scores = {entry: [*by_task.values()] for entry, by_task in found.items() if by_task and set(by_task) == tasks}
    missing = [style.literal(entry.label) for entry in found if entry not in scores]
    if not scores:
        return None
    points = {entry: aggregate(runs) for entry, runs in scores.items()}
    text = f"{_plural(len(tasks), 'task')}, {_seeds(results, scores, [demos])}; stratified bootstrap over seeds"
    text = textwrap.fill(text + f"; not on every task: {', '.join(missing)}" * bool(missing), 130)
    ranking = sorted(scores, key=lambda entry: (points[entry][0], entry.name))
    looks = style.looks(results.runs["entry"].unique())
    # with settings in it a label may be a long one; the name of a setting stays in one piece
    labels = [
        textwrap.fill(style.literal(entry.label), 26, break_long_words=False, break_on_hyphens=False)
        for entry in ranking
    ]
    lines = sum(label.count("\n") + 1 for label in labels)
    with matplotlib.rc_context(style.theme()):
        height = 1.1 + max(1.6, 0.24 * lines) + 0.13 * text.count("\n")
        figure = Figure(figsize=(7.2, height), layout="constrained")
        dots, profiles = figure.subplots(1, 2, width_ratios=(1.15, 1))
        for place, entry in enumerate(ranking):
            iqm, (low, high) = points[entry]
            look = looks[entry.name]
            dots.plot([low, high], [place, place], color=look.color, linewidth=3.2, alpha=0.45, solid_capstyle="butt")
            dots.plot([iqm], [place], marker=look.marker, color=look.color, markersize=6.5, mec="white", mew=0.6)
            profile = statistics.performance_profile(scores[entry], _THRESHOLDS)
            if entry.method != "expert":  # a step at 1, where the line of reference stands
                profiles.plot(_THRESHOLDS, profile, label=style.literal(entry.label), **look.line)
        dots.set_yticks(range(len(ranking)), labels)
        dots.set_ylim(-0.6, len(ranking) - 0.4)
        dots.grid(axis="y", visible=False)
        dots.tick_params(axis="y", length=0)
        for value, look in ((0.0, style.looks(["random"])["random"]), (1.0, style.looks(["expert"])["expert"])):
            for axes in (dots, profiles):
                axes.axvline(value, linewidth=0.9, zorder=1, **look.line)
        dots.set_xlabel(_NORMALIZED)
        dots.set_title("Interquartile mean, 95% interval")
        profiles.set_xlim(_THRESHOLDS[0], _THRESHOLDS[-1])
        profiles.set_ylim(-0.02, 1.02)
        profiles.set_xlabel("Normalised return τ")
        profiles.set_ylabel("Fraction of runs above τ")
        profiles.set_title("Performance profile")
        figure.supxlabel(text, fontsize=7.5, color="#555555")
    return figure


def demonstration_numbers(results: Results) -> Figure | None:
    """Final return against the number of demonstrations, a panel per task; None with fewer than two numbers."""
    numbers = results.demonstration_numbers
    if len(numbers) < 2:
        return None
    entries = list(dict.fromkeys(e for n in numbers for e in _scored(results, n) if e.contestant))
    tasks = [t for t in results.tasks if any(len(results.scores(e.name, t, n)) for e in entries for n in numbers)]
    if not tasks:
        return None
    looks = style.looks(results.runs["entry"].unique())
    with matplotlib.rc_context(style.theme()):
        figure, panels, free = _panels(tasks, "Demonstrations (whole episodes)")
        handles: dict[str, Line2D] = {}
        for panel, task in zip(panels, tasks, strict=True):
            for entry in entries:
                found = [(n, scores) for n in numbers if len(scores := results.scores(entry.name, task, n))]
                if not found:
                    continue
                look = looks[entry.name]
                x = [n for n, _ in found]
                low, high = [s.min() for _, s in found], [s.max() for _, s in found]
                panel.fill_between(x, low, high, color=look.color, alpha=0.16, linewidth=0)
                (line,) = panel.plot(
                    x,
                    [s.mean() for _, s in found],
                    marker=look.marker,
                    mec="white",
                    mew=0.5,
                    label=style.literal(entry.label),
                    **look.line,
                )
                handles.setdefault(entry.name, line)
            for name, line in _reference_lines(panel, results, task):
                handles.setdefault(name, line)
            panel.set_title(results.title(task))
            panel.set_xscale("log")
            panel.set_xticks(numbers, [str(n) for n in numbers])
            panel.minorticks_off()
        _legend(figure, free, _ordered(handles, entries), _seeds(results, entries, numbers))
    return figure


def save(figure: Figure, stem: Path) -> list[Path]:
    """Write `stem.png` and `stem.svg` without date or version inside, so that equal figures are equal files."""
    paths = [stem.with_name(f"{stem.name}.{kind}") for kind in ("png", "svg")]
    FigureCanvasAgg(figure)
    with matplotlib.rc_context(style.theme()):
        figure.savefig(paths[0], metadata={"Software": None})
        figure.savefig(paths[1], metadata={"Date": None, "Creator": None})
    return paths


def _scored(results: Results, demos: int) -> list[Entry]:
    """Entries with at least one run that counts."""
    counted = set(results.at(demos).loc[results.at(demos)["counted"], "entry"])
    return [entry for entry in results.entries(demos) if entry.name in counted]


def _curve(results: Results, entry: Entry, task: str, demos: int) -> tuple[np.ndarray, np.ndarray]:
    """Steps (T,) and mean returns (seeds, T) at the evaluations that every run that counts has."""
    rows = results.curves(entry.name, task, demos)
    if rows["step"].max() == 0:  # an offline method: what happened at earlier updates has no place on this axis
        rows = rows[rows["final"]]
    means = rows.pivot_table(index="run", columns="step", values="return", aggfunc="mean").dropna(axis=1)
    return means.columns.to_numpy(np.float64), means.to_numpy(np.float64)


def _panels(tasks: list[str], x: str) -> tuple[Figure, list[Axes], Axes | None]:
    """A figure with one panel per task, at most three side by side, and a free place for the legend if any."""
    columns = min(3, len(tasks))
    rows = ceil(len(tasks) / columns)
    figure = Figure(figsize=(max(4.2, 2.6 * columns), 2.3 * rows), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    panels, free = axes[: len(tasks)], axes[len(tasks) :]
    for empty in free:
        empty.set_axis_off()
    for place, panel in enumerate(panels):
        if place % columns == 0:
            panel.set_ylabel(_RETURN)
        if place + columns >= len(panels):
            panel.set_xlabel(x)
    return figure, panels, free[0] if free else None


def _reference_lines(panel: Axes, results: Results, task: str) -> Iterable[tuple[str, Line2D]]:
    for method, label in (("expert", "Expert"), ("random", "Random")):
        value = results.reference(task, method)
        if value is not None:
            look = style.looks([method])[method]
            yield method, panel.axhline(value, linewidth=1.1, zorder=1, label=label, **look.line)


def _ordered(handles: dict[str, Line2D], entries: list[Entry]) -> list[Line2D]:
    names = [*(entry.name for entry in entries), "expert", "random"]
    return [handles[name] for name in names if name in handles]


def _legend(figure: Figure, free: Axes | None, handles: list[Line2D], seeds: str) -> None:
    """The legend of all panels in the free place or below them, headed by what lines and bands are."""
    band = [] if seeds == _plural(1, "seed") else ["band: lowest to highest seed"]
    title = [f"Line: mean over {seeds}" if band else "Line: one seed", *band]
    settings: dict[str, Any] = {
        "handles": handles,
        "handlelength": 3.2,
        "columnspacing": 1.2,
        "fontsize": 8,
        "title_fontsize": 8,
    }
    if free is not None:
        free.legend(loc="center left", alignment="left", borderaxespad=0.0, title=",\n".join(title), **settings)
        return
    widest = 0.75 + 0.065 * max(len(str(handle.get_label())) for handle in handles)  # inches, about
    columns = max(1, min(len(handles), int(figure.get_figwidth() / widest)))
    figure.set_figheight(figure.get_figheight() + 0.2 * (1 + ceil(len(handles) / columns)))
    figure.legend(loc="outside lower center", ncols=columns, title=", ".join(title), **settings)


def _seeds(results: Results, entries: Iterable[Entry], numbers: Iterable[int]) -> str:
    """How many seeds stand behind a figure's lines."""
    cells = [(e.name, task, n) for e in entries for task in results.tasks for n in numbers]
    sizes = [size for cell in cells if (size := len(results.scores(*cell)))]
    low, high = min(sizes), max(sizes)
    return _plural(low, "seed") if low == high else f"{low} to {high} seeds"


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")
