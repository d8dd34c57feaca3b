"""Behavioural cloning: fit a tanh-Gaussian policy to the demonstrated actions.

With weight decay BC is a strong baseline on whole trajectories (arXiv 2202.02468). Held-out loss is a poor guide to the
return, though: on Hopper it is lowest within 2,000 steps, when the policy still falls (see `results/bc-earlier`). So
nothing is held out by default, and the policy is that of the last step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from benchmarks.kit.bounds import Share, Sizes
from benchmarks.kit.contract import Method, Problem, Progress
from benchmarks.kit.fitting import FitConfig, fit, with_prior
from benchmarks.kit.networks import TanhGaussianPolicy, unsquashed
from benchmarks.kit.replay import Batch, demonstration_replay
from benchmarks.kit.standardiser import Standardiser


@dataclass(frozen=True)
class BCConfig:
    """Settings of behavioural cloning."""

    beta: Share = 1.0
    """beta of `loss`: 0 is maximum likelihood (value_dice), 1 the squared error of the action tanh(mu) (acme) to first
    order, with a standard deviation fitted beside it; by trial (profile `bc-tuning`)."""
    hidden: Sizes = (256, 256)
    """Hidden ReLU units (value_dice)."""
    fit: FitConfig = field(default_factory=lambda: FitConfig(10_000, 256, 3e-4, 1.0, 0.0, 200))
    """Optimisation: batch of value_dice; decay by trial (profile `bc-tuning`), steps and no early stopping by earlier
    ones (`results/bc-earlier`). The decay is that for one demonstration, n of them have an n-th of it: a prior on the
    weights counts once."""


def loss(policy: TanhGaussianPolicy, batch: Batch, beta: float) -> Tensor:
    """Negative log likelihood (L, B), every dimension weighted by the action's own standard deviation to the 2 beta.

    sum_i stopgrad(s_i^(2 beta)) (log sigma_i + (u_i - mu_i)^2 / (2 sigma_i^2)), where u = atanh(a), and s = sigma (1 -
    tanh(mu)^2) is what sigma means for a = tanh(u), to first order. The likelihood alone attends to where sigma is
    small and neglects the rest: this is the beta-NLL of Seitzer et al. (arXiv 2203.09168), with the deviation of a for
    that of u. At beta = 1 the gradient of mu is that of (a - tanh(mu))^2 / 2, to first order.

    Args:
        policy: what is fitted.
        batch: standardised demonstrated transitions (L, B).
        beta: in [0, 1]; 0 leaves the gradient of the likelihood.
    """
    mean, log_std = policy(batch.observations)
    std = log_std.exp()
    deviation = (std * (1 - torch.tanh(mean).square())).detach()
    return (deviation ** (2 * beta) * (log_std + ((unsquashed(batch.actions) - mean) / std).square() / 2)).sum(-1)


def train(problem: Problem, config: BCConfig) -> Iterator[Progress]:
    """Fit the policy; yields after every `fit.check_every` steps, and last the weights that are kept."""
    standardise = Standardiser.from_demonstrations(problem)
    policy = TanhGaussianPolicy(problem.streams("actor"), standardise, problem.action_size, config.hidden)
    demonstrations = demonstration_replay(problem, standardise)
    updates, info = 0, {}
    settings = with_prior(config.fit, problem)
    cloning = fit(
        problem, policy, lambda batch, _: loss(policy, batch, config.beta), demonstrations, settings, "cloning"
    )
    for info in cloning:
        updates = min(updates + config.fit.check_every, config.fit.steps)
        yield Progress(updates, policy, info)
    yield Progress(updates, policy, info)


METHOD = Method(
    name="bc",
    label="BC",
    summary="Behavioural cloning by squared error or maximum likelihood, with weight decay",
    source="Pomerleau, 1991; settings after arXiv 2202.02468",
    train=train,
    config=BCConfig(),
    online=False,
    cost=lambda config: 0.2 * config.fit.steps * config.fit.batch_size / 256,
)
