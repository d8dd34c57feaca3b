"""Ours against theirs: the tests behind a verdict, the protocol that both sides must share, and the verb."""

import errno
import os
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import stats

from benchmarks.kit.errors import UserError
from benchmarks.plan import profiles
from benchmarks.reporting import comparison, statistics
from benchmarks.reporting.comparison import BETTER, EQUAL, UNDECIDED, WORSE, compare, comparison_table
from benchmarks.reporting.results import Results
from benchmarks.store.store import Store
from benchmarks.tasks import TASKS


def arranged(store):
    return Results.of(*store.averages())


def variant(results, name):
    (found,) = (one for one in results.at(1).variants if one.name == name)
    return found


def compared(store, other=None, ours="bc", theirs="bc", **options):
    sides = arranged(store), arranged(other or store)
    return compare(*sides, [(variant(sides[0], ours), variant(sides[1], theirs))], **options)


def met(*arguments, **options):
    return compared(*arguments, **options)[0]


@pytest.fixture
def runs(tmp_path, a_run):
    """Write runs with given final returns, one per seed, into a folder of their own."""

    def write(folder, returns, method="bc", **changes):
        store = Store(tmp_path / folder)
        for seed, value in enumerate(returns):
            store.write(*a_run(method, seed=seed, finals=(value - 1, value + 1), **changes))
        return store

    write.folder = tmp_path
    return write


def test_pairs_are_tested_not_two_samples(runs):
    """Demonstrations that differ much, and a small loss on each: seen, which it would not be unpaired."""
    theirs = np.array([100, 500, 900, 300, 700, 200])
    loss = np.array([60, 70, 65, 75, 60, 72])
    (match,) = met(runs("ours", theirs - loss), runs("theirs", theirs), margin=0)
    assert match.difference.p == pytest.approx(stats.ttest_rel(theirs - loss, theirs).pvalue)
    assert match.verdict == WORSE
    assert stats.ttest_ind(theirs - loss, theirs, equal_var=False).pvalue > 0.5


@pytest.mark.parametrize("lost", [0.0, 0.1, 0.3, 0.5])
def test_false_alarms_of_a_whole_table_keep_their_level(lost, generator):
    """Twelve lines without a difference, five seeds each that share demonstrations, a share of which learns nothing."""
    alarms, trials = 0, 1500
    for _ in range(trials):
        spread = 10 ** generator.uniform(-2, -1, (12, 1))
        demonstrations = spread * generator.standard_normal((12, 5))
        sides = [
            (generator.random((12, 5)) >= lost) + demonstrations + spread * generator.standard_normal((12, 5))
            for _ in range(2)
        ]
        p = [statistics.difference([gaps]).p for gaps in sides[0] - sides[1]]
        alarms += bool((statistics.holm(p) < 0.05).any())
    assert alarms < trials * 0.05 + 3 * np.sqrt(trials * 0.05 * 0.95)


def test_verdicts(runs):
    reference = runs("reference", [1800, 1810, 1790, 1805, 1795])
    for name, returns, verdict in (
        ("better", [2900, 2910, 2890, 2900, 2895], BETTER),
        ("worse", [400, 410, 390, 400, 405], WORSE),
        ("alike", [1700, 2900, 1820, 1800, 1790], "undecided: 118 more"),
        ("barely", [1830, 1841, 1821, 1835, 1826], EQUAL),
        ("few", [400, 410, 390], "too few seeds: 2 more"),
    ):
        (match,) = met(runs(name, returns), reference)
        assert match.verdict == verdict, name


@pytest.mark.parametrize(("margin", "most"), [(0, 0.84), (0.01, 0.9)])
def test_so_many_more_pairs_find_the_difference_that_was_seen(runs, generator, margin, most):
    ours, theirs = np.array([640, 500, 700, 450, 620.0]), np.array([600, 560, 590, 480, 500.0])
    (match,) = met(runs("ours", ours), runs("theirs", theirs), margin=margin)
    pairs = 5 + int(match.verdict.removeprefix("undecided: ").removesuffix(" more"))
    gap, spread = (ours - theirs).mean(), (ours - theirs).std(ddof=1)
    hopper, draws = TASKS["hopper"], generator.normal(gap, spread, (2000, pairs))
    least = margin * (hopper.expert_return - hopper.random_return)
    found = (stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.05) & (draws.mean(1) > least)
    assert 0.77 < found.mean() < most


def test_the_margin_is_a_share_of_the_way_from_random_to_expert(fill, runs):
    fill({("random", "hopper"): 0, ("expert", "hopper"): 1000})  # with the task table of the fixture: 20 to 1,000
    pair = runs("ours", [860, 861, 862, 860, 863]), runs("theirs", [800, 801, 802, 801, 802])
    assert met(*pair, margin=0.05)[0].verdict == BETTER  # 60 of 980
    assert met(*pair, margin=0.07)[0].verdict == EQUAL


@pytest.mark.parametrize(
    ("seeds", "others", "verdict"),
    [
        ((5,), (), "undecided; failed: 1 of ours"),
        ((), (5, 6), "better; failed: 2 of theirs"),
        ((5,), (6,), "undecided; failed: 1 of ours, 1 of theirs"),
        ((7,), (7,), "better"),  # of a seed that nobody completed there is nothing to say
    ],
)
def test_who_lost_runs_gets_no_verdict_in_its_favour(runs, a_run, seeds, others, verdict):
    """Of two methods, eight seeds each, the one that is much better where it completes."""
    sides = (
        runs("ours", [900, 910, 890, 905, 895, 901, 900, 902]),
        runs("theirs", [500, 510, 490, 505, 495, 500, 501, 502]),
    )
    for name, side, failed in zip(("ours", "theirs"), sides, (seeds, others), strict=True):
        for seed in failed:
            row, _ = a_run("bc", seed=seed, status="diverged", error="value was nan")
            next(runs.folder.glob(f"{name}/runs/*{row['run_id']}*")).unlink()
            side.write(row, [])
    (match,) = met(*sides)
    assert match.verdict == verdict


def test_planned_comparisons_are_one_family(fill, monkeypatch):
    """The lines of all pairs that a profile names are adjusted together; methods that were not run are left out."""
    store = fill({("bc", "hopper"): 900, ("gail", "hopper"): 500, ("red", "hopper"): 490, ("red", "ant"): 480}, seeds=5)
    planned = SimpleNamespace(compare={"bc": ("gail", "red"), "gail": ("dac",)})
    monkeypatch.setattr(profiles, "names", lambda: [*set(store.runs()["profile"])])
    monkeypatch.setattr(profiles, "load", lambda name: planned)
    table = comparison.planned(arranged(store))
    assert [row.label for section in table.sections for row in section] == [
        "BC / GAIL (off-policy): Hopper", "BC / red: Hopper",
    ]  # fmt: skip
    planned.compare = {"gail": ("dac",)}
    assert comparison.planned(arranged(store)) is None


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
        ({"episode_ids": [7]}, "demonstrated episode 7 here, 0 there for seed 0"),
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
    store = fill({("bc", "hopper"): 400, ("bc", "ant"): 600, ("gail", "hopper"): 800, ("gail", "ant"): 900}, seeds=5)
    matches, totals = compared(store, ours="bc", theirs="gail")
    ((*_, line),) = comparison_table(matches, totals, 0.05, 0.05).sections
    assert line.label == "BC / GAIL (off-policy): 2 lines together"
    assert line.entries[3].text.startswith("-0.35")  # (0.4 - 0.8) and (0.6 - 0.9)
    assert line.entries[5].text == WORSE


def test_a_failed_run_counts_over_all_tasks(fill, a_run):
    scores = {("bc", task): 500 for task in ("hopper", "ant")} | {("gail", task): 400 for task in ("hopper", "ant")}
    store = fill(scores, seeds=5)
    store.write(*a_run("gail", "ant", seed=5, finals=(400, 400)))
    store.write(*a_run("bc", "ant", seed=5, status="failed", error="out of memory"))
    results = arranged(store)
    _, (total,) = compare(results, results, [(variant(results, "bc"), variant(results, "gail"))])
    assert total.verdict == f"{UNDECIDED}; failed: 1 of ours"


def test_no_line_over_all_tasks_where_one_has_a_single_pair(runs):
    """Nothing is known of its spread, so that the line's interval would leave it out."""
    for side, level in (("ours", 500), ("theirs", 480)):
        runs(side, [level, 500, 490, 510], env_id="A-v0", task="a")
        runs(side, [level + 100], env_id="B-v0", task="b")
    matches, totals = compared(*(Store(runs.folder / side) for side in ("ours", "theirs")))
    assert (len(matches), totals) == (2, [])


def test_the_same_runs_at_several_numbers_of_demonstrations_count_once(runs):
    """SAC, without demonstrations, meets BC at one and at four of them."""
    for demos in (1, 4):
        store = runs("both", [500, 510, 520, 490, 480], demos=demos)
    runs("both", [900, 910, 900, 890, 905], "sac", demos=0)
    matches, totals = compared(store, ours="bc", theirs="sac")
    assert (len(matches), totals) == (2, [])
    for demos in (1, 4):
        runs("both", [600, 610, 620, 590, 580], "gail", demos=demos)
    assert len(compared(store, ours="bc", theirs="gail")[1]) == 1


@pytest.fixture
def bench(bench, monkeypatch, tmp_path):
    """Run `compare` in the folder of the test: (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)
    return partial(bench, "compare")


def test_a_table_goes_to_a_file_with_what_differs(bench, runs):
    runs("then", [800, 810, 790, 805, 795])
    runs("then", [800, 810, 790, 805, 795], method="gail")
    changed = {"versions": '{"torch": "3.0.0"}', "config": '{"rate": 0.1, "density": {"noise": 0.1}}'}
    runs("broken", [20, 30, 25, 22, 28], **changed)
    code, out, _ = bench("broken", "then", "--out", "table.md")
    assert code == 0
    assert "Settings of BC: rate 0.1 here, 0.0003 there." in out
    assert "Versions: torch 3.0.0 here, 2.13.0 there." in out
    assert "Only on the other side: GAIL (off-policy) on hopper with 1 demonstration" in out
    with open("table.md") as file:
        assert "| BC: Hopper | 5 | 25 ± 4 | 800 ± 8 |" in file.read()


def test_seeds_of_one_side_only_are_told(bench, runs):
    runs("then", [800, 810, 790, 805, 795])
    runs("now", [800, 810])
    assert "Only on the other side: BC on hopper with 1 demonstration, seed 2, 3, 4." in bench("now", "then")[1]


def test_a_package_that_was_not_installed_is_no_version(bench, runs):
    runs("now", [800, 810, 790, 805, 795], versions='{"torch": "2", "wandb": null}')
    runs("then", [800, 810, 790, 805, 795], versions='{"torch": "2", "wandb": "0.31"}')
    code, out, _ = bench("now", "then")
    assert code == 0
    assert "Versions: wandb null here, 0.31 there." in out


def test_a_new_method_against_a_stored_one(bench, runs):
    runs("reference", [800, 810, 790, 805, 795], "ndi-ebm")
    runs("mine", [900, 910, 890, 905, 895], "mine", label="Mine")
    code, out, _ = bench("mine", "reference", "--method", "mine", "--against", "ndi-ebm")
    assert code == 0
    assert "Mine / NDI+EBM: Hopper" in out
    assert "better" in out


def test_a_variant_is_chosen_by_all_its_settings(bench, runs, a_run):
    """As the list in the error names it: with commas in its brackets."""
    store = Store(runs.folder / "now")
    for number in range(4):
        config = f'{{"rate": {number // 2}, "weight": {number % 2}}}'
        for seed in range(5):
            value = 700 + 100 * number + number * seed
            store.write(*a_run("bc", seed=seed, run_id=f"{number}.{seed}", config=config, finals=(value, value)))
    chosen = "bc[rate=1, weight=0], bc[rate=1, weight=1]"
    code, out, _ = bench("now", "--method", chosen, "--against", "bc[rate=0, weight=0]")
    assert code == 0
    assert "Settings of BC (rate=1, weight=0): rate 1 here, 0 there.\n" in out
    assert "Settings of BC (rate=1, weight=1): rate 1 here, 0 there; weight 1 here, 0 there.\n" in out


def test_a_variant_is_chosen_by_a_setting_of_several_values(bench, runs, a_run):
    store = Store(runs.folder / "now")
    for size in (32, 64):
        for seed in range(5):
            config = f'{{"hidden": [{size}, {size}]}}'
            store.write(*a_run("bc", seed=seed, run_id=f"{size}.{seed}", config=config, finals=(size, size)))
    code, out, _ = bench("now", "--method", "bc[hidden=[64, 64]]", "--against", "bc[hidden=[32, 32]]")
    assert code == 0
    assert "hidden [64, 64] here, [32, 32] there" in out


def test_a_line_over_all_tasks_wants_five_pairs_on_each(fill):
    store = fill({(method, task): 500 for method in ("bc", "gail") for task in ("hopper", "ant", "walker2d")}, seeds=2)
    results = arranged(store)
    _, (total,) = compare(results, results, [(variant(results, "bc"), variant(results, "gail"))])
    assert total.verdict == "too few seeds: 3 more"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("now",), "nothing to compare with; name a second results folder or a method with --against"),
        (("now", "nowhere"), "there is no results folder nowhere"),
        (("now", "now", "--method", "bd"), "--method bd: no such runs are stored; did you mean bc?"),
        (("now", "--method", "bc", "--against", "bc"), "--against bc: there is nothing but itself to compare it with"),
        (("now", "--against", "gail"), "--against gail: no such runs are stored"),
        (("now", "now", "--out", "now/runs"), "cannot write now/runs"),
    ],
)
def test_a_mistake_is_one_line(bench, runs, arguments, message):
    runs("now", [800, 810])
    code, _, error = bench(*arguments)
    assert code == 2
    assert error.startswith("error: ")
    assert error.count("\n") == 1
    assert message in error


def test_a_table_that_cannot_be_written_leaves_the_one_there(bench, runs, tmp_path, monkeypatch):
    runs("now", [800, 810])
    (tmp_path / "table.md").write_text("precious")

    def full(descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    code, _, error = bench("now", "now", "--out", "table.md")
    assert (code, error) == (
        2,
        "error: cannot write table.md: No space left on device; choose another file with --out\n",
    )
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".md"] == ["table.md"]
    assert (tmp_path / "table.md").read_text() == "precious"


def test_several_may_be_met_at_once(bench, fill):
    fill({(method, "hopper"): 500 + 10 * len(method) for method in ("bc", "gail", "red")}, seeds=5)
    out = bench(".", "--method", "bc", "--against", "gail,red")[1]
    assert "BC / GAIL (off-policy): Hopper" in out
    assert "BC / red: Hopper" in out


def test_lines_without_enough_pairs_take_no_part_in_the_adjustment(runs):
    """The p-value of the one line that can be judged stays its own; four times it would be beyond the level."""
    gaps = np.array([10, 60, 35, 20, 40])
    assert 0.05 / 4 < stats.ttest_1samp(gaps, 0).pvalue < 0.05
    for side, ahead in (("ours", gaps), ("theirs", 0 * gaps)):
        store = runs(side, 500 + ahead)
        for task in ("a", "b", "c"):
            runs(side, [500, 510], env_id=f"{task}-v0", task=task)
    verdicts = {match.task: match.verdict for match in met(Store(runs.folder / "ours"), store, margin=0)}
    assert verdicts == {"Hopper": BETTER} | dict.fromkeys("abc", "too few seeds: 3 more")
