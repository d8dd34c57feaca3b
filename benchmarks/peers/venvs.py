"""One virtual environment per peer, built at first use from its pinned requirements and kept until they change."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import filelock

from benchmarks.kit.errors import UserError
from benchmarks.terminal import console

FOLDER = Path(__file__).parent
REQUIREMENTS = FOLDER / "requirements"
"""`PEER.txt` for pip, one per peer."""
HOME = "NDI_BENCH_PEERS"
"""Environment variable: where the virtual environments lie; default `.venv` in this folder, which git ignores."""


def folder(peer: str) -> Path:
    """Where the peer's environment lies: other requirements or another Python, another folder.

    Raises:
        UserError: there is no such peer.
    """
    requirements = REQUIREMENTS / f"{peer}.txt"
    if not requirements.exists():
        known = ", ".join(sorted(path.stem for path in REQUIREMENTS.glob("*.txt")))
        raise UserError(f"no peer is called {peer}; there are {known}")
    digest = hashlib.sha256(requirements.read_bytes() + sys.version.encode()).hexdigest()[:8]
    home = os.environ.get(HOME)
    return (Path(home) if home else FOLDER / ".venv") / f"{peer}-{digest}"


def interpreter(peer: str) -> Path:
    """The peer's Python, in an environment that is built if it is not there yet (minutes, and the network).

    Raises:
        UserError: there is no such peer, or pip cannot install its requirements.
    """
    place = folder(peer)
    python, complete = place / "bin" / "python", place / "complete"
    place.parent.mkdir(parents=True, exist_ok=True)
    with filelock.FileLock(f"{place}.lock"):
        if complete.exists():
            return python
        console.print(f"Building the virtual environment of {peer} in {place}", highlight=False, soft_wrap=True)
        shutil.rmtree(place, ignore_errors=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "-r", str(REQUIREMENTS / f"{peer}.txt")]
        for command in ([sys.executable, "-m", "venv", str(place)], install):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                faults = [line for line in done.stderr.splitlines() if line.startswith("ERROR")]
                reason = (faults or [f"{command[2]} failed"])[-1].removeprefix("ERROR: ")
                raise UserError(f"peer {peer}: {reason}; mend {REQUIREMENTS / peer}.txt, or leave this peer out")
        complete.touch()
    return python
