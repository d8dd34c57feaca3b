"""Peers as methods of the suite: same demonstrations, environments and seeds, same instrument, same store and report.

They train in their own interpreters. `ndi-bench run --methods benchmarks.peers.methods:SB3_SAC ...` runs one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from benchmarks.kit.contract import Method, Problem, Progress

from .exchange import SCRIPTS, CurrentPolicy, ForeignPolicy, job, outcome, running
from .scripts.link import decode
from .venvs import interpreter


@dataclass(frozen=True)
class SB3Config:
    """Stable-Baselines3's own defaults for SAC, under its own names (but `release` and `hidden`)."""

    release: str = "2.9.2"
    """Version that the requirements pin; part of a run's identity, and not to be set."""
    hidden: tuple[int, ...] = (256, 256)
    """Hidden units of actor and critics."""
    learning_rate: float = 3e-4
    """Adam step size."""
    learning_starts: int = 100
    """Environment steps with random actions before the first update."""
    batch_size: int = 256
    """Transitions per update."""
    tau: float = 0.005
    """Share of the online critic that enters the target at every update."""
    gamma: float = 0.99
    """Discount."""
    train_freq: int = 1
    """Environment steps between updates."""
    gradient_steps: int = 1
    """Updates each time."""
    ent_coef: str = "auto"
    """Entropy temperature: learnt, from 1."""


@dataclass(frozen=True)
class ImitationBCConfig:
    """The defaults of `imitation.algorithms.bc.BC`, and twice as many updates as the suite's BC makes."""

    release: str = "1.0.1"
    """Version that the requirements pin; part of a run's identity, and not to be set."""
    hidden: tuple[int, ...] = (32, 32)
    """Hidden tanh units (FeedForward32Policy)."""
    normalise: bool = False
    """Running normalisation of the observations."""
    batch_size: int = 32
    """Transitions per update."""
    learning_rate: float = 1e-3
    """Adam step size."""
    entropy_weight: float = 1e-3
    """Weight of the entropy bonus."""
    l2_weight: float = 0.0
    """Weight of half the squared norm of all parameters."""
    updates: int = 20_000
    """Gradient updates."""


def train_online(script: str, peer: str, problem: Problem, config: Any) -> Iterator[Progress]:
    """Let a peer learn on the problem's one environment, which is stepped here, on its behalf."""
    settings = asdict(config)
    with running(interpreter(peer), SCRIPTS / script, job(problem, settings)) as connection:
        while problem.environments.steps < problem.budget:
            _, action, updates = connection.recv()
            transition = problem.environments.step(np.frombuffer(action, np.float32)[None])
            yield Progress(updates, CurrentPolicy(connection, problem.device))
            connection.send(outcome(transition, problem.environments.observations))
        _, policy, updates = connection.recv()
        yield Progress(updates, ForeignPolicy(decode(policy), problem.device))


def train_offline(script: str, peer: str, problem: Problem, config: Any) -> Iterator[Progress]:
    """Let a peer learn from the problem's demonstrations; yields its final policy."""
    with running(interpreter(peer), SCRIPTS / script, job(problem, asdict(config))) as connection:
        _, policy, updates = connection.recv()
    yield Progress(updates, ForeignPolicy(decode(policy), problem.device))


SB3_SAC = Method(
    name="sb3-sac",
    label="SAC (Stable-Baselines3)",
    summary="Stable-Baselines3's SAC on the true reward, with its defaults, in its own virtual environment",
    source="Raffin et al., JMLR 22 (268), 2021; stable-baselines3 as pinned in benchmarks/peers/requirements",
    train=partial(train_online, "sb3_sac.py", "stable-baselines3"),
    config=SB3Config(),
    demonstrations=False,
    privileged=True,
    lanes=False,
    cost=lambda config: 2.5,
)

IMITATION_BC = Method(
    name="imitation-bc",
    label="BC (imitation, default)",
    summary="The imitation package's BC with its defaults, in its own virtual environment",
    source="Gleave et al., arXiv 2211.11972; imitation as pinned in benchmarks/peers/requirements",
    train=partial(train_offline, "imitation_bc.py", "imitation"),
    config=ImitationBCConfig(),
    online=False,
    lanes=False,
)

IMITATION_BC_TUNED = replace(
    IMITATION_BC,
    name="imitation-bc-tuned",
    label="BC (imitation, tuned)",
    summary="The same with the settings that its authors tuned per task",
    source="HumanCompatibleAI/imitation, benchmarking/bc_seals_{hopper,half_cheetah,walker}_best_hp_eval.json",
    config=ImitationBCConfig(normalise=True, batch_size=64, learning_rate=7.2e-4, l2_weight=1.4e-6),
    per_task={
        "halfcheetah": {"learning_rate": 8.1e-3, "l2_weight": 5.7e-3},
        "walker2d": {"learning_rate": 3.0e-4, "l2_weight": 1.5e-3, "batch_size": 32},
    },
)
