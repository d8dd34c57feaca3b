"""The task table: environment, demonstrations, budget and measured reference returns of every task. Data, frozen.

A task of one's own is a `Task` object of one's own; nothing here needs to be edited. The reference returns of the
suite's tasks are measured, not quoted (`benchmarks.data.publishing`), and shipped in `references.json`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from benchmarks.kit.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike

REFERENCES = Path(__file__).with_name("references.json")
"""Measured returns of the random and the expert policy, per task, with standard errors and versions."""

MINARI_ID = re.compile(r"([-\w]{2,}/)*[-\w]+-v\d+")
"""How the id of a Minari dataset is written: NAMESPACE/NAME-vN."""


@dataclass(frozen=True)
class Task:
    """One task as the suite knows it.

    Raises:
        ValueError: the budget is no positive whole number, the cost no positive number, or the random and the expert
            return are the same.
    """

    name: str
    """Registry name: lower case, words joined by hyphens; used in run ids and on the command line."""
    env_id: str
    """Gymnasium id; the environment needs flat Box spaces, bounded actions and a time limit."""
    hub_dataset: str | None = None
    """Id of the official Minari dataset, for `--dataset hub`."""
    embedded_dataset: str | None = None
    """Id under which the dataset of the shipped expert is built, for `--dataset embedded`."""
    budget: int = 150_000
    """Default number of environment steps per run."""
    tags: tuple[str, ...] = ()
    """Groups that profiles select by: "paper" (the paper's five tasks), "quick" (learnt within minutes),
    "gate" (within seconds)."""
    cost: float = 1.0
    """Cost of a step of plain SAC on it, with its larger networks and slower simulation, where one on Hopper costs 1;
    for estimates."""
    random_return: float = math.nan
    """Mean undiscounted return of uniformly random actions; NaN if not measured."""
    expert_return: float = math.nan
    """Mean undiscounted return of the expert as it collects demonstrations (stochastic); NaN if not measured."""

    def __post_init__(self) -> None:
        if not isinstance(self.budget, int) or self.budget < 1:
            raise ValueError(f"the budget of task {self.name} must be a positive whole number, it is {self.budget!r}")
        if not 0 < self.cost < math.inf:
            raise ValueError(f"the cost of task {self.name} must be a positive number, it is {self.cost!r}")
        if self.random_return == self.expert_return:
            raise ValueError(f"task {self.name} has the same random and expert return, so no score can be normalised")

    def dataset_id(self, choice: str) -> str:
        """Minari id of a choice of demonstrations: "embedded", "hub", or an id, which stands for itself.

        Raises:
            UserError: the task has no such dataset, or the choice is no Minari id.
        """
        if choice == "embedded":
            if self.embedded_dataset is None:
                raise UserError(f"task {self.name} has no embedded dataset; use --dataset NAMESPACE/NAME-vN")
            return self.embedded_dataset
        if choice == "hub":
            if self.hub_dataset is None:
                raise UserError(f"task {self.name} has no dataset on the Minari hub; use --dataset NAMESPACE/NAME-vN")
            return self.hub_dataset
        if not MINARI_ID.fullmatch(choice):
            raise UserError(f"{choice!r} is no dataset: use embedded, hub, or the id of a local one, NAMESPACE/NAME-vN")
        return choice

    def normalize(self, returns: ArrayLike) -> np.ndarray:
        """Scores of the same shape as `returns`: 0 is random, 1 is the expert; NaN while a reference is unknown."""
        import numpy as np  # the table itself needs none

        return (np.asarray(returns, dtype=np.float64) - self.random_return) / (self.expert_return - self.random_return)


def read_references(path: Path = REFERENCES) -> dict[str, dict[str, Any]]:
    """What `benchmarks.data.publishing` stored, by task name; empty if nothing was measured yet."""
    return json.loads(path.read_text()) if path.exists() else {}


_REFERENCES = read_references()


def _measured(name: str, env_id: str, tag: str, budget: int, hub_dataset: str | None = None, cost: float = 1.0) -> Task:
    def mean(policy: str) -> float:
        return float(_REFERENCES.get(name, {}).get(policy, {}).get("mean", math.nan))

    return Task(
        name=name,
        env_id=env_id,
        hub_dataset=hub_dataset,
        embedded_dataset=f"ndi/{name}/expert-v0",
        budget=budget,
        tags=(tag,),
        cost=cost,
        random_return=mean("random"),
        expert_return=mean("expert"),
    )


def _mujoco(name: str, robot: str, tag: str, budget: int, cost: float = 1.0) -> Task:
    return _measured(name, f"{robot}-v5", tag, budget, f"mujoco/{robot.lower()}/expert-v0", cost)


TASKS: Mapping[str, Task] = MappingProxyType(
    {
        task.name: task
        for task in (
            _mujoco("hopper", "Hopper", "paper", 150_000),
            _mujoco("halfcheetah", "HalfCheetah", "paper", 150_000),
            _mujoco("walker2d", "Walker2d", "paper", 150_000),
            _mujoco("ant", "Ant", "paper", 150_000, cost=1.3),
            _mujoco("humanoid", "Humanoid", "paper", 300_000, cost=2.5),
            _mujoco("inverted-pendulum", "InvertedPendulum", "quick", 10_000),
            _mujoco("inverted-double-pendulum", "InvertedDoublePendulum", "quick", 10_000),
            _measured("balance", "ndi/Balance-v0", "gate", 600),
        )
    }
)
"""The suite's tasks by name: the paper's five, the cheap ones, and the one of the gate."""
