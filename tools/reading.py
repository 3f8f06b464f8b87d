"""How long a page or a file of code takes to read, estimated from sourced rates."""

import ast
import re
from pathlib import Path


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
            took = 7.2 * _statements(text)
            took += 20 * sum(
                "image/png" in data or bool(re.search("<table|<img", data.get("text/html", ""))) for data in outputs
            )
            took += 5 * sum(data.get("text/html", "").count("<audio") for data in outputs)
        else:
            plain = re.sub(
                r"<[^>]+>|\]\([^)]*\)|\{[\w:-]+\}|^:\w[\w-]*:.*$|^[`:~]{3,}.*$", " ", text, flags=re.MULTILINE
            )
            took = 60 * len(re.findall(r"\w[\w'’.,-]*", plain)) / 150 + 20 * len(
                re.findall(r"^`{3,}\{(?:figure|image)\}", text, re.MULTILINE)
            )
        if kind == "question":
            questions += took
        elif kind != "exercise":
            read += took
    return {"read": read / 60, "questions": questions / 60}


def _parts(page: Path) -> list[tuple[str, str, list[dict]]]:
    """What a page is made of: (kind, text, data of its outputs), the kinds being text, code, folded, exercise, question."""
    if page.suffix == ".md":
        pieces = re.split(
            r"^(```(?:bash|python|powershell|text)\n.*?^```)$",
            page.read_text(encoding="utf-8"),
            flags=re.MULTILINE | re.DOTALL,
        )
        return [
            ("code", piece.partition("\n")[2].removesuffix("```"), [])
            if piece.startswith("```")
            else ("text", piece, [])
            for piece in pieces
        ]
    import nbformat

    parts, where = [], ""
    for cell in nbformat.read(page, as_version=4).cells:
        if found := re.match(r"## (Exercise|Check yourself|What you have now)", cell.source):
            where = {"Exercise": "exercise", "Check yourself": "question"}.get(found[1], "")
        tags = cell.metadata.get("tags", [])
        kind = where or ("folded" if "hide-cell" in tags else "code" if cell.cell_type == "code" else "text")
        source = "" if "hide-input" in tags else cell.source
        parts.append((kind, source, [output.get("data", {}) for output in cell.get("outputs", [])]))
    return parts


def _statements(code: str) -> int:
    """How many statements a piece of Python has; of anything else, how many lines, those that a \\ joins as one."""
    try:
        return sum(isinstance(node, ast.stmt) for node in ast.walk(ast.parse(code)))
    except SyntaxError:
        return sum(bool(line.strip()) for line in code.replace("\\\n", "").splitlines())
