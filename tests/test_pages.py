"""The project's pages are true: their tables come from the rows, their links lead somewhere, their commands exist."""

import ast
import io
import re
import runpy
import shlex
import shutil
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import typer
from rich.console import Console

from benchmarks.__main__ import app
from benchmarks.plan.profiles import load
from benchmarks.reporting import building
from benchmarks.reporting.formats import to_markdown
from benchmarks.reporting.reading import read
from benchmarks.store.store import Store

pages = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("pages.py"))))
ROOT = pages.ROOT
README = ROOT / "README.md"
PAGES = pages.pages()
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
PLAIN = [page for page in PAGES if page.parent in (ROOT, ROOT / "baselines")]
"""Pages whose sentences have at most 25 words."""
STORED = [runs.parent for runs in sorted((ROOT / "results").rglob("runs")) if (runs.parent / "README.md").exists()]
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def prose(text):
    """A page's running text: no code, tables, comments or headings; a link is what it shows."""
    text = re.sub(r"<!--[^>]*-->|^[|#].*$", "\n", FENCE.sub("\n", text), flags=re.MULTILINE)
    return re.sub(r"!?\[([^\]]*)\]\([^)]+\)", r"\1", text)


def sentences(text):
    """Each as a list of words; an item of a list is one, too."""
    paragraphs = re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.) )", prose(text))
    for sentence in re.split(r"(?<=[.!?:])\s+", "\n\n".join(" ".join(part.split()) for part in paragraphs)):
        yield [word for word in sentence.split() if re.search(r"\w", word)]


def anchors(page):
    """Anchors of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@each_page
def test_tables_are_those_of_the_rows(page):
    assert pages.renewed(page.read_text(), page) == page.read_text(), "`nox -s pages` writes it anew"


def test_a_changed_number_is_noticed():
    changed = re.sub(r"\d+(?= ± \d+ \|)", "1", README.read_text(), count=1)
    assert pages.renewed(changed, README) == README.read_text() != changed


@pytest.mark.parametrize("page", sorted((ROOT / "baselines").glob("[a-z]*.md")), ids=lambda page: page.stem)
def test_every_method_has_a_page_with_all_parts(page):
    text = page.read_text()
    parts = ["Equation", "In the code", "Differences from the source", "Settings", "Results", "Command"]
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == parts
    results = text.partition("## Results")[2].partition("## Command")[0]
    told = set(re.findall(r"\d+,\d{3}|\d{3,}|\d+\.\d+", prose(results)))
    assert told <= set(re.findall(r"[\d,.]+\d", " ".join(re.findall(r"^\|.*$", results, re.MULTILINE))))


def test_no_method_lacks_a_page():
    files = {path.stem for path in (ROOT / "baselines").glob("[a-z]*.py")} - {"references"}
    assert files <= {path.stem for path in (ROOT / "baselines").glob("*.md")}


def test_the_headline_is_of_the_protocol_that_it_names():
    runs = Store(ROOT / "results/paper").runs()
    learned = runs[(runs["demos"] > 0) & runs["task"].isin(["hopper", "halfcheetah", "walker2d"])]
    assert set(learned["seed"]) == {10, 11, 12, 13, 14}
    assert (set(learned["demos"]), set(learned["status"])) == ({1}, {"completed"})
    budgets = learned[learned["steps"] > 0].groupby("budget")["method"].agg(set)
    assert (set(budgets.index), budgets[10_000]) == ({10_000, 40_000}, {"valuedice"})  # said below the table
    told = " ".join(README.read_text().split())
    assert "over five seeds on which no setting was chosen, one demonstration, 40,000 environment steps" in told


def test_gail_stands_still_by_its_mean_action_in_the_rows_too():
    told = pd.read_csv(ROOT / "results/paper/gail-sampled.csv", thousands=",", index_col="seed")
    rows = Store(ROOT / "results/paper").evaluations()
    rows = rows.query("final and method == 'gail' and task == 'halfcheetah'").groupby("seed")["return"]
    assert told["by the mean action"].tolist() == rows.mean().round().astype(int).tolist()
    assert told["of ten episodes below 0"].tolist() == rows.apply(lambda each: (each < 0).sum()).tolist()
    assert told["by sampled actions"].min() > 6_000


@each_page
def test_links_lead_somewhere(page):
    for target in LINK.findall(FENCE.sub("", page.read_text())):
        if target.startswith(("https://", "http://")):
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), f"{target} is not there"
        assert not anchor or anchor in anchors(there), f"{target} has no such heading"


@each_page
def test_files_that_are_named_exist(page):
    for name in re.findall(r"`((?:tests|benchmarks|baselines|ndi|results|\.ci)/[\w./-]+)`", page.read_text()):
        assert (ROOT / name).exists() or Path(name).parts[:2] in MADE, name


MADE = {("results", name) for name in ("quick", "smoke", "custom", "experts", "gate", "mine", "all", "again")}
"""What commands make."""


@each_page
def test_commands_exist(page):
    verbs = typer.main.get_command(app)
    sessions = {node.name for node in ast.parse((ROOT / "noxfile.py").read_text()).body if hasattr(node, "name")}
    for language, block in FENCE.findall(page.read_text()):
        for line in block.splitlines() if language == "bash" else ():
            for command in line.split("&&"):
                program, *arguments = shlex.split(command, comments=True) or [""]
                if program == "nox":
                    chosen = arguments[1:][: arguments.index("--") - 1] if "--" in arguments else arguments[1:]
                    assert arguments[0] == "-s"
                    assert set(chosen) <= sessions
                if program == "ndi-bench":
                    parse(verbs, arguments)


def parse(command, arguments):
    """Parse a command line as the program would, and run nothing."""
    if hasattr(command, "resolve_command"):
        with command.make_context("ndi-bench", list(arguments)) as context:
            _, inner, rest = command.resolve_command(context, list(arguments))
            parse(inner, rest)
    else:
        with command.make_context("ndi-bench", list(arguments)) as context:
            if context.params.get("profile"):
                load(context.params["profile"])


@pytest.mark.parametrize("folder", STORED, ids=lambda folder: str(folder.relative_to(ROOT / "results")))
def test_stored_tables_are_those_of_the_rows(folder):
    made = building._tables(read(folder, Console(file=io.StringIO())))
    stored = {path.name: path.read_text() for path in (folder / "tables").glob("*.md")}
    assert {f"{table.name}.md": to_markdown(table) for table in made} == stored, f"ndi-bench report {folder}"


def test_the_papers_results_come_from_the_rows_alone(tmp_path):
    stored = ROOT / "results" / "paper"
    shutil.copytree(stored / "runs", tmp_path / "runs")
    building.build(tmp_path, Console(file=io.StringIO()))
    assert (tmp_path / "README.md").read_bytes() == (stored / "README.md").read_bytes()
    for made in (tmp_path / "tables").iterdir():
        assert made.read_bytes() == (stored / "tables" / made.name).read_bytes()


def test_the_readme_is_one_short_page():
    # tables are looked up, not read
    read = [line for line in README.read_text().splitlines() if not line.startswith("|")]
    assert len([word for line in read for word in line.split() if re.search(r"[^\W\d_]", word)]) <= 560


@pytest.mark.parametrize("page", PLAIN, ids=lambda page: str(page.relative_to(ROOT)))
def test_sentences_are_short(page):
    assert [" ".join(words) for words in sentences(page.read_text()) if len(words) > 25] == []


@pytest.mark.parametrize(
    ("planted", "fault"),
    [
        ("ndi-bench rum", "No such command"),
        ("ndi-bench store verfy", "No such command"),
        ("ndi-bench run --tusks hopper", "No such option"),
        ("ndi-bench run --profile none-such", "none-such"),
        ("nox -s none-such", "none-such"),
    ],
)
def test_a_command_that_does_not_exist_is_noticed(planted, fault, tmp_path):
    (tmp_path / "page.md").write_text(f"```bash\n{planted}\n```\n")
    with pytest.raises(Exception, match=fault):
        test_commands_exist(tmp_path / "page.md")
