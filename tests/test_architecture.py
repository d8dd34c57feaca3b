"""The house's one law, read off the import statements: methods import the kit and nothing else of the suite."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
OURS = {"benchmarks", "ndi", "baselines"}


def imported(path):
    """Absolute names of all modules of ours that a file imports, also inside functions."""
    package = path.relative_to(ROOT).with_suffix("").parts
    package = package[:-1]
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join((*base, *((node.module,) if node.module else ())))
            names |= {module} if node.module else {f"{module}.{alias.name}" for alias in node.names}
    return {name for name in names if name.partition(".")[0] in OURS}


def files(folder):
    return [pytest.param(path, id=str(path.relative_to(ROOT))) for path in sorted((ROOT / folder).rglob("*.py"))]


@pytest.mark.parametrize("path", files("ndi") + files("baselines"))
def test_methods_import_the_kit_and_their_own_package_only(path):
    package = path.relative_to(ROOT).parts[0]
    for name in imported(path):
        assert name.startswith(("benchmarks.kit", f"{package}.")) or name == package


@pytest.mark.parametrize("path", files("benchmarks/kit"))
def test_the_kit_knows_nothing_of_the_suite(path):
    assert all(name.startswith("benchmarks.kit") for name in imported(path))


@pytest.mark.parametrize("path", [p for p in files("benchmarks") if not p.id.startswith("benchmarks/perf")])
def test_the_bench_reaches_methods_by_name_only(path):
    """The timing suites are tests, and time the methods' own pieces."""
    assert not any(name.startswith(("ndi", "baselines")) for name in imported(path))


def test_only_datasets_imports_minari():
    users = [path for path in (ROOT / "benchmarks").rglob("*.py") if "import minari" in path.read_text()]
    assert [path.name for path in users] == ["datasets.py"]


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


@pytest.mark.parametrize("path", files("benchmarks") + files("ndi") + files("baselines"))
def test_files_stay_short(path):
    assert len(path.read_text().splitlines()) <= 400
