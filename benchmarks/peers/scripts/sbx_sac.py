"""SBX's SAC (Stable-Baselines3 on JAX) with its own defaults, on its own loop, timed.

Network 256 x 256, batch 256, one update of critics and of the actor per step and no layer norm are its defaults.
JAX compiles before the clock starts; it works ahead of the loop by at most one update.
"""

from __future__ import annotations

from clock import LEARNING_STARTS, Clock, arguments
from sb3_sac import Timed
from sbx import SAC

if __name__ == "__main__":
    options = arguments().parse_args()
    clock = Clock(options.warmup, options.steps)
    model = SAC("MlpPolicy", "HalfCheetah-v5", learning_starts=LEARNING_STARTS, seed=options.seed)
    model.learn(clock.total + 10, callback=Timed(clock))
    clock.report("HalfCheetah-v5", "sbx-rl", "stable-baselines3", "jax", "gymnasium", "mujoco", "numpy")
