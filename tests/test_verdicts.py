"""Our scores against a paper's number, each as a share of the way between its own references."""

import pytest

from benchmarks.reporting import verdicts
from benchmarks.reporting.results import Results


def judged(store, method="bc", task="hopper"):
    results = Results.of(*store.averages())
    board = results.at(1)
    (variant,) = (one for one in results.variants if one.name == method)
    return verdicts.verdict(board, variant, task)


@pytest.mark.parametrize(
    ("mean", "apart", "status"),
    [
        (400, 50, verdicts.REPRODUCED),
        (400, 100, verdicts.UNDECIDED),  # nothing is shown by an interval wider than the paper's spread
        (520, 50, verdicts.UNDECIDED),
        (950, 100, verdicts.ABOVE),
        (-200, 100, verdicts.BELOW),
    ],
)
def test_shares_of_the_way_from_random_to_expert_are_compared(fill, mean, apart, status):
    """BC of the NDI paper on Hopper: 1,432 +- 382 between 14 and 3,567, so 0.40 +- 0.11, and 0.05 beyond that."""
    found = judged(fill({("bc", "hopper"): mean}, seeds=5, apart=apart))
    assert found.status == status
    assert found.published == (1432, 382)
    assert found.share == pytest.approx(((1432 - 14) / (3567 - 14), 382 / (3567 - 14)))
    assert any("our expert returns 1,000 as it demonstrates, the paper's 3,567" in told for told in found.differences)


def test_the_table_has_a_verdict_with_both_shares_and_what_is_known_to_differ(fill):
    store = fill({("random", "hopper"): 20, ("bc", "hopper"): 400, ("sqil", "hopper"): 500}, seeds=5, apart=50)
    table = verdicts.verdict_table(Results.of(*store.averages()).at(1))
    ((row,),) = table.sections
    shown = ["Hopper", "1,432 ± 382", "0.40 ± 0.11", "0.40 [0.30, 0.50]", "5", "reproduced"]
    assert (row.label, [entry.text for entry in row.entries]) == ("BC", shown)
    assert "our expert returns 1,000 as it demonstrates, the paper's 3,567 (Hopper)" in table.notes[2]
    assert "from memory" in table.notes[3]
    assert verdicts.verdict_table(Results.of(*store.averages()).at(4)) is None


def test_one_seed_decides_nothing_and_failed_runs_are_no_result(fill):
    assert judged(fill({("bc", "hopper"): 400}, seeds=1)).status == verdicts.ONE_SEED
    assert judged(fill({("gail", "hopper"): 400}, seeds=3, status="failed"), "gail").status == verdicts.FAILED


def test_a_task_on_which_a_method_was_not_run(fill):
    assert judged(fill({("bc", "hopper"): 400, ("gail", "ant"): 400}, seeds=2), task="ant").status == verdicts.NOT_RUN


def test_no_verdict_where_nobody_knows_the_references(fill, a_run):
    store = fill({("random", "hopper"): 20}, seeds=1)
    for seed in range(3):
        run, evaluations = a_run("bc", "mine", seed, env_id="Hopper-v4")
        store.write(run, [row | {"normalized": float("nan")} for row in evaluations])
    assert judged(store, task="mine") is None


def test_references_and_methods_that_the_paper_lacks_have_none(fill):
    store = fill({("random", "hopper"): 20, ("sqil", "hopper"): 500}, seeds=2)
    assert judged(store, "random") is judged(store, "sqil") is None


def test_a_verdict_on_fewer_seeds_than_usual_says_so(fill):
    fill({("bc", "hopper"): 400, ("red", "hopper"): 400}, seeds=5, apart=50)
    store = fill({("gail", "hopper"): 900}, seeds=3)
    table = verdicts.verdict_table(Results.of(*store.averages()).at(1))
    rows = [row for section in table.sections for row in section]
    assert {row.label: row.entries[-1].note for row in rows} == {"BC": "", "red": "", "GAIL (off-policy)": "3 seeds"}
