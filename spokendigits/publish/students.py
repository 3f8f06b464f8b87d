"""Copies of the notebooks for students: exercises without their solutions, and nothing run yet (`spokendigits students`)."""

import os
from pathlib import Path

import nbformat

from spokendigits import __version__, lanes
from spokendigits.errors import CourseError
from spokendigits.files import atomic_folder
from spokendigits.publish.runner import notebooks, read

NOTE = f"""> **Student copy** of *Spoken digits* {__version__}. Solutions and outputs were left out.
> Run the cells from top to bottom with Shift+Enter. Write your answers where it says `# your answer`."""


def write(target: Path | str | None = None, source: Path | str | None = None, pages: str | None = None) -> Path:
    """Writes a copy of every notebook into the folder `target` and returns it: all of them, or none.

    target: replaced as a whole (None: `_build/students` of the checkout). source: the folder of the notebooks (None: the
    checkout's). pages: the folder of the book's pages as seen from the copies, where these are to be moved. Raises
    CourseError that names the notebook when an exercise has no cell tagged `solution`: its solution would stand in the copy.
    """
    source = Path(source or lanes.repository() / "notebooks")
    target = Path(target or source.parent / "_build" / "students")
    copies = {path.name: copy(path) for path in notebooks(source)}
    # In the checkout the pages lie elsewhere than seen from the notebooks.
    if pages is None and target.is_relative_to(source.parent):
        pages = Path(os.path.relpath(source.parent / "book", target)).as_posix()
    for cell in (cell for one in copies.values() for cell in one.cells if pages):
        cell.source = cell.source.replace("](../book/", f"]({pages}/")
    with atomic_folder(target) as folder:
        for name, notebook in copies.items():
            nbformat.write(notebook, folder / name)
    return target


def copy(path: Path) -> nbformat.NotebookNode:
    """The student copy of one notebook."""
    from nbconvert.preprocessors import ClearOutputPreprocessor, TagRemovePreprocessor

    notebook = read(path)
    unsolved = ""
    for cell in [*notebook.cells, nbformat.v4.new_markdown_cell("## The end")]:
        if cell.cell_type == "code" and "solution" in cell.metadata.get("tags", []):
            unsolved = ""
        elif cell.cell_type == "markdown" and cell.source.startswith("## "):
            if unsolved:
                raise CourseError(
                    f"{path.name}: {unsolved}: no cell below it is tagged `solution`. Tag it, then try again."
                )
            heading = cell.source.splitlines()[0].removeprefix("## ")
            unsolved = heading if heading.startswith("Exercise") else ""
    for preprocessor in (TagRemovePreprocessor(remove_cell_tags={"solution"}), ClearOutputPreprocessor()):
        notebook, _ = preprocessor.preprocess(notebook, {})
    # The same id each time, so that two copies of one notebook are equal.
    notebook.cells.insert(0, nbformat.v4.new_markdown_cell(NOTE, id="student-copy"))
    return notebook
