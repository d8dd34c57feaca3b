"""Scalars that may differ between lanes."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .contract import Problem


def per_lane(value: float | Sequence[float], problem: Problem) -> Tensor:
    """(L,) float32: the one value in every lane, or one value per lane where the bench swept the field.

    Raises:
        ValueError: the number of values is not the number of lanes.
    """
    values = list(value) if isinstance(value, Sequence) else [value] * problem.lanes
    if len(values) != problem.lanes:
        raise ValueError(f"{len(values)} values for {problem.lanes} lanes")
    return torch.tensor(values, dtype=torch.float32, device=problem.device)
