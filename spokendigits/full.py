"""The seed experiment at full size: what a run at the original's recipe found, and its curves over the original's."""

import os
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from spokendigits import corpora, course
from spokendigits.clips import make_clips
from spokendigits.evaluation import in_words
from spokendigits.files import read_json, write_json
from spokendigits.splits import split
from spokendigits.training import train

AVERAGED = 25  # steps a point of the training curve, as in book/results/seed.json


def results(folder: Path, stages: dict[str, float] | None = None) -> dict:
    """What a training in `folder` found, for the book: curves, metrics, what made them, and `prose` for its pages.

    `stages` are the seconds of each step on the way, where they were measured.
    """
    made, found = read_json(folder / "run.json"), read_json(folder / "metrics.json")
    steps, history = pd.read_csv(folder / "steps.csv"), pd.read_csv(folder / "history.csv")
    stages = {
        **(stages or {}),
        "training": float(history["seconds"].sum()),
        "validation": float(history["validation_seconds"].sum()),
    }
    loss = [float(f"{part.mean():.4g}") for part in np.split(steps["loss"], range(AVERAGED, len(steps), AVERAGED))]
    prose = {
        "full_corpus": made["corpus"],
        "full_clips": f"{made['clips_train'] + made['clips_validation']:,}",
        "full_weights": course.weights_name(made["weights"]),
        "full_device": made["device"],
        "full_precision": made["precision"],
        "full_accuracy": in_words(found, 2),
        "full_roc_auc": f"{found['roc_auc']:.8f}",
        "full_loss": f"{history['loss'].iloc[-1]:.8f}",
        "full_mistakes": f"{found['mistakes']} of {found['clips']:,}",
        "full_seconds": f"{sum(stages.values()):,.0f}",
        "full_minutes": f"{sum(stages.values()) / 60:.0f}",
        "full_epochs_seconds": f"{stages['training'] + stages['validation']:,.0f}",
        "full_clips_a_second": f"{made['clips_train'] * len(history) / stages['training']:.0f}",
        "full_split": made["recipe"]["split"],
        "full_torch": made["versions"]["torch"],
        "full_date": made["finished"][:10],
    }
    curves = {
        "batch_size": made["recipe"]["batch_size"],
        "steps_averaged": AVERAGED,
        "loss": loss,
        "validation_loss": history["loss"].tolist(),
        "validation_roc_auc": history["roc_auc"].tolist(),
    }
    return {"prose": prose, "curves": curves, "metrics": found, "stages": stages, "made": made}


def store(corpus: str = "synthetic") -> None:
    """Runs the seed's recipe afresh at full size, to the book's results page, and stores what it found (`make full`)."""
    checkout = course.notebooks_folder().parent
    recipe = course.recipe("full", corpus)
    with tempfile.TemporaryDirectory() as fresh:
        os.environ["SPOKENDIGITS_HOME"] = fresh
        stages, started = {}, time.perf_counter()

        def done(stage: str) -> None:
            nonlocal started
            stages[stage], started = time.perf_counter() - started, time.perf_counter()

        recordings = corpora.load(recipe.corpus, speakers=recipe.speakers, takes=recipe.takes)
        done("corpus")
        clips = make_clips(recordings, recipe)
        done("clips")
        folder = Path(fresh) / "runs" / "full"
        train(
            recipe, recordings, clips, split(recordings, recipe.split, recipe.folds, recipe.fold, recipe.seed), folder
        )
        done("whole training")
        epochs = results(folder)  # what the page needs; the page's own time comes later
        write_json(checkout / "book" / "results" / "full.json", epochs)
        from spokendigits import book

        book.build(checkout / "notebooks", Path(fresh) / "book")
        done("page")
        # The checkpoints and the model's last reading, beside the epochs that `results` counts.
        stages["checkpoints"] = stages.pop("whole training") - sum(epochs["stages"].values())
        write_json(checkout / "book" / "results" / "full.json", results(folder, stages))
