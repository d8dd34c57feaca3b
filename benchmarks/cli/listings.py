"""The verbs that list what there is: `ndi-bench tasks|methods|profiles|references`."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.padding import Padding
from rich.text import Text

from benchmarks.kit.errors import UserError
from benchmarks.terminal import console, print_json, print_listing, say

if TYPE_CHECKING:
    from benchmarks.plan.catalogue import Declared

AsJson = Annotated[bool, typer.Option("--json", help="Print it as JSON, for scripts.")]


def tasks(as_json: AsJson = False) -> None:
    """List the tasks, with their budgets and reference returns."""
    from benchmarks.plan import registry  # reads the entry points of all packages

    found = registry.tasks()
    if as_json:
        print_json([_task(name, task) for name, task in found.items()])
        return
    rows, faults = [], []
    for name, task in found.items():
        if isinstance(task, UserError):
            faults.append(f"{name}: {task}")
            continue
        returns = [f"{value:,.0f}" if value == value else "-" for value in (task.random_return, task.expert_return)]
        hub = task.hub_dataset or "-"
        rows.append((name, task.env_id, f"{task.budget:,}", *returns, ", ".join(task.tags), hub))
    header = ("Task", "Environment", "Budget", "Random", "Noisy expert", "Tags", "Hub dataset")
    print_listing(header, rows, optional=("Hub dataset", "Tags"))
    for fault in faults:
        say(fault, "red")


def _task(name: str, task: Any) -> dict[str, Any]:
    """A task for scripts."""
    if isinstance(task, UserError):
        return {"name": name, "error": str(task)}
    fields = ("name", "env_id", "budget", "tags", "random_return", "expert_return", "hub_dataset")
    return {field: getattr(task, field) for field in fields}


def methods(
    name: Annotated[str | None, typer.Argument(help="One method, to see its settings.")] = None,
    as_json: AsJson = False,
) -> None:
    """List the methods; or show one method's settings with their values and what they mean."""
    from benchmarks.plan import catalogue  # reads the entry points of all packages

    if name is not None:
        method = catalogue.declared(name)
        if as_json:
            print_json(_method(name, method))
        else:
            _show_method(method)
        return
    found = catalogue.all_declared()
    if as_json:
        print_json([_method(known, method) for known, method in found.items()])
        return
    sound = {known: method for known, method in found.items() if not isinstance(method, UserError)}
    rows = [
        (known, method.label, ", ".join(method.uses) or "nothing", method.summary) for known, method in sound.items()
    ]
    print_listing(("Method", "Label", "Uses", "Summary"), rows)
    for known, told in found.items():
        if isinstance(told, UserError):
            say(f"{known}: {told}", "red")


def _method(name: str, method: Declared | UserError) -> dict[str, Any]:
    """A method for scripts."""
    if isinstance(method, UserError):
        return {"name": name, "error": str(method)}
    return method._asdict()


def profiles(
    name: Annotated[str | None, typer.Argument(help="One profile, to see all of it.")] = None, as_json: AsJson = False
) -> None:
    """List the profiles; or show all fields of one, with their defaults filled in."""
    from benchmarks.plan.profiles import load, names  # pydantic: only where profiles are read

    if as_json:
        found = [load(known).model_dump(mode="json") for known in ([name] if name is not None else names())]
        print_json(found if name is None else found[0])
        return
    if name is not None:
        fields = [(field, "the task's own" if value is None else str(value)) for field, value in load(name)]
        print_listing(("Field", "Value"), fields)
        return
    rows = []
    for known in names():
        chosen = load(known)
        lists = [", ".join(map(str, values)) for values in (chosen.tasks, chosen.methods, chosen.seeds, chosen.demos)]
        rows.append((known, *lists, chosen.description))
    header = ("Profile", "Tasks", "Methods", "Seeds", "Demos", "Description")
    print_listing(header, rows, optional=("Methods", "Tasks", "Seeds", "Demos"))


def references(
    tasks: Annotated[list[str] | None, typer.Argument(help="Tasks or tags; default: all that are shipped.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show the reference returns that scores are normalised with: random policy and expert.

    `ndi-bench experts publish` measures them.
    """
    from benchmarks.plan import registry  # reads the entry points of all packages
    from benchmarks.tasks import TASKS, read_references  # numpy: not for help

    stored = read_references()
    chosen = {task.name: stored.get(task.name, {}) for task in registry.find_tasks(tasks or TASKS)}
    if as_json:
        print_json(chosen)
        return
    rows, measured = [], defaultdict[str, list[str]](list)
    for name, entry in chosen.items():
        means = [_in_words(entry.get(policy)) for policy in ("random", "expert")]
        rows.append((name, *means, str(entry["random"]["episodes"]) if entry else "-"))
        versions = ", ".join(f"{key} {value}" for key, value in entry.get("versions", {}).items())
        measured[versions or "unknown versions"].append(name)
    print_listing(("Task", "Random", "Expert", "Episodes"), rows)
    for versions, names in measured.items():
        which = "All" if len(measured) == 1 else ", ".join(names)
        console.print(f"{which} measured with {versions}", highlight=False, markup=False)


def _show_method(method: Declared) -> None:
    console.print(
        f"[bold]{escape(method.label)}[/bold]: {escape(method.summary)}\n{escape(method.source)}", highlight=False
    )
    for setting in method.settings:
        line = f"[bold]{escape(setting['name'])}[/bold] = {escape(setting['value'])}  ({escape(setting['type'])})"
        console.print(f"\n{line}", highlight=False, soft_wrap=True)
        console.print(Padding(Text(setting["meaning"]), (0, 0, 0, 4)))
    if not method.settings:
        say("It has no settings.")
    for task, changes in method.per_task.items():
        say(f"on {task}: {', '.join(f'{field} = {value}' for field, value in changes.items())}")


def _in_words(measured: dict[str, Any] | None) -> str:
    return f"{measured['mean']:,.1f} ± {measured['standard_error']:,.1f}" if measured else "-"
