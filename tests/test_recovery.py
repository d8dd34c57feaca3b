"""What kills leave: runs written together, halves of files, and who mends them."""

import errno
import os
from contextlib import nullcontext
from functools import partial
from pathlib import Path

import pytest

from benchmarks.kit.errors import UserError
from benchmarks.store import policies
from benchmarks.store.store import Store
from benchmarks.store.verification import verify


def alone(run_ids):
    """Nobody is at work."""
    return nullcontext(True)


def test_runs_written_together_appear_together(tmp_path, a_run, monkeypatch):
    store, runs = Store(tmp_path), [a_run(seed=seed) for seed in range(3)]
    copied = store.write(*a_run(seed=0, status="failed"))
    os.utime(copied, (2**32, 2**32))  # by a clock that was wrong
    killed_before("bc.hopper.1.1.parquet", monkeypatch, lambda: store.write_together(runs))
    asked = []
    store.recover(lambda run_ids: nullcontext(asked.append(run_ids)))
    assert asked == [["bc.hopper.1.1", "bc.hopper.1.2"]]
    assert len(store.runs()) == 1, "their process is at work"
    store.recover(alone)
    assert store.runs()["status"].tolist() == ["completed"] * 3
    assert {path.suffix for path in (tmp_path / "runs").iterdir()} == {".parquet"}
    store.recover(lambda run_ids: pytest.fail("there is nothing left to recover"))


def killed_before(name, monkeypatch, write):
    """Write, in a process that dies once a file would take its place."""
    replace = os.replace

    def killed(source, target):
        if target.name == name and target.parent.name in ("runs", "policies"):
            raise KeyboardInterrupt
        replace(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            write()


@pytest.mark.parametrize("kind", ["safetensors", "parquet"])
def test_a_run_that_is_made_again_has_its_policy_after_any_kill(tmp_path, a_run, monkeypatch, kind):
    store = Store(tmp_path)
    for policy in (b"old", b"new"):
        run, rows = a_run(policy_sha256=policies.digest(policy))
        write = partial(store.write_together, [(run, rows)], {run["run_id"]: policy})
        if policy == b"old":
            write()
        else:
            killed_before(f"{run['run_id']}.{kind}", monkeypatch, write)
    store.recover(alone)
    assert policies.read(tmp_path, store.record(run["run_id"])) == b"new"
    assert verify(store) == (1, [])


def test_what_others_recover_meanwhile_or_have_made_since_stays(tmp_path, a_run, monkeypatch):
    store, half = Store(tmp_path), tmp_path / "runs" / ".half.tmp"
    old, new = (a_run(status=status) for status in ("failed", "completed"))

    def rival(run_ids):
        half.touch()
        store.recover(alone)
        return nullcontext(True)

    def ended(probe):
        """The process ends that was writing."""
        half.unlink(missing_ok=True)
        return 0.0

    monkeypatch.setattr("benchmarks.store.store.server_time", ended)
    killed_before("bc.hopper.1.0.parquet", monkeypatch, lambda: store.write_together([old]))
    store.recover(rival)
    assert store.status("bc.hopper.1.0") == "failed"
    killed_before("bc.hopper.1.0.parquet", monkeypatch, lambda: store.write_together([old]))
    os.utime(next((tmp_path / "runs").glob(".*.together/*")), (1, 1))
    store.write(*new)
    store.recover(alone)
    assert store.status("bc.hopper.1.0") == "completed"
    assert [path.suffix for path in (tmp_path / "runs").iterdir()] == [".parquet"]


def test_runs_that_cannot_be_written_together_leave_nothing(tmp_path, a_run, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "rename", full)
    with pytest.raises(UserError, match="No space left on device"):
        Store(tmp_path).write_together([a_run(seed=seed) for seed in range(2)])
    assert not list((tmp_path / "runs").iterdir())


def test_what_killed_processes_left_half_written_is_removed_after_a_while(tmp_path, a_run):
    store = Store(tmp_path)
    store.write(*a_run())
    halves = [tmp_path / "runs" / name for name in (".old.tmp", ".young.tmp", ".folder.tmp")]
    for half in halves[:2]:
        half.touch()
    halves[2].mkdir()
    for half in halves[::2]:
        os.utime(half, (0, 0))
    store.recover(alone)
    assert [half.exists() for half in halves] == [False, True, False]


def test_files_under_each_others_names_are_both_counted(tmp_path, a_run):
    store = Store(tmp_path)
    first, second = (store.write(*a_run(seed=seed, finals=(seed, seed))) for seed in range(2))
    first.rename(tmp_path / "other")
    second.rename(first)
    (tmp_path / "other").rename(second)
    runs, averages = store.averages()
    assert runs["seed"].tolist() == [0, 1]
    assert averages.groupby("run_id")["return"].max().tolist() == [0, 1]
