"""The interactive page: one HTML file that needs neither network nor server, made from the scores alone.

Its figures are Vega's, whose script library comes with a Python package; what they show is `payload`'s. Every text of
a row goes through Jinja's escaping or into a text node, so that none is ever read as markup.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
from markupsafe import Markup

from benchmarks.files import inside, read_regular
from benchmarks.kit.errors import legible
from benchmarks.terminal import counted

from . import charts, density, payload
from .formats import Table, to_html
from .page import origin, title
from .results import ENDS, Results
from .verdicts import RULE

_SCRIPTS = ("state.js", "table.js", "runs.js", "charts.js", "main.js")
_FILMS = {".mp4": "video/mp4", ".webm": "video/webm", ".gif": "image/gif", ".webp": "image/webp"}
FILMS_BYTES = 2_000_000
"""Films of a folder are embedded up to so many bytes together; others are named and stay beside the page."""


def compose(results: Results, tables: Sequence[Table], folders: Sequence[Path], place: Path) -> str:
    """The page; nothing in it depends on when or where it is made, only on rows, films and diagnostics.

    Args:
        results: the scores.
        tables: shown as they are at the end.
        folders: results folders; films are looked for in `films/`, diagnostics of rewards in the folder itself.
        place: folder of the page, from which films are linked that are too large to be embedded.

    Raises:
        UserError: the rows of diagnostics cannot be read.
    """
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    found = [density.Diagnostics.read(folder) for folder in folders if density.stored(folder)]
    data = payload.payload(results) | {"specifications": charts.specifications()}
    data["densities"] = [density.plain(one) for one in found]
    return environment.from_string(_asset("page.html.j2")).render(
        title=title(results),
        sentences=[payload.sentence(board) for board in results.boards[:1]],
        facts=list(_facts(results)),
        remarks=results.remarks,
        rule=RULE,
        densities=[{"table": density.table(one), "warnings": density.unfit(one)} for one in found],
        films=[film for folder in folders for film in _films(results, folder, place)],
        tables=tables,
        as_html=lambda table: Markup(to_html(table)),
        origin=origin(results),
        data=Markup(payload.as_json(data)),
        css=Markup(_asset("page.css")),
        vega=Markup(charts.vega()),
        scripts=[Markup(_asset(name)) for name in _SCRIPTS],
    )


def _asset(name: str) -> str:
    return files(__package__).joinpath("assets", name).read_text(encoding="utf-8")


def _facts(results: Results) -> Iterator[str]:
    runs = results.runs
    yield counted(len(runs), "run")
    yield counted(runs["method"].nunique(), "method")
    yield counted(len(results.tasks), "task")
    yield counted(runs["seed"].nunique(), "seed")
    ends = runs.loc[~runs["counted"], "status"].replace(ENDS).value_counts()
    yield ", ".join(f"{number} {end}" for end, number in sorted(ends.items())) or "none failed"
    if results.superseded:
        yield f"{len(results.superseded)} superseded by other runs are left out"


def _films(results: Results, folder: Path, place: Path) -> Iterator[dict[str, Any]]:
    """The films of a folder, by name: regular files in `films/` alone, whatever that holds."""
    left, runs = FILMS_BYTES, results.runs.set_index("run_id")
    try:
        names = sorted(path.name for path in inside(folder, "films").iterdir())
    except OSError:
        return
    for name in names:
        kind = _FILMS.get(Path(name).suffix.lower())
        if kind is None:
            continue
        try:
            content = read_regular(inside(folder, "films", name))
        except OSError:
            continue
        embedded = len(content) <= left
        left -= len(content) if embedded else 0
        beside = quote(os.fsencode(os.path.relpath(folder / "films" / name, place)))
        source = f"data:{kind};base64,{base64.b64encode(content).decode()}" if embedded else beside
        film = {"title": legible(Path(name).stem), "video": kind.startswith("video"), "source": source}
        if Path(name).stem in runs.index:
            run = runs.loc[Path(name).stem]
            film |= {"title": f"{run['variant_label']} on {results.title(str(run['task']))}, seed {run['seed']}"}
            film |= {name: run[name] for name in ("task", "variant", "demos")}
        yield film
