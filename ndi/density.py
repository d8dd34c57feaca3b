"""What every density model q(s, a) of the demonstrated occupancy shares: inputs, smoothing, fitting and its scale."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Annotated

import torch
from annotated_types import MinLen
from torch import Tensor, nn

from benchmarks.kit.bounds import Positive
from benchmarks.kit.contract import Problem, Score
from benchmarks.kit.fitting import FitConfig, fit
from benchmarks.kit.replay import Batch, Replay, demonstration_replay
from benchmarks.kit.standardiser import Standardiser
from benchmarks.kit.streams import Streams

CONSTANT = 1e-6
"""A standardised dimension whose demonstrated variance is below this carries no information and is dropped."""


NoiseLevels = Annotated[tuple[Positive, ...], MinLen(1)]
"""One standard deviation, or several of a mixture."""


@dataclass(frozen=True)
class DensityConfig:
    """Settings that all densities share."""

    noise: NoiseLevels = (0.1,)
    """Standard deviations of the Gaussian smoothing added to the standardised inputs during fitting; several levels are
    mixed with equal weight. The model then estimates the smoothed density q * N(0, sigma^2), which has finite tails and
    cannot collapse onto the 1,000 points of one trajectory."""
    fit: FitConfig = field(default_factory=lambda: FitConfig(refit=True))
    """Optimisation. A held-out block would leave a hole in q that the agent has to cross, hence the refit."""

    @property
    def cost(self) -> float:
        """Cost of a lane's fit in steps of plain SAC, for estimates."""
        return 0.0

    def build(self, problem: Problem) -> Density:
        """An unfitted density for every lane; each model's own settings say which."""
        raise NotImplementedError


class Density(nn.Module, ABC):
    """log q(s, a) per lane, on standardised states and actions in [-1, 1].

    Dimensions that are constant in a lane's demonstrations (contact forces of Ant and Humanoid) are multiplied by zero
    and have no part in log q: it is the density of the others, and shapes stay equal between lanes.

    Args:
        problem: the cell.
        config: smoothing and optimisation.
    """

    kept: Tensor

    def __init__(self, problem: Problem, config: DensityConfig) -> None:
        super().__init__()
        self.config = config
        self.size = problem.observation_size + problem.action_size
        self.register_buffer("kept", torch.ones(problem.lanes, 1, self.size, device=problem.device))

    @abstractmethod
    def log_density_of(self, x: Tensor) -> Tensor:
        """log q (L, B) at inputs x (L, B, D) in nats; exact for normalised models, else up to a constant per lane."""

    @abstractmethod
    def loss_of(self, x: Tensor, streams: Streams) -> Tensor:
        """Training loss (L, B) of clean inputs x (L, B, D), smoothed with noise from the streams."""

    def inputs(self, states: Tensor, actions: Tensor) -> Tensor:
        """D = d + A model inputs (L, B, D) for standardised states (L, B, d) and actions (L, B, A)."""
        return torch.cat([states, actions], dim=-1) * self.kept

    def log_density(self, states: Tensor, actions: Tensor) -> Tensor:
        """log q(s, a) (L, B) for standardised states and actions in [-1, 1]."""
        return self.log_density_of(self.inputs(states, actions))

    def smoothing(self, x: Tensor, streams: Streams) -> tuple[Tensor, Tensor]:
        """Standard normal noise (L, B, D), none in dimensions that are not kept, and its scale (L, B, 1) per row."""
        levels = torch.tensor(self.config.noise, device=x.device)
        choice = streams.integers(torch.full((len(x),), len(levels), device=x.device), x.shape[1])
        return streams.normal(*x.shape[1:]) * self.kept, levels[choice].unsqueeze(-1)

    def fit(self, problem: Problem, demonstrations: Replay) -> list[dict[str, Tensor]]:
        """Fit every lane to its demonstrations (standardised rows, in time order); returns the losses on the way."""
        self.drop_constant(demonstrations)

        def loss(batch: Batch, streams: Streams) -> Tensor:
            return self.loss_of(self.inputs(batch.observations, batch.actions), streams)

        return list(fit(problem, self, loss, demonstrations, self.config.fit, "density"))

    def drop_constant(self, demonstrations: Replay) -> None:
        """Keep only the dimensions that vary in a lane's demonstrations."""
        everything = self._all_rows(demonstrations)
        x = torch.cat([everything.observations, everything.actions], dim=-1)
        self.kept.copy_((x.var(dim=1, keepdim=True) > CONSTANT).float())

    @staticmethod
    def _all_rows(demonstrations: Replay) -> Batch:
        """4,096 rows per lane, evenly spread over its demonstrations: a number that does not depend on other lanes."""
        spread = torch.arange(4096, device=demonstrations.rows.device)[None]
        return demonstrations.take(spread * demonstrations.sizes[:, None] // 4096)

    @torch.no_grad()
    def on_demonstrations(self, demonstrations: Replay) -> Tensor:
        """log q at 4,096 demonstrated transitions of every lane, (L, 4096)."""
        rows = self._all_rows(demonstrations)
        return self.log_density(rows.observations, rows.actions)


def log_density_reward(problem: Problem, config: DensityConfig) -> Score:
    """Fit a density to the demonstrations as NDI does; log q as a function of raw observations (see `Reward`)."""
    standardise = Standardiser.from_demonstrations(problem)
    density = config.build(problem)
    density.fit(problem, demonstration_replay(problem, standardise))
    return lambda observations, actions: density.log_density(standardise(observations), actions)
