"""The runs of a profile, without importing their methods where no code has changed since they were last asked for.

Such runs are for looking at, not for running: their config is JSON.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.kit.forms import assumed
from benchmarks.memo import remembered
from benchmarks.tasks import Task

from . import grid, registry
from .configuration import as_json
from .profiles import Profile


def expand(
    profile: Profile, content_hash: Callable[[Task, str], str | None], expert_hash: Callable[[str], str | None]
) -> list[grid.Run]:
    """The runs that `grid.expand` gives, with the same arguments and errors.

    What it asks of datasets and experts is asked anew each time; only what follows from it and from code is remembered.
    """
    tasks = {task.name: task for task in registry.find_tasks(profile.tasks)}
    registry.check_method_names(profile.methods)
    experiment = f"{profile.model_dump_json()}, {assumed()}, in {Path.cwd()}"
    asked = remembered(f"what the runs ask of {experiment}", lambda: _asked(profile))
    contents = {name: content_hash(tasks[name], profile.dataset) for name in asked["datasets"]}
    experts = {name: expert_hash(name) for name in asked["experts"]}

    def records() -> list[dict[str, Any]]:
        return [_record(run) for run in grid.expand(profile, lambda task, _: contents[task.name], experts.__getitem__)]

    known = remembered(f"the runs with {json.dumps([contents, experts])} of {experiment}", records)
    return [grid.Run(**{**record, "task": tasks[record["task"]], "swept": tuple(record["swept"])}) for record in known]


def _asked(profile: Profile) -> dict[str, list[str]]:
    """The tasks whose datasets and whose experts are asked for."""
    datasets, experts = dict[str, None](), dict[str, None]()
    grid.expand(profile, lambda task, _: datasets.setdefault(task.name), experts.setdefault)
    return {"datasets": list(datasets), "experts": list(experts)}


def _record(run: grid.Run) -> dict[str, Any]:
    """A run as JSON, from which the same run id follows."""
    fields = {field.name: getattr(run, field.name) for field in dataclasses.fields(run)}
    return {**fields, "task": run.task.name, "config": json.loads(as_json(run.config))}
