"""Final policies: kept beside the rows, verified, and played again to the last bit."""

import json
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from toy_methods import cells

from benchmarks.instrument.evaluation import Evaluator
from benchmarks.kit.errors import UserError
from benchmarks.kit.networks import TanhGaussianPolicy
from benchmarks.kit.standardiser import Standardiser
from benchmarks.kit.streams import Streams
from benchmarks.run import runner
from benchmarks.run.films import film_medians, replay
from benchmarks.run.policies import Sampled, packed, play, unpacked
from benchmarks.run.settings import Settings
from benchmarks.store import merging, policies
from benchmarks.store.store import Store
from benchmarks.store.verification import verify
from benchmarks.tasks import TASKS

TASK = TASKS["inverted-double-pendulum"]


def a_policy(lanes=3, absorbing=False, hidden=(16, 8)):
    generator = torch.Generator().manual_seed(0)
    mean = torch.randn(lanes, 1, 9, generator=generator) / 10
    std = torch.rand(lanes, 1, 9, generator=generator) + 0.5
    std[0, 0, 3] = torch.inf
    standardise = Standardiser(mean, std, clip=4.0, absorbing=absorbing)
    return TanhGaussianPolicy(Streams(range(lanes), "actor", "cpu"), standardise, 1, hidden)


@pytest.mark.parametrize("absorbing", [False, True])
def test_a_policy_comes_back_to_the_last_bit(absorbing):
    policy = a_policy(absorbing=absorbing)
    policy.network.rounded = absorbing
    observations = 5 * torch.randn(3, 10, 9, generator=torch.Generator().manual_seed(1))
    for lane in range(3):
        again, card = unpacked(packed(policy, lane, {"run_id": "one"}), lanes=3)
        assert torch.equal(again.act(observations)[lane], policy.act(observations)[lane])
        assert card["run_id"] == "one"
        assert again.network.rounded == absorbing
    assert packed(policy, 0, {"a": 1, "b": 2}) == packed(policy, 0, {"b": 2, "a": 1})


def test_playing_is_evaluating():
    policy = a_policy()
    evaluator = Evaluator(TASK, 4)
    seen = evaluator.evaluate(policy, 3, "cpu")
    evaluator.close()
    for lane in range(3):
        played = play(TASK, unpacked(packed(policy, lane, {}), 3)[0], lanes=3, episodes=4)
        np.testing.assert_array_equal(played.returns, seen.returns[lane])
        np.testing.assert_array_equal(played.lengths, seen.lengths[lane])
        assert [len(actions) for actions in played.actions] == seen.lengths[lane].tolist()
    environment = evaluator._environments[0]
    environment.reset(seed=played.seeds[1])
    assert sum(environment.step(action)[1] for action in played.actions[1]) == seen.returns[2, 1]


def test_only_policies_of_the_kit_are_kept():
    class Own(TanhGaussianPolicy):
        """It may act in another way."""

    assert packed(TASK, 0, {}) is None
    policy = a_policy()
    policy.__class__ = Own
    assert packed(policy, 0, {}) is None


WHOLE, ACTIONS = packed(a_policy(), 0, {}), rb"1, \"bfloat16\": false"
ENDLESS = WHOLE.replace(ACTIONS, b"Infinity".ljust(len(ACTIONS)))


@pytest.mark.parametrize("data", [b"", b"nonsense", b"\xff" * 8, WHOLE[:-9], ENDLESS])
def test_what_is_no_policy_is_one_line(data):
    with pytest.raises(UserError, match="it is no policy that ndi-bench has kept") as caught:
        unpacked(data)
    assert "\n" not in str(caught.value)


def work():
    """A cell of cloning and one of random actions."""
    return cells("bc,random", seeds="0-2", eval_episodes=3, overrides={"bc": {"fit.steps": 20, "fit.check_every": 10}})


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Three runs of cloning and three random ones, with their policies."""
    folder = tmp_path_factory.mktemp("results")
    for cell in work():
        runner.run_cell(cell, Settings(folder))
    return Store(folder)


@pytest.fixture
def stored(made, tmp_path):
    """A copy that may be changed."""
    merging.merge([made.folder], tmp_path / "results")
    return Store(tmp_path / "results")


def of(store, method):
    runs = store.runs()
    return runs[runs["method"] == method].to_dict("records")


def test_every_run_keeps_its_policy_and_gives_its_returns_again(stored):
    for record in of(stored, "bc"):
        played, returns = replay(stored, record)
        np.testing.assert_array_equal(played.returns, returns)
        _, card = unpacked(policies.read(stored.folder, record))
        assert (card["run_id"], card["updates"]) == (record["run_id"], 20)
    assert len({record["policy_sha256"] for record in of(stored, "bc")}) == 3
    for record in of(stored, "random"):
        with pytest.raises(UserError, match="has no policy: none was kept"):
            replay(stored, record)
    assert not [found for found in verify(stored)[1] if found.wrong]


def test_a_task_of_ones_own_is_named_by_the_user_and_never_by_a_row(stored, tmp_path, monkeypatch, bench, a_run):
    record, *_ = of(stored, "bc")
    own = replace(TASKS[record["task"]], name="mine")
    played, returns = replay(stored, record | {"task": "mine"}, task=own)
    np.testing.assert_array_equal(played.returns, returns)
    monkeypatch.chdir(tmp_path)
    source = "from dataclasses import replace\nfrom benchmarks.tasks import TASKS\n"
    (tmp_path / "own_tasks.py").write_text(f"{source}OTHER = replace(TASKS['hopper'], name='other')\n")
    told = bench("play", record["run_id"], stored.folder, "--task", "own_tasks:OTHER")[2]
    assert told == f"error: --task own_tasks:OTHER is other, the run is of {record['task']}\n"
    (tmp_path / "evil.py").write_text("open('run', 'w')")
    Store(tmp_path / "planted").write(*a_run("bc", "evil:TASK", run_id="x"))
    for verb in ("play", "render"):
        code, _, error = bench(verb, "x", "planted")
        assert code == 2
        assert error == "error: x: its task 'evil:TASK' is no name, and no module is imported for a stored row\n"
    assert not (tmp_path / "run").exists()


def test_a_film_is_not_written_to_where_a_link_leads(tmp_path, bench):
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "out" / "films").mkdir(parents=True)
    (tmp_path / "out" / "films" / f"{TASK.name}-expert.gif").symlink_to(tmp_path / "precious")
    (tmp_path / "planted").mkdir()
    (tmp_path / "planted" / "films").symlink_to(tmp_path / "out", target_is_directory=True)
    for folder in ("out", "planted"):
        code, _, error = bench("render", TASK.name, tmp_path / folder)
        assert code == 2
        assert "cannot write to" in error
    assert (tmp_path / "precious").read_text() == "precious"
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["films"]


def test_policies_may_be_left_out(tmp_path):
    (cell,) = (cell for cell in work() if cell.first.method == "bc")
    runner.run_cell(cell, Settings(tmp_path, policies=False))
    assert Store(tmp_path).runs()["policy_sha256"].isna().all()
    assert not (tmp_path / "policies").exists()


def test_a_changed_policy_is_refused_and_named(stored, bench):
    bench = partial(bench, "play")
    changed, gone, link = of(stored, "bc")
    path = policies.place(stored.folder, changed["run_id"])
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)
    policies.place(stored.folder, gone["run_id"]).unlink()
    place = policies.place(stored.folder, link["run_id"])
    place.rename(place.with_suffix(".elsewhere"))
    place.symlink_to(place.with_suffix(".elsewhere"))
    for record, reason in (
        (changed, "not the policy that was stored"),
        (gone, "is not there"),
        (link, "symbolic link"),
    ):
        code, out, error = bench(record["run_id"], str(stored.folder))
        assert (code, out) == (2, "")
        assert reason in error
        assert error.count("\n") == 1
    wrong = [found.reason for found in verify(stored)[1] if found.wrong]
    assert len(wrong) == 2
    assert all("policy" in reason for reason in wrong)


def test_a_folder_passed_on_without_its_policies_is_sound(stored, bench, tmp_path):
    for path in (stored.folder / "policies").iterdir():
        path.unlink()
    code, out, _ = bench("store", "verify", str(stored.folder))
    assert code == 0
    assert "3 missing; only play, render and films need them" in out
    assert merging.merge([stored.folder], tmp_path / "again").copied == sorted(stored.runs()["run_id"])


def test_play_says_what_differs(stored, bench):
    record, *_ = of(stored, "bc")
    code, out, _ = bench("play", record["run_id"], str(stored.folder))
    assert code == 0
    assert "all 3 returns are the stored ones, bit for bit" in out
    rows = stored.evaluations()
    rows = rows[rows["run_id"] == record["run_id"]].to_dict("records")
    rows[1]["return"] = np.nextafter(rows[1]["return"], 0)
    kept = stored.record(record["run_id"]) | {"versions": json.dumps({"torch": "1.0"})}
    del kept["schema"]
    stored.write(kept, rows)
    code, out, _ = bench("play", record["run_id"], str(stored.folder))
    assert code == 1
    assert "1 of 3 returns are not the stored ones" in out
    assert "torch 1.0 then" in out


def test_actions_may_be_sampled(stored, bench):
    record, *_ = of(stored, "bc")
    (first, returns), (second, _) = (replay(stored, record, sampled=True) for _ in range(2))
    np.testing.assert_array_equal(first.returns, second.returns)
    assert not np.array_equal(first.returns, returns)
    code, out, _ = bench("play", record["run_id"], str(stored.folder), "--sampled")
    assert code == 0
    assert f"mean return {first.returns.mean():,.1f} with sampled actions, {returns.mean():,.1f} stored" in out


def test_sampled_actions_have_the_policys_distribution(stored):
    record, *_ = of(stored, "bc")
    policy, _ = unpacked(policies.read(stored.folder, record))
    seen = torch.zeros(1, 4096, policy.standardise.mean.shape[-1])
    latent = torch.atanh(Sampled(policy).act(seen).double().clamp(-1 + 1e-7, 1 - 1e-7))[0]
    mean, log_std = (part[0, 0].double() for part in policy.latent(seen))
    standardised = (latent - mean) / log_std.exp()
    assert standardised.mean(0).abs().max() < 5 / 64
    assert (standardised.std(0) - 1).abs().max() < 5 / 64


def test_a_report_has_the_film_of_the_median_seed(stored, monkeypatch):
    _, averages = stored.averages()
    final = averages.set_index("run_id")["return"]
    median = sorted((final[record["run_id"]], record["run_id"]) for record in of(stored, "bc"))[1][1]
    filmed = []
    monkeypatch.setattr("benchmarks.run.films.film", lambda task, clips, path, seconds: filmed.append((clips, path)))
    film_medians(stored, lambda text: None)
    ((clips, path),) = filmed
    assert path.name == f"{median}.webp"
    policies.place(stored.folder, median).unlink()
    film_medians(stored, lambda text: None)
    assert filmed[-1][1].stem in {record["run_id"] for record in of(stored, "bc")} - {median}
    assert [clip.caption.partition(":")[0].partition(",")[0] for clip in clips] == ["BC", "Expert"]
    assert clips[0].seed == clips[1].seed
