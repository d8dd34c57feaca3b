"""GAIL and DAC: rewards and the discriminator's loss against analytic values."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from baselines import gail
from benchmarks.kit.acceleration import accelerated
from benchmarks.kit.networks import MLP
from benchmarks.kit.replay import Batch
from benchmarks.kit.streams import Streams


@pytest.mark.parametrize(
    ("form", "expected"),
    [("survival", lambda d: -math.log(1 - d)), ("logit", lambda d: math.log(d / (1 - d))), ("negative", math.log)],
)
def test_gail_rewards_are_those_of_the_discriminators_probability(form, expected):
    """D = 0.9 and 0.2 for what the network says are the expert's and the agent's."""
    probabilities = torch.tensor([[0.9, 0.2]])
    columns = torch.zeros(1, 2, 2)
    batch = Batch(columns, columns, columns, torch.full((1, 2), torch.nan), columns[..., 0])
    logits = lambda pairs: probabilities.logit().unsqueeze(-1)  # noqa: E731
    rewards = gail.labelled(batch, logits, gail.GAILConfig(reward=form)).rewards
    assert rewards[0].tolist() == pytest.approx([expected(0.9), expected(0.2)], rel=1e-5)


def test_gail_loss_is_cross_entropy_with_its_penalty():
    config = gail.GAILConfig(entropy=0.0, gradient_penalty=3.0)
    network = MLP(Streams((0,), "d"), (4, 1))
    expert, agent = torch.randn(1, 64, 4), torch.randn(1, 64, 4)
    loss = gail.discriminator_loss(network, expert, agent, torch.rand(1, 64, 1), config)
    logits = torch.cat([network(expert), network(agent)], 1)[..., 0]
    labels = torch.cat([torch.ones(1, 64), torch.zeros(1, 64)], 1)
    cross_entropy = 2 * nn.functional.binary_cross_entropy_with_logits(logits, labels)
    slope = network.layers[0].weight.norm()  # a linear network has the same gradient everywhere
    torch.testing.assert_close(loss[0], cross_entropy + 3 * (slope - 1) ** 2)


def test_gail_entropy_bonus_is_the_bernoulli_entropy():
    network = MLP(Streams((0,), "d"), (4, 1))
    expert, agent, mix = torch.randn(1, 64, 4), torch.randn(1, 64, 4), torch.rand(1, 64, 1)
    with_bonus, without = (
        gail.discriminator_loss(network, expert, agent, mix, gail.GAILConfig(entropy=weight)) for weight in (1.0, 0.0)
    )
    logits = torch.cat([network(expert), network(agent)], 1)[..., 0]
    entropy = torch.distributions.Bernoulli(logits=logits).entropy().mean()
    torch.testing.assert_close((without - with_bonus)[0], entropy)


@pytest.mark.parametrize("period", [1, 2, 5])
def test_the_discriminator_learns_at_every_so_many_updates_of_the_learner(point_problem, monkeypatch, period):
    made = []
    loss = gail.discriminator_loss
    monkeypatch.setattr(gail, "discriminator_loss", lambda *arguments: (made.append(1), loss(*arguments))[1])
    sac = replace(gail.GAILConfig().sac, hidden=(8,), batch_size=8)
    config = replace(gail.GAILConfig(), period=period, hidden=(8,), sac=sac)
    *_, last = gail.train(point_problem(budget=60), config)
    assert len(made) == -(-last.updates // period)


@pytest.mark.usefixtures("compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("error::benchmarks.kit.acceleration.AccelerationWarning")  # it must not fall back
def test_a_compiled_discriminator_takes_the_steps_of_a_plain_one(point_problem, monkeypatch):
    plain = lambda name, draw, learn, problem, *_: accelerated(draw, learn, problem.device)  # noqa: E731
    monkeypatch.setattr("benchmarks.kit.sac.carried_out", plain)  # the learner has its own test
    losses = {}
    for compile in (False, True):
        sac = replace(gail.GAILConfig().sac, hidden=(8,), batch_size=8, compile=compile)
        *_, last = gail.train(point_problem(budget=40), replace(gail.GAILConfig(), hidden=(8,), sac=sac))
        losses[compile] = last.info["discriminator_loss"]
    torch.testing.assert_close(losses[True], losses[False], rtol=1e-4, atol=1e-5)
