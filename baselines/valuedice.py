"""ValueDICE: imitation by off-policy distribution matching (Kostrikov et al., arXiv 1912.05032), as in its own code.

With delta(s, a, s') = nu(s, a) - gamma nu(s', a'), a' ~ pi(.|s'), and the mixture of demonstrations (weight 1 - al) and
replay (weight al),

    L(nu, pi) = log E_mix[exp delta] - (1 - al) (1 - gamma) E_expert[nu(s, pi(s))] - al E_replay[delta];

nu minimises L + gradient penalty, pi maximises L - orthogonality penalty; both step at once from the same batch, so
that one backward pass through L and both penalties serves both. Every demonstrated state serves as an initial state.
Terminal states are absorbing (an extra observation bit), so no transition is ever masked.

Offline, al = 0 and the environments are not touched: L = log E_expert[exp delta] - (1 - gamma) E_expert[nu(s, pi(s))].
Source: google-research/google-research, folder value_dice; its port in acme for the offline mode.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from benchmarks.kit.bounds import Count, NonNegative, Part, Positive, Share, Sizes, Steps
from benchmarks.kit.composite import Composite
from benchmarks.kit.contract import Method, Problem, Progress
from benchmarks.kit.errors import UserError
from benchmarks.kit.examination import carried_out
from benchmarks.kit.fitting import products
from benchmarks.kit.forms import StepConfig
from benchmarks.kit.interaction import interact
from benchmarks.kit.networks import MLP, TanhGaussianPolicy, orthogonal
from benchmarks.kit.optimiser import Adam
from benchmarks.kit.replay import Batch, Experience, demonstration_replay
from benchmarks.kit.standardiser import Standardiser


@dataclass(frozen=True)
class ValueDICEConfig(StepConfig):
    """Settings of ValueDICE, all from the authors' code unless a field says otherwise."""

    LATER: ClassVar[Mapping[str, Any]] = {"precision": "float32"}

    hidden: Sizes = (256, 256)
    """Hidden ReLU units of nu and actor."""
    nu_learning_rate: Positive = 1e-3
    """Adam step size of nu."""
    actor_learning_rate: Positive = 1e-5
    """Adam step size of the actor, two orders below nu's."""
    discount: Share = 0.99
    """gamma."""
    replay_weight: Part = 0.1
    """al, weight of the replay in the mixture; 0 is the offline objective."""
    gradient_penalty: NonNegative = 10.0
    """Weight of (|grad nu| - 1)^2 at interpolates of demonstrations and replay; offline of two demonstrations, where
    acme drops the penalty."""
    orthogonal: NonNegative = 1e-4
    """Weight of the orthogonality penalty on the actor's layers."""
    batch_size: Count = 256
    """Demonstrated, and as many replayed, transitions per lane and update."""
    updates_per_step: Count = 5
    """Online: updates per environment step."""
    warmup: Steps = 2000
    """Online: environment steps with uniformly random actions (at most a tenth of the budget)."""
    learning_starts: Steps = 1000
    """Online: environment steps before the first update (at most a tenth of the budget)."""
    exploration_noise: NonNegative = 0.1
    """Online: standard deviation of the Gaussian noise on the behaviour's deterministic action."""
    offline_updates: Count = 100_000
    """Updates of the offline method, which has no environment steps to count by; no source says how many."""

    def expected_updates(self, budget: int) -> int:
        """Updates of a lane in a cell of so many environment steps; offline there are none."""
        return budget * self.updates_per_step or self.offline_updates


def objective(delta_expert: Tensor, delta_replay: Tensor, initial: Tensor, config: ValueDICEConfig) -> Tensor:
    """L (lanes,) from delta on demonstrations (L, B), delta on replay (L, B) and nu at initial states (L, B).

    Without replay (al = 0) delta on replay is not looked at and may be empty.
    """
    al, start = config.replay_weight, (1 - config.discount) * initial.mean(-1)
    if al == 0:
        return log_mean_exp(delta_expert) - start
    parts = torch.stack([log_mean_exp(delta_expert) + math.log(1 - al), log_mean_exp(delta_replay) + math.log(al)])
    return parts.logsumexp(0) - (1 - al) * start - al * delta_replay.mean(-1)


def log_mean_exp(x: Tensor) -> Tensor:
    """Log of the mean of exp(x) (L, B) over the batch, (L,)."""
    return x.logsumexp(-1) - math.log(x.shape[-1])


def gradient_penalty(nu: MLP, some: Tensor, others: Tensor, mix: Tensor) -> Tensor:
    """Two-sided penalty (lanes,) at interpolates of inputs (L, N, D), with shares mix (L, N, 1) of the first's."""
    gradient = input_gradient(nu, torch.lerp(others, some, mix)) + 1e-8
    return (gradient.norm(dim=-1) - 1).square().mean(-1)


def input_gradient(network: MLP, x: Tensor) -> Tensor:
    """Gradient (L, N, D) of a ReLU network's one output with respect to its inputs x (L, N, D), by the chain rule.

    A ReLU's mask does not change with the weights (almost everywhere), so that the derivative of this gradient goes
    through the products below alone: exact, and without a second pass through the network as autograd would make it.
    """
    masks, hidden = [], network.in_precision(x)
    with torch.no_grad():
        for layer in network.layers[:-1]:
            hidden = torch.relu(layer(hidden))
            masks.append(hidden.sign())
    gradient = network.in_precision(network.layers[-1].weight).transpose(1, 2)
    for layer, mask in zip(reversed(network.layers[:-1]), reversed(masks), strict=True):
        gradient = (gradient * mask) @ network.in_precision(layer.weight).transpose(1, 2)
    return gradient.to(x.dtype)


def orthogonality(network: MLP) -> Tensor:
    """Sum over layers of the squared off-diagonal entries of W^T W, (lanes,)."""
    total = torch.zeros(len(network.layers[0].weight), device=network.layers[0].weight.device)
    for layer in network.layers:
        gram, diagonal = layer.weight.transpose(1, 2) @ layer.weight, layer.weight.square().sum(1)
        total = total + gram.square().sum((1, 2)) - diagonal.square().sum(-1)
    return total


class ValueDICE(Composite):
    """nu and the actor of every lane, with their simultaneous update."""

    state = ("policy", "nu", "nu_optimiser", "actor_optimiser", "noise", "exploration", "mix", "updates")

    def __init__(self, problem: Problem, config: ValueDICEConfig, standardise: Standardiser) -> None:
        self.config, self.action_size, self.updates = config, problem.action_size, 0
        actor_streams, nu_streams = problem.streams("actor"), problem.streams("nu")
        self.policy = TanhGaussianPolicy(actor_streams, standardise, problem.action_size, config.hidden)
        self.nu = MLP(nu_streams, (standardise.size + problem.action_size, *config.hidden, 1))
        orthogonal(self.policy.network, actor_streams)
        orthogonal(self.nu, nu_streams)
        self.nu.layers[-1].bias.requires_grad_(False)  # L does not depend on a constant in nu
        nu_parameters = [p for p in self.nu.parameters() if p.requires_grad]
        self.nu_optimiser = Adam(nu_parameters, config.nu_learning_rate)
        self.actor_optimiser = Adam(self.policy.parameters(), config.actor_learning_rate, maximize=True)
        self.noise = problem.streams("policy noise")
        self.exploration = problem.streams("exploration")
        self.mix = problem.streams("interpolation")
        networks = self.policy, self.nu
        self._step = carried_out("learner", self.draw, self.learn, problem, config, networks)

    def explore(self, observations: Tensor) -> Tensor:
        """Behaviour (L, N, A): the deterministic action plus Gaussian noise, clipped to [-1, 1]."""
        noise = self.exploration.normal(observations.shape[1], self.action_size)
        return (self.policy.act(observations) + self.config.exploration_noise * noise).clamp(-1, 1)

    def update(self, expert: Batch, replay: Batch | None) -> dict[str, Tensor]:
        """One simultaneous step of nu and actor on demonstrated and replayed (offline: no) transitions (L, B) each."""
        info = self._step(None, *([expert] if replay is None else [expert, replay]))
        self.updates += 1
        return info

    def draw(self, _: None, *batches: Batch) -> tuple[Tensor, Tensor]:
        """Noise behind the actor's actions, and shares of the demonstrations in the interpolates; see `losses`."""
        B = batches[0].actions.shape[1]
        return self.noise.normal((1 + len(batches)) * B, self.action_size), self.mix.uniform(2 * B, 1)

    def learn(self, noise: Tensor, mix: Tensor, *batches: Batch) -> dict[str, Tensor]:
        """The step given its random numbers; arguments as for `losses`."""
        loss, penalty, regularity = self.losses(noise, mix, *batches)
        # nu descends and the actor climbs: each penalty depends on one player only, and has that player's sign
        total = loss + self.config.gradient_penalty * penalty - self.config.orthogonal * regularity
        players = self.nu_optimiser.parameters, self.actor_optimiser.parameters
        gradients = torch.autograd.grad(total.sum(), [*players[0], *players[1]])
        self.nu_optimiser.step(gradients[: len(players[0])])
        self.actor_optimiser.step(gradients[len(players[0]) :])
        return {"loss": loss.detach(), "gradient_penalty": penalty.detach(), "orthogonality": regularity.detach()}

    def losses(self, noise: Tensor, mix: Tensor, expert: Batch, *replay: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """L, nu's gradient penalty and the actor's orthogonality penalty, (L,) each.

        Args:
            noise: standard normal (L, 2 B, A), or (L, 3 B, A) with replay, behind the actor's actions.
            mix: shares (L, 2 B, 1) of the demonstrations in the interpolates.
            expert: demonstrated transitions (L, B).
            replay: replayed transitions (L, B), or none offline.
        """
        config, B, batches = self.config, expert.actions.shape[1], (expert, *replay)
        N = B * len(batches)
        states = torch.cat([expert.observations, *(batch.next_observations for batch in batches)], dim=1)
        actions, _ = self.policy.sample(states, noise)
        sampled = torch.cat([states, actions], dim=-1)
        given = torch.cat([torch.cat([batch.observations, batch.actions], dim=-1) for batch in batches], dim=1)
        initial, following, now = self.nu(torch.cat([sampled, given], dim=1))[..., 0].split([B, N, N], dim=1)
        delta = now - config.discount * following
        loss = objective(delta[:, :B], delta[:, B:], initial, config)
        penalty = self._gradient_penalty(given, sampled[:, B:].detach(), mix)
        return loss, penalty, orthogonality(self.policy.network)

    def _gradient_penalty(self, given: Tensor, following: Tensor, mix: Tensor) -> Tensor:
        """The penalty (L,) for pairs now (L, N, D) and next (L, N, D), the first B of each demonstrated."""
        if self.config.gradient_penalty == 0:
            return torch.zeros(len(given), device=given.device)
        B = mix.shape[1] // 2
        some = torch.cat([given[:, :B], following[:, :B]], dim=1)
        if given.shape[1] > B:
            others = torch.cat([given[:, B:], following[:, B:]], dim=1)
        else:
            others = torch.cat([given.roll(1, dims=1), following.roll(1, dims=1)], dim=1)
        return gradient_penalty(self.nu, some, others, mix)


def train(problem: Problem, config: ValueDICEConfig) -> Iterator[Progress]:
    """Learn from demonstrations and replay together."""
    standardise = Standardiser.from_demonstrations(problem, absorbing=True)
    agent = ValueDICE(problem, config, standardise)
    experience = Experience(problem, standardise, config.batch_size)
    problem.keep(agent=agent, experience=experience)
    info: dict[str, Tensor] = {}
    for updates in interact(
        problem, agent.explore, experience, config.warmup, config.updates_per_step, config.learning_starts
    ):
        for _ in range(updates):
            expert = experience.sample_expert(config.batch_size)
            info = agent.update(expert, experience.sample_agent(config.batch_size))
        yield Progress(agent.updates, agent.policy, info)


def train_offline(problem: Problem, config: ValueDICEConfig) -> Iterator[Progress]:
    """Learn from the demonstrations alone."""
    if config.replay_weight != 0:
        raise UserError("valuedice-offline has no replay: replay_weight must be 0")
    standardise = Standardiser.from_demonstrations(problem, absorbing=True)
    agent = ValueDICE(problem, config, standardise)
    demonstrations, streams = demonstration_replay(problem, standardise), problem.streams("demonstrations")
    problem.keep(agent=agent, streams=streams)
    while agent.updates < config.offline_updates:
        info = agent.update(demonstrations.sample(config.batch_size, streams), None)
        yield Progress(agent.updates, agent.policy, info)


def _update_cost(config: ValueDICEConfig) -> float:
    """Cost of an update in plain SAC's steps; its products are those of three networks."""
    return config.step_cost(1.8 * products(config.batch_size, config.hidden))


VALUEDICE = Method(
    name="valuedice",
    label="ValueDICE",
    summary="Off-policy distribution matching without a reward, with the authors' settings",
    source="Kostrikov et al., arXiv 1912.05032; google-research/value_dice",
    train=train,
    config=ValueDICEConfig(),
    cost=lambda config: config.updates_per_step * _update_cost(config),
    absorbing=lambda config: True,
)

OFFLINE = Method(
    name="valuedice-offline",
    label="ValueDICE (offline)",
    summary="ValueDICE on the demonstrations alone, without replay and without an environment step",
    source="Kostrikov et al., arXiv 1912.05032; acme's port",
    train=train_offline,
    config=ValueDICEConfig(replay_weight=0.0),
    online=False,
    cost=lambda config: config.offline_updates * _update_cost(config),
)
