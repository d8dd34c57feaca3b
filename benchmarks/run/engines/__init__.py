"""Who makes the cells of a plan: an engine is told how many workers to start, and starts the same worker everywhere.

A worker is `run.pool`: it picks cells under the locks of the results folder, longest first, makes each in a process of
its own, and leaves when nothing is left. So workers know nothing of each other, a lost one loses nothing, and a new one
goes on from the checkpoints. The engine `local` is one worker on this machine; `slurm` starts one per job.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

from benchmarks.kit.errors import UserError, near_miss

from .work import Engine, Work

if TYPE_CHECKING:
    from rich.console import Console

    from benchmarks.run.machine import Machine
    from benchmarks.run.pool import Outcome

__all__ = ["NAMES", "Engine", "Work", "check", "engine"]

NAMES = ("local", "slurm")
"""The engines there are."""


def check(name: str, options: Collection[str], script: bool) -> None:
    """Refuse what no engine takes, before anything slow.

    Args:
        name: of the engine.
        options: of the cluster.
        script: whether a batch script is asked for without a dry run.

    Raises:
        UserError: the name is none of `NAMES`, or something else is given that goes with it only.
    """
    if name not in NAMES:
        raise UserError(f"--engine {name}: {near_miss(name, NAMES)}")
    if name == "local" and options:
        raise UserError("--slurm is for --engine slurm; add that")
    if script:
        raise UserError("--batch-script is for --dry-run; add that")


def engine(name: str, options: Collection[str] = ()) -> Engine:
    """An engine by its name.

    Args:
        name: of `NAMES`.
        options: of the cluster, for `slurm`; see `options.read`.

    Raises:
        UserError: there is none of this name, or an option is wrong.
    """
    check(name, options, script=False)
    if name == "slurm":
        from .slurm import Slurm  # torch: not for a mistyped name

        return Slurm(options).run
    return _local


def _local(work: Work, using: Machine, console: Console) -> Outcome:
    """One worker, here; workers are processes at a time, 0 runs all in this process."""
    from benchmarks.run import pool  # as above

    return pool.run_cells(work.cells, using.of(work.settings), using.workers, console, work.stamps)
