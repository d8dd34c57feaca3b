"""What a plan's replay will take, read off the replay itself without allocating it."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from functools import cache

import torch

from benchmarks.instrument.environment import make, spaces
from benchmarks.kit.replay import Replay, capacity_for
from benchmarks.plan import registry
from benchmarks.plan.grid import Cell
from benchmarks.tasks import Task


def replay_bytes(lanes: int, capacity: int, observation_size: int, action_size: int) -> int:
    """Bytes of a replay of so many lanes and transitions per lane.

    Built on torch's device without storage, so that the answer is the replay's own, whatever it stores.
    """
    replay = Replay(lanes, capacity, observation_size, action_size, torch.device("meta"))
    return sum(value.nbytes for value in vars(replay).values() if isinstance(value, torch.Tensor))


def cell_bytes(cell: Cell) -> int:
    """Bytes of the replay of a cell's process, which holds the whole budget of every lane; 0 for offline methods.

    Networks, demonstrations and the activations of an update are not counted: beside a whole budget they are small.

    Raises:
        UserError: the task's environment cannot be opened.
    """
    if not cell.first.budget:
        return 0
    observation_size, action_size = _sizes(cell.first.task)
    absorbing = registry.find_method(cell.first.reference).absorbing(cell.config)
    capacity = capacity_for(cell.first.budget, absorbing)
    return replay_bytes(len(cell.runs), capacity, observation_size + absorbing, action_size)


def step_bytes(cell: Cell) -> int:
    """Bytes of one environment step of one lane in a cell's replay."""
    return cell_bytes(cell) // max(len(cell.runs) * cell.first.budget, 1)


def most_at_once(cells: Iterable[Cell], workers: int) -> int:
    """Bytes of the replays of so many processes at a time, at worst."""
    return sum(sorted(map(cell_bytes, cells), reverse=True)[: max(workers, 1)])


@cache
def _sizes(task: Task) -> tuple[int, int]:
    """Observation and action size of a task."""
    with closing(make(task)) as environment:
        observations, actions = spaces(environment)
        return observations.shape[0], actions.shape[0]
