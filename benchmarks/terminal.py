"""What all verbs print with."""

from __future__ import annotations

import io
import re
import sys
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.segment import Segment
from rich.table import Table

_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters but tab and line end, and those that turn the direction of writing."""


def plain(text: str) -> str:
    """A text that steers no terminal, whoever wrote it: control characters as visible ones."""
    return _STEERING.sub(lambda found: chr(0x2400 + ord(found[0])) if found[0] < " " else "\ufffd", text)


class PlainConsole(Console):
    """A console on which only its own styles steer the terminal, not the texts that are printed."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Segments as rich makes them, with plain texts."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=plain(segment.text))


console = PlainConsole()
"""Standard output."""


def table(*columns: str) -> Table:
    """An empty table in the style of all verbs."""
    made = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


def print_rows(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print aligned columns, as `table` does but for very many rows, and of any width: the last column stays whole."""
    lines = [header, *rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    texts = ("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
    console.print(next(texts), style="bold", highlight=False, markup=False, soft_wrap=True)
    console.out(*map(plain, texts), sep="\n", highlight=False)


def counted(number: int, noun: str, plural: str | None = None) -> str:
    """A number of things: "1 process", "2 processes"."""
    return f"{number} {noun if number == 1 else plural or noun + 's'}"


def duration(seconds: float) -> str:
    """A length of time for people: "45 s", "12 min", "3.2 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def say(text: str) -> None:
    """Print a line as it is: square brackets are no markup, and a path that is longer than the line stays whole."""
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def accept_all_characters() -> None:
    """Print a character that the output's encoding lacks as an escape, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def show_own_warnings() -> None:
    """Print the suite's own warnings as one line each; leave the others to Python."""
    otherwise = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *arguments: Any, **options: Any) -> None:
        if category.__module__.startswith("benchmarks."):
            console.print(f"[yellow]warning: {escape(str(message))}[/yellow]", highlight=False, soft_wrap=True)
        else:
            otherwise(message, category, *arguments, **options)

    warnings.showwarning = show
