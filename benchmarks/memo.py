"""Answers that depend on installed code alone, kept from one process to the next.

To list methods one must import them, and torch with them; the answer is the same until code changes. It counts as long
as every installed distribution is as it was, and every Python file outside of them that had been read when it was
given. They lie in `ndi-bench/answers` below XDG_CACHE_HOME (~/.cache).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
import sysconfig
import time
from collections.abc import Callable, Iterable
from functools import cache
from pathlib import Path
from typing import TypeVar

Answer = TypeVar("Answer")

_BEGAN = time.time()
"""Of a file that has changed since, this process may have read either content."""
MOST = 200
"""Answers that are kept; the oldest make room."""


def remembered(question: str, answer: Callable[[], Answer]) -> Answer:
    """The answer to a question as it was given the last time, or anew if any code has changed since.

    Args:
        question: stands for all that the answer depends on, but for code.
        answer: gives it: numbers, text, lists and dictionaries with text as keys. What it raises is not kept.
    """
    path = _path(question)
    if path is None:
        return answer()
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):  # none is kept, or not by this version
        kept = json.loads(path.read_bytes())
        if kept["code"] == _digest(kept["files"]):
            found: Answer = kept["answer"]
            return found
    from .files import whole_file  # filelock: not to read

    given = answer()
    with contextlib.suppress(OSError):  # it is answered all the same
        files = _sources()
        if any(os.stat(file).st_mtime > _BEGAN for file in files):
            return given
        content = {"question": question, "files": files, "code": _digest(files), "answer": given}
        with whole_file(path) as file:
            file.write(json.dumps(content).encode())
        for old in sorted(path.parent.glob("*.json"), key=lambda old: old.stat().st_mtime)[:-MOST]:
            old.unlink(missing_ok=True)
    return given


def _path(question: str) -> Path | None:
    """Where an answer is kept, for this Python and these folders of modules; None if there is no such place."""
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    except RuntimeError:  # nobody's home is known
        return None
    asked = "\n".join([question, sys.version, *sys.path])
    return cache / "ndi-bench" / "answers" / f"{hashlib.sha256(asked.encode()).hexdigest()[:24]}.json"


@cache
def _installed() -> tuple[str, ...]:
    """How the paths of files begin that change only with a distribution, or with Python itself."""
    paths = [sysconfig.get_paths()[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")]
    return tuple({os.path.join(place, "") for path in paths for place in (path, os.path.realpath(path))})


def _sources() -> list[str]:
    """All Python files outside of these that this process has read."""
    files = {getattr(module, "__file__", None) for module in tuple(sys.modules.values())}
    outside = [file for file in files if isinstance(file, str) and not file.startswith(_installed())]
    # torch has modules of files that do not exist
    return sorted(file for file in outside if file.endswith(".py") and os.path.isabs(file) and os.path.isfile(file))


def _digest(files: Iterable[str]) -> str:
    """Digest of the distributions and of the contents of some files; OSError if one is gone."""
    return hashlib.sha256("\n".join([*_distributions(), *(_content(file) for file in files)]).encode()).hexdigest()


@cache
def _content(file: str) -> str:
    return f"{file} {hashlib.sha256(Path(file).read_bytes()).hexdigest()}"


@cache
def _distributions() -> tuple[str, ...]:
    """What is installed, with the time at which it was."""
    found = []
    for folder in dict.fromkeys(sys.path):
        with contextlib.suppress(OSError):
            entries = [entry for entry in os.scandir(folder or ".") if entry.name.endswith((".dist-info", ".egg-info"))]
            found += [f"{folder}/{entry.name} {entry.stat().st_mtime_ns}" for entry in entries]
    return tuple(sorted(found))
