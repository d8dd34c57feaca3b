"""What the occupancy's entropy pays per step: r_f of SAELBO by a fixed or a learned critic, or a particle estimate.

All three are one interface. `follow` sees the agent's own transitions of every batch, and the call gives each
transition's share of the entropy in nats, up to a constant:

distance   r_f of the paper's fixed critic f = log(c |s' - s|^2 + 1), in closed form (occupancy.py).
learned    r_f of a critic that climbs the NWJ bound E[f(s, s')] - E[exp f(s, s~')] / e; the bound holds for any f. The
           states are smoothed while it learns, since s' is almost a function of s and their mutual information has
           no upper limit.
particles  d log |s' - n_k(s')| with n_k the k-th nearest of the batch's next states: the Kozachenko-Leonenko estimate
           of H[s'] without its constants, as in RE3 (Seo et al., arXiv 2102.09430).
"""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.kit.composite import Composite, assign
from benchmarks.kit.contract import Problem
from benchmarks.kit.networks import MLP
from benchmarks.kit.optimiser import Adam

from .occupancy import (
    DistanceCritic,
    Moments,
    mutual_information_bound,
    occupancy_reward,
    sampled_occupancy_reward,
)


class Entropy(Protocol):
    """An estimate of what a transition adds to the occupancy's entropy."""

    def follow(self, states: Tensor, following: Tensor) -> None:
        """Learn from a batch of the agent's own s and s', each (L, B, d)."""
        ...

    def __call__(self, states: Tensor, following: Tensor) -> Tensor:
        """Nats (L, B) at s and s' (L, B, d)."""
        ...


class FixedCritic(Composite):
    """r_f of the paper's critic, from running moments of the agent's states and next states.

    Args:
        problem: the cell.
        scale: c of the critic.
        discount: gamma.
        rate: share of the way to a batch's own moments; the first batch's are taken as they are.
    """

    state = ("before_mean", "before_variance", "after_mean", "after_variance", "begun")

    def __init__(self, problem: Problem, scale: float, discount: float, rate: float) -> None:
        self.critic, self.discount, self.rate, self.begun = DistanceCritic(scale), discount, rate, False
        number = torch.zeros(problem.lanes, 1, device=problem.device)
        wide = torch.zeros(problem.lanes, 1, problem.observation_size, device=problem.device)
        self.before_mean, self.after_mean = wide, wide.clone()
        self.before_variance, self.after_variance = number, number.clone()

    @torch.no_grad()
    def follow(self, states: Tensor, following: Tensor) -> None:
        """Move towards the moments of a batch's s and s', each (L, B, d)."""
        before, after, rate = Moments.of(states), Moments.of(following), self.rate if self.begun else 1.0
        self.before_mean.lerp_(before.mean, rate)
        self.before_variance.lerp_(before.total_variance, rate)
        self.after_mean.lerp_(after.mean, rate)
        self.after_variance.lerp_(after.total_variance, rate)
        self.begun = True

    def __call__(self, states: Tensor, following: Tensor) -> Tensor:
        """r_f (L, B) at s and s' (L, B, d)."""
        before, after = Moments(self.before_mean, self.before_variance), Moments(self.after_mean, self.after_variance)
        return occupancy_reward(self.critic, states, following, before, after, self.discount)


class LearnedCritic(Composite):
    """r_f of a critic that is learned from the agent's transitions while the agent learns.

    The marginals are those of the batch before: a transition that is scored must not be among its own samples.

    Args:
        problem: the cell.
        discount: gamma.
        noise: standard deviation of the smoothing of s and s', in standardised units.
        hidden: units of the critic's layers.
        learning_rate: Adam's step size.
    """

    state = ("network", "optimiser", "streams", "next_states", "next_following")
    OTHERS = 16
    """Samples of either marginal; a batch that is smaller is repeated."""

    def __init__(
        self, problem: Problem, discount: float, noise: float = 0.1, hidden: tuple[int, ...] = (128, 128),
        learning_rate: float = 1e-3,
    ) -> None:  # fmt: skip
        self.discount, self.noise = discount, noise
        size = problem.observation_size
        self.network = MLP(problem.streams("entropy critic"), (2 * size, *hidden, 1), F.softplus)
        self.optimiser = Adam(self.network.parameters(), learning_rate, maximize=True)
        self.streams = problem.streams("entropy")
        self.states, self.following, self.next_states, self.next_following = (
            torch.zeros(problem.lanes, self.OTHERS, size, device=problem.device) for _ in range(4)
        )

    def critic(self, states: Tensor, following: Tensor) -> Tensor:
        """f (L, ...) at broadcastable s and s' (L, ..., d)."""
        states, following = torch.broadcast_tensors(states, following)
        return self.network(torch.cat([states, following], -1).flatten(1, -2)).view(states.shape[:-1])

    def follow(self, states: Tensor, following: Tensor) -> None:
        """Climb the bound on a batch of the agent's own s and s', each (L, B, d)."""
        smooth = lambda x: x + self.noise * self.streams.normal(*x.shape[1:])  # noqa: E731
        states, following = smooth(states), smooth(following)
        bound = mutual_information_bound(self.critic, states, following, following.roll(1, dims=1))
        self.optimiser.descend(bound)
        kept = torch.arange(self.OTHERS, device=states.device) % states.shape[1]
        assign((self.states, self.following), (self.next_states, self.next_following))
        assign((self.next_states, self.next_following), (states[:, kept], following[:, kept]))

    @torch.no_grad()
    def __call__(self, states: Tensor, following: Tensor) -> Tensor:
        """r_f (L, B) at s and s' (L, B, d)."""
        return sampled_occupancy_reward(self.critic, states, following, self.states, self.following, self.discount)


class Particles(Composite):
    """d log of the distance to the k-th nearest other one of the agent's next states in the last batch.

    Dropped dimensions count in d, though nothing varies in them.

    Args:
        problem: the cell.
        neighbours: k.
        least: distance below which two states count as one, in standardised units.
    """

    state = ()  # the particles are taken anew before they are asked
    OTHERS = 64
    """States that are looked at, at most."""

    def __init__(self, problem: Problem, neighbours: int = 3, least: float = 1e-3) -> None:
        self.neighbours, self.least = neighbours, least
        self.following = torch.zeros(problem.lanes, 1, problem.observation_size, device=problem.device)

    def follow(self, states: Tensor, following: Tensor) -> None:
        """Take the next states of a batch (L, B, d) as the particles."""
        self.following = following[:, : self.OTHERS]

    @torch.no_grad()
    def __call__(self, states: Tensor, following: Tensor) -> Tensor:
        """Nats (L, B) at s' (L, B, d). A particle is its own nearest: the one after the k-th counts, for all alike."""
        distances = torch.cdist(following, self.following, compute_mode="donot_use_mm_for_euclid_dist")
        place = min(self.neighbours + 1, distances.shape[-1])
        return following.shape[-1] * distances.kthvalue(place, dim=-1).values.clamp(min=self.least).log()
