"""Videos of episodes: each is played again from its reset seed and its actions, and filmed."""

from __future__ import annotations

import itertools
import os
import sys
import warnings
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import BinaryIO, NamedTuple

import gymnasium as gym
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from benchmarks.files import whole_file
from benchmarks.instrument.environment import make
from benchmarks.instrument.episodes import Episode
from benchmarks.kit.errors import UserError
from benchmarks.tasks import Task


def repeats(task: Task, episode: Episode, seed: int) -> bool:
    """Whether the installed simulator gives the episode's observations again, from its seed and actions."""
    with closing(make(task)) as environment:
        observation, _ = environment.reset(seed=seed)
        for action, recorded in zip(episode.actions, episode.observations, strict=False):
            if not np.array_equal(observation, recorded):
                return False
            observation, *_ = environment.step(action)
        return np.array_equal(observation, episode.observations[-1])


class Clip(NamedTuple):
    """An episode to be filmed."""

    actions: np.ndarray
    """(T, A), in the environment's units."""
    seed: int
    """That it was reset with."""
    caption: str = ""
    """Written above it."""


def film(task: Task, clips: Sequence[Clip], path: Path, seconds: float = np.inf) -> None:
    """Play episodes again, side by side, and write them as a video; one that is over stands still.

    Args:
        task: the task that the episodes belong to.
        clips: the episodes; their actions are repeated.
        path: where to write: `.gif`, `.webp`, or with imageio-ffmpeg `.mp4`.
        seconds: how long at most.

    Raises:
        UserError: there is no renderer, or such a file cannot be written.
    """
    if path.suffix not in _WRITERS:
        raise UserError(f"{path} is no video that can be written; end its name with {', '.join(_WRITERS)}")
    if sys.platform == "linux" and not {"DISPLAY", "WAYLAND_DISPLAY"} & set(os.environ):
        os.environ.setdefault("MUJOCO_GL", "egl")  # needs no screen; Gymnasium would try GLFW, which does
    with ExitStack() as stack:
        environments = [stack.enter_context(closing(make(task, render_mode="rgb_array"))) for _ in clips]
        for environment in environments:
            _require_renderer(environment, task)
            _follow(environment)
        writer, most_per_second = _WRITERS[path.suffix]
        own = float(environments[0].metadata.get("render_fps", most_per_second))
        every = max(own / most_per_second, 1.0)
        each = [_frames(*pair, every) for pair in zip(environments, clips, strict=True)]
        rate = min(own, most_per_second)
        most = None if np.isinf(seconds) else max(1, round(seconds * rate))
        try:
            with whole_file(path) as file:
                writer(file, itertools.islice(_side_by_side(each, clips), most), rate)
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
            "or do without a film"
        ) from error


def _follow(environment: gym.Env) -> None:
    """Let the camera follow the robot, if its model has such a camera; Gymnasium 1.4 leaves it standing still."""
    renderer = getattr(environment.unwrapped, "mujoco_renderer", None)
    if renderer is not None:
        import mujoco  # only tasks that are simulated by it need it

        renderer.camera_id = mujoco.mj_name2id(renderer.model, mujoco.mjtObj.mjOBJ_CAMERA, "track")


def _frames(environment: gym.Env, clip: Clip, every: float) -> Iterator[Image.Image]:
    """A frame for every so many time steps of the repeated episode, the reset included."""
    environment.reset(seed=clip.seed)
    shown = set(np.arange(0, len(clip.actions) + 1, every).astype(int))
    for step, action in enumerate([None, *clip.actions]):
        if action is not None:
            environment.step(action)
        if step in shown:
            yield Image.fromarray(np.asarray(environment.render()))


def _side_by_side(each: Sequence[Iterator[Image.Image]], clips: Sequence[Clip]) -> Iterator[Image.Image]:
    """Frames with all clips and their captions, until the last one is over."""
    last: list[Image.Image | None] = [None] * len(each)
    for frames in itertools.zip_longest(*each):
        last = [new or old for new, old in zip(frames, last, strict=True)]
        parts = [_captioned(image, clip.caption) for image, clip in zip(last, clips, strict=True) if image]
        whole = Image.new("RGB", (sum(part.width for part in parts), parts[0].height))
        for place, part in enumerate(parts):
            whole.paste(part, (sum(before.width for before in parts[:place]), 0))
        yield whole


def _captioned(image: Image.Image, caption: str) -> Image.Image:
    """A frame with a line of text above it, if there is any."""
    if not caption:
        return image
    size = max(10, image.width // 22)
    made = Image.new("RGB", (image.width, image.height + 2 * size), "white")
    made.paste(image, (0, 2 * size))
    draw = ImageDraw.Draw(made)
    draw.text((size // 2, size // 2), caption, fill="black", font=ImageFont.load_default(size))
    return made


def _write_gif(file: BinaryIO, frames: Iterable[Image.Image], frames_per_second: float) -> None:
    small = [frame.quantize(64) for frame in _small(frames, 240)]
    duration = 1000 / frames_per_second
    small[0].save(file, "GIF", save_all=True, append_images=small[1:], duration=duration, loop=0)


def _write_webp(file: BinaryIO, frames: Iterable[Image.Image], frames_per_second: float) -> None:
    first, *others = _small(frames, 160)
    duration = round(1000 / frames_per_second)
    first.save(file, "WEBP", save_all=True, append_images=others, duration=duration, loop=0, quality=40)


def _small(frames: Iterable[Image.Image], height: int) -> Iterator[Image.Image]:
    """Frames of so many pixels at most, which keeps a long episode within some megabytes."""
    for frame in frames:
        frame.thumbnail((frame.width, height))
        yield frame


def _write_mp4(file: BinaryIO, frames: Iterable[Image.Image], frames_per_second: float) -> None:
    try:
        import imageio_ffmpeg  # of an extra
    except ImportError as error:
        raise UserError('MP4 needs an extra: pip install "ndi-bench[video]"; or write a .gif') from error
    frames = iter(frames)
    first = next(frames)
    video = imageio_ffmpeg.write_frames(file.name, first.size, fps=frames_per_second, output_params=["-f", "mp4"])
    video.send(None)
    for frame in itertools.chain([first], frames):
        video.send(np.ascontiguousarray(frame.convert("RGB")))
    video.close()


_WRITERS = {".gif": (_write_gif, 25.0), ".webp": (_write_webp, 10.0), ".mp4": (_write_mp4, 25.0)}
"""How each kind of video is written, and its most frames per second; all run in real time."""
