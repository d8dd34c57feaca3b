"""The policy of an expert: from weights and a model card, and back.

An expert is a tanh-Gaussian actor: ReLU layers `hidden_0` and `hidden_1`, then `mean` and `log_std`, on raw
observations.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.files import put, read_regular
from benchmarks.kit.errors import UserError
from benchmarks.kit.networks import rescaled_log_std

from . import FOLDER, model_card

CLIPPED_RANGE = (-20.0, 2.0)
"""Bounds of a clipped log_std, those of Stable-Baselines3 and SBX."""

LAYERS = ("hidden_0", "hidden_1", "mean", "log_std")


class ExpertPolicy(nn.Module):
    """a = tanh(mean(s) + exp(log_std(s)) N(0, I)) in [-1, 1], the same for any number of lanes.

    Args:
        weights: `<layer>.weight` (outputs, inputs) and `<layer>.bias` (outputs,) for the four layers.
        log_std: how the last layer becomes the log standard deviation: "clipped" to `CLIPPED_RANGE` (experts of
            Stable-Baselines3 and SBX) or "rescaled" by tanh into the kit's range (experts of the suite's own SAC).

    Raises:
        ValueError: a layer is missing, the shapes do not fit together, or `log_std` is neither.
    """

    def __init__(self, weights: Mapping[str, np.ndarray], log_std: str = "clipped") -> None:
        super().__init__()
        if log_std not in ("clipped", "rescaled"):
            raise ValueError(f'log_std is "{log_std}", not "clipped" or "rescaled"')
        self.rescaled = log_std == "rescaled"
        names = {f"{layer}.{part}" for layer in LAYERS for part in ("weight", "bias")}
        if set(weights) != names:
            raise ValueError(f"the weights are {sorted(weights)}, not {sorted(names)}")

        def linear(layer: str) -> nn.Linear:
            outputs, inputs = weights[f"{layer}.weight"].shape
            return nn.Linear(inputs, outputs)

        self.hidden_0, self.hidden_1 = linear("hidden_0"), linear("hidden_1")
        self.mean, self.log_std = linear("mean"), linear("log_std")
        try:
            self.load_state_dict({name: torch.tensor(array) for name, array in weights.items()})
            self.perturbed(torch.zeros(1, self.observation_size), torch.zeros(1, self.action_size))
        except RuntimeError as error:
            raise ValueError(f"the layers do not fit together: {error}") from error
        self.requires_grad_(False)

    @property
    def observation_size(self) -> int:
        """d."""
        return self.hidden_0.in_features

    @property
    def action_size(self) -> int:
        """A."""
        return self.mean.out_features

    def forward(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation (..., A) of the pre-tanh Gaussian at raw observations (..., d)."""
        features = F.relu(self.hidden_1(F.relu(self.hidden_0(observations))))
        log_std = self.log_std(features)
        return self.mean(features), rescaled_log_std(log_std) if self.rescaled else log_std.clamp(*CLIPPED_RANGE)

    latent = forward

    def act(self, observations: Tensor) -> Tensor:
        """Deterministic actions tanh(mean), (L, N, A), for raw observations (L, N, d)."""
        return torch.tanh(self(observations)[0])

    def perturbed(self, observations: Tensor, noise: Tensor) -> Tensor:
        """Stochastic actions (..., A) for raw observations (..., d), from standard normal noise (..., A)."""
        mean, log_std = self(observations)
        return torch.tanh(mean + log_std.exp() * noise)


def load_expert(task_name: str, device: torch.device | str = "cpu", folder: Path = FOLDER) -> ExpertPolicy:
    """The task's expert, on a device.

    Raises:
        UserError: no expert is shipped for the task, or its weights are damaged or are not those of the model card.
    """
    card, path = model_card(task_name, folder), folder / f"{task_name}.safetensors"
    fix = "restore both files from the repository, or reinstall the package"
    try:
        data = read_regular(path)
    except OSError as error:
        raise UserError(f"the expert weights {path} cannot be read ({error}); {fix}") from error
    if hashlib.sha256(data).hexdigest() != card.get("sha256"):
        raise UserError(f"the expert weights {path} are not those of the model card {task_name}.json; {fix}")
    try:
        policy = ExpertPolicy(safetensors.numpy.load(data), card.get("log_std", "clipped"))
    except (safetensors.SafetensorError, ValueError) as error:
        raise UserError(f"the expert weights {path} cannot be used ({error}); {fix}") from error
    return policy.to(device)


def export(
    task_name: str, weights: Mapping[str, np.ndarray], card: Mapping[str, Any], folder: Path = FOLDER
) -> dict[str, Any]:
    """Write an expert's weights and model card; the card is completed by the task and the weights' sha256.

    Returns:
        The card as written.

    Raises:
        ValueError: the weights are not those of an `ExpertPolicy`.
    """
    weights = {name: np.ascontiguousarray(array, dtype=np.float32) for name, array in sorted(weights.items())}
    ExpertPolicy(weights, card.get("log_std", "clipped"))
    data = safetensors.numpy.save(weights)  # without metadata: the bytes depend on the weights alone
    card = {"task": task_name, **card, "sha256": hashlib.sha256(data).hexdigest()}
    put(data, folder, f"{task_name}.safetensors")
    put((json.dumps(card, indent=2, ensure_ascii=False) + "\n").encode(), folder, f"{task_name}.json")
    return dict(card)
