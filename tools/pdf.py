"""The whole book as one PDF, printed by Chromium from the book's own pages (`python -m tools.pdf`).

The pages stand in the order of _toc.yml. On paper nothing can be opened, so solutions and the verdicts of the quizzes
go to the end, and other folded code is left out; nothing can be heard, so a line says where to listen. How it looks is
the print part of book/_static/course.css, and pdf.html for what only the PDF has.
"""

import io
import re
import shutil
import sys
import tempfile
from pathlib import Path
from urllib.parse import unquote, urldefrag

import jinja2
import yaml
from bs4 import BeautifulSoup, Tag

import spokendigits
from spokendigits import lanes
from spokendigits.errors import CourseError
from spokendigits.files import atomic_file
from spokendigits.publish import book

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", "msedge")
QUIET = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
HERE = Path(__file__).resolve().parent
# Code that is folded away in the book is not printed, unless it answers an exercise; of a figure that moves, its picture is.
LEFT_OUT = (
    "script, style, .moving:not(:has(img)), a.headerlink, .tag_bootstrap, .cell:not(.tag_solution) > details, "
    ".toctree-wrapper, button"
)
APPENDIX = "Answers and solutions"


def write(target: Path | str | None = None, html: Path | str | None = None) -> Path:
    """Writes the book as a PDF and returns its path: the whole of it, or nothing.

    target: the file (None: `_build/spoken-digits.pdf` of the checkout). html: the folder of a built book (None: it is
    built from the stored notebooks). Raises CourseError without Chromium or playwright, or if a page is missing.
    """
    target = HERE.parent / "_build" / "spoken-digits.pdf" if target is None else Path(target)
    program = chromium()
    with tempfile.TemporaryDirectory(prefix="spokendigits-pdf-") as folder:
        if html is None:
            html = book.build((lanes.repository() / "notebooks"), folder).parent
        parts = chapters(Path(html).resolve())
        whole = Path(folder) / "book.html"
        numbers: dict[str, int] = {}
        # Twice: where the chapters begin is known only once they are on pages.
        for _ in range(2):
            whole.write_text(page(parts, numbers, Path(html).resolve()), encoding="utf-8")
            printed = print_page(program, whole)
            numbers = first_pages(printed)
    with atomic_file(target) as temporary:
        temporary.write_bytes(printed)
    return target


def chromium() -> str:
    """The path of Chromium or Chrome."""
    found = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if found is None:
        raise CourseError(
            "The PDF is printed by Chromium, and there is none here. Install chromium or Google Chrome, then try again."
        )
    return found


def chapters(html: Path) -> list[tuple[str, list[Tag]]]:
    """The chapters of a built book: (caption of the part, its chapters), the answers and solutions last.

    A chapter is a `<section>` with its page's name as id. Every id has that name in front: pages use the same ones.
    """
    toc = yaml.safe_load((HERE.parent / "_toc.yml").read_text(encoding="utf-8"))
    listed = [("", [toc["root"]])] + [
        (part["caption"], [one["file"] for one in part["chapters"]]) for part in toc["parts"]
    ]
    made = [(caption, [chapter(html, name) for name in names]) for caption, names in listed]
    return [*made, ("At the end", [answers([one for _, part in made for one in part])])]


def chapter(html: Path, name: str) -> Tag:
    """One page of a built book as a chapter: its links lead to other chapters, its pictures to their files."""
    path = html / f"{name}.html"
    if not path.is_file():
        raise CourseError(f"{path}: missing. Build the book again: `spokendigits book`.")
    article = BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser").select_one("article")
    article.name, article.attrs = "section", {"class": "chapter", "id": anchor(name)}
    for one in article.select(LEFT_OUT):
        one.decompose()
    for one in article.select("[id]"):
        one["id"] = anchor(name, one["id"])
    names = {(html / f"{other}.html").resolve(): other for other in book.pages(HERE.parent)}
    for link in article.select("a[href]"):
        address, place = urldefrag(link["href"])
        if re.match(r"[a-z]+:", address):
            continue
        to = names.get((path.parent / unquote(address)).resolve()) if address else name
        if to is None:
            link.unwrap()
        else:
            link["href"] = "#" + anchor(to, place)
    for image in article.select("img[src]"):
        if not image["src"].startswith("data:"):
            image["src"] = (path.parent / unquote(image["src"])).resolve().as_uri()
    return article


def anchor(page: str, place: str = "") -> str:
    """The id of a page, or of a place on it, in the whole book."""
    return page.replace("/", "-") + (f"--{place}" if place else "")


def answers(parts: list[Tag]) -> Tag:
    """Moves solutions and the explanations of the quizzes out of the chapters, into a chapter of their own."""
    soup = BeautifulSoup(f'<section class="chapter answers" id="answers"><h1>{APPENDIX}</h1></section>', "html.parser")
    made = soup.section
    for one in parts:
        found: list[Tag] = []
        for number, cell in enumerate(one.select(".tag_solution"), 1):
            heading = cell.find_previous("h2")
            place = f"{one['id']}--solution-{number}"
            cell.insert_before(_later("A solution stands", place))
            cell = cell.extract()
            for details in cell.select("details"):
                details.summary.decompose()
                details.unwrap()
            cell["id"] = place
            found += [_element("h3", heading.get_text() if heading else f"Solution {number}"), cell]
        questions = one.select(".question")
        for number, question in enumerate(questions, 1):
            asked = question.find_previous("p")
            block = _element("div", "", "verdicts")
            block["id"] = f"{one['id']}--question-{number}"
            block.append(_element("h3", asked.get_text()))
            for answer in question.select("details.answer"):
                answer.name = "p"
                answer["class"] = "choice"
                explained = answer.p.extract()
                summary = answer.summary.extract()
                answer.append(summary.get_text())
                explained.insert(0, f"{summary.get_text()}: ")
                block.append(explained)
            found.append(block)
        if questions:
            questions[-1].insert_after(_later("The answers stand, with reasons,", f"{one['id']}--question-1"))
        if found:
            made.append(_element("h2", one.h1.get_text()))
            made.extend(found)
    return made


def _later(what: str, place: str) -> Tag:
    link = f'<p class="later">{what} <a href="#{place}">at the end of the book</a>.</p>'
    return BeautifulSoup(link, "html.parser").p


def _element(name: str, text: str, kind: str = "") -> Tag:
    made = BeautifulSoup("", "html.parser").new_tag(name)
    made.string = text
    if kind:
        made["class"] = kind
    return made


def page(parts: list[tuple[str, list[Tag]]], numbers: dict[str, int], html: Path) -> str:
    """The whole book as one page of HTML; `numbers` are the pages on which the chapters begin, by their titles."""
    config = yaml.safe_load((HERE.parent / "_config.yml").read_text(encoding="utf-8"))
    first = BeautifulSoup((html / "book" / "index.html").read_text(encoding="utf-8"), "html.parser")
    styles = [link["href"].partition("?")[0] for link in first.select("link[rel=stylesheet]")]
    return jinja2.Template((HERE / "pdf.html").read_text(encoding="utf-8")).render(
        styles=[(html / "book" / style).resolve().as_uri() for style in styles if "://" not in style],
        title=config["title"], author=config["author"], year=config["copyright"], version=spokendigits.__version__,
        logo=(html / "_static" / Path(config["logo"]).name).as_uri(), parts=parts, numbers=numbers, name=name,
    )  # fmt: skip


def name(one: Tag) -> str:
    """The title of a chapter."""
    return " ".join(one.h1.get_text().split())


def print_page(program: str, path: Path) -> bytes:
    """A page of HTML as a PDF with bookmarks; whatever it asks another host for is refused."""
    try:
        from playwright.sync_api import sync_playwright
    except ImportError:
        raise CourseError("The PDF needs the package playwright: install it with `make setup`.") from None
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=program, args=QUIET)
        sheet = browser.new_page(color_scheme="light", java_script_enabled=False)
        sheet.route(re.compile(r"^(?!file:|data:)"), lambda route: route.abort())
        sheet.goto(path.as_uri(), timeout=300_000)
        made = sheet.pdf(outline=True, tagged=True, prefer_css_page_size=True, print_background=True)
        browser.close()
    return made


def first_pages(printed: bytes) -> dict[str, int]:
    """The number of the page on which each chapter of a PDF begins, counted from 1, by its title."""
    from pypdf import PdfReader

    reader = PdfReader(io.BytesIO(printed))
    top = [entry for entry in reader.outline if not isinstance(entry, list)]
    return {" ".join(entry.title.split()): reader.get_destination_page_number(entry) + 1 for entry in top}


def main() -> None:
    """Writes the PDF and prints where it is."""
    try:
        print(f"PDF: {write()}")
    except CourseError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
