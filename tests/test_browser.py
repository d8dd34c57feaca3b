"""The interactive page in a real browser: stored rows and some planted ones, looked at as a reader would."""

import re
import shutil
from pathlib import Path

import pytest
import scipy.stats
from PIL import Image
from rich.console import Console

from benchmarks.reporting.building import build
from benchmarks.reporting.style import looks
from benchmarks.store.store import Store

pytestmark = [pytest.mark.browser, pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium")]
sync_api = pytest.importorskip("playwright.sync_api", reason="needs playwright")

ROWS = Path(__file__).parents[1] / "results" / "desk" / "runs"
PLAIN = "<script>window.hit = 1</script><img src=x onerror=window.hit=1> $x$ | \\x1b[31mred"
HOSTILE = "<script>window.hit = 1</script><img src=x onerror=window.hit=1> $x$ | \x1b[31mred"
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
FLAGS += ["--disable-component-update", "--disable-sync"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, a_run):
    """The rows of `results/desk`, with a diverged run and a method of a hostile name."""
    folder = tmp_path_factory.mktemp("results")
    shutil.copytree(ROWS, folder / "runs")
    store = Store(folder)
    for seed in range(2):
        run, rows = a_run("guest", seed=seed, label=HOSTILE, profile="desk")
        store.write(run, rows)
    run, _ = a_run("guest", "walker2d", env_id="Walker2d-v5", label=HOSTILE, status="diverged", error=HOSTILE)
    store.write(run, [])
    (folder / "films").mkdir()
    Image.new("RGB", (8, 8)).save(folder / "films" / "guest.hopper.1.0.webp")
    Image.new("RGB", (8, 8)).save(folder / "films" / "of-no-run.webp")
    build(folder, Console(quiet=True))
    return folder


@pytest.fixture(scope="module")
def chromium():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(chromium, folder):
    """The page, drawn; it must have asked for nothing over the network and told no error when the test ends."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    opened, told, asked = context.new_page(), [], []
    opened.on("console", lambda message: told.append(message.text) if message.type in ("error", "warning") else None)
    opened.on("pageerror", lambda error: told.append(str(error)))
    opened.on("request", lambda request: asked.append(request.url))
    opened.goto((folder / "report.html").as_uri(), timeout=120_000)
    opened.wait_for_selector("html[data-ready=true]", timeout=120_000)
    yield opened
    assert told == []
    assert {url.partition(":")[0] for url in asked} <= {"file", "data"}
    assert opened.evaluate("window.hit") is None
    context.close()


def methods(page):
    return page.locator("#table tbody th .name").all_text_contents()


def test_the_table_shows_what_the_rows_say(page, folder):
    runs, evaluations = Store(folder).averages()
    ids = runs.loc[(runs["method"] == "ndi-made") & (runs["task"] == "hopper"), "run_id"]
    mean = evaluations.loc[evaluations["run_id"].isin(ids) & evaluations["final"], "return"].mean()
    row = page.locator("#table tbody tr", has_text="NDI+MADE").first
    assert row.locator("td .mean").first.text_content() == f"{mean:,.0f}"
    assert row.locator("td .range").first.text_content().startswith("[")
    finals = evaluations[evaluations["run_id"].isin(ids) & evaluations["final"]].groupby("run_id")["normalized"].mean()
    low, high = scipy.stats.t.interval(0.95, len(finals) - 1, finals.mean(), finals.sem())
    share, reach = (3288 - 14) / (3567 - 14), 94 / (3567 - 14) + 0.05  # the paper's NDI+MADE, random and expert
    within = "= reproduced" if share - reach <= low and high <= share + reach else "? undecided"
    sign = "▲ above" if low > share + reach else "▼ below" if high < share - reach else within
    assert sign in row.locator("td").first.text_content()
    assert "✕" not in row.text_content()


def test_it_sorts_and_says_so(page):
    first = methods(page)
    page.get_by_role("button", name="Hopper", exact=True).click()
    assert page.locator("#table th[aria-sort=descending]").text_content() == "Hopper"
    values = [text for text in page.locator("#table tbody tr td:nth-child(2) .mean").all_text_contents() if text != "–"]
    numbers = [float(text.replace(",", "").replace("−", "-")) for text in values]
    assert numbers == sorted(numbers, reverse=True)
    page.keyboard.press("Enter")  # the heading keeps the focus
    assert methods(page) != first
    assert page.locator("#table th[aria-sort=ascending]").text_content() == "Hopper"


def test_filters_hold_for_table_curves_and_runs(page):
    assert page.locator("#curves figure").count() == 3
    listed = page.locator("#runs tbody tr").count()
    page.get_by_label("Walker2d", exact=True).uncheck()
    assert page.locator("#curves figure").count() == 2
    assert page.locator("#table thead th").count() == 4
    assert page.locator("#runs tbody tr").count() < listed
    lines = page.locator("#curves figure svg path").count()
    page.locator("#filters").get_by_label("BC", exact=True).uncheck()
    assert "BC" not in methods(page)
    page.wait_for_function(f"document.querySelectorAll('#curves figure svg path').length < {lines}")
    page.locator("#filters").get_by_label("normalised").check()
    assert "Normalised return" in page.locator("#table caption").text_content()


def test_curves_change_their_axis_and_show_seeds(page):
    page.get_by_label("Updates", exact=True).check()
    page.wait_for_function("document.querySelector('#curves svg').textContent.includes('Updates')")
    paths = page.locator("#curves figure svg path").count()
    page.get_by_label("a line for every seed").check()
    page.wait_for_function(f"document.querySelectorAll('#curves figure svg path').length > {paths}")


def test_a_run_tells_everything(page, folder):
    record = Store(folder).record("guest.walker2d.1.0")
    page.locator("#runs").get_by_role("button", name="guest.walker2d.1.0").click()
    shown = page.locator("#dialog").text_content()
    assert all(str(value) in shown for value in (record["commit"], record["cpu"], record["started"], "diverged"))
    assert "<script>window.hit = 1</script>" in page.locator("#dialog pre").text_content()
    assert not re.search(r"\b(null|undefined|NaN)\b", shown)
    page.keyboard.press("Escape")
    assert not page.locator("#dialog").is_visible()
    page.locator("#table tbody tr", has_text="GAIL").locator("button.entry").first.click()
    assert re.search(r"KL / KL random0\.\d+ \[.*Known differences.*TRPO", page.locator("#dialog").text_content())


def test_films_say_what_they_show_and_follow_the_filters(page):
    films = page.locator("#films figure")
    assert films.locator("figcaption").all_text_contents() == [f"{PLAIN} on Hopper, seed 0", "of-no-run"]
    page.locator("#filters").get_by_label("Hopper", exact=True).uncheck()
    assert [films.nth(n).is_visible() for n in range(2)] == [False, True]


def test_a_long_label_pushes_no_column_away(page):
    runs = page.locator("#runs")
    assert runs.evaluate("list => list.scrollWidth <= list.clientWidth")
    assert runs.locator("td", has_text="window.hit").first.bounding_box()["width"] < 400


def test_it_prints_on_white_with_a_legend_and_without_controls(chromium, folder):
    page = chromium.new_page(color_scheme="dark", viewport={"width": 1280, "height": 900})
    page.goto((folder / "report.html").as_uri(), timeout=120_000)
    page.wait_for_selector("html[data-ready=true]", timeout=120_000)
    page.emulate_media(media="print", color_scheme="dark")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.set_viewport_size({"width": 700, "height": 900})
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    strokes = page.locator("#curves-legend line").evaluate_all(
        "lines => lines.map(line => line.getAttribute('stroke'))"
    )
    assert looks(["ndi-made"])["ndi-made"].color in strokes
    assert not page.locator("#filters").is_visible()
    assert page.locator("#curves-legend").is_visible()
    page.close()


def test_failures_are_counted(page):
    assert "1 diverged" in page.locator(".facts").text_content()
    row = page.locator("#table tbody tr", has_text="window.hit")
    assert "1/1 failed" in row.text_content()


def test_labels_are_text_everywhere(page, folder):
    assert any("<script>window.hit = 1</script>" in label for label in methods(page))
    for path in [folder / "README.md", *(folder / "tables").iterdir()]:
        text = path.read_text()
        assert "\x1b" not in text
        assert not re.search(r"(?<!\\)<(script|img)", text) or path.suffix == ".tex", path


@pytest.mark.parametrize(("name", "options"), [
    ("light", {}), ("dark", {"color_scheme": "dark"}),
    ("phone", {"viewport": {"width": 390, "height": 844}, "is_mobile": True}),
])  # fmt: skip
def test_it_fits_and_follows_the_colour_scheme(chromium, folder, name, options):
    context = chromium.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
    page = context.new_page()
    page.goto((folder / "report.html").as_uri(), timeout=120_000)
    page.wait_for_selector("html[data-ready=true]", timeout=120_000)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (ground == "rgb(20, 23, 27)") == (name == "dark")
    context.close()
