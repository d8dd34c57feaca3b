"""The loop every online method shares: one environment step of all lanes per item."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Tensor

from .contract import Problem, Transition


class Memory(Protocol):
    """Whatever stores the transitions."""

    def add(self, transition: Transition) -> None:
        """Store one environment step of every lane."""
        ...


def interact(
    problem: Problem,
    explore: Callable[[Tensor], Tensor],
    memory: Memory,
    warmup: int,
    updates_per_step: int = 1,
    learning_starts: int | None = None,
) -> Iterator[int]:
    """Step the environments until the budget is spent; after each step yield the number of updates that are due.

    Args:
        problem: the cell; its environments are stepped.
        explore: raw observations (L, 1, d) -> actions (L, 1, A) in [-1, 1].
        memory: receives every transition.
        warmup: environment steps with uniformly random actions. At most a tenth of the budget is spent so, which
            keeps very short runs meaningful.
        updates_per_step: updates due per environment step once learning has started.
        learning_starts: environment steps before the first update; default: the warm-up.

    Yields:
        0 before learning starts, `updates_per_step` afterwards.
    """
    environments = problem.environments
    streams = problem.streams("warm-up")
    problem.keep(warmup=streams)
    warmup = min(warmup, problem.budget // 10)
    learning_starts = warmup if learning_starts is None else min(learning_starts, problem.budget // 10)
    while environments.steps < problem.budget:
        if environments.steps < warmup:
            actions = streams.uniform(problem.action_size) * 2 - 1
        else:
            observations = torch.as_tensor(environments.observations, dtype=torch.float32, device=problem.device)
            actions = explore(observations.unsqueeze(1)).squeeze(1)
        memory.add(environments.step(actions.cpu().numpy()))
        yield updates_per_step if environments.steps > learning_starts else 0
