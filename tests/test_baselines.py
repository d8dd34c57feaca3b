"""Every method on a task whose optimum is known, in company, and interrupted."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from baselines import bc, gail, iqlearn, pwil, red, references, sqil, valuedice
from benchmarks.kit.cloning import cloning_loss
from benchmarks.kit.contract import Problem, Transition
from benchmarks.kit.demonstrations import Demonstrations
from benchmarks.kit.errors import UserError
from benchmarks.kit.fitting import FitConfig
from benchmarks.kit.sac import SACConfig
from benchmarks.plan import registry
from ndi import ndi
from ndi.ebm import EBMConfig
from ndi.kde import KDEConfig
from ndi.made import MADEConfig

SAC = SACConfig(hidden=(32, 32), batch_size=32, learning_rate=1e-3, warmup=100, demonstration_fraction=0.25)
FIT = FitConfig(steps=400, batch_size=64, learning_rate=3e-3)
GAIL = gail.GAILConfig(hidden=(32, 32), learning_rate=1e-3, sac=SAC)
DICE = valuedice.ValueDICEConfig(
    (32, 32), nu_learning_rate=3e-3, actor_learning_rate=3e-4, batch_size=64, updates_per_step=2
)
SMALL = {
    "bc": (bc.METHOD, bc.BCConfig(hidden=(32, 32), fit=FIT)),
    "sac": (references.SAC_ORACLE, references.OracleConfig(sac=SAC)),
    "gail": (gail.GAIL, GAIL),
    "dac": (gail.DAC, dataclasses.replace(GAIL, reward="logit", absorbing=True, period=2)),
    "valuedice": (valuedice.VALUEDICE, DICE),
    "valuedice-offline": (valuedice.OFFLINE, dataclasses.replace(DICE, replay_weight=0.0, offline_updates=2000)),
    "red": (red.METHOD, red.REDConfig((64, 64, 64, 64), (64,), 64, FIT, sac=SAC)),
    "sqil": (sqil.METHOD, sqil.SQILConfig(sac=dataclasses.replace(SAC, demonstration_fraction=0.5))),
    "iq-learn": (iqlearn.METHOD, iqlearn.IQLearnConfig((32, 32), 1e-3, 1e-3, batch_size=32)),
    "pwil": (pwil.METHOD, pwil.PWILConfig(horizon=20, sac=SAC)),
    "ndi-made": (ndi.NDI_MADE, ndi.NDIConfig(MADEConfig(hidden=(32, 32), fit=FIT), sac=SAC)),
    "ndi-ebm": (ndi.NDI_EBM, ndi.NDIConfig(EBMConfig(hidden=(32, 32), fit=FIT), sac=SAC)),
    "ndi-kde": (ndi.NDI_KDE, ndi.NDIConfig(KDEConfig(), sac=SAC)),
}  # fmt: skip


@pytest.mark.learning
@pytest.mark.parametrize("name", SMALL)
def test_every_method_walks_to_the_origin(name, point_problem, point_return):
    """The optimum is about -0.7, the random policy below -10; demonstrations are five episodes of 20 steps."""
    (method, config), budget = SMALL[name], 1200
    if name in ("gail", "dac"):  # a discriminator that learns rarely has not settled by then
        config, budget = dataclasses.replace(config, period=1), 1500
    problem = point_problem(budget=budget, privileged=name == "sac", lethal=True)
    *_, progress = method.train(problem, config)
    assert point_return(progress.policy).item() > -1.5
    assert all(torch.isfinite(value).all() for value in progress.info.values())
    assert problem.environments.steps == (budget if method.online else 0)


class WalkEnvironments:
    """Two states, standing (0) and walking (1), and a fall: actions below -0.5 end the episode, above 0.25 walk.

    Anything between stands still; 20 steps. The state is seen with noise of 0.01.
    """

    def __init__(self, seeds, budget):
        self.generators = [np.random.default_rng(seed) for seed in seeds]
        self.budget, self.steps, self.clock = budget, 0, np.zeros(len(seeds), dtype=int)
        self.observations = self._seen(np.zeros(len(seeds)))

    def _seen(self, states):
        noise = [generator.normal(0, 0.01) for generator in self.generators]
        return (states + noise).astype(np.float32)[:, None]

    def step(self, actions):
        before, terminated = self.observations, actions[:, 0] < -0.5
        walking = actions[:, 0] > 0.25
        following = self._seen(walking)
        self.steps, self.clock = self.steps + 1, self.clock + 1
        truncated = ~terminated & (self.clock == 20)
        ended = terminated | truncated
        self.clock[ended] = 0
        self.observations = self._seen(np.where(ended, 0, walking))
        nothing = np.full(len(actions), np.nan, dtype=np.float32)
        return Transition(before, actions.astype(np.float32), following, terminated, truncated, nothing)


def walking_problem(budget):
    """The expert walks: a = 0.6 with noise of 0.05, five episodes."""
    generator = np.random.default_rng(0)
    states = np.arange(100)[:, None] % 20 > 0
    noisy = lambda array, scale: (array + generator.normal(0, scale, (100, 1))).astype(np.float32)  # noqa: E731
    demonstrations = Demonstrations(
        noisy(states, 0.01), noisy(0.6, 0.05), noisy(1, 0.01), np.zeros(100, dtype=bool), np.arange(100) // 20,
        tuple(range(5)), np.zeros(5),
    )  # fmt: skip
    return Problem("walk", (0,), 1, 1, (demonstrations,), WalkEnvironments((0,), budget), budget, torch.device("cpu"))


def action_in_both_states(method, config):
    *_, last = method.train(walking_problem(1500), config)
    return last.policy.act(torch.tensor([[[0.0], [1.0]]]))[0, :, 0]


@pytest.mark.learning
@pytest.mark.parametrize("name", [name for name in SMALL if SMALL[name][0].online and name != "sac"])
def test_no_method_falls_to_be_done_or_stands_to_be_safe(name):
    """Rewards that are never positive must not make death attractive, nor positive ones any survival."""
    assert (action_in_both_states(*SMALL[name]) > 0.25).all()


@pytest.mark.learning
@pytest.mark.parametrize("absorbing", [False, True])
def test_absorbing_states_take_the_reward_of_a_fall_away(absorbing):
    """GAIL's reward log D <= 0 makes falls pay where they are worth 0, and not where what follows them is learnt."""
    actions = action_in_both_states(gail.GAIL, dataclasses.replace(GAIL, reward="negative", absorbing=absorbing))
    assert ((actions > 0.25) if absorbing else (actions < -0.5)).all()


def test_ndi_says_that_its_occupancy_reward_needs_the_agents_own_states(point_problem):
    method, config = SMALL["ndi-made"]
    config = dataclasses.replace(config, sac=dataclasses.replace(SAC, demonstration_fraction=1.0))
    with pytest.raises(UserError, match=r"lower sac\.demonstration_fraction"):
        next(method.train(point_problem(), config))


def test_only_the_expert_and_the_oracle_see_more_than_demonstrations():
    methods = registry.methods()
    assert {name for name, method in methods.items() if method.privileged} == {"expert", "sac"}
    assert set(SMALL) == set(methods) - {"random", "expert"}, "these are tried here"


@pytest.mark.parametrize("standardise", [False, True])
def test_the_oracle_standardises_what_it_sees_if_it_is_told_to(standardise, point_problem):
    problem = point_problem(budget=200, privileged=True)
    config = references.OracleConfig(SAC, standardise=standardise)
    *_, last = references.train_sac(problem, config)
    assert bool(last.policy.standardise.mean.any()) == standardise


@pytest.mark.parametrize("name", SMALL)
def test_lanes_do_not_influence_each_other(name, point_problem):
    """Seed 1 gives the same policy alone and beside seed 0, up to float rounding."""
    policies = []
    method, config = SMALL[name]
    # rounding grows with every step, so few steps; a leak between lanes shows at once
    if name == "bc":
        config = dataclasses.replace(config, fit=dataclasses.replace(FIT, steps=30))
    if name.startswith("valuedice"):
        config = dataclasses.replace(config, updates_per_step=1, offline_updates=20)
    for seeds in ((0, 1), (1,)):
        problem = point_problem(seeds=seeds, budget=60, privileged=name == "sac", lethal=True)
        *_, last = method.train(problem, config)
        policies.append(last.policy)
    states = torch.rand(1, 50, 2) * 2 - 1
    torch.testing.assert_close(
        policies[0].act(states.repeat(2, 1, 1))[1], policies[1].act(states)[0], atol=1e-5, rtol=1e-4
    )


@pytest.mark.parametrize("beta", [0.0, 0.5, 1.0])
def test_bc_reaches_the_regression_optimum_and_the_noise_around_it(beta, point_problem):
    """The expert is a = clip(-s / 0.3) with noise of standard deviation 0.1, seen 100 times."""
    method, _ = SMALL["bc"]
    problem = point_problem()
    *_, last = method.train(problem, bc.BCConfig(beta, (32, 32), FIT))
    s = torch.tensor(problem.demonstrations[0].observations.copy())[None]
    error = last.policy.act(s) - (-s / 0.3).clamp(-0.99, 0.99)
    assert error.abs().mean() < 0.05  # half of the noise that it has seen
    assert error.mean().abs() < 0.03
    mean, log_std = last.policy.latent(s)
    deviation = log_std.exp() * (1 - torch.tanh(mean).square())
    assert 0.07 < deviation[mean.abs() < 0.5].mean() < 0.13  # where no noise is clipped


def test_bc_loss_is_likelihood_at_one_end_and_squared_error_at_the_other():
    """Both gradients beside autograd's of what they stand for, the second near the demonstrated actions."""
    draw = torch.Generator().manual_seed(0)
    mean, log_std, noise = (torch.randn(1, 64, 3, generator=draw, dtype=torch.float64) for _ in range(3))
    mean.requires_grad_()
    log_std.requires_grad_()
    batch = SimpleNamespace(observations=None, actions=torch.tanh(mean + 1e-4 * noise).detach())

    def gradients(loss, *inputs):
        return torch.autograd.grad(loss.sum(), inputs)

    def ours(beta):
        return cloning_loss(lambda _: (mean, log_std), batch, beta)

    gaussian = torch.distributions.Normal(mean, log_std.exp())
    squashed = torch.distributions.TransformedDistribution(gaussian, torch.distributions.TanhTransform())
    likelihood = gradients(-squashed.log_prob(batch.actions), mean, log_std)
    torch.testing.assert_close(gradients(ours(0.0), mean, log_std), likelihood)
    squared = gradients((torch.tanh(mean) - batch.actions).square() / 2, mean)
    torch.testing.assert_close(gradients(ours(1.0), mean), squared, rtol=1e-2, atol=1e-9)
