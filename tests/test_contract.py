"""What every registered method must keep to, whoever wrote it: registering is being tested."""

import dataclasses
import inspect

import pytest
import torch
from toy_methods import Still

from benchmarks.kit.contract import Progress
from benchmarks.plan import registry
from benchmarks.plan.configuration import configure, describe

NAMES = sorted(registry.methods())


@pytest.mark.parametrize("name", NAMES)
def test_declaration(name):
    method = registry.find_method(name)
    assert method.summary
    assert method.source
    assert inspect.isgeneratorfunction(method.train)
    for task, changes in method.per_task.items():
        assert configure(method.config, changes) != method.config, f"{task} changes nothing"


@pytest.mark.parametrize("name", NAMES)
def test_every_setting_is_documented(name):
    undocumented = [setting.name for setting in describe(registry.find_method(name).config) if not setting.description]
    assert not undocumented


@pytest.mark.parametrize("name", NAMES)
def test_a_short_run_keeps_to_the_contract(name, point_problem, tiny):
    method = registry.find_method(name)
    seeds = (0, 1) if method.lanes else (0,)
    problem = point_problem(seeds=seeds, budget=40, privileged=method.privileged, demonstrations=method.demonstrations)
    if name == "expert":
        problem = dataclasses.replace(problem, expert=Still(2))
    last, updates = None, 0
    for last in method.train(problem, configure(method.config, tiny(method))):
        assert isinstance(last, Progress)
        assert last.updates >= updates
        assert all(value.shape == (len(seeds),) for value in last.info.values())
        updates = last.updates
    assert last is not None, "a method must yield at least once"
    actions = last.policy.act(torch.zeros(len(seeds), 3, 2))
    assert actions.shape == (len(seeds), 3, 2)
    assert actions.abs().max() <= 1
    assert problem.environments.steps == (40 if method.online else 0)
    if not method.privileged and method.online:
        assert torch.isfinite(actions).all()  # the hidden reward is NaN and must not have been used
