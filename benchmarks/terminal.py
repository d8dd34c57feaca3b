"""What all verbs print with."""

from __future__ import annotations

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


def show_own_warnings() -> None:
    """Print the suite's own warnings as one line each; leave the others to Python."""
    otherwise = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *arguments: Any, **options: Any) -> None:
        if category.__module__.startswith("benchmarks."):
            console.print(f"[yellow]warning: {escape(str(message))}[/yellow]", highlight=False, soft_wrap=True)
        else:
            otherwise(message, category, *arguments, **options)

    warnings.showwarning = show
