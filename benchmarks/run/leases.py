"""Who is doing which run: leases in the results folder, for processes and machines that share it.

`FOLDER/locks/<run_id>/` holds one empty file whose name is the holder: machine, process, the process's start, a random
word. The name makes every step one atomic system call that also works on network file systems, without any locking
service: to take a free run is to rename a ready-made folder into place (only onto nothing or an empty folder), to take
over from a dead holder is to rename that holder's own file (one rename succeeds), to give a sign of life is to touch
the file, and who finds its file gone has lost the run.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import re
import shutil
import threading
import time
import uuid
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import NamedTuple

from benchmarks.kit.errors import UserError

PULSE_SECONDS = 20.0
"""Time between two signs of life."""
EXPIRY_SECONDS = 300.0
"""A holder on another machine that was silent for so long is taken for dead; one on this machine is looked up."""


class Leases:
    """Runs of one results folder that this process holds; as a context it gives signs of life and lets go at the end.

    Args:
        folder: results folder.
        held: runs that are held already, with the names of their holder's files; for a worker whose parent holds them.
    """

    def __init__(self, folder: Path, held: Mapping[str, str] | None = None) -> None:
        self.folder, self.held = Path(folder), dict(held or {})

    def __enter__(self) -> Leases:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._pulse, name="leases", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()
        self.release(tuple(self.held))
        _sweep(self._locks)

    def take(self, run_ids: Iterable[str]) -> set[str]:
        """Take the runs that nobody else holds, also from holders that are dead; returns those of them now held.

        Raises:
            UserError: the folder cannot be written to.
        """
        run_ids = set(run_ids)
        try:
            for run_id in sorted(run_ids - set(self.held)):
                holder = _take(self._locks, run_id)
                if holder is not None:
                    self.held[run_id] = holder
        except OSError as error:
            raise UserError(
                f"cannot write to {self.folder}: {error.strerror}; make room there or choose another --out"
            ) from None
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
        return self.folder / "locks"

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


def holder_of(folder: Path, run_id: str) -> str | None:
    """Who holds a run, for people; None if nobody does or the holder is dead. Writes nothing."""
    place = Path(folder) / "locks" / run_id
    name = _holder(place)
    if name is None or _is_dead(place / name, time.time()):
        return None
    place_of, process, _, _ = name.rsplit(".", 3)
    return f"process {process} on {place_of.rsplit('-', 3)[0]}"


def _take(locks: Path, run_id: str) -> str | None:
    """Take one run; the name of the new holder's file, or None if another holder is alive."""
    mine = f"{'-'.join(_here())}.{os.getpid()}.{_started(os.getpid()) or 0}.{uuid.uuid4().hex[:8]}"
    place, ready = locks / run_id, locks / f".{mine}"
    ready.mkdir(parents=True)
    try:
        (ready / mine).touch()
        now = (ready / mine).stat().st_mtime  # the file server's clock, which also dates the other's signs of life
        for _ in range(3):  # each time round, another holder came or went in between
            try:
                ready.rename(place)
                return mine
            except OSError:
                if not place.is_dir():
                    raise
            other = _holder(place)
            if other is None:
                with contextlib.suppress(OSError):
                    place.rmdir()  # where a folder cannot be renamed onto an empty one
                continue
            if not _is_dead(place / other, now):
                return None
            try:
                (place / other).rename(place / mine)
                os.utime(place / mine)
                return mine
            except FileNotFoundError:
                continue
        return None
    finally:
        shutil.rmtree(ready, ignore_errors=True)


def _sweep(locks: Path) -> None:
    """Remove what killed processes left, and the folder if nothing else is in it."""
    now = time.time()
    with contextlib.suppress(OSError):
        for place in locks.iterdir():
            if place.name.startswith("."):  # half made
                if _is_dead(place, now):
                    shutil.rmtree(place, ignore_errors=True)
                continue
            holder = _holder(place)
            with contextlib.suppress(OSError):
                if holder is not None and _is_dead(place / holder, now):
                    (place / holder).unlink()
                place.rmdir()
        locks.rmdir()


def _holder(place: Path) -> str | None:
    """Name of the file in a run's folder of leases, alive or not."""
    try:
        return min((name for name in os.listdir(place) if name.count(".") >= 3), default=None)
    except (FileNotFoundError, NotADirectoryError):
        return None


def _is_dead(path: Path, now: float) -> bool:
    """Whether the holder of a lease is gone: its process has ended, or it was silent too long where none can look."""
    where, process, started, _ = path.name.removeprefix(".").rsplit(".", 3)
    here, there = _here(), _Place(*where.rsplit("-", 3)) if where.count("-") >= 3 else None
    try:
        silent = now - path.stat().st_mtime
    except FileNotFoundError:
        return True
    if there is None or there[:2] != here[:2] or not process.isdigit():
        return silent > EXPIRY_SECONDS
    if there.boot != here.boot:  # this machine was started anew since
        return True
    if there.processes != here.processes:
        return silent > EXPIRY_SECONDS
    current = _started(int(process))
    return current is None or (str(current) != started and started != "0")


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
    if Path("/proc/self/stat").exists():
        return None
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return 0
