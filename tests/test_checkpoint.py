"""Checkpoints in pieces: what is settled is written once, and nothing is taken for what it is not."""

import errno
import os

import pytest
import torch

from benchmarks.kit.errors import RestoringError
from benchmarks.run.checkpoint import Checkpoint, CheckpointWarning, remove_finished


def state(*blocks, rest=0.0):
    """A part that grows: full blocks and the rest."""
    settled = {f"block-{value}": torch.full((3,), float(value)) for value in blocks}
    return {"parts": {"memory": {"settled": settled, "rest": torch.tensor(rest)}}}


def memory(checkpoint):
    found = checkpoint.load()["parts"]["memory"]
    return {name: tensor.tolist() for name, tensor in found["settled"].items()}, found["rest"].item()


@pytest.fixture
def checkpoint(tmp_path):
    return lambda run_ids=("a-run",): Checkpoint(tmp_path / "checkpoints" / "cell.pt", run_ids)


def test_settled_pieces_are_written_once_and_removed_with_the_state_that_needs_them(checkpoint):
    one = checkpoint()
    one.save(state(1, rest=0.5))
    (first,) = one.pieces.iterdir()
    written = first.stat().st_ino
    one.save(state(1, 2))
    assert first.stat().st_ino == written
    assert len(list(one.pieces.iterdir())) == 2
    resumed = checkpoint()
    assert memory(resumed) == ({"block-1": [1.0] * 3, "block-2": [2.0] * 3}, 0.0)
    resumed.save(state(1, 2, 3))
    assert first.stat().st_ino == written, "what was there at loading need not be written again"
    resumed.save(state(3, rest=4.0))
    assert memory(checkpoint()) == ({"block-3": [3.0] * 3}, 4.0)
    assert len(list(one.pieces.iterdir())) == 1
    resumed.delete()
    assert not one.path.parent.exists()


def test_a_view_is_saved_without_what_it_is_part_of(checkpoint):
    one, large = checkpoint(), torch.zeros(1_000_000)
    one.save({"settled": {"view": large[:10]}})
    assert sum(path.stat().st_size for path in one.pieces.iterdir()) < 10_000


def test_pieces_of_a_process_that_died_before_its_checkpoint_are_not_trusted(checkpoint, monkeypatch):
    one = checkpoint()
    one.save(state(1))

    def killed(*_):
        raise KeyboardInterrupt

    other = {"parts": {"memory": {"settled": {"block-1": torch.ones(3), "block-2": torch.full((3,), 9.0)}}}}
    with monkeypatch.context() as patch:
        patch.setattr(
            os, "replace", lambda source, target: killed() if target == one.path else os.rename(source, target)
        )
        with pytest.raises(KeyboardInterrupt):
            one.save(other)
    assert len(list(one.pieces.iterdir())) == 2
    resumed = checkpoint()
    assert memory(resumed) == ({"block-1": [1.0] * 3}, 0.0)
    resumed.save(state(1, 2))
    assert memory(checkpoint())[0]["block-2"] == [2.0] * 3


@pytest.mark.parametrize("damage", [lambda path: path.unlink(), lambda path: path.write_bytes(b"torn")])
def test_a_checkpoint_with_a_damaged_piece_is_ignored_with_a_warning(checkpoint, damage):
    one = checkpoint()
    one.save(state(1, 2))
    damage(next(one.pieces.iterdir()))
    with pytest.warns(CheckpointWarning, match="cannot be read and is ignored"):
        assert one.load() is None
    one.save(state(1, 2))
    assert memory(checkpoint())[0].keys() == {"block-1", "block-2"}


def test_a_checkpoint_that_cannot_be_read_for_a_moment_stays(checkpoint, monkeypatch):
    one = checkpoint()
    one.save(state(1))

    def fail(*_, **__):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patch:
        patch.setattr(torch, "load", fail)
        with pytest.raises(RestoringError, match=r"it cannot be read .*Input/output error"):
            checkpoint().load()
    assert memory(checkpoint())[0] == {"block-1": [1.0] * 3}


def test_nothing_is_written_through_a_planted_link(checkpoint, tmp_path):
    (tmp_path / "victim").mkdir()
    (tmp_path / "checkpoints").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match="is a symbolic link, which is not followed"):
        checkpoint().save({"weights": torch.zeros(2)})
    assert not list((tmp_path / "victim").iterdir())


def test_checkpoints_of_runs_stored_since_are_removed(checkpoint):
    one = checkpoint(["a-run", "b-run"])
    one.save(state(1))
    (one.path.parent / "orphan").mkdir()
    (one.path.parent / "torn.pt").write_bytes(b"torn")
    saved = one.path.stat().st_mtime_ns
    for stored in ({"a-run": saved + 1}, {"a-run": saved + 1, "b-run": saved - 1}):  # to be made, or made again
        remove_finished(one.path.parent, lambda run_id, stored=stored: stored.get(run_id, 0))
        assert sorted(path.name for path in one.path.parent.iterdir()) == ["cell", "cell.pt", "torn.pt"]
    remove_finished(one.path.parent, lambda run_id: saved + 1)
    assert [path.name for path in one.path.parent.iterdir()] == ["torn.pt"]


def test_a_file_in_the_place_of_the_folder_costs_no_result(tmp_path):
    (tmp_path / "checkpoints").write_text("mine")
    checkpoint = Checkpoint(tmp_path / "checkpoints" / "cell.pt", ["a-run"])
    assert checkpoint.load() is None
    with pytest.raises(FileExistsError):
        checkpoint.save({"weights": torch.zeros(2)})
    checkpoint.delete()
    assert (tmp_path / "checkpoints").read_text() == "mine"


def test_a_folder_that_is_no_checkpoints_stays(checkpoint):
    one = checkpoint()
    one.save(state(1))
    (one.pieces / "chapter.tex").write_text("mine")
    (one.path.parent / "thesis").mkdir()
    (one.path.parent / "thesis" / "chapter.tex").write_text("mine")
    (one.path.parent / "half").mkdir()
    (one.path.parent / "half" / ".piece.pt.0123.tmp").touch()
    one.delete()
    remove_finished(one.path.parent, lambda run_id: 0)
    assert sorted(path.name for path in one.path.parent.iterdir()) == ["cell", "thesis"]
    assert (one.pieces / "chapter.tex").exists()


def test_a_pipe_in_the_place_of_a_checkpoint_is_not_waited_for(checkpoint):
    one = checkpoint()
    one.path.parent.mkdir()
    os.mkfifo(one.path)
    with pytest.warns(CheckpointWarning, match="it is no regular file"):
        assert one.load() is None
    remove_finished(one.path.parent, lambda run_id: 1)
    assert one.path.exists()
