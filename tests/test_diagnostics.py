"""Scores of known rewards on a real, short task."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from benchmarks.data import datasets
from benchmarks.kit.contract import Reward
from benchmarks.kit.demonstrations import Demonstrations
from benchmarks.kit.errors import UserError
from benchmarks.run import diagnostics
from benchmarks.run.diagnostics import Plan, diagnose
from benchmarks.tasks import TASKS

STEPS, THERE = 40, 3


def demonstrations_of(seed, episodes):
    """Episodes on the inverted pendulum whose observations are all different and tell seed, episode and step."""
    rows = [(seed, episode, step / STEPS) for episode in range(episodes) for step in range(STEPS)]
    observations = np.array([(*row, 1.0) for row in rows], dtype=np.float32)
    actions = np.array([[0.1 * episode + step / 100] for _, episode, step in rows], dtype=np.float32)
    ended = np.zeros(len(rows), dtype=bool)
    numbers = np.array([episode for _, episode, _ in rows])
    returns = np.array([10.0 * episode + seed for episode in range(episodes)])
    return Demonstrations(observations, actions, observations, ended, numbers, tuple(range(episodes)), returns)


@dataclass(frozen=True)
class NoSettings:
    pass


@pytest.fixture
def diagnosed(monkeypatch):
    """Rows by a reward that is the action itself, and the problems that it was fitted to."""
    monkeypatch.setattr(datasets, "prepare", lambda task, choice: datasets.DatasetInfo("d-v0", "h", THERE, 0.0, None))
    monkeypatch.setattr(datasets, "load", lambda task, choice, demos, subsample, seed: demonstrations_of(seed, demos))
    monkeypatch.setattr(diagnostics, "STAGES", (5, 10))
    monkeypatch.setattr(diagnostics, "CLONING", {"fit.steps": 10, "fit.check_every": 5, "fit.patience": 10})
    monkeypatch.setattr(diagnostics, "NOISES", (0.0, 1.5))
    monkeypatch.setattr(diagnostics, "ROWS", 7)  # many parts, none of which ends with an episode

    def run(demos=1, seeds=(0, 2)):
        problems = []

        def fit(problem, config):
            problems.append(problem)
            return lambda observations, actions: actions[..., 0] + torch.tensor(seeds)[:, None]

        reward = Reward("action", "Action", "", "", fit, NoSettings())
        plan = Plan(TASKS["inverted-pendulum"], "embedded", demos, seeds, (reward,), episodes=2)
        rows = diagnose(plan).set_index(["behaviour", "level", "seed", "episode"]).sort_index()
        return rows, problems[0]

    return run


@pytest.fixture
def nobody_plays(monkeypatch):
    """Leave the demonstrations alone."""
    monkeypatch.setattr(diagnostics, "_references", lambda plan, problem: [])
    monkeypatch.setattr(diagnostics, "_cloning", lambda plan, problem: [])


def test_one_demonstration_is_held_out_in_part_and_others_are_unseen(diagnosed, nobody_plays):
    rows, problem = diagnosed()
    for lane, seed in enumerate((0, 2)):
        fitted = problem.demonstrations[lane]
        assert len(fitted) == 36
        assert (np.diff(np.round(fitted.observations[:, 2] * STEPS)) != 1).sum() <= 1  # one block is missing
        whole = demonstrations_of(seed, 1).actions
        block = rows.loc["held-out block", 0.0, seed, 0]
        assert (block["length"], block["return"]) == (4, seed)
        assert block["mean"] - seed == pytest.approx((whole.sum() - fitted.actions.sum()) / 4, abs=1e-5)
        seen = rows.loc["demonstrations", 0.0, seed, 0]
        assert seen["mean"] - seed == pytest.approx(fitted.actions.mean(), abs=1e-6)
        above = fitted.actions - fitted.actions.min()
        assert seen["earned"] == pytest.approx(1)
        paid = np.maximum(whole - fitted.actions.min(), 0).sum() - above.sum()
        assert block["earned"] == pytest.approx(paid / above.sum(), abs=1e-6)
        for episode in (0, 1):
            other = rows.loc["other episodes", 0.0, seed, episode]
            assert (other["length"], other["return"]) == (STEPS, 10 * (episode + 1) + seed)
            own = demonstrations_of(seed, 3).actions[STEPS * (episode + 1) : STEPS * (episode + 2)]
            assert other["mean"] - seed == pytest.approx(own.mean(), abs=1e-6)


@pytest.mark.parametrize(
    ("score", "message"),
    [
        (lambda observations, actions: actions, r"ValueError: its scores have shape \(2, 7, 1\), not \(2, 7\)"),
        (lambda observations, actions: actions[..., 0] * torch.nan, "FloatingPointError: a score is not finite"),
        (None, "TypeError: 'NoneType' object is not callable"),
    ],
)
def test_a_reward_that_breaks_its_word_is_named(diagnosed, nobody_plays, score, message, capsys):
    reward = Reward("odd", "Odd", "", "", lambda problem, config: score, NoSettings())
    plan = Plan(TASKS["inverted-pendulum"], "embedded", 1, (0, 2), (reward,), episodes=2)
    with pytest.raises(UserError, match=f"reward odd failed: {message}"):
        diagnose(plan)
    assert "Traceback" in capsys.readouterr().err


def test_several_demonstrations_are_fitted_whole(diagnosed, nobody_plays):
    rows, problem = diagnosed(demos=2)
    assert [len(one) for one in problem.demonstrations] == [2 * STEPS] * 2
    assert set(rows.index.get_level_values("behaviour")) == {"demonstrations", "other episodes"}


def test_all_demonstrations_of_a_dataset_leave_none_unseen(diagnosed, nobody_plays):
    rows, problem = diagnosed(demos=THERE)
    assert len(problem.demonstrations[0]) == THERE * 36
    assert set(rows.index.get_level_values("behaviour")) == {"demonstrations", "held-out block"}


def test_behaviours_do_what_their_names_say(diagnosed):
    rows, _ = diagnosed()
    for seed in (0, 2):
        still = rows.loc["motionless", 0.0, seed]
        assert (still["mean"] == seed).all()
        perturbed = rows.loc["expert"].xs(seed, level="seed")
        assert (perturbed.loc[0.0]["return"] == 1000).all()  # the shipped expert balances
        assert (perturbed.loc[1.5]["length"] < 1000).any()
        assert sorted(rows.loc["bc"].xs(seed, level="seed").index.unique(0)) == [5, 10]
    played = rows.loc[["motionless", "random", "expert", "bc"]]
    assert (played["earned"] >= 0).all()
    assert (played["return"] == played["length"] - (played["length"] < 1000)).all()  # 1 per step before the fall
    # what does not depend on the demonstrations is the same for both seeds, but for the reward
    shared = rows.loc[["motionless", "random", "expert"]]
    first, second = (shared.xs(seed, level="seed") for seed in (0, 2))
    np.testing.assert_allclose(first["mean"] + 2, second["mean"], atol=1e-6)
