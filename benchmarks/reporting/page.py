"""The one page that explains a results folder: tables, figures, and everything needed to judge or repeat the runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np

from .formats import EMPTY, Entry, Row, Table, markdown_escape, to_markdown, without_repeats
from .place import MARK
from .results import Results

_CAPTIONS = {
    "learning-curves": "Learning curves: return of the deterministic policy during training",
    "aggregates": "Normalised return over the tasks of the totals: interquartile mean and performance profile",
    "demonstration-numbers": "Final return against the number of demonstrations",
    "ablation": "Return and imitation performance against one setting",
}


def compose(results: Results, tables: Sequence[Table], figures: Sequence[str]) -> str:
    """The page as Markdown; nothing in it depends on when or where it is made, only on the rows."""
    parts = [
        f"# {markdown_escape(title(results))}",
        f"{MARK}; do not edit, rebuild; "
        "`ndi-bench store export` gives the rows as one file. `tables/` and `figures/` hold everything below as "
        "Markdown, LaTeX and SVG; `report.html`, which it writes too, is the same to look at, sort and filter.",
        *(to_markdown(table).strip() for table in without_repeats(tables)),
        *(f"### {caption(name)}\n\n![{caption(name)}](figures/{name}.svg)" for name in figures),
        to_markdown(runs_table(results)).strip(),
        _failures(results),
        _origin(results),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def title(results: Results) -> str:
    """The heading of a page."""
    return f"Results: {', '.join(sorted(results.runs['profile'].unique()))}"


def caption(name: str) -> str:
    """The heading of a figure."""
    kind = next(kind for kind in _CAPTIONS if name.startswith(kind))
    number = name.removeprefix(kind).strip("-").replace("-", " ")
    return _CAPTIONS[kind] + (f" ({number})" if number else "")


def runs_table(results: Results) -> Table:
    """What was run, and what it cost."""
    runs = results.runs
    present = {(variant, demos) for variant, _, demos in results.samples}
    nothing, sections = np.array([], dtype=np.intp), []
    for demos in sorted({demos for _, demos in present}):
        rows = []
        for variant in (variant for variant in results.variants if (variant.name, demos) in present):
            samples = [results.samples.get((variant.name, task, demos), nothing) for task in results.tasks]
            seeds = sorted({int(runs["seed"].iloc[place]) for places in samples for place in places})
            costs = [
                Entry(f"{here['counted'].sum()}/{len(here)}, {here['train_seconds'].median() / 60:.1f}")
                if len(here := runs.iloc[places])
                else EMPTY
                for places in samples
            ]
            rows.append(Row(variant.label, [Entry(str(demos or "none")), Entry(", ".join(map(str, seeds))), *costs]))
        sections.append(rows)
    notes = ["Runs that count / runs, and the median minutes of the process in which a run trained beside others."]
    if results.superseded:
        newer = "Left out for a run of the same method, task, demonstrations and seed that counts or is newer: "
        notes.append(newer + ", ".join(results.superseded) + ".")
    header = ["Method", "Demonstrations", "Seeds", *map(results.title, results.tasks)]
    return Table("runs", "Runs", header, sections, notes)


def _failures(results: Results) -> str:
    """Every run that does not count, with its reason."""
    rows = results.runs[~results.runs["counted"]].sort_values("run_id")
    if rows.empty:
        return ""
    errors = rows["error"].astype("object").where(rows["error"].notna(), "")
    lines = [
        f"- `{run.replace('`', '')}`: {status}"
        + (f" ({markdown_escape(str(error).strip().splitlines()[-1])})" if str(error).strip() else "")
        for run, status, error in zip(rows["run_id"], rows["status"], errors, strict=True)
    ]
    return "\n".join(["### Runs that do not count", "", *lines])


def _origin(results: Results) -> str:
    """Code, data and machines behind the runs."""
    facts = origin(results)
    lines = [f"- {name}: {markdown_escape(', '.join(told) or 'none')}." for name, told in facts.items()]
    return "\n".join(["### Origin", "", *lines])


def origin(results: Results) -> dict[str, list[str]]:
    """Code, data and machines behind the runs, by kind."""
    runs = results.runs
    commits = Counter(
        (commit if isinstance(commit, str) else "unknown") + (" with uncommitted changes" if dirty else "")
        for commit, dirty in zip(runs["commit"], runs["dirty"], strict=True)
    )
    facts: dict[str, Iterable[str]] = {
        "Commit": [f"{commit} ({number} runs)" for commit, number in commits.items()],
        "Datasets": runs["dataset_id"].dropna().unique(),
        "Devices": (runs["device"] + " on " + runs["cpu"]).unique(),
        "Versions": (f"{name} {' / '.join(found)}" for name, found in results.versions.items()),
    }
    return {name: sorted(found) for name, found in facts.items()}
