import os

import pytest

from benchmarks.files import PARTIAL, inside, read_regular, staged, whole_file


def make(partial, name, content="whole"):
    (partial / name).mkdir(parents=True)
    (partial / name / "file").write_text(content)


def visible(root):
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file() and not p.name.startswith("."))


def test_a_folder_appears_whole(tmp_path):
    with staged(tmp_path, "a/b") as partial:
        make(partial, "a/b")
        (partial / "a" / "description").write_text("of a")
        assert visible(tmp_path / PARTIAL) == ["a/b/file", "a/description"]
        assert not (tmp_path / "a").exists()
    assert visible(tmp_path) == ["a/b/file", "a/description"]
    assert not (tmp_path / PARTIAL).exists()


def test_a_failure_leaves_nothing(tmp_path):
    def fail():
        with staged(tmp_path, "a/b") as partial:
            make(partial, "a/b")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert visible(tmp_path) == []


def test_what_a_killed_process_left_is_removed(tmp_path):
    make(tmp_path / PARTIAL, "a/b", "half")
    make(tmp_path / PARTIAL, "other", "half")
    with staged(tmp_path, "a/b") as partial:
        make(partial, "a/b")
    assert visible(tmp_path) == ["a/b/file"]
    assert (tmp_path / "a/b/file").read_text() == "whole"


def test_what_is_there_already_stays(tmp_path):
    make(tmp_path, "a/b", "first")
    (tmp_path / "a" / "description").write_text("first")
    with staged(tmp_path, "a/b") as partial:
        assert partial is None
    with staged(tmp_path, "a/c") as partial:
        make(partial, "a/c", "second")
        (partial / "a" / "description").write_text("second")
    assert (tmp_path / "a/b/file").read_text() == (tmp_path / "a/description").read_text() == "first"
    assert (tmp_path / "a/c/file").read_text() == "second"


def test_places_below_a_folder_follow_nothing_that_was_planted(tmp_path):
    folder, victim = tmp_path / "results", tmp_path / "victim"
    (folder / "tables").mkdir(parents=True)
    victim.mkdir()
    (victim / "file").write_text("precious")
    (folder / "tables/returns.md").symlink_to(victim / "file")
    (folder / "tables/dangling.md").symlink_to(victim / "new")
    (folder / "figures").symlink_to(victim)
    os.mkfifo(folder / "pipe")
    for names in (("tables", "returns.md"), ("tables", "dangling.md"), ("figures", "file"), ("figures",)):
        with pytest.raises(OSError, match="is a symbolic link, which is not followed; remove it"):
            inside(folder, *names)
    with pytest.raises(OSError, match="is no regular file, which is not followed"):
        inside(folder, "pipe")
    assert {path.name: path.read_text() for path in victim.iterdir()} == {"file": "precious"}


@pytest.mark.parametrize("name", ["..", ".", "", "/etc/passwd", "../victim", "a/b"])
def test_names_that_lead_elsewhere_are_refused(tmp_path, name):
    with pytest.raises(OSError, match="is no name of a file"):
        inside(tmp_path, "tables", name)


def test_a_folder_that_is_a_link_itself_may_be_written_to(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "results").symlink_to(tmp_path / "disk")
    with whole_file(inside(tmp_path / "results", "tables", "returns.md")) as file:
        file.write(b"42")
    assert (tmp_path / "disk/tables/returns.md").read_text() == "42"
    assert inside(tmp_path / "results", "tables", "returns.md").read_text() == "42"


def test_a_pipe_or_a_device_is_refused_instead_of_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "endless").symlink_to("/dev/zero")
    for name in ("pipe", "endless"):
        with pytest.raises(OSError, match="it is no regular file"):
            read_regular(tmp_path / name)
    (tmp_path / "file").write_bytes(b"whole")
    assert read_regular(tmp_path / "file") == b"whole"
