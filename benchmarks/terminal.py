"""What all verbs print with."""

from __future__ import annotations

import errno
import io
import json
import math
import os
import re
import shlex
import sys
import warnings
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from benchmarks.kit.errors import UserError

_STEERING = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")
"""Control characters but tab and line end, and those that turn the direction of writing."""

_PROSE = 20
"""Columns that a sentence gets at least, however short its words."""


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


def print_listing(header: Sequence[str], rows: Iterable[Sequence[str]], optional: Sequence[str] = ()) -> None:
    """Print texts as a table that cuts no word: no column is narrower than its longest one.

    Args:
        header: names of the columns.
        rows: texts; square brackets in them are no markup.
        optional: columns that may be left out where there is no room, the first one first; which is said.
    """
    lines = [list(map(str, row)) for row in rows]
    columns = {name: column for name, *column in zip(header, *lines, strict=True)}
    least = {name: _least(name, column) for name, column in columns.items()}
    shown = list(header)

    def width(gap: int) -> int:
        return sum(least[name] + gap for name in shown) - gap

    left_out = []
    for name in optional:
        if width(2) > console.width:
            shown.remove(name)
            left_out.append(name)
    # in the last column alone there may be words, such as paths, for which no terminal is wide enough
    least[shown[-1]] = max(_PROSE, min(least[shown[-1]], console.width - width(2) + least[shown[-1]]))
    gap = 2 if width(2) <= console.width else 1
    made = Table(box=None, header_style="bold", pad_edge=False, padding=(0, gap, 0, 0))
    for name in shown:
        made.add_column(name, overflow="fold", min_width=least[name])
    for row in zip(*(columns[name] for name in shown), strict=True):
        made.add_row(*map(Text, row))
    console.print(made, highlight=False)
    if left_out:
        console.print(f"A wider terminal, or --json, shows: {', '.join(left_out)}", style="dim", highlight=False)


def _least(name: str, column: Sequence[str]) -> int:
    """How wide a column must be: its longest word, and room for a sentence if there is one."""
    lines = [name, *column]
    return max(max(map(len, " ".join(lines).split())), min(_PROSE, max(map(len, lines))))


def print_json(rows: Any) -> None:
    """Print plain values for scripts; null for what is not a finite number."""
    console.out(plain(json.dumps(_finite(rows), indent=2, ensure_ascii=False)), highlight=False)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


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


def answered(command: Callable[[], Any]) -> None:
    """Run the command of an entry point: mistakes of the user, and files that are not theirs, become one line.

    Raises:
        SystemExit: with code 2 after such a line.
    """
    try:
        command()
    except UserError as error:
        told = str(error)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.ENAMETOOLONG, errno.ELOOP):
            raise
        told = f"{error.filename}: {error.strerror}"
    else:
        return
    print(f"error: {plain(told)}", file=sys.stderr)
    sys.exit(2)


def spanned(numbers: Collection[int], noun: str) -> str:
    """The span of some numbers of things: "5 seeds", "3 to 5 seeds"."""
    low, high = min(numbers, default=0), max(numbers, default=0)
    return counted(low, noun) if low == high else f"{low} to {high} {noun}s"


def duration(seconds: float) -> str:
    """A length of time for people: "45 s", "12 min", "3.2 h"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def command_again() -> str:
    """The command line that is running, to be given again; of nox where that has started it."""
    verb = sys.argv[1:2]
    session = {"run": "reproduce", "experts": "experts"}.get("".join(verb))
    if session is not None and os.environ.get("NOX_CURRENT_SESSION") == session:
        return shlex.join(["nox", "-s", session, *(["--", *sys.argv[2:]] if sys.argv[2:] else [])])
    return shlex.join(["ndi-bench", *sys.argv[1:]])


def say(text: str, style: str = "", on: Console = console) -> None:
    """Print a line as it is: square brackets are no markup, and a path that is longer than the line stays whole."""
    on.print(text, style=style, markup=False, highlight=False, soft_wrap=True)


def accept_all_characters() -> None:
    """Print a character that the output's encoding lacks as an escape, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def show_own_warnings(tell: Callable[[str], None] = lambda text: say(f"warning: {text}", "yellow")) -> None:
    """Tell the suite's own warnings, by default as a printed line each; leave the others to Python."""
    otherwise = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *arguments: Any, **options: Any) -> None:
        if category.__module__.startswith("benchmarks."):
            tell(str(message))
        else:
            otherwise(message, category, *arguments, **options)

    warnings.showwarning = show
