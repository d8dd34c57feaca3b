import errno
import json
import os
import shutil

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from benchmarks.kit.errors import UserError
from benchmarks.store import EVALUATIONS, RUNS, SCHEMA_VERSION, SetAside, Store


def test_what_is_written_comes_back(tmp_path, a_run):
    store = Store(tmp_path)
    run, evaluations = a_run("gail", seed=3)
    path = store.write(run, evaluations)
    assert path == tmp_path / "runs" / f"{run['run_id']}.parquet"
    stored = store.runs().iloc[0]
    for name, value in run.items():
        if name == "episode_ids":
            assert list(stored[name]) == value
        elif value is None:
            assert pd.isna(stored[name])
        else:
            assert stored[name] == value, name
    assert stored["schema"] == SCHEMA_VERSION
    pd.testing.assert_frame_equal(store.evaluations(), pd.DataFrame(evaluations), check_dtype=False)
    assert store.status(run["run_id"]) == "completed"
    assert store.status("another") is None
    assert list(store.runs().columns) == RUNS.names


@pytest.mark.parametrize("folder", ["nowhere", "."])
def test_an_empty_folder_gives_empty_frames_of_the_right_kind(tmp_path, a_run, folder):
    full = Store(tmp_path / "full")
    full.write(*a_run())
    empty = Store(tmp_path / folder)
    assert len(empty.runs()) == len(empty.evaluations()) == 0
    expected, found = full.evaluations().dtypes, empty.evaluations().dtypes
    pd.testing.assert_series_equal(found, expected)
    numbers = full.runs().select_dtypes(["number", "bool"]).dtypes
    pd.testing.assert_series_equal(empty.runs().dtypes[numbers.index], numbers)
    assert list(empty.runs().columns) == RUNS.names
    assert not (tmp_path / "nowhere").exists()


def test_a_run_without_evaluations_is_stored(tmp_path, a_run):
    run, _ = a_run(status="failed", error="RuntimeError: no")
    Store(tmp_path).write(run, [])
    assert Store(tmp_path).status(run["run_id"]) == "failed"
    assert Store(tmp_path).runs()["error"].tolist() == ["RuntimeError: no"]
    assert Store(tmp_path).evaluations().empty


def test_numpy_scalars_are_accepted(tmp_path, a_run):
    run, evaluations = a_run()
    run |= {"seed": np.int64(0), "train_seconds": np.float32(1.5), "dirty": np.bool_(True)}
    for row in evaluations:
        row["return"] = np.float32(row["return"])
    Store(tmp_path).write(run, evaluations)
    assert Store(tmp_path).runs()["train_seconds"].tolist() == [1.5]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"commit": ...}, "run row lacks commit"),
        ({"surprise": 1}, "run row has unknown surprise"),
        ({"label": ..., "surprise": 1}, "run row lacks label and has unknown surprise"),
        ({"seed": None}, "run column seed must not be empty"),
        ({"seed": "zero"}, "run column seed must be int64"),
        ({"status": "fine"}, "status 'fine' is not one of completed, failed, diverged, timeout"),
        ({"run_id": "../escape"}, "no safe file name"),
        ({"run_id": ".hidden"}, "no safe file name"),
        ({"seed": 7}, r"evaluation column seed holds \[0\], the run says 7"),
    ],
)
def test_wrong_rows_are_refused_by_name(tmp_path, a_run, changes, message):
    run, evaluations = a_run()
    run = {name: value for name, value in (run | changes).items() if value is not ...}
    if "run_id" in changes:
        evaluations = [row | {"run_id": changes["run_id"]} for row in evaluations]
    with pytest.raises(ValueError, match=message):
        Store(tmp_path).write(run, evaluations)
    assert not list(tmp_path.rglob("*"))


def test_wrong_evaluation_rows_are_refused_by_name(tmp_path, a_run):
    run, evaluations = a_run()
    del evaluations[1]["length"]
    with pytest.raises(ValueError, match="evaluation row lacks length"):
        Store(tmp_path).write(run, evaluations)


def test_a_stored_run_is_replaced_only_on_request(tmp_path, a_run):
    store = Store(tmp_path)
    store.write(*a_run(status="failed"))
    with pytest.raises(UserError, match=r"bc\.hopper\.1\.0 is already in"):
        store.write(*a_run())
    assert store.status("bc.hopper.1.0") == "failed"
    store.write(*a_run(), replace=True)
    assert store.status("bc.hopper.1.0") == "completed"
    assert len(store.runs()) == 1


def test_torn_foreign_and_misnamed_files_are_set_aside(tmp_path, a_run):
    store = Store(tmp_path)
    good = store.write(*a_run(seed=0))
    torn = store.write(*a_run(seed=1))
    torn.write_bytes(torn.read_bytes()[:-20])
    pd.DataFrame({"a": [1]}).to_parquet(good.with_name("foreign.parquet"))
    shutil.copy(good, good.with_name("copy.parquet"))
    good.with_name("empty.parquet").touch()
    good.with_name(".half.parquet").touch()
    good.with_name(".half.parquet.123.tmp").touch()
    for read in (store.runs, store.evaluations):
        with pytest.warns(SetAside) as caught:
            frame = read()
        assert frame["run_id"].unique().tolist() == ["bc.hopper.1.0"]
        named = " ".join(str(warning.message) for warning in caught)
        assert len(caught) == 4
        assert all(
            name in named for name in ("bc.hopper.1.1.parquet", "foreign.parquet", "copy.parquet", "empty.parquet")
        )
    assert store.status("bc.hopper.1.1") is None, "a torn run may be run again"
    store.write(*a_run(seed=1))
    assert store.status("bc.hopper.1.1") == "completed"


def test_rows_of_a_newer_schema_version_are_set_aside(tmp_path, a_run, monkeypatch):
    monkeypatch.setattr("benchmarks.store.SCHEMA_VERSION", SCHEMA_VERSION + 1)
    Store(tmp_path).write(*a_run())
    monkeypatch.undo()
    with pytest.warns(
        SetAside, match=f"schema version {SCHEMA_VERSION + 1}, this version reads up to {SCHEMA_VERSION}"
    ):
        assert Store(tmp_path).runs().empty


def older(store, run_id, version):
    """Turn a stored run into what an older version wrote."""
    path = store.folder / "runs" / f"{run_id}.parquet"
    table = pq.read_table(path)
    record = json.loads(table.schema.metadata[b"run"]) | {"schema": version}
    if version == 1:
        del record["changes"]
    table = table.drop_columns(["kl", "kl_uniform"]).replace_schema_metadata({"run": json.dumps(record)})
    pq.write_table(table, path)


@pytest.mark.parametrize("version", [1, 2])
def test_files_of_older_versions_are_still_read(tmp_path, a_run, version):
    store, (run, evaluations) = Store(tmp_path), a_run()
    store.write(run, evaluations)
    expected = store.evaluations()
    older(store, run["run_id"], version)
    runs, found = store.runs(), store.evaluations()
    assert runs["changes"].tolist() == ["{}" if version == 1 else run["changes"]]
    assert set(runs["schema"]) == {SCHEMA_VERSION}
    assert found[["kl", "kl_uniform"]].isna().all(axis=None)
    assert list(found.columns) == list(expected.columns)
    same = [name for name in expected.columns if not name.startswith("kl")]
    pd.testing.assert_frame_equal(found[same], expected[same])


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failed_write_leaves_nothing_and_keeps_the_old(tmp_path, a_run, monkeypatch, call):
    store = Store(tmp_path)
    store.write(*a_run(status="failed"))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")}

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(UserError, match=rf"cannot write to {tmp_path / 'runs'}: No space left on device"):
        store.write(*a_run(), replace=True)
    monkeypatch.undo()
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_folder_that_cannot_be_made_is_a_user_error(tmp_path, a_run):
    (tmp_path / "results").write_text("a file, not a folder")
    with pytest.raises(UserError, match=r"cannot write to .*results/runs"):
        Store(tmp_path / "results").write(*a_run())


def test_exports_are_sorted_repeatable_and_never_read_back(tmp_path, a_run):
    order = [("bc", 0), ("gail", 1), ("gail", 0)]
    for name, runs in (("one", order), ("two", order[::-1])):
        store = Store(tmp_path / name)
        for method, seed in runs:
            store.write(*a_run(method, seed=seed))
        store.export()
    for file in ("runs.parquet", "evaluations.parquet"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    exported = pd.read_parquet(tmp_path / "one" / "evaluations.parquet")
    assert exported.equals(exported.sort_values(["run_id", "step", "update", "episode"], ignore_index=True))
    assert pq.read_schema(tmp_path / "one" / "evaluations.parquet").names == EVALUATIONS.names
    assert len(Store(tmp_path / "one").runs()) == 3


def test_files_are_compressed_with_zstd(tmp_path, a_run):
    metadata = pq.ParquetFile(Store(tmp_path).write(*a_run())).metadata
    assert metadata.row_group(0).column(0).compression == "ZSTD"
