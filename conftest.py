"""Folders of the tests' own, and fixtures of synthetic runs."""

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

# neither read nor write the user's own datasets; worker processes share this folder
if "NDI_BENCH_TESTS" not in os.environ:
    os.environ["NDI_BENCH_TESTS"] = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, os.environ["NDI_BENCH_TESTS"], ignore_errors=True)
os.environ["MINARI_DATASETS_PATH"] = os.path.join(os.environ["NDI_BENCH_TESTS"], "datasets")

import numpy as np
import pytest
from synthetic import rows_of_a_run

from benchmarks.reporting import results
from benchmarks.store.store import Store


@pytest.fixture(scope="session")
def a_run() -> Callable[..., tuple[dict[str, Any], list[dict[str, Any]]]]:
    """The factory of synthetic runs."""
    return rows_of_a_run


@pytest.fixture
def fill(tmp_path, monkeypatch) -> Callable[..., Store]:
    """Write a synthetic grid through the store: `fill({(method, task): mean}, seeds=2, ...)`.

    Returns of seeds lie `apart` from each other. The task table has Hopper only: random 20, expert 1000.
    """
    monkeypatch.setattr(results, "TASKS", {"hopper": SimpleNamespace(random_return=20.0, expert_return=1000.0)})

    def write(
        returns: dict[tuple[str, str], float], seeds: int = 2, demos: int = 1, apart: float = 100.0, **changes: Any
    ) -> Store:
        store = Store(tmp_path)
        for (method, task), mean in returns.items():
            for seed in range(seeds):
                level = mean + apart * (seed - (seeds - 1) / 2)
                run, evaluations = rows_of_a_run(method, task, seed, demos, (level - 5, level + 5), **changes)
                store.write(run, evaluations)
        return store

    return write


@pytest.fixture
def generator() -> np.random.Generator:
    """A seeded numpy generator."""
    return np.random.default_rng(0)
