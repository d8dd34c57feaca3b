"""What a Slurm job does: it is one worker on its share of a node. Loads nothing slow before it listens for signals."""

from __future__ import annotations

import hashlib
import os
import pickle
import signal
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.kit.errors import UserError
from benchmarks.run.interrupts import WARNING, Interrupts

if TYPE_CHECKING:
    from .work import Work

AGAIN = 75
"""Exit code of a worker that has saved its cells and wants to go on in a new job (EX_TEMPFAIL)."""

ATTEMPTS = 5
"""How many jobs may die with a cell, or leave it when warned, without having saved it, before it counts as failed."""


def work(path: str, digest: str) -> None:
    """Make cells until none is left, or the job has to leave.

    Exits with `AGAIN` if Slurm has warned it that its time is up, with 2 for what the user has to mend, which the log
    says in one line, and with 128 + N if another signal N asked it to leave, or found it unable to in time.

    Args:
        path: of the pickled `Work`.
        digest: SHA-256 of that file, as the command that started the job wrote it.
    """
    with Interrupts(patient=True) as interrupts:
        try:
            remaining = _make(Path(path), digest, interrupts)
        except (UserError, PermissionError) as error:
            print(f"error: {error}", flush=True)
            sys.exit(2)
        except KeyboardInterrupt:
            print("some cells had not been saved when the time was up", flush=True)
            sys.exit(128 + signal.SIGTERM)
    if interrupts.asked is not None and remaining:
        sys.exit(AGAIN if interrupts.asked == WARNING else 128 + interrupts.asked)


def _make(path: Path, digest: str, interrupts: Interrupts) -> bool:
    """Make cells; whether some are left."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}; is the folder on every node?") from None
    if hashlib.sha256(content).hexdigest() != digest:
        raise UserError(f"{path} is not what was submitted; submit again")
    from rich.console import Console  # slow, as all of the next

    from benchmarks.run import machine, pool
    from benchmarks.run.locks import PATIENCE_SECONDS, stamps_of
    from benchmarks.terminal import accept_all_characters, show_own_warnings

    accept_all_characters()
    show_own_warnings()
    given: Work = pickle.loads(content)
    using = machine.fitting(len(given.cells), given.settings.device, None, given.settings.threads or None)
    settings = replace(using.of(given.settings), allocation=machine.allocation(using), attempts=ATTEMPTS)
    print(f"worker of job {machine.job()} on {os.uname().nodename}: {settings.allocation}", flush=True)
    first = int(os.environ.get("SLURM_ARRAY_TASK_ID", 0)) * using.workers
    if interrupts.asked is None:
        console = Console(width=120)
        pool.run_cells(given.cells, settings, using.workers, console, given.stamps, interrupts, PATIENCE_SECONDS, first)
    run_ids = [run_id for cell in given.cells for run_id in cell.run_ids]
    now = stamps_of(settings.folder, run_ids)
    return any(now.get(run_id) == given.stamps.get(run_id) for run_id in run_ids)
