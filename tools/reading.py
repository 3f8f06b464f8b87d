"""How long a page or a file of code takes to read, estimated from sourced rates: `python -m tools.reading` prints it."""

import ast
import re
from collections.abc import Iterable
from pathlib import Path

import nbformat

from tools.prose import ROOT, name, notebooks

# Seconds; `reading_minutes` says where they come from.
WORD, STATEMENT, FIGURE, PLAYER = 60 / 150, 3600 / 500, 20, 5


def reading_minutes(page: Path, seconds: float = 0.0) -> dict[str, float]:
    """Minutes to read a page (.ipynb or .md): {"read": ..., "questions": ...}, estimated; `seconds` is its measured run time.

    "read" leaves out what is folded away (solutions, setup, checks), the exercises and the questions at the end.
    "questions" is the reading of those questions with their explanations. The rates:

    - 150 words a minute. Adults read English non-fiction at 238, most of them at 175 to 300, and readers with English as
      their second language more slowly (Brysbaert 2019, doi:10.1016/j.jml.2019.104047); and terms take time.
    - 500 statements of code an hour, so 7.2 seconds each: the speed at which code is reviewed (Humphrey 1989, quoted in
      McConnell, Code Complete, chapter 21). A line of a command counts as a statement.
    - 20 seconds a figure or table. Reading times of weblogs give a photograph 12; a chart has axes as well.
    - 5 seconds a player: to find it, and a second of sound, perhaps twice.

    Thinking, guessing and waiting for help are not in it. No reader was timed.
    """
    read, questions = float(seconds), 0.0
    for kind, text, outputs in _parts(page):
        if kind == "folded":
            continue
        if kind == "code":
            shown = [data.get("text/html", "") for data in outputs]
            figures = sum(
                "image/png" in data or bool(re.search("<table|<img", html))
                for data, html in zip(outputs, shown, strict=True)
            )
            took = (
                STATEMENT * _statements(text) + FIGURE * figures + PLAYER * sum(html.count("<audio") for html in shown)
            )
        else:
            marks = r"<[^>]+>|\]\([^)]*\)|\{[\w:-]+\}|^:\w[\w-]*:.*$|^[`:~]{3,}.*$"
            words = re.findall(r"\w[\w'’.,-]*", re.sub(marks, " ", text, flags=re.MULTILINE))
            figures = re.findall(r"^`{3,}\{(?:figure|image)\}", text, re.MULTILINE)
            took = WORD * len(words) + FIGURE * len(figures)
        if kind == "question":
            questions += took
        elif kind != "exercise":
            read += took
    return {"read": read / 60, "questions": questions / 60}


def code_minutes(paths: Iterable[Path]) -> float:
    """Minutes to read Python files, or all the code of notebooks (.ipynb), by the rate of `reading_minutes` for code alone.

    What counts: every statement, at 500 an hour. An import, a definition and a branch are one each, and so is everything
    inside them; a docstring is one, however long. Comments, figures and outputs do not count. Of a notebook all of its code
    does, also what `reading_minutes` leaves out: setup, solutions, checks, exercises.
    """
    statements = 0
    for path in paths:
        if path.suffix == ".py":
            statements += _statements(path.read_text(encoding="utf-8"))
        else:
            statements += sum(_statements(cell.source) for cell in _cells(path) if cell.cell_type == "code")
    return statements * STATEMENT / 60


def _parts(page: Path) -> list[tuple[str, str, list[dict]]]:
    """What a page is made of: (kind, text, data of its outputs), the kinds being text, code, folded, exercise, question."""
    if page.suffix == ".md":
        fences = r"^(```(?:bash|python|powershell|text)\n.*?^```)$"
        pieces = re.split(fences, page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
        inside = [piece.partition("\n")[2].removesuffix("```") if piece.startswith("```") else None for piece in pieces]
        return [
            ("text", piece, []) if code is None else ("code", code, [])
            for piece, code in zip(pieces, inside, strict=True)
        ]
    parts, where = [], ""
    for cell in _cells(page):
        if heading := re.match(r"## (Exercise|Check yourself|What you have now)", cell.source):
            where = {"Exercise": "exercise", "Check yourself": "question"}.get(heading[1], "")
        tags = cell.metadata.get("tags", [])
        kind = where or (
            "folded" if {"hide-cell", "remove-cell"} & {*tags} else "code" if cell.cell_type == "code" else "text"
        )
        source = "" if "hide-input" in tags else cell.source
        parts.append((kind, source, [output.get("data", {}) for output in cell.get("outputs", [])]))
    return parts


def _cells(notebook: Path) -> list:
    return nbformat.read(notebook, as_version=4).cells


def _statements(code: str) -> int:
    """How many statements a piece of Python has; of anything else, how many lines, those that a \\ joins as one."""
    try:
        return sum(isinstance(node, ast.stmt) for node in ast.walk(ast.parse(code)))
    except SyntaxError:
        return sum(bool(line.strip()) for line in code.replace("\\\n", "").splitlines())


def main() -> None:
    """Prints the minutes of the helper, which are the files at the top of the package, and of each notebook."""
    helper = sorted((ROOT / "spokendigits").glob("*.py"))
    print(f"the helper, spokendigits/*.py: {code_minutes(helper):.0f} minutes of code in {len(helper)} files")
    for path in notebooks():
        print(f"{name(path)}: {code_minutes([path]):.0f} minutes of code, {reading_minutes(path)['read']:.0f} to read")


if __name__ == "__main__":
    main()
