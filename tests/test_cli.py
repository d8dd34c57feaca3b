"""The command line from the outside: what it prints, what it refuses, and its exit codes."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import typer

from benchmarks import terminal
from benchmarks.__main__ import app
from benchmarks.store.store import Store

WALKER = "toy_methods:WALKER"


@pytest.fixture(autouse=True)
def elsewhere(monkeypatch, tmp_path):
    """An empty working folder."""
    monkeypatch.chdir(tmp_path)


def run_options(out, *more):
    return (
        *("run", "--methods", WALKER, "--tasks", "inverted-pendulum", "--seeds", "0-1", "--steps", "30"),
        *("--evaluations", "2", "--eval-episodes", "2", "--out", out, "--workers", "0", "--no-report", *more),
    )


LIGHT = {
    "--help": "Usage",
    "tasks": "Hopper-v5",
    "methods": "ndi-made",
    "methods ndi-made": "reward.lambda_f",
    "methods ndi-ebm": "Weight of the occupancy reward",
    "profiles": "quick",
    "profiles paper": "subsample",
    "references": "walker2d",
    "references hopper": "hopper",
    "experts list": "halfcheetah",
    "demos list": "built at first use",
    "run --help": "--dry-run",
    "run --methods bc --tasks hoper": "did you mean hopper?",
    "run --methods bc,sca --tasks hopper": "did you mean sac?",
    "run --methods bc --tasks hopper --retry fail": "did you mean failed?",
    "run --profile paper --dry-run --out results/mine": "humanoid-ndi-ebm-d1-s14-",
    "compare results/desk": "there is nothing to compare with",
}
"""What is told at once: commands, and something they print."""
HEAVY = {"torch", "minari", "mujoco", "gymnasium", "scipy", "pandas", "pyarrow", "matplotlib", "seaborn"}


def test_help_listings_plans_and_mistakes_import_nothing_heavy(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "200")
    code = f"""
import contextlib, io, sys
import benchmarks.__main__ as m
for command, shown in {LIGHT}.items():
    sys.argv = ["ndi-bench", *command.split()]
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
        with contextlib.suppress(SystemExit):
            m.main()
    print(command, shown in out.getvalue(), sorted({HEAVY} & set(sys.modules)), sep=": ")
"""
    for _ in range(2):  # methods are asked once
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True
        )
    assert done.stdout.splitlines() == [f"{command}: True: []" for command in LIGHT]


def verbs(command, names=()):
    """The command and all below it, each by its words."""
    yield names
    for name, inner in getattr(command, "commands", {}).items():
        yield from verbs(inner, (*names, name))


@pytest.mark.parametrize("verb", list(verbs(typer.main.get_command(app))), ids=" ".join)
def test_every_verb_explains_itself(bench, verb):
    code, out, _ = bench(*verb, "--help")
    assert code == 0
    assert "Usage" in out


@pytest.mark.parametrize("listing", ["tasks", "methods", "profiles", "references", "experts list"])
def test_listings_cut_no_identifier_at_80_columns_and_are_json_on_demand(bench, listing, monkeypatch):
    monkeypatch.setattr(terminal.console, "_width", 80)
    _, out, _ = bench(*listing.split())
    assert max(map(len, out.splitlines())) <= 80
    found = json.loads(bench(*listing.split(), "--json")[1])
    names = found if isinstance(found, dict) else [one["name"] for one in found]
    assert {line.split()[0] for line in out.splitlines() if line[0] != " "} >= set(names)
    if listing == "tasks":
        assert "InvertedDoublePendulum-v5" in out
        assert found[0]["hub_dataset"] == "mujoco/hopper/expert-v0"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("run", "--profile", "quik"), "unknown profile quik: did you mean quick?"),
        (("run", "--methods", "ndi-mad", "--tasks", "hopper"), "unknown method ndi-mad: did you mean ndi-made?"),
        (("run", "--methods", "bc", "--tasks", "hoper"), "unknown task hoper: did you mean hopper?"),
        (("run", "--methods", "bc"), "--tasks is missing"),
        (("run", "--seeds", "4-1"), "--seeds: expected numbers"),
        (("run", "--steps", "0"), "--steps: expected a positive number"),
        (("run", "--methods", WALKER, "--tasks", "hopper", "--set", "walker.rat=1"), "did you mean rate?"),
        (("run", "--methods", WALKER, "--tasks", "hopper", "--set", "walker.rate=fast"), "must be float, not 'fast'"),
        (("run", "--methods", WALKER, "--tasks", "hopper", "--set", "rate"), "must be METHOD.FIELD=VALUE"),
        (("run", "--methods", WALKER, "--tasks", "hopper", "--set", "bc.fit.steps=1"), "no such method is selected"),
        (("run", "--methods", WALKER, "--tasks", "hopper", "--retry", "fail"), "did you mean failed?"),
        (("run", "--methods", WALKER, "--tasks", "hopper", "--device", "tpu"), "must be cpu, cuda or auto"),
        (("run", "--methods", "bc", "--tasks", "hopper", "--device", "tpu", "--dry-run"), "must be cpu, cuda or auto"),
        (("run", "--methods", "bc", "--tasks", "hopper", "--demos", "26", "--dry-run"), "has 25 episodes"),
        (("run", "--methods", "bc", "--tasks", "hopper", "--demos", "0"), "--demos: expected a number from 1 "),
        (("run", "--methods", ",", "--tasks", "hopper"), "--methods: expected at least one (given: ',')"),
        (("run", "--methods", f"{WALKER},{WALKER}_TWIN", "--tasks", "hopper"), "two of the methods call themselves wa"),
        (("run", "--methods", "gail", "--tasks", "hopper", "--set", "gail.batch_size=1"), "did you mean sac.batch_si"),
        (("run", "--profile", "lambda-f", "--set", "ndi-made.reward.lambda_f=1"), "lambda_f is swept by profile lamb"),
        (("run", "--profile", ""), "unknown profile :"),
        (("run", "--out", "", "--methods", "bc", "--tasks", "hopper"), "--out is empty; give a folder"),
        (("report", "nowhere"), "no runs are stored in nowhere"),
        (("profiles", "mine.toml"), "cannot be read"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_and_exit_code_2(bench, arguments, message):
    code, _, error = bench(*arguments)
    assert code == 2
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


def test_a_dry_run_says_that_a_dataset_is_missing(bench, monkeypatch, tmp_path):
    monkeypatch.setenv("MINARI_DATASETS_PATH", str(tmp_path / "datasets"))
    code, out, _ = bench("run", "--methods", "bc", "--tasks", "hopper", "--dataset", "lab/x-v0", "--dry-run")
    assert code == 0
    assert "dataset lab/x-v0 is not here yet" in out
    assert "these are not the final run ids" in out


def test_a_readme_of_ones_own_is_never_overwritten(bench):
    Path("mine").mkdir()
    Path("mine/README.md").write_text("# My project\n")
    options = [option for option in run_options("mine") if option != "--no-report"]
    code, _, error = bench(*options)
    assert (code, "mine/README.md is not a report's and would be overwritten" in error) == (2, True)
    assert [path.name for path in Path("mine").iterdir()] == ["README.md"], "nothing was run"
    assert bench(*options, "--no-report")[0] == 0
    assert bench("report", "mine")[0] == 2
    assert Path("mine/README.md").read_text() == "# My project\n"
    Path("mine/README.md").unlink()
    assert bench("report", "mine")[0] == 0
    assert bench("report", "mine")[0] == 0, "its own page is written again"


def test_runs_of_other_code_are_told_and_recorded(bench, monkeypatch):
    monkeypatch.syspath_prepend(".")
    source = (Path(__file__).parent / "toy_methods.py").read_text()
    Path("edited.py").write_text(source)
    options = [option.replace("toy_methods", "edited") for option in run_options("out")]
    assert bench(*options)[0] == 0
    assert "another version" not in bench(*options)[1]
    Path("edited.py").write_text(source.replace("Settings of a random walk", "Another random walk"))
    assert "2 stored runs of walker: made with another version of edited than is there now" in bench(*options)[1]
    assert bench(*options, "--rerun")[0] == 0
    assert "another version" not in bench(*options)[1]
    Path("other.py").write_text(source)
    others = [option.replace("edited", "other") for option in options]
    assert "2 stored runs of walker: made with another version of other than is there now" in bench(*others)[1]
    (versions,) = Store(Path("out")).runs()["versions"].unique()
    digest = hashlib.sha256(Path("edited.py").read_bytes()).hexdigest()[:8]
    assert json.loads(versions)["edited"] == f"source {digest}"


def test_the_beginning_of_a_run_in_other_company_is_told(bench):
    Path("out/checkpoints").mkdir(parents=True)
    ids = [line for line in bench(*run_options("out", "--dry-run"))[1].splitlines() if "walker-d0-s" in line]
    assert "holds the beginning" not in bench(*run_options("out", "--dry-run"))[1]
    torch.save({"run_ids": ids}, "out/checkpoints/cell.pt")
    out = bench(*run_options("out", "--dry-run", "--seeds", "0"))[1]
    assert f"out/checkpoints/cell.pt holds the beginning of {', '.join(ids)}; it is only gone on from if all" in out
    assert "holds the beginning" not in bench(*run_options("out", "--dry-run"))[1]


def test_a_dry_run_lists_runs_and_costs_and_does_nothing(bench):
    code, out, _ = bench(*run_options("out", "--dry-run"))
    assert code == 0
    assert out.count("inverted-pendulum-walker-d0-s") == 2
    assert "2 runs in 1 process" in out
    assert "on 1 worker" in out
    assert " of replay on 1 worker" in out
    assert not Path("out").exists()


def test_the_same_command_in_two_folders_gives_identical_returns(bench):
    for out in "ab":
        assert bench(*run_options(out))[0] == 0
    first, second = (Store(Path(out)).evaluations() for out in "ab")
    assert len(first) == 2 * 2 * 2
    assert first.equals(second)
    assert set(Store(Path("a")).runs()["profile"]) == {"custom"}


def test_what_is_stored_is_skipped(bench):
    bench(*run_options("out"))
    (written,) = {path.stat().st_mtime_ns for path in Path("out/runs").glob("*-s0-*")}
    code, out, _ = bench(*run_options("out"))
    assert code == 0
    assert "0 runs in 0 processes to make, 2 completed in out already" in out
    assert {path.stat().st_mtime_ns for path in Path("out/runs").glob("*-s0-*")} == {written}
    bench(*run_options("out", "--rerun"))
    assert min(path.stat().st_mtime_ns for path in Path("out/runs").glob("*-s0-*")) > written
    assert len(Store(Path("out")).runs()) == 2


def test_failed_runs_give_exit_code_1_and_are_tried_again_only_on_demand(bench):
    fault = ("--set", "walker.fault=raise", "--set", "walker.at=3")
    code, out, _ = bench(*run_options("out", *fault))
    assert code == 1
    assert "ValueError: first line the walker stumbled" in out
    code, out, _ = bench(*run_options("out", *fault))
    assert code == 1
    assert "0 runs in 0 processes to make, 2 failed in out already" in out
    assert "--retry failed" in out
    code, out, _ = bench(*run_options("out", *fault, "--retry", "failed"))
    assert "2 runs in 1 process to make" in out


def test_an_interrupted_command_says_how_to_go_on(bench):
    fault = ("--set", "walker.fault=interrupt")
    code, out, _ = bench(*run_options("out", *fault))
    assert code == 130
    assert "ndi-bench run --methods toy_methods:WALKER" in out
    assert bench(*run_options("out", *fault))[0] == 0


def test_a_run_ends_with_the_report(bench):
    options = [option for option in run_options("out") if option != "--no-report"]
    code, out, _ = bench(*options)
    assert code == 0
    assert "Walker" in out
    assert Path("out/README.md").exists()
    code, again, _ = bench("report", "out")
    assert code == 0
    assert again.strip() in out
