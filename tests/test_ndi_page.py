"""The numbers of NDI's page, recomputed from the stored rows."""

import re
from pathlib import Path

import pytest

from benchmarks.store.store import Store
from benchmarks.tasks import TASKS

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "ndi/README.md").read_text()
ROW = re.compile(r"^\| (\w+) \| ([\d,]+) \| ([\d,]+) \| ([\d,]+) \| (\d+) \| \[`([\w/-]+)`\]", re.MULTILINE)


@pytest.mark.parametrize("row", ROW.findall(PAGE), ids=lambda row: row[0])
def test_what_it_reaches(row):
    task, reached, expert, steps, seeds, folder = (part.replace(",", "") for part in row)
    store = Store(ROOT / "results" / folder)
    evaluations = store.evaluations()
    last = evaluations[evaluations["final"] & (evaluations["task"] == task.lower())]
    assert round(last.groupby("run_id")["return"].mean().mean()) == int(reached)
    assert last["run_id"].nunique() == int(seeds)
    assert set(last["step"]) == {int(steps)}
    assert round(TASKS[task.lower()].expert_return) == int(expert)


def test_there_are_rows():
    assert ROW.findall(PAGE)
