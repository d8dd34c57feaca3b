"""Training an expert from end to end, on a budget that teaches it nothing; and shipping it."""

import json

import minari
import pytest
from rich.console import Console
from toy_methods import after

from benchmarks.cli import training
from benchmarks.data import datasets, manifest
from benchmarks.data.publishing import publish
from benchmarks.experts import expert_hash, model_card
from benchmarks.experts.measure import measure_returns
from benchmarks.experts.policy import load_expert
from benchmarks.experts.snapshots import keep_if_best, read_snapshot, snapshot_path
from benchmarks.kit.errors import UserError
from benchmarks.plan import grid
from benchmarks.plan.profiles import Profile
from benchmarks.run.runner import run_cell
from benchmarks.run.settings import Settings
from benchmarks.store.store import Store
from benchmarks.tasks import TASKS, read_references

PENDULUM = TASKS["inverted-pendulum"]
SMALL = ("sac.sac.hidden=[16, 8]", "sac.sac.batch_size=16")


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """Three evaluations of two episodes, and datasets of three."""
    monkeypatch.setattr(training, "EVALUATIONS", 3)
    monkeypatch.setattr(training, "EVALUATION_EPISODES", 2)
    monkeypatch.setattr(datasets, "EPISODES", 3)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder with a trained expert, and its card."""
    folder = tmp_path_factory.mktemp("experts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "EVALUATIONS", 3)
        patch.setattr(training, "EVALUATION_EPISODES", 2)
        return folder, training.train(PENDULUM.name, folder, Console(quiet=True), 90, 4, SMALL, episodes=2)


def test_the_expert_is_the_best_evaluated_policy_of_a_stored_run(trained):
    folder, card = trained
    store = Store(folder)
    (run,) = store.runs().to_dict("records")
    assert (run["method"], run["seed"], run["budget"], run["status"]) == ("sac", 4, 90, "completed")
    means = store.evaluations().groupby("step")["return"].mean()
    assert len(means) == 3
    assert means[card["steps"]] == means.max()
    weights, _ = read_snapshot(folder, run["run_id"])
    for name, tensor in load_expert(PENDULUM.name, folder=folder).state_dict().items():
        assert (tensor.numpy() == weights[name]).all()


def test_the_card_says_how_it_was_made_and_what_it_returns(trained):
    folder, card = trained
    assert card == model_card(PENDULUM.name, folder)
    assert {"algorithm", "library", "commit", "versions", "provenance", "architecture", "sha256"} <= set(card)
    assert (card["env_id"], card["seed"], card["log_std"]) == ("InvertedPendulum-v5", 4, "rescaled")
    assert card["settings"] == {"sac.batch_size": 16, "sac.hidden": [16, 8]}
    assert "16 and 8" in card["architecture"]
    policy = load_expert(PENDULUM.name, folder=folder)
    assert card["returns"] == measure_returns(PENDULUM, policy, 2)["returns"]


def test_an_expert_may_learn_from_the_first_dimensions_alone(tmp_path):
    changes = (*SMALL, "sac.observed=3", "sac.steps_per_update=3")
    card = training.train(PENDULUM.name, tmp_path, Console(quiet=True), 90, 4, changes, episodes=2)
    weight = load_expert(PENDULUM.name, folder=tmp_path).hidden_0.weight
    assert weight.shape == (16, 4)
    assert (weight[:, 3] == 0).all()
    assert (weight[:, :3] != 0).all()
    # what was evaluated is what was exported
    means = Store(tmp_path).evaluations().groupby("step")["return"].mean()
    weights, kept = read_snapshot(tmp_path, Store(tmp_path).runs()["run_id"].item())
    assert weights["hidden_0.weight"].shape == (16, 3)
    assert (card["steps"], means[kept]) == (kept, means.max())


def test_more_dimensions_than_there_are_is_a_mistake(tmp_path):
    with pytest.raises(UserError, match="training of inverted-pendulum"):
        training.train(PENDULUM.name, tmp_path, Console(quiet=True), 90, 4, (*SMALL, "sac.observed=5"), episodes=2)


def test_given_again_it_only_measures(trained, monkeypatch):
    folder, card = trained
    monkeypatch.setattr(training.pool, "run_cells", lambda cells, *_: training.pool.Outcome() if not cells else 1 / 0)
    assert training.train(PENDULUM.name, folder, Console(quiet=True), 90, 4, SMALL, episodes=2) == card


def test_another_training_does_not_replace_the_expert_of_a_folder(trained):
    folder, card = trained
    with pytest.raises(UserError, match=f"{PENDULUM.name} of another training; choose another --out"):
        training.train(PENDULUM.name, folder, Console(quiet=True), 90, 5, SMALL, episodes=2)
    assert model_card(PENDULUM.name, folder)["sha256"] == card["sha256"]


def test_networks_that_are_no_experts_are_refused_before_training(tmp_path):
    with pytest.raises(UserError, match=r"two hidden layers; .* --set sac\.sac\.hidden=\[256,256\]"):
        training.train(PENDULUM.name, tmp_path, Console(quiet=True), 90, 0, ["sac.sac.hidden=[8]"])
    assert list(tmp_path.iterdir()) == []


def test_a_failed_training_is_an_error(tmp_path, monkeypatch):
    console, run_cells = Console(quiet=True), training.pool.run_cells
    here = lambda cells, how, workers, console: run_cells(cells, how, 0, console)  # noqa: E731 - saves a process
    monkeypatch.setattr(training.pool, "run_cells", here)
    with pytest.raises(UserError, match="the training of inverted-pendulum has diverged"):
        training.train(PENDULUM.name, tmp_path, console, 90, 0, [*SMALL, "sac.sac.learning_rate=1e30"])


def test_an_interrupted_run_keeps_the_same_policy_as_an_uninterrupted_one(tmp_path):
    profile = Profile(name="t", tasks=(PENDULUM.name,), methods=("sac",), seeds=(0,), steps=90, evaluations=3)
    (cell,) = grid.cells(grid.expand(profile.with_settings(SMALL), lambda *_: None, expert_hash))
    kept = {}
    for folder, stops in ((tmp_path / "whole", ()), (tmp_path / "parts", (40, 20))):
        how = Settings(folder, keep=keep_if_best, checkpoint_minutes=1e9)
        for steps in stops:
            assert run_cell(cell, how, stop=after(steps)) is None
        assert run_cell(cell, how) is not None
        kept[folder.name] = snapshot_path(folder, cell.first.run_id).read_bytes()
    assert kept["whole"] == kept["parts"]


@pytest.fixture
def package(trained, tmp_path, monkeypatch):
    """A place to publish to; datasets are built from the experts there."""
    for name in ("model_card", "load_expert"):
        known = getattr(datasets, name)
        monkeypatch.setattr(datasets, name, lambda task, *_, known=known, **__: known(task, folder=tmp_path))
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))
    return {
        "episodes": 2,
        "folder": tmp_path,
        "references": tmp_path / "references.json",
        "manifest_path": tmp_path / "manifest.json",
    }


def test_publishing_records_all_that_depends_on_the_expert(trained, package, monkeypatch):
    folder, card = trained
    assert publish(PENDULUM.name, folder, **package) == card == model_card(PENDULUM.name, package["folder"])
    entry = read_references(package["references"])[PENDULUM.name]
    assert entry["expert"] == card["returns"]["stochastic"]
    assert entry["random"]["episodes"] == 2
    assert entry["versions"] == card["measured_with"]
    recorded = manifest.read(package["manifest_path"])[PENDULUM.name]
    assert recorded["policy_sha256"] == card["sha256"]
    assert minari.list_local_datasets() == {}
    path = package["manifest_path"]
    monkeypatch.setattr(manifest, "difference", lambda *args, known=manifest.difference: known(*args, path=path))
    assert datasets.prepare(PENDULUM, "embedded").content_hash == recorded["content_hash"]


def test_a_worse_expert_does_not_replace_a_better_one_by_accident(trained, package):
    folder, card = trained
    publish(PENDULUM.name, folder, **package)
    path = package["folder"] / f"{PENDULUM.name}.json"
    better = {**card, "returns": {**card["returns"], "stochastic": {"mean": 1e6, "standard_error": 2.0}}}
    path.write_text(json.dumps(better))
    with pytest.raises(UserError, match=r"the shipped one 1,000,000 ± 2; nothing is changed, --replace"):
        publish(PENDULUM.name, folder, **package)
    assert json.loads(path.read_text()) == better
    assert publish(PENDULUM.name, folder, replace=True, **package) == card


def test_only_experts_of_the_suites_tasks_can_be_shipped(trained, package):
    with pytest.raises(UserError, match="no task of the suite"):
        publish("point", trained[0], **package)


# --- the command line -------------------------------------------------------------------------------------------------


def test_the_verbs(trained, bench):
    folder, card = trained
    returns = [f"{card['returns'][kind]['mean']:,.0f} ± " for kind in ("deterministic", "stochastic")]
    train = ("experts", "train", PENDULUM.name, "--steps", 90, "--seed", 4, "--out", folder, "--episodes", 2)
    code, out, _ = bench(*train, *(part for change in SMALL for part in ("--set", change)))
    assert code == 0
    assert all(mean in out for mean in returns)
    assert f"after {card['steps']} steps is in {folder / PENDULUM.name}.safetensors" in out
    _, out, _ = bench("experts", "list", "--from", folder)
    (row,) = [line for line in out.splitlines() if line.startswith("inverted-pendulum ")]
    assert all(mean in row for mean in returns)
    assert "hopper" in out
    assert "none yet" in out
    assert all(
        mean in bench("experts", "measure", PENDULUM.name, "--from", folder, "--episodes", 2)[1] for mean in returns
    )


def test_an_interrupted_training_says_how_to_go_on(bench, tmp_path, monkeypatch):
    monkeypatch.setattr(training.pool, "run_cells", lambda *_: training.pool.Outcome(interrupted=True))
    code, out, _ = bench("experts", "train", PENDULUM.name, "--out", tmp_path)
    assert code == 130
    assert "go on with:\n  ndi-bench experts train inverted-pendulum --out" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("train", "hoper"), "unknown task hoper: did you mean hopper?"),
        (("train", "hopper", "--set", "sac.sac.batchsize=3"), "did you mean sac.batch_size?"),
        (("train", "hopper", "--steps", "10000000000000"), "--steps: "),
        (("train", "hopper", "--seed", "10000000000000"), "--seeds: "),
        (("list", "--from", "nowhere"), "there is no folder nowhere"),
        (("measure", "hopper", "--from", "nowhere"), "there is no expert of hopper in nowhere"),
        (("publish", "hopper", "--from", "nowhere"), "there is no expert of hopper in nowhere"),
    ],
)
def test_a_mistake_is_one_line(bench, arguments, message):
    code, _, error = bench("experts", *arguments)
    assert code == 2
    assert message in error
    assert error.count("\n") == 1
