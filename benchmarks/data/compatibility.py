"""Do demonstrations come from the task's own environment? Two witnesses: what was recorded of it, and its physics.

A dataset records the Gymnasium specification of its environment. It is compared as data; nothing that it names is
imported or opened. Where the numbers themselves are asked, it is the task's own environment that is stepped.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.envs.registration import load_env_creator, parse_env_id

from benchmarks.instrument.environment import make
from benchmarks.instrument.episodes import Episode
from benchmarks.tasks import Task

RENDERING = frozenset(
    ("render_mode", "width", "height", "camera_id", "camera_name", "default_camera_config", "max_geom",
     "visual_options")
)  # fmt: skip
"""Keyword arguments of environments that change pictures alone."""
HARMLESS = frozenset(
    ("AddWhiteNoise", "HumanRendering", "ObstructView", "RecordEpisodeStatistics", "RecordVideo", "RenderCollection")
)
"""Gymnasium's wrappers that change no observation, reward or action; the first and third are about pictures."""
TRANSITIONS = 64
"""Recorded transitions that are stepped again, drawn from a fixed stream."""
FIRST_STEPS = 10
"""Steps of an episode that are played again from its seed where no state can be set."""
TOLERANCE = 1e-4
"""Largest difference, in standard deviations of the recorded observations, that is rounding: the suite's own tasks stay
below 3e-6, with observations stored in single precision, and a gravity that is 1 % less is at 5e-4."""


@dataclass(frozen=True)
class Differences:
    """How the environment of a dataset differs from a task's, one phrase each."""

    meaning: tuple[str, ...] = ()
    """What gives observations, actions or rewards another meaning."""
    slight: tuple[str, ...] = ()
    """What need not."""

    def __str__(self) -> str:
        """All of them in one line; empty if there are none."""
        return "; ".join((*self.meaning, *self.slight))


def differences(task: Task, recorded: Mapping[str, Any] | None) -> Differences:
    """Compare the recorded specification of an environment with the task's.

    Args:
        task: the task.
        recorded: what `EnvSpec.to_json` wrote, as plain data; None if the dataset has none.
    """
    if recorded is None:
        return Differences(slight=("it does not say in which environment it was collected",))
    with closing(make(task)) as environment:
        own = environment.spec
    assert own is not None
    meaning, slight = list[str](), list[str]()
    if recorded["id"] != own.id:
        same = _versionless(recorded["id"]) == _versionless(own.id)
        (slight if same else meaning).append(f"it was collected in {recorded['id']}, not in {own.id}")
    elif isinstance(own.entry_point, str) and recorded.get("entry_point") != own.entry_point:
        slight.append(f"its {own.id} is {recorded.get('entry_point')}, not {own.entry_point}")
    meaning += _differing_arguments(own, recorded.get("kwargs") or {})
    if recorded.get("max_episode_steps") != own.max_episode_steps:
        limit = recorded.get("max_episode_steps")
        lasted = "have no time limit" if limit is None else f"last up to {limit} steps"
        meaning.append(f"its episodes {lasted}, those of {own.id} up to {own.max_episode_steps}")
    meaning += _differing_wrappers(own, recorded.get("additional_wrappers") or ())
    return Differences(tuple(meaning), tuple(slight))


def _versionless(env_id: str) -> Any:
    try:
        return parse_env_id(env_id)[:2]
    except gym.error.Error:
        return env_id


def _differing_arguments(own: gym.envs.registration.EnvSpec, recorded: Mapping[str, Any]) -> Iterator[str]:
    """Keyword arguments with another value than the task's; one that is not given has its default."""
    creator = own.entry_point if callable(own.entry_point) else load_env_creator(str(own.entry_point))
    parameters = inspect.signature(creator).parameters
    defaults = {name: p.default for name, p in parameters.items() if p.default is not inspect.Parameter.empty}
    for name in sorted((recorded.keys() | own.kwargs.keys()) - RENDERING):
        there, here = (_plain({**defaults, **given}.get(name)) for given in (recorded, own.kwargs))
        if there != here:
            yield f"it was collected with {name} = {there}, {own.id} has {here}"


def _differing_wrappers(own: gym.envs.registration.EnvSpec, recorded: Sequence[Any]) -> Iterator[str]:
    """Wrappers of one environment and not of the other, but for harmless ones."""
    here = [_plain(vars(wrapper)) for wrapper in own.additional_wrappers]
    there = [_plain(wrapper) for wrapper in recorded]
    for wrapper in there:
        name, place = (str(wrapper.get(key)) for key in ("name", "entry_point"))
        if wrapper not in here and not (name in HARMLESS and place.startswith("gymnasium.wrappers.")):
            yield f"it was collected through the wrapper {name}"
    for wrapper in here:
        if wrapper not in there:
            yield f"it was collected without the wrapper {wrapper['name']}"


def _plain(value: Any) -> Any:
    """A value as JSON has it, so that tuples are lists."""
    return json.loads(json.dumps(value, default=str))


def physics_difference(task: Task, episodes: Sequence[Episode], seeds: Sequence[int | None]) -> float | None:
    """How far the task's own environment comes out from recorded outcomes, at worst, when it is stepped as recorded.

    A MuJoCo environment of Gymnasium is put into recorded states, since its observations hold them, and makes the
    recorded action; that samples all of the data. Another one is reset with the seed of an episode and makes its
    first actions.

    Args:
        task: the task.
        episodes: recorded episodes that fit the task's spaces.
        seeds: what they were reset with; None where not known.

    Returns:
        The largest difference of an observation from the recorded one, in standard deviations of that observation
        over the episodes; None if the task's environment cannot be put into a recorded state.
    """
    recorded = np.concatenate([episode.observations for episode in episodes]).astype(np.float64)
    scale = recorded.std(0)
    scale[scale == 0] = 1.0
    with closing(make(task)) as environment:
        layout = getattr(environment.unwrapped, "observation_structure", None)
        plain = environment.spec is not None and not environment.spec.additional_wrappers
        if plain and layout is not None and hasattr(environment.unwrapped, "set_state"):
            found = list(_from_states(environment, layout, episodes))
        else:
            found = list(_from_seeds(environment, episodes, seeds))
    differing = [np.abs(outcome - expected) / scale[: len(expected)] for outcome, expected in found]
    return float(np.max(differing)) if differing else None


def _from_states(
    environment: gym.Env, layout: Mapping[str, int], episodes: Sequence[Episode]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Outcomes and recorded outcomes of sampled transitions, positions and velocities alone."""
    model: Any = environment.unwrapped
    skipped, positions, velocities = layout.get("skipped_qpos", 0), layout["qpos"], layout["qvel"]
    if (skipped + positions, velocities) != (model.model.nq, model.model.nv):
        return
    size = positions + velocities
    speeds = np.concatenate([np.abs(episode.observations[:, positions:size]) for episode in episodes])
    clipped = speeds.max() if (speeds == speeds.max()).sum() > 1 else np.inf  # some tasks clip what they show
    generator = np.random.default_rng(0)
    for _ in range(TRANSITIONS):
        episode = episodes[int(generator.integers(len(episodes)))]
        step = int(generator.integers(len(episode)))
        state = episode.observations[step].astype(np.float64)
        if np.abs(state[positions:size]).max() >= clipped:
            continue
        environment.reset(seed=0)
        # what is skipped is where the robot stands, on which nothing depends
        model.set_state(np.concatenate([np.zeros(skipped), state[:positions]]), state[positions:size])
        outcome = environment.step(episode.actions[step])[0]
        yield np.asarray(outcome, np.float64)[:size], episode.observations[step + 1][:size]


def _from_seeds(
    environment: gym.Env, episodes: Sequence[Episode], seeds: Sequence[int | None]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Outcomes and recorded outcomes of the first steps of episodes that begin as they did when recorded."""
    chosen = [(episode, seed) for episode, seed in zip(episodes, seeds, strict=True) if seed is not None]
    for episode, seed in chosen[: TRANSITIONS // FIRST_STEPS]:
        first, _ = environment.reset(seed=seed)
        if not np.allclose(first, episode.observations[0], atol=1e-6):
            continue  # it begins elsewhere, from which nothing follows
        for step in range(min(FIRST_STEPS, len(episode))):
            outcome = environment.step(episode.actions[step])[0]
            yield np.asarray(outcome, np.float64), episode.observations[step + 1]
