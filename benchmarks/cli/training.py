"""Train an expert: one run of the suite's own SAC on the true reward, whose best policy becomes a candidate.

The run is like any other: checkpoints, exact resume, rows in a results folder. A candidate lies in the same folder as
two files, weights and model card, like a shipped expert; `publishing.publish` ships it. Training stands on top of both
rooms, so that `experts` needs no pool and `run` no expert.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from benchmarks.experts import expert_hash, has_expert, model_card
from benchmarks.experts.measure import EPISODES, measure_returns
from benchmarks.experts.policy import ExpertPolicy, export
from benchmarks.experts.snapshots import keep_if_best, read_snapshot
from benchmarks.instrument.environment import spaces_of
from benchmarks.kit.errors import UserError
from benchmarks.plan import grid, registry
from benchmarks.plan.configuration import settings
from benchmarks.plan.profiles import Profile
from benchmarks.run import pool
from benchmarks.store.store import Store
from benchmarks.tasks import Task

METHOD = "sac"
"""The method that trains experts."""
EVALUATIONS, EVALUATION_EPISODES = 50, 10
"""How often a run is evaluated, and on how many episodes: its best policy is one of so many."""
BUDGETS = 10
"""Environment steps of a training by default, in budgets of the task."""


def train(
    task_reference: str,
    folder: Path,
    console: Console,
    steps: int | None = None,
    seed: int = 0,
    changes: Sequence[str] = (),
    episodes: int = EPISODES,
    checkpoint_minutes: float = 5.0,
) -> dict[str, Any] | None:
    """Train an expert, measure it, and write it into a folder; goes on where an earlier call stopped.

    Of all evaluated policies the one with the highest mean return is kept. It is chosen on the evaluation seeds and
    measured on others, so its measured return is not flattered by the choice.

    Args:
        task_reference: name of a task, or "module:TASK".
        folder: results folder; the run's rows go there, then `<task>.safetensors` and `<task>.json`.
        console: where to show progress.
        steps: environment steps; default: `BUDGETS` times the task's budget.
        seed: seed of the run.
        changes: changed settings, "sac.FIELD=VALUE".
        episodes: episodes per measured return.
        checkpoint_minutes: minutes between checkpoints.

    Returns:
        The model card; None if interrupted.

    Raises:
        UserError: a name or setting is wrong, the folder has another expert, or the training failed.
    """
    task = registry.find_task(task_reference)
    profile = Profile(
        name="experts",
        tasks=(task_reference,),
        methods=(METHOD,),
        seeds=(0,),
        evaluations=EVALUATIONS,
        eval_episodes=EVALUATION_EPISODES,
    )
    profile = profile.changed(seeds=(seed,), steps=steps or BUDGETS * task.budget).with_settings(changes)
    (run,) = runs = grid.expand(profile, lambda task, choice: None, expert_hash)
    if len(settings(run.config)["sac.hidden"]) != 2:
        raise UserError("an expert has two hidden layers; give two numbers, such as --set sac.sac.hidden=[256,256]")
    _refuse_to_replace(run, folder)
    remaining, _ = grid.pending(runs, Store(folder).status, grid.RETRIABLE)
    how = pool.Settings(folder, checkpoint_minutes=checkpoint_minutes, keep=keep_if_best)
    outcome = pool.run_cells(grid.cells(remaining), how, 1, console)
    if outcome.interrupted:
        return None
    if outcome.elsewhere:
        raise UserError(f"{task.name} is being trained in {folder} by {outcome.elsewhere[run.run_id]}; wait for it")
    if outcome.failed:
        raise UserError(f"the training of {task.name} has {outcome.endings[run.run_id].status}; see its error above")
    weights, kept = read_snapshot(folder, run.run_id)
    weights["hidden_0.weight"] = _for_all_observations(weights["hidden_0.weight"], task)
    policy = ExpertPolicy(weights, "rescaled")
    record = Store(folder).record(run.run_id) or {}
    card = {**_card(run, record, kept, policy), **measure_returns(task, policy, episodes)}
    return export(task.name, weights, card, folder)


def _refuse_to_replace(run: grid.Run, folder: Path) -> None:
    """Raise UserError if the folder has an expert of the task that another run has made."""
    name = run.task.name
    if has_expert(name, folder) and model_card(name, folder).get("run_id") != run.run_id:
        raise UserError(f"{folder} has an expert of {name} of another training; choose another --out for this one")


def _for_all_observations(weight: np.ndarray, task: Task) -> np.ndarray:
    """First layer (units, d) of a policy that sees the first n of d dimensions (units, n): the others count nothing."""
    (size,) = spaces_of(task)[0].shape
    return np.pad(weight, ((0, 0), (0, size - weight.shape[1])))


def _card(run: grid.Run, stored: Mapping[str, Any], kept: int, policy: ExpertPolicy) -> dict[str, Any]:
    """The model card of a finished run, but for the measured returns."""
    versions = json.loads(stored["versions"])
    suite = versions.pop("ndi-bench")
    layers = f"{policy.hidden_0.out_features} and {policy.hidden_1.out_features}"
    return {
        "env_id": run.task.env_id,
        "run_id": run.run_id,
        "algorithm": "SAC (the suite's own, true reward)",
        "steps": kept,
        "seed": run.seed,
        "library": f"ndi-bench {suite}",
        "commit": stored["commit"] and stored["commit"] + " with changes" * stored["dirty"],
        "versions": versions,
        "settings": json.loads(stored["changes"]),
        "provenance": f"the policy of the best of {run.evaluations} evaluations ({run.eval_episodes} deterministic "
        f"episodes each, highest mean return) in {run.budget:,} steps; settings other than the method's own are listed",
        "architecture": f"tanh-Gaussian: two hidden ReLU layers of {layers}, then mean and log_std (rescaled by tanh "
        "into [-5, 2]); raw observations, their standardisation folded into the first layer; actions in [-1, 1]",
        "log_std": "rescaled",
    }
