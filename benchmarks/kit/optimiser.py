"""Adam (Kingma & Ba, arXiv 1412.6980) for gradients that are handed to it, one per parameter.

The arithmetic is torch's own functional form, and so are the results, to the last bit. What `torch.optim.Adam` adds to
it (groups, hooks, gradients kept on parameters) takes longer than the arithmetic itself on networks of this size, and a
compiler cannot look through all of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor
from torch.optim.adam import adam

from .composite import Composite


class Adam(Composite):
    """Adam with torch's default betas and epsilon.

    Args:
        parameters: what is learnt, changed in place.
        learning_rate: the step size.
        maximize: climb instead of descending.
    """

    state = ("steps", "first", "second")

    def __init__(self, parameters: Iterable[Tensor], learning_rate: float, maximize: bool = False) -> None:
        self.parameters, self.learning_rate, self.maximize = list(parameters), learning_rate, maximize
        self.steps = [torch.zeros((), device=parameter.device) for parameter in self.parameters]
        self.first = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.second = [torch.zeros_like(parameter) for parameter in self.parameters]
        self._gradients: Sequence[Tensor] = []

    def descend(self, loss: Tensor) -> None:
        """One step along the gradient of a loss, summed if it is one value per lane; nothing else gets a gradient.

        Raises:
            RuntimeError: the loss does not depend on one of the parameters.
        """
        self.step(torch.autograd.grad(loss.sum(), self.parameters))

    @torch.no_grad()
    def step(self, gradients: Sequence[Tensor]) -> None:
        """One step along gradients in the order of the parameters."""
        # the fused kernel takes memory as it lies
        gradients = [
            gradient if gradient.stride() == parameter.stride() else torch.empty_like(parameter).copy_(gradient)
            for parameter, gradient in zip(self.parameters, gradients, strict=True)
        ]
        if not torch.compiler.is_compiling():
            # until the next step, as torch.optim does: freed with all else of an update, they let the memory go back to
            # the system, and to get it again takes half as long as an update of many lanes
            self._gradients = gradients
        adam(
            self.parameters, gradients, self.first, self.second, [], self.steps, foreach=False,
            fused=not torch.compiler.is_compiling(), amsgrad=False, beta1=0.9, beta2=0.999, lr=self.learning_rate,
            weight_decay=0.0, eps=1e-8, maximize=self.maximize,
        )  # fmt: skip
