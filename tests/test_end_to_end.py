"""The whole way from the command line to stored rows, on real MuJoCo, real Minari and the suite's own methods."""

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.store.store import Store

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


def test_somebody_elses_minari_dataset_is_taken_by_its_id_and_refused_if_it_does_not_fit(home, foreign):
    foreign("somebody/pendulum-v0", "InvertedPendulum-v5")
    run("theirs", "--dataset", "somebody/pendulum-v0", "--set", "bc.fit.steps=20", methods="bc", seeds="0")
    assert Store(home / "theirs").runs()["dataset_id"].tolist() == ["somebody/pendulum-v0"]
    refused = bench("run", "--methods", "bc", "--tasks", "hopper", "--dataset", "somebody/pendulum-v0", "--out", "no")
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1, refused.stderr
    assert refused.stderr.startswith("error: dataset somebody/pendulum-v0")
    assert "does not fit task hopper" in refused.stderr
    assert not Path("no").exists()
