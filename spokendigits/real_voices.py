"""From synthetic speech to people: how well FSDD's six speakers are read after none, a little, and much human speech."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from spokendigits import corpora, course
from spokendigits.classifier import Classifier
from spokendigits.clips import make_clips
from spokendigits.evaluation import PROBABILITIES, accuracy, interval, predict, recall_by
from spokendigits.files import read_json, runs_folder, versions, write_json
from spokendigits.recipe import Recipe
from spokendigits.splits import Split, split, subset
from spokendigits.training import MODEL, train_or_load

# FSDD ends at 4 kHz, so the pictures do. The clips keep what lies above: a longer vocal tract moves it down.
SYNTHETIC = Recipe(
    corpus="voices",
    sample_rate=16_000,
    window=512,
    hop=256,
    n_mels=48,
    f_min=60.0,
    f_max=4_000.0,
    mel_scale="htk",
    top_db=60.0,
    normalization="clip",
    backbone="resnet18.a1_in1k",
    weights="none",
    dropout=0.2,
    augment="all",
    mix_probability=0.3,
    mix_concentration=0.4,
    loss="cross_entropy",
    batch_size=64,
    epochs=15,
    learning_rate=0.0015,
    warmup_epochs=0.25,
    weight_decay=0.02,
    gradient_clip=2.0,
    split="speaker",
    folds=20,
    fold=0,
)
HUMAN = SYNTHETIC.but(corpus="fsdd", epochs=12, learning_rate=0.0007, split="one_speaker")
FIRST = 2  # epochs
READ = 0.3  # mean probability of what was said
SPEAKERS = (1, 2, 5)  # in training, when the sixth is held out


def study(folder: Path | None = None, progress: bool = True) -> dict:
    """Trains on synthetic voices, then on FSDD's people in all the ways that the chapter compares; returns what was found.

    Every training has a folder of its own in `folder` (default: `runs/real-voices`) and is not repeated when it is
    there. On two CPU cores all of it takes about two hours.
    """
    folder = folder or runs_folder() / "real-voices"
    start = pretrained(folder / "synthetic", progress)
    people = corpora.load("fsdd", progress=progress)
    clips = make_clips(people, HUMAN, progress=progress)
    every = np.arange(len(people))
    found = {"no_human_data": score(predict(Classifier.load(start), clips, people, every, progress=progress))}

    def trained(name: str, recipe: Recipe, parts: Split) -> pd.DataFrame:
        model = train_or_load(recipe, people, clips, parts, folder / name, progress)
        return predict(model, clips, people, parts.validation, progress=False)

    for weights, label in ((str(start), "synthetic"), ("none", "none")):
        for count in SPEAKERS:
            tables = []
            for fold in range(len(people.speakers)):
                parts = subset(split(people, "one_speaker", fold=fold), people, speakers=count, seed=fold)
                # Fewer speakers are heard more often, so that all take the same number of steps.
                epochs = HUMAN.epochs * SPEAKERS[-1] // count
                recipe = HUMAN.but(weights=weights, fold=fold, epochs=epochs)
                tables.append(trained(f"{label}-{count}-{fold}", recipe, parts))
            found[f"{label}_{count}"] = score(pd.concat(tables, ignore_index=True))
    official = HUMAN.but(weights=str(start), split="published")
    found["official_split"] = score(trained("official", official, split(people, "published")))
    return {
        **found,
        "loso_mean": found["synthetic_5"],
        "loso_worst": min(found["synthetic_5"]["speakers"].values()),
        "made": {
            "pretraining": read_json(start.with_name("run.json")),
            "human": HUMAN.to_dict(),
            "versions": versions(),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    }


def pretrained(folder: Path, progress: bool = True) -> Path:
    """The weights of a classifier trained on the corpus `voices` alone, made on first use in `folder`.

    Some voices cannot say some digits. So a first, short training marks the digits of a voice that it cannot read even
    though it trained on them, and the second goes without those.
    """
    corpus = corpora.load(SYNTHETIC.corpus, progress=progress)
    clips = make_clips(corpus, SYNTHETIC, progress=progress)
    parts = split(corpus, SYNTHETIC.split, SYNTHETIC.folds, SYNTHETIC.fold, SYNTHETIC.seed)
    first = train_or_load(
        SYNTHETIC.but(epochs=FIRST), corpus, clips, parts, folder.with_name(f"{folder.name}-first"), progress
    )
    table = predict(first, clips, corpus, parts.train, progress=progress)
    parts = replace(parts, train=parts.train[understood(table)])
    train_or_load(SYNTHETIC, corpus, clips, parts, folder, progress)
    return folder / MODEL


def understood(table: pd.DataFrame) -> np.ndarray:
    """Which rows of a predictions table are of a speaker and digit that are read at all: bool [rows]."""
    right = pd.Series(table[PROBABILITIES].to_numpy()[np.arange(len(table)), table["digit"]])
    return (right.groupby([table["speaker"], table["digit"]]).transform("mean") > READ).to_numpy()


def score(table: pd.DataFrame) -> dict:
    """Accuracy with its interval over speakers, and each speaker's own."""
    low, high = interval(table)
    speakers = recall_by(table, "speaker")["recall"]
    return {
        "accuracy": accuracy(table),
        "low": low,
        "high": high,
        "clips": len(table),
        "speakers": {name: float(recall) for name, recall in speakers.sort_index().items()},
    }


def store() -> None:
    """Makes `book/results/fsdd.json` (`make real`)."""
    write_json(course.notebooks_folder().parent / "book" / "results" / "fsdd.json", study())
