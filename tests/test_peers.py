"""The comparisons with other libraries, without any of them: arithmetic, rows, order, and a peer made up here."""

import dataclasses
import json
import sys
import textwrap

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from benchmarks.instrument.evaluation import Evaluator
from benchmarks.kit.errors import UserError
from benchmarks.kit.networks import TanhGaussianPolicy
from benchmarks.kit.standardiser import Standardiser
from benchmarks.peers import exchange, methods, returns, speed, venvs
from benchmarks.peers.exchange import ForeignPolicy
from benchmarks.peers.scripts.clock import Clock
from benchmarks.peers.scripts.link import decode, encode
from benchmarks.plan.registry import find_method
from benchmarks.tasks import TASKS


@dataclasses.dataclass(frozen=True)
class Settings:
    size: int = 3


# --- speed --------------------------------------------------------------------------------------------------------


def test_contestants_take_turns():
    order = [(number, position, c.name) for number, position, c in speed.schedule(speed.SAC[:3], 2)]
    names = [c.name for c in speed.SAC[:3]]
    assert order == [(number, position, name) for number in range(2) for position, name in enumerate(names)]


def test_variants_of_ours_follow_it():
    changes = [
        "half:sac.sac.precision=bfloat16,sac.sac.batch_size=64",
        "other:gail.period=1",
        "wide:sac.sac.hidden=[9]",
    ]
    made = speed.variants(speed.SAC, changes)
    assert [c.name for c in made[:4]] == ["ours", "ours (half)", "ours (wide)", "sbx"]
    assert made[1].options == ("--set=sac.sac.precision=bfloat16", "--set=sac.sac.batch_size=64")
    assert made[1].command(5, 6, 7) == ["ours.py", "--warmup=5", "--steps=6", "--seed=7", *made[1].options]
    assert [c.name for c in speed.variants(speed.GAIL, changes)] == ["ours", "ours (other)", "imitation"]


@pytest.mark.parametrize("change", ["sac.sac.precision=bfloat16", "half:precision", ":sac.a=1", "half:batch=3"])
def test_a_variant_needs_a_label_and_settings(change):
    with pytest.raises(UserError, match=r"it must be LABEL:METHOD\.FIELD=VALUE"):
        speed.variants(speed.SAC, [change])


def answer(steps=100, wall=4.0, cpu=2.0):
    versions = {"torch": "2.13.0", "sbx-rl": "0.28.0", "stable-baselines3": "2.9.2"}
    return {
        "env_id": "HalfCheetah-v5",
        "steps": steps,
        "updates": 2 * steps,
        "wall_seconds": wall,
        "cpu_seconds": cpu,
        "versions": versions,
    }


def measured(contestant, number, cpu, series="2026-01-01", wall=4.0):
    columns = speed.row(contestant, ["a.py", "--steps=100"], answer(cpu=cpu, wall=wall), 1, 0.5)
    return {**columns, "series": series, "round": number, "position": 0}


def test_a_row_holds_speeds_of_both_clocks_and_the_peers_version():
    row = measured(speed.SAC[1], 3, 2.0)
    assert set(row) == set(speed.ROWS.names)
    assert (row["steps_per_second"], row["steps_per_cpu_second"]) == (25.0, 50.0)
    assert (row["version"], row["contestant"], row["core"], row["round"]) == ("0.28.0", "sbx", 1, 3)
    assert json.loads(row["versions"])["torch"] == "2.13.0"


def test_rows_are_added_to_those_that_are_there(tmp_path):
    path = tmp_path / "speed.parquet"
    speed.append(path, [measured(speed.SAC[0], 0, 2.0)])
    speed.append(path, [measured(speed.SAC[1], 0, 1.0, "2026-01-02"), measured(speed.SAC[0], 0, 1.0, "2026-01-02")])
    assert pq.read_schema(path).names == speed.ROWS.names
    assert pq.read_table(path).num_rows == 3
    assert list(speed.last_series(path)["contestant"]) == ["sbx", "ours"]
    with pytest.raises(ValueError, match="lacks load"):
        speed.append(path, [{k: v for k, v in measured(speed.SAC[0], 0, 2.0).items() if k != "load"}])
    with pytest.raises(UserError, match="no measurements"):
        speed.last_series(tmp_path / "none.parquet")


def test_ratios_are_taken_within_rounds():
    ours, other = speed.SAC[:2]
    # the machine slows down by half in the second round, and again by half in the third, for both
    pairs = [(1.0, 1.5), (2.0, 3.0), (4.0, 8.0)]
    rows = [measured(c, n, cpu) for n, pair in enumerate(pairs) for c, cpu in zip((ours, other), pair, strict=True)]
    found = speed.summary(pd.DataFrame(rows)).set_index("contestant")
    assert found.loc["sbx", ["ratio", "low", "high", "ratio_wall"]].tolist() == [1.5, 1.5, 2.0, 1.0]
    assert found.loc["ours", ["ratio", "low", "high"]].tolist() == [1.0, 1.0, 1.0]
    assert found.loc["ours", ["cpu", "wall", "updates", "rounds"]].tolist() == [50.0, 25.0, 100.0, 3]
    table = speed.as_table("speed", pd.DataFrame(rows))
    assert [cell.text for cell in table.sections[0][1].entries][3:] == ["1.50 [1.50, 2.00]", "1.00"]


def test_the_clock_leaves_the_warmup_out(capsys):
    clock = Clock(warmup=10, steps=20)
    stands = [clock.at(step, updates=2 * step) for step in range(0, 40, 4)]
    assert stands == [True] * 8 + [False] * 2  # from step 12 on it runs, at step 32 it has stopped
    clock.report("Task-v0", "numpy")
    told = json.loads(capsys.readouterr().out)
    assert (told["steps"], told["updates"], told["env_id"]) == (20, 40, "Task-v0")
    assert told["versions"] == {"numpy": np.__version__}
    assert told["wall_seconds"] > 0
    short = Clock(warmup=10, steps=20)
    short.at(12, 0)
    with pytest.raises(RuntimeError, match="before environment step 30"):
        short.report("Task-v0")


# --- a foreign policy ---------------------------------------------------------------------------------------------


def exported(policy, standardise):
    """A policy of the suite as a peer would send it."""
    arrays = {}
    for number, layer in enumerate(policy.network.layers):
        arrays[f"weight{number}"] = layer.weight[0].detach().numpy()
        arrays[f"bias{number}"] = layer.bias[0, 0].detach().numpy()
    last = len(policy.network.layers) - 1
    half = arrays[f"bias{last}"].shape[0] // 2
    for name in (f"weight{last}", f"bias{last}"):
        arrays[name] = arrays[name][..., :half]  # the mean, without the standard deviation
    probe = torch.randn(1, 4, standardise.size)
    arrays |= {"probe": probe[0].numpy(), "answer": policy.act(probe)[0].numpy()}
    return arrays | {"activation": np.array("relu"), "squash": np.array("tanh")}


@pytest.fixture
def hopper_policy(point_problem):
    problem = dataclasses.replace(point_problem(demonstrations=False), observation_size=11, action_size=3)
    standardise = Standardiser.identity(problem)
    policy = TanhGaussianPolicy(problem.streams("actor"), standardise, 3, (16, 16))
    return policy, exported(policy, standardise)


def test_a_copied_policy_earns_the_same_returns(hopper_policy):
    policy, arrays = hopper_policy
    evaluator = Evaluator(TASKS["hopper"], episodes=3)
    ours, theirs = (evaluator.evaluate(p, 1, "cpu") for p in (policy, ForeignPolicy(decode(encode(arrays)))))
    evaluator.close()
    np.testing.assert_array_equal(ours.lengths, theirs.lengths)
    np.testing.assert_allclose(ours.returns, theirs.returns, rtol=1e-4)


def test_a_foreign_policy_shifts_scales_and_clips():
    arrays = {
        "weight0": np.array([[2.0], [0.0]]),
        "bias0": np.array([0.5]),
        "offset": np.array([1.0, 9.0]),
        "scale": np.array([0.25, 1.0]),
        "activation": np.array("tanh"),
        "squash": np.array("clip"),
        "probe": np.array([[1.0, 0.0], [2.0, 0.0], [50.0, 0.0]]),
        "answer": np.array([[0.5], [1.0], [1.0]]),
    }
    assert ForeignPolicy(arrays).act(torch.zeros(1, 5, 2)).shape == (1, 5, 1)
    assert float(ForeignPolicy(arrays).act(torch.tensor([[[-9.0, 0.0]]]))) == -1
    with pytest.raises(ValueError, match=r"acts otherwise than the library's own, by up to 0\.25"):
        ForeignPolicy(arrays | {"bias0": np.array([0.25])})
    with pytest.raises(ValueError, match="unknown activation or squash: 'gelu'"):
        ForeignPolicy(arrays | {"activation": np.array("gelu")})


# --- a peer at work -----------------------------------------------------------------------------------------------

POLICY = """
import sys
import numpy as np
from link import Link, decode
def policy(bias):
    b = np.full(2, bias, np.float32)
    return {"weight0": np.zeros((2, 2)), "bias0": b, "activation": np.array("relu"), "squash": np.array("clip"),
            "probe": np.zeros((1, 2)), "answer": b[None]}
link = Link()
job = link.job
"""
ONLINE = """
state = np.array(job["observation"], np.float32)
for count in range(job["budget"]):
    answer = link.step(-state, count, lambda: policy(count / 100))
    assert np.isfinite(answer["reward"])
    if not answer["truncated"]:
        assert (answer["outcome"] == answer["following"]).all()
    state = answer["following"]
link.finish(job["budget"], policy(1.0))
"""


@pytest.fixture
def peer(monkeypatch, tmp_path):
    """Factory: the body of a script -> its name, to be run by this interpreter."""
    monkeypatch.setattr(methods, "interpreter", lambda name: sys.executable)
    monkeypatch.setattr(methods, "SCRIPTS", tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(exchange.SCRIPTS))

    def write(body):
        (tmp_path / "peer.py").write_text(POLICY + textwrap.dedent(body))
        return "peer.py"

    return write


def test_a_peer_learns_on_the_lent_environment(peer, point_problem):
    problem = point_problem(budget=45, privileged=True, demonstrations=False)
    seen = []
    for progress in methods.train_online(peer(ONLINE), "anyone", problem, Settings()):
        asked = problem.environments.steps in (7, 30) or progress.updates == 45
        bias = float(progress.policy.act(torch.zeros(1, 1, 2))[0, 0, 0]) if asked else None
        seen.append((problem.environments.steps, progress.updates, bias))
    assert [(steps, updates) for steps, updates, _ in seen] == [*zip(range(1, 46), range(45), strict=True), (45, 45)]
    assert {updates: bias for _, updates, bias in seen if bias is not None} == pytest.approx({6: 0.06, 29: 0.29, 45: 1})


def test_a_peer_learns_from_the_lent_demonstrations(peer, point_problem):
    script = peer("""
        data = decode(job["demonstrations"])
        assert data["actions"].dtype == np.float32
        link.finish(job["seed"] + job["config"]["size"], policy(float(data["actions"].mean())))
    """)
    problem = point_problem(seeds=(5,))
    (progress,) = methods.train_offline(script, "anyone", problem, Settings(4))
    assert progress.updates == 9
    action = float(progress.policy.act(torch.zeros(1, 1, 2))[0, 0, 0])
    assert action == pytest.approx(float(problem.demonstrations[0].actions.mean()))


def test_a_peer_that_dies_says_why(peer, point_problem):
    script = peer("raise SystemExit('no such thing as a replay')")
    with pytest.raises(RuntimeError, match=r"peer.py died with exit code 1: no such thing as a replay"):
        list(methods.train_offline(script, "anyone", point_problem(), Settings()))


@pytest.mark.parametrize(
    ("name", "package", "peer"),
    [
        ("SB3_SAC", "stable-baselines3", "stable-baselines3"),
        ("IMITATION_BC", "imitation", "imitation"),
        ("IMITATION_BC_TUNED", "imitation", "imitation"),
    ],
)
def test_peers_are_methods_of_the_release_that_is_pinned(name, package, peer):
    method = find_method(f"{returns.METHODS}:{name}")
    assert not method.lanes
    assert method.privileged == (not method.demonstrations)
    assert f"{package}=={method.config.release}" in (venvs.REQUIREMENTS / f"{peer}.txt").read_text().splitlines()


# --- environments and returns -------------------------------------------------------------------------------------


def test_other_requirements_are_another_environment(monkeypatch, tmp_path):
    monkeypatch.setattr(venvs, "REQUIREMENTS", tmp_path)
    monkeypatch.setenv(venvs.HOME, str(tmp_path / "home"))
    (tmp_path / "one.txt").write_text("numpy==2.0\n")
    before = venvs.folder("one")
    assert before.parent == tmp_path / "home"
    (tmp_path / "one.txt").write_text("numpy==2.1\n")
    assert venvs.folder("one") != before
    with pytest.raises(UserError, match="no peer is called two; there are one"):
        venvs.folder("two")


def test_every_contestant_has_its_script_and_requirements():
    for contestant in (*speed.SAC, *speed.GAIL):
        assert (exchange.SCRIPTS / contestant.script).exists()
        if contestant.peer:
            assert (venvs.REQUIREMENTS / f"{contestant.peer}.txt").exists()


def test_returns_side_by_side(fill, tmp_path):
    fill({("bc", "hopper"): 900, ("imitation-bc", "hopper"): 300, ("imitation-bc-tuned", "hopper"): 850}, seeds=4)
    table = returns.comparison(tmp_path, "bc")
    ((ours, *others),) = table.sections
    assert ours.label == "Hopper: BC"
    assert ours.entries[1].value == "900"
    assert [row.entries[3].value for row in others] == ["600", "50"]
    assert [row.entries[3].note for row in others] == ["ours better", "ours better"]
    assert others[0].entries[4].text == "1.00"
    with pytest.raises(UserError, match="no run of sac is stored"):
        returns.comparison(tmp_path, "sac")


def test_returns_are_run_by_the_suites_own_command():
    command = returns.command("folder", returns.SAC, "halfcheetah", "0-2", 1, steps=40_000)
    assert command[1:4] == ["-m", "benchmarks", "run"]
    assert command[command.index("--methods") + 1] == "sac,benchmarks.peers.methods:SB3_SAC"
    assert command[command.index("--steps") + 1] == "40000"
    assert "--steps" not in returns.command("folder", returns.BC, "hopper", "0-4", 1)
