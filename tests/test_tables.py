import json
from types import SimpleNamespace

import numpy as np
from scipy import stats

from benchmarks.reporting import effort, style, tables
from benchmarks.reporting.formats import (
    Entry,
    to_latex,
    to_markdown,
)
from benchmarks.reporting.results import Results, family
from benchmarks.reporting.variants import settings
from benchmarks.store.store import Store

MEMORY = "transcribed from memory of arXiv 2010.09808, Table 2; check against the PDF before citing"


def arranged(store):
    return Results.of(*store.averages())


def entries(table, label, which=0):
    """The entries of the row with a label; paper rows repeat, so `which` counts."""
    rows = [row for section in table.sections for row in section if row.label == label]
    return dict(zip(table.header[1:], rows[which].entries, strict=True))


def test_entries_are_mean_and_sample_deviation_of_seed_means(fill):
    table = tables.returns_table(arranged(fill({("bc", "hopper"): 800, ("gail", "hopper"): 900}, seeds=3)).at(1))
    assert entries(table, "BC")["Hopper"].text == f"800 ± {np.std([700, 800, 900], ddof=1):.0f}"
    assert any("over 3 seeds of each seed's mean return over 2 episodes of the deterministic" in n for n in table.notes)


def test_one_seed_shows_no_deviation(fill):
    table = tables.returns_table(arranged(fill({("bc", "hopper"): 800}, seeds=1)).at(1))
    assert entries(table, "BC")["Hopper"].text == "800"


def test_best_contestants_are_bold_and_references_never(fill):
    returns = {("bc", "hopper"): 500, ("gail", "hopper"): 800, ("ndi-ebm", "hopper"): 800, ("sac", "hopper"): 990}
    returns |= {("expert", "hopper"): 1000, ("random", "hopper"): 20}
    table = tables.returns_table(arranged(fill(returns)).at(1))
    bold = [row.label for section in table.sections for row in section for entry in row.entries if entry.bold]
    assert bold == ["GAIL (off-policy)", "NDI+EBM"]
    assert [[row.label for row in section if not row.quiet] for section in table.sections] == [
        ["Random"],
        ["BC", "GAIL (off-policy)", "NDI+EBM"],
        ["SAC (true reward)", "Expert"],
    ]


def test_order_is_the_papers_then_others_then_oracles():
    names = ["expert", "zeta", "sac", "ndi-ebm", "alpha", "ndi-made", "valuedice", "gail", "red", "bc", "random"]
    ordered = ["random", "bc", "red", "gail", "valuedice", "ndi-made", "ndi-ebm", "alpha", "zeta", "sac", "expert"]
    assert sorted(names, key=style.order) == ordered


def test_failed_seeds_are_told_and_left_out(fill, a_run):
    store = fill({("bc", "hopper"): 800, ("gail", "hopper"): 900}, seeds=5)
    store.write(*a_run("gail", seed=4, finals=(1e9,), status="diverged"))
    for seed in range(5):
        store.write(a_run("bc", "ant", seed=seed, status=["failed", "timeout"][seed % 2])[0], [])
    table = tables.returns_table(arranged(store).at(1))
    assert entries(table, "GAIL (off-policy)")["Hopper"].note == "4/5 seeds, 1 diverged"
    assert entries(table, "GAIL (off-policy)")["Hopper"].value == "850", "mean of 700, 800, 900, 1000"
    assert entries(table, "BC")["Ant"] == Entry("–", note="0/5 seeds, 3 failed, 2 timed out")
    assert entries(table, "GAIL (off-policy)")["Ant"] == Entry("–"), "never run is not a failure"


def test_demonstrations_that_were_not_the_same_are_told_and_not_averaged(fill):
    store = fill({("bc", "hopper"): 800, ("gail", "hopper"): 900})
    assert "the same for every method." in "".join(tables.returns_table(arranged(store).at(1)).notes)
    fill({("ndi-ebm", "hopper"): 900}, subsample=10)
    assert "not the same for every method." in "".join(tables.returns_table(arranged(store).at(1)).notes)


def test_runs_on_other_contents_of_a_dataset_are_rows_of_their_own(fill, a_run):
    store = fill({("bc", "hopper"): 800}, seeds=2)
    for seed in (2, 3):
        store.write(*a_run("bc", seed=seed, dataset_hash="other"))
    labels = [row.label for section in tables.returns_table(arranged(store).at(1)).sections for row in section]
    assert {"BC (dataset_hash=abc)", "BC (dataset_hash=other)"} <= set(labels)


def test_runs_that_ended_before_their_budget_count_and_are_told(fill, a_run):
    store = fill({("bc", "hopper"): 800, ("gail", "hopper"): 900}, seeds=5)
    run, rows = a_run("gail", seed=4)
    store.write({**run, "steps": run["budget"] - 1}, rows)
    note = entries(tables.returns_table(arranged(store).at(1)), "GAIL (off-policy)")["Hopper"].note
    assert note == "5/5 seeds, 1 ended before the budget"


def test_a_score_that_is_not_finite_does_not_count(fill, a_run):
    store = fill({("bc", "hopper"): 800})
    store.write(*a_run(seed=1, finals=(float("nan"), 1.0)))
    entry = entries(tables.returns_table(arranged(store).at(1)), "BC")["Hopper"]
    assert (entry.value, entry.note) == ("750", "1/2 seeds, 1 without a final score")


def test_only_the_final_evaluation_counts(fill):
    results = arranged(fill({("gail", "hopper"): 800}, steps=(0, 100, 200)))
    assert results.at(1).scores("gail", "hopper").tolist() == [750.0, 850.0]
    assert results.evaluations["episodes"].tolist() == [2] * (2 * 3)


def test_rows_of_references_come_from_runs_and_what_scores_are_normalised_by_from_the_task(fill):
    stored = {("bc", "hopper"): 800, ("bc", "ant"): 50, ("expert", "hopper"): 990, ("expert", "walker2d"): 70}
    results = arranged(fill(stored))
    table = tables.returns_table(results.at(1))
    assert entries(table, "Expert")["Hopper"].text == "990 ± 71"
    assert entries(table, "Expert")["Ant"].text == "–"
    random = entries(table, "Random")["Hopper"]
    assert random.value == "20"
    assert "comes with the task" in random.note
    assert results.reference("hopper", "expert") == 1000.0
    assert results.reference("hopper", "random") == 20.0
    assert results.reference("walker2d", "expert") == 70.0
    assert results.reference("ant", "expert") is None


def test_the_papers_numbers_stand_beside_ours_with_their_source(fill):
    table = tables.returns_table(arranged(fill({("bc", "hopper"): 800, ("bc", "ant"): 50})).at(1))
    labels = [(row.label, row.quiet) for row in table.sections[1]]
    assert labels == [("BC", False), ("NDI paper (unchecked)", True)]
    assert entries(table, "NDI paper (unchecked)", 1)["Hopper"].text == "1432 ± 382"
    assert entries(table, "NDI paper (unchecked)", 1)["Ant"].text == "1425 ± 812"
    for text in (to_markdown(table), to_latex(table)):
        assert MEMORY in text
    assert MEMORY in " ".join(table.notes)


def test_the_papers_numbers_stand_beside_one_demonstration_only(fill):
    results = arranged(fill({("bc", "hopper"): 800}, demos=4))
    assert results.demonstration_numbers == [4]
    assert "NDI paper (unchecked)" not in to_markdown(tables.returns_table(results.at(4)))
    assert tables.published_table(4) is None


def test_published_values_are_complete_and_sourced():
    table = tables.published_table(1)
    assert entries(table, "NDI+EBM, NDI paper (unchecked)")["Humanoid"].text == "5305 ± 555"
    assert entries(table, "IQ-Learn, IQ-Learn paper")["Ant"].text == "4362.9"
    assert any(MEMORY in note for note in table.notes)
    for paper in tables.papers():
        assert all(len(values) == len(paper.environments) for values in paper.rows.values())


def test_a_setting_that_younger_rows_alone_have_is_told_only_where_nothing_else_tells_them_apart(fill, a_run):
    store = fill({})
    younger = ['{"rate": 1, "floor": 0}', '{"rate": 2}', '{"rate": 3, "floor": 0}']
    for place, config in enumerate(younger):
        store.write(*a_run("ndi-ebm", run_id=f"a{place}", config=config))
    assert [v.label for v in arranged(store).variants] == [f"NDI+EBM (rate={rate})" for rate in (1, 2, 3)]
    store.write(*a_run("ndi-ebm", run_id="b", config='{"rate": 2, "floor": 0}'))
    assert "NDI+EBM (floor=none)" in [v.label for v in arranged(store).variants]


def test_settings_of_one_method_are_rows_of_their_own(fill, a_run):
    store = fill({("bc", "hopper"): 800})
    for weight in ("0.005", "0.1", "10.0"):
        for seed in range(2):
            run_id = f"swept.{weight}.{seed}"
            store.write(*a_run("ndi-ebm", seed=seed, run_id=run_id, config=f'{{"density": {{"weight": {weight}}}}}'))
    results = arranged(store)
    labels = [variant.label for variant in results.at(1).variants]
    assert labels == ["BC", *(f"NDI+EBM (density.weight={w})" for w in ("0.005", "0.1", "10.0"))]
    table = tables.returns_table(results.at(1))
    assert [row.label for row in table.sections[1]].count("NDI paper (unchecked)") == 2, (
        "once for BC, once for the three"
    )


def test_switches_tried_one_at_a_time_are_told_by_themselves(fill, a_run):
    store = fill({("bc", "hopper"): 800})
    settings = [(0.3, "true"), (0.1, "true"), (0.3, "false")]
    for number, (weight, annealed) in enumerate(settings):
        config = f'{{"reward": {{"weight": {weight}, "annealed": {annealed}}}}}'
        store.write(*a_run("ndi-ebm", run_id=f"switch.{number}", config=config))
    labels = [variant.label for variant in arranged(store).at(1).variants]
    assert labels == ["BC", "NDI+EBM", "NDI+EBM (reward.annealed=false)", "NDI+EBM (reward.weight=0.1)"]
    store.write(*a_run("ndi-ebm", run_id="older", config='{"reward": {"annealed": true}}'))
    labels = [variant.label for variant in arranged(store).at(1).variants]
    assert "NDI+EBM (reward.weight=none)" in labels, "of a time before there was such a setting, not the common one"
    config = '{"reward": {"weight": 10, "annealed": 1}}'
    store.write(*a_run("ndi-ebm", run_id="switch.several", config=config))
    labels = [variant.label for variant in arranged(store).at(1).variants]
    assert "NDI+EBM (reward.annealed=1, reward.weight=10)" in labels
    assert "NDI+EBM" in labels
    config = '{"reward": {"weight": 0.1, "annealed": false}}'
    store.write(*a_run("ndi-ebm", run_id="both", config=config))
    labels = [variant.label for variant in arranged(store).at(1).variants]
    assert "NDI+EBM (reward.weight=0.1, reward.annealed=false)" in labels, "two weights are equally common"


def test_budgets_and_datasets_are_never_averaged(fill, a_run):
    store = fill({("gail", "hopper"): 800}, seeds=1)
    store.write(*a_run("gail", run_id="longer", budget=2000))
    labels = [variant.label for variant in arranged(store).at(1).variants]
    assert labels == [f"GAIL (off-policy) (budget={b})" for b in (1000, 2000)]


def test_the_newer_of_two_equal_runs_counts(fill, a_run):
    store = fill({("bc", "hopper"): 800}, seeds=1)
    store.write(*a_run(run_id="again", finals=(300.0,), started="2027-01-01T00:00:00Z"))
    store.write(*a_run(run_id="and-failed", status="failed", started="2028-01-01T00:00:00Z"))
    results = arranged(store)
    assert results.at(1).scores("bc", "hopper").tolist() == [300.0]
    assert results.superseded == ("and-failed", "bc.hopper.1.0")


def test_settings_that_differ_between_tasks_are_noted(fill, a_run):
    store = fill({("bc", "hopper"): 800})
    store.write(*a_run("bc", "ant", config='{"rate": 0.0003, "density": {"noise": 0.5}}'))
    notes = tables.returns_table(arranged(store).at(1)).notes
    assert "BC: density.noise 0.1 (Hopper), 0.5 (Ant)." in notes


def test_label_explanations_stand_below(fill):
    notes = tables.returns_table(arranged(fill({("gail", "hopper"): 800})).at(1)).notes
    assert any(note.startswith("GAIL (off-policy): ") for note in notes)
    assert not any(note.startswith("SAC (true reward): ") for note in notes)
    assert "Environment steps per run: 1,000." in notes
    assert "Profile: test." in notes
    assert "Demonstrations: 1 whole episode per seed from ndi/hopper/expert-v0, the same for every method." in notes


def test_normalised_aggregates_and_their_interval(fill):
    returns = {("bc", "hopper"): 200, ("gail", "hopper"): 800, ("bc", "ant"): 400, ("gail", "ant"): 600}
    table = tables.normalized_table(arranged(fill(returns, seeds=2)).at(1))
    row = entries(table, "GAIL (off-policy)")
    assert (row["Hopper"].text, row["Ant"].text) == ("0.80", "0.60")
    assert row["IQM [95%]"].text == "0.70 [0.55, 0.85]"  # 2 degrees of freedom
    assert row["Gap"].text == "0.30"
    assert all(row[column].bold for column in ("Hopper", "Ant", "IQM [95%]", "Gap"))
    assert [entries(table, "BC")[column].text for column in ("Success", "Failure")] == ["0/2", "1/2"]


def test_aggregates_over_fewer_tasks_say_so_and_do_not_win(fill):
    returns = {("bc", "hopper"): 200, ("bc", "ant"): 400, ("gail", "hopper"): 900, ("ndi-ebm", "hopper"): 300}
    returns |= {("ndi-ebm", "ant"): 500}
    table = tables.normalized_table(arranged(fill(returns)).at(1))
    lonely = entries(table, "GAIL (off-policy)")["IQM [95%]"]
    assert (lonely.note, lonely.bold) == ("over 1 of 2 tasks", False)
    assert entries(table, "GAIL (off-policy)")["Success"].text == "1/1"  # 0.9 is enough
    assert entries(table, "NDI+EBM")["IQM [95%]"].bold


def test_an_entry_with_another_budget_than_most_methods_says_its_own(fill, a_run):
    store = fill({("bc", "hopper"): 200, ("gail", "hopper"): 800, ("ndi-ebm", "hopper"): 900}, seeds=2)
    for seed in (0, 1):
        store.write(*a_run("valuedice", "hopper", seed=seed, budget=250, steps=(0, 250)))
    for table in (tables.returns_table, tables.normalized_table):
        found = table(arranged(store).at(1))
        assert entries(found, "valuedice")["Hopper"].note == "250 steps"
        assert {entries(found, label)["Hopper"].note for label in ("BC", "GAIL (off-policy)", "NDI+EBM")} == {""}


def test_tasks_without_references_have_no_normalised_score(fill, a_run, monkeypatch):
    store = fill({("bc", "hopper"): 200, ("gail", "hopper"): 900})
    for method in ("bc", "gail"):
        run, evaluations = a_run(method, "ant")
        store.write(run, [row | {"normalized": float("nan")} for row in evaluations])
    unmeasured = SimpleNamespace(random_return=float("nan"), expert_return=float("nan"))
    monkeypatch.setattr("benchmarks.reporting.results.TASKS", {"ant": unmeasured})
    results = arranged(store)
    row = entries(tables.normalized_table(results.at(1)), "GAIL (off-policy)")
    assert (row["Ant"].text, row["IQM [95%]"].value, row["IQM [95%]"].bold) == ("–", "0.90", True)
    assert results.reference("ant", "expert") is None
    assert entries(tables.returns_table(results.at(1)), "GAIL (off-policy)")["Ant"].value == "1000"


def test_small_returns_keep_decimals(fill):
    table = tables.returns_table(arranged(fill({("bc", "reach"): 3.14159}, seeds=1)).at(1))
    assert entries(table, "BC")["reach"].text == "3.14"


def test_methods_without_demonstrations_stand_in_every_table(fill):
    store = fill({("bc", "hopper"): 300, ("sac", "hopper"): 900})
    fill({("bc", "hopper"): 600}, demos=4)
    results = arranged(store)
    assert results.demonstration_numbers == [1, 4]
    for demos, mean in ((1, "300"), (4, "600")):
        table = tables.returns_table(results.at(demos))
        assert entries(table, "BC")["Hopper"].value == mean
        assert entries(table, "SAC (true reward)")["Hopper"].value == "900"


def test_headings_tell_tasks_of_one_environment_apart(fill, a_run):
    store = fill({("bc", "hopper"): 300})
    store.write(*a_run(task="hopper-easy", env_id="Hopper-v5"))
    results = arranged(store)
    assert [results.title(task) for task in results.tasks] == ["hopper", "hopper-easy"]
    assert family("seals/Ant-v1") == "Ant"


def test_nested_settings_are_flattened():
    assert settings('{"a": {"b": [1, 2], "c": "x"}, "d": 0.1}') == {"a.b": "[1, 2]", "a.c": "x", "d": "0.1"}


def test_settings_that_are_not_the_methods_own_are_told(tmp_path, a_run):
    store = Store(tmp_path)
    for method, changed in (("bc", '{"hidden": [8]}'), ("gail", '{"hidden": [8]}'), ("ndi-ebm", "{}")):
        store.write(*a_run(method, changes=changed))
    notes = tables.returns_table(arranged(store).at(1)).notes
    assert "Not the methods' defaults at that commit: BC, GAIL (off-policy): hidden [8]." in notes


def test_settings_by_task_are_told_and_those_of_the_user_named_as_such(tmp_path, a_run):
    store = Store(tmp_path)
    for task, hidden, changed in (("hopper", [8], {}), ("walker2d", [16], {"hidden": [16]})):
        config = json.dumps({"hidden": hidden, "rate": 1})
        store.write(*a_run("bc", task=task, config=config, changes=json.dumps(changed)))
    told = [note for note in tables.returns_table(arranged(store).at(1)).notes if "hidden" in note]
    assert told == [
        "BC: hidden [8] (Hopper), [16] (walker2d).",
        "Not the methods' defaults at that commit: BC: hidden [16].",
    ]


def test_imitation_is_kl_over_that_of_random_actions(fill, a_run):
    """Two evaluation episodes with a KL of 1.5 and 3 beside 10 of random actions: 0.225."""
    store = fill({("bc", "hopper"): 400, ("random", "hopper"): 20, ("expert", "hopper"): 990}, seeds=2)
    for seed in range(2):
        run, rows = a_run("gail", seed=seed)
        store.write(run, [row | {"kl": 1.0 + seed} for row in rows])
    board = arranged(store).at(1)
    table = tables.imitation_table(board)
    shown = {row.label: row.entries[0].text for row in table.sections[0] if row.label in ("BC", "GAIL (off-policy)")}
    assert shown == {"BC": "0.23 ± 0.00", "GAIL (off-policy)": "0.15 ± 0.07"}
    assert entries(table, "GAIL (off-policy)")["Hopper"].bold
    assert all(row.label != "Expert" for row in table.sections[0])


def test_no_table_of_imitation_where_no_kl_is_known(tmp_path, a_run):
    store = Store(tmp_path)
    run, rows = a_run("bc")
    store.write(run, [row | {"kl": None, "kl_uniform": None} for row in rows])
    assert tables.imitation_table(arranged(store).at(1)) is None


def test_totals_are_over_the_tasks_with_the_most_results(fill):
    """BC alone was run on Ant, and GAIL only there; two methods on both of the others."""
    ours = {(method, task): 500 for method in ("bc", "ndi-ebm") for task in ("hopper", "walker2d")}
    board = arranged(fill(ours | {("bc", "ant"): 100, ("random", "humanoid"): 0, ("gail", "ant"): 900})).at(1)
    assert board.shared_tasks == ["hopper", "walker2d"]
    table = tables.normalized_table(board)
    assert entries(table, "BC")["IQM [95%]"].value == "0.50"
    assert entries(table, "NDI+EBM")["IQM [95%]"].bold
    assert entries(table, "GAIL (off-policy)")["IQM [95%]"].text == "–"
    assert any("over all seeds of Hopper and walker2d, on which the most methods were run" in n for n in table.notes)


def test_seeds_that_never_arrive_are_no_fast_ones(fill, a_run):
    """Returns grow linearly over 1,000 steps; 90 % of the way is a normalised return of 0.9."""
    store = fill({})
    for method, finals in (("gail", (1800, 900, 901, 100, 100)), ("ndi-ebm", (1800, 100, 100, 100)), ("sac", (500,))):
        for seed, value in enumerate(finals):
            store.write(*a_run(method, seed=seed, finals=(value, value)))
    store.write(a_run("ndi-ebm", seed=4, status="failed")[0], [])
    (section,) = effort.effort_table(arranged(store).at(1)).sections
    found = {row.label: (row.entries[0].value, row.entries[0].spread) for row in section}
    assert found == {
        "GAIL (off-policy)": ("30 s", "1,000 steps, 3/5"),  # two lanes in 60 s
        "NDI+EBM": ("not reached", "1/5"),
        "SAC (true reward)": ("not reached", "0/1"),
    }


def test_the_area_is_the_mean_over_all_evaluations(fill, a_run):
    """Returns grow linearly from 0, so that a final return of 1.8 makes an area of 0.9."""
    store = fill({("bc", "hopper"): 500})
    for seed, final in enumerate((1800, 200)):
        store.write(*a_run("gail", seed=seed, finals=(final, final)))
    ((row,),) = tables.area_table(arranged(store).at(1)).sections
    half = stats.t.ppf(0.975, df=1) * np.std([0.9, 0.1], ddof=1) / 2**0.5
    assert (row.label, row.entries[0].text) == ("GAIL (off-policy)", f"0.50 [{0.5 - half:.2f}, {0.5 + half:.2f}]")
    assert tables.area_table(arranged(fill({("bc", "ant"): 500})).at(4)) is None


def test_what_is_unusual_on_a_task_stands_beside_the_totals(fill):
    store = fill({("bc", task): 500 for task in ("hopper", "ant")}, seeds=3)
    fill({("gail", "hopper"): 800}, seeds=3)
    fill({("gail", "ant"): 800}, seeds=2)
    table = tables.normalized_table(arranged(store).at(1))
    assert [entries(table, "GAIL (off-policy)")[name].note for name in ("IQM [95%]", "Gap")] == ["2 seeds"] * 2
    assert entries(table, "BC")["Gap"].note == ""


def test_a_distance_to_the_expert_that_is_not_defined_is_told(fill, a_run):
    store = fill({("bc", "hopper"): 500}, seeds=3)
    run, rows = a_run("bc", seed=3)
    store.write(run, [row | {"kl": float("nan")} for row in rows])
    entry = entries(tables.imitation_table(arranged(store).at(1)), "BC")["Hopper"]
    assert (entry.value, entry.note) == ("0.23", "undefined in 1 of 4")
