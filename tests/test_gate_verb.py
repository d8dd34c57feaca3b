"""`ndi-bench gate` from end to end: its cheapest line against the stored reference, as it is and with a defect."""

import runpy
from pathlib import Path

import pandas as pd
import pytest

from benchmarks.cli.gate import LOOKS, PERIOD, REFERENCE
from benchmarks.kit import cloning
from benchmarks.plan.profiles import load
from benchmarks.reporting import gate as judging

ROOT = Path(__file__).parents[1]
DEFECTS = runpy.run_path(str(Path(__file__).with_name("gatetest.py")))["DEFECTS"]
STORED = ROOT / REFERENCE


@pytest.fixture
def gate(bench, tmp_path):
    """Run the gate on BC: (exit code, standard output, standard error)."""

    def run(*options):
        options = ("--reference", str(STORED), "--out", str(tmp_path / "out"), "--workers", "0", *options)
        return bench("gate", "--methods", "bc", *options)

    return run


def test_the_present_code_is_fine(gate, tmp_path):
    code, out, _ = gate("--table", str(tmp_path / "table.md"))
    assert code == 0, out
    assert "gate: fine (1 " in out
    assert "| BC: Balance |" in (tmp_path / "table.md").read_text()


def test_a_defect_is_worse_at_the_first_look(gate, monkeypatch):
    right = cloning.cloning_loss
    shifted = lambda policy, batch, beta: right(policy, batch._replace(actions=-batch.actions), beta)  # noqa: E731
    monkeypatch.setattr(cloning, "cloning_loss", shifted)
    code, out, _ = gate()
    assert code == 1, out
    assert "gate: worse (1 worse; all together worse)" in out


def test_the_reference_holds_every_line_and_look():
    profile, runs = load("gate"), judging.read_reference(STORED).runs
    seeds = {seed + number * PERIOD for look in LOOKS for number in look for seed in profile.seeds}
    assert set(runs["method"]) == set(profile.methods)
    assert all(set(group) == seeds for _, group in runs.groupby("method")["seed"])
    assert runs["counted"].all()


def test_a_reference_is_made_of_all_methods_and_a_missing_one_is_told(gate, tmp_path):
    assert "leave --methods out" in gate("--save")[2]
    code, _, err = gate("--reference", str(tmp_path / "none"))
    assert (code, "`ndi-bench gate --save` makes one" in err) == (2, True)


@pytest.mark.parametrize("defect", DEFECTS, ids=lambda defect: defect.name)
def test_a_planted_defect_still_has_its_place(defect):
    assert (ROOT / defect.file).read_text().count(defect.old) == 1


def test_the_stored_tables_are_of_these_defects_and_say_enough():
    found = pd.read_csv(STORED / "defects.csv").set_index("defect")["verdict"]
    assert set(found.index) <= {defect.name for defect in DEFECTS}
    assert (found == "worse").sum() >= 9
    nulls = pd.read_csv(STORED / "nulls.csv").iloc[0]
    assert nulls["worse"] <= 0.05 * nulls["gates without a difference"]
