"""Behavioural cloning: a policy's fit to the demonstrated actions, by itself (`baselines/bc.py`) or as a start."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from .contract import Problem
from .fitting import FitConfig, fit, with_prior
from .networks import TanhGaussianPolicy, unsquashed
from .replay import Batch, Replay
from .streams import Streams

FIT = FitConfig(10_000, 256, 3e-4, 1.0, 0.0, 200)
"""Optimisation: batch of value_dice; decay by trial (profile `bc-tuning`), steps and no early stopping by earlier ones
(`results/bc-earlier`). The decay is that for one demonstration, n of them have an n-th of it: a prior on the weights
counts once."""


def cloning_loss(policy: TanhGaussianPolicy, batch: Batch, beta: float) -> Tensor:
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


def clone(
    problem: Problem, policy: TanhGaussianPolicy, demonstrations: Replay, config: FitConfig = FIT, beta: float = 1.0
) -> Iterator[dict[str, Tensor]]:
    """Fit a policy to the demonstrated actions in place, but to none in absorbing states; yields as `fitting.fit`.

    Args:
        problem: the cell.
        policy: what is fitted.
        demonstrations: standardised rows.
        config: optimisation; its weight decay is that for one demonstration.
        beta: see `cloning_loss`.
    """

    def loss(batch: Batch, _: Streams) -> Tensor:
        rows = cloning_loss(policy, batch, beta)
        return rows * (1 - batch.observations[..., -1]) if policy.standardise.absorbing else rows

    return fit(problem, policy, loss, demonstrations, with_prior(config, problem), "cloning")
