"""Minari's files read without Minari: what they hold, what is refused, and that nothing they name is run."""

import json
import os

import gymnasium as gym
import h5py
import minari
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks.data import datasets
from benchmarks.data.reading import open_dataset
from benchmarks.kit.errors import UserError
from benchmarks.tasks import TASKS

HOPPER = TASKS["hopper"]
FORMATS = ("hdf5", "arrow", "parquet")
ID = "lab/mine-v0"


def edit(folder, **changes):
    """Change the metadata of the dataset; what becomes `...` goes."""
    path = folder / ID / "data/metadata.json"
    metadata = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({name: value for name, value in metadata.items() if value is not ...}))


@pytest.fixture
def opened(folder):
    return lambda: open_dataset(ID, folder / ID)


@pytest.mark.parametrize("data_format", FORMATS)
def test_episodes_are_those_that_minari_reads(folder, foreign, opened, data_format):
    foreign(ID, data_format=data_format)
    dataset = opened()
    assert dataset.seeds() == (0, 1, 2, 3)
    assert (dataset.observation_space, dataset.environment["id"]) == (
        gym.make("Hopper-v5").observation_space,
        "Hopper-v5",
    )
    for ours, theirs in zip(dataset.episodes([2, 0]), minari.load_dataset(ID).iterate_episodes([2, 0]), strict=True):
        assert ours.number == theirs.id
        for name in ("observations", "actions", "rewards", "terminations", "truncations"):
            mine, right = getattr(ours, name), getattr(theirs, name)
            np.testing.assert_array_equal(mine, right)
            assert mine.dtype == right.dtype


@pytest.mark.parametrize("data_format", FORMATS)
def test_infos_are_not_read(folder, foreign, opened, data_format):
    foreign(ID, data_format=data_format, steps=3, infos={"speed": np.zeros(4), "pose": np.zeros((4, 2))})
    assert [len(episode) for episode in opened().episodes(range(4))] == [3] * 4


@pytest.mark.parametrize("data_format", ["arrow", "parquet"])
def test_long_episodes_are_read_whole(folder, opened, data_format):
    steps, space = 140_000, gym.spaces.Box(-1, 1, (1,), np.float32)
    path = np.linspace(-1, 1, steps + 1, dtype=np.float32)[:, None]
    whole = minari.data_collector.EpisodeBuffer(
        id=0, observations=path, actions=path[:-1], rewards=np.arange(steps, dtype=float),
        terminations=np.zeros(steps, bool), truncations=np.arange(steps) == steps - 1,
    )  # fmt: skip
    with pytest.warns(UserWarning, match="is set to None|is None"):
        minari.create_dataset_from_buffers(
            ID, [whole], observation_space=space, action_space=space, data_format=data_format
        )
    (episode,) = opened().episodes([0])
    np.testing.assert_array_equal(episode.observations, path)
    assert episode.total_return == steps * (steps - 1) / 2


@pytest.mark.parametrize("data_format", FORMATS)
def test_other_numbers_of_steps_than_the_metadata_say_are_refused(folder, foreign, data_format):
    foreign(ID, data_format=data_format)
    edit(folder, total_steps=119)
    with pytest.raises(UserError, match="its episodes have 120 steps, its metadata 119"):
        datasets.prepare(HOPPER, ID)


def test_an_episode_that_is_cut_short_is_refused(folder, foreign):
    foreign(ID, data_format="parquet")
    about = folder / ID / "data/1/metadata.json"
    about.write_text(json.dumps(json.loads(about.read_text()) | {"total_steps": 31}))
    with pytest.raises(UserError, match="episode 1 has 30 steps, its metadata 31"):
        datasets.load(HOPPER, ID, demos=4, subsample=1, seed=0)


@pytest.mark.parametrize("flag", ["terminations", "truncations"])
def test_an_end_in_the_middle_of_an_episode_is_refused(folder, foreign, flag):
    foreign(ID, spoil=lambda arrays: arrays[flag].__setitem__([5, 19], True))
    with pytest.raises(UserError, match="episode 2 goes on after its end: step 5 of 30 is flagged"):
        datasets.prepare(HOPPER, ID)


def test_nothing_that_a_dataset_names_is_run(folder, foreign, opened, tmp_path, bench, monkeypatch):
    foreign(ID)
    spec = {"id": "Evil-v0", "entry_point": "os:system", "additional_wrappers": [], "max_episode_steps": 1000,
            "kwargs": {"command": f"touch {tmp_path}/ran"}}  # fmt: skip
    edit(folder, env_spec=json.dumps(spec), eval_env_spec=json.dumps(spec))
    with pytest.raises(UserError, match="collected in Evil-v0, not in Hopper-v5"):
        datasets.prepare(HOPPER, ID)
    edit(folder, observation_space=..., action_space=...)
    with pytest.raises(UserError, match="its metadata have no observation_space"):
        opened()
    run = ("run", "--methods", "bc", "--tasks", "hopper", "--dataset", ID, "--dry-run", "--out", tmp_path / "out")
    assert bench(*run)[0] == 2
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"total_episodes": 0}, "it has no episodes"),
        ({"total_episodes": 10**12}, "its metadata tell of 1,000,000,000,000 episodes"),
        ({"total_episodes": "4"}, "its metadata have no total_episodes"),
        ({"total_episodes": 5}, "episode_4"),
        ({"data_format": "pickle"}, "its format pickle is none of hdf5, arrow, parquet"),
        ({"minari_version": "9.9"}, "it is of Minari 9.9, which this one does not read"),
        ({"dataset_id": "lab/other-v0"}, "its metadata are not those of lab/mine-v0"),
        ({"observation_space": "{}"}, "KeyError"),
        ({"env_spec": "{"}, "JSONDecodeError"),
        ({"env_spec": "[]"}, "is no specification of an environment"),
        ({"env_spec": '{"id": "Hopper-v5", "kwargs": [1]}'}, "is no specification of an environment"),
        ({"env_spec": '{"id": "Hopper-v5", "additional_wrappers": ["x"]}'}, "is no specification of an environment"),
    ],
)
def test_metadata_that_make_no_sense_are_one_clear_line(folder, foreign, changes, reason):
    foreign(ID)
    edit(folder, **changes)
    with pytest.raises(UserError, match=reason) as caught:
        datasets.prepare(HOPPER, ID)
    assert "\n" not in str(caught.value)


def test_rows_of_another_size_than_the_space_are_refused(folder, foreign):
    foreign(ID, spoil=lambda arrays: arrays.update(observations=np.zeros((31, 12))))
    with pytest.raises(UserError, match=r"the observations of episode 2 have shape \(12,\), not \(11,\)"):
        datasets.prepare(HOPPER, ID)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"rewards": np.full(30, b"one")}, "the rewards of episode 2 are no numbers"),
        ({"terminations": np.zeros((30, 2), bool)}, r"the terminations of episode 2 have shape \(2,\), not \(\)"),
        ({"rewards": np.zeros((30, 3))}, r"the rewards of episode 2 have shape \(3,\), not \(\)"),
    ],
)
def test_columns_that_are_no_numbers_of_their_shape_are_refused(folder, foreign, changes, reason):
    foreign(ID, spoil=lambda arrays: arrays.update(changes))
    with pytest.raises(UserError, match=reason):
        datasets.prepare(HOPPER, ID)


def test_a_negative_seed_is_refused(folder, foreign):
    foreign(ID)
    with h5py.File(folder / ID / "data/main_data.hdf5", "r+") as file:
        file["episode_0"].attrs["seed"] = -1
    with pytest.raises(UserError, match="a seed is negative"):
        open_dataset(ID, folder / ID).seeds()


@pytest.mark.parametrize("data_format", FORMATS)
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(folder, foreign, data_format):
    foreign(ID, data_format=data_format)
    (path, *_) = sorted((folder / ID / "data").rglob("*.hdf5" if data_format == "hdf5" else f"*.{data_format}"))
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(UserError, match="regular"):
        datasets.prepare(HOPPER, ID)


def test_what_lies_in_another_file_is_not_opened(folder, foreign):
    foreign(ID)
    path, secret = folder / ID / "data/main_data.hdf5", folder / "secret"
    secret.write_bytes(bytes(8 * 30))
    with h5py.File(path, "r+") as file:
        rewards = file["episode_1/rewards"][()]
        del file["episode_1/rewards"]
        file["episode_1"].create_dataset("rewards", (30,), "f8", external=[(str(secret), 0, 8 * 30)])
    with pytest.raises(UserError, match="rewards lies in another file, which is not opened"):
        datasets.prepare(HOPPER, ID)
    with h5py.File(path, "r+") as file:
        del file["episode_1/rewards"]
        file["episode_1/rewards"] = rewards
        del file["episode_3"]
        file["episode_3"] = h5py.ExternalLink(str(path), "episode_1")
    with pytest.raises(UserError, match="episode_3 lies in another file, which is not opened"):
        datasets.prepare(HOPPER, ID)


def test_a_size_that_nothing_is_stored_for_is_refused_unread(folder, foreign):
    foreign(ID)
    with h5py.File(folder / ID / "data/main_data.hdf5", "r+") as file:
        del file["episode_1/rewards"]
        file["episode_1"].create_dataset("rewards", (10**12,), "f8", chunks=(1000,))
    with pytest.raises(UserError, match="rewards claims 8,000,000,000,000 bytes and stores 0"):
        datasets.prepare(HOPPER, ID)


def test_rows_of_different_lengths_are_refused(folder, foreign):
    foreign(ID, data_format="parquet")
    (path,) = (folder / ID / "data" / "1").glob("*.parquet")
    table = pq.read_table(path)
    rows = table["observations"].to_pylist()
    rows[3], rows[4] = rows[3] + rows[4][:1], rows[4][1:]  # as many numbers as before
    column = pa.array(rows, pa.list_(pa.float64()))
    pq.write_table(table.set_column(table.column_names.index("observations"), "observations", column), path)
    with pytest.raises(UserError, match="its rows differ in length"):
        datasets.prepare(HOPPER, ID)
