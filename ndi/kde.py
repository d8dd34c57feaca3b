"""Kernel density estimate: the trivial reference, an isotropic Gaussian on every demonstrated (s, a).

Its bandwidth is the noise level with which MADE is fitted, so that both estimate the same smoothed density
q * N(0, sigma^2); the energy model has a wider level, too. With one level the estimate is the exact minimiser of the
denoising objective on the demonstrations themselves (Vincent 2011), to which an energy model that does not generalise
would come down.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchmarks.kit.bounds import Count
from benchmarks.kit.contract import Problem, Reward
from benchmarks.kit.replay import Replay
from benchmarks.kit.streams import Streams

from .density import Density, DensityConfig, log_density_reward


@dataclass(frozen=True)
class KDEConfig(DensityConfig):
    """Settings of the kernel density estimate; `noise` is the bandwidth, `fit` is not used."""

    most_centres: Count = 4096
    """Of more demonstrated transitions than this, so many evenly spread ones are taken: a batch costs as much."""

    def build(self, problem: Problem) -> KDE:
        """An estimate without centres for every lane."""
        return KDE(problem, self)


class KDE(Density):
    """log mean_i mean_k N(x; x_i, sigma_k^2 I) over demonstrated x_i and noise levels sigma_k; nothing is trained."""

    centres: Tensor
    """(L, N, D)."""
    log_weights: Tensor
    """(L, 1, N): minus the log of the lane's number of centres, minus infinity where a lane has fewer than N."""

    def __init__(self, problem: Problem, config: KDEConfig) -> None:
        super().__init__(problem, config)
        self.kde = config
        self.register_buffer("centres", torch.zeros(problem.lanes, 1, self.size, device=problem.device))
        self.register_buffer("log_weights", torch.zeros(problem.lanes, 1, 1, device=problem.device))

    def fit(self, problem: Problem, demonstrations: Replay) -> list[dict[str, Tensor]]:
        """Take the demonstrations as centres; no losses, since there is nothing to minimise."""
        self.drop_constant(demonstrations)
        sizes = demonstrations.sizes[:, None]
        numbers = sizes.clamp(max=self.kde.most_centres)
        row = torch.arange(int(numbers.max()), device=problem.device)[None]
        chosen = demonstrations.take(torch.minimum(row * sizes // numbers, sizes - 1))
        self.centres = self.inputs(chosen.observations, chosen.actions)
        self.log_weights = torch.where(row < numbers, -numbers.float().log(), -torch.inf)[:, None]
        return []

    def log_density_of(self, x: Tensor) -> Tensor:
        """Normalised log density of the dimensions that are kept, (L, B)."""
        lengths = x.square().sum(-1, keepdim=True) + self.centres.square().sum(-1).unsqueeze(1)
        # one product; its rounding (about 1e-6 |x|^2) is far below the bandwidth
        square = torch.baddbmm(lengths, x, self.centres.mT, alpha=-2).clamp(min=0)
        size = self.kept.sum(-1)
        levels = [
            torch.logsumexp(self.log_weights - 0.5 * square / level**2, dim=-1)
            - size * math.log(level * math.sqrt(2 * math.pi))
            for level in self.kde.noise
        ]
        return torch.logsumexp(torch.stack(levels), dim=0) - math.log(len(levels))

    def loss_of(self, x: Tensor, streams: Streams) -> Tensor:
        """Negative log density (L, B); not minimised by anything."""
        return -self.log_density_of(x)

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False) -> Any:
        """Restore what `state_dict` gave, whatever its number of centres."""
        self.centres = torch.zeros_like(state_dict["centres"], device=self.centres.device)
        self.log_weights = torch.zeros_like(state_dict["log_weights"], device=self.centres.device)
        return super().load_state_dict(state_dict, strict, assign)


REWARD = Reward(
    name="kde",
    label="KDE",
    summary="Gaussian kernel on every demonstrated transition",
    source="Parzen, 1962",
    fit=log_density_reward,
    config=KDEConfig(),
    normalised=True,
)
