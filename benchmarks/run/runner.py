"""One cell of lanes -> stored rows. The composition root, and the only loop over a method's progress.

The method is paused while it is evaluated or saved, and its clock with it; it cannot see the instrument. Every lane
ends in exactly one stored run, whatever happens, unless the process itself is interrupted or killed.
"""

from __future__ import annotations

import random
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from benchmarks.data import datasets
from benchmarks.experts import has_expert
from benchmarks.experts.policy import load_expert
from benchmarks.instrument.environment import LearnerEnvironments
from benchmarks.instrument.evaluation import Evaluator
from benchmarks.instrument.nonfinite import ContainedEnvironments, check_info
from benchmarks.kit.contract import Problem, Progress
from benchmarks.kit.errors import RestoringError, UserError, in_one_line
from benchmarks.plan import registry
from benchmarks.plan.grid import Cell, Run

from .recording import Ending, Recording, Settings

LOOK_EVERY = 1000
"""Environment steps between two looks at a method's diagnostics, besides those at evaluations; an offline method's are
looked at whenever it yields. Never by a clock: how a run ends must not depend on when it was interrupted."""
PULSE_SECONDS = 0.5
"""Time between two signs of life."""
CHECKPOINT_SHARE = 0.05
"""Most of a cell's time that may go into writing checkpoints; large replays are saved less often."""


@dataclass(frozen=True)
class Pulse:
    """A sign of life of a cell under way."""

    steps: int
    """Environment steps so far in every lane."""
    updates: int
    """Gradient updates so far."""
    mean_return: float | None
    """Mean over lanes and episodes of the last evaluation; None before the first."""
    carried: dict[str, Any] | None = field(default=None, compare=False)
    """After an evaluation, what `Recording.take_up` takes: all that is lost with the process if it dies."""


class EarlyEnd(UserWarning):
    """A method has not used its environment steps; its runs are completed and say how many it used."""


class InterruptedCellError(Exception):
    """The cell was asked to leave before its end."""


class TimeUpError(Exception):
    """The cell has taken longer than it may."""


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
        How each run ended, by run id; None if the cell was left before its end.

    Raises:
        UserError: the results folder cannot be written to, or the checkpoint there does not fit.
    """
    recording = Recording(cell, settings)
    try:
        for pulse in _drive(recording, stop, holds):
            report(pulse)
    except InterruptedCellError:
        return None
    except RestoringError as error:
        path = recording.checkpoint.path
        raise UserError(
            f"{cell.name} cannot go on from its checkpoint: {error}, or delete {path} to begin anew"
        ) from error
    except TimeUpError:
        recording.end_all("timeout", f"took longer than {settings.timeout:g} seconds")
    except Exception as error:
        if not isinstance(error, UserError):
            traceback.print_exc()
        recording.end_all("diverged" if isinstance(error, FloatingPointError) else "failed", in_one_line(error))
    if not holds():
        return None
    recording.write()
    return recording.endings_by_run()


def _drive(recording: Recording, stop: Callable[[], bool], holds: Callable[[], bool]) -> Iterator[Pulse]:
    """Take the method through the cell, to the end of all lanes; yields signs of life.

    Raises:
        InterruptedCellError: `stop` said so, or `holds` no longer does.
        TimeUpError: the timeout has passed.
        Exception: whatever the method raises.
    """
    cell, settings, first = recording.cell, recording.settings, recording.cell.first
    method, device = registry.find_method(first.reference), torch.device(settings.device)
    if device.type == "cuda":
        torch.cuda.set_device(device)  # streams and graphs are made on the current one
    demonstrations = [
        datasets.load(run.task, run.dataset, run.demos, run.subsample, run.seed)
        for run in cell.runs
        if run.dataset is not None
    ]
    recording.episode_ids[: len(demonstrations)] = [lent.episode_ids for lent in demonstrations]
    expert = load_expert(first.task.name, device) if has_expert(first.task.name) else None
    demonstrator = expert if first.dataset in ("embedded", None) else None
    with (
        closing(
            LearnerEnvironments(first.task, cell.seeds, first.budget, method.privileged, settings.threads)
        ) as environments,
        closing(Evaluator(first.task, first.eval_episodes, demonstrator, settings.threads)) as evaluator,
    ):
        problem = Problem(
            task=first.task.name,
            seeds=cell.seeds,
            observation_size=environments.observation_size,
            action_size=environments.action_size,
            demonstrations=tuple(demonstrations),
            environments=ContainedEnvironments(environments, recording.diverged),
            budget=first.budget,
            device=device,
            expert=expert if method.privileged else None,
            restored=recording.resume(environments),
        )
        points = [point for point in _schedule(first) if point > environments.steps]
        interval, last_pulse = settings.checkpoint_minutes * 60, -np.inf
        save_at = time.monotonic() + interval
        progress: Progress | None = None
        carried: dict[str, Any] | None = recording.carried()
        _seed_global_generators(first.seed)
        training = method.train(problem, cell.config)
        if not isinstance(training, Iterator):
            raise TypeError(f"{method.name}'s train must be a generator of Progress, it returned {training!r:.80}")
        while True:
            begin = time.perf_counter()
            following = next(training, None)
            recording.train_seconds += time.perf_counter() - begin
            recording.steps = environments.steps
            if following is None:
                break
            if not isinstance(following, Progress):
                raise TypeError(f"{method.name} must yield Progress, it yielded {following!r:.80}")
            progress, recording.updates = following, following.updates
            if recording.steps % LOOK_EVERY == 0:
                check_info(progress.info, len(cell.runs), recording.diverged)
            # past the budget, the end is nearer than any checkpoint; an offline method takes no steps
            under_way = recording.steps < first.budget or not method.online
            if under_way and points and recording.steps >= points[0]:
                points = [point for point in points if point > recording.steps]
                recording.evaluate(evaluator, progress)
                carried = recording.carried()
            if recording.ended:
                return
            now = time.monotonic()
            if carried is not None or now - last_pulse >= PULSE_SECONDS:
                last_pulse = now
                yield Pulse(recording.steps, recording.updates, recording.mean_return, carried)
                carried = None
            if settings.timeout is not None and recording.train_seconds + recording.eval_seconds > settings.timeout:
                raise TimeUpError
            stopping = under_way and stop()
            if under_way and problem.parts and (stopping or now >= save_at):
                if not holds():
                    raise InterruptedCellError
                recording.save(environments, problem.parts)
                save_at = now + max(interval, (time.monotonic() - now) / CHECKPOINT_SHARE)
            if stopping:
                raise InterruptedCellError
        if progress is None:
            raise RuntimeError(f"{method.name} ended without yielding any progress")
        if method.online and recording.steps < first.budget:
            message = f"{cell.name} has ended after {recording.steps:,} of {first.budget:,} environment steps"
            warnings.warn(message, EarlyEnd, stacklevel=2)
        recording.evaluate(evaluator, progress, final=True)
        recording.end_all("completed")
        yield Pulse(recording.steps, recording.updates, recording.mean_return)


def _schedule(run: Run) -> list[int]:
    """Environment steps at which the policy is evaluated before the end."""
    return sorted({run.budget * k // run.evaluations for k in range(1, run.evaluations)} - {0})


def _seed_global_generators(seed: int) -> None:
    """Make methods repeatable that draw from global generators; those of the suite never do (see `kit.streams`)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - the global generator is meant
    torch.manual_seed(seed)
