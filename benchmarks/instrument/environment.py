"""The learner's environments: true reward hidden, steps counted, actions in [-1, 1], exact to resume.

Every environment of the suite is opened by `make`, here.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import math
import os
import platform
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import gymnasium as gym
import numpy as np
import torch

from benchmarks.kit.contract import Transition
from benchmarks.kit.errors import UserError, in_one_line
from benchmarks.tasks import Task

from .threads import Threads

gym.register("ndi/Balance-v0", entry_point="benchmarks.instrument.balance:Balance", max_episode_steps=50)


class EnvironmentWarning(UserWarning):
    """An environment does not do what a run of it may rely on."""


@dataclass(frozen=True)
class ActionScale:
    """The affine map between the unit cube [-1, 1]^A and an environment's action bounds."""

    center: np.ndarray
    """(A,) float32, middle of the bounds."""
    half: np.ndarray
    """(A,) float32, half of the width of the bounds."""
    low: np.ndarray
    """(A,) float32, the lowest that lies within the bounds."""
    high: np.ndarray
    """(A,) float32, the highest."""

    @classmethod
    def of(cls, space: gym.spaces.Box) -> ActionScale:
        """The scale of a bounded Box space."""
        low, high = space.low.astype(np.float32), space.high.astype(np.float32)
        inside = (
            np.where(low < space.low, np.nextafter(low, np.float32(np.inf)), low),
            np.where(high > space.high, np.nextafter(high, np.float32(-np.inf)), high),
        )
        return cls((high + low) / 2, (high - low) / 2, *inside)

    def to_environment(self, actions: np.ndarray) -> np.ndarray:
        """Environment actions (..., A) float32 of unit actions (..., A), within the bounds for those in [-1, 1]."""
        return np.clip((self.center + self.half * actions).astype(np.float32), self.low, self.high)

    def to_unit(self, actions: np.ndarray) -> np.ndarray:
        """Unit actions (..., A) float32 of environment actions (..., A)."""
        return ((actions - self.center) / self.half).astype(np.float32)


@contextmanager
def _quiet_mujoco() -> Iterator[None]:
    """Switch MuJoCo's log file off for good, and its console while a model loads.

    MuJoCo 4 drops MUJOCO_LOG.TXT into the current folder, and warns about deprecated attributes in Gymnasium's own
    model files. Warnings about the simulation itself stay on the console. Older versions have no such settings.
    """
    try:
        import mujoco  # only tasks that are simulated by it need it
    except ImportError:
        yield
        return
    except (AttributeError, RuntimeError) as error:  # what a missing renderer makes of MUJOCO_GL
        backend = os.environ.get("MUJOCO_GL")
        raise UserError(
            f"MuJoCo cannot be loaded with MUJOCO_GL={backend} ({error}); set it to egl or unset it"
        ) from error
    if not hasattr(mujoco, "MjLogConfig"):
        yield
        return
    config = mujoco.MjLogConfig.get()
    console, config.logto_file, config.logto_console = config.logto_console, False, False
    mujoco.MjLogConfig.set(config)
    try:
        yield
    finally:
        config.logto_console = console
        mujoco.MjLogConfig.set(config)


def make(task: Task, render_mode: str | None = None) -> gym.Env[np.ndarray, np.ndarray]:
    """Open one environment of a task.

    Args:
        task: the task.
        render_mode: Gymnasium's; by default nothing is rendered.

    Raises:
        UserError: the environment is unknown, cannot be built, has no time limit, or has spaces other than flat
            observations and bounded flat actions.
    """
    try:
        with _quiet_mujoco():
            options: dict[str, Any] = {} if render_mode is None else {"render_mode": render_mode}
            environment = gym.make(task.env_id, disable_env_checker=True, **options)
    except Exception as error:  # its class is somebody else's
        raise UserError(f"task {task.name}: cannot open environment {task.env_id}: {in_one_line(error)}") from error
    for role, space in (("observation", environment.observation_space), ("action", environment.action_space)):
        if not isinstance(space, gym.spaces.Box) or len(space.shape) != 1:
            raise UserError(f"task {task.name}: the {role} space of {task.env_id} must be a flat Box, it is {space}")
    if not environment.action_space.is_bounded():  # type: ignore[attr-defined]
        raise UserError(f"task {task.name}: the actions of {task.env_id} must be bounded, to be mapped to [-1, 1]")
    _, actions = spaces(environment)
    if not np.issubdtype(actions.dtype, np.floating) or (actions.low >= actions.high).any():
        raise UserError(
            f"task {task.name}: the actions of {task.env_id} must be real numbers in a range, not {actions}"
        )
    if environment.spec is None or environment.spec.max_episode_steps is None:
        raise UserError(f"task {task.name}: {task.env_id} has no time limit; register it with max_episode_steps")
    return environment


def spaces(environment: gym.Env[np.ndarray, np.ndarray]) -> tuple[gym.spaces.Box, gym.spaces.Box]:
    """Observation and action space of an environment that `make` opened."""
    observation_space, action_space = environment.observation_space, environment.action_space
    assert isinstance(observation_space, gym.spaces.Box)
    assert isinstance(action_space, gym.spaces.Box)
    return observation_space, action_space


def spaces_of(task: Task) -> tuple[gym.spaces.Box, gym.spaces.Box]:
    """Observation and action space of a task."""
    with closing(make(task)) as environment:
        return spaces(environment)


def require_spaces(task: Task, source: str, observation_space: gym.Space, action_space: gym.Space) -> None:
    """Make sure that data fit a task: observations of the same shape, actions of the same shape and bounds.

    Args:
        task: the task.
        source: what has the spaces, for the message.
        observation_space: its observations.
        action_space: its actions.

    Raises:
        UserError: they do not fit; names both spaces.
    """
    observations, actions = spaces_of(task)
    fits = isinstance(action_space, gym.spaces.Box) and action_space.shape == actions.shape
    fits = fits and np.allclose(action_space.low, actions.low) and np.allclose(action_space.high, actions.high)  # type: ignore[attr-defined]
    for role, right, found, wanted in (
        ("observations", observation_space.shape == observations.shape, observation_space, observations),
        ("actions", fits, action_space, actions),
    ):
        if not right:
            raise UserError(
                f"{source} does not fit task {task.name}: its {role} are {_in_words(found)}, "
                f"those of {task.env_id} are {_in_words(wanted)}; choose another dataset or task"
            )


def _in_words(space: gym.Space) -> str:
    """One line that tells two spaces apart."""
    if not isinstance(space, gym.spaces.Box):
        return " ".join(str(space).split())
    bounds = f" in [{space.low.min():g}, {space.high.max():g}]" if space.is_bounded() else ""
    return f"of shape {space.shape}{bounds}"


def simulation_versions() -> dict[str, str]:
    """All that the numbers of a simulation depend on: equal versions, equal bits."""
    packages = {name: importlib.metadata.version(name) for name in ("gymnasium", "mujoco", "numpy", "torch")}
    return {
        **{name: version.partition("+")[0] for name, version in packages.items()},  # 2.13.0+cpu is 2.13.0
        "machine": f"{platform.system()} {platform.machine()}",
        "libc": " ".join(platform.libc_ver()).strip() or "unknown",
        "libm": _libm(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
    }


@cache
def _libm() -> str:
    """Fingerprint of how this machine rounds elementary functions.

    The last bit of a sine depends on the C library and on the instructions that it picks for the processor, and a
    simulation is chaotic enough to turn that bit into another trajectory.
    """
    functions = (math.sin, math.cos, math.tan, math.asin, math.acos, math.exp, math.log)  # what MuJoCo calls
    # two machines disagree at few arguments, so many are needed
    values = [function(step / 10_007) for function in functions for step in range(1, 10_000)]
    return hashlib.sha256(np.array(values).tobytes()).hexdigest()[:8]


def checked(observation: Any, space: gym.spaces.Box, source: str) -> np.ndarray:
    """An observation (d,) float32 as its space says.

    Raises:
        ValueError: it has another shape.
        FloatingPointError: it is not finite.
    """
    array = np.asarray(observation, dtype=np.float32)
    if array.shape != space.shape:  # some others would fit by broadcasting
        raise ValueError(f"{source} gave an observation of shape {array.shape}, its space has {space.shape}")
    if not np.isfinite(array).all():
        raise FloatingPointError(f"{source} gave an observation that is not finite")
    return array


def check_finite(actions: np.ndarray, seeds: Sequence[int] | None = None) -> None:
    """Refuse actions (L, ...) that a diverged policy gave.

    Raises:
        FloatingPointError: an action is NaN or infinite; names the lanes, and their seeds if given.
    """
    if not np.isfinite(actions).all():
        lanes = [lane for lane in range(len(actions)) if not np.isfinite(actions[lane]).all()]
        names = ", ".join(f"{lane} (seed {seeds[lane]})" if seeds else str(lane) for lane in lanes)
        raise FloatingPointError(f"the policy's action is not finite in lane {names}: training has diverged")


def episode_seed(seed: int, episode: int) -> int:
    """Reset seed of a training episode; at least 2^31, where no evaluation or demonstration seed lies."""
    sequence = np.random.SeedSequence([seed, zlib.crc32(b"training episode"), episode])
    return 2**31 | int(sequence.generate_state(1, np.uint32)[0])


class LearnerEnvironments:
    """One plain environment per lane, reset automatically after every episode (contract.Environments, Stateful).

    Every episode has a seed of its own, made from the lane's seed and the episode's number. So the state of a lane is
    only that number and the actions since the reset: loading it replays them, which restores a deterministic
    environment to the last bit, MuJoCo's hidden solver state included. An environment that does not repeat itself
    under the same seed and actions is noticed at loading, with a warning, and goes on with a fresh episode.

    Args:
        task: the task.
        seeds: one seed per lane.
        budget: environment steps allowed in every lane.
        privileged: show the true reward.
        threads: how many step the environments; changes no result.

    Raises:
        UserError: the environment cannot be used (see `make`).
    """

    def __init__(
        self, task: Task, seeds: Sequence[int], budget: int, privileged: bool = False, threads: int = 1
    ) -> None:
        self.task, self.seeds, self.budget, self.privileged = task, tuple(seeds), budget, privileged
        self.diverged: Callable[[int, str], None] | None = None
        """Called with a lane and a reason where an observation after a step is not finite; it cuts that lane's episode
        short. Without it that is an error."""
        self._threads = Threads(threads)
        self.environments = [make(task) for _ in self.seeds]
        self._space, action_space = spaces(self.environments[0])
        self.observation_size, self.action_size = self._space.shape[0], action_space.shape[0]
        self.scale = ActionScale.of(action_space)
        self.steps = 0
        self._episodes = [-1] * len(self.seeds)
        self._actions: list[list[np.ndarray]] = [[] for _ in self.seeds]
        self.observations = np.stack([self._begin(lane, 0) for lane in range(len(self.seeds))])

    def _begin(self, lane: int, episode: int) -> np.ndarray:
        """Reset a lane for its given episode; its first observation (d,) float32."""
        self._episodes[lane], self._actions[lane] = episode, []
        observation, _ = self.environments[lane].reset(seed=episode_seed(self.seeds[lane], episode))
        return checked(observation, self._space, self.task.env_id)

    def step(self, actions: np.ndarray) -> Transition:
        """Step every lane once.

        Args:
            actions: (L, A); clipped to [-1, 1] and executed as float32.

        Raises:
            RuntimeError: the budget is spent.
            FloatingPointError: an action, or what an environment gave, is not finite.
            ValueError: the actions, or what an environment gave, have another shape.
        """
        if self.steps >= self.budget:
            raise RuntimeError(f"the budget of {self.budget} environment steps is spent")
        if actions.shape != (len(self.seeds), self.action_size):
            raise ValueError(f"actions have shape {actions.shape}, not {(len(self.seeds), self.action_size)}")
        check_finite(actions, self.seeds)
        unit = np.clip(actions.astype(np.float32), -1, 1)
        executed = self.scale.to_environment(unit)
        outcomes = np.empty_like(self.observations)
        following = np.empty_like(self.observations)
        terminated = np.zeros(len(self.seeds), dtype=bool)
        truncated = np.zeros(len(self.seeds), dtype=bool)
        rewards = np.full(len(self.seeds), np.nan, dtype=np.float32)

        def step_lane(lane: int) -> None:
            outcome, reward, terminated[lane], truncated[lane], _ = self.environments[lane].step(executed[lane])
            try:
                outcomes[lane] = following[lane] = checked(outcome, self._space, self.task.env_id)
            except FloatingPointError as error:
                if self.diverged is None:
                    raise
                self.diverged(lane, str(error))
                outcomes[lane], truncated[lane] = self.observations[lane], True
            self._actions[lane].append(unit[lane])
            if self.privileged:
                rewards[lane] = reward
            if terminated[lane] or truncated[lane]:
                following[lane] = self._begin(lane, self._episodes[lane] + 1)

        self._threads.each(step_lane, range(len(self.seeds)))
        before, self.observations = self.observations, following
        self.steps += 1
        # an episode that ends in a terminal state at its very last step is terminated, not truncated
        return Transition(before, unit, outcomes, terminated, truncated & ~terminated, rewards)

    @property
    def untouched(self) -> bool:
        """Whether nobody else has stepped the environments, as far as their time limits, which count too, can tell."""
        counts = [
            environment.get_wrapper_attr("_elapsed_steps")
            for environment in self.environments
            if environment.has_wrapper_attr("_elapsed_steps")
        ]
        return not counts or counts == list(map(len, self._actions))

    def state_dict(self) -> dict[str, Any]:
        """Steps, and of every lane the observation, the episode's number and its actions so far (T, A)."""
        return {
            "steps": self.steps,
            "observations": torch.tensor(self.observations),
            "episodes": list(self._episodes),
            "actions": [torch.tensor(np.array(a).reshape(-1, self.action_size)) for a in self._actions],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave, by replaying the episode of every lane.

        Raises:
            ValueError: the state is of another number of lanes.
        """
        if len(state["episodes"]) != len(self.seeds):
            raise ValueError(f"the state has {len(state['episodes'])} lanes, not {len(self.seeds)}")
        self.steps = state["steps"]
        self.observations = state["observations"].numpy().copy()
        for lane, (episode, actions) in enumerate(zip(state["episodes"], state["actions"], strict=True)):
            if not np.array_equal(self._replay(lane, episode, actions.numpy()), self.observations[lane]):
                warnings.warn(
                    f"{self.task.env_id} does not repeat itself under the same seed and actions; "
                    f"lane {lane} goes on with a fresh episode",
                    EnvironmentWarning,
                    stacklevel=2,
                )
                self.observations[lane] = self._begin(lane, episode + 1)

    def _replay(self, lane: int, episode: int, actions: np.ndarray) -> np.ndarray:
        """Take a lane through the first actions (T, A) of an episode; the observation reached, (d,) float32."""
        observation = self._begin(lane, episode)
        for unit in actions:
            outcome, _, terminated, truncated, _ = self.environments[lane].step(self.scale.to_environment(unit))
            self._actions[lane].append(unit)
            observation = checked(outcome, self._space, self.task.env_id)
            if terminated or truncated:  # only when it does not repeat itself: the caller sees another observation
                return np.full_like(observation, np.nan)
        return observation

    def close(self) -> None:
        """Close all environments."""
        self._threads.close()
        for environment in self.environments:
            environment.close()
