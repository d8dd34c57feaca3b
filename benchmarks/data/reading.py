"""Episodes of a Minari dataset, read from its files: HDF5, Arrow and Parquet, as Minari lays them out.

Minari's own reader opens whatever environment a dataset names where its spaces are missing, needs every info, and cuts
long Arrow episodes where the scanner's batches end. Here nothing that a dataset names is opened or run, infos are not
touched, and every length is compared with the metadata.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium as gym
import h5py
import minari
import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.dataset
from minari.serialization import deserialize_space

from benchmarks.files import read_regular
from benchmarks.instrument.episodes import Episode

from .local import damaged, read_metadata

FORMATS = ("hdf5", "arrow", "parquet")
"""Those of Minari, by the names in its metadata."""
MOST_EPISODES = 1_000_000
"""Of a dataset; metadata that tell of more are wrong."""

MOST_PACKED = 1032
"""Bytes that one stored byte can stand for (deflate, the algorithm of gzip and zlib)."""

_COLUMNS = ("observations", "actions", "rewards", "terminations", "truncations")
_Part = tuple[Mapping[str, Any], dict[str, np.ndarray]]
"""An episode's metadata and columns of it."""


@dataclass(frozen=True)
class Recorded:
    """A dataset whose metadata are sound; its episodes are not read yet."""

    dataset_id: str
    """Minari id."""
    folder: Path
    """Where it lies."""
    metadata: Mapping[str, Any]
    """As Minari stored them."""
    observation_space: gym.Space
    action_space: gym.Space

    @property
    def numbers(self) -> range:
        """The numbers of all episodes."""
        return range(self.metadata["total_episodes"])

    @property
    def environment(self) -> dict[str, Any] | None:
        """The recorded Gymnasium specification of the environment, as plain data; None if there is none.

        Raises:
            UserError: it cannot be read.
        """
        with self._reporting_damage():
            text = self.metadata.get("env_spec")
            found = None if text is None else json.loads(text)
            if found is not None and not _is_specification(found):
                raise ValueError("its env_spec is no specification of an environment")
            return found

    def seeds(self) -> tuple[int | None, ...]:
        """The seeds that the episodes were reset with; None where not stored.

        Raises:
            UserError: they cannot be read.
        """
        with self._reporting_damage():
            seeds = tuple(
                None if (seed := about.get("seed")) is None else int(seed) for about, _ in self._parts(self.numbers)
            )
            if any(seed is not None and seed < 0 for seed in seeds):
                raise ValueError("a seed is negative")
            return seeds

    def episodes(self, numbers: Iterable[int]) -> list[Episode]:
        """Whole episodes, of the lengths that the metadata say.

        Raises:
            UserError: a file is damaged or no regular one, or has more or fewer steps than the metadata say.
        """
        numbers, episodes = list(numbers), []
        shapes = {"observations": self.observation_space.shape, "actions": self.action_space.shape}
        with self._reporting_damage():
            for number, (about, arrays) in zip(numbers, self._parts(numbers, _COLUMNS), strict=True):
                for name, array in arrays.items():
                    shape, wanted = array.shape[1:], shapes.get(name, ())
                    if shape != wanted:
                        raise ValueError(f"the {name} of episode {number} have shape {shape}, not {wanted}")
                    if array.dtype.kind not in "buif":
                        raise ValueError(f"the {name} of episode {number} are no numbers")
                episode = Episode(number, **arrays)
                if len(episode) != int(about["total_steps"]):
                    raise ValueError(f"episode {number} has {len(episode)} steps, its metadata {about['total_steps']}")
                episodes.append(episode)
            if numbers == list(self.numbers):
                steps = sum(map(len, episodes))
                if steps != self.metadata["total_steps"]:
                    raise ValueError(f"its episodes have {steps} steps, its metadata {self.metadata['total_steps']}")
        return episodes

    def _parts(self, numbers: Iterable[int], columns: tuple[str, ...] = ()) -> Iterator[_Part]:
        """Metadata and columns of episodes."""
        read = self._from_hdf5 if self.metadata["data_format"] == "hdf5" else self._from_arrow
        return read(numbers, columns)

    def _from_hdf5(self, numbers: Iterable[int], columns: tuple[str, ...]) -> Iterator[_Part]:
        path = self.folder / "data" / "main_data.hdf5"
        if not path.is_file():
            raise ValueError(f"{path} is no regular file")
        with h5py.File(path, "r") as file:
            for number in numbers:
                group = _own(file, f"episode_{number}")
                yield dict(group.attrs), {name: _own(group, name)[()] for name in columns}

    def _from_arrow(self, numbers: Iterable[int], columns: tuple[str, ...]) -> Iterator[_Part]:
        kind = self.metadata["data_format"]
        for number in numbers:
            place = self.folder / "data" / str(number)
            about = json.loads(read_regular(place / "metadata.json"))
            if not columns:
                yield about, {}
                continue
            files = sorted(place.glob(f"*.{kind}"))
            if not all(path.is_file() for path in files):
                raise ValueError(f"not every file in {place} is a regular one")
            table = pa.dataset.dataset(list(map(str, files)), format=kind).to_table(list(columns), use_threads=False)
            arrays = {name: _as_array(table[name]) for name in columns}
            # there is one observation more than anything else, which is padded
            yield about, {name: arrays[name] if name == "observations" else arrays[name][:-1] for name in columns}

    @contextmanager
    def _reporting_damage(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # h5py, pyarrow and json each raise their own
            raise damaged(self.dataset_id, self.folder, error) from error


def open_dataset(dataset_id: str, folder: Path) -> Recorded:
    """A dataset in a folder; reads its metadata alone.

    Raises:
        UserError: they cannot be read, or say nothing that can be used.
    """
    metadata = read_metadata(dataset_id, folder)
    try:
        for name, kind in (("total_episodes", int), ("total_steps", int), ("observation_space", str),
                           ("action_space", str), ("data_format", str), ("minari_version", str)):  # fmt: skip
            if not isinstance(metadata.get(name), kind) or isinstance(metadata[name], bool):
                raise ValueError(f"its metadata have no {name}")
        if metadata["total_episodes"] < 1:
            raise ValueError("it has no episodes")
        if metadata["total_episodes"] > MOST_EPISODES:
            raise ValueError(f"its metadata tell of {metadata['total_episodes']:,} episodes")
        if metadata["data_format"] not in FORMATS:
            raise ValueError(f"its format {metadata['data_format']} is none of {', '.join(FORMATS)}")
        if metadata["minari_version"] not in minari.supported_dataset_versions:
            raise ValueError(f"it is of Minari {metadata['minari_version']}, which this one does not read")
        spaces = [deserialize_space(metadata[name]) for name in ("observation_space", "action_space")]
    except Exception as error:  # a space may be anything
        raise damaged(dataset_id, folder, error) from error
    return Recorded(dataset_id, folder, metadata, *spaces)


def _is_specification(found: Any) -> bool:
    """Whether plain data have the kinds that `EnvSpec.to_json` writes."""
    if not isinstance(found, dict) or not isinstance(found.get("id"), str):
        return False
    arguments, wrappers = found.get("kwargs") or {}, found.get("additional_wrappers") or []
    return isinstance(arguments, dict) and isinstance(wrappers, list) and all(isinstance(one, dict) for one in wrappers)


def _own(group: h5py.Group, name: str) -> Any:
    """A member of a group; ValueError if it lies in another file, which a link or a data set can name, or if it claims
    a size that nothing is stored for.
    """
    link = group.get(name, getlink=True)
    if link is None:
        raise ValueError(f"there is no {name}")
    found = group[name] if isinstance(link, h5py.HardLink) else None
    if found is None or (isinstance(found, h5py.Dataset) and (found.external or found.is_virtual)):
        raise ValueError(f"{name} lies in another file, which is not opened")
    if isinstance(found, h5py.Dataset) and found.nbytes > MOST_PACKED * max(found.id.get_storage_size(), 1):
        raise ValueError(f"{name} claims {found.nbytes:,} bytes and stores {found.id.get_storage_size():,}")
    return found


def _as_array(column: pa.ChunkedArray) -> np.ndarray:
    """A column of numbers (T,), or of lists of equal length (T, d)."""
    whole = column.combine_chunks()
    if column.null_count:
        raise ValueError("a value is missing")
    if pa.types.is_list(whole.type) or pa.types.is_fixed_size_list(whole.type) or pa.types.is_large_list(whole.type):
        if len(pa.compute.list_value_length(whole).unique()) != 1:
            raise ValueError("its rows differ in length")
        return whole.flatten().to_numpy(zero_copy_only=False).reshape(len(whole), -1)
    return whole.to_numpy(zero_copy_only=False)
