"""Supervised fitting on the demonstrations, batched over lanes, with early stopping on contiguous held-out blocks.

Neighbouring steps of one trajectory are almost equal, so a random split would leak: blocks of consecutive transitions
are held out instead. A block may hold what the trajectory shows only once, such as its start, where every model is
surprised, and the more so the longer it is trained: the held-out loss is the median over blocks, which one or two such
blocks cannot decide.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count, islice

import numpy as np
import torch
from torch import Tensor, nn

from .bounds import Count, NonNegative, Part, Positive
from .composite import assign
from .contract import Problem
from .networks import follow
from .replay import Batch, Replay
from .streams import Streams

BLOCKS = 5
"""Held-out blocks per lane, spread evenly over its demonstrations."""
BLOCK_ROWS = 100
"""Rows per block of the held-out loss: a fixed number, so that a lane's stopping does not depend on its company."""


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
    """Share of the transitions held out, in `BLOCKS` contiguous blocks; 0 trains on all and keeps the last weights."""
    check_every: Count = 100
    """Steps between two looks at the held-out loss; the weights of the best look are kept, lane by lane."""
    patience: Count = 10
    """Looks without improvement after which a lane's best weights are final."""
    refit: bool = False
    """Begin anew on all transitions, the held-out ones too, for as many steps as were found best."""
    averaging: Part = 0.0
    """Rate of an exponential running average of the weights, which is then what is judged and kept; 0 takes the weights
    themselves. For losses with noisy gradients."""


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
    held_out = held_out_rows(demonstrations.sizes, config.held_out, problem.streams(f"{purpose} split"))
    present = torch.arange(held_out.shape[1], device=problem.device)[None] < demonstrations.sizes[:, None]
    train_rows, train_sizes = _compact(present & ~held_out)
    judged = torch.where(held_out.any(1, keepdim=True), held_out, present)
    valid_rows, valid_sizes = _compact(judged)
    rows = BLOCKS * BLOCK_ROWS
    spread = torch.arange(rows, device=problem.device)[None] * valid_sizes[:, None] // rows
    valid = demonstrations.take(valid_rows.gather(1, spread))

    parameters = list(module.parameters())
    start = [p.detach().clone() for p in parameters]
    best, best_step = [p.clone() for p in start], torch.zeros(problem.lanes, dtype=torch.int64, device=problem.device)
    patience = config.patience * config.check_every
    best_loss = torch.full((problem.lanes,), torch.inf, device=problem.device)

    def keep(lanes: Tensor) -> None:
        """Note the weights of chosen lanes (L,) as their best."""
        for kept, parameter in zip(best, parameters, strict=True):
            rows = lanes.repeat_interleave(len(parameter) // problem.lanes)
            kept[rows] = parameter.detach()[rows]

    descent = _descend(parameters, loss, demonstrations, (train_rows, train_sizes), config, streams)
    for step, value in enumerate(islice(descent, config.steps), 1):
        if step % config.check_every == 0 or step == config.steps:
            # a loss may need gradients with respect to its inputs (score matching), so no torch.no_grad here
            held_out_loss = loss(valid, streams).detach().unflatten(1, (BLOCKS, BLOCK_ROWS)).mean(-1).median(-1).values
            # a lane that has run out of patience keeps its weights, whatever happens while others train on
            patient = step - best_step <= patience
            improved = (held_out_loss < best_loss) & patient if config.held_out else torch.ones_like(patient)
            best_loss, best_step = (
                torch.where(improved, held_out_loss, best_loss),
                best_step.masked_fill(improved, step),
            )
            keep(improved)
            problem.tell(f"{purpose} fit", step, config.steps)
            yield {"loss": value, "held_out_loss": held_out_loss}
            if config.held_out and bool((step - best_step >= patience).all()):
                break
    if config.held_out and bool((lost := best_step == 0).any()):
        if lost.all():
            raise FloatingPointError(f"no held-out loss of the {purpose} fit was finite")
        for kept in best:  # the first, random weights would be taken for a fit
            kept[lost.repeat_interleave(len(kept) // problem.lanes)] = torch.nan
    if config.refit and config.held_out:
        assign(parameters, start)
        streams = problem.streams(f"{purpose} refit")
        descent = _descend(parameters, loss, demonstrations, _compact(present), config, streams)
        for step, value in enumerate(islice(descent, int(best_step.max())), 1):
            if step % config.check_every == 0 or step == config.steps:
                keep(best_step == step)
                problem.tell(f"{purpose} refit", step, int(best_step.max()))
                yield {"loss": value, "held_out_loss": best_loss}
    assign(parameters, best)


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
