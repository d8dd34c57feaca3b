"""What has been submitted to a cluster for a results folder, as everyone may read it: `slurm/<name>/submission.json`.

The folder `slurm` holds pickles that the jobs load, and is therefore its owner's alone. Nothing here loads them.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import stat
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated
from uuid import uuid4

from pydantic import Field, TypeAdapter

from benchmarks.files import inside, put, read_regular
from benchmarks.kit.errors import UserError, writing

from .locks import Stamps
from .notes import Name

FILE = "submission.json"


@dataclass(frozen=True)
class Submission:
    """Jobs that were submitted together."""

    jobs: list[Annotated[str, Field(pattern=r"^\d+(_\d+)?$")]]
    """Their numbers, such as 12_3 for one of an array."""
    runs: list[Name]
    """Ids of the runs that they make."""
    stamps: Stamps
    """Those of the stored runs when it was decided to make these, see `Store.stamp`."""

    def write(self, place: Path) -> None:
        """Write it into the submission's folder; raises OSError."""
        put(json.dumps(asdict(self)).encode(), place, FILE)


_SUBMISSIONS = TypeAdapter(Submission)


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
        with contextlib.suppress(OSError, ValueError):
            place = inside(folder, "slurm", name)
            yield place, _SUBMISSIONS.validate_json(read_regular(place / FILE), strict=True)


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
