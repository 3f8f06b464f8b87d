"""`predict` gives one table; metrics with intervals are functions of that table."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from accelerate.utils import gather_object
from scipy.stats import binomtest
from sklearn.metrics import confusion_matrix, log_loss, roc_auc_score
from tqdm import tqdm

from spokendigits.classifier import DIGITS, Classifier
from spokendigits.clips import Clips
from spokendigits.corpora.corpus import COLUMNS, Corpus
from spokendigits.devices import processes
from spokendigits.loading import Loader

PROBABILITIES = [f"p{digit}" for digit in range(DIGITS)]


def losses(logits: torch.Tensor, target: torch.Tensor, kind: str) -> torch.Tensor:
    """The loss of each clip, [batch], from logits and targets [batch, 10].

    "bce" is the mean over ten yes-or-no answers, as in the seed experiment; "cross_entropy" is one choice among ten.
    """
    if kind == "bce":
        return F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(dim=1)
    return F.cross_entropy(logits, target, reduction="none")


def probabilities(logits: torch.Tensor, kind: str) -> torch.Tensor:
    """Logits [batch, 10] to probabilities that sum to 1.

    "bce" trains ten separate answers; they are divided by their sum, because exactly one digit was said.
    """
    if kind == "bce":
        each = logits.double().sigmoid()
        return each / each.sum(dim=1, keepdim=True)
    return logits.double().softmax(dim=1)


def predict(
    classifier: Classifier,
    clips: Clips,
    corpus: Corpus,
    rows: np.ndarray,
    batch_size: int = 128,
    progress: bool = True,
    loader: Loader | None = None,
) -> pd.DataFrame:
    """The predictions table, one row for each of `rows`.

    Columns: clip (row of the corpus), path, digit, speaker, take, predicted, p0..p9, loss (the recipe's), and the facts of the
    speaker that the corpus has. Under `accelerate launch` each process predicts its share, and all get the whole table:
    all processes have to call this. `loader` is one that exists already for these clips, so that a GPU need not hold them
    twice.
    """
    device = next(classifier.parameters()).device
    recipe = classifier.recipe
    us = processes()
    places = np.arange(len(rows))[us.process_index :: us.num_processes]
    share = rows[places]
    chances, lost = np.empty((len(share), DIGITS)), np.empty(len(share), np.float32)
    parts = [slice(first, first + batch_size) for first in range(0, len(share), batch_size)]
    classifier.eval()
    with (
        torch.inference_mode(),
        torch.autocast(device.type, enabled=recipe.mixed_precision_inference, dtype=torch.bfloat16),
        tqdm(total=len(parts), desc="predict", unit="batch", disable=not progress) as bar,
    ):
        batches = (loader or Loader(clips, corpus, device)).each(share[part] for part in parts)
        for part, (audio, digit) in zip(parts, batches, strict=True):
            logits = classifier(audio).float()
            target = F.one_hot(digit, DIGITS).float()
            chances[part] = probabilities(logits, recipe.loss).cpu()
            lost[part] = losses(logits, target, recipe.loss).cpu()
            bar.update()
    if us.num_processes > 1:
        gathered = zip(*gather_object([(places, chances, lost)]), strict=True)
        places, chances, lost = (np.concatenate(part) for part in gathered)
        order = np.argsort(places)
        chances, lost = chances[order], lost[order]
    facts = corpus.table.iloc[rows].reset_index(drop=True)
    said = {"predicted": chances.argmax(axis=1), **dict(zip(PROBABILITIES, chances.T, strict=True)), "loss": lost}
    rest = facts.columns.difference(COLUMNS, sort=False)
    return pd.concat([pd.Series(rows, name="clip"), facts[COLUMNS], pd.DataFrame(said), facts[rest]], axis=1)


def accuracy(table: pd.DataFrame) -> float:
    """Share of clips whose most probable digit is the true one."""
    return float((table["digit"] == table["predicted"]).mean())


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


def interval(
    table: pd.DataFrame,
    statistic: Callable[[pd.DataFrame], float] = accuracy,
    rounds: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """A bootstrap interval that respects speakers: draws speakers with replacement, then clips of each.

    Clips of one speaker are alike, so drawing clips alone would promise too much. With one speaker only clips are drawn,
    and the interval says nothing about other voices. Without a single mistake there is nothing to draw: then it is
    Wilson's interval over clips, which promises more than speakers would.
    """
    random = np.random.default_rng(seed)
    groups = [np.asarray(rows) for rows in table.groupby("speaker").indices.values()]
    right, values = (table["digit"] == table["predicted"]).to_numpy(), []
    for _ in range(rounds):
        drawn = random.integers(len(groups), size=len(groups))
        rows = np.concatenate([random.choice(groups[g], len(groups[g])) for g in drawn])
        # Accuracy needs no table for each draw, which would be long work for many clips.
        values.append(right[rows].mean() if statistic is accuracy else statistic(table.iloc[rows]))
    if statistic is accuracy and min(values) == max(values):
        return wilson(round(accuracy(table) * len(table)), len(table), level)
    tail = (1 - level) / 2
    return float(np.nanquantile(values, tail)), float(np.nanquantile(values, 1 - tail))


def wilson(right: int, clips: int, level: float = 0.95) -> tuple[float, float]:
    """Wilson's interval (1927) for a share: sensible near 100 % and for few clips, as long as clips are independent."""
    bounds = binomtest(right, clips).proportion_ci(level, "wilson")
    return bounds.low, bounds.high


def recall_by(table: pd.DataFrame, column: str, level: float = 0.95) -> pd.DataFrame:
    """Share of clips recognised for each value of `column` (digit, speaker, gender …), worst first.

    Columns: clips, right, recall, low, high (Wilson's interval).
    """
    right = table["digit"] == table["predicted"]
    out = right.groupby(table[column]).agg(["size", "sum"]).rename(columns={"size": "clips", "sum": "right"})
    out["recall"] = out["right"] / out["clips"]
    bounds = [wilson(right, clips, level) for right, clips in zip(out["right"], out["clips"], strict=True)]
    out[["low", "high"]] = bounds
    return out.sort_values(["recall", "clips"], kind="stable")


def confusions(table: pd.DataFrame) -> pd.DataFrame:
    """The confusion matrix [10, 10]: a row for each digit said, a column for each digit predicted, counts of clips."""
    counts = confusion_matrix(table["digit"], table["predicted"], labels=range(DIGITS))
    return pd.DataFrame(
        counts, index=pd.RangeIndex(DIGITS, name="said"), columns=pd.RangeIndex(DIGITS, name="predicted")
    )


def mistakes(table: pd.DataFrame) -> pd.DataFrame:
    """The clips that were misread, largest loss first."""
    return table[table["digit"] != table["predicted"]].sort_values("loss", ascending=False, kind="stable")
