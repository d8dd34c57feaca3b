import os
import subprocess
import sys
from io import BytesIO
from itertools import combinations, pairwise

import gymnasium as gym
import numpy as np
import pytest
import torch
from toy_methods import Still

from benchmarks.instrument.environment import (
    ActionScale,
    EnvironmentWarning,
    LearnerEnvironments,
    episode_seed,
    make,
    require_spaces,
    simulation_versions,
)
from benchmarks.instrument.evaluation import Evaluator
from benchmarks.kit.errors import UserError
from benchmarks.tasks import TASKS, Task

FORGETFUL = Task("forgetful", "Forgetful-v0")


class Forgetful(gym.Env):
    """An environment that ignores its seed."""

    observation_space = gym.spaces.Box(-1, 1, (2,))
    action_space = gym.spaces.Box(-2, 2, (1,))
    source = np.random.default_rng(0)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.source.uniform(-1, 1, 2), {}

    def step(self, action):
        return self.source.uniform(-1, 1, 2), 1.0, False, False, {}


class Words(Forgetful):
    observation_space = gym.spaces.Dict({"word": gym.spaces.Box(0, 1, (2,))})


class Unlicensed(Forgetful):
    def __init__(self):
        raise RuntimeError("no licence")


class Boundless(Forgetful):
    action_space = gym.spaces.Box(-np.inf, np.inf, (1,))


class Counting(Forgetful):
    action_space = gym.spaces.Box(0, 5, (1,), dtype=np.int64)


class Pinned(Forgetful):
    action_space = gym.spaces.Box(np.float32([0, 1]), np.float32([1, 1]))


class Faulty(Forgetful):
    """Its first observations are sound; from the second step on they are what a test wants."""

    outcome: object = None
    steps = 0

    def reset(self, *, seed=None, options=None):
        self.steps = 0
        return [0.0, 0.5], {}

    def step(self, action):
        self.steps += 1
        return self.outcome if self.steps > 1 else [0.5, 0.0], 1.0, False, False, {}


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setattr(gym.envs.registration, "registry", dict(gym.envs.registration.registry))
    gym.register("Forgetful-v0", Forgetful, max_episode_steps=5)
    gym.register("Words-v0", Words, max_episode_steps=5)
    gym.register("Unlicensed-v0", Unlicensed, max_episode_steps=5)
    gym.register("Boundless-v0", Boundless, max_episode_steps=5)
    gym.register("Endless-v0", Forgetful)
    gym.register("Counting-v0", Counting, max_episode_steps=5)
    gym.register("Pinned-v0", Pinned, max_episode_steps=5)
    gym.register("Faulty-v0", Faulty, max_episode_steps=5)


def actions_for(environments, steps, seed=0):
    shape = (steps, len(environments.seeds), environments.action_size)
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(np.float32)


def assert_equal(first, second):
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["hopper", "humanoid", "inverted-pendulum"])
def test_transitions_are_those_of_the_plain_environment(name):
    task = TASKS[name]
    environments = LearnerEnvironments(task, seeds=(3,), budget=200, privileged=True)
    plain = gym.make(task.env_id)
    episode = 0
    observation, _ = plain.reset(seed=episode_seed(3, episode))
    for actions in actions_for(environments, 200):
        transition = environments.step(actions)
        np.testing.assert_array_equal(transition.observations[0], observation.astype(np.float32))
        low, high = plain.action_space.low, plain.action_space.high
        executed = low + (actions[0].astype(np.float64) + 1) / 2 * (high - low)
        observation, reward, terminated, truncated, _ = plain.step(executed.astype(np.float32))
        np.testing.assert_allclose(transition.next_observations[0], observation, rtol=1e-3, atol=1e-3)
        np.testing.assert_allclose(transition.rewards[0], reward, rtol=1e-3, atol=1e-3)
        assert (transition.terminated[0], transition.truncated[0]) == (terminated, truncated)
        observation = transition.next_observations[0]
        if terminated or truncated:
            episode += 1
            observation, _ = plain.reset(seed=episode_seed(3, episode))
    assert episode > 1
    assert environments.steps == 200


def test_time_limit_truncates_and_the_next_episode_begins():
    environments = LearnerEnvironments(FORGETFUL, seeds=(0, 1), budget=12)
    ends = [environments.step(np.zeros((2, 1))) for _ in range(12)]
    assert [bool(t.truncated.all()) for t in ends] == [False, False, False, False, True] * 2 + [False, False]
    assert not any(t.terminated.any() for t in ends)
    for before, after in pairwise(ends):
        assert np.array_equal(before.next_observations, after.observations) != before.truncated.all()


def test_threads_step_as_one_does():
    task = TASKS["hopper"]
    alone, together = (LearnerEnvironments(task, range(5), 150, True, threads) for threads in (1, 3))
    ended = 0
    for actions in actions_for(alone, 150):
        first, second = alone.step(actions), together.step(actions)
        assert_equal(first, second)
        ended += first.terminated.sum()
    assert ended > 5  # resets as well
    together.close()


def test_what_fails_in_a_thread_is_raised():
    environments = LearnerEnvironments(FORGETFUL, seeds=(0, 1, 2), budget=2, threads=2)
    environments.environments[2].step = lambda action: 1 / 0
    with pytest.raises(ZeroDivisionError):
        environments.step(np.zeros((3, 1)))
    environments.close()


def test_the_budget_is_a_hard_stop():
    environments = LearnerEnvironments(FORGETFUL, seeds=(0,), budget=2)
    environments.step(np.zeros((1, 1)))
    environments.step(np.zeros((1, 1)))
    with pytest.raises(RuntimeError, match="budget of 2"):
        environments.step(np.zeros((1, 1)))


def test_rewards_are_hidden_unless_privileged():
    for privileged, expected in ((True, 1.0), (False, np.nan)):
        environments = LearnerEnvironments(FORGETFUL, seeds=(0,), budget=2, privileged=privileged)
        np.testing.assert_array_equal(environments.step(np.zeros((1, 1))).rewards, [expected])


def test_a_diverged_lane_is_named_before_anything_is_stepped():
    environments = LearnerEnvironments(FORGETFUL, seeds=(11, 12, 13), budget=2)
    with pytest.raises(FloatingPointError, match=r"lane 1 \(seed 12\)"):
        environments.step(np.array([[0.0], [np.nan], [0.0]]))
    assert environments.steps == 0
    with pytest.raises(ValueError, match="shape"):
        environments.step(np.zeros((3, 2)))


def test_actions_outside_the_cube_are_clipped_and_reported_as_executed():
    environments = LearnerEnvironments(FORGETFUL, seeds=(0,), budget=2)
    np.testing.assert_array_equal(environments.step(np.array([[1.7]])).actions, [[1.0]])


def test_the_action_scale_is_inverted_exactly_enough():
    scale = ActionScale.of(gym.spaces.Box(np.float32([-0.4, 1.0]), np.float32([0.4, 5.0])))
    unit = np.random.default_rng(0).uniform(-1, 1, (100, 2)).astype(np.float32)
    executed = scale.to_environment(unit)
    assert executed.dtype == np.float32
    np.testing.assert_allclose(scale.to_environment(np.eye(2) * 2 - 1), [[0.4, 1.0], [-0.4, 5.0]], rtol=1e-6)
    np.testing.assert_allclose(scale.to_unit(executed), unit, atol=3e-7)


def test_a_lane_does_not_depend_on_its_company():
    task = TASKS["hopper"]
    together, alone = LearnerEnvironments(task, (0, 1), 100), LearnerEnvironments(task, (1,), 100)
    for actions in actions_for(together, 100):
        pair, single = together.step(actions), alone.step(actions[1:])
        assert_equal([column[1:] for column in pair], single)


@pytest.mark.parametrize("name", TASKS)
def test_a_resumed_run_goes_on_bit_for_bit(name):
    task, cut = TASKS[name], 57
    going_on = LearnerEnvironments(task, seeds=(0, 5), budget=150, privileged=True)
    actions = actions_for(going_on, 150)
    actions[100:] = 0.1  # also through the end of an episode where the robot falls
    for step in range(cut):
        going_on.step(actions[step])
    file = BytesIO()
    torch.save(going_on.state_dict(), file)
    file.seek(0)
    resumed = LearnerEnvironments(task, seeds=(0, 5), budget=150, privileged=True)
    for step in range(10):  # whatever it did before
        resumed.step(actions[-step])
    resumed.load_state_dict(torch.load(file, weights_only=True))
    assert resumed.steps == cut
    np.testing.assert_array_equal(resumed.observations, going_on.observations)
    for step in range(cut, 150):
        assert_equal(going_on.step(actions[step]), resumed.step(actions[step]))


def test_a_state_of_a_resumed_run_can_be_resumed_too():
    first = LearnerEnvironments(TASKS["hopper"], seeds=(0,), budget=100)
    actions = actions_for(first, 100)
    for step in range(5):
        first.step(actions[step])
    second = LearnerEnvironments(TASKS["hopper"], seeds=(0,), budget=100)
    second.load_state_dict(first.state_dict())
    for step in range(5, 9):
        second.step(actions[step])
    third = LearnerEnvironments(TASKS["hopper"], seeds=(0,), budget=100)
    third.load_state_dict(second.state_dict())
    for step in range(9, 40):
        assert_equal(second.step(actions[step]), third.step(actions[step]))


def test_an_environment_that_does_not_repeat_itself_goes_on_with_a_fresh_episode():
    environments = LearnerEnvironments(FORGETFUL, seeds=(0,), budget=20)
    for _ in range(3):
        environments.step(np.zeros((1, 1)))
    state = environments.state_dict()
    with pytest.warns(EnvironmentWarning, match="Forgetful-v0 does not repeat itself"):
        environments.load_state_dict(state)
    assert environments.steps == 3
    truncated = [bool(environments.step(np.zeros((1, 1))).truncated[0]) for _ in range(5)]
    assert truncated == [False, False, False, False, True]


def test_a_state_of_other_lanes_is_refused():
    one, two = LearnerEnvironments(FORGETFUL, (0,), 5), LearnerEnvironments(FORGETFUL, (0, 1), 5)
    with pytest.raises(ValueError, match="2 lanes, not 1"):
        one.load_state_dict(two.state_dict())


def test_training_seeds_are_never_those_of_evaluation_or_demonstrations():
    seeds = {episode_seed(lane, episode) for lane in range(20) for episode in range(50)}
    assert len(seeds) == 1000
    assert min(seeds) >= 2**31
    assert max(seeds) < 2**32


@pytest.mark.parametrize(
    ("env_id", "message"),
    [
        ("Hoper-v5", "cannot open environment Hoper-v5"),
        ("Unlicensed-v0", "cannot open environment Unlicensed-v0: RuntimeError: no licence"),
        ("Words-v0", "observation space of Words-v0 must be a flat Box"),
        ("Boundless-v0", "actions of Boundless-v0 must be bounded"),
        ("Endless-v0", "no time limit"),
        ("Counting-v0", "the actions of Counting-v0 must be real numbers in a range"),
        ("Pinned-v0", "the actions of Pinned-v0 must be real numbers in a range"),
    ],
)
def test_an_environment_that_cannot_be_used_is_refused_in_one_line(env_id, message):
    with pytest.raises(UserError, match=message) as caught:
        make(Task("mine", env_id))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("outcome", "kind", "message"),
    [
        (np.zeros(1), ValueError, r"Faulty-v0 gave an observation of shape \(1,\), its space has \(2,\)"),
        ([0.0, np.nan], FloatingPointError, "Faulty-v0 gave an observation that is not finite"),
    ],
)
def test_an_environment_that_breaks_its_word_is_named(monkeypatch, outcome, kind, message):
    monkeypatch.setattr(Faulty, "outcome", outcome)
    task = Task("mine", "Faulty-v0")
    environments = LearnerEnvironments(task, (0,), 10)
    environments.step(np.zeros((1, 1)))
    with pytest.raises(kind, match=message):
        environments.step(np.zeros((1, 1)))
    if kind is ValueError:
        with pytest.raises(kind, match=message):
            Evaluator(task, 1).evaluate(Still(), 1, "cpu")


def test_an_observation_that_is_not_finite_costs_only_its_lane(monkeypatch):
    task, lost = Task("mine", "Faulty-v0"), []
    monkeypatch.setattr(Faulty, "outcome", np.zeros(2))
    environments = LearnerEnvironments(task, (0, 1), 10)
    environments.diverged = lambda *told: lost.append(told)
    environments.step(np.zeros((2, 1)))
    evaluator = Evaluator(task, 1)
    evaluator.evaluate(Still(), 2, "cpu")
    environments.environments[1].unwrapped.outcome = np.array([0.0, np.nan])
    evaluator._environment(1, 0).unwrapped.outcome = np.array([0.0, np.nan])
    before = environments.observations[1]
    seen = environments.step(np.zeros((2, 1)))
    assert lost == [(1, "Faulty-v0 gave an observation that is not finite")]
    assert np.array_equal(seen.next_observations[1], before)
    assert seen.truncated.tolist() == [False, True]
    assert np.isfinite(environments.observations).all()
    assert np.isfinite(evaluator.evaluate(Still(), 2, "cpu").returns[:, 0]).tolist() == [True, False]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_executed_actions_never_leave_the_bounds(dtype):
    bounds = np.round(np.arange(-3, 3.05, 0.1), 1)
    for low, high in combinations(bounds.tolist(), 2):
        space = gym.spaces.Box(low, high, (1,), dtype)
        scale = ActionScale.of(space)
        for unit in (-1, 1, np.nextafter(np.float32(1), np.float32(0))):
            executed = scale.to_environment(np.array([unit], np.float32))
            assert (executed >= space.low).all(), (low, high, unit)
            assert (executed <= space.high).all(), (low, high, unit)
        np.testing.assert_allclose(
            scale.to_environment(np.float32([[-1], [1]]))[:, 0], [low, high], rtol=1e-6, atol=1e-6
        )


def test_spaces_are_compared_with_the_tasks():
    observations, actions = gym.spaces.Box(-np.inf, np.inf, (348,)), gym.spaces.Box(-0.4, 0.4, (17,))
    require_spaces(TASKS["humanoid"], "it", observations, actions)
    with pytest.raises(
        UserError, match=r"it does not fit task humanoid: its actions are of shape \(17,\) in \[-1, 1\]"
    ):
        require_spaces(TASKS["humanoid"], "it", observations, gym.spaces.Box(-1, 1, (17,)))
    with pytest.raises(UserError, match=r"observations are of shape \(348,\), those of Hopper-v5 are of shape \(11,\)"):
        require_spaces(TASKS["hopper"], "it", observations, gym.spaces.Box(-1, 1, (3,)))
    with pytest.raises(UserError, match=r"its actions are Discrete\(2\)"):
        require_spaces(TASKS["humanoid"], "it", observations, gym.spaces.Discrete(2))


def test_mujoco_leaves_no_log_file_and_no_line_on_the_console(tmp_path):
    code = """
from benchmarks.instrument.environment import make
from benchmarks.tasks import TASKS
make(TASKS["halfcheetah"])
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr, os.listdir(tmp_path)) == ("", "", [])


def test_versions_tell_machines_apart_that_round_differently():
    code = "from benchmarks.instrument.environment import simulation_versions; print(simulation_versions()['libm'])"
    # glibc chooses its sine by the processor's instructions; elsewhere the variable means nothing
    plain = {**os.environ, "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-FMA,-AVX2_Usable,-AVX2,-FMA_Usable,-FMA4"}
    found = [
        subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True).stdout.strip()
        for env in (None, plain)
    ]
    assert found[0] == simulation_versions()["libm"]
    sine = "import math; print([math.sin(step / 10_007) for step in range(1, 10_000)])"
    sines = [subprocess.run([sys.executable, "-c", sine], env=env, capture_output=True).stdout for env in (None, plain)]
    assert (found[0] == found[1]) == (sines[0] == sines[1])
