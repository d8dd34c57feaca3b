"""What policies are worth: mean returns over fixed episodes, with their standard errors."""

from __future__ import annotations

from typing import Any

import numpy as np

from benchmarks.instrument.environment import simulation_versions, spaces_of
from benchmarks.tasks import Task

from .policy import ExpertPolicy
from .rollout import Player, expert_player, random_player, rollout

FIRST_SEED = 3_000_000
"""Reset seed of the first measured episode; neither a training, an evaluation nor a demonstration seed."""
EPISODES = 100
"""Episodes per measured mean."""


def _measure(task: Task, player: Player, episodes: int) -> dict[str, Any]:
    """Mean undiscounted return with its standard error, and the mean length in steps."""
    played = rollout(task, player, range(FIRST_SEED, FIRST_SEED + episodes))
    returns = np.array([episode.total_return for episode in played])
    return {
        "mean": round(float(returns.mean()), 3),
        "standard_error": round(float(returns.std(ddof=1) / np.sqrt(episodes)), 3),
        "mean_length": round(float(np.mean([len(episode) for episode in played])), 1),
        "episodes": episodes,
    }


def measure_random(task: Task, episodes: int = EPISODES) -> dict[str, Any]:
    """Return of uniformly random actions."""
    return _measure(task, random_player(spaces_of(task)[1].shape[0]), episodes)


def measure_returns(task: Task, policy: ExpertPolicy, episodes: int = EPISODES) -> dict[str, Any]:
    """What a model card says of an expert's returns: `returns` and `measured_with`.

    They are those of its deterministic actions, as in evaluations, and of sampled ones, as in the demonstrations.
    """
    returns = {
        kind: _measure(task, expert_player(task, policy, stochastic=kind == "stochastic"), episodes)
        for kind in ("deterministic", "stochastic")
    }
    return {"returns": returns, "measured_with": simulation_versions()}
