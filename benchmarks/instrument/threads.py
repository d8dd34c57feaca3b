"""Threads that simulate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any


class Threads:
    """Do the same with many environments at once, which pays where simulating is the larger part: it leaves Python.

    Args:
        number: threads; one is the caller's own.
    """

    def __init__(self, number: int = 1) -> None:
        self.number = number
        self._pool = ThreadPoolExecutor(number) if number > 1 else None

    def each(self, work: Callable[[Any], None], items: Sequence[Any]) -> None:
        """Work on every item; every thread takes an equal share, one item after the other."""

        def share(first: int) -> None:
            for item in items[first :: self.number]:
                work(item)

        if self._pool is None:
            share(0)
        else:
            list(self._pool.map(share, range(self.number)))  # the list raises what a share has raised

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()
