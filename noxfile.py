"""Sessions of the suite: `nox -s reproduce` runs the main job, `nox -s tests` the tests; `nox --list` shows all.

Every session installs the package in editable mode with the exact pins of `constraints.txt`. Cluster users with a
torch of their own add `--no-venv`: nothing is installed then, and a session runs in the environment that nox is in.
"""

import os
import shutil
from pathlib import Path

import nox

nox.options.default_venv_backend = "uv|venv"  # uv, where it is, installs in seconds what takes pip minutes
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "tests"]

for option in ("FIND_LINKS", "EXTRA_INDEX_URL"):  # uv shall see what pip sees
    if f"PIP_{option}" in os.environ:
        os.environ.setdefault(f"UV_{option}", os.environ[f"PIP_{option}"])
os.environ.setdefault("UV_INDEX_STRATEGY", "unsafe-best-match")  # and choose as pip does

# One torch thread a process: the runner starts one process per core, and more threads would only fight for them.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
# Ctrl-C reaches all of them; nox would end them after 0.3 s, before cells have saved themselves and said how to go on.
PATIENT = {"interrupt_timeout": 120.0, "terminate_timeout": 30.0}
# One process more than cores, since tests of a cluster mostly wait for it; `-- -n 0` runs them in one.
IN_PARALLEL = ("-n", str(min(4, 1 + (os.cpu_count() or 1))), "--dist", "worksteal")
SOURCES = ("benchmarks", "baselines", "ndi", "tests", "conftest.py", "noxfile.py")


def install(session: nox.Session, *extras: str) -> None:
    """Install the checkout, with the pinned version of everything, unless the user brings an environment."""
    if not session.virtualenv.is_sandboxed:
        return
    target = f".[{','.join(extras)}]" if extras else "."
    session.install("-q", "-e", target, "-c", "constraints.txt")


@nox.session
def reproduce(session: nox.Session) -> None:
    """Run a profile (default `quick`) and print the comparison table; arguments go to `ndi-bench run`."""
    install(session)
    session.run("ndi-bench", "run", *session.posargs, env=ONE_THREAD, **PATIENT)


@nox.session
def report(session: nox.Session) -> None:
    """Build tables and figures from the stored rows; arguments go to `ndi-bench report`."""
    install(session)
    session.run("ndi-bench", "report", *session.posargs)


@nox.session
def experts(session: nox.Session) -> None:
    """Train or list experts; arguments go to `ndi-bench experts`, such as `train hopper` (default: `list`)."""
    install(session)
    session.run("ndi-bench", "experts", *(session.posargs or ["list"]), env=ONE_THREAD, **PATIENT)


@nox.session
def tests(session: nox.Session) -> None:
    """Run the tests; arguments go to pytest."""
    install(session, "dev", "wandb", "slurm")
    session.run("pytest", *IN_PARALLEL, *session.posargs, env=ONE_THREAD)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and types."""
    install(session, "dev", "wandb")
    session.run("ruff", "check", *SOURCES)
    session.run("ruff", "format", "--check", *SOURCES)
    session.run("mypy")


@nox.session(venv_backend="venv")  # with pip, as in the image
def wheel(session: nox.Session) -> None:
    """Build and install the wheel as the Dockerfile does, then run and report `smoke` in an empty folder.

    With `--no-venv` it takes the place of the checkout in the environment that nox is in.
    """
    folder = Path(session.create_tmp())
    shutil.rmtree(folder)
    checkout = shutil.copytree(".", folder / "suite", ignore=shutil.ignore_patterns(".*", "results", "build", "dist"))
    empty = folder / "work"
    empty.mkdir()
    steps = [line.removeprefix("RUN ") for line in Path("Dockerfile").read_text().splitlines() if "RUN pip" in line]
    session.run("pip", "uninstall", "--quiet", "--yes", "ndi-bench")  # else pip keeps a wheel of the same version
    with session.chdir(checkout):
        for step in steps:
            # what is not imported need not be compiled; pip's variable wants "no" for that
            session.run("sh", "-c", step, external=True, env={"PIP_NO_COMPILE": "no"})
    with session.chdir(empty):
        session.run("ndi-bench", "run", "--profile", "smoke", env=ONE_THREAD)
        session.run("ndi-bench", "report", "results/smoke")


@nox.session
def bench(session: nox.Session) -> None:
    """Time the hot paths and compare with the stored baseline; `--save` stores one, other arguments go to pytest."""
    install(session, "dev")
    session.run("python", "-m", "benchmarks.perf", *session.posargs, env=ONE_THREAD)


@nox.session
def growth(session: nox.Session) -> None:
    """Measure and draw how time and memory grow with lanes, batch and observation size."""
    install(session, "dev")
    session.run("python", "-m", "benchmarks.perf.growth", *session.posargs, env=ONE_THREAD)


@nox.session
def peers(session: nox.Session) -> None:
    """Compare speed and returns with other libraries; arguments go to `python -m benchmarks.peers`, see its README."""
    install(session)
    session.run("python", "-m", "benchmarks.peers", *session.posargs, env=ONE_THREAD)


@nox.session
def regression(session: nox.Session) -> None:
    """Train every method on tiny tasks with fixed seeds and hold it to its threshold."""
    install(session, "dev")
    session.run("pytest", *IN_PARALLEL, "-m", "learning", "--durations=0", *session.posargs, env=ONE_THREAD)


@nox.session
def gate(session: nox.Session) -> None:
    """Is the code worse than the stored reference? See `benchmarks/gate.md`; arguments go to `ndi-bench gate`."""
    install(session)
    session.run("ndi-bench", "gate", *session.posargs, env=ONE_THREAD, **PATIENT)


@nox.session
def pages(session: nox.Session) -> None:
    """Write the tables of README and method pages anew, from stored rows, settings and model cards."""
    install(session)
    session.run("python", "tests/pages.py")


@nox.session(venv_backend="venv")
def lock(session: nox.Session) -> None:
    """Write `constraints.txt` and `requirements.lock` anew, from an environment without pins; then run the tests."""
    session.install("-e", ".[dev,wandb,hub,slurm,video]", "torch==2.13.0", "mujoco==4.0.0", "uv")
    frozen = session.run("pip", "freeze", "--exclude-editable", silent=True) or ""
    lines = sorted(line.split("+cpu")[0] for line in frozen.splitlines() if "==" in line and not line.startswith("-e"))
    with open("constraints.txt", "w") as file:
        file.write(
            "# Made by `nox -s lock`: the versions that CI and every nox session use.\n" + "\n".join(lines) + "\n"
        )
    # with hashes, for all platforms, and what of CUDA the plain torch brings on Linux
    options = ("--generate-hashes", "--universal", "--python-version", "3.11", "--no-annotate", "--quiet")
    header = ("--custom-compile-command", "nox -s lock")
    target = ("--constraint", "constraints.txt", "--output-file", "requirements.lock")
    session.run("uv", "pip", "compile", "pyproject.toml", *options, *header, *target)
