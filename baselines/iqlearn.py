"""IQ-Learn: inverse soft-Q learning (Garg et al., arXiv 2106.12142) with the chi-squared regulariser, as in its code.

One Q stands for reward and value: r_Q(s, a, s') = Q(s, a) - gamma V(s'), V(s) = Q(s, a) - alpha log pi(a|s), a ~ pi.

    L(Q) = -E_expert[r_Q] + second term + 1 / (4 alpha_r) E_expert+agent[r_Q^2]

The second term estimates the agent's expected reward, which telescopes to (1 - gamma) E[V(s_0)]; by the source's names

    value      E_expert+agent[V(s) - gamma V(s')]
    v0         (1 - gamma) E_expert[V(s)]      (every demonstrated state serves as an initial state)

The last term takes r_Q at demonstrated actions and, at the agent's states, at actions a ~ pi, as the authors' code does
("current policy for regularization instead of RB"); forks of its earlier state take the replayed actions there.
The actor is SAC's with a fixed temperature alpha: minimise alpha log pi(a|s) - Q(s, a) at expert and agent states.
V(s') comes from a slowly moving target network without gradient, and is 0 behind a terminal state.
Source: Div99/IQ-Learn at commit 1f08bf3, folder iq_learn (`method.regularize=True`, scripts/run_mujoco.sh).
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
from benchmarks.kit.examination import carried_out
from benchmarks.kit.fitting import products
from benchmarks.kit.forms import StepConfig
from benchmarks.kit.interaction import interact
from benchmarks.kit.networks import MLP, TanhGaussianPolicy, follow, orthogonal
from benchmarks.kit.optimiser import Adam
from benchmarks.kit.replay import Batch, Experience
from benchmarks.kit.standardiser import Standardiser


@dataclass(frozen=True)
class IQLearnConfig(StepConfig):
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
    regularised: Literal["policy", "replay"] = "policy"
    """Whose actions the chi-squared term takes at the agent's states: the actor's own or the replayed ones."""
    standardise: bool = False
    """Standardise observations by the demonstrations; the authors do not."""
    batch_size: Count = 256
    """Demonstrated, and as many replayed, transitions per lane and update."""
    updates_per_step: Count = 1
    """Updates per environment step."""
    learning_starts: Steps = 1280
    """Environment steps before the first update, with the initial policy (at most a tenth of the budget)."""

    def expected_updates(self, budget: int) -> int:
        """Updates of a lane in a cell of so many environment steps."""
        return budget * self.updates_per_step


def objective(rewards: Tensor, state_values: Tensor, targets: Tensor, config: IQLearnConfig) -> Tensor:
    """L (lanes,) of one batch whose first half is demonstrated.

    Args:
        rewards: r_Q of the demonstrated actions, then of those that the chi-squared term takes, (L, 2 B).
        state_values: V(s), (L, 2 B).
        targets: gamma V(s'), 0 behind a terminal state, (L, 2 B).
        config: discount, regularisation and second term.
    """
    half = rewards.shape[1] // 2
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
        self._target = list(self.target.parameters())  # listed once: to find them takes a while
        networks = self.policy, self.critic, self.target
        self._step = carried_out("learner", self.draw, self.learn, problem, config, networks)

    def explore(self, observations: Tensor) -> Tensor:
        """Sampled actions (L, N, A) for raw observations (L, N, d)."""
        return self.policy.explore(observations, self.exploration.normal(observations.shape[1], self.action_size))

    def update(self, expert: Batch, agent: Batch) -> dict[str, Tensor]:
        """One step of Q, then of the actor, on demonstrated and replayed transitions (L, B) each."""
        info = self._step(None, expert, agent)
        self.updates += 1
        return info

    def draw(self, _: None, expert: Batch, agent: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Standard normal noise (L, 2 B, A) behind actions now and next for Q, and behind the actor's."""
        rows = expert.actions.shape[1] + agent.actions.shape[1]
        now, following, actor = (self.noise.normal(rows, self.action_size) for _ in range(3))
        return now, following, actor

    def learn(
        self, noise: Tensor, next_noise: Tensor, actor_noise: Tensor, expert: Batch, agent: Batch
    ) -> dict[str, Tensor]:
        """The step, given its noise as `draw` gives it."""
        batch = Batch(*(torch.cat(pair, dim=1) for pair in zip(expert, agent, strict=True)))
        loss, rewards = self.critic_loss(noise, next_noise, batch)
        self.critic_optimiser.descend(loss)
        self.actor_optimiser.descend(self.actor_loss(actor_noise, batch))
        follow(self._target, self.critic_optimiser.parameters, self.config.target_rate)
        return {"loss": loss.detach(), "reward": rewards.detach().mean(-1)}

    def critic_loss(self, noise: Tensor, next_noise: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
        """L (lanes,) and the rewards r_Q (L, 2 B) of a batch whose first half is demonstrated.

        One action a ~ pi per state serves its value and its reward.
        """
        config, rows = self.config, batch.actions.shape[1]
        with torch.no_grad():
            visited = torch.cat([batch.observations, batch.next_observations], dim=1)
            sampled, log_density = self.policy.sample(visited, torch.cat([noise, next_noise], dim=1))
            actions, next_actions = sampled.split(rows, dim=1)
            entropy, next_entropy = (-config.temperature * log_density).split(rows, dim=1)
            next_values = self._value(self.target, batch.next_observations, next_actions) + next_entropy
            targets = config.discount * batch.masks * next_values
        given = rows // 2 if config.regularised == "policy" else rows
        states = torch.cat([batch.observations[:, :given], batch.observations], dim=1)
        values = self._value(self.critic, states, torch.cat([batch.actions[:, :given], actions], dim=1))
        values, own = values.split([given, rows], dim=1)
        rewards = torch.cat([values, own[:, given:]], dim=1) - targets
        return objective(rewards, own + entropy, targets, config), rewards

    def actor_loss(self, noise: Tensor, batch: Batch) -> Tensor:
        """alpha log pi(a|s) - Q(s, a), a ~ pi, a mean (lanes,) over the batch."""
        actions, log_density = self.policy.sample(batch.observations, noise)
        values = self._value(self.critic, batch.observations, actions)
        return (self.config.temperature * log_density - values).mean(-1)

    @staticmethod
    def _value(network: MLP, observations: Tensor, actions: Tensor) -> Tensor:
        """Q (L, B) of a network."""
        return network(torch.cat([observations, actions], dim=-1))[..., 0]


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
    cost=lambda config: config.updates_per_step * config.step_cost(1.5 * products(config.batch_size, config.hidden)),
)
