"""Every installed method's own training loop, all but the simulation, in turns with plain SAC's."""

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
