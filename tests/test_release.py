"""The files of a release agree with each other; `nox -s wheel` tries the wheel itself."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PIN = re.compile(r"^([\w.-]+)==([\w.]+)", re.MULTILINE)


def text(name):
    return (ROOT / name).read_text()


def pins(name):
    return {re.sub("[-_.]+", "-", package).lower(): version for package, version in PIN.findall(text(name))}


def test_one_version():
    assert f"\nversion: {PROJECT['version']}\n" in text("CITATION.cff")
    assert re.findall(r"^## (.+)", text("CHANGELOG.md"), re.MULTILINE)[0] == PROJECT["version"]


def test_one_licence():
    assert text("LICENSE").startswith(f"{PROJECT['license']} License\n")
    assert f"\nlicense: {PROJECT['license']}\n" in text("CITATION.cff")


def test_the_lock_has_a_hash_for_every_pin_of_the_constraints_that_the_suite_needs():
    locked, constrained = pins("requirements.lock"), pins("constraints.txt")
    assert {name: constrained[name] for name in locked if name in constrained}.items() <= locked.items()
    needed = {re.match(r"[\w.-]+", requirement)[0].lower() for requirement in PROJECT["dependencies"]}
    assert needed <= locked.keys() & constrained.keys()
    entries = re.split(r"\n(?=[a-z])", text("requirements.lock").partition("\n    --")[2])
    assert all("--hash=sha256:" in entry for entry in entries)


@pytest.mark.parametrize("extra", sorted(tomllib.loads(text("pyproject.toml"))["project"]["optional-dependencies"]))
def test_every_extra_is_pinned(extra):
    needed = {re.match(r"[\w.-]+", requirement)[0].lower() for requirement in PROJECT["optional-dependencies"][extra]}
    assert needed <= pins("constraints.txt").keys()


def test_every_package_is_in_the_wheel():
    packages = tomllib.loads(text("pyproject.toml"))["tool"]["setuptools"]["packages"]
    not_shipped = {"benchmarks.perf", "benchmarks.peers", "benchmarks.peers.scripts"}
    found = {
        str(path.parent.relative_to(ROOT)).replace("/", ".")
        for top in ("benchmarks", "baselines", "ndi")
        for path in (ROOT / top).rglob("__init__.py")
    }
    assert set(packages) == found - not_shipped


def test_commits_are_checked_as_ci_does():
    assert "entry: nox -s lint\n" in text(".pre-commit-config.yaml")
    assert f'"nox=={pins("constraints.txt")["nox"]}"' in text(".pre-commit-config.yaml")
    assert re.search(r"nox --no-venv -s lint tests wheel$", text(".ci/run"), re.MULTILINE)


def test_a_users_own_environment_is_taken_as_it_is(tmp_path):
    """Nothing is installed into it: the stand-in for the command runs, and no pip does."""
    for name, body in (("ndi-bench", 'echo "$@"'), ("pip", "exit 1"), ("uv", "exit 1")):
        (tmp_path / name).write_text(f"#!/bin/sh\n{body}\n")
        (tmp_path / name).chmod(0o755)
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    command = [sys.executable, "-m", "nox", "--no-venv", "-f", str(ROOT / "noxfile.py"), "-s", "report", "--", "mine"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"PATH": path})
    assert done.returncode == 0, done.stderr
    assert "report mine" in done.stdout
