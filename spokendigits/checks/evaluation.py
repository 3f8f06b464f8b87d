"""Self-checks of notebook 4, Evaluate it honestly."""

import math
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import binom, norm

from spokendigits.checks.judge import PERCENT, Lesson, Table, check, number, one_number, whole_number
from spokendigits.corpora.corpus import PROBABILITIES, Corpus
from spokendigits.intervals import accuracy, interval

SMALLEST = 1e-16  # probability; what scikit-learn's log-loss takes for 0, nearly


@whole_number
def count_people(people: Any, table: pd.DataFrame, recordings: Corpus) -> Table:
    """How many speakers a table of predictions is about."""
    right, everybody = table["speaker"].nunique(), len(recordings.speakers)
    yield "how many people is `new_voices` about?"
    yield right, Lesson("However many clips they gave, so many people stand behind the number.")
    yield len(table), "Those are the clips. Asked are the speakers."
    yield everybody, "Those are all speakers of the corpus. `new_voices` holds only the ones held out."
    yield everybody - right, "Those are the speakers for training. Asked are the others."
    yield "Count each name in `new_voices` once."


@number
def precision(share: Any, digit: int, table: pd.DataFrame, known: pd.DataFrame) -> Table:
    """Of the clips that were read as a digit, which share was that digit."""

    def hits(table: pd.DataFrame) -> int:
        return int(((table["predicted"] == digit) & (table["digit"] == digit)).sum())

    def part(table: pd.DataFrame, column: str = "predicted") -> float:
        return hits(table) / max(1, (table[column] == digit).sum())

    right, recall = part(table), part(table, "digit")
    yield f"when the model says {digit}, how often is it {digit}?"
    yield right, Lesson("Recall asks the speaker's question, precision that of whoever reads the answer.")
    yield 100 * right, PERCENT
    yield recall, f"That is the recall: of those who said {digit}. Start from what was read."
    yield accuracy(table), f"That is the accuracy of all clips. Take those that were read as {digit}."
    yield part(known), "That is of `known_voices`. Take `new_voices`."
    yield 1 - right, "That is the share of mistakes among them."
    yield hits(table) / len(table), f"Divide by the clips that were read as {digit}, not by all clips."
    yield hits(table), "That is a count. Divide it by the number of clips that were read so."
    yield f"Take the rows whose `predicted` is {digit}. In which share of them is `digit` the same?"


@number
def log_loss(value: Any, table: pd.DataFrame, known: pd.DataFrame) -> Table:
    """The mean of minus the natural logarithm of the true digit's probability."""

    def true_digit(table: pd.DataFrame, chances: np.ndarray) -> np.ndarray:
        return chances[np.arange(len(table)), table["digit"]]

    chances, of_known = (np.maximum(part[PROBABILITIES].to_numpy(), SMALLEST) for part in (table, known))
    true, loss = true_digit(table, chances), table["loss"].mean()
    right, largest, all_ten = (-np.log(of).mean() for of in (true, chances.max(axis=1), chances))
    yield "the log-loss of `new_voices`."
    lesson = "A few confident mistakes make most of it: one probability near 0 weighs more than many near 1."
    yield right, Lesson(lesson)
    yield right / math.log(10), "That takes the logarithm to base ten. Take the natural one, `np.log`."
    yield right / math.log(2), "That takes the logarithm to base two. Take the natural one, `np.log`."
    yield -right, "The sign is turned: logarithms of probabilities are negative."
    yield right * len(table), "That is the sum. Asked is the mean over clips."
    yield largest, "That takes the largest probability. Take the one of the true digit."
    yield all_ten, "That takes all ten probabilities of a clip. Take the one of the true digit."
    yield -math.log(true.mean()), "First the logarithm of each, then the mean."
    yield true.mean(), "That is the mean probability. Take the logarithm of each before the mean."
    yield loss, "That is the training's loss, which asks ten questions of each clip. Use one probability."
    yield -np.log(true_digit(known, of_known)).mean(), "That is of `known_voices`. Take `new_voices`."
    yield "For each clip: the probability in the column of the digit that was said. Then minus its logarithm. Then the mean."


@number
def clips_needed(count: Any, share: float, half_width: float) -> Table:
    """How many independent clips make a 95 % interval of so many points to either side."""
    z = norm.ppf(0.975)
    right = z**2 * share * (1 - share) / half_width**2
    yield f"how many clips, for an accuracy of {share:.0%} give or take {100 * half_width:.0f} point?"
    lesson = "Half the width takes four times the clips. And these have to be independent: clips of one voice are not."
    yield right, Lesson(lesson)
    yield right / z**2, "That is one standard error to either side. For 95 % it takes 1.96 of them."
    yield right / z, "The 1.96 is inside the square, too."
    yield right * half_width, "Square the width: the error falls with the square root of the clips."
    yield right / 100**2, "A point is 0.01, when accuracies are shares."
    yield right * 4, "That makes the whole interval so wide. Asked is that much to either side."
    yield right / 4, "That is twice as far to either side."
    for factor in (share, 1 - share):
        yield right / factor, "The variance of a share is p (1 - p)."
    yield right * (norm.ppf(0.95) / z) ** 2, "That is a 90 % interval. For 95 % the factor is 1.96."
    yield right * (2 / z) ** 2, "Very near: that takes 2 for 1.96."
    yield "Solve 1.96 √(p (1 - p) / n) = the width to either side, for n."


@check
def clip_interval(low: Any, high: Any, table: pd.DataFrame) -> Table:
    """A bootstrap's 95 % interval for accuracy that draws clips, and knows nothing of speakers."""
    clips, right = len(table), accuracy(table)
    # Drawing clips with replacement is a binomial draw: no need to draw anything here.
    exact, ninety = (binom.ppf(ends, clips, right) / clips for ends in ([0.025, 0.975], [0.05, 0.95]))
    deviation = math.sqrt(right * (1 - right))
    error = deviation / math.sqrt(clips)
    yield "the two ends of an interval that draws clips."
    low, high = one_number(low), one_number(high)
    near = max(1.01 / clips, 0.2 * error)  # a thousand rounds, and accuracies that go up in clips

    def same(ends: Any, near: float = near) -> bool:
        return np.allclose((low, high), ends, atol=near, rtol=0)

    yield low > high, "The lower end lies above the upper one."
    percent, of_speakers = same(100 * exact, 100 * near), same(interval(table), 1e-4) and not same(exact, 1e-4)
    yield percent and right > 0.5, "Those are percent. Accuracies are shares."
    yield error > 0 and low == high, "It has no width: every draw was the same. Draw with replacement."
    yield of_speakers, "That is what `interval` says, which looks at speakers. Draw clips, and look at the width."
    yield not low <= right <= high, "The accuracy itself lies outside. Draw from `new_voices`, all of it."
    lesson = (
        "A hard speaker's clips fail together. An interval that draws clips does not know that, and promises too much."
    )
    yield same(exact), Lesson(lesson)
    yield same(ninety), "That is too narrow: between 5 and 95 % lie 90. Cut 2.5 % off at either end."
    single = same([right - 1.96 * deviation, right + 1.96 * deviation], 0.02)
    too_wide = high - low > 1.3 * (exact[1] - exact[0])
    yield single, "That is how single clips spread. Each draw has as many clips as the test, and gives one mean."
    yield too_wide, "That is too wide. Draw as many clips as there are, and take the mean of each draw."
    yield "Draw as many clips as there are, with replacement, a thousand times; then take quantiles."
