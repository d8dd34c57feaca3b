"""Datasets that the suite did not make: local ones by their id, and those of the Minari hub."""

import json
import shutil
import warnings

import gymnasium as gym
import minari
import numpy as np
import pytest
from minari.storage.remotes.cloud_storage import CloudStorage

from benchmarks.data.datasets import DatasetWarning, load, notes, prepare
from benchmarks.data.local import listing
from benchmarks.kit.errors import UserError
from benchmarks.store.store import Store
from benchmarks.tasks import TASKS, Task

# what differs is told whenever a dataset is used; tests of that ask for it
pytestmark = pytest.mark.filterwarnings("ignore::benchmarks.data.datasets.DatasetWarning")

PAPER = [task for task in TASKS.values() if "paper" in task.tags]
HOPPER, CHEETAH = TASKS["hopper"], TASKS["halfcheetah"]


def nan(arrays):
    arrays["observations"][7, 3] = np.nan


def assert_one_line(caught):
    assert "\n" not in str(caught.value)


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
    with pytest.warns(DatasetWarning, match="it does not say in which environment it was collected"):
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
    with pytest.raises(UserError, match=r"no local Minari dataset lab/mine-v0 in .*: there are none; or use"):
        prepare(HOPPER, "lab/mine-v0")
    foreign("lab/mine-v1")
    with pytest.raises(UserError, match=r"did you mean lab/mine-v1\? there is lab/mine-v1; or use") as caught:
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
