"""The verb `ndi-bench status`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.kit.errors import UserError
from benchmarks.terminal import console

EVERY_SECONDS = 5.0
"""Time between two looks with `--follow`."""


def status(
    folder: Annotated[Path, typer.Argument(help="Results folder.", readable=False)] = Path("results/quick"),
    follow: Annotated[bool, typer.Option("--follow", help="Look again and again until all is made.")] = False,
) -> None:
    """Show how far the work in a results folder is: runs, jobs with their logs, cells under way, what failed.

    Nothing is changed. Exit code: 0 if all that is stored has a result, 1 if a run failed or nobody makes what is left.
    """
    from benchmarks.run.status import Shown, Watch, view  # pyarrow: not for help

    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}")
    watch = Watch(folder)
    seen = watch.look()
    if follow:
        with Shown(console) as shown:
            shown.show(seen)
            while seen.missing and (seen.alive or seen.making):
                time.sleep(EVERY_SECONDS)
                seen = watch.look()
                shown.show(seen)
    console.print(view(seen), highlight=False, soft_wrap=True)
    left_alone = seen.missing and not seen.alive and not seen.making
    if seen.failed or left_alone:
        raise typer.Exit(1)
