"""How cells are run: what a user may set of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.kit.contract import Policy

Keep = Callable[[Path, str, Policy, int, Sequence[dict[str, Any]]], None]
"""Results folder, run id, the policy as just evaluated, the lane of the run in it, its evaluation rows so far."""

ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
"""Environment of processes that compute: more threads than cores would fight each other, and their number changes the
last bits of results."""


@dataclass(frozen=True)
class Settings:
    """How cells are run; nothing here changes what is learnt, but the device draws other random numbers."""

    folder: Path
    """Results folder."""
    device: str = "cpu"
    """Torch device."""
    timeout: float | None = None
    """Seconds of training and evaluation that a cell may take."""
    checkpoint_minutes: float = 5.0
    """Minutes between two checkpoints."""
    wandb: bool = False
    """Mirror finished runs to Weights & Biases."""
    live: bool = False
    """Show there the curves of cells under way, too."""
    threads: int = 1
    """Threads that step the environments of a cell."""
    anew: bool = False
    """Begin at the beginning, and drop the checkpoint of an interrupted run."""
    accept_dataset: bool = False
    """Use demonstrations of another environment than the task's, which is noted in the rows."""
    strict: bool = False
    """Runs whose audit has noticed something fail."""
    policies: bool = True
    """Keep every run's final policy."""
    allocation: str | None = None
    """What a scheduler has given to the worker, for the rows; see `machine.allocation`."""
    attempts: int | None = None
    """How many workers may die with a cell before it counts as failed, without having saved it; None: nobody counts."""
    keep: Keep | None = None
    """Called for every lane after each evaluation; a function of a module, since it travels to other processes."""
