"""Ship an expert with the package: its files, and everything that was measured and built with it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import safetensors.numpy

from benchmarks.experts import FOLDER, has_expert, in_words, model_card
from benchmarks.experts.measure import EPISODES, measure_random, measure_returns
from benchmarks.experts.policy import export, load_expert
from benchmarks.files import variables
from benchmarks.instrument.environment import simulation_versions
from benchmarks.kit.errors import UserError
from benchmarks.tasks import REFERENCES, TASKS, read_references

from . import datasets, manifest


def publish(
    task_name: str,
    source: Path = FOLDER,
    replace: bool = False,
    episodes: int = EPISODES,
    folder: Path = FOLDER,
    references: Path = REFERENCES,
    manifest_path: Path = manifest.PATH,
) -> dict[str, Any]:
    """Measure an expert, write it into the package, and record its reference returns and its dataset's content.

    Everything that the suite knows of an expert is made anew here, with the versions that are installed now. The
    new reference returns hold from the next start of Python on.

    Args:
        task_name: a task of the suite.
        source: folder with the expert's weights and model card; by default the shipped ones are measured anew.
        replace: ship it even though its stochastic return is lower than that of the expert shipped so far.
        episodes: episodes per measured return.
        folder: where the shipped experts lie.
        references: the file of reference returns.
        manifest_path: the file of dataset contents.

    Returns:
        The model card as shipped.

    Raises:
        UserError: there is no such task or expert, its files are damaged, or it is worse than the one shipped.
    """
    if task_name not in TASKS:
        raise UserError(f"{task_name} is no task of the suite, whose experts alone can be shipped")
    task, card, policy = TASKS[task_name], model_card(task_name, source), load_expert(task_name, folder=source)
    card |= measure_returns(task, policy, episodes)
    if source != folder and not replace and has_expert(task_name, folder):
        new, shipped = (known["returns"]["stochastic"] for known in (card, model_card(task_name, folder)))
        if new["mean"] < shipped["mean"]:
            raise UserError(
                f"the expert of {task_name} in {source} returns {in_words(new)}, the shipped one {in_words(shipped)}; "
                "nothing is changed, --replace ships it all the same"
            )
    weights = safetensors.numpy.load_file(source / f"{task_name}.safetensors")
    card = export(task_name, weights, card, folder)
    entry = {
        "random": measure_random(task, episodes),
        "expert": card["returns"]["stochastic"],
        "versions": simulation_versions(),
    }
    known = {**read_references(references), task_name: entry}
    references.write_text(json.dumps({name: known[name] for name in TASKS if name in known}, indent=2) + "\n")
    with tempfile.TemporaryDirectory() as place, variables(MINARI_DATASETS_PATH=place):
        metadata, _, _ = datasets.details(task, "embedded")  # built anew, apart from the user's own
    manifest.record(task_name, metadata, manifest_path)
    return card
