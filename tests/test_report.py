import os
import subprocess
import sys

import pytest
from rich.console import Console

from benchmarks.kit.errors import UserError
from benchmarks.reporting import html
from benchmarks.reporting.building import build
from benchmarks.reporting.payload import sentence
from benchmarks.reporting.results import Results
from benchmarks.store.store import Store

GRID = {(m, t): r for m, r in (("bc", 300), ("gail", 700), ("ndi-ebm", 800)) for t in ("hopper", "ant")}


def built(folder, width=100):
    console = Console(width=width)
    with console.capture() as capture:
        build(folder, console)
    return capture.get()


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file() and p.parent.name != "runs"}


def test_a_report_holds_tables_figures_and_the_page(fill, tmp_path):
    fill(GRID)
    text = built(tmp_path)
    assert "Return with 1 demonstration" in text
    assert "Normalised return with 1 demonstration" in text
    assert max(map(len, text.partition("Report: ")[0].splitlines())) <= 100
    files = {str(path) for path in contents(tmp_path)}
    expected = {"README.md", "report.html"}
    kinds = ("returns", "normalized", "imitation", "verdicts", "area")
    expected |= {f"tables/{n}-1-demonstration.{k}" for n in kinds for k in ("md", "tex")}
    expected |= {f"figures/{n}-1-demonstration.svg" for n in ("learning-curves", "aggregates")}
    assert files == expected
    page = (tmp_path / "README.md").read_text()
    assert "![" in page
    assert all(line in page for line in ("- Commit: 0123abc (12 runs).", "- Versions: torch 2.13.0.", "2/2, 1.0"))
    for link in [part.split(")")[0] for part in page.split("](")[1:]]:
        assert (tmp_path / link).is_file()


def test_the_same_rows_give_the_same_bytes(fill, tmp_path):
    fill(GRID)
    built(tmp_path)
    first = contents(tmp_path)
    built(tmp_path)
    assert contents(tmp_path) == first


def test_files_of_an_earlier_build_are_removed_and_others_kept(fill, tmp_path):
    fill({("bc", "hopper"): 300})
    (tmp_path / "tables").mkdir()
    stale = tmp_path / "tables" / "returns-9-demonstrations.md"
    own = tmp_path / "tables" / "returns-my-notes.txt"
    stale.touch()
    own.touch()
    built(tmp_path)
    assert stale.exists(), "before the first report it was somebody else's"
    built(tmp_path)
    assert not stale.exists()
    assert own.exists()


def test_an_empty_folder_says_how_to_run(tmp_path):
    with pytest.raises(UserError, match=rf"no runs are stored in {tmp_path}; make some with `ndi-bench run"):
        build(tmp_path, Console())
    assert not list(tmp_path.iterdir())


def test_failed_runs_alone_make_a_report(fill, a_run, tmp_path):
    store = fill({})
    store.write(a_run("gail", status="diverged", error="Traceback\nValueError: loss is [NaN]")[0], [])
    assert "0/1 seed, 1 diverged" in built(tmp_path)
    assert "- `gail.hopper.1.0`: diverged (ValueError: loss is [NaN])" in (tmp_path / "README.md").read_text()
    assert not (tmp_path / "figures").exists()


def test_a_single_run_of_an_unknown_task_and_method_makes_a_report(fill, tmp_path):
    fill({("mine", "toy_task"): 300}, seeds=1, commit=None, dirty=True)
    assert "toy_task" in built(tmp_path)
    assert "- Commit: unknown with uncommitted changes (1 runs)." in (tmp_path / "README.md").read_text()


def test_the_first_sentence_ranks_only_what_is_on_every_task(fill):
    store = fill({("bc", "hopper"): 300, ("bc", "ant"): 300, ("gail", "hopper"): 900})
    assert sentence(Results.of(*store.averages()).at(1)).endswith("BC has alone run on all of these.")
    store = fill({("gail", "ant"): 900})
    assert "GAIL (off-policy) has the highest interquartile mean" in sentence(Results.of(*store.averages()).at(1))


def test_one_seed_has_no_interval_that_could_overlap(fill):
    told = sentence(Results.of(*fill({("bc", "hopper"): 300, ("gail", "hopper"): 900}, seeds=1).averages()).at(1))
    assert "follows with" in told
    assert "overlap" not in told


def test_large_films_are_linked_from_where_the_page_lies(fill, tmp_path, monkeypatch):
    fill({("bc", "hopper"): 300})
    (tmp_path / "films").mkdir()
    (tmp_path / "films" / "a#b.webp").write_bytes(b"film")
    monkeypatch.setattr(html, "FILMS_BYTES", 3)
    build(tmp_path, Console(quiet=True), out=tmp_path / "elsewhere")
    assert "../films/a%23b.webp" in (tmp_path / "elsewhere" / "report.html").read_text()


def test_references_alone_make_a_report(fill, tmp_path):
    fill({("random", "hopper"): 20, ("expert", "hopper"): 1000, ("sac", "hopper"): 900})
    assert "Return without demonstrations" in built(tmp_path)


def test_several_numbers_of_demonstrations_make_a_table_each(fill, tmp_path):
    for demos in (1, 4):
        fill({("bc", "hopper"): 100 * demos}, demos=demos)
    built(tmp_path)
    assert {path.name for path in (tmp_path / "tables").glob("returns-*.md")} == {
        "returns-1-demonstration.md",
        "returns-4-demonstrations.md",
    }
    assert (tmp_path / "figures" / "demonstration-numbers.svg").is_file()


def test_unreadable_files_are_named_once_and_the_rest_is_reported(fill, tmp_path):
    fill({("bc", "hopper"): 300})
    (tmp_path / "runs" / "torn.parquet").write_bytes(b"PAR1")
    text = " ".join(built(tmp_path).split())
    assert text.count("torn.parquet") == 1
    assert "Return with 1 demonstration" in text


def test_names_that_are_no_text_are_written_out(fill, tmp_path):
    fill({("bc", "hopper"): 300})
    name = os.fsdecode(b"caf\xe9")
    place = tmp_path / name
    for folder in ("", "films"):
        (place / folder).mkdir()
    (tmp_path / "runs").rename(place / "runs")
    (place / "runs" / f"{name}.parquet").write_bytes(b"torn")
    (place / "films" / f"{name}.webp").write_bytes(b"film")
    built(place)
    assert r"caf\udce9" in (place / "report.html").read_text()


def test_a_folder_that_cannot_be_written_is_a_user_error(fill, tmp_path):
    fill({("bc", "hopper"): 300})
    (tmp_path / "tables").write_text("a file where a folder belongs")
    with pytest.raises(UserError, match="cannot write the report to"):
        build(tmp_path, Console(quiet=True))


def test_reading_and_reporting_import_neither_torch_nor_simulators():
    code = "import sys, benchmarks.reporting.building, benchmarks.store.frame; print(*sys.modules)"
    modules = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "benchmarks.reporting" in modules
    assert not {"torch", "mujoco", "minari", "gymnasium"} & set(modules)


def test_reading_back_does_not_depend_on_the_reports_own_files(fill, tmp_path):
    fill({("bc", "hopper"): 300})
    built(tmp_path)
    assert len(Store(tmp_path).runs()) == 2
