"""Stable-Baselines3's SAC with its own defaults: timed on its own loop, or, given a pipe, on a lent environment.

Network 256 x 256, batch 256, one update of critics and of the actor per step and no layer norm are its defaults.
"""

from __future__ import annotations

import sys

import gymnasium as gym
import numpy as np
from clock import LEARNING_STARTS, Clock, arguments
from link import Link, dense
from stable_baselines3 import SAC
from stable_baselines3.common.callbacks import BaseCallback
from torch import nn


class Timed(BaseCallback):
    """Tells the clock about every environment step; ends the training when the clock has stopped."""

    def __init__(self, clock):
        super().__init__()
        self.clock = clock

    def _on_step(self):
        return self.clock.at(self.num_timesteps, self.model._n_updates)


class LentEnvironment(gym.Env):
    """The bench's environment behind the pipe: episodes, seeds and true rewards are the bench's."""

    def __init__(self, link):
        job = link.job
        self.link, self.model, self.start = link, None, np.array(job["observation"], np.float32)
        self.observation_space = gym.spaces.Box(-np.inf, np.inf, (len(self.start),), np.float32)
        self.action_space = gym.spaces.Box(-1, 1, (job["action_size"],), np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        return self.start, {}

    def step(self, action):
        answer = self.link.step(action, self.model._n_updates, lambda: policy(self.model, self.start))
        self.start = answer["following"]
        return answer["outcome"], answer["reward"], answer["terminated"], answer["truncated"], {}


def policy(model, observation):
    """The deterministic policy tanh(mu) as arrays, and what the library itself does at an observation."""
    actor = model.policy.actor
    layers = [*(module for module in actor.latent_pi if isinstance(module, nn.Linear)), actor.mu]
    probe = np.stack([observation, np.zeros_like(observation)])
    return {
        **dense(layers),
        "activation": np.array("relu"),
        "squash": np.array("tanh"),
        "probe": probe,
        "answer": model.predict(probe, deterministic=True)[0],
    }


def time_it():
    """The whole of `learn` on Gymnasium's own environment."""
    options = arguments().parse_args()
    clock = Clock(options.warmup, options.steps)
    model = SAC("MlpPolicy", "HalfCheetah-v5", learning_starts=LEARNING_STARTS, seed=options.seed, device="cpu")
    model.learn(clock.total + 10, callback=Timed(clock))
    clock.report("HalfCheetah-v5", "stable-baselines3", "torch", "gymnasium", "mujoco", "numpy")


def train(link):
    """Learn on the lent environment until the budget is spent."""
    job = link.job
    settings = dict(job["config"])
    del settings["release"]
    environment = LentEnvironment(link)
    hidden = list(settings.pop("hidden"))
    model = SAC(
        "MlpPolicy", environment, policy_kwargs={"net_arch": hidden}, seed=job["seed"], device="cpu", **settings
    )
    environment.model = model
    model.learn(job["budget"])
    link.finish(model._n_updates, policy(model, environment.start))


if __name__ == "__main__":
    train(Link()) if sys.argv[1:2] and sys.argv[1].isdigit() else time_it()
