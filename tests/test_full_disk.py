"""A full disk and a read-only folder, for real: small file systems in memory, where this process may mount them."""

import contextlib
import os
import subprocess
import sys

import pytest

from benchmarks.store.store import Store
from benchmarks.store.verification import verify


@pytest.fixture
def mounted(tmp_path):
    """Mount a file system of some KiB at `tmp_path/small`, with more options of `mount`."""
    place = tmp_path / "small"
    place.mkdir()

    def mount(*options):
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(place)], capture_output=True, check=False
        )
        if done.returncode != 0:
            pytest.skip("this process may not mount file systems")
        return place

    try:
        yield mount
    finally:
        subprocess.run(["umount", "--lazy", str(place)], capture_output=True, check=False)


@pytest.fixture(autouse=True)
def only_linux():
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting needs root on Linux")


def run(out, seeds="0-1", workers=0):
    command = [sys.executable, "-m", "benchmarks", "run", "--methods", "toy_methods:WALKER", "--seeds", seeds]
    command += ["--tasks", "inverted-pendulum", "--steps", "60", "--eval-episodes", "2", "--workers", str(workers)]
    command += ["--checkpoint-minutes", "0", "--no-report", "--out", str(out)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def fill(folder):
    """Use all the space that is left."""
    with open(folder / "filler", "wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))


def assert_refused(done):
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stderr.startswith("error: cannot write to ")
    assert done.stderr.count("\n") == 1
    assert "make room there or choose another" in done.stderr


def test_a_full_disk_is_told_in_one_line_and_nothing_is_damaged(mounted):
    folder = mounted("size=1m")
    out = folder / "out"
    assert run(out).returncode == 0
    before = {path: path.read_bytes() for path in (out / "runs").iterdir()}
    fill(folder)
    for workers in (0, 1):
        done = run(out, seeds="0-3", workers=workers)
        assert_refused(done)
        assert "No space left on device" in done.stderr
        assert {path: path.read_bytes() for path in (out / "runs").iterdir()} == before
        assert verify(Store(out)) == (2, [])
    (folder / "filler").unlink()
    assert run(out, seeds="0-3").returncode == 0
    assert set(Store(out).runs()["status"]) == {"completed"}
    assert len(Store(out).runs()) == 4
    assert [path.name for path in out.iterdir()] == ["runs"]


def test_a_read_only_folder_is_told_in_one_line_before_any_run_and_can_be_reported_no_less(mounted):
    folder = mounted("size=4m")
    assert run(folder / "out").returncode == 0
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    for workers in (0, 1):
        assert_refused(run(folder / "out", seeds="0-3", workers=workers))
        assert run(folder / "out", workers=workers).returncode == 0, "there is nothing to make"
    report = [sys.executable, "-m", "benchmarks", "report", str(folder / "out")]
    done = subprocess.run(report, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Read-only file system; make room there or copy the folder" in done.stderr
    assert "Walker" in done.stdout, "the tables are shown all the same"
