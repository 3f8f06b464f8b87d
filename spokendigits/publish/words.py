"""Results in words, as the book's pages and the model card show them: of a run (`fast`), of one at full size (`full`), stored ones."""

from pathlib import Path

import numpy as np
import pandas as pd

from spokendigits.errors import CourseError
from spokendigits.files import read_json
from spokendigits.lanes import RUN, shipped
from spokendigits.publish.runner import STATE

AVERAGED = 25  # steps a point of the training curve, as in book/results/seed.json
# Files of book/results that pages cannot do without; each is measured by the Makefile's command of that name, or of this one.
NEEDED = ("fast", "full", "bench", "synthetic", "fsdd", "seat", "small", "export", "gpu")
COMMANDS = {"fast": "outputs", "fsdd": "real", "export": "small"}


def weights_name(label: str) -> str:
    """The weights a backbone started from, as a page names them."""
    return {"imagenet": "ImageNet", "none": "random"}.get(label, label)


def stored(name: str) -> dict:
    """A file of book/results; CourseError that names the command that makes it where it is missing."""
    path = shipped(f"results/{name}.json")
    if not path.is_file():
        raise CourseError(f"{path}: missing, so pages have no numbers to show. Run `make {COMMANDS.get(name, name)}`.")
    return read_json(path)


def prose() -> dict[str, str]:
    """What all stored results say, by the names that pages use."""
    texts: dict[str, str] = {}
    for name in dict.fromkeys((*NEEDED, *(path.stem for path in shipped("results").glob("*.json")))):
        texts |= stored(name).get("prose", {})
    return texts


def in_words(score: dict, places: int = 1) -> str:
    """An accuracy with its interval as pages show it, such as "93.8 % (95 % interval 67.0 % to 99.1 %)".

    score: accuracy, recall, or any share under the name value, with low and high.
    """
    share = next(score[name] for name in ("accuracy", "value", "recall") if name in score)
    share, low, high = (f"{100 * part:.{places}f} %" for part in (share, score["low"], score["high"]))
    return f"{share} (95 % interval {low} to {high})"


def fast(folder: Path) -> dict:
    """What a run found and what made it; `prose` holds the same as text for the book's pages."""
    metrics, state = read_json(folder / "metrics.json"), read_json(folder / STATE)
    trained = {split: read_json(folder / split / RUN) for split in ("random", "speaker")}
    record = trained["random"]
    texts = {
        "lane": state["parameters"]["lane"],
        "corpus": record["corpus"],
        "clips": f"{record['clips_train'] + record['clips_validation']:,}",
        **{f"accuracy_{split}": in_words(metrics[split]) for split in trained},
        **{f"roc_auc_{split}": f"{metrics[split]['roc_auc']:.5f}" for split in trained},
        "weights": weights_name(record["weights"]),
        "warning": record["warning"] or "The backbone started from published weights, as in the seed experiment.",
        "device": record["device"],
        "training_seconds": f"{sum(training['seconds'] for training in trained.values()):.0f}",
        "seconds": f"{sum(state['seconds'].values()):.0f}",
        "version": record["versions"]["spokendigits"],
        "torch": record["versions"]["torch"],
        "date": record["finished"][:10],
        **{f"seconds_{Path(name).stem}": f"{seconds:.0f}" for name, seconds in state["seconds"].items()},
    }
    return {"prose": texts, "metrics": metrics, "trained": trained, "course": state}


def full(folder: Path, stages: dict[str, float] | None = None) -> dict:
    """What a training in `folder` found, for the book: curves, metrics, what made them, and `prose` for its pages.

    `stages` are the seconds of each step on the way, where they were measured.
    """
    record, metrics = read_json(folder / RUN), read_json(folder / "metrics.json")
    steps, history = pd.read_csv(folder / "steps.csv"), pd.read_csv(folder / "history.csv")
    epochs = {"training": float(history["seconds"].sum()), "validation": float(history["validation_seconds"].sum())}
    stages = (stages or {}) | epochs
    texts = {
        "full_corpus": record["corpus"],
        "full_clips": f"{record['clips_train'] + record['clips_validation']:,}",
        "full_weights": weights_name(record["weights"]),
        "full_device": record["device"],
        "full_precision": record["precision"],
        "full_accuracy": in_words(metrics, 2),
        "full_roc_auc": f"{metrics['roc_auc']:.8f}",
        "full_loss": f"{history['loss'].iloc[-1]:.8f}",
        "full_mistakes": f"{metrics['mistakes']} of {metrics['clips']:,}",
        "full_seconds": f"{sum(stages.values()):,.0f}",
        "full_minutes": f"{sum(stages.values()) / 60:.0f}",
        "full_epochs_seconds": f"{sum(epochs.values()):,.0f}",
        "full_clips_a_second": f"{record['clips_train'] * len(history) / epochs['training']:.0f}",
        "full_split": record["recipe"]["split"],
        "full_torch": record["versions"]["torch"],
        "full_date": record["finished"][:10],
    }
    parts = np.split(steps["loss"], range(AVERAGED, len(steps), AVERAGED))
    curves = {
        "batch_size": record["recipe"]["batch_size"],
        "steps_averaged": AVERAGED,
        "loss": [float(f"{part.mean():.4g}") for part in parts],
        "validation_loss": history["loss"].tolist(),
        "validation_roc_auc": history["roc_auc"].tolist(),
    }
    return {"prose": texts, "curves": curves, "metrics": metrics, "stages": stages, "made": record}
