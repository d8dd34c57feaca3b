"""What is printed steers no terminal, wherever its texts come from."""

import io
import os
import subprocess
import sys

import pytest
from rich.live import Live
from rich.table import Table
from rich.text import Text

from benchmarks import terminal
from benchmarks.store.store import Store
from benchmarks.terminal import PlainConsole, plain

EVIL = "\x1b[2J\x1b]0;title\x07 a\rb\x9b31m\u202ec"


def test_control_characters_become_visible_ones():
    assert plain(EVIL) == "␛[2J␛]0;title␇ a␍b�31m�c"
    assert plain("tab\tand line\nend, é, 東") == "tab\tand line\nend, é, 東"


@pytest.mark.parametrize("shown", [EVIL, Text(EVIL), Table(EVIL, title=EVIL)])
def test_only_styles_steer_the_console(shown):
    out = io.StringIO()
    console = PlainConsole(file=out, force_terminal=True, width=60, color_system="standard")
    if isinstance(shown, Table):
        shown.add_row(Text(EVIL, style="red"))
    console.print(shown, style="bold", highlight=False)
    text = out.getvalue()
    for sequence in ("\x1b[2J", "\x1b]", "\x07", "\x9b", "\u202e"):
        assert sequence not in text
    assert "\x1b[" in text, "its own styles do"


def test_a_display_that_is_redrawn_still_moves_the_cursor():
    out = io.StringIO()
    console = PlainConsole(file=out, force_terminal=True, width=60)
    with Live("first\nline", console=console, auto_refresh=False) as live:
        live.update("second", refresh=True)
    assert "\x1b[1A" in out.getvalue()


def test_rows_are_aligned_and_their_last_column_stays_whole(capsys):
    terminal.print_rows(("A", "B"), [("1", "x" * 300), ("22", f"{EVIL}")])
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["A   B", "1   " + "x" * 300, "22  " + plain(EVIL)]


@pytest.mark.parametrize(("session", "given", "again"), [
    (None, ["run", "--out", "my results"], "ndi-bench run --out 'my results'"),
    ("reproduce", ["run", "--out", "my results"], "nox -s reproduce -- --out 'my results'"),
    ("reproduce", ["run"], "nox -s reproduce"),
    ("experts", ["experts", "train", "hopper"], "nox -s experts -- train hopper"),
    ("tests", ["run"], "ndi-bench run"),
])  # fmt: skip
def test_a_command_is_given_again_as_it_was_given(monkeypatch, session, given, again):
    monkeypatch.setattr("sys.argv", ["ndi-bench", *given])
    if session is None:
        monkeypatch.delenv("NOX_CURRENT_SESSION", raising=False)
    else:
        monkeypatch.setenv("NOX_CURRENT_SESSION", session)
    assert terminal.command_again() == again


@pytest.mark.parametrize("verb", [("store", "ls"), ("report",), ("status",)])
def test_a_name_that_is_too_long_is_one_line(bench, verb):
    code, _, error = bench(*verb, "x" * 300)
    assert code == 2
    assert error.startswith("error: ")
    assert error.count("\n") == 1


def test_labels_of_files_put_no_codes_into_listings(tmp_path, a_run, bench):
    evil = "\x1b[2Jgone"
    run, rows = a_run()
    store = Store(tmp_path)
    store.write(run | {"label": evil, "cpu": evil}, rows)
    store.write(a_run(seed=1, status="failed")[0] | {"error": evil}, [])
    for command in (("ls", tmp_path), ("show", run["run_id"], tmp_path), ("show", f"nobody{evil}", tmp_path)):
        _, out, error = bench("store", *command)
        assert "\x1b" not in out + error
        assert "␛[2Jgone" in out + error


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "latin-1"])
def test_no_output_encoding_ends_a_command(encoding):
    """Names in arrows, Greek or brackets are printed as far as the encoding goes, and escaped beyond."""
    code = (
        "import sys, benchmarks.terminal as t; t.accept_all_characters()\n"
        "t.say('out [bold]/… λ'); t.print_listing(('λ',), [('≥',)])\n"
        "t.console.rule('x'); print('error: …', file=sys.stderr)"
    )
    environment = os.environ | {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(b"out [bold]/")
    assert b"\\u03bb" in done.stdout
