"""Behavioural cloning: fit a tanh-Gaussian policy to the demonstrated actions.

With weight decay BC is a strong baseline on whole trajectories (arXiv 2202.02468). Held-out loss is a poor guide to the
return, though: on Hopper it is lowest within 2,000 steps, when the policy still falls (see `results/bc-earlier`). So
nothing is held out by default, and the policy is that of the last step.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.kit.bounds import Share, Sizes
from benchmarks.kit.cloning import FIT, clone
from benchmarks.kit.contract import Method, Problem, Progress
from benchmarks.kit.fitting import FitConfig
from benchmarks.kit.networks import TanhGaussianPolicy
from benchmarks.kit.replay import demonstration_replay
from benchmarks.kit.standardiser import Standardiser


@dataclass(frozen=True)
class BCConfig:
    """Settings of behavioural cloning."""

    beta: Share = 1.0
    """beta of `cloning_loss`: 0 is maximum likelihood (value_dice), 1 the squared error of tanh(mu) (acme) to
    first order, with a standard deviation fitted beside it; by trial (profile `bc-tuning`)."""
    hidden: Sizes = (256, 256)
    """Hidden ReLU units (value_dice)."""
    fit: FitConfig = FIT
    """Optimisation (`kit/cloning.py`)."""


def train(problem: Problem, config: BCConfig) -> Iterator[Progress]:
    """Fit the policy; yields after every `fit.check_every` steps, and last the weights that are kept."""
    standardise = Standardiser.from_demonstrations(problem)
    policy = TanhGaussianPolicy(problem.streams("actor"), standardise, problem.action_size, config.hidden)
    demonstrations = demonstration_replay(problem, standardise)
    updates, info = 0, {}
    for info in clone(problem, policy, demonstrations, config.fit, config.beta):
        updates = min(updates + config.fit.check_every, config.fit.steps)
        yield Progress(updates, policy, info)
    yield Progress(updates, policy, info)


METHOD = Method(
    name="bc",
    label="BC",
    summary="Behavioural cloning by squared error or maximum likelihood, with weight decay",
    source="Pomerleau, 1991; settings after arXiv 2202.02468",
    train=train,
    config=BCConfig(),
    online=False,
    cost=lambda config: 0.2 * config.fit.steps * config.fit.batch_size / 256,
)
