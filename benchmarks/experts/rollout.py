"""Play a policy on one task with fixed seeds: for building datasets and for measuring reference returns."""

from __future__ import annotations

import copy
import zlib
from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
import torch

from benchmarks.instrument.environment import ActionScale, make, spaces, spaces_of
from benchmarks.instrument.episodes import Episode
from benchmarks.kit.errors import UserError
from benchmarks.tasks import Task

from .policy import ExpertPolicy


class Player(Protocol):
    """How a policy is played: unit actions from observations and each episode's own generator."""

    def __call__(self, observations: np.ndarray, generators: Sequence[np.random.Generator]) -> np.ndarray:
        """Unit actions (E, A) for observations (E, d) of the E unfinished episodes."""
        ...


def random_player(action_size: int) -> Player:
    """Uniformly random actions."""
    return lambda observations, generators: np.stack([g.uniform(-1, 1, action_size) for g in generators])


def expert_player(task: Task, policy: ExpertPolicy, stochastic: bool = True) -> Player:
    """An expert's actions on a task, sampled or deterministic.

    They are computed in double precision and rounded to single: actions then do not depend on the number of episodes
    played together, nor (but for rare ties) on the processor's way of summing, which keeps datasets the same
    everywhere. NumPy's generators give the noise for the same reason.

    Raises:
        UserError: the expert is not one of this environment: it sees or gives another number of values.
    """
    sizes = tuple(space.shape[0] for space in spaces_of(task))
    if sizes != (policy.observation_size, policy.action_size):
        raise UserError(
            f"the expert of {task.name} sees {policy.observation_size} values and gives {policy.action_size}, but "
            f"{task.env_id} has {sizes[0]} observations and {sizes[1]} actions; train an expert for it"
        )
    policy = copy.deepcopy(policy).cpu().double()

    def play(observations: np.ndarray, generators: Sequence[np.random.Generator]) -> np.ndarray:
        inputs = torch.from_numpy(observations.astype(np.float64))
        if not stochastic:
            return policy.act(inputs).numpy()
        noise = np.stack([generator.standard_normal(policy.action_size) for generator in generators])
        return policy.perturbed(inputs, torch.from_numpy(noise)).numpy()

    return play


def rollout(
    task: Task, player: Player, seeds: Sequence[int], progress: Callable[[float], None] = lambda fraction: None
) -> list[Episode]:
    """Play one episode per seed; an episode depends on its own seed alone.

    Args:
        task: the task.
        player: the policy, see `expert_player` and `random_player`.
        seeds: reset seeds.
        progress: called after every time step with the fraction of the time limit that has passed.

    Returns:
        The episodes in the order of the seeds, numbered from 0.

    Raises:
        UserError: the environment cannot be used.
    """
    environments = [make(task) for _ in seeds]
    observation_space, action_space = spaces(environments[0])
    scale = ActionScale.of(action_space)
    generators = [np.random.default_rng([seed, zlib.crc32(b"action noise")]) for seed in seeds]
    rows: list[list[tuple]] = [[] for _ in seeds]
    paths = [[np.array(environment.reset(seed=seed)[0])] for environment, seed in zip(environments, seeds, strict=True)]
    limit = environments[0].spec.max_episode_steps  # type: ignore[union-attr]
    running = list(range(len(seeds)))
    while running:
        unit = player(np.stack([paths[i][-1] for i in running]), [generators[i] for i in running])
        executed = scale.to_environment(unit.astype(np.float32))
        for i, action in zip(tuple(running), executed, strict=True):
            observation, reward, terminated, truncated, _ = environments[i].step(action)
            paths[i].append(np.array(observation))  # a copy: an environment may use its array again
            rows[i].append((action, float(reward), terminated, truncated))
            if terminated or truncated:
                running.remove(i)
                environments[i].close()
        progress(max(len(row) for row in rows) / limit if running else 1.0)  # type: ignore[operator]
    return [
        _episode(number, path, row, observation_space.dtype)
        for number, (path, row) in enumerate(zip(paths, rows, strict=True))
    ]


def _episode(number: int, path: list[np.ndarray], rows: list[tuple], dtype: np.dtype) -> Episode:
    actions, rewards, terminations, truncations = zip(*rows, strict=True)
    return Episode(
        number=number,
        observations=np.stack(path).astype(dtype),
        actions=np.stack(actions),
        rewards=np.array(rewards, dtype=np.float64),
        terminations=np.array(terminations, dtype=bool),
        truncations=np.array(truncations, dtype=bool),
    )
