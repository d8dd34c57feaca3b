"""Live progress of cells: one line each on a terminal, a plain line now and then anywhere else. Parent process only."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table

from benchmarks.plan.grid import Cell
from benchmarks.terminal import counted, duration

PLAIN_SHARE = 0.1
"""Share of a cell's budget between two plain lines."""


@dataclass
class _Line:
    """One running cell."""

    cell: Cell
    began: float = field(default_factory=time.monotonic)
    first_steps: int | None = None
    """Steps at the first sign of life: more than 0 where a run was resumed."""
    steps: int = 0
    updates: int = 0
    mean_return: float | None = None
    told: float = 0.0
    """Share of the budget at the last plain line."""

    @property
    def share(self) -> float:
        """Share of the budget that is spent."""
        return self.steps / self.cell.first.budget if self.cell.first.budget else 0.0

    @property
    def speed(self) -> float:
        """Environment steps per second, all lanes together, since this process took the cell up."""
        taken = self.steps - (self.first_steps or 0)
        return taken * len(self.cell.runs) / max(time.monotonic() - self.began, 1e-9)

    def columns(self) -> tuple[str, str, str, str]:
        """Progress, return, speed and time left, in words."""
        budget = self.cell.first.budget
        if self.first_steps is None:
            done = "starting"
        else:
            done = f"{self.steps:,}/{budget:,} steps" if budget else f"{self.updates:,} updates"
        score = "" if self.mean_return is None else f"return {self.mean_return:,.1f}"
        if self.speed <= 0:
            return done, score, "", ""
        left = (budget - self.steps) * len(self.cell.runs) / self.speed
        return done, score, f"{self.speed:,.0f} steps/s", f"{duration(left)} left"


class Display:
    """What the user sees while cells run; a context manager.

    Args:
        console: where to print.
        cells: how many there are.
        runs: how many runs there are in them.
    """

    def __init__(self, console: Console, cells: int, runs: int) -> None:
        self.console, self.cells, self.runs = console, cells, runs
        self._lines: dict[str, _Line] = {}
        self._done_cells = self._done_runs = 0
        self._began = time.monotonic()
        self._live = Live(console=console, get_renderable=self._table, refresh_per_second=2, transient=True)

    def __enter__(self) -> Display:
        if self.console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.console.is_terminal:
            self._live.stop()

    def start(self, cell: Cell) -> None:
        """A cell has been given to a process."""
        self._lines[cell.cell_id] = _Line(cell)
        if not self.console.is_terminal:
            self.say(f"{cell.name}: started, {counted(len(cell.runs), 'lane')}")

    def update(self, cell: Cell, steps: int, updates: int, mean_return: float | None) -> None:
        """A cell has given a sign of life."""
        line = self._lines[cell.cell_id]
        if line.first_steps is None:
            line.first_steps, line.began, line.told = steps, time.monotonic(), steps / max(cell.first.budget, 1)
        line.steps, line.updates, line.mean_return = steps, updates, mean_return
        if not self.console.is_terminal and line.share >= line.told + PLAIN_SHARE:
            line.told = line.share
            self.say(f"{cell.name}: {', '.join(part for part in line.columns() if part)}")

    def end(self, cell: Cell, statuses: dict[str, int]) -> None:
        """A cell is over, with so many runs of each status; none if it was left before its end."""
        line = self._lines.pop(cell.cell_id)
        self._done_cells += bool(statuses)
        self._done_runs += sum(statuses.values())
        how = ", ".join(f"{number} {status}" for status, number in statuses.items()) or "left before its end"
        score = "" if line.mean_return is None else f", return {line.mean_return:,.1f}"
        self.say(f"{cell.name}: {how}{score} ({self._done_cells}/{self.cells} cells)")

    def say(self, message: str, style: str = "") -> None:
        """Print one line above the live part."""
        self.console.print(escape(message), style=style, highlight=False, soft_wrap=True)

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2))
        for _ in range(7):
            table.add_column(no_wrap=True)
        for line in self._lines.values():
            bar = ProgressBar(1.0, line.share, width=16, pulse=not line.cell.first.budget)
            table.add_row(line.cell.name, counted(len(line.cell.runs), "lane"), bar, *line.columns())
        share = (self._done_cells + sum(line.share for line in self._lines.values())) / max(self.cells, 1)
        done = f"{self._done_runs}/{self.runs} runs"
        passed = duration(time.monotonic() - self._began)
        table.add_row(
            "all", counted(self.cells, "cell"), ProgressBar(1.0, share, width=16), done, "", "", f"{passed} so far"
        )
        return table
