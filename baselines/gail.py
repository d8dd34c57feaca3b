"""GAIL (off-policy): generative adversarial imitation (Ho & Ermon, arXiv 1606.03476) on the shared SAC; and DAC.

    max_D  E_expert[log D(s, a)] + E_agent[log(1 - D(s, a))],   D = sigmoid(logit), expert label 1

The original trains its policy by TRPO on fresh samples; here the discriminator's agent samples come from the replay and
the policy is the suite's SAC, as in discriminator-actor-critic (DAC, arXiv 1809.02925). Rewards, at sampling:

    survival   -log(1 - D) = softplus(logit) >= 0     (GAIL's own; favours long episodes)
    logit      log D - log(1 - D)                     (AIRL, DAC; no sign bias)
    negative   log D <= 0                             (favours short episodes)

Without absorbing states the value of a terminal state is 0, which is what gives a reward's sign its bias. With them
(DAC) every terminal state leads to one absorbing state, whose reward is learnt like any other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.kit.bounds import Count, NonNegative, Positive, Sizes
from benchmarks.kit.contract import Method, Problem, Progress
from benchmarks.kit.examination import carried_out
from benchmarks.kit.networks import MLP
from benchmarks.kit.optimiser import Adam
from benchmarks.kit.replay import Batch, Experience
from benchmarks.kit.sac import SAC, SACConfig
from benchmarks.kit.standardiser import Standardiser

REWARDS = {"survival": F.softplus, "logit": lambda logit: logit, "negative": F.logsigmoid}


@dataclass(frozen=True)
class GAILConfig:
    """Settings of off-policy GAIL."""

    hidden: Sizes = (256, 256)
    """Hidden tanh units of the discriminator (DAC)."""
    learning_rate: Positive = 3e-4
    """Adam step size of the discriminator."""
    gradient_penalty: NonNegative = 10.0
    """Weight of (|grad logit| - 1)^2 at interpolates (DAC, acme)."""
    entropy: NonNegative = 1e-3
    """Weight of the discriminator's entropy bonus (openai/imitation)."""
    period: Count = 4
    """Learner updates per discriminator update; by trial, 2 and 4 (results/discriminator-period)."""
    reward: Literal["survival", "logit", "negative"] = "survival"
    """Its form. survival: -log(1 - D); logit: log D - log(1 - D); negative: log D."""
    absorbing: bool = False
    """Learn the value of what follows a terminal state (DAC) instead of setting it to 0."""
    sac: SACConfig = field(default_factory=lambda: SACConfig(demonstration_fraction=0.25))
    """The shared learner; as for NDI, a quarter of every batch are demonstrated transitions. Its `compile` and
    `precision` hold for the discriminator too."""


def discriminator_loss(discriminator: MLP, expert: Tensor, agent: Tensor, mix: Tensor, config: GAILConfig) -> Tensor:
    """Cross-entropy with gradient penalty and entropy bonus, (L,).

    Args:
        discriminator: logit network.
        expert: (L, B, d + A) demonstrated state-action pairs.
        agent: (L, B, d + A) the agent's.
        mix: (L, B, 1) uniform in [0, 1), position of the interpolates.
        config: weights.
    """
    logits = discriminator(torch.cat([expert, agent], dim=1))[..., 0]
    on_expert, on_agent = logits.chunk(2, dim=1)
    classification = (F.softplus(-on_expert) + F.softplus(on_agent)).mean(-1)
    # entropy of a Bernoulli with logit l: softplus(l) - l sigmoid(l)
    entropy = (F.softplus(logits) - logits * torch.sigmoid(logits)).mean(-1)
    between = torch.lerp(agent, expert, mix).requires_grad_()
    gradient = torch.autograd.grad(discriminator(between).sum(), between, create_graph=True)[0]
    penalty = ((gradient.square().sum(-1) + 1e-12).sqrt() - 1).square().mean(-1)
    return classification - config.entropy * entropy + config.gradient_penalty * penalty


def pairs(batch: Batch) -> Tensor:
    """State-action pairs (L, B, d + A) of a batch."""
    return torch.cat([batch.observations, batch.actions], dim=-1)


@torch.no_grad()
def labelled(batch: Batch, discriminator: MLP, config: GAILConfig) -> Batch:
    """The batch with its rewards in the configured form."""
    return batch._replace(rewards=REWARDS[config.reward](discriminator(pairs(batch))[..., 0]))


def train(problem: Problem, config: GAILConfig) -> Iterator[Progress]:
    """Alternate discriminator and policy updates."""
    standardise = Standardiser.from_demonstrations(problem, absorbing=config.absorbing)
    learner = SAC(problem, config.sac, standardise)
    experience = Experience(
        problem, standardise, config.sac.batch_size, config.sac.demonstration_fraction, absorbing_actions="zero"
    )
    sizes = (standardise.size + problem.action_size, *config.hidden, 1)
    discriminator = MLP(problem.streams("discriminator"), sizes, torch.tanh)
    optimiser = Adam(discriminator.parameters(), config.learning_rate)
    streams = problem.streams("interpolation")

    def draw(_: None, *batches: Batch) -> tuple[Tensor]:
        """Positions of the interpolates."""
        return (streams.uniform(config.sac.batch_size, 1),)

    def discriminate(mix: Tensor, expert: Batch, agent: Batch) -> dict[str, Tensor]:
        """One step of the discriminator."""
        loss = discriminator_loss(discriminator, pairs(expert), pairs(agent), mix, config)
        optimiser.descend(loss)
        return {"discriminator_loss": loss.detach()}

    step = carried_out("discriminator", draw, discriminate, problem, config.sac, (discriminator,))
    if not problem.keep(
        learner=learner, experience=experience, discriminator=discriminator, optimiser=optimiser, streams=streams
    ):
        learner.begin(problem, experience.demonstrations)

    info: dict[str, Tensor] = {}
    for updates in learner.interact(problem, experience):
        for _ in range(updates):
            if learner.updates % config.period == 0:
                expert = experience.sample_expert(config.sac.batch_size)
                info = step(None, expert, experience.sample_agent(config.sac.batch_size))
            info = info | learner.update(labelled(experience.sample(), discriminator, config))
        yield Progress(learner.updates, learner.deployed, info)


def _cost(config: GAILConfig) -> float:
    """Times plain SAC's step: rewards at every update, and a discriminator update of nearly the learner's own size."""
    return (1.1 + 0.9 / config.period) * config.sac.cost


GAIL = Method(
    name="gail",
    label="GAIL (off-policy)",
    summary="Adversarial imitation with reward -log(1 - D) and gradient penalty, on the shared SAC instead of TRPO",
    source="Ho & Ermon, arXiv 1606.03476; off-policy as in arXiv 1809.02925",
    train=train,
    config=GAILConfig(),
    cost=_cost,
    absorbing=lambda config: config.absorbing,
)

DAC = replace(
    GAIL,
    name="dac",
    label="DAC (on SAC)",
    summary="GAIL's file with DAC's unbiased reward log D - log(1 - D) and absorbing states, on the shared SAC",
    source="Kostrikov et al., arXiv 1809.02925; google-research/dac",
    # its authors update the discriminator as often as the policy, so it keeps the shorter period of the two tried
    config=GAILConfig(reward="logit", absorbing=True, period=2),
)
