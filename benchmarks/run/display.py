"""Live progress of cells: one line each on a terminal, a plain line now and then anywhere else. Parent process only."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from rich.console import Console
from rich.control import Control
from rich.live_render import LiveRender
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Column, Table
from rich.text import Text

from benchmarks.plan.grid import Cell
from benchmarks.terminal import counted, duration, say

from .record import Pulse

PLAIN_SHARE = 0.1
"""Share of a cell's budget between two plain lines."""
SPEED_SECONDS = 300.0
"""The speed is a mean over so many seconds, evaluations included."""


@dataclass
class _Line:
    """One running cell."""

    cell: Cell
    task: TaskID
    share: float = 0.0
    """Share of the budget that is spent."""
    before: float | None = None
    """The same at the first step: more than 0 where a run goes on; None until then."""
    told: float = 0.0
    """The same at the last plain line."""
    score: str = ""
    """Mean return."""

    @property
    def seconds(self) -> float:
        """What has been done since it was started, in estimated seconds."""
        return self.cell.seconds * (self.share - (self.before or 0.0))


class Display:
    """What the user sees while cells run; a context manager.

    Lines are no wider than 80 columns, however wide the terminal, so that it can be made narrower to that. The numbers
    of a line count the steps of all its lanes; those of the line below all, the estimated seconds of all cells.

    Args:
        console: where to print.
        cells: what there is to run.
    """

    def __init__(self, console: Console, cells: Sequence[Cell]) -> None:
        self.console, self.cells, self.runs = console, len(cells), sum(len(cell.runs) for cell in cells)
        self._lines: dict[str, _Line] = {}
        self._done_cells = self._done_runs = 0
        self._seconds, self._done_seconds = sum(cell.seconds for cell in cells), 0.0
        self._progress = _Progress(
            _Name(table_column=Column(no_wrap=True, overflow="ellipsis")),
            BarColumn(8),
            TextColumn("{task.fields[done]}", justify="right", table_column=Column("done", no_wrap=True)),
            TextColumn("{task.fields[score]}", justify="right", table_column=Column("return", no_wrap=True)),
            _Speed(table_column=Column("steps/s", justify="right", no_wrap=True)),
            TimeRemainingColumn(compact=True, table_column=Column("left", justify="right", no_wrap=True)),
            console=console,
            transient=True,
            refresh_per_second=2,
            speed_estimate_period=SPEED_SECONDS,
        )
        self._all = self._progress.add_task("", total=self._seconds, done="", score="", speed=False)
        self._count()

    def __enter__(self) -> Display:
        if self.console.is_terminal:
            self._progress.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.console.is_terminal:
            self._progress.stop()

    def start(self, cell: Cell) -> None:
        """A cell has been given to a process."""
        total = cell.first.budget * len(cell.runs) or None
        name = cell.name if len(cell.runs) == 1 else f"{cell.name} x{len(cell.runs)}"
        task = self._progress.add_task(name, start=False, total=total, done="starting", score="", speed=True)
        self._lines[cell.cell_id] = _Line(cell, task)
        if not self.console.is_terminal:
            self.say(f"{cell.name}: started, {counted(len(cell.runs), 'lane')}")

    def update(self, cell: Cell, pulse: Pulse) -> None:
        """A cell has given a sign of life."""
        line, budget, lanes = self._lines[cell.cell_id], cell.first.budget, len(cell.runs)
        line.share = pulse.steps / budget if budget else 0.0
        line.score = "" if pulse.mean_return is None else f"{pulse.mean_return:,.1f}"
        if line.before is None and not pulse.activity:
            line.before = line.told = line.share
            self._seconds -= line.share * cell.seconds
            self._progress.reset(line.task, completed=pulse.steps * lanes)
        done = pulse.activity or (f"{line.share:.0%}" if budget else f"{pulse.updates:,} updates")
        self._progress.update(line.task, completed=pulse.steps * lanes, done=done, score=line.score)
        self._count()
        if not self.console.is_terminal and line.share >= line.told + PLAIN_SHARE:
            line.told = line.share
            task = next(task for task in self._progress.tasks if task.id == line.task)
            self.say(f"{cell.name}: {', '.join(_in_words(task, f'{pulse.steps:,}/{budget:,} steps'))}")

    def end(self, cell: Cell, statuses: dict[str, int]) -> None:
        """A cell is over, with so many runs of each status; none if it was left before its end."""
        line = self._lines.pop(cell.cell_id)
        self._progress.remove_task(line.task)
        self._done_cells += bool(statuses)
        self._done_runs += sum(statuses.values())
        line.share = 1.0
        self._done_seconds += line.seconds if statuses else 0.0
        self._count()
        how = ", ".join(f"{number} {status}" for status, number in statuses.items()) or "left before its end"
        score = f", return {line.score}" if line.score else ""
        self.say(f"{cell.name}: {how}{score} ({self._done_cells}/{self.cells} cells)")

    def say(self, message: str, style: str = "") -> None:
        """Print one line above the live part."""
        say(message, style, self.console)

    def _count(self) -> None:
        """Bring the last line up to date."""
        done = self._done_seconds + sum(line.seconds for line in self._lines.values())
        self._progress.update(
            self._all,
            total=self._seconds,
            completed=done,
            description=f"{self._done_runs}/{self.runs} runs",
            done=f"{done / max(self._seconds, 1e-9):.0%}",
        )


class _Progress(Progress):
    """rich's table of tasks, with the names of its columns, and the first task last."""

    def __init__(self, *columns: ProgressColumn, **options: Any) -> None:
        super().__init__(*columns, **options)
        self.live._live_render = _Reflowed(self.console)

    def make_tasks_table(self, tasks: Iterable[Task]) -> Table:
        tasks = list(tasks)
        table = super().make_tasks_table([*tasks[1:], *tasks[:1]])
        table.show_header, table.header_style = True, "dim"
        return table


class _Reflowed(LiveRender):
    """Lines that are erased whole where a narrower terminal has broken each into several."""

    def __init__(self, console: Console) -> None:
        super().__init__("")
        self._console = console

    def position_cursor(self) -> Control:
        """Codes that erase what was shown."""
        if self._shape is not None:
            width, height = self._shape
            now = self._console.width
            self._shape = min(width, now), height * ceil(max(width, 1) / now)
        return super().position_cursor()


class _Name(ProgressColumn):
    """The cell; of all together, for how long they have been at work."""

    def render(self, task: Task) -> Text:
        return Text(task.description + ("" if task.fields["speed"] else f" in {duration(task.elapsed or 0.0)}"))


class _Speed(ProgressColumn):
    """Steps per second of all lanes together."""

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:,.0f}" if task.speed and task.fields["speed"] else "")


def _in_words(task: Task, done: str) -> Iterable[str]:
    """Progress, return, speed and time left."""
    yield done
    if task.fields["score"]:
        yield f"return {task.fields['score']}"
    if task.speed and task.time_remaining is not None:
        yield f"{task.speed:,.0f} steps/s"
        yield f"{duration(task.time_remaining)} left"
