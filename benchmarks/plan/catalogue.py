"""What methods say of themselves, without importing them: they are asked again only when code has changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.kit.errors import UserError
from benchmarks.memo import remembered

from . import registry


class Declared(NamedTuple):
    """A method as it is shown to people."""

    name: str
    """Registry name."""
    label: str
    """The name in tables."""
    summary: str
    """One line."""
    source: str
    """Citation of the paper or code that it follows."""
    uses: list[str]
    """What it needs besides itself: demonstrations, the environment, the true reward."""
    settings: list[dict[str, str]]
    """Name, type, value and meaning of every setting, as text."""
    per_task: dict[str, dict[str, Any]]
    """Task name -> settings that the source itself changes there."""


def declared(reference: str) -> Declared:
    """What a method says of itself.

    Args:
        reference: its name, or "module:attribute".

    Raises:
        UserError: as `registry.find_method`.
    """
    registry.check_method_names([reference])
    return _declared(reference)


def all_declared() -> dict[str, Declared | UserError]:
    """All installed methods by name; for one that cannot be loaded, the error that says which package is at fault.

    Raises:
        UserError: two packages declare the same name.
    """
    return {name: registry.attempt(lambda: _declared(name)) for name in registry.method_names()}  # noqa: B023 - at once


def _declared(reference: str) -> Declared:
    question = f"method {reference}" + f" in {Path.cwd()}" * (":" in reference)
    return Declared(**remembered(question, lambda: _asked(reference)._asdict()))


def _asked(reference: str) -> Declared:
    from .configuration import describe  # pydantic, and below torch: not where the answer is remembered

    method = registry.find_method(reference)
    uses = {"demonstrations": method.demonstrations, "environment": method.online}
    uses |= {"true reward or expert": method.privileged}
    settings = [
        {
            "name": setting.name,
            "type": setting.type,
            "value": str(setting.value),
            "meaning": setting.description + " Lanes of one process may differ in it." * (setting.name in method.swept),
        }
        for setting in describe(method.config)
    ]
    return Declared(
        name=method.name,
        label=method.label,
        summary=method.summary,
        source=method.source,
        uses=[what for what, used in uses.items() if used],
        settings=settings,
        per_task={task: dict(changes) for task, changes in method.per_task.items()},
    )
