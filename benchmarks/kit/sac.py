"""Soft actor-critic (Haarnoja et al., arXiv 1812.05905), batched over lanes: the learner behind every method with RL.

The reward is a column of the batch and is never computed here.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from .bounds import Count, NonNegative, Part, Positive, Rate, Share, Sizes, Steps
from .cloning import FIT, clone, cloning_loss
from .composite import Composite, assign
from .contract import Problem
from .examination import carried_out
from .fitting import products
from .forms import StepConfig
from .interaction import Memory, interact
from .networks import Critic, TanhGaussianPolicy, follow
from .optimiser import Adam
from .replay import Batch, Replay, demonstrated_rows
from .standardiser import Standardiser


@dataclass(frozen=True)
class SACConfig(StepConfig):
    """Settings of the shared learner."""

    hidden: Sizes = (256, 256)
    """Hidden units of actor and critics (CleanRL, SB3, acme)."""
    learning_rate: Positive = 3e-4
    """Adam step size of actor, critics and temperature (SB3, acme)."""
    batch_size: Count = 128
    """Transitions per lane and update, B. Half of the usual 256: an update then costs half, and at the budgets used
    here the returns are as good."""
    discount: Share = 0.99
    """gamma."""
    target_rate: Rate = 0.005
    """tau, share of the online critic that enters the target critic at every update."""
    layer_norm: bool = True
    """Layer-normalised critics, which stay stable at small budgets."""
    temperature: Positive = 0.2
    """alpha, initial entropy temperature; the final one if `target_entropy` is None. NDI sets its own."""
    target_entropy: float | None = -1.0
    """Target of the policy entropy per action dimension, in nats; None keeps the temperature fixed."""
    actor_period: Count = 2
    """Critic updates per update of actor and temperature (TD3's policy delay)."""
    warmup: Steps = 2000
    """Environment steps before learning starts (at most a tenth of the budget), with uniformly random actions."""
    cloned: Steps = 0
    """Gradient steps of a clone of the demonstrator (`cloning.clone`) that the actor begins as, and that acts in the
    warm-up, too (as RED's authors do); 0 begins with random weights and actions."""
    actor_starts: Steps = 0
    """Updates before the first one of actor and temperature: a cloned actor waits for the critic (as DAC's authors)."""
    updates_per_step: Count = 1
    """Updates per environment step after the warm-up."""
    demonstration_fraction: Share = 0.0
    """Share of every batch that is drawn from the demonstrations."""
    cloning: NonNegative = 0.0
    """Weight of behavioural cloning on the demonstrated rows of a batch in the actor's loss, in units of the reward;
    without such rows it does nothing."""
    averaging: Part = 0.999
    """Rate of the running average of the actor's weights, by its updates, that is handed over as the policy (as
    `FitConfig.averaging`); 0 hands over the actor itself. The agent acts and learns as without: what it unlearns for a
    moment, such as how to begin an episode, of which a replay holds few, does not decide an evaluation."""
    cuda_graph: bool = True
    """On CUDA, replay the whole update as one graph; without effect on a CPU."""

    @property
    def random_steps(self) -> int:
        """Environment steps with uniformly random actions."""
        return 0 if self.cloned else self.warmup

    @property
    def cost(self) -> float:
        """Cost of an environment step relative to a plain one of the default setting, for estimates only."""
        return self.updates_per_step * self.step_cost(products(self.batch_size, self.hidden))

    @property
    def preparation(self) -> float:
        """Cost of the clone that the actor begins as, in the same unit."""
        return 0.2 * self.cloned

    def expected_updates(self, budget: int) -> int:
        """Updates of a lane in a cell of so many environment steps."""
        return budget * self.updates_per_step


class SAC(Composite):
    """One agent per lane; all lanes learn in the same batched products.

    Args:
        problem: the cell (seeds, sizes, device).
        config: settings, the same for all lanes.
        standardise: applied to raw observations; batches are expected to be standardised already. If it has absorbing
            states, the agent takes no action in them (zero) and earns no entropy, and they train neither the actor nor
            the temperature (discriminator-actor-critic, arXiv 1809.02925).
    """

    state = (
        "policy", "deployed", "critic", "target", "log_temperature", "noise", "exploration", "updates", "actor_updates",
        "actor_optimiser", "critic_optimiser",
    )  # fmt: skip

    def __init__(self, problem: Problem, config: SACConfig, standardise: Standardiser) -> None:
        self.config, self.action_size, self.updates = config, problem.action_size, 0
        self.absorbing = standardise.absorbing
        self.demonstrated = demonstrated_rows(problem, config.demonstration_fraction, config.batch_size)
        sizes = (standardise.size, problem.action_size)
        self.policy = TanhGaussianPolicy(problem.streams("actor"), standardise, problem.action_size, config.hidden)
        self.critic = Critic(problem.streams("critic"), *sizes, config.hidden, layer_norm=config.layer_norm)
        self.target = copy.deepcopy(self.critic).requires_grad_(False)
        log_temperature = torch.full((problem.lanes,), math.log(config.temperature), device=problem.device)
        self.log_temperature = nn.Parameter(log_temperature)
        self.target_entropy = None if config.target_entropy is None else config.target_entropy * problem.action_size
        self.noise = problem.streams("policy noise")
        self.exploration = problem.streams("exploration")

        self.deployed = copy.deepcopy(self.policy).requires_grad_(False) if config.averaging else self.policy
        """The policy to hand over for evaluation."""
        self.deployed.standardise = standardise  # not a copy: it may be fitted later
        self.actor_updates = torch.zeros((), device=problem.device)  # on the device, where a graph can count it
        self.critic_optimiser = Adam(self.critic.parameters(), config.learning_rate)
        learnt = [] if self.target_entropy is None else [self.log_temperature]
        self.actor_optimiser = Adam([*self.policy.parameters(), *learnt], config.learning_rate)
        # listed once: to find them takes a while
        self._actor, self._deployed = list(self.policy.parameters()), list(self.deployed.parameters())
        self._target = list(self.target.parameters())
        networks = self.policy, self.deployed, self.critic, self.target
        self._step = carried_out(
            "learner", self.draw, self.learn, problem, config, networks, config.cuda_graph, self.noise.generators
        )

    @property
    def temperature(self) -> Tensor:
        """alpha, (L,), without gradient."""
        return self.log_temperature.detach().exp()

    @temperature.setter
    def temperature(self, value: Tensor) -> None:
        assign([self.log_temperature], [value.log()])

    def begin(self, problem: Problem, demonstrations: Replay) -> None:
        """Prepare a fresh learner; with `cloned`, fit the actor to the demonstrations (standardised rows)."""
        if self.config.cloned:
            for _ in clone(problem, self.policy, demonstrations, replace(FIT, steps=self.config.cloned)):
                pass
            assign(self._deployed, self._actor)

    def explore(self, observations: Tensor) -> Tensor:
        """Sampled actions (L, N, A) for raw observations (L, N, d)."""
        return self.policy.explore(observations, self.exploration.normal(observations.shape[1], self.action_size))

    def interact(self, problem: Problem, memory: Memory) -> Iterator[int]:
        """`interaction.interact` by this learner's own settings."""
        config = self.config
        return interact(problem, self.explore, memory, config.random_steps, config.updates_per_step, config.warmup)

    def update(self, batch: Batch) -> dict[str, Tensor]:
        """One critic update, every `actor_period` updates one of actor and temperature, and the target's step.

        Args:
            batch: standardised transitions with finite rewards, (L, B).

        Returns:
            Diagnostics, each (L,), still on the device.
        """
        with_actor = self.updates % self.config.actor_period == 0 and self.updates >= self.config.actor_starts
        info = self._step(with_actor, batch)
        self.updates += 1
        return info

    def draw(self, with_actor: bool, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """Standard normal noise (L, B, A) behind the next actions and, if the actor learns, behind its own."""
        shape = batch.actions.shape[1:]
        return self.noise.normal(*shape), self.noise.normal(*shape) if with_actor else None

    def learn(self, noise: Tensor, actor_noise: Tensor | None, batch: Batch) -> dict[str, Tensor]:
        """The update, given its noise as `draw` gives it."""
        temperature = self.temperature
        loss, values = self.critic_loss(batch, noise, temperature)
        self.critic_optimiser.descend(loss)
        if actor_noise is not None:
            self.learn_actor(actor_noise, batch, temperature)
        follow(self._target, self.critic_optimiser.parameters, self.config.target_rate)
        means = {"value": values.detach().mean((1, 2)), "reward": batch.rewards.mean(-1)}
        return {"critic_loss": loss.detach(), "temperature": self.temperature, **means}

    def critic_loss(self, batch: Batch, noise: Tensor, temperature: Tensor) -> tuple[Tensor, Tensor]:
        """(Q(s, a) - y)^2 with y = r + gamma mask (min Q'(s', a') - alpha log pi(a'|s')), a' ~ pi.

        Args:
            batch: (L, B).
            noise: standard normal (L, B, A) behind a'.
            temperature: alpha (L,).

        Returns:
            The loss (L,), a mean over the batch and a sum over heads; and Q(s, a) (L, heads, B).
        """
        with torch.no_grad():
            next_actions, log_density = self.policy.sample(batch.next_observations, noise)
            if self.absorbing:
                real = 1 - batch.next_observations[..., -1]
                next_actions, log_density = next_actions * real.unsqueeze(-1), log_density * real
            next_values = self.target(batch.next_observations, next_actions).amin(1)
            next_values = next_values - temperature[:, None] * log_density
            targets = batch.rewards + self.config.discount * batch.masks * next_values
        values = self.critic(batch.observations, batch.actions)
        return (values - targets[:, None]).square().mean(-1).sum(-1), values

    def learn_actor(self, noise: Tensor, batch: Batch, temperature: Tensor) -> None:
        """One step of the actor, of alpha towards the target entropy, and of the policy that is handed over."""
        loss, entropy = self.actor_loss(batch, noise, temperature)
        gradients = list(torch.autograd.grad(loss.sum(), self._actor))  # none for the critic's weights
        if self.target_entropy is not None:
            gradients.append(temperature * (entropy.detach() - self.target_entropy))  # by log alpha
        self.actor_optimiser.step(gradients)
        if self.config.averaging:
            self.actor_updates += 1
            rate = (9 / (self.actor_updates + 8)).clamp(min=1 - self.config.averaging)  # forgets the first weights
            follow(self._deployed, self._actor, rate)

    def actor_loss(self, batch: Batch, noise: Tensor, temperature: Tensor) -> tuple[Tensor, Tensor]:
        """alpha log pi(a|s) - min Q(s, a), a ~ pi from standard normal noise (L, B, A), at the batch's s.

        With `cloning`, that weight times the error of the demonstrated actions is added at the demonstrated rows.

        Returns:
            The loss (L,) and the policy's entropy (L,) in nats, both means over states that are not absorbing.
        """
        actions, log_density = self.policy.sample(batch.observations, noise)
        values = self.critic(batch.observations, actions).amin(1)
        loss = self._mean(temperature[:, None] * log_density - values, batch.observations)
        if self.config.cloning and self.demonstrated:
            demonstrated = Batch(*(column[:, : self.demonstrated] for column in batch))
            errors = cloning_loss(self.policy, demonstrated, beta=1.0)
            loss = loss + self.config.cloning * self._mean(errors, demonstrated.observations)
        return loss, -self._mean(log_density, batch.observations)

    def _mean(self, values: Tensor, observations: Tensor) -> Tensor:
        """Mean (L,) of values (L, B) over the observations (L, B, d) that are not absorbing."""
        if not self.absorbing:
            return values.mean(-1)
        real = 1 - observations[..., -1]
        return (values * real).sum(-1) / real.sum(-1).clamp(min=1)
