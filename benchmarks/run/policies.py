"""The final policy of a run: packed to be kept beside its row, and played again as it was evaluated.

Kept are the policies of the kit, with their own standardiser: folded into the first layer, as an expert's is, the last
bits of its actions would be others. What makes the network up stands in the file's header, as its card.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np
import safetensors
import safetensors.numpy
import torch
from torch import Tensor

from benchmarks.instrument.environment import ActionScale, spaces_of
from benchmarks.instrument.evaluation import Evaluator
from benchmarks.kit.contract import Policy
from benchmarks.kit.errors import UserError
from benchmarks.kit.networks import TanhGaussianPolicy
from benchmarks.kit.standardiser import Standardiser
from benchmarks.kit.streams import Streams
from benchmarks.tasks import Task

KIND = "ndi-bench tanh-Gaussian policy"
_CARD = "card"


def packed(policy: Policy, lane: int, about: Mapping[str, Any]) -> bytes | None:
    """One lane of a policy as the content of a safetensors file, the same bytes for the same policy.

    Args:
        policy: as a method yields it.
        lane: which.
        about: what the card says beside the network's form, in plain values.

    Returns:
        The content; None if the policy is none of the kit's, whose form is not known.
    """
    if type(policy) is not TanhGaussianPolicy:
        return None
    card = {
        "kind": KIND,
        **about,
        "actions": policy.action_size,
        "hidden": [layer.bias.shape[-1] for layer in policy.network.layers[:-1]],
        "clip": None if np.isinf(policy.standardise.clip) else policy.standardise.clip,
        "absorbing": policy.standardise.absorbing,
        "bfloat16": policy.network.rounded,
    }
    tensors = {name: tensor[lane].detach().cpu().numpy() for name, tensor in policy.state_dict().items()}
    return safetensors.numpy.save(tensors, {_CARD: json.dumps(card, sort_keys=True)})


def unpacked(data: bytes, lanes: int = 1, device: torch.device | str = "cpu") -> tuple[TanhGaussianPolicy, dict]:
    """A policy from the content of its file, the same in so many lanes, and its card.

    Raises:
        UserError: it is no such file.
    """
    try:
        length = int.from_bytes(data[:8], "little")
        card = json.loads(json.loads(data[8 : 8 + length])["__metadata__"][_CARD])
        tensors = {name: torch.tensor(array) for name, array in safetensors.numpy.load(data).items()}
        clip = np.inf if card["clip"] is None else float(card["clip"])
        mean, std = (tensors[f"standardise.{name}"].repeat(lanes, 1, 1).to(device) for name in ("mean", "std"))
        streams = Streams(range(lanes), "policy", torch.device(device))
        policy = TanhGaussianPolicy(
            streams, Standardiser(mean, std, clip, bool(card["absorbing"])), int(card["actions"]), card["hidden"]
        )
        policy.network.rounded = bool(card["bfloat16"])
        policy.load_state_dict({name: tensor.expand(lanes, *tensor.shape) for name, tensor in tensors.items()})
    except (safetensors.SafetensorError, RuntimeError, ValueError, LookupError, TypeError, ArithmeticError) as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"it is no policy that ndi-bench has kept ({reason})") from error
    return policy.requires_grad_(False), card


class Played(NamedTuple):
    """The evaluation episodes of one policy."""

    returns: np.ndarray
    """(E,) float64."""
    lengths: np.ndarray
    """(E,) int64, in steps."""
    actions: list[np.ndarray]
    """One (T, A) per episode, in the environment's units, as they were executed."""
    seeds: tuple[int, ...]
    """Reset seeds."""


def play(task: Task, policy: Policy, lanes: int = 1, episodes: int = 10, device: str = "cpu") -> Played:
    """Play a policy on the evaluation episodes, as runs are evaluated.

    A product of stacked matrices may be summed in another order where there are more of them. So the policy is asked
    with as many lanes as were evaluated together, all of them the same.

    Args:
        task: the task.
        policy: its lanes are the same.
        lanes: how many there are.
        episodes: how many of the evaluation episodes.
        device: where the policy computes.

    Raises:
        UserError: the environment cannot be used.
        ValueError: its observations are not the policy's.
    """
    recorder = _Recorder(policy, lanes)
    with closing(Evaluator(task, episodes)) as evaluator:
        seen = evaluator.evaluate(recorder, 1, device)
        seeds = evaluator.seeds
    scale = ActionScale.of(spaces_of(task)[1])
    executed = scale.to_environment(np.stack(recorder.actions, axis=1))
    lengths = seen.lengths[0]
    return Played(seen.returns[0], lengths, [row[:n] for row, n in zip(executed, lengths, strict=True)], seeds)


class Sampled:
    """A kept policy that draws its actions instead of taking their mean: the same draws at every play.

    Args:
        policy: of `unpacked`.
        lanes: how many it has.
        device: where it computes.
    """

    def __init__(self, policy: TanhGaussianPolicy, lanes: int = 1, device: torch.device | str = "cpu") -> None:
        self.policy, self._streams = policy, Streams(range(lanes), "sampled", device)

    def act(self, observations: Tensor) -> Tensor:
        """Actions (L, E, A) for observations (L, E, d)."""
        noise = self._streams.normal(observations.shape[1], self.policy.action_size)
        return self.policy.explore(observations, noise)


class _Recorder:
    """One of equal lanes, which notes its actions."""

    def __init__(self, policy: Policy, lanes: int) -> None:
        self.policy, self.lanes = policy, lanes
        self.actions: list[np.ndarray] = []
        """(E, A) in [-1, 1], for every time step."""

    def act(self, observations: Tensor) -> Tensor:
        """Actions (1, E, A) for observations (1, E, d)."""
        actions = self.policy.act(observations.repeat(self.lanes, 1, 1))[:1]
        self.actions.append(actions[0].cpu().numpy().astype(np.float32).clip(-1, 1))
        return actions
