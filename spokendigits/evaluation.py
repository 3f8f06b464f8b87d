"""`predict` gives one table; metrics are functions of that table. Chapter 4."""

import numpy as np
import pandas as pd
import torch
from accelerate.utils import gather_object
from scipy.stats import binomtest, norm
from sklearn.metrics import confusion_matrix, log_loss, roc_auc_score
from tqdm import tqdm

from spokendigits.augmentation import Augment
from spokendigits.classifier import Classifier
from spokendigits.clips import Clips
from spokendigits.corpora.corpus import COLUMNS, DIGITS, PROBABILITIES, Corpus
from spokendigits.devices import processes
from spokendigits.errors import CourseError
from spokendigits.intervals import accuracy, effective_clips, speaker_counts, speaker_interval
from spokendigits.loading import Loader
from spokendigits.losses import losses, probabilities, targets

ENOUGH_SPEAKERS, ENOUGH_CLIPS = 5, 30  # below them, a row of `recall_by` carries a warning


def predict(
    classifier: Classifier,
    clips: Clips,
    corpus: Corpus,
    rows: np.ndarray,
    batch_size: int = 128,
    progress: bool = True,
    loader: Loader | None = None,
    views: int = 1,
) -> pd.DataFrame:
    """The predictions table, one row for each of `rows`.

    Columns: clip (row of the corpus), path, digit, speaker, take, predicted, p0..p9, loss (the recipe's), and the facts of the
    speaker that the corpus has. Under `accelerate launch` each process predicts its share, and all get the whole table:
    all processes have to call this. `loader` is one that exists already for these clips, so that a GPU need not hold them
    twice. `views`: the probabilities are means over so many copies of each clip, the first as it is, the others as if
    another voice had said it (`Augment`'s part "voice"); `loss` is that of the first.
    """
    device = next(classifier.parameters()).device
    recipe = classifier.recipe
    world = processes()
    places = np.arange(len(rows))[world.process_index :: world.num_processes]
    share = rows[places]
    chances, loss = np.empty((len(share), DIGITS)), np.empty(len(share), np.float32)
    parts = [slice(first, first + batch_size) for first in range(0, len(share), batch_size)]
    classifier.eval()
    change = Augment(recipe.but(augment="voice"))
    with (
        torch.inference_mode(),
        torch.random.fork_rng([device] if device.type == "cuda" else []),
        torch.autocast(device.type, enabled=recipe.mixed_precision_inference, dtype=torch.bfloat16),
        tqdm(total=len(parts), desc="predict", unit="batch", disable=not progress) as bar,
    ):
        torch.manual_seed(0)
        batches = (loader or Loader(clips, corpus, device)).each(share[part] for part in parts)
        for part, (audio, digit) in zip(parts, batches, strict=True):
            logits = classifier(audio).float()
            mean = probabilities(logits, recipe.loss)
            for view in range(1, views):
                other = classifier.backbone(classifier.frontend(audio, change)).float()
                mean = (view * mean + probabilities(other, recipe.loss)) / (view + 1)
            chances[part] = mean.cpu()
            loss[part] = losses(logits, targets(digit), recipe.loss).cpu()
            bar.update()
    if world.num_processes > 1:
        gathered = zip(*gather_object([(places, chances, loss)]), strict=True)
        places, chances, loss = (np.concatenate(part) for part in gathered)
        order = np.argsort(places)
        chances, loss = chances[order], loss[order]
    facts = corpus.table.iloc[rows].reset_index(drop=True)
    said = {"predicted": chances.argmax(axis=1), **dict(zip(PROBABILITIES, chances.T, strict=True)), "loss": loss}
    rest = facts.columns.difference(COLUMNS, sort=False)
    return pd.concat([pd.Series(rows, name="clip"), facts[COLUMNS], pd.DataFrame(said), facts[rest]], axis=1)


def roc_auc(table: pd.DataFrame) -> float:
    """Area under the ROC curve: each digit against the rest, then the mean over digits that occur (NaN if only one does)."""
    digit = table["digit"].to_numpy()
    present = [k for k in range(DIGITS) if 0 < (digit == k).sum() < len(digit)]
    return float(np.mean([roc_auc_score(digit == k, table[f"p{k}"]) for k in present])) if present else float("nan")


def metrics(table: pd.DataFrame) -> dict[str, float]:
    """accuracy, roc_auc, log_loss (of the probabilities) and loss (the mean of the training loss)."""
    chances = table[PROBABILITIES].to_numpy()
    return {
        "loss": float(table["loss"].mean()),
        "roc_auc": roc_auc(table),
        "accuracy": accuracy(table),
        "log_loss": float(log_loss(table["digit"], chances / chances.sum(axis=1, keepdims=True), labels=range(DIGITS))),
    }


def recall_by(table: pd.DataFrame, column: str, level: float = 0.95) -> pd.DataFrame:
    """Share of clips recognised for each value of `column` (digit, speaker, gender …), worst first; of clips where it is known.

    Columns: clips, speakers, right, recall, low, high (`interval`), warning (empty, or why the row says little).
    """
    rows = {}
    for value, group in table.groupby(column):
        right, clips = speaker_counts(group)
        low, high = speaker_interval(right, clips, level)
        recall, warning = right.sum() / len(group), _warning(len(group), len(clips), column)
        rows[value] = (len(group), len(clips), int(right.sum()), recall, low, high, warning)
    columns = ["clips", "speakers", "right", "recall", "low", "high", "warning"]
    out = pd.DataFrame.from_dict(rows, orient="index", columns=columns).rename_axis(column)
    return out.sort_values(["recall", "clips"], kind="stable")


def _warning(clips: int, speakers: int, column: str) -> str:
    words = []
    # A row that is one speaker is about that speaker, not about others.
    if column != "speaker" and speakers < ENOUGH_SPEAKERS:
        words.append(f"{speakers} speaker{'s' * (speakers > 1)}: says little about others")
    if clips < ENOUGH_CLIPS:
        words.append(f"{clips} clip{'s' * (clips > 1)}: one is {100 / clips:.0f} points")
    return "; ".join(words)


def difference(one: pd.DataFrame, other: pd.DataFrame, level: float = 0.95) -> dict[str, float]:
    """Compares two models on the same clips, in pairs: what `one` has more right than `other`.

    Returns clips, speakers, difference (of the accuracies), low, high, only_one and only_other (clips that only that
    model got right) and p (McNemar's exact test). The interval respects speakers as `speaker_interval` does, here in
    Bonett and Price's (2012, J. Educational and Behavioral Statistics 37:479-488); a clip that both models misread
    says nothing about their difference. The test does not respect speakers: where the two disagree, believe the interval.
    Raises CourseError unless both tables hold the same clips, by their paths, with the same digits and speakers.
    """
    one, other = (table.set_index("path").sort_index() for table in (one, other))
    for table in (one, other):
        if twice := list(table.index[table.index.duplicated()][:1]):
            raise CourseError(f"difference: {twice[0]} is in one table twice. Give one prediction for each clip.")
    if alone := sorted(set(one.index) ^ set(other.index)):
        raise CourseError(
            f"difference: {len(alone)} clip(s) are in one table only, {alone[0]} first. Predict the same clips with both models."
        )
    for column in ("digit", "speaker"):
        if (differs := one[column].astype(str) != other[column].astype(str)).any():
            raise CourseError(
                f"difference: {differs.idxmax()} has {column} {one[column][differs.idxmax()]} in one table and "
                f"{other[column][differs.idxmax()]} in the other. Predict both from the same corpus."
            )
    gain, loss = (
        (first["digit"] == first["predicted"]) & (second["digit"] != second["predicted"])
        for first, second in ((one, other), (other, one))
    )
    only_one, only_other, clips = int(gain.sum()), int(loss.sum()), len(one)
    mean, differing = (only_one - only_other) / clips, (only_one + only_other) / clips
    by_speaker = (gain.astype(float) - loss).groupby(one["speaker"]).agg(["sum", "size"])
    worth = effective_clips(
        by_speaker["sum"].to_numpy(), by_speaker["size"].to_numpy(float), np.array((differing - mean**2) / clips), level
    )
    first, second = ((only * worth / clips + 1) / (worth + 2) for only in (only_one, only_other))
    half = norm.ppf((1 + level) / 2) * np.sqrt((first + second - (first - second) ** 2) / (worth + 2))
    return {
        "clips": clips,
        "speakers": len(by_speaker),
        "difference": mean,
        "low": float(max(first - second - half, -1)),
        "high": float(min(first - second + half, 1)),
        "only_one": only_one,
        "only_other": only_other,
        "p": float(binomtest(only_one, only_one + only_other).pvalue) if only_one + only_other else 1.0,
    }


def confusions(table: pd.DataFrame) -> pd.DataFrame:
    """The confusion matrix [10, 10]: a row for each digit said, a column for each digit predicted, counts of clips."""
    counts = confusion_matrix(table["digit"], table["predicted"], labels=range(DIGITS))
    return pd.DataFrame(
        counts, index=pd.RangeIndex(DIGITS, name="said"), columns=pd.RangeIndex(DIGITS, name="predicted")
    )


def mistakes(table: pd.DataFrame) -> pd.DataFrame:
    """The clips that were misread, largest loss first."""
    return table[table["digit"] != table["predicted"]].sort_values("loss", ascending=False, kind="stable")
