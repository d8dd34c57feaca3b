"""Answers that are remembered while no code changes, and the listings that rest on them."""

import json
import os
import sys
import types
from pathlib import Path

import pytest

from benchmarks import memo
from benchmarks.memo import remembered


@pytest.fixture
def asked(memory):
    """Ask one question, as if in a new process; the answer counts how often it had to be given."""
    count = iter(range(100))

    def ask(question="how often?"):
        memo._content.cache_clear()
        memo._distributions.cache_clear()
        return remembered(question, lambda: {"number": next(count)})["number"]

    return ask


@pytest.fixture
def module(monkeypatch, tmp_path):
    """The file of somebody's module, which this process has loaded."""
    path = tmp_path / "somebodys.py"
    path.write_text("x = 1")
    loaded = types.ModuleType("somebodys")
    loaded.__file__ = str(path)
    monkeypatch.setitem(sys.modules, "somebodys", loaded)
    return path


def test_an_answer_is_given_once_and_for_its_question_alone(asked):
    assert [asked(), asked(), asked("another"), asked()] == [0, 0, 1, 0]


def test_a_changed_module_counts_even_with_its_old_time_and_size(asked, module):
    assert [asked(), asked()] == [0, 0]
    before = module.stat()
    module.write_text("x = 2")
    os.utime(module, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert [asked(), asked()] == [1, 1]
    module.unlink()
    assert [asked(), asked()] == [2, 2]


def test_another_distribution_counts(asked, monkeypatch, tmp_path):
    (tmp_path / "site").mkdir()
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path / "site")])
    assert [asked(), asked()] == [0, 0]
    (tmp_path / "site" / "walkers-1.0.dist-info").mkdir()
    assert [asked(), asked()] == [1, 1]
    os.utime(tmp_path / "site" / "walkers-1.0.dist-info", (1, 1))  # installed again
    assert [asked(), asked()] == [2, 2]


def test_what_an_old_process_says_of_a_file_that_changed_since_is_not_kept(asked, module, monkeypatch):
    monkeypatch.setattr(memo, "_BEGAN", module.stat().st_mtime - 1)
    assert [asked(), asked()] == [0, 1]


def test_a_damaged_or_forbidden_place_costs_the_memory_alone(asked, memory, monkeypatch):
    assert asked() == 0
    (kept,) = memory.iterdir()
    for content in (kept.read_text()[:50], "[]", json.dumps({"code": 1, "files": [3], "answer": {"number": 99}})):
        kept.write_text(content)
        assert asked() == asked() > 0
    monkeypatch.setenv("XDG_CACHE_HOME", str(Path(__file__)))
    assert asked() != asked()


def test_the_oldest_answers_make_room(asked, memory, monkeypatch):
    monkeypatch.setattr(memo, "MOST", 3)
    for number in range(6):
        asked(f"question {number}")
    assert len(list(memory.iterdir())) == 3


def test_errors_are_not_kept(asked):
    with pytest.raises(ZeroDivisionError):
        remembered("how often?", lambda: 1 / 0)
    assert asked() == 0
