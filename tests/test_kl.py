import math

import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal, TransformedDistribution, Uniform, kl_divergence
from torch.distributions.transforms import TanhTransform

from benchmarks.experts.policy import load_expert
from benchmarks.instrument.evaluation import Evaluator
from benchmarks.instrument.kl import gaussian_kl, mean_kl, uniform_kl
from benchmarks.kit.contract import TanhGaussian
from benchmarks.tasks import TASKS


def parameters(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(*shape, generator=generator, dtype=torch.float64)
    return mean, 0.5 * torch.randn(*shape, generator=generator, dtype=torch.float64) - 0.5


def squashed(mean, log_std):
    return Independent(TransformedDistribution(Normal(mean, log_std.exp()), TanhTransform(cache_size=1)), 1)


def test_closed_form_is_that_of_torch_and_of_monte_carlo_after_the_tanh():
    torch.manual_seed(0)
    ours, other = parameters(3, seed=1), parameters(3, seed=2)
    exact = gaussian_kl(*ours, *other)
    normal, reference = (Independent(Normal(mean, log_std.exp()), 1) for mean, log_std in (ours, other))
    assert exact == pytest.approx(kl_divergence(normal, reference).item(), rel=1e-9)
    p, q = squashed(*ours), squashed(*other)
    actions = p.sample((200_000,))
    samples = p.log_prob(actions) - q.log_prob(actions)
    assert abs(samples.mean() - exact) < 4 * samples.std() / math.sqrt(len(samples))
    assert 4 * samples.std() / math.sqrt(len(samples)) < 0.03 * exact


def test_kl_of_uniform_actions_agrees_with_monte_carlo():
    torch.manual_seed(0)
    mean, log_std = parameters(3, seed=3)
    uniform = Uniform(torch.tensor(-1.0, dtype=torch.float64), 1.0)
    actions = uniform.sample((400_000, 3)).clamp(-1 + 1e-12, 1 - 1e-12)
    samples = uniform.log_prob(actions).sum(-1) - squashed(mean, log_std).log_prob(actions)
    exact = uniform_kl(mean, log_std)
    assert abs(samples.mean() - exact) < 4 * samples.std() / math.sqrt(len(samples))
    assert 4 * samples.std() / math.sqrt(len(samples)) < 0.03 * exact


class Shifted:
    """The expert, its mean moved in lane 1."""

    def __init__(self, expert, shift):
        self.expert, self.shift = expert, torch.tensor([0.0, shift]).view(2, 1, 1)

    def latent(self, observations):
        mean, log_std = self.expert.latent(observations)
        return mean + self.shift * log_std.exp(), log_std

    def act(self, observations):
        return torch.tanh(self.latent(observations)[0])


def test_the_instrument_measures_the_distance_to_the_expert_at_the_visited_states():
    task = TASKS["hopper"]
    expert = load_expert("hopper")
    policy = Shifted(expert, 0.5)
    assert isinstance(policy, TanhGaussian)
    seen = Evaluator(task, 2, expert).evaluate(policy, 2, "cpu")
    np.testing.assert_allclose(seen.kl[0], 0, atol=1e-6)
    # a shift of half a standard deviation in each of three dimensions, whatever the states
    np.testing.assert_allclose(seen.kl[1], 3 * 0.5 * 0.5**2, rtol=1e-4)
    assert (seen.kl_uniform > seen.kl[1]).all()
    assert len(set(seen.lengths.ravel().tolist())) > 1


def test_only_states_of_the_episode_count():
    class Constant:
        def __init__(self, level):
            self.level = level

        def latent(self, observations):
            return self.level * observations[..., :1], torch.zeros_like(observations[..., :1])

    observations = torch.tensor([1.0, 2.0, 100.0]).view(1, 1, 3, 1)
    visited = torch.tensor([True, True, False]).view(1, 1, 3)
    found, _ = mean_kl(Constant(2.0), Constant(1.0), observations, visited)
    assert found.item() == pytest.approx((0.5 * 1**2 + 0.5 * 2**2) / 2)


def test_there_is_no_kl_without_an_expert_or_a_distribution():
    task, expert = TASKS["inverted-pendulum"], load_expert("inverted-pendulum")

    class Deterministic:
        def act(self, observations):
            return expert.act(observations)

    for policy, reference in ((expert, None), (Deterministic(), expert)):
        seen = Evaluator(task, 1, reference).evaluate(policy, 1, "cpu")
        assert seen.kl is None
        assert seen.kl_uniform is None
