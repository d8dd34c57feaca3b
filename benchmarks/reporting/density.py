"""Diagnostics of rewards, from stored rows alone: a table, warnings and two figures. Offline and without torch."""

from __future__ import annotations

from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
import scipy.stats
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from rich.console import Console
from rich.markup import escape

from benchmarks.files import put, read_regular, whole_file
from benchmarks.kit.errors import UserError
from benchmarks.terminal import counted

from . import style
from .formats import EMPTY, Entry, Row, Table, to_markdown, to_rich, with_deviation, with_interval
from .plots import svg
from .statistics import correlation_interval, mean_and_std

ROWS = "scores.parquet"
"""File of a diagnostics folder: one row per reward, seed, behaviour, level and episode; settings in its metadata."""

_MARKED = {
    "other episodes": ("D", "unseen demonstration"),
    "motionless": ("X", "motionless"),
    "random": ("P", "random"),
}
_METHODS = {"made": "ndi-made", "ebm": "ndi-ebm"}
"""Rewards that look like methods; RED bears the name of its own."""
_MARKER: dict[str, Any] = {"ms": 6, "mec": "white", "mew": 0.7}
_STATISTICS = {
    "earned": "Earned by an episode\n(a demonstration: 1)",
    "mean": "Mean score per step\n(demonstrations: 0)",
}
_CAPTIONS = {
    "score-against-return": "Left what an episode earns where the score is paid as a reward with a floor, as NDI pays "
    "log q; right the mean score per step, less that of the demonstrations. Both against the true return. A reward "
    "that is worth an RL run rises to the right in the left column; the worst states visited dominate the right one.",
    "expert-with-noise": "The expert under growing noise: what it earns, its score per step, and the true return, each "
    "between its lowest and its highest value. A score per step may rise again where the noise makes the expert fall "
    "within a few steps, which are like the first ones of a demonstration.",
}


def stored(folder: Path) -> bool:
    """Whether a folder holds diagnostics."""
    return (folder / ROWS).exists()


def write(folder: Path, settings: dict[str, Any], rows: pd.DataFrame) -> None:
    """Store rows, whole or not at all.

    Args:
        folder: where.
        settings: what the rows depend on, in plain values.
        rows: see `Diagnostics`.

    Raises:
        OSError: the folder cannot be written to.
    """
    rows = rows.copy()
    rows.attrs.update(settings)
    with whole_file(folder / ROWS) as file:
        rows.to_parquet(file, index=False)


def build(folder: Path, console: Console) -> None:
    """Print the table and the warnings of a folder, and write them and the figures beside the rows.

    Raises:
        UserError: the rows cannot be read.
        OSError: the folder cannot be written to.
    """
    found = Diagnostics.read(folder)
    shown = table(found)
    for part in to_rich(shown, console.width):
        console.print(part)
    lines = unfit(found)
    for line in lines:
        console.print(f"[yellow]warning: {escape(line)}[/yellow]", highlight=False, soft_wrap=True)
    figures = {"score-against-return": return_figure(found), "expert-with-noise": behaviours_figure(found)}
    drawn = {name: figure for name, figure in figures.items() if figure is not None}
    for name, figure in drawn.items():
        put(svg(figure), folder, f"{name}.svg")
    images = "".join(f"\n![{name}]({name}.svg)\n\n{_CAPTIONS[name]}\n" for name in drawn)
    notes = "".join(f"\nWarning: {line}.\n" for line in lines)
    put((to_markdown(shown) + notes + images).encode(), folder, "README.md")
    console.print(f"Rows, table and figures: {escape(str(folder))}", highlight=False, soft_wrap=True)


class Correlation(NamedTuple):
    """Spearman's rank correlation between score and return over the checkpoints of behavioural cloning."""

    value: float
    """Mean over seeds."""
    low: float
    """Lower end of its 95 % interval, of the seeds at hand."""
    high: float
    """Upper end."""


_SETTINGS = {"task": str, "demos": int, "seeds": list, "rewards": dict, "episodes": int, "stages": list}
"""Kinds of the settings that a report tells."""


def _fault(rows: pd.DataFrame) -> str | None:
    """What is wrong with rows that somebody may have changed; None if nothing is."""
    numbers = ("level", "return", *_STATISTICS)
    if lacking := {"reward", "seed", "behaviour", *numbers} - set(rows):
        return f"it lacks {', '.join(sorted(lacking))}"
    if not all(rows[name].map(lambda value: isinstance(value, str)).all() for name in ("reward", "behaviour")):
        return "a reward or a behaviour is no name"
    if not pd.api.types.is_integer_dtype(rows["seed"]):
        return "a seed is no whole number"
    if strange := [name for name in numbers if not pd.api.types.is_numeric_dtype(rows[name])]:
        return f"{', '.join(strange)}: no numbers"
    if strange := [name for name, kind in _SETTINGS.items() if not isinstance(rows.attrs.get(name), kind)]:
        return f"its settings have no sound {', '.join(strange)}"
    rewards = rows.attrs["rewards"].values()
    if not all(isinstance(one, dict) and {"label", "normalised"} <= one.keys() for one in rewards):
        return "its settings have no sound rewards"
    if not np.isfinite(rows[list(numbers)]).all(axis=None):
        return "a number is not finite"
    seen = set(zip(rows["reward"], rows["seed"], rows["behaviour"], strict=True))
    needed = {*product(rows.attrs["rewards"], rows["seed"].unique(), ("bc", "demonstrations", "random"))}
    return None if needed and needed <= seen else "it lacks behaviours of a reward"


class Diagnostics:
    """The stored rows of one folder.

    Args:
        settings: what they depend on; `rewards` there is in the order of the report.
        rows: columns reward, seed, behaviour, level, episode, return, length, mean, earned.
    """

    def __init__(self, settings: dict[str, Any], rows: pd.DataFrame) -> None:
        self.settings = settings
        self.names = list(settings["rewards"])
        keys = ["reward", "seed", "behaviour", "level"]
        # every episode counts the same, however long it lasted
        self.means = rows.groupby(keys, sort=False)[["return", *_STATISTICS]].mean().reset_index()

    @classmethod
    def read(cls, folder: Path) -> Diagnostics:
        """Of a folder that `write` made.

        Raises:
            UserError: its file cannot be read.
        """
        try:
            rows = pd.read_parquet(BytesIO(read_regular(folder / ROWS)))
        except (OSError, ValueError) as error:  # pyarrow's errors are ValueErrors
            raise UserError(f"{folder / ROWS} cannot be read ({error}); remove it and compute it again") from None
        if fault := _fault(rows):
            raise UserError(f"{folder / ROWS} cannot be read ({fault}); remove it and compute it again")
        return cls({str(key): value for key, value in rows.attrs.items()}, rows)

    def label(self, reward: str) -> str:
        """The reward's name for people."""
        return str(self.settings["rewards"][reward]["label"])

    def of(self, reward: str, behaviour: str, level: float | None = None) -> pd.DataFrame:
        """Means over episodes; one row per seed and level."""
        chosen = self.means[(self.means["reward"] == reward) & (self.means["behaviour"] == behaviour)]
        return chosen if level is None else chosen[chosen["level"] == level]

    def correlation(self, reward: str, statistic: str = "earned") -> Correlation:
        """How well the order of the cloned policies by a statistic of the score agrees with their order by return."""
        pairs = [
            (one[statistic].to_numpy(), one["return"].to_numpy()) for _, one in self.of(reward, "bc").groupby("seed")
        ]
        each = np.array([_spearman(scores, returns) for scores, returns in pairs])
        low, high = correlation_interval(each, len(pairs[0][0]))
        return Correlation(float(each.mean()), float(low), float(high))


def _spearman(scores: np.ndarray, returns: np.ndarray) -> float:
    """Rank correlation; 0 where either is constant, since there is no order to agree with."""
    ordered = np.ptp(scores) > 0 and np.ptp(returns) > 0
    return float(scipy.stats.spearmanr(scores, returns).statistic) if ordered else 0.0


def unfit(found: Diagnostics) -> list[str]:
    """A warning for every reward that does not clearly rise with the return."""
    lines = []
    for reward in found.names:
        value, low, high = found.correlation(reward)
        if low <= 0:
            lines.append(
                f"{found.label(reward)} does not clearly rise with the return over the checkpoints of BC (rank "
                f"correlation {value:.2f}, 95% interval [{low:.2f}, {high:.2f}]): it is not worth an RL run yet"
            )
    returns = found.of(found.names[0], "bc").groupby("level")["return"].mean()
    best = found.of(found.names[0], "demonstrations")["return"].mean()
    worst = found.of(found.names[0], "random")["return"].mean()
    if returns.max() < worst + 0.5 * (best - worst):
        lines.append(
            f"BC reaches {returns.max():,.0f} at most, the demonstrations {best:,.0f}: the correlation says nothing "
            "about the better half of behaviours"
        )
    return lines


def table(found: Diagnostics) -> Table:
    """Mean score of every behaviour, over episodes and seeds, and the rank correlation with the return."""
    levels = found.means[found.means["behaviour"] == "bc"]["level"]
    columns: list[tuple[str, str, float | None]] = [
        ("Demonstrations", "demonstrations", None),
        ("Held-out block", "held-out block", None),
        ("Other episodes", "other episodes", None),
        ("Expert", "expert", 0.0),
        (f"BC, {levels.max():,.0f} updates", "bc", float(levels.max())),
        (f"BC, {levels.min():,.0f} updates", "bc", float(levels.min())),
        ("Motionless", "motionless", None),
        ("Random", "random", None),
    ]
    columns = [column for column in columns if len(found.of(found.names[0], *column[1:]))]
    rows = []
    for reward in found.names:
        scores = [found.of(reward, behaviour, level)["mean"] for _, behaviour, level in columns]
        digits = 2 if max(values.abs().max() for values in scores) < 10 else 1  # RED's lie in (0, 1]
        entries = [_entry(values, digits) for values in scores]
        for statistic in _STATISTICS:
            entries.append(with_interval(*found.correlation(reward, statistic), ".2f"))
        rows.append(Row(found.label(reward), entries))
    returns = [_entry(found.of(found.names[0], behaviour, level)["return"], 0) for _, behaviour, level in columns]
    seeds, episodes = found.settings["seeds"], found.settings["episodes"]
    notes = [
        f"Mean score per step, over {episodes} episodes and {counted(len(seeds), 'seed')}, ± standard "
        "deviation over seeds; true return in the last row.",
        "Rank correlation (Spearman) with the true return over the "
        f"{len(found.settings['stages'])} checkpoints of BC of each seed, mean over seeds, 95% interval: of "
        "what a policy earns where the score is paid as a reward (nothing below the least likely demonstrated "
        "transition), and of the mean score of its steps, which its worst states dominate.",
    ]
    normalised = [found.label(name) for name, one in found.settings["rewards"].items() if one["normalised"]]
    if normalised:
        notes.append(
            f"Scores of {' and '.join(normalised)} are log likelihoods in nats, on standardised observations; the "
            "others may be compared within their row only."
        )
    demos = found.settings["demos"]
    return Table(
        "scores",
        f"Rewards learned from {counted(demos, 'demonstration')}: {found.settings['task']}",
        ["Reward", *(name for name, *_ in columns), "Rank corr. (earned)", "Rank corr. (mean)"],
        [rows, [Row("True return", [*returns, EMPTY, EMPTY])]],
        notes,
    )


def _entry(values: pd.Series, digits: int) -> Entry:
    return with_deviation(*mean_and_std(values.to_numpy()), f",.{digits}f")


def plain(found: Diagnostics) -> dict[str, Any]:
    """What a page's scripts draw: what an episode earns against its true return, by reward and behaviour."""
    rewards = []
    for reward in found.names:
        cloned = found.of(reward, "bc")
        groups = [{"label": "BC", "levels": cloned["level"].tolist(), **_points(cloned)}]
        for behaviour, (marker, label) in _MARKED.items():
            groups.append({"label": label, "marker": marker, **_points(found.of(reward, behaviour))})
        told = with_interval(*found.correlation(reward), ".2f").text
        rewards.append({"label": found.label(reward), "told": told, "groups": groups})
    return {"rewards": rewards}


def _points(rows: pd.DataFrame) -> dict[str, list[float]]:
    return {"returns": rows["return"].round(3).tolist(), "scores": rows["earned"].round(5).tolist()}


def return_figure(found: Diagnostics) -> Figure:
    """Score of the cloned policies against their true return, a panel per reward and statistic."""
    rewards = found.names
    with matplotlib.rc_context(style.theme()):
        figure = Figure(figsize=(7.2, 1.75 * len(rewards) + 1.1), layout="constrained")
        figure.suptitle(_title(found), fontsize=10.5, fontweight="bold")
        panels = figure.subplots(len(rewards), 2, squeeze=False, sharex=True)
        for row, reward in zip(panels, rewards, strict=True):
            for panel, statistic in zip(row, _STATISTICS, strict=True):
                points = _against_return(panel, found, reward, statistic)
                panel.set_ylabel(_STATISTICS[statistic])
        for panel in panels[-1]:
            panel.set_xlabel("Return (sum of rewards)")
        figure.colorbar(points, ax=panels, label="Updates of BC", aspect=40)
        handles, labels = panels[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=len(handles), fontsize=8)
    return figure


def _against_return(panel: Axes, found: Diagnostics, reward: str, statistic: str) -> Any:
    """One panel; returns the coloured points."""
    own = found.of(reward, "demonstrations").set_index("seed")["mean"]

    def height(rows: pd.DataFrame) -> np.ndarray:
        values = rows[statistic].to_numpy()
        return values if statistic == "earned" else values - own.loc[rows["seed"]].to_numpy()

    cloned = found.of(reward, "bc")
    shown = [cloned, *(found.of(reward, behaviour) for behaviour in _MARKED)]
    # log densities fall by hundreds of nats
    heights = np.concatenate([height(rows) for rows in shown])
    if statistic == "mean" and np.abs(heights).max(initial=0) > 10:
        panel.set_yscale("symlog", linthresh=1.0)
    if len(heights) and np.ptp(heights) == 0:
        _remark(panel, f"{heights[0]:g} for every policy:\nthere is no order to follow")
    points = panel.scatter(
        cloned["return"], height(cloned), c=cloned["level"], cmap="viridis", norm=LogNorm(), s=16, label="BC"
    )
    for behaviour, (marker, label) in _MARKED.items():
        rows = found.of(reward, behaviour)
        panel.plot(rows["return"], height(rows), marker, color="#D55E00", label=label, ls="", **_MARKER)
    panel.axhline(float(statistic == "earned"), color="#000000", linewidth=0.8, linestyle=(0, (5, 2)))
    told = with_interval(*found.correlation(reward, statistic), ".2f").text
    panel.set_title(f"{style.literal(found.label(reward))}: rank correlation {told}", fontsize=8.5)
    return points


def _remark(panel: Axes, text: str) -> None:
    panel.text(0.5, 0.5, text, transform=panel.transAxes, ha="center", va="center", fontsize=8, color="#555555")


def behaviours_figure(found: Diagnostics) -> Figure | None:
    """Scores of the expert under growing action noise, each between its lowest (0) and highest (1) mean over seeds.

    After the paper's picture of its rewards. None without an expert.
    """
    if not len(found.of(found.names[0], "expert")):
        return None
    looks = style.looks(_METHODS.get(name, name) for name in found.names)
    with matplotlib.rc_context(style.theme()):
        figure = Figure(figsize=(7.2, 3.2), layout="constrained")
        figure.suptitle(_title(found), fontsize=10.5, fontweight="bold")
        panels = figure.subplots(1, 2, sharey=True)
        for panel, statistic in zip(panels, _STATISTICS, strict=True):
            flat = []
            for reward in found.names:
                look = looks[_METHODS.get(reward, reward)]
                rows, label = found.of(reward, "expert"), style.literal(found.label(reward))
                if np.ptp(rows[statistic]) == 0:
                    flat.append(f"{label} is {rows[statistic].iloc[0]:g} under every noise")
                else:
                    _curve(panel, rows, statistic, label, look)
            truth = style.Look("#000000", "*", (5, 2))
            _curve(panel, found.of(found.names[0], "expert"), "return", "true return", truth)
            _remark(panel, "\n".join(flat))
            panel.set_title(_STATISTICS[statistic].partition("\n")[0])
            panel.set_xlabel("Noise on the expert's actions (standard deviation)")
        panels[0].set_ylabel("1: the highest of its values,\n0: the lowest")
        handles = {line.get_label(): line for panel in panels for line in panel.lines}
        band = "lines: mean over seeds, bands: lowest to highest seed"
        figure.legend(
            handles.values(), handles.keys(), loc="outside lower center", ncols=6, fontsize=8, title=band,
            title_fontsize=8,
        )  # fmt: skip
    return figure


def _curve(panel: Axes, rows: pd.DataFrame, column: str, label: str, look: style.Look) -> None:
    """Mean over seeds against the level, scaled to [0, 1], with the band from the lowest to the highest seed."""
    by_level = rows.groupby("level")[column]
    middle, low, high = (part.to_numpy() for part in (by_level.mean(), by_level.min(), by_level.max()))
    floor, reach = middle.min(), max(np.ptp(middle), 1e-12)
    levels = by_level.mean().index.to_numpy()
    panel.plot(levels, (middle - floor) / reach, marker=look.marker, label=label, **_MARKER, **look.line)
    panel.fill_between(levels, (low - floor) / reach, (high - floor) / reach, color=look.color, alpha=0.15, linewidth=0)


def _title(found: Diagnostics) -> str:
    demos = found.settings["demos"]
    return style.literal(f"{found.settings['task']}, {counted(demos, 'demonstration')}")
