"""The book: staged apart from the checkout, built by jupyter-book with warnings as errors.

This module is also the book's own small Sphinx extension (`setup`, below).
"""

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
TIME = re.compile(r"\*\*Time\*\* (\d+) minutes[^.\n]*?(\d+) more for the exercises")
FOLDED = {"solution": "the solution", "bootstrap": "the setup for Colab"}  # tag of a cell that is folded away: its name


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
    from spokendigits import plots

    def stored(name: str, command: str) -> dict:
        path = source / "book" / "results" / f"{name}.json"
        if not path.is_file():
            raise CourseError(f"{path}: missing, so pages have no numbers to show. Run `make {command}`.")
        return read_json(path)

    results = results or stored("fast", "outputs")["prose"]
    full = full or stored("full", "full")
    seed, others = (read_json(source / "book" / "results" / f"{name}.json") for name in ("seed", "published"))
    measured = {
        name: text
        for what, command in (("bench", "bench"), ("synthetic", "synthetic"), ("fsdd", "real"))
        for name, text in stored(what, command)["prose"].items()
    }
    shown = plots.over_seed(full["curves"], seed["curves"], full["prose"]["full_corpus"])._repr_mimebundle_()
    made = results | minutes(source / "notebooks") | {"over_seed_alt": shown["text/plain"]}
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


def _stage(source: Path, notebooks: Path, stage: Path, results: dict) -> None:
    """Copies what the book is made of, and nothing else, into `stage`."""
    shutil.copytree(source / "book", stage / "book", ignore=shutil.ignore_patterns("*.py", "__pycache__", ".*"))
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
    app.connect("doctree-read", _set_alt_texts)
    # Later than the theme, which makes its launch buttons at 501.
    app.connect("html-page-context", _add_lab_button, priority=502)
    app.connect("html-page-context", _drop_thebe, priority=502)
    app.connect("html-page-context", _drop_list_role)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _set_alt_texts(app, doctree) -> None:
    """Gives every figure among the outputs its own alt text.

    The course's figures carry it as their plain text, beside the picture. myst-nb knows one alt text a cell, taken from
    the cell's metadata, and a cell may show several figures.
    """
    from docutils import nodes
    from sphinx.util import logging

    for bundle in doctree.findall(nodes.container):
        if bundle.get("nb_element") != "mime_bundle":
            continue
        plain = [part.astext() for part in bundle.children if part.get("mime_type") == "text/plain"]
        alt = " ".join(" ".join(plain).split()).strip("'\"")
        for image in bundle.findall(nodes.image):
            if len(alt) < SHORTEST_ALT_TEXT or alt.startswith("<"):
                message = (
                    f"a figure among the outputs has no description, only {alt!r}. Give its plain text one sentence."
                )
                logging.getLogger(__name__).warning(message, location=bundle)
            image["alt"] = alt


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
                    # `make lab` serves the folder notebooks/ at the usual port.
                    "url": f"http://localhost:8888/lab/tree/{Path(pagename).name}.ipynb",
                }
            )


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
