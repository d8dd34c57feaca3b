"""Shared pieces of the tests: one torch thread, and a tiny task with a known optimum."""

import os
import shutil
import sys
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["WANDB_MODE"] = "disabled"
# commands find the toy methods, too
os.environ["PYTHONPATH"] = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])

import gymnasium as gym
import numpy as np
import pytest
import torch

from benchmarks import __main__ as cli
from benchmarks import memo, terminal
from benchmarks.kit.contract import Problem, Transition
from benchmarks.kit.demonstrations import Demonstrations
from benchmarks.plan.configuration import settings

torch.set_num_threads(1)

HORIZON = 20
TINY = {
    "sac.hidden": [8], "sac.cloned": 0, "sac.batch_size": 8, "hidden": [8], "batch_size": 8, "fit.steps": 5,
    "fit.batch_size": 8, "density.fit.steps": 5, "density.fit.batch_size": 8, "density.hidden": [8],
    "updates_per_step": 1, "offline_updates": 5,
}  # fmt: skip


REMEMBERED_AT = memo._path


@pytest.fixture(autouse=True)
def no_memory(monkeypatch):
    """Answers of other tests, whose methods may be others, count for none."""
    monkeypatch.setattr(memo, "_path", lambda question: None)


@pytest.fixture
def memory(monkeypatch, tmp_path):
    """A folder in which answers are remembered, whenever files were written."""
    monkeypatch.setattr(memo, "_path", REMEMBERED_AT)
    monkeypatch.setattr(memo, "_BEGAN", time.time() + 60)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "ndi-bench" / "answers"


@pytest.fixture
def compiler():
    """Skips a test of torch.compile where it has no C++ compiler to call."""
    if shutil.which("g++") is None:
        pytest.skip("torch.compile needs a C++ compiler")


class PointEnvironments:
    """s' = s + 0.3 a + 0.01 noise in two dimensions, reward -|s'|^2, 20 steps, start uniform in [-1, 1]^2.

    The best policy walks straight to the origin. Everything a lane does depends on its own seed alone.
    """

    def __init__(self, seeds, budget, privileged=False, lethal=False):
        self.generators = [np.random.default_rng(seed) for seed in seeds]
        self.budget, self.privileged, self.lethal = budget, privileged, lethal
        self.steps, self.clock = 0, np.zeros(len(seeds), dtype=int)
        self.observations = np.stack([self._start(g) for g in self.generators])

    @staticmethod
    def _start(generator):
        return generator.uniform(-1, 1, 2).astype(np.float32)

    def step(self, actions):
        if self.steps >= self.budget:
            raise RuntimeError("past the budget")
        noise = np.stack([g.standard_normal(2) for g in self.generators])
        before, following = self.observations, (self.observations + 0.3 * actions + 0.01 * noise).astype(np.float32)
        self.steps, self.clock = self.steps + 1, self.clock + 1
        rewards = -np.square(following).sum(1).astype(np.float32)
        terminated = np.abs(following).max(1) > 2 if self.lethal else np.zeros(len(actions), dtype=bool)
        truncated = ~terminated & (self.clock == HORIZON)
        self.observations = following.copy()
        for lane in np.flatnonzero(terminated | truncated):
            self.observations[lane], self.clock[lane] = self._start(self.generators[lane]), 0
        if not self.privileged:
            rewards = np.full_like(rewards, np.nan)
        return Transition(before, np.asarray(actions, np.float32), following, terminated, truncated, rewards)


def point_demonstrations(seed, episodes=5):
    """Episodes of a noisy expert that walks to the origin."""
    generator = np.random.default_rng(1000 + seed)
    rows = []
    for episode in range(episodes):
        s = generator.uniform(-1, 1, 2)
        for _ in range(HORIZON):
            a = np.clip(-s / 0.3 + 0.1 * generator.standard_normal(2), -0.99, 0.99)
            following = s + 0.3 * a + 0.01 * generator.standard_normal(2)
            rows.append((s, a, following, episode))
            s = following
    states, actions, following, episode = (np.array(column) for column in zip(*rows, strict=True))
    single = lambda array: array.astype(np.float32)  # noqa: E731
    return Demonstrations(
        single(states), single(actions), single(following), np.zeros(len(rows), dtype=bool), episode,
        tuple(range(episodes)), np.zeros(episodes),
    )  # fmt: skip


@pytest.fixture(autouse=True)
def seeded():
    """Tests that draw from the global generator draw the same every time."""
    torch.manual_seed(0)


@pytest.fixture
def bench(capsys, monkeypatch):
    """Run a command: (exit code, standard output, standard error)."""
    monkeypatch.setattr(terminal.console, "_width", 200)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["ndi-bench", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code or 0, *capsys.readouterr()

    return call


@pytest.fixture
def tiny():
    """Changes that give any method small networks and few updates."""

    def changes(method):
        present = settings(method.config)
        return {name: value for name, value in TINY.items() if name in present}

    return changes


@pytest.fixture
def point_problem():
    """Factory of cells on the point task."""

    def make(seeds=(0,), budget=1000, privileged=False, demonstrations=True, lethal=False, restored=None):
        return Problem(
            task="point",
            seeds=tuple(seeds),
            observation_size=2,
            action_size=2,
            demonstrations=tuple(point_demonstrations(seed) for seed in seeds) if demonstrations else (),
            environments=PointEnvironments(seeds, budget, privileged, lethal),
            budget=budget,
            device=torch.device("cpu"),
            restored=restored,
        )

    return make


@pytest.fixture
def point_return():
    """Mean return per lane of a policy's deterministic action, over 20 fixed starts."""

    @torch.no_grad()
    def measure(policy, lanes=1):
        s = torch.as_tensor(np.random.default_rng(7).uniform(-1, 1, (20, 2)), dtype=torch.float32).repeat(lanes, 1, 1)
        total = torch.zeros(lanes, 20)
        for _ in range(HORIZON):
            s = s + 0.3 * policy.act(s)
            total -= s.square().sum(-1)
        return total.mean(1)

    return measure


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """An empty folder of Minari datasets."""
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    return tmp_path


@pytest.fixture
def foreign():
    """Factory of datasets made with plain Minari calls, from random play; `spoil` changes the arrays of episode 2."""
    import minari  # takes long
    from minari.data_collector import EpisodeBuffer

    def make(
        dataset_id, env_id="Hopper-v5", episodes=4, steps=30, spoil=lambda arrays: None, data_format="hdf5",
        environment=None, infos=None, **kwargs,
    ):  # fmt: skip
        environment = environment or gym.make(env_id)
        environment.action_space.seed(0)
        buffers = []
        for number in range(episodes):
            observations, actions, rewards = [environment.reset(seed=number)[0]], [], []
            for _ in range(steps):
                actions.append(environment.action_space.sample())
                observation, reward, *_ = environment.step(actions[-1])
                observations.append(observation)
                rewards.append(reward)
            arrays = {
                "observations": np.array(observations),
                "actions": np.array(actions),
                "rewards": np.array(rewards, dtype=float),
                "terminations": np.zeros(steps, bool),
                "truncations": np.arange(steps) == steps - 1,
            }
            if number == 2:
                spoil(arrays)
            buffers.append(EpisodeBuffer(id=number, seed=number, infos=infos, **arrays))
        spec = {"env": environment, "eval_env": environment, **kwargs}
        minari.create_dataset_from_buffers(
            dataset_id, buffers, algorithm_name="random", author="someone", author_email="a@b.c", code_permalink="none",
            description="not ours", data_format=data_format, **spec,
        )  # fmt: skip

    return make
