"""Two carts on the tops of two hills, to be kept there: a task that is learnt within some hundred updates.

Small on purpose, for the gate: a step takes microseconds, an episode 50 of them. It still has what methods stumble
over: instability (a wrong or late action is punished soon), terminal states, units that need standardising, and gusts
of wind, because of which even the expert must look where it is. Of either cart, with position x and velocity v:

    v' = v + STEP (HILL x + FORCE a) + WIND noise,    x' = x + STEP v'
"""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np

STEP, HILL, FORCE, WIND = 0.1, 4.0, 6.0, 0.1
EDGE = 1.0
"""Position at which a hill is lost."""
START = 0.3
"""Largest position and velocity at the beginning."""


class Balance(gym.Env[np.ndarray, np.ndarray]):
    """Observations (4,): both positions times 10, both velocities. Actions (2,) in [-1, 1]: a force on either cart.

    Reward of a step: 1, less the mean square of the positions and a tenth of that of the actions. Terminal beyond EDGE.
    """

    observation_space = gym.spaces.Box(-np.inf, np.inf, (4,), np.float32)
    action_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start near both tops."""
        super().reset(seed=seed)
        self.position, self.velocity = self.np_random.uniform(-START, START, (2, 2))
        return self._observation(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Push both carts for STEP."""
        action = np.asarray(action, np.float64)
        self.velocity = self.velocity + STEP * (HILL * self.position + FORCE * action)
        self.velocity += WIND * self.np_random.standard_normal(2)
        self.position = self.position + STEP * self.velocity
        reward = 1.0 - np.square(self.position).mean() - 0.1 * np.square(action).mean()
        return self._observation(), float(reward), bool(np.abs(self.position).max() > EDGE), False, {}

    def _observation(self) -> np.ndarray:
        return np.concatenate([10 * self.position, self.velocity]).astype(np.float32)
