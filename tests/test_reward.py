"""NDI's reward against its two conventions, computed by hand with numpy from log q and the states of a batch."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.kit.contract import Transition
from benchmarks.kit.errors import UserError
from benchmarks.kit.replay import Batch, Experience
from benchmarks.kit.standardiser import Standardiser
from ndi.reward import NDIReward, RewardConfig

DISCOUNT = 0.9
LITERAL = RewardConfig(convention="literal", lambda_f=0.0)
PRACTICAL = RewardConfig(lambda_f=0.0, floor_every=1, floor_rate=1.0, floor_window=8, floor_share=0.0)
DEMONSTRATED = [-30.0, -2.0, 4.0, 8.0]
"""Log densities of demonstrations: mean -5, minimum -30."""


@pytest.fixture
def experience(point_problem):
    """A replay whose latest log densities are given: `experience([...])`."""

    def make(latest, fraction=0.0, seeds=(0,)):
        problem = point_problem(seeds=seeds)
        made = Experience(problem, Standardiser.identity(problem), 8, fraction)
        remaining = iter(latest)
        made.label(lambda batch: torch.full_like(batch.rewards, next(remaining)) if batch.rewards.shape[1] == 1
                   else torch.zeros_like(batch.rewards))  # fmt: skip
        state, no = np.zeros((len(seeds), 2), np.float32), np.zeros(len(seeds), bool)
        for _ in latest:
            made.add(Transition(state, state, state, no, no, np.full(len(seeds), np.nan, np.float32)))
        return made

    return make


def batch_of(log_density, lanes=1, seed=0):
    """A batch with given log densities in every lane and random states."""
    generator = torch.Generator().manual_seed(seed)
    states, following = (torch.randn(lanes, len(log_density), 2, generator=generator) for _ in range(2))
    values = torch.tensor(log_density).expand(lanes, -1)
    return Batch(states, torch.zeros_like(states), following, values, torch.ones_like(values))


def by_hand(states, following, demonstrated=0, scale=1.0):
    """r_f = f - gamma/e (E exp f(s~, s') + E exp f(s, s~')), the expectations as plain means over the agent's rows."""
    states, following = (np.asarray(tensor, np.float64) for tensor in (states, following))
    others, other_following = states[demonstrated:], following[demonstrated:]
    exp_f = lambda s, t: scale / s.shape[-1] * np.square(t - s).sum(-1) + 1  # noqa: E731
    marginals = exp_f(others[None], following[:, None]).mean(1) + exp_f(states[:, None], other_following[None]).mean(1)
    return np.log(exp_f(states, following)) - DISCOUNT / math.e * marginals


def calibrated(problem, config, demonstrated=DEMONSTRATED):
    reward = NDIReward(problem, config, DISCOUNT)
    reward.floor.calibrate(torch.tensor(demonstrated).expand(problem.lanes, -1))
    return reward


def rewards_of(reward, batch, held):
    """Rewards of a batch whose reward column is log q."""
    return reward(batch, held).rewards


def test_literally_it_is_log_q(point_problem, experience):
    reward = calibrated(point_problem(), LITERAL)
    assert rewards_of(reward, batch_of([-3.0, 2.0, 0.5]), experience([])).tolist() == [[-3.0, 2.0, 0.5]]


@pytest.mark.parametrize("unit", [1.0, 20.0])
def test_a_fall_is_worth_as_much_as_an_absorbing_state_with_its_own_log_q(point_problem, experience, unit):
    """The value of the transition into it, against the sum of what the absorbing state earns by every later step."""
    batch = batch_of([-3.0, 2.0])._replace(masks=torch.tensor([[0.0, 1.0]]))
    reward = calibrated(point_problem(), replace(LITERAL, unit=unit, after_terminal=-8.0))
    found = reward(batch, experience([]))
    fallen = -3.0 + sum(DISCOUNT**step * -8.0 for step in range(1, 400))
    assert (unit * found.rewards).tolist() == [pytest.approx([fallen, 2.0], rel=1e-5)]
    assert found.masks.tolist() == [[0.0, 1.0]]  # nothing is added to it


def test_terminal_states_can_be_bootstrapped_from(point_problem, experience):
    batch = batch_of([-3.0, 2.0])._replace(masks=torch.tensor([[0.0, 1.0]]))
    reward = calibrated(point_problem(), replace(LITERAL, after_terminal=None))
    found = reward(batch, experience([]))
    assert found.rewards.tolist() == [[-3.0, 2.0]]
    assert found.masks.tolist() == [[1.0, 1.0]]


def test_without_discount_a_fall_cannot_cost_anything(point_problem):
    with pytest.raises(UserError, match=r"reward\.after_terminal"):
        NDIReward(point_problem(), replace(LITERAL, after_terminal=-8.0), 1.0)
    NDIReward(point_problem(), LITERAL, 1.0)


@pytest.mark.parametrize("scale", [1.0, 3.0])
def test_literally_r_f_is_added_with_its_weight(point_problem, experience, scale):
    config = replace(LITERAL, lambda_f=0.5, critic_scale=scale)
    batch = batch_of([-3.0, 2.0, 0.5, 1.0])
    found = rewards_of(calibrated(point_problem(), config), batch, experience([]))[0]
    expected = batch.rewards[0].numpy() + 0.5 * by_hand(batch.observations[0], batch.next_observations[0], 0, scale)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_moments_are_those_of_the_agents_rows(point_problem, experience):
    held = experience([0.0] * 8, fraction=0.5)
    assert held.demonstrated == 4
    batch = batch_of([0.0] * 8)
    found = rewards_of(calibrated(point_problem(), replace(LITERAL, lambda_f=1.0)), batch, held)[0]
    states, following = batch.observations[0], batch.next_observations[0]
    np.testing.assert_allclose(found, by_hand(states, following, demonstrated=4), rtol=1e-5)
    assert not np.allclose(found, by_hand(states, following), rtol=1e-2)


def test_moments_move_by_their_rate(point_problem, experience):
    reward = calibrated(point_problem(), replace(LITERAL, lambda_f=1.0, moment_rate=0.25))
    first, second = batch_of([0.0] * 6, seed=1), batch_of([0.0] * 6, seed=2)
    rewards_of(reward, first, experience([]))
    rewards_of(reward, second, experience([]))
    means = [batch.observations[0].mean(0).numpy() for batch in (first, second)]
    variances = [batch.observations[0].numpy().var(0).sum() for batch in (first, second)]
    np.testing.assert_allclose(reward.entropy.before_mean[0, 0], 0.75 * means[0] + 0.25 * means[1], rtol=1e-5)
    assert reward.entropy.before_variance.item() == pytest.approx(0.75 * variances[0] + 0.25 * variances[1], rel=1e-5)


def test_practically_r_f_counts_from_its_running_mean(point_problem, experience):
    config = replace(PRACTICAL, lambda_f=0.5)
    batch = batch_of([-110.0] * 5)  # below the floor of -105: the term of log q is 0
    found = rewards_of(calibrated(point_problem(), config), batch, experience([-100.0] * 8))[0]
    alone = by_hand(batch.observations[0], batch.next_observations[0])
    np.testing.assert_allclose(found, 0.5 * (alone - alone.mean()) / (100 / 3), rtol=1e-4, atol=1e-6)


def test_practically_log_q_counts_from_the_floor_in_units_of_the_demonstrations(point_problem, experience):
    """The agent's median is -100, the first floor 5 nats below; m - b is -5 + 105, and 3 the reward of m."""
    reward = calibrated(point_problem(), PRACTICAL)
    found = rewards_of(reward, batch_of([-5.0, -105.0, -110.0, 80.0]), experience([-100.0] * 8))[0]
    np.testing.assert_allclose(found, [3.0, 0.0, 0.0, 3 * 185 / 100])


def test_far_from_the_demonstrations_the_gap_is_a_share_of_the_way(point_problem, experience):
    reward = calibrated(point_problem(), replace(PRACTICAL, floor_share=0.3))
    rewards_of(reward, batch_of([0.0]), experience([-1005.0] * 8))
    assert reward.info()["floor"].item() == pytest.approx(-1305.0)


@pytest.mark.parametrize(
    ("latest", "floor"),
    [
        (-50.0, -55.0),  # the median less the gap of 5
        (-2.0, -30.0),  # not above the least likely demonstrated transition
        (-200.0, -90.0),  # not below where it was
    ],
)
def test_the_floor_follows_the_agents_median_up_to_its_cap(point_problem, experience, latest, floor):
    reward = calibrated(point_problem(), PRACTICAL)
    rewards_of(reward, batch_of([0.0]), experience([-85.0] * 8))
    rewards_of(reward, batch_of([0.0]), experience([-300.0, -300.0, -300.0, *[latest] * 5]))
    assert reward.info()["floor"].tolist() == [floor]


def test_the_floor_moves_by_its_rate_at_its_looks_and_never_sinks(point_problem, experience):
    reward = calibrated(point_problem(), replace(PRACTICAL, floor_rate=0.5, floor_every=2))
    first, near, far = (experience([value] * 8) for value in (-85.0, -45.0, -300.0))
    floors = []
    for held in (first, near, near, near, near, far, far):
        rewards_of(reward, batch_of([0.0]), held)
        floors.append(reward.info()["floor"].item())
    # it begins at -90, goes halfway to -50, and again; then it stays
    assert floors == [-90.0, -90.0, -70.0, -70.0, -60.0, -60.0, -60.0]


@pytest.mark.parametrize("quantile", [0.5, 0.9, 1.0])
def test_a_floor_above_the_demonstrations_mean_does_not_turn_the_reward_round(point_problem, experience, quantile):
    reward = calibrated(point_problem(), replace(PRACTICAL, floor_quantile=quantile))
    found = rewards_of(reward, batch_of([-20.0, 2.0, 7.0, 9.0, 20.0]), experience([100.0] * 8))[0]
    assert torch.isfinite(found).all()
    assert (found >= 0).all()
    assert (found.diff() >= 0).all()
    assert found[-1] > found[0]


def test_swept_weights_give_every_lane_what_it_would_get_alone(point_problem, experience):
    together = calibrated(point_problem(seeds=(0, 1)), replace(PRACTICAL, lambda_f=(0.0, 0.7)))
    batch, latest = batch_of([-5.0, 3.0, 1.0], lanes=2), [-40.0] * 8
    found = rewards_of(together, batch, experience(latest, seeds=(0, 1)))
    for lane, weight in enumerate((0.0, 0.7)):
        alone = calibrated(point_problem(), replace(PRACTICAL, lambda_f=weight))
        expected = rewards_of(alone, Batch(*(column[lane : lane + 1] for column in batch)), experience(latest))
        torch.testing.assert_close(found[lane], expected[0])


def test_a_restored_reward_goes_on_as_it_was(point_problem, experience):
    config = replace(PRACTICAL, lambda_f=0.5, floor_every=2, floor_rate=0.3)
    straight, broken = (calibrated(point_problem(), config) for _ in range(2))
    held, batches = experience([-40.0] * 8), [batch_of([0.0, 1.0, -9.0], seed=seed) for seed in range(6)]
    for batch in batches[:3]:
        rewards_of(straight, batch, held)
        rewards_of(broken, batch, held)
    resumed = NDIReward(point_problem(), config, DISCOUNT)
    resumed.load_state_dict(broken.state_dict())
    for batch in batches[3:]:
        torch.testing.assert_close(rewards_of(resumed, batch, held), rewards_of(straight, batch, held), rtol=0, atol=0)


@pytest.mark.parametrize(("annealed", "level"), [(True, -30.0), (False, -105.0)])
def test_the_temperature_is_lambda_pi_in_the_unit_of_the_reward(point_problem, experience, annealed, level):
    """k = (m - b) / 3 with m = -5; b at its highest, the demonstrations' minimum of -30, or as it is."""
    reward = calibrated(point_problem(), replace(PRACTICAL, lambda_pi=0.5, annealed=annealed))
    rewards_of(reward, batch_of([0.0]), experience([-100.0] * 8))
    assert reward.temperature.tolist() == pytest.approx([0.5 / ((-5.0 - level) / 3)])


def test_a_nat_of_every_term_weighs_the_same_in_either_convention(point_problem, experience):
    """One more nat of log q, 1 / lambda_f of r_f and 1 / lambda_pi of policy entropy are worth the same 1 / k."""
    batch, held = batch_of([-3.0, 2.0, 0.5, 1.0]), experience([-100.0] * 8)
    more = Batch(*batch[:3], batch.rewards + 1, batch.masks)
    for config in (replace(PRACTICAL, annealed=False), replace(LITERAL, unit=7.0)):
        with_f, without = (calibrated(point_problem(), replace(config, lambda_f=f, lambda_pi=2.0)) for f in (0.25, 0.0))
        base = rewards_of(without, batch, held)
        nat = 1 / without.unit
        torch.testing.assert_close(rewards_of(without, more, held) - base, nat.expand(1, 4))
        r_f = torch.tensor(by_hand(batch.observations[0], batch.next_observations[0]))[None]
        r_f = r_f - r_f.mean() if config.convention == "practical" else r_f
        torch.testing.assert_close(
            (rewards_of(with_f, batch, held) - base).double(), 0.25 * r_f * nat, rtol=1e-4, atol=1e-6
        )
        torch.testing.assert_close(without.temperature, 2.0 * nat[:, 0])


def test_the_optimum_does_not_depend_on_the_unit(point_problem, experience):
    """Soft value iteration on two states, by the rewards and the temperature of several units k: one policy.

    Action 0 stays, action 1 changes the state. With lambda_pi -> 0 the values are those of the better action, by hand.
    """
    nats, successor = batch_of([1.0, 0.0, 3.0, 0.5]), torch.tensor([[0, 1], [1, 0]])  # u(s, a), s'

    def soft_optimum(k, lambda_pi):
        reward = calibrated(point_problem(), replace(LITERAL, unit=k, lambda_pi=lambda_pi))
        rewards, alpha = rewards_of(reward, nats, experience([])).view(2, 2).double(), reward.temperature.double()
        value = torch.zeros(2, dtype=torch.float64)
        for _ in range(300):
            q = rewards + DISCOUNT * value[successor]
            value = alpha * torch.logsumexp(q / alpha, dim=1)
        return torch.softmax(q / alpha, dim=1), value

    policies = [soft_optimum(k, lambda_pi=0.7)[0] for k in (1.0, 0.3, 55.0)]
    torch.testing.assert_close(policies[1], policies[0], rtol=1e-4, atol=0)
    torch.testing.assert_close(policies[2], policies[0], rtol=1e-4, atol=0)
    for k in (1.0, 55.0):
        _, value = soft_optimum(k, lambda_pi=1e-4)
        assert (k * value).tolist() == pytest.approx([27.0, 30.0], abs=1e-2)
