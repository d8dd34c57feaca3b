"""What a result came from: code, versions and machine."""

from __future__ import annotations

import functools
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
"""The checkout, if the package is used from one."""
SOURCES = ("benchmarks", "ndi", "baselines")
"""Folders whose uncommitted changes make a checkout dirty."""
PACKAGES = ("torch", "numpy", "gymnasium", "mujoco", "minari", "ndi-bench")


@functools.cache
def commit() -> tuple[str | None, bool]:
    """Git commit of the suite and whether its sources differ from it or may; (None, False) outside a checkout."""
    top = _git("rev-parse", "--show-toplevel")
    head = _git("rev-parse", "HEAD")
    if top is None or head is None or Path(top).resolve() != ROOT:
        return None, False
    return head, _git("status", "--porcelain", "--", *SOURCES) != ""


@functools.cache
def versions() -> dict[str, str | None]:
    """Versions of Python and of the packages that results depend on; None for one that is not installed."""
    return {"python": platform.python_version(), **{package: _version(package) for package in PACKAGES}}


@functools.cache
def cpuinfo() -> dict[str, str]:
    """What Linux says of the first processor, by name; empty elsewhere."""
    try:
        lines = [line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines()]
    except OSError:
        return {}
    return {name.strip(): value.strip() for name, _, value in reversed(lines)}


def cpu() -> str:
    """Model name of the processor."""
    return cpuinfo().get("model name") or platform.processor() or platform.machine()


def cores() -> int:
    """Processor cores that this process may use: of its machine, its control group, and its share of a Slurm job."""
    found = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    shares = [os.environ.get("SLURM_CPUS_PER_TASK", ""), *_quota()]
    return max(1, min([found, *(int(share) for share in shares if share.isdecimal())]))


def _quota() -> list[str]:
    """Whole cores of the control group's share of time, where it has one."""
    try:
        share, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return [str(-(-int(share) // int(period)))]
    except (OSError, ValueError):  # no such group, or "max": no limit
        return []


def device_name(device: str) -> str:
    """The device, an accelerator with its name: "cpu" or "cuda (NVIDIA H200)"."""
    if device == "cpu":
        return device
    import torch  # only an accelerator has a name of its own

    return f"{device} ({torch.cuda.get_device_name(device)})"


def columns(
    device: str, origin: tuple[str, str] | None = None, notes: Mapping[str, str] = MappingProxyType({})
) -> dict[str, Any]:
    """The columns of a stored run that say where it came from.

    Args:
        device: torch device.
        origin: name and version of what a method that is not the suite's own comes from, see `registry.origin`.
        notes: what else the versions shall say, by name, such as {"learner": "compiled, bfloat16"}.
    """
    head, dirty = commit()
    all_versions = {**versions(), **({} if origin is None else {origin[0]: origin[1]}), **notes}
    return {
        "commit": head,
        "dirty": dirty,
        "versions": json.dumps(all_versions, sort_keys=True),
        "device": device_name(device),
        "cpu": cpu(),
    }


def _git(*arguments: str) -> str | None:
    """Output of a git command in the checkout; None if there is no git or no repository."""
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True, timeout=30, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
