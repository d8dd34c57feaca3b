"""Where a report is written: names of its pages, and what tells them from pages of others. Light enough for `run`."""

from __future__ import annotations

import os
from pathlib import Path

from benchmarks.files import inside, read_regular
from benchmarks.kit.errors import UserError

MARKDOWN, HTML = "README.md", "report.html"
"""The pages of a results folder: to read, and to look at."""
MARK = "Generated from the rows in `runs/` by `ndi-bench report`"
HTML_MARK = '<meta name="generator" content="ndi-bench report">'


def check(folder: Path) -> None:
    """Refuse a folder in which something has the name of a page that is none.

    Raises:
        UserError: so it is.
    """
    for name, mark in ((MARKDOWN, MARK), (HTML, HTML_MARK)):
        path = folder / name
        if not os.path.lexists(path):
            continue
        try:
            ours = mark.encode() in read_regular(inside(folder, name))
        except OSError:
            ours = False
        if not ours:
            fix = "move it away, or choose another folder"
            raise UserError(f"{path} is not a report's and would be overwritten; {fix}")
