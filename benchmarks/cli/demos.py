"""The verbs about data: `ndi-bench demos list|build|record|show`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape

from benchmarks.kit.errors import UserError
from benchmarks.terminal import console, print_json, print_listing, say, table

from .listings import AsJson

if TYPE_CHECKING:
    from benchmarks.instrument.episodes import Episode
    from benchmarks.tasks import Task

demos_app = typer.Typer(no_args_is_help=True, help="Demonstrations: list, build and look at Minari datasets.")

FIGURES = Path("results/figures")
"""Where figures of datasets go."""

Dataset = Annotated[str, typer.Option(help='"embedded", "hub", or the id of a local Minari dataset.')]


@demos_app.command("list")
def list_demos(as_json: AsJson = False) -> None:
    """List the local datasets, and the embedded ones that can be built."""
    from benchmarks.data import local  # not for help

    found = local.listing()
    if as_json:
        print_json([{**vars(info), "path": info.path and str(info.path)} for info in found])
        return
    rows = []
    for info in found:
        mean = f"{info.mean_return:,.1f}" if info.mean_return == info.mean_return else "-"
        where = str(info.path) if info.path else "(built at first use)"
        rows.append((info.dataset_id, str(info.episodes), mean, info.content_hash or "-", where))
    print_listing(("Dataset", "Episodes", "Mean return", "Content", "Folder"), rows, optional=("Folder",))


@demos_app.command("build")
def build_demos(
    tasks: Annotated[list[str] | None, typer.Argument(help="Tasks or tags.")] = None,
    task: Annotated[list[str] | None, typer.Option("--task", help="The same as an option; repeatable.")] = None,
    dataset: Dataset = "embedded",
    accept_dataset: Annotated[
        bool, typer.Option("--accept-dataset", help="Accept one that was collected in another environment.")
    ] = False,
) -> None:
    """Build, or download, the datasets of tasks if they are not there, and check all of them."""
    from benchmarks.data import datasets, manifest  # Minari, torch: not for help
    from benchmarks.plan import registry

    names = [*(tasks or []), *(task or [])]
    if not names:
        raise UserError("no task is given; name some, such as `ndi-bench demos build hopper`, or the tag paper")
    for found in registry.find_tasks(names):
        info = datasets.prepare(found, dataset, accept_dataset)
        published = dataset == "embedded" and manifest.read().get(found.name, {}).get("content_hash")
        say(
            f"{info.dataset_id}: {info.episodes} episodes, mean return {info.mean_return:,.1f}, "
            f"content {info.content_hash}{' as published' * (info.content_hash == published)}, in {info.path}",
        )


@demos_app.command("record")
def record_demos(
    task: Annotated[str, typer.Argument(help="The task, or my_module:TASK.")],
    dataset_id: Annotated[str, typer.Argument(help="Id of the new dataset, such as lab/hopper/expert-v0.")],
    folder: Annotated[Path, typer.Option("--from", help="Folder of the expert, as `ndi-bench experts train` left it.")],
    episodes: Annotated[int, typer.Option(min=1, help="How many to play.")] = 25,
) -> None:
    """Build a dataset from an expert of your own; use it with --dataset and its id."""
    from benchmarks.data import datasets  # Minari, torch: not for help
    from benchmarks.plan import registry

    info = datasets.record(registry.find_task(task), dataset_id, folder, episodes)
    say(f"{info.dataset_id}: {info.episodes} episodes, mean return {info.mean_return:,.1f}, in {info.path}")


@demos_app.command("show")
def show_demos(
    task: Annotated[str, typer.Argument(help="The task the dataset is for.")],
    dataset: Dataset = "embedded",
    figure: Annotated[
        Path | None,
        typer.Option(help="Where to draw (.svg, .png, .pdf). Default: results/figures/TASK-demonstrations.svg."),
    ] = None,
    render: Annotated[
        Path | None, typer.Option(help="Also film an episode: FILE.gif, or FILE.mp4 with the extra `video`.")
    ] = None,
    episode: Annotated[int, typer.Option(min=0, help="Which episode to film.")] = 0,
) -> None:
    """Show what is known about a task's dataset: metadata, every episode, marginals as a figure, a video on demand."""
    from benchmarks.data import datasets  # Minari, torch: not for help
    from benchmarks.plan import registry

    found = registry.find_task(task)
    metadata, episodes, seeds = datasets.details(found, dataset)
    shown = table("Field", "Value")
    for field, value in metadata.items():
        shown.add_row(field, escape(str(value)))
    console.print(shown)
    shown = table("Episode", "Seed", "Steps", "Return", "Ended by")
    for one, seed in zip(episodes, seeds, strict=True):
        end = "terminal state" if one.terminations[-1] else "time limit" if one.truncations[-1] else "its recorder"
        shown.add_row(
            str(one.number), "-" if seed is None else str(seed), f"{len(one):,}", f"{one.total_return:,.1f}", end
        )
    console.print(shown)
    _draw(found, metadata["dataset_id"], episodes, figure or FIGURES / f"{found.name}-demonstrations.svg")
    if render is not None:
        _film(found, episodes, seeds, episode, render)


def _draw(task: Task, dataset_id: str, episodes: list[Episode], path: Path) -> None:
    """Write the figure of a dataset."""
    import numpy as np  # not for help, nor MuJoCo and matplotlib

    from benchmarks.files import whole_file
    from benchmarks.instrument.environment import ActionScale, spaces_of
    from benchmarks.reporting.marginals import dataset_figure

    scale = ActionScale.of(spaces_of(task)[1])
    figure = dataset_figure(
        f"{dataset_id}: {len(episodes)} episodes",
        [one.total_return for one in episodes],
        [len(one) for one in episodes],
        [bool(one.terminations[-1]) for one in episodes],
        np.concatenate([one.observations[:-1] for one in episodes]),
        scale.to_unit(np.concatenate([one.actions for one in episodes])),
        {"expert": task.expert_return, "random": task.random_return},
    )
    try:
        with whole_file(path) as file:
            figure.savefig(file, format=path.suffix.removeprefix(".") or "png")
    except (OSError, ValueError) as error:
        raise UserError(f"--figure {path} cannot be written: {error}") from None
    say(f"Marginals of states and actions: {path}")


def _film(task: Task, episodes: list[Episode], seeds: tuple[int | None, ...], number: int, path: Path) -> None:
    """Write the video of the episode with a number."""
    from benchmarks.data import rendering  # MuJoCo: not for help

    chosen = [(one, seed) for one, seed in zip(episodes, seeds, strict=True) if one.number == number]
    if not chosen:
        last = max(one.number for one in episodes)
        raise UserError(f"--episode {number}: there is no such episode; the last one is {last}")
    ((one, seed),) = chosen
    if seed is None:
        raise UserError(f"--render: episode {number} has no stored seed, so it cannot be played again")
    rendering.film(task, [rendering.Clip(one.actions, seed)], path)
    note = "" if rendering.repeats(task, one, seed) else ", though this simulator does not repeat it exactly"
    say(f"Episode {number}: {path}{note}")
