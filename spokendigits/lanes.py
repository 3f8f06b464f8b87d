"""Lanes, fast and full; where a run lies and what its files are called; stored results; what made a number. Every notebook uses it."""

import json
import os
import re
import time
from pathlib import Path

from spokendigits import corpora
from spokendigits.corpora.corpus import Corpus
from spokendigits.errors import CourseError, check_names
from spokendigits.files import checkout, read_json, runs_folder, versions
from spokendigits.recipe import Recipe
from spokendigits.splits import split

LANES = {"fast": "fast", "full": "seed"}  # lane: preset of the recipe
LARGE = ("synthetic", "audiomnist")  # of these the fast lane takes the preset's part, of others `corpora.part_of`
MODEL, RUN = "model.safetensors", "run.json"  # what a training leaves: its weights, and what made them
# What every system takes for a folder's name, and no command for an option.
FOLDER = re.compile(r"(?!(con|prn|aux|nul|com\d|lpt\d)(\.|$))\w([\w .-]{0,98}[\w-])?", re.IGNORECASE)
SETTINGS = "SPOKENDIGITS_SET"  # the variable that carries them to the notebooks


def recipe(lane: str, corpus: str) -> Recipe:
    """The recipe of a lane for a corpus, with `settings`: `fast` takes minutes on a CPU, `full` is the seed's size."""
    check_names([lane], list(LANES), "unknown lane")
    preset = Recipe.preset(LANES[lane]).but(corpus=corpus)
    preset = preset if corpus in LARGE else preset.but(**corpora.part_of(corpus, lane == "fast"))
    return preset.but(**settings())


def settings() -> dict:
    """What `spokendigits run --set` changes in all notebooks."""
    given = os.environ.get(SETTINGS) or "{}"
    try:
        return {**json.loads(given)}
    except (ValueError, TypeError, RecursionError):
        raise CourseError(f"{SETTINGS}={given[:100]!r}: no settings in JSON. Unset it, or use --set.") from None


def honest_split(lane: str, corpus: Corpus) -> str:
    """The split with new voices on its other side: published folds where the full lane has some; of one speaker the random one."""
    known = "published" if lane == "full" and corpus.name in (*LARGE, "speech_commands") else "speaker"
    return known if len(corpus.speakers) > 1 else "random"


def fitted(used: Recipe, corpus: Corpus) -> Recipe:
    """The recipe for a corpus that may be small: no more folds than speakers, no batch larger than what there is to train on."""
    speakers = len(corpus.speakers)
    folds = min(used.folds, speakers) if speakers > 1 else used.folds
    used = used.but(folds=folds, fold=min(used.fold, folds - 1))
    parts = (split(corpus, how, folds, used.fold, used.seed) for how in {"random", honest_split("fast", corpus)})
    return used.but(batch_size=min(used.batch_size, *(len(part.train) for part in parts)))


def run_folder(run: str, lane: str, corpus: str) -> Path:
    """The folder of a run, `runs/<run>`; without a name, `runs/<lane>-<corpus>`."""
    name = re.sub(r"[^\w .-]+|[ .]$", "-", f"{lane}-{Path(corpus).name}")[:100]
    name = str(run or name)  # papermill hands over 20240105 as a number
    if not FOLDER.fullmatch(name):
        raise CourseError(f"run: {name[:100]!r} is no name for a folder. Use letters, digits, '-' and '_'.")
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
    lane = next((lane for lane in LANES if used == fitted(recipe(lane, used.corpus), corpus)), "own recipe")
    print(f"lane    : {lane}")
    print(f"corpus  : {corpus.label}, {len(corpus):,} clips, {corpus.source}")
    print(f"time    : {time.perf_counter() - started:.0f} s for this notebook")
    for folder in runs:
        made = read_json(folder / RUN, "seconds", "device", "precision", "weights", "recipe", "warning")
        print(
            f"training: {made['seconds']:.0f} s on {made['device']} ({made['precision']}), split {made['recipe']['split']}, "
            f"weights {made['weights']}"
        )
        if made["warning"]:
            print(f"          {made['warning']}")
    print("versions:", ", ".join(f"{name} {version}" for name, version in versions().items()))
