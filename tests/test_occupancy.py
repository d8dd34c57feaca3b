"""SAELBO against a linear-Gaussian system, whose entropies and mutual information are known in closed form."""

import math

import pytest
import torch

from ndi.occupancy import (
    DistanceCritic,
    Moments,
    mutual_information_bound,
    occupancy_reward,
    sampled_occupancy_reward,
)

CORRELATION, SIZE = 0.8, 3
INFORMATION = -0.5 * SIZE * math.log(1 - CORRELATION**2)


def saelbo(policy_entropy, initial_entropy, noise_entropy, information, discount):
    """The bound of H[rho_pi(s, a)] as `ndi.occupancy` writes it, nats."""
    return policy_entropy + (1 - discount) * initial_entropy + discount * (information + noise_entropy)


def stationary_pairs(number, seed=0):
    """s and s' = c s + sqrt(1 - c^2) noise, both N(0, I)."""
    generator = torch.Generator().manual_seed(seed)
    s, noise, other = (torch.randn(number, SIZE, generator=generator, dtype=torch.float64) for _ in range(3))
    return s, CORRELATION * s + math.sqrt(1 - CORRELATION**2) * noise, other


def optimal_critic(s, following):
    """f* = 1 + log p(s, s') / (p(s) p(s'))."""
    joint = torch.distributions.Normal(CORRELATION * s, math.sqrt(1 - CORRELATION**2)).log_prob(following)
    marginal = torch.distributions.Normal(0.0, 1.0).log_prob(following)
    return 1 + (joint - marginal).sum(-1)


CRITICS = {
    "optimal": optimal_critic,
    "zero": lambda s, t: torch.zeros(len(s), dtype=s.dtype),
    "one": lambda s, t: torch.ones(len(s), dtype=s.dtype),
    "fixed distance, c=1": DistanceCritic(1.0),
    "fixed distance, c=0.1": DistanceCritic(0.1),
    "inner product": lambda s, t: 0.5 * (s * t).sum(-1),
    "half optimal": lambda s, t: 0.5 * optimal_critic(s, t),
}


def test_the_optimal_critic_meets_the_mutual_information():
    s, following, other = stationary_pairs(400_000)
    assert mutual_information_bound(optimal_critic, s, following, other).item() == pytest.approx(INFORMATION, rel=0.02)


@pytest.mark.parametrize("name", CRITICS)
def test_saelbo_never_exceeds_the_true_entropy(name):
    """a ~ N(K s, S) moves s' = A s + B a + noise; with a stationary start rho(s, a) is Gaussian with known entropy."""
    s, following, other = stationary_pairs(400_000, seed=1)
    discount, policy_std, noise_std = 0.9, 0.3, 0.1
    # choose the gain so that the closed loop is the stationary AR(1) above: s' = c s + policy noise + process noise
    step = math.sqrt(1 - CORRELATION**2 - noise_std**2) / policy_std
    assert step > 0
    gaussian_entropy = lambda std: SIZE * 0.5 * math.log(2 * math.pi * math.e * std**2)  # noqa: E731
    state_entropy, policy_entropy = gaussian_entropy(1.0), gaussian_entropy(policy_std)
    true_entropy = state_entropy + policy_entropy
    information = mutual_information_bound(CRITICS[name], s, following, other)
    bound = saelbo(
        torch.tensor(policy_entropy), torch.tensor(state_entropy), torch.tensor(gaussian_entropy(noise_std)),
        information, discount,
    )  # fmt: skip
    assert information.item() <= INFORMATION + 0.02
    assert bound.item() <= true_entropy + 0.02


def test_saelbo_gap_with_the_exact_information_is_the_action_information():
    """H[s'] = I(s; s') + H[s'|s], and the bound replaces H[s'|s] by the smaller H[s'|s, a]: nothing else is lost."""
    discount, noise_std = 0.9, 0.1
    gaussian_entropy = lambda std: SIZE * 0.5 * math.log(2 * math.pi * math.e * std**2)  # noqa: E731
    given_state = gaussian_entropy(math.sqrt(1 - CORRELATION**2))
    bound = saelbo(
        torch.tensor(0.0), torch.tensor(gaussian_entropy(1.0)), torch.tensor(gaussian_entropy(noise_std)),
        torch.tensor(INFORMATION), discount,
    )  # fmt: skip
    gap = gaussian_entropy(1.0) - bound.item()
    assert gap == pytest.approx(discount * (given_state - gaussian_entropy(noise_std)), rel=1e-5)


def test_closed_form_and_sampled_rewards_agree():
    generator = torch.Generator().manual_seed(3)
    draw = lambda number: torch.randn(2, number, 4, generator=generator, dtype=torch.float64)  # noqa: E731
    s, following, others, other_following = draw(50), draw(50) + 1, 2 * draw(3000), draw(3000) - 1
    critic = DistanceCritic(0.3)
    exact = occupancy_reward(critic, s, following, Moments.of(others), Moments.of(other_following), 0.99)
    sampled = sampled_occupancy_reward(critic, s, following, others, other_following, 0.99)
    torch.testing.assert_close(exact, sampled)


def test_expected_exponential_against_monte_carlo():
    generator = torch.Generator().manual_seed(4)
    mean, std = torch.tensor([1.0, -2.0]), torch.tensor([0.5, 2.0])
    samples = mean + std * torch.randn(1, 500_000, 2, generator=generator)
    point = torch.tensor([[[0.3, 0.7]]])
    critic = DistanceCritic(0.8)
    exact = critic.expected_exponential(point, Moments(mean.view(1, 1, 2), std.square().sum().view(1, 1)))
    monte_carlo = critic(point, samples).exp().mean()
    assert exact.item() == pytest.approx(monte_carlo.item(), rel=0.01)
