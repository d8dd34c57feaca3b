"""`ndi-bench density`: judge rewards that are learned from demonstrations before any RL run."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.kit.errors import UserError
from benchmarks.terminal import console


def density(
    task: Annotated[str, typer.Option(help="The task, or my_module:TASK.")],
    demos: Annotated[int, typer.Option(min=1, help="Demonstrated trajectories per seed.")] = 1,
    seeds: Annotated[str, typer.Option(help="Seeds, such as 0-4,7.")] = "0",
    density: Annotated[
        str | None,
        typer.Option(
            "--density", help="Rewards, by commas: made,ebm or my_module:REWARD. Default: all that are installed."
        ),
    ] = None,
    dataset: Annotated[str, typer.Option(help='"embedded", "hub", or the id of a local Minari dataset.')] = "embedded",
    episodes: Annotated[int, typer.Option(min=1, help="Episodes played with every behaviour.")] = 5,
    out: Annotated[
        Path, typer.Option(help="Where folders of diagnostics lie, one per task, demonstrations and setting.")
    ] = Path("results/density"),
) -> None:
    """Fit densities and other learned rewards to demonstrations, and show whether they rise with the true return.

    Scores the demonstrations, unseen ones, behavioural cloning at stages of its training, the expert under growing
    action noise, a motionless and a random agent. A reward that does not rise with the return is not worth an RL run.
    What is stored already is not computed again (remove its folder for that); table and figures are always made anew,
    from the stored rows.

    Example: ndi-bench density --task hopper --demos 1 --density made,ebm
    """
    from benchmarks.plan import registry  # not for help, nor torch and matplotlib
    from benchmarks.plan.profiles import numbers
    from benchmarks.reporting import density as report
    from benchmarks.run.diagnostics import Plan, diagnose

    given = (part.strip() for part in density.split(",")) if density else registry.reward_names()
    names = list(dict.fromkeys(filter(None, given)))
    if not names:
        raise UserError('no reward is installed; give one of your own as --density "module:attribute"')
    try:
        chosen = numbers(seeds)
    except ValueError as error:
        raise UserError(f"--seeds {seeds}: {error}") from None
    rewards = tuple(registry.find_reward(name) for name in names)
    plan = Plan(registry.find_task(task), dataset, demos, chosen, rewards, episodes)
    settings = plan.record()
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]
    folder = out / f"{plan.task.name}-d{demos}-{digest}"
    try:
        if not report.stored(folder):
            folder.mkdir(parents=True, exist_ok=True)  # before the work, not after it
            with console.status("") as under_way:

                def tell(what: str, done: int, most: int) -> None:
                    under_way.update(f"{what} {done:,} of {most:,}")

                def say(text: str) -> None:
                    console.print(f"{text} ...", highlight=False)
                    under_way.update("")

                rows = diagnose(plan, say, tell)
            report.write(folder, settings, rows)
        report.build(folder, console)
    except OSError as error:
        raise UserError(f"--out {out} cannot be written to: {error.strerror or error}") from None
