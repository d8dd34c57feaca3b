"""What a dry run says of memory, against the tensors that the methods really allocate."""

import dataclasses
from contextlib import closing

import pytest
import torch
from toy_methods import cells

from benchmarks.instrument.environment import LearnerEnvironments
from benchmarks.kit.replay import Replay
from benchmarks.plan import registry
from benchmarks.plan.configuration import configure
from benchmarks.run import memory

ONLINE = sorted(name for name, method in registry.methods().items() if method.online and method.lanes)


def test_bytes_are_those_of_the_real_tensors():
    replay = Replay(3, 50, 11, 3, torch.device("cpu"))
    real = sum(value.nbytes for value in vars(replay).values() if isinstance(value, torch.Tensor))
    assert memory.replay_bytes(3, 50, 11, 3) == real
    assert real >= replay.rows.nbytes >= 3 * 50 * 4 * (11 + 3)


@pytest.mark.parametrize("name", ONLINE)
def test_every_method_allocates_what_the_plan_says(name, point_problem, tiny):
    """Up to its first progress each method has built the replay of its whole budget."""
    (cell,) = cells(name, tasks="hopper", steps=300)
    method = registry.find_method(name)
    problem = point_problem(seeds=(0, 1), budget=300, privileged=method.privileged)
    with closing(LearnerEnvironments(cell.first.task, cell.seeds, 300, method.privileged)) as environments:
        sizes = environments.observation_size, environments.action_size
        demonstrations = tuple(_widened(lent, *sizes) for lent in problem.demonstrations)
        problem = dataclasses.replace(
            problem, environments=environments, demonstrations=demonstrations,
            observation_size=sizes[0], action_size=sizes[1],
        )  # fmt: skip
        next(method.train(problem, configure(method.config, tiny(method))))
    rows = problem.parts["experience"].replay.rows
    assert memory.step_bytes(cell) == rows.nbytes // (2 * 300)
    assert 0 <= memory.cell_bytes(cell) - rows.nbytes < 100  # the counters beside the rows


def test_offline_methods_need_no_replay():
    (cell,) = cells("bc", tasks="hopper")
    assert memory.cell_bytes(cell) == memory.step_bytes(cell) == 0


def test_the_largest_processes_count_at_worst():
    made = cells("ndi-made,dac", tasks="hopper")
    small, large = sorted(memory.cell_bytes(cell) for cell in made)
    assert small < large  # the absorbing bit
    assert memory.most_at_once(made, 1) == large
    assert memory.most_at_once(made, 0) == large
    assert memory.most_at_once(made, 9) == small + large


def _widened(demonstrations, observation_size, action_size):
    """The same demonstrations with as many dimensions as a task has."""
    wide = lambda array, size: array.repeat(-(-size // array.shape[1]), axis=1)[:, :size]  # noqa: E731
    return dataclasses.replace(
        demonstrations,
        observations=wide(demonstrations.observations, observation_size),
        actions=wide(demonstrations.actions, action_size),
        next_observations=wide(demonstrations.next_observations, observation_size),
    )
