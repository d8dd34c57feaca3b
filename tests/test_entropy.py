"""The occupancy's entropy by each estimate, against Gaussians whose entropies and information are known."""

import math

import numpy as np
import pytest
import torch

from ndi.entropy import FixedCritic, LearnedCritic, Particles
from ndi.occupancy import mutual_information_bound

CORRELATION = 0.8
INFORMATION = -0.5 * 2 * math.log(1 - CORRELATION**2)
"""I(s; s') of two dimensions, nats."""


def pairs(number, seed, lanes=1):
    """s and s' = c s + sqrt(1 - c^2) noise, both N(0, I), (L, number, 2)."""
    s, noise = torch.randn(2, lanes, number, 2, generator=torch.Generator().manual_seed(seed))
    return s, CORRELATION * s + math.sqrt(1 - CORRELATION**2) * noise


@pytest.fixture
def learned(point_problem):
    critic = LearnedCritic(point_problem(), discount=0.99, noise=1e-3, hidden=(32, 32), learning_rate=3e-3)
    for step in range(600):
        critic.follow(*pairs(256, seed=step))
    return critic


def test_the_learned_critic_reaches_the_analytic_mutual_information(learned):
    s, following = pairs(20_000, seed=1001)
    with torch.no_grad():
        bound = mutual_information_bound(learned.critic, s, following, following.roll(1, dims=1)).item()
    assert INFORMATION * 0.85 < bound < INFORMATION * 1.02  # a lower bound, but for the samples' own noise


def test_the_learned_critics_reward_is_that_of_the_optimal_one(learned):
    """At the optimum both marginal terms are gamma, so that r_f = f* - 2 gamma, whatever s and s'."""
    s, following = pairs(64, seed=1002)
    others = [pairs(4000, seed=1003)[0], pairs(4000, seed=1004)[1]]
    learned.states, learned.following = others
    joint = torch.distributions.Normal(CORRELATION * s, math.sqrt(1 - CORRELATION**2)).log_prob(following).sum(-1)
    best = 1 + joint - torch.distributions.Normal(0.0, 1.0).log_prob(following).sum(-1) - 2 * 0.99
    found = learned(s, following)
    assert np.corrcoef(found[0], best[0])[0, 1] > 0.9
    assert found.mean().item() == pytest.approx(best.mean().item(), abs=0.3)


def test_a_transition_is_not_scored_against_itself(point_problem):
    """What the last batch was makes no difference to its scores, where next to nothing is learned from it."""
    batches, scores = [pairs(32, seed) for seed in range(3)], []
    for last in batches[1:]:
        critic = LearnedCritic(point_problem(), discount=0.99, learning_rate=1e-12)
        critic.follow(*batches[0])
        critic.follow(*last)
        scores.append(critic(*batches[1]))
    torch.testing.assert_close(*scores)


def test_particles_measure_the_entropy_in_nats(point_problem):
    """To stretch the states by 3 adds d log 3 nats."""
    s, following = pairs(64, seed=0)
    narrow, wide = Particles(point_problem()), Particles(point_problem())
    narrow.follow(s, following)
    wide.follow(s, 3 * following)
    difference = wide(s, 3 * following) - narrow(s, following)
    torch.testing.assert_close(difference, torch.full_like(difference, 2 * math.log(3)))


def test_particles_agree_with_the_gaussian_entropy(point_problem):
    """Kozachenko-Leonenko: psi(M) - psi(k) + log V_d + E[d log distance]; V_2 = pi, H = log(2 pi e) nats."""
    found = []
    for seed in range(200):
        particles = Particles(point_problem(), neighbours=3)
        s, following = pairs(64, seed)
        particles.follow(s, following)
        found.append(particles(s, following).mean().item())
    psi = torch.digamma(torch.tensor([64.0, 3.0])).tolist()
    entropy = psi[0] - psi[1] + math.log(math.pi) + float(np.mean(found))
    assert entropy == pytest.approx(math.log(2 * math.pi * math.e), abs=0.1)


def test_particles_pay_least_where_states_coincide(point_problem):
    """An agent that stands still is where the occupancy has the least entropy."""
    s, following = pairs(64, seed=0)
    following[:, 4:] = following[:, 4]
    particles = Particles(point_problem(), least=1e-3)
    particles.follow(s, following)
    found = particles(s, following)[0]
    torch.testing.assert_close(found[4:], torch.full_like(found[4:], 2 * math.log(1e-3)))
    assert (found[:4] > -5).all()


@pytest.mark.parametrize("make", [
    lambda problem: FixedCritic(problem, 0.5, 0.99, 0.1), lambda problem: LearnedCritic(problem, 0.99), Particles,
])  # fmt: skip
def test_a_restored_estimate_goes_on_as_it_was(point_problem, make):
    straight, broken, resumed = (make(point_problem()) for _ in range(3))
    for seed in range(3):
        straight.follow(*pairs(8, seed))
        broken.follow(*pairs(8, seed))
    resumed.load_state_dict(broken.state_dict())
    s, following = pairs(8, 9)
    for estimate in (straight, resumed):
        estimate.follow(*pairs(8, 4))
    torch.testing.assert_close(resumed(s, following), straight(s, following), rtol=0, atol=0)


@pytest.mark.parametrize("make", [lambda problem: LearnedCritic(problem, 0.99), Particles])
def test_lanes_do_not_touch_each_other(point_problem, make):
    together, alone = make(point_problem(seeds=(0, 1))), make(point_problem(seeds=(1,)))
    s, following = pairs(8, 0, lanes=2)
    for _ in range(2):
        together.follow(s, following)
        alone.follow(s[1:], following[1:])
    torch.testing.assert_close(together(s, following)[1:], alone(s[1:], following[1:]))
