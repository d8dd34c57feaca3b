"""A kit policy becomes the weights of an expert, and the best one of a run is kept."""

import numpy as np
import pytest
import torch

from benchmarks.experts.policy import ExpertPolicy
from benchmarks.experts.snapshots import keep_if_best, read_snapshot, snapshot_path, weights_of
from benchmarks.kit.errors import UserError
from benchmarks.kit.networks import TanhGaussianPolicy
from benchmarks.kit.standardiser import Standardiser
from benchmarks.kit.streams import Streams


def kit_policy(hidden=(16, 8), clip=float("inf"), lanes=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    mean = torch.randn(lanes, 1, 5, generator=generator)
    std = torch.rand(lanes, 1, 5, generator=generator) + 0.01
    return TanhGaussianPolicy(Streams(range(lanes), "actor", "cpu"), Standardiser(mean, std, clip), 3, hidden)


def rows(*means):
    """Evaluations of two episodes each, 10 steps apart."""
    return [{"step": 10 * k, "return": mean + d} for k, mean in enumerate(means) for d in (-1, 1)]


def test_the_expert_is_the_same_distribution_on_raw_observations():
    policy = kit_policy()
    observations = 3 * torch.randn(2, 50, 5, generator=torch.Generator().manual_seed(1))
    mean, log_std = policy(policy.standardise(observations))
    for lane in range(2):
        expert = ExpertPolicy(weights_of(policy, lane), "rescaled")
        found_mean, found_log_std = expert(observations[lane])
        torch.testing.assert_close(found_mean, mean[lane], atol=2e-4, rtol=1e-4)
        torch.testing.assert_close(found_log_std, log_std[lane], atol=2e-4, rtol=1e-4)


def test_policies_that_are_no_expert_are_refused():
    with pytest.raises(UserError, match="two hidden layers"):
        weights_of(kit_policy(hidden=(8,)), 0)
    with pytest.raises(UserError, match="two hidden layers"):
        weights_of(ExpertPolicy(weights_of(kit_policy(), 0)), 0)
    with pytest.raises(UserError, match="clips its observations"):
        weights_of(kit_policy(clip=10.0), 0)


def test_the_policy_of_the_highest_mean_return_is_kept(tmp_path):
    kept = []
    for k, means in enumerate([(5,), (5, 7), (5, 7, 6), (5, 7, 6, 7), (5, 7, 6, 7, 9)]):
        keep_if_best(tmp_path, "run", kit_policy(seed=k), 1, rows(*means))
        kept.append(read_snapshot(tmp_path, "run")[1])
    assert kept == [0, 10, 10, 30, 40]
    found, _ = read_snapshot(tmp_path, "run")
    for name, array in weights_of(kit_policy(seed=4), 1).items():
        np.testing.assert_array_equal(found[name], array)
    assert [path.name for path in snapshot_path(tmp_path, "run").parent.iterdir()] == ["run.safetensors"]


def test_a_snapshot_that_is_missing_or_torn_is_named(tmp_path):
    with pytest.raises(UserError, match=r"run\.safetensors cannot be read"):
        read_snapshot(tmp_path, "run")
    keep_if_best(tmp_path, "run", kit_policy(), 0, rows(1))
    path = snapshot_path(tmp_path, "run")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(UserError, match=r"run\.safetensors cannot be read"):
        read_snapshot(tmp_path, "run")


def test_a_planted_link_is_not_followed(tmp_path):
    (tmp_path / "away").mkdir()
    (tmp_path / "best").symlink_to(tmp_path / "away")
    with pytest.raises(OSError, match="symbolic link"):
        keep_if_best(tmp_path, "mine", kit_policy(), 0, rows(1))
    assert not list((tmp_path / "away").iterdir())
