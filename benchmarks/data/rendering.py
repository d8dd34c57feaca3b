"""Videos of demonstrated episodes: an episode is played again from its reset seed and its actions, and filmed."""

from __future__ import annotations

import itertools
import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import gymnasium as gym
import numpy as np
from PIL import Image

from benchmarks.instrument.environment import make
from benchmarks.instrument.episodes import Episode
from benchmarks.kit.errors import UserError
from benchmarks.tasks import Task

FRAMES_PER_SECOND = 25.0
"""Most frames per second of a video; it runs in real time."""
GIF_SIZE = (240, 240)
"""Most pixels of a GIF's frames, which keeps a long episode within some megabytes."""


def repeats(task: Task, episode: Episode, seed: int) -> bool:
    """Whether the installed simulator gives the episode's observations again, from its seed and actions."""
    with closing(make(task)) as environment:
        observation, _ = environment.reset(seed=seed)
        for action, recorded in zip(episode.actions, episode.observations, strict=False):
            if not np.array_equal(observation, recorded):
                return False
            observation, *_ = environment.step(action)
        return np.array_equal(observation, episode.observations[-1])


def film(task: Task, episode: Episode, seed: int, path: Path) -> None:
    """Play an episode again and write it as a video.

    Args:
        task: the task that the episode belongs to.
        episode: the episode; its actions are repeated.
        seed: the seed that it was reset with.
        path: where to write: `.gif`, or with imageio-ffmpeg `.mp4`.

    Raises:
        UserError: there is no renderer, or such a file cannot be written.
    """
    writers = {".gif": _write_gif, ".mp4": _write_mp4}
    if path.suffix not in writers:
        raise UserError(f"{path} is no video that can be written; end its name with .gif or .mp4")
    if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ):
        os.environ.setdefault("MUJOCO_GL", "egl")  # needs no screen; Gymnasium would try GLFW, which does
    with closing(make(task, render_mode="rgb_array")) as environment:
        _require_renderer(environment, task)
        _follow(environment)
        own = float(environment.metadata.get("render_fps", FRAMES_PER_SECOND))
        frames = _frames(environment, episode, seed, every=max(own / FRAMES_PER_SECOND, 1.0))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            writers[path.suffix](path, frames, min(own, FRAMES_PER_SECOND))
        except OSError as error:
            raise UserError(f"{path} cannot be written ({error.strerror or error}); choose another file") from error


def _require_renderer(environment: gym.Env, task: Task) -> None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the exception says all there is to say
            environment.reset(seed=0)
            environment.render()
    except Exception as error:  # GLFW, EGL, OSMesa, PyOpenGL and MuJoCo each raise their own
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise UserError(
            f"{task.env_id} cannot be rendered here ({reason}); install EGL or OSMesa, set MUJOCO_GL=egl or osmesa, "
            "or leave --render out"
        ) from error


def _follow(environment: gym.Env) -> None:
    """Let the camera follow the robot, if its model has such a camera; Gymnasium 1.4 leaves it standing still."""
    renderer = getattr(environment.unwrapped, "mujoco_renderer", None)
    if renderer is not None:
        import mujoco  # only tasks that are simulated by it need it

        renderer.camera_id = mujoco.mj_name2id(renderer.model, mujoco.mjtObj.mjOBJ_CAMERA, "track")


def _frames(environment: gym.Env, episode: Episode, seed: int, every: float) -> Iterator[Image.Image]:
    """A frame for every so many time steps of the repeated episode, the reset included."""
    environment.reset(seed=seed)
    shown = set(np.arange(0, len(episode) + 1, every).astype(int))
    for step, action in enumerate([None, *episode.actions]):
        if action is not None:
            environment.step(action)
        if step in shown:
            yield Image.fromarray(np.asarray(environment.render()))


def _write_gif(path: Path, frames: Iterable[Image.Image], frames_per_second: float) -> None:
    small = []
    for frame in frames:
        frame.thumbnail(GIF_SIZE)
        small.append(frame.quantize(64))
    small[0].save(path, save_all=True, append_images=small[1:], duration=1000 / frames_per_second, loop=0)


def _write_mp4(path: Path, frames: Iterable[Image.Image], frames_per_second: float) -> None:
    try:
        import imageio_ffmpeg  # of an extra
    except ImportError as error:
        raise UserError('MP4 needs an extra: pip install "ndi-bench[video]"; or write a .gif') from error
    frames = iter(frames)
    first = next(frames)
    video = imageio_ffmpeg.write_frames(str(path), first.size, fps=frames_per_second)
    video.send(None)
    for frame in itertools.chain([first], frames):
        video.send(np.ascontiguousarray(frame.convert("RGB")))
    video.close()
