"""What a method or a learned reward must be, checked when it is found: anything else would fail amid a grid."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from functools import cache
from typing import Any

from pydantic import ConfigDict, TypeAdapter, ValidationError

from benchmarks.kit.contract import Method, Reward
from benchmarks.kit.errors import UserError, in_one_line, near_miss

from .configuration import configure, hints_of, settings, type_name

LONGEST_LABEL = 40
"""Letters of a label, for which there is room in tables and legends."""
_PLAIN = (bool, int, float, str, type(None))


def check(owner: str, item: Method | Reward) -> None:
    """Refuse a declaration whose fields are not what `kit.contract` says of them.

    Raises:
        UserError: names the owner, the field and what it must be.
    """
    kind: type = type(item)
    for field in dataclasses.fields(item):
        hint = hints_of(kind)[field.name]
        try:
            _adapter(kind, field.name).validate_python(getattr(item, field.name))
        except ValidationError:
            value = getattr(item, field.name)
            raise UserError(f"{owner}: its {field.name} must be {type_name(hint)}, it is {value!r}") from None
    if not item.label.strip() or "\n" in item.label or len(item.label) > LONGEST_LABEL:
        raise UserError(f"{owner}: its label must be one line of at most {LONGEST_LABEL} letters, it is {item.label!r}")
    _check_config(owner, item.config)
    if isinstance(item, Method):
        _check_method(owner, item)


def _check_config(owner: str, config: Any) -> None:
    parameters = getattr(type(config), "__dataclass_params__", None)
    if parameters is None or not parameters.frozen or isinstance(config, type):
        raise UserError(f"{owner}: its config must be an instance of a frozen dataclass, it is {config!r}")
    for name, value in _strangers(config):
        raise UserError(
            f"{owner}: setting {name} must be a number, string, bool, None, a tuple of them or a frozen dataclass, "
            f"it is {value!r}"
        )
    for part in _parts(config):
        known = [field.name for field in dataclasses.fields(part)]
        for name in getattr(part, "LATER", {}):
            if name not in known:
                raise UserError(f"{owner}: LATER of {type(part).__name__} names {name}: {near_miss(name, known)}")
    try:
        configure(config, settings(config), owner)
    except UserError:
        raise
    except Exception as error:  # annotations can name anything
        told = in_one_line(error)
        raise UserError(f"{owner}: the types of its settings cannot be read ({told}); import their names") from error


def _check_method(owner: str, method: Method) -> None:
    known = settings(method.config)
    for name in method.swept:
        if name not in known:
            raise UserError(f"{owner}: its swept names {name}: {near_miss(name, known)}")
    for changes in method.per_task.values():
        configure(method.config, changes, owner)
    try:
        costs = {name: float(getattr(method, name)(method.config)) for name in ("cost", "preparation")}
        method.absorbing(method.config)
    except (Exception, SystemExit) as error:  # they are somebody else's code
        raise UserError(f"{owner}: its cost, preparation or absorbing raises {in_one_line(error)}") from error
    for name, cost in costs.items():
        if not 0 <= cost < math.inf:
            raise UserError(f"{owner}: its {name} must be a number from 0, it is {cost}")


def _parts(config: Any) -> Iterator[Any]:
    """A config and all configs within it."""
    yield config
    for field in dataclasses.fields(config):
        if dataclasses.is_dataclass(inner := getattr(config, field.name)):
            yield from _parts(inner)


def _strangers(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """What JSON could not tell, with its dotted name."""
    if dataclasses.is_dataclass(value):
        for field in dataclasses.fields(value):
            yield from _strangers(getattr(value, field.name), f"{name}.{field.name}".removeprefix("."))
    elif isinstance(value, tuple):
        for item in value:
            yield from _strangers(item, name)
    elif not isinstance(value, _PLAIN):
        yield name, value


@cache
def _adapter(kind: type, field: str) -> TypeAdapter[Any]:
    return TypeAdapter(hints_of(kind)[field], config=ConfigDict(strict=True, arbitrary_types_allowed=True))
