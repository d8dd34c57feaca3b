"""Who does which run: locks in the results folder, for processes and machines that share it.

`FOLDER/locks/<run_id>/` holds one empty file whose name is the holder: machine, process, the process's start, a random
word. The name makes every step one atomic system call that also works on network file systems, without any locking
service: to take a free run is to rename a ready-made folder into place (only onto nothing or an empty folder), to take
over from a dead holder is to rename that holder's own file (one rename succeeds), to give a sign of life is to touch
the file, and who finds its file gone has lost the run.

There is one clock, the file server's, which dates every sign of life and every look at one: the clocks of the machines
may show anything. It has to run steadily: if it is set forward by more than `EXPIRY_SECONDS`, holders on other machines
look silent until their next sign of life, and whoever has lost a run by that leaves it and writes nothing.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import platform
import re
import shutil
import threading
import uuid
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from benchmarks.files import inside, server_time
from benchmarks.kit.errors import UserError, writing
from benchmarks.store.store import Store

PULSE_SECONDS = 20.0
"""Time between two signs of life."""
EXPIRY_SECONDS = 300.0
"""A holder on another machine that was silent for so long is taken for dead; one on this machine is looked up."""
PATIENCE_SECONDS = EXPIRY_SECONDS + 2 * PULSE_SECONDS
"""Whoever holds a run has ended it within its own time, or is known to be dead after this."""


class Locks:
    """Runs of one results folder that this process holds; as a context it gives signs of life and lets go at the end.

    Args:
        folder: results folder.
        held: runs that are held already, with the names of their holder's files; for a worker whose parent holds them.
    """

    def __init__(self, folder: Path, held: Mapping[str, str] | None = None) -> None:
        self.folder, self.held = Path(folder), dict(held or {})

    def __enter__(self) -> Locks:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._pulse, name="locks", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()
        self.release(tuple(self.held))
        sweep(self.folder)

    def take(self, run_ids: Iterable[str]) -> set[str]:
        """Take the runs that nobody else holds, also from holders that are dead; returns those of them now held.

        Raises:
            UserError: the folder cannot be written to.
        """
        run_ids = set(run_ids)
        with writing(self.folder):
            for run_id in sorted(run_ids - set(self.held)):
                holder = _take(self._locks, run_id)
                if holder is not None:
                    self.held[run_id] = holder
        return run_ids & set(self.held)

    def confirm(self, run_ids: Iterable[str]) -> bool:
        """Give a sign of life for runs; false if another holder has one of them, because this one was silent too long.

        Ask it before anything is written for a run.
        """
        alive = [self._touch(run_id) for run_id in run_ids]
        return all(alive)

    def release(self, run_ids: Iterable[str]) -> None:
        """Let go of runs."""
        for run_id in run_ids:
            holder = self.held.pop(run_id, None)
            if holder is not None:
                with contextlib.suppress(OSError):
                    (self._locks / run_id / holder).unlink()
                    (self._locks / run_id).rmdir()

    @property
    def _locks(self) -> Path:
        """OSError if it is a link to elsewhere."""
        return inside(self.folder, "locks")

    def _touch(self, run_id: str) -> bool:
        holder = self.held.get(run_id)
        if holder is None:
            return False
        try:
            os.utime(self._locks / run_id / holder)
        except FileNotFoundError:
            self.held.pop(run_id, None)
            return False
        except OSError:  # the folder is out of reach for the moment: nobody else can have taken the run there
            return True
        return True

    def _pulse(self) -> None:
        while not self._over.wait(PULSE_SECONDS):
            self.confirm(tuple(self.held))


Stamps = Mapping[str, tuple[int, int]]
"""Run ids and what `Store.stamp` gives for them, of runs that are stored."""


def stamps_of(folder: Path, run_ids: Iterable[str]) -> Stamps:
    """The stamps of those of the runs that are stored now."""
    store = Store(folder)
    return {run_id: stamp for run_id in run_ids if (stamp := store.stamp(run_id)) is not None}


def holders(folder: Path, run_ids: Iterable[str] | None = None) -> dict[str, str]:
    """Who holds which runs, for people, by run id; those that nobody alive holds are left out.

    Args:
        folder: results folder.
        run_ids: the runs to ask for; default: all that are held.

    Raises:
        OSError: the locks cannot be looked at, or are a link to elsewhere.
    """
    locks = inside(folder, "locks")
    if run_ids is None:
        run_ids = sorted(os.listdir(locks)) if locks.is_dir() else []
    held = {run_id: holder for run_id in run_ids if (holder := _holder(locks / run_id)) is not None}
    if not held:
        return {}
    try:
        now = server_time(locks / f".{_my_name()}")
    except OSError:  # a folder to look at only: nobody has been silent for less than this
        now = max(map(_last_sign, held.values()))
    return {
        run_id: f"process {holder.process} on {holder.place.name}"
        for run_id, holder in held.items()
        if not _is_dead(holder, now)
    }


class _Place(NamedTuple):
    """Where a process is, as others tell it apart."""

    name: str
    """Name of the machine."""
    hardware: str
    """Hash of what stays when the machine is started anew."""
    boot: str
    """Hash of its last start."""
    processes: str
    """Hash of the name space of processes: only within it do two processes see each other."""


class _Holder(NamedTuple):
    """What the name of a lock's file says."""

    path: Path
    place: _Place
    process: int
    started: int
    """In ticks since the machine's start; 0 where that is not told."""


_NAME = re.compile(r"([A-Za-z0-9_-]+)-([0-9a-f]{6})-([0-9a-f]{6})-([0-9a-f]{6})\.([1-9]\d{0,8})\.(\d+)\.[0-9a-f]{8}")


def _my_name() -> str:
    """A new name for a file of this process."""
    return f"{'-'.join(_here())}.{os.getpid()}.{_started(os.getpid()) or 0}.{uuid.uuid4().hex[:8]}"


def _read(path: Path) -> _Holder | None:
    """What a file's name says of its holder; None if it is no lock."""
    found = _NAME.fullmatch(path.name.removeprefix("."))
    return found and _Holder(path, _Place(*found.group(1, 2, 3, 4)), int(found[5]), int(found[6]))


def _take(locks: Path, run_id: str) -> str | None:
    """Take one run; the name of the new holder's file, or None if another holder is alive."""
    mine = _my_name()
    place, ready = locks / run_id, locks / f".{mine}"
    while True:
        locks.mkdir(parents=True, exist_ok=True)
        try:
            ready.mkdir()
            break
        except FileNotFoundError:  # somebody who let go of the last lock removed the folder
            continue
    try:
        (ready / mine).touch()
        now = (ready / mine).stat().st_mtime  # the file server's clock, which also dates the other's signs of life
        for _ in range(3):  # each time round, another holder came or went in between
            try:
                ready.rename(place)
                return mine
            except OSError as error:
                if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):  # not to be asked again: it may be gone by now
                    raise
            other = _holder(place)
            if other is None:
                with contextlib.suppress(OSError):
                    place.rmdir()  # where a folder cannot be renamed onto an empty one
                continue
            if not _is_dead(other, now):
                return None
            try:
                os.utime(other.path)  # first: under its new name it must not look silent to a third
                other.path.rename(place / mine)
                return mine
            except FileNotFoundError:
                continue
        strangers = [name for name in names(place) if _read(place / name) is None]
        if strangers:
            raise UserError(f"{place / strangers[0]} is no lock of this suite; remove it")
        return None
    finally:
        shutil.rmtree(ready, ignore_errors=True)


def sweep(folder: Path) -> None:
    """Remove what killed processes left among a folder's locks; what is no lock stays, or lies behind a link."""
    with contextlib.suppress(OSError):
        locks = inside(folder, "locks")
        now = server_time(locks / f".{_my_name()}")
        for place in locks.iterdir():
            holder = _read(place) if place.name.startswith(".") else _holder(place)
            if holder is not None and not _is_dead(holder, now):
                continue
            with contextlib.suppress(OSError):
                if holder is not None:
                    if holder.path.is_dir():  # half made
                        shutil.rmtree(holder.path)
                    else:
                        holder.path.unlink()
                if not place.is_symlink():
                    place.rmdir()
        locks.rmdir()


def names(place: Path) -> list[str]:
    """What lies in a folder; nothing if it is not there, or a link to elsewhere."""
    try:
        return [] if place.is_symlink() else sorted(os.listdir(place))
    except (FileNotFoundError, NotADirectoryError):
        return []


def _holder(place: Path) -> _Holder | None:
    """Whose lock lies in a run's folder, alive or not."""
    found = (_read(place / name) for name in names(place))
    return next((holder for holder in found if holder is not None), None)


def _last_sign(holder: _Holder) -> float:
    """When a holder last gave a sign of life, by the file server's clock; 0 if it has gone."""
    try:
        return holder.path.lstat().st_mtime
    except FileNotFoundError:
        return 0.0


def _is_dead(holder: _Holder, now: float) -> bool:
    """Whether the holder of a lock is gone: its process has ended, or it was silent too long where none can look."""
    here, there = _here(), holder.place
    silent = now - _last_sign(holder)
    if there[:2] != here[:2]:
        return silent > EXPIRY_SECONDS
    if there.boot != here.boot:  # this machine was started anew since, or another one has its name and address
        return silent > 3 * PULSE_SECONDS
    if there.processes != here.processes:
        return silent > EXPIRY_SECONDS
    current = _started(holder.process)
    return current is None or (0 not in (holder.started, current) and holder.started != current)


@cache
def _here() -> _Place:
    name = re.sub(r"[^A-Za-z0-9_-]", "-", platform.node())[:60] or "machine"
    address = uuid.getnode()
    boot, space = "", ""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text()
        space = os.readlink("/proc/self/ns/pid")
    # an address with this bit set is random, made up by Python because the machine has none
    parts = ("" if address >> 40 & 1 else str(address), boot, space)
    return _Place(name, *(hashlib.sha256(part.encode()).hexdigest()[:6] for part in parts))


def _started(process: int) -> int | None:
    """When a process of this machine began, in ticks since boot; 0 where that is not told; None if it has ended."""
    try:
        fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
        return None if fields[0] in "ZX" else int(fields[19])  # a zombie has ended, though it is still listed
    except (OSError, IndexError, ValueError):
        pass
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return 0
