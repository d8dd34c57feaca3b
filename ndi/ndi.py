"""NDI: imitation with neural density models (Kim et al., NeurIPS 2021, arXiv 2010.09808).

1. Fit q(s, a) to the demonstrations: MADE, an energy model or, as the trivial reference, a kernel estimate.
2. Maximise  E_rho[log q(s, a)] + H[rho_pi]  =  -KL(rho_pi || q)  by soft actor-critic with the reward
   log q + lambda_f r_f, of which log q is fixed; the policy-entropy term -lambda_pi log pi of the bound is SAC's own.
   All of it is divided by one number k (reward.py): the reward is (log q + lambda_f r_f) / k, and SAC's temperature
   alpha = lambda_pi / k.

Sign and termination: see reward.py; by default the value of a terminal state is 0. Time limits bootstrap.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from benchmarks.kit.contract import Method, Problem, Progress
from benchmarks.kit.errors import UserError
from benchmarks.kit.replay import Experience
from benchmarks.kit.sac import SAC, SACConfig
from benchmarks.kit.standardiser import Standardiser

from .density import DensityConfig
from .ebm import EBMConfig
from .kde import KDEConfig
from .made import MADEConfig
from .reward import NDIReward, RewardConfig


@dataclass(frozen=True)
class NDIConfig:
    """Settings of NDI; `density` decides between MADE, the energy model and the kernel estimate."""

    density: DensityConfig
    """The density and its settings."""
    reward: RewardConfig = field(default_factory=RewardConfig)
    """How log q and r_f become a reward."""
    sac: SACConfig = field(
        default_factory=lambda: SACConfig(
            discount=0.97,
            demonstration_fraction=0.25,
            target_entropy=None,
            cloned=10_000,
            actor_starts=2000,
            cloning=20.0,
        )
    )
    """The shared learner. Its temperature is `reward.lambda_pi` / k and not tuned (`sac.temperature` has no part, nor
    has lambda_pi where `sac.target_entropy` is set): tuned to an entropy that the demonstrations do not have it would
    rise without end. With the usual discount of 0.99 a moment of standing still costs less than 1 % of the value, which
    a critic can hardly tell: 0.97 doubles that. A quarter of every batch are demonstrated transitions with the same
    reward, and `sac.cloning` is in units of it, not in nats."""


def train(problem: Problem, config: NDIConfig) -> Iterator[Progress]:
    """Fit the density, then imitate."""
    standardise = Standardiser.from_demonstrations(problem)
    learner = SAC(problem, config.sac, standardise)
    experience = Experience(problem, standardise, config.sac.batch_size, config.sac.demonstration_fraction)
    density = config.density.build(problem)
    reward = NDIReward(problem, config.reward, config.sac.discount)
    if reward.use_occupancy and experience.demonstrated == config.sac.batch_size:
        raise UserError("r_f needs the agent's states: lower sac.demonstration_fraction or set reward.lambda_f to 0")

    if not problem.keep(learner=learner, experience=experience, density=density, reward=reward):
        density.fit(problem, experience.demonstrations)
        reward.floor.calibrate(density.on_demonstrations(experience.demonstrations))
        learner.begin(problem, experience.demonstrations)
    experience.label(lambda batch: density.log_density(batch.observations, batch.actions))  # q is fixed

    info = {}
    for updates in learner.interact(problem, experience):
        for _ in range(updates):
            batch = reward(experience.sample(), experience)
            if config.sac.target_entropy is None:
                learner.temperature = reward.temperature
            info = learner.update(batch) | reward.info()
        yield Progress(learner.updates, learner.deployed, info)


def _method(name: str, label: str, summary: str, density: DensityConfig) -> Method:
    """NDI with one kind of density."""
    return Method(
        name=name,
        label=label,
        summary=f"NDI with {summary}: practical (floored, rising) log q reward, shared SAC",
        source="Kim et al., NeurIPS 2021, arXiv 2010.09808",
        train=train,
        config=NDIConfig(density=density),
        swept=("reward.lambda_f", "reward.lambda_pi"),
        cost=lambda config: 1.1 * config.sac.cost,
        preparation=lambda config: config.density.cost + config.sac.preparation,
    )


NDI_MADE = _method("ndi-made", "NDI+MADE", "an autoregressive density", MADEConfig())
NDI_EBM = _method("ndi-ebm", "NDI+EBM", "an energy model fitted by score matching", EBMConfig())
NDI_KDE = _method("ndi-kde", "NDI+KDE", "a kernel on every demonstrated transition, nothing learned", KDEConfig())
