"""The machine's fastest form of updates: found before cells begin, told in words, and recorded with their runs."""

import json

import pytest
from toy_methods import cells

from benchmarks.kit import forms
from benchmarks.kit.forms import PAYS, Form
from benchmarks.run import preparation, runner
from benchmarks.run.settings import Settings
from benchmarks.store.store import Store

TINY = {"sac.hidden": [8], "sac.batch_size": 8}


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def sac(steps, **changes):
    return cells("sac", steps=steps, **changes)


def told(work, monkeypatch, examined=Form(compile=True, precision="bfloat16"), device="cpu"):  # noqa: B008
    lines = []
    monkeypatch.setattr(preparation, "_examined", lambda: examined)
    preparation.prepare(work, device, lines.append)
    return lines


def test_long_cells_are_told_of_their_form_after_the_machine_was_examined(monkeypatch):
    work = sac(PAYS) + sac(500)
    first, line = told(work, monkeypatch)
    assert "once" in first
    assert line == "20,000 updates or more in 1 process of 2: these are compiled, bfloat16, as checked on this machine"
    forms.keep({forms.machine(): Form(precision="bfloat16")})
    (line,) = told(work, monkeypatch, examined=None)
    assert "these are bfloat16" in line


def test_a_machine_without_a_faster_form_is_told(monkeypatch):
    assert told(sac(PAYS), monkeypatch, Form())[-1].endswith("plain: no faster form works on this machine")


def test_nothing_is_asked_of_the_machine_where_nothing_hangs_on_it(monkeypatch):
    assert told(sac(PAYS - 1) + cells("random", steps=10**6), monkeypatch) == []
    assert told(sac(10**6, **{"sac.compile": False}), monkeypatch) == []
    assert told(sac(10**6, **{"sac.compile": True, "sac.precision": "float32"}), monkeypatch) == []
    assert told(sac(PAYS), monkeypatch, device="cuda") == []


@pytest.mark.parametrize("form", [Form(), Form(precision="bfloat16")])
def test_runs_record_the_form_that_was_used(tmp_path, monkeypatch, form):
    monkeypatch.setattr(forms, "PAYS", 10)
    forms.keep({forms.machine(): form})
    (cell,) = sac(30, **TINY)
    runner.run_cell(cell, Settings(tmp_path))
    runs = Store(tmp_path).runs()
    versions = [json.loads(text) for text in runs["versions"]]
    assert [found.get("learner") for found in versions] == [None if form == Form() else "bfloat16"] * 2
    assert all(json.loads(text)["sac"]["precision"] == "float32" for text in runs["config"])
    assert list(runs["status"]) == ["completed"] * 2


def test_estimates_know_the_form():
    def seconds(form):
        forms.keep({forms.machine(): form})
        return sac(10 * PAYS)[0].seconds

    plain, fast = seconds(Form()), seconds(Form(compile=True, precision="bfloat16"))
    assert 0.3 * plain < fast < 0.7 * plain
    assert sac(500)[0].seconds == sac(500, **{"sac.compile": False})[0].seconds
