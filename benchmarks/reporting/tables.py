"""The result tables: returns in the paper's layout, normalised scores with aggregates, and published values."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from benchmarks.terminal import counted

from . import notes, statistics
from .formats import EMPTY, Entry, Row, Table, with_deviation, with_interval
from .papers import Paper, label, papers
from .results import Board, family, interval, shipped_reference
from .variants import Variant

KL_NOTE = (
    "KL / KL random: KL(policy || expert) at the visited states, divided by that of uniformly random actions at the "
    "same states; 0 is the expert's own policy, 1 no better than random."
)
"""What the paper's metric of imitation is."""
SUCCESS, FAILURE = 0.9, 0.25
"""Mean normalised return of a success, at least, and of a failure, below it (benchmarks/protocol.md)."""
Column = tuple[Mapping[str, Entry], Mapping[tuple[str, str], Entry]]
"""Entries of the variants by name, and of papers by their title and the method."""


def returns_table(board: Board) -> Table:
    """Mean ± standard deviation over seeds of the final return: methods down, tasks across, papers beside ours."""
    variants = _with_references(board)
    beside = [paper for paper in papers() if paper.beside_ours and paper.demos == board.demos]
    last = {variant.method: variant for variant in variants}  # of several settings only the last has the paper's line
    columns = [_returns(board, task, variants, beside) for task in board.results.tasks]

    def lines(variant: Variant) -> list[Row]:
        ours = Row(variant.label, [column[variant.name] for column, _ in columns])
        quoting = beside if last[variant.method] == variant else []
        theirs = [
            Row(paper.title, [c.get((paper.title, variant.method), EMPTY) for _, c in columns], True)
            for paper in quoting
        ]
        return [ours, *(row for row in theirs if any(entry != EMPTY for entry in row.entries))]

    usual = board.usual_seeds
    sections = _sections(variants, lines)
    quoted = {row.label for section in sections for row in section if row.quiet}
    told = [
        (f"Mean ± standard deviation (divisor n − 1) over {usual} seeds of each seed's mean" if usual > 1 else "Mean")
        + f" return{notes.episodes(board)}. Bold: highest mean among the methods that learn from demonstrations. The "
        "episodes begin alike for all runs, so what spreads over seeds is training and demonstrations, not the starts.",
        *notes.protocol(board, variants),
        *(f"{paper.title}: {paper.source}." for paper in beside if paper.title in quoted),
    ]
    title = f"Return with {board.told}" if board.demos else "Return without demonstrations"
    header = ["Method", *map(board.results.title, board.results.tasks)]
    return Table(f"returns-{board.suffix}", title, header, sections, told)


def _returns(board: Board, task: str, variants: Sequence[Variant], beside: Sequence[Paper]) -> Column:
    """Of one task."""
    numbers = {v.name: statistics.mean_and_std(board.scores(v.name, task)) for v in variants}
    remarks = {v.name: notes.unusual(board, v.name, task) for v in variants}
    for name, method in ((v.name, v.method) for v in variants if np.isnan(numbers[v.name][0])):
        value = shipped_reference(task, method) if method in ("random", "expert") else None
        if value is not None:
            numbers[name] = value, float("nan")
            noise = " (acting with noise, as it demonstrates)" if method == "expert" else ""
            own = f"reference return that comes with the task{noise}; no such run is stored here"
            remarks[name] = remarks[name] or own
    environment = family(board.results.environments[task])
    published = {
        (paper.title, method): values
        for paper in beside
        for method in dict.fromkeys(variant.method for variant in variants)
        if (values := paper.values(method, environment))
    }
    digits = _digits([mean for mean, _ in numbers.values()] + [values[0] for values in published.values()])
    best = _best({v.name: round(numbers[v.name][0], digits) for v in variants if v.contestant})
    ours = {v.name: _entry(*numbers[v.name], digits, remarks[v.name], v.name in best) for v in variants}
    theirs = {key: _entry(values[0], (*values, np.nan)[1], digits) for key, values in published.items()}
    return ours, theirs


def normalized_table(board: Board) -> Table:
    """Normalised scores (0 random, 1 expert): mean per task, and aggregates over tasks with their uncertainty."""
    columns = [_column(board, task, board.variants, "normalized") for task in board.results.tasks] + _aggregates(board)
    header = ["Method", *map(board.results.title, board.results.tasks), "IQM [95%]", "Gap"]
    usual, every = board.usual_seeds, board.shared_tasks == board.scored_tasks
    totals = "all tasks" if every else f"{board.totals_over}, on which the most methods were run"
    told = [
        "Normalised return: 0 is the random policy, 1 the expert as it demonstrates, with noise; mean over "
        f"{counted(usual, 'seed')}{notes.episodes(board).replace(' over', ' and')}.",
        f"IQM: interquartile mean over all seeds of {totals}, with its 95% t interval. Gap: mean shortfall below 1. "
        f"Bold: best of the methods that learn from demonstrations. {statistics.middle_note(usual)}",
    ]
    if len(board.results.tasks) > 1:
        columns += _outcomes(board)
        header += ["Success", "Failure"]
        told.append(
            f"Success: on how many of the tasks with a score it is at least {SUCCESS}; failure: below {FAILURE}."
        )
    told += notes.protocol(board, board.variants)
    return Table(
        f"normalized-{board.suffix}",
        f"Normalised return with {board.told}" if board.demos else "Normalised return",
        header,
        _sections(board.variants, lambda v: [Row(v.label, [column[v.name] for column in columns])]),
        told,
    )


def _column(board: Board, task: str, variants: Sequence[Variant], column: str, sign: int = 1) -> dict[str, Entry]:
    """Mean of every variant on a task, with its deviation where the lowest (sign -1) is best."""
    scores = {v.name: board.scores(v.name, task, column) for v in variants}
    known = {name: values[np.isfinite(values)] for name, values in scores.items()}
    numbers = {name: statistics.mean_and_std(values) for name, values in known.items()}
    best = _best({v.name: sign * round(numbers[v.name][0], 2) for v in variants if v.contestant})
    remarks = {
        name: ", ".join(filter(None, [notes.unusual(board, name, task), _undefined(values, known[name])]))
        for name, values in scores.items()
    }
    spread = {name: std if sign < 0 else np.nan for name, (_, std) in numbers.items()}
    return {name: _entry(mean, spread[name], 2, remarks[name], name in best) for name, (mean, _) in numbers.items()}


def _undefined(scores: np.ndarray, known: np.ndarray) -> str:
    """What stands beside a mean over some of the scores."""
    return "" if len(known) in (0, len(scores)) else f"undefined in {len(scores) - len(known)} of {len(scores)}"


def _aggregates(board: Board) -> list[dict[str, Entry]]:
    """The columns of the interquartile means and of the gaps; only who has a score on all of them may be best."""
    found = board.aggregates
    rivals = {v.name: found[v.name] for v in board.variants if v.contestant and v.name in found}
    rivals = {name: aggregate for name, aggregate in rivals.items() if aggregate.complete}
    highest = _best({name: round(aggregate.iqm, 2) for name, aggregate in rivals.items()})
    nearest = _best({name: -round(aggregate.gap, 2) for name, aggregate in rivals.items()})
    iqms, gaps = ({variant.name: EMPTY for variant in board.variants} for _ in range(2))
    for name, aggregate in found.items():
        tasks = counted(len(board.shared_tasks), "task")
        told = {} if aggregate.complete else {f"over {len(aggregate.scores)} of {tasks}": None}
        told |= {remark: None for task in board.shared_tasks if (remark := notes.unusual(board, name, task))}
        note = "; ".join(told)
        middle = with_interval(aggregate.iqm, aggregate.low, aggregate.high, "z.2f")
        iqms[name] = middle._replace(note=note, bold=name in highest)
        gaps[name] = _entry(aggregate.gap, np.nan, 2, note, name in nearest)
    return [iqms, gaps]


def _outcomes(board: Board) -> list[dict[str, Entry]]:
    """The columns of successes and failures."""
    successes, failures = dict[str, Entry](), dict[str, Entry]()
    for name in (variant.name for variant in board.variants):
        scores = [board.scores(name, task, "normalized") for task in board.results.tasks]
        means = [round(mean, 2) for found in scores if np.isfinite(mean := statistics.mean_and_std(found)[0])]
        successes[name] = Entry(f"{sum(mean >= SUCCESS for mean in means)}/{len(means)}")
        failures[name] = Entry(f"{sum(mean < FAILURE for mean in means)}/{len(means)}")
    return [successes, failures]


def imitation_table(board: Board) -> Table | None:
    """How close policies come to the expert's own (0): methods down, tasks across; None where nobody knows."""
    found = {v.name: [board.scores(v.name, task, "imitation") for task in board.results.tasks] for v in board.variants}
    known = [v for v in board.variants if v.method != "expert" and any(np.isfinite(s).any() for s in found[v.name])]
    if not known:
        return None
    columns = [_column(board, task, known, "imitation", -1) for task in board.results.tasks]
    return Table(
        f"imitation-{board.suffix}",
        "Imitation performance" + (f" with {board.told}" if board.demos else ""),
        ["Method", *map(board.results.title, board.results.tasks)],
        [[Row(v.label, [column[v.name] for column in columns]) for v in known]],
        [
            f"{KL_NOTE} Mean ± standard deviation over {counted(board.usual_seeds, 'seed')} at the last evaluation. "
            "Bold: lowest. Methods that clone the demonstrator, too, are helped by that here.",
        ],
    )


def area_table(board: Board) -> Table | None:
    """How much was returned on the way: methods down, tasks across; None where nothing was evaluated on the way."""
    found = {
        variant: [areas(board, variant.name, task) for task in board.results.tasks]
        for variant in board.scored
        if variant.method not in ("random", "expert")
    }
    found = {variant: means for variant, means in found.items() if any(map(len, means))}
    if not found:
        return None
    rows = [
        Row(v.label, [_area(board, v, *pair) for pair in zip(means, board.results.tasks, strict=True)])
        for v, means in found.items()
    ]
    return Table(
        f"area-{board.suffix}",
        "Area under the learning curve" + (f" with {board.told}" if board.demos else ""),
        ["Method", *map(board.results.title, board.results.tasks)],
        [rows],
        [
            "Mean normalised return over all evaluations of a run, which lie evenly apart: mean over "
            f"{counted(board.usual_seeds, 'seed')} with its 95% t interval. {statistics.MEAN_NOTE}"
        ],
    )


def _area(board: Board, variant: Variant, means: np.ndarray, task: str) -> Entry:
    if not len(means):
        return EMPTY
    shown = with_interval(float(means.mean()), *interval(means), "z.2f")
    return shown._replace(note=notes.unusual(board, variant.name, task))


def areas(board: Board, variant: str, task: str) -> np.ndarray:
    """Mean normalised return over all evaluations of every run that counts, (seeds,); none where there was but one."""
    by_run = board.curves(variant, task).groupby("run")["normalized"].agg(["mean", "size"])
    return by_run["mean"][by_run["size"] > 1].dropna().to_numpy(np.float64)


def published_table(demos: int) -> Table | None:
    """Every transcribed result at a number of demonstrations, one section per paper; None if there is none."""
    chosen = [paper for paper in papers() if paper.demos == demos]
    if not chosen:
        return None
    environments = list(dict.fromkeys(name for paper in chosen for name in paper.environments))
    sections = []
    for paper in chosen:
        rows = []
        for method in paper.rows:
            found = [paper.values(method, environment) for environment in environments]
            entries = [Entry(" ± ".join(map(str, v))) if v else EMPTY for v in found]  # to the digit as published
            rows.append(Row(f"{label(method)}, {paper.title}", entries))
        sections.append(rows)
    return Table(
        f"published-{counted(demos, 'demonstration').replace(' ', '-')}",
        f"Published returns with {counted(demos, 'demonstration')}, as the papers give them",
        ["Method", *environments],
        sections,
        [
            *(f"{paper.title}: {paper.citation}; {paper.source}." for paper in chosen),
            "Tasks, experts and budgets differ between papers and from this suite's, so returns compare only within "
            "a paper.",
        ],
    )


def _entry(mean: float, std: float, digits: int, note: str = "", bold: bool = False) -> Entry:
    return with_deviation(mean, std, f"z.{digits}f")._replace(note=note, bold=bold)


def _digits(means: Sequence[float]) -> int:
    """Decimals that leave three to four figures of the largest mean of a column."""
    largest = max((abs(mean) for mean in means if np.isfinite(mean)), default=100.0)
    return 0 if largest >= 100 else 1 if largest >= 10 else 2


def _best(scores: Mapping[str, float]) -> set[str]:
    """Names with the highest score as printed; none where fewer than two compete."""
    known = {name: score for name, score in scores.items() if not np.isnan(score)}
    return {name for name in known if known[name] == max(known.values())} if len(known) > 1 else set()


def _with_references(board: Board) -> list[Variant]:
    """The variants, with the random and the expert policy even if only the task table knows their returns."""
    variants = list(board.variants)
    for method, title in (("random", "Random"), ("expert", "Expert")):
        known = any(shipped_reference(task, method) is not None for task in board.results.tasks)
        if known and all(variant.method != method for variant in variants):
            variants.append(Variant(method, method, title, privileged=method == "expert"))
    return sorted(variants, key=lambda variant: variant.order)


def _sections(variants: Sequence[Variant], lines: Callable[[Variant], list[Row]]) -> list[list[Row]]:
    groups = (
        [variant for variant in variants if variant.method == "random"],
        [variant for variant in variants if variant.contestant],
        [variant for variant in variants if not variant.contestant and variant.method != "random"],
    )
    return [[row for variant in group for row in lines(variant)] for group in groups if group]
