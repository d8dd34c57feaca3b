"""The bench's side of a peer at work in its own interpreter: its process, and its policy as a policy of the suite."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.kit.contract import Problem

from .scripts.link import Arrays, decode, encode

SCRIPTS = Path(__file__).parent / "scripts"
COLUMNS = ("observations", "actions", "next_observations", "terminated", "episodes")
"""What a peer gets of demonstrations: arrays of `kit.demonstrations.Demonstrations`."""
MATCHED = {"batch_size": 256, "actor_period": 1, "layer_norm": False, "updates_per_step": 1}
"""Fields of `SACConfig` that make the learner do the work of the peers' defaults."""
ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh}
SQUASHES = {"tanh": torch.tanh, "clip": lambda x: x.clamp(-1, 1)}
TOLERANCE = 1e-4
"""How far an exported policy's actions may be from those of the library that it comes from."""


class ForeignPolicy:
    """A peer's deterministic policy, an MLP given as arrays; one lane.

    squash(W_k ... activation(W_0 ((s - offset) * scale) + b_0) ... + b_k)

    Args:
        arrays: "weight0" (d, H), "bias0" (H,), "weight1", ...; "activation" and "squash", names in `ACTIVATIONS` and
            `SQUASHES`; optionally "offset" and "scale" (d,); and to check the copy "probe" (N, d) with "answer"
            (N, A), observations and what the peer itself does there.
        device: where it computes.

    Raises:
        ValueError: the copy does not act as the peer does, or a name is unknown.
    """

    def __init__(self, arrays: Arrays, device: torch.device | str = "cpu") -> None:
        tensor = lambda name: torch.tensor(arrays[name], dtype=torch.float32, device=device)  # noqa: E731
        count = sum(name.startswith("weight") for name in arrays)
        self.layers = [(tensor(f"weight{k}"), tensor(f"bias{k}")) for k in range(count)]
        try:
            self.activation = ACTIVATIONS[str(arrays["activation"])]
            self.squash = SQUASHES[str(arrays["squash"])]
        except KeyError as error:
            raise ValueError(f"a foreign policy has an unknown activation or squash: {error}") from None
        self.offset = tensor("offset") if "offset" in arrays else torch.zeros((), device=device)
        self.scale = tensor("scale") if "scale" in arrays else torch.ones((), device=device)
        gap = float((self.act(tensor("probe")[None])[0] - tensor("answer")).abs().max())
        if not gap < TOLERANCE:
            raise ValueError(f"the exported policy acts otherwise than the library's own, by up to {gap:.2g}")

    @torch.no_grad()
    def act(self, observations: Tensor) -> Tensor:
        """Deterministic actions (1, N, A) in [-1, 1] for raw observations (1, N, d)."""
        x = (observations - self.offset) * self.scale
        for weight, bias in self.layers[:-1]:
            x = self.activation(x @ weight + bias)
        weight, bias = self.layers[-1]
        return self.squash(x @ weight + bias)


class CurrentPolicy:
    """The policy of a waiting peer, asked for when it is first used; not to be used after the next step."""

    def __init__(self, connection: Connection, device: torch.device) -> None:
        self.connection, self.device = connection, device
        self.copy: ForeignPolicy | None = None

    def act(self, observations: Tensor) -> Tensor:
        """As `ForeignPolicy.act`."""
        if self.copy is None:
            self.connection.send("policy")
            self.copy = ForeignPolicy(decode(self.connection.recv()), self.device)
        return self.copy.act(observations)


def job(problem: Problem, config: Mapping[str, Any]) -> dict[str, Any]:
    """What a peer is told at the start, in built-in types: see `link.Link.job`; for one lane."""
    (seed,) = problem.seeds
    told: dict[str, Any] = {"seed": seed, "config": dict(config), "budget": problem.budget}
    told["action_size"] = problem.action_size
    if problem.demonstrations:
        lent = problem.demonstrations[0]
        told["demonstrations"] = encode({name: getattr(lent, name) for name in COLUMNS})
    else:
        told["observation"] = problem.environments.observations[0].tolist()
    return told


@contextmanager
def running(python: Path, script: Path, message: Mapping[str, Any]) -> Iterator[Connection]:
    """Start a peer's script with a pipe, give it its job, and end it in the end.

    Raises:
        RuntimeError: the script died; holds the last line that it said.
    """
    ours, theirs = Pipe()
    with tempfile.TemporaryDirectory() as place, open(Path(place) / "log", "w+") as log:
        command = [str(python), str(script), str(theirs.fileno())]
        process = subprocess.Popen(command, pass_fds=(theirs.fileno(),), cwd=place, stdout=log, stderr=log)
        theirs.close()
        try:
            ours.send(dict(message))
            yield ours
        except (EOFError, ConnectionError) as error:
            process.wait()
            log.seek(0)
            said = log.read().strip().splitlines() or ["nothing"]
            raise RuntimeError(f"{script.name} died with exit code {process.returncode}: {said[-1]}") from error
        finally:
            ours.close()
            process.kill()
            process.wait()


def outcome(transition: Any, following: np.ndarray) -> dict[str, Any]:
    """The answer to a step, in built-in types; of a transition and the observations (1, d) that follow it."""
    return {
        "outcome": transition.next_observations[0].tobytes(),
        "following": following[0].astype(np.float32).tobytes(),
        "reward": float(transition.rewards[0]),
        "terminated": bool(transition.terminated[0]),
        "truncated": bool(transition.truncated[0]),
    }
