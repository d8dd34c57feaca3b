"""The verbs about stored runs: `ndi-bench store verify|ls|show|export`."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import typer

from benchmarks.kit.errors import UserError
from benchmarks.terminal import console, counted, duration, print_json, print_listing, print_rows, say, table

from .listings import AsJson

if TYPE_CHECKING:
    import pandas as pd

store_app = typer.Typer(no_args_is_help=True, help="Stored runs: check, list, look at and export them.")

Folder = Annotated[Path, typer.Argument(help="Results folder.")]
QUICK = Path("results/quick")
Tasks = Annotated[str | None, typer.Option("--task", help="Only these tasks, by commas.")]
Methods = Annotated[str | None, typer.Option("--method", help="Only these methods, by commas.")]
Statuses = Annotated[str | None, typer.Option("--status", help="Only runs that ended so: completed,failed,...")]


_LEFT_OF_RUN = 40
"""Columns of `store ls` before a run's id, what the run cost among them, which is left out where they do not fit."""


@store_app.command("verify")
def verify_store(folder: Folder = QUICK) -> None:
    """Read every file of a results folder and name what is torn, foreign, double or left over.

    Nothing is changed. Exit code: 0 if all is well, 1 if something is wrong, 2 if there is nothing to read.
    """
    from benchmarks.store import frame  # pandas: not for help
    from benchmarks.store.verification import verify  # as above

    runs, found = verify(frame.opened(folder))
    if not runs and not found:
        raise UserError(f"there are no runs in {folder}; make some with `ndi-bench run --out {folder}`")
    for finding in found:
        say(f"{finding.path}: {finding.reason}", "red" if finding.wrong else "yellow")
    wrong = sum(finding.wrong for finding in found)
    result = f"{counted(wrong, 'thing')} wrong" if wrong else "all is well"
    say(f"{counted(runs, 'run')} in {folder}: {result}")
    if wrong:
        raise typer.Exit(1)


@store_app.command("ls")
def list_runs(
    folder: Folder = QUICK,
    task: Tasks = None,
    method: Methods = None,
    status: Statuses = None,
    as_json: AsJson = False,
) -> None:
    """List the runs, one line each: how they ended, their final return, their cost; and why one has no result."""
    from benchmarks.store import frame  # pandas: not for help

    runs, evaluations = frame.opened(folder).averages()
    runs = frame.select(runs, task=task, method=method, status=status)
    last = evaluations[evaluations["final"]]
    final = dict(zip(last["run_id"], last["return"], strict=True))
    if as_json:
        kept = runs[["run_id", "status", "steps", "updates", "train_seconds", "eval_seconds", "error", "policy_sha256"]]
        listed = kept.astype(object).where(kept.notna(), None).to_dict("records")
        print_json([{**run, "return": final.get(run["run_id"])} for run in listed])
        return
    columns = ["status", "steps", "train_seconds", "eval_seconds", "run_id", "error"]
    room = console.width - runs["run_id"].str.len().max() if console.is_terminal and len(runs) else 80
    wide, rows = room >= _LEFT_OF_RUN, []
    for ended, steps, training, evaluating, run_id, error in runs[columns].itertuples(index=False):
        score = f"{final[run_id]:,.1f}" if run_id in final else "-"
        cost = (f"{steps:>9,}", f"{duration(training + evaluating):>6}")[: 2 * wide]
        rows.append((ended, f"{score:>8}", *cost, run_id))
        if ended != "completed":
            rows.append(("",) * len(rows[-1][:-1]) + (f"  {error}",))
    if rows:
        print_rows(("Status", "  Return", *("    Steps", "  Time")[: 2 * wide], "Run"), rows)
    statuses = ", ".join(f"{number} {name}" for name, number in runs["status"].value_counts().items())
    say(counted(len(runs), "run") + (f": {statuses}" if statuses else ""))


@store_app.command("show")
def show_run(
    run: Annotated[str, typer.Argument(help="Id of a run, or the beginning of one.")], folder: Folder = QUICK
) -> None:
    """Show all that is stored of a run: where it comes from, its settings, how it ended, its evaluations."""
    from benchmarks.plan.configuration import flat  # pydantic, and below pandas: not for help
    from benchmarks.store import frame

    runs, evaluations = frame.opened(folder).averages()
    record = frame.one(runs, run)
    told = {**record, **{name: json.loads(record[name]) for name in ("config", "versions", "changes")}}
    print_listing(("Field", "Value"), [(field, _in_words(value)) for field, value in flat(told).items()])
    shown = table("Step", "Update", "Episodes", "Return", "Normalised", "KL from the expert", "")
    for row in evaluations[evaluations["run_id"] == record["run_id"]].to_dict("records"):
        kl = "-" if row["kl"] != row["kl"] else f"{row['kl']:,.2f}"
        shown.add_row(
            f"{row['step']:,}",
            f"{row['update']:,}",
            str(row["episodes"]),
            f"{row['return']:,.1f}",
            f"{row['normalized']:.3f}",
            kl,
            "final" * row["final"],
        )
    console.print(shown if shown.row_count else "No evaluation is stored.")


@store_app.command("export")
def export_rows(
    file: Annotated[Path, typer.Argument(help="File to write: .csv, .parquet or .json.")],
    folder: Folder = QUICK,
    rows: Annotated[str, typer.Option(help="evaluations (one row an episode) or runs.")] = "evaluations",
    task: Tasks = None,
    method: Methods = None,
    status: Statuses = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
) -> None:
    """Write the stored rows to one file: every evaluation episode with the columns of its run, or the runs alone."""
    from benchmarks.store.frame import frame  # pandas: not for help

    if file.suffix not in _WRITERS:
        raise UserError(f"{file}: the name must end in {', '.join(_WRITERS)}")
    if file.exists() and not force:
        raise UserError(f"{file} exists already; add --force to overwrite it")
    chosen = frame(folder, rows, task=task, method=method, status=status)
    _write(chosen, file)
    say(f"{counted(len(chosen), 'row')} of {folder} written to {file}")


def _in_words(value: Any) -> str:
    """A stored value for people: a dash for what is missing."""
    values = list(value) if hasattr(value, "__len__") and not isinstance(value, str) else None
    if values is not None:
        return ", ".join(map(str, values)) or "-"
    return "-" if value is None or value != value else str(value)


def _write(frame: pd.DataFrame, file: Path) -> None:
    """Write a table, whole or not at all."""
    from benchmarks.files import whole_file  # filelock: not for help

    try:
        with whole_file(file) as target:
            _WRITERS[file.suffix](frame, target)
    except OSError as error:
        raise UserError(f"{file} cannot be written: {error.strerror or error}") from None


def _to_json(frame: pd.DataFrame, target: BinaryIO) -> None:
    """A list of rows, one a line; all digits, and null for what is missing."""
    rows = frame.astype(object).where(frame.notna(), None).to_dict("records")
    lines = ",\n".join(json.dumps(row, default=lambda value: value.tolist()) for row in rows)
    target.write(f"[\n{lines}\n]\n".encode())


_WRITERS: Mapping[str, Callable[[pd.DataFrame, BinaryIO], None]] = {
    ".csv": lambda frame, target: frame.to_csv(target, index=False),
    ".parquet": lambda frame, target: frame.to_parquet(target, index=False),
    ".json": _to_json,
}
