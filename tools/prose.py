"""What a reader reads: the sentences of pages, notebooks and code. What is no prose is blanked out, so that all else keeps its place."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parent.parent
# Code, links' addresses, HTML tags, roles, the options of a directive (all but alt texts), and what stands in for a number.
NOT_PROSE = re.compile(
    r"^ *(`{3,})(?:bash|python|powershell|text|bibtex|yaml|dockerfile)\n.*?^ *\1`*$"
    r"|^ *:(?!alt:)[\w-]+:[^\n]*$|^ *[`:~]{3,}(?:\{[\w-]+\})?|^\([\w-]+\)=$"
    r"|\{term\}`(?P<words>[^`<]*)[^`]*`|\{[\w:-]+\}`[^`]*`"
    r"|(?<!`)(`+)(?!`)(?:(?!\n\n).)+?(?<!`)\3(?!`)"
    r"|\{\{.*?\}\}|\]\([^)\n]*\)|</?\w[^<>]*>|<!--.*?-->|https?://[^\s)>]+|&\w+;",
    re.MULTILINE | re.DOTALL,
)


def prose(markdown: str) -> str:
    """`markdown` with spaces for all that is no prose. It stays as long as it was, and so do its lines."""
    return NOT_PROSE.sub(blank, markdown)


def blank(found: re.Match) -> str:
    """The match with spaces for all of it, but for the words of a link to the glossary."""
    words = found.groupdict().get("words")
    spaces = re.sub(r"\S", " ", found[0])
    return spaces[:7] + words + spaces[7 + len(words) :] if words else spaces


def pages() -> list[Path]:
    """The book's pages and the Markdown files at the top of the repository, but for the list of references: names and titles."""
    found = [*ROOT.glob("*.md"), *ROOT.glob("book/*.md"), *ROOT.glob(".github/**/*.md")]
    return sorted(path for path in found if path.name != "references.md")


def notebooks() -> list[Path]:
    return sorted(ROOT.glob("notebooks/*.ipynb"))


def texts() -> Iterator[tuple[str, int, str]]:
    """All prose of the repository: (where, number of its first line there, text).

    Pages, the notebooks' text and alt texts, docstrings, comments and the sentences that the package says.
    """
    for path in pages():
        yield name(path), 1, prose(path.read_text(encoding="utf-8"))
    for path in notebooks():
        yield from of_notebook(path)
    for folder in ("spokendigits", "tools", "studies", "tests", "book"):
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield from of_code(path)
    for path in ("Makefile", "pyproject.toml", "environment.yml", "_config.yml", *ROOT.glob(".github/**/*.yml")):
        for number, line in enumerate((ROOT / path).read_text(encoding="utf-8").splitlines(), 1):
            if comment := re.search(r"(?:^|\s)#.*", line):
                yield name(ROOT / path), number, prose(comment[0])


def of_notebook(path: Path) -> Iterator[tuple[str, int, str]]:
    for number, cell in enumerate(nbformat.read(path, as_version=4).cells):
        where = f"{name(path)}, cell {number}"
        if cell.cell_type == "markdown":
            yield where, 1, prose(cell.source)
        else:
            yield from of_code(path, cell.source, where)
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                yield f"{where}, alt text", 1, prose(output.data["text/plain"])


def of_code(path: Path, source: str | None = None, where: str = "") -> Iterator[tuple[str, int, str]]:
    """Comments, docstrings, and the texts of four words or more; of tests only what explains them."""
    source, where = source or path.read_text(encoding="utf-8"), where or name(path)
    try:
        tree = ast.parse(source)
    except SyntaxError:  # a notebook's cell with a command of IPython
        return
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield where, token.start[0], prose(token.string)
    documented = [
        node.body[0].value
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and ast.get_docstring(node, clean=False)
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            said = len(re.findall(r"[a-z]+ ", node.value)) > 3 and "tests" not in path.parts and "(?" not in node.value
            if said or node in documented:
                yield where, node.lineno, prose(node.value)


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix() if path.is_relative_to(ROOT) else path.name
