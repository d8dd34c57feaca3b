"""The paper's imitation metric: KL(pi || pi_E), averaged over the states that the learner visits, in closed form.

Both policies are Gaussians u ~ N(mu, diag(sigma^2)) squashed by the same tanh. The KL divergence does not change under
a common bijection, so it is that of the two Gaussians. The scale of the metric is a random policy's own, for
actions uniform in [-1, 1]; with u = atanh(a) uniform actions are logistic with E[u] = 0, E[u^2] = pi^2 / 12, and
E[log(1 - a^2)] = 2 log 2 - 2.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchmarks.kit.contract import TanhGaussian

CHUNK = 65536
"""States per lane and forward pass: bounds the memory on tasks with many observations."""


def gaussian_kl(mean: Tensor, log_std: Tensor, other_mean: Tensor, other_log_std: Tensor) -> Tensor:
    """KL(N(mean, std^2) || N(other_mean, other_std^2)) of diagonal Gaussians, all (..., A) -> (...), in nats."""
    ratio = (2 * (log_std - other_log_std)).exp()
    distance = (mean - other_mean).square() * (-2 * other_log_std).exp()
    return (other_log_std - log_std + 0.5 * (ratio + distance - 1)).sum(-1)


def uniform_kl(mean: Tensor, log_std: Tensor) -> Tensor:
    """KL(uniform on [-1, 1]^A || tanh-Gaussian), both arguments (..., A) -> (...), in nats."""
    cross = log_std + 0.5 * math.log(2 * math.pi) + 0.5 * (math.pi**2 / 12 + mean.square()) * (-2 * log_std).exp()
    return (cross + 2 * math.log(2) - 2 - math.log(2)).sum(-1)


@torch.no_grad()
def mean_kl(policy: TanhGaussian, expert: TanhGaussian, observations: Tensor, visited: Tensor) -> tuple[Tensor, Tensor]:
    """Compare a policy with the expert at the states of evaluation episodes.

    Args:
        policy: one network per lane.
        expert: the same for all lanes.
        observations: raw observations (L, E, T, d).
        visited: (L, E, T) bool: which of them belong to an episode.

    Returns:
        KL(pi || pi_E) and KL(uniform || pi_E), the metric's scale, in nats: means over each episode's states, (L, E).
    """
    rows = observations.flatten(1, 2)
    own, scale = [], []
    for chunk in rows.split(CHUNK, dim=1):
        mean, log_std = expert.latent(chunk)
        own.append(gaussian_kl(*policy.latent(chunk), mean, log_std))
        scale.append(uniform_kl(mean, log_std))

    def over_episodes(values: list[Tensor]) -> Tensor:
        each = torch.cat(values, dim=1).view(visited.shape)
        return torch.where(visited, each, 0.0).double().sum(-1) / visited.sum(-1)

    return over_episodes(own), over_episodes(scale)
