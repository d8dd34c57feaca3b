"""Synthetic runs, for the tests of the store and the report."""

import json
from typing import Any

LABELS = {
    "random": "Random",
    "bc": "BC",
    "gail": "GAIL (off-policy)",
    "ndi-ebm": "NDI+EBM",
    "sac": "SAC (true reward)",
    "expert": "Expert",
}
WITHOUT_DEMONSTRATIONS = ("random", "sac", "expert")
OFFLINE = ("random", "bc", "expert")


def rows_of_a_run(
    method: str = "bc",
    task: str = "hopper",
    seed: int = 0,
    demos: int = 1,
    finals: tuple[float, ...] = (900.0, 1100.0),
    steps: tuple[int, ...] = (0, 500, 1000),
    **changes: Any,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """A run and its evaluations as the runner makes them; `finals` are the returns of the last evaluation.

    Returns grow linearly with the steps; the normalised return is a thousandth of the return.
    """
    demos = 0 if method in WITHOUT_DEMONSTRATIONS else demos
    run = {
        "run_id": f"{method}.{task}.{demos}.{seed}",
        "method": method,
        "label": LABELS.get(method, method),
        "task": task,
        "env_id": {"hopper": "Hopper-v5", "ant": "Ant-v5"}.get(task, f"{task}-v1"),
        "dataset_id": f"ndi/{task}/expert-v0" if demos else None,
        "demos": demos,
        "draw": seed,
        "subsample": 1,
        "changes": "{}",
        "dataset_notes": None,
        "audit": None,
        "policy_sha256": None,
        "privileged": method in ("expert", "sac"),
        "seed": seed,
        "profile": "test",
        "config": json.dumps({"rate": 3e-4, "density": {"noise": 0.1}}),
        "config_hash": "c0ffee",
        "episode_ids": list(range(demos)),
        "dataset_hash": "abc" if demos else None,
        "commit": "0123abc",
        "dirty": False,
        "versions": json.dumps({"torch": "2.13.0"}),
        "device": "cpu",
        "cpu": "some processor",
        "lanes": 2,
        "budget": 0 if method in OFFLINE else 1000,
        "status": "completed",
        "error": None,
        "steps": 0 if method in OFFLINE else 1000,
        "updates": 1000,
        "train_seconds": 60.0,
        "eval_seconds": 1.0,
        "started": f"2026-01-01T00:00:{seed:02d}Z",
        **changes,
    }
    return run, _evaluations(run, finals, (0,) if method in OFFLINE else steps)


def _evaluations(run: dict[str, Any], finals: tuple[float, ...], schedule: tuple[int, ...]) -> list[dict[str, Any]]:
    """Returns that grow linearly to the last ones."""
    shared = {name: run[name] for name in ("run_id", "method", "task", "demos", "seed")}
    return [
        {
            **shared,
            "step": step,
            "update": step,
            "episode": episode,
            "eval_seed": 9000 + episode,
            "return": value * (step / schedule[-1] if schedule[-1] else 1.0),
            "length": 1000,
            "normalized": value / 1000 * (step / schedule[-1] if schedule[-1] else 1.0),
            "kl": 1.5 * (episode + 1),
            "kl_uniform": 10.0,
            "final": step == schedule[-1],
        }
        for step in schedule
        for episode, value in enumerate(finals)
    ]
