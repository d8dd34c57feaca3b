"""Matrix products: those of a SAC update run alone, as the machine's own limit, and those of any function counted.

All else in an update (activations, optimisers, sampling, Python) does no floating-point work to speak of, so that the
share of its time that the same products take alone says how close it is to the limit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from benchmarks.kit.sac import SACConfig

HEADS = 2
"""Critics per lane."""


class Product(NamedTuple):
    """A stack of products (rows, inner) @ (inner, columns)."""

    stack: int
    rows: int
    inner: int
    columns: int
    transposed: str = ""
    """Which factor is stored transposed, "left" (gradient of weights) or "right" (of inputs), if any."""

    @property
    def gflop(self) -> float:
        """Billions of floating-point operations; a multiplication with its addition counts as two."""
        return 2 * self.stack * self.rows * self.inner * self.columns / 1e9


def sac_products(config: SACConfig, observation_size: int, action_size: int, lanes: int) -> list[Product]:
    """The products of `config.actor_period` updates in a row: as many of the critic, one of the actor.

    Args:
        config: the learner's settings.
        observation_size: d, with the absorbing bit if there is one.
        action_size: A.
        lanes: L.
    """
    policy = lanes, config.batch_size, (observation_size, *config.hidden, 2 * action_size)
    # without the last layer: one output is a dot product, and no matrix product
    critic = lanes * HEADS, config.batch_size, (observation_size + action_size, *config.hidden)
    critic_update = [
        *forward(*policy),  # a' ~ pi(s')
        *forward(*critic),  # the target's values of it
        *forward(*critic),
        *weight_gradients(*critic),
        *input_gradients(*critic)[1:],  # nothing is learnt before the first layer
    ]
    actor_update = [
        *forward(*policy),
        *forward(*critic),
        *input_gradients(*critic),  # down to the action, without the critic's weights
        *weight_gradients(*policy),
        *input_gradients(*policy)[1:],
    ]
    return critic_update * config.actor_period + actor_update


def forward(stack: int, rows: int, sizes: Sequence[int]) -> list[Product]:
    """x W of every layer."""
    return [Product(stack, rows, i, o) for i, o in pairwise(sizes)]


def weight_gradients(stack: int, rows: int, sizes: Sequence[int]) -> list[Product]:
    """x^T g of every layer."""
    return [Product(stack, i, rows, o, "left") for i, o in pairwise(sizes)]


def input_gradients(stack: int, rows: int, sizes: Sequence[int]) -> list[Product]:
    """g W^T of every layer, the first one first."""
    return [Product(stack, rows, o, i, "right") for i, o in pairwise(sizes)]


def alone(products: Iterable[Product], dtype: torch.dtype = torch.float32) -> Callable[[], None]:
    """A function that computes all products and does nothing else: operands and results are allocated now."""
    products = list(products)
    operands = {product: _operands(product, dtype) for product in set(products)}

    def compute() -> None:
        for product in products:
            left, right, out = operands[product]
            torch.bmm(left, right, out=out)

    return compute


def counted(function: Callable[[], Any]) -> float:
    """Call a function; returns what its products took, in billions of floating-point operations.

    By torch's own formulas. Its `FlopCounterMode` cannot look into a gradient that is part of a loss.
    """
    with _Count() as count:
        function()
    return count.operations / 1e9


class _Count(TorchDispatchMode):
    """Adds up the operations of everything that torch has a formula for."""

    operations = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        kwargs = kwargs or {}
        result = function(*args, **kwargs)
        if formula := flop_registry.get(function.overloadpacket):
            self.operations += formula(*args, **kwargs, out_val=result)
        return result


def _operands(product: Product, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """Two factors, laid out as in the update, and room for their product."""
    stack, rows, inner, columns, transposed = product
    left = torch.randn(stack, *((inner, rows) if transposed == "left" else (rows, inner))).to(dtype)
    right = torch.randn(stack, *((columns, inner) if transposed == "right" else (inner, columns))).to(dtype)
    out = torch.empty(stack, rows, columns, dtype=dtype)
    return (
        left.transpose(1, 2) if transposed == "left" else left,
        right.transpose(1, 2) if transposed == "right" else right,
        out,
    )
