"""`nox -s peers` = `python -m benchmarks.peers`: the comparisons with other libraries, and what they say."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.kit.errors import UserError
from benchmarks.reporting.formats import Table, to_markdown, to_rich
from benchmarks.terminal import answered, console, show_own_warnings

from . import returns, speed

COMPARISONS = ("speed", "gail", "bc", "sac")


def main(
    what: Annotated[list[str] | None, typer.Argument(help=f"Any of {', '.join(COMPARISONS)}. Default: all.")] = None,
    rounds: Annotated[int, typer.Option(min=1, help="speed, gail: interleaved rounds.")] = 5,
    steps: Annotated[int, typer.Option(min=1, help="speed, gail: timed environment steps per process.")] = 1000,
    warmup: Annotated[int, typer.Option(min=1, help="speed, gail: steps before the clock starts.")] = 500,
    core: Annotated[int, typer.Option(help="speed, gail: the core that everything is pinned to; -1: none.")] = 0,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="speed, gail: also time ours with LABEL:METHOD.FIELD=VALUE,...; repeatable."),
    ] = None,
    tasks: Annotated[str, typer.Option(help="bc: tasks, by commas.")] = "hopper,halfcheetah",
    seeds: Annotated[str, typer.Option(help="bc: seeds.")] = "0-4",
    sac_task: Annotated[str, typer.Option(help="sac: the task.")] = "halfcheetah",
    sac_seeds: Annotated[str, typer.Option(help="sac: seeds.")] = "0-2",
    sac_steps: Annotated[int, typer.Option(min=100, help="sac: environment steps.")] = 40_000,
    workers: Annotated[int, typer.Option(min=0, help="bc, sac: processes at a time.")] = 1,
    out: Annotated[Path, typer.Option(help="Where the rows lie.")] = Path("results/peers"),
    show: Annotated[bool, typer.Option("--show", help="Run nothing; show what is stored.")] = False,
) -> None:
    """Compare with other libraries, each in its own virtual environment, which is built at first use.

    `speed` and `gail` time whole training loops, interleaved on one core; every call adds a series of rows. `bc` and
    `sac` compare returns; what is stored already is not run again, so an interrupted call goes on.
    """
    unknown = set(what or ()) - set(COMPARISONS)
    if unknown:
        raise UserError(f"no comparison is called {', '.join(sorted(unknown))}; there are {', '.join(COMPARISONS)}")
    for name in what or COMPARISONS:
        if name in ("speed", "gail"):
            contestants = speed.variants(speed.GAIL if name == "gail" else speed.SAC, set_ or [])
            path = out / f"{name}.parquet"
            if not show:
                speed.run(path, contestants, rounds, warmup, steps, None if core < 0 else core)
            _show(speed.as_table(name, speed.last_series(path)), out)
        elif name == "bc":
            if not show:
                returns.run(out / "bc", returns.BC, tasks, seeds, workers)
            _show(returns.comparison(out / "bc", "bc"), out / "bc")
        else:
            if not show:
                returns.run(out / "sac", returns.SAC, sac_task, sac_seeds, workers, steps=sac_steps)
            _show(returns.comparison(out / "sac", "sac"), out / "sac")


def _show(found: Table, folder: Path) -> None:
    """Print a table and keep it as Markdown in the folder."""
    for part in to_rich(found, console.width):
        console.print(part)
    (folder / f"{found.name}.md").write_text(to_markdown(found), encoding="utf-8")


if __name__ == "__main__":
    show_own_warnings()
    answered(lambda: typer.run(main))
