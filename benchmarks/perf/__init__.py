"""What the suite's hot paths cost: `nox -s bench` or `python -m benchmarks.perf`.

test_*.py       pytest-benchmark suites; conftest.py gives them one way of measuring
cases.py        cells of HalfCheetah's size without simulation, for timing what learns
products.py     the matrix products of a SAC update, counted and run alone: the roofline
machine.py      the machine type, by which baselines are stored
comparison.py   a run beside the stored baseline, as one table
baselines/      stored runs, one JSON file of pytest-benchmark's format per machine type
fleet.py        many workers on one results folder, simulated (`python -m benchmarks.perf.fleet RESULTS`)
growth.py       time and memory against lanes, batch and observation size (`python -m benchmarks.perf.growth`)
"""
