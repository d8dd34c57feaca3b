import copy
import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from baselines.references import OracleConfig, train_sac
from benchmarks.kit.errors import UserError
from benchmarks.kit.replay import Batch
from benchmarks.kit.sac import SAC, SACConfig
from benchmarks.kit.standardiser import Standardiser

SMALL = SACConfig(hidden=(32, 32), batch_size=32, learning_rate=1e-3, warmup=50)


def random_batch(lanes, size=32, seed=0, terminal=False):
    generator = torch.Generator().manual_seed(seed)
    states, actions, following = (torch.rand(lanes, size, 2, generator=generator) * 2 - 1 for _ in range(3))
    masks = torch.full((lanes, size), 0.0 if terminal else 1.0)
    return Batch(states, actions, following, states.sum(-1) + actions.sum(-1), masks)


def test_terminal_values_are_the_reward_alone(point_problem):
    """With every transition terminal the critic is a regression on the reward."""
    problem = point_problem()
    sac = SAC(problem, SMALL, Standardiser.identity(problem))
    for step in range(600):
        sac.update(random_batch(1, 128, step, terminal=True))
    batch = random_batch(1, 500, seed=10_000, terminal=True)
    error = (sac.critic(batch.observations, batch.actions) - batch.rewards[:, None]).square().mean()
    assert error < 0.02 * batch.rewards.var()


@pytest.fixture
def written_out(point_problem):
    """An agent whose policy and critics say what a test writes out, for two states of one lane and two heads."""

    def make(values, target, log_density, absorbing=False):
        problem = point_problem()
        standardise = Standardiser.from_demonstrations(problem, absorbing=True) if absorbing else None
        sac = SAC(problem, SACConfig(discount=0.9), standardise or Standardiser.identity(problem))
        sac.policy = SimpleNamespace(sample=lambda states, noise: (torch.zeros(1, 2, 2), torch.tensor([log_density])))
        sac.critic = lambda states, actions: torch.tensor([values])
        sac.target = lambda states, actions: torch.tensor([target])
        return sac

    return make


def test_the_critics_loss_on_written_out_numbers(written_out):
    """Smaller head of the target less alpha log pi; the second state is terminal. Heads are summed, states averaged."""
    sac = written_out(values=[[1.0, 2.0], [4.0, 8.0]], target=[[10.0, 7.0], [6.0, 9.0]], log_density=[-3.0, 2.0])
    batch = random_batch(1, size=2)._replace(rewards=torch.tensor([[0.5, -1.0]]), masks=torch.tensor([[1.0, 0.0]]))
    loss, values = sac.critic_loss(batch, torch.zeros(1, 2, 2), torch.tensor([2.0]))
    first, second = 0.5 + 0.9 * (6.0 + 2 * 3.0), -1.0
    expected = ((1 - first) ** 2 + (2 - second) ** 2) / 2 + ((4 - first) ** 2 + (8 - second) ** 2) / 2
    assert loss.tolist() == pytest.approx([expected])
    assert values.tolist() == [[[1.0, 2.0], [4.0, 8.0]]]


def test_the_actors_loss_on_written_out_numbers(written_out):
    sac = written_out(values=[[1.0, 9.0], [4.0, 8.0]], target=[[0.0, 0.0], [0.0, 0.0]], log_density=[-3.0, 2.0])
    loss, entropy = sac.actor_loss(random_batch(1, size=2), torch.zeros(1, 2, 2), torch.tensor([2.0]))
    assert loss.tolist() == pytest.approx([((2 * -3.0 - 1.0) + (2 * 2.0 - 8.0)) / 2])
    assert entropy.tolist() == pytest.approx([(3.0 - 2.0) / 2])


def test_the_target_follows_at_every_update_and_the_actor_learns_at_its_own(point_problem):
    problem = point_problem()
    sac = SAC(problem, SACConfig(hidden=(8,), learning_rate=0.1, actor_period=3), Standardiser.identity(problem))
    for update in range(4):
        target, actor, alpha = copy.deepcopy(sac.target), copy.deepcopy(sac.policy), sac.temperature
        sac.update(random_batch(1, seed=update))
        for old, new, follows in zip(
            target.parameters(), sac.critic.parameters(), sac.target.parameters(), strict=True
        ):
            torch.testing.assert_close(follows, old + 0.005 * (new - old))
            assert not torch.equal(old, new)
        learnt = [not torch.equal(*pair) for pair in zip(actor.parameters(), sac.policy.parameters(), strict=True)]
        assert all(learnt) if update in (0, 3) else not any(learnt)
        assert (sac.temperature != alpha) == (update in (0, 3))


def test_the_temperature_moves_the_entropy_towards_its_target(point_problem):
    """alpha falls where the entropy is above -1 nat per dimension, and rises below."""
    problem = point_problem()
    for entropy, direction in ((-1.9, -1), (-2.1, 1)):
        sac = SAC(problem, SMALL, Standardiser.identity(problem))
        loss = lambda batch, *_, agent=sac: (  # noqa: E731
            agent.policy(batch.observations)[0].sum((1, 2)), torch.tensor([entropy])  # noqa: B023
        )  # fmt: skip
        sac.actor_loss = loss
        before = sac.log_temperature.item()
        sac.learn_actor(torch.zeros(1, 32, 2), random_batch(1), sac.temperature)
        assert (sac.log_temperature.item() - before) * direction > 0


def test_constant_reward_without_entropy_is_worth_one_over_one_minus_gamma(point_problem):
    problem = point_problem()
    config = SACConfig(hidden=(32, 32), learning_rate=3e-3, discount=0.5, target_rate=0.05, temperature=1e-8,
                       target_entropy=None)  # fmt: skip
    sac = SAC(problem, config, Standardiser.identity(problem))
    for step in range(500):
        batch = random_batch(1, 64, step)
        sac.update(batch._replace(rewards=torch.ones_like(batch.rewards)))
    assert sac.critic(batch.observations, batch.actions).mean().item() == pytest.approx(2.0, rel=0.05)


def test_the_actors_step_leaves_the_critic_as_it_is(point_problem):
    problem = point_problem()
    sac = SAC(problem, SMALL, Standardiser.identity(problem))
    critic, actor = copy.deepcopy(sac.critic), copy.deepcopy(sac.policy)
    sac.learn_actor(torch.zeros(1, 32, 2), random_batch(1), sac.temperature)
    for before, now in zip(critic.parameters(), sac.critic.parameters(), strict=True):
        assert torch.equal(before, now)
        assert now.grad is None
    assert not any(map(torch.equal, actor.parameters(), sac.policy.parameters()))


def absorbed(batch, now):
    """The batch with the absorbing bit appended: every next state absorbing, and every state too if `now`."""
    bit = torch.ones_like(batch.masks).unsqueeze(-1)
    loop = torch.cat([torch.zeros_like(batch.observations), bit], -1)
    states = loop if now else torch.cat([batch.observations, 0 * bit], -1)
    return batch._replace(observations=states, next_observations=loop)


def test_an_absorbing_state_is_worth_its_reward_for_ever_and_no_entropy(point_problem):
    """With reward 1 it is 1 / (1 - gamma), though a temperature of 1 would pay for entropy anywhere else."""
    problem = point_problem()
    config = SACConfig(hidden=(32, 32), learning_rate=3e-3, discount=0.5, target_rate=0.05, temperature=1.0,
                       target_entropy=None)  # fmt: skip
    sac = SAC(problem, config, Standardiser.from_demonstrations(problem, absorbing=True))
    for step in range(400):
        batch = absorbed(random_batch(1, 64, step), now=True)
        sac.update(batch._replace(actions=torch.zeros_like(batch.actions), rewards=torch.ones_like(batch.rewards)))
    state = batch.observations[:, :1]
    assert sac.critic(state, torch.zeros(1, 1, 2)).mean().item() == pytest.approx(2.0, rel=0.05)


@pytest.mark.parametrize("absorbing", [False, True])
def test_cloning_without_demonstrated_rows_does_nothing(point_problem, absorbing):
    problem = point_problem()
    states = Standardiser.from_demonstrations(problem, absorbing=absorbing)
    losses = []
    for weight in (0.0, 20.0):
        sac = SAC(problem, replace(SMALL, cloning=weight, demonstration_fraction=0.0), states)
        batch = absorbed(random_batch(1), now=False) if absorbing else random_batch(1)
        losses.append(sac.actor_loss(batch, torch.zeros_like(batch.actions), sac.temperature)[0].item())
    assert losses[0] == losses[1]
    assert math.isfinite(losses[0])


@pytest.mark.parametrize("cloning", [0.0, 20.0])
def test_absorbing_states_train_neither_actor_nor_temperature(point_problem, cloning):
    problem = point_problem()
    config = replace(SMALL, cloning=cloning, demonstration_fraction=1.0)
    agents = [SAC(problem, config, Standardiser.from_demonstrations(problem, absorbing=True)) for _ in range(2)]
    real = absorbed(random_batch(1), now=False)
    ended = absorbed(random_batch(1), now=True)
    mixed = Batch(*(torch.cat([a, b], 1) for a, b in zip(real, ended, strict=True)))
    for agent, batch in zip(agents, (real, mixed), strict=True):
        agent.demonstrated = batch.actions.shape[1]
        agent.learn_actor(torch.zeros_like(batch.actions), batch, agent.temperature)
    # after one step the first moments are a tenth of the gradients; the temperature's is the last
    one, other = (agent.actor_optimiser.first for agent in agents)
    torch.testing.assert_close(one, other)
    assert all(moment.count_nonzero() for moment in one)


def test_the_policy_handed_over_is_the_running_average_of_the_actor(point_problem):
    problem = point_problem(seeds=(0, 1))
    sac = SAC(problem, SACConfig(hidden=(8,), actor_period=2, averaging=0.2), Standardiser.identity(problem))
    expected = [p.detach().clone() for p in sac.policy.parameters()]
    for update in range(9):
        sac.update(random_batch(2, seed=update))
        if update % 2 == 0:
            rate = max(0.8, 9 / (update // 2 + 9))  # 1, 0.9, then 0.82 and 0.8
            expected = [e + rate * (p.detach() - e) for e, p in zip(expected, sac.policy.parameters(), strict=True)]
    for average, value in zip(sac.deployed.parameters(), expected, strict=True):
        torch.testing.assert_close(average, value)
        assert not average.requires_grad
    assert not any(weight.requires_grad for weight in sac.target.parameters())  # no graph that grows with every update


def test_averaging_changes_what_is_handed_over_and_nothing_that_is_learnt(point_problem):
    problem = point_problem()
    plain, averaged = (
        SAC(problem, SACConfig(hidden=(8,), averaging=rate), Standardiser.identity(problem)) for rate in (0.0, 0.9)
    )
    assert plain.deployed is plain.policy
    for update in range(3):
        batch = random_batch(1, seed=update)
        plain.update(batch)
        averaged.update(batch)
    for ours, theirs in zip(plain.policy.parameters(), averaged.policy.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_sac_on_the_true_reward_has_nothing_to_clone(point_problem):
    with pytest.raises(UserError, match=r"sac\.sac\.cloned must be 0"):
        next(train_sac(point_problem(privileged=True), OracleConfig(sac=replace(SMALL, cloned=10))))
