"""The book as a PDF, printed from a small book with one of everything that is different on paper."""

import io
import re

import pytest

from spokendigits.errors import CourseError
from spokendigits.publish import book
from tools import pdf

pytestmark = pytest.mark.slow

# What jupyter-book makes of a notebook's solution, quiz and players, as short as it can be.
PAGE = """<html><head><link rel="stylesheet" href="../_static/course.css"></head><body><article class="bd-article">
<section id="start"><h1>Chapter {name}<a class="headerlink" href="#start">#</a></h1><p>It leads to <a href="{other}.html#start">another</a>.</p>
<img src="../_static/logo.svg" alt="A logo"><div class="players"><figure><figcaption>seven, synthetic</figcaption><audio></audio></figure></div>
<pre>{long}</pre>
<div class="cell tag_check"><details class="hide"><summary>Show the check</summary><pre>x</pre></details><pre>out</pre></div></section>
<section id="exercise"><h2>Exercise 1 of {name}</h2><div class="cell tag_solution"><details class="hide"><summary>Show</summary>
<pre>the_solution_of_{name} = 1</pre></details></div></section>
<section><h2>Check yourself</h2><p><strong>1. Which one?</strong></p><div class="question"><details class="answer right">
<summary>This one</summary><p><b>Right.</b> Because of {name}.</p></details></div></section></article></body></html>"""


@pytest.fixture(scope="module")
def html(tmp_path_factory):
    """A built book of small pages: each of _toc.yml leads to the next."""
    folder, names = tmp_path_factory.mktemp("html"), book.pages(pdf.HERE.parent)
    (folder / "_static").mkdir()
    for name in ("course.css", "logo.svg"):
        (folder / "_static" / name).write_bytes((pdf.HERE.parent / "book" / "_static" / name).read_bytes())
    for name, other in zip(names, [*names[1:], names[0]], strict=True):
        path = folder / f"{name}.html"
        path.parent.mkdir(exist_ok=True)
        short = name.rpartition("/")[2]
        path.write_text(PAGE.format(name=short, other=f"../{other}", long="x" * 300))
    return folder


@pytest.fixture(scope="module")
def printed(html, tmp_path_factory):
    pypdf = pytest.importorskip("pypdf")
    try:
        pdf.chromium()
    except CourseError as error:
        pytest.skip(str(error))
    path = pdf.write(tmp_path_factory.mktemp("pdf") / "book.pdf", html)
    return pypdf.PdfReader(io.BytesIO(path.read_bytes()))


def text(page) -> str:
    return re.sub(r"\s+", " ", page.extract_text())


def test_every_chapter_is_there_in_order_and_where_the_contents_and_the_bookmarks_say(printed):
    titles = [f"Chapter {name.rpartition('/')[2]}" for name in book.pages(pdf.HERE.parent)] + [pdf.APPENDIX]
    assert len(printed.pages) >= len(titles) + 2
    pages = [text(page) for page in printed.pages]
    assert "Spoken digits" in pages[0] and pages[1].startswith("2 Contents")
    starts = pdf.first_pages(pdf_bytes(printed))
    assert [title for title in starts if title != "Contents"] == titles
    assert list(starts.values()) == sorted(set(starts.values()))
    for title in titles:
        assert pages[starts[title] - 1].startswith(f"{starts[title]} {title}")  # the page's number is read first
        assert re.search(rf"{title} ?{starts[title]}\b", pages[1]), pages[1]


def pdf_bytes(reader) -> bytes:
    return reader.stream.getvalue()


def test_answers_are_only_at_the_end_and_links_stay_in_the_book(printed):
    start = pdf.first_pages(pdf_bytes(printed))[pdf.APPENDIX] - 1
    before, after = (" ".join(map(text, part)) for part in (printed.pages[:start], printed.pages[start:]))
    assert "This one" in before and "Right." not in before and "the_solution_of_" not in before
    assert " out " in before and "Show" not in before, "nothing on paper opens"
    for name in book.pages(pdf.HERE.parent):
        short = name.rpartition("/")[2]
        assert f"the_solution_of_{short} = 1" in after and f"Because of {short}." in after
    assert "seven, synthetic" in before and "run the notebook" in before
    targets = [link.get_object() for page in printed.pages for link in page.get("/Annots") or []]
    assert len(targets) > 30 and [link for link in targets if "/URI" in link.get("/A", {})] == []


def test_long_lines_are_wrapped_not_cut(printed):
    lines = [line.strip() for page in printed.pages for line in page.extract_text().splitlines() if "xxx" in line]
    assert sum(map(len, lines)) == 300 * len(book.pages(pdf.HERE.parent)) and max(map(len, lines)) < 130


def test_without_chromium_or_a_page_it_says_so_and_leaves_the_old_pdf(html, tmp_path, monkeypatch):
    target = tmp_path / "book.pdf"
    target.write_text("old")
    monkeypatch.setattr(pdf, "PROGRAMS", ("no-such-browser",))
    with pytest.raises(CourseError, match="Install chromium"):
        pdf.write(target, html)
    monkeypatch.setattr(pdf, "PROGRAMS", ("true",))
    with pytest.raises(CourseError, match=r"index\.html: missing"):
        pdf.write(target, tmp_path)
    with pytest.raises(SystemExit, match=r"^error: "):
        monkeypatch.setattr(pdf, "PROGRAMS", ())
        pdf.main()
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]
