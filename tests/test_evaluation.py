import random

import gymnasium as gym
import numpy as np
import pytest
import torch

from benchmarks.instrument.environment import episode_seed
from benchmarks.instrument.evaluation import Evaluator
from benchmarks.tasks import TASKS

HOPPER = TASKS["hopper"]


class Linear:
    """One random linear policy per lane."""

    def __init__(self, seeds, draws=False):
        self.weights = torch.stack([torch.randn(11, 3, generator=torch.Generator().manual_seed(s)) for s in seeds])
        self.draws = draws

    def act(self, observations):
        if self.draws:
            torch.rand(5)
        return torch.tanh((observations.unsqueeze(-1) * self.weights.unsqueeze(1)).sum(-2))


def play(policy, lane, seed):
    """A plain loop over one episode, as in Gymnasium's documentation."""
    environment = gym.make("Hopper-v5")
    observation, _ = environment.reset(seed=seed)
    total, length = 0.0, 0
    while True:
        rows = torch.tensor(observation, dtype=torch.float32).expand(len(policy.weights), 1, -1)
        observation, reward, terminated, truncated, _ = environment.step(policy.act(rows)[lane, 0].numpy())
        total, length = total + reward, length + 1
        if terminated or truncated:
            return total, length


@pytest.mark.parametrize("threads", [1, 3])
def test_returns_and_lengths_are_those_of_a_plain_loop(threads):
    evaluator, policy = Evaluator(HOPPER, episodes=3, threads=threads), Linear((0, 1))
    returns, lengths, *_ = evaluator.evaluate(policy, 2, "cpu")
    assert (returns.shape, returns.dtype, lengths.dtype) == ((2, 3), np.float64, np.int64)
    for lane in range(2):
        for episode, seed in enumerate(evaluator.seeds):
            total, length = play(policy, lane, seed)
            assert lengths[lane, episode] == length
            assert returns[lane, episode] == pytest.approx(total)


def test_evaluating_again_gives_the_same_and_another_number_of_lanes_too():
    evaluator = Evaluator(HOPPER, episodes=4)
    first = evaluator.evaluate(Linear((0, 1, 2)), 3, "cpu")[:2]
    alone = evaluator.evaluate(Linear((1,)), 1, "cpu")[:2]
    again = evaluator.evaluate(Linear((0, 1, 2)), 3, "cpu")[:2]
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(np.array(first)[:, 1:2], alone)


def test_seeds_are_fixed_and_no_training_seeds():
    evaluator = Evaluator(HOPPER, episodes=10)
    assert evaluator.seeds == Evaluator(HOPPER, episodes=20).seeds[:10]
    assert max(evaluator.seeds) < 2**31 <= episode_seed(0, 0)


def test_global_random_states_stay_as_they_are():
    def states():
        return torch.get_rng_state().numpy().tobytes(), repr(np.random.get_state()), random.getstate()  # noqa: NPY002

    before = states()
    Evaluator(HOPPER, episodes=1).evaluate(Linear((0,), draws=True), 1, "cpu")
    assert states() == before


def test_a_diverged_policy_is_reported_with_its_lane():
    policy = Linear((0, 1))
    policy.weights[1] = torch.nan
    with pytest.raises(FloatingPointError, match="lane 1"):
        Evaluator(HOPPER, episodes=1).evaluate(policy, 2, "cpu")
