"""How well a network tells digits from what is none, and the score below which it refuses to answer."""

import numpy as np
import pandas as pd
import torch
from sklearn.metrics import roc_auc_score

from spokendigits.classifier import Classifier
from spokendigits.clips import Clips
from spokendigits.corpora.corpus import Corpus
from spokendigits.errors import CourseError
from spokendigits.evaluation import digit_score, interval
from spokendigits.loading import Loader

BATCH = 128  # clips


def scores(classifier: Classifier, clips: Clips, corpus: Corpus, rows: np.ndarray) -> np.ndarray:
    """`evaluation.digit_score` of clips, float [rows]: the larger, the surer that any digit was said.

    Computed where the classifier is, which is left in evaluation mode.
    """
    device = next(classifier.parameters()).device
    recipe = classifier.recipe
    classifier.eval()
    batches = [rows[first : first + BATCH] for first in range(0, len(rows), BATCH)]
    with (
        torch.inference_mode(),
        torch.autocast(device.type, enabled=recipe.mixed_precision_inference, dtype=torch.bfloat16),
    ):
        each = Loader(clips, corpus, device).each(batches)
        found = [digit_score(classifier(audio).float(), recipe.loss).cpu() for audio, _ in each]
    return torch.cat(found).double().numpy() if found else np.empty(0)


def auroc(scored: np.ndarray, is_digit: np.ndarray, speakers: np.ndarray, rounds: int = 1000) -> dict[str, float]:
    """The chance that a digit scores higher than what is none: the area under the ROC curve.

    scored: float [clips], is_digit: bool [clips], speakers: names [clips]; one speaker may say digits and other words.
    Returns value, low and high; the interval of 95 % respects speakers (`evaluation.interval`, which draws `rounds` times).
    Raises CourseError if there is no digit, or nothing else.
    """
    table = pd.DataFrame(
        {"score": np.asarray(scored), "is_digit": np.asarray(is_digit, bool), "speaker": np.asarray(speakers)}
    )
    if table["is_digit"].nunique() < 2:
        raise CourseError(
            f"auroc: all {len(table)} clips are {'digits' if table['is_digit'].any() else 'no digits'}. Give both kinds."
        )
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
        raise CourseError(
            f"choose_threshold: {len(digit_scores)} scores, share {share}. Give scores, and a share above 0, at most 1."
        )
    # As many of n as may be refused. Rounded first: 1 - 0.9 is a little less than a tenth.
    refused = int(round((1 - share) * len(digit_scores), 9))
    return float(digit_scores[min(refused, len(digit_scores) - 1)])
