"""The command line, `ndi-bench` or `python -m benchmarks`: which verbs there are; each is a file under `cli/`."""

from __future__ import annotations

import typer

from .cli.compare import compare
from .cli.demos import demos_app
from .cli.density import density
from .cli.experts import experts_app
from .cli.gate import gate
from .cli.listings import methods, profiles, references, tasks
from .cli.merge import merge
from .cli.play import play, render
from .cli.report import report
from .cli.run import run
from .cli.status import status
from .cli.store import store_app
from .terminal import accept_all_characters, answered, show_own_warnings

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Benchmark and reproducibility suite for imitation with neural density models (NDI, arXiv 2010.09808). "
    "`ndi-bench run` trains and evaluates; `ndi-bench report` shows what is stored.",
)
for verb in (run, status, report, compare, gate, merge, play, render, density, tasks, methods, profiles, references):
    app.command()(verb)
for name, group in {"demos": demos_app, "experts": experts_app, "store": store_app}.items():
    app.add_typer(group, name=name)


def main() -> None:
    """Entry point."""
    accept_all_characters()
    show_own_warnings()
    answered(app)


if __name__ == "__main__":
    main()
