"""Files and folders that appear whole or not at all: made in a hidden place, then renamed; passing variables."""

from __future__ import annotations

import glob
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

import filelock

LOCK = ".ndi-bench.lock"
"""Held by whoever makes a folder; one lock for all folders under a root."""
PARTIAL = ".ndi-bench.partial"
"""Where it is made; Minari overlooks hidden folders."""


@contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Lend a hidden file beside `path`; it takes that place, flushed to the disk, if all went well.

    Raises:
        OSError: the folder cannot be written to.
    """
    temporary = path.with_name(f".{path.name}.{uuid4().hex}.tmp")
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    flush(path.parent)


def flush(folder: Path) -> None:
    """Flush to the disk which files a folder holds."""
    if os.name == "posix":  # elsewhere a folder cannot be flushed
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def remove_halves(path: Path) -> None:
    """Remove the hidden files that killed processes left of `path`; nobody may be writing it."""
    for half in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        half.unlink(missing_ok=True)


@contextmanager
def staged(root: Path, name: str) -> Iterator[Path | None]:
    """Lend a hidden folder in which to make `name`, and rename that to `root/name` if all went well.

    The lock allows one hidden folder at a time, so one that is found was left by a killed process and is removed.
    What else was made in the hidden folder goes with it, except small files beside the parents of `name` (Minari's
    descriptions of namespaces), which are kept if there are none yet.

    Args:
        root: existing folder.
        name: relative path of the folder to make.

    Yields:
        The hidden folder; or None if another process made `root/name` meanwhile, and there is nothing to do.

    Raises:
        OSError: the root cannot be written.
    """
    target, partial = root / name, root / PARTIAL
    with filelock.FileLock(root / LOCK):
        if target.exists():
            yield None
            return
        if partial.exists():
            shutil.rmtree(partial)
        partial.mkdir()
        try:
            yield partial
            target.parent.mkdir(parents=True, exist_ok=True)
            for parent in Path(name).parents:
                for file in (partial / parent).iterdir():
                    if file.is_file() and parent != Path() and not (root / parent / file.name).exists():
                        os.replace(file, root / parent / file.name)
            os.rename(partial / name, target)
        finally:
            shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def variables(**changes: str) -> Iterator[None]:
    """Set environment variables for a while, for libraries and processes that read nothing else."""
    previous = {name: os.environ.get(name) for name in changes}
    os.environ.update(changes)
    try:
        yield
    finally:
        for name, value in previous.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
