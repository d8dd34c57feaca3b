"""The form of a learner's step that a machine carries out fastest, found by trying (see `forms`).

A small learner must take the step of a plain one in it, and products in bfloat16 must be faster than in single
precision.
"""

from __future__ import annotations

import dataclasses
import time
import warnings
from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from .acceleration import AccelerationWarning, Draw, Learn, accelerated
from .contract import Problem
from .forms import Form, Precision, StepConfig, keep, kept, machine
from .networks import MLP
from .optimiser import Adam
from .replay import Batch
from .streams import Streams

FASTER = 1.5
"""A bfloat16 product must be so many times as fast as one in single precision: converting costs, too."""
ROUNDING = {"float32": 1e-4, "bfloat16": 5e-2}
"""Largest relative error of a form's gradient beside the plain one's, by precision."""
HIDDEN, ROWS = 64, 128
"""Sizes of the small learner."""


def carried_out(
    name: str,
    draw: Draw,
    learn: Learn,
    problem: Problem,
    config: StepConfig,
    networks: Iterable[nn.Module],
    cuda_graph: bool = False,
    generators: Iterable[torch.Generator] = (),
) -> Callable[..., dict[str, Tensor]]:
    """`accelerated` in the form that the settings say or leave to the machine; what is not plain is noted by this name.

    Raises:
        UserError: the precision is not to be had on this device.
    """
    form = config.form(problem.budget, lambda: fastest(problem.device))
    # a run that is gone on with may have been in another form until now
    told = problem.notes.get(name, str(form) if problem.restored is None else str(Form()))
    told = told if told.split(", then ")[-1] == str(form) else f"{told}, then {form}"
    if told != str(Form()):
        problem.notes[name] = told

    def failed() -> None:
        problem.notes[name] = str(dataclasses.replace(form, compile=False))

    return accelerated(
        draw, learn, problem.device, form.compile, form.precision, networks, cuda_graph, generators, failed
    )


def fastest(device: torch.device) -> Form:
    """The fastest form of this machine that was found to be right; examines it if nobody has.

    On CUDA it is the plain one, which is replayed as a graph there.
    """
    if device.type != "cpu":
        return Form()
    here, found = machine(), kept()
    if here not in found:
        found[here] = examine()
        keep(found)
    return found[here]


def examine() -> Form:
    """Find this processor's fastest form by trying."""
    plain = _gradient(Form())
    precision: Precision = "float32"
    if _speedup() >= FASTER and _right(Form(precision="bfloat16"), plain):
        precision = "bfloat16"
    for form in (Form(True, precision), Form(True)):
        if _right(form, plain):
            return form
    return Form(precision=precision)


def _right(form: Form, plain: Tensor) -> bool:
    """Whether the small learner's gradient in this form is the plain one up to rounding; false where the form fails."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", AccelerationWarning)  # it must not fall back
        try:
            gradient = _gradient(form)
        except Exception:  # every part of a compiler or a processor has errors of its own
            return False
    return bool((gradient - plain).norm() <= ROUNDING[form.precision] * plain.norm())


def _gradient(form: Form) -> Tensor:
    """The gradient of a small learner's second step, flat: a regression on a layer-normalised perceptron, with Adam."""
    streams = Streams((0, 1), "examination")
    network = MLP(streams, (HIDDEN, HIDDEN, HIDDEN, 1), heads=2, layer_norm=True)
    optimiser = Adam(network.parameters(), 1e-3)
    observations = streams.normal(ROWS, HIDDEN)
    batch = Batch(observations, observations, observations, observations.sum(-1), torch.ones(2, ROWS))

    def learn(noise: Tensor, batch: Batch) -> dict[str, Tensor]:
        values = network(batch.observations + 0.01 * noise)[..., 0].unflatten(0, (2, 2))
        loss = (values - batch.rewards[:, None]).square().mean()
        gradients = torch.autograd.grad(loss, optimiser.parameters)
        optimiser.step(gradients)
        return {"gradient": torch.cat([gradient.flatten() for gradient in gradients])}

    step = accelerated(lambda variant, batch: (streams.normal(ROWS, HIDDEN),), learn, torch.device("cpu"),
                       form.compile, form.precision, (network,))  # fmt: skip
    step(None, batch)
    return step(None, batch)["gradient"]


@torch.no_grad()
def _speedup() -> float:
    """How many times as fast a batch of products of a learner's usual size is in bfloat16 as in single precision."""
    seconds = {}
    for dtype in (torch.float32, torch.bfloat16):
        bias, x, weight = (torch.ones(2, *shape, dtype=dtype) for shape in ((1, 256), (128, 256), (256, 256)))
        rounds = []
        for _ in range(15):
            begin = time.process_time()
            for _ in range(4):
                torch.baddbmm(bias, x, weight)
            rounds.append(time.process_time() - begin)
        seconds[dtype] = sorted(rounds)[len(rounds) // 2]
    return seconds[torch.float32] / seconds[torch.bfloat16]
