"""Gradient steps of the densities that NDI fits before it learns."""

from dataclasses import replace

import pytest

from benchmarks.kit.replay import demonstration_replay
from benchmarks.kit.standardiser import Standardiser
from ndi.ebm import EBMConfig
from ndi.made import MADEConfig

from . import cases

STEPS = 20


@pytest.mark.benchmark(group="Density fitting")
@pytest.mark.parametrize("config", [MADEConfig(), EBMConfig()], ids=["made", "ebm"])
@pytest.mark.parametrize("lanes", [1, 5], ids=cases.lane_name)
def test_density_fit(measure, config, lanes):
    problem = cases.problem(lanes)
    fit = replace(config.fit, steps=STEPS, check_every=STEPS, refit=False)
    demonstrations = demonstration_replay(problem, Standardiser.from_demonstrations(problem))
    density = replace(config, fit=fit).build(problem)
    measure(lambda: density.fit(problem, demonstrations), "step", STEPS)
