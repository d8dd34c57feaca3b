"""Cells of HalfCheetah's size without environments, for timing updates."""

import pytest
import torch

from benchmarks.kit.contract import Problem
from benchmarks.kit.replay import Batch

torch.set_num_threads(1)
OBSERVATIONS, ACTIONS = 17, 6


@pytest.fixture
def cell():
    """Factory: lanes -> (problem, random batch of 128 per lane)."""

    def make(lanes, size=128):
        problem = Problem(
            task="halfcheetah",
            seeds=tuple(range(lanes)),
            observation_size=OBSERVATIONS,
            action_size=ACTIONS,
            demonstrations=(),
            environments=None,
            budget=1000,
            device=torch.device("cpu"),
        )
        states, following = torch.randn(lanes, size, OBSERVATIONS), torch.randn(lanes, size, OBSERVATIONS)
        actions = torch.rand(lanes, size, ACTIONS) * 2 - 1
        batch = Batch(states, actions, following, torch.rand(lanes, size), torch.ones(lanes, size))
        return problem, batch

    return make
