"""The verb `ndi-bench report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.terminal import console


def report(
    folder: Annotated[Path, typer.Argument(help="Results folder.")] = Path("results/quick"),
) -> None:
    """Print the tables of a results folder and write tables and figures into it, from the stored rows alone."""
    from benchmarks import reporting  # pandas, matplotlib: not for listings and help

    reporting.build(folder, console)
