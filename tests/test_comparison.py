"""Ours against theirs: the tests behind a verdict, the protocol that both sides must share, and the verb."""

from functools import partial

import numpy as np
import pytest
from scipy import stats

from benchmarks.kit.errors import UserError
from benchmarks.reporting.comparison import BETTER, UNDECIDED, WORSE, compare, comparison_table, difference, holm
from benchmarks.reporting.results import Results
from benchmarks.store.store import Store


def arranged(store):
    return Results.of(*store.averages())


def variant(results, name):
    (found,) = (one for one in results.at(1).variants if one.name == name)
    return found


def met(store, other=None, ours="bc", theirs="bc", **options):
    sides = arranged(store), arranged(other or store)
    return compare(*sides, [(variant(sides[0], ours), variant(sides[1], theirs))], **options)


@pytest.fixture
def runs(tmp_path, a_run):
    """Write runs with given final returns, one per seed, into a folder of their own."""

    def write(folder, returns, method="bc", **changes):
        store = Store(tmp_path / folder)
        for seed, value in enumerate(returns):
            store.write(*a_run(method, seed=seed, finals=(value - 1, value + 1), **changes))
        return store

    return write


def test_the_difference_is_welchs_by_its_formula(generator):
    ours, theirs = generator.normal(3, 1, 5), generator.normal(1, 4, 8)
    found = difference(ours, theirs)
    errors = [side.var(ddof=1) / len(side) for side in (ours, theirs)]
    spread = np.sqrt(sum(errors))
    freedom = spread**4 / sum(error**2 / (len(side) - 1) for error, side in zip(errors, (ours, theirs), strict=True))
    gap = ours.mean() - theirs.mean()
    reach = stats.t.ppf(0.975, freedom) * spread
    assert found == pytest.approx((gap, gap - reach, gap + reach, 2 * stats.t.sf(abs(gap) / spread, freedom)))


def test_seeds_that_all_return_the_same_are_different_or_not():
    same = np.full(3, 1000.0)
    assert difference(same, same) == (0, 0, 0, 1)
    assert difference(same, same - 10) == (10, 10, 10, 0)


def test_one_seed_cannot_be_tested():
    found = difference(np.array([3.0]), np.array([1.0, 2.0]))
    assert (found.mean, found.p) == (1.5, 1)
    assert np.isnan(found.low)


def test_holms_adjustment_by_hand():
    # smallest times 4, second times 3, third times 2, last times 1; never below an earlier one
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])


def test_false_alarms_over_a_whole_table_keep_their_level(generator):
    # ten lines of three seeds with spreads from 1 to 1,000, no difference in any of them
    alarms = 0
    for _ in range(1000):
        spreads = 10 ** generator.uniform(0, 3, 10)
        draws = [(generator.normal(0, spread, 3), generator.normal(0, spread, 3)) for spread in spreads]
        alarms += bool((holm([difference(*draw).p for draw in draws]) < 0.05).any())
    assert alarms < 1000 * (0.05 + 3 * np.sqrt(0.05 * 0.95 / 1000))


def test_verdicts(runs):
    reference = runs("reference", [1800, 1810, 1790])
    for name, returns, verdict in (
        ("better", [2900, 2910, 2890], BETTER),
        ("worse", [400, 410, 390], WORSE),
        ("alike", [1700, 2900, 1820], UNDECIDED),
        ("barely", [1830, 1831, 1832], "within the margin"),
    ):
        (match,) = met(runs(name, returns), reference)
        assert match.verdict == verdict, name
        assert match.difference.mean == pytest.approx(np.mean(returns) - 1800)


def test_the_margin_is_a_share_of_the_way_from_random_to_expert(fill, runs):
    fill({("random", "hopper"): 0, ("expert", "hopper"): 1000})  # with the task table of the fixture: 20 to 1,000
    pair = runs("ours", [860, 861, 862]), runs("theirs", [800, 801, 802])
    assert met(*pair, margin=0.05)[0].verdict == BETTER  # 60 of 980
    assert met(*pair, margin=0.07)[0].verdict == "within the margin"


def test_a_failed_run_is_worse_than_one_that_completed(runs, a_run):
    ours = runs("ours", [900, 910])
    ours.write(a_run("bc", seed=2, status="diverged", error="value was nan")[0], [])
    (match,) = met(ours, runs("theirs", [500, 510, 490]))
    assert match.verdict == "worse: 1 failed"


def test_a_seed_that_failed_on_one_side_counts_on_neither(runs, a_run):
    ours, theirs = runs("ours", [500, 510, 900, 910]), runs("theirs", [500, 510])
    for seed in (2, 3):
        theirs.write(a_run("bc", seed=seed, status="failed")[0], [])
    (match,) = met(ours, theirs)
    assert match.difference.mean == 0
    assert match.scores.tolist() == match.others.tolist() == [500, 510]


def test_only_seeds_of_both_sides_count(runs):
    (match,) = met(runs("ours", [500, 510]), runs("theirs", [800, 810, 100_000]))
    assert (len(match.scores), len(match.others)) == (2, 2)
    assert match.difference.mean == pytest.approx(-300)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"budget": 2000}, "environment steps 2000 here, 1000 there"),
        ({"dataset_hash": "other"}, "demonstrations other here, abc there"),
        ({"env_id": "Hopper-v4"}, "environment Hopper-v4 here, Hopper-v5 there"),
        ({"subsample": 20}, "subsampling 20 here, 1 there"),
    ],
)
def test_runs_of_different_protocols_are_not_compared(runs, change, told):
    with pytest.raises(UserError, match=rf"different protocols: GAIL \(off-policy\) on hopper: {told}. Run both with"):
        met(runs("ours", [500, 510], "gail", **change), runs("theirs", [500, 510], "gail"), "gail", "gail")


def test_a_method_without_demonstrations_meets_one_that_has_them(runs):
    runs("both", [500, 510])
    (match,) = met(runs("both", [900, 910], "sac"), ours="bc", theirs="sac")
    assert match.difference.mean == pytest.approx(-400)


def test_the_line_over_all_tasks_is_of_normalised_returns(fill):
    store = fill({("bc", "hopper"): 400, ("bc", "ant"): 600, ("gail", "hopper"): 800, ("gail", "ant"): 900}, seeds=4)
    table = comparison_table(met(store, ours="bc", theirs="gail"), 0.05, 0.05)
    ((*_, overall),) = table.sections
    assert overall.label == "BC / GAIL (off-policy): all tasks"
    pooled = np.array([[400], [600]]) / 1000 + 0.1 * (np.arange(4) - 1.5)
    assert overall.entries[1].text == f"{stats.trim_mean(pooled.ravel(), 0.25):.2f}"


@pytest.fixture
def bench(bench, monkeypatch, tmp_path):
    """Run `compare` in the folder of the test: (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)
    return partial(bench, "compare")


def test_a_gate_lets_equal_runs_pass_and_stops_worse_ones(bench, runs):
    runs("then", [800, 810, 790])
    runs("now", [801, 809, 790])
    runs("broken", [20, 30, 25], versions='{"torch": "3.0.0"}', config='{"rate": 0.1, "density": {"noise": 0.1}}')
    code, out, _ = bench("now", "then", "--gate")
    assert (code, "gate: 0 worse, 0 missing, of 1" in out) == (0, True)
    code, out, _ = bench("broken", "then", "--gate", "--out", "table.md")
    assert (code, "gate: 1 worse, 0 missing, of 1" in out) == (1, True)
    assert "Settings of BC: rate 0.1 here, 0.0003 there." in out
    assert "Versions: torch 3.0.0 here, 2.13.0 there." in out
    assert bench("broken", "then")[0] == 0  # without the gate it only tells
    with open("table.md") as file:
        assert "| BC: Hopper | 3 | 25 ± 5 | 800 ± 10 |" in file.read()


def test_a_gate_stops_what_is_missing(bench, runs):
    runs("then", [800, 810, 790])
    runs("then", [800, 810, 790], task="ant")
    runs("then", [800, 810, 790], method="gail")
    runs("now", [800, 810, 790])
    code, out, _ = bench("now", "then", "--gate")
    assert (code, "gate: 0 worse, 2 missing, of 3" in out) == (1, True)
    assert "Only on the other side: BC on ant with 1 demonstration, GAIL (off-policy) on hopper" in out
    assert bench("now", "then", "--gate", "--method", "bc", "--against", "bc")[0] == 1
    assert bench("now", "now", "--gate")[0] == 0


def test_a_gate_stops_missing_seeds(bench, runs):
    runs("then", [800, 810, 790])
    runs("then", [800, 810, 790], "gail")
    for folder, scores, told in (
        ("one", [800], "GAIL (off-policy) on hopper with 1 demonstration, seed 1, 2."),
        ("two", [800, 810], "GAIL (off-policy) on hopper with 1 demonstration, seed 2."),
    ):
        runs(folder, [800, 810, 790])
        runs(folder, scores, "gail")
        code, out, _ = bench(folder, "then", "--gate")
        assert (code, "gate: 0 worse, 1 missing, of 3" in out) == (1, True)
        assert told in out
    runs("more", [800, 810, 790, 800])
    runs("more", [800, 810, 790, 800], "gail")
    assert bench("more", "then", "--gate")[0] == 0


def test_a_new_method_against_a_stored_one(bench, runs):
    runs("reference", [800, 810, 790], "ndi-ebm")
    runs("mine", [900, 910, 890], "mine", label="Mine")
    code, out, _ = bench("mine", "reference", "--method", "mine", "--against", "ndi-ebm")
    assert code == 0
    assert "Mine / NDI+EBM: Hopper" in out
    assert "better" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("now",), "nothing to compare with; name a second results folder or a method with --against"),
        (("now", "nowhere"), "there is no results folder nowhere"),
        (("now", "now", "--method", "bd"), "--method bd: no such runs are stored; did you mean bc?"),
        (("now", "--method", "bc", "--against", "bc"), "--against bc: there is nothing but itself to compare it with"),
        (("now", "--against", "gail"), "--against gail: no such runs are stored"),
        (("now", "now", "--out", "no/such/folder.md"), "cannot write no/such/folder.md"),
    ],
)
def test_a_mistake_is_one_line(bench, runs, arguments, message):
    runs("now", [800, 810])
    code, _, error = bench(*arguments)
    assert code == 2
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error
