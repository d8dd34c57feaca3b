"""Published results, transcribed in `papers.toml`: what a paper's table gives, and where its numbers come from."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any


@dataclass(frozen=True)
class Paper:
    """Published results of one table of one paper."""

    title: str
    citation: str
    source: str
    """Where the numbers come from; stands wherever one of them is shown."""
    beside_ours: bool
    """Shown line by line in our own tables, since the setting is the one we reproduce."""
    demos: int
    environments: Sequence[str]
    rows: Mapping[str, Sequence[Sequence[float]]]
    """Method -> one [mean] or [mean, spread] per environment."""
    differences: Sequence[str] = ()
    """In what its setting is known to differ from ours."""

    def values(self, method: str, environment: str) -> Sequence[float] | None:
        """[mean] or [mean, spread] of a method, None if the paper has none."""
        if method not in self.rows or environment not in self.environments:
            return None
        return self.rows[method][self.environments.index(environment)]


@cache
def papers() -> tuple[Paper, ...]:
    """All transcribed papers."""
    return tuple(Paper(**paper) for paper in _transcribed()["papers"].values())


def label(method: str) -> str:
    """How a method of a paper is called."""
    return str(_transcribed()["labels"][method])


@cache
def _transcribed() -> dict[str, dict[str, Any]]:
    return tomllib.loads(files(__package__).joinpath("papers.toml").read_text(encoding="utf-8"))
