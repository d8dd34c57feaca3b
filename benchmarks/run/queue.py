"""What Slurm's queue says of jobs: `squeue` alone, since many clusters keep no accounts that `sacct` could read."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Collection
from dataclasses import dataclass

ENDED = {
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "REVOKED",
    "TIMEOUT", "GONE",
}  # fmt: skip
"""States of jobs that will not go on; Slurm forgets such jobs after some minutes: they are gone."""
SECONDS = 60
"""How long the queue may take to answer."""
_COLUMNS = ("JobArrayID", "State", "Reason", "NodeList", "RestartCnt", "TimeLeft", "STDOUT")


@dataclass(frozen=True)
class Job:
    """One job, as the queue knows it."""

    name: str
    """Its number, such as 12_3 for one of an array."""
    state: str
    """Such as PENDING or RUNNING; "GONE" if the queue knows it no longer."""
    reason: str = ""
    """Why it waits."""
    node: str = ""
    """Where it runs."""
    restarts: str = "0"
    """How often it has been requeued."""
    left: str = ""
    """Time until its limit."""
    log: str = ""
    """The file that it prints to, with Slurm's own signs for numbers."""

    @property
    def alive(self) -> bool:
        """Whether it runs or may run yet."""
        return self.state not in ENDED


class QueueError(Exception):
    """The queue does not answer; the message is the reason."""


def jobs(names: Collection[str]) -> list[Job]:
    """What the queue says of jobs.

    Raises:
        QueueError: there is no queue here, or it does not answer.
    """
    if not names:
        return []
    form = ",".join(f"{column}:|" for column in _COLUMNS)
    command = ["squeue", "--noheader", "--array", "--states=all", f"--user={os.getuid()}", "--Format", form]
    known: dict[str, Job] = {}
    for line in _answer(command).splitlines():
        name, *rest = (part.strip() for part in line.removesuffix("|").split("|", len(_COLUMNS) - 1))
        if name in names and len(rest) == len(_COLUMNS) - 1:
            known[name] = Job(name, *("" if part in ("None", "N/A", "INVALID") else part for part in rest))
    return [known.get(name, Job(name, "GONE")) for name in names]


def cancel(names: Collection[str]) -> None:
    """End jobs; those that have ended already stay as they are.

    Raises:
        QueueError: the queue does not answer.
    """
    if names:
        _answer(["scancel", *names])


def _answer(command: list[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except FileNotFoundError:
        raise QueueError(f"{command[0]} is not found on this machine") from None
    except subprocess.TimeoutExpired:
        raise QueueError(f"{command[0]} has not answered for {SECONDS} seconds") from None
    if done.returncode != 0:
        raise QueueError(done.stderr.strip().partition("\n")[0] or f"{command[0]} ended with {done.returncode}")
    return done.stdout
