"""IQ-Learn: its loss against cases computed by hand, and its update."""

import copy
from types import SimpleNamespace

import pytest
import torch

from baselines import iqlearn
from benchmarks.kit.replay import Batch


def test_iqlearn_regularisation_scales_the_square_alone():
    """The chi-squared term is the mean square of the rewards, divided by four times the weight."""
    rewards, values, targets = torch.tensor([[[3.0, 2.0]], [[4.0, 2.0]], [[1.0, 0.0]]])
    losses = [
        iqlearn.objective(rewards, values, targets, iqlearn.IQLearnConfig(regularisation=weight)).item()
        for weight in (0.5, 0.25)
    ]
    assert losses[1] - losses[0] == pytest.approx((9 + 4) / 2 / 4 * (1 / 0.25 - 1 / 0.5))


@pytest.mark.parametrize("second_term", ["value", "v0"])
def test_iqlearn_update_minimises_its_loss(second_term, point_problem):
    """On a fixed batch, many updates of Q bring the loss down, and the demonstrated rewards above the agent's."""
    problem = point_problem(seeds=(0, 1))
    config = iqlearn.IQLearnConfig((32, 32), 3e-3, 3e-4, second_term=second_term)
    agent = iqlearn.IQLearn(problem, config, iqlearn.Standardiser.identity(problem))
    states, actions = torch.rand(2, 64, 2), torch.rand(2, 64, 2)
    batch = Batch(states, actions, states + 0.1, torch.full((2, 64), torch.nan), torch.ones(2, 64))
    expert, own = batch, batch._replace(actions=-actions)
    first = agent.update(expert, own)["loss"]
    for _ in range(100):
        last = agent.update(expert, own)["loss"]
    assert first.shape == (2,)
    assert (last < first - 0.05).all()


# Two states, the first demonstrated, the second the agent's and followed by a terminal one; gamma = 0.5, alpha = 0.1.
# Q(s, a) = (4, 2), Q(s, a~) = (3, 1), Q'(s', a~) = (10, 20), log pi(a~|s) = (2, -3), log pi(a~|s') = (-5, 7):
#   gamma V(s') = 0.5 (10 + 0.5) = 5.25 and 0;   V(s) = 3 - 0.2 = 2.8 and 1 + 0.3 = 1.3
#   r_Q = 4 - 5.25 = -1.25 and, at the actor's action, 1 (at the replayed one: 2)
#   value: (2.8 - 5.25 + 1.3) / 2 = -0.575       v0: 0.5 * 2.8 = 1.4
@pytest.mark.parametrize(
    ("second_term", "regularised", "expected"),
    [
        ("value", "policy", -0.575 + 1.25 + (1.25**2 + 1) / 4),
        ("v0", "policy", 1.4 + 1.25 + (1.25**2 + 1) / 4),
        ("value", "replay", -0.575 + 1.25 + (1.25**2 + 4) / 4),
        ("v0", "replay", 1.4 + 1.25 + (1.25**2 + 4) / 4),
    ],
)
def test_iqlearn_critic_loss_on_written_out_numbers(point_problem, second_term, regularised, expected):
    problem = point_problem()
    config = iqlearn.IQLearnConfig(discount=0.5, temperature=0.1, second_term=second_term, regularised=regularised)
    agent = iqlearn.IQLearn(problem, config, iqlearn.Standardiser.identity(problem))
    # the sampled actions are zeros, the given ones are ones: by them the values written out above are told apart
    agent.policy = SimpleNamespace(
        sample=lambda states, noise: (torch.zeros(1, 4, 2), torch.tensor([[2.0, -3.0, -5.0, 7.0]]))
    )
    given, own = torch.tensor([[4.0, 2.0]]), torch.tensor([[3.0, 1.0]])

    def critic(inputs):
        states, actions = inputs.split([2, 2], dim=-1)
        row = states[..., 0].long()
        return torch.where(actions[..., 0] == 1, given.gather(1, row), own.gather(1, row)).unsqueeze(-1)

    agent.critic, agent.target = critic, lambda inputs: torch.tensor([[[10.0], [20.0]]])
    states = torch.tensor([[[0.0, 0.0], [1.0, 0.0]]])
    batch = Batch(states, torch.ones(1, 2, 2), states, torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]))
    loss, rewards = agent.critic_loss(torch.zeros(1, 2, 2), torch.zeros(1, 2, 2), batch)
    assert loss.tolist() == pytest.approx([expected])
    assert rewards.tolist() == [[-1.25, 1.0 if regularised == "policy" else 2.0]]


def test_iqlearn_actor_prefers_value_and_entropy(point_problem):
    problem = point_problem()
    agent = iqlearn.IQLearn(problem, iqlearn.IQLearnConfig(temperature=0.5), iqlearn.Standardiser.identity(problem))
    agent.policy = SimpleNamespace(sample=lambda states, noise: (torch.zeros(1, 2, 2), torch.tensor([[2.0, -3.0]])))
    agent.critic = lambda inputs: torch.tensor([[[4.0], [8.0]]])
    columns = torch.zeros(1, 2, 2)
    batch = Batch(columns, columns, columns, columns[..., 0], columns[..., 0])
    assert agent.actor_loss(columns, batch).tolist() == pytest.approx([((1.0 - 4.0) + (-1.5 - 8.0)) / 2])


def test_iqlearn_target_follows_at_every_update(point_problem):
    problem = point_problem()
    agent = iqlearn.IQLearn(problem, iqlearn.IQLearnConfig((8,), 0.1), iqlearn.Standardiser.identity(problem))
    columns = torch.rand(1, 16, 2)
    batch = Batch(columns, columns, columns, columns[..., 0], torch.ones(1, 16))
    for _ in range(2):
        before = copy.deepcopy(agent.target)
        agent.update(batch, batch)
        for old, new, follows in zip(
            before.parameters(), agent.critic.parameters(), agent.target.parameters(), strict=True
        ):
            torch.testing.assert_close(follows, old + 0.005 * (new - old))
            assert not torch.equal(old, new)
