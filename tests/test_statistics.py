import re

import numpy as np
import pytest
import scipy.stats

from benchmarks.reporting import statistics

# Two methods, 5 runs x 3 tasks, and what rliable 1.2.0 says of them (arch 7.2.0, pandas 2.3.3, numpy 2.4.6)
X = np.array([[0.87, 0.94, 0.92], [0.93, 0.78, 0.35], [0.83, 0.52, 0.2], [0.97, 0.69, 0.54], [0.85, 0.48, 0.14]])
Y = np.array([[0.72, 0.7, 0.6], [0.75, 0.49, 0.31], [0.92, 0.25, 0.61], [1.01, -0.09, 0.32], [0.73, 0.58, 0.26]])
RLIABLE = {
    ("interquartile_mean", "X"): 0.72,
    ("mean", "X"): 0.667333,
    ("optimality_gap", "X"): 0.332667,
    ("interquartile_mean", "Y"): 0.562222,
    ("mean", "Y"): 0.544,
    ("optimality_gap", "Y"): 0.456667,
}


@pytest.mark.parametrize("key", RLIABLE, ids="-".join)
def test_aggregates_equal_those_of_rliable(key):
    name, method = key
    assert getattr(statistics, name)(list({"X": X, "Y": Y}[method].T)) == pytest.approx(RLIABLE[key], abs=1e-6)


def test_probability_of_improvement_equals_that_of_rliable():
    assert statistics.probability_of_improvement(list(X.T), list(Y.T)) == pytest.approx(0.626667, abs=1e-6)


def test_performance_profile_equals_that_of_rliable():
    profile = statistics.performance_profile(list(X.T), np.array([0.0, 0.25, 0.5, 0.75, 1.0]))
    assert profile == pytest.approx([1.0, 0.866667, 0.733333, 0.533333, 0.0], abs=1e-6)


def test_a_run_at_a_threshold_is_not_above_it():
    profile = statistics.performance_profile([np.array([0.25, 0.5, 1.0])], np.array([0.25, 0.5, 1.0]))
    assert profile == pytest.approx([2 / 3, 1 / 3, 0])


def test_tasks_count_alike_however_many_runs_they_have():
    scores = [np.array([1.0]), np.array([0.0, 0.0, 0.0])]
    assert statistics.mean(scores) == 0.5
    assert statistics.optimality_gap(scores) == 0.5
    assert statistics.performance_profile(scores, np.array([0.5])) == pytest.approx([0.5])
    assert statistics.probability_of_improvement(scores, [np.array([0.0]), np.array([0.0])]) == 0.75


def test_runs_above_the_target_do_not_make_up_for_others():
    assert statistics.optimality_gap([np.array([0.5, 1.5])]) == 0.25
    assert statistics.optimality_gap([np.array([1.0, 1.0])]) == 0


def test_probability_of_improvement_equals_scipys_mann_whitney(generator):
    x, y = generator.integers(0, 5, (2, 7)), generator.integers(0, 5, (2, 4))  # integers, so there are ties
    areas = [scipy.stats.mannwhitneyu(a, b).statistic / (7 * 4) for a, b in zip(x, y, strict=True)]
    assert statistics.probability_of_improvement(list(x), list(y)) == pytest.approx(np.mean(areas))


@pytest.mark.parametrize("sizes", [(1,), (2,), (3, 3), (5, 4, 1), (10, 10, 10, 10)])
def test_interquartile_mean_is_that_of_the_middle_half(generator, sizes):
    scores = [generator.normal(size=size) for size in sizes]
    pooled = sorted(np.concatenate(scores))
    cut = len(pooled) // 4
    assert statistics.interquartile_mean(scores) == pytest.approx(np.mean(pooled[cut : len(pooled) - cut]))


def test_the_interval_of_one_tasks_mean_is_students(generator):
    runs = generator.normal(size=7)
    expected = scipy.stats.ttest_1samp(runs, 0).confidence_interval()
    assert statistics.mean_interval([runs]) == pytest.approx([expected.low, expected.high])


def test_the_interval_over_two_tasks_is_welchs(generator):
    one, two = generator.normal(0, 1, 5), generator.normal(3, 9, 8)
    expected = scipy.stats.ttest_ind(one, -two, equal_var=False).confidence_interval()  # of the sum
    assert statistics.mean_interval([one, two]) == pytest.approx([expected.low / 2, expected.high / 2])


def test_the_interquartile_interval_of_three_runs_is_students_and_ignores_outliers_of_more(generator):
    three = generator.normal(size=3)  # nothing is cut
    assert statistics.interquartile_interval([three]) == pytest.approx(statistics.mean_interval([three]))
    many = generator.normal(size=12)
    far = np.sort(many)
    far[-1] += 1000
    assert statistics.interquartile_interval([far]) == pytest.approx(statistics.interquartile_interval([many]))


def test_the_interquartile_interval_by_hand():
    # 8 runs, 2 cut at either end: winsorised 2 2 2 3 4 5 5 5, left 4; df (8 - 1) / 2
    runs = np.array([0.0, 1, 2, 3, 4, 5, 6, 100])
    winsorised = np.array([2.0, 2, 2, 3, 4, 5, 5, 5])
    error = winsorised.std(ddof=1) / np.sqrt(8) * 8 / 4
    reach = scipy.stats.t.ppf(0.975, 3.5) * error
    assert statistics.interquartile_interval([runs]) == pytest.approx([3.5 - reach, 3.5 + reach])


def test_the_interval_of_the_chance_to_improve_is_brunners_and_munzels(generator):
    ours, theirs = generator.normal(0.2, 1, 40), generator.normal(0, 2, 30)
    low, high = statistics.improvement_interval([ours], [theirs])
    chance = statistics.probability_of_improvement([ours], [theirs])
    assert (low + high) / 2 == pytest.approx(chance)
    test = scipy.stats.brunnermunzel(ours, theirs)  # its statistic is (chance - 1/2) / error
    error, freedom = abs((chance - 0.5) / test.statistic), scipy.stats.t.ppf(0.975, np.arange(1, 69))
    assert freedom[-1] * error < high - chance < freedom[28] * error  # between 29 and 68 degrees of freedom
    assert statistics.improvement_interval([ours, ours], [theirs, theirs])[0] > low


def test_one_run_per_task_has_no_interval():
    for interval in (statistics.mean_interval, statistics.interquartile_interval):
        assert np.isnan(interval([np.ones(1), np.ones(1)])).all()
        assert np.isnan(interval([np.ones(1), np.ones(2)])).all()  # of the first nothing is known
        assert not np.isnan(interval([np.ones(2), np.ones(2)])).any()
    ahead, behind = np.array([2.0, 3.0]), np.array([0.0, 1.0])
    assert np.isnan(statistics.improvement_interval([ahead], [behind])).all()


# --- coverage, by simulation ------------------------------------------------------------------------------------------

KINDS = {
    "normal": lambda generator, size: generator.normal(0.8, 0.1, size),
    "heavy tails": lambda generator, size: 0.8 + 0.1 * generator.standard_t(3, size),
    "skewed": lambda generator, size: 1 - generator.lognormal(-2, 0.8, size),
}
TRIALS = 500


def covered(interval, kind, seeds, tasks, truth, generator):
    draws = KINDS[kind](generator, (TRIALS, tasks, seeds))
    ends = np.array([interval(list(scores)) for scores in draws])
    return ((ends[:, 0] <= truth) & (truth <= ends[:, 1])).mean()


@pytest.mark.parametrize("seeds", [2, 3, 5, 10])
@pytest.mark.parametrize("kind", KINDS)
def test_intervals_cover_what_they_claim(kind, seeds, generator):
    large = KINDS[kind](generator, 300_000)
    middle = scipy.stats.trim_mean(large, 0.25)
    for tasks in (1, 2, 3):
        rate = covered(statistics.interquartile_interval, kind, seeds, tasks, middle, generator)
        assert 0.86 < rate < 0.995, tasks


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_the_note_says_what_intervals_of_differences_cover_where_runs_are_lost(seeds, generator):
    learnt, noise = generator.random((2, 4000, seeds)) >= 0.2, generator.normal(0, 0.05, (2, 4000, seeds))
    told = re.findall(r"(\d+)% to (\d+)%", statistics.DIFFERENCES_NOTE)
    alone = learnt | np.array([False, True])[:, None, None]  # theirs never lose a run
    for sides, truth, ends in zip((learnt, alone), (0, -0.2), told, strict=True):
        ours, theirs = sides + noise
        found = [statistics.difference([gaps]) for gaps in ours - theirs]
        rate = np.mean([one.low <= truth <= one.high for one in found])
        low, high = map(int, ends)
        assert low / 100 - 0.01 < rate < high / 100 + 0.01


@pytest.mark.parametrize("lost", [0, 0.2, 0.4])
@pytest.mark.parametrize(("tasks", "seeds"), [(1, 2), (3, 2), (1, 3), (1, 4), (1, 5), (2, 3), (3, 5), (5, 5), (2, 10)])
def test_what_is_said_of_interquartile_means_holds_by_simulation(tasks, seeds, lost, generator):
    runs = lambda size: (generator.random(size) >= lost) + generator.normal(0, 0.05, size)  # noqa: E731
    truth = scipy.stats.trim_mean(runs(400_000), 0.25)
    ends = np.array([statistics.interquartile_interval(list(scores)) for scores in runs((TRIALS, tasks, seeds))])
    rate = ((ends[:, 0] <= truth) & (truth <= ends[:, 1])).mean()
    told = re.findall(r"(\d+)% to (\d+)%", statistics.middle_note(seeds))
    low, high = (int(share) / 100 for share in told[lost > 0.2])
    error = 2 * np.sqrt(0.05 * 0.95 / TRIALS)
    assert low - error < rate < high + error


@pytest.mark.parametrize("seeds", [2, 3, 4, 5])
def test_what_is_said_of_means_holds_by_simulation(seeds, generator):
    usual, *lost = (int(share) / 100 for share in re.findall(r"(\d+)%", statistics.MEAN_NOTE))
    learnt, noise = generator.random((4000, seeds)) >= 0.2, generator.normal(0, 0.05, (4000, seeds))
    rates = []
    for scores, truth in ((noise, 0), (learnt + noise, 0.8)):
        ends = np.array([statistics.mean_interval([own]) for own in scores])
        rates.append(((ends[:, 0] <= truth) & (truth <= ends[:, 1])).mean())
    assert usual - 0.01 < rates[0] < usual + 0.01
    assert lost[0] - 0.01 < rates[1] < lost[1] + 0.01


def test_intervals_of_rank_correlations_cover(generator):
    truth = 6 / np.pi * np.arcsin(0.6 / 2)  # Spearman's of a normal pair with correlation 0.6
    hits = []
    for _ in range(500):
        first = generator.standard_normal((3, 12))
        second = 0.6 * first + 0.8 * generator.standard_normal((3, 12))
        ranks = [values.argsort().argsort() for values in (first, second)]
        each = np.array([np.corrcoef(a, b)[0, 1] for a, b in zip(*ranks, strict=True)])
        low, high = statistics.correlation_interval(each, 12)
        hits.append(low <= truth <= high)
    assert 0.91 < np.mean(hits) < 0.99
    low, high = np.arctanh(statistics.correlation_interval(np.array([0.5, 0.7]), 20))
    error = np.sqrt((1 + 0.6**2 / 2) / (20 - 3) / 2)  # Bonett & Wright's, of Fisher's z of a mean of two
    assert [low, high] == pytest.approx(scipy.stats.norm(np.arctanh(0.6), error).ppf([0.025, 0.975]))
    assert statistics.correlation_interval(np.array([0.2]), 3).tolist() == [-1, 1]
    assert statistics.correlation_interval(np.array([1.0]), 9).tolist() == [1, 1]


# --- differences ------------------------------------------------------------------------------------------------------


def test_the_difference_is_the_paired_t_test(generator):
    ours, theirs = generator.normal(3, 1, 9), generator.normal(2, 4, 9)
    found, expected = statistics.difference([ours - theirs]), scipy.stats.ttest_rel(ours, theirs)
    assert (found.mean, found.p) == pytest.approx(((ours - theirs).mean(), expected.pvalue))
    assert (found.low, found.high) == pytest.approx(tuple(expected.confidence_interval()))


def test_pairs_that_all_differ_by_the_same_are_different_or_not():
    assert statistics.difference([np.zeros(3)]) == (0, 0, 0, 1, 0, 2)
    assert statistics.difference([np.full(3, 10.0)]) == (10, 10, 10, 0, 0, 2)


def test_equivalence_is_two_one_sided_tests(generator):
    gaps = generator.normal(0.3, 1, 12)
    found = statistics.difference([gaps])
    for margin in (0.2, 0.5, 1.0, 2.0):
        above = scipy.stats.ttest_1samp(gaps, -margin, alternative="greater").pvalue
        below = scipy.stats.ttest_1samp(gaps, margin, alternative="less").pvalue
        assert statistics.equivalence(found, margin) == pytest.approx(max(above, below))
    assert statistics.equivalence(statistics.difference([np.full(3, 1.0)]), 1.5) == 0
    assert statistics.equivalence(statistics.difference([np.full(3, 1.0)]), 1.0) == 1
    assert statistics.equivalence(statistics.difference([np.array([1.5])]), 9.0) == 1


def test_one_pair_cannot_be_tested():
    found = statistics.difference([np.array([1.5])])
    assert (found.mean, found.p) == (1.5, 1)
    assert np.isnan(found.low)
    assert statistics.difference([np.array([])]).p == 1


def test_holms_adjustment_by_hand():
    # smallest times 4, second times 3, third times 2, last times 1; never below an earlier one
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert statistics.holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])


@pytest.mark.parametrize("pairs", [5, 8, 20])
def test_what_is_visible_is_found_in_four_of_five_cases(pairs, generator):
    effect = statistics.visible(2.0, pairs, 0.01)
    draws = generator.normal(effect, 2.0, (20_000, pairs))
    found = scipy.stats.ttest_1samp(draws, 0, axis=1, alternative="greater").pvalue < 0.01
    assert found.mean() == pytest.approx(0.8, abs=0.04)


def test_so_many_pairs_are_needed_and_not_one_less():
    needed = statistics.pairs_needed(1.0, 0.5, 0.025)
    assert needed == pytest.approx(33, abs=1)  # 34 by G*Power for a two-sided level of 0.05
    assert statistics.visible(1.0, needed, 0.025) <= 0.5 < statistics.visible(1.0, needed - 1, 0.025)
    assert statistics.pairs_needed(1.0, 1e-6, 0.025) is None
    assert statistics.pairs_needed(0.0, 0.5, 0.025) == 2


def test_mean_and_std_use_the_sample_deviation():
    assert statistics.mean_and_std(np.array([1.0, 2.0, 6.0])) == pytest.approx((3.0, np.sqrt(7.0)))
    mean, std = statistics.mean_and_std(np.array([4.0]))
    assert mean == 4.0
    assert np.isnan(std)
    assert np.isnan(statistics.mean_and_std(np.array([]))).all()


def test_tasks_must_match_for_improvement():
    with pytest.raises(ValueError, match="shorter"):
        statistics.probability_of_improvement([np.ones(2), np.ones(2)], [np.ones(2)])


def test_the_share_of_variance_is_that_of_shrout_and_fleiss():
    """Six targets, four judges (1979, table 2): ICC(2,1) is 0.29, its interval 0.02 to 0.76."""
    ratings = np.array([[9, 2, 5, 8], [6, 1, 3, 2], [8, 4, 6, 8], [7, 1, 2, 6], [10, 5, 6, 9], [6, 2, 4, 7]])
    assert statistics.variance_share(ratings.astype(float)) == pytest.approx([0.29, 0.02, 0.76], abs=0.005)


@pytest.mark.parametrize("parts", [(1, 2, 0), (1, 0, 2), (1, 1, 1), (2, 1, 1)])
def test_the_interval_of_a_share_of_variance_covers(parts, generator):
    """Five by five; variances of rows, of columns, and of the rest."""
    rows, columns, rest = np.sqrt(parts)
    hits = []
    for _ in range(400):
        scores = generator.normal(0, 1, (5, 1)) * rows + generator.normal(0, 1, 5) * columns
        _, low, high = statistics.variance_share(scores + generator.normal(0, 1, (5, 5)) * rest)
        hits.append(low <= parts[0] / sum(parts) <= high)
    assert np.mean(hits) > 0.91


def test_shares_of_variance_at_their_ends():
    rows = np.array([[1.0], [2.0]]) + np.zeros(3)
    assert statistics.variance_share(rows).tolist() == [1, 1, 1]
    assert statistics.variance_share(rows.T).tolist()[:2] == [0, 0]
    assert np.isnan(statistics.variance_share(np.ones((2, 3)))).all()
