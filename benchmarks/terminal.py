"""What all verbs print with."""

from __future__ import annotations

import io
import sys
import warnings
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

console = Console()
"""Standard output."""


def table(*columns: str) -> Table:
    """An empty table in the style of all verbs."""
    made = Table(box=None, header_style="bold", pad_edge=False)
    for column in columns:
        made.add_column(column, overflow="fold")
    return made


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
