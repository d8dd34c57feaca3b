"""Requests to stop that come as signals; imports nothing, so that a job can listen before it loads torch."""

from __future__ import annotations

import signal
import time
from types import FrameType
from typing import Any

WARNING = getattr(signal, "SIGUSR2", None)
"""What Slurm sends before a job's time is up, or its node is wanted for another; other systems may not have it."""
SIGNALS = tuple(number for number in (signal.SIGINT, signal.SIGTERM, WARNING) if number is not None)


LAST_SECONDS = 5.0
"""How long after the SIGTERM that follows Slurm's warning a job may still take: well before it is killed by force."""


class Interrupts:
    """While this context lasts, the first signal is a request, a second one a KeyboardInterrupt; may be entered again.

    Args:
        patient: further signals ask for nothing more, as those that follow Slurm's first; but see `overdue`.
    """

    def __init__(self, patient: bool = False) -> None:
        self.patient = patient
        self.asked: int | None = None
        """The first signal that came."""
        self._end = float("inf")
        self._previous: list[dict[int, Any]] = []

    def __enter__(self) -> Interrupts:
        self._previous.append({number: signal.signal(number, self._handle) for number in SIGNALS})
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.pop().items():
            signal.signal(number, handler)

    @property
    def overdue(self) -> bool:
        """Whether a job that was warned has reached its end: what has not been saved by now will not be."""
        return time.monotonic() > self._end

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.asked is not None and not self.patient:
            raise KeyboardInterrupt
        if self.asked is not None and self.asked == WARNING and number == signal.SIGTERM:
            self._end = min(self._end, time.monotonic() + LAST_SECONDS)
        self.asked = self.asked or number
