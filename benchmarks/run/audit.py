"""What a method must not do and one process cannot forbid: it is noticed, and told with the runs.

A method shares its process with the instrument, so that it could reach what is not lent to it: the environments behind
`Problem.environments`, their count of steps, the arrays of its demonstrations. What it yields could also be untrue.
Whether a policy earns the stored returns is another question, which `ndi-bench play` answers in a fresh process.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from benchmarks.instrument.environment import LearnerEnvironments
from benchmarks.instrument.nonfinite import ContainedEnvironments
from benchmarks.kit.demonstrations import Demonstrations

SAME = 1e-6
"""Nats below which two policies are one; a clone of the expert is further away."""


class Audit:
    """What is noticed of a method at work on a cell.

    Args:
        environments: those it trains in.
        lent: the same as it is given them.
        demonstrations: those it is given.
        noticed: where sentences are added, each once.
    """

    def __init__(
        self,
        environments: LearnerEnvironments,
        lent: ContainedEnvironments,
        demonstrations: Sequence[Demonstrations],
        noticed: list[str],
    ) -> None:
        self._environments, self._lent, self._noticed = environments, lent, noticed
        self._demonstrations, self._hashes = demonstrations, [lane.hash for lane in demonstrations]
        self._before, self._agreed = environments.steps - lent.taken, self._terms

    def look(self, updates: int, later: int) -> None:
        """After a step of the method that has brought its own count of updates from one number to another."""
        if later < max(updates, 0):
            self._notice(f"it counted {later:,} updates after {updates:,}")
        if self._environments.steps != self._before + self._lent.taken or not self._environments.untouched:
            self._notice("it took environment steps, or changed their count, behind the environments that it was lent")
        if self._terms != self._agreed:
            self._notice("it changed the budget of its environments, or whether they show the true reward")

    @property
    def _terms(self) -> tuple[int, bool]:
        return self._environments.budget, self._environments.privileged

    def close(self, kl: Collection[float | None]) -> None:
        """At the end.

        Args:
            kl: KL to the expert in the last evaluation, as they are stored.
        """
        if kl and all(value is not None and value < SAME for value in kl) and not self._agreed[1]:
            self._notice("its policy is the expert's own")
        if [lane.hash for lane in self._demonstrations] != self._hashes:
            self._notice("it changed its demonstrations")

    def _notice(self, sentence: str) -> None:
        if sentence not in self._noticed:
            self._noticed.append(sentence)
