"""A table as a value, and its four faces: terminal (rich), Markdown, HTML and LaTeX (booktabs)."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from html import escape
from typing import NamedTuple

import rich.box
import rich.table
from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

_SUPERSCRIPTS = dict(zip("abcdefghijklmnoprstuvwxyz", "ᵃᵇᶜᵈᵉᶠᵍʰⁱʲᵏˡᵐⁿᵒᵖʳˢᵗᵘᵛʷˣʸᶻ", strict=True))
_LETTERS = "".join(_SUPERSCRIPTS)


class Entry(NamedTuple):
    """One value with what follows it, such as "± 71" or "[0.91, 0.97]", and the text of its footnote."""

    value: str
    spread: str = ""
    note: str = ""
    bold: bool = False

    @property
    def text(self) -> str:
        """Value and spread."""
        return f"{self.value} {self.spread}".rstrip()


EMPTY = Entry("–")
"""Nothing was run."""


def with_interval(value: float, low: float, high: float, form: str) -> Entry:
    """A number and the interval around it, which is left out where it is not known."""
    if math.isnan(value):
        return EMPTY
    return Entry(f"{value:{form}}", "" if math.isnan(low) else f"[{low:{form}}, {high:{form}}]")


def with_deviation(mean: float, std: float, form: str) -> Entry:
    """A mean and the standard deviation around it, which is left out where it is not known."""
    if math.isnan(mean):
        return EMPTY
    return Entry(f"{mean:{form}}", "" if math.isnan(std) else f"± {std:{form}}")


class Row(NamedTuple):
    """A line of a table; a quiet one (a published value) stands back behind the line above it."""

    label: str
    entries: Sequence[Entry]
    quiet: bool = False


@dataclass(frozen=True)
class Table:
    """Rows in sections, with a rule between sections, and notes below."""

    name: str
    """File name without suffix."""
    title: str
    header: Sequence[str]
    """First column's heading and one for every entry of a row."""
    sections: Sequence[Sequence[Row]]
    notes: Sequence[str] = field(default=())

    @property
    def entry_notes(self) -> list[str]:
        """Texts of the entries' footnotes in reading order, each once."""
        entries = (entry for section in self.sections for row in section for entry in row.entries)
        return list(dict.fromkeys(entry.note for entry in entries if entry.note))

    def letter(self, entry: Entry) -> str:
        """The footnote mark of an entry: a, b, ..., aa, ab, ... or nothing."""
        if not entry.note:
            return ""
        tens, ones = divmod(self.entry_notes.index(entry.note), len(_LETTERS))
        return (_LETTERS[tens - 1] if tens else "") + _LETTERS[ones]


def without_repeats(tables: Sequence[Table]) -> list[Table]:
    """The tables as they read one below the other: a note that an earlier one has is not said again."""
    told: set[str] = set()
    shown = []
    for table in tables:
        shown.append(replace(table, notes=[note for note in table.notes if note not in told]))
        told.update(table.notes)
    return shown


def to_rich(table: Table, width: int, notes_first: bool = False) -> list[RenderableType]:
    """The table for a terminal of so many columns, split into several where it is too wide, and its notes.

    With `notes_first` only the footnotes stand below it, so that the table is what is seen last.
    """
    columns = [_aligned(table, column) for column in range(len(table.header) - 1)]
    labels = [("  " if row.quiet else "") + row.label for section in table.sections for row in section]
    gap = 2  # one column of padding, one of the box
    first = min(max(map(len, [table.header[0], *labels])), _label_limit(width)) + gap
    parts: list[list[int]] = [[]]
    room = width - first + gap  # nothing follows the last column
    for index, entries in enumerate(columns):
        need = max(map(len, [table.header[index + 1], *entries])) + gap
        if parts[-1] and need > room:
            parts.append([])
            room = width - first + gap
        parts[-1].append(index)
        room -= need
    title = Text(table.title, style="bold")
    faces: list[RenderableType] = [
        _rich_part(table, part, [columns[i] for i in part], labels, first - gap) for part in parts
    ]
    marked, told = ([Text(line, style="dim") for line in lines] for lines in (_footnotes(table), table.notes))
    shown = [Padding(item, (0, 0, 1, 0)) for item in (title, *faces)]
    return [*told, Text(), *shown, *marked] if notes_first else [*shown, *marked, *told]


def _label_limit(width: int) -> int:
    """Longer labels, as those with settings, are wrapped, so that numbers have room beside them."""
    return max(24, 2 * width // 5)


def _rich_part(
    table: Table, part: list[int], columns: list[list[str]], labels: list[str], first: int
) -> rich.table.Table:
    face = rich.table.Table(box=rich.box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
    face.add_column(table.header[0], overflow="fold", width=first)
    for index in part:
        face.add_column(table.header[index + 1], justify="right", no_wrap=True)
    line = 0
    for section in table.sections:
        for row in section:
            style = "dim italic" if row.quiet else ""
            entries = [
                Text(columns[k][line], style="bold green" if row.entries[index].bold else "")
                for k, index in enumerate(part)
            ]
            line += 1
            face.add_row(Text(labels[line - 1]), *entries, style=style, end_section=row is section[-1])
    return face


def _aligned(table: Table, column: int) -> list[str]:
    """The texts of one column with spreads and marks padded, so that signs stand below each other."""
    entries = [row.entries[column] for section in table.sections for row in section]
    digits = max(len(entry.spread.removeprefix("± ")) for entry in entries)
    spreads = [f"± {entry.spread[2:]:>{digits}}" if entry.spread.startswith("±") else entry.spread for entry in entries]
    tails = [
        (f" {spread}" if spread else "") + _superscript(table.letter(entry))
        for entry, spread in zip(entries, spreads, strict=True)
    ]
    longest = max(map(len, tails))
    return [f"{entry.value}{tail:<{longest}}" for entry, tail in zip(entries, tails, strict=True)]


def _superscript(letters: str) -> str:
    return "".join(_SUPERSCRIPTS[letter] for letter in letters)


def _footnotes(table: Table) -> list[str]:
    return [f"{_superscript(table.letter(Entry('', note=note)))} {note}" for note in table.entry_notes]


def _note_lines(table: Table) -> list[str]:
    return [*_footnotes(table), *table.notes]


_MARKDOWN = re.compile(r"[\\`*<&$~]|(?<=\])\(|(?<!\w)_|_(?!\w)")


def markdown_escape(text: str) -> str:
    """Text that Markdown shows as it stands, on one line."""
    return _MARKDOWN.sub(lambda found: "\\" + found[0], " ".join(text.splitlines()))


def to_markdown(table: Table) -> str:
    """The table in GitHub's Markdown, with its title as heading and its notes as list."""

    def entry(value: Entry, quiet: bool) -> str:
        text = markdown_escape(value.text) + _superscript(table.letter(value))
        return f"**{text}**" if value.bold else f"*{text}*" if quiet and value != EMPTY else text

    title, header = markdown_escape(table.title), [markdown_escape(text) for text in table.header]
    lines = [f"### {title}", "", _markdown_line(header)]
    lines.append("|:--" + "|--:" * (len(table.header) - 1) + "|")
    for section in table.sections:
        for row in section:
            label = markdown_escape(row.label)
            label = f"*{label}*" if row.quiet else label
            lines.append(_markdown_line([label, *(entry(value, row.quiet) for value in row.entries)]))
    notes = [f"- {markdown_escape(line)}" for line in _note_lines(table)]
    return "\n".join([*lines, "", *notes]) + "\n"


def _markdown_line(texts: Sequence[str]) -> str:
    return "| " + " | ".join(text.replace("|", "\\|") for text in texts) + " |"


def to_html(table: Table) -> str:
    """The table as an HTML element with its notes below; every text is escaped."""

    def entry(value: Entry) -> str:
        text = escape(value.text) + (f"<sup>{table.letter(value)}</sup>" if value.note else "")
        return f"<td>{f'<strong>{text}</strong>' if value.bold else text}</td>"

    def line(row: Row) -> str:
        label = f"<em>{escape(row.label)}</em>" if row.quiet else escape(row.label)
        return f'<tr><th scope="row">{label}</th>{"".join(map(entry, row.entries))}</tr>'

    head = "".join(f'<th scope="col">{escape(text)}</th>' for text in table.header)
    bodies = "".join(f"<tbody>{''.join(map(line, section))}</tbody>" for section in table.sections)
    notes = "".join(f"<li>{escape(note)}</li>" for note in _note_lines(table))
    caption = f"<caption>{escape(table.title)}</caption>"
    return f"<table>{caption}<thead><tr>{head}</tr></thead>{bodies}</table>" + (f"<ul>{notes}</ul>" if notes else "")


_NUMBERS = re.compile(r"[-+\d., ±\[\]/()]*")


def to_latex(table: Table) -> str:
    """The table for LaTeX with booktabs, ready to be put in with `input`; the notes stand below in small print."""

    def entry(value: Entry) -> str:
        if value == EMPTY:
            return "--"
        if _NUMBERS.fullmatch(value.text):
            body = value.text.replace("±", r"\pm").replace(" [", r"\; [")
            body = rf"$\mathbf{{{body}}}$" if value.bold else f"${body}$"
        else:
            body = rf"\textbf{{{latex_escape(value.text)}}}" if value.bold else latex_escape(value.text)
        letter = table.letter(value)
        return body + (rf"\textsuperscript{{{letter}}}" if letter else "")

    def line(texts: Sequence[str]) -> str:
        return "  " + " & ".join(texts) + r" \\"

    rules = []
    for section in table.sections:
        rules.append(
            "\n".join(
                line([(r"\quad \emph{%s}" if row.quiet else "%s") % latex_escape(row.label), *map(entry, row.entries)])
                for row in section
            )
        )
    marks = [rf"\textsuperscript{{{table.letter(Entry('', note=n))}}} {latex_escape(n)}" for n in table.entry_notes]
    notes = " \\\\\n    ".join([*marks, *map(latex_escape, table.notes)])
    return "\n".join(
        [
            "% needs \\usepackage{booktabs}",
            r"\begin{table}",
            r"  \centering",
            rf"  \caption{{{latex_escape(table.title)}}}",
            rf"  \label{{tab:{table.name}}}",
            rf"  \begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}",
            r"  \toprule",
            line([latex_escape(text) for text in table.header]),
            r"  \midrule",
            "\n  \\midrule\n".join(rules),
            r"  \bottomrule",
            r"  \end{tabular}",
            *([rf"  \par\smallskip\parbox{{\linewidth}}{{\footnotesize {notes}}}"] if notes else []),
            r"\end{table}",
            "",
        ]
    )


_LATEX = {
    **{char: "\\" + char for char in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "−": "$-$",
    "×": r"$\times$",
    "–": "--",
    "|": r"\textbar{}",
}


def latex_escape(text: str) -> str:
    """Text that LaTeX prints as it stands; one that begins a line is no option of the command before it."""
    return "{}" * text.startswith(("[", "*")) + "".join(_LATEX.get(char, char) for char in text)
