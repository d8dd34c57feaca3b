"""One way of measuring for all suites: CPU time by default, and a reference in turns with what is measured."""

import os
import pkgutil
import statistics

import pytest
import torch

from . import machine

torch.set_num_threads(1)

SECONDS = 0.5
"""Time that the rounds of one benchmark take, within the bounds below."""
ROUNDS = (5, 100)


def pytest_benchmark_generate_machine_info(config):
    """What baselines are told apart by, instead of the host's name and addresses."""
    return machine.described()


def pytest_benchmark_update_json(config, benchmarks, output_json):
    """What else the machine had to do: CPU time is not free of it."""
    output_json["load"] = os.getloadavg()[1]


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


@pytest.fixture
def measure(benchmark, request):
    """Time a function with pytest-benchmark: `measure(function, unit="update", count=2)`.

    One call of the function does `count` of the unit. Where a second function is given as `beside`, the two are called
    in turns, so that both see the same machine; the median of the rounds' quotients is stored as "ratio". Further
    keywords are stored as they are.
    """
    timer = pkgutil.resolve_name(request.config.getoption("benchmark_timer"))

    def seconds(function):
        begin = timer()
        function()
        return timer() - begin

    def run(function, unit, count=1, beside=None, **stored):
        references = []

        def refer():
            if beside is not None:
                references.append(seconds(beside))

        function()
        refer()
        once = seconds(function) + sum(references[-1:])
        rounds = round(min(max(SECONDS / max(once, 1e-9), ROUNDS[0]), ROUNDS[1]))
        benchmark.extra_info |= {"unit": unit, "count": count, **stored}
        benchmark.pedantic(function, setup=refer, rounds=rounds, warmup_rounds=1)
        if references and not benchmark.disabled:
            pairs = zip(benchmark.stats.stats.data, references[-rounds:], strict=True)
            benchmark.extra_info["ratio"] = statistics.median(mine / reference for mine, reference in pairs)

    return run
