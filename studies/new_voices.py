"""How far the evaluation of the full synthetic corpus can be trusted: held-out speakers, calibration, noise, intervals."""

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from spokendigits import corpora
from spokendigits.classifier import Classifier
from spokendigits.clips import make_clips
from spokendigits.evaluation import difference
from spokendigits.files import runs_folder
from spokendigits.intervals import interval
from spokendigits.recipe import Recipe
from spokendigits.splits import AUDIOMNIST_GROUPS, Split, split
from spokendigits.topics.calibration import calibrated, calibration_error, temperature
from spokendigits.topics.coverage import coverage
from spokendigits.topics.robustness import Disturbed, robustness
from studies import results
from studies.real_voices import SYNTHETIC, score_of_seeds
from studies.trainings import Trainings

RECIPE = SYNTHETIC.but(corpus="synthetic", f_max=7_600.0, n_mels=64, split="published", folds=5, fold=0, epochs=4)
AUGMENTED = {"none": "no augmentation", "noise": "noise only", "all": "all augmentation"}  # models compared in noise
NOISE = 10.0  # dB
DISTURBED = 1_200  # clips
# Tests whose truth is known: what one fold here, half of it, and all of its speakers might look like.
SIMULATED = {"speakers": (6, 12, 60), "clips": (100, 500), "mean": (0.95, 0.97, 0.99), "spread": (0.5, 0.7)}


class Folds(Trainings):
    """A training for each of the published folds of the full synthetic corpus, and some with less augmentation."""

    def fold(self, recipe: Recipe, name: str) -> tuple[Classifier, Split]:
        """The classifier of a recipe's fold, and the split that it was trained on."""
        parts = split(self.corpus, recipe.split, recipe.folds, recipe.fold)
        return self.train(name, recipe, parts), parts

    def disturbed(self) -> pd.DataFrame:
        """`robustness` of models that differ in their augmentation, on test speakers of the first fold."""
        tables = []
        for augment, label in AUGMENTED.items():
            everything = augment == "all"
            recipe = RECIPE.but(augment=augment, mix_probability=RECIPE.mix_probability if everything else 0.0)
            model, parts = self.fold(recipe, "all-0" if everything else augment)
            rows = np.sort(np.random.default_rng(0).permutation(parts.test)[:DISTURBED])
            tables.append(
                robustness(
                    model, self.clips, self.corpus, rows, progress=self.progress, others=parts.train, model=label
                )
            )
        return pd.concat(tables, ignore_index=True)


def measure(folder: Path | None = None, progress: bool = True) -> dict:
    """Trains on the published folds of the full synthetic corpus and returns how their test speakers are read.

    Every training has a folder of its own in `folder` (default: `runs/new-voices`) and is not repeated when it is there.
    """
    corpus = corpora.load(RECIPE.corpus, progress=progress)
    clips = make_clips(corpus, RECIPE, progress=progress)
    folds = Folds(folder or runs_folder() / "new-voices", corpus, clips, progress)
    tables, temperatures, names = [], [], [f"all-{fold}" for fold in range(len(AUDIOMNIST_GROUPS))]
    for fold, name in enumerate(names):
        model, parts = folds.fold(RECIPE.but(fold=fold), name)
        noise = Disturbed(clips, corpus, next(model.parameters()).device, parts.test)
        noise.kind, noise.level = "white", NOISE
        raw, noisy = folds.read(model, parts.test), folds.read(model, parts.test, loader=noise)
        temperatures.append(temperature(folds.read(model, parts.validation)))
        tables.append((raw, noisy, calibrated(raw, temperatures[-1])))
    raw, noisy, mended = (pd.concat(column, ignore_index=True) for column in zip(*tables, strict=True))
    drop, records = difference(raw, noisy), [folds.record(name) for name in names]
    clean = score_of_seeds([raw])
    return {
        "speaker_disjoint": clean,
        "ece_before": _error(raw),
        "ece": _error(mended) | {"temperatures": temperatures},
        "noise_10db_drop": {
            "value": drop.pop("difference"),
            **drop,
            "clean": clean,
            "noisy": score_of_seeds([noisy]),
        },
        "interval_coverage": simulated(),
        # JSON has no number for a level that is none.
        "robustness": folds.disturbed().replace({np.nan: None}).to_dict("list"),
        "made": {
            "corpus": corpus.source,
            "clips": len(corpus),
            "recipe": RECIPE.to_dict(),
            "folds": len(names),
            "seconds": round(sum(record["seconds"] for record in records)),
            "device": records[0]["device"],
            "precision": records[0]["precision"],
            **results.versions_and_time(),
        },
    }


def _error(table: pd.DataFrame) -> dict:
    low, high = interval(table, calibration_error, rounds=200)
    return {"value": calibration_error(table), "low": low, "high": high}


def simulated() -> dict:
    """How often a 95 % interval holds the truth, for all SIMULATED tests: lowest, highest and mean, and every one."""
    rows = [coverage(**dict(zip(SIMULATED, values, strict=True))) for values in product(*SIMULATED.values())]
    held = [row["coverage"] for row in rows]
    return {"value": float(np.mean(held)), "low": min(held), "high": max(held), "tests": rows}


if __name__ == "__main__":
    results.write("synthetic", measure())
