"""Time of one update: the shared SAC by lanes, beside the machine's own matrix product; rewards; baselines.

Quote medians and ratios of one run, never a number against another day's.
"""

import pytest
import torch

from baselines.valuedice import ValueDICE, ValueDICEConfig
from benchmarks.kit.sac import SAC, SACConfig
from benchmarks.kit.standardiser import Standardiser
from ndi.ebm import EBMConfig
from ndi.made import MADEConfig


@pytest.mark.parametrize("lanes", [1, 5, 32])
def test_sac_update(benchmark, cell, lanes):
    problem, batch = cell(lanes)
    sac = SAC(problem, SACConfig(), Standardiser.identity(problem))
    benchmark.extra_info["lanes"] = lanes
    benchmark.pedantic(sac.update, (batch,), rounds=40 // lanes + 10, warmup_rounds=6, iterations=2)


@pytest.mark.parametrize("rows", [128, 256])
def test_matrix_product(benchmark, rows):
    """The roofline: one hidden layer's product, rows x 256 x 256 single precision."""
    x, weight = torch.randn(rows, 256), torch.randn(256, 256)
    benchmark.extra_info["gflop"] = 2 * rows * 256 * 256 / 1e9
    benchmark.pedantic(torch.mm, (x, weight), rounds=200, warmup_rounds=20, iterations=10)


@pytest.mark.parametrize("config", [MADEConfig(), EBMConfig()], ids=["made", "ebm"])
def test_log_density_of_a_batch(benchmark, cell, config):
    """What NDI adds to a SAC update."""
    problem, batch = cell(1)
    density = config.build(problem)
    with torch.no_grad():
        benchmark.pedantic(
            density.log_density, (batch.observations, batch.actions), rounds=100, warmup_rounds=10, iterations=5
        )


@pytest.mark.parametrize("lanes", [1, 5])
def test_valuedice_update(benchmark, cell, lanes):
    problem, batch = cell(lanes, 256)
    agent = ValueDICE(problem, ValueDICEConfig(), Standardiser.identity(problem))
    benchmark.pedantic(agent.update, (batch, batch), rounds=10, warmup_rounds=2)
