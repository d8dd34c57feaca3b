"""Random streams, one per lane: what a lane draws depends on its seed and the purpose, never on its company."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor


class Streams:
    """One torch generator per lane, for one purpose ("replay", "policy", ...).

    Streams of different purposes are independent, so adding a draw to one part of a method leaves the others as
    they were, and a lane draws the same numbers whether it trains alone or beside others.
    """

    def __init__(self, seeds: Sequence[int], purpose: str, device: torch.device | str = "cpu") -> None:
        self.device = torch.device(device)
        self.generators = []
        for seed in seeds:
            entropy = np.random.SeedSequence([seed, zlib.crc32(purpose.encode())]).generate_state(1, np.uint64)
            generator = torch.Generator(self.device)
            generator.manual_seed(int(entropy[0] >> 1))
            self.generators.append(generator)

    def normal(self, *shape: int) -> Tensor:
        """Standard normal draws, (L, *shape)."""
        return torch.stack([torch.randn(shape, generator=g, device=self.device) for g in self.generators])

    def uniform(self, *shape: int) -> Tensor:
        """Uniform draws from [0, 1), (L, *shape)."""
        return torch.stack([torch.rand(shape, generator=g, device=self.device) for g in self.generators])

    def uniform_in(self, lanes: Tensor, *shape: int) -> Tensor:
        """Uniform draws (L, *shape) in the lanes set in `lanes` (L,) bool; the others get zeros and draw nothing.

        What happens in one lane must not move the streams of the others.
        """
        draws = torch.zeros(len(self.generators), *shape, device=self.device)
        for lane in lanes.nonzero()[:, 0].tolist():
            draws[lane] = torch.rand(shape, generator=self.generators[lane], device=self.device)
        return draws

    def integers(self, high: Tensor, *shape: int) -> Tensor:
        """Integers from [0, high) for every lane, int64 (L, *shape); `high` is (L,)."""
        # float64 keeps every index reachable up to 2**53; the minimum guards against u * high rounding up to high
        draws = [torch.rand(shape, generator=g, device=self.device, dtype=torch.float64) for g in self.generators]
        high = high.view(-1, *[1] * len(shape))
        return torch.minimum((torch.stack(draws) * high).long(), high - 1)

    def state_dict(self) -> dict[str, Any]:
        """State of every lane's generator."""
        return {"generators": [generator.get_state() for generator in self.generators]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        for generator, value in zip(self.generators, state["generators"], strict=True):
            generator.set_state(value.cpu())
