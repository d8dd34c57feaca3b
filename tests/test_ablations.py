import json
from itertools import product

import pytest
from rich.console import Console
from scipy import stats

from benchmarks.reporting import ablations, tables
from benchmarks.reporting.building import build
from benchmarks.reporting.results import Results
from benchmarks.store.store import Store

VALUES = (0.0, 0.001, 0.1)


@pytest.fixture
def swept(fill, a_run):
    """NDI at three values of lambda_f with three seeds: the larger, the worse and the farther from the expert."""
    store = fill({("bc", "hopper"): 300}, seeds=3)
    for value in VALUES:
        for seed in range(3):
            run, rows = a_run(
                "ndi-made",
                seed=seed,
                label="NDI+MADE",
                finals=(900 - 1000 * value + 10 * seed,) * 2,
                config=json.dumps({"reward": {"lambda_f": value, "scale": 3.0}}),
            )
            run_id = f"{run['run_id']}.{value}"
            rows = [row | {"run_id": run_id, "kl": 1.0 + 10 * value + 0.1 * seed} for row in rows]
            store.write(run | {"run_id": run_id}, rows)
    return store


def arranged(store):
    return Results.of(*store.averages())


def test_an_ablation_is_found_where_one_setting_differs(swept):
    results = arranged(swept)
    (found,) = ablations.ablations(results.at(1))
    assert (found.label, found.setting) == ("NDI+MADE", "reward.lambda_f")
    assert [float(value) for value in found.values] == list(VALUES)
    assert found.name == "ablation-ndi-made-reward-lambda_f-1-demonstration"


def test_draws_of_demonstrations_tell_how_much_of_the_spread_is_theirs(fill, a_run):
    store = fill({("random", "hopper"): 20}, seeds=3)
    for draw in range(4):  # the last repeats an episode
        for seed in range(3):
            finals = (500 + 100 * min(draw, 2) + seed,) * 2
            run, rows = a_run("bc", seed=seed, draw=draw, finals=finals, episode_ids=[min(draw, 2)])
            run_id = f"{run['run_id']}.{draw}"
            store.write(run | {"run_id": run_id}, [row | {"run_id": run_id} for row in rows])
    for method, task in (("bc", "ant"), ("gail", "hopper")):  # as usual: each seed has its own draw
        store.write(*a_run(method, task))
    board = arranged(store).at(1)
    assert {v.name for v in board.variants if len(board.scores(v.name, "ant"))} == {"bc"}
    (found,) = ablations.ablations(board)
    assert (found.label, found.setting) == ("BC", "draw")
    (told,) = [note for note in ablations.ablation_table(found).notes if "variance" in note]
    assert "Hopper 100% [100%, 100%], 3 by 3." in told
    (told,) = [note for note in tables.returns_table(board).notes if note.startswith("Demonstrations")]
    assert told.startswith("Demonstrations: 1 whole episode per draw from")
    assert told.endswith("not the same for every method.")


def test_a_run_that_does_not_count_is_no_part_of_the_spread(fill, a_run):
    store = fill({})
    for draw, seed in product(range(2), range(3)):
        spoilt = {"status": "failed"} if seed == 2 else {}
        run, rows = a_run("bc", seed=seed, draw=draw, finals=(500 + 100 * draw + 90_000 * (seed == 2),) * 2, **spoilt)
        run_id = f"{run['run_id']}.{draw}"
        store.write(run | {"run_id": run_id, "episode_ids": [draw]}, [row | {"run_id": run_id} for row in rows])
    (found,) = ablations.ablations(arranged(store).at(1))
    (told,) = [note for note in ablations.ablation_table(found).notes if "variance" in note]
    assert "Hopper 100% [100%, 100%], 2 by 2." in told


def test_a_methods_own_setting_may_have_the_name_of_a_column(tmp_path, a_run):
    store = Store(tmp_path)
    for kept, seed in product(range(2), range(2)):
        run, rows = a_run("bc", seed=seed, config=json.dumps({"subsample": kept}))
        store.write(run | {"run_id": f"bc.{kept}.{seed}"}, [row | {"run_id": f"bc.{kept}.{seed}"} for row in rows])
    results = arranged(store)
    assert [variant.name for variant in results.variants] == ["bc[config.subsample=0]", "bc[config.subsample=1]"]
    assert results.superseded == ()


def test_a_single_draw_is_named(tmp_path, a_run):
    store = Store(tmp_path)
    for seed in range(2):
        store.write(*a_run("bc", seed=seed, draw=3))
    assert "per draw, 3 for all seeds" in tables.returns_table(arranged(store).at(1)).notes[1]


def test_two_differing_settings_are_no_ablation(swept, a_run):
    run, rows = a_run("ndi-made", config=json.dumps({"reward": {"lambda_f": 0.0, "scale": 1.0}}))
    swept.write(run | {"run_id": "x"}, [row | {"run_id": "x"} for row in rows])
    assert ablations.ablations(arranged(swept).at(1)) == []


def test_table_has_return_and_imitation_with_intervals(swept):
    results = arranged(swept)
    (found,) = ablations.ablations(results.at(1))
    table = ablations.ablation_table(found)
    assert list(table.header) == ["reward.lambda_f", "Hopper return", "Hopper KL / KL random"]
    worst = table.sections[0][-1]
    assert float(worst.entries[0].value) == pytest.approx(810)
    assert float(worst.entries[1].value) == pytest.approx(0.21, abs=1e-3)  # (1 + 1 + mean of 0, 0.1, 0.2) / 10
    low, high = json.loads(worst.entries[0].spread)
    expected = stats.ttest_1samp([800.0, 810.0, 820.0], 0).confidence_interval()
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1)


def test_figure_shows_every_seed_and_the_expert(swept):
    results = arranged(swept)
    (found,) = ablations.ablations(results.at(1))
    left, right = ablations.ablation_figure(found).axes
    dots = [line for line in left.lines if line.get_marker() == "."]
    assert sorted(dots[0].get_ydata()) == pytest.approx([900, 910, 920])
    assert any(set(line.get_ydata()) == {1000.0} for line in left.lines)
    assert [label.get_text() for label in right.get_xticklabels()] == list(found.values)


def test_report_holds_it_and_removes_a_stale_one(swept, tmp_path):
    build(tmp_path, Console(quiet=True))
    page = (tmp_path / "README.md").read_text()
    name = "ablation-ndi-made-reward-lambda_f-1-demonstration"
    assert f"figures/{name}.svg" in page
    assert "NDI+MADE: reward.lambda_f" in page
    for file in (tmp_path / "runs").glob("ndi-made*0.0*"):
        file.unlink()
    for file in (tmp_path / "runs").glob("ndi-made*.0.1.parquet"):
        file.unlink()
    build(tmp_path, Console(quiet=True))
    assert not list((tmp_path / "figures").glob("ablation*"))


def test_kl_that_is_unknown_leaves_the_cell_empty(swept, a_run):
    for value in (0.5,):
        run, rows = a_run("ndi-made", config=json.dumps({"reward": {"lambda_f": value, "scale": 3.0}}))
        swept.write(run | {"run_id": "x"}, [row | {"run_id": "x", "kl": None, "kl_uniform": None} for row in rows])
    results = arranged(swept)
    (found,) = ablations.ablations(results.at(1))
    assert ablations.ablation_table(found).sections[0][-1].entries[1].value == "–"
    ablations.ablation_figure(found)
