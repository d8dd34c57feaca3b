"""What every timed script shares: its arguments, the clock, and the line it answers with. Standard library only."""

from __future__ import annotations

import argparse
import json
import time
from importlib.metadata import version

LEARNING_STARTS = 100
"""Environment steps before the first update, for every contestant (the default of Stable-Baselines3 and SBX)."""


def arguments() -> argparse.ArgumentParser:
    """Options of every timed script: `--warmup` and `--steps` (environment steps) and `--seed`."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--warmup", type=int, default=500, help="steps before the clock starts, compilation included")
    parser.add_argument("--steps", type=int, default=1000, help="timed steps")
    parser.add_argument("--seed", type=int, default=0)
    return parser


class Clock:
    """Times the part of a training loop that lies between two numbers of environment steps.

    Args:
        warmup: environment steps before the timed part.
        steps: environment steps in the timed part, at least; whole rounds of a loop that advances by rounds.
    """

    def __init__(self, warmup: int, steps: int) -> None:
        self.warmup, self.total = warmup, warmup + steps
        self._marks: list[tuple[int, int, float, float]] = []

    def at(self, steps: int, updates: int) -> bool:
        """Tell the clock where the loop stands; False once the timed part is over.

        Args:
            steps: environment steps so far.
            updates: gradient updates so far.
        """
        if len(self._marks) < 2 and steps >= (self.total if self._marks else self.warmup):
            self._marks.append((steps, updates, time.perf_counter(), time.process_time()))
        return len(self._marks) < 2

    def report(self, env_id: str, *packages: str) -> None:
        """Print one line of JSON: steps, updates, seconds of wall and of CPU time (all threads), and versions.

        Raises:
            RuntimeError: the loop ended before the timed part did.
        """
        if len(self._marks) < 2:
            raise RuntimeError(f"the loop ended before environment step {self.total}")
        steps, updates, wall, cpu = (b - a for a, b in zip(*self._marks, strict=True))
        print(
            json.dumps(
                {
                    "env_id": env_id,
                    "steps": steps,
                    "updates": updates,
                    "wall_seconds": wall,
                    "cpu_seconds": cpu,
                    "versions": {package: version(package).partition("+")[0] for package in packages},
                }
            )
        )
