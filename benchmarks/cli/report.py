"""The verb `ndi-bench report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.terminal import console


def report(
    folders: Annotated[
        list[Path] | None, typer.Argument(help="Results folders; several make one report. Default: results/quick.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="Where to write it. Default: the folder; several need a place of their own.")
    ] = None,
    films: Annotated[
        bool, typer.Option("--films", help="Film the median seed of every task and method beside the expert.")
    ] = False,
) -> None:
    """Print the tables of results folders, and write tables, figures and pages from the stored rows alone.

    `report.html` is to look at: one file that needs no network, with tables to sort and filter, curves, every run.

    Runs of several folders are merged by their ids; in what their protocols differ is named.

    Two folders and the diagnostics of rewards: ndi-bench report results/desk results/density/* --out results/mine
    """
    from benchmarks.reporting.building import build  # pandas, matplotlib: not for listings and help

    folder, *others = folders or [Path("results/quick")]
    if films:
        from benchmarks.run.films import film_medians  # torch, MuJoCo: reports need neither
        from benchmarks.store.frame import opened

        for one in (folder, *others):
            film_medians(opened(one), lambda text: console.print(f"{text} ...", highlight=False, markup=False))
    build(folder, console, *others, out=out)
