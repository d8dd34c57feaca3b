"""Shipped expert policies: `<task>.safetensors` with the weights, `<task>.json` with the model card.

Here are the cards alone, which need no torch; `policy` holds what is played, `rollout` plays and `measure` measures it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.files import read_regular
from benchmarks.kit.errors import UserError

FOLDER = Path(__file__).parent
"""Where the experts lie."""


def has_expert(task_name: str, folder: Path = FOLDER) -> bool:
    """Whether there is an expert of the task."""
    return (folder / f"{task_name}.safetensors").exists() and (folder / f"{task_name}.json").exists()


def model_card(task_name: str, folder: Path = FOLDER) -> dict[str, Any]:
    """Who the expert is: algorithm, library, steps, seed, versions, provenance, measured returns, sha256 of weights.

    Raises:
        UserError: no expert is shipped for the task, or its card cannot be read or is of another task's expert.
    """
    if not has_expert(task_name, folder):
        if folder != FOLDER:
            raise UserError(f"there is no expert of {task_name} in {folder}; `ndi-bench experts train` makes one")
        raise UserError(
            f"no expert policy is shipped for {task_name} yet; use --dataset hub or --dataset NAMESPACE/NAME-vN"
        )
    path = folder / f"{task_name}.json"
    try:
        card: dict[str, Any] = json.loads(read_regular(path))
        owner = card.get("task", task_name)
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise UserError(f"the model card {path} cannot be read ({error}); restore it from the repository") from error
    if owner != task_name:
        raise UserError(f"the model card {path} is of an expert of {owner}, not of {task_name}; give that task")
    return card


def expert_hash(task_name: str) -> str | None:
    """First 16 hex digits of the SHA-256 of a shipped expert's weights, as its card says; None if there is none."""
    return str(model_card(task_name)["sha256"])[:16] if has_expert(task_name) else None


def in_words(measured: Mapping[str, Any]) -> str:
    """A measured return for people: its mean with the standard error."""
    return f"{measured['mean']:,.0f} ± {measured['standard_error']:,.0f}"
