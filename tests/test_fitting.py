from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.kit.fitting import BLOCKS, FitConfig, fit, with_prior
from benchmarks.kit.replay import Replay
from benchmarks.kit.streams import Streams
from benchmarks.plan.configuration import configure
from benchmarks.plan.registry import find_method

ROWS = 1000


class Level(nn.Module):
    """One number per lane."""

    def __init__(self, lanes=1):
        super().__init__()
        self.value = nn.Parameter(torch.zeros(lanes, 1))


def numbered(*strange):
    """Rows (number, whether it is a strange one, 0), of which a lane's `strange(number)` says which are."""
    replay = Replay(len(strange), ROWS, 2, 1, torch.device("cpu"))
    replay.rows[..., 0] = number = torch.arange(ROWS, dtype=torch.float32)
    replay.rows[..., 1] = torch.stack([of_lane(number) for of_lane in strange])
    replay.added += ROWS
    return replay


def fitted(problem, replay, config):
    """The fitted levels, the held-out losses on the way, and the first lane's rows that were trained on, by phase."""
    level, seen = Level(problem.lanes), {}

    def loss(batch, streams: Streams):
        if batch.observations.shape[1] == config.batch_size:
            seen.setdefault(id(streams), set()).update(batch.observations[0, :, 0].long().tolist())
        # where nothing can be learnt, the loss grows with all that is learnt elsewhere
        strange = batch.observations[..., 1]
        return torch.where(strange == 1, 100 * level.value.detach().square(), (level.value - 1).square())

    looks = list(fit(problem, level, loss, replay, config, "test"))
    return level.value[:, 0].tolist(), [look["held_out_loss"] for look in looks], list(seen.values())


def test_weight_decay_is_a_prior_that_counts_once(point_problem):
    problem = point_problem()
    (five,) = problem.demonstrations
    one = replace(problem, demonstrations=(replace(five, episodes=np.zeros_like(five.episodes)),))
    config = FitConfig(weight_decay=5.0)
    assert with_prior(config, problem) == replace(config, weight_decay=1.0)
    assert with_prior(config, one) == config


def test_behavioural_cloning_decays_by_that_rule(point_problem):
    problem, method = point_problem(), find_method("bc")
    (five,) = problem.demonstrations
    one = replace(problem, demonstrations=(replace(five, episodes=np.zeros_like(five.episodes)),))
    policies = []
    for case, decay in ((problem, 50.0), (one, 10.0), (one, 50.0)):
        config = configure(method.config, {"fit.weight_decay": decay, "fit.steps": 20, "hidden": [8]}, "bc")
        *_, last = method.train(case, config)
        policies.append(torch.cat([weight.flatten() for weight in last.policy.parameters()]))
    assert torch.equal(policies[0], policies[1])
    assert not torch.equal(policies[0], policies[2])


def test_one_strange_block_does_not_stop_a_fit(point_problem):
    config = FitConfig(steps=3000, batch_size=64, learning_rate=1e-2, weight_decay=0.0, patience=3)
    (value,), _, _ = fitted(point_problem(), numbered(lambda number: number < ROWS / BLOCKS), config)
    assert abs(value - 1) < 0.02


def test_three_strange_blocks_do(point_problem):
    config = FitConfig(steps=3000, batch_size=64, learning_rate=1e-3, weight_decay=0.0, patience=3)
    (value,), held_out, _ = fitted(point_problem(), numbered(lambda number: number < 3 * ROWS / BLOCKS), config)
    assert value < 0.2
    assert len(held_out) == 4  # the first look is the best, three more are patience


def test_each_lane_ends_with_its_own_best_weights(point_problem):
    replay = numbered(lambda number: number < 0, lambda number: number < 3 * ROWS / BLOCKS)
    config = FitConfig(steps=3000, batch_size=64, learning_rate=1e-3, weight_decay=0.0, patience=3)
    (normal, strange), _, _ = fitted(point_problem(seeds=(0, 1)), replay, config)
    assert abs(normal - 1) < 0.02
    assert strange < 0.2  # though it was trained on for as long


def test_a_fit_that_was_never_finite_is_not_taken_for_one(point_problem):
    replay, config = numbered(lambda number: number < 0), FitConfig(steps=300, refit=True, check_every=50)
    both = Replay(2, ROWS, 2, 1, torch.device("cpu"))
    both.rows[:], both.added[:] = replay.rows, replay.added

    def loss_of(level, factor):
        return lambda batch, streams: (level.value - 1).square().expand(batch.rewards.shape) * factor

    level = Level(lanes=2)
    list(
        fit(
            point_problem(seeds=(0, 1)), level, loss_of(level, torch.tensor([[1.0], [torch.nan]])), both, config, "test"
        )
    )
    assert level.value[0] > 0
    assert level.value[1].isnan()
    level = Level()
    with pytest.raises(FloatingPointError, match="no held-out loss of the test fit was finite"):
        list(fit(point_problem(), level, loss_of(level, torch.nan), replay, config, "test"))


@pytest.mark.parametrize("rows", range(1, 12))
def test_a_few_transitions_can_be_fitted(point_problem, rows):
    replay = Replay(1, ROWS, 2, 1, torch.device("cpu"))
    replay.added += rows
    level = Level()
    loss = lambda batch, streams: (level.value - 1).square().expand(batch.rewards.shape)  # noqa: E731
    list(fit(point_problem(), level, loss, replay, FitConfig(steps=50, check_every=10, learning_rate=0.1), "test"))
    assert level.value > 0.9


def test_a_refit_sees_what_was_held_out(point_problem):
    config = FitConfig(steps=300, batch_size=64, learning_rate=1e-2, weight_decay=0.0)
    normal = numbered(lambda number: number < 0)
    _, looks, (trained,) = fitted(point_problem(), normal, config)
    assert 0.85 * ROWS < len(trained) <= 0.91 * ROWS
    again = FitConfig(**{**vars(config), "refit": True})
    (value,), more, (first, second) = fitted(point_problem(), normal, again)
    assert first == trained
    assert second - first
    assert len(second) > 0.99 * ROWS
    assert len(more) == 2 * len(looks)
    assert abs(value - 1) < 0.1
