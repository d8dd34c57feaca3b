"""A report: tables, figures and pages of results folders, written beside the rows."""

from __future__ import annotations

import re
from pathlib import Path

from matplotlib.figure import Figure
from rich.console import Console

from benchmarks.files import inside, put
from benchmarks.kit.errors import UserError

from . import ablations, comparison, density, effort, html, page, plots, tables, verdicts
from .formats import Table, to_latex, to_markdown, to_rich, without_repeats
from .place import HTML, MARKDOWN, check
from .reading import read
from .results import Results

_GENERATED = re.compile(r"(\w.*-\d+-demonstrations?|demonstration-numbers|planned-comparisons)\.(md|tex|svg)")
"""Names of files in `tables/` and `figures/` that a build writes, or one of an earlier version wrote."""


def build(folder: Path, console: Console, *others: Path, out: Path | None = None) -> None:
    """Print the headline tables and write all tables, figures and both pages: `README.md` and `report.html`.

    The same rows give the same bytes. Files of an earlier build that this one has no rows for are removed.

    Args:
        folder: A results folder, as `Store` takes it.
        console: Where the tables of the smallest number of demonstrations are printed.
        others: More results folders, for one report of all; some may hold diagnostics of rewards.
        out: Where to write; the folder itself unless there are others.

    Raises:
        UserError: no run is stored there, `out` is missing, cannot be written to, or has a page of another origin.
    """
    folders = [Path(folder), *map(Path, others)]
    if out is None and len(folders) > 1:
        raise UserError("a report of several folders needs a place of its own; name one with --out FOLDER")
    place = Path(out or folder)
    check(place)
    # a folder may hold diagnostics alone, which have no runs
    stored = [one for one in folders if len(folders) == 1 or not density.stored(one) or (one / "runs").is_dir()]
    results = read(stored[0] if stored else folders[0], console, *stored[1:])
    made = _tables(results)
    returns, normalized = made[:2]
    for table in without_repeats([normalized, returns]):  # the last screen shows the returns
        for part in to_rich(table, console.width, notes_first=table.name == returns.name):
            console.print(part)
        console.print()
    try:
        written = _write(place, results, made, folders)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"cannot write the report to {place}: {reason}; make room there or copy the folder") from None
    beside = f"({len(written)} tables and figures beside it)"
    console.print(f"Report: {place / 'README.md'} {beside}", highlight=False, markup=False, soft_wrap=True)
    console.print(f"To look at: {place / HTML}", highlight=False, markup=False, soft_wrap=True)


def _tables(results: Results) -> list[Table]:
    """Returns and normalised scores by number of demonstrations; what else the rows give tables for."""
    made = [table(board) for board in results.boards for table in (tables.returns_table, tables.normalized_table)]
    made += [table for board in results.boards if (table := tables.imitation_table(board))]
    made += [table] if (table := comparison.planned(results)) else []
    made += [table for board in results.boards if (table := verdicts.verdict_table(board))]
    made += [ablations.ablation_table(found) for board in results.boards for found in ablations.ablations(board)]
    made += [table for board in results.boards if (table := tables.area_table(board))]
    return made + [table for board in results.boards if (table := effort.effort_table(board))]


def _figures(results: Results) -> dict[str, Figure]:
    """By name; without those for which the rows give nothing to draw."""
    boards = results.boards
    figures = {f"learning-curves-{board.suffix}": plots.learning_curves(board) for board in boards}
    figures |= {f"aggregates-{board.suffix}": plots.aggregates(board) for board in boards}
    figures["demonstration-numbers"] = plots.demonstration_numbers(results)
    every = [found for board in boards for found in ablations.ablations(board)]
    figures |= {found.name: ablations.ablation_figure(found) for found in every}
    return {name: figure for name, figure in figures.items() if figure is not None}


def _write(folder: Path, results: Results, made: list[Table], folders: list[Path]) -> list[Path]:
    """Write tables, figures and the pages; returns the files in `tables/` and `figures/`."""
    earlier = (folder / MARKDOWN).exists()
    figures = _figures(results)
    contents = {("tables", f"{table.name}.md"): to_markdown(table).encode() for table in made}
    contents |= {("tables", f"{table.name}.tex"): to_latex(table).encode() for table in made}
    contents |= {("figures", f"{name}.svg"): plots.svg(figure) for name, figure in figures.items()}
    written = [put(content, folder, *names) for names, content in contents.items()]
    parts = (inside(folder, part) for part in ("tables", "figures"))
    found = {path for part in parts if part.exists() for path in part.iterdir() if _GENERATED.fullmatch(path.name)}
    for stale in found - set(written) if earlier else ():
        stale.unlink()
    shown = [*made, page.runs_table(results)]
    shown += [table for board in results.boards if (table := tables.published_table(board.demos))]
    put(html.compose(results, shown, folders, folder).encode(), folder, HTML)
    put(page.compose(results, made, list(figures)).encode(), folder, MARKDOWN)
    return written
