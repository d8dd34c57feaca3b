import errno
import json
import os
import re
import shutil
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.kit.errors import UserError
from benchmarks.store import runfile
from benchmarks.store.schema import AVERAGES, EVALUATIONS, RUNS, SCHEMA_VERSION, written
from benchmarks.store.store import SetAside, Store
from benchmarks.store.verification import verify


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
        ({"status": "fine"}, "its status is none of completed, failed, diverged, timeout"),
        ({"run_id": "../escape"}, "no safe file name"),
        ({"run_id": ".hidden"}, "no safe file name"),
        ({"seed": 7}, r"evaluation column seed holds \[0\], the run says 7"),
        ({"config": "no JSON"}, "its record has no sound config"),
        ({"train_seconds": float("nan")}, "its record has no sound train_seconds"),
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


def test_a_stored_run_is_replaced(tmp_path, a_run):
    store = Store(tmp_path)
    store.write(*a_run(status="failed"))
    store.write(*a_run())
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
        assert len(caught) == 3, "an equal copy does no harm"
        assert all(name in named for name in ("bc.hopper.1.1.parquet", "foreign.parquet", "empty.parquet"))
    assert store.status("bc.hopper.1.1") is None, "a torn run may be run again"
    store.write(*a_run(seed=1))
    assert store.status("bc.hopper.1.1") == "completed"


def test_rows_of_a_newer_schema_version_are_set_aside(tmp_path, a_run, monkeypatch):
    monkeypatch.setattr("benchmarks.store.schema.SCHEMA_VERSION", SCHEMA_VERSION + 1)
    Store(tmp_path).write(*a_run())
    monkeypatch.undo()
    with pytest.warns(
        SetAside, match=f"schema version {SCHEMA_VERSION + 1}, this version reads up to {SCHEMA_VERSION}"
    ):
        assert Store(tmp_path).runs().empty


def older(path, version, change=lambda table: table, averages=None):
    """Turn a stored run into what an older version wrote, perhaps with changed rows or averages."""
    stored = pq.ParquetFile(path)
    metadata = {name.decode(): text for name, text in stored.metadata.metadata.items()}
    record = json.loads(metadata["run"]) | {"schema": version}
    for name in ("dataset_notes", "audit", "policy_sha256", *["changes"] * (version == 1)):
        del record[name]
    kept = {"run": json.dumps(record)} | ({"averages": averages or metadata["averages"]} if version == 4 else {})
    table = stored.read().drop_columns(["kl", "kl_uniform"] if version < 3 else [])
    pq.write_table(change(table).cast(written(version)).replace_schema_metadata(kept), path)


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_files_of_older_versions_are_still_read(tmp_path, a_run, version):
    store, (run, evaluations) = Store(tmp_path), a_run()
    path = store.write(run, evaluations)
    expected, means = store.evaluations(), store.averages()[1]
    older(path, version)
    runs, found = store.runs(), store.evaluations()
    assert runs["changes"].tolist() == ["{}" if version == 1 else run["changes"]]
    assert set(runs["schema"]) == {SCHEMA_VERSION}
    assert runs[["dataset_notes", "audit", "policy_sha256"]].isna().all(axis=None)
    later = {"kl", "kl_uniform"} if version < 3 else set()
    assert found[list(later)].isna().all(axis=None)
    assert list(found.columns) == list(expected.columns)
    pd.testing.assert_frame_equal(found.drop(columns=later), expected.drop(columns=later))
    pd.testing.assert_frame_equal(store.averages()[1].drop(columns=later), means.drop(columns=later))
    assert verify(store) == (1, [])


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda rows: [*rows[:-1], rows[0]], "an evaluation episode is there twice"),
        (lambda rows: [row | {"final": False} for row in rows], "completed but has no final evaluation"),
        (lambda rows: [row | {"seed": 7} for row in rows], r"evaluation column seed holds \[7\], the run says 0"),
        (lambda rows: [row | {"return": 7.0} for row in rows], "its averages, which reports use, are not those of its"),
    ],
)
def test_rows_of_older_files_are_checked_when_they_are_verified(tmp_path, a_run, change, reason):
    store = Store(tmp_path)
    averages = None
    path = store.write(*a_run())
    if "final" in reason:  # the averages say so, too
        averages = json.dumps(runfile.averages(pa.Table.from_pylist(change(a_run()[1]), EVALUATIONS)))
    older(path, 4, lambda table: pa.Table.from_pylist(change(table.to_pylist()), written(4)), averages)
    found = [finding.reason for finding in verify(store)[1]]
    assert any(re.search(reason, text) for text in found), found


def test_results_that_were_committed_long_ago_are_still_read():
    store = Store(Path(__file__).parent.parent / "results" / "quick-reference")
    paths = (store.folder / "runs").glob("*.parquet")
    versions = {json.loads(pq.read_schema(path).metadata[b"run"])["schema"] for path in paths}
    assert versions == {1}
    runs, averages = store.averages()
    assert len(runs) == 48
    assert set(averages["run_id"]) == set(runs["run_id"])


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_failed_write_leaves_nothing_and_keeps_the_old(tmp_path, a_run, monkeypatch, call):
    store = Store(tmp_path)
    store.write(*a_run(status="failed"))
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.parquet")}

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, call, full)
    with pytest.raises(UserError, match=rf"cannot write to {tmp_path / 'runs'}: No space left on device"):
        store.write(*a_run())
    monkeypatch.undo()
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_folder_that_cannot_be_made_is_a_user_error(tmp_path, a_run):
    (tmp_path / "results").write_text("a file, not a folder")
    with pytest.raises(UserError, match=r"cannot write to .*results/runs"):
        Store(tmp_path / "results").write(*a_run())


def test_of_different_results_of_a_run_the_completed_one_counts_then_the_latest(tmp_path, a_run):
    here, there = Store(tmp_path / "here"), Store(tmp_path / "there")
    days = ("2026-01-01", "2026-01-02", "2026-01-03")
    for number, (status, day) in enumerate([("failed", days[2]), ("completed", days[0]), ("completed", days[1])]):
        run, rows = a_run(status=status)
        run, rows = run | {"started": day}, [row | {"return": float(number)} for row in rows]
        copy = there.write(run, rows)
        if number == 0:
            named = here.write(run, rows)
        shutil.copy(copy, named.with_name(f"conflict {number}.parquet"))
    here.write(*a_run(seed=5))
    with pytest.warns(SetAside) as caught:
        runs, averages = here.averages()
    assert runs["run_id"].tolist() == ["bc.hopper.1.0", "bc.hopper.1.5"]
    assert (runs["status"] == "completed").all()
    assert runs["started"][0] == days[1]
    assert set(averages[averages["run_id"] == "bc.hopper.1.0"]["return"]) == {2.0}
    assert [str(w.message).partition(" in ")[0] for w in caught] == ["bc.hopper.1.0.parquet", "conflict 1.parquet"]
    assert "conflict 2.parquet holds a better result" in str(caught[1].message)
    named.unlink()  # only copies under other names are left
    with pytest.warns(SetAside):
        assert set(here.evaluations()["return"][:2]) == {2.0}


def test_averages_are_means_over_episodes(tmp_path, a_run):
    store = Store(tmp_path)
    generator = np.random.default_rng(0)
    for seed in range(3):
        run, rows = a_run(seed=seed)
        generator.shuffle(rows)
        for row in rows:
            row |= {name: generator.normal() for name in ("return", "normalized", "kl", "kl_uniform")}
        rows[0]["kl"] = None
        store.write(run, rows)
    store.write(a_run(seed=3, status="failed")[0], [])
    runs, found = store.averages()
    pd.testing.assert_frame_equal(runs, store.runs())
    assert found.columns.tolist() == AVERAGES.names
    groups = store.evaluations().groupby(["run_id", "step", "update", "final"])
    expected = groups[["return", "normalized", "kl", "kl_uniform"]].mean(skipna=False)
    expected.insert(0, "episodes", groups.size())
    assert expected["kl"].isna().sum() == 3
    expected = expected.reset_index().astype({"run_id": found["run_id"].dtype})  # pyarrow and pandas each have theirs
    pd.testing.assert_frame_equal(found, expected)


def test_an_episode_that_is_there_twice_is_refused(tmp_path, a_run):
    run, rows = a_run()
    with pytest.raises(ValueError, match="an evaluation episode is there twice"):
        Store(tmp_path).write(run, [*rows, rows[0]])


def test_any_flipped_bit_is_noticed_by_every_reader(tmp_path, a_run, generator):
    store = Store(tmp_path)
    path = store.write(*a_run())
    whole = path.read_bytes()
    for position in [*generator.integers(0, 8 * len(whole), 300), *range(8 * len(whole) - 80, 8 * len(whole))]:
        flipped = bytearray(whole)
        flipped[position // 8] ^= 1 << (position % 8)
        path.write_bytes(flipped)
        for read in (runfile.read, runfile.read_averages, runfile.read_whole):
            with pytest.raises(runfile.NotARunError):
                read(path)
    path.write_bytes(whole)
    assert verify(store) == (1, [])


def test_a_file_that_lost_its_digest_is_damaged(tmp_path, a_run):
    path = Store(tmp_path).write(*a_run())
    stored = pq.ParquetFile(path)
    metadata = {name: text for name, text in stored.metadata.metadata.items() if name != b"digest"}
    pq.write_table(stored.read().replace_schema_metadata(metadata), path)
    with pytest.raises(runfile.NotARunError, match="it is damaged, its content is not what was written"):
        runfile.read(path)


def with_record(path, changes):
    """Another record, with a digest that fits, as a careless or hostile writer makes."""
    stored = pq.ParquetFile(path)
    record, rows = json.loads(stored.metadata.metadata[b"run"]) | changes, stored.read()
    with open(path, "wb") as file:
        runfile.write(file, record, rows)


@pytest.mark.parametrize(
    "changes",
    [
        {"label": 7}, {"privileged": "no"}, {"demos": 1.5}, {"demos": True}, {"seed": 2**70}, {"episode_ids": ["a"]},
        {"episode_ids": None}, {"status": "fine"}, {"run_id": "../../escape"}, {"train_seconds": float("inf")},
        {"versions": "[]"}, {"changes": "{"}, {"audit": "{}"}, {"surprise": 1}, {"started": None},
        {"label": "\ud800"}, {"config": '{"rate": "\\ud800"}'},
    ],
)  # fmt: skip
def test_records_of_wrong_types_are_set_aside(tmp_path, a_run, changes):
    store = Store(tmp_path)
    store.write(*a_run())
    bad = store.write(*a_run(seed=1))
    with_record(bad, changes)
    for read in (store.runs, store.averages, store.evaluations):
        with pytest.warns(SetAside, match=rf"{bad.name} .* is set aside: its (record|columns|status|run_id)"):
            read()
    assert [(path.name, wrong) for path, _, wrong in verify(store)[1]] == [(bad.name, True)]
    assert store.status("bc.hopper.1.1") is None


def test_rows_of_wrong_types_are_set_aside(tmp_path, a_run):
    store, averages = Store(tmp_path), runfile.averages
    path = store.write(*a_run())
    record, rows = runfile.read(path, EVALUATIONS.names)
    strange = rows.set_column(rows.schema.get_field_index("step"), "step", pa.array(["x"] * len(rows)))
    with open(path, "wb") as file, pytest.MonkeyPatch.context() as patch:
        patch.setattr(runfile, "averages", lambda _: averages(rows))
        runfile.write(file, record, strange)
    with pytest.warns(SetAside, match="its rows cannot be read"):
        assert store.evaluations().empty


def test_a_run_that_cannot_be_opened_is_named(tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "x.parquet").symlink_to("x.parquet")
    for ask in (Store(tmp_path).stamp, Store(tmp_path).record):
        with pytest.raises(UserError, match=r"x\.parquet cannot be read: .*; move it away, or mend it"):
            ask("x")


def test_nothing_among_the_runs_is_waited_for_or_followed(tmp_path, a_run):
    folder, victim = tmp_path / "results", tmp_path / "victim"
    store = Store(folder)
    store.write(*a_run())
    victim.mkdir()
    (victim / "thesis.parquet").write_text("precious")
    runs = folder / "runs"
    os.mkfifo(runs / "pipe.parquet")
    (runs / "endless.parquet").symlink_to("/dev/zero")
    (runs / "bc.hopper.1.1.parquet").symlink_to(victim / "thesis.parquet")
    (runs / "bc.hopper.1.2.parquet").symlink_to(victim / "new.parquet")
    (runs / ".planted.together").symlink_to(victim)
    (runs / ".planted.tmp").symlink_to(victim)
    (runs / ".odd.together").mkdir()
    (runs / ".odd.together" / "...parquet").touch()  # which would be the run ".."
    os.utime(runs / ".planted.tmp", (0, 0), follow_symlinks=False)
    with pytest.warns(SetAside) as caught:
        assert len(store.runs()) == 1
    assert sorted(str(w.message).partition(" in ")[0] for w in caught) == [
        "bc.hopper.1.1.parquet", "bc.hopper.1.2.parquet", "endless.parquet", "pipe.parquet",
    ]  # fmt: skip
    store.recover(lambda run_ids: nullcontext(True))
    assert not (runs / ".planted.tmp").is_symlink()
    assert (runs / ".odd.together" / "...parquet").exists()
    for seed in (1, 2):
        with pytest.raises(UserError, match=r"is a symbolic link, which is not followed; remove it"):
            store.write(*a_run(seed=seed))
    assert {path.name: path.read_text() for path in victim.iterdir()} == {"thesis.parquet": "precious"}


def test_runs_in_a_planted_folder_are_not_written(tmp_path, a_run):
    (tmp_path / "results").mkdir()
    (tmp_path / "victim").mkdir()
    (tmp_path / "results/runs").symlink_to(tmp_path / "victim")
    store = Store(tmp_path / "results")
    for write in (lambda: store.write(*a_run()), lambda: store.write_together([a_run()])):
        with pytest.raises(UserError, match="results/runs is a symbolic link, which is not followed"):
            write()
    assert not list((tmp_path / "victim").iterdir())


def test_a_folder_in_the_place_of_a_run_is_told_before_anything_is_run(tmp_path):
    (tmp_path / "runs" / "a-run.parquet").mkdir(parents=True)
    with pytest.raises(UserError, match=r"runs/a-run\.parquet cannot be read: it is no regular file; move it away"):
        Store(tmp_path).status("a-run")
