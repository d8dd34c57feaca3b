"""The arithmetic behind the timings; nothing here is timed."""

import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import matplotlib.figure
import pandas as pd
import pytest
import torch
from rich.console import Console
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.kit.errors import UserError
from benchmarks.kit.sac import SAC, SACConfig
from benchmarks.kit.standardiser import Standardiser
from benchmarks.perf import cases, comparison, growth, machine, products
from benchmarks.plan import registry

MACHINE = {"processor": "Some(R) CPU @ 2 family 6 model 1", "torch": "2.13.0", "python": "3.11"}


@pytest.mark.parametrize(
    ("lanes", "config"),
    [
        (1, SACConfig()),
        (2, SACConfig(actor_period=1)),
        (3, SACConfig(hidden=(32, 16, 8), batch_size=10, actor_period=3)),
    ],
)
def test_the_products_are_those_of_the_real_update(lanes, config):
    """Torch's own counter sees every product that really runs."""
    problem = cases.problem(lanes, observation_size=11)
    sac, batch = SAC(problem, config, Standardiser.identity(problem)), cases.batch(lanes, config.batch_size, 11)
    with FlopCounterMode(display=False) as counted:
        for _ in range(config.actor_period):
            sac.update(batch)
    wanted = products.sac_products(config, 11, cases.ACTIONS, lanes)
    assert sum(product.gflop for product in wanted) * 1e9 == pytest.approx(counted.get_total_flops(), rel=1e-12)


def test_the_products_alone_are_run_as_counted():
    wanted = products.sac_products(SACConfig(hidden=(8, 4), batch_size=5), 3, 2, lanes=2)
    compute = products.alone(wanted)
    with FlopCounterMode(display=False) as counted:
        compute()
    assert counted.get_total_flops() == pytest.approx(sum(product.gflop for product in wanted) * 1e9)
    assert {product.transposed for product in wanted} == {"", "left", "right"}


def test_products_are_counted_also_in_a_gradient_that_is_part_of_a_loss():
    """Through x W v with a penalty on its gradient in x, by hand; 5 rows, 3 inputs, 2 units, 1 output."""
    x, w, v = (torch.randn(shape, requires_grad=True) for shape in [(5, 3), (3, 2), (2, 1)])

    def penalised():
        gradient = torch.autograd.grad((x @ w @ v).sum(), x, create_graph=True)[0]
        gradient.square().sum().backward(inputs=[w])

    forward, to_the_first, to_the_input = 2 * 5 * (3 * 2 + 2), 2 * 5 * 2, 2 * 5 * 3 * 2
    its_derivative = 2 * 5 * 3 * 2  # in w alone: g^T (1 v^T)
    assert products.counted(penalised) * 1e9 == forward + to_the_first + to_the_input + its_derivative


def test_all_methods_that_learn_are_timed():
    assert set(cases.learners()) == set(registry.methods()) - {"random", "expert"}


def test_a_method_is_taken_further_by_whole_environment_steps():
    advance = cases.advance(cases.training(registry.find_method("sqil")))
    before = advance()
    assert before > cases.PERIOD
    assert advance() == before + cases.PERIOD


def entry(name="test_sac_update[float32-5 lanes]", median=0.02, **extra):
    """What pytest-benchmark writes of one benchmark."""
    return {
        "name": name, "group": "SAC update", "stats": {"median": median, "data": [median] * 3},
        "options": {"timer": "process_time"}, "extra_info": {"unit": "update", "count": 2} | extra,
    }  # fmt: skip


def run_file(path, *entries, described=MACHINE, timer="process_time"):
    for one in entries:
        one["options"]["timer"] = timer
    content = {
        "machine_info": described, "benchmarks": list(entries), "datetime": "2026-01-02T03:04:05",
        "commit_info": {"id": "0123456789", "dirty": False}, "load": 2.5,
    }  # fmt: skip
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def baselines(tmp_path, monkeypatch):
    monkeypatch.setattr(comparison, "BASELINES", tmp_path / "baselines")
    return tmp_path / "baselines"


def shown(now, before):
    console = Console(file=io.StringIO(), width=200)
    console.print(comparison.compared(now, before))
    console.print(comparison.explained(now, before))
    return console.file.getvalue()


def test_times_are_per_unit_and_remarks_follow_from_the_run():
    timing = comparison.Timing.of(entry(median=0.02, gflop=1.0, ratio=2.0, beside_name="its products"))
    assert timing.name == "sac update: float32-5 lanes"
    assert timing.label == "float32-5 lanes"
    assert timing.seconds == 0.01
    assert timing.remark == "50.0 GFLOP/s, 50% of its products"
    beside = {"ratio": 1.25, "beside_name": "plain SAC"}
    assert comparison.Timing.of(entry(**beside)).remark == "1.25 x plain SAC"
    overhead = comparison.Timing.of(entry("test_method[gail]", **beside, estimate=1.4, arithmetic=1.5))
    assert overhead.remark == "1.25 x plain SAC (assumed 1.40, products 1.50)"
    assert comparison.Timing.of(entry()).remark == ""


def test_a_machine_without_baseline_says_so_and_how_to_store_one(tmp_path, baselines):
    now = comparison.Measured.read(run_file(tmp_path / "run.json", entry()))
    assert comparison.find_baseline(now.machine) is None
    text = shown(now, None)
    assert "No baseline of this machine type is stored" in text
    assert "--save" in text


def test_a_run_is_compared_with_the_stored_one_of_its_machine_type(tmp_path, baselines):
    stored = comparison.save_baseline(run_file(tmp_path / "old.json", entry(median=0.02), entry("test_b", median=0.01)))
    assert stored == baselines / "some-r-cpu-2-family-6-model-1-torch-2.13.0.json"
    assert "data" not in json.loads(stored.read_text())["benchmarks"][0]["stats"]
    now = comparison.Measured.read(run_file(tmp_path / "new.json", entry(median=0.03), entry("test_c")))
    before = comparison.find_baseline(now.machine)
    assert before.timings[0].seconds == 0.01
    assert "2.5 now, 2.5 then" in shown(now, before)
    update, unknown = [line for line in shown(now, before).splitlines() if " update " in line and " ms " in line]
    assert update.split()[-7:] == ["15", "ms", "update", "67", "10", "ms", "1.50"]
    assert unknown.split()[-2:] == ["-", "-"]
    for other in ({"torch": "2.14.0"}, {"processor": "another"}):
        assert comparison.find_baseline(MACHINE | other) is None
    assert comparison.find_baseline(MACHINE | {"python": "3.13"}) is not None


def test_baselines_of_another_clock_are_not_compared_silently(tmp_path, baselines):
    comparison.save_baseline(run_file(tmp_path / "old.json", entry(), timer="perf_counter"))
    now = comparison.Measured.read(run_file(tmp_path / "new.json", entry()))
    assert "was measured by perf_counter" in shown(now, comparison.find_baseline(now.machine))


def test_a_part_of_the_suites_does_not_replace_a_whole_baseline(tmp_path, baselines):
    comparison.save_baseline(run_file(tmp_path / "old.json", entry(), entry("test_b")))
    with pytest.raises(UserError, match="this run lacks b, which"):
        comparison.save_baseline(run_file(tmp_path / "new.json", entry()))


def test_a_file_that_is_no_run_is_named(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(UserError, match=r"run\.json is no run of these benchmarks"):
        comparison.Measured.read(tmp_path / "run.json")


def test_the_page_tells_what_the_baseline_holds():
    measured = comparison.Measured.read(
        comparison.BASELINES / "intel-r-xeon-r-processor-family-6-model-167-torch-2.13.0.json"
    )
    assert measured.when == "2026-11-30"
    took = {(timing.group, timing.label): f"{timing.seconds * 1e3:.2f} ms" for timing in measured.timings}
    told = " ".join(Path(__file__).parents[1].joinpath("benchmarks/performance.md").read_text().split())
    assert f"ValueDICE takes {took['Methods in long cells, without simulation', 'valuedice']}" in told
    one, five = (took["SAC update, compiled", f"bfloat16-{lanes}"] for lanes in ("1 lane", "5 lanes"))
    assert f"{one} for one lane and {five} for five" in told


def test_the_stored_baselines_are_readable_and_lie_under_their_own_names():
    for path in comparison.BASELINES.glob("*.json"):
        measured = comparison.Measured.read(path)
        assert comparison.baseline_path(measured.machine) == path
        assert set(measured.machine) == set(machine.described())
        assert all(timing.seconds > 0 for timing in measured.timings)


@pytest.mark.parametrize(("seconds", "text"), [(2.5, "2.5 s"), (0.0123, "12.3 ms"), (4.56e-5, "45.6 µs")])
def test_short_times_in_words(seconds, text):
    assert comparison.in_words(seconds) == text


def test_peak_bytes_count_what_is_held_at_once():
    """Two tensors of 4 MB at a time, a third one after the first is gone."""

    def prepare():
        def work():
            first = torch.zeros(1000, 1000)
            second = first + 1
            del first
            return second.square_().sum()

        return work, 1

    for _ in range(2):  # the profiler's count goes on from one profile to the next
        most, (work, count) = growth.peak_bytes(prepare)
        assert 8e6 <= most < 8.1e6
        assert count == 1
        assert work() == 1e6


def test_growth_is_drawn_from_rows_alone():
    rows = pd.DataFrame(
        [
            {
                "part": part, "varied": name, "lanes": 1, "batch": 128, "observations": 17, "seconds": 1e-3 * value,
                "bytes": 1e6 * value, "processor": "p", "torch": "t",
            } | {name: value}
            for name, values in growth.SWEEPS.items() for value in values for part in growth.PARTS
        ]
    )  # fmt: skip
    figure = growth.figure(rows)
    assert isinstance(figure, matplotlib.figure.Figure)
    above, below = figure.axes[:3], figure.axes[3:]
    assert [len(panel.lines) for panel in above] == [3] * 3
    assert [len(panel.lines) for panel in below] == [2] * 3
    assert above[0].lines[0].get_ydata().tolist() == pytest.approx(list(growth.SWEEPS["lanes"]))
    assert below[2].lines[0].get_xdata().tolist() == list(growth.SWEEPS["observations"])


def test_replay_bytes_grow_with_what_is_stored():
    small = growth.Size(lanes=1, batch=4, observations=3)
    one, _ = growth.peak_bytes(lambda: growth._sample(small))
    two, _ = growth.peak_bytes(lambda: growth._sample(replace(small, lanes=2)))
    assert two == pytest.approx(2 * one, rel=0.05)


def test_every_benchmark_still_runs():
    """Once each and untimed, the smallest size of each, none compiled: they call parts that change."""
    chosen = "not evaluation and not environment and not 32 and not 5 and not compiled and not long_cell"
    command = [sys.executable, "-m", "pytest", "benchmarks/perf", "--benchmark-disable", "-q", "-k", chosen]
    done = subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
