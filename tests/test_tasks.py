import json
import math

import gymnasium as gym
import numpy as np
import pytest

import benchmarks.instrument.environment  # noqa: F401 - registers the environment of the gate
from benchmarks.tasks import REFERENCES, TASKS, Task, read_references

PAPER = ["hopper", "halfcheetah", "walker2d", "ant", "humanoid"]


def test_the_papers_five_tasks_come_first_and_every_environment_exists():
    assert [name for name, task in TASKS.items() if "paper" in task.tags] == PAPER == list(TASKS)[:5]
    for name, task in TASKS.items():
        assert task.name == name
        assert gym.spec(task.env_id).max_episode_steps == (50 if name == "balance" else 1000)
        assert task.embedded_dataset == f"ndi/{name}/expert-v0"
    assert TASKS["inverted-double-pendulum"].hub_dataset == "mujoco/inverteddoublependulum/expert-v0"


def test_the_table_cannot_be_changed():
    with pytest.raises(TypeError):
        TASKS["mine"] = TASKS["hopper"]
    with pytest.raises(AttributeError):
        TASKS["hopper"].budget = 1


def test_scores_are_0_for_random_and_1_for_the_expert():
    task = Task("mine", "Mine-v0", random_return=-100.0, expert_return=300.0)
    np.testing.assert_allclose(task.normalize([[-100.0, 300.0], [100.0, 500.0]]), [[0, 1], [0.5, 1.5]])


def test_scores_are_nan_while_a_reference_is_unknown():
    assert np.isnan(Task("mine", "Mine-v0", random_return=0.0).normalize([1.0, 2.0])).all()


def test_references_of_all_tasks_are_measured_and_experts_beat_random_by_far():
    references = read_references()
    assert list(references) == list(TASKS)
    for name, entry in references.items():
        assert TASKS[name].random_return == entry["random"]["mean"]
        assert entry["random"]["episodes"] == 100
        if entry["expert"] is not None:
            assert TASKS[name].expert_return == entry["expert"]["mean"]
            gap = entry["expert"]["mean"] - entry["random"]["mean"]
            assert gap > 20 * (entry["random"]["standard_error"] + entry["expert"]["standard_error"])


def test_references_are_strict_json():
    def refuse(constant):
        raise AssertionError(constant)

    json.loads(REFERENCES.read_text(), parse_constant=refuse)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"budget": 0}, "the budget of task mine must be a positive whole number, it is 0"),
        ({"cost": math.nan}, "the cost of task mine must be a positive number, it is nan"),
        ({"random_return": 7.0, "expert_return": 7.0}, "task mine has the same random and expert return"),
    ],
)
def test_a_task_that_could_not_be_run_or_scored_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        Task("mine", "InvertedPendulum-v5", **changes)
