"""The book: staged apart from the checkout, built by jupyter-book with warnings as errors.

This module is also the book's own small Sphinx extension (`setup`, below).
"""

import ast
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

from spokendigits.errors import CourseError
from spokendigits.files import atomic_folder, read_json

SHORTEST_ALT_TEXT = 20  # characters: shorter is a label, not a description
SENTENCE = re.compile(r"[A-Z](?:\S* ){5,}\S*[.!?]")  # of six words or more: less is a label, not a caption
TIME = re.compile(r"\*\*Time\*\* (\d+) minutes[^.\n]*?(\d+) more for the exercises")
# The tag of a cell that is folded away, or of one whose code is: what the button calls it.
FOLDED = {
    "solution": "the solution",
    "bootstrap": "the setup for Colab",
    "setup": "the imports, and what loads the data",
    "check": "the check of this result",
    "behind": "the code behind this output",
}


def build(
    notebooks: Path | str, target: Path | str, results: dict[str, str] | None = None, full: dict | None = None
) -> Path:
    """Builds the book from executed notebooks and returns the path of its first page.

    `notebooks` is a folder that holds the five executed notebooks; nothing is executed here. The pages go to
    `target`/html, which is replaced only when the new book is whole. `results` gives the prose its numbers: a flat
    dict of strings, shown where a page says `{{ name }}` (None: "prose" in book/results/fast.json). `full` is what a run
    of the full lane found, as `full.results` gives it (None: book/results/full.json).
    Raises CourseError with jupyter-book's own warnings: one is enough to fail.
    """
    source = Path(__file__).resolve().parent.parent
    if not (source / "_config.yml").is_file() or not (source / "book").is_dir():
        raise CourseError(f"{source}: no _config.yml and book/ here. Build the book from a checkout of the repository.")
    with tempfile.TemporaryDirectory(prefix="spokendigits-book-") as folder:
        stage = Path(folder).resolve()
        _stage(source, Path(notebooks), stage, _results(source, results, full))
        _run_jupyter_book(stage)
        made = stage / "_build" / "html"
        missing = [page for page in pages(stage) if not (made / f"{page}.html").is_file()]
        if missing:  # builds have been green with no page at all
            raise CourseError(f"The book lacks the page(s) {', '.join(missing)}, though jupyter-book reported success.")
        html = Path(target) / "html"
        with atomic_folder(html) as temporary:
            shutil.copytree(made, temporary, dirs_exist_ok=True)
    return html / "index.html"


def pages(folder: Path | str) -> list[str]:
    """The pages that `folder`/_toc.yml lists, in order, without a suffix: `book/index`, `notebooks/01_data`, ..."""
    toc = yaml.safe_load((Path(folder) / "_toc.yml").read_text(encoding="utf-8"))
    chapters = [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    return [toc["root"], *chapters]


def _results(source: Path, results: dict[str, str] | None, full: dict | None) -> dict:
    """What the pages show: numbers for the prose, and the figure of the full run over the original experiment's.

    How long a notebook takes is its own word, whatever `results` say.
    """
    from spokendigits import card, plots

    def stored(name: str, command: str) -> dict:
        path = source / "book" / "results" / f"{name}.json"
        if not path.is_file():
            raise CourseError(f"{path}: missing, so pages have no numbers to show. Run `make {command}`.")
        return read_json(path)

    results = results or stored("fast", "outputs")["prose"]
    full = full or stored("full", "full")
    seed, others = (read_json(source / "book" / "results" / f"{name}.json") for name in ("seed", "published"))
    commands = {
        "bench": "bench",
        "synthetic": "synthetic",
        "fsdd": "real",
        "seat": "seat",
        "small": "small",
        "export": "export",
    }
    found = {what: stored(what, command) for what, command in commands.items()}
    measured = {name: text for one in found.values() for name, text in one["prose"].items()}
    measured |= card.prose(found["small"], found["export"])
    shown = plots.over_seed(full["curves"], seed["curves"], full["prose"]["full_corpus"])._repr_mimebundle_()
    made = results | minutes(source / "notebooks") | {"over_seed_alt": plots.described(shown["text/plain"])[0]}
    prose = seed["prose"] | others["prose"] | full["prose"] | measured | made
    return {"prose": prose, "figures": {"over_seed": shown["image/png"]}}


def minutes(notebooks: Path) -> dict[str, str]:
    """The minutes that each notebook says in its opening cell, to read and run it and for its exercises: `minutes_01_data`, `exercises_01_data`, ..."""
    import nbformat

    found = {}
    for path in sorted(notebooks.glob("[0-9][0-9]_*.ipynb")):
        said = TIME.search(nbformat.read(path, as_version=4).cells[0].source)
        if not said:
            raise CourseError(
                f"{path.name}: its first cell does not say `**Time** 30 minutes to read, 20 more for the exercises.`"
            )
        found |= {f"minutes_{path.stem}": said[1], f"exercises_{path.stem}": said[2]}
    return found


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


def _stage(source: Path, notebooks: Path, stage: Path, results: dict) -> None:
    """Copies what the book is made of, and nothing else, into `stage`."""
    from spokendigits import demo

    shutil.copytree(source / "book", stage / "book", ignore=shutil.ignore_patterns("*.py", "__pycache__", ".*"))
    demo.stage(stage / "book" / "_static" / "say")
    shutil.copy(source / "_toc.yml", stage)
    config = yaml.safe_load((source / "_config.yml").read_text(encoding="utf-8"))
    config["parse"]["myst_substitutions"] = results["prose"]
    (stage / "_config.yml").write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    for name, picture in results["figures"].items():
        (stage / "book" / "figures" / f"{name}.png").write_bytes(picture)
    for page in (stage / "book").glob("*.md"):
        # Sphinx puts no numbers into the options of a directive, and alt texts have some.
        text = page.read_text(encoding="utf-8")
        text = re.sub(r"(?<=:alt: )\{\{ (\w+) \}\}", lambda found: results["prose"][found[1]], text)
        page.write_text(text, encoding="utf-8")
    (stage / "notebooks").mkdir()
    for page in pages(stage):
        if page.startswith("notebooks/"):
            notebook = notebooks / f"{page.removeprefix('notebooks/')}.ipynb"
            if not notebook.is_file():
                raise CourseError(f"{notebook}: missing, and _toc.yml lists it. Run the notebooks: `spokendigits run`.")
            _stage_notebook(notebook, stage / "notebooks" / notebook.name)


def _stage_notebook(source: Path, target: Path) -> None:
    """Copies an executed notebook, its folded cells with a button that says what is in them."""
    import nbformat

    notebook = nbformat.read(source, as_version=4)
    for cell in notebook.cells:
        for what in FOLDED.keys() & cell.metadata.get("tags", []):
            words = {"code_prompt_show": f"Show {FOLDED[what]}", "code_prompt_hide": f"Hide {FOLDED[what]}"}
            cell.metadata["mystnb"] = words | cell.metadata.get("mystnb", {})
    nbformat.write(notebook, target)


def _run_jupyter_book(stage: Path) -> None:
    """Runs jupyter-book on `stage` in a process of its own: Sphinx changes the logging of the one it runs in."""
    entry = "from jupyter_book.cli.main import main; main()"
    options = ["--path-output", str(stage), "-W", "-n", "--keep-going"]
    command = [sys.executable, "-c", entry, "build", str(stage), *options]
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "encoding": "utf-8", "errors": "replace"}
    done = subprocess.run(command, cwd=stage, check=False, **pipe)
    output = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout).replace(f"{stage}/", "")
    warnings = [line.strip() for line in output.splitlines() if re.search(r"\b(WARNING|ERROR|CRITICAL)\b", line)]
    if done.returncode or warnings:
        said = warnings or output.strip().splitlines()[-10:]
        raise CourseError("The book was not built: mend what jupyter-book says, then build again.\n" + "\n".join(said))


def setup(app) -> dict:
    """Registers the extension with Sphinx (named under `extra_extensions` in _config.yml)."""
    app.connect("doctree-read", _describe_figures)
    app.connect("doctree-read", _anchor_terms)
    app.connect("html-page-context", _add_demo)
    # Later than the theme, which makes its launch buttons at 501.
    app.connect("html-page-context", _add_lab_button, priority=502)
    app.connect("html-page-context", _drop_thebe, priority=502)
    app.connect("html-page-context", _drop_list_role)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _describe_figures(app, doctree) -> None:
    """Gives every figure among the outputs its own alt text and its own caption; refuses a caption that is only a label.

    The course's figures carry both as their plain text, beside the picture (`plots.describe`). myst-nb knows one alt text a
    cell, taken from the cell's metadata, and a cell may show several figures.
    """
    from docutils import nodes
    from sphinx.util import logging

    from spokendigits.plots import described

    def warn(message: str, place) -> None:
        logging.getLogger(__name__).warning(message, location=place)

    place = 1
    for bundle in doctree.findall(nodes.container):
        if bundle.get("nb_element") != "mime_bundle":
            continue
        plain = [part.astext() for part in bundle.children if part.get("mime_type") == "text/plain"]
        alt, caption = described("".join(plain))
        for image in list(bundle.findall(nodes.image)):
            if len(alt) < SHORTEST_ALT_TEXT or alt.startswith("<"):
                warn(
                    f"a figure among the outputs has no description, only {alt!r}. Give its plain text one sentence.",
                    bundle,
                )
            image["alt"] = alt
            if caption:
                figure = nodes.figure("", align="default", ids=[f"output-figure-{place}"])
                place += 1
                image.replace_self(figure)
                figure += [image, nodes.caption("", caption)]
    for figure in doctree.findall(nodes.figure):
        caption = " ".join(part.astext() for part in figure.findall(nodes.caption))
        if not SENTENCE.fullmatch(" ".join(caption.split())):
            warn(f"a figure has no sentence below it, only {caption!r}. Say how to read it (`plots.describe`).", figure)


def _anchor_terms(app, doctree) -> None:
    """Lets a plain link lead to a term of the glossary or to a reference: `[hop](../book/glossary.md#term-hop)`.

    A notebook has no other kind of link that JupyterLab shows as one. Of a page's anchors MyST knows only the headings, and
    warns of all others; so a link to a term that is not there still stops the build.
    """
    from docutils import nodes

    page = app.env.docname
    anchors = {name: (term.line, name, term.astext()) for term in doctree.findall(nodes.term) for name in term["ids"]}
    for key, bibliography in app.env.get_domain("cite").bibliographies.items():
        if key.docname == page:
            anchors |= {
                node["ids"][0]: (None, node["ids"][0], name) for name, node in bibliography.citation_nodes.items()
            }
    app.env.metadata[page].setdefault("myst_slugs", {}).update(anchors)


def _add_lab_button(app, pagename, templatename, context, doctree) -> None:
    """Adds JupyterLab, as `make lab` starts it, to the launch buttons of a notebook's page."""
    for group in context.get("header_buttons", []):
        if group.get("label") == "launch-buttons":
            group["buttons"].append(
                {
                    "type": "link",
                    "text": "JupyterLab",
                    "tooltip": "Open in JupyterLab on this computer, once `make lab` has started it",
                    "icon": "fas fa-flask",
                    # `make lab` serves the whole checkout at the usual port, so that links to other pages lead somewhere.
                    "url": f"http://localhost:8888/lab/tree/{pagename}.ipynb",
                }
            )


def _add_demo(app, pagename, templatename, context, doctree) -> None:
    """Gives the page "Say a digit", and no other, its scripts and its style."""
    if pagename == "book/say_a_digit":
        app.add_css_file("say/say.css")
        for script in ("say/built.js", "say/say.js"):
            app.add_js_file(script, loading_method="defer")


def _drop_thebe(app, pagename, templatename, context, doctree) -> None:
    """Drops the scripts of thebe, which jupyter-book always adds: unused here, and they name another host."""
    for kind in ("script_files", "css_files"):
        context[kind] = [file for file in context.get(kind, []) if "thebe" not in f"{file} {vars(file)}".lower()]


def _drop_list_role(app, pagename, templatename, context, doctree) -> None:
    """Takes the role "list" from the references: their items have another role, so a screen reader would find it empty."""
    if "body" in context:
        context["body"] = context["body"].replace(
            '<div role="list" class="citation-list">', '<div class="citation-list">'
        )
