"""What the interactive page shows, as plain values for its scripts: a pure function of the scores."""

from __future__ import annotations

import json
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.terminal import spanned

from . import ablations, plots, statistics, style
from .formats import with_interval
from .results import Board, Results, interval
from .variants import Variant, settings
from .verdicts import verdict

MANY = 2_000
"""Of more runs than this only those that do not count are told one by one, or the page would be too large."""
_RIVALS = 30
"""Of more variants than this there is no matrix of all pairs."""
_POINTS = 200
"""Most evaluations of one curve."""

Plain = dict[str, Any]


def payload(results: Results) -> Plain:
    """Everything that the page's scripts read; see the functions below for its parts."""
    several, looks = len(results.runs) <= MANY, style.looks(results.runs["variant"].unique())
    return {
        "variants": [_variant(variant, looks[variant.name]) for variant in results.variants],
        "tasks": [_task(results, task) for task in results.tasks],
        "boards": [_board(board, several) for board in results.boards],
        "runs": _runs(results, several),
        "complete": several,
    }


def sentence(board: Board) -> str:
    """The result in one sentence."""
    ranked = sorted(
        ((board.aggregates[v.name], v) for v in board.scored if v.contestant and v.name in board.aggregates),
        key=lambda pair: (-pair[0].complete, -pair[0].iqm),
    )
    if not ranked:
        return f"With {board.told} no method that learns has a normalised score."
    (best, first), *others = ranked
    number = spanned({len(scores) for scores in best.scores}, "seed")
    text = f"With {board.told}, over {board.totals_over} and {number}, {first.label} has "
    if others and best.complete and not others[0][0].complete:
        return text + "alone run on all of these."
    text += "the highest interquartile mean of normalised returns (0 random, 1 expert): "
    text += with_interval(best.iqm, best.low, best.high, "z.2f").text
    if others and others[0][0].complete:
        second, other = others[0]
        text += f"; {other.label} follows with {with_interval(second.iqm, second.low, second.high, 'z.2f').text}"
        if not np.isnan(best.low - second.high):
            text += ", the intervals do not overlap" if best.low > second.high else ", the intervals overlap"
    return text + "."


def _variant(variant: Variant, look: style.Look) -> Plain:
    return {
        "name": variant.name,
        "method": variant.method,
        "label": variant.label,
        "contestant": variant.contestant,
        "color": look.color,
        "dark": look.on_dark,
        "dash": list(look.dash),
        "marker": look.marker,
    }


def _task(results: Results, task: str) -> Plain:
    references = {name: _number(results.reference(task, name)) for name in ("expert", "random")}
    return {"name": task, "title": results.title(task), "env": results.environments[task], **references}


def _board(board: Board, several: bool) -> Plain:
    pairs = [(variant, task) for variant in board.variants for task in board.results.tasks]
    return {
        "demos": board.demos,
        "told": board.told,
        "sentence": sentence(board),
        "totals": board.totals_over,
        "entries": [_entry(board, variant, task, several) for variant, task in pairs],
        "aggregates": _aggregates(board),
        "improvement": _improvement(board),
        "ablations": [_ablation(found) for found in ablations.ablations(board)],
    }


def _entry(board: Board, variant: Variant, task: str, several: bool) -> Plain:
    """One variant on one task: both kinds of scores, failures, verdict, curve."""
    sample, judged = board.sample(variant.name, task), verdict(board, variant, task)
    entry: Plain = {"variant": variant.name, "task": task, "runs": len(sample.places), "counted": len(sample.score)}
    entry |= {"failed": len(sample.places) - len(sample.score), "fault": sample.fault}
    entry |= {name: _spread(getattr(sample, name)) for name in ("score", "normalized", "imitation")}
    if judged is not None:
        entry["verdict"] = {
            "status": judged.status,
            "paper": judged.paper.title,
            "source": judged.paper.source,
            "published": _numbers(judged.published),
            "share": _numbers(judged.share),
            "differences": list(judged.differences),
        }
    if len(sample.places):
        entry["curve"] = _curve(board, variant, task)
        entry["ids"] = board.results.runs["run_id"].iloc[sample.places].tolist() if several else []
    return entry


def _spread(scores: np.ndarray) -> list[float | None]:
    """Mean, both ends of the 95 % interval of the mean, standard deviation over seeds; [] without scores."""
    scores = scores[np.isfinite(scores)]
    if not len(scores):
        return []
    mean, std = statistics.mean_and_std(scores)
    return _numbers((mean, *interval(scores), std))


def _curve(board: Board, variant: Variant, task: str) -> Plain:
    """Mean, lowest and highest seed at the evaluations that every run that counts has, against three measures."""
    rows = board.curves(variant.name, task)
    if rows.empty:
        return {}
    key = "update" if rows["step"].max() == 0 else "step"
    groups = rows.groupby(key)
    full = groups["run"].nunique() == rows["run"].nunique()
    chosen = groups.agg({"step": "mean", "update": "mean", "core_seconds": "mean"})[full]
    kept = np.unique(np.linspace(0, len(chosen) - 1, min(len(chosen), _POINTS)).astype(np.intp))
    curve: Plain = {str(name): _numbers(chosen[name].iloc[kept]) for name in chosen}
    for column in ("return", "normalized"):
        parts = groups[column].agg(["mean", "min", "max"])[full].iloc[kept]
        curve[column] = [_numbers(parts[name]) for name in ("mean", "min", "max")]
    return curve


def _aggregates(board: Board) -> list[Plain]:
    thresholds = plots.THRESHOLDS
    return [
        {
            "variant": name,
            "iqm": _numbers((one.iqm, one.low, one.high)),
            "gap": _number(one.gap),
            "tasks": len(one.scores),
            "complete": one.complete,
            "profile": _numbers(statistics.performance_profile(one.scores, thresholds)) if one.complete else [],
        }
        for name, one in board.aggregates.items()
    ]


def _improvement(board: Board) -> Plain:
    """Chance that a run of the row's variant beats one of the column's on a random task, with 95 % intervals."""
    names = [v.name for v in board.scored if v.contestant and (one := board.aggregates.get(v.name)) and one.complete]
    if not 2 <= len(names) <= _RIVALS:
        return {}
    chances: list[list[list[float | None]]] = [[[] for _ in names] for _ in names]
    for i, j in combinations(range(len(names)), 2):
        ours, theirs = (board.aggregates[names[place]].scores for place in (i, j))
        chance = statistics.probability_of_improvement(ours, theirs)
        low, high = statistics.improvement_interval(ours, theirs)
        chances[i][j], chances[j][i] = _numbers((chance, low, high)), _numbers((1 - chance, 1 - high, 1 - low))
    return {"names": names, "chances": chances}


def _ablation(found: ablations.Ablation) -> Plain:
    """Every seed's return and imitation performance at each value of a setting, by task."""
    board = found.board

    def points(task: str, column: str) -> list[Plain]:
        scores = [board.scores(variant.name, task, column) for variant in found.variants]
        finite = [one[np.isfinite(one)] for one in scores]
        return [{"seeds": _numbers(one), "spread": _spread(one)} for one in finite]

    panels = [
        {"task": task, "score": points(task, "score"), "imitation": points(task, "imitation")}
        for task in board.results.tasks
    ]
    return {"label": found.label, "setting": found.setting, "values": list(found.values), "panels": panels}


def _runs(results: Results, several: bool) -> list[Plain]:
    """One by one: what was measured, and all that is needed to judge or repeat a run."""
    runs = results.runs if several else results.runs[~results.runs["counted"]].head(MANY)
    evaluations = dict(tuple(results.evaluations.groupby("run"))) if several else {}
    shared = ("run_id", "variant", "task", "status", "profile", "device", "cpu", "commit", "started", "folder")
    numbers = ("demos", "seed", "budget", "steps", "updates", "lanes", "subsample")
    told = []
    for place, row in zip(runs.index, runs.to_dict("records"), strict=True):
        run: Plain = {name: _text(row.get(name)) for name in shared} | {name: int(row[name]) for name in numbers}
        run |= {name: _number(row[name]) for name in ("score", "normalized", "imitation", "train_seconds")}
        run |= {"error": _text(row["error"]), "dataset": _text(row["dataset_id"]), "dirty": bool(row["dirty"])}
        run |= {"hash": _text(row["dataset_hash"]), "counted": bool(row["counted"])}
        run |= {"episodes": [int(one) for one in row["episode_ids"]], "versions": settings(row["versions"])}
        run |= {"changes": settings(row["changes"]), "config": settings(row["config"])}
        if place in evaluations:
            rows = evaluations[place].iloc[-_POINTS:]
            columns = ("step", "update", "core_seconds", "return", "normalized")
            run["curve"] = {name: _numbers(rows[name]) for name in columns}
        told.append(run)
    return told


def _text(value: Any) -> str | None:
    return None if value is None or (isinstance(value, float) and np.isnan(value)) else str(value)


def _number(value: float | None) -> float | None:
    """Six figures, which is more than a picture or a table shows; None for what is not finite, which JSON lacks."""
    if value is None or not np.isfinite(value):
        return None
    short = float(f"{value:.6g}")
    return int(short) if short.is_integer() else short


def _numbers(values: Sequence[float] | np.ndarray | pd.Series) -> list[float | None]:
    return [_number(float(value)) for value in values]


def as_json(value: Any) -> str:
    """JSON that may stand inside a script element of a page: no text in it can end that element."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False, ensure_ascii=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text
