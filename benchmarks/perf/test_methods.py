"""Every installed method's own training loop, all but the simulation, in turns with SAC's on the true reward."""

import pytest

from benchmarks.plan import registry

from . import cases, products


@pytest.mark.benchmark(group="Methods, without simulation")
@pytest.mark.parametrize("name", cases.learners())
def test_method(measure, name):
    method, plain = registry.find_method(name), registry.find_method("sac")
    advance = cases.advance(cases.training(method), cases.PERIOD if method.online else 1)
    before = advance()
    updates = advance() - before
    if not method.online:  # no environment step to compare by
        measure(advance, "update", updates)
        return
    estimate = method.cost(method.config) / plain.cost(plain.config)
    beside = cases.advance(cases.training(plain))
    arithmetic = products.counted(advance) / products.counted(beside)
    measure(
        advance, "update", updates, beside=beside, beside_name="plain SAC", estimate=estimate, arithmetic=arithmetic
    )


@pytest.mark.benchmark(group="Methods in long cells, without simulation")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's compiler uses what torch deprecates
@pytest.mark.parametrize("name", [name for name in cases.learners() if registry.find_method(name).online])
def test_method_in_a_long_cell(measure, name):
    """As fast as the machine can, both."""
    advance, beside = (
        cases.advance(cases.training(registry.find_method(each), budget=cases.LONG)) for each in (name, "sac")
    )
    before = advance()
    measure(advance, "update", advance() - before, beside=beside, beside_name="SAC")
