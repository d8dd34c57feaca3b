"""Rewards learned from demonstrations, judged before any RL: their scores of behaviour from good to bad.

Every reward is fitted to the demonstrations of every lane (seed) and scores what the demonstrations themselves, unseen
demonstrations, behavioural cloning at stages of its training, the expert under growing action noise, a motionless agent
and a random one visit. No reward sees the true return; it is stored beside the scores.
"""

from __future__ import annotations

import dataclasses
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from benchmarks.data import datasets
from benchmarks.instrument.environment import LearnerEnvironments
from benchmarks.instrument.evaluation import Evaluator
from benchmarks.kit.contract import Policy, Problem, Reward, Score
from benchmarks.kit.demonstrations import Demonstrations
from benchmarks.kit.errors import UserError, in_one_line
from benchmarks.kit.streams import Streams
from benchmarks.plan import registry
from benchmarks.plan.configuration import as_json, configure
from benchmarks.tasks import Task

STAGES = (100, 200, 400, 800, 1200, 1600, 2000, 2400, 2800, 3200, 4000, 5000, 6500, 8000)
"""Updates after which behavioural cloning is played; every one is a multiple of the first."""
CLONING = {"fit.steps": STAGES[-1], "fit.check_every": STAGES[0], "fit.patience": STAGES[-1]}
"""Changes of its setting that make it yield at these stages."""
NOISES = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.5)
"""Standard deviations of the noise on the expert's actions, which lie in [-1, 1]."""
HELD_OUT = 0.1
"""Share of a single demonstration that is kept from the fit, as one contiguous block."""
OTHER_EPISODES = 5
"""Unseen demonstrations at most."""
ROWS = 10_000
"""Transitions per lane that are scored at a time."""


class Plan(NamedTuple):
    """Everything that the numbers depend on, but for the versions of the software."""

    task: Task
    dataset: str
    """"embedded", "hub", or the id of a local Minari dataset."""
    demos: int
    """Demonstrated trajectories per seed."""
    seeds: tuple[int, ...]
    rewards: tuple[Reward, ...]
    episodes: int
    """Played with every behaviour."""

    def record(self) -> dict[str, Any]:
        """The plan in plain values, with the hash of the data that it stands for."""
        info = datasets.prepare(self.task, self.dataset)
        return {
            "task": self.task.name,
            "dataset": info.dataset_id,
            "dataset_hash": info.content_hash,
            "demos": self.demos,
            "seeds": list(self.seeds),
            "rewards": {
                reward.name: {
                    "label": reward.label,
                    "normalised": reward.normalised,
                    "config": as_json(reward.config),
                }
                for reward in self.rewards
            },
            "episodes": self.episodes,
            "stages": list(STAGES),
            "noises": list(NOISES),
        }


class Visited(NamedTuple):
    """What a behaviour visited in E episodes of at most T steps; a leading axis of 1 is shared by all lanes."""

    behaviour: str
    """"demonstrations", "held-out block", "other episodes", "bc", "expert", "motionless" or "random"."""
    level: float
    """Updates of "bc", action noise of "expert", else 0."""
    observations: Tensor
    """(L or 1, E, T, d), raw."""
    actions: Tensor
    """(L or 1, E, T, A)."""
    lengths: np.ndarray
    """(L or 1, E); what lies behind an episode's end does not count."""
    returns: np.ndarray
    """(L or 1, E), true."""


def diagnose(
    plan: Plan,
    say: Callable[[str], None] = lambda text: None,
    tell: Callable[[str, int, int], None] = lambda what, done, most: None,
) -> pd.DataFrame:
    """Fit and score; one row per reward, seed, behaviour, level and episode.

    Args:
        plan: what to do.
        say: told what is under way.
        tell: told how far it is, see `Problem.tell`.

    Returns:
        Columns reward, seed, behaviour, level, episode, return, length, mean of the score over the episode's steps,
        and earned: what the episode earns where the score is paid as NDI pays log q, nothing for less than the least
        likely demonstrated transition has, as a share of what a demonstration earns. An episode that ends early earns
        little, however good its steps.

    Raises:
        UserError: the dataset cannot be used, or has fewer episodes than demonstrations are asked for.
    """
    everything = _demonstrations(plan)
    lent = [_rows(one, one.episodes < plan.demos) for one in everything]
    others = [_rows(one, one.episodes >= plan.demos) for one in everything]
    blocks = [_block(one, seed) for one, seed in zip(lent, plan.seeds, strict=True)]
    alone = plan.demos == 1 or others[0] is None
    fitted = [_rows(one, ~block) for one, block in zip(lent, blocks, strict=True)] if alone else lent
    visited = [_demonstrated("demonstrations", fitted)]
    if alone:
        held_out = [_rows(one, block) for one, block in zip(lent, blocks, strict=True)]
        visited.append(_demonstrated("held-out block", held_out))
    if others[0] is not None:
        visited.append(_demonstrated("other episodes", others))
    with closing(LearnerEnvironments(plan.task, plan.seeds, budget=0)) as environments:
        problem = Problem(
            task=plan.task.name,
            seeds=plan.seeds,
            observation_size=environments.observation_size,
            action_size=environments.action_size,
            demonstrations=tuple(fitted),
            environments=environments,
            budget=0,
            device=torch.device("cpu"),
            tell=tell,
        )
        say("playing the expert, a motionless and a random agent")
        visited += _references(plan, problem)
        say("training and playing behavioural cloning")
        visited += _cloning(plan, dataclasses.replace(problem, demonstrations=tuple(lent)))
        rows: list[dict[str, Any]] = []
        for reward in plan.rewards:
            values = _fitted_and_scored(reward, problem, visited, say)
            scale = _Scale.of(*values[0])
            for one, scores in zip(visited, values, strict=True):
                rows += _scored(reward.name, scale, *scores, one, plan.seeds)
    return pd.DataFrame(rows)


def _demonstrations(plan: Plan) -> list[Demonstrations]:
    """Of every lane: the demonstrations that are lent, then unseen ones."""
    there = datasets.prepare(plan.task, plan.dataset).episodes
    number = max(plan.demos, min(plan.demos + OTHER_EPISODES, there))
    return [datasets.load(plan.task, plan.dataset, number, 1, seed) for seed in plan.seeds]


def _rows(demonstrations: Demonstrations, chosen: np.ndarray) -> Any:
    """The chosen transitions, as demonstrations; None if there are none."""
    if not chosen.any():
        return None
    names = ("observations", "actions", "next_observations", "terminated", "episodes")
    return dataclasses.replace(demonstrations, **{name: getattr(demonstrations, name)[chosen] for name in names})


def _block(demonstrations: Demonstrations, seed: int) -> np.ndarray:
    """(N,) bool: one contiguous block of every episode, at an offset that the seed decides."""
    chosen = np.zeros(len(demonstrations), dtype=bool)
    generator = np.random.default_rng(seed)
    for episode in np.unique(demonstrations.episodes):
        rows = np.flatnonzero(demonstrations.episodes == episode)
        length = max(1, round(HELD_OUT * len(rows)))
        start = generator.integers(len(rows) - length + 1)
        chosen[rows[start : start + length]] = True
    return chosen


def _demonstrated(behaviour: str, lanes: Sequence[Demonstrations]) -> Visited:
    """Demonstrations as what was visited, each episode padded to the longest."""
    parts = [[one.episodes == episode for episode in np.unique(one.episodes)] for one in lanes]
    padded = [
        pad_sequence(
            [torch.tensor(getattr(one, name)[rows]) for one, each in zip(lanes, parts, strict=True) for rows in each],
            batch_first=True,
        ).unflatten(0, (len(lanes), -1))
        for name in ("observations", "actions")
    ]
    lengths = np.array([[rows.sum() for rows in each] for each in parts])
    returns = np.stack([one.returns[np.unique(one.episodes)] for one in lanes])
    return Visited(behaviour, 0.0, padded[0], padded[1], lengths, returns)


class _Recorder:
    """A policy that notes what it is asked and what it answers."""

    def __init__(self, policy: Policy) -> None:
        self.policy = policy
        self.asked: list[Tensor] = []
        self.answered: list[Tensor] = []

    def act(self, observations: Tensor) -> Tensor:
        actions = self.policy.act(observations).clamp(-1, 1)
        self.asked.append(observations)
        self.answered.append(actions)
        return actions


def _played(evaluator: Evaluator, policy: Policy, lanes: int) -> tuple[Tensor, Tensor, np.ndarray, np.ndarray]:
    """Observations (L, E, T, d), actions (L, E, T, A), lengths and returns (L, E) of the evaluation episodes."""
    recorder = _Recorder(policy)
    evaluation = evaluator.evaluate(recorder, lanes, "cpu")
    return (
        torch.stack(recorder.asked, dim=2),
        torch.stack(recorder.answered, dim=2),
        evaluation.lengths,
        evaluation.returns,
    )


def _cloning(plan: Plan, problem: Problem) -> Iterator[Visited]:
    """Behavioural cloning of all lanes, at `STAGES`."""
    method = registry.find_method("bc")
    with closing(Evaluator(plan.task, plan.episodes)) as evaluator:
        stages = list(STAGES)
        for progress in method.train(problem, configure(method.config, CLONING, method.name)):
            if stages and progress.updates >= stages[0]:
                yield Visited("bc", float(stages.pop(0)), *_played(evaluator, progress.policy, len(plan.seeds)))


class _References:
    """One lane per reference: the expert under each noise (if there is one), no action, random actions."""

    def __init__(self, plan: Plan, action_size: int) -> None:
        device = torch.device("cpu")
        self.expert = datasets.demonstrator(plan.task, device)
        self.noises = NOISES if self.expert else ()
        self.action_size = action_size
        self.streams = Streams(range(len(self.noises) + 1), "diagnostics", device)
        self.scale = torch.tensor(self.noises).view(-1, 1, 1)
        self.names = [("expert", noise) for noise in self.noises] + [("motionless", 0.0), ("random", 0.0)]

    @torch.no_grad()
    def act(self, observations: Tensor) -> Tensor:
        count, shape = len(self.noises), (observations.shape[1], self.action_size)
        random = 2 * self.streams.uniform(*shape)[-1:] - 1
        still = torch.zeros_like(random)
        if self.expert is None:
            return torch.cat([still, random])
        noisy = self.expert.act(observations[:count]) + self.scale * self.streams.normal(*shape)[:count]
        return torch.cat([noisy, still, random])


def _references(plan: Plan, problem: Problem) -> Iterator[Visited]:
    """What the references visit, the same for all lanes."""
    policy = _References(plan, problem.action_size)
    with closing(Evaluator(plan.task, plan.episodes)) as evaluator:
        columns = _played(evaluator, policy, len(policy.names))
    for lane, (behaviour, level) in enumerate(policy.names):
        one = slice(lane, lane + 1)
        yield Visited(behaviour, level, columns[0][one], columns[1][one], columns[2][one], columns[3][one])


def _fitted_and_scored(
    reward: Reward, problem: Problem, visited: Sequence[Visited], say: Callable[[str], None]
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Of every behaviour scores (L, E, T) and lengths (L, E).

    Raises:
        UserError: the reward raises, or its scores have the wrong shape or are not finite; its traceback is printed.
    """
    try:
        say(f"fitting {reward.label}")
        score = reward.fit(problem, reward.config)
        say(f"scoring with {reward.label}")
        return [_values(score, one, problem.seeds) for one in visited]
    except UserError:
        raise
    except (Exception, SystemExit) as error:  # it is somebody else's code
        traceback.print_exc()
        raise UserError(f"reward {reward.name} failed: {in_one_line(error)}") from error


@torch.no_grad()
def _values(score: Score, visited: Visited, seeds: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Scores (L, E, T) of one behaviour, and lengths (L, E)."""
    lanes, (_, episodes, steps, _) = len(seeds), visited.observations.shape
    observations, actions = (
        column.expand(lanes, -1, -1, -1).flatten(1, 2) for column in (visited.observations, visited.actions)
    )
    parts = []
    for pair in zip(observations.split(ROWS, 1), actions.split(ROWS, 1), strict=True):
        parts.append(score(*pair))
        if parts[-1].shape != pair[0].shape[:2]:
            raise ValueError(f"its scores have shape {tuple(parts[-1].shape)}, not {tuple(pair[0].shape[:2])}")
    values = torch.cat(parts, dim=1).double().view(lanes, episodes, steps).numpy()
    lengths = np.broadcast_to(visited.lengths, (lanes, episodes))
    if not np.isfinite(values[np.arange(steps) < lengths[..., None]]).all():
        raise FloatingPointError(f"a score is not finite (behaviour: {visited.behaviour})")
    return values, lengths


class _Scale(NamedTuple):
    """What is paid for a score, per lane (L,): nothing up to `floor`, and 1 in all for a usual demonstration."""

    floor: np.ndarray
    reach: np.ndarray

    @classmethod
    def of(cls, values: np.ndarray, lengths: np.ndarray) -> _Scale:
        """From the demonstrations' scores (L, E, T) and lengths (L, E)."""
        inside = np.ma.masked_array(values, np.arange(values.shape[-1]) >= lengths[..., None])
        floor = inside.min((1, 2)).filled()
        return cls(floor, (inside.sum((1, 2)) - floor * lengths.sum(1)).filled() / lengths.shape[1])

    def earned(self, lane: int, values: np.ndarray) -> float:
        """By an episode with these scores (T,); 0 where the demonstrations' scores are all the same."""
        paid = np.maximum(values - self.floor[lane], 0).sum()
        return float(paid / self.reach[lane]) if self.reach[lane] > 0 else 0.0


def _scored(
    reward: str, scale: _Scale, values: np.ndarray, lengths: np.ndarray, visited: Visited, seeds: tuple[int, ...]
) -> Iterator[dict[str, Any]]:
    """Rows of one behaviour with scores (L, E, T)."""
    returns = np.broadcast_to(visited.returns, lengths.shape)
    for lane, episode in np.ndindex(lengths.shape):
        inside = values[lane, episode, : lengths[lane, episode]]
        yield {
            "reward": reward,
            "seed": seeds[lane],
            "behaviour": visited.behaviour,
            "level": visited.level,
            "episode": episode,
            "return": float(returns[lane, episode]),
            "length": len(inside),
            "mean": float(inside.mean()),
            "earned": scale.earned(lane, inside),
        }
