"""The book (`spokendigits book`): staged apart from the checkout, built by jupyter-book with warnings as errors."""

import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import nbformat
import numpy as np
import yaml
from matplotlib.figure import Figure

from spokendigits import __version__, lanes
from spokendigits.errors import CourseError
from spokendigits.files import atomic_folder, checkout, read_json
from spokendigits.plots import BLUE, GREY, describe, described, figure
from spokendigits.publish import card, npm, runner, say_a_digit, words
from spokendigits.publish.runner import STATE, pages

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

    `notebooks` is a folder that holds the executed notebooks; nothing is executed here. The pages go to
    `target`/html, which is replaced only when the new book is whole. `results` gives the prose its numbers: a flat
    dict of strings, shown where a page says `{{ name }}` (None: "prose" in book/results/fast.json). `full` is what a run
    of the full lane found, as `words.full` gives it (None: book/results/full.json).
    Raises CourseError with jupyter-book's own warnings: one is enough to fail.
    """
    source = checkout() or Path.cwd()
    if not (source / "_config.yml").is_file() or not (source / "book").is_dir():
        raise CourseError(f"{source}: no _config.yml and book/ here. Build the book from a checkout of the repository.")
    with tempfile.TemporaryDirectory(prefix="spokendigits-book-") as folder:
        stage = Path(folder).resolve()
        prose = words.prose() | (full or {}).get("prose", {}) | (results or {}) | minutes(source / "notebooks")
        chart = draw_over_seed(
            (full or words.stored("full"))["curves"], lanes.stored("seed")["curves"], prose["full_corpus"]
        )
        shown = chart._repr_mimebundle_()
        _stage(source, Path(notebooks), stage, prose | {"over_seed_alt": described(shown["text/plain"])[0]})
        (stage / "book" / "figures" / "over_seed.png").write_bytes(shown["image/png"])
        run_jupyter_book(stage)
        built = stage / "_build" / "html"
        missing = [page for page in pages(stage) if not (built / f"{page}.html").is_file()]
        if missing:  # builds have been green with no page at all
            raise CourseError(f"The book lacks the page(s) {', '.join(missing)}, though jupyter-book reported success.")
        html = Path(target) / "html"
        with atomic_folder(html) as temporary:
            shutil.copytree(built, temporary, dirs_exist_ok=True)
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


def minutes(notebooks: Path) -> dict[str, str]:
    """The minutes that each notebook says in its opening cell, to read and run it and for its exercises: `minutes_01_data`, `exercises_01_data`, ..."""
    stated = {}
    for path in runner.notebooks(notebooks):
        said = TIME.search(runner.read(path).cells[0].source)
        if not said:
            raise CourseError(
                f"{path.name}: its first cell does not say `**Time** 30 minutes to read, 20 more for the exercises.`"
            )
        stated |= {f"minutes_{path.stem}": said[1], f"exercises_{path.stem}": said[2]}
    return stated


def _stage(source: Path, notebooks: Path, stage: Path, prose: dict[str, str]) -> None:
    """Copies what the book is made of, and nothing else, into `stage`."""
    shutil.copytree(source / "book", stage / "book", ignore=shutil.ignore_patterns("*.py", "__pycache__", ".*"))
    static, moving = stage / "book" / "_static", stage / "book" / "moving"
    read = [*static.glob("*.flac"), *moving.glob("*.*"), *(stage / "book" / "results").glob("strangers.json")]
    say_a_digit.stage(static / "say", files=read)
    for package in (npm.D3, npm.PLOT):
        package.copy(static / "moving")
    shutil.copy(source / "_toc.yml", stage)
    config = yaml.safe_load((source / "_config.yml").read_text(encoding="utf-8"))
    config["parse"]["myst_substitutions"] = prose
    # The buttons open a release: its notebooks install its package, whatever the branch holds by now.
    config["repository"]["branch"] = f"v{__version__}"
    (stage / "_config.yml").write_text(yaml.safe_dump(config, allow_unicode=True), encoding="utf-8")
    own_model = card.of_course(*map(words.stored, ("small", "export", "strangers")))
    (stage / "book" / "model_card.md").write_text(card.render(own_model), encoding="utf-8")
    for page in (stage / "book").glob("*.md"):
        # Sphinx puts no numbers into the options of a directive, and alt texts have some.
        text = page.read_text(encoding="utf-8")
        text = re.sub(r"(?<=:alt: )\{\{ (\w+) \}\}", lambda name: prose[name[1]], text)
        page.write_text(text, encoding="utf-8")
    (stage / "notebooks").mkdir()
    for path in runner.notebooks(notebooks, pages(stage)):
        notebook = runner.read(path)
        for cell in notebook.cells:  # folded ones get a button that says what is in them
            for tag in FOLDED.keys() & cell.metadata.get("tags", []):
                buttons = {"code_prompt_show": f"Show {FOLDED[tag]}", "code_prompt_hide": f"Hide {FOLDED[tag]}"}
                cell.metadata["mystnb"] = buttons | cell.metadata.get("mystnb", {})
        nbformat.write(notebook, stage / "notebooks" / path.name)


def run_jupyter_book(stage: Path) -> None:
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
