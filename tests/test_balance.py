"""The gate's task: its dynamics, its ends, and its expert, which is a regulator that scipy computes."""

import gymnasium as gym
import numpy as np
import pytest
import scipy.linalg
import torch
from gymnasium.utils.env_checker import check_env

from benchmarks.experts.policy import load_expert
from benchmarks.instrument import balance
from benchmarks.instrument.balance import EDGE, FORCE, HILL, STEP, Balance
from benchmarks.instrument.environment import make
from benchmarks.tasks import TASKS


def test_it_is_an_environment_as_gymnasium_wants_it():
    with pytest.warns(UserWarning, match="infinity"):  # positions have no bounds by nature
        check_env(make(TASKS["balance"]).unwrapped, skip_render_check=True)
    assert gym.spec("ndi/Balance-v0").max_episode_steps == 50


def test_without_wind_it_moves_by_its_equations(monkeypatch):
    monkeypatch.setattr(balance, "WIND", 0.0)
    environment = Balance()
    first, _ = environment.reset(seed=0)
    position, velocity = first[:2] / 10, first[2:]
    action = np.array([0.5, -0.25], np.float32)
    second, reward, terminated, truncated, _ = environment.step(action)
    velocity = velocity + STEP * (HILL * position + FORCE * action)
    position = position + STEP * velocity
    assert second == pytest.approx(np.concatenate([10 * position, velocity]), abs=1e-5)
    assert reward == pytest.approx(1 - (position**2).mean() - 0.1 * (0.5**2 + 0.25**2) / 2, abs=1e-5)
    assert not terminated
    assert not truncated


def test_it_ends_beyond_the_edge():
    environment = Balance()
    environment.reset(seed=0)
    for _ in range(50):
        observation, _, terminated, _, _ = environment.step(np.ones(2, np.float32))
        assert terminated == (np.abs(observation[:2]).max() > 10 * EDGE)
        if terminated:
            return
    pytest.fail("a full push did not leave the hill")


def test_its_expert_is_the_linear_quadratic_regulator():
    dynamics = np.array([[1 + STEP**2 * HILL, STEP], [STEP * HILL, 1]])
    control = np.array([[STEP**2 * FORCE], [STEP * FORCE]])
    cost = scipy.linalg.solve_discrete_are(dynamics, control, np.diag([1, 0.001]), [[0.1]])
    gain = np.linalg.solve(0.1 + control.T @ cost @ control, control.T @ cost @ dynamics)[0]
    observations = torch.randn(1, 100, 4)
    mean, log_std = load_expert("balance").latent(observations)
    position, velocity = observations[..., :2] / 10, observations[..., 2:]
    assert mean == pytest.approx(-(gain[0] * position + gain[1] * velocity), abs=1e-5)
    assert (log_std == -1.5).all()
