"""Supervised fitting on the demonstrations, batched over lanes, with early stopping on contiguous held-out blocks.

Neighbouring steps of one trajectory are almost equal, so a random split would leak: blocks of consecutive transitions
are held out instead. A block may hold what the trajectory shows only once, such as its start, where every model is
surprised, and the more so the longer it is trained: the held-out loss is the median over blocks, which one or two such
blocks cannot decide.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count, islice

import numpy as np
import torch
from torch import Tensor, nn

from .bounds import Count, NonNegative, Part, Positive, Sizes
from .composite import assign
from .contract import Problem
from .networks import follow
from .replay import Batch, Replay
from .streams import Streams

BLOCKS = 5
"""Held-out blocks per lane, spread evenly over its demonstrations."""
BLOCK_ROWS = 100
"""Rows per block of the held-out loss: a fixed number, so that a lane's stopping does not depend on its company."""


def products(batch_size: int, hidden: Sizes) -> float:
    """Work in the products of a step, where that of a step of plain SAC is 1; for estimates."""
    return batch_size * math.prod(hidden) / (128 * 256 * 256)


@dataclass(frozen=True)
class FitConfig:
    """Settings of a supervised fit."""

    steps: Count = 3000
    """Gradient steps at most."""
    batch_size: Count = 128
    """Demonstrated transitions per lane and step."""
    learning_rate: Positive = 1e-3
    """Adam's step size."""
    weight_decay: NonNegative = 1e-4
    """Decoupled weight decay (AdamW)."""
    held_out: Part = 0.1
    """Share of the transitions held out, in five contiguous blocks; 0 trains on all and keeps the last weights."""
    check_every: Count = 100
    """Steps between two looks at the held-out loss; the weights of the best look are kept, lane by lane."""
    patience: Count = 10
    """Looks without improvement after which a lane's best weights are final."""
    refit: bool = False
    """Begin anew on all transitions, the held-out ones too, for as many steps as were found best."""
    averaging: Part = 0.0
    """Rate of an exponential running average of the weights, which is then what is judged and kept; 0 takes the weights
    themselves. For losses with noisy gradients."""

    def cost(self, hidden: Sizes) -> float:
        """Cost per lane of fitting so many hidden units, where a step costs as much as one of plain SAC, for estimates.

        At most: a fit may end before its last step. The split between what depends on sizes and what does not is that
        of `StepConfig.step_cost`.
        """
        return self.steps * (1 + self.refit) * (0.4 + 0.6 * products(self.batch_size, hidden))


def with_prior(config: FitConfig, problem: Problem) -> FitConfig:
    """The settings with weight decay as a prior on the weights, which counts once: n demonstrations have an n-th."""
    demonstrations = len(np.unique(problem.demonstrations[0].episodes))
    return replace(config, weight_decay=config.weight_decay / demonstrations)


Loss = Callable[[Batch, Streams], Tensor]
"""Demonstrated transitions (L, B) and streams for whatever is random in it -> the loss of every row, (L, B)."""


def held_out_rows(sizes: Tensor, fraction: float, streams: Streams) -> Tensor:
    """Which transitions are held out: (L, max size) bool, `BLOCKS` contiguous blocks per lane at random offsets.

    At least one per block, but none of a lane that would have none left to train on.

    Args:
        sizes: (L,) transitions per lane.
        fraction: share to hold out.
        streams: one draw per block.
    """
    offsets = streams.uniform(BLOCKS)
    row = torch.arange(int(sizes.max()), device=sizes.device)[None, :]
    held_out = torch.zeros(len(sizes), row.shape[1], dtype=torch.bool, device=sizes.device)
    segment = sizes / BLOCKS
    length = segment * fraction
    for block in range(BLOCKS):
        start = (segment * block + offsets[:, block] * (segment - length)).floor()[:, None]
        held_out |= (row >= start) & (row < start + length.ceil()[:, None])
    held_out &= row < sizes[:, None]
    return held_out & (held_out.sum(1) < sizes)[:, None]


def fit(
    problem: Problem,
    module: nn.Module,
    loss: Loss,
    demonstrations: Replay,
    config: FitConfig,
    purpose: str,
) -> Iterator[dict[str, Tensor]]:
    """Minimise `loss` over the module's parameters; every parameter's leading axis must be lanes (times heads).

    Args:
        problem: the cell.
        module: what is fitted; ends with each lane's best weights by held-out loss, or with those of the refit.
        loss: what to minimise.
        demonstrations: rows to fit, in time order.
        config: settings.
        purpose: names the random streams. The refit has its own, so that it does not depend on when other lanes stop.

    Yields:
        After every `check_every` steps: "loss" (mean of the training batch) and "held_out_loss" (median over blocks of
        their means; without held-out blocks, of fifths of the demonstrations), each (L,).

    Raises:
        FloatingPointError: no lane ever had a finite held-out loss. A single such lane ends with weights that are NaN.
    """
    streams = problem.streams(f"{purpose} fit")
    present, train, valid = _split(problem, demonstrations, config, purpose)
    parameters = list(module.parameters())
    best = _Best(problem, parameters)
    start = [weights.clone() for weights in best.weights]
    patience = config.patience * config.check_every

    descent = _descend(parameters, loss, demonstrations, train, config, streams)
    for step, value in enumerate(islice(descent, config.steps), 1):
        if step % config.check_every == 0 or step == config.steps:
            # a loss may need gradients with respect to its inputs (score matching), so no torch.no_grad here
            held_out_loss = loss(valid, streams).detach().unflatten(1, (BLOCKS, BLOCK_ROWS)).mean(-1).median(-1).values
            best.look(step, held_out_loss if config.held_out else None, patience)
            problem.tell(f"{purpose} fit", step, config.steps)
            yield {"loss": value, "held_out_loss": held_out_loss}
            if config.held_out and bool((step - best.step >= patience).all()):
                break
    if config.held_out:
        best.drop_lost(purpose)
    if config.refit and config.held_out:
        assign(parameters, start)
        streams = problem.streams(f"{purpose} refit")
        descent = _descend(parameters, loss, demonstrations, _compact(present), config, streams)
        for step, value in enumerate(islice(descent, int(best.step.max())), 1):
            if step % config.check_every == 0 or step == config.steps:
                best.keep(best.step == step)
                problem.tell(f"{purpose} refit", step, int(best.step.max()))
                yield {"loss": value, "held_out_loss": best.loss}
    assign(parameters, best.weights)


def _split(
    problem: Problem, demonstrations: Replay, config: FitConfig, purpose: str
) -> tuple[Tensor, tuple[Tensor, Tensor], Batch]:
    """Which rows are transitions (L, N), where those to train on are (see `_compact`), and the rows that are judged by.

    The latter are as many for every lane, evenly spread over what is held out, or over all if nothing is.
    """
    held_out = held_out_rows(demonstrations.sizes, config.held_out, problem.streams(f"{purpose} split"))
    present = torch.arange(held_out.shape[1], device=problem.device)[None] < demonstrations.sizes[:, None]
    positions, sizes = _compact(torch.where(held_out.any(1, keepdim=True), held_out, present))
    rows = BLOCKS * BLOCK_ROWS
    spread = torch.arange(rows, device=problem.device)[None] * sizes[:, None] // rows
    return present, _compact(present & ~held_out), demonstrations.take(positions.gather(1, spread))


class _Best:
    """The best weights of each lane, after how many steps it had them (L,), and their held-out loss (L,)."""

    def __init__(self, problem: Problem, parameters: list[nn.Parameter]) -> None:
        self._parameters, self._lanes = parameters, problem.lanes
        self.weights = [p.detach().clone() for p in parameters]
        self.step = torch.zeros(problem.lanes, dtype=torch.int64, device=problem.device)
        self.loss = torch.full((problem.lanes,), torch.inf, device=problem.device)

    def look(self, step: int, held_out_loss: Tensor | None, patience: int) -> None:
        """Keep the present weights of the lanes whose held-out loss (L,) is their least; without one, of all.

        A lane that has run out of patience keeps its weights, whatever happens while others train on.
        """
        improved = torch.ones_like(self.step, dtype=torch.bool)
        if held_out_loss is not None:
            improved = (held_out_loss < self.loss) & (step - self.step <= patience)
            self.loss = torch.where(improved, held_out_loss, self.loss)
        self.step = self.step.masked_fill(improved, step)
        self.keep(improved)

    def keep(self, lanes: Tensor) -> None:
        """Take the present weights of chosen lanes (L,)."""
        for kept, parameter in zip(self.weights, self._parameters, strict=True):
            rows = self._rows(lanes, kept)
            kept[rows] = parameter.detach()[rows]

    def drop_lost(self, purpose: str) -> None:
        """Lanes that never had a finite loss get weights that are NaN: their first, random ones would pass for a fit.

        Raises:
            FloatingPointError: these are all lanes.
        """
        lost = self.step == 0
        if lost.all():
            raise FloatingPointError(f"no held-out loss of the {purpose} fit was finite")
        for kept in self.weights:
            kept[self._rows(lost, kept)] = torch.nan

    def _rows(self, lanes: Tensor, weights: Tensor) -> Tensor:
        """Which rows of a parameter are those of chosen lanes (L,)."""
        return lanes.repeat_interleave(len(weights) // self._lanes)


def _descend(
    parameters: list[nn.Parameter],
    loss: Loss,
    demonstrations: Replay,
    rows: tuple[Tensor, Tensor],
    config: FitConfig,
    streams: Streams,
) -> Iterator[Tensor]:
    """Gradient steps without end on random batches of the chosen rows; yields each batch's mean loss (L,).

    With averaging, the parameters hold the running average whenever this yields, and their own values in between.
    """
    own, average = ([p.detach().clone() for p in parameters] for _ in range(2))
    optimiser = torch.optim.AdamW(parameters, config.learning_rate, weight_decay=config.weight_decay, fused=True)
    for step in count(1):
        index = streams.integers(rows[1], config.batch_size)
        value = loss(demonstrations.take(rows[0].gather(1, index)), streams).mean(-1)
        optimiser.zero_grad()
        value.sum().backward()
        optimiser.step()
        if config.averaging:
            assign(own, parameters)
            # the first, random weights are soon forgotten
            follow(average, own, max(1 - config.averaging, 9 / (step + 9)))
            assign(parameters, average)
        yield value.detach()
        if config.averaging:
            assign(parameters, own)


def _compact(chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Positions of the chosen rows, moved to the front of each lane (L, N), and their numbers (L,)."""
    return chosen.int().argsort(dim=1, descending=True, stable=True), chosen.sum(1)
