"""Lanes, fast and full; where a run lies and what its files are called; stored results; what made a number. Every notebook uses it."""

import time
from pathlib import Path

from spokendigits import corpora
from spokendigits.corpora.corpus import Corpus
from spokendigits.errors import CourseError, check_names
from spokendigits.files import checkout, read_json, runs_folder, versions
from spokendigits.recipe import Recipe

LANES = {"fast": "fast", "full": "seed"}  # lane: preset of the recipe
LARGE = ("synthetic", "audiomnist")  # of these the fast lane takes the preset's part, of others `corpora.part_of`
MODEL, RUN = "model.safetensors", "run.json"  # what a training leaves: its weights, and what made them


def recipe(lane: str, corpus: str) -> Recipe:
    """The recipe of a lane for a corpus: `fast` takes minutes on a CPU, `full` is the seed experiment's size."""
    check_names([lane], list(LANES), "unknown lane")
    preset = Recipe.preset(LANES[lane]).but(corpus=corpus)
    return preset if corpus in LARGE else preset.but(**corpora.part_of(corpus, lane == "fast"))


def honest_split(lane: str, corpus: str) -> str:
    """The split with new voices on its other side: the published folds where there are some and the lane is full."""
    return "published" if lane == "full" and corpus in LARGE else "speaker"


def run_folder(run: str, lane: str, corpus: str) -> Path:
    """The folder of a run, `runs/<run>`; without a name, `runs/<lane>-<corpus>`."""
    name = str(run or f"{lane}-{Path(corpus).name}")  # papermill hands over 20240105 as a number
    if Path(name).name != name or name in (".", ".."):
        raise CourseError(f"run: {name!r} is no name for a folder. Use letters, digits, '-' and '_'.")
    return runs_folder() / name


def repository() -> Path:
    """The checkout; CourseError where only the package is installed."""
    if folder := checkout():
        return folder
    raise CourseError("the notebooks are not here: clone the course's repository and run this inside it.")


def stored(name: str) -> dict:
    """The results that the book shows: what is in `book/results` by this name, such as fast, full, fsdd or seed.

    Each says what made it. They come with the package, so that notebooks find them on Colab, too.
    """
    return read_json(shipped(f"results/{name}.json"))


def shipped(name: str) -> Path:
    """A file of the checkout's `book`, or its copy in the installed package: `results/fast.json`, `model_card.md`."""
    package = Path(__file__).resolve().parent
    folder = package.parent / "book"
    return (folder if folder.is_dir() else package / "shipped") / name


def made_by(used: Recipe, corpus: Corpus, started: float, *runs: Path) -> None:
    """Prints what made a notebook's numbers: corpus, device, seconds since `started` (`time.perf_counter`), versions."""
    lane = next((lane for lane in LANES if used == recipe(lane, used.corpus)), "own recipe")
    print(f"lane    : {lane}")
    print(f"corpus  : {corpus.label}, {len(corpus):,} clips, {corpus.source}")
    print(f"time    : {time.perf_counter() - started:.0f} s for this notebook")
    for folder in runs:
        made = read_json(folder / RUN)
        print(
            f"training: {made['seconds']:.0f} s on {made['device']} ({made['precision']}), split {made['recipe']['split']}, "
            f"weights {made['weights']}"
        )
        if made["warning"]:
            print(f"          {made['warning']}")
    print("versions:", ", ".join(f"{name} {version}" for name, version in versions().items()))
