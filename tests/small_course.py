"""Small notebooks that stand in for the course's, with the _toc.yml that lists them."""

import base64
import io
from pathlib import Path

import matplotlib.pyplot as plt
import nbformat
import numpy as np
import pandas as pd
import yaml
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from spokendigits import listen

KERNEL = {"kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"}}
SOLUTION = "answer = sum(range(100))  # the whole trick\nassert answer == 4950, 'count from 0'"

ALT_TEXTS = (
    "Bars of the durations of five clips, all between 0.3 and 0.9 s.",
    "A line that rises from 0 to 1 in five steps.",
)
CAPTION = "Each bar is one clip, and a long bar is a long clip."


def contents(folder: Path, *names: str) -> None:
    """Writes a _toc.yml that lists notebooks/`name` for each name, after the front page."""
    chapters = [{"file": f"notebooks/{name}"} for name in names]
    toc = {"format": "jb-book", "root": "book/index", "parts": [{"caption": "The course", "chapters": chapters}]}
    (folder / "_toc.yml").write_text(yaml.safe_dump(toc, sort_keys=False))


def notebook(folder: Path, name: str, cells: list, **metadata) -> Path:
    """Writes a notebook of these cells; returns `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    nbformat.write(new_notebook(cells=cells, metadata=KERNEL | metadata), folder / f"{name}.ipynb")
    return folder


def with_exercise(folder: Path, *tags: str, name: str = "01_small") -> Path:
    """Writes a notebook with one exercise, its solution tagged with `tags`, and its _toc.yml; returns `folder`."""
    contents(folder.parent, name)
    cells = [
        new_markdown_cell("# A small notebook with [a term](../book/glossary.md)"),
        new_code_cell("x = 2", execution_count=1),
        new_code_cell("print(x + 1)", execution_count=2, outputs=[new_output("stream", text="3\n")]),
        new_markdown_cell("## Exercise 1 · A sum (2 minutes)\n\nAdd the numbers below 100."),
        new_code_cell("# your answer", metadata={"tags": ["exercise"]}),
        new_code_cell(SOLUTION, metadata={"tags": list(tags)}, execution_count=3),
        new_markdown_cell("## What you have now"),
        new_code_cell("assert x + 1 == 3"),
    ]
    return notebook(folder, name, cells)


def figure_output(text: str) -> nbformat.NotebookNode:
    """A figure as a notebook stores it, described by `text`."""
    fig, axes = plt.subplots(figsize=(5, 2))
    axes.plot(np.linspace(0, 1, 5))
    png = io.BytesIO()
    fig.savefig(png, dpi=60)
    plt.close(fig)
    return new_output("display_data", data={"image/png": base64.b64encode(png.getvalue()).decode(), "text/plain": text})


def more_cells() -> list[nbformat.NotebookNode]:
    """What the course's notebooks may show and do not all show today."""
    table = pd.DataFrame(np.random.default_rng(0).random((4, 14)), columns=[f"column {i}" for i in range(14)])
    tone = 0.1 * np.sin(np.arange(4000) / 5)
    sounds = listen.players([(tone, f"digit {digit}, synthetic") for digit in range(4)], 8000)
    bar = new_output("stream", name="stderr", text="clips: 100%|####| 4/4\n")
    return [
        new_markdown_cell(
            "## All sorts\n\nThe corpus is {{ corpus }}. What is a {term}`hop`? See {cite:t}`stevens1937mel`."
        ),
        new_code_cell("figure, another", outputs=[figure_output(f"{text}\n\n{CAPTION}") for text in ALT_TEXTS]),
        new_code_cell("table", outputs=[new_output("display_data", data={"text/html": table.to_html()})]),
        new_code_cell("players(clips)", outputs=[new_output("display_data", data={"text/html": sounds.data})]),
        new_code_cell("make_clips(corpus)", outputs=[bar]),
    ]
