"""Links the glossary's terms where they first appear: `python -m tools.terms FILE ...`. Without a file it only lists them.

A page says {term}`hop`. A notebook says [hop](../book/glossary.md#hop), which JupyterLab, GitHub and the book can follow.
"""

import re
import sys
from pathlib import Path
from typing import NamedTuple

import nbformat

from spokendigits.errors import CourseError
from spokendigits.files import atomic_file
from spokendigits.publish import book
from spokendigits.publish.extension import ENTRY
from tools.prose import ROOT, blank, name, prose

# Words of everyday English, and words with a plural of their own: the forms in which they are the term.
FORMS = {
    "corpus": r"corp(?:us|ora)",
    "take": r"(?:(?<=\ba )|(?<=\bfirst )|(?<=\bfew )|(?<=\bten )|(?<=\bmore )|(?<=\*))takes?",
    "fold": r"(?<!vocal )folds?(?! away)",
    "hop": r"hops?",
    "window": r"(?-i:windows?|Window(?!s))",  # not the system
    "near-duplicate": r"near[- ]duplicates?",
    "confidence interval": r"(?:confidence )?intervals?",
    "risk": r"risk(?=\*|, | is )",
    "loss": r"loss(?:es)?(?! of)",
    "learning rate schedule": r"(?:learning rate )?schedules?",
    "precision": r"(?<=\*)precision",
    "teacher": r"(?<=\*)teachers?",  # mostly a person
    "student": r"(?<=\*)students?",
}
# Where a link would be in the way, or lead away from another one: headings, the first line of a table, titles and quotations,
# links, alt texts, cards that are links themselves, questions.
NO_PLACE = re.compile(
    r"^#+ .*$|^\|.*(?=\n\| *-)|(?<![*\w])\*[A-Z][^*\n]* [^*\n]+ [^*\n]*\*(?!\*)|\"[^\"\n]*\"|^ *:alt:.*$|\[[^\]\n]*\]\([^)\n]*\)"
    r"|^:{3,}\{grid-item-card\}.*\n:link:(?:.*\n)*?:{3,}$|^<div[^>]*>(?:.*\n)*?</div>$|^\*\*\d\. .*$",
    re.MULTILINE,
)
IN_PAGE = re.compile(r"\{term\}`(?:[^`<]*<)?([^`<>]+?)>?`")
IN_NOTEBOOK = re.compile(r"\]\(\.\./book/glossary\.md#(?:term-)?([\w.-]+)\)")


class Place(NamedTuple):
    """Where a term stands: in which cell (a page has one), from which character to which."""

    cell: int
    start: int
    end: int
    linked: bool


def entries(text: str | None = None) -> list[list[str]]:
    """The terms of the glossary; those that share an explanation stand together."""
    text = text or (ROOT / "book/glossary.md").read_text(encoding="utf-8")
    return [re.findall(r"^### (.+)$", entry[1], re.MULTILINE) for entry in ENTRY.finditer(text)]


def anchor(term: str) -> str:
    """Where a link leads to a term: JupyterLab's name of its heading, which the book knows as well."""
    return re.sub(r"[^\w.-]+", "-", term)


def first_places(cells: list[str]) -> dict[str, Place]:
    """Where each entry of the glossary, by its first term, stands first in the prose of a page or of a notebook's cells."""
    terms = {term: group[0] for group in entries() for term in group}
    by_anchor = {anchor(term): term for term in terms}
    lower = {term.lower(): term for term in terms}
    # The longest first: a log-mel spectrogram is no spectrogram on its own.
    forms = {f"t{i}": term for i, term in enumerate(sorted(terms, key=len, reverse=True))}
    either = "|".join(f"(?P<{key}>{FORMS.get(term, re.escape(term) + '(?:e?s)?')})" for key, term in forms.items())
    anywhere = re.compile(rf"(?<![\w-])(?:{either})(?![\w-])", re.IGNORECASE)
    found: dict[str, Place] = {}
    for cell, text in enumerate(cells):
        places = [(lower.get(one[1].lower()), one.start(), one.end(), True) for one in IN_PAGE.finditer(text)]
        places += [(by_anchor.get(one[1]), one.start(), one.end(), True) for one in IN_NOTEBOOK.finditer(text)]
        open_text = NO_PLACE.sub(blank, IN_PAGE.sub(blank, text))
        free = "".join(" " if " " in pair else pair[0] for pair in zip(open_text, prose(text), strict=True))
        places += [(forms[one.lastgroup], one.start(), one.end(), False) for one in anywhere.finditer(free)]
        for term, *place in sorted(places, key=lambda one: one[1]):
            if term is not None:
                found.setdefault(terms[term], Place(cell, *place))
    return found


def read(path: Path) -> list[str]:
    """The Markdown of a page, or of each cell of a notebook (of code: nothing)."""
    if path.suffix == ".md":
        return [path.read_text(encoding="utf-8")]
    return [cell.source if cell.cell_type == "markdown" else "" for cell in nbformat.read(path, as_version=4).cells]


def unlinked(path: Path) -> list[str]:
    """One line for each term whose first appearance in the prose of a page or notebook is no link."""
    cells = read(path)
    return [
        f"{name(path)}{f', cell {place.cell}' if len(cells) > 1 else ''}, line "
        f"{cells[place.cell].count(chr(10), 0, place.start) + 1}: {cells[place.cell][place.start : place.end]!r}"
        for place in first_places(cells).values()
        if not place.linked
    ]


def link(path: Path) -> int:
    """Links each term of the glossary where it first appears in a page or notebook; returns how many links were made.

    The outputs of a notebook stay as they are. Done a second time, nothing changes.
    """
    cells, page = read(path), path.suffix == ".md"
    terms = {term.lower(): term for group in entries() for term in group}
    new = sorted(((place, term) for term, place in first_places(cells).items() if not place.linked), reverse=True)
    for place, entry in new:
        text = cells[place.cell]
        words = text[place.start : place.end]
        term = terms.get(words.lower(), entry)
        if page:
            made = f"{{term}}`{words}`" if words == term else f"{{term}}`{words} <{term}>`"
        else:
            made = f"[{words}](../book/glossary.md#{anchor(term)})"
        cells[place.cell] = text[: place.start] + made + text[place.end :]
    if new and page:
        with atomic_file(path) as temporary:
            temporary.write_text(cells[0], encoding="utf-8")
    elif new:
        notebook = nbformat.read(path, as_version=4)
        for cell, text in zip(notebook.cells, cells, strict=True):
            cell.source = text if cell.cell_type == "markdown" else cell.source
        with atomic_file(path) as temporary:
            nbformat.write(notebook, temporary)
    return len(new)


def pages() -> list[Path]:
    """The pages of the book that link to the glossary, in order: all but itself and the references."""
    others = [page for page in book.pages(ROOT) if page not in ("book/glossary", "book/references")]
    return [ROOT / f"{page}{'.md' if page.startswith('book/') else '.ipynb'}" for page in others]


def main(arguments: list[str]) -> None:
    if not arguments:
        print("\n".join(line for path in pages() for line in unlinked(path)) or "Every term is linked.")
    for path in map(Path, arguments):
        if path.suffix not in (".md", ".ipynb") or not path.is_file():
            raise CourseError(f"{path}: no such page or notebook. Give the path of a .md or .ipynb file.")
        if path.stem in ("glossary", "references"):
            raise CourseError(f"{path}: it explains the terms, so it does not link them. Name another page.")
        if made := link(path):
            print(f"{path}: {made} terms linked")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except CourseError as error:
        sys.exit(str(error))
