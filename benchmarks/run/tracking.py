"""Optional mirror of finished runs to Weights & Biases. Copies only: the store stays the truth, and nothing here can
stop a run.

Set WANDB_PROJECT, WANDB_ENTITY, WANDB_MODE and WANDB_DIR as usual; without a key, or where the server is not reached,
runs are kept offline in `FOLDER/wandb` until `wandb sync`.
"""

from __future__ import annotations

import importlib.util
import json
import os
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.kit.errors import in_one_line

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
    run_id = record["run_id"]
    try:
        import wandb  # an extra

        os.environ.setdefault("WANDB_SILENT", "true")
        mode = os.environ.get("WANDB_MODE") or ("online" if wandb.login(prompt=False) else "offline")
        if mode == "online" and (reason := _unreachable(_address())):
            _warn(f"{run_id} is kept offline: {reason}")  # wandb itself would go on trying, and wait at the end
            mode = "offline"
        try:
            run = _init(record, folder, mode)
        except wandb.errors.Error as error:
            if mode != "online":
                raise
            _warn(f"{run_id} is kept offline: {error}")
            run = _init(record, folder, "offline")
        run.define_metric("*", step_metric="step")
        for values in curve(evaluations, diagnostics):
            run.log(values)
        run.summary.update({key: record[key] for key in ("status", "error", "steps", "updates", "train_seconds")})
        run.finish(exit_code=0 if record["status"] == "completed" else 1)
    except Exception as error:  # whatever it is, the run itself is safe
        _warn(f"{run_id} is not mirrored to wandb: {in_one_line(error)}")


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


def _init(record: Mapping[str, Any], folder: Path, mode: str) -> Any:
    import wandb  # as above

    place(folder).parent.mkdir(parents=True, exist_ok=True)
    columns = ("task", "env_id", "method", "demos", "subsample", "seed", "dataset_id", "dataset_hash", "config_hash")
    return wandb.init(
        project=os.environ.get("WANDB_PROJECT", PROJECT),
        dir=str(place(folder).parent),
        id=record["run_id"],
        name=record["run_id"],
        group=f"{record['task']}-{record['method']}-d{record['demos']}",
        tags=[record["profile"], record["task"], record["method"]],
        config={
            **{name: record[name] for name in columns},
            "config": json.loads(record["config"]),
            "commit": record["commit"],
        },
        mode=mode,  # type: ignore[arg-type]  # wandb checks it
        resume="allow",
        settings=wandb.Settings(init_timeout=CONNECT_SECONDS),
    )


def _warn(message: str) -> None:
    warnings.warn(message.partition("\n")[0], TrackingWarning, stacklevel=3)
