"""Evaluations of a cell under way: when they are due, and what they add to its record."""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks.instrument.evaluation import Evaluation, Evaluator
from benchmarks.instrument.nonfinite import ContainedPolicy, check_info
from benchmarks.kit.contract import Progress
from benchmarks.plan.grid import Run

from .policies import packed
from .record import Record
from .rows import shared_columns
from .settings import Settings


class Assessment:
    """The evaluations of a cell.

    Args:
        record: where the rows go.
        settings: how the cell is run.
        evaluator: the instrument.
    """

    def __init__(self, record: Record, settings: Settings, evaluator: Evaluator) -> None:
        self.record, self.settings, self.evaluator = record, settings, evaluator
        self._points = [point for point in _schedule(record.cell.first) if point > record.steps]

    @property
    def due(self) -> bool:
        """Whether the next scheduled step is reached."""
        return bool(self._points) and self.record.steps >= self._points[0]

    def evaluate(self, progress: Progress, final: bool = False) -> None:
        """Play every lane's policy on the evaluation episodes; keep the rows of those that have not ended."""
        begin, record = time.perf_counter(), self.record
        self._points = [point for point in self._points if point > record.steps]
        check_info(progress.info, record.lanes, record.diverged)
        policy = ContainedPolicy(progress.policy, record.diverged)
        seen = self.evaluator.evaluate(policy, record.lanes, self.settings.device)
        for lost in np.flatnonzero(~np.isfinite(seen.returns).all(1)).tolist():
            record.diverged(lost, "a return in evaluation was not finite")
        alive = record.alive
        for lane in alive:
            self._forget(lane)
            record.evaluations[lane] += self._rows(seen, lane, final)
            said = {name: float(values[lane]) for name, values in progress.info.items()}
            record.diagnostics[lane].append({**said, "step": record.steps, "update": record.updates})
            if self.settings.keep is not None:
                run_id = record.cell.runs[lane].run_id
                self.settings.keep(self.settings.folder, run_id, progress.policy, lane, record.evaluations[lane])
        if final and self.settings.policies:
            for lane in alive:
                about = {**shared_columns(record.cell.runs[lane]), "steps": record.steps, "updates": record.updates}
                policy_file = packed(progress.policy, lane, about)
                if policy_file is not None:
                    record.policies[lane] = policy_file
        record.mean_return = float(seen.returns[alive].mean()) if alive else None
        record.eval_seconds += time.perf_counter() - begin

    def _forget(self, lane: int) -> None:
        """Drop an evaluation of this very step: a method that ends of itself at a scheduled one is evaluated again."""
        now = self.record.steps, self.record.updates
        for kept in (self.record.evaluations, self.record.diagnostics):
            kept[lane] = [row for row in kept[lane] if (row["step"], row["update"]) != now]

    def _rows(self, seen: Evaluation, lane: int, final: bool) -> list[dict[str, Any]]:
        """One row per episode of a lane."""
        run = self.record.cell.runs[lane]
        normalized = run.task.normalize(seen.returns[lane])
        return [
            {
                **shared_columns(run),
                "step": self.record.steps,
                "update": self.record.updates,
                "episode": episode,
                "eval_seed": seed,
                "return": float(seen.returns[lane, episode]),
                "length": int(seen.lengths[lane, episode]),
                "normalized": float(normalized[episode]),
                "kl": _finite(seen.kl, lane, episode),
                "kl_uniform": _finite(seen.kl_uniform, lane, episode),
                "final": final,
            }
            for episode, seed in enumerate(self.evaluator.seeds)
        ]


def _schedule(run: Run) -> list[int]:
    """Environment steps at which the policy is evaluated before the end."""
    return sorted({run.budget * k // run.evaluations for k in range(1, run.evaluations)} - {0})


def _finite(values: np.ndarray | None, lane: int, episode: int) -> float | None:
    """A KL for the store: None where it is not defined or not finite."""
    return None if values is None or not np.isfinite(values[lane, episode]) else float(values[lane, episode])
