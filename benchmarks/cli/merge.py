"""The verb `ndi-bench merge`: the runs of several results folders in one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.terminal import console, counted, say


def merge(
    folders: Annotated[list[Path], typer.Argument(help="Results folders; each must pass `store verify`.")],
    out: Annotated[Path, typer.Option(help="Results folder that gets the runs; its completed runs stay.")],
) -> None:
    """Copy the runs of several results folders into one, each run once, and name in what their protocols differ.

    Of several results of a run the completed one counts, then the latest. Nothing is changed in the folders.

    Results of two machines: ndi-bench merge results/mine results/theirs --out results/all
    """
    from benchmarks.reporting.reading import read  # pandas: not for help
    from benchmarks.store import frame, merging  # as above

    sides = [frame.opened(folder).folder for folder in folders]
    remarks = read(sides[0], console, *sides[1:], *([out] if out.is_dir() else [])).remarks
    merged = merging.merge(sides, out)
    for run_id, paths in merged.differing.items():
        say(f"{run_id}: another result is in {', '.join(map(str, paths))}, which does not count")
    for remark in remarks:
        say(f"protocols differ, {remark}")
    say(f"{counted(len(merged.copied), 'run')} copied to {out}, {len(merged.kept)} there already")
