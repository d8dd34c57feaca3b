"""The whole way from the command line to stored rows, on real MuJoCo, real Minari and the suite's own methods."""

import subprocess
import sys
from pathlib import Path

import gymnasium as gym
import minari
import numpy as np
import pytest
from minari.data_collector import EpisodeBuffer

from benchmarks.data.datasets import prepare
from benchmarks.store.store import Store
from benchmarks.tasks import TASKS

METHODS = "random,expert,bc,gail,valuedice,ndi-made,ndi-ebm"
TINY = [
    *("--set", "bc.fit.steps=50", "--set", "ndi-made.density.fit.steps=50", "--set", "ndi-ebm.density.fit.steps=50"),
    *("--set", "ndi-made.sac.cloned=50", "--set", "ndi-ebm.sac.cloned=50"),
    *("--set", "valuedice.updates_per_step=1", "--set", "valuedice.batch_size=32"),
]


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder to work in, with InvertedPendulum's embedded dataset in its place."""
    folder = tmp_path_factory.mktemp("home")
    (folder / "datasets").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MINARI_DATASETS_PATH", str(folder / "datasets"))
        patch.chdir(folder)
        yield folder


def bench(*arguments):
    return subprocess.run(
        [sys.executable, "-W", "default", "-m", "benchmarks", *arguments], capture_output=True, text=True, check=False
    )


def run(out, *more, methods=METHODS, seeds="0-1"):
    done = bench(
        *("run", "--methods", methods, "--tasks", "inverted-pendulum", "--seeds", seeds, "--steps", "120"),
        *("--evaluations", "2", "--eval-episodes", "2", "--workers", "0", "--out", out, *more),
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def returns(out):
    rows = Store(out).evaluations()
    return rows.set_index(["method", "seed", "step", "episode"])["return"].sort_index()


@pytest.fixture(scope="module")
def first(home):
    """All methods run once."""
    return run("first", *TINY)


def test_all_methods_end_in_the_table(first, home):
    table = first[first.index("Return with 1 demonstration") :]
    for label in ("Random", "BC", "GAIL (off-policy)", "ValueDICE", "NDI+MADE", "NDI+EBM", "Expert"):
        assert label in table
    runs = Store(home / "first").runs()
    assert set(runs["status"]) == {"completed"}
    assert runs[runs["demos"] == 1]["dataset_hash"].nunique() == 1
    by_seed = runs[runs["demos"] == 1].groupby("seed")["episode_ids"].apply(lambda ids: {tuple(i) for i in ids})
    assert all(len(ids) == 1 for ids in by_seed)  # the same episodes for every method


def test_the_same_command_twice_gives_identical_returns(first, home):
    run("second", *TINY)
    one, two = returns(home / "first"), returns(home / "second")
    assert len(one) == 2 * (2 * 2 + 2 * 2 * 4 + 2)  # two seeds, two episodes; four online methods have two evaluations
    assert one.equals(two)


def test_what_is_stored_is_not_run_again(first, home):
    assert "0 runs in 0 processes to make, 14 completed" in run("first", *TINY)


def test_lanes_together_and_alone_give_the_same_returns(first, home):
    """Training seed 1 alone repeats what it did beside seed 0, up to float rounding."""
    run("alone", *TINY, seeds="1")
    together, alone = returns(home / "first"), returns(home / "alone")
    np.testing.assert_allclose(together.reindex(alone.index), alone, rtol=1e-6)


def record(dataset_id, observation=None):
    """A dataset of somebody else's of two random episodes; their third observation may be replaced."""
    environment = gym.make("InvertedPendulum-v5")
    environment.action_space.seed(0)
    buffers = []
    for number in range(2):
        observations, actions = [environment.reset(seed=number)[0]], []
        for _ in range(30):
            actions.append(environment.action_space.sample())
            observations.append(environment.step(actions[-1])[0])
        if observation is not None:
            observations[2] = np.full_like(observations[2], observation)
        flags = np.zeros(30, dtype=bool)
        arrays = (np.array(observations), np.array(actions), np.ones(30), flags, flags)
        buffers.append(EpisodeBuffer(number, number, None, *arrays))
    minari.create_dataset_from_buffers(
        dataset_id,
        buffers,
        env="InvertedPendulum-v5",
        eval_env="InvertedPendulum-v5",
        algorithm_name="random",
        author="somebody",
        author_email="somebody@example.org",
        code_permalink="https://example.org",
        description="for a test",
    )


def test_somebody_elses_minari_dataset_is_taken_by_its_id_and_refused_if_it_does_not_fit(home):
    record("somebody/pendulum-v0")
    run("theirs", "--dataset", "somebody/pendulum-v0", "--set", "bc.fit.steps=20", methods="bc", seeds="0")
    assert Store(home / "theirs").runs()["dataset_id"].tolist() == ["somebody/pendulum-v0"]
    assert_refused("hopper", "somebody/pendulum-v0", "does not fit task hopper")


def test_a_dataset_with_a_nan_and_a_torn_one_are_refused_in_one_line(home):
    record("somebody/nan-v0", np.nan)
    assert_refused("inverted-pendulum", "somebody/nan-v0", "NaN")
    record("somebody/torn-v0")
    file = home / "datasets" / "somebody" / "torn-v0" / "data" / "main_data.hdf5"
    file.write_bytes(file.read_bytes()[:2000])
    assert_refused("inverted-pendulum", "somebody/torn-v0", "torn-v0")


def assert_refused(task, dataset, reason):
    refused = bench("run", "--methods", "bc", "--tasks", task, "--dataset", dataset, "--out", "no")
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1, refused.stderr
    assert refused.stderr.startswith(f"error: dataset {dataset}")
    assert reason in refused.stderr
    assert not Path("no").exists()


def test_the_embedded_dataset_was_built_once(first, home):
    info = prepare(TASKS["inverted-pendulum"], "embedded")
    assert info.episodes == 25
    assert {path.name for path in (home / "datasets" / "ndi").iterdir() if path.is_dir()} == {"inverted-pendulum"}
