"""The one page that explains a results folder: tables, figures, and everything needed to judge or repeat the runs."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.kit.errors import UserError

from .formats import Table, to_markdown, without_repeats
from .results import Results

_MARK = "Generated from the rows in `runs/` by `ndi-bench report`"

_CAPTIONS = {
    "learning-curves": "Learning curves: return of the deterministic policy during training",
    "aggregates": "Normalised return over all tasks: interquartile mean and performance profile",
    "demonstration-numbers": "Final return against the number of demonstrations",
    "ablation": "Return and imitation performance against one setting",
}


def place(folder: Path) -> Path:
    """Where the page of a results folder lies.

    Raises:
        UserError: something lies there that is no such page.
    """
    path = folder / "README.md"
    if path.is_dir() or (path.exists() and _MARK not in path.read_text(encoding="utf-8", errors="replace")):
        raise UserError(f"{path} is not a report's and would be overwritten; move it away, or choose another folder")
    return path


def compose(results: Results, tables: Sequence[Table], figures: Sequence[str]) -> str:
    """The page as Markdown; nothing in it depends on when or where it is made, only on the rows."""
    profiles = ", ".join(sorted(results.runs["profile"].unique()))
    parts = [
        f"# Results: {profiles}",
        f"{_MARK}; do not edit, rebuild; "
        "`ndi-bench store export` gives the rows as one file. `tables/` and `figures/` hold everything below as "
        "Markdown, LaTeX, PNG and SVG.",
        *(to_markdown(table).strip() for table in without_repeats(tables)),
        *(f"### {_caption(name)}\n\n![{_caption(name)}](figures/{name}.png)" for name in figures),
        _runs(results),
        _failures(results),
        _origin(results),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _caption(name: str) -> str:
    kind = next(kind for kind in _CAPTIONS if name.startswith(kind))
    number = name.removeprefix(kind).strip("-").replace("-", " ")
    return _CAPTIONS[kind] + (f" ({number})" if number else "")


def _runs(results: Results) -> str:
    """What was run, and what it cost."""
    titles = [results.title(task) for task in results.tasks]
    lines = ["### Runs", "", "Runs that count / runs, and median training time of a run, in minutes.", ""]
    lines.append("| " + " | ".join(["Method", "Demonstrations", "Seeds", *titles]) + " |")
    lines.append("|:--|--:|:--" + "|--:" * len(titles) + "|")
    for demos in sorted(results.runs["demos"].unique()):
        runs = results.runs[results.runs["demos"] == demos]
        for entry in results.entries(demos):
            rows = runs[runs["entry"] == entry.name]
            if rows.empty:
                continue
            cells = [entry.label, str(demos or "none"), ", ".join(map(str, sorted(rows["seed"].unique())))]
            for task in results.tasks:
                here = rows[rows["task"] == task]
                minutes = here["train_seconds"].median() / 60
                cells.append(f"{here['counted'].sum()}/{len(here)}, {minutes:.1f}" if len(here) else "–")
            lines.append("| " + " | ".join(cells) + " |")
    if results.superseded:
        newer = "Left out, since a newer run of the same method, task, demonstrations and seed is there: "
        lines += ["", newer + ", ".join(f"`{run}`" for run in results.superseded) + "."]
    return "\n".join(lines)


def _failures(results: Results) -> str:
    """Every run that does not count, with its reason."""
    rows = results.runs[~results.runs["counted"]].sort_values("run_id")
    if rows.empty:
        return ""
    errors = rows["error"].astype("object").where(rows["error"].notna(), "")
    lines = [
        f"- `{run}`: {status}" + (f" ({str(error).strip().splitlines()[-1]})" if str(error).strip() else "")
        for run, status, error in zip(rows["run_id"], rows["status"], errors, strict=True)
    ]
    return "\n".join(["### Runs that do not count", "", *lines])


def _origin(results: Results) -> str:
    """Code, data and machines behind the runs."""
    runs = results.runs
    commits = Counter(
        (commit if isinstance(commit, str) else "unknown") + (" with uncommitted changes" if dirty else "")
        for commit, dirty in zip(runs["commit"], runs["dirty"], strict=True)
    )
    versions: dict[str, set[str]] = {}
    for text in runs["versions"].unique():
        for name, version in json.loads(text).items():
            versions.setdefault(name, set()).add(str(version))
    facts: dict[str, Iterable[str]] = {
        "Commit": [f"{commit} ({number} runs)" for commit, number in sorted(commits.items())],
        "Datasets": runs["dataset_id"].dropna().unique(),
        "Devices": (runs["device"] + " on " + runs["cpu"]).unique(),
        "Versions": (f"{name} {' / '.join(sorted(found))}" for name, found in sorted(versions.items())),
    }
    return "\n".join(["### Origin", "", *(_fact(name, values) for name, values in facts.items())])


def _fact(name: str, values: Iterable[str]) -> str:
    return f"- {name}: {', '.join(sorted(values)) or 'none'}."
