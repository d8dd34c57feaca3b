"""Supervised fitting on the demonstrations, batched over lanes, with early stopping on contiguous held-out blocks.

Neighbouring steps of one trajectory are almost equal, so a random split would leak: blocks of consecutive transitions
are held out instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from .contract import Problem
from .replay import Batch, Replay
from .streams import Streams

BLOCKS = 5
"""Held-out blocks per lane, spread evenly over its demonstrations."""
HELD_OUT_ROWS = 512
"""Rows of the held-out loss: a fixed number, so that a lane's early stopping does not depend on its company."""


@dataclass(frozen=True)
class FitConfig:
    """Settings of a supervised fit."""

    steps: int = 3000
    """Gradient steps at most."""
    batch_size: int = 128
    """Demonstrated transitions per lane and step."""
    learning_rate: float = 1e-3
    """Adam's step size."""
    weight_decay: float = 1e-4
    """Decoupled weight decay (AdamW)."""
    held_out: float = 0.1
    """Share of the transitions held out, in `BLOCKS` contiguous blocks; 0 trains on all and keeps the last weights."""
    check_every: int = 100
    """Steps between two looks at the held-out loss; the weights of the best look are kept, lane by lane."""
    patience: int = 10
    """Looks without improvement after which a lane's best weights are final."""


def held_out_rows(sizes: Tensor, fraction: float, streams: Streams) -> Tensor:
    """Which transitions are held out: (L, max size) bool, `BLOCKS` contiguous blocks per lane at random offsets.

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
    return held_out & (row < sizes[:, None])


def fit(
    problem: Problem,
    module: nn.Module,
    loss: Callable[[Batch], Tensor],
    demonstrations: Replay,
    config: FitConfig,
    purpose: str,
) -> Iterator[dict[str, Tensor]]:
    """Minimise `loss` over the module's parameters; every parameter's leading axis must be lanes (times heads).

    Args:
        problem: the cell.
        module: what is fitted; ends with each lane's best weights by held-out loss.
        loss: batch (L, B) -> (L,) mean loss of every lane.
        demonstrations: rows to fit, in time order.
        config: settings.
        purpose: names the random streams.

    Yields:
        After every `check_every` steps: "loss" (training) and "held_out_loss", each (L,), and "steps".
    """
    streams = problem.streams(f"{purpose} batches")
    held_out = held_out_rows(demonstrations.sizes, config.held_out, problem.streams(f"{purpose} split"))
    present = torch.arange(held_out.shape[1], device=problem.device)[None] < demonstrations.sizes[:, None]
    train_rows, train_sizes = _compact(present & ~held_out)
    valid_rows, valid_sizes = _compact(held_out if config.held_out else present)
    spread = torch.arange(HELD_OUT_ROWS, device=problem.device)[None] * valid_sizes[:, None] // HELD_OUT_ROWS
    valid = demonstrations.take(valid_rows.gather(1, spread))

    parameters = list(module.parameters())
    optimiser = torch.optim.AdamW(parameters, config.learning_rate, weight_decay=config.weight_decay, fused=True)
    best_loss = torch.full((problem.lanes,), torch.inf, device=problem.device)
    stale = torch.zeros(problem.lanes, dtype=torch.int64, device=problem.device)
    best = [p.detach().clone() for p in parameters]
    for step in range(1, config.steps + 1):
        index = streams.integers(train_sizes, config.batch_size)
        value = loss(demonstrations.take(train_rows.gather(1, index)))
        optimiser.zero_grad()
        value.sum().backward()
        optimiser.step()
        if step % config.check_every == 0 or step == config.steps:
            # a loss may need gradients with respect to its inputs (score matching), so no torch.no_grad here
            held_out_loss = loss(valid).detach()
            if config.held_out:
                # a lane that has run out of patience keeps its weights, whatever happens while others train on
                improved = (held_out_loss < best_loss) & (stale < config.patience)
            else:
                improved = torch.ones_like(best_loss, dtype=torch.bool)
            best_loss = torch.where(improved, held_out_loss, best_loss)
            stale = torch.where(improved, 0, stale + 1)
            for kept, parameter in zip(best, parameters, strict=True):
                rows = improved.repeat_interleave(len(parameter) // problem.lanes)
                kept[rows] = parameter.detach()[rows]
            yield {"loss": value.detach(), "held_out_loss": held_out_loss}
            if config.held_out and bool((stale >= config.patience).all()):
                break
    with torch.no_grad():
        for kept, parameter in zip(best, parameters, strict=True):
            parameter.copy_(kept)


def _compact(chosen: Tensor) -> tuple[Tensor, Tensor]:
    """Positions of the chosen rows, moved to the front of each lane (L, N), and their numbers (L,)."""
    return chosen.int().argsort(dim=1, descending=True, stable=True), chosen.sum(1)
