"""What a plan's replay will take, read off the replay itself without allocating it; remembered, so that torch and the
simulator need not be loaded to say it again.
"""

from __future__ import annotations

from collections.abc import Iterable

from benchmarks.memo import remembered
from benchmarks.plan.grid import Cell
from benchmarks.tasks import Task


def replay_bytes(lanes: int, capacity: int, observation_size: int, action_size: int) -> int:
    """Bytes of a replay of so many lanes and transitions per lane.

    Built on torch's device without storage, so that the answer is the replay's own, whatever it stores.
    """
    import torch  # not where the answer is remembered

    from benchmarks.kit.replay import Replay

    replay = Replay(lanes, capacity, observation_size, action_size, torch.device("meta"))
    return sum(value.nbytes for value in vars(replay).values() if isinstance(value, torch.Tensor))


def cell_bytes(cell: Cell) -> int:
    """Bytes of the replay of a cell's process, which holds the whole budget of every lane; 0 for offline methods.

    Networks, demonstrations and the activations of an update are not counted: beside a whole budget they are small.

    Raises:
        UserError: the task's environment cannot be opened.
    """
    task, lanes, budget = cell.first.task, len(cell.runs), cell.first.budget
    absorbing = any(run.absorbing for run in cell.runs)
    if not budget:
        return 0
    question = f"replay of {lanes} lanes and {budget} steps of {task.env_id}{', absorbing' * absorbing}"
    return remembered(question, lambda: _measured(task, lanes, budget, absorbing))


def step_bytes(cell: Cell) -> int:
    """Bytes of one environment step of one lane in a cell's replay."""
    return cell_bytes(cell) // max(len(cell.runs) * cell.first.budget, 1)


def most_at_once(cells: Iterable[Cell], workers: int) -> int:
    """Bytes of the replays of so many processes at a time, at worst."""
    return sum(sorted(map(cell_bytes, cells), reverse=True)[: max(workers, 1)])


def _measured(task: Task, lanes: int, budget: int, absorbing: bool) -> int:
    from benchmarks.instrument.environment import spaces_of  # not where the answer is remembered
    from benchmarks.kit.replay import capacity_for

    observations, actions = spaces_of(task)
    size = observations.shape[0] + absorbing
    return replay_bytes(lanes, capacity_for(budget, absorbing), size, actions.shape[0])
