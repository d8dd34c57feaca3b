"""From log q to a reward: two conventions, both with a terminal value of zero.

literal    r = log q(s, a) + lambda_f r_f, as the objective reads. Mostly negative, so that falling early pays.
practical  r = scale * max(log q - b, 0) / (m - b) + lambda_f (r_f - its running mean), with m the demonstrations' mean
           log density and b a floor that rises with the agent: b starts far below the demonstrations (their minimum
           minus `floor_margin`) and follows the agent's own median log density, `floor_gap` nats below it, never down
           and never above what the least likely of 4,096 demonstrated transitions has. The term of log q is bounded
           below by 0, so that by it staying alive is never worse than falling (r_f and SAC's entropy may be below 0,
           by tenths at the default weights), and standing still cannot collect most of the reward for ever: what
           the agent has already reached is worth about nothing more than `floor_gap` nats of the scale.

The density stays fixed in both; only the affine map of its values moves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from benchmarks.kit.bounds import Count, NonNegative, Positive, Rate, Share
from benchmarks.kit.contract import Problem
from benchmarks.kit.lanes import per_lane
from benchmarks.kit.replay import Batch, Experience

from .occupancy import DistanceCritic, Moments, occupancy_reward

LEAST_REACH = 1.0
"""Nats that the floor stays below the demonstrations' mean log density, whatever `RewardConfig.floor_quantile` says."""


@dataclass(frozen=True)
class RewardConfig:
    """How the density and the occupancy bound become a reward."""

    convention: Literal["practical", "literal"] = "practical"
    """See the module's docstring."""
    lambda_f: NonNegative = 0.005
    """Weight of the occupancy reward r_f (the paper's best value). One value, or one per lane."""
    critic_scale: Positive = 1.0
    """c of the fixed critic f = log(c |s' - s|^2 / d + 1), on standardised states and per dimension, so that lambda_f
    means the same on every task."""
    scale: Positive = 3.0
    """Practical reward of a typical demonstrated transition."""
    floor_margin: NonNegative = 60.0
    """Nats between the demonstrations' smallest log density and the first floor."""
    floor_gap: NonNegative = 5.0
    """Nats between the agent's median log density and the floor."""
    floor_quantile: Share = 0.0
    """Quantile of the demonstrations' log density that the floor never exceeds, nor `LEAST_REACH` below their mean. At
    0 demonstrated transitions earn something, the beginning too, which has the lowest log density and is lost if it
    earns nothing."""
    floor_rate: Share = 0.1
    """Share of the way that the floor moves at each look."""
    floor_every: Count = 500
    """Updates between two looks at the agent's recent transitions."""
    floor_window: Count = 2000
    """Recent transitions behind the agent's median."""
    moment_rate: Rate = 0.01
    """Rate of the running moments of visited states, and of the running mean of r_f."""


class NDIReward:
    """From a batch whose reward column is log q to its reward; the state is a floor, running moments, a running mean.

    Args:
        problem: the cell.
        config: the convention.
        discount: gamma.
    """

    def __init__(self, problem: Problem, config: RewardConfig, discount: float) -> None:
        self.config, self.discount = config, discount
        self.critic = DistanceCritic(config.critic_scale / problem.observation_size)
        self.lambda_f = per_lane(config.lambda_f, problem)
        self.use_occupancy = bool((self.lambda_f != 0).any())
        zeros = torch.zeros(problem.lanes, 1, device=problem.device)
        self.state = {name: zeros.clone() for name in ("mean", "cap", "floor", "before_tr", "after_tr", "offset")}
        wide = torch.zeros(problem.lanes, 1, problem.observation_size, device=problem.device)
        self.state |= {"before_mean": wide.clone(), "after_mean": wide.clone()}
        self.calls = 0

    @torch.no_grad()
    def calibrate(self, values: Tensor) -> None:
        """Read the mean, the floor's cap and its start off the demonstrations' log densities (L, N)."""
        self.state["mean"] = values.mean(1, keepdim=True)
        cap = values.quantile(self.config.floor_quantile, dim=1, keepdim=True)
        # a floor at the mean would divide by zero, one above it would turn the reward round
        self.state["cap"] = torch.minimum(cap, self.state["mean"] - LEAST_REACH)
        self.state["floor"] = values.amin(1, keepdim=True) - self.config.floor_margin

    @torch.no_grad()
    def __call__(self, batch: Batch, experience: Experience) -> Tensor:
        """Rewards (L, B) of a batch whose reward column is log q, under the moments and the floor as they stand."""
        config, state, log_density = self.config, self.state, batch.rewards
        if config.convention == "literal":
            reward = log_density
        else:
            if self.calls % config.floor_every == 0:
                self._raise_floor(experience)
            reach = state["mean"] - state["floor"]
            reward = config.scale * (log_density - state["floor"]).clamp(min=0) / reach
        if self.use_occupancy:
            reward = reward + self.lambda_f[:, None] * self._occupancy(batch, experience.demonstrated)
        self.calls += 1
        return reward

    def _occupancy(self, batch: Batch, demonstrated: int) -> Tensor:
        """r_f of the batch; the moments are those of the agent's own states, hence without the demonstrated rows."""
        state, rate = self.state, self.config.moment_rate if self.calls else 1.0
        for name, states in (("before", batch.observations), ("after", batch.next_observations)):
            now = Moments.of(states[:, demonstrated:])
            state[f"{name}_mean"] = torch.lerp(state[f"{name}_mean"], now.mean, rate)
            state[f"{name}_tr"] = torch.lerp(state[f"{name}_tr"], now.total_variance, rate)
        before = Moments(state["before_mean"], state["before_tr"])
        after = Moments(state["after_mean"], state["after_tr"])
        value = occupancy_reward(self.critic, batch.observations, batch.next_observations, before, after, self.discount)
        if self.config.convention == "literal":
            return value
        state["offset"] = torch.lerp(state["offset"], value.mean(1, keepdim=True), rate)
        return value - state["offset"]

    def _raise_floor(self, experience: Experience) -> None:
        """Move the floor towards min(cap, agent's median - gap), never down."""
        values = experience.replay.latest(self.config.floor_window).rewards
        goal = torch.minimum(values.median(1, keepdim=True).values - self.config.floor_gap, self.state["cap"])
        goal = torch.maximum(goal, self.state["floor"])
        self.state["floor"] = torch.lerp(self.state["floor"], goal, self.config.floor_rate)

    def info(self) -> dict[str, Tensor]:
        """Diagnostics, each (L,)."""
        return {"floor": self.state["floor"][:, 0], "demonstrated_log_density": self.state["mean"][:, 0]}

    def state_dict(self) -> dict[str, Any]:
        """Floor, moments and the call counter."""
        return {"state": {name: value.clone() for name, value in self.state.items()}, "calls": self.calls}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.state = {name: value.to(self.state[name].device) for name, value in state["state"].items()}
        self.calls = state["calls"]
