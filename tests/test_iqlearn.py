"""IQ-Learn: its loss against a case computed by hand, and its update."""

import pytest
import torch

from baselines import iqlearn
from benchmarks.kit.replay import Batch

# Two states 0 and 1 and one action, gamma = 0.5, alpha_r = 0.5, one action so that log pi = 0 and V = Q.
# Q = (4, 2). The expert goes 0 -> 1, the agent 1 -> terminal:
#   r_expert = 4 - 0.5 * 2 = 3,   r_agent = 2 - 0 = 2,   chi-squared = (9 + 4) / 2 / (4 * 0.5) = 3.25
#   value: mean(4 - 1, 2 - 0) = 2.5        v0: (1 - 0.5) * 4 = 2

VALUES = torch.tensor([[4.0, 2.0]])
TARGETS = torch.tensor([[1.0, 0.0]])


@pytest.mark.parametrize(("second_term", "second"), [("value", 2.5), ("v0", 2.0)])
def test_iqlearn_loss_in_two_states(second_term, second):
    config = iqlearn.IQLearnConfig(discount=0.5, regularisation=0.5, second_term=second_term)
    loss = iqlearn.objective(VALUES, VALUES, TARGETS, config)
    assert loss.tolist() == [pytest.approx(-3 + second + 3.25)]


def test_iqlearn_regularisation_scales_the_square_alone():
    losses = [
        iqlearn.objective(VALUES, VALUES, TARGETS, iqlearn.IQLearnConfig(regularisation=weight)).item()
        for weight in (0.5, 0.25)
    ]
    assert losses[1] - losses[0] == pytest.approx(3.25)


@pytest.mark.parametrize("second_term", ["value", "v0"])
def test_iqlearn_update_minimises_its_loss(second_term, point_problem):
    """On a fixed batch, many updates of Q bring the loss down, and the demonstrated rewards above the agent's."""
    problem = point_problem(seeds=(0, 1))
    config = iqlearn.IQLearnConfig((32, 32), 3e-3, 3e-4, second_term=second_term)
    agent = iqlearn.IQLearn(problem, config, iqlearn.Standardiser.identity(problem))
    states, actions = torch.rand(2, 64, 2), torch.rand(2, 64, 2)
    batch = Batch(states, actions, states + 0.1, torch.full((2, 64), torch.nan), torch.ones(2, 64))
    expert, own = batch, batch._replace(actions=-actions)
    first = agent.update(expert, own)["loss"]
    for _ in range(100):
        last = agent.update(expert, own)["loss"]
    assert first.shape == (2,)
    assert (last < first - 0.05).all()
