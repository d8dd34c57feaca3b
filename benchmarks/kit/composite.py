"""State of what is made of parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor


class Composite:
    """Saved and restored part by part (`contract.Stateful`); a class says which of its attributes make up its state."""

    state: ClassVar[tuple[str, ...]]
    """Names of the attributes: parts that are stateful themselves, tensors or lists of them, and plain values such as
    counters."""

    def state_dict(self) -> dict[str, Any]:
        """The state of every attribute, by its name; tensors as copies, what modules give as it is."""
        return {name: _state(getattr(self, name)) for name in self.state}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave; parts and tensors in place."""
        for name in self.state:
            value = getattr(self, name)
            if isinstance(value, Tensor):
                assign([value], [state[name]])
            elif isinstance(value, list):
                assign(value, state[name])
            elif hasattr(value, "load_state_dict"):
                value.load_state_dict(state[name])
            else:
                setattr(self, name, state[name])


@torch.no_grad()
def assign(tensors: Sequence[Tensor], values: Sequence[Tensor]) -> None:
    """Give tensors the values of others of the same shapes, in place."""
    for tensor, value in zip(tensors, values, strict=True):
        tensor.copy_(value)


def _state(value: Any) -> Any:
    if isinstance(value, list):
        return [_state(tensor) for tensor in value]
    if isinstance(value, Tensor):
        return value.detach().clone()
    return value.state_dict() if hasattr(value, "state_dict") else value
