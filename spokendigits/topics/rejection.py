"""How well a network tells digits from what is none, and the score below which it refuses to answer. Chapter 7."""

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from sklearn.metrics import roc_auc_score, roc_curve

from spokendigits.classifier import Classifier
from spokendigits.clips import Clips
from spokendigits.corpora.corpus import Corpus
from spokendigits.errors import CourseError
from spokendigits.intervals import interval
from spokendigits.loading import Loader
from spokendigits.losses import digit_score
from spokendigits.plots import GREY, describe, figure, looks

BATCH = 128  # clips


def scores(classifier: Classifier, clips: Clips, corpus: Corpus, rows: np.ndarray) -> np.ndarray:
    """`losses.digit_score` of clips, float [rows]: the larger, the surer that any digit was said.

    Computed where the classifier is, which is left in evaluation mode.
    """
    device, recipe = next(classifier.parameters()).device, classifier.recipe
    classifier.eval()
    batches = Loader(clips, corpus, device).each(rows[i : i + BATCH] for i in range(0, len(rows), BATCH))
    precision = torch.autocast(device.type, enabled=recipe.mixed_precision_inference, dtype=torch.bfloat16)
    values = [torch.empty(0)]
    with torch.inference_mode(), precision:
        values += [digit_score(classifier(audio).float(), recipe.loss).cpu() for audio, _ in batches]
    return torch.cat(values).double().numpy()


def auroc(scored: np.ndarray, is_digit: np.ndarray, speakers: np.ndarray, rounds: int = 1000) -> dict[str, float]:
    """The chance that a digit scores higher than what is none: the area under the ROC curve.

    scored: float [clips], is_digit: bool [clips], speakers: names [clips]; one speaker may say digits and other words.
    Returns value, low and high; the interval of 95 % respects speakers (`intervals.interval`, which draws `rounds` times).
    Raises CourseError if there is no digit, or nothing else.
    """
    scored, is_digit = np.asarray(scored), np.asarray(is_digit, bool)
    table = pd.DataFrame({"score": scored, "is_digit": is_digit, "speaker": np.asarray(speakers)})
    if table["is_digit"].nunique() < 2:
        kind = "digits" if is_digit.any() else "no digits"
        raise CourseError(f"auroc: all {len(table)} clips are {kind}. Give both kinds.")
    low, high = interval(table, _area, rounds)
    return {"value": _area(table), "low": low, "high": high}


def _area(table: pd.DataFrame) -> float:
    # Speakers that were drawn may all have said digits, or none: that draw says nothing.
    if table["is_digit"].nunique() < 2:
        return float("nan")
    return float(roc_auc_score(table["is_digit"], table["score"]))


def choose_threshold(digit_scores: np.ndarray, share: float) -> float:
    """The highest of these scores of digits that at least `share` of them reach: a lower score is then no digit.

    Raises CourseError without scores, or for a share that is not in 0..1.
    """
    digit_scores = np.sort(np.asarray(digit_scores, float))
    if not len(digit_scores) or not 0 < share <= 1:
        given = f"{len(digit_scores)} scores, share {share}"
        raise CourseError(f"choose_threshold: {given}. Give scores, and a share above 0, at most 1.")
    # As many of n as may be refused. Rounded first: 1 - 0.9 is a little less than a tenth.
    refused = int(round((1 - share) * len(digit_scores), 9))
    return float(digit_scores[min(refused, len(digit_scores) - 1)])


def draw_scores(groups: dict[str, np.ndarray], limit: float | None = None) -> Figure:
    """How the scores of several kinds of sounds are spread: {name: scores [n]}, a strip each; `limit` is drawn as a line."""
    fig, ax = figure(8, 1.0 + 0.7 * len(groups))
    random, parts = np.random.default_rng(0), []
    for place, ((name, values), (colour, *_)) in enumerate(zip(groups.items(), looks(), strict=False)):
        values = np.asarray(values, float)
        ax.scatter(values, place + random.uniform(-0.28, 0.28, len(values)), s=9, alpha=0.5, linewidth=0, color=colour)
        low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
        ax.vlines(middle, place - 0.38, place + 0.38, color="black", linewidth=1.5)
        part = f"{name}: half of {len(values)} above {middle:.1f}, nine in ten between {low:.1f} and {high:.1f}"
        parts.append(part if limit is None else f"{part}, {np.mean(values >= limit):.0%} at or above the limit")
    if limit is not None:
        ax.axvline(limit, color=GREY, linestyle="--")
        ax.annotate("limit", (limit, 1), (4, -2), ("data", "axes fraction"), "offset points", color=GREY, va="top")
    ax.set_yticks(range(len(groups)), groups)
    ax.set(xlabel="score: how sure the network is that a digit was said", ylim=(len(groups) - 0.5, -0.5))
    where = "" if limit is None else f", and a limit at {limit:.1f}"
    alt = f"Scores of {len(groups)} kinds of sounds{where}. {'; '.join(parts)}."
    return describe(
        fig, alt, "Each dot is one sound, and the black line is the middle of its kind; up and down means nothing."
    )


def draw_roc(curves: dict[str, tuple[np.ndarray, np.ndarray]], limit: float | None = None) -> Figure:
    """ROC curves of digits against other sounds: {name: (scores of digits [n], scores of the others [m])}; where `limit` lies."""
    fig, ax = figure(5, 4.4)
    ax.plot([0, 100], [0, 100], color=GREY, linestyle="--", linewidth=1)
    parts = []
    for (name, (digits, others)), (colour, marker, line) in zip(curves.items(), looks(), strict=False):
        truth, values = np.repeat([1, 0], [len(digits), len(others)]), np.concatenate([digits, others])
        let_in, kept, _ = roc_curve(truth, values)
        area = roc_auc_score(truth, values)
        ax.plot(100 * let_in, 100 * kept, line, color=colour, label=f"{name}: {area:.3f}")
        parts.append(f"digits against {name}: {area:.3f}")
        if limit is not None:
            let_in, kept = (100 * np.mean(sounds >= limit) for sounds in (others, digits))
            ax.plot(let_in, kept, marker, color=colour, markersize=8)
            parts[-1] += f", at the limit {kept:.0f} % of the digits and {let_in:.0f} % of the others pass"
    ax.set(xlabel="other sounds that pass, in per cent", ylabel="digits that pass, in per cent")
    ax.legend(loc="lower right", title="area under the curve")
    alt = f"ROC curves: digits that pass against other sounds that pass, for every limit. Area under the curve, {'; '.join(parts)}."
    return describe(
        fig, alt, "Each point of a line is one limit: further up loses fewer digits, further left lets fewer others in."
    )
