"""How many mutants of the code the tests notice: pip install cosmic-ray; python tests/mutants.py --mutants 250.

Places where cosmic-ray would change the code are drawn with a fixed seed, as many of every file as it has its share of
them, and one change for each. It is made in a copy of the tree, where the tests of that file then run in a fork of a
process that has imported what takes long. Survivors are printed: of a real one a test is missing, or the line is not
needed; many others change nothing, such as the axis -1 of two to 1.
"""

import argparse
import difflib
import importlib
import os
import random
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
MUTATED = (
    "ndi/*.py",
    "baselines/*.py",
    "benchmarks/kit/*.py",
    "benchmarks/reporting/statistics.py",
    "benchmarks/reporting/comparison.py",
)
"""Methods, what they are made of, and what decides between them: statistics and comparison."""
TESTS = {
    "bc": ["baselines"], "bounds": ["configuration"], "cloning": ["baselines"], "contract": ["contract", "kl"],
    "density": ["densities"], "ebm": ["densities", "configuration"], "errors": ["runner"], "examination": ["forms"],
    "gail": ["gail", "resume", "baselines"], "iqlearn": ["iqlearn", "resume", "baselines"], "kde": ["densities"],
    "lanes": ["streams"], "made": ["densities"], "ndi": ["reward", "resume", "baselines"],
    "networks": ["networks", "sac"], "pwil": ["pwil", "resume", "baselines"], "red": ["red", "resume", "baselines"],
    "references": ["resume", "baselines"], "reward": ["reward", "configuration"], "sac": ["sac", "resume", "baselines"],
    "sqil": ["sqil", "resume", "baselines"], "standardiser": ["networks", "replay"],
    "statistics": ["statistics", "comparison", "gate"], "store": ["store", "recovery"],
    "valuedice": ["valuedice", "resume", "baselines"],
}  # fmt: skip
"""The tests of files that have no test file of their own name, or not that alone."""
OPERATORS = (
    "AddNot", "Replace(True|False|And|Or|Break|Continue)", "ReplaceComparison", "ReplaceUnaryOperator_(Delete|USub)",
    "ReplaceBinaryOperator_(Add_Sub|Sub_Add|Mul_Div|Div_Mul|Add_Mul|Mul_Add|Mod_FloorDiv|FloorDiv_Mul|Pow_Mul)",
    "NumberReplacer", "RemoveDecorator", "ZeroIterationForLoop", "ExceptionReplacer",
)  # fmt: skip
"""Of cosmic-ray's, without those that give code which cannot run, such as tensors that are shifted."""


def drawn(number: int, seed: int) -> list[tuple[Path, str, str]]:
    """Files, with their text before and after a change, in a random order."""
    import cosmic_ray.plugins
    from cosmic_ray.commands.init import _all_work_items
    from cosmic_ray.mutating import mutate_code

    wanted, generator = re.compile(f"core/({'|'.join(OPERATORS)})"), random.Random(seed)
    places: dict[tuple, list] = {}
    for path in sorted(path for pattern in MUTATED for path in ROOT.glob(pattern) if path.name != "__init__.py"):
        for item in _all_work_items([path], {}):
            (change,) = item.mutations
            if wanted.match(change.operator_name):
                places.setdefault((path, change.start_pos, change.end_pos), []).append(change)
    mutants = []
    for path, *place in generator.sample(sorted(places), min(number, len(places))):
        change, text = generator.choice(places[path, *place]), path.read_text()
        operator = cosmic_ray.plugins.get_operator(change.operator_name)(**change.operator_args)
        mutants.append((path.relative_to(ROOT), text, mutate_code(text, operator, change.occurrence)))
    return mutants


def failing(names: Iterable[str], seconds: int) -> bool:
    """Whether a test fails, or all take longer than so many seconds of processor time."""
    import pytest

    process = os.fork()
    if process == 0:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(1, 2)
        files = [f"tests/test_{name}.py" for name in names]
        os._exit(int(pytest.main(["-x", "-p", "no:xdist", "-m", "not slurm and not browser", *files])))
    end = time.monotonic() + 20 * seconds
    while os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None and time.monotonic() < end:
        time.sleep(0.05)
    os.killpg(process, signal.SIGKILL)
    return os.waitpid(process, 0)[1] != 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mutants", type=int, default=250)
    parser.add_argument("--seed", type=int, default=21)
    parser.add_argument("--seconds", type=int, default=120, help="of processor time for the tests of one mutant")
    options = parser.parse_args()
    mutants = drawn(options.mutants, options.seed)
    with tempfile.TemporaryDirectory() as copy:
        shutil.copytree(ROOT, copy, dirs_exist_ok=True, ignore=shutil.ignore_patterns(".*", "__pycache__"))
        os.chdir(copy)
        os.environ["PYTHONPATH"] = sys.path[0] = copy
        os.environ["NDI_BENCH_TESTS"] = copy  # forks that end at once tidy nothing up
        sys.dont_write_bytecode = True  # a change within a second, of the same length, would go unseen
        for name in ("gymnasium", "matplotlib.figure", "minari", "mujoco", "pandas", "scipy.stats", "torch"):
            importlib.import_module(name)
        for names in {tuple(TESTS.get(path.stem, [path.stem])) for path, *_ in mutants}:
            assert not failing(names, options.seconds), f"tests that fail without a change: {' '.join(names)}"
        killed = 0
        for number, (path, before, after) in enumerate(mutants, 1):
            path.write_text(after)
            if failing(TESTS.get(path.stem, [path.stem]), options.seconds):
                killed += 1
            else:
                diff = difflib.unified_diff(before.splitlines(), after.splitlines(), str(path), "", n=0, lineterm="")
                print(*diff, sep="\n", flush=True)
            path.write_text(before)
            print(f"{number}/{len(mutants)}: {killed} killed", flush=True)
