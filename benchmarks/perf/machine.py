"""The machine type: numbers of one type may be compared, and nothing else."""

from __future__ import annotations

import re

from benchmarks import provenance


def processor() -> str:
    """The processor's name with its family and model number, which tell apart what a virtual machine names alike."""
    numbers = provenance.cpuinfo()
    if "cpu family" not in numbers or "model" not in numbers:
        return provenance.cpu()
    return f"{provenance.cpu()} family {numbers['cpu family']} model {numbers['model']}"


def described() -> dict[str, str]:
    """Processor and versions, as they are stored with every measurement."""
    versions = provenance.versions()
    found = {name: str(versions[name]).partition("+")[0] for name in ("python", "torch", "numpy", "mujoco")}
    return {"processor": processor(), **found}


def key(described: dict[str, str]) -> str:
    """The machine type as a file name: processor and torch version."""
    return re.sub(r"[^a-z0-9.]+", "-", f"{described['processor']} torch {described['torch']}".lower()).strip("-")
