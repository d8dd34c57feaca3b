"""How a peer in its own interpreter trains on what the bench lends it: messages over a pipe. Needs numpy only.

The bench sends a job; the peer sends, for every environment step it wants, an action and waits for the outcome, and may
be asked for its policy while it waits. Messages hold built-in types alone (`encode`), so both sides may have different
versions of Python and numpy. A policy is a dictionary of arrays, see `benchmarks.peers.exchange.ForeignPolicy`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

Arrays = Mapping[str, np.ndarray]


def encode(arrays: Arrays) -> dict[str, tuple[str, tuple[int, ...], bytes]]:
    """Arrays as type, shape and bytes."""
    return {name: (a.dtype.str, a.shape, np.ascontiguousarray(a).tobytes()) for name, a in arrays.items()}


def decode(message: Mapping[str, tuple[str, tuple[int, ...], bytes]]) -> dict[str, np.ndarray]:
    """What `encode` was given; the arrays may be written to."""
    return {name: np.frombuffer(raw, kind).reshape(shape).copy() for name, (kind, shape, raw) in message.items()}


class Link:
    """The peer's end of the pipe, whose descriptor is the script's only argument."""

    def __init__(self) -> None:
        self.connection = Connection(int(sys.argv[1]))
        self.job: dict[str, Any] = self.connection.recv()
        """What to do: "seed", "config" (the method's settings), sizes, "budget" and, encoded, "demonstrations"."""

    def step(self, action: np.ndarray, updates: int, policy: Callable[[], Arrays]) -> dict[str, Any]:
        """One environment step.

        Args:
            action: (A,) in [-1, 1].
            updates: gradient updates so far.
            policy: called if the bench asks for the policy as it stands.

        Returns:
            "outcome" (d,) float32, "reward", "terminated", "truncated", and "following": the observation to go on from.
        """
        self.connection.send(("step", np.asarray(action, np.float32).tobytes(), updates))
        while (answer := self.connection.recv()) == "policy":
            self.connection.send(encode(policy()))
        return {
            **answer,
            **{name: np.frombuffer(answer[name], np.float32).copy() for name in ("outcome", "following")},
        }

    def finish(self, updates: int, policy: Arrays) -> None:
        """The policy in the end."""
        self.connection.send(("done", encode(policy), updates))


def dense(modules: Any) -> dict[str, np.ndarray]:
    """Weights of torch's linear layers in order: "weight0" (fan_in, fan_out), "bias0" (fan_out,), "weight1", ..."""
    arrays: dict[str, np.ndarray] = {}
    for number, module in enumerate(modules):
        arrays[f"weight{number}"] = module.weight.detach().numpy().T
        arrays[f"bias{number}"] = module.bias.detach().numpy()
    return arrays
