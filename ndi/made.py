"""MADE: masked autoregressive density estimation (Germain et al., arXiv 1502.03509) with Gaussian-mixture conditionals.

log q(x) = sum_i log p(x_i | x_<i), each conditional a mixture of Gaussians whose parameters one masked network gives
for all i at once. With the natural order (state, then action) the last A factors are log pi_E(a|s).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.kit.bounds import Count, Sizes
from benchmarks.kit.contract import Problem, Reward
from benchmarks.kit.networks import Linear, lane_layers
from benchmarks.kit.streams import Streams

from .density import Density, DensityConfig, log_density_reward


@dataclass(frozen=True)
class MADEConfig(DensityConfig):
    """Settings of MADE."""

    hidden: Sizes = (256, 256)
    """Hidden units."""
    components: Count = 1
    """Gaussians per conditional."""
    orderings: Count = 1
    """Autoregressive orders whose densities are averaged; the first is (state, action), the others are random."""
    log_std_range: tuple[float, float] = (-4.0, 3.0)
    """Bounds of a conditional's log standard deviation, in standardised units."""

    @property
    def cost(self) -> float:
        """As measured with one ordering."""
        return 0.3 * self.fit.cost(self.hidden)

    def build(self, problem: Problem) -> MADE:
        """An unfitted MADE for every lane."""
        return MADE(problem, self)


class MADE(Density):
    """Normalised log density; orderings are heads of the batched layers."""

    def __init__(self, problem: Problem, config: MADEConfig) -> None:
        super().__init__(problem, config)
        self.made = config
        heads, D = config.orderings, self.size
        streams = problem.streams("density weights")
        # the same orders in every lane: seeded by a constant
        generator = torch.Generator().manual_seed(0)
        orders = [torch.arange(D)] + [torch.randperm(D, generator=generator) for _ in range(heads - 1)]
        degrees = [torch.stack(orders) + 1]  # a dimension's place in the order, 1 to D
        # spread over all places, also by a layer that is narrower than the input
        degrees += [(torch.arange(w) * max(D - 1, w) // w % max(D - 1, 1) + 1).expand(heads, -1) for w in config.hidden]
        masks = [inputs[:, :, None] <= outputs[:, None, :] for inputs, outputs in pairwise(degrees)]
        strict = degrees[-1][:, :, None] < degrees[0][:, None, :]
        masks.append(strict.repeat_interleave(3 * config.components, dim=2))  # mean, log std, weight per component
        self.layers = lane_layers(Linear(streams, mask.shape[1], mask.shape[2], heads) for mask in masks)
        for layer, mask in zip(self.layers, masks, strict=True):
            _mask(layer.weight, mask.repeat(problem.lanes, 1, 1).to(problem.device, torch.float32))

    def log_conditionals(self, x: Tensor) -> Tensor:
        """log p(x_i | x_<i) for every order and dimension, (L, orderings, B, D), at inputs x (L, B, D); dropped: 0."""
        lanes, B, D = x.shape
        x = x.repeat_interleave(self.made.orderings, dim=0)
        h = x
        for depth, layer in enumerate(self.layers):
            h = layer(F.relu(h) if depth else h)
        mean, log_std, logit = h.view(len(x), B, D, self.made.components, 3).unbind(-1)
        log_std = log_std.clamp(*self.made.log_std_range)
        gaussian = -0.5 * ((x.unsqueeze(-1) - mean) * (-log_std).exp()).square() - log_std - 0.5 * math.log(2 * math.pi)
        mixture = (
            torch.logsumexp(gaussian + F.log_softmax(logit, -1), -1) if self.made.components > 1 else gaussian[..., 0]
        )
        # a dropped dimension's conditional has learnt noise alone, and depends on the others where it learnt nothing
        return mixture.view(lanes, self.made.orderings, B, D) * self.kept[:, None]

    def log_density_of(self, x: Tensor) -> Tensor:
        """log of the average density over orderings, (L, B)."""
        each = self.log_conditionals(x).sum(-1)
        return torch.logsumexp(each, dim=1) - math.log(self.made.orderings) if self.made.orderings > 1 else each[:, 0]

    def loss_of(self, x: Tensor, streams: Streams) -> Tensor:
        """Negative log likelihood (L, B) of smoothed inputs, averaged over orderings (each is trained by itself)."""
        noise, scale = self.smoothing(x, streams)
        return -self.log_conditionals(x + scale * noise).sum(-1).mean(1)


def _mask(weight: nn.Parameter, mask: Tensor) -> None:
    """Set masked weights to zero, for good: without a gradient they stay there, and a reward costs no masking."""
    with torch.no_grad():
        weight.mul_(mask)
    weight.register_hook(lambda gradient: gradient * mask)


REWARD = Reward(
    name="made",
    label="MADE",
    summary="Autoregressive density with Gaussian conditionals",
    source="Germain et al., arXiv 1502.03509",
    fit=log_density_reward,
    config=MADEConfig(),
    normalised=True,
)
