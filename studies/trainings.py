"""Trainings by name: what the studies of real and of new voices and of the small network do with one set of clips."""

from pathlib import Path

import numpy as np
import pandas as pd

from spokendigits.classifier import Classifier
from spokendigits.clips import Clips
from spokendigits.corpora.corpus import Corpus
from spokendigits.evaluation import predict
from spokendigits.files import read_json
from spokendigits.lanes import MODEL, RUN
from spokendigits.recipe import Recipe
from spokendigits.splits import Split
from spokendigits.training import train_or_load


class Trainings:
    """A corpus, its clips, and a folder with one folder for each training: none is repeated when it is there."""

    def __init__(self, folder: Path, corpus: Corpus, clips: Clips, progress: bool = True):
        self.folder, self.corpus, self.clips, self.progress = folder, corpus, clips, progress

    def train(self, name: str, recipe: Recipe, parts: Split, teacher: Classifier | None = None) -> Classifier:
        """The classifier of the training called `name`."""
        return train_or_load(recipe, self.corpus, self.clips, parts, self.folder / name, self.progress, teacher=teacher)

    def read(self, model: Classifier, rows: np.ndarray, **options) -> pd.DataFrame:
        """The predictions table of some rows of the corpus; `options` as for `evaluation.predict`."""
        return predict(model, self.clips, self.corpus, rows, progress=self.progress, **options)

    def record(self, name: str) -> dict:
        """What made a training, as its run.json says."""
        return read_json(self.folder / name / RUN)

    def weights(self, name: str) -> Path:
        """The file of a training's model."""
        return self.folder / name / MODEL
