"""One cell at a time, in this process: schedules, endings, non-finite values, timeouts, exact resuming."""

import errno
import json
import os
import shutil
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import gymnasium as gym
import numpy as np
import pytest
import torch
import toy_methods
from toy_methods import after

from benchmarks import provenance
from benchmarks.instrument.evaluation import Evaluator
from benchmarks.kit import errors
from benchmarks.kit.demonstrations import Demonstrations
from benchmarks.kit.errors import in_one_line
from benchmarks.plan import grid
from benchmarks.run import runner, saving, training
from benchmarks.run.checkpoint import Checkpoint, CheckpointWarning
from benchmarks.run.record import Pulse
from benchmarks.run.saving import Saves
from benchmarks.run.settings import Settings
from benchmarks.store.store import Store
from benchmarks.tasks import TASKS

BUDGET, AT = 40, 15


def a_cell(methods="toy_methods:WALKER", evaluations=4, **changes):
    (cell,) = toy_methods.cells(methods, steps=BUDGET, evaluations=evaluations, **changes)
    return cell


def curves(folder):
    """Every stored evaluation, without what may differ between equal runs of different identity."""
    columns = ["seed", "step", "update", "episode", "eval_seed", "return", "length", "normalized", "final"]
    return Store(folder).evaluations()[columns]


def test_a_completed_cell_stores_one_run_per_lane_and_one_row_per_episode(tmp_path):
    cell, pulses = a_cell(), []
    endings = runner.run_cell(cell, Settings(tmp_path), pulses.append)
    assert {ending.status for ending in endings.values()} == {"completed"}
    runs, rows = Store(tmp_path).runs(), Store(tmp_path).evaluations()
    assert sorted(runs["run_id"]) == sorted(run.run_id for run in cell.runs) == sorted(endings)
    assert (runs["steps"] == BUDGET).all()
    assert (runs["updates"] == BUDGET).all()
    assert runs["error"].isna().all()
    assert (runs["lanes"] == 2).all()
    assert (runs["profile"] == "test").all()
    assert len(rows) == 2 * 4 * 2
    assert sorted(rows["step"].unique()) == [10, 20, 30, 40]
    assert (rows["final"] == (rows["step"] == BUDGET)).all()
    assert sorted(rows["eval_seed"].unique()) == list(Evaluator(cell.first.task, 2).seeds)
    np.testing.assert_allclose(rows["normalized"], TASKS["inverted-pendulum"].normalize(rows["return"]))
    assert (rows["length"] - rows["return"]).isin([0, 1]).all()  # 1 per step, but none for the fall
    assert pulses[-1] == Pulse(BUDGET, BUDGET, rows[rows["final"]]["return"].mean())
    assert not (tmp_path / "checkpoints").exists()


def test_evaluation_neither_counts_as_training_nor_changes_it(tmp_path, monkeypatch):
    evaluate = Evaluator.evaluate
    monkeypatch.setattr(Evaluator, "evaluate", lambda *args: (time.sleep(0.3), torch.rand(3), evaluate(*args))[2])
    runner.run_cell(a_cell(), Settings(tmp_path / "often"))
    runner.run_cell(a_cell(evaluations=1), Settings(tmp_path / "once"))
    run = Store(tmp_path / "often").runs().iloc[0]
    assert run["eval_seconds"] > 4 * 0.3
    assert run["train_seconds"] < run["eval_seconds"]
    often, once = curves(tmp_path / "often"), curves(tmp_path / "once")
    assert often[often["final"]].reset_index(drop=True).equals(once)


def test_a_lane_trains_as_if_it_were_alone(tmp_path):
    runner.run_cell(a_cell(), Settings(tmp_path / "together"))
    runner.run_cell(a_cell(seeds=(1,)), Settings(tmp_path / "alone"))
    together = curves(tmp_path / "together")
    assert together[together["seed"] == 1].reset_index(drop=True).equals(curves(tmp_path / "alone"))


def test_swept_lanes_get_their_own_values(tmp_path):
    cell = a_cell(seeds=(0,))
    lanes = tuple(replace(cell.first, config=replace(cell.first.config, rate=rate)) for rate in (0.0, 0.1))
    swept = grid.Cell(lanes, replace(cell.config, rate=(0.0, 0.1)), 1.0)
    runner.run_cell(swept, Settings(tmp_path / "swept"))
    runner.run_cell(cell, Settings(tmp_path / "alone"))
    rows = Store(tmp_path / "swept").evaluations()
    same = rows[rows["run_id"] == lanes[1].run_id]["return"].tolist()
    assert same == curves(tmp_path / "alone")["return"].tolist()


# ---------------------------------------------------------------------------------------------------------- resuming


@pytest.mark.parametrize("calls", [3, 10, 25])
def test_an_interrupted_cell_goes_on_bit_for_bit(tmp_path, calls):
    cell = a_cell()
    runner.run_cell(cell, Settings(tmp_path / "straight"))
    settings = Settings(tmp_path / "broken")
    assert runner.run_cell(cell, settings, stop=after(calls)) is None
    assert [path.name for path in (tmp_path / "broken" / "checkpoints").iterdir()] == [f"{cell.cell_id}.pt"]
    assert Store(settings.folder).runs().empty
    assert runner.run_cell(cell, settings, stop=after(5)) is None
    pulses = []
    runner.run_cell(cell, settings, pulses.append)
    assert pulses[0].steps > calls
    assert curves(settings.folder).equals(curves(tmp_path / "straight"))
    assert not (settings.folder / "checkpoints").exists()


def test_begun_anew_a_cell_forgets_its_checkpoint(tmp_path):
    cell, settings = a_cell(), Settings(tmp_path)
    assert runner.run_cell(cell, settings, stop=after(20)) is None
    pulses = []
    runner.run_cell(cell, replace(settings, anew=True), pulses.append)
    assert pulses[0].steps < 20
    assert not (tmp_path / "checkpoints").exists()


def test_checkpoints_are_written_on_a_clock(tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(Saves, "save", lambda saves, *parts: saved.append(saves.record.steps))
    monkeypatch.setattr(saving, "SHARE", float("inf"))  # a busy machine makes any save a long one
    runner.run_cell(a_cell(), Settings(tmp_path, checkpoint_minutes=0))
    assert saved == list(range(1, BUDGET))  # the last step needs none


def test_a_damaged_checkpoint_or_one_of_other_runs_is_ignored_with_a_warning(tmp_path):
    cell, other = a_cell(), a_cell(seeds=(2,))
    assert runner.run_cell(other, Settings(tmp_path), stop=after(3)) is None
    folder = tmp_path / "checkpoints"
    path = folder / f"{cell.cell_id}.pt"
    path.write_bytes((folder / f"{other.cell_id}.pt").read_bytes())
    with pytest.warns(CheckpointWarning, match="is of other runs and is ignored"):
        assert runner.run_cell(cell, Settings(tmp_path)) is not None
    folder.mkdir(exist_ok=True)
    path.write_bytes(b"torn")
    with pytest.warns(CheckpointWarning, match="cannot be read and is ignored"):
        runner.run_cell(cell, Settings(tmp_path))
    runner.run_cell(cell, Settings(tmp_path / "clean"))
    assert curves(tmp_path).equals(curves(tmp_path / "clean"))


def test_a_checkpoint_that_cannot_be_written_costs_a_warning_and_nothing_else(tmp_path, monkeypatch):
    def full(checkpoint, state):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Checkpoint, "save", full)
    with pytest.warns(CheckpointWarning, match="cannot be written to .*: No space left on device; make room there"):
        endings = runner.run_cell(a_cell(), Settings(tmp_path, checkpoint_minutes=0))
    assert {ending.status for ending in endings.values()} == {"completed"}


def test_a_checkpoint_of_commit_8edfb83_goes_on_bit_for_bit(tmp_path):
    cell, kept = a_cell(), Path(__file__).parent / "data" / "inverted-pendulum-walker-d0-x2-ced36cac.pt"
    runner.run_cell(cell, Settings(tmp_path / "straight"))
    (tmp_path / "old" / "checkpoints").mkdir(parents=True)
    shutil.copy(kept, tmp_path / "old" / "checkpoints" / f"{cell.cell_id}.pt")
    pulses = []
    with pytest.warns(CheckpointWarning, match="other code than it began with"):
        runner.run_cell(cell, Settings(tmp_path / "old"), pulses.append)
    assert pulses[0].steps == 14
    assert curves(tmp_path / "old").equals(curves(tmp_path / "straight"))
    assert (Store(tmp_path / "old").runs()["started"] == "2026-11-28T09:44:34+00:00").all()


def test_other_code_than_at_the_beginning_is_told(tmp_path, monkeypatch):
    runner.run_cell(a_cell(), Settings(tmp_path), stop=after(3))
    monkeypatch.setattr("benchmarks.provenance.commit", lambda: ("another", False))
    with pytest.warns(CheckpointWarning, match="other code than it began with"):
        runner.run_cell(a_cell(), Settings(tmp_path))


def test_code_that_may_be_changed_counts_as_changed(monkeypatch):
    answers = {"rev-parse": str(provenance.ROOT), "status": None}  # git has not answered in time
    monkeypatch.setattr(provenance, "_git", lambda verb, *_: answers[verb])
    assert provenance.commit.__wrapped__() == (str(provenance.ROOT), True)


# ----------------------------------------------------------------------------------------------------------- endings


FAULTS = {"raise": "ValueError: first line the walker stumbled", "memory": "MemoryError"}


@pytest.mark.parametrize(("fault", "error"), FAULTS.items())
def test_a_failing_method_fails_all_its_lanes(tmp_path, capsys, fault, error):
    endings = runner.run_cell(a_cell(fault=fault, at=AT), Settings(tmp_path)).values()
    assert {(e.status, e.error, e.steps) for e in endings} == {("failed", error, AT)}
    assert "Traceback" in capsys.readouterr().err
    assert (Store(tmp_path).runs()["status"] == "failed").all()
    assert curves(tmp_path)[["step", "final"]].drop_duplicates().values.tolist() == [[10, False]]


def test_a_failure_after_the_request_to_stop_may_be_of_the_same_signal_and_is_not_stored(tmp_path, capsys):
    assert runner.run_cell(a_cell(fault="raise", at=AT), Settings(tmp_path), stop=after(AT)) is None
    assert "Traceback" in capsys.readouterr().err
    assert Store(tmp_path).runs().empty


@pytest.mark.parametrize(
    ("fault", "error", "step"),
    [
        ("nan action", "an action in training was not finite", AT),
        ("nan policy", "an action in .* was not finite", AT),
        ("nan info", "size was nan", 20),
        ("huge info", "size was -inf", 20),
    ],
)
def test_a_diverged_lane_does_not_stop_its_neighbour(tmp_path, fault, error, step):
    runner.run_cell(a_cell(), Settings(tmp_path / "sound"))
    runner.run_cell(a_cell(fault=fault, at=AT), Settings(tmp_path / "sick"))
    runs = Store(tmp_path / "sick").runs().set_index("seed")
    assert runs["status"].to_dict() == {0: "diverged", 1: "completed"}
    assert pytest.approx(step, abs=1) == runs["steps"][0]
    assert runs["error"].str.contains(error)[0]
    sick, sound = curves(tmp_path / "sick"), curves(tmp_path / "sound")
    assert sick[sick["seed"] == 1].reset_index(drop=True).equals(sound[sound["seed"] == 1].reset_index(drop=True))
    assert sick[sick["seed"] == 0]["step"].unique().tolist() == [10]


def test_an_explosion_between_evaluations_is_seen_at_a_step_and_not_by_a_clock(tmp_path, monkeypatch):
    monkeypatch.setattr(training, "LOOK_EVERY", 3)
    cell = a_cell(fault="huge info", at=AT, evaluations=1)
    runner.run_cell(cell, Settings(tmp_path / "straight"))
    assert runner.run_cell(cell, Settings(tmp_path / "broken"), stop=after(AT - 2)) is None
    runner.run_cell(cell, Settings(tmp_path / "broken", checkpoint_minutes=0))
    for name in ("straight", "broken"):
        runs = Store(tmp_path / name).runs().set_index("seed")
        assert runs["status"].to_dict() == {0: "diverged", 1: "completed"}
        assert runs["error"][0] == f"size was -inf (step {AT + 3}, update {AT + 3})"


def test_a_lane_with_a_return_that_is_not_finite_has_diverged(tmp_path, monkeypatch):
    evaluate = Evaluator.evaluate

    def spoilt(*arguments):
        seen = evaluate(*arguments)
        seen.returns[1, 0] = np.inf
        return seen

    monkeypatch.setattr(Evaluator, "evaluate", spoilt)
    endings = list(runner.run_cell(a_cell(), Settings(tmp_path)).values())
    assert [ending.status for ending in endings] == ["completed", "diverged"]
    assert endings[1].error.startswith("a return in evaluation was not finite")


def test_a_cell_is_run_on_the_device_that_was_asked_for(tmp_path, monkeypatch):
    chosen = []

    def far_enough(*arguments):
        raise RuntimeError("far enough")

    monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
    monkeypatch.setattr(training, "LearnerEnvironments", far_enough)
    monkeypatch.setattr("benchmarks.provenance.device_name", str)
    runner.run_cell(a_cell(), Settings(tmp_path / "cpu"))
    runner.run_cell(a_cell(), Settings(tmp_path / "cuda", "cuda:1"))
    assert chosen == [torch.device("cuda:1")]


def test_training_ends_when_every_lane_has_diverged(tmp_path):
    endings = runner.run_cell(a_cell(seeds=(0,), fault="nan action", at=AT), Settings(tmp_path))
    assert [ending.status for ending in endings.values()] == ["diverged"]
    assert next(iter(endings.values())).updates <= AT + 1


def test_at_a_floating_point_error_all_lanes_have_diverged(tmp_path):
    endings = runner.run_cell(a_cell(fault="float", at=AT), Settings(tmp_path))
    assert {ending.status for ending in endings.values()} == {"diverged"}


def test_a_cell_over_its_time_is_stored_as_timeout(tmp_path):
    endings = runner.run_cell(a_cell(sleep=0.02), Settings(tmp_path, timeout=0.1))
    (status, error, steps) = {(e.status, e.error, e.steps) for e in endings.values()}.pop()
    assert (status, error) == ("timeout", "took longer than 0.1 seconds")
    assert 0 < steps < BUDGET


@pytest.mark.parametrize("at", [AT, 20], ids=["between", "at a scheduled evaluation"])
def test_a_method_may_end_before_its_budget_and_this_is_told(tmp_path, at):
    with pytest.warns(training.EarlyEnd, match=f"has ended after {at} of {BUDGET} environment steps"):
        runner.run_cell(a_cell(fault="early", at=at), Settings(tmp_path))
    rows = curves(tmp_path)
    assert sorted(rows[rows["final"]]["step"].unique()) == [at]
    assert not rows.duplicated(["seed", "step", "episode"]).any()
    assert (Store(tmp_path).runs()["status"] == "completed").all()


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("text", "TypeError: walker must yield Progress, it yielded 'done'"),
        ("scalar info", "TypeError: the diagnostic size must be a tensor of shape (2,), one per lane; it is a "),
        ("long info", "TypeError: the diagnostic size must be a tensor of shape (2,), one per lane; it is of "),
        ("no number", "TypeError: walker must yield its updates as a whole number, it yielded '1'"),
        ("huge number", "ValueError: walker must yield a number of updates that can be stored, it yielded 9.2e+18"),
        ("exit", "SystemExit: 0"),
        ("no text", "ValueError: byte \\udcff"),
        ("narrow", "ValueError: the policy's actions have shape (2, 1, 1), not (2, 2, 1)"),
    ],
)
def test_a_breach_of_the_contract_is_named(tmp_path, fault, message):
    endings = runner.run_cell(a_cell(fault=fault, at=AT), Settings(tmp_path))
    assert {ending.status for ending in endings.values()} == {"failed"}
    assert {ending.error.startswith(message) for ending in endings.values()} == {True}, endings


def test_notes_of_another_kind_cost_no_run(tmp_path):
    runner.run_cell(a_cell(fault="odd notes", at=AT), Settings(tmp_path))
    runs = Store(tmp_path).runs()
    assert (runs["status"] == "completed").all()
    assert all("<object object" in json.loads(versions)["5"] for versions in runs["versions"])


def test_of_a_long_error_beginning_and_end_are_kept():
    kept = in_one_line(ValueError("the beginning " + "and so on\n" * 1000 + "the end"))
    assert kept.startswith("ValueError: the beginning and so on")
    assert kept.endswith("and so on the end")
    assert len(kept) < errors.LONGEST + 40
    assert in_one_line(MemoryError()) == "MemoryError"


def test_an_error_that_cannot_be_told_is_named():
    class MuteError(Exception):
        def __str__(self):
            raise ValueError

    assert in_one_line(MuteError()) == "MuteError"
    assert in_one_line(OSError("no file caf\udce9")) == r"OSError: no file caf\udce9"


def test_the_module_of_a_task_is_imported_where_its_runs_are_made(tmp_path, monkeypatch):
    (tmp_path / "my_tasks.py").write_text(
        "import gymnasium as gym\nfrom benchmarks.tasks import Task\n"
        "gym.register('Mine-v0', 'gymnasium.envs.mujoco.inverted_pendulum_v5:InvertedPendulumEnv', "
        "max_episode_steps=9)\nMINE = Task(name='mine', env_id='Mine-v0')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    (cell,) = toy_methods.cells(tasks="my_tasks:MINE", seeds=(0,), steps=5)
    del sys.modules["my_tasks"], gym.registry["Mine-v0"]  # as in another process
    endings = runner.run_cell(cell, Settings(tmp_path))
    assert [ending.status for ending in endings.values()] == ["completed"], endings


# ----------------------------------------------------------------------------------------------------------- offline


@pytest.fixture
def looker(monkeypatch):
    """Cells of the offline toy method, on demonstrations whose action is a tenth of the seed."""

    def load(task, dataset, demos, subsample, seed, accept):
        actions = np.full((3, 1), seed / 10, np.float32)
        observations = np.zeros((3, 4), np.float32)
        return Demonstrations(
            observations, actions, observations, np.zeros(3, bool), np.zeros(3, int), (seed + 7,), np.zeros(1)
        )

    monkeypatch.setattr(training.datasets, "load", load)
    monkeypatch.setattr(training.datasets, "prepare", lambda *_: SimpleNamespace(content_hash="0123"))
    monkeypatch.setattr(training.datasets, "require", lambda *_: None)
    return lambda **changes: a_cell("toy_methods:LOOKER", **changes)


def test_an_offline_method_is_evaluated_once_at_its_end(tmp_path, looker):
    runner.run_cell(looker(), Settings(tmp_path))
    runs, rows = Store(tmp_path).runs(), Store(tmp_path).evaluations()
    assert set(zip(rows["step"], rows["update"], rows["final"], strict=True)) == {(0, 7, True)}
    assert len(rows) == 2 * 2
    assert runs["steps"].tolist() == [0, 0]
    assert runs.set_index("seed")["episode_ids"].map(list).to_dict() == {0: [7], 1: [8]}
    assert (runs["dataset_hash"] == "0123").all()


def test_an_offline_method_cannot_step_the_environments(tmp_path, looker):
    endings = runner.run_cell(looker(fault="step"), Settings(tmp_path))
    assert {ending.error for ending in endings.values()} == {"RuntimeError: the budget of 0 environment steps is spent"}


def test_a_fit_shows_how_far_it_is_and_is_left_or_ended_like_any_step(tmp_path, looker):
    cell, pulses = looker(fault="long fit"), []
    runner.run_cell(cell, Settings(tmp_path), pulses.append)
    assert [pulse.activity for pulse in pulses] == ["a fit 50%", ""]
    assert runner.run_cell(cell, Settings(tmp_path / "left"), stop=lambda: True) is None
    assert not (tmp_path / "left").exists()
    endings = runner.run_cell(looker(fault="long fit"), Settings(tmp_path / "late", timeout=0.0))
    assert {ending.status for ending in endings.values()} == {"timeout"}


def test_a_method_without_progress_has_failed(tmp_path, looker):
    endings = runner.run_cell(looker(fault="silent"), Settings(tmp_path))
    assert {ending.error for ending in endings.values()} == {"RuntimeError: looker ended without yielding any progress"}
