"""Writes book/references.md from book/references.bib, for whoever reads it without Sphinx: `python -m tools.references`.

In the book Sphinx makes its own list of the same entries: spokendigits/publish/extension.py.
"""

import re

from pybtex import PybtexEngine
from pybtex.database import parse_file

from tools.prose import ROOT

PAGE, SOURCE = ROOT / "book/references.md", ROOT / "book/references.bib"


def page() -> str:
    """The page: a heading for each entry, to which a link can lead, and the entry in one paragraph."""
    made = PybtexEngine().format_from_file(str(SOURCE), style="unsrt", output_backend="markdown", citations=["*"])
    made = re.sub(r"\\([^\w\s*])", r"\1", made)  # what needs no backslash in these places
    entries = [" ".join(one.split()) for one in re.split(r"^\[\d+\] ", made, flags=re.MULTILINE)[1:]]
    listed = [f"### {key}\n\n{one}\n" for key, one in zip(parse_file(SOURCE).entries, entries, strict=True)]
    return "\n".join(["# References\n", "Data, methods and tools that this course stands on.\n", *listed])


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
