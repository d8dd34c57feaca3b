"""What the machine is asked before cells are begun: its fastest form of an update, examined once, told in words."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import torch

from benchmarks.files import variables
from benchmarks.kit.examination import fastest
from benchmarks.kit.forms import PAYS, Form, kept, machine, settled
from benchmarks.plan.grid import Cell
from benchmarks.terminal import counted

from .settings import ONE_THREAD


def prepare(cells: Sequence[Cell], device: str, say: Callable[[str], None]) -> None:
    """Find the fastest form of updates if long cells leave it to the machine, and say which it is.

    It is examined in a process of its own, before any cell is begun, so that cells find it known.

    Args:
        cells: what is to be run.
        device: torch device.
        say: shows a line.
    """
    long = [cell for cell in cells if _left_open(cell)]
    if not long or device != "cpu":
        return
    if machine() not in kept():
        say("Examining which form of updates this machine makes fastest: once, for about a minute")
    form = kept().get(machine()) or _examined()
    which = f"{form}, as checked on this machine" if form != Form() else "plain: no faster form works on this machine"
    many = counted(len(long), "process", "processes")
    say(f"{PAYS:,} updates or more in {many} of {len(cells)}: these are {which}")


def _left_open(cell: Cell) -> bool:
    """Whether the machine's fastest form makes a difference to the cell."""
    config, budget = cell.first.config, cell.first.budget
    return bool(settled(config, budget, lambda: Form(True, "bfloat16")) != settled(config, budget, Form))


def _examined() -> Form:
    """The fastest form; plain if whoever examines it dies."""
    context = multiprocessing.get_context("spawn")
    try:
        with variables(**ONE_THREAD), ProcessPoolExecutor(1, context) as examiner:
            return examiner.submit(fastest, torch.device("cpu")).result()
    except BrokenProcessPool:
        return Form()
