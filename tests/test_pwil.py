"""PWIL: its coupling against the authors' loop and against what it must give on the demonstrations themselves."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from baselines import pwil
from benchmarks.kit.contract import Transition
from benchmarks.kit.demonstrations import Demonstrations
from benchmarks.kit.replay import Experience
from benchmarks.kit.standardiser import Standardiser


def demonstrations_of(states, actions):
    single = lambda array: np.asarray(array, dtype=np.float32)  # noqa: E731
    count = np.zeros(len(states), dtype=int)
    return Demonstrations(single(states), single(actions), single(states), count.astype(bool), count, (0,), np.zeros(1))


def test_replaying_the_demonstration_earns_alpha_until_the_atoms_run_out(point_problem):
    demonstrations = point_problem().demonstrations[0]
    T = len(demonstrations)
    coupling = pwil.Coupling(demonstrations, pwil.PWILConfig(horizon=T))
    steps = list(zip(demonstrations.observations, demonstrations.actions, strict=True))
    for _ in range(2):  # again after a reset
        assert [coupling.reward(s, a) for s, a in steps] == pytest.approx([5] * T, rel=1e-6)
        assert coupling.left.sum() == pytest.approx(T * pwil.SPARED)  # what T steps spared, and no more
        assert coupling.reward(*steps[0]) == 0
        assert coupling.reward(*steps[0]) == 0
        coupling.reset()


def greedy_rewards(demonstrations, steps, config):
    """Algorithm 1 as it is written: take the nearest atom, spend what it has, delete it, until the weight is spent."""
    atoms = np.concatenate([demonstrations.observations, demonstrations.actions], 1).astype(float)
    scale = atoms.std(0)
    pool = [[1 / len(atoms), atom / scale] for atom in atoms]
    rewards = []
    for x in steps:
        weight, cost = 1 / config.horizon - pwil.SPARED, 0.0
        while weight > 0 and pool:
            atom = min(pool, key=lambda atom: np.linalg.norm(atom[1] - x / scale))
            share = min(weight, atom[0])
            cost += share * np.linalg.norm(atom[1] - x / scale)
            weight, atom[0] = weight - share, atom[0] - share
            if atom[0] <= 0:
                pool = [other for other in pool if other is not atom]
        factor = config.beta * config.horizon / math.sqrt(len(scale))
        rewards.append(0.0 if weight > 0 else config.alpha * math.exp(-factor * cost))
    return rewards


@pytest.mark.parametrize(("atoms", "horizon"), [(7, 7), (7, 3), (3, 8)])
def test_the_coupling_is_that_of_the_written_algorithm(atoms, horizon):
    """As many atoms as steps, several atoms a step, several steps an atom; two steps more than the horizon."""
    generator = np.random.default_rng(atoms * horizon)
    draw = lambda rows: generator.uniform(-1, 1, (rows, 3)).astype(np.float32)  # noqa: E731
    expert, steps = draw(atoms), draw(horizon + 2)
    demonstrations = demonstrations_of(expert[:, :2], expert[:, 2:])
    config = pwil.PWILConfig(alpha=2.0, beta=0.5, horizon=horizon)
    coupling = pwil.Coupling(demonstrations, config)
    rewards = [coupling.reward(x[:2], x[2:]) for x in steps]
    assert rewards == pytest.approx(greedy_rewards(demonstrations, steps.astype(float), config), rel=1e-9)
    assert rewards[-1] == 0
    assert min(rewards[:horizon]) > 0


def test_one_step_by_hand():
    """Atoms at 0, 1 and 2 with weight 1/3 each and standard deviation sqrt(2/3); one step of weight 1/2 at 0.

    It takes all of the atom at 0 and 1/6 of the one at 1, which costs 1/6 / sqrt(2/3). The second dimension does not
    vary and is not scaled.
    """
    config = pwil.PWILConfig(alpha=1.0, beta=1.0, horizon=2)
    coupling = pwil.Coupling(demonstrations_of([[0], [1], [2]], [[0.5], [0.5], [0.5]]), config)
    reward = coupling.reward(np.zeros(1), np.full(1, 0.5))
    assert coupling.left == pytest.approx([0, 1 / 6, 1 / 3], abs=2 * pwil.SPARED)
    assert reward == pytest.approx(math.exp(-2 / math.sqrt(2) * (1 / 6) / math.sqrt(2 / 3)), rel=1e-5)


def test_what_the_agent_does_not_see_costs_nothing(point_problem):
    """A switch is part of neither the distances nor their number of dimensions."""
    (demonstrations,) = point_problem().demonstrations
    states = demonstrations.observations.copy()
    states[:, 1] = np.arange(len(states)) == 0  # on once
    problem = replace(point_problem(), demonstrations=[replace(demonstrations, observations=states)])
    config = pwil.PWILConfig(horizon=20)
    experience = Experience(problem, Standardiser.from_demonstrations(problem), 8)
    (coupling,) = pwil.CoupledExperience(problem, config, experience).couplings
    alone = pwil.Coupling(replace(demonstrations, observations=states[:, :1]), config)
    state, action = np.array([0.3, 7.0]), np.zeros(2)
    assert coupling.reward(state, action) == alone.reward(state[:1], action) > 0


def test_rewards_are_stored_and_atoms_return_in_the_lanes_whose_episode_ended(point_problem):
    problem = point_problem(seeds=(0, 1))
    experience = Experience(problem, Standardiser.from_demonstrations(problem), 8)
    coupled = pwil.CoupledExperience(problem, pwil.PWILConfig(horizon=20), experience)
    nothing = np.zeros(2, dtype=bool)
    states = np.stack([d.observations[0] for d in problem.demonstrations])
    actions = np.stack([d.actions[0] for d in problem.demonstrations])
    step = Transition(states, actions, states, nothing, nothing, np.full(2, np.nan, dtype=np.float32))
    for ended in ({}, {"terminated": np.array([True, False])}, {"truncated": np.array([False, True])}):
        coupled.add(step._replace(**ended))
    stored = experience.replay.latest(3).rewards
    alone = [pwil.Coupling(d, pwil.PWILConfig(horizon=20)) for d in problem.demonstrations]
    wanted = [[one.reward(s, a) for _ in range(3)] for one, s, a in zip(alone, states, actions, strict=True)]
    wanted[0][2] = wanted[0][0]  # begun anew
    torch.testing.assert_close(stored, torch.tensor(wanted))
    assert coupled.couplings[0].left.sum() == pytest.approx(0.95, abs=1e-5)
    assert (coupled.couplings[1].left == 1 / 100).all()
