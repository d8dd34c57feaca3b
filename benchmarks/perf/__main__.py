"""`python -m benchmarks.perf [--save] [pytest's options]`: run the suites and compare with the stored baseline."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.terminal import answered, console

from . import comparison

SUITES = Path(__file__).parent
OPTIONS = (
    "--benchmark-quiet",
    "--benchmark-timer=time.process_time",
    "--benchmark-disable-gc",
    "-Wdefault::pytest_benchmark.logger.PytestBenchmarkWarning",
)
"""CPU time, because a busy machine stretches the other kind; pytest-benchmark's own table gives way to ours."""


def run(arguments: list[str]) -> int:
    """Run the suites, print the comparison, and store the run if asked to; returns pytest's exit code.

    Args:
        arguments: "--save", and whatever pytest shall be given, such as `-k update`.

    Raises:
        UserError: the run cannot be stored as a baseline, or the stored one cannot be read.
    """
    save = "--save" in arguments
    given = [argument for argument in arguments if argument != "--save"]
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "run.json"
        code = int(pytest.main([str(SUITES), *OPTIONS, f"--benchmark-json={results}", *given]))
        if not results.exists() or not results.stat().st_size:
            return code
        now = comparison.Measured.read(results)
        before = comparison.find_baseline(now.machine)
        wide = console if console.is_terminal else Console(width=120)
        wide.print(comparison.compared(now, before))
        console.print(comparison.explained(now, before), highlight=False, soft_wrap=True)
        if save and code == 0:
            path = comparison.save_baseline(results)
            console.print(f"Stored as the baseline of this machine type: {os.path.relpath(path)}", highlight=False)
    return code


if __name__ == "__main__":
    answered(lambda: sys.exit(run(sys.argv[1:])))
