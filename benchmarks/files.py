"""Files and folders that appear whole or not at all, in places that are no links; regular files alone; variables."""

from __future__ import annotations

import errno
import glob
import os
import shutil
import stat
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


def inside(folder: Path, *names: str) -> Path:
    """Where to write a file, or make a folder, below a folder that others may have written to.

    The folder itself may be a symbolic link; nothing below it may be, so that whatever is written stays in it.

    Args:
        folder: a results folder, say; it need not exist.
        names: the way from there, one name for every part.

    Raises:
        OSError: a part is a symbolic link, a pipe or a device, or its name leads elsewhere; names the part.
    """
    place = Path(folder)
    for name in names:
        if name in ("", ".", "..") or Path(name).name != name:
            raise OSError(errno.EINVAL, f"{name!r} is no name of a file", str(place))
        place /= name
        try:
            mode = place.lstat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            continue
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            kind = "a symbolic link" if stat.S_ISLNK(mode) else "no regular file"
            raise OSError(errno.ELOOP, f"{place} is {kind}, which is not followed; remove it", str(place))
    return place


def read_regular(path: Path | str) -> bytes:
    """All of a regular file, at once; a pipe or a device is refused instead of waited for.

    Raises:
        OSError: it cannot be read, or is something else.
    """
    descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "it is no regular file", str(path))
    with open(descriptor, "rb", buffering=0) as file:
        return file.read()


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


def put(content: bytes, folder: Path, *names: str) -> Path:
    """Write a whole file below a folder that others may have written to; see `inside`.

    Returns:
        The file written.

    Raises:
        OSError: as `inside` and `whole_file`.
    """
    path = inside(folder, *names)
    with whole_file(path) as file:
        file.write(content)
    return path


def flush(folder: Path) -> None:
    """Flush to the disk which files a folder holds."""
    if os.name == "posix":  # elsewhere a folder cannot be flushed
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def server_time(probe: Path) -> float:
    """Now, in seconds since the epoch, by the clock that dates files where `probe` would lie: the file server's.

    Machines that share a folder compare ages of files by this one clock, whatever their own say.

    Args:
        probe: file that is made and removed for it.

    Raises:
        OSError: the folder cannot be written to.
    """
    try:
        with open(probe, "xb") as file:
            return os.fstat(file.fileno()).st_mtime
    finally:
        probe.unlink(missing_ok=True)


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
