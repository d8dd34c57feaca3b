"""The README's table of experts is that of the model cards."""

from pathlib import Path

from benchmarks.cli.experts import list_experts
from benchmarks.tasks import TASKS

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_expert_levels(capsys):
    list_experts(markdown=True)
    rows = capsys.readouterr().out.splitlines()
    assert [row.split()[1] for row in rows] == list(TASKS)
    for row in rows:
        assert row in README.splitlines()
