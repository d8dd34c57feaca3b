"""Names -> methods, rewards and tasks. The suite's own come through the same door as anyone else's: entry points.

A package that declares an entry point in the group `ndi_bench.methods` (a `Method`), `ndi_bench.rewards` (a `Reward`)
or `ndi_bench.tasks` (a `Task`) is known by its name as soon as it is installed; an object of one's own that is not
installed is "module:attribute".
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import importlib.util
import itertools
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from benchmarks.kit.errors import UserError, in_one_line, near_miss
from benchmarks.tasks import TASKS, Task

if TYPE_CHECKING:
    from benchmarks.kit.contract import Method, Reward

Item = TypeVar("Item")

METHODS = "ndi_bench.methods"
"""Entry-point group of methods."""
REWARDS = "ndi_bench.rewards"
"""Entry-point group of learned rewards."""
TASK_GROUP = "ndi_bench.tasks"
"""Entry-point group of tasks."""

SUITE = "ndi-bench"
"""The suite's own package."""

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")


def method_names() -> list[str]:
    """Names of all installed methods, sorted, without importing any.

    Raises:
        UserError: two packages declare the same name.
    """
    return sorted(_entry_points(METHODS))


def methods() -> dict[str, Method | UserError]:
    """All installed methods by name; for one that cannot be loaded, the error that says which package is at fault.

    Raises:
        UserError: two packages declare the same name.
    """
    return {name: attempt(lambda: find_method(name)) for name in method_names()}  # noqa: B023 - called at once


def check_method_names(references: Iterable[str]) -> None:
    """Refuse names of methods that are not installed, without importing any; "module:attribute" is not looked at.

    Raises:
        UserError: there is no such method, or two packages declare the same name.
    """
    installed = _entry_points(METHODS)
    for name in references:
        if ":" not in name:
            _choose("method", name, installed)


def find_method(name: str) -> Method:
    """The method of a name, or of "module:attribute".

    Raises:
        UserError: the name is unknown, cannot be imported, is no `Method`, or is not what the method calls itself.
    """
    installed = _entry_points(METHODS)
    method: Method = _find("method", name, installed)
    twin = installed.get(method.name)
    if ":" in name and twin is not None and twin.value != name:
        raise UserError(
            f"method {name} calls itself {method.name}, as {_origin(twin)}'s {twin.value} does; rename one of them"
        )
    return method


def origin(reference: str) -> tuple[str, str] | None:
    """Where a method that is not the suite's own comes from: its package with the version, or its module with a hash.

    Args:
        reference: what `find_method` finds it by.

    Returns:
        Name and version, such as ("mine", "source 1a2b3c4d"); None for the suite's own, whose commit says all, and for
        a module that has no file.
    """
    if ":" in reference:
        name = reference.partition(":")[0]
        _reach_current_folder()
        spec = None
        with contextlib.suppress(ImportError, ValueError):  # whoever runs it is told
            spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None or not Path(spec.origin).is_file():
            return None
        return name, f"source {hashlib.sha256(Path(spec.origin).read_bytes()).hexdigest()[:8]}"
    point = _entry_points(METHODS)[reference]
    return None if point.dist is None or point.dist.name == SUITE else (point.dist.name, point.dist.version)


def reward_names() -> list[str]:
    """Names of all installed rewards, sorted, without importing any.

    Raises:
        UserError: two packages declare the same name.
    """
    return sorted(_entry_points(REWARDS))


def find_reward(name: str) -> Reward:
    """The learned reward of a name, or of "module:attribute".

    Raises:
        UserError: the name is unknown, cannot be imported, is no `Reward`, or is not what the reward calls itself.
    """
    reward: Reward = _find("reward", name, _entry_points(REWARDS))
    return reward


def task_names() -> list[str]:
    """Names of all tasks: the suite's in the order of its table, then those of other packages.

    Raises:
        UserError: two packages declare the same name.
    """
    return [*TASKS, *sorted(_entry_points(TASK_GROUP, taken=TASKS))]


def tasks() -> dict[str, Task | UserError]:
    """All tasks by name; for one that cannot be loaded, the error that says which package is at fault.

    Raises:
        UserError: two packages declare the same name.
    """
    return {name: attempt(lambda: find_task(name)) for name in task_names()}  # noqa: B023 - called at once


def find_task(name: str, others: Iterable[str] = ()) -> Task:
    """The task of a name, or of "module:attribute".

    Args:
        name: what to find.
        others: what else would have done, for the message.

    Raises:
        UserError: the name is unknown, cannot be imported, is no `Task`, or is not what the task calls itself.
    """
    if name in TASKS:
        return TASKS[name]
    task: Task = _find("task", name, _entry_points(TASK_GROUP, taken=TASKS), [*TASKS, *others])
    if task.name in TASKS and TASKS[task.name] != task:
        raise UserError(f"task {name} calls itself {task.name}, as one of the suite's own does; rename it")
    return task


def find_tasks(names: Iterable[str]) -> list[Task]:
    """The tasks of names; a tag, such as "paper" or "quick", stands for all tasks that carry it.

    Raises:
        UserError: as `find_task`; or two of the tasks have the same name.
    """
    tags = list(dict.fromkeys(tag for task in TASKS.values() for tag in task.tags))
    found: list[Task] = []
    for name in names:
        tagged = [task for task in TASKS.values() if name in task.tags]
        found += [task for task in tagged or [find_task(name, tags)] if task not in found]
    _check_distinct("tasks", found)
    return found


def find_methods(references: Iterable[str]) -> dict[str, Method]:
    """The methods by what they were asked for as, see `find_method`.

    Raises:
        UserError: as `find_method`; or two of the methods have the same name.
    """
    references = list(references)
    check_method_names(references)
    found = {reference: find_method(reference) for reference in references}
    _check_distinct("methods", list(found.values()))
    return found


def _entry_points(group: str, taken: Iterable[str] = ()) -> dict[str, EntryPoint]:
    """Entry points by name; refuses a name that two packages declare or that is taken by the suite."""
    found: dict[str, EntryPoint] = {}
    for point in entry_points(group=group):
        if point.name in taken:
            raise UserError(f"{_origin(point)} declares {point.name} in {group}, which is one of the suite's own")
        if point.name in found:
            both = " and ".join(f"{_origin(p)} ({p.value})" for p in (found[point.name], point))
            raise UserError(f"{point.name} is declared twice in {group}, by {both}; uninstall or rename one")
        found[point.name] = point
    return found


def _find(kind: str, name: str, installed: dict[str, EntryPoint], others: Iterable[str] = ()) -> Any:
    """The method, reward or task of a name, or of "module:attribute"."""
    if ":" not in name:
        return _load(kind, _choose(kind, name, installed, others))
    owner = f"{kind} {name}"
    return _checked(kind, owner, _import(name, owner))


def _choose(kind: str, name: str, installed: dict[str, EntryPoint], others: Iterable[str] = ()) -> EntryPoint:
    if name not in installed:
        known = near_miss(name, [*others, *sorted(installed)])
        raise UserError(f'unknown {kind} {name}: {known}; or give one of your own as "module:attribute"')
    return installed[name]


def _load(kind: str, point: EntryPoint) -> Any:
    """What an entry point stands for; every error names the package that declares it."""
    owner = f"{point.name} ({point.value}, from package {_origin(point)})"
    try:
        item = point.load()
    except (Exception, SystemExit) as error:  # whatever somebody else's module raises at import
        raise UserError(f"{owner} cannot be loaded: {in_one_line(error)}; repair or uninstall the package") from error
    if _checked(kind, owner, item).name != point.name:
        raise UserError(f"{owner} calls itself {item.name!r}; its entry point must have the same name")
    return item


def _import(reference: str, owner: str) -> Any:
    """The object of "module:attribute"; modules of the current folder count as well."""
    module_name, _, attribute = reference.partition(":")
    _reach_current_folder()
    try:
        item = importlib.import_module(module_name)
        for part in attribute.split("."):
            item = getattr(item, part)
    except (Exception, SystemExit) as error:
        raise UserError(f'{owner} cannot be loaded: {in_one_line(error)}; it must be "module:attribute"') from error
    return item


def _reach_current_folder() -> None:
    """Let modules of the current folder be found; an installed console script does not have it."""
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))  # at the end it shadows nothing


def _checked(kind: str, owner: str, item: Any) -> Any:
    """A method, reward or task; refuses what is of another kind, has a name that is none, or is not as it must be."""
    wanted: type[Any] = Task
    if kind != "task":
        from benchmarks.kit import contract  # torch: not for names and tasks

        wanted = getattr(contract, kind.capitalize())
    if not isinstance(item, wanted):
        raise UserError(f"{owner} must be a {wanted.__module__}.{wanted.__name__}, it is a {type(item).__name__}")
    if not isinstance(item.name, str) or not _NAME.fullmatch(item.name):
        raise UserError(f"{owner}: its name {item.name!r} must be lower case, words joined by hyphens")
    if kind != "task":
        from .declarations import check  # as above

        check(owner, item)
    return item


def _check_distinct(kind: str, items: Sequence[Method | Task]) -> None:
    """Refuse two things of one name: their runs would be taken for each other."""
    for first, second in itertools.combinations(items, 2):
        if first.name == second.name and first is not second:
            raise UserError(f"two of the {kind} call themselves {first.name}; rename one of them")


def attempt(load: Callable[[], Item]) -> Item | UserError:
    """What can be had, or why it cannot."""
    try:
        return load()
    except UserError as error:
        return error


def _origin(point: EntryPoint) -> str:
    return point.dist.name if point.dist is not None else "an unknown package"
