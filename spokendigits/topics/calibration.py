"""Whether probabilities mean what they say, how to mend them, and what answering "not sure" would buy. Chapter 4.

All of it are functions of the predictions table that `evaluation.predict` gives.
"""

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax
from torchmetrics.functional.classification import multiclass_calibration_error

from spokendigits.corpora.corpus import DIGITS, PROBABILITIES
from spokendigits.intervals import speaker_interval
from spokendigits.plots import BLUE, GREY, ORANGE, describe, draw_band, figure, looks

SMALLEST = np.finfo(float).tiny  # stands for a probability of 0, whose logarithm there is none of
TEMPERATURES = (0.05, 20.0)


def calibration_error(table: pd.DataFrame, bins: int = 15) -> float:
    """The expected calibration error: the gap between confidence and accuracy, the mean over clips, in 0..1.

    The confidence is the predicted digit's probability; the gaps are those of `bins` equally wide bins of it (Naeini et
    al. 2015). Of few clips even perfect probabilities show a gap, as a bin's accuracy is itself uncertain.
    """
    chances = torch.tensor(table[PROBABILITIES].to_numpy(float))
    digit = torch.tensor(table["digit"].to_numpy())
    return float(multiclass_calibration_error(chances, digit, DIGITS, n_bins=bins, norm="l1"))


def reliability(table: pd.DataFrame, bins: int = 15) -> pd.DataFrame:
    """What `calibration_error` averages: a row for each bin of confidence that has clips.

    Columns: low and high (the bin's ends), clips, confidence and accuracy (their means).
    """
    confidence = table[PROBABILITIES].to_numpy(float).max(axis=1)
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    facts = {"low": place / bins, "high": (place + 1) / bins, "clips": 1, "confidence": confidence}
    answers = pd.DataFrame({**facts, "accuracy": (table["digit"] == table["predicted"]).to_numpy()})
    sums = {"clips": "sum", "confidence": "mean", "accuracy": "mean"}
    return answers.groupby(["low", "high"], as_index=False).agg(sums)


def temperature(table: pd.DataFrame) -> float:
    """The temperature at which a VALIDATION table's probabilities have the least log loss (Guo et al. 2017).

    Above 1 the model was too sure of itself, below 1 not sure enough; `calibrated` applies it. Fit it on validation
    clips only, by other speakers than those tested. A table without mistakes asks for certainty, that is for 0. So a
    little speaks for 1: its logarithm has a normal prior of mean 0 and standard deviation 1, which a few mistakes outweigh.
    """
    logarithms, digit = _logarithms(table), table["digit"].to_numpy()

    def loss(degree: float) -> float:  # of the temperature's logarithm
        chances = log_softmax(logarithms / np.exp(degree), axis=1)
        return degree**2 / 2 - chances[np.arange(len(digit)), digit].sum()

    return float(np.exp(minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded").x))


def calibrated(table: pd.DataFrame, temperature: float) -> pd.DataFrame:
    """The table with other p0..p9: proportional to p^(1/`temperature`). Predicted digits, and `loss`, stay.

    For a model trained with cross entropy that is softmax(logits / temperature), temperature scaling itself. For "bce"
    the ten sigmoids, divided by their sum, are scaled in the same way; no temperature of its logits does quite that.
    """
    chances = np.exp(log_softmax(_logarithms(table) / temperature, axis=1))
    return table.assign(**dict(zip(PROBABILITIES, chances.T, strict=True)))


def _logarithms(table: pd.DataFrame) -> np.ndarray:
    return np.log(np.maximum(table[PROBABILITIES].to_numpy(float), SMALLEST))


def risk_coverage(table: pd.DataFrame, level: float = 0.95) -> pd.DataFrame:
    """What happens if the model answers only when it is sure enough, and says "not sure" otherwise.

    A row for each confidence that occurs, the highest first. Columns: threshold, coverage (share of clips whose
    confidence reaches it), risk (share of those that are misread), low and high (the risk's `speaker_interval`).
    """
    confidence = table[PROBABILITIES].to_numpy(float).max(axis=1)
    order = np.argsort(-confidence, kind="stable")
    who = np.eye(table["speaker"].nunique())[pd.factorize(table["speaker"])[0]][order]
    right = (table["digit"] == table["predicted"]).to_numpy()[order, None] * who
    threshold = confidence[order]
    # Clips of one confidence are answered together or not at all.
    last = np.append(np.flatnonzero(np.diff(threshold)), len(table) - 1)
    clips, right = who.cumsum(axis=0)[last], right.cumsum(axis=0)[last]
    low, high = speaker_interval(right, clips, level)
    risk = 1 - right.sum(axis=1) / (last + 1)
    columns = {"threshold": threshold[last], "coverage": (last + 1) / len(table), "risk": risk}
    return pd.DataFrame({**columns, "low": 1 - high, "high": 1 - low})


def coverage_at(table: pd.DataFrame, risk: float) -> float:
    """The largest share of clips that can be answered with at most `risk` of the answers wrong; 0 if there is none.

    The threshold that does it was chosen by looking at these very clips: on others the risk will be a little higher.
    """
    curve = risk_coverage(table)
    return float(curve["coverage"].where(curve["risk"] <= risk, 0).max())


def draw_reliability(tables: dict[str, pd.DataFrame]) -> Figure:
    """Accuracy against confidence, bin by bin: a chart for each {name: `calibration.reliability`}."""
    layout = {"squeeze": False, "sharex": True, "sharey": "row", "height_ratios": [3, 1]}
    fig, axes = figure(4.2 * len(tables), 4.6, 2, len(tables), **layout)
    parts = []
    for (top, bottom), (name, table) in zip(axes.T, tables.items(), strict=True):
        confidence, right, clips = table["confidence"], table["accuracy"], table["clips"]
        error = np.average((confidence - right).abs(), weights=clips)
        top.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1)
        top.vlines(confidence, right, confidence, color=ORANGE, linewidth=4, alpha=0.5)
        top.plot(confidence, right, "o-", color=BLUE)
        top.set(title=f"{name}: calibration error {error:.2%}", xlim=(0, 1.02), ylim=(0, 1.05))
        bottom.bar(table["low"], clips, table["high"] - table["low"], align="edge", color=BLUE, edgecolor="white")
        bottom.set(xlabel="confidence", yscale="log")
        way = "above" if np.average(confidence - right, weights=clips) > 0 else "below"
        parts.append(f"{name}, an expected calibration error of {error:.2%}, confidence on average {way} accuracy")
    axes[0, 0].set_ylabel("accuracy")
    axes[1, 0].set_ylabel("clips")
    alt = f"Reliability: accuracy against confidence in bins, the diagonal being perfect, and below it clips in each bin. {'; '.join(parts)}."
    return describe(fig, alt, "On the dashed diagonal confidence keeps its word, and orange is how far it does not.")


def draw_risk_coverage(curves: dict[str, pd.DataFrame]) -> Figure:
    """Share of wrong answers against share of clips answered, the surest first: {name: `calibration.risk_coverage`}."""
    fig, ax = figure(8, 3.4)
    parts, top = [], 0.0
    for (name, curve), (colour, _, line) in zip(curves.items(), looks(), strict=False):
        draw_band(ax, 100 * curve["coverage"], curve, "risk", colour, linestyle=line, label=name)
        half, whole = curve.iloc[(curve["coverage"] - 0.5).abs().argmin()], curve.iloc[-1]
        # Of the first few answers nothing is known: their intervals would press the rest flat.
        top = max(top, curve["risk"].max(), whole["high"], half["high"])
        surest = f"{half['risk']:.1%} of the surest {half['coverage']:.0%}"
        parts.append(f"{name} misreads {whole['risk']:.1%} if it answers all clips, {surest}")
    ax.set(xlabel="clips answered, in per cent, the surest first", ylabel="misread, in per cent", xlim=(0, 100))
    ax.set_ylim(0, 100 * min(1, 1.1 * top))
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    alt = f"Risk against coverage, with 95 % intervals: {'; '.join(parts)}."
    return describe(fig, alt, "Further to the left the model answers fewer clips, only those that it is surest of.")
