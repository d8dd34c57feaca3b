"""ValueDICE: imitation by off-policy distribution matching (Kostrikov et al., arXiv 1912.05032), as in its own code.

With delta(s, a, s') = nu(s, a) - gamma nu(s', a'), a' ~ pi(.|s'), and the mixture of demonstrations (weight 1 - al) and
replay (weight al),

    L(nu, pi) = log E_mix[exp delta] - (1 - al) (1 - gamma) E_expert[nu(s, pi(s))] - al E_replay[delta];

nu minimises L + gradient penalty, pi maximises L; both step at once from the same batch. Every demonstrated state
serves as an initial state. Terminal states are absorbing (an extra observation bit), so no transition is ever masked.
Source: google-research/google-research, folder value_dice.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.kit.contract import Method, Problem, Progress
from benchmarks.kit.interaction import interact
from benchmarks.kit.networks import MLP, TanhGaussianPolicy, orthogonal
from benchmarks.kit.replay import Batch, Experience
from benchmarks.kit.standardiser import Standardiser


@dataclass(frozen=True)
class ValueDICEConfig:
    """Settings of ValueDICE, all from the authors' code."""

    hidden: tuple[int, ...] = (256, 256)
    """Hidden ReLU units of nu and actor."""
    nu_learning_rate: float = 1e-3
    """Adam step size of nu."""
    actor_learning_rate: float = 1e-5
    """Adam step size of the actor, two orders below nu's."""
    discount: float = 0.99
    """gamma."""
    replay_weight: float = 0.1
    """al, weight of the replay in the mixture; 0 is the offline objective."""
    gradient_penalty: float = 10.0
    """Weight of (|grad nu| - 1)^2 at interpolates of demonstrations and replay."""
    orthogonal: float = 1e-4
    """Weight of the orthogonality penalty on the actor's layers."""
    batch_size: int = 256
    """Demonstrated, and as many replayed, transitions per lane and update."""
    updates_per_step: int = 5
    """Updates per environment step."""
    warmup: int = 2000
    """Environment steps with uniformly random actions."""
    learning_starts: int = 1000
    """Environment steps before the first update."""
    exploration_noise: float = 0.1
    """Standard deviation of the Gaussian noise on the behaviour's deterministic action."""


def objective(delta_expert: Tensor, delta_replay: Tensor, initial: Tensor, config: ValueDICEConfig) -> Tensor:
    """L (lanes,) from delta on demonstrations (L, B), delta on replay (L, B) and nu at initial states (L, B)."""
    al = config.replay_weight
    # log of the weighted mean of exp(delta) over demonstrations (total weight 1 - al) and replay (total weight al)
    log_weight = torch.tensor([1 - al, al], device=initial.device).log()
    parts = torch.stack([delta_expert.logsumexp(-1), delta_replay.logsumexp(-1)], dim=-1)
    nonlinear = (parts + log_weight - torch.log(torch.tensor(float(delta_expert.shape[-1])))).logsumexp(-1)
    linear = (1 - al) * (1 - config.discount) * initial.mean(-1) + al * delta_replay.mean(-1)
    return nonlinear - linear


def gradient_penalty(nu: nn.Module, expert: Tensor, replay: Tensor, mix: Tensor) -> Tensor:
    """Two-sided penalty (lanes,) at interpolates of inputs (L, N, D), with shares mix (L, N, 1) of the expert's."""
    between = torch.lerp(replay, expert, mix).detach().requires_grad_()
    gradient = torch.autograd.grad(nu(between).sum(), between, create_graph=True)[0] + 1e-8
    return (gradient.norm(dim=-1) - 1).square().mean(-1)


def orthogonality(network: MLP) -> Tensor:
    """Sum over layers of the squared off-diagonal entries of W^T W, (lanes,)."""
    total = torch.zeros(len(network.layers[0].weight), device=network.layers[0].weight.device)
    for layer in network.layers:
        gram = layer.weight.transpose(1, 2) @ layer.weight
        total = total + gram.square().sum((1, 2)) - gram.diagonal(dim1=1, dim2=2).square().sum(-1)
    return total


class ValueDICE:
    """nu and the actor of every lane, with their simultaneous update."""

    def __init__(self, problem: Problem, config: ValueDICEConfig, standardise: Standardiser) -> None:
        self.config, self.action_size, self.updates = config, problem.action_size, 0
        actor_streams, nu_streams = problem.streams("actor"), problem.streams("nu")
        self.policy = TanhGaussianPolicy(actor_streams, standardise, problem.action_size, config.hidden)
        self.nu = MLP(nu_streams, (standardise.size + problem.action_size, *config.hidden, 1))
        orthogonal(self.policy.network, actor_streams)
        orthogonal(self.nu, nu_streams)
        self.nu.layers[-1].bias.requires_grad_(False)  # L does not depend on a constant in nu
        nu_parameters = [p for p in self.nu.parameters() if p.requires_grad]
        self.nu_optimiser = torch.optim.Adam(nu_parameters, config.nu_learning_rate, fused=True)
        self.actor_optimiser = torch.optim.Adam(self.policy.parameters(), config.actor_learning_rate, fused=True)
        self.noise = problem.streams("policy noise")
        self.exploration = problem.streams("exploration")
        self.mix = problem.streams("interpolation")

    def explore(self, observations: Tensor) -> Tensor:
        """Behaviour (L, N, A): the deterministic action plus Gaussian noise, clipped to [-1, 1]."""
        noise = self.exploration.normal(observations.shape[1], self.action_size)
        return (self.policy.act(observations) + self.config.exploration_noise * noise).clamp(-1, 1)

    def update(self, expert: Batch, replay: Batch) -> dict[str, Tensor]:
        """One simultaneous step of nu and actor on demonstrated and replayed transitions (L, B) each."""
        config, B = self.config, expert.actions.shape[1]
        states = torch.cat([expert.observations, expert.next_observations, replay.next_observations], dim=1)
        actions, _ = self.policy.sample(states, self.noise.normal(3 * B, self.action_size))
        sampled = torch.cat([states, actions], -1)
        given = torch.cat([torch.cat([batch.observations, batch.actions], dim=-1) for batch in (expert, replay)], dim=1)
        values = self.nu(torch.cat([sampled, given], dim=1))[..., 0]
        initial, expert_next, replay_next, expert_now, replay_now = values.split(B, dim=1)
        delta_expert = expert_now - config.discount * expert_next
        delta_replay = replay_now - config.discount * replay_next
        loss = objective(delta_expert, delta_replay, initial, config)

        at_expert = torch.cat([given[:, :B], sampled[:, B : 2 * B]], dim=1)
        at_replay = torch.cat([given[:, B:], sampled[:, 2 * B :]], dim=1)
        penalty = gradient_penalty(self.nu, at_expert, at_replay, self.mix.uniform(2 * B, 1))
        regularity = orthogonality(self.policy.network)

        nu_parameters, actor_parameters = self._parameters(self.nu_optimiser), self._parameters(self.actor_optimiser)
        nu_loss = (loss + config.gradient_penalty * penalty).sum()
        actor_loss = (config.orthogonal * regularity - loss).sum()
        nu_gradients = torch.autograd.grad(nu_loss, nu_parameters, retain_graph=True)
        actor_gradients = torch.autograd.grad(actor_loss, actor_parameters)
        for parameter, gradient in zip(nu_parameters + actor_parameters, nu_gradients + actor_gradients, strict=True):
            parameter.grad = gradient
        self.nu_optimiser.step()
        self.actor_optimiser.step()
        self.updates += 1
        return {"loss": loss.detach(), "gradient_penalty": penalty.detach(), "orthogonality": regularity.detach()}

    @staticmethod
    def _parameters(optimiser: torch.optim.Optimizer) -> list[nn.Parameter]:
        return optimiser.param_groups[0]["params"]

    def _parts(self) -> dict[str, Any]:
        names = ("policy", "nu", "nu_optimiser", "actor_optimiser", "noise", "exploration", "mix")
        return {name: getattr(self, name) for name in names}

    def state_dict(self) -> dict[str, Any]:
        """Weights, optimisers, streams and the update counter."""
        return {name: part.state_dict() for name, part in self._parts().items()} | {"updates": self.updates}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        for name, part in self._parts().items():
            part.load_state_dict(state[name])
        self.updates = state["updates"]


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


METHOD = Method(
    name="valuedice",
    label="ValueDICE",
    summary="Off-policy distribution matching without a reward, with the authors' settings",
    source="Kostrikov et al., arXiv 1912.05032; google-research/value_dice",
    train=train,
    config=ValueDICEConfig(),
    cost=lambda config: 1.6 * config.updates_per_step * (0.4 + 0.6 * config.batch_size / 128),
)
