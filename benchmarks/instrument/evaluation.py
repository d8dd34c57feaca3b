"""The instrument: the same evaluation episodes for every policy of every method."""

from __future__ import annotations

from typing import NamedTuple

import gymnasium as gym
import numpy as np
import torch

from benchmarks.kit.contract import Policy, TanhGaussian
from benchmarks.tasks import Task

from .environment import ActionScale, check_finite, checked, make, spaces
from .kl import mean_kl
from .threads import Threads

FIRST_SEED = 1_000_000
"""Reset seed of the first evaluation episode; training episodes have seeds from 2^31 on."""


class Evaluation(NamedTuple):
    """What the instrument reads off every lane's episodes, each (L, E)."""

    returns: np.ndarray
    """Undiscounted true returns, float64."""
    lengths: np.ndarray
    """Steps, int64."""
    kl: np.ndarray | None
    """KL(policy || expert) in nats, mean over the episode's states, float64; None where it is not defined: the policy
    is no tanh-Gaussian, or there is no expert to compare with."""
    kl_uniform: np.ndarray | None
    """The same for uniformly random actions at the same states."""


class Evaluator:
    """Plays a policy's deterministic action on a fixed set of episodes.

    The environments are opened at the first evaluation and kept. They belong to the evaluator alone, and every
    episode starts from its own seed, so that evaluating touches neither training nor the next evaluation.

    Args:
        task: the task.
        episodes: evaluation episodes per lane.
        expert: the policy to compare with, if there is one, on the device of the policies.
        threads: how many step the environments; changes no result.
    """

    def __init__(self, task: Task, episodes: int = 10, expert: TanhGaussian | None = None, threads: int = 1) -> None:
        self._threads = Threads(threads)
        self.task, self.expert = task, expert
        self.seeds: tuple[int, ...] = tuple(range(FIRST_SEED, FIRST_SEED + episodes))
        self._environments = [make(task)]
        self._scale = ActionScale.of(spaces(self._environments[0])[1])

    def _environment(self, lane: int, episode: int) -> gym.Env[np.ndarray, np.ndarray]:
        return self._environments[lane * len(self.seeds) + episode]

    def evaluate(self, policy: Policy, lanes: int, device: torch.device | str) -> Evaluation:
        """Play every lane of the policy on all evaluation episodes.

        All episodes advance together, with one call of the policy per time step. The call always has the same shape:
        episodes that are over keep their last observation and their action is not used, so that what a lane gets does
        not depend on how long the others last. An observation that is not finite ends
        its episode with a return of NaN.

        Args:
            policy: its `act` is called with observations (L, E, d), float32, on the device.
            lanes: L.
            device: where the policy computes.

        Raises:
            FloatingPointError: an action of an unfinished episode, or an observation at a reset, is not finite.
            ValueError: the actions, or what an environment gave, have another shape.
        """
        shape = (lanes, len(self.seeds))
        while len(self._environments) < lanes * len(self.seeds):
            self._environments.append(make(self.task))
        space, _ = spaces(self._environments[0])
        observations = np.empty((*shape, *space.shape), dtype=np.float32)
        for lane, episode in np.ndindex(shape):
            first, _ = self._environment(lane, episode).reset(seed=self.seeds[episode])
            observations[lane, episode] = checked(first, space, self.task.env_id)
        returns, lengths, running = np.zeros(shape), np.zeros(shape, dtype=np.int64), np.ones(shape, dtype=bool)
        device = torch.device(device)
        forked = [device] if device.type == "cuda" else []

        def step(place: np.ndarray) -> None:
            at: tuple[int, int] = (place[0], place[1])
            observation, reward, terminated, truncated, _ = self._environment(*at).step(executed[at])
            returns[at] += float(reward)
            lengths[at] += 1
            running[at] = not (terminated or truncated)
            try:
                observations[at] = checked(observation, space, self.task.env_id)
            except FloatingPointError:  # the other lanes go on
                returns[at], running[at] = np.nan, False

        compared = policy if self.expert is not None and isinstance(policy, TanhGaussian) else None
        visited: list[np.ndarray] = []
        with torch.no_grad(), torch.random.fork_rng(devices=forked):
            while running.any():
                if compared is not None:
                    visited.append(observations.copy())
                actions = policy.act(torch.tensor(observations, device=device)).cpu().numpy()
                expected = (*shape, *self._scale.half.shape)
                if actions.shape != expected:  # some others would fit by broadcasting
                    raise ValueError(f"the policy's actions have shape {actions.shape}, not {expected}")
                check_finite(np.where(running[..., None], actions, 0))
                executed = self._scale.to_environment(np.clip(actions.astype(np.float32), -1, 1))
                self._threads.each(step, list(np.argwhere(running)))
            if compared is None or self.expert is None:
                return Evaluation(returns, lengths, None, None)
            rows = torch.tensor(np.stack(visited, axis=2), device=device)
            inside = torch.arange(len(visited), device=device) < torch.tensor(lengths, device=device)[..., None]
            kl, kl_uniform = (part.cpu().numpy() for part in mean_kl(compared, self.expert, rows, inside))
            return Evaluation(returns, lengths, kl, kl_uniform)

    def close(self) -> None:
        """Close all environments."""
        self._threads.close()
        for environment in self._environments:
            environment.close()
