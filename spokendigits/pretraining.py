"""`weights: synthetic`: a backbone that the course pretrains itself, on speech spoken by a program. It needs no hub."""

import hashlib
import json
from pathlib import Path

from spokendigits import training
from spokendigits.clips import make_clips
from spokendigits.corpora import espeak, synthetic
from spokendigits.devices import processes
from spokendigits.errors import CourseError
from spokendigits.files import data_folder, read_json, sha256
from spokendigits.recipe import PICTURE, Recipe
from spokendigits.splits import split

VERSION = 1  # raise it when the same settings would give weights of another meaning

# How the backbone is pretrained. 60 voices x 10 digits x 5 takes are 3,000 clips, and six voices are held out to see
# that it learned what is said, not who says it. Many voices with few takes: takes of one voice are nearly alike.
PRETRAINING = Recipe(
    corpus="synthetic",
    speakers=60,
    takes=5,
    weights="none",
    batch_size=32,
    epochs=5,
    learning_rate=0.001,
    loss="bce",
    split="speaker",
    folds=10,
    fold=9,
    seed=0,
)

# What the pretrained backbone must have in common with the one that starts from it: the pictures and the network.
# Everything else in a recipe is the business of the later training, and may change without a new pretraining.
COMMON = (*PICTURE, "backbone", "pool")

LOWEST = 0.5  # accuracy on held-out voices below which a pretraining has failed; guessing gives 0.1


def synthetic_backbone(recipe: Recipe, progress: bool = True) -> Path:
    """The weights of a classifier trained on synthetic speech with the recipe's frontend, clip length and backbone.

    Made on first use, in a training folder below `data/weights`, and found there later. It takes about as long as
    13,500 clips of the recipe's training (2,700 for 5 epochs): minutes on a CPU for a ResNet-50. `PRETRAINING` sets
    that. After Ctrl-C it goes on from the last whole epoch. A damaged file is made again.
    Raises CourseError for a recipe whose own corpus is the synthetic one, and when the pretraining learned too little.
    """
    if recipe.corpus == "synthetic":
        raise CourseError(
            "weights: a 'synthetic' backbone has heard the synthetic corpus already, validation clips among it, so its "
            "score there would mean nothing. Set weights to none or imagenet, or take another corpus."
        )
    own = PRETRAINING.but(**{name: getattr(recipe, name) for name in COMMON})
    folder = data_folder() / "weights" / f"synthetic-{_key(own)[:12]}"
    if not _whole(folder):
        _pretrain(own, folder, progress)
    accuracy = read_json(folder / "metrics.json")["accuracy"]
    if accuracy < LOWEST:
        raise CourseError(
            f"weights: the pretraining of {own.backbone} on synthetic speech recognised only {accuracy:.0%} of the "
            f"clips of voices held out, too little to start from ({folder}). Set weights to none or imagenet, or take another backbone."
        )
    return folder / training.MODEL


def _key(own: Recipe) -> str:
    # What made the speech, not its files: weights are still found when the corpus was deleted to make room.
    made_by = {"version": VERSION, "espeak": espeak.version(), "corpus": synthetic.RECIPE}
    return hashlib.sha256(json.dumps([made_by, own.to_dict()]).encode()).hexdigest()


def _whole(folder: Path) -> bool:
    path = folder / training.MODEL
    return training.finished(folder) and path.is_file() and sha256(path) == read_json(folder / training.RUN)["sha256"]


def _pretrain(own: Recipe, folder: Path, progress: bool) -> None:
    us = processes()
    if progress:
        us.print(
            f"weights: pretraining {own.backbone} on {own.speakers * own.takes * 10:,} synthetic clips for {own.epochs} "
            f"epochs, once. No hub is needed. The weights will be kept in {folder}.",
            flush=True,
        )
    # Started by `accelerate launch`, one process makes the files while the others wait. Then all of them train: a
    # training of one alone would wait for the others' gradients.
    with us.local_main_process_first():
        # Not the shared data folder's corpus: that may have other takes, or be of another espeak-ng than the key says.
        root = synthetic.fetch(takes=own.takes, seed=own.seed, progress=progress)
        corpus = synthetic.read(root).part(own.speakers, own.takes)
        clips = make_clips(corpus, own, progress=progress)
    parts = split(corpus, own.split, own.folds, own.fold, own.seed)
    training.train(own, corpus, clips, parts, folder, progress)
