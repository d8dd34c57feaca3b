"""Optional mirror to Weights & Biases: finished runs, on demand curves under way, and reports with their films.

Copies only: the store stays the truth, and nothing here can stop a run.

Set WANDB_PROJECT, WANDB_ENTITY, WANDB_MODE and WANDB_DIR as usual; without a key, or where the server is not reached,
runs are kept offline in `FOLDER/wandb` until `wandb sync`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.files import inside
from benchmarks.kit.errors import in_one_line
from benchmarks.plan.grid import Cell

from .record import Record

PROJECT = "ndi-bench"
"""Project on Weights & Biases, unless WANDB_PROJECT names another."""
CONNECT_SECONDS = 5
"""How long to wait for the server before a run is kept offline."""


class TrackingWarning(UserWarning):
    """A run is stored but not mirrored, or not where it was meant to be."""


def missing() -> str | None:
    """Why the mirror cannot work here, in one line; None if it can. Imports nothing."""
    if importlib.util.find_spec("wandb") is None:
        return 'wandb is not installed, so runs are not mirrored; pip install "ndi-bench[wandb]"'
    return None


def place(folder: Path) -> Path:
    """Where wandb's files of a results folder lie."""
    return Path(os.environ.get("WANDB_DIR") or folder) / "wandb"


def offline(folder: Path) -> list[Path]:
    """The runs that are kept there until they are synced."""
    return [path for path in sorted(place(folder).glob("offline-run-*")) if not list(path.glob("*.wandb.synced"))]


def mirror(
    record: Mapping[str, Any],
    evaluations: Sequence[Mapping[str, Any]],
    folder: Path,
    diagnostics: Sequence[Mapping[str, float]] = (),
) -> None:
    """Copy one stored run; warns `TrackingWarning` if that fails.

    Args:
        record: the run's columns.
        evaluations: its rows.
        folder: results folder; wandb's files go into its `wandb` folder, or that of WANDB_DIR.
        diagnostics: what the method said at its evaluations, such as losses, with "step" and "update".
    """
    columns = ("task", "env_id", "method", "demos", "draw", "subsample", "seed", "dataset_id", "dataset_hash",
               "config_hash")  # fmt: skip
    config = {name: record[name] for name in columns}
    config |= {"config": json.loads(record["config"]), "commit": record["commit"]}
    tags = [record["profile"], record["task"], record["method"]]
    with _never_stopping(record["run_id"]):
        run = _begun(record["run_id"], folder, group=_group(record), tags=tags, config=config)
        run.define_metric("*", step_metric="step")
        for values in curve(evaluations, diagnostics):
            run.log(values)
        run.summary.update({key: record[key] for key in ("status", "error", "steps", "updates", "train_seconds")})
        run.finish(exit_code=0 if record["status"] == "completed" else 1)


class Live:
    """The curves of a cell while it is under way: one run on Weights & Biases, with a line for every seed.

    It stands in the group of the cell's runs, which are mirrored when they have ended.

    Args:
        cell: the cell.
        folder: results folder.
    """

    def __init__(self, cell: Cell, folder: Path) -> None:
        first, self.name, self._run = cell.first, f"{cell.cell_id}-live", None
        columns = {"task": first.task.name, "method": first.method, "demos": first.demos}
        with _never_stopping(self.name):
            self._run = _begun(self.name, folder, group=_group(columns), job_type="live", config=columns)
            self._run.define_metric("*", step_metric="step")

    def tell(self, record: Record) -> None:
        """Log the evaluation just made, of the lanes that have not ended."""
        values: dict[str, Any] = {"step": record.steps, "update": record.updates}
        for lane in record.alive if self._run is not None else ():
            *_, last = curve(record.evaluations[lane], record.diagnostics[lane])
            seed = record.cell.seeds[lane]
            values |= {f"{name}/seed {seed}": value for name, value in last.items() if name not in values}
        if self._run is not None:
            with _never_stopping(self.name):
                self._run.log(values)

    def close(self) -> None:
        """End it; the cell may have been left before its end."""
        if self._run is not None:
            with _never_stopping(self.name):
                self._run.finish()


def share(folder: Path) -> None:
    """Copy the page of a results folder and its films as artifacts, in a run of their own; warns as `mirror` does."""
    page = folder / "report.html"
    films = [path for path in sorted((folder / "films").glob("*")) if path.is_file()]
    kinds = {"report": [page] if page.is_file() else [], "films": films}
    name = re.sub(r"[^\w.-]+", "-", f"report-{folder.resolve().name}")
    with _never_stopping(name):
        import wandb  # as in `_begun`

        run = _begun(name, folder, job_type="report")
        for kind, files in kinds.items():
            paths = [path for path in files if not path.is_symlink()]
            if paths:
                artifact = wandb.Artifact(re.sub("^report", kind, name), type=kind)
                for path in paths:
                    artifact.add_file(str(path), name=path.name)
                run.log_artifact(artifact)
        run.finish()


def curve(
    evaluations: Sequence[Mapping[str, Any]], diagnostics: Sequence[Mapping[str, float]] = ()
) -> Iterator[dict[str, Any]]:
    """Per evaluation, in time order: step, update, means over episodes, and the diagnostics of that update."""
    said = {(one["step"], one["update"]): one for one in diagnostics}
    for at, rows in groupby(evaluations, key=lambda row: (row["step"], row["update"])):
        episodes = list(rows)
        means = {name: fmean(row[name] for row in episodes) for name in ("return", "normalized", "length")}
        yield {"step": at[0], "update": at[1], **means, **said.get(at, {})}


def _address() -> str:
    """Of the server, as wandb has it from its settings and WANDB_BASE_URL."""
    import wandb  # as above

    return str(wandb.setup().settings.base_url)


def _unreachable(address: str) -> str | None:
    """Why the server cannot be reached, in one line; None if it answers, whatever it says."""
    try:
        urllib.request.urlopen(address, timeout=CONNECT_SECONDS).close()
    except urllib.error.HTTPError as error:
        error.close()
    except (OSError, ValueError) as error:
        return f"{address} is not reached ({in_one_line(error)})"
    return None


def _group(columns: Mapping[str, Any]) -> str:
    """What the runs of a cell share."""
    return f"{columns['task']}-{columns['method']}-d{columns['demos']}"


@contextmanager
def _never_stopping(name: str) -> Iterator[None]:
    """Whatever goes wrong is a warning: the runs themselves are safe."""
    try:
        yield
    except Exception as error:  # wandb raises all kinds
        _warn(f"{name} is not mirrored to wandb: {in_one_line(error)}")


def _begun(name: str, folder: Path, **details: Any) -> Any:
    """A run on the server, or offline where there is no key or no server."""
    import wandb  # an extra

    os.environ.setdefault("WANDB_SILENT", "true")
    mode = os.environ.get("WANDB_MODE") or ("online" if wandb.login(prompt=False) else "offline")
    if mode == "online" and (reason := _unreachable(_address())):
        _warn(f"{name} is kept offline: {reason}")  # wandb itself would go on trying, and wait at the end
        mode = "offline"
    if not os.environ.get("WANDB_DIR"):
        inside(folder, "wandb")  # wandb itself would follow a link
    place(folder).parent.mkdir(parents=True, exist_ok=True)
    begin = partial(
        wandb.init,
        project=os.environ.get("WANDB_PROJECT", PROJECT),
        dir=str(place(folder).parent),
        id=name,
        name=name,
        resume="allow",
        settings=wandb.Settings(init_timeout=CONNECT_SECONDS),
        **details,
    )
    try:
        return begin(mode=mode)  # type: ignore[arg-type]  # wandb checks it
    except wandb.errors.Error as error:
        if mode != "online":
            raise
        _warn(f"{name} is kept offline: {error}")
        return begin(mode="offline")


def _warn(message: str) -> None:
    warnings.warn(message.partition("\n")[0], TrackingWarning, stacklevel=3)
