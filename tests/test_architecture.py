"""The laws of the house, read off the source: who imports whom, and how long things may be; see benchmarks/README.md.

A law is a function from a source tree to what breaks it. Each is tried on a tree with a fault planted in it.
"""

import ast
import re
import subprocess
import sys
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("benchmarks", "ndi", "baselines")

MAY_IMPORT = {
    "files": set(),
    "memo": {"files"},
    "terminal": {"kit.errors"},
    "tasks": {"kit.errors"},
    "provenance": set(),
    "kit": set(),
    "plan": {"kit", "memo", "tasks"},
    "instrument": {"kit", "tasks"},
    "experts": {"kit", "instrument", "tasks", "files"},
    "data": {"kit", "experts", "instrument", "tasks", "files"},
    "store": {"kit.errors", "files"},
    # what it needs of experts is handed in
    "run": {"kit", "plan", "instrument", "data", "store", "tasks", "files", "memo", "provenance", "terminal"},
    "reporting": {"kit.errors", "store", "plan", "tasks", "files", "terminal"},
    "experiment": {"kit.errors", "plan", "experts", "data", "store", "run", "tasks", "terminal"},
    "cli": {
        *("kit.errors", "plan", "instrument", "experts", "data", "store", "run", "experiment", "reporting"),
        *("tasks", "files", "provenance", "terminal"),
    },
    "__main__": {"cli", "terminal"},
    "peers": {
        *("kit", "plan", "instrument", "data", "store", "reporting", "files", "provenance", "terminal"),
    },
    "perf": {  # it times the methods' own pieces
        *("ndi", "baselines", "kit", "plan", "instrument", "store", "run", "reporting", "peers"),
        *("tasks", "provenance", "terminal"),
    },
    "__init__": set(),
    "ndi": {"kit"},
    "baselines": {"kit"},
}
"""Room -> what it may import besides itself; a room is a folder or a file of `benchmarks`, or a package of methods."""

LONGEST_FILE, LONGEST_FUNCTION, MOST_COMPLEX = 400, 60, 15


def sources(root):
    """Module name -> path of every file of ours below a root."""
    paths = [path for package in PACKAGES for path in sorted((root / package).rglob("*.py"))]
    return {".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__"): path for path in paths}


def room(name):
    """The room of a module."""
    package, _, rest = name.partition(".")
    return (rest.partition(".")[0] or "__init__") if package == "benchmarks" else package


def imports(path, root):
    """(line, absolute name, only for type checkers) of everything of ours that a file imports, wherever it does."""
    package, tree = path.relative_to(root).parts[:-1], ast.parse(path.read_text())
    guarded = {
        id(node)
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test).endswith("TYPE_CHECKING")
        for node in ast.walk(block)
    }
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            names = [".".join([*base, *filter(None, [node.module]), alias.name]) for alias in node.names]
        yield from ((node.lineno, name, id(node) in guarded) for name in names if name.split(".")[0] in PACKAGES)


def with_tests(root):
    """Every file of ours below a root, tests and all."""
    return [*sources(root).values(), *sorted((root / "tests").glob("*.py")), *root.glob("*.py")]


def functions(path):
    """All functions of a file."""
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)]


# --- the laws ---------------------------------------------------------------------------------------------------------


def rooms_import_downwards(root):
    """A room imports itself and what `MAY_IMPORT` says."""
    for module, path in sources(root).items():
        here, allowed = room(module), MAY_IMPORT.get(room(module))
        if allowed is None:
            yield path, f"{here} is no room of the house"
            continue
        for line, name, _ in imports(path, root):
            inner = name.removeprefix("benchmarks.")
            if room(name) != here and not any(f"{inner}.".startswith(f"{known}.") for known in allowed):
                yield path, f"line {line}: {here} may not import {name}"


def rooms_use_what_they_may(root):
    """Whatever `MAY_IMPORT` says a room imports, so that the list is what a reader finds there."""
    used = {name: set() for name in MAY_IMPORT}
    for module, path in sources(root).items():
        used[room(module)].update(f"{name.removeprefix('benchmarks.')}." for _, name, _ in imports(path, root))
    for here, allowed in MAY_IMPORT.items():
        for known in sorted(allowed):
            if not any(name.startswith(f"{known}.") for name in used[here]):
                yield root / here, f"{here} may import {known} and does not"


def no_circles(root):
    """No module needs itself, however far around, hints of types included."""
    known = sources(root)
    needs = {module: set() for module in known}
    for module, path in known.items():
        for _, name, _ in imports(path, root):
            target = name if name in known else name.rpartition(".")[0]
            if target in known and target != module:
                needs[module].add(target)
    try:
        TopologicalSorter(needs).prepare()
    except CycleError as error:
        yield known[error.args[1][0]], f"a circle: {' -> '.join(reversed(error.args[1]))}"


def late_imports_say_why(root):
    """Imports inside a function have a comment that says what they save, beside the first or above it."""
    for path in sources(root).values():
        lines, told = path.read_text().splitlines(), set()
        for function in functions(path):
            late = [node for node in ast.walk(function) if isinstance(node, ast.Import | ast.ImportFrom)]
            for node in sorted(late, key=lambda node: node.lineno):
                near = range(node.lineno - 1, node.end_lineno + 1)
                if told.intersection(near) or any("#" in lines[number - 1] for number in near):
                    told.update(range(node.lineno, node.end_lineno + 3))
                else:
                    yield path, f"line {node.lineno}: an import inside {function.name} without a comment"


def files_are_short(root):
    """No file is longer than `LONGEST_FILE`."""
    for path in with_tests(root):
        length = len(path.read_text().splitlines())
        if length > LONGEST_FILE:
            yield path, f"{length} lines, more than {LONGEST_FILE}"


def functions_are_short(root):
    """No function is longer than `LONGEST_FUNCTION`."""
    for path in with_tests(root):
        for function in functions(path):
            length = function.end_lineno - function.lineno + 1
            if length > LONGEST_FUNCTION:
                yield path, f"{function.name} has {length} lines, more than {LONGEST_FUNCTION}"


def functions_are_simple(root):
    """No function has a cyclomatic complexity above `MOST_COMPLEX`."""
    limit = f"lint.mccabe.max-complexity = {MOST_COMPLEX}"
    command = ["ruff", "check", "--isolated", "--no-cache", "--select", "C901", "--config", limit]
    command += ["--output-format", "concise", *map(str, with_tests(root))]
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, cwd=root)
    assert done.returncode in (0, 1), done.stderr
    for line in done.stdout.splitlines():
        if " C901 " in line:
            path, _, rest = line.partition(":")
            yield root / path, rest


LAWS = [
    rooms_import_downwards,
    rooms_use_what_they_may,
    no_circles,
    late_imports_say_why,
    files_are_short,
    functions_are_short,
    functions_are_simple,
]


@pytest.mark.parametrize("law", LAWS)
def test_the_house_keeps_the_law(law):
    broken = [(str(path.relative_to(ROOT)), told) for path, told in law(ROOT)]
    assert [f"{path}: {told}" for path, told in broken] == []


# --- the laws see what breaks them ------------------------------------------------------------------------------------


def plant(root, module, text):
    """A tree of packages that holds one file."""
    path = root.joinpath(*module.split(".")).with_suffix(".py")
    path.parent.mkdir(parents=True, exist_ok=True)
    for package in PACKAGES:
        (root / package).mkdir(exist_ok=True)
    path.write_text(text)


WRONG = {
    "files": "benchmarks.kit.errors",
    "memo": "benchmarks.kit.errors",
    "terminal": "benchmarks.kit.sac",
    "tasks": "benchmarks.files",
    "provenance": "benchmarks.kit.contract",
    "kit.planted": "benchmarks.tasks",
    "plan.planted": "benchmarks.data.datasets",
    "instrument.planted": "benchmarks.experts",
    "experts.planted": "benchmarks.run.pool",
    "data.planted": "benchmarks.store.store",
    "store.planted": "benchmarks.kit.contract",
    "run.planted": "benchmarks.experts",
    "reporting.planted": "benchmarks.run.display",
    "experiment": "benchmarks.cli.run",
    "cli.planted": "benchmarks.perf.machine",
    "__main__": "benchmarks.run.pool",
    "peers.planted": "benchmarks.perf.machine",
    "perf.planted": "benchmarks.__main__",
    "__init__": "benchmarks.kit.contract",
}
"""An arrow that is not allowed, for every room of the bench."""


@pytest.mark.parametrize(("module", "target"), [(f"benchmarks.{name}", wrong) for name, wrong in WRONG.items()])
@pytest.mark.parametrize("form", ["import {0}", "from {0} import x", "def f():\n    import {0}  # lazily"])
def test_an_arrow_planted_the_wrong_way_is_seen(tmp_path, module, target, form):
    plant(tmp_path, module, form.format(target))
    ((path, told),) = rooms_import_downwards(tmp_path)
    assert path.stem == module.split(".")[-1]
    assert "may not import benchmarks." in told


def test_every_room_has_its_planted_arrow():
    assert {name.partition(".")[0] for name in WRONG} | {"ndi", "baselines"} == set(MAY_IMPORT)


@pytest.mark.parametrize(
    ("module", "text"),
    [
        ("ndi.planted", "from benchmarks.plan import registry"),
        ("ndi.planted", "from baselines.bc import METHOD"),
        ("baselines.planted", "import benchmarks.instrument.environment"),
        ("baselines.planted", "from benchmarks import tasks"),
        ("benchmarks.run.planted", "from ndi.ndi import NDI_MADE"),
        ("benchmarks.plan.planted", "from ..data import datasets"),
        (
            "benchmarks.plan.planted",
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import benchmarks.run.pool",
        ),
        ("benchmarks.cellar.planted", "x = 1"),
    ],
)
def test_methods_relative_imports_hints_and_new_rooms_count(tmp_path, module, text):
    plant(tmp_path, module, text)
    assert len(list(rooms_import_downwards(tmp_path))) == 1


def test_a_permission_that_nobody_uses_is_seen(tmp_path):
    plant(tmp_path, "benchmarks.memo", "from benchmarks.files import put")
    assert "memo may import files and does not" not in {told for _, told in rooms_use_what_they_may(tmp_path)}
    plant(tmp_path, "benchmarks.memo", "import torch")
    assert "memo may import files and does not" in {told for _, told in rooms_use_what_they_may(tmp_path)}


def test_what_rooms_may_import_is_told_as_it_is():
    """In the table of benchmarks/README.md."""
    table = dict(re.findall(r"^\| \[?`(\w+)[/.].*\| ([^|]*) \|$", (ROOT / "benchmarks/README.md").read_text(), re.M))
    for name, allowed in MAY_IMPORT.items():
        if name not in ("__init__", "ndi", "baselines"):
            assert set(table[name].split(", ")) == (allowed or {"nothing of the suite"}), name


def test_what_is_allowed_passes(tmp_path):
    plant(tmp_path, "ndi.planted", "from benchmarks.kit.contract import Method\nfrom .made import REWARD\nimport torch")
    plant(tmp_path, "benchmarks.run.planted", "from benchmarks import provenance\nfrom ..plan.grid import Cell")
    assert list(rooms_import_downwards(tmp_path)) == []


@pytest.mark.parametrize(
    ("law", "text", "told"),
    [
        (late_imports_say_why, "def f():\n    import torch\n", "line 2"),
        (files_are_short, "x = 1\n" * (LONGEST_FILE + 1), "401 lines"),
        (functions_are_short, "def f():\n" + "    x = 1\n" * LONGEST_FUNCTION, "f has 61 lines"),
        (functions_are_simple, "def f(x):\n" + "    if x:\n        x = 1\n" * MOST_COMPLEX, "(16 > 15)"),
    ],
)
def test_other_planted_faults_are_seen(tmp_path, law, text, told):
    plant(tmp_path, "benchmarks.run.planted", text)
    (found,) = law(tmp_path)
    assert told in found[1]


def test_a_planted_circle_is_seen(tmp_path):
    plant(tmp_path, "benchmarks.run.one", "from .two import x")
    plant(tmp_path, "benchmarks.run.two", "def f():\n    from . import three  # lazily")
    plant(tmp_path, "benchmarks.run.three", "import benchmarks.run.one")
    ((_, told),) = no_circles(tmp_path)
    assert told.count("benchmarks.run.one") == 2
    plant(tmp_path, "benchmarks.run.three", "TYPE_CHECKING = False\nif TYPE_CHECKING:\n    import benchmarks.run.one")
    assert len(list(no_circles(tmp_path))) == 1
    plant(tmp_path, "benchmarks.run.three", "import benchmarks.plan")
    assert list(no_circles(tmp_path)) == []


# --- what is imported in the end --------------------------------------------------------------------------------------


def test_only_the_data_room_imports_minari():
    users = [path for path in (ROOT / "benchmarks").rglob("*.py") if "import minari" in path.read_text()]
    assert {path.parent.name for path in users} == {"data"}


def test_the_kit_needs_torch_and_numpy_alone():
    code = """
import importlib, pkgutil, sys
import benchmarks.kit as kit
for module in pkgutil.iter_modules(kit.__path__):
    importlib.import_module(f"benchmarks.kit.{module.name}")
heavy = {"gymnasium", "mujoco", "minari", "pandas", "pyarrow", "rich", "typer"}
print(sorted(heavy & set(sys.modules)))
"""
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
