"""An experiment as functions, for notebooks and scripts: plan it, run it, and read its rows as one frame.

    plan = experiment.plan(tasks="hopper", methods="bc,ndi-made", seeds="0-1", folder="results/mine")
    experiment.run(plan)
    rows = experiment.frame("results/mine")

`ndi-bench run` is these functions with words around them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import terminal
from benchmarks.data import local
from benchmarks.experts import expert_hash
from benchmarks.kit.errors import UserError
from benchmarks.plan import grid, recall
from benchmarks.plan.profiles import Profile, chosen
from benchmarks.run.machine import Machine, default_workers, fitting
from benchmarks.tasks import Task

if TYPE_CHECKING:
    import pandas as pd
    from rich.console import Console

    from benchmarks.plan.grid import Cell, Run
    from benchmarks.run.engines import Engine, Work
    from benchmarks.run.locks import Stamps
    from benchmarks.run.pool import Outcome

__all__ = ["Machine", "Plan", "check_device", "default_workers", "frame", "machine", "plan", "run", "work"]

RESULTS = Path("results")
"""Where results go by default, one folder per profile."""
JOBS = 32
"""Jobs at a time on a cluster, unless the user says otherwise."""


@dataclass(frozen=True)
class Plan:
    """What is to be run, and where it is stored."""

    folder: Path
    """Results folder."""
    runs: list[Run]
    """All runs of the experiment."""
    cells: list[Cell]
    """Those that are still to be made, as processes, longest first."""
    kept: dict[str, int]
    """How many stored runs are left as they are, by status."""
    rerun: bool
    """Stored runs are made again, from the beginning."""
    stamps: Stamps
    """Those of the stored runs when this was decided."""
    accept_dataset: bool = False
    """Demonstrations of another environment than the task's are used, too."""

    @property
    def remaining(self) -> int:
        """How many runs are still to be made."""
        return sum(len(cell.runs) for cell in self.cells)

    @property
    def unfinished(self) -> list[str]:
        """Statuses of stored runs that are left as they are though they have no result."""
        return [status for status in grid.RETRIABLE if status in self.kept]


def plan(
    profile: str | Profile | None = None,
    folder: str | Path | None = None,
    *,
    settings: Sequence[str] = (),
    retry: Collection[str] = (),
    rerun: bool = False,
    lanes: int | None = None,
    obtain: bool = True,
    accept_dataset: bool = False,
    **changes: Any,
) -> Plan:
    """The runs of an experiment, without those that are stored already.

    Args:
        profile: name or .toml file of a profile, or a profile. Default: quick, or none of them if tasks and methods
            are given.
        folder: results folder. Default: `results/PROFILE`.
        settings: changed settings, "METHOD.FIELD=VALUE".
        retry: statuses of stored runs that are run again, of `grid.RETRIABLE`.
        rerun: run everything again, also what is stored.
        lanes: most seeds that train together in a process. Default: no limit.
        obtain: build or download datasets that are not there. Otherwise the plan is for looking at alone: the ids of
            their runs are provisional.
        accept_dataset: use a dataset that was collected in another environment than the task's, which its runs note.
        changes: fields of the profile that are set, see `Profile`: `tasks="hopper"`, `seeds="0-4"`, `steps=1000`, ...

    Raises:
        UserError: a name or a value is wrong, or a dataset cannot be had or has too few episodes.
    """
    profile = chosen(profile, **changes).with_settings(settings)
    folder = RESULTS / profile.name if folder is None else Path(folder)
    expand = grid.expand if obtain else recall.expand
    runs = expand(profile, _content_hash(profile, obtain, accept_dataset), expert_hash)
    for change in settings:
        if change.partition(".")[0] not in {run.method for run in runs}:
            raise UserError(f"--set {change}: no such method is selected by --methods or the profile")
    if not folder.exists():
        return Plan(folder, runs, grid.cells(runs, lanes), {}, rerun, {}, accept_dataset)
    from benchmarks.run.locks import stamps_of  # pyarrow: not for a first plan
    from benchmarks.store.store import Store

    stamps = stamps_of(folder, [run.run_id for run in runs])
    remaining, kept = grid.pending(runs, Store(folder).status, retry, rerun)
    return Plan(folder, runs, grid.cells(remaining, lanes), kept, rerun, stamps, accept_dataset)


def machine(
    plan: Plan, device: str = "cpu", workers: int | None = None, threads: int | None = None, engine: str = "local"
) -> Machine:
    """What a plan is run with, where not all of it is said.

    Args:
        plan: what is to be run.
        device: "cpu", "cuda", "cuda:N", or "auto": CUDA where there is some.
        workers: processes at a time. Default: one per core; on CUDA 1. On a cluster jobs, by default one per cell, but
            no more than `JOBS`.
        threads: threads of each that simulate. Default: 1; on CUDA the process's share of the cores.
        engine: of `benchmarks.run.engines.NAMES`.

    Raises:
        UserError: there is no such device.
    """
    check_device(device)
    if engine == "local":
        return fitting(len(plan.cells), device, workers, threads)
    return Machine(device, max(1, min(len(plan.cells), JOBS if workers is None else workers)), threads)


def run(
    plan: Plan,
    using: Machine | None = None,
    *,
    timeout: float | None = None,
    checkpoint_minutes: float = 5.0,
    policies: bool = True,
    wandb: bool = False,
    live: bool = False,
    strict: bool = False,
    console: Console | None = None,
    engine: Engine | None = None,
) -> Outcome:
    """Make the runs of a plan and store each as it ends; goes on from the checkpoints of an interrupted call.

    Args:
        plan: what to run.
        using: what to run it with, see `machine`. Default: one process per core of the CPU. From a script, more than 0
            processes need the guard `if __name__ == "__main__":`, as Python's multiprocessing does.
        timeout: seconds that one process may take.
        checkpoint_minutes: minutes between checkpoints.
        policies: keep every run's final policy.
        wandb: mirror finished runs to Weights & Biases.
        live: show there the curves of runs under way, too.
        strict: runs whose audit has noticed something fail, see `benchmarks.run.audit`.
        console: where to show progress. Default: standard output.
        engine: who starts the workers, see `benchmarks.run.engines.engine`. Default: this machine.

    Returns:
        How the runs ended, and whether the work was interrupted.

    Raises:
        UserError: the results folder cannot be written to, or a checkpoint there does not fit.
    """
    from benchmarks.run import engines, pool  # torch: a plan alone needs none

    using = using or machine(plan)
    how = {"timeout": timeout, "checkpoint_minutes": checkpoint_minutes, "policies": policies, "strict": strict}
    todo = work(plan, using, wandb=wandb, live=live, **how)
    try:
        return (engine or engines.engine("local"))(todo, using, console or terminal.console)
    except KeyboardInterrupt:
        return pool.Outcome(interrupted=True)


def work(plan: Plan, using: Machine, **how: Any) -> Work:
    """A plan as engines take it.

    Args:
        plan: what to run.
        using: what to run it with.
        how: more of `benchmarks.run.settings.Settings`.
    """
    from benchmarks.run import engines, settings  # torch: a plan alone needs none

    how |= {"anew": plan.rerun, "accept_dataset": plan.accept_dataset}
    return engines.Work(plan.cells, settings.Settings(plan.folder, using.device, **how), plan.stamps)


def frame(
    folder: str | Path,
    rows: str = "evaluations",
    *,
    task: str | None = None,
    method: str | None = None,
    status: str | None = None,
) -> pd.DataFrame:
    """The stored rows of a results folder as one tidy frame, see `benchmarks.store.frame.frame`."""
    from benchmarks.store import frame as stored  # pandas: a plan needs none

    return stored.frame(folder, rows, task=task, method=method, status=status)


def check_device(name: str) -> None:
    """Refuse what is no name of a device; opens none.

    Raises:
        UserError: it is none.
    """
    if not re.fullmatch(r"cpu|auto|cuda(:[0-9]{1,3})?", name):
        raise UserError(f"--device {name}: it must be cpu, cuda or auto")


def _content_hash(profile: Profile, obtain: bool, accept: bool) -> Callable[[Task, str], str | None]:
    """Asks for the content of datasets, which must have as many episodes as the profile demonstrates."""
    most = max(profile.demos)

    def content_hash(task: Task, choice: str) -> str | None:
        info = _dataset(task, choice, obtain, accept)
        if info is not None and info.episodes < most:
            raise UserError(f"--demos {most}: dataset {info.dataset_id} has {info.episodes} episodes")
        return None if info is None else info.content_hash

    return content_hash


def _dataset(task: Task, choice: str, obtain: bool, accept: bool) -> local.DatasetInfo | None:
    """A dataset that is there or will be; None if it is not known yet."""
    if choice == "embedded" and not obtain:
        return local.embedded(task)
    from benchmarks.data import datasets  # Minari and torch: a plan for the shipped experts needs neither

    return datasets.prepare(task, choice, accept) if obtain else datasets.expected(task, choice, accept)
