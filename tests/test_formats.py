"""A table's faces: terminal, Markdown and LaTeX."""

import re

import pytest
from rich.console import Console

from benchmarks.reporting.formats import (
    Entry,
    Row,
    Table,
    latex_escape,
    to_latex,
    to_markdown,
    to_rich,
    without_repeats,
)


def printed(table, width=100):
    console = Console(width=width, file=None, record=True, force_terminal=False, quiet=False)
    with console.capture() as capture:
        for part in to_rich(table, width):
            console.print(part)
    return capture.get()


def test_a_long_label_is_wrapped_and_cuts_no_number():
    label = "NDI+MADE (sac.temperature=0.05, reward.convention=absorbing, reward.floor_margin=60)"
    entries = [Entry("4401", "± 2153"), Entry("-286", "± 35"), Entry("3426", "± 10")]
    table = Table("returns", "Return", ["Method", "Hopper", "HalfCheetah", "Walker2d"], [[Row(label, entries)]])
    text = printed(table, width=80)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("HalfCheetah") == text.count("4401 ± 2153") == 1
    assert all(part in text for part in ("sac.temperature=0.05,", "reward.floor_margin=60)"))


LONG = Row("GAIL (off-policy)", [Entry("12345", "± 1234", note=f"note {i}", bold=i == 1) for i in range(5)])
SHORT = Row("B_1 & 2", [Entry("1", "± 2")] * 5)
TASKS = ["Hopper", "HalfCheetah", "Walker2d", "Ant", "Humanoid"]
WIDE = Table("t", "100% _title_", ["Method", *TASKS], [[LONG], [SHORT]], ["a_b"])


def test_five_tasks_fit_a_hundred_columns():
    lines = printed(WIDE).splitlines()
    assert max(map(len, lines)) <= 100
    assert sum("GAIL (off-policy)" in line for line in lines) == 1
    assert "12345 ± 1234ᵃ" in printed(WIDE)
    assert "    1 ±    2 " in printed(WIDE)


@pytest.mark.parametrize("width", [40, 60, 80])
def test_narrow_terminals_get_the_columns_in_parts(width):
    text = printed(WIDE, width)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    assert text.count("12345 ± 1234") == 5
    assert text.count("GAIL (off-policy)") > 1


def test_markdown_is_a_table_of_equal_rows():
    text = to_markdown(WIDE)
    rows = [line for line in text.splitlines() if line.startswith("|")]
    assert {row.count("|") for row in rows} == {7}
    assert "**12345 ± 1234ᵇ**" in rows[2]
    assert "- ᵇ note 1" in text


def test_latex_is_escaped_and_balanced():
    text = to_latex(WIDE)
    assert r"\caption{100\% \_title\_}" in text
    assert r"B\_1 \& 2 & $1 \pm 2$" in text
    assert r"$\mathbf{12345 \pm 1234}$\textsuperscript{b}" in text
    rows = [line for line in text.splitlines() if line.endswith(r"\\") and "&" in line]
    assert {len(re.findall(r"(?<!\\)&", row)) for row in rows} == {5}
    assert text.count("{") == text.count("}")
    assert [text.count(rf"\{rule}rule") for rule in ("top", "mid", "bottom")] == [1, 2, 1]
    assert latex_escape("[256, 256]") == "{}[256, 256]"  # no option of the line's end before it
    assert latex_escape(r"\~^<>") == r"\textbackslash{}\textasciitilde{}\textasciicircum{}\textless{}\textgreater{}"


def test_many_footnotes_have_distinct_marks():
    table = Table("t", "T", ["M", "x"], [[Row("m", [Entry("1", note=str(i))]) for i in range(60)]])
    letters = [table.letter(row.entries[0]) for row in table.sections[0]]
    assert len(set(letters)) == 60
    assert letters[:2] == ["a", "b"]
    assert "" not in letters


def test_notes_are_said_once():
    first, second = Table("a", "A", ["M"], [], ["x", "y"]), Table("b", "B", ["M"], [], ["y", "z"])
    assert [list(table.notes) for table in without_repeats([first, second])] == [["x", "y"], ["z"]]
