"""One cell of lanes -> stored rows: the only loop over a method's progress, and how a cell ends.

Every lane ends in exactly one stored run, whatever happens, unless the process itself is interrupted or killed.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable

from benchmarks.kit.errors import RestoringError, UserError, in_one_line
from benchmarks.plan.grid import Cell

from .record import Ending, Pulse, Record
from .rows import store_runs
from .saving import Saves
from .settings import Settings
from .training import InterruptedCellError, TimeUpError, Training


def run_cell(
    cell: Cell,
    settings: Settings,
    report: Callable[[Pulse], None] = lambda pulse: None,
    stop: Callable[[], bool] = lambda: False,
    holds: Callable[[], bool] = lambda: True,
) -> dict[str, Ending] | None:
    """Train and evaluate a cell, and store one run per lane; goes on from the cell's checkpoint if there is one.

    Args:
        cell: what to run.
        settings: how.
        report: called about twice a second.
        stop: asked after every progress; once true, the cell is saved (if its method can be) and left.
        holds: asked before anything is written; false if the cell has become somebody else's, and is left as it is.

    Returns:
        How each run ended, by run id; None if the cell was left before its end, or failed after it was asked to stop.

    Raises:
        UserError: the results folder cannot be written to, or the checkpoint there does not fit.
    """
    record = Record(cell)
    saves = Saves(record, settings)
    try:
        with Training(record, settings, saves, report, stop) as training:
            _drive(training, holds)
    except InterruptedCellError:
        return None
    except RestoringError as error:
        again = f"or delete {saves.checkpoint.path} to begin anew"
        raise UserError(f"{cell.name} cannot go on from its checkpoint: {error}, {again}") from error
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a method may also ask the process to exit, which others need
        verdict = _verdict(error, settings)
        if verdict[0] == "failed" and stop() and not isinstance(error, UserError):
            return None  # the signal goes to the whole group, and so ends what the method had started, as a compiler
        record.end(*verdict)
    else:
        strictly = settings.strict and record.audit
        record.end(*(("failed", f"audit: {'; '.join(record.audit)}") if strictly else ("completed",)))
    if not holds():
        return None
    store_runs(record, settings)
    saves.checkpoint.delete()
    return record.endings_by_run()


def _drive(training: Training, holds: Callable[[], bool]) -> None:
    """Take the method through the cell, to the end of all lanes.

    Raises:
        InterruptedCellError: the cell is to be left, or `holds` says that it is somebody else's.
        TimeUpError: the timeout has passed.
        Exception: whatever the method raises.
    """
    while training.step():
        if training.evaluation_due:
            training.evaluate()
        if training.record.ended:
            return
        training.pulse()
        training.check_time()
        leaving = training.leaving
        if leaving or training.save_due:
            training.save(holds)
        if leaving:
            raise InterruptedCellError
    training.finish()


def _verdict(error: BaseException, settings: Settings) -> tuple[str, str]:
    """Status and reason of lanes that an exception has ended; prints the traceback of what is nobody's mistake."""
    if isinstance(error, TimeUpError):
        return "timeout", f"took longer than {settings.timeout:g} seconds"
    if not isinstance(error, UserError):
        traceback.print_exception(error)
    return "diverged" if isinstance(error, FloatingPointError) else "failed", in_one_line(error)
