"""`ndi-bench merge`: every run once, the better result of two, nothing lost, and a gate before it."""

import pytest

from benchmarks.store import policies
from benchmarks.store.store import Store


@pytest.fixture
def side(a_run, tmp_path, monkeypatch):
    """Write a run into a results folder: side("a", "bc", seed=0, ...) gives its file."""
    monkeypatch.chdir(tmp_path)

    def write(folder, method, seed, **changes):
        return Store(tmp_path / folder).write(*a_run(method, seed=seed, **changes))

    return write


def files(folder):
    return {path.name: path.read_bytes() for path in (folder / "runs").iterdir()}


def test_every_run_once_as_it_is(bench, side, tmp_path):
    for folder, seed in (("a", 0), ("a", 1), ("b", 2)):
        side(folder, "bc", seed)
    (tmp_path / "b/runs/bc.hopper.1.1.parquet").write_bytes((tmp_path / "a/runs/bc.hopper.1.1.parquet").read_bytes())
    code, out, _ = bench("merge", "a", "b", "--out", "all")
    assert (code, out) == (0, "3 runs copied to all, 0 there already\n")
    assert files(tmp_path / "all") == files(tmp_path / "a") | files(tmp_path / "b")
    before = files(tmp_path / "all")
    code, out, _ = bench("merge", "a", "b", "--out", "all")
    assert (code, out) == (0, "0 runs copied to all, 3 there already\n")
    assert files(tmp_path / "all") == before


def test_a_policy_comes_from_whoever_has_it(bench, a_run, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run, rows = a_run(policy_sha256=policies.digest(b"weights"))
    Store(tmp_path / "with").write_together([(run, rows)], {run["run_id"]: b"weights"})
    Store(tmp_path / "without").write(run, rows)
    for order, out in ((("without", "with"), "all"), (("with",), "without")):
        assert bench("merge", *order, "--out", out)[0] == 0
        assert policies.read(tmp_path / out, run) == b"weights"


def test_the_better_of_two_results_counts_and_the_other_is_named(bench, side, tmp_path):
    failed = side("a", "bc", 0, status="failed", started="2026-03-01T00:00:00Z")
    completed = side("b", "bc", 0)
    earlier = side("a", "bc", 1)
    later = side("b", "bc", 1, finals=(1.0,), started="2026-02-01T00:00:00Z")
    for order in (("a", "b"), ("b", "a")):
        code, out, _ = bench("merge", *order, "--out", f"all-{order[0]}")
        assert code == 0
        assert f"bc.hopper.1.0: another result is in {failed.relative_to(tmp_path)}, which does not count" in out
        assert f"bc.hopper.1.1: another result is in {earlier.relative_to(tmp_path)}" in out
        assert files(tmp_path / f"all-{order[0]}") == {path.name: path.read_bytes() for path in (completed, later)}


def test_no_completed_run_is_replaced(bench, side):
    kept = side("all", "bc", 0)
    held = kept.read_bytes()
    unfinished = side("all", "bc", 1, status="timeout")
    side("a", "bc", 0, finals=(1.0,), started="2026-02-01T00:00:00Z")
    finished = side("a", "bc", 1)
    code, out, _ = bench("merge", "a", "--out", "all")
    assert code == 0
    assert "1 run copied to all, 1 there already" in out
    assert kept.read_bytes() == held
    assert unfinished.read_bytes() == finished.read_bytes()


def test_protocols_that_differ_are_named(bench, side):
    side("a", "gail", 0)
    side("b", "gail", 1, budget=500)
    code, out, _ = bench("merge", "a", "b", "--out", "all")
    assert code == 0
    assert "protocols differ, environment steps on Hopper: 1,000 in a, 500 in b" in out


@pytest.mark.parametrize("place", ["a", "all"])
def test_what_is_not_sound_stops_all(bench, side, tmp_path, place):
    side("a", "bc", 0)
    side("b", "bc", 2)
    torn = side(place, "bc", 1)
    torn.write_bytes(torn.read_bytes()[:-9])
    before = files(tmp_path / "all") if place == "all" else None
    code, _, err = bench("merge", "b", "a", "--out", "all")
    assert code == 2
    assert f"{place} is not sound (bc.hopper.1.1.parquet: " in err
    assert err.count("\n") == 1
    assert (files(tmp_path / "all") if place == "all" else None) == before
    assert (tmp_path / "all").exists() == (place == "all")


def test_links_are_not_followed(bench, side, tmp_path):
    target = side("elsewhere", "bc", 0)
    side("a", "bc", 1)
    (tmp_path / "a/runs" / target.name).symlink_to(target)
    code, _, err = bench("merge", "a", "--out", "all")
    assert code == 2
    assert "symbolic link" in err
    assert not (tmp_path / "all").exists()


def test_folders_that_are_not_there(bench, side):
    code, _, err = bench("merge", "nowhere", "--out", "all")
    assert code == 2
    assert "there is no folder nowhere" in err
