"""Every cell of the tutorial runs, in order, with small settings."""

import json
import re
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from benchmarks.kit.errors import UserError
from benchmarks.store.store import Store

ROOT = Path(__file__).parents[1]
CELLS = [
    SimpleNamespace(code=cell["cell_type"] == "code", source="".join(cell["source"]), tags=cell["metadata"].get("tags"))
    for cell in json.loads((ROOT / "benchmarks/tutorial.ipynb").read_text(encoding="utf-8"))["cells"]
]
SMALL = {"FILMED": "inverted-pendulum", "SEEDS": "0-1", "STEPS": 60, "DENSITY": {"hidden": [8], "fit.steps": 300}}


def run(cell, names):
    """What Jupyter does with a cell, as far as the tutorial needs it."""
    if written := re.match(r"%%writefile (\S+)\n", cell.source):
        Path(written[1]).write_text(cell.source[written.end() :] + "\n")
        return
    try:
        exec(compile(cell.source, "tutorial", "exec"), names)
    except UserError as error:
        if "film" not in (cell.tags or ()) or "cannot be rendered here" not in str(error):  # there is no OpenGL
            raise
    if "parameters" in (cell.tags or ()):
        assert names.keys() >= SMALL.keys()
        names.update(SMALL)


def test_all_cells_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    shown = []
    display = ModuleType("IPython.display")
    display.SVG = display.Image = lambda file: shown.append(Path(file).stat().st_size)
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    names = {}
    for cell in CELLS:
        if cell.code:
            run(cell, names)
    assert shown
    assert min(shown) > 0
    runs = Store(tmp_path / names["FOLDER"]).runs()
    assert set(runs["method"]) == {"random", "expert", "bc", "ndi-made", "mine"}
    assert set(runs["status"]) == {"completed"}
    assert (runs[runs["method"] == "mine"]["updates"] > 30).all()
    out = capsys.readouterr().out
    falling = [float(value) for value in re.findall(r"on the actions: +(\S+) nats", out)]
    assert falling == sorted(falling, reverse=True)
    assert "too few seeds" in out
    assert not names["rows"].empty


def test_the_method_is_the_readmes():
    (written,) = [cell.source.partition("\n")[2] for cell in CELLS if cell.source.startswith("%%writefile")]
    assert f"```python\n{written}\n```" in (ROOT / "README.md").read_text()


@pytest.mark.parametrize("cell", [cell for cell in CELLS if not cell.code], ids=lambda cell: cell.source[:30])
def test_the_text_is_short(cell):
    assert all(len(sentence.split()) <= 25 for sentence in re.split(r"(?<=[.:])\s+", cell.source))
