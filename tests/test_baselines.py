"""Losses against analytic values, and every method on a task whose optimum is known."""

import dataclasses
import math

import pytest
import torch
from torch import nn

from baselines import bc, gail, iqlearn, red, references, sqil, valuedice
from benchmarks.kit.fitting import FitConfig
from benchmarks.kit.networks import MLP
from benchmarks.kit.sac import SACConfig
from benchmarks.kit.streams import Streams
from ndi import ndi
from ndi.ebm import EBMConfig
from ndi.made import MADEConfig

SAC = SACConfig(hidden=(32, 32), batch_size=32, learning_rate=1e-3, warmup=100, demonstration_fraction=0.25)
FIT = FitConfig(steps=400, batch_size=64, learning_rate=3e-3)
GAIL = gail.GAILConfig(hidden=(32, 32), learning_rate=1e-3, sac=SAC)
SMALL = {
    "bc": (bc.METHOD, bc.BCConfig(hidden=(32, 32), fit=FIT)),
    "sac": (references.SAC_ORACLE, references.OracleConfig(sac=SAC)),
    "gail": (gail.GAIL, GAIL),
    "dac": (gail.DAC, dataclasses.replace(GAIL, reward="logit", absorbing=True)),
    "valuedice": (valuedice.METHOD, valuedice.ValueDICEConfig(hidden=(32, 32), batch_size=64,
                                                              actor_learning_rate=1e-4, nu_learning_rate=3e-3)),
    "red": (red.METHOD, red.REDConfig((64, 64, 64, 64), (64,), 64, FIT, sac=SAC)),
    "sqil": (sqil.METHOD, sqil.SQILConfig(sac=dataclasses.replace(SAC, demonstration_fraction=0.5))),
    "iq-learn": (iqlearn.METHOD, iqlearn.IQLearnConfig((32, 32), 1e-3, 1e-3, batch_size=32)),
    "ndi-made": (ndi.NDI_MADE, ndi.NDIConfig(MADEConfig(hidden=(32, 32), fit=FIT), sac=SAC)),
    "ndi-ebm": (ndi.NDI_EBM, ndi.NDIConfig(EBMConfig(hidden=(32, 32), fit=FIT), sac=SAC)),
}  # fmt: skip


def trained(name, problem):
    method, config = SMALL[name]
    progress = None
    for progress in method.train(problem, config):  # noqa: B007
        pass
    return progress


@pytest.mark.learning
@pytest.mark.parametrize("name", SMALL)
def test_every_method_walks_to_the_origin(name, point_problem, point_return):
    """The optimum is about -0.7, the random policy below -10; demonstrations are five episodes of 20 steps."""
    budget = 1600
    problem = point_problem(budget=budget, privileged=name == "sac", lethal=True)
    progress = trained(name, problem)
    assert point_return(progress.policy).item() > -1.5
    assert all(torch.isfinite(value).all() for value in progress.info.values())
    assert problem.environments.steps == (budget if SMALL[name][0].online else 0)


@pytest.mark.parametrize("name", SMALL)
def test_lanes_do_not_influence_each_other(name, point_problem):
    """Seed 1 gives the same policy alone and beside seed 0, up to float rounding."""
    policies = []
    method, config = SMALL[name]
    # rounding grows with every step, so few steps; a leak between lanes shows at once
    if name == "bc":
        config = dataclasses.replace(config, fit=dataclasses.replace(FIT, steps=30))
    if name == "valuedice":
        config = dataclasses.replace(config, updates_per_step=1)
    for seeds in ((0, 1), (1,)):
        problem = point_problem(seeds=seeds, budget=60, privileged=name == "sac", lethal=True)
        *_, last = method.train(problem, config)
        policies.append(last.policy)
    states = torch.rand(1, 50, 2) * 2 - 1
    torch.testing.assert_close(
        policies[0].act(states.repeat(2, 1, 1))[1], policies[1].act(states)[0], atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("name", [name for name in SMALL if SMALL[name][0].online])
def test_an_interrupted_run_continues_bit_for_bit(name, point_problem, tmp_path):
    method, config = SMALL[name]
    if name == "valuedice":
        config = dataclasses.replace(config, updates_per_step=1)
    straight = point_problem(seeds=(0, 1), budget=300, privileged=name == "sac", lethal=True)
    for progress in method.train(straight, config):  # noqa: B007
        pass

    broken = point_problem(seeds=(0, 1), budget=300, privileged=name == "sac", lethal=True)
    for _ in method.train(broken, config):
        if broken.environments.steps == 150:
            break
    torch.save({name: part.state_dict() for name, part in broken.parts.items()}, tmp_path / "checkpoint.pt")
    restored = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    resumed = dataclasses.replace(
        point_problem(seeds=(0, 1), budget=300, restored=restored), environments=broken.environments
    )
    for again in method.train(resumed, config):  # noqa: B007
        pass
    states = torch.rand(2, 20, 2)
    assert torch.equal(progress.policy.act(states), again.policy.act(states))
    assert progress.updates == again.updates


# ------------------------------------------------------------------------------------------------------------- GAIL


def test_gail_rewards_at_chance():
    """At D = 1/2: -log(1 - D) = log 2, the logit is 0, log D = -log 2."""
    rewards = {name: form(torch.zeros(1)).item() for name, form in gail.REWARDS.items()}
    assert rewards["survival"] == pytest.approx(math.log(2))
    assert rewards["logit"] == 0
    assert rewards["negative"] == pytest.approx(-math.log(2))


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


# -------------------------------------------------------------------------------------------------------- ValueDICE

DICE = valuedice.ValueDICEConfig()


def test_valuedice_objective_is_zero_at_nu_zero():
    zeros = torch.zeros(2, 256)
    torch.testing.assert_close(valuedice.objective(zeros, zeros, zeros, DICE), torch.zeros(2), atol=1e-6, rtol=0)


def test_valuedice_objective_ignores_a_constant():
    """nu + c changes every delta by (1 - gamma) c and every initial value by c."""
    expert, replay, initial = (torch.randn(1, 256, dtype=torch.float64) for _ in range(3))
    shift = 5.0
    moved = (1 - DICE.discount) * shift
    torch.testing.assert_close(
        valuedice.objective(expert, replay, initial, DICE),
        valuedice.objective(expert + moved, replay + moved, initial + shift, DICE),
    )


def test_valuedice_gradient_is_that_of_the_weighted_log_mean_exp():
    """The authors back-propagate stop-gradient softmax weights times delta: the same gradient."""
    expert, replay = (torch.randn(1, 64, dtype=torch.float64, requires_grad=True) for _ in range(2))
    initial = torch.zeros(1, 64, dtype=torch.float64)
    gradients = torch.autograd.grad(valuedice.objective(expert, replay, initial, DICE).sum(), (expert, replay))
    al = DICE.replay_weight
    delta = torch.cat([expert, replay], 1).detach()
    weights = torch.cat([torch.full((1, 64), 1 - al), torch.full((1, 64), al)], 1).double() * delta.exp()
    softmax = weights / weights.sum()
    torch.testing.assert_close(gradients[0], softmax[:, :64])
    torch.testing.assert_close(gradients[1], softmax[:, 64:] - al / 64)


def test_valuedice_offline_objective_ignores_the_replay():
    offline = valuedice.ValueDICEConfig(replay_weight=0.0)
    expert, replay, initial = (torch.randn(1, 64) for _ in range(3))
    one = valuedice.objective(expert, replay, initial, offline)
    torch.testing.assert_close(one, valuedice.objective(expert, replay + 100, initial, offline))
    torch.testing.assert_close(one, expert.exp().mean(1).log() - (1 - offline.discount) * initial.mean(1))


def test_valuedice_penalties():
    network = MLP(Streams((0,), "nu"), (3, 1))
    weight = network.layers[0].weight
    penalty = valuedice.gradient_penalty(network, torch.randn(1, 9, 3), torch.randn(1, 9, 3), torch.rand(1, 9, 1))
    torch.testing.assert_close(penalty[0], (weight.norm() - 1) ** 2)
    gram = weight[0].T @ weight[0]
    torch.testing.assert_close(valuedice.orthogonality(network)[0], (gram - gram.diag().diag()).square().sum())


def test_bc_squared_error_reaches_the_regression_optimum(point_problem):
    """The expert is a = clip(-s / 0.3) with noise of standard deviation 0.1, seen 100 times."""
    method, _ = SMALL["bc"]
    problem = point_problem()
    *_, last = method.train(problem, bc.BCConfig("squared error", (32, 32), FIT))
    s = torch.tensor(problem.demonstrations[0].observations.copy())[None]
    error = last.policy.act(s) - (-s / 0.3).clamp(-0.99, 0.99)
    assert error.abs().mean() < 0.05  # half of the noise that it has seen
    assert error.mean().abs() < 0.03
