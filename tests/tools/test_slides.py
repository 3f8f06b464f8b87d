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


def cells(name: str) -> list:
    """A notebook's cells, and of each whether no slide shows it."""
    found = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4).cells
    return [(cell, bool(HIDDEN & set(cell.metadata.get("tags", [])))) for cell in found]


def plain(text: str) -> str:
    """The words and signs of a text, without Markdown's marks and without white space."""
    return re.sub(r"[\s*`\\]+", "", re.sub(r"\]\([^)]*\)|\[", "", text)).replace("]", "")


@pytest.mark.parametrize("name", NAMES)
def test_every_heading_text_figure_and_player_is_there_and_no_solution(decks, name):
    deck, said = decks[name], decks[name].get_text()
    texts = [cell.source for cell, hidden in cells(name) if cell.cell_type == "markdown" and not hidden]
    asked = [heading for source in texts for heading in re.findall(r"^#+ (.+)$", source, re.MULTILINE)]
    shown = [slide.find(["h1", "h2", "h3"]).get_text() for slide in deck.select(SLIDES)]
    in_order = list(dict.fromkeys(plain(heading) for heading in shown if not re.match(r"\d\. ", heading)))
    assert in_order == [plain(heading) for heading in asked]
    assert sum(heading.startswith("Exercise") for heading in asked) == len(deck.select("section.exercise")) > 0

    elsewhere = "\n".join(cell.source for cell, hidden in cells(name) if not hidden)
    lines = [line.strip() for cell, hidden in cells(name) if hidden for line in cell.source.splitlines()]
    secret = [line for line in lines if len(line) > 12 and line not in elsewhere]
    assert len(secret) > 10 and [line for line in secret if line in said] == []

    lines = [line.strip() for source in texts if "<div" not in source for line in source.splitlines()]
    lines = [re.sub(r"^(#+|[-*]|\d+\.) +|^\*Hint:\*", "", line) for line in lines]
    sentences = [plain(sentence) for line in lines for sentence in slides.sentences(line)]
    on_slides = plain(deck.select_one(".slides").get_text())
    assert len(sentences) > 50 and [sentence for sentence in sentences if sentence not in on_slides] == []

    outputs = [output for cell, hidden in cells(name) if not hidden for output in cell.get("outputs", [])]
    shown = [output.data for output in outputs if "data" in output]
    assert len(deck.select("section > figure > img")) == sum("image/png" in data for data in shown)
    assert all(len(image.get("alt", "")) > 20 for image in deck.select("img"))
    players = sum(data.get("text/html", "").count("<audio") for data in shown if "image/png" not in data)
    assert len(deck.select("audio")) == players


def test_a_guess_is_asked_before_its_answer(decks):
    asked = [guess for deck in decks.values() for guess in deck.select("section:not(.exercise) > p.ask")]
    assert len(asked) > 4
    assert [guess for guess in asked if guess.find_next_siblings(["figure", "pre", "table", "div"])] == []


def test_answers_of_quizzes_are_folded_and_all_there(decks):
    for name, deck in decks.items():
        sources = "".join(cell.source for cell, _ in cells(name))
        answers = deck.select("section.question details.answer")
        assert len(answers) == sources.count('<details class="answer') > 10
        assert not any(answer.has_attr("open") for answer in answers)
        for slide in deck.select("section.question"):
            assert len({answer["name"] for answer in slide.select("details.answer")}) == 1, "one is open at a time"


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
    with pytest.raises(CourseError, match=r"01_data\.ipynb: missing"):
        slides.write(target, tmp_path)
    monkeypatch.setattr(slides.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(CourseError, match=r"reveal\.js is missing"):
        slides.write(target)
    monkeypatch.undo()
    monkeypatch.setattr(slides, "columns", lambda deck: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        slides.write(target)
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["mine.html"]


def test_a_notebook_that_was_not_run_to_its_end_is_named(tmp_path, monkeypatch, capsys):
    notebooks = shutil.copytree(ROOT / "notebooks", tmp_path / "notebooks")
    shutil.copy(notebooks / "01_data.ipynb", notebooks / "01_data-Copy1.ipynb")  # as JupyterLab makes one
    half = nbformat.read(notebooks / "03_training.ipynb", as_version=4)
    for cell in [cell for cell in half.cells if cell.cell_type == "code"][-3:]:
        cell.execution_count, cell.outputs = None, []
    nbformat.write(half, notebooks / "03_training.ipynb")
    made = slides.write(tmp_path / "slides", notebooks).parent
    assert capsys.readouterr().out.startswith("03_training: 3 of its cells were not run")
    assert sorted(path.stem for path in made.glob("[0-9]*.html")) == NAMES


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
