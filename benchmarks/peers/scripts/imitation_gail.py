"""The imitation package's GAIL (PPO) with the settings of its own HalfCheetah benchmark, on its own loop, timed.

Settings: benchmarking/gail_seals_half_cheetah_best_hp_eval.json of HumanCompatibleAI/imitation, rounded (policy 32 x 32
tanh with running normalisation, 4,096 steps a round, 5 epochs of PPO in batches of 64, 8 discriminator updates of
8,192 + 8,192 pairs). The release needs Gymnasium 0.29, which has HalfCheetah-v4 and not v5.
"""

from __future__ import annotations

import gymnasium as gym
import numpy as np
from clock import Clock, arguments
from imitation.algorithms.adversarial.gail import GAIL
from imitation.policies.base import FeedForward32Policy, NormalizeFeaturesExtractor
from imitation.rewards.reward_nets import BasicRewardNet, NormalizedRewardNet
from imitation.util.networks import RunningNorm
from imitation_data import transitions
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import DummyVecEnv

ENVIRONMENT, ROUND, DISCRIMINATOR_UPDATES = "HalfCheetah-v4", 4096, 8

if __name__ == "__main__":
    options = arguments().parse_args()
    clock = Clock(ROUND, options.steps)  # the first round is the warm-up
    data = np.load("demonstrations.npz")  # where the script is started
    environment = DummyVecEnv([lambda: gym.make(ENVIRONMENT)])
    learner = PPO(
        FeedForward32Policy,
        environment,
        policy_kwargs={
            "features_extractor_class": NormalizeFeaturesExtractor,
            "features_extractor_kwargs": {"normalize_class": RunningNorm},
        },
        n_steps=ROUND,
        batch_size=64,
        clip_range=0.1,
        ent_coef=4e-6,
        gae_lambda=0.95,
        gamma=0.95,
        learning_rate=2.6e-4,
        max_grad_norm=0.8,
        n_epochs=5,
        vf_coef=0.115,
        seed=options.seed,
        device="cpu",
    )
    spaces = environment.observation_space, environment.action_space
    reward = NormalizedRewardNet(BasicRewardNet(*spaces, normalize_input_layer=RunningNorm), RunningNorm)
    trainer = GAIL(
        demonstrations=transitions(data),
        demo_batch_size=8192,
        gen_replay_buffer_capacity=512,
        n_disc_updates_per_round=DISCRIMINATOR_UPDATES,
        venv=environment,
        gen_algo=learner,
        reward_net=reward,
        allow_variable_horizon=True,
    )
    rounds = 1 + -(-options.steps // ROUND)
    updates_per_round = 5 * ROUND // 64 + DISCRIMINATOR_UPDATES
    trainer.train(rounds * ROUND, callback=lambda r: clock.at((r + 1) * ROUND, (r + 1) * updates_per_round) and None)
    clock.report(ENVIRONMENT, "imitation", "stable-baselines3", "torch", "gymnasium", "mujoco", "numpy")
