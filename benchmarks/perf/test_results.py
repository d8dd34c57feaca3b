"""Storing a run and building a report, from synthetic runs."""

import io
import itertools

import pytest
from rich.console import Console

from benchmarks.reporting.building import build
from benchmarks.store.store import Store

EVALUATIONS = tuple(range(0, 100_001, 10_000))


@pytest.mark.benchmark(group="Results")
def test_store_write(measure, tmp_path, a_run):
    """Eleven evaluations of ten episodes each."""
    store, seeds = Store(tmp_path), itertools.count()

    def write():
        store.write(*a_run(seed=next(seeds), finals=tuple(range(900, 1000, 10)), steps=EVALUATIONS))

    measure(write, "run")


@pytest.mark.benchmark(group="Results")
def test_report(measure, fill):
    """Six methods, five seeds, one task."""
    methods = ("random", "bc", "gail", "ndi-ebm", "sac", "expert")
    store = fill({(method, "hopper"): 100.0 * rank for rank, method in enumerate(methods, 1)}, seeds=5)
    measure(lambda: build(store.folder, Console(file=io.StringIO())), "report")
