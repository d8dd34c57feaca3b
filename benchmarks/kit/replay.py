"""Experience of all lanes: a preallocated ring per lane, and batches that mix it with the demonstrations."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from .composite import Composite
from .contract import SETTLED, Problem, Transition
from .standardiser import Standardiser
from .streams import Streams

ABSORBING_STEPS = 10
"""Absorbing self-transitions stored after a terminal state (ValueDICE's code)."""
BLOCK = 16_384
"""Transitions of a lane that a checkpoint writes once and for all."""
CHUNK = 4096
"""Transitions of a lane that get their fixed reward in one call."""

FixedReward = Callable[["Batch"], Tensor]
"""Rewards (L, B) of transitions (L, B), always the same for the same transition."""


class Batch(NamedTuple):
    """Transitions of all lanes; observations standardised."""

    observations: Tensor
    """(L, B, d)."""
    actions: Tensor
    """(L, B, A) in [-1, 1]."""
    next_observations: Tensor
    """(L, B, d)."""
    rewards: Tensor
    """(L, B); the true one for privileged methods, a fixed one if it was set (`Experience.label`), else NaN until the
    method writes its own column."""
    masks: Tensor
    """(L, B): 0 where the next state is terminal, 1 elsewhere (also at a time limit)."""


class Replay:
    """A ring of transitions per lane; one row per transition, so that a batch is a single gather.

    Next observations lie in the rows as well. Finding them by index would save two fifths to a half of the memory (108
    bytes a step on Hopper, 2,860 on Humanoid), but takes three or four gathers, where a GPU counts launches.

    Args:
        lanes: L.
        capacity: transitions kept per lane; the oldest is overwritten.
        observation_size: d.
        action_size: A.
        device: where the rows live.
    """

    def __init__(self, lanes: int, capacity: int, observation_size: int, action_size: int, device: torch.device):
        d, a = observation_size, action_size
        self.columns = (d, a, d, 1, 1)
        self.capacity = capacity
        self.rows = torch.zeros(lanes, capacity, sum(self.columns), device=device)
        self.added = torch.zeros(lanes, dtype=torch.int64, device=device)
        self.edition = 0
        """To be raised by whoever changes transitions that are held already."""
        self._first = torch.arange(lanes, device=device) * capacity

    @property
    def sizes(self) -> Tensor:
        """(L,) int64: transitions held by each lane."""
        return self.added.clamp(max=self.capacity)

    def add(self, batch: Batch, where: Tensor | None = None) -> None:
        """Append one transition per lane (a batch with B = 1), only in lanes that are set in `where` (L,) bool."""
        rows = torch.cat([batch.observations, batch.actions, batch.next_observations,
                          batch.rewards.unsqueeze(-1), batch.masks.unsqueeze(-1)], dim=-1)[:, 0]  # fmt: skip
        places = self.added % self.capacity + self._first
        if where is not None:
            rows, places = rows[where], places[where]
        self.rows.view(-1, rows.shape[-1]).index_copy_(0, places, rows)
        self.added += 1 if where is None else where

    def sample(self, size: int, streams: Streams) -> Batch:
        """Uniform batch with replacement, B = size."""
        return self.take(streams.integers(self.sizes, size))

    def latest(self, size: int) -> Batch:
        """The last `size` transitions of every lane, oldest first; the oldest is repeated where a lane has fewer."""
        back = torch.arange(size, 0, -1, device=self.rows.device)
        index = (self.added[:, None] - torch.minimum(back[None], self.sizes[:, None])) % self.capacity
        return self.take(index)

    def take(self, index: Tensor) -> Batch:
        """The transitions at positions index (L, B)."""
        rows = self.rows.flatten(0, 1).index_select(0, (index + self._first[:, None]).flatten())
        observations, actions, following, rewards, masks = rows.view(*index.shape, -1).split(self.columns, dim=-1)
        return Batch(observations, actions, following, rewards[..., 0], masks[..., 0])

    @torch.no_grad()
    def label(self, reward: FixedReward) -> None:
        """Give the transitions that have none (NaN) their reward."""
        column = self.rows.split(self.columns, dim=-1)[3][..., 0]  # a view
        for positions in torch.arange(int(self.sizes.max()), device=self.rows.device).split(CHUNK):
            missing = column[:, positions].isnan()
            if missing.any():
                rewards = reward(self.take(positions.expand(len(column), -1)))
                column[:, positions] = torch.where(missing, rewards, column[:, positions])

    def state_dict(self) -> dict[str, Any]:
        """The counters; of every lane the rows since its last full block, and before them the full blocks, settled."""
        settled, rest = {}, []
        for lane, added in enumerate(self.added.tolist()):
            for start in range(max(0, added - self.capacity) // BLOCK * BLOCK, added - BLOCK + 1, BLOCK):
                stop = start + BLOCK
                settled[f"{self.edition}-{lane}-{start}-{stop}"] = self._rows(lane, start, stop)
            rest.append(self._rows(lane, added // BLOCK * BLOCK, added).clone())
        return {"added": self.added.clone(), "edition": self.edition, "rest": rest, SETTLED: settled}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.added.copy_(state["added"])
        self.edition = state["edition"]
        for name, rows in state[SETTLED].items():
            _, lane, start, _ = map(int, name.split("-"))
            self._restore(lane, start, rows)
        for lane, rows in enumerate(state["rest"]):
            self._restore(lane, int(self.added[lane]) - len(rows), rows)

    def _rows(self, lane: int, start: int, stop: int) -> Tensor:
        """Rows of a lane by the order of their arrival; a view where they lie side by side."""
        if start // self.capacity == (stop - 1) // self.capacity:
            return self.rows[lane, start % self.capacity :][: stop - start]
        return self.rows[lane, torch.arange(start, stop, device=self.rows.device) % self.capacity]

    def _restore(self, lane: int, start: int, rows: Tensor) -> None:
        """Put rows of a lane that arrived from `start` on in their places, if they are still held."""
        held = max(start, int(self.added[lane]) - self.capacity)
        where = torch.arange(held, start + len(rows), device=self.rows.device) % self.capacity
        self.rows[lane, where] = rows[held - start :].to(self.rows.device)


def demonstration_replay(problem: Problem, standardise: Standardiser) -> Replay:
    """Each lane's demonstrations, in time order, as a replay of its own; rewards are NaN until relabelled.

    With absorbing states, an episode that ended in a terminal state gets one absorbing self-transition with zero
    action.
    """
    rows = [_demonstrated_rows(problem, standardise, lane) for lane in range(problem.lanes)]
    sizes = torch.tensor([len(lane) for lane in rows], device=problem.device)
    replay = Replay(problem.lanes, int(sizes.max()), standardise.size, problem.action_size, problem.device)
    replay.rows = pad_sequence(rows, batch_first=True)
    replay.added.copy_(sizes)
    return replay


def _demonstrated_rows(problem: Problem, standardise: Standardiser, lane: int) -> Tensor:
    """Replay rows (N, columns) of one lane's demonstrations."""
    demonstrations = problem.demonstrations[lane]
    tensor = lambda array: torch.tensor(array, dtype=torch.float32, device=problem.device)  # noqa: E731
    # the standardiser works on all lanes at once; only this lane's result is used
    every_lane = lambda array: tensor(array).expand(problem.lanes, -1, -1)  # noqa: E731
    states = standardise(every_lane(demonstrations.observations))[lane]
    following = standardise(every_lane(demonstrations.next_observations))[lane]
    actions, terminated = tensor(demonstrations.actions), torch.tensor(demonstrations.terminated, device=problem.device)
    rewards = torch.full((len(states), 1), torch.nan, device=problem.device)
    if not standardise.absorbing:
        return torch.cat([states, actions, following, rewards, 1 - terminated[:, None].float()], -1)
    absorbing = standardise.absorbing_state()
    following = torch.where(terminated[:, None], absorbing, following)
    rows = torch.cat([states, actions, following, rewards, torch.ones_like(rewards)], -1)
    loop = torch.cat([absorbing, torch.zeros_like(actions[0]), absorbing, rewards[0], torch.ones_like(rewards[0])])
    loops = loop.expand(int(terminated.sum()), -1)
    # each self-transition follows its episode's end
    order = torch.cat([torch.arange(len(rows), device=problem.device), terminated.nonzero()[:, 0] + 0.5]).argsort()
    return torch.cat([rows, loops])[order]


def capacity_for(budget: int, absorbing: bool) -> int:
    """Transitions of a lane that are kept: all, with as much room again for absorbing self-transitions (as ValueDICE's
    authors give them): `ABSORBING_STEPS` a fall fill more where episodes last fewer steps than that on average, and the
    oldest transitions are then overwritten.
    """
    return budget * (1 + absorbing)


def demonstrated_rows(problem: Problem, fraction: float, batch_size: int) -> int:
    """How many rows of a batch, its first ones, are drawn from the demonstrations."""
    return round(fraction * batch_size) if problem.demonstrations else 0


class Experience(Composite):
    """What an off-policy method learns from: its own replay, and a fixed share of each batch from demonstrations.

    Args:
        problem: the cell.
        standardise: applied once, when a transition is stored.
        batch_size: B.
        demonstration_fraction: share of every batch drawn from the demonstrations, in [0, 1].
        absorbing_actions: what follows a terminal state, if there are absorbing states: "random", `ABSORBING_STEPS`
            self-transitions with uniformly random actions (ValueDICE), or "zero", one with zero action as in the
            demonstrations (discriminator-actor-critic).
    """

    state = ("replay", "streams", "expert_streams", "absorbing_streams")  # the demonstrations come from the problem

    def __init__(
        self,
        problem: Problem,
        standardise: Standardiser,
        batch_size: int,
        demonstration_fraction: float = 0.0,
        absorbing_actions: Literal["random", "zero"] = "random",
    ) -> None:
        self.standardise, self.batch_size, self.absorbing_actions = standardise, batch_size, absorbing_actions
        capacity = capacity_for(problem.budget, standardise.absorbing)
        self.replay = Replay(problem.lanes, capacity, standardise.size, problem.action_size, problem.device)
        self._demonstrations = demonstration_replay(problem, standardise) if problem.demonstrations else None
        self.demonstrated = demonstrated_rows(problem, demonstration_fraction, batch_size)
        self.streams = problem.streams("replay")
        self.expert_streams = problem.streams("demonstrations")
        self.absorbing_streams = problem.streams("absorbing")
        self._reward: FixedReward | None = None

    @property
    def demonstrations(self) -> Replay:
        """The demonstrated transitions; raises ValueError if the problem has none."""
        if self._demonstrations is None:
            raise ValueError("this problem has no demonstrations")
        return self._demonstrations

    def label(self, reward: FixedReward) -> None:
        """Store a fixed reward with every transition from now on, and with those held that have none (demonstrations).

        It is computed once per transition, not whenever one is sampled. It is no part of the state: a resumed run sets
        it again.
        """
        self._reward = reward
        for memory in (self.replay, self._demonstrations):
            if memory is not None:
                memory.label(reward)

    def add(self, transition: Transition) -> None:
        """Store one environment step of every lane.

        With absorbing states, a terminal next state becomes the absorbing one and self-transitions follow; no mask is
        ever 0 then.
        """
        device = self.replay.rows.device
        tensor = lambda array: torch.as_tensor(array, dtype=torch.float32, device=device).unsqueeze(1)  # noqa: E731
        step = Batch(
            self.standardise(tensor(transition.observations)),
            tensor(transition.actions),
            self.standardise(tensor(transition.next_observations)),
            tensor(transition.rewards),
            tensor(1.0 - transition.terminated),
        )
        if not self.standardise.absorbing:
            self._store(step)
            return
        absorbing, always = self.standardise.absorbing_state(), torch.ones_like(step.masks)
        following = torch.where(step.masks.unsqueeze(-1) == 0, absorbing, step.next_observations)
        self._store(step._replace(next_observations=following, masks=always))
        if transition.terminated.any():
            ended = torch.as_tensor(transition.terminated, device=device)
            loop = absorbing.expand_as(following)
            actions = torch.zeros_like(step.actions)
            if self.absorbing_actions == "random":
                actions = self.absorbing_streams.uniform_in(ended, ABSORBING_STEPS, actions.shape[-1]) * 2 - 1
            for action in actions.unbind(1):
                self._store(Batch(loop, action.unsqueeze(1), loop, step.rewards, always), where=ended)

    @torch.no_grad()
    def _store(self, batch: Batch, where: Tensor | None = None) -> None:
        """Append transitions (B = 1) with their fixed reward, if there is one."""
        self.replay.add(batch if self._reward is None else batch._replace(rewards=self._reward(batch)), where)

    def fit_standardiser(self) -> None:
        """Fit the standardiser to the observations stored so far, which must be raw, and standardise those.

        Raises:
            ValueError: the standardiser is not the identity, or the lanes hold different numbers of transitions.
        """
        standardise, size = self.standardise, int(self.replay.sizes.max())
        if not (standardise.mean == 0).all() or not (standardise.std == 1).all() or (self.replay.sizes != size).any():
            raise ValueError("the stored observations are not raw, or not of all lanes")
        rows = self.replay.rows[:, :size]
        observations, _, following, _, _ = rows.split(self.replay.columns, dim=-1)  # views
        standardise.fit(observations)
        observations.copy_(standardise(observations))
        following.copy_(standardise(following))
        self.replay.edition += 1

    def sample(self) -> Batch:
        """A batch (L, B): demonstrated transitions first, then the agent's own."""
        own = self.sample_agent(self.batch_size - self.demonstrated)
        if not self.demonstrated:
            return own
        expert = self.sample_expert(self.demonstrated)
        return Batch(*(torch.cat(pair, dim=1) for pair in zip(expert, own, strict=True)))

    def sample_agent(self, size: int) -> Batch:
        """Transitions of the agent only, (L, size)."""
        return self.replay.sample(size, self.streams)

    def sample_expert(self, size: int) -> Batch:
        """Demonstrated transitions only, (L, size)."""
        return self.demonstrations.sample(size, self.expert_streams)
