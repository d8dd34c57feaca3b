"""Frozen standardisation of observations, one per lane, and the absorbing state behind a terminal one."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .contract import Problem
from .errors import UserError


class Standardiser(nn.Module):
    """(x - mean) / std per lane and dimension, clipped; frozen for the whole run.

    A state that leaves the demonstrations' range by far carries no more information than "far", while an unclipped one
    would blow up every network behind it: with one demonstration some dimensions hardly vary.

    Args:
        mean: (L, 1, n); what follows the first n dimensions of an observation is left out.
        std: (L, 1, n), positive.
        clip: bound of every standardised value.
        absorbing: append a bit that is 0 in real states and 1 in the absorbing state, whose other entries are 0
            (discriminator-actor-critic, arXiv 1809.02925).
    """

    mean: Tensor
    std: Tensor

    def __init__(self, mean: Tensor, std: Tensor, clip: float = 10.0, absorbing: bool = False) -> None:
        super().__init__()
        self.clip, self.absorbing = clip, absorbing
        self.size = mean.shape[-1] + absorbing
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    @classmethod
    def identity(cls, problem: Problem, observed: int | None = None) -> Standardiser:
        """No change, for methods that have no demonstrations; optionally the first `observed` dimensions only.

        Raises:
            UserError: there are fewer dimensions than that.
        """
        size = problem.observation_size
        if observed is not None and observed > size:
            raise UserError(f"{observed} dimensions are to be observed, but {problem.task} has only {size}")
        shape = (problem.lanes, 1, observed or size)
        zeros, ones = torch.zeros(shape, device=problem.device), torch.ones(shape, device=problem.device)
        return cls(zeros, ones, clip=math.inf)

    @classmethod
    def from_demonstrations(cls, problem: Problem, floor: float = 1e-3, absorbing: bool = False) -> Standardiser:
        """Mean and std + floor of each lane's demonstrated observations (ValueDICE's rule, floor 1e-3).

        A dimension that has one and the same value in most demonstrated steps is always 0: it is a switch, such as the
        contact force of a foot that is mostly in the air. It has no density, and no unit in which to measure it.
        """
        observations = [d.observations.astype(np.float64) for d in problem.demonstrations]
        mean = np.stack([o.mean(0, keepdims=True) for o in observations])
        std = np.stack([o.std(0, keepdims=True) for o in observations]) + floor
        switches = np.stack([(o == np.median(o, 0)).mean(0, keepdims=True) > 0.5 for o in observations])
        std[switches] = np.inf
        as_tensor = lambda array: torch.as_tensor(array, dtype=torch.float32, device=problem.device)  # noqa: E731
        return cls(as_tensor(mean), as_tensor(std), absorbing=absorbing)

    @torch.no_grad()
    def fit(self, observations: Tensor, floor: float = 1e-3) -> None:
        """Take mean and std + floor from raw observations (L, N, d), in place; for methods without demonstrations."""
        self.mean.copy_(observations.mean(1, keepdim=True))
        self.std.copy_(observations.std(1, keepdim=True, correction=0) + floor)

    def forward(self, observations: Tensor) -> Tensor:
        """Standardised observations (L, N, size) for raw ones (L, N, d)."""
        observed = observations[..., : self.mean.shape[-1]]
        states = ((observed - self.mean) / self.std).clamp_(-self.clip, self.clip)
        return F.pad(states, (0, 1)) if self.absorbing else states

    def absorbing_state(self) -> Tensor:
        """(size,): zeros, and the bit set."""
        state = torch.zeros(self.size, device=self.mean.device)
        state[-1] = 1
        return state
