"""What `ndi-bench run` says before it runs anything: cells, costs, and what they lack."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.filesize import decimal

from benchmarks.experts import has_expert
from benchmarks.kit.errors import UserError
from benchmarks.plan import registry
from benchmarks.plan.grid import makespan
from benchmarks.run.memory import cell_bytes, most_at_once, step_bytes
from benchmarks.terminal import console, counted, duration, print_listing, say

if TYPE_CHECKING:
    from benchmarks.plan.grid import Cell, Run
    from benchmarks.run.engines import Work
    from benchmarks.run.machine import Machine


def show_cells(cells: Sequence[Cell]) -> None:
    """Print every run, and every process with its cost and the memory of its replay."""
    rows = []
    for cell in cells:
        steps, replay = "offline", ("-", "-")
        if cell.first.budget:
            steps, replay = f"{cell.first.budget:,}", (decimal(cell_bytes(cell)), f"{step_bytes(cell):,}")
        rows.append((cell.name, ", ".join(map(str, cell.seeds)), steps, duration(cell.seconds), *replay))
    if cells:
        console.print("\n".join(run_id for cell in cells for run_id in cell.run_ids), highlight=False, soft_wrap=True)
    print_listing(("Process", "Seeds", "Steps", "About", "Replay", "B/step"), rows, optional=("B/step",))


def show_missing_datasets(runs: Iterable[Run]) -> None:
    """Say which datasets are not there yet, so that their content is no part of the run ids."""
    hints = {"embedded": "it will be built", "hub": "it will be downloaded"}
    missing = {run.dataset_id: run.dataset or "" for run in runs if run.dataset_id and run.dataset_hash is None}
    for dataset_id, choice in missing.items():
        hint = hints.get(choice, "`ndi-bench demos list` shows those that are")
        _warn(f"dataset {dataset_id} is not here yet ({hint}), so these are not the final run ids")


def show_missing_experts(runs: Iterable[Run]) -> None:
    """Say which tasks of the grid cannot run on embedded demonstrations yet."""
    embedded = dict.fromkeys(run.task.name for run in runs if run.dataset == "embedded")
    for task in (name for name in embedded if not has_expert(name)):
        _warn(f"{task}: no expert policy is shipped yet; it needs --dataset hub or a local dataset")


def show_other_checkpoints(folder: Path, cells: Sequence[Cell]) -> None:
    """Say which runs have begun in other company: a checkpoint serves only all of its runs together."""
    if not (folder / "checkpoints").exists():
        return
    from benchmarks.run.checkpoint import saved_run_ids  # torch: not to look at a plan

    own, ours = {cell.run_ids for cell in cells}, {run_id for cell in cells for run_id in cell.run_ids}
    for path, run_ids in saved_run_ids(folder / "checkpoints"):
        if run_ids not in own and ours & set(run_ids):
            all_of_it = ", ".join(run_ids)
            _warn(f"{path} holds the beginning of {all_of_it}; it is only gone on from if all of them are run again")


def show_outdated(runs: Iterable[Run], folder: Path) -> None:
    """Say which stored runs were made by other code of their method than is there now, as far as that is known."""
    if not folder.exists():
        return
    from benchmarks.store.store import Store  # pyarrow: not to look at a first plan

    runs, store, outdated = list(runs), Store(folder), Counter[tuple[str, str]]()
    origins = {reference: registry.origin(reference) for reference in {run.reference for run in runs}}
    for run in runs:
        origin = origins[run.reference]
        record = None if origin is None else store.record(run.run_id)
        if origin is not None and record is not None:
            made_with = json.loads(record["versions"]).get(origin[0])
            outdated[run.method, origin[0]] += made_with != origin[1]
    for (method, source), number in (+outdated).items():
        runs_of = f"{counted(number, 'stored run')} of {method}"
        _warn(f"{runs_of}: made with another version of {source} than is there now; --rerun makes all runs again")


def estimate(cells: Sequence[Cell], workers: int) -> str:
    """How long the cells will take."""
    seconds = [cell.seconds for cell in cells]
    wall = duration(makespan(seconds, workers))
    return f"about {duration(sum(seconds))} of one core, {wall} on {counted(max(workers, 1), 'worker')}"


def memory(cells: Sequence[Cell], workers: int) -> str:
    """How much memory the replays will take."""
    most = decimal(most_at_once(cells, workers))
    where = counted(max(workers, 1), "worker")
    return f"at most {most} of replay on {where} (B/step: bytes of it per lane and environment step)"


def show_jobs(work: Work, using: Machine, options: Sequence[str], script: Path | None) -> None:
    """Say what jobs of a cluster will take; write their batch script if asked.

    Raises:
        UserError: an option is wrong, the script cannot be written, or there is no Slurm here that could make it.
    """
    from benchmarks.run.engines.slurm import Slurm  # torch: not for plans of this machine
    from benchmarks.run.locks import PATIENCE_SECONDS

    slurm = Slurm(options)
    at_a_time, seconds = slurm.processes(using.device), [cell.seconds for cell in work.cells]
    wall = makespan(seconds, slurm.at_once(using) * at_a_time)
    share = f"{counted(slurm.cores(), 'core')} and {decimal(slurm.memory(work, using))}"
    most = sum(seconds) / at_a_time + using.workers * PATIENCE_SECONDS  # a worker leaves that finds nothing for so long
    hours = slurm.cores() * min(most, using.workers * wall) / 3600
    say(
        f"{counted(using.workers, 'job')} of {share}, {counted(at_a_time, 'process', 'processes')} each: "
        f"about {duration(wall)} from when they start, {hours:,.1f} core-hours"
    )
    if script is not None:
        try:
            script.write_text(slurm.script(work, using))
        except OSError as error:
            raise UserError(f"--batch-script {script}: {error.strerror}") from None
        say(f"Their batch script is in {script}")


def _warn(message: str) -> None:
    say(message, "yellow")
