"""The verbs about kept policies: `ndi-bench play|render`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.kit.errors import UserError
from benchmarks.tasks import Task
from benchmarks.terminal import console, counted, say, table

from .store import QUICK, Folder

Own = Annotated[str | None, typer.Option("--task", help="The run's task, where it is not registered: my_module:TASK.")]


def play(
    run: Annotated[str, typer.Argument(help="Id of a run, or the beginning of one.")],
    folder: Folder = QUICK,
    device: Annotated[str | None, typer.Option(help="cpu or cuda. Default: where the run was evaluated.")] = None,
    sampled: Annotated[
        bool, typer.Option("--sampled", help="Draw the actions from the policy. Runs are evaluated by their mean.")
    ] = False,
    task: Own = None,
) -> None:
    """Evaluate the final policy of a run anew, and compare the returns with the stored ones, bit for bit.

    Exit code: 0 if all returns are the stored ones, or if they were sampled; 1 if not; 2 if there is no policy or it
    has been changed.
    """
    from benchmarks import provenance  # not for help, nor torch, MuJoCo and pandas
    from benchmarks.run.films import replay  # as above
    from benchmarks.store import frame  # as above

    store = frame.opened(folder)
    record = frame.one(store.runs(), run)
    played, stored = replay(store, record, device, sampled, _own(task, record))
    shown = table("Episode", "Seed", "Stored return", "Return now", "")
    for episode, (before, now) in enumerate(zip(stored, played.returns, strict=True)):
        same = "" if before == now else "differs"
        shown.add_row(str(episode), str(played.seeds[episode]), f"{before:,.6f}", f"{now:,.6f}", same)
    console.print(shown)
    if sampled:
        means = f"{played.returns.mean():,.1f} with sampled actions, {stored.mean():,.1f} stored of mean ones"
        say(f"{record['run_id']}: mean return {means}")
        return
    differing = int((stored != played.returns).sum())
    if not differing:
        say(f"{record['run_id']}: all {counted(len(stored), 'return')} are the stored ones, bit for bit")
        return
    say(f"{record['run_id']}: {differing} of {counted(len(stored), 'return')} are not the stored ones")
    then, here = json.loads(record["versions"]), provenance.versions()
    changed = [f"{name} {then.get(name)} then, {here[name]} here" for name in here if then.get(name) != here[name]]
    if provenance.cpu() != record["cpu"]:
        changed.append(f"{record['cpu']} then, {provenance.cpu()} here")
    say("Differing: " + ("; ".join(changed) or "nothing that is recorded of the software or the processor"))
    raise typer.Exit(1)


def render(
    name: Annotated[str, typer.Argument(metavar="RUN|TASK", help="Id of a run, or its beginning; or a task.")],
    folder: Folder = QUICK,
    out: Annotated[
        Path | None,
        typer.Option(help="FILE.gif, .webp, or .mp4 with the extra `video`. Default: films/ in the results folder."),
    ] = None,
    episode: Annotated[int, typer.Option(min=0, help="Which evaluation episode.")] = 0,
    task: Own = None,
) -> None:
    """Film the final policy of a run beside the expert, both from the same start; or the expert of a task alone.

    Without a screen it needs EGL or OSMesa; MUJOCO_GL=osmesa takes the latter.

    Example: ndi-bench render hopper-ndi-made-d1-s0 results/mine --out film.gif
    """
    from benchmarks.experts import has_expert  # not for help, nor torch, MuJoCo and pandas
    from benchmarks.plan import registry
    from benchmarks.run import films
    from benchmarks.store import frame

    if has_expert(name):
        path = out or films.place(folder, f"{name}-expert.gif")
        films.film_expert(registry.find_task(name), path, episode)
    else:
        store = frame.opened(folder)
        record = frame.one(store.runs(), name)
        path = out or films.place(folder, f"{record['run_id']}.gif")
        films.film_run(store, record, path, episode, task=_own(task, record))
    say(f"Film: {path}")


def _own(reference: str | None, record: Mapping[str, Any]) -> Task | None:
    """The task that the user names for a run; a row's own is a name alone, and never a module to import."""
    from benchmarks.plan.registry import find_task  # not for help

    if reference is None:
        return None
    found = find_task(reference)
    if found.name != record["task"]:
        raise UserError(f"--task {reference} is {found.name}, the run is of {record['task']}")
    return found
