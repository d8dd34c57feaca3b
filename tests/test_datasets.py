import json
import math
import os
import shutil
import signal
import subprocess
import sys
import warnings

import gymnasium as gym
import h5py
import minari
import numpy as np
import pytest
from minari.storage.remotes.cloud_storage import CloudStorage

from benchmarks.data import datasets, manifest
from benchmarks.data.datasets import DatasetWarning, details, expected, load, notes, prepare, record
from benchmarks.data.local import listing
from benchmarks.experts import model_card
from benchmarks.experts.policy import ExpertPolicy, export
from benchmarks.experts.rollout import expert_player, rollout
from benchmarks.instrument.episodes import content_hash
from benchmarks.kit.errors import UserError
from benchmarks.store.store import Store
from benchmarks.tasks import TASKS, Task

# on another kind of machine the built data may differ from the published: a warning to users, not a failure
pytestmark = pytest.mark.filterwarnings("ignore::benchmarks.data.datasets.DatasetWarning")

PAPER = [task for task in TASKS.values() if "paper" in task.tags]
HOPPER, CHEETAH, PENDULUM = TASKS["hopper"], TASKS["halfcheetah"], TASKS["inverted-pendulum"]


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


def nan(arrays):
    arrays["observations"][7, 3] = np.nan


def assert_one_line(caught):
    assert "\n" not in str(caught.value)


# --- embedded ---------------------------------------------------------------------------------------------------------


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
    assert_one_line(caught)


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
    played = rollout(PENDULUM, expert_player(ExpertPolicy(tiny_weights())), metadata["seeds"])
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
    assert_one_line(caught)
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


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "file" / "folder"))
    with pytest.raises(UserError, match="set MINARI_DATASETS_PATH") as caught:
        prepare(HOPPER, "embedded")
    assert_one_line(caught)


# --- local ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data_format", ["hdf5", "parquet"])
def test_a_dataset_that_the_suite_did_not_make_is_accepted_by_its_id(folder, data_format, foreign):
    foreign("lab/walking/mine-v3", data_format=data_format)
    info = prepare(HOPPER, "lab/walking/mine-v3")
    assert (info.dataset_id, info.episodes) == ("lab/walking/mine-v3", 4)
    made = load(HOPPER, "lab/walking/mine-v3", demos=4, subsample=1, seed=0)
    assert len(made) == 120
    raw = minari.load_dataset("lab/walking/mine-v3")[made.episode_ids[1]]
    np.testing.assert_array_equal(made.observations[30:60], raw.observations[:-1].astype(np.float32))
    np.testing.assert_array_equal(made.next_observations[30:60], raw.observations[1:].astype(np.float32))
    np.testing.assert_allclose(made.actions[30:60], raw.actions, atol=1e-6)
    assert not made.terminated.any()
    assert made.returns.mean() == pytest.approx(info.mean_return)


def test_the_content_hash_does_not_depend_on_the_file_format(folder, foreign):
    foreign("lab/one-v0")
    foreign("lab/two-v0", data_format="parquet")
    assert prepare(HOPPER, "lab/one-v0").content_hash == prepare(HOPPER, "lab/two-v0").content_hash


def test_a_dataset_without_an_environment_is_accepted_if_its_spaces_fit(folder, foreign):
    environment = gym.make("Hopper-v5")
    spaces = {"observation_space": environment.observation_space, "action_space": environment.action_space}
    with pytest.warns(UserWarning, match="env_spec is None|eval_env"):
        foreign("lab/bare-v0", env=None, eval_env=None, **spaces)
    assert prepare(HOPPER, "lab/bare-v0").episodes == 4


def test_humanoid_actions_are_mapped_to_the_unit_cube(folder, foreign):
    foreign("lab/humanoid-v0", env_id="Humanoid-v5", episodes=1)
    made = load(TASKS["humanoid"], "lab/humanoid-v0", demos=1, subsample=1, seed=0)
    raw = minari.load_dataset("lab/humanoid-v0")[0]
    np.testing.assert_allclose(made.actions, raw.actions / 0.4, atol=1e-6)
    assert made.actions.max() > 0.99


def test_spaces_that_do_not_fit_are_refused(folder, foreign):
    foreign("lab/hopper-v0")
    with pytest.raises(UserError, match=r"lab/hopper-v0 does not fit task halfcheetah.*\(11,\).*\(17,\)") as caught:
        prepare(CHEETAH, "lab/hopper-v0")
    assert_one_line(caught)


def test_a_dataset_of_another_robot_with_the_same_spaces_is_used_only_if_that_is_accepted(folder, foreign):
    foreign("lab/cheetah-v0", env_id="HalfCheetah-v5")
    walker = TASKS["walker2d"]
    for use in (prepare, lambda *named, **accept: load(*named, 1, 1, 0, **accept)):
        with pytest.raises(UserError, match=r"HalfCheetah-v5, not in Walker2d-v5; .*add --accept-dataset") as caught:
            use(walker, "lab/cheetah-v0")
        assert_one_line(caught)
        with pytest.warns(DatasetWarning, match="collected in HalfCheetah-v5, not in Walker2d-v5; it is used as it is"):
            use(walker, "lab/cheetah-v0", accept=True)
    assert notes(walker, "lab/cheetah-v0") == "it was collected in HalfCheetah-v5, not in Walker2d-v5"
    assert notes(CHEETAH, "lab/cheetah-v0") is None


def test_an_accepted_dataset_is_recorded_with_the_runs(folder, foreign, bench, tmp_path):
    foreign("lab/short-v0", environment=gym.make("Hopper-v5", max_episode_steps=500), steps=40)
    run = ("run", "--methods", "bc", "--tasks", "hopper", "--dataset", "lab/short-v0", "--seeds", "0", "--workers", "0",
           "--eval-episodes", "1", "--set", "bc.fit.steps=2", "--no-report", "--out", tmp_path / "out")  # fmt: skip
    code, _, error = bench(*run)
    assert (code, "its episodes last up to 500 steps" in error, "--accept-dataset" in error) == (2, True, True)
    code, out, error = bench(*run, "--accept-dataset")
    assert code == 0, out + error
    (noted,) = Store(tmp_path / "out").runs()["dataset_notes"]
    assert noted == "its episodes last up to 500 steps, those of Hopper-v5 up to 1000"


def test_demonstrations_of_other_physics_are_told_with_the_size_of_the_difference(folder, foreign):
    heavy = gym.make("Hopper-v5")
    heavy.unwrapped.model.opt.gravity[2] *= 1.05
    foreign("lab/heavy-v0", environment=heavy)
    with pytest.warns(DatasetWarning, match=r"come from other physics: of 64 .* one ends 0\.\d+ standard deviations"):
        prepare(HOPPER, "lab/heavy-v0")
    foreign("lab/same-v0")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prepare(HOPPER, "lab/same-v0")


def test_nan_is_refused(folder, foreign):
    foreign("lab/nan-v0", spoil=nan)
    for ask in (lambda: prepare(HOPPER, "lab/nan-v0"), lambda: load(HOPPER, "lab/nan-v0", 4, 1, 0)):
        with pytest.raises(UserError, match="lab/nan-v0: the observations of episode 2 have a NaN") as caught:
            ask()
        assert_one_line(caught)


@pytest.mark.parametrize("name", ["main_data.hdf5", "metadata.json"])
def test_a_truncated_file_is_refused(folder, name, foreign):
    foreign("lab/cut-v0")
    path = folder / "lab/cut-v0/data" / name
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(
        UserError, match=r"dataset lab/cut-v0 in .*lab/cut-v0 cannot be read .* delete the folder"
    ) as caught:
        prepare(HOPPER, "lab/cut-v0")
    assert_one_line(caught)


def test_a_missing_dataset_is_named_with_what_there_is(folder, foreign):
    with pytest.raises(UserError, match=r"no local Minari dataset lab/mine-v0 in .*\(there are none; or use"):
        prepare(HOPPER, "lab/mine-v0")
    foreign("lab/mine-v1")
    with pytest.raises(UserError, match=r"did you mean lab/mine-v1\? \(there are lab/mine-v1;") as caught:
        load(HOPPER, "lab/mine-v0", 1, 1, 0)
    assert_one_line(caught)


@pytest.mark.parametrize("choice", ["embeded", "lab/mine", "../mine-v0", "", "a.b/c-v0"])
def test_what_is_no_id_is_refused(choice):
    with pytest.raises(UserError, match="is no dataset: use embedded, hub, or the id of a local one"):
        HOPPER.dataset_id(choice)


def test_a_folder_that_minari_cannot_list_is_named(folder):
    (folder / "lab/noversion/data").mkdir(parents=True)
    with pytest.raises(UserError, match=r"cannot be listed .* tidy up"):
        listing()


def test_too_many_demonstrations_are_refused_with_the_number_there_is(folder, foreign):
    foreign("lab/few-v0")
    with pytest.raises(UserError, match="lab/few-v0 has 4 episodes and 5 are asked for"):
        load(HOPPER, "lab/few-v0", demos=5, subsample=1, seed=0)
    for demos, subsample in ((0, 1), (1, 0)):
        with pytest.raises(UserError, match="must be at least 1"):
            load(HOPPER, "lab/few-v0", demos, subsample, 0)


def test_the_choice_of_episodes_belongs_to_the_seed(hopper):
    one, five, again = (load(HOPPER, "embedded", demos, 1, seed=2) for demos in (1, 5, 5))
    assert five.episode_ids[0] == one.episode_ids[0]
    assert five.hash == again.hash
    np.testing.assert_array_equal(five.observations[: len(one)], one.observations)
    assert load(HOPPER, "embedded", 1, 1, seed=3).episode_ids != one.episode_ids


# --- hub --------------------------------------------------------------------------------------------------------------


def test_offline_the_hub_is_one_clear_line(folder, capsys):
    with pytest.raises(UserError, match=r"dataset mujoco/hopper/expert-v0 to .* use --dataset embedded") as caught:
        prepare(HOPPER, "hub")
    assert_one_line(caught)
    assert capsys.readouterr().out == ""
    assert [path for path in folder.iterdir() if path.is_dir()] == []


def test_without_the_extra_the_fix_is_named(folder, monkeypatch):
    def no_extra(dataset_id):
        raise ImportError("huggingface_hub is not installed")

    monkeypatch.setattr(minari, "download_dataset", no_extra)
    with pytest.raises(UserError, match=r'pip install "ndi-bench\[hub\]"'):
        prepare(HOPPER, "hub")


class LocalHub(CloudStorage):
    """Minari's own interface to a remote store, in front of a folder in Minari's own storage format."""

    def __init__(self, folder):
        self.folder, self.sent = folder, []

    def list_datasets(self, prefix=None):
        ids = (path.parent.parent.relative_to(self.folder).as_posix() for path in self.folder.rglob("metadata.json"))
        return [name for name in ids if name.startswith(prefix or "")]

    def get_dataset_metadata(self, dataset_id):
        return json.loads((self.folder / dataset_id / "data/metadata.json").read_text())

    def download_dataset(self, dataset_id, path):
        self.sent.append(dataset_id)
        shutil.copytree(self.folder / dataset_id, path / dataset_id)

    def list_namespaces(self):
        return sorted(path.parent.relative_to(self.folder).as_posix() for path in self.folder.rglob("namespace_*.json"))

    def download_namespace_metadata(self, namespace, path):
        (path / namespace).mkdir(parents=True, exist_ok=True)
        shutil.copy(self.folder / namespace / "namespace_metadata.json", path / namespace)

    def upload_dataset(self, dataset_id):
        raise AssertionError("nothing is ever sent")

    upload_namespace = upload_dataset


@pytest.fixture
def hub(tmp_path_factory, folder, monkeypatch, foreign):
    """A stand-in for the hub, with the official dataset of every task of the paper; the user's own folder is empty."""
    there = tmp_path_factory.mktemp("hub")
    with monkeypatch.context() as patch:
        patch.setenv("MINARI_DATASETS_PATH", str(there))
        for task in PAPER:
            foreign(task.hub_dataset, env_id=task.env_id, episodes=2)
    made = LocalHub(there)
    for module in (minari.storage.hosting, minari.namespace):
        monkeypatch.setattr(module, "get_cloud_storage", lambda *_, **__: made)
    return made


def test_every_official_dataset_is_downloaded_once_and_put_in_place(hub, folder, capsys):
    for task in PAPER:
        info = prepare(task, "hub")
        assert info.path == folder / task.hub_dataset
        assert len(load(task, "hub", 2, 1, 0)) == 60
    assert hub.sent == [
        "mujoco/hopper/expert-v0",
        "mujoco/halfcheetah/expert-v0",
        "mujoco/walker2d/expert-v0",
        "mujoco/ant/expert-v0",
        "mujoco/humanoid/expert-v0",
    ]
    assert sorted(minari.list_local_datasets()) == sorted(hub.sent)
    said = capsys.readouterr()
    assert said.out == ""  # Minari's messages are no results
    assert "Downloading mujoco/hopper/expert-v0" in said.err


def test_a_download_that_breaks_off_leaves_nothing(hub, folder, monkeypatch):
    download = hub.download_dataset

    def broken(dataset_id, path):
        download(dataset_id, path)
        (path / dataset_id / "data/main_data.hdf5").unlink()
        raise ConnectionError("reset by peer")

    with monkeypatch.context() as patch:
        patch.setattr(hub, "download_dataset", broken)
        with pytest.raises(UserError, match=r"mujoco/hopper/expert-v0 .*reset by peer.* use --dataset embedded"):
            prepare(HOPPER, "hub")
    assert [path for path in folder.iterdir() if path.is_dir()] == []
    assert prepare(HOPPER, "hub").episodes == 2


def test_a_dataset_that_the_hub_does_not_have_is_one_clear_line(hub):
    gone = Task("hopper", "Hopper-v5", hub_dataset="mujoco/hoppper/expert-v0")
    with pytest.raises(UserError, match=r"mujoco/hoppper/expert-v0 .*find any version") as caught:
        prepare(gone, "hub")
    assert_one_line(caught)


# --- lists ------------------------------------------------------------------------------------------------------------


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
