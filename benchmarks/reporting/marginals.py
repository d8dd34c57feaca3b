"""What a set of demonstrations looks like: returns and lengths of its episodes, marginals of states and actions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from . import style

_MARGINALS = "Grey: frequency; orange: median (thick), 5% and 95% quantiles"
_BINS = 81
_SPAN = 4.0
"""States are shown up to so many standard deviations from their mean."""


def dataset_figure(
    title: str,
    returns: Sequence[float],
    lengths: Sequence[int],
    terminated: Sequence[bool],
    states: np.ndarray,
    actions: np.ndarray,
    references: Mapping[str, float],
) -> Figure:
    """One figure: return and length of every episode, and the marginal distribution of every dimension.

    Marginals are columns of grey, one per dimension, darkest where values are most frequent, with the median and the
    5 % and 95 % quantiles; so they read the same for 3 dimensions as for 348.

    Args:
        title: heading.
        returns: (E,) undiscounted returns.
        lengths: (E,) in steps.
        terminated: (E,) whether the episode ended in a terminal state rather than at the time limit.
        states: (N, d) in raw units; shown in standard deviations from their mean.
        actions: (N, A) in [-1, 1].
        references: label -> return, drawn as horizontal lines; NaN is left out.
    """
    states = np.asarray(states, dtype=np.float64)
    spread = states.std(0)
    standardised = (states - states.mean(0)) / np.where(spread > 0, spread, 1)
    with matplotlib.rc_context(style.theme()):
        figure = Figure(figsize=(7.2, 6.4), layout="constrained")
        figure.suptitle(title, fontsize=10.5, fontweight="bold")
        grid = figure.add_gridspec(3, 2)
        panel = figure.add_subplot(grid[0, 0])
        _episodes(panel, "Return (sum of rewards)", returns, terminated)
        for label, value in references.items():
            if np.isfinite(value):
                panel.axhline(value, **style.looks([label])[label].line, linewidth=1, label=label)
        panel.set_ylim(min(0.0, *returns), None)
        panel.legend(fontsize=7, loc="lower right")
        panel = figure.add_subplot(grid[0, 1])
        _episodes(panel, "Length (steps)", lengths, terminated)
        panel.set_ylim(0, max(lengths) * 1.08)
        panel = figure.add_subplot(grid[1, :])
        _marginals(panel, standardised, _SPAN)
        panel.set(xlabel="State dimension", ylabel="Standard deviations\nfrom the mean")
        panel.set_title(_MARGINALS)
        panel = figure.add_subplot(grid[2, :])
        _marginals(panel, np.asarray(actions, dtype=np.float64), 1.0)
        panel.set(xlabel="Action dimension", ylabel="Action")
    return figure


def _episodes(panel: Axes, label: str, values: Sequence[float], terminated: Sequence[bool]) -> None:
    """One point per episode, hollow where it ended in a terminal state."""
    numbers, heights, ended = np.arange(len(values)), np.asarray(values), np.asarray(terminated, dtype=bool)
    for chosen, face, name in ((~ended, "#0072B2", "time limit"), (ended, "white", "terminal state")):
        if chosen.any():
            panel.plot(numbers[chosen], heights[chosen], "o", color="#0072B2", mfc=face, label=name)
    panel.set(xlabel="Episode", ylabel=label)
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))


def _marginals(panel: Axes, values: np.ndarray, span: float) -> None:
    """Histograms of the columns of values (N, d) as columns of grey, values beyond the span counted at its edge."""
    edges = np.linspace(-span, span, _BINS + 1)
    counts = np.stack([np.histogram(column, edges)[0] for column in np.clip(values, -span, span).T], axis=1)
    size = values.shape[1]
    # the square root lets rare values be seen
    shades = np.sqrt(counts / counts.max(0))
    extent = (-0.5, size - 0.5, -span, span)
    panel.imshow(shades, "Greys", aspect="auto", interpolation="nearest", origin="lower", extent=extent, vmax=1.4)
    borders = np.arange(size + 1) - 0.5
    for quantile, width in ((0.05, 0.8), (0.5, 1.4), (0.95, 0.8)):
        panel.stairs(np.quantile(values, quantile, axis=0), borders, baseline=None, color="#D55E00", linewidth=width)
    panel.set(xlim=(-0.5, size - 0.5), ylim=(-span, span))
    panel.xaxis.set_major_locator(MaxNLocator(integer=True))
    panel.grid(False)
