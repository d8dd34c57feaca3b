"""The rule book: what a method is given (`Problem`), what it yields (`Progress`), and how it is declared (`Method`).

A method is a generator `train(problem, config) -> Iterator[Progress]`. It yields after every learning step and knows
nothing of evaluation schedules, logs, stores or progress bars: the bench counts environment steps, pauses the method
to evaluate `progress.policy`, and records the returns. Every tensor's leading axis is the lane: one lane is one run
(one seed). Lanes train side by side with stacked weights and never influence each other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from .demonstrations import Demonstrations
from .errors import RestoringError, in_one_line
from .streams import Streams


class Policy(Protocol):
    """Anything that maps observations to actions; evaluation uses its deterministic action."""

    def act(self, observations: Tensor) -> Tensor:
        """Deterministic actions (L, N, A) in [-1, 1] for raw observations (L, N, d), on the problem's device."""
        ...


@runtime_checkable
class TanhGaussian(Policy, Protocol):
    """A stochastic policy a = tanh(u), u ~ N(mu(s), diag(sigma(s)^2)): it can be compared with the expert's."""

    def latent(self, observations: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log standard deviation (L, N, A) of u at raw observations (L, N, d)."""
        ...


class Transition(NamedTuple):
    """One environment step of every lane (numpy, raw units)."""

    observations: np.ndarray
    """(L, d) float32, before the step."""
    actions: np.ndarray
    """(L, A) float32 in [-1, 1], as executed."""
    next_observations: np.ndarray
    """(L, d) float32, the true outcome, also when the episode ended (never the observation after a reset)."""
    terminated: np.ndarray
    """(L,) bool: the outcome is a terminal state; do not bootstrap."""
    truncated: np.ndarray
    """(L,) bool: the time limit ended the episode; bootstrap."""
    rewards: np.ndarray
    """(L,) float32: the task's true reward for privileged methods, NaN for all others."""


class Environments(Protocol):
    """The learner's environments, one per lane; the bench owns them and counts their steps."""

    @property
    def observations(self) -> np.ndarray:
        """(L, d) float32: where every lane stands now."""
        ...

    @property
    def steps(self) -> int:
        """Environment steps taken so far in every lane."""
        ...

    @property
    def budget(self) -> int:
        """Environment steps allowed in every lane."""
        ...

    def step(self, actions: np.ndarray) -> Transition:
        """Step all lanes with actions (L, A); finished episodes are reset. Raises RuntimeError past the budget."""
        ...


SETTLED = "settled"
"""Key under which a state may hold a dictionary of tensors that never change under their names (see `Stateful`)."""


class Stateful(Protocol):
    """Whatever can be saved and restored exactly: modules, optimisers, replay, streams, densities."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors, numbers, strings and containers of them.

        A checkpoint writes what lies under the key `SETTLED` only once, so a part that grows should put there what will
        not change any more: a dictionary of tensors, in which another content always has another name.
        """
        ...

    def load_state_dict(self, state: dict[str, Any], /) -> Any:
        """Restore what `state_dict` gave."""
        ...


@dataclass(frozen=True)
class Problem:
    """Everything a method may know about one cell (task, demonstrations and seeds)."""

    task: str
    """The task's registry name, for messages only."""
    seeds: tuple[int, ...]
    """One seed per lane."""
    observation_size: int
    """d."""
    action_size: int
    """A."""
    demonstrations: tuple[Demonstrations, ...]
    """One per lane; empty for methods that declare `demonstrations=False`."""
    environments: Environments
    """Not to be touched by offline methods."""
    budget: int
    """Environment steps per lane."""
    device: torch.device
    expert: Policy | None = None
    """The policy behind the demonstrations; only for privileged methods."""
    restored: dict[str, Any] | None = None
    """State of an interrupted run, by part, or None at a fresh start."""
    parts: dict[str, Stateful] = field(default_factory=dict)
    """What `keep` registered."""
    tell: Callable[[str, int, int], None] = lambda what, done, most: None
    """Called now and then in long work between two steps, such as a fit: what it is, how much of it is done, and of how
    much. The bench shows it, and may end the work there with an exception."""
    notes: dict[str, str] = field(default_factory=dict)
    """What a run's record says beside the versions of packages, by name, such as how a learner's steps were carried out
    where that is not plain PyTorch."""

    @property
    def lanes(self) -> int:
        """L, the number of lanes."""
        return len(self.seeds)

    def streams(self, purpose: str) -> Streams:
        """Fresh random streams, one per lane, that depend only on the lane's seed and the purpose."""
        return Streams(self.seeds, purpose, self.device)

    def keep(self, **parts: Stateful) -> bool:
        """Register the parts whose state makes up the run, so that it can be resumed exactly.

        Call it after building the parts and before the training loop. If the run is being resumed, the parts are
        restored in place and True is returned: skip whatever was done before the loop (such as fitting a density).

        Raises:
            RestoringError: the saved state does not fit the parts.
        """
        self.parts.update(parts)
        if self.restored is None:
            return False
        for name, part in parts.items():
            try:
                part.load_state_dict(self.restored[name])
            except Exception as error:  # a state of other parts makes them raise almost anything
                raise RestoringError(
                    f"it does not fit the part {name} ({in_one_line(error)}); give the code it was begun with to go on"
                ) from error
        return True


@dataclass(frozen=True)
class Progress:
    """What a method yields after each learning step."""

    updates: int
    """Gradient updates so far."""
    policy: Policy
    """The policy as it stands; the bench may evaluate it before it resumes the method."""
    info: Mapping[str, Tensor] = field(default_factory=dict)
    """Named diagnostics, each (L,) on the problem's device: losses, temperature, mean reward."""


@dataclass(frozen=True)
class Method:
    """A method as the registry knows it."""

    name: str
    """Registry name: lower case, words joined by hyphens; used in run ids and on the command line."""
    label: str
    """The name in tables and legends."""
    summary: str
    """One line for `ndi-bench methods`."""
    source: str
    """Citation of the paper or code that the method follows."""
    train: Callable[[Problem, Any], Iterator[Progress]]
    """The generator. An online method goes on until the budget is spent; of one that ends earlier the runs count as
    completed after so many steps, and the user is told."""
    config: Any
    """A frozen dataclass instance with the method's one documented setting; every field is a number, string, bool,
    tuple or another frozen dataclass. A field that is added when rows are stored already belongs into its class
    variable `LATER`, field name -> the value at which a run is what it was before: so the stored rows stay its runs."""
    demonstrations: bool = True
    """Uses demonstrations; without, the method runs once whatever the number of demonstrations."""
    online: bool = True
    """Steps the environments; an offline method trains on the demonstrations alone and is evaluated at its end."""
    privileged: bool = False
    """Sees the true reward and the expert policy: an oracle or a reference, never a contestant."""
    lanes: bool = True
    """Can train several lanes together; without, it is called once per seed."""
    swept: tuple[str, ...] = ()
    """Config fields that may differ between lanes of a cell; they then arrive as a tuple with one value per lane."""
    per_task: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Task name -> changes of config fields that the source itself makes; shown as footnotes under tables."""
    cost: Callable[[Any], float] = lambda config: 1.0
    """Cost of one environment step under a config (offline: of a lane's whole training), in steps of plain SAC with one
    update each; for estimates."""
    preparation: Callable[[Any], float] = lambda config: 0.0
    """Cost of what a lane learns before its first environment step, such as a density, in the same unit."""
    absorbing: Callable[[Any], bool] = lambda config: False
    """Whether the replay holds absorbing states under a config, hence one number more per observation; for estimates
    of memory."""


Score = Callable[[Tensor, Tensor], Tensor]
"""Raw observations (L, N, d) and actions (L, N, A) in [-1, 1], on the problem's device -> one number each, (L, N)."""


@dataclass(frozen=True)
class Reward:
    """A reward that is learned from the demonstrations alone, to be looked at before it is given to a learner.

    `ndi-bench density` fits every installed one and shows whether it rises with the true return. A package adds its own
    by an entry point in the group `ndi_bench.rewards`.
    """

    name: str
    """Registry name: lower case, words joined by hyphens."""
    label: str
    """The name in tables and legends."""
    summary: str
    """One line for people."""
    source: str
    """Citation of the paper or code that it follows."""
    fit: Callable[[Problem, Any], Score]
    """Fits every lane to its `problem.demonstrations`, without touching the environments, and returns what scores a
    transition, higher for what the expert would do. The score is called without gradients, on up to some 10,000 rows
    at a time; lanes never influence each other."""
    config: Any
    """A frozen dataclass instance with the one documented setting, as a method's."""
    normalised: bool = False
    """The score is the log density, in nats, of a model that integrates to 1 over the standardised observations and the
    actions; its held-out mean is then a log likelihood that may be compared between models."""
