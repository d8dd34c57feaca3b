"""What needs the simulator: environment steps and evaluation; and the policy's part in them."""

from contextlib import closing

import numpy as np
import pytest
import torch

from benchmarks.instrument.environment import LearnerEnvironments
from benchmarks.instrument.evaluation import Evaluator
from benchmarks.kit.sac import SAC, SACConfig
from benchmarks.kit.standardiser import Standardiser
from benchmarks.tasks import TASKS

from . import cases

STEPS = 50


@pytest.mark.benchmark(group="Environment, all lanes")
@pytest.mark.parametrize("lanes", [1, 5], ids=cases.lane_name)
@pytest.mark.parametrize("task", TASKS)
def test_environment(measure, task, lanes):
    """Random actions, resets included."""
    generator = np.random.default_rng(0)
    with closing(LearnerEnvironments(TASKS[task], range(lanes), 10**9)) as environments:
        actions = generator.uniform(-1, 1, (STEPS, lanes, environments.action_size)).astype(np.float32)

        def steps():
            for action in actions:
                environments.step(action)

        measure(steps, "step", STEPS)


def learner(lanes):
    problem = cases.problem(lanes)
    return SAC(problem, SACConfig(), Standardiser.identity(problem))


@pytest.mark.benchmark(group="Exploring action")
@pytest.mark.parametrize("lanes", [1, 5, 32], ids=cases.lane_name)
def test_exploring_action(measure, lanes):
    sac, observations = learner(lanes), torch.randn(lanes, 1, cases.OBSERVATIONS)

    def explore():
        for _ in range(STEPS):
            sac.explore(observations)

    measure(explore, "step", STEPS)


@pytest.mark.benchmark(group="Evaluation, per lane")
@pytest.mark.parametrize("lanes", [1, 5], ids=cases.lane_name)
def test_evaluation(measure, lanes):
    """Two whole HalfCheetah episodes of every lane."""
    policy = learner(lanes).policy
    with closing(Evaluator(TASKS["halfcheetah"], episodes=2)) as evaluator:
        measure(lambda: evaluator.evaluate(policy, lanes, "cpu"), "step", 2000 * lanes)
