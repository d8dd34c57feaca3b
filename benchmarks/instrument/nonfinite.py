"""Keeps a diverged lane from stopping its neighbours: its actions become zero and it is marked."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import Tensor

from benchmarks.kit.contract import Environments, Policy, TanhGaussian, Transition


class ContainedEnvironments:
    """The learner's environments as a method sees them; an action that is not finite is replaced by zero.

    Args:
        environments: the environments behind it.
        diverged: called with a lane and a reason at every such action.
    """

    def __init__(self, environments: Environments, diverged: Callable[[int, str], None]) -> None:
        self._environments, self._diverged = environments, diverged
        self.taken = 0
        """Steps taken through this."""

    @property
    def observations(self) -> np.ndarray:
        """(L, d) float32: where every lane stands now."""
        return self._environments.observations

    @property
    def steps(self) -> int:
        """Environment steps taken so far in every lane."""
        return self._environments.steps

    @property
    def budget(self) -> int:
        """Environment steps allowed in every lane."""
        return self._environments.budget

    def step(self, actions: np.ndarray) -> Transition:
        """Step all lanes; see `contract.Environments`."""
        finite = np.isfinite(actions)
        if not finite.all():
            for lane in np.flatnonzero(~finite.reshape(len(actions), -1).all(1)):
                self._diverged(int(lane), "an action in training was not finite")
            actions = np.where(finite, actions, 0)
        transition = self._environments.step(actions)
        self.taken += 1
        return transition


class ContainedPolicy:
    """A policy under evaluation, with its distribution if it has one; an action that is not finite is replaced by zero.

    Args:
        policy: the policy behind it.
        diverged: called with a lane and a reason at every such action.
    """

    def __init__(self, policy: Policy, diverged: Callable[[int, str], None]) -> None:
        self._policy, self._diverged = policy, diverged
        if isinstance(policy, TanhGaussian):
            self.latent = policy.latent  # what it is compared by may be non-finite

    def act(self, observations: Tensor) -> Tensor:
        """Actions (L, N, A); see `contract.Policy`."""
        actions = self._policy.act(observations)
        if not isinstance(actions, Tensor):
            raise TypeError(f"a policy's act must return a tensor, it returned {actions!r:.80}")
        finite = torch.isfinite(actions)
        if not finite.all():
            for lane in (~finite.flatten(1).all(1)).nonzero()[:, 0].tolist():
                self._diverged(lane, "an action in evaluation was not finite")
            actions = torch.where(finite, actions, 0)
        return actions


def check_info(info: Mapping[str, Tensor], lanes: int, diverged: Callable[[int, str], None]) -> None:
    """Report the lanes in which a diagnostic (L,) is not finite.

    Raises:
        TypeError: a diagnostic is no tensor with one number per lane.
    """
    for name, values in info.items():
        if not isinstance(values, Tensor) or values.shape != (lanes,):
            kind = f"of shape {tuple(values.shape)}" if isinstance(values, Tensor) else f"a {type(values).__name__}"
            raise TypeError(f"the diagnostic {name} must be a tensor of shape ({lanes},), one per lane; it is {kind}")
        for lane in (~values.isfinite()).nonzero()[:, 0].tolist():
            diverged(lane, f"{name} was {values[lane].item():.3g}")
