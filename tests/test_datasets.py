"""The embedded datasets: built once from the shipped experts, checked, chosen from and listed."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys

import h5py
import minari
import numpy as np
import pytest

from benchmarks.data import datasets, manifest
from benchmarks.data.datasets import DatasetWarning, details, expected, load, prepare, record
from benchmarks.data.local import listing
from benchmarks.experts import model_card
from benchmarks.experts.policy import ExpertPolicy, export
from benchmarks.experts.rollout import expert_player, rollout
from benchmarks.instrument.episodes import content_hash
from benchmarks.kit.errors import UserError
from benchmarks.plan import grid
from benchmarks.plan.profiles import Profile
from benchmarks.run import training
from benchmarks.run.record import Record
from benchmarks.run.settings import Settings
from benchmarks.tasks import TASKS, Task

# on another kind of machine the built data may differ from the published: a warning to users, not a failure
pytestmark = pytest.mark.filterwarnings("ignore::benchmarks.data.datasets.DatasetWarning")

HOPPER, PENDULUM = TASKS["hopper"], TASKS["inverted-pendulum"]


@pytest.fixture(scope="session")
def built(tmp_path_factory):
    """A folder with Hopper's embedded dataset; copied, never changed."""
    folder = tmp_path_factory.mktemp("built")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINARI_DATASETS_PATH", str(folder))
        prepare(HOPPER, "embedded")
    return folder


@pytest.fixture
def hopper(built, folder):
    """A folder with Hopper's embedded dataset."""
    shutil.copytree(built, folder, dirs_exist_ok=True)
    return folder


def test_the_embedded_dataset_is_a_full_minari_dataset(hopper):
    dataset = minari.load_dataset("ndi/hopper/expert-v0")
    assert dataset.total_episodes == 25
    assert dataset.spec.env_spec.id == "Hopper-v5"
    metadata = dataset.storage.metadata
    assert metadata["author"] == {"ndi-bench"}
    assert "TQC" in metadata["algorithm_name"]
    assert metadata["policy_sha256"] == model_card("hopper")["sha256"]
    assert (metadata["ref_min_score"], metadata["ref_max_score"]) == (HOPPER.random_return, HOPPER.expert_return)
    assert list(minari.list_local_datasets()) == ["ndi/hopper/expert-v0"]
    assert minari.namespace.list_local_namespaces() == ["ndi", "ndi/hopper"]
    scores = minari.get_normalized_score(dataset, np.array([HOPPER.expert_return]))
    np.testing.assert_allclose(scores, HOPPER.normalize([HOPPER.expert_return]))


def test_its_episodes_repeat_in_the_environment(hopper):
    dataset = minari.load_dataset("ndi/hopper/expert-v0")
    seeds = dataset.storage.metadata["seeds"]
    environment = dataset.recover_environment()
    episode = dataset[3]
    observation, _ = environment.reset(seed=seeds[3])
    assert seeds[3] == next(iter(dataset.storage.get_episode_metadata([3])))["seed"]
    for step, action in enumerate(episode.actions):
        np.testing.assert_array_equal(observation, episode.observations[step])
        observation, reward, terminated, truncated, _ = environment.step(action)
        assert reward == episode.rewards[step]
        assert (terminated, truncated) == (episode.terminations[step], episode.truncations[step])
    assert terminated or truncated


def test_it_is_worth_the_experts_return_and_what_the_manifest_says(hopper):
    info = prepare(HOPPER, "embedded")
    assert info.episodes == 25
    assert info.path == hopper / "ndi/hopper/expert-v0"
    entry = manifest.read()["hopper"]
    assert abs(info.mean_return - HOPPER.expert_return) < 0.15 * HOPPER.expert_return
    if json.loads((info.path / "data/metadata.json").read_text())["versions"] == entry["versions"]:
        assert info.content_hash == entry["content_hash"]


def test_it_is_built_once(hopper, monkeypatch):
    monkeypatch.setattr(datasets, "rollout", lambda *_: pytest.fail("built again"))
    assert prepare(HOPPER, "embedded") == prepare(HOPPER, "ndi/hopper/expert-v0")


def test_the_hash_is_known_before_and_after(hopper, monkeypatch):
    assert expected(HOPPER, "embedded").content_hash == prepare(HOPPER, "embedded").content_hash
    assert expected(HOPPER, "ndi/hopper/expert-v0").content_hash == prepare(HOPPER, "embedded").content_hash
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(hopper / "empty"))
    assert expected(HOPPER, "embedded").content_hash == manifest.read()["hopper"]["content_hash"]
    assert expected(HOPPER, "hub") is None
    assert expected(HOPPER, "some/thing-v0") is None


def test_changed_data_are_noticed(hopper):
    with h5py.File(hopper / "ndi/hopper/expert-v0/data/main_data.hdf5", "a") as file:
        file["episode_4/rewards"][10] += 1
    with pytest.raises(UserError, match=r"not as it was built; delete .* to build it anew") as caught:
        prepare(HOPPER, "embedded")
    assert "\n" not in str(caught.value)


def edit_metadata(folder, **changes):
    path = folder / "ndi/hopper/expert-v0/data/metadata.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_data_of_another_expert_are_noticed(hopper):
    edit_metadata(hopper, policy_sha256="0" * 64)
    with pytest.raises(UserError, match="comes from another expert than the one now shipped; delete"):
        prepare(HOPPER, "embedded")


def test_data_that_differ_from_the_manifest_are_an_error_or_with_other_versions_a_warning(
    hopper, tmp_path, monkeypatch
):
    metadata = json.loads((hopper / "ndi/hopper/expert-v0/data/metadata.json").read_text())
    path = tmp_path / "manifest.json"
    manifest.record("hopper", {**metadata, "content_hash": "0" * 16}, path)
    monkeypatch.setattr(manifest, "difference", lambda *args, known=manifest.difference: known(*args, path=path))
    with pytest.raises(UserError, match="published is 0000000000000000, with the same expert and versions"):
        prepare(HOPPER, "embedded")
    edit_metadata(hopper, versions={**metadata["versions"], "mujoco": "1.0.0"})
    with pytest.warns(DatasetWarning, match=r"mean return 3\d\d\d.* built with mujoco 1\.0\.0 \(published: "):
        prepare(HOPPER, "embedded")


def test_a_task_without_an_expert_names_the_way_out(folder, monkeypatch):
    monkeypatch.setattr(datasets, "model_card", lambda name, folder: model_card("nobody"))
    with pytest.raises(UserError, match=r"no expert policy is shipped .* use --dataset hub or --dataset NAMESPACE"):
        prepare(HOPPER, "embedded")
    with pytest.raises(UserError, match="task mine has no embedded dataset"):
        Task("mine", "Hopper-v5").dataset_id("embedded")
    with pytest.raises(UserError, match="task mine has no dataset on the Minari hub"):
        Task("mine", "Hopper-v5").dataset_id("hub")


def tiny_weights():
    """A policy with two hidden units per layer that keeps the pendulum up for some steps."""
    sizes = {"hidden_0": (2, 4), "hidden_1": (2, 2), "mean": (1, 2), "log_std": (1, 2)}
    weights = {f"{layer}.weight": np.ones(shape, np.float32) for layer, shape in sizes.items()}
    return weights | {f"{layer}.bias": np.zeros(shape[0], np.float32) for layer, shape in sizes.items()}


def small_expert(monkeypatch, tmp_path_factory):
    """Let a tiny policy stand in for the pendulum's expert, and three episodes for 25."""
    experts = tmp_path_factory.mktemp("experts")
    export("inverted-pendulum", tiny_weights(), {"algorithm": "none"}, experts)
    for name in ("model_card", "load_expert"):
        known = getattr(datasets, name)
        monkeypatch.setattr(datasets, name, lambda task, *_, known=known, **__: known(task, folder=experts))
    monkeypatch.setattr(datasets, "EPISODES", 3)


def test_a_dataset_can_be_recorded_from_any_expert(folder, tmp_path_factory):
    experts = tmp_path_factory.mktemp("experts")
    export("inverted-pendulum", tiny_weights(), {"algorithm": "by hand"}, experts)
    info = record(PENDULUM, "lab/tiny/expert-v0", experts, episodes=4)
    assert (info.dataset_id, info.episodes) == ("lab/tiny/expert-v0", 4)
    metadata, episodes, _ = details(PENDULUM, "lab/tiny/expert-v0")
    assert metadata["algorithm_name"] == "by hand"
    played = rollout(PENDULUM, expert_player(PENDULUM, ExpertPolicy(tiny_weights())), metadata["seeds"])
    assert content_hash(episodes) == content_hash(played) == info.content_hash
    with pytest.raises(UserError, match=r"lab/tiny/expert-v0 is in .* already; use another id"):
        record(PENDULUM, "lab/tiny/expert-v0", experts)
    with pytest.raises(
        UserError, match="'tiny' is no id of a dataset; use one such as lab/inverted-pendulum/expert-v0"
    ):
        record(PENDULUM, "tiny", experts)
    with pytest.raises(UserError, match="there is no expert of hopper in"):
        record(HOPPER, "lab/hop/expert-v0", experts)


def test_a_failed_build_leaves_nothing_and_the_next_succeeds(folder, monkeypatch, tmp_path_factory):
    small_expert(monkeypatch, tmp_path_factory)

    def full(*_):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(datasets, "content_hash", full)  # after Minari wrote the episodes
        with pytest.raises(
            UserError, match=r"cannot write dataset .*No space left.* set MINARI_DATASETS_PATH"
        ) as caught:
            prepare(PENDULUM, "embedded")
    assert "\n" not in str(caught.value)
    assert minari.list_local_datasets() == {}
    assert [path.name for path in folder.iterdir() if path.is_dir()] == []
    assert os.environ["MINARI_DATASETS_PATH"] == str(folder)
    assert prepare(PENDULUM, "embedded").episodes == 3


def test_a_killed_build_leaves_nothing_half_made(folder, built):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    # the process is killed while Minari's files are being written
    code = (
        "import os, signal, minari.dataset.minari_storage as s\n"
        "s.MinariStorage.update_metadata = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "import benchmarks.data.datasets as d; d.EPISODES = 2\n"
        "d.prepare(d.local.TASKS['hopper'], 'embedded')"
    )
    killed = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert (folder / ".ndi-bench.partial/ndi/hopper/expert-v0/data/metadata.json").exists()
    assert minari.list_local_datasets() == {}
    info = prepare(HOPPER, "embedded")
    assert (
        info.content_hash == json.loads((built / "ndi/hopper/expert-v0/data/metadata.json").read_text())["content_hash"]
    )
    assert not (folder / ".ndi-bench.partial").exists()


def test_several_processes_may_ask_at_once(folder):
    code = (
        "import benchmarks.data.datasets as d; d.EPISODES = 2\n"
        "print(d.load(d.local.TASKS['hopper'], 'embedded', demos=2, subsample=1, seed=0).hash)"
    )
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    processes = [
        subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    hashes = [process.communicate(timeout=120)[0].strip() for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert hashes == [load(HOPPER, "embedded", demos=2, subsample=1, seed=0).hash] * 2


def test_a_run_learns_from_the_content_that_was_planned_or_not_at_all(built, monkeypatch):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(built))
    content = prepare(HOPPER, "embedded").content_hash
    profile = Profile(name="test", tasks=("hopper",), methods=("bc",), seeds=(0,), steps=100)
    for planned in (content, "another"):
        (cell,) = grid.cells(grid.expand(profile, lambda *_, planned=planned: planned, lambda _: None))
        if planned == content:
            assert len(training._demonstrations(Record(cell), Settings(built))) == 1
        else:
            with pytest.raises(UserError, match=f"has content {content}, planned was another"):
                training._demonstrations(Record(cell), Settings(built))


def test_folders_too_deep_to_be_listed_are_one_line(monkeypatch):
    def deep(root, namespace):
        raise RecursionError("maximum recursion depth exceeded")

    monkeypatch.setattr(datasets.local, "_below", deep)
    with pytest.raises(UserError, match=r"cannot be listed .*tidy up that folder"):
        datasets.local.ids()


def test_no_dataset_of_ones_own_takes_the_id_of_a_published_one(tmp_path):
    with pytest.raises(UserError, match="mujoco/hopper/expert-v0 is the id of a published dataset"):
        record(PENDULUM, "mujoco/hopper/expert-v0", tmp_path)


@pytest.mark.parametrize("total", ["1e999", "[" * 3000 + "]" * 3000])
def test_metadata_that_are_out_of_bounds_are_damaged(tmp_path, monkeypatch, total):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    place = tmp_path / "lab/odd-v0/data"
    place.mkdir(parents=True)
    (place / "metadata.json").write_text(f'{{"dataset_id": "lab/odd-v0", "total_episodes": {total}}}')
    with pytest.raises(UserError, match=r"dataset lab/odd-v0 in .* cannot be read"):
        listing()


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "file" / "folder"))
    with pytest.raises(UserError, match="set MINARI_DATASETS_PATH") as caught:
        prepare(HOPPER, "embedded")
    assert "\n" not in str(caught.value)


def test_the_choice_of_episodes_belongs_to_the_seed(hopper):
    one, five, again = (load(HOPPER, "embedded", demos, 1, seed=2) for demos in (1, 5, 5))
    assert five.episode_ids[0] == one.episode_ids[0]
    assert five.hash == again.hash
    np.testing.assert_array_equal(five.observations[: len(one)], one.observations)
    assert load(HOPPER, "embedded", 1, 1, seed=3).episode_ids != one.episode_ids


def test_the_listing_shows_what_is_there_and_what_can_be_built(hopper, foreign):
    foreign("lab/mine-v0")
    found = {info.dataset_id: info for info in listing()}
    assert list(found)[:2] == ["lab/mine-v0", "ndi/hopper/expert-v0"]
    assert found["ndi/hopper/expert-v0"] == prepare(HOPPER, "embedded")
    assert (found["lab/mine-v0"].episodes, found["lab/mine-v0"].content_hash) == (4, None)
    assert math.isnan(found["lab/mine-v0"].mean_return)
    ready = found["ndi/halfcheetah/expert-v0"]
    assert (ready.path, ready.episodes) == (None, 25)
    assert ready.content_hash == manifest.read()["halfcheetah"]["content_hash"]


def test_details_have_the_metadata_and_every_episode(hopper):
    metadata, episodes, seeds = details(HOPPER, "embedded")
    assert metadata["dataset_id"] == "ndi/hopper/expert-v0"
    assert seeds == tuple(metadata["seeds"])
    assert len(episodes) == 25
    assert np.mean([episode.total_return for episode in episodes]) == pytest.approx(metadata["mean_return"])
    assert max(map(len, episodes)) == 1000
