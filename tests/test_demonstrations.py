import numpy as np
import pytest

from benchmarks.kit.demonstrations import Demonstrations
from benchmarks.kit.errors import UserError


def make(**changes):
    arrays = {
        "observations": np.arange(12, dtype=np.float32).reshape(6, 2),
        "actions": np.linspace(-1, 1, 6, dtype=np.float32)[:, None],
        "next_observations": np.arange(2, 14, dtype=np.float32).reshape(6, 2),
        "terminated": np.array([False] * 5 + [True]),
        "episodes": np.array([0, 0, 0, 1, 1, 1]),
        "episode_ids": (7, 3),
        "returns": np.array([1.0, 2.0]),
    }
    return Demonstrations(
        **{**{name: np.copy(a) if name != "episode_ids" else a for name, a in arrays.items()}, **changes}
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"observations": np.zeros((0, 2), np.float32)}, "at least one transition"),
        ({"observations": np.zeros(6, np.float32)}, r"observations \(N, d\)"),
        ({"terminated": np.zeros(5, bool)}, "terminated has 5 rows, observations have 6"),
        ({"actions": np.zeros((6, 1))}, "actions must be float32, not float64"),
        ({"next_observations": np.full((6, 2), np.nan, np.float32)}, "next_observations has a NaN .* row 0"),
        ({"actions": np.full((6, 1), 1.01, np.float32)}, r"actions reach 1.01, outside \[-1, 1\]"),
    ],
)
def test_what_cannot_be_right_is_refused(changes, message):
    with pytest.raises(UserError, match=message):
        make(**changes)


def test_the_row_of_the_first_bad_value_is_named():
    observations = np.zeros((6, 2), np.float32)
    observations[4:, 1] = np.inf
    with pytest.raises(UserError, match="row 4"):
        make(observations=observations)


def test_arrays_cannot_be_written():
    with pytest.raises(ValueError, match="read-only"):
        make().observations[0] = 0


def test_the_hash_sees_every_array():
    reference = make().hash
    assert make().hash == reference
    for name in ("observations", "actions", "next_observations", "terminated", "episodes"):
        array = np.array(getattr(make(), name))
        array[3] = ~array[3] if array.dtype == bool else -array[3]
        assert make(**{name: array}).hash != reference
