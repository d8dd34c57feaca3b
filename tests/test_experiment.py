"""The suite as functions: what a notebook calls, and the example that is printed beside the rooms."""

import re
from pathlib import Path

import pytest

from benchmarks import experiment
from benchmarks.kit.errors import UserError
from benchmarks.run import machine

PAGE = Path(__file__).parents[1] / "benchmarks" / "README.md"


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)


def walker(seeds="0-1", **more):
    return experiment.plan(
        tasks="inverted-pendulum", methods="toy_methods:WALKER", seeds=seeds, steps=30, evaluations=2, eval_episodes=2,
        folder="mine", **more,
    )  # fmt: skip


def test_the_example_runs_as_printed(capsys):
    (example,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names = {}
    exec(example, names)
    rows = names["rows"]
    assert set(rows["method"]) == {"bc", "random"}
    assert set(rows["seed"]) == {0, 1}
    assert rows["final"].all(), "offline methods are evaluated at their end"
    assert capsys.readouterr().out.rstrip().endswith(str(names["scores"]))


def test_a_plan_holds_what_is_left_to_do():
    plan = walker(settings=["walker.rate=0.2"])
    assert (plan.remaining, plan.kept, str(plan.folder)) == (2, {}, "mine")
    assert {run.config.rate for run in plan.runs} == {0.2}
    outcome = experiment.run(plan, experiment.machine(plan, workers=0))
    assert {ending.status for ending in outcome.endings.values()} == {"completed"}
    again = walker(seeds="0-2", settings=["walker.rate=0.2"])
    assert (again.remaining, again.kept, again.unfinished) == (1, {"completed": 2}, [])
    assert walker(settings=["walker.rate=0.2"], rerun=True).remaining == 2


def test_the_frame_holds_runs_or_evaluations():
    plan = walker()
    experiment.run(plan, experiment.machine(plan, workers=0))
    runs, rows = experiment.frame("mine", "runs"), experiment.frame("mine")
    assert len(runs) == 2
    assert len(rows) == 2 * 2 * 2
    assert set(rows["label"]) == {"Walker"}, "columns of the run are there too"
    assert set(rows["run_id"]) == set(runs["run_id"]) == {run.run_id for run in plan.runs}
    with pytest.raises(UserError, match=r"--method wlker: did you mean walker\?"):
        experiment.frame("mine", method="wlker")
    with pytest.raises(UserError, match="there is no folder nowhere"):
        experiment.frame("nowhere")


def test_machines_fill_in_what_is_not_said(monkeypatch):
    plan = walker()
    monkeypatch.setattr(machine, "cores", lambda: 6)
    assert experiment.machine(plan) == experiment.Machine("cpu", workers=6, threads=1)
    monkeypatch.setattr(machine, "_cuda_devices", lambda: 1)
    assert experiment.machine(plan, "cuda") == experiment.Machine("cuda", workers=1, threads=6)
    assert experiment.machine(plan, "auto", workers=3).threads == 6, "one cell needs one process"
    assert experiment.machine(plan, workers=0, engine="slurm").workers == 1
    with pytest.raises(UserError, match="--device cuda:1: this torch sees no such device"):
        experiment.machine(plan, "cuda:1")
    with pytest.raises(UserError, match="--device cuda:x: it must be"):
        experiment.machine(plan, "cuda:x")
    monkeypatch.setattr(machine, "_cuda_devices", lambda: 0)
    assert experiment.machine(plan, "auto").device == "cpu"
    with pytest.raises(UserError, match="this torch sees no such device"):
        experiment.machine(plan, "cuda")
