"""How far the evaluation of the full synthetic corpus can be trusted: held-out speakers, calibration, noise, intervals."""

from datetime import UTC, datetime
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd

from spokendigits import corpora, lanes
from spokendigits.classifier import Classifier
from spokendigits.clips import Clips, make_clips
from spokendigits.corpora.corpus import Corpus
from spokendigits.evaluation import difference, predict
from spokendigits.files import read_json, runs_folder, versions, write_json
from spokendigits.intervals import coverage, interval
from spokendigits.lanes import RUN
from spokendigits.publish.words import in_words
from spokendigits.splits import AUDIOMNIST_GROUPS, split
from spokendigits.topics.calibration import calibrated, calibration_error, temperature
from spokendigits.topics.robustness import Disturbed, robustness
from spokendigits.training import train_or_load
from studies.real_voices import SYNTHETIC, score

RECIPE = SYNTHETIC.but(corpus="synthetic", f_max=7_600.0, n_mels=64, split="published", folds=5, fold=0, epochs=4)
AUGMENTED = ("none", "noise", "all")  # the models whose robustness is compared
NOISE = 10.0  # dB
DISTURBED = 1_200  # clips
# Tests whose truth is known: what one fold here, half of it, and all of its speakers might look like.
SIMULATED = {"speakers": (6, 12, 60), "clips": (100, 500), "mean": (0.95, 0.97, 0.99), "spread": (0.5, 0.7)}


def study(folder: Path | None = None, progress: bool = True) -> dict:
    """Trains on the published folds of the full synthetic corpus and returns what was found on their test speakers.

    Every training has a folder of its own in `folder` (default: `runs/new-voices`) and is not repeated when it is there.
    """
    folder = folder or runs_folder() / "new-voices"
    corpus = corpora.load(RECIPE.corpus, progress=progress)
    clips = make_clips(corpus, RECIPE, progress=progress)
    raw, mended, noisy, temperatures, seconds = [], [], [], [], 0.0
    for fold in range(len(AUDIOMNIST_GROUPS)):
        model, parts = _trained(RECIPE.but(fold=fold), corpus, clips, folder / f"all-{fold}", progress)
        loader = Disturbed(clips, corpus, next(model.parameters()).device, parts.test)
        clean = predict(model, clips, corpus, parts.test, progress=progress)
        loader.kind, loader.level = "white", NOISE
        noisy.append(predict(model, clips, corpus, parts.test, progress=progress, loader=loader))
        temperatures.append(temperature(predict(model, clips, corpus, parts.validation, progress=progress)))
        raw.append(clean)
        mended.append(calibrated(clean, temperatures[-1]))
        seconds += read_json(folder / f"all-{fold}" / RUN)["seconds"]
    raw, mended, noisy = (pd.concat(tables, ignore_index=True) for tables in (raw, mended, noisy))
    drop = difference(raw, noisy)
    made = read_json(folder / "all-0" / RUN)
    return {
        "speaker_disjoint": score([raw]),
        "ece_before": _error(raw),
        "ece": _error(mended) | {"temperatures": temperatures},
        "noise_10db_drop": {"value": drop.pop("difference"), **drop, "clean": score([raw]), "noisy": score([noisy])},
        "interval_coverage": simulated(),
        # JSON has no number for a level that is none.
        "robustness": compared(folder, corpus, clips, progress).replace({np.nan: None}).to_dict("list"),
        "made": {
            "corpus": corpus.source,
            "clips": len(corpus),
            "recipe": RECIPE.to_dict(),
            "folds": len(AUDIOMNIST_GROUPS),
            "seconds": round(seconds),
            "device": made["device"],
            "precision": made["precision"],
            "versions": versions(),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    }


def _trained(recipe, corpus: Corpus, clips: Clips, folder: Path, progress: bool) -> tuple[Classifier, object]:
    parts = split(corpus, recipe.split, recipe.folds, recipe.fold)
    return train_or_load(recipe, corpus, clips, parts, folder, progress), parts


def _error(table: pd.DataFrame) -> dict:
    low, high = interval(table, calibration_error, rounds=200)
    return {"value": calibration_error(table), "low": low, "high": high}


def simulated() -> dict:
    """How often a 95 % interval holds the truth, for all SIMULATED tests: lowest, highest and mean, and every one."""
    rows = [coverage(**dict(zip(SIMULATED, values, strict=True))) for values in product(*SIMULATED.values())]
    held = [row["coverage"] for row in rows]
    return {"value": float(np.mean(held)), "low": min(held), "high": max(held), "tests": rows}


def compared(folder: Path, corpus: Corpus, clips: Clips, progress: bool) -> pd.DataFrame:
    """`robustness` of models that differ in their augmentation, on test speakers of the first fold."""
    tables = []
    for augment in AUGMENTED:
        name = "all-0" if augment == "all" else augment
        mix = RECIPE.mix_probability if augment == "all" else 0.0
        recipe = RECIPE.but(augment=augment, mix_probability=mix)
        model, parts = _trained(recipe, corpus, clips, folder / name, progress)
        rows = np.sort(np.random.default_rng(0).permutation(parts.test)[:DISTURBED])
        label = {"none": "no augmentation", "noise": "noise only", "all": "all augmentation"}[augment]
        tables.append(robustness(model, clips, corpus, rows, progress=progress, others=parts.train, model=label))
    return pd.concat(tables, ignore_index=True)


def prose(found: dict) -> dict[str, str]:
    """What `study` found, as text for the book's pages."""
    drop, held, made = found["noise_10db_drop"], found["interval_coverage"], found["made"]
    points = {name: f"{100 * drop[name]:.1f}" for name in ("value", "low", "high")}
    return {
        "synthetic_disjoint": in_words(found["speaker_disjoint"], 2),
        "synthetic_ece_before": in_words(found["ece_before"], 2),
        "synthetic_ece": in_words(found["ece"], 2),
        "synthetic_drop": f"{points['value']} points (95 % interval {points['low']} to {points['high']})",
        "synthetic_noisy": in_words(drop["noisy"], 2),
        "synthetic_coverage": f"{100 * held['value']:.1f} % (from {100 * held['low']:.1f} % to {100 * held['high']:.1f} % in {len(held['tests'])} settings)",
        "synthetic_clips": f"{found['speaker_disjoint']['clips']:,}",
        "synthetic_device": made["device"],
        "synthetic_torch": made["versions"]["torch"],
        "synthetic_date": made["finished"][:10],
    }


def store() -> None:
    """Makes `book/results/synthetic.json` (`make synthetic`)."""
    found = study()
    write_json(lanes.repository() / "book" / "results" / "synthetic.json", {"prose": prose(found), **found})


if __name__ == "__main__":
    store()
