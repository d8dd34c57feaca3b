import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from benchmarks.kit.networks import LOG_STD_RANGE, MLP, Critic, TanhGaussianPolicy, orthogonal, rescaled_log_std
from benchmarks.kit.sac import SACConfig
from benchmarks.kit.standardiser import Standardiser
from benchmarks.kit.streams import Streams


def plain(streams, size, clip=math.inf):
    lanes = len(streams.generators)
    return Standardiser(torch.zeros(lanes, 1, size), torch.ones(lanes, 1, size), clip)


def test_every_lane_and_head_is_an_ordinary_mlp():
    network = MLP(Streams((0, 1), "x"), (3, 8, 8, 2), heads=2, layer_norm=True)
    x = torch.randn(2, 5, 3)
    out = network(x)
    for lane in range(2):
        for head in range(2):
            row = 2 * lane + head
            layers = []
            for depth, layer in enumerate(network.layers):
                linear = nn.Linear(*layer.weight.shape[1:])
                linear.weight.data, linear.bias.data = layer.weight.data[row].T, layer.bias.data[row, 0]
                layers += [linear] if depth == 2 else [linear, nn.LayerNorm(8), nn.ReLU()]
            torch.testing.assert_close(out[row], nn.Sequential(*layers)(x[lane]))


def test_initial_weights_have_torchs_default_distribution():
    weight = MLP(Streams((0,), "x"), (256, 256)).layers[0].weight
    reference = nn.Linear(256, 256).weight
    assert weight.abs().max() <= 256**-0.5
    assert abs(weight.std() / reference.std() - 1) < 0.02


def test_orthogonal_weights():
    streams = Streams((0, 1), "x")
    network = MLP(streams, (4, 16, 1))
    orthogonal(network, streams)
    gram = network.layers[0].weight @ network.layers[0].weight.transpose(1, 2)
    torch.testing.assert_close(gram, torch.eye(4).expand(2, 4, 4), atol=1e-5, rtol=0)


def test_tanh_gaussian_density_integrates_to_one():
    streams = Streams((0,), "x")
    policy = TanhGaussianPolicy(streams, plain(streams, 1), 1, (16,))
    edges = torch.linspace(-1, 1, 200_001, dtype=torch.float64)
    actions = ((edges[1:] + edges[:-1]) / 2).float()
    log_density = policy.log_density(torch.zeros(1, len(actions), 1), actions.view(1, -1, 1))
    assert abs(log_density.double().exp().mean().item() * 2 - 1) < 2e-3


def test_log_deviations_rise_from_the_lower_bound_to_the_upper():
    low, high = LOG_STD_RANGE
    told = rescaled_log_std(torch.tensor([-100.0, -0.5, 0.0, 0.5, 100.0]))
    halves = math.tanh(0.5) / 2
    wanted = [low + share * (high - low) for share in (0, 0.5 - halves, 0.5, 0.5 + halves, 1)]
    assert told.tolist() == pytest.approx(wanted, abs=1e-6)


def test_sampled_log_density_agrees_with_torch_distributions():
    streams = Streams((0, 1), "x")
    policy = TanhGaussianPolicy(streams, plain(streams, 3), 2, (16,))
    states, noise = torch.randn(2, 50, 3), torch.randn(2, 50, 2)
    actions, log_density = policy.sample(states, noise)
    # in double precision: the reference inverts tanh, which single precision cannot near its ends
    mean, log_std = (value.double() for value in policy(states))
    reference = torch.distributions.TransformedDistribution(
        torch.distributions.Independent(torch.distributions.Normal(mean, log_std.exp()), 1),
        [torch.distributions.TanhTransform()],
    )
    exact = reference.log_prob(torch.tanh(mean + log_std.exp() * noise))
    torch.testing.assert_close(log_density.double(), exact, atol=1e-3, rtol=1e-4)
    torch.testing.assert_close(policy.log_density(states, actions), log_density, atol=2e-2, rtol=1e-2)


def test_act_is_the_deterministic_action_of_raw_observations():
    streams = Streams((0,), "x")
    standardise = Standardiser(torch.full((1, 1, 2), 3.0), torch.full((1, 1, 2), 2.0))
    policy = TanhGaussianPolicy(streams, standardise, 1, (8,))
    raw = torch.tensor([[[5.0, 1.0]]])
    torch.testing.assert_close(policy.act(raw), torch.tanh(policy(torch.tensor([[[1.0, -1.0]]]))[0]))


@pytest.mark.parametrize("absorbing", [False, True])
def test_standardiser_uses_each_lanes_demonstrations(point_problem, absorbing):
    problem = point_problem(seeds=(0, 1))
    standardise = Standardiser.from_demonstrations(problem, floor=0.0, absorbing=absorbing)
    for lane, demonstrations in enumerate(problem.demonstrations):
        raw = torch.tensor(np.array(demonstrations.observations)).expand(2, -1, -1)
        states = standardise(raw)[lane]
        torch.testing.assert_close(states[:, :2].mean(0), torch.zeros(2), atol=1e-5, rtol=0)
        torch.testing.assert_close(states[:, :2].std(0, correction=0), torch.ones(2), atol=1e-4, rtol=0)
        assert states.shape[1] == 2 + absorbing
        assert not states[:, 2:].any()


def test_an_observation_that_mostly_has_one_value_is_always_zero(point_problem):
    """Of four values three, two and one are the median: only the first is a switch."""
    values = np.array([[7, 7, 1], [7, 7, 3], [7, 1, 2], [5, 9, 4]], np.float32)
    problem = point_problem()
    (points,) = problem.demonstrations
    columns = {"actions": points.actions[:4], "terminated": points.terminated[:4], "episodes": points.episodes[:4]}
    lent = replace(points, observations=values, next_observations=values.copy(), **columns)
    standardise = Standardiser.from_demonstrations(replace(problem, demonstrations=(lent,)), floor=0.5)
    expected = (values - values.mean(0)) / (values.std(0) + 0.5) * [0, 1, 1]
    np.testing.assert_allclose(standardise(torch.tensor(values)[None])[0], expected, atol=1e-6)


def test_what_lies_far_outside_the_demonstrations_is_clipped():
    standardise = Standardiser(torch.full((1, 1, 1), 3.0), torch.full((1, 1, 1), 2.0))
    raw = torch.tensor([[[-1e6], [3.0 - 2 * 9.9], [3.0], [23.5], [1e6]]])
    assert standardise(raw)[0, :, 0].tolist() == pytest.approx([-10.0, -9.9, 0.0, 10.0, 10.0])


def test_critic_heads_differ_and_lanes_are_separate():
    critic = Critic(Streams((0, 1), "x"), 3, 2, (8,))
    states, actions = torch.randn(2, 4, 3), torch.randn(2, 4, 2)
    values = critic(states, actions)
    assert values.shape == (2, 2, 4)
    assert isinstance(critic.network.norms[0], nn.Identity) != SACConfig().layer_norm
    assert not torch.allclose(values[:, 0], values[:, 1])
    values[0].sum().backward()
    for parameter in critic.parameters():
        assert parameter.grad[:2].abs().sum() > 0
        assert parameter.grad[2:].abs().sum() == 0
