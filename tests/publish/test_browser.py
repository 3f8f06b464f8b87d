"""The stored book in a real browser: what a reader sees, clicks, hears and finds, without a network."""

import shutil
from pathlib import Path

import pytest
from browsing import LENGTHS, NARROW, PROGRAMS, QUIET, WIDE

from spokendigits.publish import book

playwright = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")

ROOT = Path(__file__).resolve().parents[2]
HEAVIEST = 3e6  # bytes of a page with all that it loads
PAGES = [*book.pages(ROOT), "genindex", "search"]
NOTEBOOKS = [page for page in PAGES if page.startswith("notebooks/")]

# What the page sets in a face lighter than the regular one.
THIN = """() => [...document.querySelectorAll("main *")]
    .filter(one => getComputedStyle(one).fontWeight < 400).map(one => one.outerHTML.slice(0, 80))"""
# Code and outputs that are wider than their box; the longest line of each.
CUT = """() => [...document.querySelectorAll("main pre")].filter(one => one.scrollWidth > one.clientWidth)
    .map(one => one.innerText.split("\\n").sort((a, b) => b.length - a.length)[0])"""


@pytest.fixture(scope="module")
def html(tmp_path_factory) -> Path:
    return book.build(ROOT / "notebooks", tmp_path_factory.mktemp("book")).parent


@pytest.fixture(scope="module")
def chromium():
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip("no Chromium here: with one installed, every page is opened and clicked through")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=QUIET)
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium, html):
    """Opens a page of the book: `opened("book/index", NARROW, "dark")`. Anything that it asks another host for fails."""
    contexts, asked = [], []

    def open_page(name: str, size: dict = WIDE, scheme: str = "light"):
        contexts.append(chromium.new_context(viewport=size, color_scheme=scheme))
        page = contexts[-1].new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.goto((html / f"{name}.html").as_uri())
        page.evaluate(f"document.documentElement.dataset.theme = '{scheme}'")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []


def open_all(page) -> int:
    """Opens everything that is folded away in the page's text, with the mouse; returns how many there were."""
    folded = [summary for summary in page.query_selector_all("main details > summary") if summary.is_visible()]
    for summary in folded:
        summary.click()
    return len(folded)


@pytest.mark.parametrize("name", PAGES)
def test_no_page_has_a_serious_barrier_scrolls_sideways_or_is_heavy(opened, html, name):
    barriers, sideways, cut = set(), [], []
    for scheme in ("light", "dark"):
        page = opened(name, WIDE, scheme)
        open_all(page)
        cut += page.evaluate(CUT)
        for size in (WIDE, NARROW):
            page.set_viewport_size(size)
            page.wait_for_timeout(300)  # colours fade in
            found = axe.Axe().run(page).response["violations"]
            barriers |= {
                (scheme, size["width"], one["id"], *node["target"], node["html"][:120])
                for one in found
                if one["impact"] in ("serious", "critical")
                for node in one["nodes"]
            }
            sideways.append(page.evaluate("document.scrollingElement.scrollWidth - innerWidth"))
    assert barriers == set() and max(sideways) <= 0
    assert cut == [], "these lines of code or output end outside their box, even on a wide screen"
    assert page.evaluate(THIN) == [], "thin letters fade on a screen and in print"
    loaded = page.evaluate("performance.getEntriesByType('resource').map(entry => entry.name)")
    files = {Path(url.split("#")[0].split("?")[0].removeprefix("file://")) for url in loaded if url.startswith("file:")}
    weight = sum(path.stat().st_size for path in {*files, html / f"{name}.html"} if path.is_file())
    assert weight <= HEAVIEST, f"{weight / 1e6:.1f} MB"


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_everything_folded_opens_and_every_player_plays(opened, name):
    page = opened(name)
    assert open_all(page) >= 4
    assert page.query_selector_all("main details:not([open])") == []
    lengths = page.evaluate(LENGTHS)
    assert all(0.1 < length < 3 for length in lengths), lengths
    if lengths:
        page.evaluate("document.querySelector('audio').muted = true")
        page.evaluate("document.querySelector('audio').play()")
        page.wait_for_function("document.querySelector('audio').currentTime > 0.05", timeout=5000)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_the_launch_buttons_lead_to_this_notebook(opened, name):
    page = opened(name)
    page.click(".dropdown-launch-buttons > button")
    links = [link for link in page.query_selector_all(".dropdown-launch-buttons a") if link.is_visible()]
    targets = {link.inner_text().strip(): link.get_attribute("href") for link in links}
    assert targets.keys() == {"Binder", "Colab", "JupyterLab"}
    assert all(f"{Path(name).name}.ipynb" in target for target in targets.values()), targets
    assert targets["Colab"].startswith("https://colab.research.google.com/github/")


def test_search_finds_pages_from_a_folder_on_a_disk(opened):
    page = opened("book/index")
    page.click(".search-button__button >> visible=true")
    page.keyboard.type("nyquist")
    page.keyboard.press("Enter")
    page.wait_for_selector("#search-results li")
    assert "Glossary" in page.inner_text("#search-results")
