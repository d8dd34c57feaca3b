import warnings
from contextlib import nullcontext

import pytest
import torch

from benchmarks.kit import acceleration
from benchmarks.kit.acceleration import AccelerationWarning, Compiled, Graphed, check_precision
from benchmarks.kit.errors import UserError
from benchmarks.kit.replay import Batch
from benchmarks.kit.sac import SAC, SACConfig
from benchmarks.kit.standardiser import Standardiser

CPU = torch.device("cpu")


def learner(point_problem, **changes):
    problem = point_problem(seeds=(0, 1))
    return SAC(problem, SACConfig(hidden=(32, 32), **changes), Standardiser.identity(problem))


@pytest.fixture
def batch(point_problem):
    problem, generator = point_problem(seeds=(0, 1)), torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(2, 64, *shape, generator=generator)

    d, a = problem.observation_size, problem.action_size
    return Batch(draw(d), draw(a).tanh(), draw(d), draw(), torch.ones(2, 64))


def test_unknown_or_impossible_precisions_are_refused_in_one_line(point_problem):
    with pytest.raises(UserError, match="one of float32, tf32, bfloat16, not float16"):
        check_precision("float16", CPU)
    with pytest.raises(UserError, match="tf32 is for CUDA"):
        learner(point_problem, precision="tf32")


def test_tf32_ends_with_the_learner_that_asked_for_it():
    check_precision("tf32", torch.device("cuda"))
    assert torch.get_float32_matmul_precision() == "high"
    check_precision("float32", CPU)
    assert torch.get_float32_matmul_precision() == "highest"


def test_bfloat16_products_give_the_gradients_of_single_precision_up_to_rounding(point_problem, batch):
    gradients = {}
    for precision in ("float32", "bfloat16"):
        sac = learner(point_problem, precision=precision)
        noise = torch.zeros(2, 64, sac.action_size)
        loss, values = sac.critic_loss(batch, noise, sac.temperature)
        assert values.dtype == loss.dtype == torch.float32
        loss.sum().backward()
        gradients[precision] = torch.cat([p.grad.flatten() for p in sac.critic.parameters()])
    exact, rounded = gradients.values()
    assert torch.cosine_similarity(exact, rounded, dim=0) > 0.999
    assert not torch.equal(exact, rounded)


@pytest.mark.usefixtures("compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_compiled_learner_takes_the_steps_of_a_plain_one(point_problem, batch):
    plain, compiled = (learner(point_problem, compile=compile) for compile in (False, True))
    with warnings.catch_warnings():
        warnings.simplefilter("error", AccelerationWarning)  # it must not fall back
        for _ in range(4):
            ours, theirs = plain.update(batch), compiled.update(batch)
    torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-5)
    ours, theirs = plain.state_dict(), compiled.state_dict()
    for part in ("policy", "deployed", "critic", "target", "log_temperature", "actor_optimiser", "critic_optimiser"):
        torch.testing.assert_close(theirs[part], ours[part], rtol=1e-3, atol=1e-5)


def test_what_cannot_be_compiled_runs_plainly_with_a_warning(monkeypatch):
    def broken(function, dynamic):
        def fail(*args):
            raise RuntimeError("no compiler\nand a long trace")

        return fail

    monkeypatch.setattr(torch, "compile", broken)
    double = Compiled(lambda x: 2 * x)
    with pytest.warns(AccelerationWarning, match=r"C\+\+ compiler installed\?\): no compiler$"):
        assert double(3) == 6
    assert double(4) == 8  # and does not warn again


class FakeGraph:
    """Stands in for a CUDA graph: what is called while it records is kept, and called again at replay."""

    recording = None

    def __init__(self):
        self.calls, self.generators = [], []

    def register_generator_state(self, generator):
        self.generators.append(generator)

    def replay(self):
        for call in self.calls:
            call()


class FakeStream:
    def wait_stream(self, other):
        pass


def columns(x):
    """A batch with x in every column."""
    return Batch(x, x, x, x, x)


@pytest.fixture
def fake_cuda(monkeypatch):
    class Recorder:
        def __init__(self, graph):
            self.graph = graph

        def __enter__(self):
            FakeGraph.recording = self.graph

        def __exit__(self, *error):
            FakeGraph.recording = None

    monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
    monkeypatch.setattr(torch.cuda, "graph", Recorder)
    monkeypatch.setattr(torch.cuda, "Stream", FakeStream)
    monkeypatch.setattr(torch.cuda, "current_stream", FakeStream)
    monkeypatch.setattr(torch.cuda, "stream", lambda stream: nullcontext())


def test_every_call_of_a_graphed_step_makes_one_step_with_its_own_inputs(fake_cuda):
    total, result = torch.zeros(2), torch.zeros(2)

    def step(negative, batch):
        x = batch.rewards

        def work():
            total.add_(-x if negative else x)
            result.copy_(total)

        if FakeGraph.recording is None:
            work()
        else:
            FakeGraph.recording.calls.append(work)  # a graph records without doing
        return {"total": result}

    graphed, expected, returned = Graphed(step, [torch.Generator()]), torch.zeros(2), []
    for call in range(1, 3 * acceleration.WARM_UP + 4):
        negative, x = call % 3 == 0, torch.tensor([1.0, 10.0]) * call
        expected = expected - x if negative else expected + x
        returned.append(graphed(negative, columns(x))["total"])
        torch.testing.assert_close(total, expected)
        torch.testing.assert_close(returned[-1], expected)
    assert len({value.data_ptr() for value in returned[-3:]}) == 3  # results are not overwritten by the next step
    assert all(graph.generators for graph, _, _ in graphed._graphs.values())


def test_a_step_that_cannot_be_recorded_goes_on_without_a_graph(fake_cuda, monkeypatch):
    def refuse(graph):
        raise RuntimeError("operation not permitted when stream is capturing")

    monkeypatch.setattr(torch.cuda, "graph", refuse)
    made = []

    def step(variant, batch):
        made.append(float(batch.rewards))
        return {"x": batch.rewards}

    graphed = Graphed(step, [])
    for call in range(acceleration.WARM_UP):
        graphed(True, columns(torch.tensor(float(call))))
    with pytest.warns(AccelerationWarning, match="no CUDA graph of the learner's update"):
        graphed(True, columns(torch.tensor(3.0)))
    graphed(True, columns(torch.tensor(4.0)))
    assert made == [0, 1, 2, 3, 4]
