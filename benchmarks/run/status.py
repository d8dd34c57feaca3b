"""How far the work in a results folder is, read from the folder and the queue alone: for whoever looks on.

Nothing is changed, and nothing of the folder is loaded but runs, notes and numbers, each checked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape

from benchmarks.kit.errors import UserError
from benchmarks.store.store import Store
from benchmarks.terminal import counted, say, table

from . import queue, submissions
from .attempts import Attempts
from .locks import Stamps, holders, names
from .progress import Note, Progress
from .queue import Job
from .record import Ending


@dataclass(frozen=True)
class Status:
    """How far it is."""

    runs: Collection[str]
    """Ids of the runs that are to be made."""
    endings: Mapping[str, Ending] = field(default_factory=dict)
    """How those ended that are stored."""
    making: Mapping[str, str] = field(default_factory=dict)
    """Who makes others now."""
    notes: Collection[Note] = ()
    """How far the cells under way are."""
    attempts: Mapping[str, int] = field(default_factory=dict)
    """How often jobs have begun cells since they were last saved, by the cells' ids."""
    jobs: Sequence[Job] = ()
    """What the queue says of the jobs; oldest first."""
    logs: Mapping[str, Path] = field(default_factory=dict)
    """Where their logs lie."""
    fault: str = ""
    """Why the queue does not answer."""

    @property
    def missing(self) -> list[str]:
        """Runs that are not stored."""
        return [run_id for run_id in self.runs if run_id not in self.endings]

    @property
    def alive(self) -> bool:
        """Whether a job may still make runs."""
        return any(job.alive for job in self.jobs)

    @property
    def failed(self) -> dict[str, Ending]:
        """Stored runs without a result."""
        return {run_id: ending for run_id, ending in self.endings.items() if ending.status != "completed"}


class Watch:
    """Looks at a folder again and again, reading each stored run once.

    Args:
        folder: results folder.
        runs: ids of the runs that are to be made. Default: those of all submissions, or else all that are there.
        stamps: those of the stored runs that are to be made again, see `Store.stamp`.
    """

    def __init__(self, folder: Path, runs: Collection[str] | None = None, stamps: Stamps | None = None) -> None:
        self.folder, self._runs, self._stamps = Path(folder), runs, stamps or {}
        self._store = Store(folder)
        self._known: dict[str, tuple[tuple[int, int], Ending]] = {}

    def look(self) -> Status:
        """How far it is now.

        Raises:
            UserError: the folder or a run in it cannot be read.
        """
        try:
            listed = [name for name in names(self.folder / "runs") if name.endswith(".parquet") and name[0] != "."]
            making, submitted = holders(self.folder), list(submissions.submissions(self.folder))
        except OSError as error:
            raise UserError(f"{self.folder} cannot be read: {error.strerror}") from None
        stored = {name.removesuffix(".parquet") for name in listed}
        runs, stamps = self._runs, self._stamps
        if runs is None:
            runs = list(dict.fromkeys(run_id for _, one in submitted for run_id in one.runs)) or sorted(
                stored | making.keys()
            )
            stamps = {run_id: stamp for _, one in submitted for run_id, stamp in one.stamps.items()}
        submitted = [found for found in submitted if not set(runs).isdisjoint(found[1].runs)]
        endings = dict(self._endings(stored.intersection(runs), stamps))
        logs = {job: submissions.log(place, job) for place, one in submitted for job in one.jobs}
        fault, jobs = "", list[Job]()
        try:
            jobs = queue.jobs(logs)
        except queue.QueueError as error:
            fault = str(error)
        notes, attempts = list(Progress(self.folder).read()), Attempts(self.folder).read()
        return Status(runs, endings, making, notes, attempts, jobs, logs, fault)

    def _endings(self, run_ids: Collection[str], stamps: Stamps) -> Iterator[tuple[str, Ending]]:
        for run_id in sorted(run_ids):
            stamp = self._store.stamp(run_id)
            if stamp is None or stamp == stamps.get(run_id):
                continue
            known = self._known.get(run_id)
            if known is None or known[0] != stamp:
                record = self._store.record(run_id)
                if record is None:
                    continue
                ending = Ending(record["status"], record["error"], record["steps"], record["updates"])
                self._known[run_id] = known = stamp, ending
            yield run_id, known[1]


def view(status: Status) -> RenderableType:
    """The status for people."""
    parts: list[RenderableType] = [escape(summary(status))]
    shown = [job for job in status.jobs if job.alive or (status.missing and job.state != "COMPLETED")]
    if shown:
        jobs = table("Job", "State", "Node", "Requeued", "Left", "Error")
        for job in shown:
            state = job.state + (f" ({job.reason})" if job.reason and job.state == "PENDING" else "")
            words = submissions.last_error(status.logs[job.name])
            jobs.add_row(job.name, escape(state), escape(job.node), job.restarts, job.left, escape(words))
        parts.append(jobs)
        for place in dict.fromkeys(status.logs[job.name].parent for job in shown):
            parts.append(escape(f"Their logs: {submissions.log(place, 'JOB')}"))
    if status.notes:
        cells = table("Under way", "Lanes", "Done", "Return", "Job")
        for note in status.notes:
            done = f"{note.steps / note.budget:.0%}" if note.budget else f"{note.updates:,} updates"
            score = "" if note.mean_return is None else f"{note.mean_return:,.1f}"
            cells.add_row(note.cell, str(note.lanes), escape(note.activity or done), score, escape(note.job))
        parts.append(cells)
    for cell, number in status.attempts.items():
        if number > 1:
            parts.append(escape(f"{cell}: begun {number} times since it was last saved"))
    for run_id, ending in status.failed.items():
        parts.append(f"[red]{escape(run_id)}: {ending.status}: {escape(ending.error or '')}[/red]")
    return Group(*parts)


def summary(status: Status) -> str:
    """The status in one line."""
    statuses = Counter(ending.status for ending in status.endings.values())
    how = ", ".join(f"{number} {name}" for name, number in statuses.items())
    making = len([run_id for run_id in status.missing if run_id in status.making])
    states = Counter(job.state.lower() for job in status.jobs if job.alive)
    jobs = "; jobs: " + ", ".join(f"{number} {state}" for state, number in states.items()) if states else ""
    made = f"{len(status.endings)}/{counted(len(status.runs), 'run')} made" + (f" ({how})" if how else "")
    fault = f"; {status.fault}" if status.fault else ""
    return f"{made}, {making} under way, {len(status.missing) - making} waiting{jobs}{fault}"


class Shown:
    """Shows a status that changes: in place on a terminal, as a line per change anywhere else; a context.

    Args:
        console: where.
    """

    def __init__(self, console: Console) -> None:
        self.console, self._last = console, ""
        self._live = Live(console=console, transient=True, auto_refresh=False) if console.is_terminal else None

    def __enter__(self) -> Shown:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self._live is not None:
            self._live.stop()

    def show(self, status: Status) -> None:
        """Show how far it is now."""
        if self._live is not None:
            self._live.update(view(status), refresh=True)
        elif summary(status) != self._last:
            self._last = summary(status)
            self.say(self._last)

    def say(self, message: str, style: str = "") -> None:
        """Print one line above it."""
        say(message, style, self.console)
