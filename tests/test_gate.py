"""The gate: what it proves, what it finds, how often it is wrong, and what it says when it cannot tell."""

from functools import partial

import numpy as np
import pytest
from scipy import stats

from benchmarks.kit.errors import UserError
from benchmarks.reporting import gate, statistics
from benchmarks.reporting.comparison import UNDECIDED, WORSE
from benchmarks.reporting.gate import FINE, IDENTICAL, MISSING, Line, judge

BLOCKS, DRAWS = 16, 2000


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(gate, "DRAWS", DRAWS)


def a_line(generator, loss=0.0, blocks=BLOCKS, theirs=4, lost=0.0, spread=0.05, **changes):
    """Ours once and theirs a few times on every demonstration, which counts as much as the seed; three measures."""
    block = np.repeat(np.arange(blocks), 1 + theirs)
    ours = np.tile(np.arange(1 + theirs) == 0, blocks)
    area = 0.7 + spread * (generator.standard_normal(blocks)[block] + generator.standard_normal(len(block)))
    area = np.where(generator.random(len(block)) < lost, 0.0, area) - loss * ours
    others = area[:, None] + 0.02 * generator.standard_normal((len(block), 2))
    return Line("bc", "BC: Hopper", np.column_stack([area, others]), ours, block, **changes)


def test_names_are_exchanged_within_blocks_only(generator):
    ours, blocks = np.array([True, False, False, True, True, False]), np.array([0, 0, 0, 1, 1, 1])
    names = statistics.relabelled(ours, blocks, 3000)
    assert (names[0] == ours).all()
    assert (names[:, :3].sum(1) == 1).all()
    assert (names[:, 3:].sum(1) == 2).all()
    assert names[1:].mean(0) == pytest.approx([1 / 3] * 3 + [2 / 3] * 3, abs=0.05)


def test_losses_by_hand():
    values = np.array([[1.0, 0], [3, 0], [5, 3], [10, 6], [20, 0]])
    ours, blocks = np.array([True, False, False, True, False]), np.array([7, 7, 7, 9, 9])
    # block 7: (3 + 5) / 2 - 1 and (0 + 3) / 2 - 0; block 9: 20 - 10 and 0 - 6
    assert statistics.losses(values, ours[None], blocks)[0] == pytest.approx([(3 + 10) / 2, (1.5 - 6) / 2])


@pytest.mark.parametrize("paired", [True, False])
def test_the_test_is_scipys_permutation_test(paired, generator):
    ours, theirs = generator.normal(0, 1, 7), generator.normal(0.8, 1, 7)
    values = np.concatenate([ours, theirs])[:, None]
    names, blocks = np.repeat([True, False], 7), np.tile(np.arange(7), 2) if paired else np.zeros(14, int)
    null = statistics.losses(values, statistics.relabelled(names, blocks, 20_000), blocks)
    (p,), _ = statistics.adjusted(null, 0.05)
    expected = stats.permutation_test(
        (theirs, ours),
        lambda x, y, axis: (x - y).mean(axis) if paired else x.mean(axis) - y.mean(axis),
        permutation_type="samples" if paired else "independent",
        alternative="greater",
        vectorized=True,
        n_resamples=10_000,
    )
    assert p == pytest.approx(expected.pvalue, abs=0.015)


def test_adjusted_p_values_of_independent_tests_are_sidaks(generator):
    null = generator.standard_normal((20_001, 10))
    null[0] = [3, 2, 1, 0, 0, 0, 0, 0, 0, -1]
    p, single = statistics.adjusted(null, 0.05)
    alone = stats.norm.sf(null[0])
    assert p == pytest.approx(1 - (1 - alone) ** 10, abs=0.012)
    assert single == pytest.approx(1 - 0.95**0.1, rel=0.15)


def test_adjusted_p_values_of_the_same_test_are_its_own(generator):
    null = np.repeat(generator.standard_normal((20_001, 1)), 10, axis=1)
    p, _ = statistics.adjusted(null, 0.05)
    assert p == pytest.approx([(null[:, 0] >= null[0, 0]).mean()] * 10)


@pytest.mark.parametrize("lost", [0.0, 0.3])
def test_false_alarms_of_the_whole_gate_keep_their_level(lost, generator, monkeypatch):
    """Also where runs are lost now and then, and where a line has few runs."""
    monkeypatch.setattr(gate, "DRAWS", 400)
    trials = 300
    alarms = sum(
        judge([a_line(generator, lost=lost, blocks=blocks) for blocks in (5, 16, 16, 16)]).verdict == WORSE
        for _ in range(trials)
    )
    assert alarms <= trials * 0.05 + 3 * np.sqrt(trials * 0.05 * 0.95)


def test_what_is_called_visible_is_found_in_four_of_five_cases(generator, monkeypatch):
    visible = np.mean([judge([a_line(generator)]).findings[0].visible for _ in range(10)])
    monkeypatch.setattr(gate, "DRAWS", 1000)
    found = [judge([a_line(generator, loss=visible)]).findings[0].verdict == WORSE for _ in range(200)]
    assert np.mean(found) == pytest.approx(0.8, abs=0.1)


def test_a_small_loss_on_every_line_is_seen_on_all_together(generator):
    judgement = judge([a_line(generator, loss=0.025) for _ in range(8)])
    assert judgement.overall.verdict == WORSE
    assert judgement.overall.visible < min(finding.visible for finding in judgement.findings)


def test_verdicts(generator):
    judgement = judge(
        [
            a_line(generator, loss=0.3),
            a_line(generator),
            a_line(generator, spread=0.5),
            a_line(generator)._replace(same=True),
            a_line(generator)._replace(absent=True),
            a_line(generator)._replace(lost=2),
        ]
    )
    verdicts = [finding.verdict for finding in judgement.findings]
    assert verdicts == [WORSE, FINE, UNDECIDED, IDENTICAL, MISSING, WORSE]
    assert judgement.verdict == WORSE
    assert judge([a_line(generator), a_line(generator)]).verdict == FINE
    assert judge([a_line(generator), a_line(generator, spread=0.5)]).verdict == UNDECIDED
    assert judge([a_line(generator, same=True)]).verdict == FINE
    assert judge([a_line(generator, same=True), a_line(generator, absent=True)]).verdict == WORSE


def test_nothing_compared_proves_nothing(runs):
    assert judge([]).verdict == UNDECIDED
    results = results_of(runs("then", [800, 810]))
    assert len(gate.pairs(results, results, " bc ,")) == 1
    with pytest.raises(UserError, match="the reference has no runs of gail, red; choose others"):
        gate.pairs(results, results, "bc, red,gail")


def test_a_line_that_is_identical_takes_no_power_from_others(generator):
    line = a_line(generator, loss=0.06)
    alone, beside = judge([line]), judge([line, *(a_line(generator, same=True) for _ in range(9))])
    assert alone.findings[0].p == beside.findings[0].p


def test_one_run_a_side_is_undecided(generator):
    line = a_line(generator, loss=0.9, blocks=1, theirs=1)
    assert judge([line]).verdict == UNDECIDED
    assert np.isinf(judge([line]).findings[0].visible)


def test_more_seeds_are_asked_for_where_they_may_decide(generator):
    sure, wide = a_line(generator), a_line(generator, spread=0.5)._replace(method="gail")
    assert judge([sure, wide]).doubtful == ["gail"]
    assert judge([wide._replace(same=True), sure]).doubtful in ([], ["bc"])
    assert judge([sure._replace(same=True)]).doubtful == []


# --- from stored rows to verdicts -------------------------------------------------------------------------------------


@pytest.fixture
def runs(fill, tmp_path, a_run):
    """Write runs with given final returns, one per seed, into a folder; seeds begin with different demonstrations."""
    from benchmarks.store.store import Store

    def write(folder, returns, method="bc", first=0, **changes):
        store = Store(tmp_path / folder)
        for seed, value in enumerate(returns, first):
            options = {"episode_ids": [seed % 25], **changes}
            store.write(*a_run(method, seed=seed, finals=(value - 1, value + 1), **options))
        return store

    return write


def results_of(store):
    return gate.Results.of(*store.averages())


def lines_of(ours, theirs):
    sides = results_of(ours), results_of(theirs)
    return list(gate.lines(*sides, gate.pairs(*sides)))


def test_a_line_holds_all_runs_that_share_demonstrations(runs):
    ours = runs("ours", [500, 600])
    theirs = runs("theirs", [500, 700, 900])
    runs("theirs", [550], first=25)  # the first seed's demonstration again
    (line,) = lines_of(ours, theirs)
    assert (line.ours.sum(), (~line.ours).sum()) == (2, 3)
    loss = statistics.losses(line.values, line.ours[None], line.blocks)[0]
    assert loss[1] == pytest.approx(((500 + 550) / 2 - 500 + 700 - 600) / 2 / 1000)
    assert not line.same


def test_equal_rows_are_identical_and_one_bit_is_not(runs):
    theirs = runs("theirs", [500, 700, 900])
    (line,) = lines_of(runs("same", [500, 700]), theirs)
    assert line.same
    (line,) = lines_of(runs("other", [500, np.nextafter(700, 800)]), theirs)
    assert not line.same


def test_some_of_the_seeds_prove_nothing_where_all_are_wanted(runs):
    sides = results_of(runs("ours", [500, 700])), results_of(runs("theirs", [500, 700, 900]))
    for whole, verdict in ((False, IDENTICAL), (True, UNDECIDED)):
        (line,) = gate.lines(*sides, gate.pairs(*sides), whole=whole)
        assert judge([line]).findings[0].verdict == verdict


def test_a_measure_that_ours_alone_lack_is_a_loss(runs):
    """A run of ours whose distance to the expert is not defined, where all of theirs have one."""
    theirs = runs("theirs", [500, 700, 900, 600])
    ours = runs("ours", [501, 701, 901, 601])
    results = results_of(ours)
    first = results.evaluations["run"] == results.evaluations["run"].min()
    results.evaluations.loc[first, "kl"] = np.nan
    sides = results, results_of(theirs)
    (line,) = gate.lines(*sides, gate.pairs(*sides))
    assert (line.lost, line.values.shape) == (1, (6, 3))
    assert judge([line]).findings[0].verdict == WORSE


def test_the_closeness_is_that_of_the_rows(runs):
    (line,) = lines_of(runs("ours", [500, 600]), runs("theirs", [500, 700]))
    assert line.values[:, 2] == pytest.approx(-np.log(2.25 / 10))  # of both episodes, 1.5 and 3.0


def test_a_reference_is_read_as_it_was_written(runs, tmp_path):
    store = runs("theirs", [500, 700, 900])
    gate.write_reference(*store.averages(), tmp_path / "reference")
    read = gate.read_reference(tmp_path / "reference")
    assert read.runs.equals(results_of(store).runs)
    assert read.evaluations.reset_index(drop=True).equals(results_of(store).evaluations.reset_index(drop=True))


@pytest.mark.parametrize("changes", [{"config": 1}, {"episode_ids": None}, {"episode_ids": "0"}])
def test_a_reference_of_other_kinds_is_told_in_one_line(runs, tmp_path, changes):
    found, averages = runs("theirs", [500, 700, 900]).averages()
    gate.write_reference(found.assign(**changes), averages, tmp_path / "reference")
    with pytest.raises(UserError, match="reference cannot be read"):
        gate.read_reference(tmp_path / "reference")


def test_a_reference_that_cannot_be_written_is_told_in_one_line(runs, tmp_path):
    (tmp_path / "taken").touch()
    with pytest.raises(UserError, match=r"cannot write to .*taken"):
        gate.write_reference(*runs("then", [800.0]).averages(), tmp_path / "taken")


@pytest.fixture
def bench(bench, monkeypatch, tmp_path):
    """Run `compare` in the folder of the test: (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)
    return partial(bench, "compare")


def test_exit_codes_say_fine_worse_and_undecided(bench, runs, generator):
    level = 800 + 100 * generator.standard_normal(12)
    runs("then", level)
    runs("now", level + 5 * generator.standard_normal(12))
    runs("broken", 100 + 10 * generator.standard_normal(12))
    runs("wild", level + 400 * generator.standard_normal(12))
    runs("one", level[:1] + 1)
    for folder, code, verdict in (
        ("then", 0, "fine (1 identical; all together identical)"),
        ("now", 0, "fine (1 fine; all together fine)"),
        ("broken", 1, "worse (1 worse; all together worse)"),
        ("wild", 3, "undecided (1 undecided; all together undecided)"),
        ("one", 3, "undecided (1 undecided; all together undecided)"),
    ):
        found, out, _ = bench(folder, "then", "--gate", "--margin", "0.1", "--out", "table.md")
        assert (found, f"gate: {verdict}" in out) == (code, True), out
    assert bench("broken", "then")[0] == 0  # without the gate it only tells


def test_what_is_missing_or_failed_is_worse(bench, runs, a_run):
    from benchmarks.store.store import Store

    runs("then", [800, 810, 790, 805, 795])
    runs("then", [800, 810, 790, 805, 795], method="gail")
    runs("now", [800, 810, 790, 805, 795])
    code, out, _ = bench("now", "then", "--gate")
    assert (code, "gate: worse (1 identical, 1 missing" in out) == (1, True)
    runs("now", [800, 810, 790, 805], method="gail")
    Store("now").write(a_run("gail", seed=4, status="diverged", error="value was nan")[0], [])
    code, out, _ = bench("now", "then", "--gate")
    assert (code, "worse: 1 failed" in out) == (1, True)
