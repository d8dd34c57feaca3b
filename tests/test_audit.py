"""What a method must not do is noticed, told with its runs, and in strict mode ends them."""

import json
from dataclasses import dataclass

import numpy as np
import pytest
from rich.console import Console
from toy_methods import Still, cells

from benchmarks.experts.policy import load_expert
from benchmarks.kit.contract import Method, Progress
from benchmarks.reporting.reading import read
from benchmarks.run import runner
from benchmarks.run.settings import Settings
from benchmarks.store.store import Store

pytestmark = pytest.mark.filterwarnings("ignore::benchmarks.run.training.EarlyEnd")
BEHIND = "it took environment steps, or changed their count, behind the environments that it was lent"

TERMS = "it changed the budget of its environments, or whether they show the true reward"


@dataclass(frozen=True)
class CheatConfig:
    """Settings of a method that does what it must not."""

    trick: str = ""
    """What that is."""


def cheat(problem, config):
    lent, action = problem.environments, np.zeros((len(problem.seeds), 1), dtype=np.float32)
    hidden = lent._environments
    for step in range(1, problem.budget + 1):
        if lent.steps == problem.budget:
            return
        lent.step(action)
        updates = step
        if step == 5:
            if config.trick == "behind":
                hidden.step(action)
            if config.trick == "count":
                hidden.steps = 3
            if config.trick == "inner":
                hidden.environments[1].step(action[1])
            if config.trick == "budget":
                hidden.budget = 1000
            if config.trick == "reward":
                hidden.privileged = True
            if config.trick == "decreasing":
                updates = 2
            if config.trick == "negative":
                updates = -1
            if config.trick == "demonstrations":
                actions = problem.demonstrations[0].actions
                actions.setflags(write=True)
                actions[0] = 0.25
        yield Progress(updates, load_expert(problem.task) if config.trick == "expert" else Still())


CHEAT = Method(name="cheat", label="Cheat", summary="Cheats", source="a test", train=cheat, config=CheatConfig())


@pytest.fixture
def run(tmp_path):
    def run(trick, **changes):
        (cell,) = cells("test_audit:CHEAT", steps=10, evaluations=1, trick=trick)
        runner.run_cell(cell, Settings(tmp_path, **changes))
        return Store(tmp_path).runs()

    return run


@pytest.mark.parametrize(
    ("trick", "noticed"),
    [
        ("", []),
        ("behind", [BEHIND]),
        ("count", [BEHIND]),
        ("inner", [BEHIND]),
        ("budget", [TERMS]),
        ("reward", [TERMS]),
        ("decreasing", ["it counted 2 updates after 4"]),
        ("expert", ["its policy is the expert's own"]),
        ("negative", ["it counted -1 updates after 4"]),
        ("demonstrations", ["it changed its demonstrations"]),
    ],
)
def test_what_is_noticed_is_told_with_the_runs(run, trick, noticed):
    runs = run(trick)
    assert list(runs["status"]) == ["completed"] * 2
    assert [json.loads(audit) for audit in runs["audit"]] == [noticed] * 2


def test_tables_tell_it(run, tmp_path):
    run("behind")
    (board,) = read(tmp_path, Console(quiet=True)).boards
    (variant,) = board.variants
    assert board.sample(variant.name, "inverted-pendulum").fault == "2/2 seeds, 2 noticed by the audit"


def test_in_strict_mode_such_runs_fail(run):
    runs = run("behind", strict=True)
    assert list(runs["status"]) == ["failed"] * 2
    assert set(runs["error"]) == {f"audit: {BEHIND}"}


def test_honest_runs_do_not_fail_in_strict_mode(run):
    assert list(run("", strict=True)["status"]) == ["completed"] * 2
