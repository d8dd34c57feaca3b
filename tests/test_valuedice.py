"""ValueDICE: its objective against analytic values, its step against plain autograd and a plain optimiser."""

import dataclasses
import warnings

import pytest
import torch
from torch.nn.utils import parameters_to_vector

from baselines import valuedice
from benchmarks.kit.acceleration import AccelerationWarning
from benchmarks.kit.errors import UserError
from benchmarks.kit.networks import MLP
from benchmarks.kit.replay import Batch
from benchmarks.kit.standardiser import Standardiser
from benchmarks.kit.streams import Streams

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


def test_valuedice_orthogonality():
    network = MLP(Streams((0,), "nu"), (3, 1))
    weight = network.layers[0].weight
    gram = weight[0].T @ weight[0]
    torch.testing.assert_close(valuedice.orthogonality(network)[0], (gram - gram.diag().diag()).square().sum())


def autograd_penalty(nu, some, others, mix):
    """The penalty as it is written in the paper, by differentiating twice."""
    between = torch.lerp(others, some, mix).requires_grad_()
    gradient = torch.autograd.grad(nu(between).sum(), between, create_graph=True)[0] + 1e-8
    return (gradient.norm(dim=-1) - 1).square().mean(-1)


@pytest.mark.parametrize("hidden", [(), (16,), (16, 24), (16, 24, 8)])
def test_valuedice_gradient_penalty_is_that_of_double_differentiation(hidden):
    """Value and gradient by every weight and bias, for ReLU networks of any depth."""
    nu = MLP(Streams((0, 1), "nu"), (5, *hidden, 1)).double()
    some, others, mix = (torch.rand(2, 9, size, dtype=torch.float64) for size in (5, 5, 1))
    penalties = [form(nu, some, others, mix) for form in (valuedice.gradient_penalty, autograd_penalty)]
    torch.testing.assert_close(*penalties)
    parameters = list(nu.parameters())
    gradients = [torch.autograd.grad(p.sum(), parameters, allow_unused=True, materialize_grads=True) for p in penalties]
    torch.testing.assert_close(*gradients)


def test_valuedice_gradient_penalty_in_bfloat16_is_that_of_single_precision_up_to_rounding():
    network = MLP(Streams((0, 1), "nu"), (5, 64, 64, 1))
    some, others, mix = (torch.rand(2, 256, size) for size in (5, 5, 1))
    values, gradients = [], []
    for rounded in (False, True):
        network.rounded = rounded
        values.append(valuedice.gradient_penalty(network, some, others, mix))
        gradients.append(torch.autograd.grad(values[-1].sum(), network.layers[1].weight)[0].flatten())
    assert values[1].dtype == torch.float32
    torch.testing.assert_close(values[1], values[0], rtol=0.02, atol=0)
    assert (gradients[1] - gradients[0]).norm() < 0.05 * gradients[0].norm()
    assert not torch.equal(*gradients)


@pytest.mark.usefixtures("compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_valuedice_compiled_takes_the_steps_of_a_plain_one(point_problem):
    problem = point_problem(seeds=(0, 1))
    agents = []
    for compile in (False, True):
        config = valuedice.ValueDICEConfig((8, 8), compile=compile)
        standardise = Standardiser.from_demonstrations(problem, absorbing=True)
        agents.append(valuedice.ValueDICE(problem, config, standardise))
    draw = lambda size: torch.rand(2, 16, size) * 2 - 1  # noqa: E731
    expert, replay = (Batch(draw(3), draw(2), draw(3), draw(1)[..., 0], draw(1)[..., 0]) for _ in range(2))
    with warnings.catch_warnings():
        warnings.simplefilter("error", AccelerationWarning)  # it must not fall back
        for _ in range(3):
            plain, compiled = (agent.update(expert, replay) for agent in agents)
    torch.testing.assert_close(compiled, plain, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(agents[1].nu.state_dict(), agents[0].nu.state_dict(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("offline", [False, True])
def test_valuedice_step_is_adam_on_each_players_own_loss(point_problem, offline):
    """One update beside the same losses written out, two backward passes and Adam in its plain form."""
    problem = point_problem(seeds=(0, 1))
    config = valuedice.ValueDICEConfig((8, 8), batch_size=16, replay_weight=0.0 if offline else 0.1, orthogonal=0.1)
    agent, twin = (
        valuedice.ValueDICE(problem, config, Standardiser.from_demonstrations(problem, absorbing=True))
        for _ in range(2)
    )
    draw = lambda size: torch.rand(2, 16, size) * 2 - 1  # noqa: E731
    expert, replay = (Batch(draw(3), draw(2), draw(3), draw(1)[..., 0], draw(1)[..., 0]) for _ in range(2))
    info = agent.update(expert, None if offline else replay)

    batches = [expert] if offline else [expert, replay]
    states = torch.cat([expert.observations] + [batch.next_observations for batch in batches], 1)
    actions, _ = twin.policy.sample(states, twin.noise.normal(states.shape[1], 2))
    value = lambda s, a: twin.nu(torch.cat([s, a], -1))[..., 0]  # noqa: E731
    sampled = actions.split(16, 1)
    deltas = [value(batch.observations, batch.actions) - config.discount * value(batch.next_observations, action)
              for batch, action in zip(batches, sampled[1:], strict=True)]  # fmt: skip
    empty = torch.zeros(2, 0)
    initial = value(expert.observations, sampled[0])
    loss = valuedice.objective(deltas[0], empty if offline else deltas[1], initial, config)
    now = [torch.cat([batch.observations, batch.actions], -1) for batch in batches]
    then = [torch.cat([batch.next_observations, a.detach()], -1) for batch, a in zip(batches, sampled[1:], strict=True)]
    some = torch.cat([now[0], then[0]], 1)
    others = torch.cat([now[0].roll(1, 1), then[0].roll(1, 1)] if offline else [now[1], then[1]], 1)
    penalty = autograd_penalty(twin.nu, some, others, twin.mix.uniform(32, 1))
    torch.testing.assert_close(info["loss"], loss)
    torch.testing.assert_close(info["gradient_penalty"], penalty)

    players = {
        twin.nu: (loss + config.gradient_penalty * penalty, config.nu_learning_rate),
        twin.policy: (config.orthogonal * valuedice.orthogonality(twin.policy.network) - loss,
                      config.actor_learning_rate),
    }  # fmt: skip
    steps = []
    for player, (objective, rate) in players.items():
        parameters = [p for p in player.parameters() if p.requires_grad]
        gradients = torch.autograd.grad(objective.sum(), parameters, retain_graph=True)
        steps.append((parameters, gradients, torch.optim.Adam(parameters, rate)))
    for parameters, gradients, adam in steps:
        for parameter, gradient in zip(parameters, gradients, strict=True):
            parameter.grad = gradient.contiguous()
        adam.step()
    for mine, plain in ((agent.nu, twin.nu), (agent.policy, twin.policy)):
        # a step of Adam is the rate in every entry: a tenth of the smaller rate tells any wrong sign or order
        torch.testing.assert_close(
            parameters_to_vector(mine.parameters()), parameters_to_vector(plain.parameters()), atol=1e-6, rtol=0
        )


def test_valuedice_offline_has_no_replay(point_problem):
    config = dataclasses.replace(valuedice.OFFLINE.config, replay_weight=0.1)
    with pytest.raises(UserError, match="replay_weight must be 0"):
        next(valuedice.train_offline(point_problem(), config))
