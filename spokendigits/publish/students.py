"""Copies of the notebooks for students: the exercises without their solutions, and nothing run yet."""

from pathlib import Path

import nbformat

from spokendigits import __version__, lanes
from spokendigits.errors import CourseError
from spokendigits.files import atomic_folder

NOTE = f"""> **Student copy** of *Spoken digits* {__version__}. Solutions and outputs were left out.
> Run the cells from top to bottom with Shift+Enter. Write your answers where it says `# your answer`."""


def write(target: Path | str | None = None, source: Path | str | None = None) -> Path:
    """Writes a copy of every notebook into the folder `target` and returns it: all of them, or none.

    target: replaced as a whole (None: `_build/students` of the checkout). source: the folder of the notebooks (None: the
    checkout's). Raises CourseError that names the notebook when an exercise has no cell tagged `solution`: its solution
    would stand in the copy.
    """
    source = (lanes.repository() / "notebooks") if source is None else Path(source)
    target = source.parent / "_build" / "students" if target is None else Path(target)
    copies = {path.name: copy(path) for path in sorted(source.glob("[0-9][0-9]_*.ipynb"))}
    with atomic_folder(target) as folder:
        for name, notebook in copies.items():
            nbformat.write(notebook, folder / name)
    return target


def copy(path: Path) -> nbformat.NotebookNode:
    """The student copy of one notebook."""
    from nbconvert.preprocessors import ClearOutputPreprocessor, TagRemovePreprocessor

    notebook = nbformat.read(path, as_version=4)
    check(path.name, notebook)
    for preprocessor in (TagRemovePreprocessor(remove_cell_tags={"solution"}), ClearOutputPreprocessor()):
        notebook, _ = preprocessor.preprocess(notebook, {})
    # The same id each time, so that two copies of one notebook are equal.
    notebook.cells.insert(0, nbformat.v4.new_markdown_cell(NOTE, id="student-copy"))
    return notebook


def check(name: str, notebook: nbformat.NotebookNode) -> None:
    """CourseError unless every exercise has a solution that is tagged as one, before the next heading."""
    waiting = ""
    for cell in [*notebook.cells, nbformat.v4.new_markdown_cell("## The end")]:
        tags = cell.metadata.get("tags", [])
        if "solution" in tags:
            waiting = ""
        elif cell.cell_type == "markdown" and cell.source.startswith("## "):
            if waiting:
                raise CourseError(f"{name}: {waiting}: no cell below it is tagged `solution`. Tag it, then try again.")
            waiting = cell.source.splitlines()[0].removeprefix("## ") if cell.source.startswith("## Exercise") else ""
