"""One holder per run, whatever dies or races; other machines are played by renaming the holder's file."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from benchmarks.kit.errors import UserError
from benchmarks.run import locks
from benchmarks.run.locks import Locks, holders

RUNS = ("a-run", "b-run")


def holder(folder, run_id="a-run"):
    (path,) = (Path(folder) / "locks" / run_id).iterdir()
    return path


def elsewhere(folder, silent):
    """The run's holder becomes one on another machine, silent for so many seconds."""
    path = holder(folder)
    moved = path.rename(path.with_name("far-away-012345-678901-abcdef.77.1234.0a1b2c3d"))
    os.utime(moved, (time.time() - silent,) * 2)


def test_a_run_has_one_holder_until_it_is_released(tmp_path):
    mine, other = Locks(tmp_path), Locks(tmp_path)
    assert mine.take(RUNS) == set(RUNS)
    assert other.take(("b-run", "c-run")) == {"c-run"}
    assert f"process {os.getpid()} on " in holders(tmp_path)["a-run"]
    assert holders(tmp_path, ["d-run"]) == {}
    mine.release(["a-run"])
    assert other.take(RUNS) == {"a-run"}
    assert other.confirm(("a-run", "c-run"))
    assert not other.confirm(("a-run", "b-run"))


def test_a_dead_process_loses_its_runs_at_once(tmp_path):
    code = f"from benchmarks.run.locks import Locks; print(Locks({str(tmp_path)!r}).take({RUNS!r}))"
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert holder(tmp_path).exists()
    assert "a-run" not in holders(tmp_path)
    assert Locks(tmp_path).take(RUNS) == set(RUNS)


def test_another_process_with_the_same_number_is_not_the_holder(tmp_path):
    Locks(tmp_path).take(RUNS)
    host, process, started, word = holder(tmp_path).name.rsplit(".", 3)
    holder(tmp_path).rename(holder(tmp_path).with_name(f"{host}.{process}.{int(started) - 1}.{word}"))
    assert Locks(tmp_path).take(("a-run",)) == {"a-run"}


@pytest.mark.parametrize(("part", "gone"), [(1, False), (2, True), (3, False)])
def test_a_restart_of_this_machine_frees_its_runs_but_another_of_its_name_keeps_them(tmp_path, part, gone):
    Locks(tmp_path).take(RUNS)
    place, process, started, word = holder(tmp_path).name.rsplit(".", 3)
    parts = place.rsplit("-", 3)  # name, hardware, start of the machine, name space of processes
    parts[part] = "0" * 6
    moved = holder(tmp_path).rename(holder(tmp_path).with_name(f"{'-'.join(parts)}.{process}.{started}.{word}"))
    assert Locks(tmp_path).take(("a-run",)) == set(), "it may be one that has the same name and address"
    os.utime(moved, (time.time() - 4 * locks.PULSE_SECONDS,) * 2)
    assert Locks(tmp_path).take(("a-run",)) == ({"a-run"} if gone else set())


def test_processes_that_cannot_be_looked_at_are_asked_for(tmp_path, monkeypatch):
    """As where /proc is mounted with hidepid, for other users' processes."""
    Locks(tmp_path).take(RUNS)
    dead, read = subprocess.Popen(["true"]), Path.read_text
    dead.wait()
    host, _, started, word = holder(tmp_path, "b-run").name.rsplit(".", 3)
    holder(tmp_path, "b-run").rename(holder(tmp_path, "b-run").with_name(f"{host}.{dead.pid}.{started}.{word}"))

    def hidden(path, *how):
        if path.name == "stat":
            raise FileNotFoundError
        return read(path, *how)

    monkeypatch.setattr(Path, "read_text", hidden)
    assert Locks(tmp_path).take(RUNS) == {"b-run"}


def test_a_lock_that_is_taken_over_never_looks_silent(tmp_path, monkeypatch):
    Locks(tmp_path).take(("a-run",))
    elsewhere(tmp_path, silent=2 * locks.EXPIRY_SECONDS)
    rename, ages = Path.rename, []

    def then_look(path, target):
        moved = rename(path, target)
        ages.append(time.time() - moved.stat().st_mtime)
        return moved

    monkeypatch.setattr(Path, "rename", then_look)
    assert Locks(tmp_path).take(("a-run",)) == {"a-run"}
    assert max(ages) < locks.EXPIRY_SECONDS


def test_another_machine_keeps_its_runs_while_it_gives_signs_of_life(tmp_path):
    first = Locks(tmp_path)
    first.take(RUNS)
    elsewhere(tmp_path, silent=locks.EXPIRY_SECONDS / 2)
    assert holders(tmp_path)["a-run"] == "process 77 on far-away"
    assert Locks(tmp_path).take(RUNS) == set()
    os.utime(holder(tmp_path), (time.time() - 2 * locks.EXPIRY_SECONDS,) * 2)
    assert "a-run" not in holders(tmp_path)
    assert Locks(tmp_path).take(RUNS) == {"a-run"}
    assert not first.confirm(["a-run"]), "whoever was silent too long learns that the run is lost"
    assert first.confirm(["b-run"])


def test_only_one_of_many_takes_over_from_the_dead(tmp_path):
    winners = []
    for _ in range(20):
        Locks(tmp_path).take(("a-run",))
        elsewhere(tmp_path, silent=2 * locks.EXPIRY_SECONDS)
        start, crowd = threading.Barrier(4), [Locks(tmp_path) for _ in range(4)]

        def rush(one, start=start):
            start.wait()
            one.take(("a-run",))

        threads = [threading.Thread(target=rush, args=(one,)) for one in crowd]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (winner,) = [one for one in crowd if one.confirm(["a-run"])]
        winners.append(winner)
        assert sum(bool(one.held) for one in crowd) == 1
        winner.release(["a-run"])
    assert len(winners) == 20


def test_what_a_kill_leaves_between_two_steps_is_no_obstacle(tmp_path):
    (tmp_path / "locks" / "a-run").mkdir(parents=True)  # released by half
    (tmp_path / "locks" / ".far-away-012345-678901-abcdef.77.1234.0a1b2c3d").mkdir()  # taken by half
    assert Locks(tmp_path).take(RUNS) == set(RUNS)


def test_what_the_dead_left_is_swept_away(tmp_path):
    code = f"from benchmarks.run.locks import Locks; Locks({str(tmp_path)!r}).take({RUNS!r})"
    subprocess.run([sys.executable, "-c", code], check=True)
    half = holder(tmp_path).name
    (tmp_path / "locks" / f".{half}").mkdir()
    elsewhere(tmp_path, silent=0)
    with Locks(tmp_path):
        pass
    assert [path.name for path in (tmp_path / "locks").iterdir()] == ["a-run"], "its holder is alive elsewhere"
    os.utime(holder(tmp_path), (0, 0))
    with Locks(tmp_path) as mine:
        mine.take(["c-run"])
    assert not (tmp_path / "locks").exists()


def test_signs_of_life_are_given_while_a_block_runs(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "PULSE_SECONDS", 0.01)
    with Locks(tmp_path) as held:
        held.take(RUNS)
        os.utime(holder(tmp_path), (0, 0))
        end = time.monotonic() + 10
        while holder(tmp_path).stat().st_mtime < 1 and time.monotonic() < end:
            time.sleep(0.01)
        assert holder(tmp_path).stat().st_mtime > 1
    assert not (tmp_path / "locks").exists()


def test_a_folder_that_cannot_be_written_to_is_a_user_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write to"):
        Locks(tmp_path / "file").take(RUNS)
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / "a-run").touch()
    with pytest.raises(UserError, match=rf"cannot write to {tmp_path}: Not a directory \({tmp_path}/locks/a-run\)"):
        Locks(tmp_path).take(RUNS)


def test_a_run_that_is_let_go_during_the_look_is_taken(tmp_path, monkeypatch):
    other, rename = Locks(tmp_path), Path.rename
    other.take(("a-run",))

    def then_let_go(path, target):
        try:
            return rename(path, target)
        except OSError:
            other.release(["a-run"])
            raise

    monkeypatch.setattr(Path, "rename", then_let_go)
    assert Locks(tmp_path).take(("a-run",)) == {"a-run"}


@pytest.mark.parametrize("shift", [-86_400, -600, 600, 86_400])
def test_a_machine_whose_clock_is_wrong_neither_takes_nor_sweeps_what_is_alive(tmp_path, monkeypatch, shift):
    wrong = time.time() + shift
    monkeypatch.setattr(time, "time", lambda: wrong)  # the files go on being dated by the server
    Locks(tmp_path).take(RUNS)
    elsewhere(tmp_path, silent=0)
    os.utime(holder(tmp_path))
    assert Locks(tmp_path).take(["a-run"]) == set()
    assert holders(tmp_path)["a-run"] == "process 77 on far-away"
    with Locks(tmp_path):
        pass
    assert holder(tmp_path).exists()
    os.utime(holder(tmp_path), (holder(tmp_path).stat().st_mtime - 2 * locks.EXPIRY_SECONDS,) * 2)
    assert "a-run" not in holders(tmp_path)
    assert Locks(tmp_path).take(["a-run"]) == {"a-run"}


@pytest.mark.parametrize("name", [".a.b.c", "notes.v1.2.txt", "far-away-012345-678901-abcdef.0.1.0a1b2c3d"])
def test_what_is_no_lock_is_named_and_left_alone(tmp_path, name):
    stranger = tmp_path / "locks" / "a-run" / name
    stranger.parent.mkdir(parents=True)
    stranger.write_text("mine")
    (tmp_path / "locks" / ".a.b.c").mkdir()
    os.utime(stranger, (0, 0))
    with pytest.raises(UserError, match=f"{name} is no lock of this suite; remove it"):
        Locks(tmp_path).take(["a-run"])
    assert holders(tmp_path) == {}
    with Locks(tmp_path):
        pass
    assert stranger.read_text() == "mine"


def test_planted_links_are_not_followed(tmp_path):
    Locks(tmp_path / "other").take(["a-run"])
    theirs = holder(tmp_path / "other")
    os.utime(theirs, (0, 0))
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / "a-run").symlink_to(theirs.parent)
    with pytest.raises(UserError, match="cannot write to"):
        Locks(tmp_path).take(["a-run"])
    with Locks(tmp_path):
        pass
    assert theirs.exists()
    assert holders(tmp_path) == {}
    (tmp_path / "third").mkdir()
    (tmp_path / "third" / "locks").symlink_to(tmp_path / "other" / "locks")
    with pytest.raises(OSError, match="symbolic link"):
        holders(tmp_path / "third")


def test_a_folder_to_look_at_only_shows_its_holders(tmp_path, monkeypatch):
    Locks(tmp_path).take(RUNS)
    elsewhere(tmp_path, silent=10)

    def read_only(probe):
        raise PermissionError

    monkeypatch.setattr(locks, "server_time", read_only)
    assert holders(tmp_path).keys() == set(RUNS)
