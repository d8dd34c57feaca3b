"""PWIL: primal Wasserstein imitation learning (Dadashi et al., arXiv 2006.04678) on the shared SAC.

An episode is coupled with the demonstrations step by step, without an adversary. Every demonstrated pair is an atom of
weight 1 / N, every step of the agent brings a weight of 1 / T and spends it on the nearest atoms that are left:

    c_i = min over theta of sum_j theta_j |x_i - e_j|,   0 <= theta_j <= what is left of atom j,   sum_j theta_j = 1 / T
    r_i = alpha exp(-beta T c_i / sqrt(D))

with x = (s, a) in the D dimensions that the agent sees, each divided by its demonstrated standard deviation. The sum of
c_i over an episode is an upper bound of its Wasserstein distance from the demonstrations. A step that finds too few
atoms left gets 0, and all atoms are back for the next episode. The reward depends on the episode so far, so it is
stored with the transition. Source: acme/agents/jax/pwil (its learner is D4PG); google-research/pwil.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from benchmarks.kit.bounds import Count, NonNegative, Positive
from benchmarks.kit.composite import Composite
from benchmarks.kit.contract import Method, Problem, Progress, Transition
from benchmarks.kit.demonstrations import Demonstrations
from benchmarks.kit.replay import Experience
from benchmarks.kit.sac import SAC, SACConfig
from benchmarks.kit.standardiser import Standardiser

SPARED = 1e-6
"""What a step's weight falls short of 1 / T, so that T steps cannot run out of atoms by rounding (both sources)."""


@dataclass(frozen=True)
class PWILConfig:
    """Settings of PWIL."""

    alpha: Positive = 5.0
    """Reward of a step that costs nothing (paper, equation 6)."""
    beta: NonNegative = 5.0
    """How fast the reward falls with the cost (paper, equation 6)."""
    horizon: Count = 1000
    """T, steps of a full episode: the task's time limit, which is 1,000 on all tasks of the suite but Balance (50)."""
    sac: SACConfig = field(default_factory=lambda: SACConfig(demonstration_fraction=0.25))
    """The shared learner. As for NDI, a quarter of every batch are demonstrated transitions; their reward is alpha, as
    that of the 50,000 with which the authors fill the replay in advance."""


class Coupling:
    """One lane's episode under way, coupled greedily with its demonstrations.

    Args:
        demonstrations: N transitions, the atoms.
        config: alpha, beta and T.
        seen: (d,) bool, the observations that count: those that the agent sees; default: all.
    """

    def __init__(self, demonstrations: Demonstrations, config: PWILConfig, seen: np.ndarray | None = None) -> None:
        self.config = config
        atoms = np.concatenate([demonstrations.observations, demonstrations.actions], axis=1).astype(np.float64)
        self.seen = np.ones(atoms.shape[1], bool)
        if seen is not None:
            self.seen[: len(seen)] = seen
        atoms = atoms[:, self.seen]
        std = atoms.std(0)
        self.scale = np.where(std < 1e-6, 1.0, std)  # acme's rule for what does not vary
        self.atoms, self.left = atoms / self.scale, np.empty(len(atoms))
        self.reset()

    def reset(self) -> None:
        """Begin an episode: all atoms are whole."""
        self.left[:] = 1 / len(self.atoms)

    def reward(self, observation: np.ndarray, action: np.ndarray) -> float:
        """Reward in [0, alpha] of the episode's next step, from raw s (d,) and a (A,); spends atoms."""
        distances = np.linalg.norm(self.atoms - np.concatenate([observation, action])[self.seen] / self.scale, axis=1)
        weight = 1 / self.config.horizon - SPARED
        nearest = distances.argsort(kind="stable")
        left = self.left[nearest]
        spent = np.clip(weight - (left.cumsum() - left), 0, left)  # nearer atoms first
        enough = left.sum() >= weight
        self.left[nearest] = left - spent
        cost = spent @ distances[nearest]
        sharpness = self.config.beta * self.config.horizon / np.sqrt(self.atoms.shape[1])
        return float(self.config.alpha * np.exp(-sharpness * cost)) if enough else 0.0


class CoupledExperience(Composite):
    """Experience whose transitions get their reward as they are stored.

    Args:
        problem: the cell.
        config: settings.
        experience: where the transitions go.
    """

    state = ("left",)

    def __init__(self, problem: Problem, config: PWILConfig, experience: Experience) -> None:
        self.experience = experience
        seen = experience.standardise.std.isfinite()[:, 0].cpu().numpy()
        self.couplings = [Coupling(d, config, own) for d, own in zip(problem.demonstrations, seen, strict=True)]
        self.left = [torch.from_numpy(coupling.left) for coupling in self.couplings]  # the same memory

    def add(self, transition: Transition) -> None:
        """Store one environment step of every lane with its reward."""
        pairs = zip(self.couplings, transition.observations, transition.actions, strict=True)
        rewards = np.array([coupling.reward(s, a) for coupling, s, a in pairs], dtype=np.float32)
        self.experience.add(transition._replace(rewards=rewards))
        for lane in np.flatnonzero(transition.terminated | transition.truncated):
            self.couplings[lane].reset()


def train(problem: Problem, config: PWILConfig) -> Iterator[Progress]:
    """Learn from rewards that were stored with the transitions."""
    standardise = Standardiser.from_demonstrations(problem)
    learner = SAC(problem, config.sac, standardise)
    experience = Experience(problem, standardise, config.sac.batch_size, config.sac.demonstration_fraction)
    coupled = CoupledExperience(problem, config, experience)
    if not problem.keep(learner=learner, experience=experience, coupled=coupled):
        learner.begin(problem, experience.demonstrations)
    info: dict[str, Tensor] = {}
    for updates in learner.interact(problem, coupled):
        for _ in range(updates):
            batch = experience.sample()
            batch.rewards[:, : experience.demonstrated] = config.alpha
            info = learner.update(batch)
        yield Progress(learner.updates, learner.deployed, info)


METHOD = Method(
    name="pwil",
    label="PWIL (on SAC)",
    summary="Primal Wasserstein imitation: reward by a greedy coupling with the demonstrations, on the shared SAC",
    source="Dadashi et al., arXiv 2006.04678; acme/agents/jax/pwil",
    train=train,
    config=PWILConfig(),
    cost=lambda config: 1.1 * config.sac.cost,
)
