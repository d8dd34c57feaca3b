"""What makes the learner fast beyond plain PyTorch: precision of products, compilation, and CUDA graphs.

All of it is optional and recorded in a method's settings. Whatever cannot be had on a machine is left out with a
warning; the numbers are then those of plain PyTorch.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Iterable
from typing import Generic, Literal, ParamSpec, TypeVar, get_args

import torch
from torch import Tensor

from .errors import UserError

Precision = Literal["float32", "tf32", "bfloat16"]
"""Precisions of hidden layers; losses, parameters and optimisers are always single precision."""
WARM_UP = 3
"""Steps made one operation at a time before a CUDA graph is recorded, as PyTorch's documentation asks."""


P = ParamSpec("P")
R = TypeVar("R")


class AccelerationWarning(UserWarning):
    """Something that would have made this faster is not to be had; the run goes on without it."""


def check_precision(precision: str, device: torch.device) -> None:
    """Refuse a precision that is not to be had; "tf32" is a switch of the whole process and is set, or unset, here.

    Raises:
        UserError: there is no such precision, or not on this device.
    """
    if precision not in get_args(Precision):
        raise UserError(f"precision must be one of {', '.join(get_args(Precision))}, not {precision}")
    if precision == "tf32" and device.type != "cuda":
        raise UserError(f"precision tf32 is for CUDA; on {device.type} take float32 or bfloat16")
    # what another cell of the same process asked for does not hold here
    wanted = "high" if precision == "tf32" else "highest"
    if torch.get_float32_matmul_precision() != wanted:  # some versions of torch warn whoever sets it
        torch.set_float32_matmul_precision(wanted)


class Compiled(Generic[P, R]):
    """A function compiled by `torch.compile` at its first call; plain, with a warning, where that fails.

    It may take gradients of its own (`torch.autograd.grad`) and change tensors in place, as a whole step of a learner
    does: then nothing is left to Python but one call. Compiled code fuses the elementwise operations between the
    products. Results differ from plain ones in the last bits, and do not depend on whether a run was interrupted.
    """

    def __init__(self, function: Callable[P, R]) -> None:
        self._plain, self._works = function, False
        # an older torch has no such switch and compiles a function that takes gradients in pieces
        if hasattr(torch._dynamo.config, "trace_autograd_ops"):
            torch._dynamo.config.trace_autograd_ops = True
        # one per learner of this process and form of its step, beyond which steps would silently be plain
        torch._dynamo.config.recompile_limit = max(torch._dynamo.config.recompile_limit, 64)
        self._compiled: Callable[P, R] | None = torch.compile(function, dynamic=False)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """What the function gives."""
        if self._compiled is None:
            return self._plain(*args, **kwargs)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what the compiler warns of while it looks at the code is its own
                result = self._compiled(*args, **kwargs)
        except Exception as error:  # every part of the compiler has errors of its own
            if self._works:
                raise
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            message = f"the learner cannot be compiled here and runs without (is a C++ compiler installed?): {reason}"
            warnings.warn(message, AccelerationWarning, stacklevel=2)
            self._compiled = None
            return self._plain(*args, **kwargs)
        self._works = True
        return result


class Graphed:
    """A step that is replayed as one CUDA graph per variant: a single launch instead of hundreds.

    A step takes tensors of fixed shapes, changes state in place and returns tensors. Every call makes exactly one step,
    also those in which a graph is recorded. Where recording fails, steps go on one operation at a time, with a warning.

    Args:
        step: the step; a function of a variant (what Python decides, such as whether the actor is updated) and tensors.
        generators: random generators that the step draws from.
    """

    def __init__(self, step: Callable[..., dict[str, Tensor]], generators: Iterable[torch.Generator]) -> None:
        self._step, self._generators = step, tuple(generators)
        self._made: dict[Hashable, int] = {}
        self._graphs: dict[Hashable, tuple[torch.cuda.CUDAGraph, tuple[Tensor, ...], dict[str, Tensor]]] = {}
        self._failed = False

    def __call__(self, variant: Hashable, *inputs: Tensor) -> dict[str, Tensor]:
        """Make one step; the results are the caller's own."""
        made = self._made[variant] = self._made.get(variant, 0) + 1
        if self._failed or made <= WARM_UP:
            return self._aside(variant, *inputs)
        if variant not in self._graphs:
            try:
                self._graphs[variant] = self._record(variant, *inputs)
            except RuntimeError as error:
                self._failed = True
                message = f"no CUDA graph of the learner's update, which is slower without: {error}"
                warnings.warn(message, AccelerationWarning, stacklevel=2)
                return self._aside(variant, *inputs)
        graph, places, results = self._graphs[variant]
        torch._foreach_copy_(places, inputs)
        graph.replay()
        return {name: value.clone() for name, value in results.items()}

    def _aside(self, variant: Hashable, *inputs: Tensor) -> dict[str, Tensor]:
        """One step on a stream of its own, so that nothing is left pending on the default one when recording begins."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            results = self._step(variant, *inputs)
        torch.cuda.current_stream().wait_stream(stream)
        return results

    def _record(
        self, variant: Hashable, *inputs: Tensor
    ) -> tuple[torch.cuda.CUDAGraph, tuple[Tensor, ...], dict[str, Tensor]]:
        """Record a step without making it: the graph, where it reads its inputs, and where it leaves its results."""
        graph, places = torch.cuda.CUDAGraph(), tuple(tensor.clone() for tensor in inputs)
        for generator in self._generators:
            graph.register_generator_state(generator)
        with torch.cuda.graph(graph):
            results = self._step(variant, *places)
        return graph, places, results
