"""Minari datasets -> Demonstrations: chosen, built or downloaded if need be, checked against the task.

A dataset is chosen by "embedded" (built here once, from the shipped expert), "hub" (the official one, downloaded once)
or the id of any local Minari dataset. Local datasets lie where Minari has them: MINARI_DATASETS_PATH, or
~/.minari/datasets. A killed process leaves no half-made dataset, and several processes may ask for the same one.
"""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import minari
import numpy as np
import torch
from minari.data_collector import EpisodeBuffer
from rich.console import Console
from rich.progress import Progress

from benchmarks.experts import FOLDER, has_expert, model_card
from benchmarks.experts.policy import ExpertPolicy, load_expert
from benchmarks.experts.rollout import expert_player, rollout
from benchmarks.files import staged, variables
from benchmarks.instrument.environment import ActionScale, make, require_spaces, simulation_versions
from benchmarks.instrument.episodes import Episode, check_bounds, choose, content_hash, demonstrations
from benchmarks.kit.demonstrations import Demonstrations
from benchmarks.kit.errors import UserError, in_one_line, near_miss
from benchmarks.tasks import MINARI_ID, TASKS, Task

from . import local, manifest
from .compatibility import TOLERANCE, TRANSITIONS, differences, physics_difference
from .local import EPISODES, DatasetInfo
from .reading import Recorded, open_dataset

FIRST_SEED = 2_000_000
"""Reset seed of its first episode; neither a training, an evaluation nor a reference seed."""


class DatasetWarning(UserWarning):
    """A dataset can be used but is not quite what one may expect."""


def prepare(task: Task, choice: str, accept: bool = False) -> DatasetInfo:
    """Build or download the dataset if it is not there, and check all of it.

    Of a dataset that the suite did not build itself, some transitions are made again in the task's own environment;
    `DatasetWarning` tells if they end elsewhere.

    Args:
        task: the task.
        choice: "embedded", "hub", or the id of a local dataset.
        accept: use it although it was collected in another environment than the task's, with a warning.

    Raises:
        UserError: the dataset is missing, damaged, contains NaN, or does not fit the task; or it cannot be obtained.
    """
    dataset = _open(task, choice, accept)
    episodes = _read(dataset, dataset.numbers)
    mean_return = float(np.mean([episode.total_return for episode in episodes]))
    name = dataset.dataset_id
    info = DatasetInfo(name, content_hash(episodes), len(episodes), mean_return, dataset.folder)
    if choice == "embedded":
        _verify(task, info)
    else:
        _compare_physics(task, dataset, episodes)
    return info


def require(task: Task, choice: str, planned: str | None, accept: bool = False) -> None:
    """Refuse a dataset that is not the one which was prepared when a run was planned.

    Args:
        task: the task.
        choice: as `prepare` has it.
        planned: the content hash that it must have.
        accept: as `prepare` has it.

    Raises:
        UserError: as `prepare`; or its content is another, as on a node that built it by itself.
    """
    dataset = _open(task, choice, accept)
    content = content_hash(_read(dataset, dataset.numbers))
    if content != planned:
        raise UserError(
            f"dataset {dataset.dataset_id} in {dataset.folder} has content {content}, planned was {planned}; put back "
            "the dataset that was planned, or give the command again"
        )


def expected(task: Task, choice: str, accept: bool = False) -> DatasetInfo | None:
    """What `prepare` will report, without building or downloading; None if it cannot be known.

    Raises:
        UserError: the task has no such dataset; or the dataset is there but cannot be used.
    """
    if choice == "embedded":
        return local.embedded(task)
    return prepare(task, choice, accept) if local.folder(task.dataset_id(choice)).exists() else None


def notes(task: Task, choice: str) -> str | None:
    """How a dataset that is there differs from what the task is, in one line to be kept with runs; None if it does not.

    Raises:
        UserError: its metadata cannot be read.
    """
    dataset_id = task.dataset_id(choice)
    return str(differences(task, open_dataset(dataset_id, local.folder(dataset_id)).environment)) or None


def load(task: Task, choice: str, demos: int, subsample: int, seed: int, accept: bool = False) -> Demonstrations:
    """Demonstrations of one run, the same for every method.

    Args:
        task: the task.
        choice: "embedded", "hub", or the id of a local dataset; built or downloaded if it is not there.
        demos: number of whole episodes; those of a smaller number are among those of a larger one.
        subsample: keep every k-th transition, from a random offset per episode; next observations stay the true ones.
        seed: picks the episodes and the offsets.
        accept: as `prepare` has it.

    Raises:
        UserError: as `prepare`; or the dataset has fewer episodes than `demos`.
    """
    if demos < 1 or subsample < 1:
        raise UserError(f"demos and subsample must be at least 1, they are {demos} and {subsample}")
    dataset = _open(task, choice, accept)
    name, available = dataset.dataset_id, len(dataset.numbers)
    if demos > available:
        raise UserError(f"dataset {name} has {available} episodes and {demos} are asked for; lower --demos")
    episodes = _read(dataset, choose(dataset.numbers, demos, seed))
    try:
        return demonstrations(episodes, _scale(dataset), subsample, seed)
    except UserError as error:
        raise UserError(f"dataset {name}: {error}") from error


def demonstrator(task: Task, device: torch.device | str = "cpu") -> ExpertPolicy | None:
    """The policy behind a task's embedded demonstrations, on a device; None if no expert is shipped for it."""
    return load_expert(task.name, device) if has_expert(task.name) else None


def details(task: Task, choice: str) -> tuple[dict[str, Any], list[Episode], tuple[int | None, ...]]:
    """A dataset's metadata, its episodes, and the seeds they were reset with (None where not stored).

    Raises:
        UserError: as `prepare`, but for a dataset of another environment, of which a warning tells.
    """
    dataset = _open(task, choice, accept=True)
    return dict(dataset.metadata), _read(dataset, dataset.numbers), dataset.seeds()


def record(task: Task, dataset_id: str, folder: Path, episodes: int = EPISODES) -> DatasetInfo:
    """Build a dataset from an expert that is not shipped, such as one of a task of one's own.

    Args:
        task: the task.
        dataset_id: Minari id of the new dataset.
        folder: where the expert's weights and model card lie.
        episodes: how many to play.

    Raises:
        UserError: the id is none, taken or a published dataset's, there is no such expert, or the dataset cannot be
            written.
    """
    if not MINARI_ID.fullmatch(dataset_id):
        raise UserError(f"{dataset_id!r} is no id of a dataset; use one such as lab/{task.name}/expert-v0")
    if any(dataset_id in (known.hub_dataset, known.embedded_dataset) for known in (task, *TASKS.values())):
        raise UserError(f"{dataset_id} is the id of a published dataset; use another such as lab/{task.name}/expert-v0")
    if local.folder(dataset_id).exists():
        raise UserError(f"dataset {dataset_id} is in {local.folder(dataset_id)} already; use another id, or delete it")
    _build(task, dataset_id, folder, episodes)
    return prepare(task, dataset_id)


# --- opening and checking ---------------------------------------------------------------------------------------------


def _open(task: Task, choice: str, accept: bool) -> Recorded:
    """The dataset of a choice, obtained if need be, with spaces that fit the task and of its environment."""
    dataset_id = task.dataset_id(choice)
    if not local.folder(dataset_id).exists():
        if choice == "embedded":
            _build(task, dataset_id, FOLDER, EPISODES)
        elif choice == "hub":
            _download(dataset_id)
        else:
            raise UserError(_missing(dataset_id))
    dataset = open_dataset(dataset_id, local.folder(dataset_id))
    require_spaces(task, f"dataset {dataset_id}", dataset.observation_space, dataset.action_space)
    found = differences(task, dataset.environment)
    if found.meaning and not accept:
        raise UserError(
            f"dataset {dataset_id} does not show task {task.name} as it is: {'; '.join(found.meaning)}; choose another "
            "dataset, or add --accept-dataset to use it all the same, which is recorded with the runs"
        )
    if str(found):
        warnings.warn(f"dataset {dataset_id}: {found}; it is used as it is", DatasetWarning, stacklevel=3)
    return dataset


def _read(dataset: Recorded, numbers: Iterable[int]) -> list[Episode]:
    """Whole episodes, checked."""
    episodes, scale = dataset.episodes(numbers), _scale(dataset)
    for episode in episodes:
        try:
            episode.check()
            check_bounds(episode, scale)
        except UserError as error:
            raise UserError(f"dataset {dataset.dataset_id}: {error}") from error
    return episodes


def _scale(dataset: Recorded) -> ActionScale:
    assert isinstance(dataset.action_space, gym.spaces.Box)  # made sure of by `_open`
    return ActionScale.of(dataset.action_space)


def _compare_physics(task: Task, dataset: Recorded, episodes: Sequence[Episode]) -> None:
    """Tell if the task's environment does not repeat what is recorded."""
    difference = physics_difference(task, episodes, dataset.seeds())
    if difference is not None and not difference <= TOLERANCE:
        warnings.warn(
            f"dataset {dataset.dataset_id}: these demonstrations come from other physics: of {TRANSITIONS} recorded "
            f"transitions made again in {task.env_id}, one ends {difference:.2g} standard deviations elsewhere",
            DatasetWarning,
            stacklevel=3,
        )


def _verify(task: Task, info: DatasetInfo) -> None:
    """Compare an embedded dataset with its own record, the shipped expert and the manifest."""
    metadata = local.read_metadata(info.dataset_id, local.folder(info.dataset_id))
    fix = f"delete {info.path} to build it anew"
    if info.content_hash != metadata.get("content_hash"):
        raise UserError(f"dataset {info.dataset_id} is not as it was built; {fix}")
    if metadata.get("policy_sha256") != model_card(task.name)["sha256"]:
        raise UserError(f"dataset {info.dataset_id} comes from another expert than the one now shipped; {fix}")
    difference = manifest.difference(task.name, metadata)
    if difference:
        warnings.warn(f"dataset {info.dataset_id} {difference}", DatasetWarning, stacklevel=3)


def _missing(dataset_id: str) -> str:
    """Message about a local dataset that is not there, with what there is."""
    there = near_miss(dataset_id, local.ids())
    return f"no local Minari dataset {dataset_id} in {local.folder()}: {there}; or use --dataset embedded"


# --- obtaining --------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def _making(dataset_id: str) -> Iterator[bool]:
    """Let Minari make a dataset in a hidden folder; False if another process made the dataset meanwhile."""
    with staged(local.folder(), dataset_id) as partial:
        if partial is None:
            yield False
            return
        with variables(MINARI_DATASETS_PATH=str(partial)):
            yield True


def _build(task: Task, dataset_id: str, folder: Path, number: int) -> None:
    """Play the expert in a folder and store its episodes, with all that is needed to make them again."""
    card, player = model_card(task.name, folder), expert_player(task, load_expert(task.name, folder=folder))
    seeds = range(FIRST_SEED, FIRST_SEED + number)
    console = Console(stderr=True)
    try:
        with _making(dataset_id) as needed:
            if needed:
                with Progress(console=console, transient=True, disable=not console.is_terminal) as bar:
                    line = bar.add_task(f"building dataset {dataset_id}", total=1.0)
                    episodes = rollout(task, player, seeds, lambda fraction: bar.update(line, completed=fraction))
                    _create(task, dataset_id, card, episodes, seeds)
    except OSError as error:
        raise UserError(
            f"cannot write dataset {dataset_id} to {local.folder()} ({in_one_line(error)}); "
            "set MINARI_DATASETS_PATH to a folder with space in which you may write"
        ) from error


def _create(
    task: Task, dataset_id: str, card: Mapping[str, Any], episodes: Sequence[Episode], seeds: Sequence[int]
) -> None:
    """Write a Minari dataset with full metadata to the current MINARI_DATASETS_PATH."""
    versions, environment = simulation_versions(), make(task)
    arrays = ("observations", "actions", "rewards", "terminations", "truncations")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".* is set to None")  # we have no e-mail address to give
        dataset = minari.create_dataset_from_buffers(
            dataset_id,
            [
                EpisodeBuffer(id=episode.number, seed=seed, **{name: getattr(episode, name) for name in arrays})
                for episode, seed in zip(episodes, seeds, strict=True)
            ],
            env=environment,
            eval_env=environment,
            data_format="hdf5",
            algorithm_name=str(card.get("algorithm", "unknown")),
            author="ndi-bench",
            description=f"{len(episodes)} whole episodes of an expert of ndi-bench; its actions are sampled",
            requirements=[f"{package}=={versions[package]}" for package in ("gymnasium", "mujoco")],
        )
    environment.close()
    scores = {"ref_min_score": task.random_return, "ref_max_score": task.expert_return}
    dataset.storage.update_metadata(
        {
            "content_hash": content_hash(episodes),
            "mean_return": float(np.mean([episode.total_return for episode in episodes])),
            "seeds": list(seeds),
            "policy_sha256": card["sha256"],
            "versions": versions,
            **(scores if np.isfinite(list(scores.values())).all() else {}),
        }
    )


def _download(dataset_id: str) -> None:
    """Download a dataset of the hub."""
    try:
        # Minari reports with print; standard output belongs to the results
        with _making(dataset_id) as needed, contextlib.redirect_stdout(sys.stderr):
            if needed:
                minari.download_dataset(dataset_id)
    except Exception as error:  # whatever the transport raises: no extra, no network, no such dataset
        missing_extra = 'the extra is not installed: pip install "ndi-bench[hub]"'
        reason = missing_extra if isinstance(error, ImportError) else in_one_line(error)
        raise UserError(
            f"cannot download dataset {dataset_id} to {local.folder(dataset_id)} ({reason}); "
            "offline, use --dataset embedded"
        ) from error
