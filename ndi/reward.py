"""From log q to a reward in nats: two conventions, and what a terminal state is worth.

    r = (u + lambda_f r_f) / k        with the learner's temperature  alpha = lambda_pi / k

Soft actor-critic's optimum does not change when reward and temperature are divided by one number. So u, lambda_f r_f
and lambda_pi H[pi] are weighed against each other in nats on every task, whatever the unit k.

literal    u = log q(s, a), k = `unit`: the objective as it reads. Mostly negative, so that falling early pays where a
           terminal state is worth 0. An absorbing state earns one and the same log q for ever: `after_terminal`.
practical  u = max(log q - b, 0), k = (m - b) / `scale`, with m the demonstrations' mean log density and r_f without its
           running mean. The floor b rises with the agent: it begins some nats below the median of the agent's first
           transitions and follows it, never down and never above the least likely demonstrated transition (of 4,096 at
           most). So the reward tells apart what the agent does now, near the demonstrations or far from them, and
           what it has reached already is worth little. u >= 0: by it staying alive is never worse than falling.

The density stays fixed in both; only the affine map of its values moves. With the floor b and `annealed`, alpha keeps
the value lambda_pi / k that it has at the highest floor: while b is below, the policy's entropy weighs
(m - b) / (m - cap) times lambda_pi.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor

from benchmarks.kit.bounds import Count, NonNegative, Positive, Rate, Share
from benchmarks.kit.composite import Composite
from benchmarks.kit.contract import Problem
from benchmarks.kit.errors import UserError
from benchmarks.kit.lanes import per_lane
from benchmarks.kit.replay import Batch, Experience

from .entropy import Entropy, FixedCritic, LearnedCritic, Particles

LEAST_REACH = 1.0
"""Nats that the floor stays below the demonstrations' mean log density, whatever `RewardConfig.floor_quantile` says."""


@dataclass(frozen=True)
class RewardConfig:
    """How the density and the occupancy bound become a reward."""

    LATER: ClassVar[Mapping[str, Any]] = {"after_terminal": 0.0}

    convention: Literal["practical", "literal"] = "practical"
    """practical: max(log q - floor, 0) in units of k, on a floor that rises; literal: log q as it is."""
    lambda_pi: Positive = 0.3
    """Weight of the policy's entropy, nats per nat. One value, or one per lane."""
    annealed: bool = True
    """Practical: SAC's temperature is constant, lambda_pi the weight at the highest floor, and larger below. Otherwise
    lambda_pi is the weight at any floor, and the temperature rises with it."""
    lambda_f: NonNegative = 0.005
    """Weight of the occupancy reward r_f, nats per nat (the paper's best, from memory, for a critic that is not divided
    by d). One value, or one per lane."""
    entropy: Literal["distance", "raw-distance", "learned", "particles"] = "distance"
    """What estimates the occupancy's entropy (entropy.py); "raw-distance" is the paper's, not divided by d."""
    critic_scale: Positive = 1.0
    """c of the fixed critic f = log(c |s' - s|^2 / d + 1), on standardised states; d counts dropped dimensions, too."""
    unit: Positive = 1.0
    """Literal: k, nats per unit of reward."""
    after_terminal: float | None = 0.0
    """c, nats that every step after a terminal state earns, for ever: gamma c / (1 - gamma) are added to the transition
    into it, like lambda_f r_f beside u. None bootstraps from it, although no transition from it is ever seen."""
    scale: Positive = 3.0
    """Practical: reward of a typical demonstrated transition."""
    floor_gap: NonNegative = 5.0
    """Nats that the floor goes to below the agent's median log density, at least."""
    floor_share: Share = 0.1
    """The same as a share of the nats between that median and the demonstrations' mean."""
    floor_quantile: Share = 0.0
    """Quantile of the demonstrations' log density that the floor never exceeds; it stays a nat below their mean, too.
    At 0 demonstrated transitions earn something, the beginning too, which has the lowest log density and is lost if it
    earns nothing."""
    floor_rate: Share = 0.1
    """Share of the way that the floor moves at each look; 0 leaves it where it began."""
    floor_every: Count = 500
    """Updates between two looks at the agent's recent transitions."""
    floor_window: Count = 2000
    """Recent transitions behind the agent's median."""
    moment_rate: Rate = 0.01
    """Rate of the running moments of visited states, and of the running mean of r_f."""


class Floor(Composite):
    """b of the practical reward, and the unit k = (m - b) / scale that follows from it.

    Args:
        problem: the cell.
        config: gap, share, quantile and rate.
    """

    state = ("mean", "cap", "level", "begun")

    def __init__(self, problem: Problem, config: RewardConfig) -> None:
        self.config, self.begun = config, False
        self.mean, self.cap, self.level = (torch.zeros(problem.lanes, 1, device=problem.device) for _ in range(3))

    @torch.no_grad()
    def calibrate(self, values: Tensor) -> None:
        """Read m and the cap off the demonstrations' log densities (L, N)."""
        self.mean.copy_(values.mean(1, keepdim=True))
        cap = values.quantile(self.config.floor_quantile, dim=1, keepdim=True)
        # a floor at the mean would divide by zero, one above it would turn the reward round
        self.cap.copy_(torch.minimum(cap, self.mean - LEAST_REACH))

    @torch.no_grad()
    def follow(self, values: Tensor) -> None:
        """Move towards a goal below the median of the agent's log densities (L, N), never down."""
        median = values.median(1, keepdim=True).values
        gap = (self.config.floor_share * (self.mean - median)).clamp(min=self.config.floor_gap)
        goal = torch.minimum(median - gap, self.cap)
        rate = self.config.floor_rate if self.begun else 1.0
        self.level.lerp_(torch.maximum(goal, self.level) if self.begun else goal, rate)
        self.begun = True

    def unit(self, level: Tensor) -> Tensor:
        """k (L, 1), nats per unit of reward, were b at a level (L, 1)."""
        return (self.mean - level) / self.config.scale


class NDIReward(Composite):
    """From a batch's log q and r_f to its reward, under the floor and the moments as they stand.

    Args:
        problem: the cell.
        config: the convention and the weights.
        discount: gamma.

    Raises:
        UserError: a terminal state would be worth infinitely much.
    """

    state = ("floor", "entropy", "offset", "looks")

    def __init__(self, problem: Problem, config: RewardConfig, discount: float) -> None:
        self.config, self.looks = config, 0
        fallen = config.after_terminal
        if fallen and discount == 1:
            raise UserError("without discount a terminal state has no finite value: set reward.after_terminal to 0")
        self.terminal = discount * fallen / (1 - discount) if fallen else 0.0  # gamma V(terminal)
        self.lambda_f, self.lambda_pi = (
            per_lane(value, problem)[:, None] for value in (config.lambda_f, config.lambda_pi)
        )
        self.use_occupancy = bool((self.lambda_f != 0).any())
        self.floor, self.entropy = Floor(problem, config), _entropy(problem, config, discount)
        self.offset = torch.zeros(problem.lanes, 1, device=problem.device)

    @property
    def practical(self) -> bool:
        """Whether there is a floor."""
        return self.config.convention == "practical"

    @property
    def unit(self) -> Tensor:
        """k (L, 1), nats per unit of reward."""
        return (
            self.floor.unit(self.floor.level) if self.practical else torch.full_like(self.lambda_pi, self.config.unit)
        )

    @property
    def temperature(self) -> Tensor:
        """alpha = lambda_pi / k, (L,)."""
        unit = self.floor.unit(self.floor.cap) if self.practical and self.config.annealed else self.unit
        return (self.lambda_pi / unit)[:, 0]

    def __call__(self, batch: Batch, experience: Experience) -> Batch:
        """A batch with its rewards in place of log q (L, B).

        Before, the floor follows the agent's latest transitions, and the moments its own rows of the batch: those after
        the demonstrated ones.
        """
        if self.practical and self.looks % self.config.floor_every == 0:
            log_density = experience.replay.latest(self.config.floor_window).rewards  # as `label` stored it
            self.floor.follow(log_density)
        nats = (batch.rewards - self.floor.level).clamp(min=0) if self.practical else batch.rewards
        if self.use_occupancy:
            nats = nats + self._occupancy(batch, experience.demonstrated)
        nats = nats + self.terminal * (1 - batch.masks)
        masks = torch.ones_like(batch.masks) if self.config.after_terminal is None else batch.masks
        self.looks += 1
        return batch._replace(rewards=nats / self.unit, masks=masks)

    def _occupancy(self, batch: Batch, demonstrated: int) -> Tensor:
        """lambda_f r_f in nats, (L, B); practically r_f counts from its running mean."""
        own = slice(demonstrated, None)
        self.entropy.follow(batch.observations[:, own], batch.next_observations[:, own])
        value = self.entropy(batch.observations, batch.next_observations)
        mean = value[:, own].mean(1, keepdim=True)
        self.offset.lerp_(mean, self.config.moment_rate if self.looks else 1.0)
        return self.lambda_f * (value - self.offset if self.practical else value)

    def info(self) -> dict[str, Tensor]:
        """Diagnostics, each (L,), in nats but for k."""
        shown = {"floor": self.floor.level, "demonstrated_log_density": self.floor.mean, "unit": self.unit}
        return {name: value[:, 0] for name, value in shown.items()}


def _entropy(problem: Problem, config: RewardConfig, discount: float) -> Entropy:
    """The estimate that a config asks for."""
    if config.entropy == "learned":
        return LearnedCritic(problem, discount)
    if config.entropy == "particles":
        return Particles(problem)
    scale = config.critic_scale / (problem.observation_size if config.entropy == "distance" else 1)
    return FixedCritic(problem, scale, discount, config.moment_rate)
