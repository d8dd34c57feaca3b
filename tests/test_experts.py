import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import scipy.stats
import torch

from benchmarks.experts import FOLDER, has_expert, model_card
from benchmarks.experts.measure import measure_random, measure_returns
from benchmarks.experts.policy import ExpertPolicy, export, load_expert
from benchmarks.experts.rollout import expert_player, random_player, rollout
from benchmarks.instrument.episodes import content_hash
from benchmarks.kit.errors import UserError
from benchmarks.tasks import TASKS

SHIPPED = sorted(path.stem for path in FOLDER.glob("*.safetensors"))
PENDULUM = TASKS["inverted-pendulum"]


def weights(observations=4, hidden=5, actions=1, seed=0):
    generator = np.random.default_rng(seed)
    sizes = {
        "hidden_0": (hidden, observations),
        "hidden_1": (hidden, hidden),
        "mean": (actions, hidden),
        "log_std": (actions, hidden),
    }
    draws = {}
    for layer, shape in sizes.items():
        draws[f"{layer}.weight"] = generator.standard_normal(shape).astype(np.float32)
        draws[f"{layer}.bias"] = generator.standard_normal(shape[0]).astype(np.float32)
    return draws


def by_hand(w, s):
    """The actor's mean and log_std in plain NumPy."""
    h = np.maximum(s @ w["hidden_0.weight"].T + w["hidden_0.bias"], 0)
    h = np.maximum(h @ w["hidden_1.weight"].T + w["hidden_1.bias"], 0)
    return h @ w["mean.weight"].T + w["mean.bias"], np.clip(h @ w["log_std.weight"].T + w["log_std.bias"], -20, 2)


def test_the_policy_is_the_network_of_the_model_card():
    w, s = weights(4, 7, 3), np.random.default_rng(1).standard_normal((2, 6, 4)).astype(np.float32)
    policy, (mean, log_std) = ExpertPolicy(w), by_hand(w, s)
    found_mean, found_log_std = policy(torch.tensor(s))
    np.testing.assert_allclose(found_mean, mean, atol=1e-5)
    np.testing.assert_allclose(found_log_std, log_std, atol=1e-5)
    np.testing.assert_allclose(policy.act(torch.tensor(s)), np.tanh(mean), atol=1e-5)
    noise = torch.randn(2, 6, 3)
    expected = np.tanh(mean + np.exp(log_std) * noise.numpy())
    np.testing.assert_allclose(policy.perturbed(torch.tensor(s), noise), expected, atol=1e-5)


def test_an_expert_of_the_suites_own_learner_rescales_its_log_std(tmp_path):
    w, s = weights(), np.random.default_rng(1).standard_normal((1, 6, 4)).astype(np.float32)
    export("mine", w, {"log_std": "rescaled"}, tmp_path)
    hidden = np.maximum(np.maximum(s @ w["hidden_0.weight"].T + w["hidden_0.bias"], 0) @ w["hidden_1.weight"].T
                        + w["hidden_1.bias"], 0)  # fmt: skip
    raw = hidden @ w["log_std.weight"].T + w["log_std.bias"]
    _, log_std = load_expert("mine", folder=tmp_path)(torch.tensor(s))
    np.testing.assert_allclose(log_std, -5 + 3.5 * (np.tanh(raw) + 1), atol=1e-5)
    with pytest.raises(ValueError, match="log_std is"):
        export("mine", w, {"log_std": "squared"}, tmp_path)


def test_every_lane_gets_the_same_expert():
    policy, s = ExpertPolicy(weights()), torch.randn(1, 6, 4, generator=torch.Generator().manual_seed(0))
    actions = policy.act(s.expand(3, 6, 4))
    assert actions.shape == (3, 6, 1)
    torch.testing.assert_close(actions[2:], policy.act(s))


def test_weights_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"the weights are \['mean.weight'\], not"):
        ExpertPolicy({"mean.weight": np.zeros((1, 2), np.float32)})
    with pytest.raises(ValueError, match="fit together"):
        ExpertPolicy({**weights(), "mean.weight": np.zeros((1, 6), np.float32)})


def test_what_is_exported_is_loaded(tmp_path):
    card = export("mine", weights(), {"algorithm": "none"}, tmp_path)
    assert card == model_card("mine", tmp_path)
    assert card["sha256"] == hashlib.sha256((tmp_path / "mine.safetensors").read_bytes()).hexdigest()
    for name, tensor in load_expert("mine", folder=tmp_path).state_dict().items():
        np.testing.assert_array_equal(tensor, weights()[name])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine.json", "mine.safetensors"]
    assert export("again", weights(), {}, tmp_path)["sha256"] == card["sha256"]


def test_a_task_without_an_expert_names_the_way_out(tmp_path):
    assert not has_expert("hopper", tmp_path)
    with pytest.raises(UserError, match=r"there is no expert of hopper in .*experts train"):
        load_expert("hopper", folder=tmp_path)
    with pytest.raises(UserError, match="no expert policy is shipped for nobody yet; use --dataset hub or"):
        load_expert("nobody")


def test_an_expert_of_another_task_is_refused(tmp_path):
    export("mine", weights(), {}, tmp_path)
    for suffix in ("json", "safetensors"):
        (tmp_path / f"mine.{suffix}").rename(tmp_path / f"hopper.{suffix}")
    with pytest.raises(UserError, match=r"hopper\.json is of an expert of mine, not of hopper; give that task"):
        load_expert("hopper", folder=tmp_path)


def test_damaged_weights_name_the_file_and_the_fix(tmp_path):
    card = export("mine", weights(), {}, tmp_path)
    path = tmp_path / "mine.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(UserError, match=r"mine\.safetensors are not those of the model card .* restore"):
        load_expert("mine", folder=tmp_path)
    cut = bytes(data[:-8])
    path.write_bytes(cut)
    (tmp_path / "mine.json").write_text(json.dumps({**card, "sha256": hashlib.sha256(cut).hexdigest()}))
    with pytest.raises(UserError, match=r"mine\.safetensors cannot be used .* restore"):
        load_expert("mine", folder=tmp_path)
    (tmp_path / "mine.json").write_text("{")
    with pytest.raises(UserError, match=r"mine\.json cannot be read .* restore"):
        load_expert("mine", folder=tmp_path)


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_expert_is_worth_what_its_card_says(name):
    card = model_card(name)
    assert {"algorithm", "library", "steps", "seed", "versions", "provenance", "sha256"} <= set(card)
    policy, task = load_expert(name), TASKS[name]
    episodes = rollout(task, expert_player(task, policy, stochastic=False), range(4_000_000, 4_000_002))
    mean = np.mean([episode.total_return for episode in episodes])
    assert mean == pytest.approx(card["returns"]["deterministic"]["mean"], rel=0.15)


def test_an_episode_depends_on_its_own_seed_alone():
    player = expert_player(PENDULUM, ExpertPolicy(weights()))
    together, alone = rollout(PENDULUM, player, [1, 2, 3]), rollout(PENDULUM, player, [2])
    for name in ("observations", "actions", "rewards", "terminations", "truncations"):
        np.testing.assert_array_equal(getattr(together[1], name), getattr(alone[0], name))
    assert not np.array_equal(together[0].actions[0], together[2].actions[0])


def test_an_episode_does_not_depend_on_the_instructions_that_torch_chooses():
    code = (
        "import torch\n"
        "from benchmarks.instrument.episodes import content_hash\n"
        "from benchmarks.experts.policy import load_expert\n"
        "from benchmarks.experts.rollout import expert_player, rollout\n"
        "from benchmarks.tasks import TASKS\n"
        "print(content_hash(rollout(TASKS['hopper'], expert_player(TASKS['hopper'], load_expert('hopper')), [1])))"
    )
    plain = {**os.environ, "ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", code], env=plain, capture_output=True, text=True, check=True)
    here = content_hash(rollout(TASKS["hopper"], expert_player(TASKS["hopper"], load_expert("hopper")), [1]))
    assert done.stdout.strip() == here


def test_actions_of_a_rollout_are_in_the_environments_units_and_come_from_the_policy():
    w = weights()
    [episode] = rollout(PENDULUM, expert_player(PENDULUM, ExpertPolicy(w), stochastic=False), [5])
    mean, _ = by_hand({name: array.astype(np.float64) for name, array in w.items()}, episode.observations[:-1])
    np.testing.assert_allclose(episode.actions, 3 * np.tanh(mean), rtol=1e-6)
    assert len(episode.observations) == len(episode) + 1
    assert episode.terminations[-1]
    assert not episode.terminations[:-1].any()


def test_the_noise_of_a_rollout_is_standard_normal():
    w = {name: np.zeros_like(array) for name, array in weights().items()}  # so a = 3 tanh(noise)
    episodes = rollout(PENDULUM, expert_player(PENDULUM, ExpertPolicy(w)), range(60))
    noise = np.arctanh(np.concatenate([episode.actions for episode in episodes]) / 3)
    assert len(noise) > 300
    assert abs(noise.mean()) < 4 / np.sqrt(len(noise))
    assert abs(noise.std() - 1) < 4 / np.sqrt(2 * len(noise))


@pytest.mark.parametrize(("observations", "actions"), [(5, 1), (4, 2)])
def test_an_expert_of_another_environment_is_refused(observations, actions):
    with pytest.raises(
        UserError, match=rf"sees {observations} values and gives {actions}, but InvertedPendulum-v5 has 4"
    ):
        expert_player(PENDULUM, ExpertPolicy(weights(observations, actions=actions)))


def test_random_play_is_uniform_and_repeatable():
    first, second = (rollout(PENDULUM, random_player(1), range(40)) for _ in range(2))
    actions = np.concatenate([episode.actions for episode in first])
    np.testing.assert_array_equal(actions, np.concatenate([episode.actions for episode in second]))
    assert abs(actions.std() - 3 / np.sqrt(3)) < 0.15
    assert np.abs(actions).max() <= 3


def test_progress_is_reported_up_to_the_end():
    fractions = []
    rollout(PENDULUM, random_player(1), [0, 1], fractions.append)
    assert fractions == sorted(fractions)
    assert fractions[-1] == 1.0


def test_measured_returns_are_those_of_the_measured_episodes():
    policy = ExpertPolicy(weights())
    measured = measure_returns(PENDULUM, policy, episodes=4)
    for kind, stochastic in (("deterministic", False), ("stochastic", True)):
        played = rollout(PENDULUM, expert_player(PENDULUM, policy, stochastic), range(3_000_000, 3_000_004))
        returns = [episode.total_return for episode in played]
        found = measured["returns"][kind]
        assert found["mean"] == np.mean(returns)
        assert found["standard_error"] == pytest.approx(scipy.stats.sem(returns), abs=6e-4)
        assert found["episodes"] == 4
    assert measured["measured_with"]["mujoco"]
    # one reward per step: the return is the length
    random = measure_random(PENDULUM, episodes=3)
    assert random["mean"] == pytest.approx(random["mean_length"], abs=1.1)
