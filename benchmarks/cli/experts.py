"""The verbs about experts: `ndi-bench experts list|train|measure|publish`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.markup import escape

from benchmarks import experts
from benchmarks.kit.errors import UserError
from benchmarks.tasks import TASKS
from benchmarks.terminal import command_again, console, print_json, print_listing, say

from .listings import AsJson

experts_app = typer.Typer(
    no_args_is_help=True, help="Experts: the policies behind the embedded demonstrations, and how to train more."
)

OUT = Path("results/experts")
"""Where experts are trained."""

Task = Annotated[str, typer.Argument(help="A task, or my_module:TASK.")]
From = Annotated[
    Path | None, typer.Option("--from", help="Folder of a trained expert. Default: the experts shipped here.")
]
Episodes = Annotated[int, typer.Option(min=2, help="Episodes per measured return.")]


@experts_app.command("list")
def list_experts(
    folder: From = None,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print the rows of the README's table.")] = False,
    as_json: AsJson = False,
) -> None:
    """List the experts with how they were trained and what they return (mean ± standard error)."""
    folder = folder or experts.FOLDER
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}; `ndi-bench experts train TASK --out {folder}` would make it")
    names = list(dict.fromkeys([*TASKS, *sorted(path.stem for path in folder.glob("*.safetensors"))]))
    if as_json:
        print_json({name: experts.model_card(name, folder) for name in names if experts.has_expert(name, folder)})
        return
    rows = []
    for name in names:
        if experts.has_expert(name, folder):
            card = experts.model_card(name, folder)
            try:
                returns = [experts.in_words(card["returns"][kind]) for kind in ("deterministic", "stochastic")]
                rows.append((name, str(card["algorithm"]), f"{card['steps']:,}", *returns))
            except (KeyError, TypeError, ValueError):
                raise UserError(f"the model card of {name} does not say what it is; make that expert anew") from None
        else:
            rows.append((name, "none yet", "", "", ""))
    if markdown:
        for row in rows:
            console.print(escape(f"| {' | '.join(row)} |".replace("|  ", "| ")), soft_wrap=True, highlight=False)
        return
    print_listing(("Task", "Algorithm", "Steps", "Deterministic", "Stochastic"), rows)


@experts_app.command("train")
def train_expert(
    task: Task,
    steps: Annotated[
        int | None, typer.Option(min=1, help="Environment steps. Default: ten times the task's budget.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the run.")] = 0,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="Change a setting: sac.FIELD=VALUE; `ndi-bench methods sac` lists the fields."),
    ] = None,
    out: Annotated[Path, typer.Option(help="Where to train; interrupted trainings go on from there.")] = OUT,
    episodes: Episodes = 100,
    checkpoint_minutes: Annotated[float, typer.Option(min=0, help="Minutes between checkpoints.")] = 5.0,
) -> None:
    """Train an expert with the suite's SAC on the true reward, measure it, and write its weights and model card.

    The run is stored like any other; the policy of its best evaluation becomes the expert. Given again, the command
    goes on where it was interrupted.

    Example: ndi-bench experts train hopper --steps 1000000
    """
    from .training import train  # torch, MuJoCo: not for help

    card = train(task, out, console, steps, seed, set_ or [], episodes, checkpoint_minutes)
    if card is None:
        console.print(f"Interrupted; go on with:\n  {escape(command_again())}", soft_wrap=True)
        raise typer.Exit(130)
    _print_returns(card["task"], card["returns"])
    files = f"{out / card['task']}.safetensors and .json"
    say(f"The expert after {card['steps']:,} steps is in {files}")


@experts_app.command("measure")
def measure_expert(task: Task, folder: From = None, episodes: Episodes = 100) -> None:
    """Measure what an expert returns, with deterministic and with sampled actions."""
    from benchmarks.experts.measure import measure_returns  # torch: not for help
    from benchmarks.experts.policy import load_expert
    from benchmarks.plan import registry

    found = registry.find_task(task)
    policy = load_expert(found.name, folder=folder or experts.FOLDER)
    _print_returns(found.name, measure_returns(found, policy, episodes)["returns"])


@experts_app.command("publish")
def publish_expert(
    tasks: Annotated[list[str], typer.Argument(help="Tasks or tags.")],
    folder: From = None,
    replace: Annotated[bool, typer.Option("--replace", help="Ship it even if the shipped one is better.")] = False,
    episodes: Episodes = 100,
) -> None:
    """Ship experts with the package, and measure and record all that depends on them (for maintainers).

    Written are weights, model card, reference returns and the manifest of the embedded dataset. Without --from, the
    shipped experts are measured anew, as after a new version of the simulator. Rows for the README: `experts list
    --markdown`.
    """
    from benchmarks.data.publishing import publish  # torch: not for help
    from benchmarks.plan import registry

    for task in registry.find_tasks(tasks):
        if folder is None and not experts.has_expert(task.name):
            raise UserError(f"there is no expert of {task.name} yet; give the folder of a trained one with --from")
        card = publish(task.name, folder or experts.FOLDER, replace, episodes)
        _print_returns(task.name, card["returns"])


def _print_returns(name: str, returns: dict[str, Any]) -> None:
    both = ", ".join(f"{kind} {experts.in_words(returns[kind])}" for kind in ("deterministic", "stochastic"))
    number = returns["stochastic"]["episodes"]
    say(f"{name}: {both} ({number} episodes each)")
