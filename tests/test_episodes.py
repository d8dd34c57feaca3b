import gymnasium as gym
import numpy as np
import pytest

from benchmarks.instrument.environment import ActionScale
from benchmarks.instrument.episodes import Episode, choose, content_hash, demonstrations
from benchmarks.kit.errors import UserError

SCALE = ActionScale.of(gym.spaces.Box(-0.4, 0.4, (1,), dtype=np.float32))


def episode(number, steps, **changes):
    """Observations count up from 100 * number, so that every transition can be recognised."""
    arrays = {
        "observations": 100.0 * number + np.arange(steps + 1.0)[:, None],
        "actions": np.linspace(-0.4, 0.4, steps, dtype=np.float32)[:, None],
        "rewards": np.ones(steps),
        "terminations": np.arange(steps) == steps - 1,
        "truncations": np.zeros(steps, bool),
    }
    return Episode(number, **{**arrays, **changes})


def test_whole_episodes_become_transitions_in_order():
    made = demonstrations([episode(4, 3), episode(2, 2)], SCALE, subsample=1, seed=0)
    np.testing.assert_array_equal(made.observations[:, 0], [400, 401, 402, 200, 201])
    np.testing.assert_array_equal(made.next_observations[:, 0], [401, 402, 403, 201, 202])
    np.testing.assert_allclose(made.actions[:, 0], [-1, 0, 1, -1, 1], atol=1e-6)
    np.testing.assert_array_equal(made.terminated, [False, False, True, False, True])
    np.testing.assert_array_equal(made.episodes, [0, 0, 0, 1, 1])
    assert made.episode_ids == (4, 2)
    np.testing.assert_array_equal(made.returns, [3.0, 2.0])


def test_subsampling_keeps_every_kth_transition_with_its_true_outcome():
    whole = [episode(number, 97) for number in range(8)]
    made = demonstrations(whole, SCALE, subsample=20, seed=3)
    np.testing.assert_array_equal(made.next_observations, made.observations + 1)
    offsets = set()
    for position in range(8):
        times = made.observations[made.episodes == position, 0] - 100 * position
        assert times[0] < 20
        assert (np.diff(times) == 20).all()
        assert times[-1] >= 77
        offsets.add(times[0])
    assert len(offsets) > 3
    np.testing.assert_array_equal(made.returns, np.full(8, 97.0))


def test_offsets_belong_to_seed_and_episode_not_to_the_company():
    one, many = [episode(5, 50)], [episode(1, 50), episode(5, 50)]
    alone, together = (demonstrations(e, SCALE, 10, seed=1).observations[:, 0] for e in (one, many))
    np.testing.assert_array_equal(together[together >= 500], alone)
    starts = {demonstrations(one, SCALE, 10, seed).observations[0, 0] for seed in range(20)}
    assert len(starts) > 5


def test_an_episode_shorter_than_the_stride_still_gives_a_transition():
    for seed in range(20):
        assert len(demonstrations([episode(0, 3)], SCALE, 50, seed)) == 1


def test_rounding_at_the_bounds_is_clipped_and_no_more():
    bound = np.nextafter(np.float32(0.4), np.float32(1))
    made = demonstrations([episode(0, 1, actions=np.array([[bound]]))], SCALE, 1, 0)
    assert made.actions.max() == 1.0
    with pytest.raises(UserError, match=r"actions reach 1\.02"):
        demonstrations([episode(0, 1, actions=np.array([[0.41]], np.float32))], SCALE, 1, 0)


def test_a_smaller_choice_is_part_of_a_larger_one():
    numbers = range(25)
    for seed in range(5):
        order = choose(numbers, 25, seed)
        assert sorted(order) == list(numbers)
        for count in (1, 5, 11):
            assert choose(numbers, count, seed) == order[:count]
    assert len({choose(numbers, 5, seed) for seed in range(5)}) == 5


def test_no_two_seeds_begin_with_the_same_episode():
    numbers = [3, 5, 7, 20, 21]
    assert sorted(choose(numbers, 1, seed)[0] for seed in range(5)) == numbers
    assert choose(numbers, 1, 5) == choose(numbers, 1, 0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"observations": np.zeros((4, 1))}, "episode 7 has 4 observations, 4 actions and 4 rewards"),
        ({"actions": np.zeros((3, 1))}, "3 actions and 4 rewards"),
        ({"terminations": np.zeros(5, bool)}, "repair the dataset"),
        ({"rewards": np.array([0, 0, np.nan, 0])}, "the rewards of episode 7 have a NaN"),
        ({"observations": np.full((5, 1), np.inf)}, "the observations of episode 7 have a NaN or infinite"),
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(changes, message):
    episode(7, 4).check()
    with pytest.raises(UserError, match=message):
        episode(7, 4, **changes).check()


def test_the_hash_sees_every_array_its_type_and_the_order():
    reference = content_hash([episode(0, 4), episode(1, 4)])
    assert content_hash([episode(0, 4), episode(1, 4)]) == reference
    others = [
        [episode(1, 4), episode(0, 4)],
        [episode(0, 4)],
        [episode(0, 4, actions=np.linspace(-0.4, 0.4, 4)[:, None]), episode(1, 4)],
        [episode(0, 4, truncations=np.ones(4, bool)), episode(1, 4)],
        [episode(0, 4, rewards=np.array([1, 1, 1, np.nextafter(1, 2)])), episode(1, 4)],
    ]
    assert len({reference, *map(content_hash, others)}) == 6
