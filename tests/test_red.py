"""RED: its reward tells demonstrated from undemonstrated pairs, by the stated rule."""

import dataclasses

import numpy as np
import pytest
import torch

from baselines import red
from benchmarks.kit.fitting import FitConfig, held_out_rows
from benchmarks.kit.replay import demonstration_replay
from benchmarks.kit.sac import SAC, SACConfig
from benchmarks.kit.standardiser import Standardiser

CONFIG = red.REDConfig((64, 64, 64, 64), (64,), 64, FitConfig(1200, 64, 3e-3, 0.0))


@pytest.fixture
def fitted(point_problem):
    problem = point_problem(seeds=(0, 1))
    demonstrations = demonstration_replay(problem, Standardiser.from_demonstrations(problem))
    reward = red.REDReward(problem, CONFIG)
    frozen = [p.clone() for p in reward.target.parameters()]
    reward.fit(problem, demonstrations)
    assert all(map(torch.equal, frozen, reward.target.parameters()))
    return problem, demonstrations, reward


def test_reward_is_high_on_demonstrations_and_low_on_random_actions(fitted):
    _, demonstrations, reward = fitted
    batch = demonstrations.take(torch.arange(100).expand(2, -1))
    on_demonstrations = reward(batch.observations, batch.actions)
    on_random = reward(batch.observations, torch.rand_like(batch.actions) * 2 - 1)
    assert on_demonstrations.shape == (2, 100)
    assert (on_demonstrations.mean(1) > 0.7).all()
    assert (on_random.mean(1) < 0.2).all()


def test_sigma_gives_the_median_held_out_row_its_typical_reward(fitted):
    problem, demonstrations, reward = fitted
    held_out = held_out_rows(demonstrations.sizes, CONFIG.fit.held_out, problem.streams("distillation split"))
    rewards = reward(*demonstrations.take(torch.arange(100).expand(2, -1))[:2])
    for lane in range(2):
        typical = rewards[lane][held_out[lane]].sort().values
        # nanmedian takes the lower middle error of an even number, which is the upper middle reward
        assert typical[len(typical) // 2].item() == pytest.approx(CONFIG.typical_reward, abs=1e-4)


@pytest.mark.parametrize(("held_out", "rows"), [(0.0, 100), (0.1, 4)])
def test_without_held_out_rows_sigma_comes_from_all(point_problem, held_out, rows):
    """None were wanted, or there are too few to hold one out in every block."""
    problem = point_problem()
    demonstrations = demonstration_replay(problem, Standardiser.from_demonstrations(problem))
    reward = red.REDReward(problem, dataclasses.replace(CONFIG, fit=FitConfig(50, 32, held_out=held_out)))
    demonstrations.added.clamp_(max=rows)
    reward.fit(problem, demonstrations)
    rewards = reward(*demonstrations.take(torch.arange(rows)[None])[:2])
    assert (rewards >= CONFIG.typical_reward - 1e-4).float().mean().item() == pytest.approx(0.5, abs=0.01)


def test_the_diagnosed_reward_is_that_of_the_method(fitted):
    """`ndi-bench density` asks for raw observations, and sees what the learner would be given."""
    problem, demonstrations, reward = fitted
    observations, actions = (
        torch.tensor(np.stack([getattr(d, name) for d in problem.demonstrations]))
        for name in ("observations", "actions")
    )
    scores = red.REWARD.fit(problem, CONFIG)(observations, actions)
    torch.testing.assert_close(scores, reward(*demonstrations.take(torch.arange(100).expand(2, -1))[:2]))


def test_a_cloned_start_imitates_before_the_first_step(point_problem, point_return):
    problem = point_problem()
    standardise = Standardiser.from_demonstrations(problem)
    learner = SAC(problem, SACConfig(hidden=(32, 32), cloned=1000), standardise)
    before = point_return(learner.policy).item()
    learner.begin(problem, demonstration_replay(problem, standardise))
    assert before < -5
    assert point_return(learner.policy).item() > -1.5
    assert point_return(learner.deployed).item() == point_return(learner.policy).item()
