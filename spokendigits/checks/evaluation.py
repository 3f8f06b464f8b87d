"""Self-checks of notebook 4, Evaluate it honestly."""

import math
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binom, norm

from spokendigits.checks.judge import (
    SMALLEST,
    first_true,
    judge_number,
    one_number,
    say,
)
from spokendigits.corpora.corpus import Corpus
from spokendigits.evaluation import PROBABILITIES
from spokendigits.intervals import accuracy, interval


def count_people(people: Any, table: pd.DataFrame, recordings: Corpus) -> bool:
    """How many speakers a table of predictions is about."""
    right, everybody = table["speaker"].nunique(), len(recordings.speakers)
    return judge_number(
        people,
        right,
        "how many people is `new_voices` about?",
        "However many clips they gave, so many people stand behind the number.",
        [
            (len(table), "Those are the clips. Asked are the speakers."),
            (everybody, "Those are all speakers of the corpus. `new_voices` holds only the ones held out."),
            (everybody - right, "Those are the speakers for training. Asked are the others."),
        ],
        "Count each name in `new_voices` once.",
        near=0,
    )


def precision(share: Any, digit: int, table: pd.DataFrame, known: pd.DataFrame) -> bool:
    """Of the clips that were read as a digit, which share was that digit."""

    def of(one: pd.DataFrame, read: str = "predicted", said: str = "digit") -> float:
        return float((one.loc[one[read] == digit, said] == digit).sum() / max(1, (one[read] == digit).sum()))

    count = int(((table["predicted"] == digit) & (table["digit"] == digit)).sum())
    return judge_number(
        share,
        of(table),
        f"when the model says {digit}, how often is it {digit}?",
        "Recall asks the speaker's question, precision that of whoever reads the answer.",
        [
            (
                of(table, "digit", "predicted"),
                f"That is the recall: of those who said {digit}. Start from what was read.",
            ),
            (accuracy(table), f"That is the accuracy of all clips. Take those that were read as {digit}."),
            (of(known), "That is of `known_voices`. Take `new_voices`."),
            (1 - of(table), "That is the share of mistakes among them."),
            (count / len(table), f"Divide by the clips that were read as {digit}, not by all clips."),
            (count, "That is a count. Divide it by the number of clips that were read so."),
        ],
        f"Take the rows whose `predicted` is {digit}. In which share of them is `digit` the same?",
        share=True,
    )


def log_loss(value: Any, table: pd.DataFrame, known: pd.DataFrame) -> bool:
    """The mean of minus the natural logarithm of the true digit's probability."""

    def true_digit(one: pd.DataFrame) -> np.ndarray:
        return np.maximum(one[PROBABILITIES].to_numpy()[np.arange(len(one)), one["digit"]], SMALLEST)

    chances, true = np.maximum(table[PROBABILITIES].to_numpy(), SMALLEST), true_digit(table)
    right = -np.log(true).mean()
    return judge_number(
        value,
        right,
        "the log-loss of `new_voices`.",
        "A few confident mistakes make most of it: one probability near 0 weighs more than many near 1.",
        [
            (right / math.log(10), "That takes the logarithm to base ten. Take the natural one, `np.log`."),
            (right / math.log(2), "That takes the logarithm to base two. Take the natural one, `np.log`."),
            (-right, "The sign is turned: logarithms of probabilities are negative."),
            (right * len(table), "That is the sum. Asked is the mean over clips."),
            (-np.log(chances.max(axis=1)).mean(), "That takes the largest probability. Take the one of the true digit."),
            (-np.log(chances).mean(), "That takes all ten probabilities of a clip. Take the one of the true digit."),
            (-math.log(true.mean()), "First the logarithm of each, then the mean."),
            (true.mean(), "That is the mean probability. Take the logarithm of each before the mean."),
            (table["loss"].mean(), "That is the training's loss, which asks ten questions of each clip. Use one probability."),
            (-np.log(true_digit(known)).mean(), "That is of `known_voices`. Take `new_voices`."),
        ],
        "For each clip: the probability in the column of the digit that was said. Then minus its logarithm. Then the mean.",
    )  # fmt: skip


def clips_needed(count: Any, share: float, half_width: float) -> bool:
    """How many independent clips make a 95 % interval of so many points to either side."""
    z = float(norm.ppf(0.975))
    right = z**2 * share * (1 - share) / half_width**2
    return judge_number(
        count,
        right,
        f"how many clips, for an accuracy of {share:.0%} give or take {100 * half_width:.0f} point?",
        "Half the width takes four times the clips. And these have to be independent: clips of one voice are not.",
        [
            (right / z**2, "That is one standard error to either side. For 95 % it takes 1.96 of them."),
            (right / z, "The 1.96 is inside the square, too."),
            (right * half_width, "Square the width: the error falls with the square root of the clips."),
            (
                right / 100**2,
                "A point is 0.01, when accuracies are shares.",
            ),
            (right * 4, "That makes the whole interval so wide. Asked is that much to either side."),
            (right / 4, "That is twice as far to either side."),
            (right / (1 - share), "The variance of a share is p (1 - p)."),
            (right / share, "The variance of a share is p (1 - p)."),
            (right * (norm.ppf(0.95) / z) ** 2, "That is a 90 % interval. For 95 % the factor is 1.96."),
            (right * (2 / z) ** 2, "Very near: that takes 2 for 1.96."),
        ],
        "Solve 1.96 √(p (1 - p) / n) = the width to either side, for n.",
    )


def clip_interval(low: Any, high: Any, table: pd.DataFrame) -> bool:
    """A bootstrap's 95 % interval for accuracy that draws clips, and knows nothing of speakers."""
    clips, right = len(table), accuracy(table)
    # Drawing clips with replacement is a binomial draw: no need to draw anything here.
    exact = binom.ppf([0.025, 0.975], clips, right) / clips
    error = math.sqrt(right * (1 - right) / clips)
    near = max(1.01 / clips, 0.2 * error)  # a thousand rounds, and accuracies that go up in clips

    def judge(answer: tuple) -> tuple[bool, str]:
        given = np.array([one_number(one) for one in answer])

        def same(low: float, high: float, near: float = near) -> bool:
            return bool(np.allclose(given, (low, high), atol=near, rtol=0))

        spread = 1.96 * math.sqrt(right * (1 - right))
        return first_true(
            [
                (given[0] > given[1], "The lower end lies above the upper one."),
                (same(*(100 * exact), near=100 * near) and right > 0.5, "Those are percent. Accuracies are shares."),
                (
                    error > 0 and given[0] == given[1],
                    "It has no width: every draw was the same. Draw with replacement.",
                ),
                (
                    same(*interval(table), near=1e-4) and not same(*exact, near=1e-4),
                    "That is what `interval` says, which looks at speakers. Draw clips, and look at the width.",
                ),
                (not given[0] <= right <= given[1], "The accuracy itself lies outside. Draw from `new_voices`, all of it."),
                (
                    not same(*exact) and same(*(binom.ppf([0.05, 0.95], clips, right) / clips)),
                    "That is too narrow: between 5 and 95 % lie 90. Cut 2.5 % off at either end.",
                ),
                (
                    not same(*exact) and same(right - spread, right + spread, near=0.02),
                    "That is how single clips spread. Each draw has as many clips as the test, and gives one mean.",
                ),
                (
                    not same(*exact) and given[1] - given[0] > 1.3 * (exact[1] - exact[0]),
                    "That is too wide. Draw as many clips as there are, and take the mean of each draw.",
                ),
                (not same(*exact), "Draw as many clips as there are, with replacement, a thousand times; then take quantiles."),
            ],
            "A hard speaker's clips fail together. An interval that draws clips does not know that, and promises too much.",
        )  # fmt: skip

    return say("the two ends of an interval that draws clips.", (low, high), judge)
