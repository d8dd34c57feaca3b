import dataclasses
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.kit import replay as module
from benchmarks.kit.contract import Transition
from benchmarks.kit.replay import ABSORBING_STEPS, Batch, Experience, Replay, demonstration_replay
from benchmarks.kit.standardiser import Standardiser
from benchmarks.kit.streams import Streams
from benchmarks.run.checkpoint import Checkpoint


def row(value, lanes=2):
    column = torch.full((lanes, 1, 1), float(value))
    return Batch(column, column, column + 1, column[..., 0], torch.ones(lanes, 1))


def test_ring_overwrites_the_oldest_and_samples_uniformly():
    replay = Replay(2, 5, 1, 1, torch.device("cpu"))
    for value in range(7):
        replay.add(row(value))
    assert replay.sizes.tolist() == [5, 5]
    batch = replay.sample(20_000, Streams((0, 1), "x"))
    counts = batch.observations[0, :, 0].long().bincount(minlength=7)
    assert counts[:2].sum() == 0
    assert (counts[2:] - 4000).abs().max() < 5 * 4000**0.5
    torch.testing.assert_close(batch.next_observations, batch.observations + 1)


def test_lanes_fill_at_their_own_pace():
    replay = Replay(2, 4, 1, 1, torch.device("cpu"))
    replay.add(row(1))
    replay.add(row(2), where=torch.tensor([False, True]))
    assert replay.sizes.tolist() == [1, 2]
    assert replay.latest(2).observations[..., 0].tolist() == [[1, 1], [1, 2]]


def test_latest_is_in_time_order_across_the_seam():
    replay = Replay(1, 4, 1, 1, torch.device("cpu"))
    for value in range(6):
        replay.add(row(value, lanes=1))
    assert replay.latest(3).observations[0, :, 0].tolist() == [3, 4, 5]


def test_state_restores_contents():
    replay, other = (Replay(1, 9, 1, 1, torch.device("cpu")) for _ in range(2))
    for value in range(6):
        replay.add(row(value, lanes=1))
    other.load_state_dict(replay.state_dict())
    torch.testing.assert_close(other.latest(6), replay.latest(6))


def test_truncation_bootstraps_and_termination_does_not(point_problem):
    problem = point_problem(seeds=(0, 1))
    experience = Experience(problem, Standardiser.identity(problem), 8)
    zeros = np.zeros((2, 2), np.float32)
    ended = lambda a, b: np.array([a, b])  # noqa: E731
    experience.add(Transition(zeros, zeros, zeros, ended(True, False), ended(False, True), np.ones(2, np.float32)))
    assert experience.replay.latest(1).masks[:, 0].tolist() == [0.0, 1.0]


def test_batches_mix_demonstrations_in_the_stated_share(point_problem):
    problem = point_problem(seeds=(0, 1))
    experience = Experience(problem, Standardiser.identity(problem), 8, demonstration_fraction=0.25)
    far = np.full((2, 2), 50, np.float32)
    no = np.zeros(2, bool)
    experience.add(Transition(far, far * 0, far, no, no, no.astype(np.float32)))
    batch = experience.sample()
    is_agent = (batch.observations == 50).all(-1)
    assert is_agent.tolist() == [[False] * 2 + [True] * 6] * 2


def test_demonstrations_keep_their_own_lane_and_order(point_problem):
    problem = point_problem(seeds=(0, 1))
    replay = demonstration_replay(problem, Standardiser.identity(problem))
    rows = replay.take(torch.arange(100).expand(2, -1))
    for lane, demonstrations in enumerate(problem.demonstrations):
        np.testing.assert_array_equal(rows.observations[lane].numpy(), demonstrations.observations)
        np.testing.assert_array_equal(rows.next_observations[lane].numpy(), demonstrations.next_observations)
        np.testing.assert_array_equal(rows.actions[lane].numpy(), demonstrations.actions)


def ending(problem, *rows):
    """The problem with chosen rows of its demonstrations terminal."""
    flags = np.zeros(100, dtype=bool)
    flags[list(rows)] = True
    demonstrations = tuple(dataclasses.replace(d, terminated=flags) for d in problem.demonstrations)
    return dataclasses.replace(problem, demonstrations=demonstrations)


def test_a_demonstrated_end_does_not_bootstrap(point_problem):
    problem = ending(point_problem(seeds=(0, 1)), 19, 59)
    replay = demonstration_replay(problem, Standardiser.identity(problem))
    masks = replay.take(torch.arange(100).expand(2, -1)).masks
    assert (masks == 0).nonzero()[:, 1].tolist() == [19, 59, 19, 59]
    assert masks.sum() == 2 * 98


def test_a_demonstrated_end_leads_to_the_absorbing_state(point_problem):
    problem = ending(point_problem(), 19)
    replay = demonstration_replay(problem, Standardiser.from_demonstrations(problem, absorbing=True))
    rows = replay.take(torch.arange(101)[None])
    loop = [0.0, 0.0, 1.0]
    assert rows.masks.min() == 1
    assert rows.next_observations[0, 19].tolist() == loop
    assert rows.observations[0, 20].tolist() == rows.next_observations[0, 20].tolist() == loop
    assert rows.observations[0, :, -1].nonzero().tolist() == [[20]]
    assert rows.next_observations[0, :, -1].nonzero()[:, 0].tolist() == [19, 20]


def test_the_standardiser_can_be_fitted_to_what_was_seen(point_problem):
    problem = point_problem(seeds=(0, 1))
    standardise = Standardiser.identity(problem)
    experience = Experience(problem, standardise, 8)
    generator = np.random.default_rng(0)
    raw = (generator.standard_normal((50, 2, 2)) * [1, 10] + [[[5, 0], [-5, 3]]]).astype(np.float32)
    no = np.zeros(2, bool)
    for before, after in itertools.pairwise(raw):
        experience.add(Transition(before, before * 0, after, no, no, np.ones(2, np.float32)))
    experience.fit_standardiser()
    rows = experience.replay.latest(49)
    mean, std = raw[:-1].mean(0), raw[:-1].std(0) + 1e-3
    np.testing.assert_allclose(rows.observations, ((raw[:-1] - mean) / std).swapaxes(0, 1), atol=1e-4)
    np.testing.assert_allclose(rows.next_observations, ((raw[1:] - mean) / std).swapaxes(0, 1), atol=1e-4)
    assert (rows.actions == 0).all()
    assert (rows.rewards == 1).all()
    np.testing.assert_allclose(
        standardise(torch.tensor(raw[:1]).swapaxes(0, 1))[:, 0], (raw[0] - mean) / std, atol=1e-4
    )
    with pytest.raises(ValueError, match="not raw"):
        experience.fit_standardiser()


def test_a_fixed_reward_is_stored_with_every_transition_and_computed_once(point_problem):
    problem = point_problem(seeds=(0, 1))
    experience = Experience(problem, Standardiser.from_demonstrations(problem, absorbing=True), 8)
    seen = []

    def reward(batch):
        seen.append(batch.rewards.numel())
        return 2 * batch.actions[..., 0] + batch.observations[..., -1]  # the last one marks absorbing states

    def step(value, *terminated):
        ones, ended = np.ones((2, 2), np.float32), np.array(terminated)
        experience.add(Transition(ones, value * ones, ones, ended, ~ended, np.full(2, np.nan, np.float32)))

    step(0.5, False, False)  # before the reward is known, as in a checkpoint of code that did not store it
    experience.label(reward)
    step(0.25, True, False)
    for memory in (experience.replay, experience.demonstrations):
        for lane, size in enumerate(memory.sizes.tolist()):
            rows = memory.take(torch.arange(size).expand(2, -1))
            expected = 2 * rows.actions[lane, :, 0] + rows.observations[lane, :, -1]
            torch.testing.assert_close(rows.rewards[lane], expected)
    assert experience.replay.sizes.tolist() == [2 + ABSORBING_STEPS, 2]
    demonstrated = int(experience.demonstrations.sizes.max())
    assert seen == [2, 2 * demonstrated, 2, *[2] * ABSORBING_STEPS]
    experience.sample()
    experience.label(reward)  # nothing is without one
    assert len(seen) == 3 + ABSORBING_STEPS


@pytest.mark.parametrize("ended", [True, False])
def test_absorbing_states_follow_termination_only(point_problem, ended):
    problem = point_problem()
    experience = Experience(problem, Standardiser.from_demonstrations(problem, absorbing=True), 8)
    ones = np.ones((1, 2), np.float32)
    flag = np.array([ended])
    experience.add(Transition(ones, ones, ones, flag, ~flag, np.ones(1, np.float32)))
    assert experience.replay.sizes.tolist() == [1 + ABSORBING_STEPS if ended else 1]
    rows = experience.replay.latest(int(experience.replay.sizes))
    assert rows.masks.min() == 1
    assert rows.observations[0, 0, -1] == 0
    assert (rows.next_observations[0, :, -1] == float(ended)).all()
    if ended:
        assert torch.equal(rows.observations[0, 1:], torch.tensor([0.0, 0.0, 1.0]).expand(ABSORBING_STEPS, 3))
        assert rows.actions[0, 1:].std() > 0


def test_absorbing_self_transitions_displace_no_step_of_the_agent(point_problem):
    """Every twelfth step ends in a terminal state: nearly as many self-transitions as steps."""
    problem = point_problem(budget=120)
    experience = Experience(problem, Standardiser.from_demonstrations(problem, absorbing=True), 8)
    state = np.zeros((1, 2), np.float32)
    for step in range(problem.budget):
        action, ended = np.full((1, 2), step / 200, np.float32), np.array([step % 12 == 11])
        experience.add(Transition(state, action, state, ended, ~ended, np.ones(1, np.float32)))
    rows = experience.replay.latest(int(experience.replay.sizes))
    kept = rows.actions[0, rows.observations[0, :, -1] == 0, 0]
    assert len(rows.masks[0]) == 120 + 10 * ABSORBING_STEPS
    assert torch.equal(kept, torch.arange(120) / 200)


def test_zero_absorbing_actions_leave_one_self_transition(point_problem):
    """As the demonstrations have it: an agent that ends like the expert looks like the expert."""
    problem = point_problem()
    standardise = Standardiser.from_demonstrations(problem, absorbing=True)
    experience = Experience(problem, standardise, 8, absorbing_actions="zero")
    ones, flag = np.ones((1, 2), np.float32), np.array([True])
    experience.add(Transition(ones, ones, ones, flag, ~flag, np.ones(1, np.float32)))
    assert experience.replay.sizes.tolist() == [2]
    row = experience.replay.latest(1)
    assert row.observations.tolist() == row.next_observations.tolist() == [[[0.0, 0.0, 1.0]]]
    assert row.actions.tolist() == [[[0.0, 0.0]]]


@settings(max_examples=60, deadline=None)
@given(
    capacity=st.integers(1, 40),
    blocks=st.lists(st.integers(1, 9), min_size=2, max_size=4),
    steps=st.lists(st.lists(st.booleans(), min_size=2, max_size=2), min_size=1, max_size=120),
    data=st.data(),
)
def test_a_replay_comes_back_whatever_was_added_between_checkpoints(tmp_path_factory, capacity, blocks, steps, data):
    """Rings that wrap, lanes that fill at their own pace, blocks of another size after an update of the suite."""
    checkpoint = Checkpoint(tmp_path_factory.mktemp("replay") / "cell.pt", ["a-run"])
    cuts = data.draw(st.sets(st.integers(1, len(steps)), min_size=1, max_size=5))
    memory = Replay(2, capacity, 1, 1, torch.device("cpu"))
    with pytest.MonkeyPatch.context() as patch:
        for number, where in enumerate(steps, 1):
            column = torch.full((2, 1, 1), float(number))
            memory.add(Batch(column, column, -column, column[..., 0], column[..., 0]), torch.tensor(where))
            if number in cuts:
                patch.setattr(module, "BLOCK", data.draw(st.sampled_from(blocks)))
                checkpoint.save({"replay": memory.state_dict()})
                resumed = Replay(2, capacity, 1, 1, torch.device("cpu"))
                if data.draw(st.booleans()):  # killed and resumed
                    checkpoint = Checkpoint(checkpoint.path, ["a-run"])
                resumed.load_state_dict(checkpoint.load()["replay"])
                assert torch.equal(resumed.added, memory.added)
                for lane, size in enumerate(memory.sizes.tolist()):
                    assert torch.equal(resumed.rows[lane, :size], memory.rows[lane, :size])


def test_a_replay_whose_rows_have_changed_is_written_anew(point_problem, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 4)
    problem, checkpoint = point_problem(), Checkpoint(tmp_path / "cell.pt", ["a-run"])
    experience = Experience(problem, Standardiser.identity(problem), 8)
    for _ in range(10):
        experience.add(problem.environments.step(torch.ones(1, 2).numpy()))
    checkpoint.save(experience.state_dict())
    experience.fit_standardiser()
    checkpoint.save(experience.state_dict())
    resumed = Experience(problem, Standardiser.identity(problem), 8)
    resumed.load_state_dict(checkpoint.load())
    assert torch.equal(resumed.replay.latest(10).observations, experience.replay.latest(10).observations)
