"""Reference rows: a uniformly random policy, the expert behind the demonstrations, and SAC on the true reward."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from benchmarks.kit.bounds import Count, Positive
from benchmarks.kit.contract import Method, Problem, Progress
from benchmarks.kit.errors import UserError
from benchmarks.kit.replay import Experience
from benchmarks.kit.sac import SAC, SACConfig
from benchmarks.kit.standardiser import Standardiser
from benchmarks.kit.streams import Streams


@dataclass(frozen=True)
class NoConfig:
    """Nothing to set."""


class RandomPolicy:
    """Uniform actions from a stream of its own: the one policy whose evaluation is not deterministic."""

    def __init__(self, streams: Streams, action_size: int) -> None:
        self.streams, self.action_size = streams, action_size

    def act(self, observations: Tensor) -> Tensor:
        """Uniform actions (L, N, A) in [-1, 1]."""
        return self.streams.uniform(observations.shape[1], self.action_size) * 2 - 1


def train_random(problem: Problem, config: NoConfig) -> Iterator[Progress]:
    """Yield the random policy."""
    yield Progress(0, RandomPolicy(problem.streams("random policy"), problem.action_size))


def train_expert(problem: Problem, config: NoConfig) -> Iterator[Progress]:
    """Yield the expert policy; evaluated like every policy, by its deterministic action."""
    if problem.expert is None:
        raise RuntimeError("the bench lent no expert policy")
    yield Progress(0, problem.expert)


@dataclass(frozen=True)
class OracleConfig:
    """Settings of SAC on the true reward."""

    sac: SACConfig = field(default_factory=SACConfig)
    """The shared learner."""
    reward_scale: Positive = 1.0
    """Factor on the true reward."""
    standardise: bool = True
    """Standardise observations by their mean and standard deviation in the warm-up; off: raw observations."""
    observed: Count | None = None
    """Use this many dimensions of the observation, counted from the first; None: all. Positions and velocities, which
    come first, are all that the physics needs, while 78 contact forces of Ant only slow learning down."""
    steps_per_update: Count = 1
    """Environment steps per update (per `updates_per_step` of them), where steps are cheap."""


def train_sac(problem: Problem, config: OracleConfig) -> Iterator[Progress]:
    """Soft actor-critic on the task's own reward: checks the learner and trains experts; not an imitator.

    Raises:
        UserError: demonstrations are to be cloned, of which it has none.
    """
    if config.sac.cloned:
        raise UserError("sac has no demonstrations to clone: sac.sac.cloned must be 0")
    standardise = Standardiser.identity(problem, config.observed)
    learner = SAC(problem, config.sac, standardise)
    experience = Experience(problem, standardise, config.sac.batch_size)
    problem.keep(learner=learner, experience=experience)
    info: dict[str, torch.Tensor] = {}
    for updates in learner.interact(problem, experience):
        if problem.environments.steps % config.steps_per_update:
            updates = 0
        if config.standardise and updates and not learner.updates:
            experience.fit_standardiser()
        for _ in range(updates):
            batch = experience.sample()
            info = learner.update(batch._replace(rewards=config.reward_scale * batch.rewards))
        yield Progress(learner.updates, learner.deployed, info)


RANDOM = Method(
    name="random",
    label="Random",
    summary="Uniformly random actions",
    source="reference row",
    train=train_random,
    config=NoConfig(),
    demonstrations=False,
    online=False,
)

EXPERT = Method(
    name="expert",
    label="Expert",
    summary="The expert policy behind the demonstrations, evaluated by its deterministic action",
    source="reference row",
    train=train_expert,
    config=NoConfig(),
    demonstrations=False,
    online=False,
    privileged=True,
)

SAC_ORACLE = Method(
    name="sac",
    label="SAC (true reward)",
    summary="The shared learner on the true reward: an oracle that checks the learner and trains experts",
    source="Haarnoja et al., arXiv 1812.05905",
    train=train_sac,
    config=OracleConfig(),
    demonstrations=False,
    privileged=True,
    cost=lambda config: config.sac.cost / config.steps_per_update,
)
