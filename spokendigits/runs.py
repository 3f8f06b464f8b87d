"""What a training keeps in its folder: claim, checkpoint, curves, and what made them. Chapter 3.

recipe.yaml and run.json (what made it) from the start; after each whole epoch the folder `checkpoint`, from which a stopped
training goes on, and model.safetensors and predictions.csv, if it is the one to keep; at the end steps.csv (step, epoch,
learning_rate, loss), history.csv (a row an epoch) and metrics.json (of the kept model), both on the validation part.
"""

import contextlib
import hashlib
import shutil
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors import SafetensorError

from spokendigits.classifier import SUBSTITUTE, Classifier, backbone_weights, read_weights
from spokendigits.clips import Clips
from spokendigits.corpora.corpus import Corpus
from spokendigits.errors import CourseError, check_names, first_line
from spokendigits.evaluation import mistakes
from spokendigits.files import atomic_file, atomic_folder, read_json, sha256, versions, write_json
from spokendigits.intervals import interval
from spokendigits.lanes import MODEL, RUN
from spokendigits.recipe import Recipe
from spokendigits.splits import Split

TRACKERS = ("tensorboard", "mlflow")
PREDICTIONS, CHECKPOINT = "predictions.csv", "checkpoint"


def trainings(folder: Path) -> list[Path]:
    """The training folders that a folder stands for: itself, or those inside it (none: it is no run)."""
    return [folder] if (folder / RUN).is_file() else sorted(path.parent for path in folder.glob(f"*/{RUN}"))


def finished(folder: Path) -> bool:
    """Whether `folder` holds a run that trained to its end."""
    return (folder / RUN).is_file() and "seconds" in read_json(folder / RUN, "recipe", "clips")


def read_table(folder: Path, name: str = PREDICTIONS) -> pd.DataFrame:
    """A predictions table that lies in a run's folder."""
    return pd.read_csv(folder / name, dtype={"speaker": str})


def write_table(table: pd.DataFrame, path: Path, **options) -> None:
    """Writes a table as CSV without its index, atomically; `options` as for pandas' `to_csv`."""
    with atomic_file(path) as temporary:
        table.to_csv(temporary, index=False, **options)


def claim(
    folder: Path, recipe: Recipe, corpus: Corpus, clips: Clips, split: Split, teacher: Classifier | None = None
) -> None:
    """Marks `folder` as this experiment's; CourseError if it holds something else."""
    labels = corpus.table[["path", "digit", "speaker"]]
    labels = [labels.iloc[rows].to_csv() for rows in (split.train, split.validation)]
    labels = hashlib.sha256("\n".join(labels).encode()).hexdigest()[:12]
    taught_by = None if teacher is None else f"{teacher.recipe.backbone} {teacher.digest()[:12]}"
    way_out = "Choose another name for this run, or delete that folder."
    if (folder / RUN).is_file():
        held = read_json(folder / RUN, "recipe", "clips")
        before = Recipe(**held["recipe"]).to_dict()
        here = {name: value for name, value in recipe.to_dict().items() if before[name] != value}
        differ = [f"{name}: {before[name]} there, {value} here" for name, value in here.items()]
        if differ:
            raise CourseError(f"{folder} holds another experiment ({'; '.join(differ)}). {way_out}")
        if held["clips"] != clips.folder.name or held.get("labels", labels) != labels:
            raise CourseError(f"{folder}: the corpus or its split has changed since that run was made. {way_out}")
        if held.get("teacher") != taught_by:
            teachers = f"that run had {held.get('teacher') or 'no teacher'}, this one {taught_by or 'none'}"
            raise CourseError(f"{folder}: {teachers}. {way_out}")
    elif folder.is_dir() and any(folder.iterdir()):
        raise CourseError(f"{folder} holds something that is no run of this course. {way_out}")
    else:
        made = {"recipe": recipe.to_dict(), "clips": clips.folder.name, "labels": labels, "teacher": taught_by}
        write_json(folder / RUN, made)
        recipe.to_yaml(folder / "recipe.yaml")


@contextlib.contextmanager
def claimed(folder: Path, *experiment) -> Iterator[None]:
    """`claim`, taken back when no whole epoch comes of it: a mistake, or Ctrl-C, does not use a name up."""
    new = not (folder / RUN).is_file()
    claim(folder, *experiment)
    try:
        yield
    except BaseException:
        if new and not (folder / CHECKPOINT).is_dir():
            shutil.rmtree(folder, ignore_errors=True)
        raise


def check_trackers(names: Sequence[str]) -> None:
    """CourseError for a tracker that is unknown or not installed: Accelerate would go on without it."""
    check_names(names, list(TRACKERS), "unknown tracker")
    for name in names:
        if find_spec(name) is None:
            raise CourseError(f"tracker {name!r} is not installed. Run: pip install {name}")


def start_trackers(accelerator: Any, recipe: Recipe) -> None:
    """Tells all trackers the recipe; a setting without a value is none that they could show."""
    if accelerator.log_with:
        settings = {name: value for name, value in recipe.to_dict().items() if value is not None}
        accelerator.init_trackers("spokendigits", config=settings)


def resume(folder: Path, classifier: Classifier, optimizer: torch.optim.Optimizer) -> dict:
    """Loads the last checkpoint, if there is one, and returns what was recorded so far: steps, history, kept."""
    held = folder / CHECKPOINT
    if not held.is_dir():
        return {"steps": [], "history": [], "kept": None}
    state = read_json(held / "state.json", "steps", "history", "kept", "weights")
    classifier.weights = state.pop("weights")
    try:
        classifier.backbone.load_state_dict(backbone_weights(read_weights(held / MODEL)[0]))
        optimizer.load_state_dict(torch.load(held / "optimizer.pt", weights_only=True))
    except Exception as error:  # torch says in many ways that a file is damaged
        raise CourseError(f"{held}: damaged ({first_line(error)}). Delete it; the training then begins anew.") from None
    return state


def keep_epoch(
    folder: Path,
    classifier: Classifier,
    optimizer: torch.optim.Optimizer,
    state: dict,
    table: pd.DataFrame,
    scores: dict,
) -> None:
    """Keeps the model if it is the one that the recipe's `checkpoint` wants, and all that is needed to go on from here."""
    recipe = classifier.recipe
    try:
        if recipe.checkpoint == "last" or state["kept"] is None or better(scores, state["kept"], recipe.metric):
            state["kept"] = scores
            classifier.save(folder / MODEL)
            write_table(table, folder / PREDICTIONS)
        with atomic_folder(folder / CHECKPOINT) as temporary:
            classifier.save(temporary / MODEL)
            torch.save(optimizer.state_dict(), temporary / "optimizer.pt")
            write_json(temporary / "state.json", {**state, "weights": classifier.weights})
    except (OSError, RuntimeError, SafetensorError) as error:  # each library has its own word for a full disk
        raise CourseError(
            f"{folder}: could not be written ({first_line(error)}). Make room, and the same command goes on."
        ) from None


def better(scores: dict[str, float], others: dict[str, float], metric: str) -> bool:
    """Whether scores beat others by a metric."""
    return scores[metric] < others[metric] if metric == "log_loss" else scores[metric] > others[metric]


def finish(folder: Path, corpus: Corpus, split: Split, classifier: Classifier, state: dict, computed: dict) -> None:
    """Writes the curves, the kept model's scores and what made them, then drops the checkpoint.

    computed: device and precision, as run.json says them.
    """
    for name in ("steps", "history"):
        write_table(pd.DataFrame(state[name]), folder / f"{name}.csv")
    table = read_table(folder)
    low, high = interval(table)
    kept = state["kept"] | {"low": low, "high": high, "clips": len(table), "mistakes": len(mistakes(table))}
    write_json(folder / "metrics.json", kept)
    asked = read_json(folder / RUN, "recipe")["recipe"]["backbone"]
    facts = {
        "corpus": corpus.label,
        # A part may name a clip more than once: an epoch then has it so often.
        "clips_train": len(np.unique(split.train)),
        "clips_epoch": len(split.train),
        "clips_validation": len(split.validation),
        "weights": classifier.weights,
        "backbone": classifier.recipe.backbone,
        "warning": SUBSTITUTE if classifier.recipe.backbone != asked else None,
        **computed,
        "seconds": sum(epoch["seconds"] for epoch in state["history"]),
        "sha256": sha256(folder / MODEL),
        "versions": versions(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    write_json(folder / RUN, read_json(folder / RUN, "recipe") | facts)
    shutil.rmtree(folder / CHECKPOINT, ignore_errors=True)
