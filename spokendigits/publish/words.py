"""Results in words, as the book's pages show them: what a run found (`fast`), and a run at full size (`full`)."""

from pathlib import Path

import numpy as np
import pandas as pd

from spokendigits.files import read_json
from spokendigits.lanes import RUN, weights_name
from spokendigits.publish.runner import STATE

AVERAGED = 25  # steps a point of the training curve, as in book/results/seed.json


def in_words(score: dict, places: int = 1) -> str:
    """An accuracy with its interval as pages show it, such as "93.8 % (95 % interval 67.0 % to 99.1 %)".

    score: accuracy, or any share under the name value, with low and high.
    """
    share, low, high = (
        f"{100 * one:.{places}f} %" for one in (score.get("accuracy", score.get("value")), score["low"], score["high"])
    )
    return f"{share} (95 % interval {low} to {high})"


def fast(folder: Path) -> dict:
    """What a run found and what made it; `prose` holds the same as text for the book's pages."""
    found = read_json(folder / "metrics.json")
    trained = {split: read_json(folder / split / RUN) for split in ("random", "speaker")}
    state = read_json(folder / STATE)
    made = trained["random"]
    seconds = sum(state["seconds"].values())

    prose = {
        "lane": state["parameters"]["lane"],
        "corpus": made["corpus"],
        "clips": f"{made['clips_train'] + made['clips_validation']:,}",
        "accuracy_random": in_words(found["random"]),
        "accuracy_speaker": in_words(found["speaker"]),
        "roc_auc_random": f"{found['random']['roc_auc']:.5f}",
        "roc_auc_speaker": f"{found['speaker']['roc_auc']:.5f}",
        "weights": weights_name(made["weights"]),
        "warning": made["warning"] or "The backbone started from published weights, as in the seed experiment.",
        "device": made["device"],
        "training_seconds": f"{sum(one['seconds'] for one in trained.values()):.0f}",
        "seconds": f"{seconds:.0f}",
        "version": made["versions"]["spokendigits"],
        "torch": made["versions"]["torch"],
        "date": made["finished"][:10],
    }
    for name, one in state["seconds"].items():
        prose[f"seconds_{Path(name).stem}"] = f"{one:.0f}"
    return {"prose": prose, "metrics": found, "trained": trained, "course": state}


def full(folder: Path, stages: dict[str, float] | None = None) -> dict:
    """What a training in `folder` found, for the book: curves, metrics, what made them, and `prose` for its pages.

    `stages` are the seconds of each step on the way, where they were measured.
    """
    made, found = read_json(folder / RUN), read_json(folder / "metrics.json")
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
        "full_weights": weights_name(made["weights"]),
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
