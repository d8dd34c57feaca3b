"""The best policy of a run while it trains: kept with its run id, so that an expert can be made of it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
import torch

from benchmarks.files import put
from benchmarks.kit.contract import Policy
from benchmarks.kit.errors import UserError
from benchmarks.kit.networks import TanhGaussianPolicy

from .policy import LAYERS


def snapshot_path(folder: Path, run_id: str) -> Path:
    """Where the best policy of a run lies inside a results folder."""
    return Path(folder) / "best" / f"{run_id}.safetensors"


def keep_if_best(
    folder: Path, run_id: str, policy: Policy, lane: int, evaluations: Iterable[Mapping[str, Any]]
) -> None:
    """Write a lane's policy if no evaluation before its last one had a higher mean return.

    The file appears whole or not at all. A run that goes on from an older checkpoint repeats its evaluations, and with
    them this file.

    Args:
        folder: results folder.
        run_id: the lane's run.
        policy: as it was just evaluated.
        lane: the lane.
        evaluations: the run's evaluation rows so far, in order (`store.EVALUATIONS`).

    Raises:
        UserError: the policy cannot become an expert, see `weights_of`.
        OSError: the folder cannot be written to, or `best/` is a symbolic link.
    """
    returns = defaultdict[int, list[float]](list)
    for row in evaluations:
        returns[row["step"]].append(row["return"])
    means = {step: float(np.mean(values)) for step, values in returns.items()}
    last = next(reversed(means))
    if means[last] < max(means.values()):
        return
    content = safetensors.numpy.save(weights_of(policy, lane), {"step": str(last)})
    path = snapshot_path(folder, run_id)
    put(content, folder, path.parent.name, path.name)


def read_snapshot(folder: Path, run_id: str) -> tuple[dict[str, np.ndarray], int]:
    """The weights of a run's best policy, and the environment steps after which it was evaluated.

    Raises:
        UserError: there is none, or it cannot be read.
    """
    path = snapshot_path(folder, run_id)
    try:
        with safetensors.safe_open(path, framework="np") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, int(file.metadata()["step"])  # noqa: SIM118
    except (OSError, safetensors.SafetensorError, TypeError, KeyError, ValueError) as error:
        raise UserError(f"the best policy {path} cannot be read ({error}); train again with another --out") from error


def weights_of(policy: Policy, lane: int) -> dict[str, np.ndarray]:
    """One lane of a kit policy as the weights of an `ExpertPolicy` with rescaled log_std, on raw observations.

    The standardiser is folded into the first layer: W' = W / std and b' = b - W' mean.

    Raises:
        UserError: the policy is none of the kit's, has other than two hidden layers, or clips its observations.
    """
    if not isinstance(policy, TanhGaussianPolicy) or len(policy.network.layers) != 3:
        raise UserError("only a policy of the kit with two hidden layers can become an expert")
    standardise = policy.standardise
    if np.isfinite(standardise.clip) or standardise.absorbing:
        raise UserError("a policy that clips its observations cannot become an expert, whose observations are raw")
    double = lambda tensor: tensor[lane].detach().cpu().double()  # noqa: E731
    arrays = [(double(layer.weight).T, double(layer.bias)[0]) for layer in policy.network.layers]
    weight, bias = arrays[0]
    weight = weight / double(standardise.std)
    arrays[0] = weight, bias - weight @ double(standardise.mean)[0]
    means, log_stds = zip(*(torch.tensor_split(array, 2) for array in arrays.pop()), strict=True)
    layers = zip(LAYERS, [*arrays, means, log_stds], strict=True)
    return {
        f"{name}.{part}": np.ascontiguousarray(array.float().numpy())
        for name, pair in layers
        for part, array in zip(("weight", "bias"), pair, strict=True)
    }
