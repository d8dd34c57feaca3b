"""The occupancy-entropy bound of NDI (SAELBO) and the per-step reward that follows from it.

With s ~ rho_pi and s' its successor, entropy is concave along rho(s') = (1-gamma) p0(s') + gamma p(s'), so

    H[rho_pi(s, a)]  >=  H[pi(a|s)] + (1-gamma) H[p0] + gamma (I(s; s') + H[s'|s, a]),
    I(s; s')         >=  E_p(s,s')[f] - 1/e E_p(s)p(s')[exp f]      for any critic f (Nguyen, Wainwright, Jordan).

The gradient of the product-of-marginals term reaches the occupancy through either factor, which gives the reward

    r_f(s, s') = f(s, s') - gamma/e E_s~[exp f(s~, s')] - gamma/e E_s~'[exp f(s, s~')].

The derivation has gamma before the first f, too; it is left out as in the paper, as far as we know its text.
The paper fixes f(s, s') = log(c |s' - s|^2 + 1); exp f is then quadratic and both expectations have a closed form in
the means and total variances of s and s'.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

Critic = Callable[[Tensor, Tensor], Tensor]
"""f: (..., d), (..., d) -> (...)."""


def mutual_information_bound(critic: Critic, states: Tensor, following: Tensor, shuffled: Tensor) -> Tensor:
    """NWJ lower bound E[f(s, s')] - 1/e E[exp f(s, s~')] of I(s; s') in nats.

    Args:
        critic: f.
        states: (..., B, d) samples of s.
        following: (..., B, d) their successors.
        shuffled: (..., B, d) successors independent of `states`.

    Returns:
        (...) the estimate.
    """
    return critic(states, following).mean(-1) - critic(states, shuffled).exp().mean(-1) / math.e


@dataclass(frozen=True)
class Moments:
    """Mean and total variance of a state distribution, per lane."""

    mean: Tensor
    """(L, 1, d)."""
    total_variance: Tensor
    """(L, 1), the trace of the covariance."""

    @classmethod
    def of(cls, states: Tensor) -> Moments:
        """Moments of samples (L, B, d), with the population (not the sample) variance."""
        mean = states.mean(1, keepdim=True)
        return cls(mean, (states - mean).square().sum(-1).mean(1, keepdim=True))


@dataclass(frozen=True)
class DistanceCritic:
    """The paper's fixed critic f(s, s') = log(c |s' - s|^2 + 1)."""

    scale: float
    """c; divide by d to make the critic comparable between tasks."""

    def __call__(self, states: Tensor, following: Tensor) -> Tensor:
        """f (...) at states and following states (..., d)."""
        return torch.log1p(self.scale * (following - states).square().sum(-1))

    def expected_exponential(self, states: Tensor, other: Moments) -> Tensor:
        """E[exp f(s, x)] = c (|s - mu|^2 + tr Sigma) + 1 over x with the given moments; (L, B) for states (L, B, d)."""
        return self.scale * ((states - other.mean).square().sum(-1) + other.total_variance) + 1


def occupancy_reward(
    critic: DistanceCritic, states: Tensor, following: Tensor, before: Moments, after: Moments, discount: float
) -> Tensor:
    """r_f (L, B) in closed form.

    Args:
        critic: the fixed critic.
        states: s (L, B, d).
        following: s' (L, B, d).
        before: moments of p(s); NDI takes those of all that the agent has stored, a mixture of its policies so far.
        after: moments of p(s').
        discount: gamma.
    """
    marginals = critic.expected_exponential(following, before) + critic.expected_exponential(states, after)
    return critic(states, following) - discount / math.e * marginals


def sampled_occupancy_reward(
    critic: Critic, states: Tensor, following: Tensor, other_states: Tensor, other_following: Tensor, discount: float
) -> Tensor:
    """r_f (L, B) for any critic, its two expectations estimated from samples of the marginals.

    Args:
        critic: f.
        states: s (L, B, d).
        following: s' (L, B, d).
        other_states: (L, M, d) samples of p(s).
        other_following: (L, M, d) samples of p(s').
        discount: gamma.
    """
    first = critic(other_states[:, None], following[:, :, None]).exp().mean(-1)
    second = critic(states[:, :, None], other_following[:, None]).exp().mean(-1)
    return critic(states, following) - discount / math.e * (first + second)
