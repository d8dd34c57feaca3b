"""What the gate finds and how often it is wrong: python tests/gatetest.py [--defects] [--nulls 200].

Writes the tables of `benchmarks/gate.md` beside the reference; `nox -s pages` puts them on the page.

Defects are planted one at a time: one replacement in a copy of the source tree, in which `ndi-bench gate` then runs the
methods whose code has it (those of other methods stay identical, which takes no power from the rest). A text that is
not there exactly once is an error, so that no defect goes stale in silence.

False alarms are counted over pairs without a difference: a pool of the reference's runs and as many of other seeds is
dealt out anew for every trial, demonstration by demonstration, as many runs to the reference and to each look as the
gate has.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from benchmarks.cli.gate import LOOKS, LOSS, SHARES, make
from benchmarks.reporting import gate
from benchmarks.reporting.gate import Line, judge
from benchmarks.store.store import Store

ROOT = Path(__file__).parents[1]
SOURCES = ("benchmarks", "baselines", "ndi")
REFERENCE = ROOT / "results" / "gate-reference"
NDI = ("ndi-made", "ndi-ebm")
SAC = (*NDI, "gail", "sqil", "sac")
DEMONSTRATED = (*NDI, "gail", "sqil", "iq-learn", "bc")
FOLLOW = "        follow(self._target, self.critic_optimiser.parameters, self.config.target_rate)\n"
VERDICTS = {0: "fine", 1: "worse", 3: "undecided"}
DEMONSTRATIONS = 25
DRAWS = 2000
"""Of every trial without a difference."""


class Defect(NamedTuple):
    """One replacement in one file, and the methods whose code has it."""

    name: str
    file: str
    old: str
    new: str
    methods: tuple[str, ...]


DEFECTS = (
    Defect("entropy's sign in SAC's target", "benchmarks/kit/sac.py",
           "next_values - temperature[:, None] * log_density", "next_values + temperature[:, None] * log_density", SAC),
    Defect("reward x 0.3 in SAC", "benchmarks/kit/sac.py",
           "targets = batch.rewards + ", "targets = 0.3 * batch.rewards + ", SAC),
    Defect("SAC's target never moves", "benchmarks/kit/sac.py", FOLLOW, "", SAC),
    Defect("SAC's discount 0.5", "benchmarks/kit/sac.py",
           "self.config.discount * batch.masks", "0.5 * batch.masks", SAC),
    Defect("SAC's target moves only with the actor", "benchmarks/kit/sac.py",
           FOLLOW, f"        if actor_noise is not None:\n    {FOLLOW}", SAC),
    Defect("IQ-Learn's mask dropped", "baselines/iqlearn.py",
           "config.discount * batch.masks * next_values", "config.discount * next_values", ("iq-learn",)),
    Defect("IQ-Learn's entropy sign flipped", "baselines/iqlearn.py",
           "(-config.temperature * log_density)", "(config.temperature * log_density)", ("iq-learn",)),
    Defect("demonstrations' terminal flags ignored", "benchmarks/kit/replay.py",
           "torch.tensor(demonstrations.terminated, device=problem.device)",
           "torch.zeros(len(states), dtype=torch.bool, device=problem.device)", DEMONSTRATED),
    Defect("time limits of demonstrations taken for ends", "benchmarks/kit/replay.py",
           "torch.tensor(demonstrations.terminated, device=problem.device)",
           "torch.tensor(demonstrations.episodes).diff(append=torch.tensor([-1])) != 0",
           DEMONSTRATED),
    Defect("demonstrated actions a step late", "benchmarks/kit/replay.py",
           "actions, terminated = tensor(demonstrations.actions),",
           "actions, terminated = tensor(demonstrations.actions).roll(1, 0),", DEMONSTRATED),
    Defect("sampled actions in evaluation", "benchmarks/kit/networks.py",
           "return torch.tanh(self.latent(observations)[0])",
           "mean, log_std = self.latent(observations)\n"
           "        return torch.tanh(mean + log_std.exp() * torch.randn_like(mean))", (*SAC, "iq-learn")),
    Defect("stale standardiser in the policy that is handed over", "benchmarks/kit/sac.py",
           "        self.deployed.standardise = standardise  # not a copy: it may be fitted later\n", "", ("sac",)),
    Defect("the logit's sign in GAIL's reward", "baselines/gail.py",
           "REWARDS[config.reward](discriminator(", "REWARDS[config.reward](-discriminator(", ("gail",)),
    Defect("lambda_f's sign", "ndi/reward.py", "return self.lambda_f * (value", "return -self.lambda_f * (value", NDI),
)  # fmt: skip


def plant(defect: Defect, folder: Path) -> None:
    """A copy of the source tree with the defect."""
    for source in SOURCES:
        shutil.copytree(ROOT / source, folder / source, ignore=shutil.ignore_patterns("__pycache__"))
    path = folder / defect.file
    text = path.read_text()
    if text.count(defect.old) != 1:
        raise SystemExit(f"{defect.name}: {defect.file} has {text.count(defect.old)} times {defect.old!r}, not once")
    path.write_text(text.replace(defect.old, defect.new))


def find(defect: Defect, workers: int) -> dict[str, object]:
    """Run the gate on the defect; its row of the table."""
    with tempfile.TemporaryDirectory() as place:
        folder, table = Path(place), Path(place) / "table.md"
        plant(defect, folder)
        known = set(gate.read_reference(REFERENCE).runs["method"])
        methods = [method for method in defect.methods if method in known]
        command = [sys.executable, "-m", "benchmarks", "gate", "--methods", ",".join(methods)]
        command += ["--workers", str(workers), "--reference", str(REFERENCE), "--out", str(folder / "out")]
        began = os.times()
        done = subprocess.run([*command, "--table", str(table)], cwd=folder, capture_output=True, text=True)
        ended = os.times()
        if done.returncode not in VERDICTS:
            raise SystemExit(f"{defect.name}: the gate failed\n{done.stdout}\n{done.stderr}")
        rows = [[cell.strip() for cell in line.strip("| \n").split("|")] for line in table.read_text().splitlines()]
    worse = {row[0].partition(":")[0]: row[2] for row in rows if row[-1].startswith("worse")}
    return {
        "defect": defect.name,
        "verdict": VERDICTS[done.returncode],
        "worse, with the loss of area": ", ".join(f"{name} {loss}" for name, loss in worse.items()),
        "lines run": len(methods),
        "CPU seconds": round(ended.children_user + ended.children_system - began.children_user - began.children_system),
    }


def deal(lines: list[Line], generator: np.random.Generator) -> list[list[Line]]:
    """Lines of every look, from lines that hold the whole pool: as many runs a demonstration as the gate has."""
    of_look = np.cumsum([len(sets) for sets in LOOKS])  # of ours, a demonstration
    theirs = of_look[-1]
    dealt: list[list[Line]] = [[] for _ in LOOKS]
    for line in lines:
        demonstrations = DEMONSTRATIONS if line.blocks.max() == 0 else 1  # without any, all runs are one block
        blocks = [generator.permutation(np.flatnonzero(line.blocks == block)) for block in np.unique(line.blocks)]
        for look, ours in enumerate(of_look):
            chosen = np.concatenate([block[: (theirs + ours) * demonstrations] for block in blocks])
            own = np.concatenate([np.arange((theirs + ours) * demonstrations) >= theirs * demonstrations] * len(blocks))
            dealt[look].append(line._replace(values=line.values[chosen], ours=own, blocks=line.blocks[chosen]))
    return dealt


def trial(looks: list[list[Line]]) -> tuple[str, int]:
    """One gate without a difference: its verdict, and how many lines were trained further."""
    current, further = list(looks[0]), 0
    for look, share in enumerate(SHARES):
        judgement = judge(current, 0.05 * share, LOSS)
        if judgement.verdict == gate.WORSE or not judgement.doubtful or look + 1 == len(SHARES):
            break
        again = [line.method in judgement.doubtful for line in current]
        current = [larger if more else line for line, larger, more in zip(current, looks[look + 1], again, strict=True)]
        further += sum(again)
    return judgement.verdict, further


def pool(folder: Path, workers: int) -> list[Line]:
    """Lines that hold the reference and as many runs of other seeds, which are made unless the folder has them."""
    sets = [number for look in LOOKS for number in look]
    other = [number + len(sets) for number in sets]
    own = Store(folder).averages() if folder.exists() else make([other], None, folder, workers)
    ours, theirs = gate.joined([own]), gate.read_reference(REFERENCE)
    return list(gate.lines(ours, theirs, gate.pairs(ours, theirs)))


def nulls(trials: int, lines: list[Line]) -> pd.DataFrame:
    """Deal the pool out so many times; how often the gate said what."""
    generator = np.random.default_rng(0)
    found = [trial(deal(lines, generator)) for _ in range(trials)]
    verdicts = Counter(verdict for verdict, _ in found)
    row = {
        "gates without a difference": trials,
        "runs of a line in the pool": len(lines[0].values),
        **{verdict: verdicts[verdict] for verdict in VERDICTS.values()},
        "lines trained further": round(float(np.mean([more for _, more in found])), 1),
    }
    return pd.DataFrame([row])


def sight(lines: list[Line]) -> pd.DataFrame:
    """The losses that are seen with 80 % power, by line and look: medians of some deals."""
    generator = np.random.default_rng(1)
    deals = [deal(lines, generator) for _ in range(5)]
    judged = [[judge(look, 0.05 * share, LOSS) for look, share in zip(looks, SHARES, strict=True)] for looks in deals]
    rows = []
    for place, line in enumerate([*lines, None]):
        found = [[look.overall if line is None else look.findings[place] for look in looks] for looks in judged]
        first, second = np.median([[finding.visible for finding in looks] for looks in found], axis=0).round(3)
        mean, deviation = ("", "") if line is None else (line.values[:, 0].mean(), line.values[:, 0].std(ddof=1))
        rows.append(
            {
                "line": "all lines" if line is None else line.label,
                "area": mean if line is None else f"{mean:.3f}",
                "deviation between seeds": deviation if line is None else f"{deviation:.3f}",
                "seen with 25 seeds": first,
                "with 75": second,
            }
        )
    return pd.DataFrame(rows)


def store(rows: pd.DataFrame, name: str) -> None:
    """Write a table beside the reference; rows that it has already under the same first column are replaced."""
    path, key = REFERENCE / f"{name}.csv", rows.columns[0]
    if path.exists():
        kept = pd.read_csv(path, keep_default_na=False)
        rows = pd.concat([kept[~kept[key].isin(rows[key])], rows])
    rows.to_csv(path, index=False)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--defects", action="store_true")
    parser.add_argument("--only", default="", help="of the defects, those whose name has this text")
    parser.add_argument("--nulls", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--pool", type=Path, default=Path("results/gate-pool"), help="runs of other seeds")
    options = parser.parse_args()
    if options.defects:
        for defect in DEFECTS:
            if options.only in defect.name:
                row = find(defect, options.workers)
                print(row, flush=True)
                store(pd.DataFrame([row]), "defects")
    if options.nulls:
        gate.DRAWS = DRAWS
        lines = pool(options.pool, options.workers)
        store(sight(lines), "sight")
        (REFERENCE / "nulls.csv").unlink(missing_ok=True)
        store(nulls(options.nulls, lines), "nulls")
