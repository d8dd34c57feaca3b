"""SQIL: soft Q imitation learning (Reddy et al., arXiv 1905.11108) on the shared SAC.

    r = 1 on demonstrated transitions, r = 0 on the agent's own; half of every batch each.

The reward says whose transition it is, not what it is worth, so that the agent is drawn back to demonstrated states.
As long as V >= 0, a reward that is never negative favours long episodes, as GAIL's does; the terminal value is 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from benchmarks.kit.contract import Method, Problem, Progress
from benchmarks.kit.replay import Batch, Experience
from benchmarks.kit.sac import SAC, SACConfig
from benchmarks.kit.standardiser import Standardiser


@dataclass(frozen=True)
class SQILConfig:
    """Settings of SQIL."""

    expert_reward: float = 1.0
    """Reward of a demonstrated transition (paper, acme)."""
    agent_reward: float = 0.0
    """Reward of the agent's own transition (paper, acme)."""
    sac: SACConfig = field(default_factory=lambda: SACConfig(demonstration_fraction=0.5))
    """The shared learner; half of every batch are demonstrated transitions (paper, acme)."""


def rewards(batch: Batch, demonstrated: int, config: SQILConfig) -> Tensor:
    """Reward column (L, B) of a batch whose first `demonstrated` transitions are the expert's."""
    column = torch.full_like(batch.rewards, config.agent_reward)
    column[:, :demonstrated] = config.expert_reward
    return column


def train(problem: Problem, config: SQILConfig) -> Iterator[Progress]:
    """Learn from constant rewards."""
    standardise = Standardiser.from_demonstrations(problem)
    learner = SAC(problem, config.sac, standardise)
    experience = Experience(problem, standardise, config.sac.batch_size, config.sac.demonstration_fraction)
    if not problem.keep(learner=learner, experience=experience):
        learner.begin(problem, experience.demonstrations)
    info: dict[str, Tensor] = {}
    for updates in learner.interact(problem, experience):
        for _ in range(updates):
            batch = experience.sample()
            info = learner.update(batch._replace(rewards=rewards(batch, experience.demonstrated, config)))
        yield Progress(learner.updates, learner.deployed, info)


METHOD = Method(
    name="sqil",
    label="SQIL",
    summary="Soft Q imitation: reward 1 on demonstrations and 0 elsewhere, half of every batch each, on the shared SAC",
    source="Reddy et al., arXiv 1905.11108",
    train=train,
    config=SQILConfig(),
    cost=lambda config: config.sac.cost,
)
