"""What a worker's machine, or its share of one, can do: processes at a time, threads, device."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from benchmarks.kit.errors import UserError
from benchmarks.provenance import cores
from benchmarks.terminal import counted

if TYPE_CHECKING:
    from .settings import Settings


@dataclass(frozen=True)
class Machine:
    """What a plan is run with."""

    device: str
    """Torch device; "auto" is for jobs, which see when they start what there is."""
    workers: int
    """Processes at a time, 0 runs all in this process; or jobs."""
    threads: int | None
    """Threads of each process that simulate; None is for jobs: what fits their share of the machine."""

    def of(self, settings: Settings) -> Settings:
        """The settings with this device and threads."""
        return replace(settings, device=self.device, threads=self.threads or 1)


def fitting(cells: int, device: str = "cpu", workers: int | None = None, threads: int | None = None) -> Machine:
    """What cells are run with here, where not all of it is said.

    Args:
        cells: how many there are.
        device: "cpu", "cuda", "cuda:N", or "auto": CUDA where there is some.
        workers: processes at a time. Default: one per core that this process may use; on CUDA 1.
        threads: threads of each that simulate. Default: 1; on CUDA the process's share of the cores.

    Raises:
        UserError: there is no such device.
    """
    device = resolved(device)
    if not is_here(device):
        raise UserError(f"--device {device}: this torch sees no such device; use --device cpu")
    workers = default_workers(device) if workers is None else workers
    if threads is None:
        threads = 1 if device == "cpu" else max(1, cores() // max(min(workers, cells), 1))
    return Machine(device, workers, threads)


def default_workers(device: str) -> int:
    """Processes at a time on a device, unless the user says otherwise: one per core; on CUDA 1."""
    return cores() if resolved(device) == "cpu" else 1


def resolved(device: str) -> str:
    """The device, where "auto" leaves it to the machine."""
    if device == "auto":
        return "cuda" if is_here("cuda") else "cpu"
    return device


def is_here(device: str) -> bool:
    """Whether there is a device of this name, "cpu", "cuda" or "cuda:N"."""
    found = re.fullmatch(r"cuda(?::([0-9]{1,3}))?", device)
    return device == "cpu" or (found is not None and int(found[1] or 0) < _cuda_devices())


def allocation(machine: Machine) -> str:
    """What a scheduler has given to this process and how it is used, in words for the rows."""
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    processes, threads = counted(machine.workers, "process", "processes"), counted(machine.threads or 1, "thread")
    words = [counted(cores(), "core"), processes, f"{threads} each"]
    return ", ".join(words + [f"GPU {gpus}"] * bool(gpus))


def job() -> str:
    """The Slurm job that this process is part of, such as 12_3; empty if it is part of none."""
    array, task = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    return f"{array}_{task}" if array and task else os.environ.get("SLURM_JOB_ID", "")


def _cuda_devices() -> int:
    import torch  # a plan for the CPU needs none

    return torch.cuda.device_count()
