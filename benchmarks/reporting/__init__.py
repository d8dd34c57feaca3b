"""From stored rows to tables, figures and one page: offline, deterministic, without torch, MuJoCo or Minari.

`build` is the whole of it. Arrows inside: statistics (arrays to numbers) knows nothing of the rest; results makes one
frame of scores of the rows, and board the arrays that stand beside each other; tables and plots are functions of a
board; formats gives tables their faces; style says how methods look everywhere.
"""

from __future__ import annotations

import warnings
from pathlib import Path

from matplotlib.figure import Figure
from rich.console import Console
from rich.markup import escape

from benchmarks.kit.errors import UserError
from benchmarks.store.store import SetAside, Store

from . import ablations, page, plots, tables
from .formats import to_latex, to_markdown, to_rich, without_repeats
from .results import Results

__all__ = ["build", "check_place", "read"]

_GENERATED = (
    "returns-*",
    "normalized-*",
    "published-*",
    "learning-curves-*",
    "aggregates-*",
    "demonstration-numbers.*",
    "ablation-*",
)
"""Names of files that a build writes, or one of an earlier version wrote."""


def build(folder: Path, console: Console) -> None:
    """Print the headline tables and write all tables, figures, exports and the page `README.md` into the folder.

    The same rows give the same bytes. Files of an earlier build that this one has no rows for are removed.

    Args:
        folder: A results folder, as `Store` takes it.
        console: Where the tables of the smallest number of demonstrations are printed.

    Raises:
        UserError: no run is stored there, the folder cannot be written to, or it has a `README.md` of another origin.
    """
    folder = Path(folder)
    results = read(folder, console)
    made = _tables(results)
    for table in without_repeats(made[:2]):
        for part in to_rich(table, console.width):
            console.print(part)
        console.print()
    try:
        written = _write(folder, results, made)
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(f"cannot write the report to {folder}: {reason}; make room there or copy the folder") from None
    console.print(
        f"Report: {escape(str(folder / 'README.md'))} ({len(written)} tables and figures beside it)", highlight=False
    )


def check_place(folder: Path) -> None:
    """Refuse a folder where `build` would overwrite what is not its own.

    Raises:
        UserError: the folder has a `README.md` of another origin.
    """
    page.place(Path(folder))


def read(folder: Path, console: Console) -> Results:
    """What a results folder holds; files that are set aside are told.

    Raises:
        UserError: no run is stored there.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", SetAside)
        runs, evaluations = Store(folder).averages()
    for message in sorted({str(warning.message) for warning in caught if warning.category is SetAside}):
        console.print(f"[yellow]{escape(message)}[/yellow]", highlight=False)
    if runs.empty:
        raise UserError(f"no runs are stored in {folder}; make some with `ndi-bench run --out {folder}`")
    return Results.of(runs, evaluations)


def _tables(results: Results) -> list[tables.Table]:
    """For every number of demonstrations returns, normalised scores; then ablations."""
    made = [table(board) for board in results.boards for table in (tables.returns_table, tables.normalized_table)]
    return made + [ablations.ablation_table(found) for board in results.boards for found in ablations.ablations(board)]


def _figures(results: Results) -> dict[str, Figure]:
    """By name; without those for which the rows give nothing to draw."""
    figures: dict[str, Figure | None] = {}
    for board in results.boards:
        figures[f"learning-curves-{tables.suffix(board.demos)}"] = plots.learning_curves(board)
    for board in results.boards:
        figures[f"aggregates-{tables.suffix(board.demos)}"] = plots.aggregates(board)
    figures["demonstration-numbers"] = plots.demonstration_numbers(results)
    for board in results.boards:
        figures |= {found.name: ablations.ablation_figure(found) for found in ablations.ablations(board)}
    return {name: figure for name, figure in figures.items() if figure is not None}


def _write(folder: Path, results: Results, made: list[tables.Table]) -> list[Path]:
    """Write tables, figures and the page; returns the files in `tables/` and `figures/`."""
    path_of_page = page.place(folder)
    earlier = path_of_page.exists()
    (folder / "tables").mkdir(parents=True, exist_ok=True)
    (folder / "figures").mkdir(exist_ok=True)
    written = []
    for table in made:
        for kind, text in (("md", to_markdown(table)), ("tex", to_latex(table))):
            path = folder / "tables" / f"{table.name}.{kind}"
            path.write_text(text, encoding="utf-8")
            written.append(path)
    figures = _figures(results)
    written += [plots.save(figure, folder / "figures" / name) for name, figure in figures.items()]
    found = {path for part in ("tables", "figures") for glob in _GENERATED for path in (folder / part).glob(glob)}
    for stale in found - set(written) if earlier else ():
        stale.unlink()
    path_of_page.write_text(page.compose(results, made, list(figures)), encoding="utf-8")
    return written
