"""Writes the tables on the project's pages that come from stored rows, settings and model cards: `nox -s pages`.

A table stands between two comments, the first of which says what it is; `test_pages.py` holds every page to what would
be written.

    <!-- headline FOLDER TASK... -->    mean ± standard deviation of returns: methods down, tasks (none: all) across
    <!-- switches FOLDER -->            one task: last return with its interval, area under the curve, KL to the expert
    <!-- verdicts FOLDER -->            how often returns are as a paper's: methods down, verdicts across
    <!-- published NUMBER -->           all transcribed results at a number of demonstrations
    <!-- returns METHOD FOLDER... -->   one line per task and setting: mean and each seed at the last evaluation
    <!-- variants METHOD FOLDER -->     one line per setting: mean return per task
    <!-- settings METHOD -->            the method's own settings, without those of the shared learner that it keeps
    <!-- experts -->                    the model cards of the shipped experts
    <!-- table FILE -->                 a stored table, a CSV file
    <!-- end -->
"""

from __future__ import annotations

import contextlib
import io
import json
import re
import shlex
import unicodedata
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console

from benchmarks.cli.experts import list_experts
from benchmarks.kit.sac import SACConfig
from benchmarks.plan.configuration import describe
from benchmarks.plan.registry import find_method
from benchmarks.reporting.formats import EMPTY, Entry, Row, Table, to_markdown
from benchmarks.reporting.reading import read
from benchmarks.reporting.results import Board, interval
from benchmarks.reporting.tables import area_table, imitation_table, published_table, returns_table
from benchmarks.reporting.verdicts import ABOVE, BELOW, FAILED, NOT_RUN, ONE_SEED, REPRODUCED, UNDECIDED, verdict
from benchmarks.store.store import Store
from benchmarks.tasks import TASKS

ROOT = Path(__file__).parents[1]
BLOCK = re.compile(r"(<!-- (?!end)([^>]+) -->\n).*?(<!-- end -->)", re.DOTALL)
VERDICTS = (REPRODUCED, ABOVE, BELOW, UNDECIDED, ONE_SEED, FAILED, NOT_RUN)
TITLES = {name: task.env_id.partition("-")[0] for name, task in TASKS.items()}


def pages() -> list[Path]:
    """All Markdown pages that people write; those of results folders are written by `ndi-bench report`."""
    found = [*ROOT.glob("*.md"), *(ROOT / "results").glob("*.md")]
    return sorted(found + [path for top in ("benchmarks", "baselines", "ndi") for path in (ROOT / top).rglob("*.md")])


def renewed(text: str, page: Path) -> str:
    """The text of a page with its tables written anew."""

    def table(found: re.Match[str]) -> str:
        kind, *arguments = shlex.split(found[2])
        return f"{found[1]}\n{KINDS[kind](page, *arguments)}\n\n{found[3]}"

    return BLOCK.sub(table, text)


def headline(page: Path, folder: str, *tasks: str) -> str:
    board = _board(folder)
    lines = to_markdown(returns_table(board)).splitlines()
    rows = [line.split("|") for line in lines if line.startswith("|") and "*NDI paper" not in line]
    wanted = {"", "Method", *(TITLES[task] for task in tasks or board.results.tasks)}
    shown = [
        "|".join(entry for title, entry in zip(rows[0], row, strict=True) if title.strip() in wanted) for row in rows
    ]
    marks = [
        line for line in lines if line.startswith("- ") and unicodedata.category(line[2]) == "Lm"
    ]  # raised letters
    marks = [line for line in marks if line[2] in "".join(shown)]
    return "\n".join(shown + [""] * bool(marks) + marks)


def switches(page: Path, folder: str) -> str:
    board = _board(folder)
    (task,) = board.results.tasks
    made = {
        TITLES[task]: returns_table(board),
        "Area [95%]": area_table(board),
        "KL / KL random": imitation_table(board),
    }
    columns = {
        heading: {row.label: row.entries[0] for section in found.sections for row in section if not row.quiet}
        for heading, found in made.items()
        if found
    }
    scores = {variant.label: board.scores(variant.name, task) for variant in board.variants}
    intervals = {label: interval(found) for label, found in scores.items() if len(found) > 1}
    columns["95%"] = {label: Entry(f"[{low:,.0f}, {high:,.0f}]") for label, (low, high) in intervals.items()}
    headings = [heading for heading in dict.fromkeys((TITLES[task], "95%", *made)) if heading in columns]
    rows = [Row(label, [columns[heading].get(label, EMPTY) for heading in headings]) for label in columns[TITLES[task]]]
    return _bare(Table("switches", "", ["Method", *headings], [rows]))


def verdicts(page: Path, folder: str) -> str:
    board = _board(folder)
    found: dict[str, Counter[str]] = {}
    for variant in board.variants:
        judged = [one.status for task in board.results.tasks if (one := verdict(board, variant, task))]
        if set(judged) - {NOT_RUN}:
            found[variant.label] = Counter(judged)
    kinds = [kind for kind in VERDICTS if any(kind in of for of in found.values())]
    rows = [Row(label, [Entry(str(of[kind] or "")) for kind in kinds]) for label, of in found.items()]
    return _bare(Table("verdicts", "", ["Method", *kinds], [rows]))


def published(page: Path, number: str) -> str:
    found = published_table(int(number))
    assert found is not None
    return _bare(found)


def returns(page: Path, method: str, *folders: str) -> str:
    lines = [
        "| task | steps | return, mean (each seed) | demonstrations | settings changed | rows |",
        "|---|--:|---|--:|---|---|",
    ]
    shown = set[str]()  # runs that lie in several folders count once
    for folder in folders:
        link = f"[`{folder}`]({_relative(page, f'results/{folder}')})"
        found = _finals(folder, method).query("run_id not in @shown")
        shown |= set(found["run_id"])
        for (task, steps, changes), runs in found.groupby(["task", "budget", "told"], sort=False):
            each = "; ".join(f"{value:,.0f}" for value in runs["return"])
            expert = f"{TASKS[task].expert_return:,.0f}"
            mean = f"**{runs['return'].mean():,.0f}** ({each})"
            lines.append(f"| {TITLES[task]} | {steps:,} | {mean} | {expert} | {changes} | {link} |")
    return "\n".join(lines)


def variants(page: Path, method: str, folder: str) -> str:
    runs = _finals(folder, method)
    tasks = [task for task in TASKS if task in set(runs["task"])]
    lines = [f"| settings changed | {' | '.join(TITLES[task] for task in tasks)} |", f"|---|{'--:|' * len(tasks)}"]
    for told, same in runs.groupby("told", sort=False):
        means = same.groupby("task")["return"].mean()
        entries = [f"{means[task]:,.0f}" if task in means else "" for task in tasks]
        lines.append(f"| {told or 'none'} | {' | '.join(entries)} |")
    return "\n".join(lines)


def settings(page: Path, method: str) -> str:
    found, shared = find_method(method), {f"sac.{part.name}": part.value for part in describe(SACConfig())}
    lines = ["| setting | value | meaning |", "|---|---|---|"]
    for setting in describe(found.config):
        if shared.get(setting.name, ...) != setting.value:
            meaning = setting.description.replace("|", r"\|")
            lines.append(f"| `{setting.name}` | {_plain(setting.value)} | {meaning} |")
    for task, changes in found.per_task.items():
        told = ", ".join(f"`{name}` {_plain(value)}" for name, value in changes.items())
        lines.append(f"| on {TITLES[task]} | {told} | as its authors |")
    return "\n".join(lines)


def experts(page: Path) -> str:
    head = (
        "| task | algorithm | steps | deterministic | stochastic, as in the demonstrations |\n|---|---|---|---|---|\n"
    )
    with contextlib.redirect_stdout(io.StringIO()) as out:
        list_experts(markdown=True)
    return head + out.getvalue().strip()


def table(page: Path, file: str) -> str:
    frame = pd.read_csv(ROOT / file, dtype=str, keep_default_na=False)
    rows = [list(frame.columns), ["---"] * len(frame.columns), *frame.to_numpy().tolist()]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


KINDS = {
    kind.__name__: kind
    for kind in (headline, switches, verdicts, published, returns, variants, settings, experts, table)
}


def _board(folder: str) -> Board:
    """The results of a folder whose runs all have the same number of demonstrations."""
    (board,) = read(ROOT / "results" / folder, Console(file=io.StringIO())).boards
    return board


def _bare(made: Table) -> str:
    """A table without its title."""
    return to_markdown(made).partition("\n")[2].strip()


def _finals(folder: str, method: str) -> pd.DataFrame:
    """Runs of a method in the order of tasks and seeds, with the return of their last evaluation."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # what is set aside would be missing
        runs, averages = Store(ROOT / "results" / folder).averages()
    final = averages[averages["final"]].set_index("run_id")["return"]
    chosen = runs[runs["method"] == method].assign(**{"return": runs["run_id"].map(final)})
    if chosen.empty:
        raise ValueError(f"there are no runs of {method} in results/{folder}")
    chosen["told"] = ["; ".join(_told(run)) for run in chosen.to_dict("records")]
    order = {task: place for place, task in enumerate(TASKS)}
    chosen["order"] = chosen["task"].map(order)
    return chosen.sort_values(["order", "demos", "told", "seed"])


def _told(run: dict[str, Any]) -> Iterator[str]:
    if run["demos"] > 1:
        yield f"{run['demos']} demonstrations"
    if run["subsample"] > 1:
        yield f"every {run['subsample']}th transition"
    for name, value in json.loads(run["changes"]).items():
        yield f"`{name}` {_plain(value)}"


def _plain(value: Any) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(map(_plain, value)) or "none"
    if isinstance(value, bool) or value is None:
        return str(value).lower()
    return f"{value:,}" if isinstance(value, int) else str(value)


def _relative(page: Path, path: str) -> str:
    return "../" * (len(page.relative_to(ROOT).parts) - 1) + path


if __name__ == "__main__":
    for path in pages():
        before = path.read_text(encoding="utf-8")
        after = renewed(before, path)
        if after != before:
            path.write_text(after, encoding="utf-8")
            print(f"{path.relative_to(ROOT)} is written anew")
