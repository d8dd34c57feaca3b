"""The loop of environment steps: who acts when, and what an interrupted run must remember of it."""

import copy
from dataclasses import replace

import pytest
import torch

from benchmarks.kit.interaction import interact
from benchmarks.kit.streams import Streams

WARMUP, STARTS, BUDGET = 5, 8, 100


class Recorder:
    """A memory and a policy that write down what reaches them."""

    def __init__(self, problem):
        self.problem, self.updates, self.streams = problem, 0, problem.streams("noise")
        self.stored, self.chosen = [], []

    def add(self, transition):
        self.stored.append(torch.as_tensor(transition.actions).clone())

    def explore(self, observations):
        self.chosen.append((self.problem.environments.steps, self.updates))
        return self.streams.uniform(1, self.problem.action_size)

    def run(self, ahead, stop=BUDGET):
        for updates in interact(self.problem, self.explore, self, WARMUP, 2, STARTS, ahead):
            self.updates += updates
            if self.problem.environments.steps == stop:
                break


def test_actions_are_chosen_by_the_latest_policy(point_problem):
    recorder = Recorder(point_problem(seeds=(0, 1), budget=BUDGET))
    recorder.run(ahead=False)
    assert recorder.chosen == [(step, 2 * max(0, step - STARTS)) for step in range(WARMUP, BUDGET)]


def test_a_short_run_warms_up_for_a_tenth_of_its_budget(point_problem):
    problem = point_problem(budget=BUDGET)
    recorder = Recorder(problem)
    due = list(interact(problem, recorder.explore, recorder, warmup=50, updates_per_step=2, learning_starts=80))
    assert recorder.chosen[0][0] == BUDGET // 10
    assert due == [0] * (BUDGET // 10) + [2] * (BUDGET - BUDGET // 10)


def test_ahead_they_are_chosen_one_round_of_updates_before(point_problem):
    """While the environments make the step that follows, a device can make these updates."""
    recorder = Recorder(point_problem(seeds=(0, 1), budget=BUDGET))
    recorder.run(ahead=True)
    # as ever before and at the first updates, with which a method may still fit what its policy needs
    first = [(step, 2 * max(0, step - STARTS)) for step in range(WARMUP, STARTS + 2)]
    assert recorder.chosen == first + [(step, 2 * (step - STARTS - 1)) for step in range(STARTS + 2, BUDGET + 1)]
    assert len(recorder.stored) == BUDGET


@pytest.mark.parametrize("stop", [WARMUP, STARTS + 1, STARTS + 2, 50])
def test_an_interrupted_run_takes_the_actions_that_were_chosen(point_problem, stop):
    whole = Recorder(point_problem(seeds=(0, 1), budget=BUDGET))
    whole.run(ahead=True)

    first = Recorder(point_problem(seeds=(0, 1), budget=BUDGET))
    first.run(ahead=True, stop=stop)
    state = {name: copy.deepcopy(part.state_dict()) for name, part in first.problem.parts.items()}
    problem = replace(first.problem, environments=copy.deepcopy(first.problem.environments), restored=state, parts={})
    second = Recorder(problem)
    second.streams.load_state_dict(first.streams.state_dict())
    second.run(ahead=True)
    torch.testing.assert_close(first.stored + second.stored, whole.stored, rtol=0, atol=0)


def test_on_cuda_it_is_ahead_unless_told_otherwise(point_problem, monkeypatch):
    on_cuda, on_cpu = replace(point_problem(), device=torch.device("cuda")), point_problem()
    monkeypatch.setattr(type(on_cuda), "streams", lambda self, purpose: Streams((0,), purpose))  # there may be no CUDA
    for problem, ahead, wanted in ((on_cuda, None, True), (on_cuda, False, False), (on_cpu, None, False)):
        problem.parts.clear()
        next(interact(problem, lambda observations: observations, Recorder(problem), WARMUP, ahead=ahead))
        assert ("following" in problem.parts) == wanted
