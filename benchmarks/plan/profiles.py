"""Profiles: declarative TOML files that say which methods, tasks, seeds and budgets make up an experiment.

A profile of one's own is a file of one's own: wherever a profile's name is expected, a path to a TOML file will do.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from benchmarks.kit.errors import UserError, near_miss

from .configuration import MOST, flat

CUSTOM = "custom"
"""Name of the profile of runs that are put together from nothing."""
FOLDER = Path(__file__).parents[1] / "profiles"
"""Where the suite's own profiles lie."""
MOST_NUMBERS = 100_000
"""Most seeds of a profile: whoever wants more has mistyped a range."""

_WORDS = {
    "greater_than_equal": "expected a number from {ge:,}",
    "less_than_equal": "expected a number up to {le:,}",
    "too_short": "expected at least one",
    "int_type": "expected a whole number",
    "string_type": "expected text",
    "tuple_type": "expected a list",
    "list_type": "expected a list",
    "dict_type": "expected a table",
}
"""What pydantic calls by names of its own."""


def numbers(text: Any) -> Any:
    """Whole numbers written as "0-4,7", as one number or as a list; anything else is returned for others to refuse.

    Raises:
        ValueError: text is no such list, a range runs backwards, or the numbers are too many.
    """
    if isinstance(text, int) and not isinstance(text, bool):
        return (text,)
    if not isinstance(text, str):
        return text
    found: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*([0-9]{1,18})\s*(?:-\s*([0-9]{1,18})\s*)?", part)
        if match is None or int(match[2] or match[1]) < int(match[1]):
            raise ValueError('expected numbers such as "0-4,7"')
        if len(found) + int(match[2] or match[1]) - int(match[1]) >= MOST_NUMBERS:
            raise ValueError(f"expected at most {MOST_NUMBERS:,} numbers")
        found += range(int(match[1]), int(match[2] or match[1]) + 1)
    return tuple(dict.fromkeys(found))


def _split(text: Any) -> Any:
    """Names written as "bc,gail" or as a list."""
    return tuple(part.strip() for part in text.split(",") if part.strip()) if isinstance(text, str) else text


def _steps(steps: Any) -> Any:
    """One number of environment steps, or a table of them by task."""
    values = steps.values() if isinstance(steps, dict) else [steps]
    if steps is None or all(isinstance(n, int) and not isinstance(n, bool) and 1 <= n <= MOST for n in values):
        return steps
    raise ValueError(f"expected a positive number of environment steps up to {MOST:,}, or a table of them by task")


def _flat(table: Any) -> Any:
    """Nested TOML tables by dotted names; anything else is returned for others to refuse."""
    return flat(table) if isinstance(table, dict) else table


Numbers = Annotated[
    tuple[Annotated[int, Field(ge=0, le=MOST, strict=True)], ...], BeforeValidator(numbers), Field(min_length=1)
]
Count = Annotated[int, Field(ge=1, le=MOST, strict=True)]
Names = Annotated[tuple[str, ...], BeforeValidator(_split), Field(min_length=1)]
Changes = Annotated[dict[str, Any], BeforeValidator(_flat)]
Sweep = Annotated[dict[str, Annotated[list[Any], Field(min_length=1)]], BeforeValidator(_flat)]


class Profile(BaseModel):
    """One experiment as it was written down; `benchmarks.plan.grid` resolves it to runs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    """The file's name without its ending; becomes a column of the results."""
    description: str = ""
    """One line for `ndi-bench profiles`."""
    tasks: Names
    """Names of tasks, tags of tasks (such as "paper") or "module:attribute"."""
    methods: Names
    """Names of methods or "module:attribute"."""
    seeds: Numbers = (0, 1, 2, 3, 4)
    """Seeds: a list, or text such as "0-4"."""
    demos: Annotated[tuple[Count, ...], BeforeValidator(numbers), Field(min_length=1)] = (1,)
    """Numbers of whole demonstrated trajectories."""
    draws: Numbers | None = None
    """Draws of demonstrations, each of which every seed learns from; default: every seed has the draw of its number.
    They tell how much of a spread is the demonstrations'."""
    subsample: Count = 1
    """Keep every k-th transition of a demonstration."""
    dataset: str = "embedded"
    """"embedded", "hub" or the id of a local Minari dataset."""
    steps: Annotated[int | dict[str, int] | None, BeforeValidator(_steps)] = None
    """Environment steps per run: one number, or a table by task; default: the task's own budget."""
    evaluations: Count = 10
    """Scheduled evaluations per run, evenly spaced; the last is at the end."""
    eval_episodes: Count = 10
    """Episodes per evaluation."""
    overrides: dict[str, Changes] = {}
    """Method -> changed settings by dotted names."""
    compare: dict[str, Names] = {}
    """Method -> methods that it is to be compared with: planned before the runs, tested together. Reports show it for
    the suite's own profiles; for others `ndi-bench compare --method A,B --against C,D` does."""
    sweep: dict[str, Sweep] = {}
    """Method -> lists of values of settings by dotted names; every combination becomes runs of its own."""

    def changed(self, **changes: Any) -> Profile:
        """This profile with fields replaced where the value is not None; validated anew.

        Raises:
            UserError: a value does not fit; names the option.
        """
        given = {key: value for key, value in changes.items() if value is not None}
        return _validated({**self.model_dump(), **given}, lambda field: f"--{field.replace('_', '-')}")

    def with_settings(self, changes: Sequence[str]) -> Profile:
        """This profile with overrides written as METHOD.FIELD=VALUE; values are read as TOML, else as plain text.

        Raises:
            UserError: a change is written otherwise.
        """
        overrides = {method: dict(fields) for method, fields in self.overrides.items()}
        for change in changes:
            name, equals, text = change.partition("=")
            method, dot, field = name.strip().partition(".")
            if not equals or not dot:
                raise UserError(f"--set {change}: it must be METHOD.FIELD=VALUE, such as bc.fit.steps=1000")
            try:
                value = tomllib.loads(f"value = {text}")["value"]
            except (ValueError, RecursionError):
                value = text.strip()
            overrides.setdefault(method, {})[field] = value
        return self.changed(overrides=overrides or None)


def names() -> list[str]:
    """Names of the suite's own profiles."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load(name_or_path: str) -> Profile:
    """The profile of a name, or in a TOML file.

    Raises:
        UserError: there is no such profile, or the file has a mistake; names the file, the field and what is allowed.
    """
    is_path = name_or_path.endswith(".toml") or "/" in name_or_path
    path = Path(name_or_path) if is_path else FOLDER / f"{name_or_path}.toml"
    if not is_path and name_or_path not in names():
        raise UserError(f"unknown profile {name_or_path}: {near_miss(name_or_path, names())}; or give a .toml file")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"profile {path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:  # no TOML, no UTF-8, a number of too many digits, too deep a list
        raise UserError(f"profile {path} is no TOML: {error}") from None
    if "name" in content:
        raise UserError(f"profile {path}: name is not allowed; a profile is named after its file")
    return _validated({"name": path.stem, **content}, lambda field: f"profile {path}: {field}")


def chosen(profile: str | Profile | None, **changes: Any) -> Profile:
    """A profile with some fields changed: one that is given, or one put together from tasks and methods alone.

    Args:
        profile: a profile, or what `load` finds it by. Default: "quick", or none of them if tasks and methods are
            given.
        changes: as `Profile.changed` takes them.

    Raises:
        UserError: there is no such profile, a value does not fit, or tasks or methods are missing.
    """
    if profile is None and (changes.get("methods") or changes.get("tasks")):
        for needed in ("methods", "tasks"):
            if not changes.get(needed):
                raise UserError(f"--{needed} is missing; give it, or begin from a profile with --profile NAME")
        profile = Profile(name=CUSTOM, tasks=("-",), methods=("-",), seeds=(0,))
    return (profile if isinstance(profile, Profile) else load("quick" if profile is None else profile)).changed(
        **changes
    )


def _validated(content: Mapping[str, Any], where: Any) -> Profile:
    """The profile of some content; `where` says how the message names a field."""
    try:
        return Profile.model_validate(content)
    except ValidationError as error:
        fault = error.errors()[0]
    field = ".".join(part for part in fault["loc"] if isinstance(part, str))
    if fault["type"] == "extra_forbidden":
        fields = [name for name in Profile.model_fields if name != "name"]
        raise UserError(f"{where(field)} is no field of a profile: {near_miss(field, fields)}")
    if fault["type"] == "missing":
        raise UserError(f"{where(field)} is missing")
    message = _WORDS.get(fault["type"], fault["msg"]).format(**fault.get("ctx", {})).removeprefix("Value error, ")
    raise UserError(f"{where(field)}: {message[0].lower()}{message[1:]} (given: {fault['input']!r:.80})")
