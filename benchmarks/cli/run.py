"""The verb `ndi-bench run`: options, and what is said before and after; the work is `benchmarks.experiment`'s."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from benchmarks.kit.errors import UserError, near_miss
from benchmarks.terminal import command_again, console, counted, say

if TYPE_CHECKING:
    from collections.abc import Sequence

    from benchmarks.experiment import Plan
    from benchmarks.run import engines
    from benchmarks.run.machine import Machine


def _folder(text: str) -> Path:
    if not text.strip():  # of an unset variable, say; it would be the current folder
        raise UserError("--out is empty; give a folder")
    return Path(text)


def _option(panel: str, text: str, *names: str, **details: Any) -> Any:
    return typer.Option(*names, help=text, rich_help_panel=panel, **details)


GRID, HOW, OUT = "What to run (changes of the profile)", "How to run it", "Results"
CLUSTER = "On a cluster"

ProfileName = Annotated[
    str | None,
    typer.Option(
        help="Name of a profile or path of a .toml file; see `ndi-bench profiles`. Default: quick, or none of them "
        "if --tasks and --methods are given."
    ),
]
Tasks = Annotated[str | None, _option(GRID, "Tasks or tags, by commas: hopper,ant or paper or my_module:TASK.")]
Methods = Annotated[str | None, _option(GRID, "Methods, by commas: bc,ndi-made or my_module:METHOD.")]
Seeds = Annotated[str | None, _option(GRID, "Seeds, such as 0-4,7.")]
Demos = Annotated[str | None, _option(GRID, "Numbers of demonstrated trajectories, such as 1,5.")]
Draws = Annotated[str | None, _option(GRID, "Draws of demonstrations, such as 0-4; every seed learns from each.")]
Subsample = Annotated[int | None, _option(GRID, "Keep every k-th demonstrated transition.")]
Dataset = Annotated[str | None, _option(GRID, '"embedded", "hub", or the id of a local Minari dataset.')]
AcceptDataset = Annotated[
    bool,
    _option(
        GRID,
        "Use demonstrations of another environment than the task's all the same; their runs say how it differs.",
        "--accept-dataset",
    ),
]
Steps = Annotated[int | None, _option(GRID, "Environment steps per run.")]
Evaluations = Annotated[int | None, _option(GRID, "Evaluations per run, evenly spaced.")]
Episodes = Annotated[int | None, _option(GRID, "Episodes per evaluation.")]
Changes = Annotated[
    list[str] | None,
    _option(
        GRID,
        "Change a setting: METHOD.FIELD=VALUE, such as ndi-made.sac.batch_size=256; repeatable. "
        "`ndi-bench methods NAME` lists the fields.",
        "--set",
    ),
]
Out = Annotated[
    Path | None, _option(OUT, "Results folder. Default: results/PROFILE.", parser=_folder, metavar="FOLDER")
]
Report = Annotated[bool, _option(OUT, "Build the report at the end.")]
Policies = Annotated[bool, _option(OUT, "Keep the final policy of every run, for `ndi-bench play` and `render`.")]
Wandb = Annotated[bool, _option(OUT, "Mirror finished runs to Weights & Biases.", "--wandb")]
WandbLive = Annotated[bool, _option(OUT, "As --wandb, and show the curves of runs under way.", "--wandb-live")]
Device = Annotated[str, _option(HOW, "cpu, cuda, or auto.")]
Workers = Annotated[
    int | None,
    _option(
        HOW, "Processes at a time; 0 runs in this process. Default: one per core; on CUDA 1. On a cluster: jobs.", min=0
    ),
]
Threads = Annotated[
    int | None,
    _option(HOW, "Threads that simulate. Default: 1; on CUDA the process's share of the cores.", min=1),
]
Lanes = Annotated[int | None, _option(HOW, "Most seeds that train together in a process.", min=1)]
Strict = Annotated[
    bool,
    _option(HOW, "A run whose method was noticed breaking a rule counts as failed; else it is only told.", "--strict"),
]
Timeout = Annotated[float | None, _option(HOW, "Seconds that one process may take.", min=0)]
CheckpointMinutes = Annotated[float, _option(HOW, "Minutes between checkpoints.", min=0)]
Retry = Annotated[str | None, _option(HOW, "Run stored runs again that ended so: failed,diverged,timeout.")]
Rerun = Annotated[bool, _option(HOW, "Run everything again, also what is stored.", "--rerun")]
Engine = Annotated[str, _option(CLUSTER, "local, or slurm: the workers are jobs, submitted here, that share --out.")]
SlurmOptions = Annotated[
    list[str] | None,
    _option(
        CLUSTER,
        "Option of sbatch, KEY=VALUE such as partition=gpu, time=4:00:00, cpus=4, mem=8G, gres=gpu:1, parallel=20 or "
        "setup='module load cuda'; or a .toml file of them; repeatable.",
        "--slurm",
    ),
]
BatchScript = Annotated[
    Path | None, _option(CLUSTER, "With --dry-run: write the batch script of the jobs there.", metavar="FILE")
]
DryRun = Annotated[bool, _option(HOW, "List the runs and what they would cost, and stop.", "--dry-run")]


def run(
    profile: ProfileName = None,
    tasks: Tasks = None,
    methods: Methods = None,
    seeds: Seeds = None,
    demos: Demos = None,
    draws: Draws = None,
    subsample: Subsample = None,
    dataset: Dataset = None,
    accept_dataset: AcceptDataset = False,
    steps: Steps = None,
    evaluations: Evaluations = None,
    eval_episodes: Episodes = None,
    set_: Changes = None,
    out: Out = None,
    report: Report = True,
    policies: Policies = True,
    wandb: Wandb = False,
    wandb_live: WandbLive = False,
    device: Device = "cpu",
    workers: Workers = None,
    threads: Threads = None,
    lanes: Lanes = None,
    timeout: Timeout = None,
    strict: Strict = False,
    checkpoint_minutes: CheckpointMinutes = 5.0,
    retry: Retry = None,
    rerun: Rerun = False,
    dry_run: DryRun = False,
    engine: Engine = "local",
    slurm: SlurmOptions = None,
    batch_script: BatchScript = None,
) -> None:
    """Train and evaluate methods, store their runs, and show the report.

    What is stored already is skipped, and an interrupted command goes on where it stopped when it is given again.
    Exit code: 0 if all runs are completed, 1 if some failed, 2 for a mistake in the command, 130 if interrupted.

    Example: ndi-bench run --methods bc,ndi-made --tasks hopper --seeds 0-1 --demos 1 --steps 2000 --out results/try
    """
    from benchmarks import experiment  # pydantic: not for help
    from benchmarks.run import engines

    engines.check(engine, slurm or (), batch_script is not None and not dry_run)
    experiment.check_device(device)
    plan = experiment.plan(
        profile, out, settings=set_ or (), retry=_statuses(retry), rerun=rerun, lanes=lanes, obtain=not dry_run,
        accept_dataset=accept_dataset, tasks=tasks, methods=methods, seeds=seeds, demos=demos, draws=draws,
        subsample=subsample, dataset=dataset, steps=steps, evaluations=evaluations, eval_episodes=eval_episodes,
    )  # fmt: skip
    if dry_run:
        _show(plan, device, workers, threads, engine, slurm or (), batch_script)
        return
    starter = engines.engine(engine, slurm or ())
    machine = experiment.machine(plan, device, workers, threads, engine)
    tracked = (wandb or wandb_live) and _can_mirror()
    how = {"timeout": timeout, "checkpoint_minutes": checkpoint_minutes, "policies": policies, "strict": strict}
    how |= {"wandb": tracked, "live": tracked and wandb_live}
    _train(plan, machine, starter, report, how)


def _show(
    plan: Plan,
    device: str,
    workers: int | None,
    threads: int | None,
    engine: str,
    slurm: Sequence[str],
    batch_script: Path | None,
) -> None:
    """What a dry run says."""
    from benchmarks import experiment  # as in `run`
    from benchmarks.cli import preview  # torch, MuJoCo: not for help

    preview.show_cells(plan.cells)
    preview.show_missing_datasets(plan.runs)
    preview.show_missing_experts(plan.runs)
    if engine == "local":
        workers = experiment.default_workers(device) if workers is None else workers
        _announce(plan, workers)
        console.print(preview.memory(plan.cells, workers), highlight=False)
        return
    machine = experiment.machine(plan, device, workers, threads, engine)
    _announce(plan, machine.workers)
    preview.show_jobs(experiment.work(plan, machine), machine, slurm, batch_script)


def _announce(plan: Plan, workers: int) -> None:
    """How much there is to do, and what of the stored runs one should know."""
    from benchmarks.cli import preview  # as above

    if not plan.rerun:
        preview.show_outdated(plan.runs, plan.folder)
    stored = "".join(f", {number} {status} in {plan.folder} already" for status, number in plan.kept.items())
    work = f"{counted(plan.remaining, 'run')} in {counted(len(plan.cells), 'process', 'processes')} to make"
    say(work + stored)
    if plan.cells:
        console.print(preview.estimate(plan.cells, workers), highlight=False)
        preview.show_other_checkpoints(plan.folder, plan.cells)
    if plan.unfinished:
        console.print(f"To run those without a result again, add --retry {','.join(plan.unfinished)}", highlight=False)


def _train(
    plan: Plan,
    machine: Machine,
    starter: engines.Engine,
    report: bool,
    how: dict[str, Any],
) -> None:
    """Make the runs of a plan as `experiment.run` does, and end with the report and the exit code."""
    from benchmarks import experiment  # as in `run`
    from benchmarks.reporting.place import check
    from benchmarks.run import tracking

    if report:
        check(plan.folder)
    _announce(plan, machine.workers)
    outcome = experiment.run(plan, machine, console=console, engine=starter, **how)
    if outcome.detached:
        raise typer.Exit(130)
    if report and not outcome.interrupted:
        from benchmarks.reporting.building import build  # matplotlib: not before the first step

        build(plan.folder, console)
        say(
            f"Next: `ndi-bench render RUN {plan.folder}` films a run beside the expert (`ndi-bench store ls "
            f"{plan.folder}` lists them); `ndi-bench run --profile desk` trains on larger tasks"
        )
        if how["wandb"]:
            tracking.share(plan.folder)
    if how["wandb"]:
        _tell_of_mirror(plan.folder)
    if outcome.interrupted:
        onward = "--rerun would begin all of it anew" if plan.rerun else f"go on with:\n  {escape(command_again())}"
        console.print(f"Interrupted. What is finished is stored; {onward}", soft_wrap=True)
        raise typer.Exit(130)
    if outcome.failed or plan.unfinished:
        raise typer.Exit(1)


def _statuses(text: str | None) -> list[str]:
    from benchmarks.plan.grid import RETRIABLE  # as in `run`

    chosen = [part.strip() for part in (text or "").split(",") if part.strip()]
    for name in chosen:
        if name not in RETRIABLE:
            raise UserError(f"--retry {name}: {near_miss(name, RETRIABLE)}")
    return chosen


def _tell_of_mirror(folder: Path) -> None:
    """Say where wandb's files are, and how those that are kept offline come to the server."""
    from benchmarks.run import tracking  # as in `run`

    place, kept = tracking.place(folder), tracking.offline(folder)
    if place.is_dir():
        say(f"wandb's files are in {place}")
    if kept:
        runs = shlex.quote(str(place)) + "/offline-run-*"
        say(f"{counted(len(kept), 'run')} kept offline; to send them: wandb sync {runs}")


def _can_mirror() -> bool:
    from benchmarks.run import tracking  # as in `run`

    reason = tracking.missing()
    if reason is not None:
        console.print(f"[yellow]warning: {escape(reason)}[/yellow]", highlight=False)
    return reason is None
