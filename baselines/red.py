"""RED: random expert distillation (Wang et al., arXiv 1905.06750) on the shared SAC.

A predictor learns to repeat a frozen random network on the demonstrations; where it errs, nobody has demonstrated:

    min_theta  E_demonstrations[error],   error = mean_k (f_theta(s, a) - f_0(s, a))_k^2,   r = exp(-sigma error)

The predictor is deliberately weaker than its target: a stronger one would be right off the demonstrations too. As in
the authors' code both are leaky-ReLU networks and the reward stays fixed during learning; here inputs are standardised,
SAC replaces TRPO, and sigma follows a rule instead of a table: demonstrated transitions that were held out from the
predictor, in contiguous blocks, get `typical_reward` at their median error.
Source: RuohanW/RED, folder baselines/rnd_gail.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated

import torch
from annotated_types import Gt, Lt
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.kit.bounds import Count, Sizes
from benchmarks.kit.contract import Method, Problem, Progress, Reward, Score
from benchmarks.kit.fitting import FitConfig, fit, held_out_rows
from benchmarks.kit.networks import MLP, orthogonal
from benchmarks.kit.replay import Experience, Replay, demonstration_replay
from benchmarks.kit.sac import SAC, SACConfig
from benchmarks.kit.standardiser import Standardiser


@dataclass(frozen=True)
class REDConfig:
    """Settings of RED; `Method.per_task` holds what the authors change by task, but for sigma and the discount."""

    target_hidden: Sizes = (128, 128, 128, 128)
    """Hidden leaky-ReLU units of the random target f_0 (authors)."""
    predictor_hidden: Sizes = (128,)
    """Hidden leaky-ReLU units of the predictor f_theta (authors)."""
    outputs: Count = 128
    """Outputs K of both networks (authors)."""
    fit: FitConfig = field(default_factory=lambda: FitConfig(6000, 32, 1e-3, 0.0, 0.1, 200, 10))
    """Fit of the predictor; rate and batch of the authors, whose 200 epochs are 6,000 steps at one demonstration."""
    typical_reward: Annotated[float, Gt(0), Lt(1)] = 0.8
    """Reward at the median error of held-out demonstrated transitions; it sets sigma."""
    sac: SACConfig = field(default_factory=lambda: SACConfig(demonstration_fraction=0.25))
    """The shared learner; as for NDI, a quarter of every batch are demonstrated transitions. The authors begin with a
    cloned policy on HalfCheetah and Ant (`sac.cloned`), and have a discount of 0.97 but on Humanoid and Reacher."""


class REDReward(nn.Module):
    """Target, predictor and sigma of every lane.

    Args:
        problem: the cell.
        config: sizes and the rule for sigma.
    """

    sigma: Tensor

    def __init__(self, problem: Problem, config: REDConfig) -> None:
        super().__init__()
        self.config = config
        inputs, streams = problem.observation_size + problem.action_size, problem.streams("target")
        self.target = MLP(streams, (inputs, *config.target_hidden, config.outputs), _leaky_relu)
        orthogonal(self.target, streams)
        self.target.requires_grad_(False)
        predictor_streams = problem.streams("predictor")
        self.predictor = MLP(predictor_streams, (inputs, *config.predictor_hidden, config.outputs), _leaky_relu)
        self.register_buffer("sigma", torch.ones(problem.lanes, 1, device=problem.device))

    def error(self, states: Tensor, actions: Tensor) -> Tensor:
        """Mean squared error (L, B) of the predictor at standardised states (L, B, d) and actions (L, B, A)."""
        x = torch.cat([states, actions], dim=-1)
        return (self.predictor(x) - self.target(x)).square().mean(-1)

    def fit(self, problem: Problem, demonstrations: Replay) -> None:
        """Fit the predictor, then sigma by the median error of what was held out (of all, if nothing was)."""
        config, purpose = self.config, "distillation"
        error = lambda batch, _: self.error(batch.observations, batch.actions)  # noqa: E731
        for _ in fit(problem, self.predictor, error, demonstrations, config.fit, purpose):
            pass
        self.sigma = -math.log(config.typical_reward) / self._median_error(problem, demonstrations, purpose)

    @torch.no_grad()
    def _median_error(self, problem: Problem, demonstrations: Replay, purpose: str) -> Tensor:
        """(L, 1): over the rows that `fit` held out under this purpose."""
        sizes = demonstrations.sizes
        rows = torch.arange(int(sizes.max()), device=problem.device).expand(problem.lanes, -1)
        chosen = rows < sizes[:, None]
        if self.config.fit.held_out:
            held_out = held_out_rows(sizes, self.config.fit.held_out, problem.streams(f"{purpose} split"))
            chosen = torch.where(held_out.any(1, keepdim=True), held_out, chosen)
        everything = demonstrations.take(rows)
        errors = self.error(everything.observations, everything.actions)
        return errors.masked_fill(~chosen, torch.nan).nanmedian(1, keepdim=True).values

    @torch.no_grad()
    def forward(self, states: Tensor, actions: Tensor) -> Tensor:
        """Rewards (L, B) in (0, 1] of standardised states (L, B, d) and actions (L, B, A)."""
        return torch.exp(-self.sigma * self.error(states, actions))


def _leaky_relu(x: Tensor) -> Tensor:
    """Leaky ReLU with TensorFlow's slope, 0.2."""
    return F.leaky_relu(x, 0.2)


def train(problem: Problem, config: REDConfig) -> Iterator[Progress]:
    """Fit the reward, then learn from it."""
    standardise = Standardiser.from_demonstrations(problem)
    learner = SAC(problem, config.sac, standardise)
    experience = Experience(problem, standardise, config.sac.batch_size, config.sac.demonstration_fraction)
    reward = REDReward(problem, config)
    if not problem.keep(learner=learner, experience=experience, reward=reward):
        reward.fit(problem, experience.demonstrations)
        learner.begin(problem, experience.demonstrations)
    experience.label(lambda batch: reward(batch.observations, batch.actions))

    info: dict[str, Tensor] = {}
    for updates in learner.interact(problem, experience):
        for _ in range(updates):
            info = learner.update(experience.sample())
        yield Progress(learner.updates, learner.deployed, info)


def learned_reward(problem: Problem, config: REDConfig) -> Score:
    """Fit the reward to the demonstrations; it as a function of raw observations (see `Reward`)."""
    standardise = Standardiser.from_demonstrations(problem)
    reward = REDReward(problem, config)
    reward.fit(problem, demonstration_replay(problem, standardise))
    return lambda observations, actions: reward(standardise(observations), actions)


METHOD = Method(
    name="red",
    label="RED",
    summary="Random expert distillation: reward by how well a predictor repeats a random network, on the shared SAC",
    source="Wang et al., arXiv 1905.06750; RuohanW/RED",
    train=train,
    config=REDConfig(),
    per_task={
        "halfcheetah": {"target_hidden": (20, 20, 20, 20), "predictor_hidden": (20,), "sac.cloned": 10_000},
        "ant": {"sac.cloned": 10_000},
    },
    cost=lambda config: 1.1 * config.sac.cost,
    preparation=lambda config: 0.3 * config.fit.cost(config.predictor_hidden) + config.sac.preparation,
)

REWARD = Reward(
    name="red",
    label="RED",
    summary="How well a predictor repeats a random network, exp(-sigma error)",
    source="Wang et al., arXiv 1905.06750; RuohanW/RED",
    fit=learned_reward,
    config=REDConfig(),
)
