"""What makes a learner fast beyond plain PyTorch: precision of products, compilation, and CUDA graphs.

A learner says what its step is, `accelerated` says how it is carried out, from outside. All of it is optional and
recorded in a method's settings. Whatever cannot be had on a machine is left out with a warning; the numbers are then
those of plain PyTorch.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import warnings
from collections.abc import Callable, Hashable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Generic, ParamSpec, TypeVar, get_args

import torch
from torch import Tensor, nn

from .errors import UserError
from .forms import Precision, cache_folder
from .networks import MLP
from .replay import Batch

WARM_UP = 3
"""Steps made one operation at a time before a CUDA graph is recorded, as PyTorch's documentation asks."""


P = ParamSpec("P")
R = TypeVar("R")


Draw = Callable[..., tuple[Tensor | None, ...]]
"""Draws a step's random numbers, which no compiler knows how to do: a variant and batches -> tensors."""
Learn = Callable[..., dict[str, Tensor]]
"""Makes a step from its random numbers and batches: changes tensors in place and returns diagnostics."""


class AccelerationWarning(UserWarning):
    """Something that would have made this faster is not to be had; the run goes on without it."""


def accelerated(
    draw: Draw,
    learn: Learn,
    device: torch.device,
    compile: bool = False,
    precision: Precision = "float32",
    networks: Iterable[nn.Module] = (),
    cuda_graph: bool = False,
    generators: Iterable[torch.Generator] = (),
    failed: Callable[[], None] = lambda: None,
) -> Callable[..., dict[str, Tensor]]:
    """A learner's step, `learn(*draw(variant, *batches), *batches)`, as a function of a variant and batches.

    Args:
        draw: the step's random numbers.
        learn: the step given these.
        device: where it runs.
        compile: compile `learn`.
        precision: of the hidden layers of `networks`.
        networks: the modules whose perceptrons take that precision.
        cuda_graph: on CUDA, replay drawing and learning as one graph per variant; without effect on a CPU.
        generators: what `draw` draws from.
        failed: called if `learn` cannot be compiled, and runs plainly from then on.

    Raises:
        UserError: the precision is not to be had on this device.
    """
    check_precision(precision, device)
    for network in networks:
        for module in network.modules():
            if isinstance(module, MLP):
                module.rounded = precision == "bfloat16"
    learn = Compiled(learn, failed) if compile else learn

    def step(variant: Hashable, *batches: Batch) -> dict[str, Tensor]:
        return learn(*draw(variant, *batches), *batches)

    return Graphed(step, generators) if cuda_graph and device.type == "cuda" else step


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

    What was compiled is kept in `cache_folder` (or where `TORCHINDUCTOR_CACHE_DIR` says), for all processes of the
    machine; of several that need the same at the same time one compiles, and the others wait for it.

    Args:
        function: what is compiled; of tensors, batches and None.
        failed: called if that does not work.
    """

    def __init__(self, function: Callable[P, R], failed: Callable[[], None] = lambda: None) -> None:
        self._plain, self._failed, self._made = function, failed, set[str]()
        os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str(cache_folder() / f"torch-{torch.__version__}"))
        # no public switch says so; an older torch has none and compiles a function that takes gradients in pieces
        if hasattr(torch._dynamo.config, "trace_autograd_ops"):
            torch._dynamo.config.trace_autograd_ops = True
        # one per learner of this process and form of its step, beyond which steps would silently be plain
        limits: Any = torch.compiler.config
        if hasattr(limits, "recompile_limit"):
            limits.recompile_limit = max(limits.recompile_limit, 64)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the compiler's own imports
            self._compiled: Callable[P, R] | None = torch.compile(function, dynamic=False)

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """What the function gives."""
        if self._compiled is None:
            return self._plain(*args, **kwargs)
        kind = _kind(args)
        if kind in self._made:
            return self._compiled(*args, **kwargs)
        try:
            with alone(kind), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # what the compiler warns of while it looks at the code is its own
                result = self._compiled(*args, **kwargs)
        except Exception as error:  # every part of the compiler has errors of its own
            if self._made:
                raise
            reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
            message = f"the learner cannot be compiled here and runs without (is a C++ compiler installed?): {reason}"
            warnings.warn(message, AccelerationWarning, stacklevel=2)
            self._failed()
            self._compiled = None
            return self._plain(*args, **kwargs)
        self._made.add(kind)
        return result


def _kind(arguments: Iterable[Any]) -> str:
    """The shapes that a compiled function is made for, as text; batches among its arguments count by their columns."""
    flat = [part for argument in arguments for part in (argument if isinstance(argument, tuple) else (argument,))]
    return " ".join("x".join(map(str, part.shape)) if isinstance(part, Tensor) else str(part) for part in flat)


@contextmanager
def alone(purpose: str) -> Iterator[None]:
    """Be the machine's only process with this purpose; where files cannot be locked, others may be, too."""
    path = cache_folder() / "locks" / hashlib.sha256(purpose.encode()).hexdigest()[:16]
    with ExitStack() as stack:
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            fcntl.flock(stack.enter_context(path.open("w")), fcntl.LOCK_EX)
        yield


class Graphed:
    """A step that is replayed as one CUDA graph per variant: a single launch instead of hundreds.

    A step takes batches of fixed shapes, changes state in place and returns tensors. Every call makes exactly one step,
    also those in which a graph is recorded. Where recording fails, steps go on one operation at a time, with a warning.

    Args:
        step: the step; a function of a variant (what Python decides, such as whether the actor is updated) and batches.
        generators: random generators that the step draws from.
    """

    def __init__(self, step: Callable[..., dict[str, Tensor]], generators: Iterable[torch.Generator]) -> None:
        self._step, self._generators = step, tuple(generators)
        self._made: dict[Hashable, int] = {}
        self._graphs: dict[Hashable, tuple[torch.cuda.CUDAGraph, tuple[Tensor, ...], dict[str, Tensor]]] = {}
        self._failed = False

    def __call__(self, variant: Hashable, *batches: Batch) -> dict[str, Tensor]:
        """Make one step; the results are the caller's own."""
        made = self._made[variant] = self._made.get(variant, 0) + 1
        if self._failed or made <= WARM_UP:
            return self._aside(variant, *batches)
        columns = tuple(column for batch in batches for column in batch)
        if variant not in self._graphs:
            try:
                self._graphs[variant] = self._record(variant, *columns)
            except RuntimeError as error:
                self._failed = True
                message = f"no CUDA graph of the learner's update, which is slower without: {error}"
                warnings.warn(message, AccelerationWarning, stacklevel=2)
                return self._aside(variant, *batches)
        graph, places, results = self._graphs[variant]
        torch._foreach_copy_(places, columns)
        graph.replay()
        return {name: value.clone() for name, value in results.items()}

    def _aside(self, variant: Hashable, *batches: Batch) -> dict[str, Tensor]:
        """One step on a stream of its own, so that nothing is left pending on the default one when recording begins."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            results = self._step(variant, *batches)
        torch.cuda.current_stream().wait_stream(stream)
        return results

    def _record(
        self, variant: Hashable, *columns: Tensor
    ) -> tuple[torch.cuda.CUDAGraph, tuple[Tensor, ...], dict[str, Tensor]]:
        """Record a step without making it: the graph, where it reads its columns, and where it leaves its results."""
        graph, places = torch.cuda.CUDAGraph(), tuple(column.clone() for column in columns)
        width = len(Batch._fields)
        batches = [Batch(*places[start : start + width]) for start in range(0, len(places), width)]
        for generator in self._generators:
            graph.register_generator_state(generator)
        with torch.cuda.graph(graph):
            results = self._step(variant, *batches)
        return graph, places, results
