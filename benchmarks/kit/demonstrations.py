"""Demonstrations: frozen, checked arrays of expert episodes. Where they come from is not known here."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from .errors import UserError


@dataclass(frozen=True)
class Demonstrations:
    """Expert transitions of one lane, episode after episode, in time order.

    Raises:
        UserError: a shape does not fit, a value is not finite, or an action lies outside [-1, 1].
    """

    observations: np.ndarray
    """(N, d) float32, raw observations in the environment's units."""
    actions: np.ndarray
    """(N, A) float32 in [-1, 1]: the environment's action bounds mapped to the unit cube."""
    next_observations: np.ndarray
    """(N, d) float32, the true next observation of every kept transition, also after subsampling."""
    terminated: np.ndarray
    """(N,) bool, the transition led into a terminal state (a time limit is not one)."""
    episodes: np.ndarray
    """(N,) int64, position of the transition's episode in `episode_ids`; non-decreasing."""
    episode_ids: tuple[int, ...]
    """Ids of the episodes in their Minari dataset."""
    returns: np.ndarray
    """(episodes,) float64, undiscounted true return of every whole episode (never shown to a learner's update)."""

    def __post_init__(self) -> None:
        """Check once, at birth."""
        n = len(self.observations)
        if n == 0 or self.observations.ndim != 2 or self.actions.ndim != 2:
            raise UserError("demonstrations need at least one transition, with observations (N, d) and actions (N, A)")
        for name in ("actions", "next_observations", "terminated", "episodes"):
            if len(getattr(self, name)) != n:
                raise UserError(f"demonstrations: {name} has {len(getattr(self, name))} rows, observations have {n}")
        for name in ("observations", "actions", "next_observations"):
            array = getattr(self, name)
            if array.dtype != np.float32:
                raise UserError(f"demonstrations: {name} must be float32, not {array.dtype}")
            if not np.isfinite(array).all():
                row = int(np.argwhere(~np.isfinite(array).all(axis=1))[0, 0])
                raise UserError(f"demonstrations: {name} has a NaN or infinite value in row {row}; clean the dataset")
        if np.abs(self.actions).max() > 1 + 1e-5:
            raise UserError(f"demonstrations: actions reach {np.abs(self.actions).max():.3g}, outside [-1, 1]")
        for array in (self.observations, self.actions, self.next_observations, self.terminated, self.episodes):
            array.setflags(write=False)

    def __len__(self) -> int:
        """Number of transitions, N."""
        return len(self.observations)

    @property
    def hash(self) -> str:
        """First 16 hex digits of the SHA-256 of all arrays: equal hash, equal data."""
        digest = hashlib.sha256()
        for array in (self.observations, self.actions, self.next_observations, self.terminated, self.episodes):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()[:16]
