"""One line about every installed method, without importing any where no code has changed since they were last asked.

Importing methods means importing torch. What is kept is for the eyes alone: settings are always asked of the methods.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.kit.errors import UserError

from . import registry

if TYPE_CHECKING:
    from benchmarks.kit.contract import Method


class Entry(NamedTuple):
    """A method in the list of methods."""

    name: str
    """Registry name."""
    label: str
    """The name in tables."""
    uses: str
    """What it needs besides itself."""
    summary: str
    """One line."""


def catalogue() -> list[Entry | tuple[str, UserError]]:
    """All installed methods; a name with the error that says which package is at fault for one that cannot be loaded.

    The answer of an earlier process counts as long as the same entry points are installed and no file of a module that
    it had loaded has changed. It lies in `ndi-bench` below XDG_CACHE_HOME (~/.cache).

    Raises:
        UserError: two packages declare the same name.
    """
    points = registry.method_points()
    kept = _kept(points)
    if kept is not None:
        return list(kept)
    asked = [
        (name, method if isinstance(method, UserError) else _entry(method))
        for name, method in registry.methods().items()
    ]
    entries = [entry for _, entry in asked if isinstance(entry, Entry)]
    if len(entries) == len(asked):  # what is broken is looked at again
        _keep(points, entries)
    return [entry if isinstance(entry, Entry) else (name, entry) for name, entry in asked]


def _entry(method: Method) -> Entry:
    needs = {"demonstrations": method.demonstrations, "environment": method.online}
    needs |= {"true reward or expert": method.privileged}
    uses = ", ".join(what for what, needed in needs.items() if needed) or "nothing"
    return Entry(method.name, method.label, uses, method.summary)


def _place() -> Path | None:
    """The file of this Python and these folders of modules; None if nobody's home is known."""
    with contextlib.suppress(RuntimeError):
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        key = hashlib.sha256("\n".join([sys.version, *sys.path]).encode()).hexdigest()[:16]
        return cache / "ndi-bench" / f"methods-{key}.json"
    return None


def _stamp(file: str) -> list[int]:
    """What changes whenever a file is written to."""
    about = os.stat(file)
    return [about.st_size, about.st_mtime_ns, about.st_ctime_ns]


def _kept(points: list[str]) -> list[Entry] | None:
    place = _place()
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):  # none, or not one of this form
        if place is not None:
            kept = json.loads(place.read_bytes())
            if kept["points"] == points and all(_stamp(file) == stamp for file, stamp in kept["files"].items()):
                return [Entry(*map(str, entry)) for entry in kept["entries"]]
    return None


def _keep(points: list[str], entries: list[Entry]) -> None:
    from benchmarks.files import whole_file  # filelock: not to read what is kept

    place, files = _place(), {getattr(module, "__file__", None) for module in tuple(sys.modules.values())}
    stamps = {file: _stamp(file) for file in files if isinstance(file, str) and os.path.isfile(file)}
    with contextlib.suppress(OSError):  # the next process asks again
        if place is not None:
            with whole_file(place) as target:
                target.write(json.dumps({"points": points, "entries": entries, "files": stamps}).encode())
