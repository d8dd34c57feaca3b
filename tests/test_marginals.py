"""The figure of a dataset shows the data that it is given."""

import numpy as np
import pytest
import scipy.stats
from matplotlib.backends.backend_agg import FigureCanvasAgg

from benchmarks.reporting.marginals import dataset_figure


@pytest.fixture
def figure():
    generator = np.random.default_rng(0)
    states = generator.standard_normal((4000, 3)) * [1, 10, 0] + [0, 5, 7]
    actions = generator.uniform(-1, 1, (4000, 2)) * [1, 0.5]
    made = dataset_figure(
        "a title", [100.0, 90.0, 40.0], [10, 10, 4], [False, False, True], states, actions,
        {"expert": 95.0, "random": float("nan")},
    )  # fmt: skip
    FigureCanvasAgg(made).draw()
    return made


def test_every_episode_is_a_point_hollow_where_it_ended_early(figure):
    returns, lengths = figure.axes[:2]
    for panel, values in ((returns, [100, 90, 40]), (lengths, [10, 10, 4])):
        whole, ended = [line for line in panel.lines if line.get_marker() == "o"]
        assert [*whole.get_ydata(), *ended.get_ydata()] == values
        assert [*whole.get_xdata(), *ended.get_xdata()] == [0, 1, 2]
        assert ended.get_markerfacecolor() == "white"
    labels = [text.get_text() for text in returns.get_legend().get_texts()]
    assert labels == ["time limit", "terminal state", "expert"]  # a reference that is not known is left out


def test_marginals_are_histograms_with_quantiles(figure):
    states, actions = figure.axes[2:]
    for panel, dimensions in ((states, 3), (actions, 2)):
        (image,) = panel.images
        assert image.get_array().shape[1] == dimensions
        assert np.asarray(image.get_array()).max(0) == pytest.approx(1)
    low, median, high = (patch.get_data().values for patch in states.patches)
    normal = scipy.stats.norm.ppf([0.05, 0.5, 0.95])
    for found, expected in zip((low, median, high), normal, strict=True):
        assert found[:2] == pytest.approx(expected, abs=0.1)
        assert found[2] == 0  # a constant dimension
    low, _, high = (patch.get_data().values for patch in actions.patches)
    assert low == pytest.approx([-0.9, -0.45], abs=0.05)
    assert high == pytest.approx([0.9, 0.45], abs=0.05)
