"""Whole episodes as arrays, wherever they come from: checked, hashed, and turned into Demonstrations."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.kit.demonstrations import Demonstrations
from benchmarks.kit.errors import UserError

from .environment import ActionScale

ROUNDING = 1e-5
"""How far mapped actions may lie outside [-1, 1] and still be taken for actions at the bounds."""


@dataclass(frozen=True)
class Episode:
    """One whole episode of T steps, in the environment's own units and precision."""

    number: int
    """Id within its dataset."""
    observations: np.ndarray
    """(T + 1, d), from the reset to the last outcome."""
    actions: np.ndarray
    """(T, A), within the environment's bounds."""
    rewards: np.ndarray
    """(T,), true rewards."""
    terminations: np.ndarray
    """(T,) bool."""
    truncations: np.ndarray
    """(T,) bool."""

    def __len__(self) -> int:
        """T."""
        return len(self.rewards)

    @property
    def total_return(self) -> float:
        """Undiscounted true return."""
        return float(np.sum(self.rewards, dtype=np.float64))

    def check(self) -> None:
        """Make sure that the arrays belong together.

        Raises:
            UserError: lengths do not fit, a value is NaN or infinite, or the episode goes on after an end.
        """
        lengths = (len(self.observations) - 1, len(self.actions), len(self.terminations), len(self.truncations))
        if len(self) == 0 or set(lengths) != {len(self)}:
            raise UserError(
                f"episode {self.number} has {len(self.observations)} observations, {len(self.actions)} actions and "
                f"{len(self)} rewards; T + 1, T and T are needed, T at least 1; repair the dataset"
            )
        for name in ("observations", "actions", "rewards"):
            if not np.isfinite(getattr(self, name)).all():
                raise UserError(f"the {name} of episode {self.number} have a NaN or infinite value; clean the dataset")
        ends = np.flatnonzero(np.logical_or(self.terminations, self.truncations)[:-1])
        if len(ends):
            raise UserError(
                f"episode {self.number} goes on after its end: step {ends[0]} of {len(self)} is flagged as terminated "
                "or truncated; split the episode there"
            )


def content_hash(episodes: Iterable[Episode]) -> str:
    """First 16 hex digits of the SHA-256 of the types, shapes and bytes of all arrays of all episodes."""
    digest = hashlib.sha256()
    for episode in episodes:
        for name in ("observations", "actions", "rewards", "terminations", "truncations"):
            array = np.ascontiguousarray(getattr(episode, name))
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
            digest.update(array.tobytes())
    return digest.hexdigest()[:16]


def choose(numbers: Sequence[int] | np.ndarray, count: int, seed: int) -> tuple[int, ...]:
    """The first `count` of all episode numbers in the order that belongs to a seed; a smaller choice is part of it.

    The first episodes of different seeds differ as long as there are enough, so that with one demonstration the spread
    over seeds is one over demonstrations, too; the others follow in an order that the seed alone decides.
    """
    name = zlib.crc32(b"episodes")
    first = np.random.default_rng(name).permutation(np.asarray(numbers))[seed % len(numbers)]
    rest = np.random.default_rng([seed, name]).permutation([number for number in numbers if number != first])
    return tuple(int(number) for number in [first, *rest][:count])


def check_bounds(episode: Episode, scale: ActionScale) -> None:
    """Refuse an episode whose actions lie outside the bounds by more than rounding.

    Raises:
        UserError: names the episode and the action that is furthest out.
    """
    furthest = float(np.abs(scale.to_unit(episode.actions)).max())
    if not furthest <= 1 + ROUNDING:
        raise UserError(
            f"episode {episode.number}: actions reach {furthest:.3g} times the bounds of the action space; "
            "clip them, as the environment did when they were executed"
        )


def demonstrations(episodes: Sequence[Episode], scale: ActionScale, subsample: int, seed: int) -> Demonstrations:
    """Demonstrations made of every k-th transition of the episodes, with their true next observations.

    Args:
        episodes: whole episodes, in the order wanted.
        scale: maps their actions to [-1, 1]; what lies outside by rounding is clipped.
        subsample: k; every episode is entered at a random offset below k (and below its length).
        seed: gives the offsets, together with the episodes' numbers.

    Raises:
        UserError: an action lies outside the bounds.
    """
    columns = []
    for position, episode in enumerate(episodes):
        generator = np.random.default_rng([seed, zlib.crc32(b"offset"), episode.number])
        kept = slice(int(generator.integers(min(subsample, len(episode)))), None, subsample)
        path = episode.observations.astype(np.float32)
        unit = scale.to_unit(episode.actions[kept])
        unit = np.where(np.abs(unit) <= 1 + ROUNDING, np.clip(unit, -1, 1), unit)
        terminated = episode.terminations[kept].astype(bool)
        columns.append((path[:-1][kept], unit, path[1:][kept], terminated, np.full(len(unit), position)))
    observations, actions, following, terminated, positions = map(np.concatenate, zip(*columns, strict=True))
    numbers, returns = zip(*((episode.number, episode.total_return) for episode in episodes), strict=True)
    return Demonstrations(observations, actions, following, terminated, positions, numbers, np.array(returns))
