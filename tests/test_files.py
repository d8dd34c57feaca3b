import pytest

from benchmarks.files import PARTIAL, staged


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
