"""IQ-Learn: inverse soft-Q learning (Garg et al., arXiv 2106.12142) with the chi-squared regulariser, as in its code.

One Q stands for reward and value: r_Q(s, a, s') = Q(s, a) - gamma V(s'), V(s) = Q(s, a) - alpha log pi(a|s), a ~ pi.

    L(Q) = -E_expert[r_Q] + second term + 1 / (4 alpha_r) E_expert+agent[r_Q^2]

The second term estimates the agent's expected reward, which telescopes to (1 - gamma) E[V(s_0)]; by the source's names

    value      E_expert+agent[V(s) - gamma V(s')]
    v0         (1 - gamma) E_expert[V(s)]      (every demonstrated state serves as an initial state)

The actor is SAC's with a fixed temperature alpha: minimise alpha log pi(a|s) - Q(s, a) at expert and agent states.
V(s') comes from a slowly moving target network without gradient, and is 0 behind a terminal state.
Source: Div99/IQ-Learn, folder iq_learn (`method.regularize=True`, scripts/run_mujoco.sh).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from benchmarks.kit.bounds import Count, Positive, Rate, Share, Sizes, Steps
from benchmarks.kit.composite import Composite
from benchmarks.kit.contract import Method, Problem, Progress
from benchmarks.kit.interaction import interact
from benchmarks.kit.networks import MLP, TanhGaussianPolicy, follow, orthogonal
from benchmarks.kit.optimiser import Adam
from benchmarks.kit.replay import Batch, Experience
from benchmarks.kit.standardiser import Standardiser


@dataclass(frozen=True)
class IQLearnConfig:
    """Settings of IQ-Learn, all from the authors' code; `Method.per_task` holds what they change by task."""

    hidden: Sizes = (256, 256)
    """Hidden ReLU units of Q and actor."""
    critic_learning_rate: Positive = 3e-4
    """Adam step size of Q."""
    actor_learning_rate: Positive = 3e-5
    """Adam step size of the actor."""
    discount: Share = 0.99
    """gamma."""
    target_rate: Rate = 0.005
    """tau, share of Q that enters the target at every update."""
    temperature: Positive = 1e-2
    """alpha, fixed."""
    regularisation: Positive = 0.5
    """alpha_r of the chi-squared term; smaller keeps the recovered reward smaller."""
    second_term: Literal["value", "v0"] = "v0"
    """See the module's docstring."""
    standardise: bool = False
    """Standardise observations by the demonstrations; the authors do not."""
    batch_size: Count = 256
    """Demonstrated, and as many replayed, transitions per lane and update."""
    updates_per_step: Count = 1
    """Updates per environment step."""
    learning_starts: Steps = 1280
    """Environment steps before the first update, with the initial policy (at most a tenth of the budget)."""


def objective(values: Tensor, state_values: Tensor, targets: Tensor, config: IQLearnConfig) -> Tensor:
    """L (lanes,) of one batch whose first half is demonstrated.

    Args:
        values: Q(s, a), (L, 2 B).
        state_values: V(s), (L, 2 B); its second half is not looked at for "v0" and may be missing.
        targets: gamma V(s'), 0 behind a terminal state, (L, 2 B).
        config: discount, regularisation and second term.
    """
    rewards, half = values - targets, values.shape[1] // 2
    if config.second_term == "value":
        second = (state_values - targets).mean(-1)
    else:
        second = (1 - config.discount) * state_values[:, :half].mean(-1)
    return second - rewards[:, :half].mean(-1) + rewards.square().mean(-1) / (4 * config.regularisation)


class IQLearn(Composite):
    """Q, its target and the actor of every lane.

    Args:
        problem: the cell.
        config: settings.
        standardise: applied to raw observations; batches are expected to be standardised already.
    """

    state = (
        "policy", "critic", "target", "critic_optimiser", "actor_optimiser", "noise", "exploration", "updates",
    )  # fmt: skip

    def __init__(self, problem: Problem, config: IQLearnConfig, standardise: Standardiser) -> None:
        self.config, self.action_size, self.updates = config, problem.action_size, 0
        actor_streams, critic_streams = problem.streams("actor"), problem.streams("critic")
        self.policy = TanhGaussianPolicy(actor_streams, standardise, problem.action_size, config.hidden)
        self.critic = MLP(critic_streams, (standardise.size + problem.action_size, *config.hidden, 1))
        orthogonal(self.policy.network, actor_streams)
        orthogonal(self.critic, critic_streams)
        self.target = copy.deepcopy(self.critic).requires_grad_(False)
        self.critic_optimiser = Adam(self.critic.parameters(), config.critic_learning_rate)
        self.actor_optimiser = Adam(self.policy.parameters(), config.actor_learning_rate)
        self.noise = problem.streams("policy noise")
        self.exploration = problem.streams("exploration")

    def explore(self, observations: Tensor) -> Tensor:
        """Sampled actions (L, N, A) for raw observations (L, N, d)."""
        return self.policy.explore(observations, self.exploration.normal(observations.shape[1], self.action_size))

    def update(self, expert: Batch, agent: Batch) -> dict[str, Tensor]:
        """One step of Q, then of the actor, on demonstrated and replayed transitions (L, B) each."""
        config = self.config
        batch = Batch(*(torch.cat(pair, dim=1) for pair in zip(expert, agent, strict=True)))
        states = batch.observations if config.second_term == "value" else expert.observations
        number, rows = states.shape[1], batch.actions.shape[1]

        with torch.no_grad():
            visited = torch.cat([states, batch.next_observations], dim=1)
            actions, log_density = self.policy.sample(visited, self.noise.normal(visited.shape[1], self.action_size))
            following = self._value(self.target, batch.next_observations, actions[:, number:])
            following = following - config.temperature * log_density[:, number:]
            targets = config.discount * batch.masks * following
        pairs = torch.cat([batch.observations, states], dim=1), torch.cat([batch.actions, actions[:, :number]], dim=1)
        values, sampled = self._value(self.critic, *pairs).split([rows, number], dim=1)
        loss = objective(values, sampled - config.temperature * log_density[:, :number], targets, config)
        self.critic_optimiser.descend(loss)

        actions, log_density = self.policy.sample(batch.observations, self.noise.normal(rows, self.action_size))
        improvement = self._value(self.critic, batch.observations, actions) - config.temperature * log_density
        self.actor_optimiser.descend(-improvement.mean(-1))

        follow(self.target.parameters(), self.critic.parameters(), config.target_rate)
        self.updates += 1
        rewards = (values - targets).detach().mean(-1)
        return {"loss": loss.detach(), "value": values.detach().mean(-1), "reward": rewards}

    @staticmethod
    def _value(network: MLP, states: Tensor, actions: Tensor) -> Tensor:
        """Q (L, B) of a network."""
        return network(torch.cat([states, actions], dim=-1))[..., 0]


def train(problem: Problem, config: IQLearnConfig) -> Iterator[Progress]:
    """Learn Q and policy from demonstrations and replay."""
    make = Standardiser.from_demonstrations if config.standardise else Standardiser.identity
    standardise = make(problem)
    agent = IQLearn(problem, config, standardise)
    experience = Experience(problem, standardise, config.batch_size)
    problem.keep(agent=agent, experience=experience)
    info: dict[str, Tensor] = {}
    for updates in interact(problem, agent.explore, experience, 0, config.updates_per_step, config.learning_starts):
        for _ in range(updates):
            expert = experience.sample_expert(config.batch_size)
            info = agent.update(expert, experience.sample_agent(config.batch_size))
        yield Progress(agent.updates, agent.policy, info)


METHOD = Method(
    name="iq-learn",
    label="IQ-Learn",
    summary="Inverse soft-Q learning with the chi-squared regulariser and the authors' settings for each task",
    source="Garg et al., arXiv 2106.12142; Div99/IQ-Learn",
    train=train,
    config=IQLearnConfig(),
    per_task={
        "halfcheetah": {"second_term": "value"},
        "ant": {"second_term": "value", "temperature": 1e-3},
        "humanoid": {"temperature": 1.0},
    },
    cost=lambda config: config.updates_per_step * (0.4 + 0.9 * config.batch_size / 128),
)
