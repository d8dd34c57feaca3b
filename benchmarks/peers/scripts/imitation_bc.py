"""The imitation package's BC on the demonstrations that the bench lends it; the bench evaluates the policy."""

from __future__ import annotations

import numpy as np
import torch
from gymnasium.spaces import Box
from imitation.algorithms.bc import BC
from imitation.policies.base import NormalizeFeaturesExtractor
from imitation.util.logger import configure
from imitation.util.networks import RunningNorm
from imitation_data import transitions
from link import Link, decode, dense
from stable_baselines3.common.policies import ActorCriticPolicy
from torch import nn


def arrays(policy, probe):
    """The deterministic policy (mean, clipped) as arrays, and what the library itself does at some observations."""
    network = [module for module in policy.mlp_extractor.policy_net if isinstance(module, nn.Linear)]
    exported = {
        **dense([*network, policy.action_net]),
        "activation": np.array("tanh"),
        "squash": np.array("clip"),
        "probe": probe,
        "answer": policy.predict(probe, deterministic=True)[0],
    }
    if isinstance(policy.features_extractor, NormalizeFeaturesExtractor):
        norm = policy.features_extractor.normalize
        exported["offset"] = norm.running_mean.numpy()
        exported["scale"] = ((norm.running_var + norm.eps) ** -0.5).numpy()
    return exported


if __name__ == "__main__":
    link = Link()
    job, settings = link.job, link.job["config"]
    data = decode(job["demonstrations"])
    torch.manual_seed(job["seed"])
    observations = Box(-np.inf, np.inf, data["observations"].shape[1:], np.float32)
    actions = Box(-1, 1, data["actions"].shape[1:], np.float32)
    normalise = {
        "features_extractor_class": NormalizeFeaturesExtractor,
        "features_extractor_kwargs": {"normalize_class": RunningNorm},
    }
    policy = ActorCriticPolicy(  # FeedForward32Policy is this with 32 x 32 units
        observations,
        actions,
        lr_schedule=lambda _: torch.finfo(torch.float32).max,
        net_arch=list(settings["hidden"]),
        **(normalise if settings["normalise"] else {}),
    )
    trainer = BC(
        observation_space=observations,
        action_space=actions,
        rng=np.random.default_rng(job["seed"]),
        policy=policy,
        demonstrations=transitions(data),
        batch_size=settings["batch_size"],
        optimizer_kwargs={"lr": settings["learning_rate"]},
        ent_weight=settings["entropy_weight"],
        l2_weight=settings["l2_weight"],
        device="cpu",
        custom_logger=configure(format_strs=()),
    )
    trainer.train(n_batches=settings["updates"], progress_bar=False)
    trainer.policy.eval()  # the running normaliser stands still
    link.finish(settings["updates"], arrays(trainer.policy, data["observations"][:8]))
