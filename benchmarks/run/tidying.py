"""What is left in a results folder when a worker ends, and nobody needs."""

from __future__ import annotations

import contextlib
from pathlib import Path

from benchmarks.files import inside
from benchmarks.kit.errors import UserError
from benchmarks.store.store import Store

from .attempts import Attempts
from .checkpoint import remove_finished
from .progress import Progress


def tidy(folder: Path, attempts: bool) -> None:
    """Remove what killed processes left and nobody needs: empty logs, and checkpoints of runs that have ended since.

    A run whose worker was killed can be tried again from its checkpoint, which stays. Nothing is done while others are
    at work in the folder.

    Args:
        folder: results folder.
        attempts: whether nobody goes on, so that notes of attempts are needed no longer.
    """
    if (folder / "locks").exists():
        return
    with contextlib.suppress(OSError):  # the folder stays while there is a log in it
        Progress(folder).clear()
        if attempts:
            Attempts(folder).clear()
        logs = inside(folder, "logs")
        for log in logs.glob("*.log"):
            if log.lstat().st_size == 0:
                log.unlink()
        logs.rmdir()
    store = Store(folder)

    def ended(run_id: str) -> int:
        with contextlib.suppress(UserError):
            if store.status(run_id) in ("completed", "diverged"):
                return (store.stamp(run_id) or (0, 0))[0]
        return 0

    remove_finished(folder / "checkpoints", ended)
