"""Configs of methods: frozen dataclasses, changed by dotted names with checked types, hashed, and described.

A config is a frozen dataclass whose fields are numbers, strings, bools, tuples, None or further frozen dataclasses.
"""

from __future__ import annotations

import ast
import dataclasses
import hashlib
import inspect
import json
import textwrap
import types
import typing
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import annotated_types
from annotated_types import Ge, Gt, Le, Lt
from pydantic import ConfigDict, TypeAdapter, ValidationError

from benchmarks.kit.errors import UserError, near_miss
from benchmarks.kit.forms import Form, settled

Config = TypeVar("Config")

MOST = 10**12
"""No whole number among settings and in profiles is larger: all of them fit wherever they go."""
_SIGNS = {Ge: ">=", Gt: ">", Le: "<=", Lt: "<"}


class Setting(NamedTuple):
    """One field of a config."""

    name: str
    """Dotted name, as in overrides."""
    type: str
    """Its type, with the bounds of its values, as in "float > 0"."""
    value: Any
    """Its value."""
    description: str
    """The docstring under the field, in one line; empty if it has none."""


def configure(config: Config, overrides: Mapping[str, Any], owner: str = "config") -> Config:
    """A config with some fields changed.

    Args:
        config: a frozen dataclass instance, possibly nested.
        overrides: dotted field name -> new value, such as {"sac.batch_size": 128}. Lists count as tuples, whole numbers
            as floats, and the text "none" as None where None is allowed; nothing else is converted.
        owner: whose config it is, for messages.

    Raises:
        UserError: a field is unknown, or a value has the wrong type or lies outside the bounds that its type names
            (see `kit.bounds`), or is refused by the config itself (a ValueError of its `__post_init__`).
    """
    changed: Config = _replaced(config, {tuple(name.split(".")): value for name, value in overrides.items()}, owner)
    return changed


def assign(config: Config, name: str, value: Any) -> Config:
    """A config, or its JSON, with the field of a dotted name replaced as it is, unchecked; the name must exist."""
    field, _, rest = name.partition(".")
    if isinstance(config, Mapping):
        return {**config, field: assign(config[field], rest, value) if rest else value}  # type: ignore[return-value]
    new = assign(getattr(config, field), rest, value) if rest else value
    return dataclasses.replace(config, **{field: new})  # type: ignore[type-var]


def settings(config: Any) -> dict[str, Any]:
    """Dotted field name -> value of every field that is not itself a config; of a config, or of its JSON."""
    if isinstance(config, Mapping):
        return {name: _tuples(value) for name, value in flat(config).items()}
    return {setting.name: setting.value for setting in describe(config)}


def flat(table: Mapping[str, Any]) -> dict[str, Any]:
    """Nested tables with their names joined by dots: {"fit": {"steps": 3}} has the setting "fit.steps"."""
    found: dict[str, Any] = {}
    for name, value in table.items():
        inner = flat(value) if isinstance(value, Mapping) else None
        found |= {name: value} if inner is None else {f"{name}.{key}": item for key, item in inner.items()}
    return found


def changes(config: Any, own: Any) -> str:
    """The settings of a config that differ from a method's own, as JSON by dotted name."""
    plain = lambda config: settings(settled(config, 0, Form))  # noqa: E731 - what is left to the machine is no change
    before, after = plain(own), plain(config)
    differing = {name: value for name, value in after.items() if value != before[name]}
    return json.dumps(differing, sort_keys=True)


def describe(config: Any) -> list[Setting]:
    """All fields of a config, nested ones with dotted names, with their types, values and docstrings."""
    return list(_describe(config, ""))


def as_json(config: Any) -> str:
    """The canonical JSON text of a config: sorted keys, no spaces, and 1 for 1.0; equal configs give equal text.

    What is left to the machine counts as plain: it is no part of what a run is. Nor is a setting that came later
    (`LATER` of its config, see `kit.contract.Method.config`) at the value that it stood for.
    """
    return json.dumps(_plain(settled(config, 0, Form)), sort_keys=True, separators=(",", ":"))


def config_hash(config: Any) -> str:
    """First 12 hex digits of the SHA-256 of `as_json`."""
    return hashlib.sha256(as_json(config).encode()).hexdigest()[:12]


def _replaced(config: Any, changes: Mapping[tuple[str, ...], Any], owner: str, before: tuple[str, ...] = ()) -> Any:
    """The config with the fields at some paths replaced, at once; `before` is the path to it, for messages."""
    new: dict[str, Any] = {}
    for (field, *rest), value in changes.items():
        name, whole = ".".join([*before, field]), ".".join([*before, field, *rest])
        _require(config, field, before, owner, whole)
        current = getattr(config, field)
        if dataclasses.is_dataclass(current) and not rest:
            inner = ", ".join(f"{name}.{f.name}" for f in dataclasses.fields(current))
            raise UserError(f"{owner}: {name} is a group of settings; change one of {inner}")
        if rest and not dataclasses.is_dataclass(current):
            raise UserError(f"{owner} has no setting {whole}: {name} has no parts")
        if not rest:
            new[field] = _checked(type(config), field, value, owner, name)
        elif field not in new:
            part = {path[1:]: inner for path, inner in changes.items() if path[0] == field and len(path) > 1}
            new[field] = _replaced(current, part, owner, (*before, field))
    try:
        return dataclasses.replace(config, **new)
    except ValueError as error:  # of a check that the config makes itself
        told = ", ".join(f"{'.'.join([*before, field])} = {value!r}" for field, value in new.items())
        raise UserError(f"{owner}: {told} is refused: {error}") from error


def _require(config: Any, field: str, before: tuple[str, ...], owner: str, whole: str) -> None:
    """Refuse a field that a config does not have."""
    fields = [f.name for f in dataclasses.fields(config)]
    if field in fields:
        return
    known = [".".join([*before, f]) for f in fields]
    near = near_miss(".".join([*before, field]), known) if known else "there are no settings"
    end = whole.split(".")[len(before) :]
    deeper = [".".join([*before, name]) for name in settings(config) if name.split(".")[-len(end) :] == end]
    raise UserError(f"{owner} has no setting {whole}: {f'did you mean {deeper[0]}?' if deeper else near}")


def _checked(owner_type: type, field: str, value: Any, owner: str, name: str) -> Any:
    """The value as the field's type wants it."""
    hint = hints_of(owner_type)[field]
    value = _tuples(value)
    if value in ("none", "None", "null") and type(None) in typing.get_args(hint):
        value = None
    try:
        checked = TypeAdapter(hint, config=ConfigDict(strict=True, allow_inf_nan=False)).validate_python(value)
    except ValidationError:
        raise UserError(f"{owner}: {name} must be {type_name(hint)}, not {value!r}") from None
    if isinstance(checked, int) and abs(checked) > MOST:
        raise UserError(f"{owner}: {name} must lie within ±{MOST:,}, it is {checked}")
    return checked


def _describe(config: Any, prefix: str) -> Iterator[Setting]:
    owner: type = type(config)
    hints, descriptions = hints_of(owner), _descriptions(owner)
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from _describe(value, f"{prefix}{field.name}.")
        else:
            description = descriptions.get(field.name, "")
            yield Setting(f"{prefix}{field.name}", type_name(hints[field.name]), value, description)


@cache
def hints_of(owner: type) -> dict[str, Any]:
    """Field name -> its type, annotations included, of a dataclass."""
    return typing.get_type_hints(owner, include_extras=True)


@cache
def _descriptions(owner: type) -> dict[str, str]:
    """Field name -> the string literal below the field, also of inherited fields, in one line."""
    found: dict[str, str] = {}
    for base in reversed(owner.__mro__):
        if not dataclasses.is_dataclass(base):
            continue
        try:
            source = ast.parse(textwrap.dedent(inspect.getsource(base)))
        except (OSError, TypeError, SyntaxError):  # defined in a prompt or generated: there is nothing to read
            continue
        definition = source.body[0]
        assert isinstance(definition, ast.ClassDef)
        for statement, following in zip(definition.body, definition.body[1:], strict=False):
            if (
                isinstance(statement, ast.AnnAssign)
                and isinstance(statement.target, ast.Name)
                and isinstance(following, ast.Expr)
                and isinstance(following.value, ast.Constant)
                and isinstance(following.value.value, str)
            ):
                found[statement.target.id] = " ".join(following.value.value.split())
    return found


def type_name(hint: Any) -> str:
    """A type for people: "tuple[int >= 1, ...]", "float >= 0, <= 1", "float | None", '"this" or "that"'."""
    origin, parts = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return f"{type_name(parts[0])} " + ", ".join(map(_bound, parts[1:]))
    if origin is Literal:
        return " or ".join(map(json.dumps, parts))
    if origin in (typing.Union, types.UnionType):
        return " | ".join(map(type_name, parts))
    if origin is tuple:
        return f"tuple[{', '.join('...' if part is ... else type_name(part) for part in parts)}]"
    return "None" if hint is type(None) else getattr(hint, "__name__", str(hint))


def _bound(bound: Any) -> str:
    """A bound of `annotated_types` for people; others by their own text."""
    for kind, sign in _SIGNS.items():
        if isinstance(bound, kind):
            return f"{sign} {getattr(bound, kind.__name__.lower())}"
    return "of at least 1" if bound == annotated_types.MinLen(1) else str(bound)


def _tuples(value: Any) -> Any:
    return tuple(_tuples(item) for item in value) if isinstance(value, list | tuple) else value


def _plain(value: Any) -> Any:
    """Dictionaries, lists and scalars; whole floats become ints, so that 1 and 1.0 are the same setting."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        values = {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
        later = {name: _plain(one) for name, one in getattr(value, "LATER", {}).items()}
        return {name: one for name, one in values.items() if name not in later or one != later[name]}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
