import numpy as np
import pytest
import scipy.stats

from benchmarks.reporting import statistics

# Two methods, 5 runs x 3 tasks, and what rliable 1.2.0 says of them (arch 7.2.0, pandas 2.3.3, numpy 2.4.6):
# get_interval_estimates with 50,000 resamples (4,000 for the probability and the profile), np.random.seed(0)
X = np.array([[0.87, 0.94, 0.92], [0.93, 0.78, 0.35], [0.83, 0.52, 0.2], [0.97, 0.69, 0.54], [0.85, 0.48, 0.14]])
Y = np.array([[0.72, 0.7, 0.6], [0.75, 0.49, 0.31], [0.92, 0.25, 0.61], [1.01, -0.09, 0.32], [0.73, 0.58, 0.26]])
RLIABLE = {
    ("interquartile_mean", "X"): (0.72, 0.596667, 0.84),
    ("mean", "X"): (0.667333, 0.576667, 0.768667),
    ("median", "X"): (0.682, 0.546, 0.826),
    ("optimality_gap", "X"): (0.332667, 0.231333, 0.423333),
    ("interquartile_mean", "Y"): (0.562222, 0.448889, 0.652222),
    ("mean", "Y"): (0.544, 0.442, 0.639333),
    ("median", "Y"): (0.42, 0.326, 0.61),
    ("optimality_gap", "Y"): (0.456667, 0.361333, 0.558667),
}


@pytest.mark.parametrize("key", RLIABLE, ids="-".join)
def test_aggregates_and_intervals_equal_those_of_rliable(key):
    name, method = key
    statistic, scores = getattr(statistics, name), list({"X": X, "Y": Y}[method].T)
    point, low, high = RLIABLE[key]
    assert statistic(scores) == pytest.approx(point, abs=1e-6)
    interval = statistics.bootstrap_interval(statistic, scores, repetitions=50_000)
    assert interval == pytest.approx([low, high], abs=6e-3)


def test_probability_of_improvement_equals_that_of_rliable():
    assert statistics.probability_of_improvement(list(X.T), list(Y.T)) == pytest.approx(0.626667, abs=1e-6)
    interval = statistics.bootstrap_interval(statistics.probability_of_improvement, list(X.T), list(Y.T))
    assert interval == pytest.approx([0.413333, 0.826667], abs=0.02)


def test_performance_profile_equals_that_of_rliable():
    thresholds = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
    profile = statistics.performance_profile(list(X.T), thresholds)
    assert profile == pytest.approx([1.0, 0.866667, 0.733333, 0.533333, 0.0], abs=1e-6)
    band = statistics.bootstrap_interval(lambda s: statistics.performance_profile(s, thresholds), list(X.T))
    assert band[0] == pytest.approx([1.0, 0.733333, 0.533333, 0.4, 0.0], abs=0.07)
    assert band[1] == pytest.approx([1.0, 1.0, 0.933333, 0.733333, 0.0], abs=0.07)


def test_probability_of_improvement_equals_scipys_mann_whitney(generator):
    x, y = generator.integers(0, 5, (2, 7)), generator.integers(0, 5, (2, 4))  # integers, so there are ties
    areas = [scipy.stats.mannwhitneyu(a, b).statistic / (7 * 4) for a, b in zip(x, y, strict=True)]
    assert statistics.probability_of_improvement(list(x), list(y)) == pytest.approx(np.mean(areas))


@pytest.mark.parametrize("sizes", [(1,), (2,), (3, 3), (5, 4, 1), (10, 10, 10, 10)])
def test_interquartile_mean_equals_scipys_trimmed_mean(generator, sizes):
    scores = [generator.normal(size=size) for size in sizes]
    expected = scipy.stats.trim_mean(np.concatenate(scores), 0.25)
    assert statistics.interquartile_mean(scores) == pytest.approx(expected)


def test_interval_equals_scipys_bootstrap(generator):
    scores = [generator.normal(size=10) for _ in range(3)]
    expected = scipy.stats.bootstrap(
        scores,
        lambda *tasks, axis: scipy.stats.trim_mean(np.concatenate(tasks, axis=-1), 0.25, axis=axis),
        method="percentile",
        n_resamples=20_000,
        rng=1,
    ).confidence_interval
    interval = statistics.bootstrap_interval(statistics.interquartile_mean, scores)
    assert interval == pytest.approx([expected.low, expected.high], abs=0.02)


def test_resampling_stays_within_each_task():
    scores = [np.full(4, 0.0), np.full(4, 1.0)]  # no spread within a task: the mean cannot vary
    assert statistics.bootstrap_interval(statistics.mean, scores).tolist() == [0.5, 0.5]


def test_intervals_depend_on_the_seed_alone():
    np.random.seed(1)  # noqa: NPY002  the global generator must not matter
    first = statistics.bootstrap_interval(statistics.mean, list(X.T), repetitions=300)
    np.random.seed(2)  # noqa: NPY002
    assert (first == statistics.bootstrap_interval(statistics.mean, list(X.T), repetitions=300)).all()
    assert (first != statistics.bootstrap_interval(statistics.mean, list(X.T), repetitions=300, seed=1)).any()


def test_one_run_per_task_has_no_interval():
    assert np.isnan(statistics.bootstrap_interval(statistics.mean, [np.ones(1), np.ones(1)])).all()
    assert not np.isnan(statistics.bootstrap_interval(statistics.mean, [np.ones(1), np.ones(2)])).any()


def test_mean_and_std_use_the_sample_deviation():
    assert statistics.mean_and_std(np.array([1.0, 2.0, 6.0])) == pytest.approx((3.0, np.sqrt(7.0)))
    mean, std = statistics.mean_and_std(np.array([4.0]))
    assert mean == 4.0
    assert np.isnan(std)
    assert np.isnan(statistics.mean_and_std(np.array([]))).all()


def test_tasks_must_match_for_improvement():
    with pytest.raises(ValueError, match="shorter"):
        statistics.probability_of_improvement([np.ones(2), np.ones(2)], [np.ones(2)])
