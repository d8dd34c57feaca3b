"""The verbs about data: `ndi-bench demos list|build|show` and `ndi-bench references`."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.markup import escape

from .terminal import console, table

demos_app = typer.Typer(no_args_is_help=True, help="Demonstrations: list, build and look at Minari datasets.")

Dataset = Annotated[str, typer.Option(help='"embedded", "hub", or the id of a local Minari dataset.')]


@demos_app.command("list")
def list_demos() -> None:
    """List the local datasets, and the embedded ones that can be built."""
    from . import datasets

    shown = table("Dataset", "Episodes", "Mean return", "Content", "Folder")
    for info in datasets.listing():
        mean = f"{info.mean_return:,.1f}" if info.mean_return == info.mean_return else "-"
        where = str(info.path) if info.path else "(built at first use)"
        shown.add_row(info.dataset_id, str(info.episodes), mean, info.content_hash or "-", escape(where))
    console.print(shown)


@demos_app.command("build")
def build_demos(
    tasks: Annotated[list[str], typer.Argument(help="Tasks or tags.")],
    dataset: Dataset = "embedded",
    record: Annotated[
        bool, typer.Option("--record", help="Record the content in the package's manifest (for maintainers).")
    ] = False,
) -> None:
    """Build, or download, the datasets of tasks if they are not there, and check all of them."""
    from . import datasets, registry

    for task in registry.find_tasks(tasks):
        info = datasets.prepare(task, dataset)
        console.print(
            f"{info.dataset_id}: {info.episodes} episodes, mean return {info.mean_return:,.1f}, "
            f"content {info.content_hash}, in {info.path}",
            highlight=False,
            soft_wrap=True,
        )
        if record:
            datasets.write_manifest([task.name])


@demos_app.command("show")
def show_demos(
    task: Annotated[str, typer.Argument(help="The task the dataset is for.")], dataset: Dataset = "embedded"
) -> None:
    """Show everything that is known about a task's dataset."""
    from . import datasets, registry

    shown = table("Field", "Value")
    for field, value in datasets.details(registry.find_task(task), dataset).items():
        shown.add_row(field, escape(str(value)))
    console.print(shown)


def references(
    tasks: Annotated[list[str] | None, typer.Argument(help="Tasks or tags; default: all that are shipped.")] = None,
    measure: Annotated[
        bool, typer.Option("--measure", help="Measure anew and store in the package (for maintainers).")
    ] = False,
    episodes: Annotated[int, typer.Option(min=2, help="Episodes per measured return.")] = 100,
) -> None:
    """Show the reference returns (random policy and expert), or measure them anew."""
    from . import registry
    from .tasks import TASKS, read_references

    chosen = [task.name for task in registry.find_tasks(tasks or TASKS)]
    if measure:
        from .experts.measure import measure as measure_returns

        measure_returns(chosen, episodes)
    shown = table("Task", "Random", "Expert", "Episodes", "Measured with")
    stored = read_references()
    for name in chosen:
        entry = stored.get(name, {})
        means = [
            f"{found['mean']:,.1f} ± {found['standard_error']:,.1f}" if (found := entry.get(policy)) else "-"
            for policy in ("random", "expert")
        ]
        number = str(entry["random"]["episodes"]) if entry else "-"
        versions = ", ".join(f"{key} {value}" for key, value in entry.get("versions", {}).items())
        shown.add_row(name, *means, number, escape(versions) or "-")
    console.print(shown)
