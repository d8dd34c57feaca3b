"""Returns, ours beside a peer's: same demonstrations or environments, same evaluation episodes, same store."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from benchmarks.kit.errors import UserError
from benchmarks.reporting import statistics
from benchmarks.reporting.formats import EMPTY, Entry, Row, Table, with_interval
from benchmarks.reporting.meetings import gaps, paired
from benchmarks.reporting.results import Results, interval
from benchmarks.reporting.variants import Variant
from benchmarks.store.store import Store

METHODS = "benchmarks.peers.methods"
BC = ("bc", f"{METHODS}:IMITATION_BC", f"{METHODS}:IMITATION_BC_TUNED")
SAC = ("sac", f"{METHODS}:SB3_SAC")
EVALUATIONS = 10
"""Evaluations along a run that steps environments."""


def command(
    folder: Path, methods: tuple[str, ...], tasks: str, seeds: str, workers: int, steps: int | None = None
) -> list[str]:
    """The suite's own command for a comparison; what the folder holds already is not run again.

    Args:
        folder: results folder.
        methods: ours first.
        tasks: by commas.
        seeds: such as "0-4".
        workers: processes at a time.
        steps: environment steps per run, for methods that take any.
    """
    made = [sys.executable, "-m", "benchmarks", "run", "--methods", ",".join(methods), "--tasks", tasks]
    made += ["--seeds", seeds, "--demos", "1", "--workers", str(workers), "--out", str(folder)]
    return made if steps is None else [*made, "--steps", str(steps), "--evaluations", str(EVALUATIONS)]


def run(folder: Path, methods: tuple[str, ...], tasks: str, seeds: str, workers: int, steps: int | None = None) -> None:
    """Run what the folder lacks, and build its report.

    Raises:
        UserError: the command was refused, or was interrupted.
    """
    done = subprocess.run(command(folder, methods, tasks, seeds, workers, steps))
    if done.returncode not in (0, 1):  # 1: some runs failed; they are stored as such, and told
        raise UserError(f"the runs in {folder} are not all there; give the same command again to go on")


def comparison(folder: Path, ours: str) -> Table:
    """Ours beside every other method of a folder, task by task, with 95% intervals over seeds.

    Args:
        folder: results folder.
        ours: name of our method.

    Raises:
        UserError: no run of our method is stored there.
    """
    results = Results.of(*Store(folder).averages())
    (demos,) = results.demonstration_numbers[:1]
    variants = results.at(demos).variants
    own = [variant for variant in variants if variant.method == ours]
    if not own:
        raise UserError(f"no run of {ours} is stored in {folder}; run the comparison first")
    sections = []
    for task in results.tasks:
        ordered = [*own, *(variant for variant in variants if variant not in own)]
        rows = [_line(results, variant, own[0], task, demos) for variant in ordered]
        sections.append([Row(f"{results.title(task)}: {label}", entries) for label, entries in rows])
    header = ["", "Seeds", "Final return", "Mean over evaluations", "Ours − it", "P(ours better)"]
    notes = [
        "Mean over seeds of each seed's mean over the evaluation episodes, with its 95% t interval over seeds. "
        "Ours − it: of the final returns, by pairs of seeds, with its 95% t interval. P: chance that a run of ours "
        "returns more."
    ]
    return Table("comparison", f"{own[0].label} and its peers", header, sections, notes)


def verdict(gap: statistics.Difference) -> str:
    """What the interval of ours minus theirs says: "ours better", "ours worse" or "no difference shown"."""
    return "ours better" if gap.low > 0 else "ours worse" if gap.high < 0 else "no difference shown"


def _line(results: Results, variant: Variant, own: Variant, task: str, demos: int) -> tuple[str, list[Entry]]:
    """The entries of one method on one task."""
    scores, mine = (results.at(demos).scores(name, task) for name in (variant.name, own.name))
    if not len(scores) or not len(mine):
        return variant.label, [Entry(str(len(scores))), EMPTY, EMPTY, EMPTY, EMPTY]
    entries = [Entry(str(len(scores))), _mean(scores), _mean(_along(results, variant, task, demos))]
    if variant == own:
        return variant.label, [*entries, EMPTY, EMPTY]
    sides = (results.at(demos).sample_runs(name, task) for name in (own.name, variant.name))
    gap = statistics.difference([gaps(*paired(*sides))])
    return variant.label, [
        *entries,
        with_interval(*gap[:3], ",.0f")._replace(note=verdict(gap)),
        Entry(f"{statistics.probability_of_improvement([mine], [scores]):.2f}"),
    ]


def _along(results: Results, variant: Variant, task: str, demos: int) -> np.ndarray:
    """Mean return over all evaluations of every seed, (seeds,): the area under the learning curve, as a mean."""
    own = results.at(demos).sample_runs(variant.name, task)
    rows = results.evaluations[results.evaluations["run_id"].isin(own.loc[own["counted"], "run_id"])]
    rows = rows[rows["step"] > 0] if rows["step"].max() > 0 else rows[rows["final"]]
    return rows.groupby("run_id")["return"].mean().to_numpy(np.float64)


def _mean(scores: np.ndarray) -> Entry:
    return with_interval(scores.mean(), *interval(scores), ",.0f")
