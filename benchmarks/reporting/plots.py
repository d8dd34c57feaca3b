"""The figures: learning curves, aggregates over tasks, and return against the number of demonstrations.

Every function returns a matplotlib `Figure` of its own (no pyplot, nothing global is changed) or None where the scores
give nothing to draw; `svg` makes it a file, with the same bytes for the same rows.
"""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from math import ceil
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from benchmarks.terminal import counted, spanned

from . import statistics, style
from .results import Aggregate, Board, Results
from .variants import Variant

_NAMED = 6
"""Of more variants that a figure leaves out only the number is told."""
_STEPS = "Environment steps (thousands)"
_RETURN = "Return (sum of rewards)"
_NORMALIZED = "Normalised return (0 random, 1 expert)"
THRESHOLDS = np.linspace(-0.1, 1.3, 141)
"""Normalised returns at which a performance profile is drawn."""

_OPACITY = 0.48
"""Of all bands of a panel together, so that what lies behind many of them is still seen."""

Curve = tuple[np.ndarray, np.ndarray]
"""Steps (T,), in thousands, and returns (seeds, T)."""


def learning_curves(board: Board) -> Figure | None:
    """Return against environment steps, a panel per task: mean over seeds, the band spans the seeds.

    Offline methods and oracles that were evaluated once are horizontal lines beside the curves of others; None where
    there are no curves.
    """
    variants = [variant for variant in board.scored if variant.method not in ("random", "expert")]
    drawn = {task: {v: _curve(board, v, task) for v in variants} for task in board.results.tasks}
    drawn = {task: curves for task, curves in drawn.items() if any(len(steps) > 1 for steps, _ in curves.values())}
    if not drawn:
        return None
    looks = style.looks(board.results.runs["variant"].unique())
    with matplotlib.rc_context(style.theme()):
        figure, panels, free = _panels([*drawn], _STEPS)
        handles: dict[str, Line2D] = {}
        for panel, (task, curves) in zip(panels, drawn.items(), strict=True):
            curves = {variant: curve for variant, curve in curves.items() if len(curve[0])}
            end, opacity = max(steps[-1] for steps, _ in curves.values()), _opacity(len(curves))
            for variant, curve in curves.items():
                line = _draw_curve(panel, curve, end, looks[variant.name], variant.label, opacity)
                handles.setdefault(variant.name, line)
            for name, line in _reference_lines(panel, board.results, task):
                handles.setdefault(name, line)
            panel.set_title(style.literal(board.results.title(task)))
            panel.set_xlim(0, end * 1.02)
            panel.xaxis.set_major_locator(MaxNLocator(5))
        _legend(figure, free, _ordered(handles, variants), _seeds([board], variants))
    return figure


def _opacity(bands: int) -> float:
    """Of one of so many bands, at most that of one of three."""
    return _OPACITY / max(bands, 3)


def _draw_curve(panel: Axes, curve: Curve, end: float, look: style.Look, label: str, opacity: float) -> Line2D:
    """Mean and span of the seeds; over the whole width where there is one evaluation."""
    steps, returns = curve
    marker: dict[str, Any] = {"marker": look.marker, "markevery": max(1, len(steps) // 8), "mec": "white"}
    if len(steps) == 1:
        steps, returns, marker = np.array([0.0, end]), np.repeat(returns, 2, axis=1), {}
    if len(returns) > 1:
        panel.fill_between(steps, returns.min(0), returns.max(0), color=look.color, alpha=opacity, linewidth=0)
    (line,) = panel.plot(steps, returns.mean(0), label=style.literal(label), mew=0.5, **look.line, **marker)
    return line


def aggregates(board: Board) -> Figure | None:
    """Interquartile mean over tasks with its 95% interval, beside the performance profiles.

    The best is at the top; settings of one method stand in the order of their values. None with the expert alone.
    Only variants that were run on every task of the totals (`Board.shared_tasks`): others would not compare.
    """
    rivals = [variant for variant in board.scored if variant.method != "random"]
    found = {v: board.aggregates[v.name] for v in rivals if v.name in board.aggregates}
    shown = {variant: aggregate for variant, aggregate in found.items() if aggregate.complete}
    missing = [style.literal(variant.label) for variant in rivals if variant not in shown]
    if all(variant.method == "expert" for variant in shown):
        return None
    text = f"{style.literal(board.totals_over)}, {_seeds([board], shown)}; t intervals over seeds"
    text += "; both panels share colours and markers"
    if any(variant.method == "expert" for variant in shown):
        text += "; Expert acts without noise, the line at 1 with its noise"
    told = ", ".join(missing) if len(missing) <= _NAMED else f"{len(missing)} others"
    text = textwrap.fill(text + f"; not on all of these: {told}" * bool(missing), 130)
    if len({variant.method for variant in shown}) == 1:
        ranking = sorted(shown, key=lambda variant: variant.order, reverse=True)
    else:
        ranking = sorted(shown, key=lambda variant: (shown[variant].iqm, variant.name))
    labels = [_wrapped(variant.label) for variant in ranking]
    lines = sum(label.count("\n") + 1 for label in labels)
    looks = style.looks(board.results.runs["variant"].unique())
    with matplotlib.rc_context(style.theme()):
        height = 1.1 + max(1.6, 0.24 * lines) + 0.13 * text.count("\n")
        figure = Figure(figsize=(7.2, height), layout="constrained")
        dots, profiles = figure.subplots(1, 2, width_ratios=(1.15, 1))
        _intervals(dots, [shown[variant] for variant in ranking], labels, [looks[v.name] for v in ranking])
        _profiles(profiles, {v: shown[v] for v in ranking if v.method != "expert"}, looks)
        for value, name in ((0.0, "random"), (1.0, "expert")):
            for axes in (dots, profiles):
                axes.axvline(value, linewidth=0.9, zorder=1, **style.looks([name])[name].line)
        figure.supxlabel(text, fontsize=7.5, color="#555555")
    return figure


def _wrapped(label: str) -> str:
    """With settings in it a label may be a long one; the name of a setting stays in one piece."""
    return textwrap.fill(style.literal(label), 26, break_long_words=False, break_on_hyphens=False)


def _intervals(panel: Axes, found: Sequence[Aggregate], labels: list[str], looks: Sequence[style.Look]) -> None:
    for place, (one, look) in enumerate(zip(found, looks, strict=True)):
        panel.plot([one.low, one.high], [place] * 2, color=look.color, linewidth=3.2, alpha=0.45, solid_capstyle="butt")
        panel.plot([one.iqm], [place], marker=look.marker, color=look.color, markersize=6.5, mec="white", mew=0.6)
    panel.set_yticks(range(len(labels)), labels)
    panel.set_ylim(-0.6, len(labels) - 0.4)
    panel.grid(axis="y", visible=False)
    panel.tick_params(axis="y", length=0)
    panel.set_xlabel(_NORMALIZED)
    panel.set_title("Interquartile mean, 95% interval")


def _profiles(panel: Axes, found: Mapping[Variant, Aggregate], looks: Mapping[str, style.Look]) -> None:
    """Without the expert: a step at 1, where the line of reference stands."""
    for place, (variant, aggregate) in enumerate(found.items()):
        profile, look = statistics.performance_profile(aggregate.scores, THRESHOLDS), looks[variant.name]
        marker: dict[str, Any] = {"marker": look.marker, "markevery": (3 * place % 20, 20), "mec": "white", "mew": 0.5}
        panel.plot(THRESHOLDS, profile, label=style.literal(variant.label), **marker, **look.line)
    panel.set_xlim(THRESHOLDS[0], THRESHOLDS[-1])
    panel.set_ylim(-0.02, 1.02)
    panel.set_xlabel("Normalised return τ")
    panel.set_ylabel("Fraction of runs above τ")
    panel.set_title("Performance profile")


def demonstration_numbers(results: Results) -> Figure | None:
    """Final return against the number of demonstrations, a panel per task; None with fewer than two numbers."""
    boards = results.boards
    if len(boards) < 2:
        return None
    present = {variant for board in boards for variant in board.scored if variant.contestant}
    variants = [variant for variant in results.variants if variant in present]
    tasks = [t for t in results.tasks if any(len(board.scores(v.name, t)) for v in variants for board in boards)]
    if not tasks:
        return None
    looks = style.looks(results.runs["variant"].unique())
    with matplotlib.rc_context(style.theme()):
        figure, panels, free = _panels(tasks, "Demonstrations (whole episodes)")
        handles: dict[str, Line2D] = {}
        for panel, task in zip(panels, tasks, strict=True):
            for variant in variants:
                found = {b.demos: s for b in boards if len(s := b.scores(variant.name, task))}
                if found:
                    line = _draw_numbers(panel, found, looks[variant.name], variant.label, _opacity(len(variants)))
                    handles.setdefault(variant.name, line)
            for name, line in _reference_lines(panel, results, task):
                handles.setdefault(name, line)
            panel.set_title(style.literal(results.title(task)))
            panel.set_xscale("log")
            panel.set_xticks(results.demonstration_numbers, [str(n) for n in results.demonstration_numbers])
            panel.minorticks_off()
        given = ({b.sample(v.name, task).budget for b in boards} - {0} for v in variants for task in tasks)
        apart = ", of different budgets" * any(len(budgets) > 1 for budgets in given)
        _legend(figure, free, _ordered(handles, variants), _seeds(boards, variants) + apart)
    return figure


def _draw_numbers(panel: Axes, found: Mapping[int, np.ndarray], look: style.Look, label: str, opacity: float) -> Line2D:
    """Mean and span of the seeds (seeds,) at every number of demonstrations."""
    numbers, scores = [*found], [*found.values()]
    low, high = [s.min() for s in scores], [s.max() for s in scores]
    panel.fill_between(numbers, low, high, color=look.color, alpha=opacity, linewidth=0)
    marker: dict[str, Any] = {"marker": look.marker, "mec": "white", "mew": 0.5}
    (line,) = panel.plot(numbers, [s.mean() for s in scores], label=style.literal(label), **marker, **look.line)
    return line


def svg(figure: Figure) -> bytes:
    """A figure without date or version inside, so that equal figures are equal files."""
    FigureCanvasAgg(figure)
    content = io.BytesIO()
    with matplotlib.rc_context(style.theme()):
        figure.savefig(content, format="svg", metadata={"Date": None, "Creator": None})
    return content.getvalue()


def _curve(board: Board, variant: Variant, task: str) -> Curve:
    """The evaluations that every run that counts has."""
    rows = board.curves(variant.name, task)
    if rows["step"].max() == 0:  # an offline method: what happened at earlier updates has no place on this axis
        rows = rows[rows["final"]]
    means = rows.pivot_table(index="run", columns="step", values="return", aggfunc="mean").dropna(axis=1)
    return means.columns.to_numpy(np.float64) / 1000, means.to_numpy(np.float64)


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


def _ordered(handles: dict[str, Line2D], variants: Iterable[Variant]) -> list[Line2D]:
    names = [*(variant.name for variant in variants), "expert", "random"]
    return [handles[name] for name in names if name in handles]


def _legend(figure: Figure, free: Axes | None, handles: list[Line2D], seeds: str) -> None:
    """The legend of all panels in the free place, if it fits, or below; headed by what lines and bands are."""
    band = [] if seeds == counted(1, "seed") else ["band: lowest to highest seed"]
    title = [f"Line: mean over {seeds}" if band else "Line: one seed", *band]
    settings: dict[str, Any] = {
        "handles": handles,
        "handlelength": 3.2,
        "columnspacing": 1.2,
        "fontsize": 8,
        "title_fontsize": 8,
    }
    labels = [str(handle.get_label()) for handle in handles]
    if free is not None and len(labels) <= 10 and max(map(len, labels)) <= 24:
        free.legend(loc="center left", alignment="left", borderaxespad=0.0, title=",\n".join(title), **settings)
        return
    width, sample, letter = figure.get_figwidth(), 0.75, 0.065  # inches, about
    columns = max(1, min(len(labels), int(width / (sample + letter * max(map(len, labels))))))
    wrapped = [textwrap.fill(label, int((width - sample) / letter)) for label in labels]
    for handle, label in zip(handles, wrapped, strict=True):
        handle.set_label(label)
    more = 0.2 * (1 + ceil(len(labels) / columns)) + 0.14 * sum(label.count("\n") for label in wrapped)
    figure.set_figheight(figure.get_figheight() + more)
    figure.legend(loc="outside lower center", ncols=columns, title=", ".join(title), **settings)


def _seeds(boards: Sequence[Board], variants: Iterable[Variant]) -> str:
    """How many seeds stand behind a figure's lines."""
    names = [variant.name for variant in variants]
    sizes = {len(b.scores(name, task)) for b in boards for name in names for task in b.results.tasks} - {0}
    return spanned(sizes, "seed")
