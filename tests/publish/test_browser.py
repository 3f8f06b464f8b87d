"""The stored book in a real browser: what a reader sees, clicks, hears and finds, without a network."""

from pathlib import Path

import pytest
from browsing import LENGTHS, NARROW, WIDE, barriers, files_asked, sideways

from spokendigits.publish import book

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
HEAVIEST = 3e6  # bytes of a page with all that it loads
PAGES = [*book.pages(ROOT), "genindex", "search"]
NOTEBOOKS = [page for page in PAGES if page.startswith("notebooks/")]
# One page of each kind: cards, long tables, terms, a notebook with everything, figures and code, what is looked for.
KINDS = ("book/index", "book/model_card", "book/glossary", "notebooks/01_data", "book/scale", "search")
VIEWS = [(scheme, size) for scheme in ("light", "dark") for size in (WIDE, NARROW)]

# What the page sets in a face lighter than the regular one.
THIN = """() => [...document.querySelectorAll("main *")]
    .filter(one => getComputedStyle(one).fontWeight < 400).map(one => one.outerHTML.slice(0, 80))"""
# Code and outputs that are wider than their box; the longest line of each.
CUT = """() => [...document.querySelectorAll("main pre")].filter(one => one.scrollWidth > one.clientWidth)
    .map(one => one.innerText.split("\\n").sort((a, b) => b.length - a.length)[0])"""

# Figures and tables that go on to the right of their box, and do not say so.
UNSAID = """() => [...document.querySelectorAll("main :is(figure, .cell_output, .output, .pst-scrollable-table-container)")]
    .filter(one => one.scrollWidth > one.clientWidth + 24 && /auto|scroll/.test(getComputedStyle(one).overflowX))
    .filter(one => !getComputedStyle(one, "::before").content.includes("right")).map(one => one.outerHTML.slice(0, 80))"""


def open_all(page) -> int:
    """Opens everything that is folded away in the page's text, with the mouse; returns how many there were."""
    folded = [summary for summary in page.query_selector_all("main details > summary") if summary.is_visible()]
    for summary in folded:
        summary.click()
    return len(folded)


@pytest.mark.parametrize("name", PAGES)
def test_no_page_has_a_serious_barrier_scrolls_sideways_or_is_heavy(opened, name):
    page = opened(name)
    page.wait_for_load_state("networkidle")
    weight = sum(file.stat().st_size for file in files_asked(opened.asked))
    assert weight <= HEAVIEST, f"{weight / 1e6:.1f} MB before anything is pressed"
    folded = open_all(page)
    assert page.evaluate(CUT) == [], "these lines of code or output end outside their box, even on a wide screen"
    assert page.evaluate(THIN) == [], "thin letters fade on a screen and in print"
    # The other pages have nothing of their own that a view could break: for each another one of the four.
    views = VIEWS if name in KINDS else [VIEWS[PAGES.index(name) % len(VIEWS)]]
    found = set()
    for scheme, size in views:
        page.emulate_media(color_scheme=scheme)
        page.evaluate(f"document.documentElement.dataset.theme = '{scheme}'")
        page.set_viewport_size(size)
        page.wait_for_timeout(300)  # colours fade in
        found |= {(scheme, size["width"], *barrier) for barrier in barriers(page)}
        assert sideways(page) <= 0, (scheme, size)
        assert page.evaluate(UNSAID) == [], (scheme, size)
    assert found == set()
    if name not in NOTEBOOKS:
        return
    boxes = page.evaluate("[...document.querySelectorAll('.stderr')].map(one => getComputedStyle(one).backgroundColor)")
    assert set(boxes) <= {"rgba(0, 0, 0, 0)"}, "a progress bar is no error"
    # All that is folded is open now, and every player plays.
    assert folded >= 4 and page.query_selector_all("main details:not([open])") == []
    lengths = page.evaluate(LENGTHS)
    assert all(0.05 < length < 3 for length in lengths), lengths  # a vowel of notebook 2 is one window long
    if lengths:
        page.evaluate("document.querySelector('audio').muted = true")
        page.evaluate("document.querySelector('audio').play()")
        page.wait_for_function("() => document.querySelector('audio').currentTime > 0.05", timeout=5000)


def test_the_launch_buttons_can_be_seen_once_their_menu_is_open(opened):
    """Where they lead, on every notebook's page, is looked at without a browser."""
    page = opened(NOTEBOOKS[0])
    page.click(".dropdown-launch-buttons > button")
    links = [link for link in page.query_selector_all(".dropdown-launch-buttons a") if link.is_visible()]
    assert {link.inner_text().strip() for link in links} == {"Binder", "Colab", "JupyterLab"}


def test_search_finds_pages_from_a_folder_on_a_disk(opened):
    page = opened("book/index")
    page.click(".search-button__button >> visible=true")
    page.keyboard.type("nyquist")
    page.keyboard.press("Enter")
    page.wait_for_selector("#search-results li")
    assert "Glossary" in page.inner_text("#search-results")
