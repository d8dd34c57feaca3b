"""Runs cells in processes, one cell per process and one torch thread each; a dying process costs its cell alone.

Processes and machines that share a results folder share the work: each locks the runs of its next cell.
"""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import os
import pickle
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks.files import inside, variables
from benchmarks.kit.errors import UserError, writing
from benchmarks.plan.grid import Cell
from benchmarks.terminal import counted, show_own_warnings

from .attempts import Attempts
from .display import Display
from .interrupts import WARNING, Interrupts
from .locks import Locks, Stamps
from .picking import CellLocks
from .preparation import prepare
from .progress import Progress
from .record import Ending, Pulse, Record
from .rows import store_failure
from .runner import run_cell
from .settings import ONE_THREAD, Settings
from .tidying import tidy

GRACE_SECONDS = 60.0
"""How long after its timeout a cell is ended by force that has not ended by itself."""
POLL_SECONDS = 0.2
"""How long the parent sleeps at most."""
LOOK_SECONDS = 5.0
"""Time between two looks for cells, when there was none that nobody else is making."""


@dataclass
class Outcome:
    """What became of the cells."""

    endings: dict[str, Ending] = field(default_factory=dict)
    """How each run ended, by run id; runs of cells that were left before their end are missing."""
    interrupted: bool = False
    """Whether the user stopped the work."""
    detached: bool = False
    """Whether jobs go on with it without this command."""
    elsewhere: dict[str, str] = field(default_factory=dict)
    """Runs that others are still making in the same folder, by run id, with who it is."""

    @property
    def failed(self) -> bool:
        """Whether a run is without a result."""
        return bool(self.elsewhere) or any(ending.status != "completed" for ending in self.endings.values())


def run_cells(
    cells: Sequence[Cell],
    settings: Settings,
    workers: int,
    console: Console,
    stamps: Stamps | None = None,
    interrupts: Interrupts | None = None,
    patience: float = 0.0,
    first: int = 0,
) -> Outcome:
    """Run cells in their order and store their runs; shows progress.

    The first interrupt (Ctrl-C or SIGTERM) lets every cell save itself and leave, a second one ends all at once.
    Runs that others hold are left to them, or made at the end if these have died by then.

    Args:
        cells: longest first.
        settings: how to run them.
        workers: processes at a time; 0 runs the cells in this process, one after the other.
        console: where to show progress.
        stamps: those of the stored runs when it was decided what is to be made; see `CellLocks`.
        interrupts: who listens for signals already. Default: nobody does.
        patience: seconds to wait for others to end or to die when they make all that is left.
        first: how many cells to pass over at first, see `CellLocks`.

    Raises:
        UserError: the results folder cannot be written to, or a checkpoint there does not fit.
        KeyboardInterrupt: interrupted twice.
    """
    display = Display(console, cells)
    interrupts = interrupts or Interrupts()
    with CellLocks(settings.folder, cells, stamps, first) as locks:
        pool = _Pool(settings, display, locks, interrupts, patience)
        with display, interrupts:
            prepare(cells, settings.device, display.say)
            pool.run(workers) if workers else pool.run_here()
        pool.outcome.interrupted = interrupts.asked is not None
        pool.outcome.elsewhere = locks.elsewhere()
        for holder, number in Counter(pool.outcome.elsewhere.values()).items():
            display.say(f"{counted(number, 'run')} left to {holder}, which is making them", "yellow")
    tidy(Path(settings.folder), attempts=interrupts.asked != WARNING)
    return pool.outcome


class _Worker:
    """One process and its cell, seen from the parent."""

    def __init__(self, cell: Cell, settings: Settings, locks: Locks) -> None:
        self.cell = cell
        with writing(settings.folder):
            self.log = inside(Path(settings.folder), "logs", f"{cell.cell_id}.log")
            self.log.parent.mkdir(parents=True, exist_ok=True)
            self.log.touch()  # an empty folder is removed by whoever tidies up
        self.connection, theirs = multiprocessing.Pipe(duplex=False)
        # the cell travels as bytes, so that a config that cannot be read is an error of the worker with a log
        arguments = (theirs, pickle.dumps((cell, settings, locks)), str(self.log))
        self.process = multiprocessing.get_context("spawn").Process(target=_work, args=arguments, daemon=True)
        self.process.start()
        theirs.close()
        limit = float("inf") if settings.timeout is None else settings.timeout + GRACE_SECONDS
        self.deadline = time.monotonic() + limit
        self.overdue = False
        self.result: tuple[str, Any] | None = None
        self.pulse: Pulse | None = None
        self.carried: dict[str, Any] | None = None
        """What it told of its cell at the last evaluation."""

    def messages(self) -> Iterator[tuple[str, Any]]:
        """What the process has sent and nobody has read yet."""
        try:
            while self.connection.poll():
                yield self.connection.recv()
        except (EOFError, OSError, pickle.UnpicklingError):  # it died, perhaps in the middle of a message
            return

    def record(self) -> Record:
        """What it told of its cell, up to the last sign of life."""
        record = Record(self.cell)
        if self.carried is not None and self.pulse is not None:
            record.take_up(self.carried)
            record.steps, record.updates = self.pulse.steps, self.pulse.updates
        return record

    def death(self) -> str:
        """Why the process is gone, in one line."""
        code = self.process.exitcode or 0
        if code >= 0:
            return f"the worker process ended with exit code {code}"
        name = next((known.name for known in signal.Signals if known == -code), f"signal {-code}")
        hint = "; was there enough memory?" if name == "SIGKILL" else ""
        return f"the worker process was killed by {name}{hint}"


class _Pool:
    """Cells on their way through processes."""

    def __init__(
        self, settings: Settings, display: Display, locks: CellLocks, interrupts: Interrupts, patience: float
    ) -> None:
        self.settings, self.display, self.locks, self.outcome = settings, display, locks, Outcome()
        self.interrupts, self.patience = interrupts, patience
        self.progress, self.attempts = Progress(Path(settings.folder)), Attempts(Path(settings.folder))
        self.running: list[_Worker] = []
        self.refused: str | None = None
        """What a worker says that the user must mend first."""
        self.said: set[str] = set()
        self._busy, self._look, self._last = time.monotonic(), 0.0, False

    @property
    def stopping(self) -> bool:
        """Whether nothing new is begun."""
        return self.interrupts.asked is not None or self.refused is not None

    def run_here(self) -> None:
        """Run cells in this process, one after the other."""
        while (cell := self._next()) is not None or self._waits():
            if cell is None:
                time.sleep(POLL_SECONDS)
                continue
            self.display.start(cell)
            report, holds = partial(self._pulse, cell), partial(self.locks.holds, cell)
            self._end(cell, run_cell(cell, self.settings, report, lambda: self.stopping, holds))

    def run(self, workers: int) -> None:
        """Run cells in so many processes at a time."""
        asked = False
        try:
            while True:
                try:
                    self._turn(workers)
                except UserError as error:  # the cells under way save themselves first
                    self.refused = self.refused or str(error)
                if not self.running and not self._waits():
                    break
                if self.interrupts.overdue:
                    raise KeyboardInterrupt
                if self.stopping and not asked:
                    asked = True
                    self.display.say("Stopping: cells save themselves and leave. Interrupt again to end at once.")
                    for worker in self.running:
                        worker.process.terminate()
                wait([w.connection for w in self.running] + [w.process.sentinel for w in self.running], POLL_SECONDS)
        finally:
            for worker in self.running:  # only on the way out of an interrupt that does not wait
                worker.process.kill()
                worker.process.join()
        if self.refused is not None:
            raise UserError(self.refused)

    def _turn(self, workers: int) -> None:
        """Look after the processes there are, and give cells to as many as are free."""
        for worker in tuple(self.running):
            self._attend(worker)
        while len(self.running) < workers and (cell := self._next()) is not None:
            self._start(cell)

    def _next(self) -> Cell | None:
        """The next cell, if there is one now; the folder is not looked at all the time."""
        self._last = not self.running and time.monotonic() >= self._busy + self.patience
        if self.stopping or (time.monotonic() < self._look and not self._last):
            return None
        while (cell := self.locks.pick(self._last)) is not None:
            self._busy = time.monotonic()
            if not self._is_deadly(cell):
                return cell
        self._look = time.monotonic() + LOOK_SECONDS
        return None

    def _is_deadly(self, cell: Cell) -> bool:
        """Whether enough workers have died with a cell, which then counts as failed; notes that this one begins it."""
        most, died = self.settings.attempts, 0
        if most is not None:
            died = self.attempts.begin(cell)
        if most is None or died < most:
            return False
        reason = f"{died} jobs were killed or had to leave before they saved more of it; give them more time or memory"
        self.display.start(cell)
        self._end(cell, store_failure(Record(cell), self.settings, "failed", reason))
        return True

    def _waits(self) -> bool:
        """Whether others make all that is left, and may yet leave some of it."""
        return not self.stopping and self.locks.left and not self._last

    def _start(self, cell: Cell) -> None:
        self.display.start(cell)
        with variables(**ONE_THREAD), _shielded():
            self.running.append(_Worker(cell, self.settings, self.locks.of(cell)))

    def _attend(self, worker: _Worker) -> None:
        """Read what a worker sent; note its end."""
        gone = not worker.process.is_alive()  # asked before reading, so that nothing it sent is missed
        for kind, content in worker.messages():
            if kind == "pulse":
                worker.pulse, worker.carried = content, content.carried or worker.carried
                self._pulse(worker.cell, content)
            elif kind == "warning":
                self._warn(content)
            else:
                worker.result = kind, content
        if not gone and time.monotonic() > worker.deadline:
            worker.overdue = True
            worker.process.kill()
        if not gone:
            return
        worker.process.join()
        worker.connection.close()
        self.running.remove(worker)
        if worker.log.exists() and worker.log.stat().st_size == 0:
            worker.log.unlink()
        kind, content = worker.result or ("", None)
        if kind == "error":
            self.refused = self.refused or content
            self._end(worker.cell, None)
        elif kind == "done":
            self._end(worker.cell, content, worker.log)
        elif self.stopping or not self.locks.holds(worker.cell):
            self._end(worker.cell, None)
        else:
            late = f"took longer than {self.settings.timeout or 0:g} seconds and had to be ended by force"
            status, reason = ("timeout", late) if worker.overdue else ("failed", worker.death())
            self.locks.recover(worker.cell)  # it may have died while it stored its runs
            stored = self.locks.stored_since(worker.cell)
            endings = store_failure(worker.record(), self.settings, status, reason, stored)
            self._end(worker.cell, endings, worker.log)

    def _pulse(self, cell: Cell, pulse: Pulse) -> None:
        self.display.update(cell, pulse)
        self.progress.tell(cell, pulse)

    def _warn(self, message: str) -> None:
        if message not in self.said:
            self.said.add(message)
            self.display.say(f"warning: {message}", "yellow")

    def _end(self, cell: Cell, endings: Mapping[str, Ending] | None, log: Path | None = None) -> None:
        """Show and keep how a cell ended; None if it was left before its end."""
        if self.locks.holds(cell):  # else the notes are somebody else's
            self.progress.forget(cell)
            if endings is not None or self.interrupts.asked != WARNING:
                self.attempts.forget(cell)
        self.locks.release(cell)
        self._busy, self._look = time.monotonic(), 0.0
        self.outcome.endings |= endings or {}
        self.display.end(cell, Counter(ending.status for ending in (endings or {}).values()))
        for error in dict.fromkeys(ending.error for ending in (endings or {}).values() if ending.error):
            more = f" (see {log})" if log is not None and log.exists() else ""
            self.display.say(f"  {error}{more}", "red")


@contextlib.contextmanager
def _shielded() -> Iterator[None]:
    """Block Slurm's warning, which reaches every process of a job, in processes that are started: unasked it kills.

    The parent handles it, and asks them to stop.
    """
    warning = [] if WARNING is None else [WARNING]
    before = signal.pthread_sigmask(signal.SIG_BLOCK, warning) if warning else set()
    try:
        yield
    finally:
        if warning:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(connection: Connection, work: bytes, log: str) -> None:
    """Body of a worker process: run one cell, with everything printed going to the log."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    stopping: list[bool] = []
    signal.signal(signal.SIGTERM, lambda number, frame: stopping.append(True))
    os.makedirs(os.path.dirname(log), exist_ok=True)  # whoever tidies up may have removed it, empty
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    sys.stdout.flush()
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    faulthandler.enable()
    import torch  # not before its number of threads is set and the log is open

    torch.set_num_threads(1)

    def send(kind: str, content: Any) -> None:
        try:
            connection.send((kind, content))
        except OSError:  # the parent is gone: save and leave, as if it had asked
            stopping.append(True)

    show_own_warnings(partial(send, "warning"))
    cell, settings, locks = pickle.loads(work)
    report, holds = partial(send, "pulse"), partial(locks.confirm, cell.run_ids)
    try:
        send("done", run_cell(cell, settings, report, lambda: bool(stopping), holds))
    except UserError as error:
        send("error", str(error))
