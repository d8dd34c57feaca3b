"""Videos, of an environment whose picture is its state: no renderer is needed."""

import sys
from typing import ClassVar

import gymnasium as gym
import numpy as np
import pytest
from PIL import Image

from benchmarks.data.rendering import Clip, film, repeats
from benchmarks.instrument.episodes import Episode
from benchmarks.kit.errors import UserError
from benchmarks.tasks import Task

BRIGHT = Task("bright", "Bright-v0")


class Bright(gym.Env):
    """The state is a brightness from 0 to 1; the picture is that grey. The action is added to it."""

    metadata: ClassVar = {"render_modes": ["rgb_array"], "render_fps": 50}
    observation_space = gym.spaces.Box(-np.inf, np.inf, (1,))
    action_space = gym.spaces.Box(-1, 1, (1,))
    renderer = True

    def __init__(self, render_mode=None):
        self.render_mode = render_mode

    def reset(self, *, seed=None, options=None):
        self.state = np.array([seed / 100], dtype=np.float32)
        return self.state, {}

    def step(self, action):
        self.state = self.state + action
        return self.state, 0.0, False, False, {}

    def render(self):
        if not self.renderer:
            raise RuntimeError("no OpenGL\nat all")
        return np.full((300, 480, 3), int(255 * self.state[0]), dtype=np.uint8)


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setenv("MUJOCO_GL", "egl")
    gym.register("Bright-v0", Bright, max_episode_steps=100)
    yield
    del gym.registry["Bright-v0"]


def an_episode(seed=10, steps=10):
    actions = np.full((steps, 1), 0.05, dtype=np.float32)
    observations = np.add.accumulate(np.concatenate([[[seed / 100]], actions]).astype(np.float32))
    flags = np.zeros(steps, dtype=bool)
    return Episode(0, observations, actions, np.zeros(steps), flags, flags)


def test_a_gif_shows_the_episode_in_real_time(tmp_path):
    film(BRIGHT, [Clip(an_episode().actions, 10)], tmp_path / "new" / "episode.gif")
    with Image.open(tmp_path / "new" / "episode.gif") as video:
        assert video.n_frames == 6  # 11 states at 50 per second are every other one at 25
        assert video.size == (384, 240)
        greys = []
        for frame in range(6):
            video.seek(frame)
            assert video.info["duration"] == 40
            greys.append(video.convert("L").getpixel((5, 5)))
    np.testing.assert_allclose(greys, 255 * np.linspace(0.1, 0.6, 6), atol=4)


def test_an_mp4_needs_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(UserError, match=r'pip install "ndi-bench\[video\]"; or write a \.gif'):
        film(BRIGHT, [Clip(an_episode().actions, 10)], tmp_path / "episode.mp4")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # imageio-ffmpeg leaves its pipes open
def test_an_mp4_has_every_frame(tmp_path):
    ffmpeg = pytest.importorskip("imageio_ffmpeg")
    film(BRIGHT, [Clip(an_episode().actions, 10)], tmp_path / "episode.mp4")
    frames = ffmpeg.read_frames(str(tmp_path / "episode.mp4"))
    described = next(frames)
    assert (described["size"], described["fps"]) == ((480, 304), 25)  # whole blocks of 16 pixels
    greys = [np.frombuffer(frame, np.uint8).mean() for frame in frames]
    np.testing.assert_allclose(greys, 255 * np.linspace(0.1, 0.6, 6), atol=6)


def test_clips_stand_side_by_side_and_the_shorter_one_still(tmp_path):
    clips = [Clip(an_episode(steps=steps).actions, 10, f"{steps} steps") for steps in (4, 10)]
    film(BRIGHT, clips, tmp_path / "both.gif")
    film(BRIGHT, clips, tmp_path / "both.webp", seconds=0.2)
    with Image.open(tmp_path / "both.gif") as video:
        assert video.n_frames == 6
        video.seek(5)
        left, right = (video.convert("L").getpixel((x, video.height - 5)) for x in (5, video.width - 5))
    np.testing.assert_allclose((left, right), (255 * 0.3, 255 * 0.6), atol=4)
    with Image.open(tmp_path / "both.webp") as video:
        assert video.n_frames == 2  # of 10 a second
        assert video.convert("L").getpixel((5, 5)) > 200  # the caption's ground


@pytest.mark.filterwarnings("ignore:.*render")
def test_what_cannot_be_filmed_is_one_clear_line(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"end its name with \.gif, \.webp, \.mp4"):
        film(BRIGHT, [Clip(an_episode().actions, 10)], tmp_path / "episode.avi")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        film(BRIGHT, [Clip(an_episode().actions, 10)], tmp_path / "file" / "episode.gif")
    monkeypatch.setattr(Bright, "renderer", False)
    with pytest.raises(
        UserError, match=r"Bright-v0 cannot be rendered here \(no OpenGL\); install EGL or OSMesa"
    ) as caught:
        film(BRIGHT, [Clip(an_episode().actions, 10)], tmp_path / "episode.gif")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "episode.gif").exists()


def test_a_simulator_that_gives_other_observations_is_noticed():
    assert repeats(BRIGHT, an_episode(), 10)
    assert not repeats(BRIGHT, an_episode(), 11)
    changed = an_episode()
    changed.observations[-1] += 1e-6
    assert not repeats(BRIGHT, changed, 10)
