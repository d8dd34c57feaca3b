"""Stored runs at work again: their final policies replayed as they were evaluated, and filmed beside the expert."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.data import datasets
from benchmarks.data.rendering import Clip, film
from benchmarks.files import inside
from benchmarks.kit.errors import UserError, writing
from benchmarks.plan import registry
from benchmarks.store import policies
from benchmarks.store.store import Store
from benchmarks.tasks import Task

from .machine import is_here
from .policies import Played, Sampled, play, unpacked

SECONDS = 4.0
"""Length of a film in a report."""


def replay(
    store: Store, record: Mapping[str, Any], device: str | None = None, sampled: bool = False, task: Task | None = None
) -> tuple[Played, np.ndarray]:
    """The last evaluation of a stored run anew, from its kept policy, and the returns (E,) that are stored.

    Args:
        store: where the run is.
        record: its columns.
        device: where the policy computes; default: where it was evaluated.
        sampled: draw the actions from the policy, where runs are evaluated by their mean.
        task: the run's own; default: the registered one of its name.

    Raises:
        UserError: no policy was kept, it is not the one that was stored, there is no such device here, or the
            environment cannot be used.
    """
    device = device or str(record["device"]).partition(" ")[0]
    if not is_here(device):
        raise UserError(f"the run was evaluated on {record['device']} and there is no {device} here; give --device cpu")
    task, data = task or _registered(record), policies.read(store.folder, record)
    rows = store.evaluations()
    stored = rows.loc[(rows["run_id"] == record["run_id"]) & rows["final"], "return"].to_numpy()
    lanes = int(record["lanes"])
    policy, _ = unpacked(data, lanes, device)
    torch.set_num_threads(1)  # as runs are evaluated
    try:
        return play(task, Sampled(policy, lanes, device) if sampled else policy, lanes, len(stored), device), stored
    except (RuntimeError, ValueError) as error:  # the task of the same name is another one
        reason = str(error).partition("\n")[0]
        raise UserError(f"the policy of {record['run_id']} does not fit {task.name} as it is here: {reason}") from error


def film_run(
    store: Store,
    record: Mapping[str, Any],
    path: Path,
    episode: int = 0,
    seconds: float = np.inf,
    task: Task | None = None,
) -> None:
    """Film an evaluation episode of a stored run beside the expert's from the same start.

    Raises:
        UserError: as `replay`; there is no such episode, no renderer, or the file cannot be written.
    """
    task = task or _registered(record)
    played, _ = replay(store, record, task=task)
    own = _clip(played, episode, f"{record['label']}, seed {record['seed']}")
    film(task, [own, *_of_the_expert(task, episode)], path, seconds)


def _registered(record: Mapping[str, Any]) -> Task:
    """The task of a row's name; a row may be anybody's, so that no module is imported for it."""
    name = record["task"]
    if ":" in name:
        raise UserError(f"{record['run_id']}: its task {name!r} is no name, and no module is imported for a stored row")
    return registry.find_task(name)


def film_expert(task: Task, path: Path, episode: int) -> None:
    """Film an evaluation episode of the expert of a task that has one.

    Raises:
        UserError: the environment cannot be used or rendered, or the file cannot be written.
    """
    film(task, _of_the_expert(task, episode), path)


def film_medians(store: Store, tell: Callable[[str], None]) -> None:
    """Film the run of the median seed of every task, method and setting, in `films/` of the results folder.

    Runs whose policy was not kept, or is not there, have no part in it; a film that is newer than its policy is left
    as it is.

    Args:
        store: where the runs are.
        tell: told of every film, and of what has none.

    Raises:
        UserError: as `film_run`.
    """
    runs, averages = store.averages()
    final = averages[averages["final"]].set_index("run_id")["return"]
    kept = runs[runs["policy_sha256"].notna() & runs["run_id"].isin(final.index)]
    kept = kept[[not policies.is_missing(store.folder, {"run_id": one}) for one in kept["run_id"]]]
    if kept.empty:
        raise UserError(f"no run in {store.folder} has a policy there to be filmed; those of older versions have none")
    kept = kept.assign(final=kept["run_id"].map(final))
    for _, group in kept.groupby(["task", "method", "demos", "config_hash"]):
        ranked = group.sort_values("final").to_dict("records")
        record = {str(key): value for key, value in ranked[(len(ranked) - 1) // 2].items()}
        path = place(store.folder, f"{record['run_id']}.webp")
        with writing(path.parent):
            policy = policies.place(store.folder, record["run_id"])
            if path.exists() and path.stat().st_mtime > policy.stat().st_mtime:
                continue
        tell(f"filming {record['run_id']}")
        film_run(store, record, path, seconds=SECONDS)


def place(folder: Path, name: str) -> Path:
    """Where a film of this name lies in a results folder.

    Raises:
        UserError: something there is a symbolic link, which is not followed.
    """
    with writing(folder / "films"):
        return inside(folder, "films", name)


def _of_the_expert(task: Task, episode: int) -> list[Clip]:
    expert = datasets.demonstrator(task)
    return [] if expert is None else [_clip(play(task, expert, episodes=episode + 1), episode, "Expert")]


def _clip(played: Played, episode: int, name: str) -> Clip:
    if episode >= len(played.actions):
        raise UserError(f"--episode {episode}: there is no such episode; the last one is {len(played.actions) - 1}")
    return Clip(played.actions[episode], played.seeds[episode], f"{name}: {played.returns[episode]:,.0f}")
