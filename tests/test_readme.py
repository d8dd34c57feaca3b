"""The README's numbers are those of the model cards."""

from pathlib import Path

import pytest

from benchmarks.experts import has_expert, model_card
from benchmarks.tasks import TASKS

README = (Path(__file__).parents[1] / "README.md").read_text()


@pytest.mark.parametrize("task", TASKS)
def test_expert_levels(task):
    row = next(line for line in README.splitlines() if line.startswith(f"| {task} |"))
    if not has_expert(task):
        assert "none yet" in row
        return
    card = model_card(task)
    assert f"{card['steps']:,}" in row
    for measured in card["returns"].values():
        assert f"{measured['mean']:,.0f} ± {measured['standard_error']:,.0f}" in row
