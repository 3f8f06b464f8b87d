"""What a start is worth: random weights, photographs, speech. On new synthetic voices, and on people none of whose digits was heard."""

import os
import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from spokendigits import corpora
from spokendigits.augmentation import Augment
from spokendigits.classifier import Classifier, create
from spokendigits.clips import Clips, make_clips
from spokendigits.corpora.corpus import Corpus
from spokendigits.evaluation import difference, predict
from spokendigits.files import read_json, runs_folder
from spokendigits.frontend import LogMel
from spokendigits.pretrained import PHOTOGRAPHS
from spokendigits.recipe import Recipe
from spokendigits.runs import read_table, write_table
from spokendigits.splits import Split, split
from spokendigits.topics.explain import embeddings
from spokendigits.topics.heads import fit_head
from studies import results
from studies.real_voices import score_of_seeds
from studies.trainings import Trainings

SEEDS, STEPS, CLIPS = 5, (25, 50, 100), (60, 240, 960)
EQUAL = 100  # steps, where starts and numbers of clips are compared
FAST = Recipe.preset("fast").but(split="speaker", backbone=PHOTOGRAPHS)
SPEECH = Recipe.preset("speech").but(speakers=FAST.speakers, takes=FAST.takes)
STARTS = {
    "random": FAST.but(weights="none"),
    "photographs": FAST,
    "speech": SPEECH,
    # Frozen layers keep the averages that batch norm took of photographs: pictures have to be scaled as those were.
    "photographs, frozen": FAST.but(freeze=True, normalization="clip", learning_rate=0.01),
    "speech, all layers": SPEECH.but(freeze=False, learning_rate=0.001),
}
# Towards people: each row changes one thing of the row above it.
PEOPLE_SEEDS, PEOPLE_STEPS = 3, 400
HEARD = Recipe.preset("voices").but(corpus="synthetic", speakers=20, takes=6, backbone=PHOTOGRAPHS, batch_size=32, augment="none", mix_probability=0.0, epochs=1)  # fmt: skip
LADDER = {
    "twenty voices": HEARD,
    "hundreds of voices": HEARD.but(corpus="voices", speakers=None, takes=None),
    "and augmentation": HEARD.but(corpus="voices", speakers=None, takes=None, augment="all"),
    "and photographs": HEARD.but(corpus="voices", speakers=None, takes=None, augment="all", weights="auto"),
}
VIEWS, STRENGTH = (
    2,
    0.0005,
)  # augmented copies of each clip, and `fit_head`'s strength, chosen on FSDD's first three people


class Starts(Trainings):
    """Trainings of one number of steps each, whatever the number of clips."""

    def rows(self, recipe: Recipe, clips: int, seed: int) -> Split:
        """The fast lane's split by speakers, with so many of its clips to train on."""
        parts = split(self.corpus, recipe.split, recipe.folds, recipe.fold)
        return replace(parts, train=np.random.default_rng(seed).permutation(parts.train)[:clips])

    def run(self, name: str, recipe: Recipe, parts: Split, steps: int) -> pd.DataFrame:
        """How a training of so many steps, in one epoch, reads the validation part."""
        epoch = replace(parts, train=np.resize(parts.train, steps * recipe.batch_size))
        self.train(name, recipe.but(epochs=1), epoch)
        return read_table(self.folder / name)


def starts(folder: Path, progress: bool) -> dict:
    """The three starts by steps, and by clips at EQUAL steps; what one has more right than another; the regression."""
    tables: dict[tuple, pd.DataFrame] = {}
    wanted = [(start, steps, max(CLIPS)) for start in list(STARTS)[:3] for steps in STEPS]
    wanted += [(start, EQUAL, clips) for start in list(STARTS)[:3] for clips in CLIPS[:-1]]
    wanted += [(start, EQUAL, max(CLIPS)) for start in list(STARTS)[3:]]
    for start, steps, clips in wanted:
        recipe = STARTS[start]
        corpus = corpora.load(recipe.corpus, speakers=recipe.speakers, takes=recipe.takes, progress=progress)
        work = Starts(folder, corpus, make_clips(corpus, recipe, progress=progress), progress)
        for seed in range(SEEDS):
            name = f"{start.replace(', ', '-').replace(' ', '-')}-{steps}-{clips}-{seed}"
            tables[start, steps, clips, seed] = work.run(
                name, recipe.but(seed=seed), work.rows(recipe, clips, seed), steps
            )
    for clips in CLIPS:
        for seed in range(SEEDS):
            tables["regression", 0, clips, seed] = regression(seed, clips, progress)

    def seeds(*key) -> list[pd.DataFrame]:
        return [tables[*key, seed] for seed in range(SEEDS)]

    def pair(one: tuple, other: tuple) -> dict:
        """Clips of one seed are no other clips than those of the next: the interval counts speakers."""
        both = [
            pd.concat([table.assign(path=f"{seed}/" + table["path"]) for seed, table in enumerate(seeds(*key))])
            for key in (one, other)
        ]
        return difference(*both)

    most = max(CLIPS)
    return {
        "steps": {start: {str(n): score_of_seeds(seeds(start, n, most)) for n in STEPS} for start in list(STARTS)[:3]},
        "clips": {start: {str(n): score_of_seeds(seeds(start, EQUAL, n)) for n in CLIPS} for start in list(STARTS)[:3]}
        | {"regression": {str(n): score_of_seeds(seeds("regression", 0, n)) for n in CLIPS}},
        "layers": {start: score_of_seeds(seeds(start, EQUAL, most)) for start in list(STARTS)[1:]},
        "pairs": {
            f"{one} against {other}": pair((one, EQUAL, most), (other, EQUAL, most))
            for one, other in (
                ("photographs", "random"),
                ("speech", "photographs"),
                ("photographs", "photographs, frozen"),
            )
        }
        | {"photographs against regression": pair(("photographs", EQUAL, most), ("regression", 0, most))},
    }


def regression(seed: int, clips: int, progress: bool) -> pd.DataFrame:
    """The floor: a logistic regression on the fast lane's pictures, each pixel scaled."""
    corpus = corpora.load(FAST.corpus, speakers=FAST.speakers, takes=FAST.takes, progress=progress)
    held = make_clips(corpus, FAST, progress=progress)
    parts = Starts(Path(), corpus, held).rows(FAST, clips, seed)
    frontend, digit = LogMel(FAST), corpus.table["digit"].to_numpy()
    pictures = torch.cat(
        [frontend(torch.from_numpy(held.read(rows))) for rows in np.array_split(np.arange(len(corpus)), 20)]
    )
    pictures = pictures.flatten(1).numpy()
    fitted = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
    fitted.fit(pictures[parts.train], digit[parts.train])
    table = corpus.table.iloc[parts.validation].reset_index(drop=True)
    return table.assign(predicted=fitted.predict(pictures[parts.validation]))
