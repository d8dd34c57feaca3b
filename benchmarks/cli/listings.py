"""The verbs that list what there is: `ndi-bench tasks|methods|profiles|references`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape

from benchmarks.kit.errors import UserError
from benchmarks.terminal import console, table

if TYPE_CHECKING:
    from benchmarks.plan.catalogue import Declared


def tasks() -> None:
    """List the tasks, with their budgets and reference returns."""
    from benchmarks.plan import registry  # reads the entry points of all packages

    shown = table("Task", "Environment", "Steps", "Tags", "Random", "Expert", "Hub dataset")
    for name, task in registry.tasks().items():
        if isinstance(task, UserError):
            shown.add_row(name, f"[red]{escape(str(task))}[/red]")
            continue
        returns = [f"{value:,.0f}" if value == value else "-" for value in (task.random_return, task.expert_return)]
        hub = task.hub_dataset or "-"
        shown.add_row(name, task.env_id, f"{task.budget:,}", ", ".join(task.tags), *returns, hub)
    console.print(shown)


def methods(name: Annotated[str | None, typer.Argument(help="One method, to see its settings.")] = None) -> None:
    """List the methods; or show one method's settings with their values and what they mean."""
    from benchmarks.plan import catalogue  # reads the entry points of all packages

    if name is not None:
        _show_method(catalogue.declared(name))
        return
    shown = table("Method", "Label", "Uses", "Summary")
    for known, method in catalogue.all_declared().items():
        if isinstance(method, UserError):
            shown.add_row(known, "", "", f"[red]{escape(str(method))}[/red]")
        else:
            shown.add_row(known, escape(method.label), ", ".join(method.uses) or "nothing", escape(method.summary))
    console.print(shown)


def profiles(name: Annotated[str | None, typer.Argument(help="One profile, to see all of it.")] = None) -> None:
    """List the profiles; or show all fields of one, with their defaults filled in."""
    from benchmarks.plan.profiles import load, names  # pydantic: only where profiles are read

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


def references(
    tasks: Annotated[list[str] | None, typer.Argument(help="Tasks or tags; default: all that are shipped.")] = None,
) -> None:
    """Show the reference returns that scores are normalised with: random policy and expert.

    `ndi-bench experts publish` measures them.
    """
    from benchmarks.plan import registry  # reads the entry points of all packages
    from benchmarks.tasks import TASKS, read_references  # numpy: not for help

    shown = table("Task", "Random", "Expert", "Episodes", "Measured with")
    stored = read_references()
    for task in registry.find_tasks(tasks or TASKS):
        entry = stored.get(task.name, {})
        means = [_in_words(entry.get(policy)) for policy in ("random", "expert")]
        number = str(entry["random"]["episodes"]) if entry else "-"
        versions = ", ".join(f"{key} {value}" for key, value in entry.get("versions", {}).items())
        shown.add_row(task.name, *means, number, escape(versions) or "-")
    console.print(shown)


def _show_method(method: Declared) -> None:
    console.print(
        f"[bold]{escape(method.label)}[/bold]: {escape(method.summary)}\n{escape(method.source)}", highlight=False
    )
    shown = table("Setting", "Type", "Value", "Meaning")
    for setting in method.settings:
        shown.add_row(*(escape(setting[part]) for part in ("name", "type", "value", "meaning")))
    console.print(shown if shown.row_count else "It has no settings.")
    for task, changes in method.per_task.items():
        console.print(f"on {task}: {', '.join(f'{field} = {value}' for field, value in changes.items())}")


def _in_words(measured: dict[str, Any] | None) -> str:
    return f"{measured['mean']:,.1f} ± {measured['standard_error']:,.1f}" if measured else "-"
