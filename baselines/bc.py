"""Behavioural cloning: maximise E_demonstrations[log pi(a|s)] of a tanh-Gaussian policy, or fit its mean.

With weight decay BC is a strong baseline on whole trajectories (arXiv 2202.02468). Held-out loss is a poor guide to the
return, though: on Hopper it is lowest within 2,000 steps, when the policy still falls (profile `bc-tuning`). So nothing
is held out by default, and the policy is that of the last step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from benchmarks.kit.bounds import Sizes
from benchmarks.kit.contract import Method, Problem, Progress
from benchmarks.kit.errors import UserError
from benchmarks.kit.fitting import FitConfig, fit, with_prior
from benchmarks.kit.networks import TanhGaussianPolicy
from benchmarks.kit.replay import Batch, demonstration_replay
from benchmarks.kit.standardiser import Standardiser


@dataclass(frozen=True)
class BCConfig:
    """Settings of behavioural cloning."""

    objective: Literal["likelihood", "squared error"] = "likelihood"
    """"likelihood" (tanh-Gaussian negative log likelihood; value_dice) or "squared error" of the deterministic action
    (acme), which leaves the standard deviation as it was drawn."""
    hidden: Sizes = (256, 256)
    """Hidden ReLU units (value_dice)."""
    fit: FitConfig = field(default_factory=lambda: FitConfig(10_000, 256, 3e-4, 1.0, 0.0, 200))
    """Optimisation: batch of value_dice; steps, decay and no early stopping by trial (profile `bc-tuning`). The
    decay is that for one demonstration, n of them have an n-th of it: a prior on the weights counts once."""


def loss(policy: TanhGaussianPolicy, batch: Batch, objective: str) -> Tensor:
    """Loss (L, B) of demonstrated transitions."""
    if objective == "likelihood":
        return -policy.log_density(batch.observations, batch.actions)
    if objective == "squared error":
        return (torch.tanh(policy(batch.observations)[0]) - batch.actions).square().sum(-1)
    raise UserError(f'bc: objective must be "likelihood" or "squared error", not "{objective}"')


def train(problem: Problem, config: BCConfig) -> Iterator[Progress]:
    """Fit the policy; yields after every `fit.check_every` steps, and last the weights that are kept."""
    standardise = Standardiser.from_demonstrations(problem)
    policy = TanhGaussianPolicy(problem.streams("actor"), standardise, problem.action_size, config.hidden)
    demonstrations = demonstration_replay(problem, standardise)
    updates, info = 0, {}
    settings = with_prior(config.fit, problem)
    looks = fit(
        problem, policy, lambda batch, _: loss(policy, batch, config.objective), demonstrations, settings, "cloning"
    )
    for info in looks:
        updates = min(updates + config.fit.check_every, config.fit.steps)
        yield Progress(updates, policy, info)
    yield Progress(updates, policy, info)


METHOD = Method(
    name="bc",
    label="BC",
    summary="Behavioural cloning by maximum likelihood, with weight decay",
    source="Pomerleau, 1991; settings after arXiv 2202.02468",
    train=train,
    config=BCConfig(),
    online=False,
)
