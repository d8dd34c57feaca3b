"""The short form of `scaletest.py`: its made-up runs are what the store writes, and the report counts all of them."""

import scaletest

from benchmarks.store.store import Store
from benchmarks.store.verification import verify


def test_many_runs_are_read_and_reported(tmp_path):
    number = 2 * len(scaletest.CELLS)
    scaletest.fill(tmp_path, number)
    assert verify(Store(tmp_path)) == (number, [])
    scaletest.command(tmp_path, "report")
    page = (tmp_path / "README.md").read_text()
    assert page.count("`: failed (RuntimeError: made up)") == number // 100


def test_made_up_files_are_those_of_the_store(tmp_path):
    scaletest.fill(tmp_path / "filled", 1)
    assert len(scaletest.write_times(tmp_path / "written", 1)) == 1
    filled, written = (next((tmp_path / name / "runs").iterdir()) for name in ("filled", "written"))
    assert filled.read_bytes() == written.read_bytes()
