"""Measure reference returns, and publish a freshly trained expert with what it was measured to be worth."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.environment import make, simulation_versions, spaces
from benchmarks.tasks import REFERENCES, TASKS, Task, read_references

from . import FOLDER, ExpertPolicy, export, has_expert, load_expert
from .rollout import Player, expert_player, random_player, rollout

FIRST_SEED = 3_000_000
"""Reset seed of the first reference episode; neither a training, an evaluation nor a demonstration seed."""
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
    environment = make(task)
    action_size = spaces(environment)[1].shape[0]
    environment.close()
    return _measure(task, random_player(action_size), episodes)


def measure_expert(
    task: Task, policy: ExpertPolicy, stochastic: bool = True, episodes: int = EPISODES
) -> dict[str, Any]:
    """Return of an expert, sampling its actions (as in the demonstrations) or not (as in evaluations)."""
    return _measure(task, expert_player(policy, stochastic), episodes)


def measure(
    task_names: Iterable[str] = tuple(TASKS), episodes: int = EPISODES, path: Path = REFERENCES
) -> dict[str, dict[str, Any]]:
    """Measure the random and the expert return of tasks and store them; other tasks in the file stay as they are.

    An expert that is not shipped yet is stored as null. The new numbers hold from the next start of Python on.

    Returns:
        Everything in the file, by task name.
    """
    for name in task_names:
        task = TASKS[name]
        entry = {
            "random": measure_random(task, episodes),
            "expert": measure_expert(task, load_expert(name), episodes=episodes) if has_expert(name) else None,
            "versions": simulation_versions(),
        }
        measured = {**read_references(path), name: entry}
        ordered = {
            known: measured[known] for known in (*TASKS, *sorted(set(measured) - set(TASKS))) if known in measured
        }
        path.write_text(json.dumps(ordered, indent=2) + "\n")
    return read_references(path)


def publish(
    task_name: str,
    weights: Mapping[str, np.ndarray],
    card: Mapping[str, Any],
    episodes: int = EPISODES,
    folder: Path = FOLDER,
) -> dict[str, Any]:
    """Ship an expert: measure its deterministic and stochastic return, then write its weights and model card.

    Run `measure` and `benchmarks.datasets.write_manifest` for the task afterwards.

    Args:
        task_name: a task of the suite.
        weights: see `ExpertPolicy`; `dict(numpy.load("expert.npz"))` of an exported actor.
        card: algorithm, library, steps, seed, versions and provenance of the training.
        episodes: episodes per measured mean.
        folder: where to write.
    """
    task, policy = TASKS[task_name], ExpertPolicy(weights, card.get("log_std", "clipped"))
    returns = {
        kind: measure_expert(task, policy, stochastic=kind == "stochastic", episodes=episodes)
        for kind in ("deterministic", "stochastic")
    }
    return export(task_name, weights, {**card, "returns": returns, "measured_with": simulation_versions()}, folder)
