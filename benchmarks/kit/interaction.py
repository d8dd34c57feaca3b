"""The loop every online method shares: one environment step of all lanes per item."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Protocol

import torch
from torch import Tensor

from .composite import Composite
from .contract import Problem, Transition


class Memory(Protocol):
    """Whatever stores the transitions."""

    def add(self, transition: Transition) -> None:
        """Store one environment step of every lane."""
        ...


class NextActions(Composite):
    """Actions (L, A) that were chosen before the updates, until they are taken.

    They are state: their noise has been drawn, so that a resumed run must take the same.
    """

    state = ("actions",)
    actions: Tensor | None = None


def interact(
    problem: Problem,
    explore: Callable[[Tensor], Tensor],
    memory: Memory,
    warmup: int,
    updates_per_step: int = 1,
    learning_starts: int | None = None,
    ahead: bool | None = None,
) -> Iterator[int]:
    """Step the environments until the budget is spent; after each step yield the number of updates that are due.

    Args:
        problem: the cell; its environments are stepped.
        explore: raw observations (L, 1, d) -> actions (L, 1, A) in [-1, 1].
        memory: receives every transition.
        warmup: environment steps with uniformly random actions. At most a tenth of the budget is spent so, which
            keeps very short runs meaningful.
        updates_per_step: updates due per environment step once learning has started.
        learning_starts: the first updates are due after the step that follows so many; default: the warm-up.
        ahead: choose the next actions before the updates instead of after them, so that the processor simulates while
            the device is still learning; who acts is then one round of updates behind. Default: on CUDA, where a
            call of the learner returns before its work is done.

    Yields:
        0 before learning starts, `updates_per_step` afterwards.
    """
    environments, following = problem.environments, NextActions()
    ahead = problem.device.type == "cuda" if ahead is None else ahead
    streams = problem.streams("warm-up")
    problem.keep(warmup=streams, **({"following": following} if ahead else {}))
    warmup = min(warmup, problem.budget // 10)
    learning_starts = warmup if learning_starts is None else min(learning_starts, problem.budget // 10)

    def choose() -> Tensor:
        observations = torch.as_tensor(environments.observations, dtype=torch.float32, device=problem.device)
        return explore(observations.unsqueeze(1)).squeeze(1).cpu()

    while environments.steps < problem.budget:
        if environments.steps < warmup:
            actions = (streams.uniform(problem.action_size) * 2 - 1).cpu()
        else:
            actions = choose() if following.actions is None else following.actions
        memory.add(environments.step(actions.numpy()))
        updates = updates_per_step if environments.steps > learning_starts else 0
        # not before the first updates, at which a method may still fit what its policy needs
        settled = environments.steps > max(warmup, learning_starts + 1)
        following.actions = choose() if ahead and settled else None
        yield updates
