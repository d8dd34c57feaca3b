"""A method at work on a cell: one problem, its environments and the instrument, and what can be due after a step.

The method is paused while it is evaluated or saved, and its clock with it; it cannot see the instrument.
"""

from __future__ import annotations

import operator
import random
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import numpy as np
import torch

from benchmarks.data import datasets
from benchmarks.instrument.environment import LearnerEnvironments
from benchmarks.instrument.evaluation import Evaluator
from benchmarks.instrument.nonfinite import ContainedEnvironments, check_info
from benchmarks.kit.contract import Method, Problem, Progress
from benchmarks.kit.demonstrations import Demonstrations
from benchmarks.plan import registry

from .assessment import Assessment
from .audit import Audit
from .record import Pulse, Record
from .saving import Saves
from .settings import Settings
from .tracking import Live

LOOK_EVERY = 1000
"""Environment steps between two looks at a method's diagnostics, besides those at evaluations; an offline method's are
looked at whenever it yields. Never by a clock: how a run ends must not depend on when it was interrupted."""
PULSE_SECONDS = 0.5
"""Time between two signs of life."""


class EarlyEnd(UserWarning):
    """A method has not used its environment steps; its runs are completed and say how many it used."""


class InterruptedCellError(Exception):
    """The cell was asked to leave before its end."""


class TimeUpError(Exception):
    """The cell has taken longer than it may."""


class Training:
    """A cell under way; a context, inside which the method can take steps.

    Args:
        record: what is known of the cell.
        settings: how it is run.
        saves: its checkpoint, from which it goes on if there is one.
        report: given signs of life.
        stop: whether the cell is to be left.
    """

    def __init__(
        self,
        record: Record,
        settings: Settings,
        saves: Saves,
        report: Callable[[Pulse], None],
        stop: Callable[[], bool],
    ) -> None:
        self.record, self.settings, self.saves, self._report, self._stop = record, settings, saves, report, stop
        self.first = record.cell.first
        registry.find_task(self.first.task_reference)  # its module may register the environment, here too
        self.method, self.device = registry.find_method(self.first.reference), torch.device(settings.device)
        self.progress: Progress | None = None
        self._last_pulse, self._began, self._activity = -np.inf, 0.0, ""

    def __enter__(self) -> Training:
        with ExitStack() as stack:
            if self.device.type == "cuda":
                torch.cuda.set_device(self.device)  # streams and graphs are made on the current one
            lent = _demonstrations(self.record, self.settings)
            self.record.episode_ids[: len(lent)] = [demonstrations.episode_ids for demonstrations in lent]
            expert, threads = datasets.demonstrator(self.first.task, self.device), self.settings.threads
            compared = expert if self.first.dataset in ("embedded", None) else None
            privileged, seeds = self.method.privileged, self.record.cell.seeds
            own = LearnerEnvironments(self.first.task, seeds, self.first.budget, privileged, threads)
            self.environments = stack.enter_context(closing(own))
            self.environments.diverged = self.record.diverged
            contained = ContainedEnvironments(self.environments, self.record.diverged)
            evaluator = Evaluator(self.first.task, self.first.eval_episodes, compared, threads)
            stack.enter_context(closing(evaluator))
            self.problem = Problem(
                task=self.first.task.name,
                seeds=self.record.cell.seeds,
                observation_size=self.environments.observation_size,
                action_size=self.environments.action_size,
                demonstrations=tuple(lent),
                environments=contained,
                budget=self.first.budget,
                device=self.device,
                expert=expert if self.method.privileged else None,
                restored=self.saves.resume(self.environments),
                tell=self._told,
                notes=self.record.notes,
            )
            self._audit = Audit(self.environments, contained, lent, self.record.audit)
            self.assessment = Assessment(self.record, self.settings, evaluator)
            self._live = Live(self.record.cell, Path(self.settings.folder)) if self.settings.live else None
            if self._live is not None:
                stack.callback(self._live.close)
            self._carried: dict[str, object] | None = self.record.carried()
            self._steps = self._begun()
            self._open = stack.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._open.close()

    def _begun(self) -> Iterator[Progress]:
        """The method's generator, before its first step."""
        _seed_global_generators(self.first.seed)
        training = self.method.train(self.problem, self.record.cell.config)
        if not isinstance(training, Iterator):
            raise TypeError(f"{self.method.name}'s train must be a generator of Progress, it returned {training!r:.80}")
        return training

    # ----------------------------------------------------------------------------------------------------- one step

    def step(self) -> bool:
        """Let the method take a step; whether there is anything more to do."""
        self._began = time.perf_counter()
        following = next(self._steps, None)
        self.record.train_seconds += time.perf_counter() - self._began
        self.record.steps, self._activity = self.environments.steps, ""
        if following is None:
            return False
        if not isinstance(following, Progress):
            raise TypeError(f"{self.method.name} must yield Progress, it yielded {following!r:.80}")
        updates = _whole(following.updates, self.method)
        self._audit.look(self.record.updates, updates)
        self.progress, self.record.updates = following, updates
        if self.record.steps % LOOK_EVERY == 0:
            check_info(following.info, self.record.lanes, self.record.diverged)
        return True

    @property
    def under_way(self) -> bool:
        """Past the budget, the end is nearer than any checkpoint; an offline method takes no steps."""
        return self.record.steps < self.first.budget or not self.method.online

    @property
    def evaluation_due(self) -> bool:
        """Whether the next scheduled evaluation is reached; the last one comes at the end."""
        return self.under_way and self.assessment.due

    def evaluate(self, final: bool = False) -> None:
        """Evaluate the policy as it stands."""
        if self.progress is None:
            raise RuntimeError(f"{self.method.name} ended without yielding any progress")
        self.assessment.evaluate(self.progress, final)
        if self._live is not None:
            self._live.tell(self.record)
        self._carried = self.record.carried()

    @property
    def save_due(self) -> bool:
        """Whether it is time for a checkpoint."""
        return self.under_way and self.saves.due

    def save(self, holds: Callable[[], bool]) -> None:
        """Write a checkpoint, if the method keeps its state.

        Raises:
            InterruptedCellError: the cell has become somebody else's.
        """
        if self.problem.parts:
            if not holds():
                raise InterruptedCellError
            self.saves.save(self.environments, self.problem.parts)

    @property
    def leaving(self) -> bool:
        """Whether the cell is to be left before its end."""
        return self.under_way and self._stop()

    def check_time(self, seconds: float = 0.0) -> None:
        """Raise TimeUpError if the cell has taken too long; `seconds` are those of the step under way."""
        if self.settings.timeout is not None and self.record.seconds + seconds > self.settings.timeout:
            raise TimeUpError

    def pulse(self, now: bool = False) -> None:
        """Give a sign of life: about twice a second, and always after an evaluation."""
        if now or self._carried is not None or time.monotonic() - self._last_pulse >= PULSE_SECONDS:
            record, self._last_pulse = self.record, time.monotonic()
            self._report(Pulse(record.steps, record.updates, record.mean_return, self._activity, self._carried))
            self._carried = None

    def finish(self) -> None:
        """Evaluate what the method has come to."""
        if self.method.online and self.record.steps < self.first.budget and self.progress is not None:
            steps = f"{self.record.steps:,} of {self.first.budget:,} environment steps"
            warnings.warn(f"{self.record.cell.name} has ended after {steps}", EarlyEnd, stacklevel=2)
        self.evaluate(final=True)
        rows = [row for lane in self.record.alive for row in self.record.evaluations[lane]]
        self._audit.close([row["kl"] for row in rows if row["final"]])
        self.pulse(now=True)

    def _told(self, what: str, done: int, most: int) -> None:
        """What the method says of long work before its next step; such work is left when the cell is."""
        self._activity = f"{what} {done / max(most, 1):.0%}"
        self.pulse()
        self.check_time(time.perf_counter() - self._began)
        if self.leaving:
            raise InterruptedCellError


def _demonstrations(record: Record, settings: Settings) -> list[Demonstrations]:
    """One per lane, none for methods that use none; notes how they differ from the task.

    Raises:
        UserError: the dataset is not the one that was planned, such as that of another node.
    """
    first, accept = record.cell.first, settings.accept_dataset
    if first.dataset is None:
        return []
    datasets.require(first.task, first.dataset, first.dataset_hash, accept)
    lent = [
        datasets.load(run.task, first.dataset, run.demos, run.subsample, run.draw, accept) for run in record.cell.runs
    ]
    if first.dataset != "embedded":  # that was collected in the task itself
        record.dataset_notes = datasets.notes(first.task, first.dataset)
    return lent


def _whole(updates: object, method: Method) -> int:
    """The number of updates that a method yields, checked: it is stored."""
    try:
        number = operator.index(updates)  # type: ignore[arg-type]
    except TypeError:
        raise TypeError(f"{method.name} must yield its updates as a whole number, it yielded {updates!r:.80}") from None
    if abs(number) >= 2**63:
        raise ValueError(f"{method.name} must yield a number of updates that can be stored, it yielded {number:.1e}")
    return number


def _seed_global_generators(seed: int) -> None:
    """Make methods repeatable that draw from global generators; those of the suite never do (see `kit.streams`)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - the global generator is meant
    torch.manual_seed(seed)
