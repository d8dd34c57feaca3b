"""Requests to stop that come as signals; imports nothing, so that a job can listen before it loads torch."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

WARNING = getattr(signal, "SIGUSR2", None)
"""What Slurm sends before a job's time is up, or its node is wanted for another; other systems may not have it."""
SIGNALS = tuple(number for number in (signal.SIGINT, signal.SIGTERM, WARNING) if number is not None)


class Interrupts:
    """While this context lasts, the first signal is a request, a second one a KeyboardInterrupt; may be entered again.

    Args:
        patient: further signals ask for nothing more, as those that follow Slurm's first.
    """

    def __init__(self, patient: bool = False) -> None:
        self.patient = patient
        self.asked: int | None = None
        """The first signal that came."""
        self._previous: list[dict[int, Any]] = []

    def __enter__(self) -> Interrupts:
        self._previous.append({number: signal.signal(number, self._handle) for number in SIGNALS})
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self._previous.pop().items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self.asked is not None and not self.patient:
            raise KeyboardInterrupt
        self.asked = self.asked or number
