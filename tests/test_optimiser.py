"""Adam for given gradients, against torch's optimiser."""

import pytest
import torch
from torch import nn

from benchmarks.kit.optimiser import Adam


def twins():
    generator = torch.Generator().manual_seed(0)
    start = [torch.randn(2, 3, 4, generator=generator), torch.randn(2, 1, 4, generator=generator)]
    return [[nn.Parameter(tensor.clone()) for tensor in start] for _ in range(2)]


@pytest.mark.parametrize("maximize", [False, True])
def test_steps_are_those_of_torchs_adam(maximize):
    ours, theirs = twins()
    adam = Adam(ours, 1e-2, maximize=maximize)
    reference = torch.optim.Adam(theirs, 1e-2, maximize=maximize, fused=True)
    for step in range(1, 20):
        gradients = [torch.randn_like(parameter) * step for parameter in ours]
        adam.step(gradients)
        for parameter, gradient in zip(theirs, gradients, strict=True):
            parameter.grad = gradient
        reference.step()
    for one, two in zip(ours, theirs, strict=True):
        assert torch.equal(one, two)


def test_gradients_may_lie_in_memory_as_they_like():
    """The fused kernel reads memory in order, whatever the order of a gradient's axes."""
    ours, theirs = twins()
    gradients = [torch.randn_like(parameter) for parameter in ours]
    Adam(ours, 0.1).step(gradients)
    Adam(theirs, 0.1).step([gradient.transpose(1, 2).contiguous().transpose(1, 2) for gradient in gradients])
    for one, two in zip(ours, theirs, strict=True):
        assert torch.equal(one, two)


def test_descent_changes_its_own_parameters_only_and_sums_over_lanes():
    (one, other), (alone, _) = twins()
    Adam([one], 0.1).descend((one * other.detach().sum()).square().sum((1, 2)))
    Adam([alone], 0.1).descend((alone * other.detach().sum()).square().sum())
    torch.testing.assert_close(one, alone)
    before = other.detach().clone()
    Adam([one], 0.1).descend((one.sum() * other.sum()).square())
    assert torch.equal(other, before)
    assert one.grad is None
    assert other.grad is None


def test_a_restored_optimiser_goes_on_bit_for_bit():
    ours, theirs = twins()
    straight, resumed = Adam(ours, 0.1), Adam(theirs, 0.1)
    gradients = [torch.randn_like(parameter) for parameter in ours]
    straight.step(gradients)
    state = straight.state_dict()
    for parameter, value in zip(theirs, ours, strict=True):
        parameter.data.copy_(value)
    resumed.load_state_dict(state)
    for optimiser in (straight, resumed):
        optimiser.step(gradients)
    for one, two in zip(ours, theirs, strict=True):
        assert torch.equal(one, two)
    assert state["steps"][0] == 1  # a copy, which later steps leave alone
