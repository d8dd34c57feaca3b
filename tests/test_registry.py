"""Names, entry points of other packages, and what is said about bad ones."""

import dataclasses
import importlib.metadata
import math
import re
import sys
from dataclasses import dataclass
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

from benchmarks.kit.errors import UserError
from benchmarks.plan import registry
from benchmarks.tasks import TASKS, Task

MY_TASK = Task("my-task", "InvertedPendulum-v5")


@pytest.fixture
def packages(monkeypatch):
    """Install pretended packages: `packages(group, name=..., value=..., package=...)` adds an entry point."""
    real, added = importlib.metadata.entry_points, []

    class Point(SimpleNamespace):
        def load(self):
            return importlib.metadata.EntryPoint(self.name, self.value, "group").load()

    monkeypatch.setattr(
        registry, "entry_points", lambda group: [*real(group=group), *(p for g, p in added if g == group)]
    )
    return lambda group, name, value, package: added.append(
        (group, Point(name=name, value=value, dist=SimpleNamespace(name=package)))
    )


def test_the_suites_own_methods_come_through_entry_points():
    found = registry.methods()
    assert {"random", "expert", "sac", "bc", "gail", "valuedice", "ndi-made", "ndi-ebm"} <= set(found)
    assert all(method.name == name for name, method in found.items())
    assert registry.find_method("bc") is found["bc"]


def test_installed_methods_and_tasks_are_found(packages):
    packages("ndi_bench.methods", "walker", "toy_methods:WALKER", "walkers")
    packages("ndi_bench.tasks", "my-task", f"{__name__}:MY_TASK", "walkers")
    assert registry.find_method("walker").label == "Walker"
    assert registry.find_task("my-task") == MY_TASK
    assert list(registry.tasks()) == [*TASKS, "my-task"]


def test_a_typo_gets_a_suggestion_and_all_names():
    with pytest.raises(UserError, match=r"unknown method ndi-mad: did you mean ndi-made\? there are bc, "):
        registry.find_method("ndi-mad")
    with pytest.raises(UserError, match=r"unknown task hoper: did you mean hopper\? .*walker2d"):
        registry.find_task("hoper")


def test_duplicates_name_both_packages(packages):
    packages("ndi_bench.methods", "bc", "toy_methods:WALKER", "walkers")
    with pytest.raises(UserError, match=r"bc is declared twice .* ndi-bench .* and walkers"):
        registry.method_names()
    packages("ndi_bench.tasks", "hopper", "toy_methods:WALKER", "walkers")
    with pytest.raises(UserError, match=r"walkers declares hopper .* suite's own"):
        registry.task_names()


def test_a_broken_package_is_named_and_does_not_hide_the_others(packages):
    packages("ndi_bench.methods", "broken", "no_such_module:METHOD", "brokers")
    found = registry.methods()
    assert isinstance(found["broken"], UserError)
    assert "brokers" in str(found["broken"])
    assert "no_such_module" in str(found["broken"])
    assert found["bc"].name == "bc"


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("toy_methods:NO_METHOD", "must be a benchmarks.kit.contract.Method, it is a str"),
        ("toy_methods:MUTABLE", "frozen dataclass"),
        ("toy_methods:SHOUTING", "lower case"),
        ("toy_methods:WALKER", "calls itself 'walker'"),
    ],
)
def test_what_is_loaded_is_checked(packages, value, message):
    packages("ndi_bench.methods", "other", value, "walkers")
    with pytest.raises(UserError, match=message):
        registry.find_method("other")


def test_module_attribute():
    assert registry.find_method("toy_methods:WALKER").name == "walker"
    assert registry.find_method("baselines.bc:METHOD") is registry.find_method("bc")
    with pytest.raises(UserError, match=r"calls itself bc, as ndi-bench's baselines\.bc:METHOD does"):
        registry.find_method("toy_methods:BC_TWIN")
    with pytest.raises(UserError, match="has no attribute 'NOBODY'"):
        registry.find_method("toy_methods:NOBODY")
    with pytest.raises(UserError, match=r"must be a benchmarks\.tasks\.Task"):
        registry.find_task("toy_methods:WALKER")


@dataclass(frozen=True)
class Odd:
    """A config of whatever a test wants."""

    inner: object = None
    """Anything."""


@dataclass(frozen=True)
class Later:
    """A config that names a setting it does not have."""

    LATER: ClassVar = {"rat": 1.0}
    rate: float = 1.0
    """A number."""


@dataclass(frozen=True)
class Unresolved:
    """A config whose annotation names nothing."""

    rate: "Nobody" = 1.0  # noqa: F821 - that is the fault
    """A number."""


def absent(config):
    raise KeyError("batch")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": "a\nb"}, "its label must be one line of at most 40 letters, it is 'a\\nb'"),
        ({"label": " "}, "its label must be one line"),
        ({"label": 7}, "its label must be str, it is 7"),
        ({"lanes": "yes"}, "its lanes must be bool, it is 'yes'"),
        ({"swept": ("rat",)}, "its swept names rat: did you mean rate?"),
        ({"train": None}, "its train must be Callable"),
        ({"cost": absent}, "its cost, preparation or absorbing raises KeyError: 'batch'"),
        ({"cost": lambda config: -1}, "its cost must be a number from 0, it is -1"),
        ({"preparation": lambda config: math.inf}, "its preparation must be a number from 0, it is inf"),
        ({"per_task": {"hopper": {"rat": 1}}}, "has no setting rat: did you mean rate?"),
        ({"config": Odd(frozenset({1})), "swept": (), "per_task": {}}, "setting inner must be a number"),
        ({"config": Odd(Odd(np.zeros(2))), "swept": (), "per_task": {}}, "setting inner.inner must be a number"),
        ({"config": Odd(Later()), "swept": (), "per_task": {}}, "LATER of Later names rat: did you mean rate?"),
        ({"config": Unresolved(), "swept": (), "per_task": {}}, "name 'Nobody' is not defined"),
    ],
)
def test_a_declaration_is_checked_field_by_field(monkeypatch, changes, message):
    import toy_methods

    monkeypatch.setattr(toy_methods, "WALKER", dataclasses.replace(toy_methods.WALKER, **changes))
    with pytest.raises(UserError, match=re.escape(message)):
        registry.find_method("toy_methods:WALKER")


def test_two_methods_or_tasks_of_one_name_are_refused(monkeypatch):
    with pytest.raises(UserError, match="two of the methods call themselves walker"):
        registry.find_methods(["toy_methods:WALKER", "toy_methods:WALKER_TWIN"])
    assert len(registry.find_methods(["bc", "baselines.bc:METHOD"])) == 2  # the same one by two names
    monkeypatch.setitem(globals(), "OTHER_TASK", Task("my-task", "Hopper-v5"))
    with pytest.raises(UserError, match="two of the tasks call themselves my-task"):
        registry.find_tasks([f"{__name__}:MY_TASK", f"{__name__}:OTHER_TASK"])


def test_a_module_that_leaves_at_its_import_is_named(tmp_path, monkeypatch):
    (tmp_path / "leaver.py").write_text("import sys\nsys.exit('no licence')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(UserError, match="method leaver:METHOD cannot be loaded: SystemExit: no licence"):
        registry.find_method("leaver:METHOD")


def test_a_typo_in_a_tag_gets_a_suggestion():
    with pytest.raises(UserError, match=r"unknown task papr: did you mean paper\?"):
        registry.find_tasks(["papr"])


def test_modules_of_the_current_folder_count(tmp_path, monkeypatch):
    (tmp_path / "task_of_mine.py").write_text(
        "from benchmarks.tasks import Task\nTASK = Task('mine', 'InvertedPendulum-v5')\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    assert registry.find_task("task_of_mine:TASK").env_id == "InvertedPendulum-v5"


def test_tags_stand_for_their_tasks():
    paper = [task.name for task in registry.find_tasks(["paper"])]
    assert paper == ["hopper", "halfcheetah", "walker2d", "ant", "humanoid"]
    assert [task.name for task in registry.find_tasks(["ant", "paper"])] == ["ant", *(n for n in paper if n != "ant")]
