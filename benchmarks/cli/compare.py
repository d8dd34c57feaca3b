"""The verb `ndi-bench compare`: a new method against another, or new runs against stored ones."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmarks.files import whole_file
from benchmarks.kit.errors import UserError
from benchmarks.terminal import console

if TYPE_CHECKING:
    from benchmarks.reporting.formats import Table
    from benchmarks.reporting.gate import Judgement
    from benchmarks.reporting.results import Results


def compare(
    folder: Annotated[Path, typer.Argument(help="Results folder with our runs.")],
    reference: Annotated[Path | None, typer.Argument(help="Results folder with theirs. Default: the same.")] = None,
    method: Annotated[str | None, typer.Option(help="Ours, by commas. Default: all that learn.")] = None,
    against: Annotated[str | None, typer.Option(help="Theirs, by commas. Default: each method's own runs.")] = None,
    level: Annotated[
        float, typer.Option(min=0, max=1, help="Chance of any false better or worse, over all lines together.")
    ] = 0.05,
    margin: Annotated[
        float,
        typer.Option(min=0, max=1, help="Smallest difference that counts: a share of the way from random to expert."),
    ] = 0.05,
    gate: Annotated[
        bool,
        typer.Option(
            "--gate",
            help="Judge whether ours are worse: exit code 0 if fine, 1 if worse or missing, 3 if undecided.",
        ),
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Also write the table to this Markdown file.")] = None,
) -> None:
    """Compare final returns: is a new method better than another, are new runs worse than stored ones?

    Both sides must have followed the same protocol: environment, demonstrations, environment steps, evaluation
    episodes. Only seeds that both completed are compared.

    A new method: ndi-bench compare results/mine results/desk --method mine --against ndi-made

    A change of the code: ndi-bench compare results/after results/before --gate --margin 0.1 (eight seeds or more; the
    margin is then the loss that must have been visible with 80 % power; `ndi-bench gate` runs and judges in one)
    """
    if reference is None and against is None:
        raise UserError("there is nothing to compare with; name a second results folder or a method with --against")
    from benchmarks.reporting import comparison, meetings  # pandas, scipy: not for help
    from benchmarks.reporting import gate as judging

    ours = _results(folder)
    theirs = ours if reference is None else _results(reference)
    pairs = meetings.who_meets(ours, theirs, method, against)
    if gate:
        judgement = judging.judge(list(judging.lines(ours, theirs, pairs, whole=True)), level, margin)
        show(judging.table(judgement, level, margin), out)
        leave(judgement)
        return
    matches, totals = comparison.compare(ours, theirs, pairs, level, margin)
    missing = meetings.missing(ours, theirs, pairs)
    remarks = comparison.notes(ours, theirs, matches)
    if missing:
        remarks.append(f"Only on the other side: {'; '.join(dict.fromkeys(missing))}.")
    show(comparison.comparison_table(matches, totals, level, margin, remarks), out)


def show(table: Table, out: Path | None) -> None:
    """Print a table, and write it to a Markdown file if one is given."""
    from benchmarks.reporting.formats import to_markdown, to_rich  # rich's tables: not for help

    for part in to_rich(table, console.width):
        console.print(part)
    if out is not None:
        try:
            with whole_file(out) as file:
                file.write(to_markdown(table).encode())
        except OSError as error:
            raise UserError(f"cannot write {out}: {error.strerror}; choose another file with --out") from None


def leave(judgement: Judgement) -> None:
    """Say what a gate found, and leave with its exit code.

    Raises:
        typer.Exit: 1 if anything is worse or missing, 3 if it is undecided.
    """
    numbers = Counter(finding.verdict for finding in judgement.findings)
    told = ", ".join(f"{number} {verdict}" for verdict, number in sorted(numbers.items()))
    console.print(f"gate: {judgement.verdict} ({told}; all together {judgement.overall.verdict})", highlight=False)
    if code := {"worse": 1, "undecided": 3}.get(judgement.verdict):
        raise typer.Exit(code)


def _results(folder: Path) -> Results:
    from benchmarks.reporting.reading import read  # pandas: not for help

    if not folder.is_dir():
        raise UserError(f"there is no results folder {folder}; `ndi-bench run --out {folder}` would make it")
    return read(folder, console)
