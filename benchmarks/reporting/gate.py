"""Is a change of the code worse than what it replaces? Proved where its rows are the same, tested where they are not.

1. *Proof.* Runs of the same seeds whose evaluations are the same bit for bit were not changed: nothing is to be tested.
2. *Test.* All else is compared line by line (a method on a task), by the area under the learning curve, the last return
   and the closeness to the policy of the expert, and over all lines together. Runs with the same demonstrations or none
   are a block: were the change no change, ours could as well be any of its runs. So the names are exchanged within
   blocks, and what was seen is compared with what that gives. The measures of a line share their draws, and lines are
   independent, which bounds the chance of any false alarm by one level (`statistics.adjusted`) whatever the
   distribution of returns. Runs of the reference cost nothing when the gate runs, so it holds several for each of ours.
3. *Honesty.* A line is fine only if a loss of a stated size would have been seen with 80 % power; else it is undecided.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmarks.files import whole_file
from benchmarks.kit.errors import UserError, in_one_line, writing

from . import statistics
from .comparison import UNDECIDED, WORSE, notes
from .formats import EMPTY, Entry, Row, Table
from .results import Results
from .variants import Variant

IDENTICAL, FINE, MISSING = "identical", "fine", "missing"
MEASURES = ("area", "last", "closeness")
"""Mean of the normalised return over all evaluations, its last value, and minus the mean log of the KL to the
expert in units of uniform actions' own; higher is better."""
DRAWS = 20_000
FRAMES = ("runs.parquet", "averages.parquet")
"""Files of a reference: `Store.averages`, which is a hundredth of the store."""


class Line(NamedTuple):
    """One method on one task: the runs of both sides that share demonstrations."""

    method: str
    label: str
    values: np.ndarray
    """(runs, measures)."""
    ours: np.ndarray
    """(runs,) bool."""
    blocks: np.ndarray
    """(runs,) int."""
    same: bool = False
    """All our evaluations are those of theirs, bit for bit."""
    lost: int = 0
    """Our runs without a result where theirs with the same seed has one, or without a measure that all theirs have."""
    absent: bool = False
    """Ours were not run."""


class Finding(NamedTuple):
    """What the gate says of one line, or of all of them together."""

    line: Line | None
    """None for all lines together."""
    verdict: str
    loss: float = np.nan
    """Area that ours lacks, as a share of the way from random to expert."""
    visible: float = np.nan
    """Loss of area that would have been seen with 80 % power."""
    p: tuple[float, ...] = ()
    """Adjusted p-value of every measure."""
    doubtful: bool = False
    """More seeds may decide."""


class Judgement(NamedTuple):
    """All findings of one look."""

    findings: list[Finding]
    overall: Finding

    @property
    def verdict(self) -> str:
        """`WORSE`, `UNDECIDED` or `FINE`."""
        found = {finding.verdict for finding in [*self.findings, self.overall]}
        if found & {WORSE, MISSING}:
            return WORSE
        return UNDECIDED if UNDECIDED in found else FINE

    @property
    def doubtful(self) -> list[str]:
        """Methods of which more seeds may decide: of doubtful lines, or all if only all together are doubtful."""
        lines = [finding for finding in self.findings if finding.line is not None and finding.p]
        chosen = [finding for finding in lines if finding.doubtful] or (lines if self.overall.doubtful else [])
        return list(dict.fromkeys(finding.line.method for finding in chosen if finding.line is not None))


def write_reference(runs: pd.DataFrame, averages: pd.DataFrame, folder: Path) -> None:
    """Store the frames of `Store.averages` as a reference, each file whole or not at all.

    Raises:
        UserError: the folder cannot be written to.
    """
    with writing(folder):
        for frame, name in zip((runs, averages), FRAMES, strict=True):
            with whole_file(folder / name) as file:
                frame.to_parquet(file, index=False, compression="zstd")


def read_reference(folder: Path) -> Results:
    """What `write_reference` stored.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    try:
        runs, averages = (pd.read_parquet(folder / name) for name in FRAMES)
        listed = runs["episode_ids"].map(lambda ids: isinstance(ids, np.ndarray)).all()
        if not (listed and all(map(pd.api.types.is_numeric_dtype, (averages["return"], averages["normalized"])))):
            raise ValueError("a column is of another kind")
        # before version 6 of the rows every seed had the draw of its number
        return Results.of(runs if "draw" in runs else runs.assign(draw=runs["seed"]), averages)
    except FileNotFoundError:
        raise UserError(f"there is no reference in {folder}; `ndi-bench gate --save` makes one") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:  # pyarrow's errors are ValueErrors
        raise UserError(f"the reference in {folder} cannot be read ({in_one_line(error)}); restore it") from None


def joined(looks: Sequence[tuple[pd.DataFrame, pd.DataFrame]]) -> Results:
    """Results of several looks' frames."""
    runs, averages = (pd.concat(frames, ignore_index=True) for frames in zip(*looks, strict=True))
    return Results.of(runs, averages)


def pairs(ours: Results, theirs: Results, methods: str | None = None) -> list[tuple[Variant, Variant]]:
    """Every variant of the reference that learns, of some methods (by commas) or all, with ours of its name.

    Raises:
        UserError: the reference has none of a method.
    """
    here = {variant.name: variant for variant in ours.variants}
    chosen = [variant for variant in theirs.variants if variant.method not in ("random", "expert")]
    known = {variant.method for variant in chosen}
    wanted = known if methods is None else {name.strip() for name in methods.split(",")} - {""}
    if lacking := wanted - known or (set() if wanted else {"a method"}):
        raise UserError(
            f"the reference has no runs of {', '.join(sorted(lacking))}; choose others with --methods, or make it anew "
            "with --save"
        )
    return [(here.get(variant.name, variant), variant) for variant in chosen if variant.method in wanted]


def remarks(ours: Results, theirs: Results) -> list[str]:
    """Whether bits can be compared, and in what the two sides differ."""
    here, there = (results.runs[["cpu", "device", "versions"]].drop_duplicates() for results in (ours, theirs))
    if here.merge(there).shape[0] == len(here) == len(there) == 1:
        return [
            "Both sides ran on the same machine type with the same versions: what is not identical, the code changed."
        ]
    return [
        "The sides ran on different machine types or versions, where rounding differs: what is not identical need not "
        "have been changed by the code.",
        *notes(ours, theirs, []),
    ]


def lines(
    ours: Results, theirs: Results, met: Sequence[tuple[Variant, Variant]], whole: bool = False
) -> Iterator[Line]:
    """The lines of all pairs of variants, from two results folders; also those that ours lacks.

    Args:
        ours: the results that are judged.
        theirs: the reference.
        met: the pairs.
        whole: ours are the same only if they have every seed that theirs have.
    """
    for first, second in met:
        for board in theirs.boards:
            for task in theirs.tasks:
                other = board.sample_runs(second.name, task)
                if len(other) and (board.demos in set(other["demos"]) or board is theirs.boards[0]):
                    label = f"{second.label}: {theirs.title(task)}"
                    own = ours.at(board.demos).sample_runs(first.name, task)
                    line = _line(second.method, label, (ours, own), (theirs, other))
                    lacking = whole and not set(other["seed"]) <= set(own["seed"])
                    yield line._replace(same=line.same and not lacking)


def _line(method: str, label: str, *sides: tuple[Results, pd.DataFrame]) -> Line:
    """The line of two sides, each with its results and its runs."""
    (_, own), (_, other) = sides
    failed = set(own.loc[~own["counted"], "seed"]) & set(other.loc[other["counted"], "seed"])
    shared = set(own["seed"]) & set(other["seed"])
    rows = [_rows(results, runs[runs["seed"].isin(shared)]) for results, runs in sides]
    same = set(own["seed"]) <= shared and not failed and rows[0].equals(rows[1])
    frames = [_measures(results, runs[runs["counted"]]) for results, runs in sides]
    counted = pd.concat(frames, keys=[True, False], names=["ours"]).reset_index("ours")
    if counted["area"].isna().any():
        raise UserError(f"{label}: the task has no reference returns of random and expert, which the gate needs")
    measures = list(counted[~counted["ours"]].dropna(axis=1).columns.intersection([*MEASURES], sort=False))
    undefined = counted[measures].isna().any(axis=1)
    counted = counted[~undefined]
    counted = counted[counted.groupby("block")["ours"].transform("nunique") == 2]
    return Line(
        method,
        label,
        counted[measures].to_numpy(np.float64),
        counted["ours"].to_numpy(bool),
        pd.factorize(counted["block"])[0],
        same,
        len(failed) + int(undefined.sum()),
        absent=own.empty,
    )


def _rows(results: Results, runs: pd.DataFrame) -> pd.DataFrame:
    """All evaluations of some runs, for equality."""
    wanted = ["step", "update", "return", "kl"]
    found = results.evaluations[results.evaluations["run"].isin(runs.index)]
    return (
        found.assign(seed=found["run"].map(runs["seed"]))
        .sort_values(["seed", "step"])[["seed", *wanted]]
        .reset_index(drop=True)
    )


def _measures(results: Results, runs: pd.DataFrame) -> pd.DataFrame:
    """The measures of some runs, with the block that each belongs to."""
    found = results.evaluations[results.evaluations["run"].isin(runs.index)]
    by_run = found.assign(far=np.log(found["kl"] / found["kl_uniform"])).groupby("run")
    closeness = -by_run["far"].agg(lambda column: column.mean(skipna=False))
    blocks = [
        " ".join(map(str, episodes)) if demos else ""
        for episodes, demos in zip(runs["episode_ids"], runs["demos"], strict=True)
    ]
    return pd.DataFrame(
        {
            "block": pd.Series(blocks, index=runs.index, dtype="str"),
            "area": by_run["normalized"].mean(),
            "last": runs["normalized"],
            "closeness": closeness.where(~runs["privileged"]),
        },
        index=runs.index,
    )


def judge(all_lines: Sequence[Line], level: float = 0.05, loss: float = 0.1) -> Judgement:
    """One look at all lines.

    Args:
        all_lines: of `lines`.
        level: chance of any false alarm at this look.
        loss: smallest loss of area that must have been visible for a line to be fine, as a share of the way from random
            to expert; over all lines together, the same.
    """
    open_lines = [line for line in all_lines if not line.same and not line.absent and len(line.values)]
    null = [
        statistics.losses(line.values, statistics.relabelled(line.ours, line.blocks, DRAWS, seed), line.blocks)
        for seed, line in enumerate(open_lines)
    ]
    together = _together(null)
    p, single = np.ones(0), level
    if null:
        p, single = statistics.adjusted(np.concatenate([*null, together], axis=1), level)
    parts = np.split(p, np.cumsum([part.shape[1] for part in null])) if null else []
    found = {
        id(line): _finding(line, part, values, single, level, loss)
        for line, part, values in zip(open_lines, null, parts, strict=False)
    }
    findings = [found[id(line)] if id(line) in found else _without_test(line) for line in all_lines]
    if not null:
        same = bool(all_lines) and all(line.same and not line.absent for line in all_lines)
        return Judgement(findings, Finding(None, IDENTICAL if same else UNDECIDED))
    area = np.mean([part[:, 0] for part in null], axis=0)
    overall = _finding(None, np.column_stack([area, together]), parts[-1], single, level, loss)
    return Judgement(findings, overall)


def _together(null: Sequence[np.ndarray]) -> np.ndarray:
    """Sums over lines of every measure in units of its own spread, (draws, measures)."""
    widest = max((part.shape[1] for part in null), default=0)
    sums = np.zeros((DRAWS + 1, widest))
    for part in null:
        spread = part.std(0)
        sums[:, : part.shape[1]] += np.divide(part, spread, out=np.zeros_like(part), where=spread > 0)
    return sums


def _finding(line: Line | None, null: np.ndarray, p: np.ndarray, single: float, level: float, loss: float) -> Finding:
    """Of a line whose losses under exchanged names are `null` (draws, measures)."""
    area = np.sort(null[1:, 0])
    beyond = int(single * len(area))  # so many draws lie beyond what is called worse
    attained = beyond > 0 and area[-1] > area[0]
    visible = float(area[-beyond] + 0.84 * area.std()) if attained else float("inf")
    shown = bool((p < level).any()) or bool(line is not None and line.lost)
    verdict = WORSE if shown else UNDECIDED if visible > loss else FINE
    suspicious = ((null[1:] >= null[0]).mean(0) < level).any()
    return Finding(
        line,
        verdict,
        float(null[0, 0]),
        visible,
        tuple(map(float, p)),
        verdict != WORSE and bool(suspicious or visible > loss),
    )


def _without_test(line: Line) -> Finding:
    """Of a line that is the same, is absent, or has no runs to compare."""
    if line.absent:
        return Finding(line, MISSING)
    if line.lost:
        return Finding(line, WORSE)
    return Finding(line, IDENTICAL) if line.same else Finding(line, UNDECIDED)


def table(judgement: Judgement, level: float, loss: float, remarks: Sequence[str] = ()) -> Table:
    """The findings as a table: a line each, and all of them together."""
    header = ["Line", "Runs", "Loss", "Visible", *(f"p ({name})" for name in MEASURES), "Verdict"]
    explained = [
        "Loss: of the area under the learning curve (mean normalised return over all evaluations), theirs minus ours, "
        "as a share of the way from random to expert. Visible: the loss that would have been seen with 80% power. p: "
        "one-sided, of no loss, for the area, the last return and the closeness to the expert's policy, by exchanging "
        "the names of runs with the same demonstrations; adjusted so that the chance of any false alarm is "
        f"{level:.1%}.",
        "Identical: every evaluation is the same bit for bit, so that nothing is to be tested. Fine: nothing is worse, "
        f"and a loss of {loss:.0%} was visible. Undecided: such a loss could have gone unseen.",
        *remarks,
    ]
    rows = [_row(finding) for finding in judgement.findings]
    return Table("gate", "Ours against the reference", header, [rows, [_row(judgement.overall)]], explained)


def _row(finding: Finding) -> Row:
    line = finding.line
    if line is None:
        label, runs = "All lines", EMPTY
    else:
        label, runs = line.label, Entry(f"{int(line.ours.sum())}", f"/ {int((~line.ours).sum())}")
    if not finding.p:
        return Row(label, [runs, EMPTY, EMPTY, EMPTY, EMPTY, EMPTY, Entry(finding.verdict)])
    p = [Entry(f"{value:.3f}") for value in finding.p]
    p += [EMPTY] * (len(MEASURES) - len(p))
    failed = f": {line.lost} failed" if line is not None and line.lost else ""
    sizes = [Entry(f"{finding.loss:+.3f}"), Entry(f"{finding.visible:.3f}")]
    return Row(label, [runs, *sizes, *p, Entry(finding.verdict + failed)])
