"""From a profile to work: an explicit list of runs, and cells of runs whose lanes train together in one process."""

from __future__ import annotations

import hashlib
import heapq
import itertools
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from benchmarks.kit.errors import UserError, near_miss
from benchmarks.kit.forms import assumed, is_compiled, settled
from benchmarks.tasks import Task

from . import registry
from .configuration import as_json, assign, changes, config_hash, configure, settings
from .profiles import Profile

if TYPE_CHECKING:
    from benchmarks.kit.contract import Method

PROTOCOL = 3
"""Raised whenever the suite changes what a run means without changing any of its settings, so that stored runs of the
former meaning are not taken for the new. 2: seeds begin with different demonstrations. 3: fits stop by the median
held-out block, densities are fitted to all transitions in the end."""
UPDATES_PER_SECOND = 130.0
"""SAC updates per second and core of the reference machine (batch 128, networks 256 x 256, 17 observations, one thread
of a 2-core x86 server), with one environment step each. Only estimates depend on it."""
START_SECONDS = 8.0
"""What a cell costs before it trains: a process, its imports, the demonstrations."""
COMPILE_SECONDS = 30.0
"""What it costs to compile a cell's updates: between sizes that the machine knows and others."""
RETRIABLE = ("failed", "diverged", "timeout")
"""How a stored run can have ended without a result."""


@dataclass(frozen=True)
class Run:
    """One seed of one method on one task: everything that its result depends on, and the profile that asked for it."""

    method: str
    """The method's registry name."""
    reference: str
    """What `registry.find_method` finds it by: the same name, or "module:attribute"."""
    label: str
    """The method's name in tables."""
    privileged: bool
    """The method sees the true reward and the expert: a reference, never a contestant."""
    task: Task
    task_reference: str
    """What `registry.find_task` finds it by, in every process: its module may register the environment."""
    config: Any
    """The method's config for this run: defaults, the source's changes for the task, then the user's."""
    changes: str
    """Settings of it that are not the method's own for the task, as JSON; follows from the config."""
    seed: int
    draw: int
    """Which demonstrations: those of the seed's own number, unless the profile crosses draws with seeds."""
    demos: int
    """Demonstrated trajectories; 0 for methods that use none."""
    subsample: int
    """Every k-th transition of them is kept; 1 for methods that use none."""
    dataset: str | None
    """The choice of the user ("embedded", "hub" or an id); None for methods that use no demonstrations."""
    dataset_id: str | None
    """Its Minari id."""
    dataset_hash: str | None
    """Hash of its content; None without demonstrations, or while the dataset is not there."""
    expert_hash: str | None
    """Hash of the expert's weights, for privileged methods, who may see it."""
    budget: int
    """Environment steps; 0 for offline methods."""
    evaluations: int
    """Scheduled evaluations; 1 for offline methods, which are evaluated at their end."""
    eval_episodes: int
    """Episodes per evaluation."""
    profile: str
    """Name of the profile; not part of the identity."""
    swept: tuple[str, ...] = ()
    """Settings in which lanes of a cell may differ. These and the following are what the method declares."""
    together: bool = True
    """Several seeds can train together."""
    cost: float = 1.0
    """Cost of an environment step (offline: of the whole training) as it will be carried out, in steps of plain SAC."""
    preparation: float = 0.0
    """Cost of what comes before the first environment step, in the same unit."""
    compiled: bool = False
    """Its updates are compiled, which takes time at the start."""
    absorbing: bool = False
    """The replay holds absorbing states."""

    @property
    def identity(self) -> dict[str, Any]:
        """All that makes two runs the same run."""
        crossed = {"draw": self.draw} if self.draw != self.seed else {}
        return crossed | {
            "protocol": PROTOCOL,
            "method": self.method,
            "config": json.loads(as_json(self.config)),
            "env_id": self.task.env_id,
            "dataset_id": self.dataset_id,
            "dataset_hash": self.dataset_hash,
            "expert_hash": self.expert_hash,
            "demos": self.demos,
            "subsample": self.subsample,
            "seed": self.seed,
            "budget": self.budget,
            "evaluations": self.evaluations,
            "eval_episodes": self.eval_episodes,
        }

    @cached_property
    def run_id(self) -> str:
        """Readable, with 8 hex digits of the identity's hash: "hopper-ndi-made-d1-s0-1a2b3c4d"."""
        draw = f"-draw{self.draw}" if self.draw != self.seed else ""
        digest = hashlib.sha256(json.dumps(self.identity, sort_keys=True).encode()).hexdigest()[:8]
        return f"{self.task.name}-{self.method}-d{self.demos}{draw}-s{self.seed}-{digest}"

    @property
    def config_hash(self) -> str:
        """Hash of the config alone."""
        return config_hash(self.config)


@dataclass(frozen=True)
class Cell:
    """Runs that differ only in seed, its own draw and swept settings; each is one lane of one process."""

    runs: tuple[Run, ...]
    config: Any
    """The lanes' common config; a swept field in which they differ is a tuple with one value per lane."""
    seconds: float
    """Estimated time on one core of the reference machine."""

    @property
    def first(self) -> Run:
        """The first lane, for all that the lanes have in common."""
        return self.runs[0]

    @property
    def seeds(self) -> tuple[int, ...]:
        """One seed per lane."""
        return tuple(run.seed for run in self.runs)

    @property
    def run_ids(self) -> tuple[str, ...]:
        """The runs' ids, one per lane."""
        return tuple(run.run_id for run in self.runs)

    @cached_property
    def cell_id(self) -> str:
        """Readable, with 8 hex digits that stand for exactly these runs in this order."""
        digest = hashlib.sha256(" ".join(self.run_ids).encode()).hexdigest()[:8]
        return f"{self.name}-x{len(self.runs)}-{digest}"

    @property
    def name(self) -> str:
        """Task, method and number of demonstrations, for people; and their draw where draws are crossed with seeds."""
        draw = f"-draw{self.first.draw}" if any(run.draw != run.seed for run in self.runs) else ""
        return f"{self.first.task.name}-{self.first.method}-d{self.first.demos}{draw}"


def expand(
    profile: Profile, content_hash: Callable[[Task, str], str | None], expert_hash: Callable[[str], str | None]
) -> list[Run]:
    """All runs of a profile, in a fixed order.

    Args:
        profile: what to run.
        content_hash: hash of the dataset of a task and a choice, None while it is not known; asked once per task.
        expert_hash: hash of the weights of a task's expert, None if it has none; asked for privileged methods.

    Raises:
        UserError: a name is unknown, a setting does not exist or has the wrong type, or a task has no such dataset.
    """
    tasks = registry.find_tasks(profile.tasks)
    methods = registry.find_methods(dict.fromkeys(profile.methods))
    _check_names(profile, tasks, methods.values())
    modules = {registry.find_task(name).name: name for name in profile.tasks if ":" in name}
    hashes: dict[str, str | None] = {}
    runs: dict[str, Run] = {}
    for task, (reference, method) in itertools.product(tasks, methods.items()):
        dataset = task.dataset_id(profile.dataset) if method.demonstrations else None
        if dataset and task.name not in hashes:
            hashes[task.name] = content_hash(task, profile.dataset)
        numbers = profile.demos if method.demonstrations else (0,)
        draws = profile.draws if profile.draws and method.demonstrations else (None,)
        configs = _configs(profile, method, task)
        for config, demos, draw, seed in itertools.product(configs, numbers, draws, profile.seeds):
            budget = _budget(profile, task) if method.online else 0
            as_carried_out = settled(config, budget, assumed)
            run = Run(
                method=method.name,
                reference=reference,
                label=method.label,
                privileged=method.privileged,
                task=task,
                task_reference=modules.get(task.name, task.name),
                config=config,
                changes=changes(config, _own(method, task)),
                seed=seed,
                draw=seed if draw is None else draw,
                demos=demos,
                subsample=profile.subsample if method.demonstrations else 1,
                dataset=profile.dataset if dataset else None,
                dataset_id=dataset,
                dataset_hash=hashes[task.name] if dataset else None,
                expert_hash=expert_hash(task.name) if method.privileged else None,
                budget=budget,
                evaluations=profile.evaluations if method.online else 1,
                eval_episodes=profile.eval_episodes,
                profile=profile.name,
                swept=method.swept,
                together=method.lanes,
                cost=task.cost * method.cost(as_carried_out),
                preparation=task.cost * method.preparation(as_carried_out),
                compiled=is_compiled(as_carried_out),
                absorbing=method.absorbing(config),
            )
            runs[run.run_id] = run
    return list(runs.values())


def pending(
    runs: Iterable[Run], ended: Callable[[str], str | None], retry: Collection[str] = (), rerun: bool = False
) -> tuple[list[Run], dict[str, int]]:
    """The runs that are still to be made, and how many stored ones are left alone, by status.

    Args:
        runs: all runs.
        ended: how the stored run of an id ended, see `Store.status`.
        retry: stored statuses to run again, of `RETRIABLE`.
        rerun: run everything again.
    """
    remaining, kept = [], dict[str, int]()
    for run in runs:
        status = None if rerun else ended(run.run_id)
        if status is None or status in retry:
            remaining.append(run)
        else:
            kept[status] = kept.get(status, 0) + 1
    return remaining, kept


def cells(runs: Iterable[Run], lanes: int | None = None) -> list[Cell]:
    """Group runs into cells, longest first.

    Args:
        runs: the runs to make.
        lanes: the most lanes of a cell; None for no limit.
    """
    runs, groups = list(runs), dict[tuple[str, int | None], list[Run]]()
    crossed = {run.method for run in runs if run.draw != run.seed}
    for run in runs:
        groups.setdefault((_companions(run), run.draw if run.method in crossed else None), []).append(run)
    made = [_cell(chunk) for group in groups.values() for chunk in _chunks(group, lanes)]
    return sorted(made, key=lambda cell: -cell.seconds)


def makespan(seconds: Iterable[float], workers: int) -> float:
    """When the last of some jobs ends if each free worker takes the next one."""
    ends = [0.0] * max(workers, 1)
    for duration in seconds:
        heapq.heapreplace(ends, ends[0] + duration)
    return max(ends)


def _check_names(profile: Profile, tasks: Sequence[Task], methods: Iterable[Method]) -> None:
    """Refuse tables for methods or tasks that do not exist; those for unselected ones are allowed."""
    known = sorted({*registry.method_names(), *(method.name for method in methods)})
    for table in ("overrides", "sweep"):
        for name in getattr(profile, table):
            if name not in known:
                raise UserError(f"{table} for unknown method {name}: {near_miss(name, known)}")
    if isinstance(profile.steps, dict):
        names = list(dict.fromkeys([*registry.task_names(), *(task.name for task in tasks)]))
        for name in profile.steps:
            if name not in names:
                raise UserError(f"steps for unknown task {name}: {near_miss(name, names)}")


def _configs(profile: Profile, method: Method, task: Task) -> Iterator[Any]:
    """The method's config for a task, once for every combination of swept values."""
    owner = f"method {method.name}"
    config = configure(_own(method, task), profile.overrides.get(method.name, {}), owner)
    sweep: Mapping[str, Sequence[Any]] = profile.sweep.get(method.name, {})
    for name in sweep.keys() & profile.overrides.get(method.name, {}).keys():
        raise UserError(f"{owner}: {name} is swept by profile {profile.name}; change it there, or do not set it")
    for values in itertools.product(*sweep.values()):
        yield configure(config, dict(zip(sweep, values, strict=True)), owner)


def _own(method: Method, task: Task) -> Any:
    """The method's own config for a task."""
    return configure(method.config, method.per_task.get(task.name, {}), f"method {method.name}")


def _budget(profile: Profile, task: Task) -> int:
    if isinstance(profile.steps, dict):
        return profile.steps.get(task.name, task.budget)
    return profile.steps or task.budget


def _companions(run: Run) -> str:
    """Equal for runs whose lanes may train together."""
    shared = {name: value for name, value in settings(run.config).items() if name not in run.swept}
    seed = None if run.together else run.run_id
    alike = {**run.identity, "config": shared, "seed": seed, "draw": None}
    return json.dumps([alike, run.task.name, run.reference], default=str, sort_keys=True)


def _chunks(runs: list[Run], size: int | None) -> Iterator[list[Run]]:
    size = size or len(runs)
    return (runs[start : start + size] for start in range(0, len(runs), size))


def _cell(runs: list[Run]) -> Cell:
    first, config = runs[0], runs[0].config
    values = [settings(run.config) for run in runs]
    for name in first.swept:
        if len({lane[name] for lane in values}) > 1:
            config = assign(config, name, tuple(lane[name] for lane in values))
    training = ((first.budget or 1) * first.cost + first.preparation) * len(runs) / UPDATES_PER_SECOND
    return Cell(tuple(runs), config, START_SECONDS + COMPILE_SECONDS * first.compiled + training)
