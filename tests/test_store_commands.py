"""`ndi-bench store`: what it finds, shows and writes, and that it never harms what is there."""

import json
import shutil
from functools import partial
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from benchmarks.store import runfile
from benchmarks.store.schema import AVERAGES
from benchmarks.store.store import SetAside, Store
from benchmarks.store.verification import verify


@pytest.fixture
def bench(bench, monkeypatch, tmp_path):
    """Run a `store` command in an empty folder: (exit code, standard output, standard error)."""
    monkeypatch.chdir(tmp_path)
    return partial(bench, "store")


@pytest.fixture
def stored(a_run, tmp_path):
    """Three completed runs and a diverged one in `results`."""
    store = Store(tmp_path / "results")
    for method, seed in (("bc", 0), ("bc", 1), ("gail", 0)):
        store.write(*a_run(method, seed=seed))
    store.write(a_run("gail", seed=1, status="diverged", error="value was nan")[0], [])
    return store


def reasons(store):
    return {finding.path.name: (finding.reason, finding.wrong) for finding in verify(store)[1]}


def test_a_sound_folder_is_well(bench, stored):
    code, out, _ = bench("verify", "results")
    assert code == 0
    assert out == "4 runs in results: all is well\n"


def test_verify_names_everything_and_changes_nothing(bench, stored, tmp_path, a_run):
    runs = tmp_path / "results" / "runs"
    good = runs / "bc.hopper.1.0.parquet"
    shutil.copy(good, runs / "copy.parquet")
    shutil.copy(runs / "bc.hopper.1.1.parquet", runs / "only.parquet")
    (runs / "bc.hopper.1.1.parquet").unlink()
    other, rows = a_run("gail", seed=0)
    shutil.copy(Store(tmp_path / "other").write(other | {"train_seconds": 99.0}, rows), runs / "conflict.parquet")
    torn = runs / "gail.hopper.1.1.parquet"
    torn.write_bytes(torn.read_bytes()[:-9])
    (runs / "notes.txt").touch()
    (runs / ".half.parquet.0123.tmp").touch()
    (runs / ".0123.together").mkdir()
    before = {path: path.read_bytes() for path in runs.iterdir() if path.is_file()}
    found = reasons(stored)
    assert found.keys() == {
        "copy.parquet", "only.parquet", "conflict.parquet", torn.name, "notes.txt", ".half.parquet.0123.tmp",
        ".0123.together",
    }  # fmt: skip
    assert [name for name, (_, wrong) in sorted(found.items()) if not wrong] == [
        ".0123.together", ".half.parquet.0123.tmp", "copy.parquet",
    ]  # fmt: skip
    assert found["copy.parquet"][0] == "it is a copy of bc.hopper.1.0.parquet, which counts"
    assert "holds run bc.hopper.1.1 and counts" in found["only.parquet"][0]
    assert "another result of the run in gail.hopper.1.0.parquet" in found["conflict.parquet"][0]
    code, out, _ = bench("verify", "results")
    assert code == 1
    assert all(name in out for name in found)
    assert out.endswith("3 runs in results: 4 things wrong\n")
    assert {path: path.read_bytes() for path in runs.iterdir() if path.is_file()} == before


@pytest.mark.parametrize(
    "averages",
    ["7", "[]", "{}", json.dumps({name: [1, 2][: 1 + (name == "kl")] for name in AVERAGES.names[1:]})],
)
def test_a_run_with_damaged_averages_is_set_aside_and_named(bench, stored, averages, monkeypatch):
    path = stored.folder / "runs" / "bc.hopper.1.0.parquet"
    file = pq.ParquetFile(path)
    record, rows = json.loads(file.metadata.metadata[b"run"]), file.read()
    with monkeypatch.context() as patch, open(path, "wb") as target:
        patch.setattr(runfile, "averages", lambda rows: json.loads(averages))
        runfile.write(target, record, rows)
    before = path.read_bytes()
    with pytest.warns(SetAside, match=f"{path.name} .* its averages cannot be read; delete it to run it again"):
        runs, found = stored.averages()
    assert len(runs) == 3
    assert "bc.hopper.1.0" not in set(found["run_id"])
    assert reasons(stored) == {path.name: ("its averages cannot be read; delete it to run it again", True)}
    assert bench("verify", "results")[0] == 1
    assert path.read_bytes() == before


def test_what_holds_no_runs_is_not_called_well(bench, stored):
    Path("empty").mkdir()
    code, _, error = bench("verify", "empty")
    assert (code, "there are no runs in empty; make some with" in error) == (2, True)
    code, _, error = bench("verify", ".")
    assert (code, error) == (2, "error: . is no results folder; there are results\n")


@pytest.mark.parametrize("episodes", [(), (4,), (4, 7)])
def test_show_takes_any_number_of_demonstrated_episodes(bench, a_run, tmp_path, episodes):
    run, rows = a_run()
    Store(tmp_path / "results").write(run | {"episode_ids": list(episodes)}, rows)
    code, out, _ = bench("show", run["run_id"], "results")
    assert code == 0
    (line,) = [line for line in out.splitlines() if line.startswith("episode_ids")]
    assert line.split()[1:] == (", ".join(map(str, episodes)) or "-").split()


def test_ls_lists_runs_and_filters_them(bench, stored):
    code, out, _ = bench("ls", "results")
    assert code == 0
    assert out.count("completed") == 3 + 1
    assert "value was nan" in out
    assert out.endswith("4 runs: 3 completed, 1 diverged\n")
    assert bench("ls", "results", "--method", "gail", "--status", "diverged")[1].endswith("1 run: 1 diverged\n")
    assert bench("ls", "results", "--status", "failed")[1] == "0 runs\n"
    code, _, error = bench("ls", "results", "--task", "hoper")
    assert code == 2
    assert "--task hoper: did you mean hopper?" in error


def test_show_gives_the_record_and_the_evaluations(bench, stored):
    out = bench("show", "bc.hopper.1.0", "results")[1]
    run, rows = stored.runs().iloc[0], stored.evaluations()
    assert all(text in out for text in (run["commit"], run["cpu"], run["started"], "final"))
    last = rows[(rows["run_id"] == run["run_id"]) & rows["final"]]["return"].mean()
    assert f"{last:,.1f}" in out
    out = bench("show", "gail.hopper.1.1", "results")[1]
    assert "value was nan" in out
    assert "No evaluation is stored." in out
    assert "2 runs begin with bc" in bench("show", "bc", "results")[2]
    assert "there is no run bc.hoper.1.0: did you mean bc.hopper.1.0?" in bench("show", "bc.hoper.1.0", "results")[2]


@pytest.mark.parametrize("kind", ["csv", "parquet", "json"])
def test_exported_rows_are_the_stored_ones(bench, stored, kind):
    assert bench("export", f"rows.{kind}", "results", "--status", "completed")[0] == 0
    read = {
        "csv": pd.read_csv,
        "parquet": pd.read_parquet,
        "json": lambda path: pd.DataFrame(json.loads(Path(path).read_text())),
    }
    found, expected = read[kind](f"rows.{kind}"), stored.evaluations()
    columns = [name for name in expected if not expected[name].isna().all()]
    pd.testing.assert_frame_equal(found[columns], expected[columns], check_dtype=False, check_exact=True)
    assert set(found["commit"]) == set(stored.runs()["commit"])
    assert set(stored.runs().columns) <= set(found.columns)
    assert bench("export", f"runs.{kind}", "results", "--rows", "runs", "--method", "gail")[0] == 0
    assert read[kind](f"runs.{kind}")["run_id"].tolist() == ["gail.hopper.1.0", "gail.hopper.1.1"]


def test_export_overwrites_only_by_force(bench, stored):
    Path("rows.csv").write_text("mine")
    code, _, error = bench("export", "rows.csv", "results")
    assert (code, "rows.csv exists already; add --force" in error) == (2, True)
    assert Path("rows.csv").read_text() == "mine"
    assert bench("export", "rows.csv", "results", "--force")[0] == 0
    assert len(pd.read_csv("rows.csv")) == len(stored.evaluations())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("verify", "nowhere"), "there is no folder nowhere"),
        (("export", "rows.xls", "results"), "must end in .csv, .parquet, .json"),
        (("export", "rows.csv", "results", "--rows", "seeds"), "it must be evaluations or runs"),
        (("export", "file/rows.csv", "results"), "cannot be written"),
    ],
)
def test_mistakes_are_one_line(bench, stored, arguments, message):
    Path("file").touch()
    code, _, error = bench(*arguments)
    assert code == 2
    assert message in error
    assert error.count("\n") == 1
