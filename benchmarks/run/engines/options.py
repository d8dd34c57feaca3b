"""The cluster's options, `--slurm KEY=VALUE` or a TOML file: those of submitit and of sbatch under their own names."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.kit.errors import UserError

SHORT = {"cpus": "cpus_per_task", "gpus": "gpus_per_node", "parallel": "array_parallelism"}
"""Short names of options."""
OURS = {
    "array": "--workers says how many jobs there are",
    "output": "logs lie in the results folder",
    "error": "logs lie in the results folder",
    "open_mode": "logs are appended to",
    "signal": "signal_delay_s says how many seconds before the end a worker is told",
    "ntasks": "a job is one worker; --workers says how many there are",
    "nodes": "a job is one worker; --workers says how many there are",
    "ntasks_per_node": "a job is one worker; --workers says how many there are",
    "requeue": "jobs are requeued",
    "stderr_to_stdout": "there is one log",
    "use_srun": "srun passes signals on",
    "additional_parameters": "give each option by its name",
}
"""Options that the engine sets itself, and why."""
LISTS = ("setup", "teardown", "srun_args")
NUMBERS = ("cpus_per_task", "array_parallelism", "signal_delay_s")
_TIME = re.compile(r"(?:(?P<days>\d+)-)?(?P<first>\d+)(?::(?P<second>\d+))?(?::(?P<third>\d+))?")


def read(given: Iterable[str]) -> dict[str, Any]:
    """Options from "KEY=VALUE" and names of TOML files; later ones win; None for an empty value, which takes
    the engine's own choice away.

    `setup=LINE` may be given several times: lines of the batch script before the worker starts.

    Raises:
        UserError: one is neither, cannot be read, or is the engine's own.
    """
    options: dict[str, Any] = {}
    for text in given:
        key, equals, value = text.partition("=")
        for name, one in ({key: value} if equals else _from_file(text)).items():
            _set(options, name.strip().replace("-", "_"), one, text)
    return options


def seconds(limit: str | float) -> int:
    """Of a time limit as sbatch takes it, such as 90 (minutes), 1:30:00 or 2-12; a day for what it does not take."""
    found = _TIME.fullmatch(str(limit))
    if found is None:
        return 24 * 3600
    days, *rest = (int(part or 0) for part in found.group("days", "first", "second", "third"))
    if found["days"] is None and found["third"] is None:  # minutes[:seconds]
        rest = [0, *rest[:2]]
    return sum(part * size for part, size in zip((days, *rest), (86_400, 3600, 60, 1), strict=True))


def _set(options: dict[str, Any], key: str, value: Any, text: str) -> None:
    key = SHORT.get(key, key)
    if not key.isidentifier():
        raise UserError(f"--slurm {text}: give KEY=VALUE, such as partition=gpu, or a .toml file of such lines")
    if key in OURS:
        raise UserError(f"--slurm {key}: this is not to be set, {OURS[key]}")
    if key in LISTS:
        value = [value] if isinstance(value, str) else value
        if not isinstance(value, list) or not all(isinstance(line, str) and "\n" not in line for line in value):
            raise UserError(f"--slurm {key}: give lines of text")
        options[key] = [*options.get(key, []), *value]
    elif value == "":
        options[key] = None
    elif key in NUMBERS:
        if not str(value).isdecimal() or int(value) < 1:
            raise UserError(f"--slurm {key}={value}: give a whole number of at least 1")
        options[key] = int(value)
    elif not isinstance(value, str | int | float) or "\n" in str(value):
        raise UserError(f"--slurm {key}: give one line of text or a number")
    else:
        options[key] = value


def _from_file(text: str) -> Mapping[str, Any]:
    if not text.endswith(".toml"):
        raise UserError(f"--slurm {text}: give KEY=VALUE, such as partition=gpu, or a .toml file of such lines")
    try:
        return tomllib.loads(Path(text).read_text())
    except (OSError, ValueError) as error:  # ValueError: no TOML, or no text
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise UserError(f"--slurm {text} cannot be read: {reason}") from None
