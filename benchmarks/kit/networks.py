"""Lane-batched networks: every weight has a leading axis of lanes (times heads), every layer is one batched product."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .standardiser import Standardiser
from .streams import Streams

LOG_STD_RANGE = (-5.0, 2.0)
"""Bounds of a policy's log standard deviation (ValueDICE, CleanRL and pytorch_sac use the same)."""


class Linear(nn.Module):
    """H independent affine maps per lane: (L*H, B, fan_in) -> (L*H, B, fan_out), rows ordered lane by lane.

    Weights and biases are uniform in +-1/sqrt(fan_in), PyTorch's own default, drawn from each lane's stream.
    """

    def __init__(self, streams: Streams, fan_in: int, fan_out: int, heads: int = 1) -> None:
        super().__init__()
        bound = fan_in**-0.5
        self.weight = nn.Parameter((streams.uniform(heads, fan_in, fan_out) * 2 - 1).flatten(0, 1) * bound)
        self.bias = nn.Parameter((streams.uniform(heads, 1, fan_out) * 2 - 1).flatten(0, 1) * bound)

    def forward(self, x: Tensor) -> Tensor:
        """Apply lane i's map to rows x[i], in the precision of x."""
        if self.weight.shape[-1] == 1:  # as a product of matrices, this and its gradients cost several times as much
            return (x * self.weight.transpose(1, 2)).sum(-1, keepdim=True) + self.bias
        return torch.baddbmm(self.bias.to(x.dtype), x, self.weight.to(x.dtype))


def lane_layers(layers: Iterable[Linear]) -> Sequence[Linear]:
    """A module list of linear layers, typed as the sequence that it is."""
    return cast(Sequence[Linear], nn.ModuleList(layers))


@torch.no_grad()
def follow(average: Iterable[Tensor], weights: Iterable[Tensor], rate: float | Tensor) -> None:
    """Move a running average of weights towards them, in place, by a share of the distance."""
    if isinstance(rate, float):
        torch._foreach_lerp_(list(average), list(weights), rate)
    else:
        for mean, weight in zip(average, weights, strict=True):
            mean.lerp_(weight, rate)


class LayerNorm(nn.Module):
    """Layer normalisation with a gain and a shift per lane (and head)."""

    def __init__(self, rows: int, size: int, device: torch.device) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(rows, 1, size, device=device))
        self.shift = nn.Parameter(torch.zeros(rows, 1, size, device=device))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last axis of x (L*H, B, size), in its precision."""
        return torch.addcmul(self.shift.to(x.dtype), F.layer_norm(x, x.shape[-1:]), self.gain.to(x.dtype))


class MLP(nn.Module):
    """Multi-layer perceptron, H heads per lane on a common input: (L, B, inputs) -> (L*H, B, outputs)."""

    def __init__(
        self,
        streams: Streams,
        sizes: Sequence[int],
        activation: Callable[[Tensor], Tensor] = torch.relu_,
        heads: int = 1,
        layer_norm: bool = False,
    ) -> None:
        super().__init__()
        self.heads, self.activation = heads, activation
        self.rounded = False
        """Compute the hidden layers in bfloat16 (products are summed in single precision). Activations stay in it from
        layer to layer: to convert them for every product would cost what the product saves."""
        rows = len(streams.generators) * heads
        self.layers = lane_layers(Linear(streams, i, o, heads) for i, o in pairwise(sizes))
        self.norms = nn.ModuleList(LayerNorm(rows, size, streams.device) if layer_norm else nn.Identity()
                                   for size in sizes[1:-1])  # fmt: skip

    def forward(self, x: Tensor) -> Tensor:
        """Outputs for inputs x (L, B, inputs), in their precision."""
        hidden = self.in_precision(x.repeat_interleave(self.heads, dim=0) if self.heads > 1 else x)
        for layer, norm in zip(self.layers, self.norms, strict=False):
            hidden = self.activation(norm(layer(hidden)))
        return self.layers[-1](hidden.to(x.dtype))

    def in_precision(self, x: Tensor) -> Tensor:
        """A tensor in the precision of the hidden layers."""
        return x.bfloat16() if self.rounded else x


class TanhGaussianPolicy(nn.Module):
    """Stochastic policy a = tanh(u), u ~ N(mu(s), diag(sigma(s)^2)), one network per lane.

    `act`, `explore` and `latent` take raw observations, the others standardised ones, as the replay stores them.
    """

    def __init__(
        self, streams: Streams, standardise: Standardiser, action_size: int, hidden: Sequence[int] = (256, 256)
    ) -> None:
        super().__init__()
        self.standardise, self.action_size = standardise, action_size
        self.network = MLP(streams, (standardise.size, *hidden, 2 * action_size))

    def forward(self, states: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation (L, B, A) of the pre-tanh Gaussian at standardised states (L, B, d)."""
        mean, raw = self.network(states).chunk(2, dim=-1)
        return mean, rescaled_log_std(raw)

    def sample(self, states: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Reparameterised actions (L, B, A) and their log densities (L, B), from standard normal noise (L, B, A)."""
        mean, log_std = self(states)
        latent = mean + log_std.exp() * noise
        return torch.tanh(latent), tanh_gaussian_log_density(latent, noise, log_std)

    @torch.no_grad()
    def explore(self, observations: Tensor, noise: Tensor) -> Tensor:
        """Sampled actions (L, N, A) for raw observations (L, N, d), from standard normal noise (L, N, A)."""
        mean, log_std = self.latent(observations)
        return torch.tanh(mean + log_std.exp() * noise)

    def log_density(self, states: Tensor, actions: Tensor) -> Tensor:
        """Log density (L, B) of given actions, clamped as in `unsquashed`."""
        mean, log_std = self(states)
        latent = unsquashed(actions)
        return tanh_gaussian_log_density(latent, (latent - mean) / log_std.exp(), log_std)

    def latent(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation (L, N, A) of the pre-tanh Gaussian at raw observations (L, N, d)."""
        mean, log_std = self(self.standardise(observations))
        return mean, log_std

    @torch.no_grad()
    def act(self, observations: Tensor) -> Tensor:
        """Deterministic action tanh(mu), (L, N, A), for raw observations (L, N, d)."""
        return torch.tanh(self.latent(observations)[0])


@torch.no_grad()
def orthogonal(network: MLP, streams: Streams) -> None:
    """Orthogonal weights with gain 1 and zero biases in every layer, drawn from each lane's stream; one head only."""
    for layer in network.layers:
        for weight, generator in zip(layer.weight, streams.generators, strict=True):
            nn.init.orthogonal_(weight, generator=generator)
        layer.bias.zero_()


def rescaled_log_std(raw: Tensor) -> Tensor:
    """Log standard deviations of the same shape inside `LOG_STD_RANGE`, smoothly, from a network's raw outputs."""
    low, high = LOG_STD_RANGE
    return low + 0.5 * (high - low) * (torch.tanh(raw) + 1)


def unsquashed(actions: Tensor) -> Tensor:
    """u of the same shape with tanh(u) = a, for actions clamped to +-(1 - 1e-6), where it is finite."""
    return torch.atanh(actions.clamp(-1 + 1e-6, 1 - 1e-6))


def tanh_gaussian_log_density(latent: Tensor, noise: Tensor, log_std: Tensor) -> Tensor:
    """Log density (...) of a = tanh(u) for u = mu + sigma noise, all (..., A).

    log N(u) - sum log(1 - tanh(u)^2), the latter in the form 2 (log 2 - u - softplus(-2u)) that does not cancel.
    """
    gaussian = -0.5 * noise.square() - log_std - 0.5 * math.log(2 * math.pi)
    jacobian = 2 * (math.log(2) - latent - F.softplus(-2 * latent))
    return (gaussian - jacobian).sum(-1)


class Critic(nn.Module):
    """Q(s, a) with H independent heads per lane: (L, B, d), (L, B, A) -> (L, H, B)."""

    def __init__(
        self,
        streams: Streams,
        observation_size: int,
        action_size: int,
        hidden: Sequence[int] = (256, 256),
        heads: int = 2,
        layer_norm: bool = True,
    ) -> None:
        super().__init__()
        self.network = MLP(streams, (observation_size + action_size, *hidden, 1), heads=heads, layer_norm=layer_norm)

    def forward(self, states: Tensor, actions: Tensor) -> Tensor:
        """Values of every head."""
        values = self.network(torch.cat([states, actions], dim=-1))
        return values.view(len(states), self.network.heads, -1)
