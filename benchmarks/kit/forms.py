"""Which form of a learner's step a cell takes where its settings leave it to the machine ("auto").

A form is a matter of speed: it changes the last bits of a step (bfloat16: digits from the third on), not what a run is,
so that runs are the same run in any form, and their records say which it was. The fastest form pays from `PAYS` updates
of a lane on; shorter cells stay plain. Which one it is on a machine is found by `examination`, and kept in the user's
cache folder, per processor, torch version and compiler.
"""

from __future__ import annotations

import dataclasses
import json
import os
import platform
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypeVar

Precision = Literal["float32", "tf32", "bfloat16"]
"""Precisions of hidden layers; losses, parameters and optimisers are always single precision."""
PAYS = 20_000
"""Updates of a lane from which a compiled step saves more time than its compilation takes."""

Config = TypeVar("Config")


@dataclass(frozen=True)
class Form:
    """How a learner's step is carried out; the default is plain PyTorch."""

    compile: bool = False
    precision: Precision = "float32"

    def __str__(self) -> str:
        parts = ["compiled"] * self.compile + [self.precision] * (self.precision != "float32")
        return ", ".join(parts) or "plain"


@dataclass(frozen=True, kw_only=True)
class StepConfig:
    """Settings of how a learner carries out its steps; its config inherits them."""

    compile: bool | Literal["auto"] = "auto"
    """Compile the update with torch.compile (needs a C++ compiler, and time at the start). "auto": in cells of 20,000
    updates or more, where the machine can; false: a plain step, to the last bit."""
    precision: Precision | Literal["auto"] = "auto"
    """Precision of hidden layers: "float32", "tf32" (CUDA) or "bfloat16" (CUDA, and CPUs that have it). "auto":
    bfloat16 where that is faster, under the conditions of `compile`."""

    def expected_updates(self, budget: int) -> int:
        """Updates of a lane in a cell of so many environment steps."""
        raise NotImplementedError

    def step_cost(self, products: float) -> float:
        """Cost of an update with so much work in its products, both relative to a plain one of SAC, for estimates only.

        A measured split: 40 % does not depend on sizes, of which compilation saves a good half, and 60 % grows with the
        products, of which bfloat16 saves two fifths.
        """
        fixed = 0.15 if self.compile is True else 0.4
        return fixed + (0.36 if self.precision == "bfloat16" else 0.6) * products

    def form(self, budget: int, best: Callable[[], Form]) -> Form:
        """How a cell of so many environment steps carries its updates out.

        Args:
            budget: environment steps.
            best: the machine's fastest form, asked for if it matters.
        """
        auto, left_open = Form(), "auto" in (self.compile, self.precision)
        if left_open and self.compile is not False and self.expected_updates(budget) >= PAYS:
            auto = best()
        return Form(
            auto.compile if self.compile == "auto" else self.compile,
            auto.precision if self.precision == "auto" else self.precision,
        )


def settled(config: Config, budget: int, best: Callable[[], Form]) -> Config:
    """A config, with all its parts, with every "auto" replaced by what a cell of so many environment steps takes."""
    if not dataclasses.is_dataclass(config) or isinstance(config, type):
        return config
    parts = {field.name: getattr(config, field.name) for field in dataclasses.fields(config)}
    changed = {name: settled(value, budget, best) for name, value in parts.items() if dataclasses.is_dataclass(value)}
    if isinstance(config, StepConfig):
        changed |= dataclasses.asdict(config.form(budget, best))
    return dataclasses.replace(config, **changed)


def is_compiled(config: Any) -> bool:
    """Whether a settled config, or a part of it, has its updates compiled."""
    if isinstance(config, StepConfig):
        return config.compile is True
    values = [getattr(config, field.name) for field in dataclasses.fields(config)]
    return any(is_compiled(value) for value in values if dataclasses.is_dataclass(value))


def assumed() -> Form:
    """The fastest form as far as it is known without examining the machine, for estimates."""
    return kept().get(machine()) or Form(compile=_compiler() is not None)


def cache_folder() -> Path:
    """The suite's folder in the user's cache; the environment variable `XDG_CACHE_HOME` says where that is."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "ndi-bench"


def machine() -> str:
    """What the fastest form depends on."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    kinds = sorted({line for line in lines if line.startswith(("model name", "model\t", "stepping"))})
    processor = " ".join(kind.partition(":")[2].strip() for kind in kinds) or platform.processor()
    return f"{processor}; torch {version('torch')}; {_compiler() or 'no compiler'}"


def _compiler() -> str | None:
    """The C++ compiler that torch would call."""
    return shutil.which(os.environ.get("CXX") or "g++") or shutil.which("clang++")


def kept() -> dict[str, Form]:
    """What was found on machines that share this cache folder."""
    try:
        content = json.loads((cache_folder() / "forms.json").read_text())
        return {machine: Form(**form) for machine, form in content.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def keep(forms: Mapping[str, Form]) -> None:
    """Write what was found, whole or not at all; where the folder cannot be written to, it is found anew next time."""
    path = cache_folder() / "forms.json"
    part = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        part.write_text(json.dumps({machine: dataclasses.asdict(form) for machine, form in forms.items()}, indent=1))
        part.replace(path)
    except OSError:
        return
