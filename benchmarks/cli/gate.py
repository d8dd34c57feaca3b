"""The verb `ndi-bench gate`: run the profile `gate` and judge whether it is worse than the stored reference."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmarks.kit.errors import UserError
from benchmarks.terminal import console

from .compare import leave, show

if TYPE_CHECKING:
    import pandas as pd

REFERENCE = Path("results/gate-reference")
LOOKS = ((0,), (1, 2))
"""Sets of seeds that the gate trains at each look, those of the profile being set 0."""
SHARES = (0.5, 0.5)
"""What each look may spend of the chance of a false alarm, which their sum bounds."""
LOSS = 0.15
"""Loss that must have been visible: on the line with the widest spread 25 seeds show 0.13."""
PERIOD = 25
"""Seeds so far apart begin with the same demonstration: embedded datasets have so many."""


def gate(
    reference: Annotated[Path, typer.Option(help="Folder with the reference.")] = REFERENCE,
    out: Annotated[Path, typer.Option(help="Results folder of our runs.")] = Path("results/gate"),
    methods: Annotated[str | None, typer.Option(help="A part of the methods, by commas. Default: all.")] = None,
    workers: Annotated[int | None, typer.Option(min=0, help="Processes at a time. Default: one per core.")] = None,
    level: Annotated[float, typer.Option(min=0, max=1, help="Chance of any false alarm of the whole gate.")] = 0.05,
    loss: Annotated[
        float, typer.Option(min=0, max=1, help="Loss to be visible with 80% power: a share of random to expert.")
    ] = LOSS,
    table: Annotated[Path | None, typer.Option(help="Also write the table to this Markdown file.")] = None,
    save: Annotated[bool, typer.Option("--save", help="Make the reference anew from the present code.")] = False,
) -> None:
    """Is the present code worse than the stored reference?

    Runs the seeds of the profile `gate`, and twice as many again of the methods of which more seeds may decide. Rows
    that are the same bit for bit prove a method unchanged; the others are tested.

    Exit code: 0 if fine, 1 if anything is worse or missing, 3 if undecided, 2 for a mistake in the command.
    """
    from benchmarks.reporting import gate as judging  # pandas, scipy: not for help

    if save:
        if methods is not None:
            raise UserError("--save makes the reference of all methods; leave --methods out")
        made = make(LOOKS, methods, out, workers)
        judging.write_reference(*made, reference)
        console.print(f"reference of {len(made[0])} runs: {reference}", highlight=False)
        return
    theirs, looks, wanted = judging.read_reference(reference), [], methods
    for sets, share in zip(LOOKS, SHARES, strict=True):
        looks.append(make([sets], wanted, out, workers))
        ours = judging.joined(looks)
        pairs = judging.pairs(ours, theirs, methods)
        judgement = judging.judge(list(judging.lines(ours, theirs, pairs)), level * share, loss)
        if judgement.verdict == judging.WORSE or not judgement.doubtful:
            break
        wanted = ",".join(judgement.doubtful)
    show(judging.table(judgement, level * share, loss, judging.remarks(ours, theirs)), table)
    leave(judgement)


def make(
    looks: Iterable[Iterable[int]], methods: str | None, out: Path, workers: int | None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Run the sets of seeds of some looks, a cell for every line and look; the runs and their averages."""
    from benchmarks import experiment  # torch, MuJoCo: not for help
    from benchmarks.plan.profiles import load
    from benchmarks.store.store import Store

    profile, made = load("gate"), set()
    for sets in looks:
        seeds = tuple(seed + number * PERIOD for number in sets for seed in profile.seeds)
        plan = experiment.plan(profile, out, rerun=True, methods=methods, seeds=seeds)
        made |= {run.run_id for run in plan.runs}
        outcome = experiment.run(plan, experiment.machine(plan, workers=workers), console=console)
        if outcome.interrupted:
            raise typer.Exit(130)
    runs, averages = Store(out).averages()
    return runs[runs["run_id"].isin(made)], averages[averages["run_id"].isin(made)]
