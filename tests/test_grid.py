"""From profiles to runs and cells."""

import pytest

from benchmarks.kit.errors import UserError
from benchmarks.plan import grid, recall
from benchmarks.plan.profiles import Profile
from benchmarks.tasks import TASKS


def expand(content="0123", **fields):
    base = {"name": "test", "tasks": ("hopper",), "methods": ("toy_methods:WALKER",), "seeds": (0, 1), "steps": 100}
    return grid.expand(Profile(**base | fields), lambda task, choice: content, lambda task: None)


def test_a_run_has_a_readable_id_that_covers_what_its_result_depends_on():
    base = expand(methods=("bc",))[0]
    assert base.run_id.startswith("hopper-bc-d1-s0-")
    assert expand(methods=("bc",))[0].run_id == base.run_id
    assert expand(methods=("bc",), name="other")[0].run_id == base.run_id  # the profile is no part of it
    others = [
        expand(methods=("bc",), content="4567"),
        expand(methods=("bc",), seeds=(1,)),
        expand(methods=("bc",), demos=(2,)),
        expand(methods=("bc",), subsample=20),
        expand(methods=("bc",), dataset="hub"),
        expand(methods=("bc",), eval_episodes=3),
        expand(methods=("bc",), overrides={"bc": {"fit.steps": 3}}),
        expand(methods=("bc",), tasks=("inverted-pendulum",)),
    ]
    assert len({base.run_id, *(runs[0].run_id for runs in others)}) == len(others) + 1
    online = expand()[0]
    assert online.run_id not in {expand(steps=101)[0].run_id, expand(evaluations=3)[0].run_id}


def test_what_a_method_does_not_use_is_no_part_of_its_identity():
    """No demonstrations: one run whatever their number. Offline: the same run whatever the budget."""
    runs = expand(demos=(1, 5), subsample=3)
    assert [(run.demos, run.subsample, run.dataset_id, run.seed) for run in runs] == [(0, 1, None, 0), (0, 1, None, 1)]
    assert expand(methods=("bc",), steps=5)[0].run_id == expand(methods=("bc",), evaluations=3)[0].run_id
    assert {run.demos for run in expand(methods=("bc",), demos=(1, 5))} == {1, 5}


def test_budgets_come_from_the_profile_or_the_task():
    tasks = ("hopper", "inverted-pendulum")
    budgets = lambda **fields: [run.budget for run in expand(tasks=tasks, seeds=(0,), **fields)]  # noqa: E731
    assert budgets() == [100, 100]
    assert budgets(steps=None) == [TASKS[name].budget for name in tasks]
    assert budgets(steps={"hopper": 7}) == [7, TASKS["inverted-pendulum"].budget]


def test_settings_are_the_methods_then_the_tasks_then_the_users():
    run = expand()[0]
    assert (run.config.rate, run.changes) == (0.5, "{}")  # per_task of Hopper: its own
    assert expand(tasks=("inverted-pendulum",))[0].config.rate == 0.1
    assert expand(overrides={"walker": {"rate": 2}})[0].config.rate == 2.0


def test_unknown_names_get_suggestions():
    with pytest.raises(UserError, match=r"overrides for unknown method walkr: did you mean walker\?"):
        expand(overrides={"walkr": {"rate": 2}})
    with pytest.raises(UserError, match=r"steps for unknown task hoper: did you mean hopper\?"):
        expand(steps={"hoper": 3})
    with pytest.raises(UserError, match=r"method walker has no setting rat: did you mean rate\?"):
        expand(overrides={"walker": {"rat": 2}})
    with pytest.raises(UserError, match="no dataset"):
        expand(methods=("bc",), dataset="best")


def test_seeds_and_swept_settings_become_lanes_of_one_cell():
    runs = expand(sweep={"walker": {"rate": [0, 0.5]}}, methods=("toy_methods:WALKER", "toy_methods:SINGLE", "bc"))
    by_method = {}
    for cell in grid.cells(runs):
        by_method.setdefault(cell.first.method, []).append(cell)
    (walker,) = by_method["walker"]
    assert walker.seeds == (0, 1, 0, 1)
    assert walker.config.rate == (0.0, 0.0, 0.5, 0.5)
    assert [run.config.rate for run in walker.runs] == [0.0, 0.0, 0.5, 0.5]
    assert [cell.seeds for cell in by_method["single"]] == [(0,), (1,)]  # it cannot train lanes together
    assert by_method["bc"][0].config == by_method["bc"][0].first.config


def test_draws_of_demonstrations_are_crossed_with_seeds_in_cells_of_their_own():
    """Where the draw is the seed's own the run is the usual one; who uses no demonstrations has no draws."""
    runs = expand(methods=("bc",), draws=(0, 1), seeds=(0, 1, 2))
    assert [(run.draw, run.seed) for run in runs] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    usual = {run.run_id: run.seed for run in expand(methods=("bc",), seeds=(0, 1, 2))}
    assert [usual.get(run.run_id) for run in runs] == [0, None, None, None, 1, None]
    assert len({run.run_id for run in runs}) == 6
    assert runs[1].run_id.startswith("hopper-bc-d1-draw0-s1-")
    made = grid.cells(runs)
    assert [[run.draw for run in cell.runs] for cell in made] == [[0, 0, 0], [1, 1, 1]]
    assert [cell.name for cell in made] == ["hopper-bc-d1-draw0", "hopper-bc-d1-draw1"]
    assert len(grid.cells(expand(methods=("bc",), seeds=(0, 1, 2)))) == 1
    assert [run.run_id for run in expand(draws=(0, 1))] == [run.run_id for run in expand()]


def test_settings_that_are_not_swept_in_lanes_get_cells_of_their_own():
    cells = grid.cells(expand(sweep={"walker": {"at": [1, 2]}}))
    assert sorted(cell.config.at for cell in cells) == [1, 2]


def test_lanes_can_be_capped():
    cells = grid.cells(expand(seeds=tuple(range(5))), lanes=2)
    assert [cell.seeds for cell in cells] == [(0, 1), (2, 3), (4,)]
    assert len({cell.cell_id for cell in cells}) == 3


def test_remembered_runs_are_the_same_runs_in_the_same_cells(monkeypatch, memory):
    methods = ("toy_methods:WALKER", "toy_methods:SINGLE", "bc", "sac", "gail")
    profile = Profile(
        name="test", tasks=("hopper", "ant"), methods=methods, seeds=(0, 1), sweep={"walker": {"rate": [0, 0.5]}}
    )
    content, expert = (lambda task, choice: f"content of {task.name}"), (lambda name: f"expert of {name}")
    real = grid.expand(profile, content, expert)
    first = recall.expand(profile, content, expert)
    monkeypatch.setattr(grid, "expand", lambda *_: pytest.fail("methods were asked again"))
    again = recall.expand(profile, content, expert)
    for runs in (first, again):
        assert [run.run_id for run in runs] == [run.run_id for run in real]
        for one, other in zip(grid.cells(runs), grid.cells(real), strict=True):
            assert (one.cell_id, one.seconds) == (other.cell_id, other.seconds)
            assert [run.absorbing for run in one.runs] == [run.absorbing for run in other.runs]
    with pytest.raises(pytest.fail.Exception):
        recall.expand(profile, lambda task, choice: "other content", expert)


def test_stored_runs_are_skipped_unless_told_otherwise():
    runs = expand(seeds=(0, 1, 2, 3))
    stored = {runs[0].run_id: "completed", runs[1].run_id: "failed", runs[2].run_id: "timeout"}.get
    assert grid.pending(runs, stored) == ([runs[3]], {"completed": 1, "failed": 1, "timeout": 1})
    assert grid.pending(runs, stored, retry=["failed"])[0] == [runs[1], runs[3]]
    assert grid.pending(runs, stored, rerun=True) == (runs, {})


def test_the_estimate_is_updates_over_speed_and_cells_come_longest_first():
    cells = grid.cells(expand(tasks=("hopper", "ant"), steps={"hopper": 800, "ant": 8000}))
    assert [cell.first.task.name for cell in cells] == ["ant", "hopper"]
    assert cells[1].seconds - grid.START_SECONDS == pytest.approx(800 * 2 / grid.UPDATES_PER_SECOND)


def test_the_estimate_knows_the_density_the_clone_and_the_size_of_the_task():
    """In steps of plain SAC: the task's factor times the steps and what comes before them."""

    def seconds(**settings):
        plain = {"density.fit.steps": 1000, "sac.cloned": 0, "sac.compile": False, "sac.precision": "float32"}
        (cell,) = grid.cells(expand(methods=("ndi-ebm",), seeds=(0,), overrides={"ndi-ebm": plain | settings}))
        return cell.seconds - grid.START_SECONDS

    more = (seconds(**{"density.fit.steps": 2000}) - seconds()) * grid.UPDATES_PER_SECOND
    assert more == pytest.approx(1000 * 1.1 * (0.4 + 0.6 / 2)), "batches of 64"
    assert (seconds(**{"sac.cloned": 1000}) - seconds()) * grid.UPDATES_PER_SECOND == pytest.approx(200)
    hopper, humanoid = (
        grid.cells(expand(tasks=(name,), methods=("sac",), steps=4000))[0].seconds - grid.START_SECONDS
        for name in ("hopper", "humanoid")
    )
    assert humanoid / hopper == pytest.approx(TASKS["humanoid"].cost) != 1


def test_the_estimate_of_an_offline_method_is_its_training():
    short, long = (grid.cells(expand(methods=("bc",), overrides={"bc": {"fit.steps": steps}}))[0] for steps in (1, 2))
    assert long.seconds - grid.START_SECONDS == pytest.approx(2 * (short.seconds - grid.START_SECONDS)) != 0


def test_makespan():
    assert grid.makespan([4, 3, 3, 2], 2) == 6  # 4 + 2 beside 3 + 3
    assert grid.makespan([4, 3], 1) == grid.makespan([4, 3], 0) == 7
    assert grid.makespan([], 2) == 0
