"""What has been submitted to a cluster for a results folder, as everyone may read it: `slurm/<name>/submission.json`.

The folder `slurm` holds pickles that the jobs load, and is therefore its owner's alone. Nothing here loads them.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from benchmarks.files import inside, put, read_regular
from benchmarks.kit.errors import UserError, writing
from benchmarks.store.schema import SAFE_NAME

from . import queue
from .locks import Stamps

FILE = "submission.json"


@dataclass(frozen=True)
class Submission:
    """Jobs that were submitted together."""

    jobs: Sequence[str]
    """Their numbers."""
    runs: Sequence[str]
    """Ids of the runs that they make."""
    stamps: Stamps
    """Those of the stored runs when it was decided to make these, see `Store.stamp`."""

    def write(self, place: Path) -> None:
        """Write it into the submission's folder; raises OSError."""
        put(json.dumps(asdict(self)).encode(), place, FILE)


def new_place(folder: Path) -> Path:
    """Make the folder of a new submission.

    Raises:
        UserError: the results folder cannot be written to, or others may write to what jobs load from it.
    """
    name = f"{datetime.now(UTC):%Y%m%d-%H%M%S-%f}-{uuid4().hex[:8]}"
    with writing(folder):
        Path(folder).mkdir(parents=True, exist_ok=True)
        place = inside(folder, "slurm", name)
        place.parent.mkdir(mode=0o700, exist_ok=True)
        found = place.parent.stat()
        if found.st_uid != os.getuid():
            raise UserError(f"{place.parent} is another account's, whose jobs are at work there; give another --out")
        if found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise UserError(f"{place.parent} is open to others, and jobs load what lies there; remove it")
        place.mkdir(mode=0o700)
    return place


def submissions(folder: Path) -> Iterator[tuple[Path, Submission]]:
    """The submissions of a results folder with their folders, oldest first; what is none is passed over.

    Those of another account are its own and not seen: its jobs show by what they hold and store.

    Raises:
        UserError: the folder cannot be read.
    """
    try:
        names = sorted(os.listdir(inside(folder, "slurm")))
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    except OSError as error:
        raise UserError(f"{folder} cannot be read: {error.strerror}") from None
    for name in names:
        with contextlib.suppress(
            OSError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError
        ):
            place = inside(folder, "slurm", name)
            yield place, _checked(json.loads(read_regular(place / FILE)))


def remove(place: Path, all_of_it: bool) -> None:
    """Remove what a submission has left, or only what its jobs load, so that their logs stay."""
    with contextlib.suppress(OSError):
        if all_of_it:
            shutil.rmtree(place)
        else:
            for path in place.glob("*.pkl"):
                path.unlink()
        place.parent.rmdir()


def log(place: Path, job: str) -> Path:
    """Where a job's log lies."""
    return place / f"{job}_0_log.out"


def last_error(path: Path) -> str:
    """What a job's log says last in a line that begins with "error:"; empty if nothing."""
    with contextlib.suppress(OSError):
        lines = read_regular(path)[-4000:].decode(errors="replace").splitlines()
        return next((line for line in reversed(lines) if line.startswith("error: ")), "").removeprefix("error: ")
    return ""


def _checked(found: dict[str, Any]) -> Submission:
    """A submission as it was written; raises ValueError, TypeError or AttributeError for anything else."""
    stamps = {run_id: (int(time), int(inode)) for run_id, (time, inode) in found["stamps"].items()}
    made = Submission(list(found["jobs"]), list(found["runs"]), stamps)
    named = all(isinstance(run_id, str) and SAFE_NAME.fullmatch(run_id) for run_id in made.runs)
    if not (named and all(map(queue.is_job, made.jobs))):
        raise ValueError("no submission")
    return made
