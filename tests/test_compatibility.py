"""Whether demonstrations are what the task is: the recorded environment compared, and its physics tried."""

import json

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import wrappers

from benchmarks.data.compatibility import TOLERANCE, differences, physics_difference
from benchmarks.instrument.episodes import Episode
from benchmarks.tasks import TASKS, Task

HOPPER = TASKS["hopper"]


def recorded(environment):
    """What Minari stores of an environment."""
    return json.loads(environment.spec.to_json())


def hopper(**options):
    return gym.make("Hopper-v5", **options)


@pytest.mark.filterwarnings("ignore:.*precision lowered by casting")
@pytest.mark.parametrize(
    ("environment", "phrase"),
    [
        (lambda: wrappers.NormalizeObservation(hopper()), "collected through the wrapper NormalizeObservation"),
        (lambda: wrappers.NormalizeReward(hopper()), "collected through the wrapper NormalizeReward"),
        (lambda: wrappers.RescaleAction(hopper(), -2.0, 2.0), "collected through the wrapper RescaleAction"),
        (lambda: wrappers.FrameStackObservation(hopper(), 4), "collected through the wrapper FrameStackObservation"),
        (lambda: hopper(terminate_when_unhealthy=False), "with terminate_when_unhealthy = False, Hopper-v5 has True"),
        (lambda: hopper(forward_reward_weight=2.0), "with forward_reward_weight = 2.0, Hopper-v5 has 1.0"),
        (lambda: hopper(max_episode_steps=500), "its episodes last up to 500 steps, those of Hopper-v5 up to 1000"),
        (lambda: hopper(max_episode_steps=-1), "its episodes have no time limit, those of Hopper-v5 up to 1000"),
        (lambda: gym.make("Walker2d-v5"), "collected in Walker2d-v5, not in Hopper-v5"),
    ],
)
def test_what_changes_the_meaning_is_named(environment, phrase):
    found = differences(HOPPER, recorded(environment()))
    assert len(found.meaning) == 1
    assert phrase in found.meaning[0]
    assert str(found) == "; ".join((*found.meaning, *found.slight))


@pytest.mark.parametrize(
    "environment",
    [
        hopper,
        lambda: wrappers.RecordEpisodeStatistics(hopper()),
        lambda: hopper(render_mode="rgb_array", width=64),
        lambda: hopper(terminate_when_unhealthy=True, healthy_z_range=(0.7, float("inf"))),
    ],
)
def test_what_changes_nothing_is_passed_over(environment):
    found = differences(HOPPER, recorded(environment()))
    assert (found.meaning, found.slight) == ((), ())


def test_a_wrapper_that_only_has_a_harmless_name_is_named():
    spec = recorded(hopper()) | {"additional_wrappers": [
        {"name": "RecordVideo", "entry_point": "evil:RecordVideo", "kwargs": {}}
    ]}  # fmt: skip
    assert differences(HOPPER, spec).meaning == ("it was collected through the wrapper RecordVideo",)


def test_an_older_version_or_another_class_is_a_slight_difference():
    spec = recorded(hopper())
    assert differences(HOPPER, spec | {"id": "Hopper-v4"}).slight == (
        "it was collected in Hopper-v4, not in Hopper-v5",
    )
    (phrase,) = differences(HOPPER, spec | {"entry_point": "os:system"}).slight
    assert phrase == "its Hopper-v5 is os:system, not gymnasium.envs.mujoco.hopper_v5:HopperEnv"
    (phrase,) = differences(HOPPER, None).slight
    assert phrase == "it does not say in which environment it was collected"


def test_the_wrappers_of_the_task_itself_are_expected():
    name, clipped = "lab/ClippedHopper-v5", wrappers.ClipReward.wrapper_spec(min_reward=-1.0, max_reward=1.0)
    gym.register(name, gym.spec("Hopper-v5").entry_point, max_episode_steps=1000, additional_wrappers=(clipped,))
    own = recorded(gym.make(name))
    assert str(differences(Task("mine", name), own)) == ""
    (phrase,) = differences(Task("mine", name), own | {"additional_wrappers": []}).meaning
    assert phrase == "it was collected without the wrapper ClipReward"


# --- physics ----------------------------------------------------------------------------------------------------------


def played(environment, episodes=2, steps=40, dtype=np.float64):
    """Random play."""
    environment.action_space.seed(0)
    made = []
    for number in range(episodes):
        path, actions = [environment.reset(seed=number)[0]], []
        for _ in range(steps):
            actions.append(environment.action_space.sample())
            path.append(environment.step(actions[-1])[0])
        nothing = np.zeros(steps)
        made.append(Episode(number, np.array(path, dtype), np.array(actions), nothing, nothing > 0, nothing > 0))
    return made


def changed(env_id, **options):
    """An environment with other numbers in its model."""
    environment = gym.make(env_id)
    for name, factor in options.items():
        owner, _, field = name.rpartition("__")
        model = environment.unwrapped.model
        getattr(getattr(model, owner) if owner else model, field)[:] *= factor
    return environment


@pytest.mark.parametrize("name", ["hopper", "halfcheetah", "walker2d", "ant", "inverted-double-pendulum"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_same_physics_repeat_what_is_recorded(name, dtype):
    episodes = played(gym.make(TASKS[name].env_id), dtype=dtype)
    assert physics_difference(TASKS[name], episodes, (0, 1)) < TOLERANCE / 10


@pytest.mark.parametrize(
    ("name", "other"),
    [
        ("hopper", lambda: changed("Hopper-v5", opt__gravity=1.02)),
        ("walker2d", lambda: changed("Walker2d-v5", body_mass=1.05)),
        ("walker2d", lambda: changed("Walker2d-v5", geom_friction=0.5)),
        ("halfcheetah", lambda: gym.make("HalfCheetah-v5", frame_skip=4)),
        ("inverted-double-pendulum", lambda: changed("InvertedDoublePendulum-v5", body_mass=1.05)),
    ],
)
def test_other_physics_are_seen(name, other):
    difference = physics_difference(TASKS[name], played(other()), (0, 1))
    assert TOLERANCE < difference < 100


def test_without_a_state_or_a_seed_nothing_can_be_said():
    pendulum = TASKS["inverted-double-pendulum"]
    episodes = played(gym.make(pendulum.env_id))
    assert physics_difference(pendulum, episodes, (None,) * 2) is None
    assert physics_difference(pendulum, episodes, (100, 101)) is None, "they began elsewhere"
