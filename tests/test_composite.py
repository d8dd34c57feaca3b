import torch

from benchmarks.kit.composite import Composite
from benchmarks.kit.streams import Streams


class Agent(Composite):
    state = ("layer", "noise", "temperature", "updates")

    def __init__(self, seed):
        torch.manual_seed(seed)
        self.layer, self.noise = torch.nn.Linear(2, 3), Streams((seed,), "noise")
        self.temperature, self.updates = torch.full((2,), float(seed), requires_grad=True), seed
        self.unsaved = seed


def test_a_composite_is_restored_part_by_part_and_in_place():
    one, other = Agent(1), Agent(2)
    temperature, weight = other.temperature, other.layer.weight
    one.noise.normal(5)
    other.load_state_dict(one.state_dict())
    assert other.temperature is temperature
    assert other.layer.weight is weight
    torch.testing.assert_close(temperature, one.temperature)
    torch.testing.assert_close(weight, one.layer.weight)
    torch.testing.assert_close(other.noise.normal(5), one.noise.normal(5), rtol=0, atol=0)
    assert (other.updates, other.unsaved) == (1, 2)


def test_the_state_does_not_change_with_the_composite():
    agent = Agent(1)
    state = agent.state_dict()
    with torch.no_grad():
        agent.temperature += 1
    agent.updates += 1
    assert (state["updates"], state["temperature"].tolist()) == (1, [1.0, 1.0])
