"""Energy model log q(x) = -E(x) + const, fitted by score matching with a smooth network.

Two objectives, both without the normalising constant:
- denoising (Vincent 2011): match grad log q at x + sigma eps to the score of the noise kernel. Several levels are one
  mixture kernel, whose score is the target, so that a single energy is broad far from the data and sharp near them.
  With several levels the minimiser is not quite the score of the smoothed density, see `EBM.loss_of`.
- sliced, with variance reduction (Song et al., arXiv 1905.07088, eq. 8): E[v^T d/dx (v^T g) + |g|^2 / 2] with
  g = grad log q.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.kit.bounds import NonNegative, Sizes
from benchmarks.kit.contract import Problem, Reward
from benchmarks.kit.fitting import FitConfig
from benchmarks.kit.networks import MLP
from benchmarks.kit.replay import Replay
from benchmarks.kit.streams import Streams

from .density import Density, DensityConfig, NoiseLevels, log_density_reward


@dataclass(frozen=True)
class EBMConfig(DensityConfig):
    """Settings of the energy model."""

    hidden: Sizes = (256, 256)
    """Hidden units; softplus, since score matching needs second derivatives."""
    objective: Literal["denoising", "sliced"] = "denoising"
    """Form of score matching."""
    prior: NonNegative = 0.0
    """beta of a quadratic prior -beta |x|^2 / 2 in log q, which keeps the energy from falling far from the data."""
    noise: NoiseLevels = (0.1, 0.3)
    """As in `DensityConfig`. With one narrow level alone the energy is whatever it happens to be a step away from the
    demonstration, and an agent finds where that is low: another gait of HalfCheetah had the demonstration's density."""
    fit: FitConfig = field(
        default_factory=lambda: FitConfig(10_000, 64, weight_decay=0.0, held_out=0.0, averaging=0.999)
    )
    """Optimisation; for the denoising objective every transition enters a batch twice, with noise of either sign. It
    does not stop early: the loss is mostly the noise of its targets, and its lowest look comes at a random time."""

    @property
    def cost(self) -> float:
        """As measured: second derivatives make a step cost as much as one of SAC."""
        return 1.1 * self.fit.cost(self.hidden)

    def build(self, problem: Problem) -> EBM:
        """An unfitted energy model for every lane."""
        return EBM(problem, self)


class EBM(Density):
    """Log density up to a constant, anchored so that its mean over the demonstrations is 0 after the fit."""

    anchor: Tensor

    def __init__(self, problem: Problem, config: EBMConfig) -> None:
        super().__init__(problem, config)
        self.ebm = config
        self.energy = MLP(problem.streams("density weights"), (self.size, *config.hidden, 1), F.softplus)
        self.register_buffer("anchor", torch.zeros(problem.lanes, 1, device=problem.device))

    def fit(self, problem: Problem, demonstrations: Replay) -> list[dict[str, Tensor]]:
        """Fit, then anchor: score matching leaves a constant free in every lane."""
        losses = super().fit(problem, demonstrations)
        self.anchor += self.on_demonstrations(demonstrations).mean(1, keepdim=True)
        return losses

    def log_density_of(self, x: Tensor) -> Tensor:
        """-E(x) - beta |x|^2 / 2 - anchor, (L, B)."""
        return -self.energy(x)[..., 0] - 0.5 * self.ebm.prior * x.square().sum(-1) - self.anchor

    def score(self, x: Tensor, create_graph: bool = False) -> Tensor:
        """grad_x log q(x), (L, B, D)."""
        x = x if x.requires_grad else x.detach().requires_grad_()
        return torch.autograd.grad(self.log_density_of(x).sum(), x, create_graph=create_graph)[0]

    def loss_of(self, x: Tensor, streams: Streams) -> Tensor:
        """Score-matching loss (L, B) of smoothed inputs.

        For the denoising objective it is the mean over a pair of noises of opposite sign, between which the large part
        of the target cancels that has no information on the score. Every row is weighted by the variance sigma^2 of its
        own noise, which gives all levels the same size. The network does not know the level, so that where several are
        likely the minimiser is E[sigma^2 target | x] / E[sigma^2 | x] instead of the score E[target | x]. Around a
        demonstration of Hopper, noised midway between the two default levels, it is 0.1 % off at the median, 15 % at
        the 95 % quantile, always too short and within 6 degrees of its direction; with one level the two are the same.
        """
        noise, scale = self.smoothing(x, streams)
        if self.ebm.objective == "denoising":
            x, scale, noise = torch.cat([x, x], 1), torch.cat([scale, scale], 1), torch.cat([noise, -noise], 1)
        smoothed = (x + scale * noise).detach().requires_grad_()
        score = self.score(smoothed, create_graph=True)
        if self.ebm.objective == "denoising":
            target = kernel_score(smoothed.detach() - x, self.ebm.noise, self.kept.sum(-1, keepdim=True))
            each = (0.5 * scale.square() * (score - target).square() * self.kept).sum(-1)
            return each.unflatten(1, (2, -1)).mean(1)
        direction = streams.normal(*x.shape[1:]).sign() * self.kept  # Rademacher: E[v v^T] = I
        slope = torch.autograd.grad((score * direction).sum(), smoothed, create_graph=True)[0]
        return (slope * direction + 0.5 * score.square() * self.kept).sum(-1)


def kernel_score(offset: Tensor, levels: tuple[float, ...], size: Tensor) -> Tensor:
    """Score (..., D) of the kernel mean_k N(0, sigma_k^2 I) in `size` (..., 1) dimensions, the others of offset 0.

    Args:
        offset: noisy - clean, (..., D).
        levels: sigma_k.
        size: number of dimensions that have noise.
    """
    variance = torch.tensor(levels, device=offset.device).square()
    square = offset.square().sum(-1, keepdim=True)
    log_weight = -0.5 * square / variance - 0.5 * size * torch.log(2 * math.pi * variance)
    precision = (torch.softmax(log_weight, dim=-1) / variance).sum(-1, keepdim=True)
    return -offset * precision


REWARD = Reward(
    name="ebm",
    label="EBM",
    summary="Energy model fitted by denoising score matching",
    source="Vincent, 2011; Song et al., arXiv 1905.07088",
    fit=log_density_reward,
    config=EBMConfig(),
)
