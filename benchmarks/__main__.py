"""The command line, `ndi-bench` or `python -m benchmarks`: verbs and their options, no logic.

Whatever is slow to import (torch, MuJoCo, Minari, pandas) is imported by the verbs that need it.
"""

from __future__ import annotations

import shlex
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from .cli.compare import compare
from .cli.data import demos_app, references
from .cli.density import density
from .cli.experts import experts_app
from .cli.store import store_app
from .kit.errors import UserError, near_miss
from .terminal import console, counted, show_own_warnings, table

if TYPE_CHECKING:
    from .plan.profiles import Profile

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Benchmark and reproducibility suite for imitation with neural density models (NDI, arXiv 2010.09808). "
    "`ndi-bench run` trains and evaluates; `ndi-bench report` shows what is stored.",
)
app.add_typer(demos_app, name="demos")
app.add_typer(experts_app, name="experts")
app.add_typer(store_app, name="store")
app.command()(references)
app.command()(density)
app.command()(compare)
CUSTOM = "custom"
"""Name of the profile of runs that are put together on the command line."""


def _folder(text: str) -> Path:
    if not text.strip():  # of an unset variable, say; it would be the current folder
        raise UserError("--out is empty; give a folder")
    return Path(text)


GRID, HOW, OUT = "What to run (changes of the profile)", "How to run it", "Results"


@app.command()
def run(
    profile: Annotated[
        str | None,
        typer.Option(
            help="Name of a profile or path of a .toml file; see `ndi-bench profiles`. Default: quick, or none of them "
            "if --tasks and --methods are given."
        ),
    ] = None,
    tasks: Annotated[
        str | None,
        typer.Option(help="Tasks or tags, by commas: hopper,ant or paper or my_module:TASK.", rich_help_panel=GRID),
    ] = None,
    methods: Annotated[
        str | None, typer.Option(help="Methods, by commas: bc,ndi-made or my_module:METHOD.", rich_help_panel=GRID)
    ] = None,
    seeds: Annotated[str | None, typer.Option(help="Seeds, such as 0-4,7.", rich_help_panel=GRID)] = None,
    demos: Annotated[
        str | None, typer.Option(help="Numbers of demonstrated trajectories, such as 1,5.", rich_help_panel=GRID)
    ] = None,
    subsample: Annotated[
        int | None, typer.Option(help="Keep every k-th demonstrated transition.", rich_help_panel=GRID)
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(help='"embedded", "hub", or the id of a local Minari dataset.', rich_help_panel=GRID),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Environment steps per run.", rich_help_panel=GRID)] = None,
    evaluations: Annotated[
        int | None, typer.Option(help="Evaluations per run, evenly spaced.", rich_help_panel=GRID)
    ] = None,
    eval_episodes: Annotated[int | None, typer.Option(help="Episodes per evaluation.", rich_help_panel=GRID)] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="Change a setting: METHOD.FIELD=VALUE, such as ndi-made.sac.batch_size=256; repeatable. "
            "`ndi-bench methods NAME` lists the fields.",
            rich_help_panel=GRID,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            parser=_folder, metavar="FOLDER", help="Results folder. Default: results/PROFILE.", rich_help_panel=OUT
        ),
    ] = None,
    report: Annotated[bool, typer.Option(help="Build the report at the end.", rich_help_panel=OUT)] = True,
    wandb: Annotated[
        bool, typer.Option("--wandb", help="Mirror finished runs to Weights & Biases.", rich_help_panel=OUT)
    ] = False,
    device: Annotated[str, typer.Option(help="cpu, cuda, or auto.", rich_help_panel=HOW)] = "cpu",
    workers: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Processes at a time; 0 runs in this process. Default: one per core; on CUDA 1.",
            rich_help_panel=HOW,
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Threads that simulate. Default: 1; on CUDA the process's share of the cores.",
            rich_help_panel=HOW,
        ),
    ] = None,
    lanes: Annotated[
        int | None, typer.Option(min=1, help="Most seeds that train together in a process.", rich_help_panel=HOW)
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(min=0, help="Seconds that one process may take.", rich_help_panel=HOW)
    ] = None,
    checkpoint_minutes: Annotated[
        float, typer.Option(min=0, help="Minutes between checkpoints.", rich_help_panel=HOW)
    ] = 5.0,
    retry: Annotated[
        str | None,
        typer.Option(help="Run stored runs again that ended so: failed,diverged,timeout.", rich_help_panel=HOW),
    ] = None,
    rerun: Annotated[
        bool, typer.Option("--rerun", help="Run everything again, also what is stored.", rich_help_panel=HOW)
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List the runs and what they would cost, and stop.", rich_help_panel=HOW)
    ] = False,
) -> None:
    """Train and evaluate methods, store their runs, and show the report.

    What is stored already is skipped, and an interrupted command goes on where it stopped when it is given again.
    Exit code: 0 if all runs are completed, 1 if some failed, 2 for a mistake in the command, 130 if interrupted.

    Example: ndi-bench run --methods bc,ndi-made --tasks hopper --seeds 0-1 --demos 1 --steps 2000 --out results/try
    """
    from .plan import grid
    from .run import preview
    from .store.store import Store

    _check_device(device)
    chosen = _profile(
        profile,
        tasks=tasks,
        methods=methods,
        seeds=seeds,
        demos=demos,
        subsample=subsample,
        dataset=dataset,
        steps=steps,
        evaluations=evaluations,
        eval_episodes=eval_episodes,
    )
    chosen = chosen.with_settings(set_ or [])
    folder = out or Path("results") / chosen.name
    if report:
        from . import reporting

        reporting.check_place(folder)
    again = _names(retry, grid.RETRIABLE, "--retry")
    content_hash = preview.expected_hash if dry_run else preview.prepared_hash
    runs = grid.expand(chosen, partial(content_hash, max(chosen.demos)))
    for change in set_ or []:
        if change.partition(".")[0] not in {run.method for run in runs}:
            raise UserError(f"--set {change}: no such method is selected by --methods or the profile")
    remaining, kept = grid.pending(runs, Store(folder), again, rerun)
    cells = grid.cells(remaining, lanes)

    from .run import pool

    used = device if dry_run and device != "auto" else _device(device)  # a plan needs no GPU
    if workers is None:
        workers = pool.cores() if used == "cpu" else 1
    if dry_run:
        preview.show_cells(cells)
        preview.show_missing_experts(runs)
    if not rerun:
        preview.show_outdated(runs, Store(folder))
    stored = "".join(f", {number} {status} in {folder} already" for status, number in kept.items())
    work = f"{counted(len(remaining), 'run')} in {counted(len(cells), 'process', 'processes')} to make"
    console.print(work + stored, highlight=False)
    if cells:
        console.print(preview.estimate(cells, workers), highlight=False)
        preview.show_other_checkpoints(folder, cells)
    if set(kept) & set(grid.RETRIABLE):
        unfinished = ",".join(status for status in grid.RETRIABLE if status in kept)
        console.print(f"To run those without a result again, add --retry {unfinished}", highlight=False)
    if dry_run:
        console.print(preview.memory(cells, workers), highlight=False)
        return

    mirrored = wandb and _can_mirror()
    threads = threads or (1 if used == "cpu" else max(1, pool.cores() // max(min(workers, len(cells)), 1)))
    settings = pool.Settings(folder, used, timeout, checkpoint_minutes, mirrored, threads, anew=rerun)
    try:
        outcome = pool.run_cells(cells, settings, workers, console)
    except KeyboardInterrupt:
        outcome = pool.Outcome(interrupted=True)
    if outcome.interrupted:
        command = shlex.join(["ndi-bench", *sys.argv[1:]])
        onward = "--rerun would begin all of it anew" if rerun else f"go on with:\n  {escape(command)}"
        console.print(f"Interrupted. What is finished is stored; {onward}", soft_wrap=True)
        raise typer.Exit(130)
    if report:
        reporting.build(folder, console)
    if outcome.failed or set(kept) & set(grid.RETRIABLE):
        raise typer.Exit(1)


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="Results folder.")] = Path("results/quick"),
) -> None:
    """Print the tables of a results folder and write tables and figures into it, from the stored rows alone."""
    from . import reporting

    reporting.build(folder, console)


@app.command()
def tasks() -> None:
    """List the tasks, with their budgets and reference returns."""
    from .plan import registry

    shown = table("Task", "Environment", "Steps", "Tags", "Random", "Expert", "Hub dataset")
    for name, task in registry.tasks().items():
        if isinstance(task, UserError):
            shown.add_row(name, f"[red]{escape(str(task))}[/red]")
            continue
        returns = [f"{value:,.0f}" if value == value else "-" for value in (task.random_return, task.expert_return)]
        hub = task.hub_dataset or "-"
        shown.add_row(name, task.env_id, f"{task.budget:,}", ", ".join(task.tags), *returns, hub)
    console.print(shown)


@app.command()
def methods(name: Annotated[str | None, typer.Argument(help="One method, to see its settings.")] = None) -> None:
    """List the methods; or show one method's settings with their values and what they mean."""
    from .plan import registry

    if name is not None:
        _show_method(name)
        return
    shown = table("Method", "Label", "Uses", "Summary")
    for known, method in registry.methods().items():
        if isinstance(method, UserError):
            shown.add_row(known, "", "", f"[red]{escape(str(method))}[/red]")
            continue
        uses = ["demonstrations"] * method.demonstrations + ["environment"] * method.online
        uses += ["true reward or expert"] * method.privileged
        shown.add_row(known, escape(method.label), ", ".join(uses) or "nothing", escape(method.summary))
    console.print(shown)


@app.command()
def profiles(name: Annotated[str | None, typer.Argument(help="One profile, to see all of it.")] = None) -> None:
    """List the profiles; or show all fields of one, with their defaults filled in."""
    from .plan.profiles import load, names

    if name is not None:
        shown = table("Field", "Value")
        for field, value in load(name).model_dump().items():
            shown.add_row(field, escape("the task's own" if value is None else str(value)))
        console.print(shown)
        return
    shown = table("Profile", "Tasks", "Methods", "Seeds", "Demos", "Description")
    for known in names():
        chosen = load(known)
        lists = [", ".join(map(str, values)) for values in (chosen.tasks, chosen.methods, chosen.seeds, chosen.demos)]
        shown.add_row(known, *lists, escape(chosen.description))
    console.print(shown)


def main() -> None:
    """Entry point: mistakes of the user become one line and exit code 2."""
    show_own_warnings()
    try:
        app()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)


# --- pieces of the verbs ----------------------------------------------------------------------------------------------


def _profile(name: str | None, **changes: Any) -> Profile:
    """The profile of the command line: a named one with changes, or one put together from nothing."""
    from .plan.profiles import Profile, load

    if name is None and (changes["methods"] or changes["tasks"]):
        for needed in ("methods", "tasks"):
            if not changes[needed]:
                raise UserError(f"--{needed} is missing; give it, or begin from a profile with --profile NAME")
        neutral = Profile(name=CUSTOM, tasks=("-",), methods=("-",), seeds=(0,))
        return neutral.changed(**changes)
    return load("quick" if name is None else name).changed(**changes)


def _names(text: str | None, known: tuple[str, ...], option: str) -> list[str]:

    chosen = [part.strip() for part in (text or "").split(",") if part.strip()]
    for name in chosen:
        if name not in known:
            raise UserError(f"{option} {name}: {near_miss(name, known)}")
    return chosen


def _check_device(name: str) -> None:
    if name not in ("cpu", "cuda", "auto") and not name.startswith("cuda:"):
        raise UserError(f"--device {name}: it must be cpu, cuda or auto")


def _device(name: str) -> str:
    import torch

    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name != "cpu" and not torch.cuda.is_available():
        raise UserError(f"--device {name}: this torch sees no CUDA device; use --device cpu")
    return name


def _can_mirror() -> bool:
    from .run import tracking

    reason = tracking.missing()
    if reason is not None:
        console.print(f"[yellow]warning: {escape(reason)}[/yellow]", highlight=False)
    return reason is None


def _show_method(name: str) -> None:
    from .plan.configuration import describe
    from .plan.registry import find_method

    method = find_method(name)
    console.print(
        f"[bold]{escape(method.label)}[/bold]: {escape(method.summary)}\n{escape(method.source)}", highlight=False
    )
    shown = table("Setting", "Type", "Value", "Meaning")
    for setting in describe(method.config):
        swept = " Lanes of one process may differ in it." if setting.name in method.swept else ""
        shown.add_row(
            setting.name, escape(setting.type), escape(str(setting.value)), escape(setting.description) + swept
        )
    console.print(shown if shown.row_count else "It has no settings.")
    for task, changes in method.per_task.items():
        console.print(f"on {task}: {', '.join(f'{field} = {value}' for field, value in changes.items())}")


if __name__ == "__main__":
    main()
