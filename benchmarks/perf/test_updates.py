"""The SAC update by lanes, beside its own matrix products."""

import pytest
import torch

from benchmarks.kit.sac import SAC, SACConfig
from benchmarks.kit.standardiser import Standardiser
from benchmarks.peers.exchange import MATCHED

from . import cases, products

PRECISIONS = ["float32", "bfloat16"]


@pytest.mark.benchmark(group="SAC update")
@pytest.mark.parametrize("lanes", [1, 5, 32], ids=cases.lane_name)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_sac_update(measure, lanes, precision):
    measure_updates(measure, lanes, SACConfig(compile=False, precision=precision))


@pytest.mark.benchmark(group="SAC update, compiled")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler uses what torch deprecates
@pytest.mark.parametrize("lanes", [1, 5], ids=cases.lane_name)
@pytest.mark.parametrize("precision", PRECISIONS)
def test_compiled_update(measure, lanes, precision):
    measure_updates(measure, lanes, SACConfig(compile=True, precision=precision))


@pytest.mark.benchmark(group="SAC update as beside the peers")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("compile", [False, True], ids=["plain", "compiled"])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_peers_update(measure, precision, compile):
    measure_updates(measure, 1, SACConfig(**MATCHED, precision=precision, compile=compile))


def measure_updates(measure, lanes, config):
    """An update of the learner, its products beside it."""
    problem = cases.problem(lanes)
    sac, batch = SAC(problem, config, Standardiser.identity(problem)), cases.batch(lanes, config.batch_size)

    def updates():
        for _ in range(config.actor_period):
            sac.update(batch)

    wanted = products.sac_products(config, cases.OBSERVATIONS, cases.ACTIONS, lanes)
    alone = products.alone(wanted, getattr(torch, config.precision))
    gflop = sum(product.gflop for product in wanted)
    measure(updates, "update", config.actor_period, beside=alone, beside_name="its products", gflop=gflop)


@pytest.mark.benchmark(group="Product of 256 x 256 x 256")
@pytest.mark.parametrize("precision", PRECISIONS)
def test_square_product(measure, precision):
    """The machine's pace at one product of 256 x 256 x 256, ten times over."""
    square = [products.Product(1, 256, 256, 256)] * 10
    measure(
        products.alone(square, getattr(torch, precision)), "product", 10, gflop=sum(product.gflop for product in square)
    )
