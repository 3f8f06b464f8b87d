"""The slides: all that a teacher needs of each notebook, no solution, and nothing that overflows a screen."""

import re
import shutil
from pathlib import Path

import nbformat
import pytest
from bs4 import BeautifulSoup

from spokendigits.errors import CourseError
from tools import slides

ROOT = Path(__file__).resolve().parents[2]
NAMES = [path.stem for path in sorted((ROOT / "notebooks").glob("[0-9][0-9]_*.ipynb"))]
HIDDEN = {"bootstrap", "parameters", "solution"}  # tags
SLIDES = ".slides > section > section"

# What does not fit on each slide, everything on it opened. Boxes that scroll inside are meant to; figures must be seen.
OVERFLOW = """() => [...document.querySelectorAll(".slides > section > section")].flatMap((slide, number) => {
    Reveal.slide(...Object.values(Reveal.getIndices(slide)).slice(0, 2));
    const bad = [];
    for (const fold of [null, ...slide.querySelectorAll("details")]) {
        if (fold) fold.open = true;
        const edge = slide.getBoundingClientRect();
        for (const part of slide.children) {
            const box = part.getBoundingClientRect();
            const scrolls = /auto|scroll/.test(getComputedStyle(part).overflowY);
            if (box.bottom > edge.bottom || box.right > edge.right || box.top < edge.top || box.left < edge.left
                || (part.matches("pre, div") && part.scrollWidth > part.clientWidth && !scrolls)
                || (part.matches("figure") && box.height < 200))
                bad.push(`slide ${number + 1}: ${part.tagName} ${part.className} ${part.textContent.slice(0, 60)}`);
        }
        if (fold && !fold.classList.contains("hint")) fold.open = false;
    }
    return bad;
})"""


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    return slides.write(tmp_path_factory.mktemp("slides") / "slides").parent


@pytest.fixture(scope="module")
def decks(made) -> dict[str, BeautifulSoup]:
    return {name: BeautifulSoup((made / f"{name}.html").read_text(), "html.parser") for name in NAMES}


@pytest.fixture(scope="module")
def chromium():
    playwright = pytest.importorskip("playwright.sync_api")
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no Chromium here: with one installed, every slide is shown and measured")
    with playwright.sync_playwright() as started:
        browser = started.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        yield browser
        browser.close()


def notebook(name: str):
    return nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4)


def plain(text: str) -> str:
    """The words and signs of a text, without Markdown's marks and without white space."""
    return re.sub(r"[\s*`\\]+", "", re.sub(r"\]\([^)]*\)|\[", "", text)).replace("]", "")


@pytest.mark.parametrize("name", NAMES)
def test_every_heading_has_its_slide_in_order(decks, name):
    asked = [
        heading
        for cell in notebook(name).cells
        if cell.cell_type == "markdown"
        for heading in re.findall(r"^#+ (.+)$", cell.source, re.MULTILINE)
    ]
    shown = [slide.find(["h1", "h2", "h3"]).get_text() for slide in decks[name].select(SLIDES)]
    assert list(dict.fromkeys(plain(one) for one in shown if not re.match(r"\d\. ", one))) == [
        plain(one) for one in asked
    ]
    assert sum(heading.startswith("Exercise") for heading in asked) == len(decks[name].select("section.exercise")) > 0


@pytest.mark.parametrize("name", NAMES)
def test_no_solution_and_no_setup_is_in_a_deck(decks, name):
    cells = notebook(name).cells
    tags = [set(cell.metadata.get("tags", [])) for cell in cells]
    others = "\n".join(cell.source for cell, own in zip(cells, tags, strict=True) if not own & HIDDEN)
    text = decks[name].get_text()
    hidden = [
        line.strip()
        for cell, own in zip(cells, tags, strict=True)
        if own & HIDDEN
        for line in cell.source.splitlines()
        if len(line.strip()) > 12 and line.strip() not in others
    ]
    assert len(hidden) > 10 and [line for line in hidden if line in text] == []


@pytest.mark.parametrize("name", NAMES)
def test_what_the_text_says_is_on_a_slide_or_in_its_notes(decks, name):
    said = plain(decks[name].select_one(".slides").get_text())
    cells = [cell.source for cell in notebook(name).cells if cell.cell_type == "markdown" and "<div" not in cell.source]
    lines = [
        re.sub(r"^(#+|[-*]|\d+\.) +|^\*Hint:\*", "", line.strip()) for source in cells for line in source.splitlines()
    ]
    sentences = [plain(one) for line in lines for one in slides.sentences(line)]
    assert len(sentences) > 50 and [one for one in sentences if one not in said] == []


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_and_player_of_the_notebook_is_there_once_and_described(decks, name):
    outputs = [
        output.data
        for cell in notebook(name).cells
        if cell.cell_type == "code" and not HIDDEN & set(cell.metadata.get("tags", []))
        for output in cell.outputs
        if "data" in output
    ]
    pictures = sum("image/png" in data for data in outputs)
    assert len(decks[name].select("section > figure > img")) == pictures
    assert all(len(image.get("alt", "")) > 20 for image in decks[name].select("img"))
    players = sum(data.get("text/html", "").count("<audio") for data in outputs if "image/png" not in data)
    assert len(decks[name].select("audio")) == players


def test_a_guess_is_asked_before_its_answer(decks):
    asked = [one for deck in decks.values() for one in deck.select("section:not(.exercise) > p.ask")]
    assert len(asked) > 4
    for one in asked:
        assert [
            other.name for other in one.find_next_siblings() if other.name in ("figure", "pre", "table", "div")
        ] == []


def test_answers_of_quizzes_are_folded_and_all_there(decks):
    for name, deck in decks.items():
        sources = "".join(cell.source for cell in notebook(name).cells)
        answers = deck.select("section.question details.answer")
        assert len(answers) == sources.count('<details class="answer') > 10
        assert not any(answer.has_attr("open") for answer in answers)
        assert all(
            len({one["name"] for one in slide.select("details.answer")}) == 1
            for slide in deck.select("section.question")
        )


def test_nothing_comes_from_another_host(made, decks):
    for deck in decks.values():
        loaded = [one.get("src") or one.get("href") for one in deck.select("script[src], link, img, audio, iframe")]
        assert loaded and [address for address in loaded if re.match(r"(\w+:)?//", address)] == []
        assert all((made / address).is_file() for address in loaded if not address.startswith("data:"))
    for style in made.rglob("*.css"):
        assert re.findall(r"(?:url\(|@import)\s*['\"]?(?:https?:)?//", style.read_text()) == [], style


def test_a_failure_leaves_the_old_slides(tmp_path, monkeypatch):
    target = tmp_path / "slides"
    target.mkdir()
    (target / "mine.html").write_text("old")
    with pytest.raises(CourseError, match="no notebook here"):
        slides.write(target, tmp_path)
    monkeypatch.setattr(slides.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CourseError, match=r"reveal\.js is missing"):
        slides.write(target)
    monkeypatch.undo()
    monkeypatch.setattr(slides, "columns", lambda deck: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        slides.write(target)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["mine.html"]


@pytest.mark.parametrize("name", NAMES)
def test_every_slide_fits_the_screen_and_asks_nobody(chromium, made, name):
    page, asked = chromium.new_page(viewport={"width": 1280, "height": 720}), []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: asked.append(f"error: {error}"))
    page.goto((made / f"{name}.html").as_uri())
    page.wait_for_function("window.Reveal && Reveal.isReady()")
    assert page.evaluate(OVERFLOW) == []
    assert page.evaluate("Reveal.getTotalSlides()") > 20
    if name == NAMES[0]:  # once: the arrow goes through all of them, the sections' second slides too
        page.evaluate("Reveal.slide(0, 0)")
        for _ in range(page.evaluate("Reveal.getTotalSlides()") - 1):
            assert not page.evaluate("Reveal.isLastSlide()")
            page.keyboard.press("ArrowRight")
        assert page.evaluate("Reveal.isLastSlide()")
    page.close()
    assert [url for url in asked if not url.startswith(("file:", "data:"))] == []
