"""Every method that keeps its state, stopped, killed and started again by the runner, ends as if left in peace."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from toy_methods import after, cells

from benchmarks.kit import replay
from benchmarks.kit.demonstrations import Demonstrations
from benchmarks.kit.errors import UserError
from benchmarks.plan import registry
from benchmarks.run import runner, training
from benchmarks.run.checkpoint import Checkpoint
from benchmarks.run.settings import Settings
from benchmarks.store.store import Store

BUDGET = 60


class Killed(KeyboardInterrupt):
    """Passes through the runner as nothing else does: what has not been saved by then is lost."""


def kill_at(calls):
    """A `stop` whose process dies at the given call."""
    left = iter([False] * calls)

    def stop():
        for answer in left:
            return answer
        raise Killed

    return stop


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Replays in several pieces, and demonstrations without an expert."""

    def load(task, dataset, demos, subsample, seed, accept):
        generator = np.random.default_rng(seed)
        path = generator.normal(size=(61, 4)).cumsum(0).astype(np.float32) / 10
        actions = generator.uniform(-0.9, 0.9, (60, 1)).astype(np.float32)
        return Demonstrations(path[:-1], actions, path[1:], np.zeros(60, bool), np.zeros(60, int), (seed,), np.zeros(1))

    monkeypatch.setattr(replay, "BLOCK", 16)
    monkeypatch.setattr(training, "PULSE_SECONDS", 0)
    monkeypatch.setattr(training.datasets, "load", load)
    monkeypatch.setattr(training.datasets, "prepare", lambda *_: SimpleNamespace(content_hash="0123"))
    monkeypatch.setattr(training.datasets, "require", lambda *_: None)


def cell_of(name, tiny):
    """The cell of a method with small networks."""
    method = registry.find_method(name)
    changes = tiny(method)
    changes |= {"offline_updates": BUDGET} if "offline_updates" in changes else {}
    if method.demonstrations and "sac.cloned" in changes:
        changes["sac.cloned"] = 5  # what is prepared before the first step must not be prepared again
    (cell,) = cells(name, seeds=(0, 1) if method.lanes else (0,), steps=BUDGET, evaluations=3, **changes)
    return cell


@pytest.mark.parametrize(
    "name", [n for n in sorted(registry.methods()) if registry.find_method(n).online or n == "valuedice-offline"]
)
def test_a_killed_run_goes_on_bit_for_bit(name, tiny, tmp_path):
    cell = cell_of(name, tiny)
    straight, broken = Settings(tmp_path / "straight"), Settings(tmp_path / "broken")
    runner.run_cell(cell, straight)
    progress = lambda pulse: max(pulse.steps, pulse.updates)  # noqa: E731 - offline methods take no steps
    pulses, again = [], []
    assert runner.run_cell(cell, broken, pulses.append, stop=lambda: progress(pulses[-1]) >= 25) is None
    assert pulses[-1].updates % 2, "within the period of whatever learns at some updates only"
    with pytest.raises(Killed):
        runner.run_cell(cell, broken, stop=kill_at(25))
    endings = runner.run_cell(cell, broken, again.append)
    assert {ending.status for ending in endings.values()} == {"completed"}
    assert progress(again[0]) == progress(pulses[-1]) + 1, "it went on from its checkpoint"
    assert Store(broken.folder).evaluations().equals(Store(straight.folder).evaluations())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"device": "cuda"}, r"begun on cuda .* give --device cuda to go on, or delete .*\.pt to begin anew"),
        ({"environments": {}}, r"is of another version \(KeyError: 'episodes'\); give the code .* or delete .*\.pt to"),
        ({"parts": {}}, r"does not fit the part learner \(KeyError: 'learner'\); give the code .* or delete .*\.pt to"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_refused_and_kept(change, message, tiny, tmp_path):
    cell, settings = cell_of("sqil", tiny), Settings(tmp_path)
    assert runner.run_cell(cell, settings, stop=after(25)) is None
    (path,) = (tmp_path / "checkpoints").glob("*.pt")
    torch.save(torch.load(path) | change, path)
    before = path.read_bytes()
    with pytest.raises(UserError, match=message):
        runner.run_cell(cell, settings)
    assert path.read_bytes() == before
    assert Store(tmp_path).runs().empty


@pytest.mark.parametrize("linked", ["checkpoints", "checkpoints/cell"])
def test_pieces_behind_a_planted_link_are_left_alone(linked, tmp_path):
    theirs = tmp_path / "theirs"
    (theirs / "cell").mkdir(parents=True)
    for folder in (theirs, theirs / "cell"):
        (folder / "mine.pt").write_text("mine")
    place = tmp_path / "results" / linked
    place.parent.mkdir(parents=True)
    place.symlink_to(theirs)
    checkpoint = Checkpoint(tmp_path / "results" / "checkpoints" / "cell.pt", ["a-run"])
    checkpoint.load()
    checkpoint.delete()
    assert [path.read_text() for path in sorted(theirs.rglob("*.pt"))] == ["mine", "mine"]


def test_a_piece_cannot_be_named_out_of_its_folder(tmp_path):
    with pytest.raises(OSError, match="no name of a file"):
        Checkpoint(tmp_path / "checkpoints" / "cell.pt", ["a-run"])._piece("../../mine")
