import pytest
import torch

from benchmarks.kit.lanes import per_lane
from benchmarks.kit.streams import Streams


def test_a_lane_draws_the_same_alone_and_in_company():
    together, alone = Streams((0, 1), "policy"), Streams((1,), "policy")
    for draw in (
        lambda s: s.normal(3, 2),
        lambda s: s.uniform(5),
        lambda s: s.integers(torch.full((len(s.generators),), 9), 4),
    ):
        assert torch.equal(draw(together)[1], draw(alone)[0])


def test_purposes_and_seeds_are_independent():
    draws = [Streams((seed,), purpose).normal(1000)[0] for seed in (0, 1) for purpose in ("policy", "replay")]
    correlation = torch.corrcoef(torch.stack(draws))
    assert (correlation - torch.eye(4)).abs().max() < 0.12  # four standard errors


def test_a_draw_in_some_lanes_leaves_the_streams_of_others():
    streams, untouched = Streams((0, 1), "x"), Streams((0, 1), "x")
    drawn = streams.uniform_in(torch.tensor([True, False]), 3)
    assert drawn[0].min() > 0
    assert not drawn[1].any()
    first, second = streams.uniform(3), untouched.uniform(3)
    assert not torch.equal(first[0], second[0])
    assert torch.equal(first[1], second[1])


def test_integers_cover_each_lanes_own_range():
    values = Streams((0, 1), "replay").integers(torch.tensor([3, 1000]), 20_000)
    assert values[0].unique().tolist() == [0, 1, 2]
    assert (values[1].min(), values[1].max()) == (0, 999)
    expected = 20_000 / 3
    assert (values[0].bincount() - expected).abs().max() < 5 * expected**0.5


def test_state_restores_the_sequence():
    streams = Streams((4, 5), "x")
    state = streams.state_dict()
    first = streams.normal(3)
    streams.load_state_dict(state)
    assert torch.equal(first, streams.normal(3))


def test_a_setting_has_one_value_for_all_lanes_or_one_for_each(point_problem):
    problem = point_problem(seeds=(0, 1))
    assert per_lane(0.5, problem).tolist() == [0.5, 0.5]
    assert per_lane((0.5, 2.0), problem).tolist() == [0.5, 2.0]
    for values in ((0.5,), (0.5, 1.0, 2.0)):
        with pytest.raises(ValueError, match=f"{len(values)} values for 2 lanes"):
            per_lane(values, problem)
