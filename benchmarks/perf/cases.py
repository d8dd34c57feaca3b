"""Cells of HalfCheetah's size without simulation: what learns is timed, what it learns does not matter."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import torch

from benchmarks.kit.contract import Method, Problem, Progress, Transition
from benchmarks.kit.demonstrations import Demonstrations
from benchmarks.kit.errors import UserError
from benchmarks.kit.replay import Batch
from benchmarks.plan import registry
from benchmarks.plan.configuration import configure, settings
from benchmarks.terminal import counted

OBSERVATIONS, ACTIONS = 17, 6
BUDGET = 2000
"""Environment steps of a cell, too few for anything but plain steps."""
LONG = 50_000
"""Those of a cell whose steps are as fast as the machine can."""
PERIOD = 4
"""Environment steps timed together: the actor learns at every second update, a discriminator at every fourth."""
FIT_STEPS = 20
"""Steps of what an online method fits before it learns: that is timed elsewhere."""


class ImaginaryEnvironments:
    """Transitions drawn beforehand, so that a step costs nothing (contract.Environments)."""

    def __init__(self, lanes: int, observation_size: int, budget: int, privileged: bool) -> None:
        generator = np.random.default_rng(0)
        self.budget, self.steps = budget, 0
        self._observations = generator.standard_normal((1024, lanes, observation_size)).astype(np.float32)
        self._never = np.zeros(lanes, dtype=bool)
        self._rewards = np.full(lanes, 1.0 if privileged else np.nan, dtype=np.float32)

    @property
    def observations(self) -> np.ndarray:
        """(L, d) float32."""
        return self._observations[self.steps % 1024]

    def step(self, actions: np.ndarray) -> Transition:
        """The next transition drawn, whatever the actions (L, A)."""
        before = self.observations
        self.steps += 1
        return Transition(before, actions, self.observations, self._never, self._never, self._rewards)


def problem(
    lanes: int, observation_size: int = OBSERVATIONS, budget: int = BUDGET, privileged: bool = False
) -> Problem:
    """A cell with one imaginary demonstration of 1,000 steps per lane."""
    return Problem(
        task="halfcheetah",
        seeds=tuple(range(lanes)),
        observation_size=observation_size,
        action_size=ACTIONS,
        demonstrations=tuple(_demonstrations(lane, observation_size) for lane in range(lanes)),
        environments=ImaginaryEnvironments(lanes, observation_size, budget, privileged),
        budget=budget,
        device=torch.device("cpu"),
    )


def batch(lanes: int, size: int, observation_size: int = OBSERVATIONS) -> Batch:
    """Random standardised transitions (L, B = size)."""
    states, following = torch.randn(2, lanes, size, observation_size)
    actions = torch.rand(lanes, size, ACTIONS) * 2 - 1
    return Batch(states, actions, following, torch.rand(lanes, size), torch.ones(lanes, size))


def learners() -> list[str]:
    """Names of the installed methods that learn: all but the reference rows."""
    installed = {name: method for name, method in registry.methods().items() if not isinstance(method, UserError)}
    return sorted(name for name, method in installed.items() if method.online or method.demonstrations)


def training(method: Method, budget: int = BUDGET) -> Iterator[Progress]:
    """A method under way in a cell of imaginary environments, just past its first update."""
    config = method.config
    if method.online:
        fits = [
            name for name, value in settings(config).items() if value and name.endswith(("fit.steps", "sac.cloned"))
        ]
        config = configure(config, dict.fromkeys(fits, FIT_STEPS))
    progress = method.train(problem(1, budget=budget, privileged=method.privileged), config)
    while not next(progress).updates:
        pass
    return progress


def advance(progress: Iterator[Progress], items: int = PERIOD) -> Callable[[], int]:
    """A function that takes a method so many items further and returns its updates so far."""

    def further() -> int:
        for _ in range(items - 1):
            next(progress)
        return next(progress).updates

    return further


def lane_name(lanes: int) -> str:
    """The name of a benchmark with so many lanes."""
    return counted(lanes, "lane")


def _demonstrations(seed: int, observation_size: int) -> Demonstrations:
    """One episode of slowly varying states and actions."""
    steps = 1000
    generator = np.random.default_rng(seed)
    path = generator.standard_normal((steps + 1, observation_size + ACTIONS)).astype(np.float32)
    for step in range(1, steps + 1):
        path[step] = 0.9 * path[step - 1] + 0.1 * path[step]
    states, actions = path[:, :observation_size], np.tanh(path[:-1, observation_size:])
    nowhere = np.zeros(steps, dtype=bool)
    return Demonstrations(states[:-1], actions, states[1:], nowhere, np.zeros(steps, int), (0,), np.zeros(1))
