"""Storing, sampling and relabelling transitions."""

import itertools

import pytest
import torch

from baselines.gail import REWARDS, GAILConfig, pairs
from baselines.red import REDConfig, REDReward
from benchmarks.kit.networks import MLP
from benchmarks.kit.replay import Experience
from benchmarks.kit.sac import SACConfig
from benchmarks.kit.standardiser import Standardiser
from ndi.ebm import EBMConfig
from ndi.made import MADEConfig
from ndi.reward import NDIReward, RewardConfig

from . import cases

ROWS = 320_000
"""Transitions of all lanes together: far more than the processor's caches hold."""
MANY = 20


def experience(lanes, capacity, fraction=0.25):
    problem = cases.problem(lanes, budget=capacity)
    kept = Experience(problem, Standardiser.from_demonstrations(problem), SACConfig.batch_size, fraction)
    kept.replay.added.fill_(capacity)  # full, of zeros
    return problem, kept


@pytest.mark.benchmark(group="Replay: sampling")
@pytest.mark.parametrize("lanes", [1, 5, 32], ids=cases.lane_name)
def test_replay_sampling(measure, lanes):
    _, kept = experience(lanes, ROWS // lanes)

    def sample():
        for _ in range(MANY):
            kept.sample()

    measure(sample, "batch", MANY)


@pytest.mark.benchmark(group="Replay: adding")
@pytest.mark.parametrize("lanes", [1, 5, 32], ids=cases.lane_name)
def test_replay_adding(measure, lanes):
    problem, kept = experience(lanes, ROWS // lanes)
    transitions = itertools.cycle([problem.environments.step(torch.zeros(lanes, 6).numpy()) for _ in range(MANY)])

    def add():
        for transition in itertools.islice(transitions, MANY):
            kept.add(transition)

    measure(add, "step", MANY)


def ndi(config, problem, kept):
    density, reward = config.build(problem), NDIReward(problem, RewardConfig(), SACConfig.discount)
    reward.floor.calibrate(density.on_demonstrations(kept.demonstrations))
    log_density = lambda batch: density.log_density(batch.observations, batch.actions)  # noqa: E731
    kept.label(log_density)
    return lambda batch: reward(batch._replace(rewards=log_density(batch)), kept)


def gail(config, problem, kept):
    discriminator = MLP(problem.streams("discriminator"), (cases.OBSERVATIONS + cases.ACTIONS, *config.hidden, 1))
    return lambda batch: REWARDS[config.reward](discriminator(pairs(batch))[..., 0])


def red(config, problem, kept):
    reward = REDReward(problem, config)
    return lambda batch: reward(batch.observations, batch.actions)


@pytest.mark.benchmark(group="Rewards of a batch")
@pytest.mark.parametrize("lanes", [1, 5], ids=cases.lane_name)
@pytest.mark.parametrize(
    ("make", "config"), [(ndi, MADEConfig()), (ndi, EBMConfig()), (gail, GAILConfig()), (red, REDConfig())],
    ids=["ndi-made", "ndi-ebm", "gail", "red"],
)  # fmt: skip
def test_reward(measure, make, config, lanes):
    problem, kept = experience(lanes, 5000)
    reward, batch = make(config, problem, kept), kept.sample()

    def relabel():
        with torch.no_grad():
            for _ in range(MANY):
                reward(batch)

    measure(relabel, "batch", MANY)
