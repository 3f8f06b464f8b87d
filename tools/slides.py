"""Slides for a class: one reveal.js deck for each notebook, made from the notebook itself (`python -m tools.slides`).

A section becomes one slide or more: its sentences, then at most one figure, table or row of players on each. What a long
paragraph says beyond its key sentences goes to the speaker notes. Code that prints is shown if it is short; all other
code is folded away. Solutions, setup and progress bars are left out.
"""

import base64
import dataclasses
import html
import importlib.util
import re
import shutil
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

import jinja2
from bs4 import BeautifulSoup
from nbconvert.filters import Highlight2HTML, markdown2html, strip_ansi
from pygments.formatters import HtmlFormatter

from spokendigits import lanes
from spokendigits.errors import CourseError
from spokendigits.files import atomic_folder
from spokendigits.plots import described
from spokendigits.publish import runner

LEFT_OUT = {"bootstrap", "hide-cell", "parameters", "remove-cell", "solution"}  # tags of cells that no slide shows
WIDTH, ROOM = 1160, 560  # what a slide of 1280 x 720 has for its body, in pixels; slides.css makes it so
LINE, CODE_LINE, ROW, SMALL_ROW = (
    40,
    27,
    36,
    28,
)  # heights of a line of text, of code, of a table, a small one, in pixels
LONGEST_CODE = 14  # lines: more of them cannot be explained from one slide
WHOLE = 50  # words: a paragraph no longer than this is shown as it is
GUESS = re.compile(r"\bGuess\b|\bFirst guess\b|\bYour guess\b")
LEANS_BACK = re.compile(r"(So|This|That|It|Its|They|Their|Then|Therefore|There|But|And)\b")
REVEAL = (  # what a deck needs of reveal.js; the whole of it is ten times as large
    "dist/reset.css", "dist/reveal.css", "dist/reveal.js", "dist/theme/white.css", "dist/theme/fonts/source-sans-pro",
    "plugin/notes/notes.js",
)  # fmt: skip
HERE = Path(__file__).resolve().parent


@dataclasses.dataclass
class Slide:
    """One slide: its heading and blocks are HTML, its notes Markdown, its code Python."""

    heading: str
    above: str = ""  # the section that a heading of the third level belongs to
    kind: str = ""  # title, exercise or question: what slides.css treats in its own way
    starts: bool = False  # whether a section begins here: in the overview it starts a column
    blocks: list[tuple[str, float]] = dataclasses.field(default_factory=list)  # each with its height in pixels
    lead: int = 0  # the block with which the last cell of text begins
    notes: list[str] = dataclasses.field(default_factory=list)
    code: list[str] = dataclasses.field(default_factory=list)
    visual: bool = False
    done: bool = False  # nothing comes after it: it opens the deck, or asks for a guess, and the next slide answers

    @property
    def used(self) -> float:
        """How many pixels of ROOM its blocks take."""
        return sum(height for _, height in self.blocks)


def write(target: Path | str | None = None, source: Path | str | None = None) -> Path:
    """Writes a deck for every notebook, and `index.html`, into the folder `target`; returns the index: all, or nothing.

    target: replaced as a whole (None: `_build/slides` of the checkout). source: the folder of the executed notebooks
    (None: the checkout's). Says which of them were not run to their end. Raises CourseError if reveal.js is not
    installed, or if a notebook that _toc.yml lists is missing.
    """
    source = (lanes.repository() / "notebooks") if source is None else Path(source)
    target = HERE.parent / "_build" / "slides" if target is None else Path(target)
    paths = runner.notebooks(source, runner.pages(HERE.parent))
    reveal = reveal_folder()
    templates = jinja2.Environment(loader=jinja2.FileSystemLoader(HERE), autoescape=False)
    notebooks = {path.stem: runner.read(path) for path in paths}
    for name, notebook in notebooks.items():
        if left := sum(cell.cell_type == "code" and not cell.execution_count for cell in notebook.cells):
            print(f"{name}: {left} of its cells were not run, and show nothing. Run it, then make the slides again.")
    decks = {name: deck(notebook) for name, notebook in notebooks.items()}
    with atomic_folder(target) as folder:
        for name in REVEAL:
            copied = folder / "reveal" / name
            copied.parent.mkdir(parents=True, exist_ok=True)
            (shutil.copytree if (reveal / name).is_dir() else shutil.copy)(reveal / name, copied)
        style = (HERE / "slides.css").read_text(encoding="utf-8")
        colours = HtmlFormatter(style="a11y-high-contrast-light").get_style_defs(".highlight")
        (folder / "slides.css").write_text(f"{style}\n{colours}\n", encoding="utf-8")
        for name, slides in decks.items():
            page = templates.get_template("slides.html").render(
                title=BeautifulSoup(slides[0].heading, "html.parser").get_text(), columns=columns(slides),
                show=markdown, highlight=Highlight2HTML(),
            )  # fmt: skip
            (folder / f"{name}.html").write_text(page, encoding="utf-8")
        index = templates.get_template("slides_index.html").render(decks=decks)
        (folder / "index.html").write_text(index, encoding="utf-8")
    return target / "index.html"


def reveal_folder() -> Path:
    """Where the installed package sphinx-revealjs keeps reveal.js; it is not imported."""
    found = importlib.util.find_spec("sphinx_revealjs")
    folder = Path(found.origin).parent / "_static" / "revealjs" if found else None
    if folder is None or not (folder / "dist" / "reveal.js").is_file():
        raise CourseError(
            "reveal.js is missing: install it with `make setup`, or `python -m pip install sphinx-revealjs`."
        )
    return folder


def columns(slides: list[Slide]) -> list[list[Slide]]:
    """The slides of one section, a list each."""
    made = []
    for slide in slides:
        if slide.starts or not made:
            made.append([])
        made[-1].append(slide)
    return made


def deck(notebook) -> list[Slide]:
    """The slides of a notebook, in order."""
    slides: list[Slide] = []
    tags = [set(cell.metadata.get("tags", [])) for cell in notebook.cells]
    for cell, own, following in zip(notebook.cells, tags, [*tags[1:], set()], strict=True):
        if own & LEFT_OUT or 'class="moving"' in cell.source:  # its still twin is on a slide
            continue
        if cell.cell_type == "code":
            _code(slides, cell)
        elif slides and "parameters" in following:
            slides[-1].notes.append(cell.source)  # it speaks of a cell that no slide shows
        elif 'class="question"' in cell.source:
            _question(slides, cell.source)
        else:
            if slides:
                slides[-1].lead = len(slides[-1].blocks)
            for block in blocks(cell.source):
                _text(slides, block)
            last = slides[-1]
            last.done = last.kind == "title" or (not last.kind and bool(GUESS.search(cell.source)))
    return slides


def blocks(source: str) -> Iterator[str]:
    """The paragraphs, headings and lists of a Markdown cell, the last with the lines that belong to their items."""
    for block in re.split(r"\n\s*\n", source.strip()):
        heading, _, rest = block.partition("\n") if block.startswith("#") else ("", "", block)
        yield from filter(None, (heading, rest))


def sentences(paragraph: str) -> list[str]:
    """The sentences of a paragraph of Markdown."""
    return re.split(r"(?<=[.!?])(?<!\d\.)\s+(?=[\"'“`*(]*[A-Z0-9`])", " ".join(paragraph.split()))


def key_sentences(paragraph: str) -> list[str]:
    """What a slide shows of a paragraph: all of a short one.

    Of a long one its first sentence, those that name a term or ask, and those that these lean on.
    """
    said = sentences(paragraph)
    if len(paragraph.split()) <= WHOLE:
        return said
    keep = {i for i, one in enumerate(said) if i == 0 or "*" in one or one.endswith("?") or GUESS.search(one)}
    for i in sorted(keep, reverse=True):
        while i > 0 and LEANS_BACK.match(said[i]):
            i -= 1
            keep.add(i)
    return [said[i] for i in sorted(keep)]


def markdown(source: str) -> str:
    """Markdown as HTML. A link to a notebook leads to its deck; a link to another file of the checkout is left out."""
    source = re.sub(r"\]\((\d\d_\w+)\.ipynb\)", r"](\1.html)", source)
    source = re.sub(r"\[([^\]]+)\]\((?!\d\d_\w+\.html\)|https?:)[^)]+\)", r"\1", source)
    made = markdown2html(source)
    return re.sub(r'<a class="anchor-link".*?</a>', "", made)


def _text(slides: list[Slide], block: str) -> None:
    """Adds a heading, a paragraph or a list."""
    if heading := re.match(r"(#+) +(.*)", block):
        words = re.sub(r"^<p>|</p>\s*$", "", markdown(heading[2]))
        above = next((one.heading for one in reversed(slides) if not one.above), "") if len(heading[1]) == 3 else ""
        kind = "title" if not slides else "exercise" if words.startswith("Exercise") else ""
        slides.append(Slide(words, above, kind, starts=len(heading[1]) < 3))
    elif slides[-1].kind == "exercise" and block.startswith("*Hint"):
        hint = re.sub(r"^\*Hints?:\*\s*", "", block)
        _add(slides, f"<details class='hint'><summary>Hint</summary>{markdown(hint)}</details>", LINE)
    elif re.match(r"[-*] |\d+\. ", block):
        items = re.split(r"\n(?=[-*] |\d+\. )", block)
        _add(slides, markdown(block), sum(_lines(item) * LINE + 8 for item in items))
    else:
        shown = sentences(block) if slides[-1].kind else key_sentences(block)
        if len(shown) < len(sentences(block)):
            slides[-1].notes.append(block)
        made = "".join(markdown(one).replace("<p>", "<p class='ask'>", bool(GUESS.search(one))) for one in shown)
        _add(slides, made, sum(_lines(one) * LINE + 8 for one in shown))


def _question(slides: list[Slide], source: str) -> None:
    """Adds a question of the quiz, on a slide of its own; of its answers one is open at a time."""
    asked, _, answers = source.partition("\n\n")
    number = len(slides)
    section = next(one.heading for one in reversed(slides) if not one.above)
    answers = answers.replace("<details ", f'<details name="question-{number}" ')
    asked = re.sub(r"^(\d+)\.", r"\1\.", asked.strip("* \n"))  # a heading, and no list of one item
    heading = re.sub(r"^<p>|</p>\s*$", "", markdown(asked))
    slides.append(Slide(heading, section, "question", blocks=[(answers, ROOM)]))


def _code(slides: list[Slide], cell) -> None:
    """Adds what a cell of code shows: its pictures, tables and players, or what it prints, with the code if that is short."""
    printed = "".join(one.text for one in cell.outputs if one.output_type == "stream" and one.name == "stdout").strip()
    if "exercise" in cell.metadata.get("tags", []):
        printed = ""  # a check that still waits for its answer
    data = [one.data for one in cell.outputs if "data" in one]
    if slides[-1].heading == "What you have now":  # what made the numbers
        if printed:
            slides[-1].notes.append(f"```\n{printed}\n```")
        return
    shown = [made for one in data for made in _outputs(one)]
    lines = cell.source.count("\n") + 1
    source, text = "", ""
    if "exercise" in cell.metadata.get("tags", []) or (printed and not shown and lines <= LONGEST_CODE):
        source = Highlight2HTML()(cell.source)
    elif not re.match(r"assert\b", cell.source):
        text = cell.source
    height = (lines * CODE_LINE + 30 if source else 0) + (
        min(printed.count("\n") + 1, 8) * CODE_LINE + 30 if printed else 0
    )
    if printed:
        source += f'<pre class="printed" tabindex="0">{html.escape(strip_ansi(printed))}</pre>'
    if source:
        _add(slides, source, height, answers=True)
    for made, height in shown:
        _add(slides, made, height, visual=True)
    if text and slides[-1].kind != "title":  # before the first section it only gets ready
        slides[-1].code.append(text)


def _outputs(data: dict) -> Iterator[tuple[str, float]]:
    """What an output shows: HTML, and the height in pixels that it needs at least."""
    if "image/png" in data:
        picture = data["image/png"].replace("\n", "")
        wide, high = struct.unpack(">II", base64.b64decode(picture[:64])[16:24])
        alt, caption = described(data.get("text/plain", ""))
        image = f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{picture}">'
        below = f"<figcaption>{html.escape(caption)}</figcaption>" if caption else ""
        yield f"<figure>{image}{below}</figure>", 0.7 * min(WIDTH * high / wide, 500) + _lines(caption) * 28
    elif "text/html" in data:
        page = BeautifulSoup(data["text/html"], "html.parser")
        for style in page.select("style"):
            style.decompose()
        cards = page.select(".players > div")
        sounds = page.select(".players > figure")
        for card in cards:
            yield f'<div class="players card">{card}</div>', ROOM - 2 * LINE
        if sounds:
            yield str(page), -(-len(sounds) // 3) * 90
        elif not cards:
            rows, wide = (
                len(page.select("tr")),
                len(page.select_one("tr").find_all(["th", "td"]) if page.tr else []) > 10,
            )
            kind, height = ("scroll", rows * ROW) if rows <= 10 and not wide else ("scroll small", rows * SMALL_ROW)
            yield f'<div class="{kind}" tabindex="0">{page}</div>', min(height + 20, ROOM - 3 * LINE)
    elif "text/plain" in data:
        text = data["text/plain"]
        yield (
            f'<pre class="printed" tabindex="0">{html.escape(text)}</pre>',
            (min(text.count("\n") + 1, 8) * CODE_LINE + 30),
        )


def _add(slides: list[Slide], block: str, height: float, visual: bool = False, answers: bool = False) -> None:
    """Adds a block to the last slide, or to a new one of the same heading where there is no room for it.

    The text that leads to a picture or a list goes with it to the new slide; a question stays, so that there is time for it.
    """
    last, follows = slides[-1], visual or answers or block.startswith(("<ul", "<ol"))
    pulled = last.blocks[last.lead :]
    full = last.blocks and last.used + height > ROOM
    whole = last.kind in ("title", "exercise") and not last.done
    if not whole and (full or (visual and last.visual) or last.done):
        new = Slide(last.heading, last.above, "" if last.kind == "title" else last.kind)
        fits = sum(one for _, one in pulled) + height <= ROOM
        if follows and fits and not last.done and last.lead and not any("<figure" in one for one, _ in pulled):
            last.blocks, new.blocks = last.blocks[: last.lead], pulled
        slides.append(new)
    slides[-1].blocks.append((block, height))
    slides[-1].visual |= visual


def _lines(text: str) -> int:
    """How many lines of a slide a text takes, about."""
    return -(-len(text) // 88)


def main() -> None:
    """Writes the slides and prints where to open them."""
    try:
        print(f"Slides: {write()}")
    except CourseError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main()
