"""The book: staged apart from the checkout, built by jupyter-book with warnings as errors."""

import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml
from matplotlib.figure import Figure

from spokendigits.errors import CourseError
from spokendigits.files import atomic_folder, checkout, read_json
from spokendigits.plots import BLUE, GREY, describe, described, figure
from spokendigits.publish import words
from spokendigits.publish.runner import STATE

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
    source = checkout() or Path.cwd()
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


def build_run(folder: Path) -> Path:
    """Builds the book from a course run's executed notebooks; returns its first page."""
    print("book …", end=" ", flush=True)
    started = time.perf_counter()
    # A run of the full lane stands in its own book in place of the stored one.
    is_full = read_json(folder / STATE)["parameters"]["lane"] == "full"
    own = words.full(folder / "random") if is_full else None
    index = build(folder / "notebooks", folder / "book", words.fast(folder)["prose"], own)
    print(f"{time.perf_counter() - started:.0f} s", flush=True)
    return index


def pages(folder: Path | str) -> list[str]:
    """The pages that `folder`/_toc.yml lists, in order, without a suffix: `book/index`, `notebooks/01_data`, ..."""
    toc = yaml.safe_load((Path(folder) / "_toc.yml").read_text(encoding="utf-8"))
    chapters = [chapter["file"] for part in toc["parts"] for chapter in part["chapters"]]
    return [toc["root"], *chapters]


def _results(source: Path, results: dict[str, str] | None, full: dict | None) -> dict:
    """What the pages show: numbers for the prose, and the figure of the full run over the original experiment's.

    How long a notebook takes is its own word, whatever `results` say.
    """
    from spokendigits.publish import card

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
        "export": "small",
    }
    found = {what: stored(what, command) for what, command in commands.items()}
    measured = {name: text for one in found.values() for name, text in one["prose"].items()}
    measured |= card.prose(found["small"], found["export"])
    shown = draw_over_seed(full["curves"], seed["curves"], full["prose"]["full_corpus"])._repr_mimebundle_()
    made = results | minutes(source / "notebooks") | {"over_seed_alt": described(shown["text/plain"])[0]}
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
    from spokendigits.publish import say_a_digit

    shutil.copytree(source / "book", stage / "book", ignore=shutil.ignore_patterns("*.py", "__pycache__", ".*"))
    say_a_digit.stage(stage / "book" / "_static" / "say")
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


def draw_over_seed(ours: dict, seed: dict, label: str) -> Figure:
    """Our curves over the seed experiment's. Both: `loss` (means over `steps_averaged` steps), `validation_loss` and
    `validation_roc_auc` (one value an epoch)."""
    fig, axes = figure(9, 3.2, 1, 3)
    lines = ((seed, "the original, AudioMNIST", GREY, "--"), (ours, label, BLUE, "-"))
    for run, name, colour, style in lines:
        epochs = np.arange(1, len(run["validation_loss"]) + 1)
        done = np.linspace(0, len(epochs), len(run["loss"]) + 1)[1:]
        axes[0].plot(done, run["loss"], style, color=colour, linewidth=1, label=name)
        axes[1].plot(epochs, run["validation_loss"], style, marker="o", color=colour)
        # Distance from a perfect score. A perfect one has no place on a logarithmic axis: it stands at the bottom.
        missing = np.maximum(1 - np.array(run["validation_roc_auc"]), 1e-9)
        axes[2].plot(epochs, missing, style, marker="o", color=colour)
    for ax, title in zip(axes, ("training loss", "validation loss", "1 − validation ROC-AUC"), strict=True):
        ax.set(title=title, xlabel="epoch", yscale="log")
    fig.legend(loc="outside lower center", ncols=2)
    alt = (
        "Three charts on logarithmic axes, the original experiment dashed and this run solid: training loss, validation loss and "
        f"the distance of the ROC-AUC from 1, over {len(epochs)} epochs. The validation loss ends at "
        f"{seed['validation_loss'][-1]:.5f} in the original and at {ours['validation_loss'][-1]:.5f} here, "
        f"the ROC-AUC at {seed['validation_roc_auc'][-1]:.6f} and {ours['validation_roc_auc'][-1]:.6f}."
    )
    return describe(fig, alt, "Where the solid line lies below the dashed one, this run has the smaller loss or error.")
