"""From the chances of symbols over time to what was said: one word, or several and when. Without PyTorch, for `predict`. Chapter 7.

The book's page "Say a digit" does the same in JavaScript.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from spokendigits.corpora.corpus import DIGITS

OTHER, BLANK = DIGITS, DIGITS + 1  # symbols after the digits: a word that is none, and no word
SYMBOLS = DIGITS + 2
SURE = 0.5  # a digit with a lower chance is a guess
STEP, FIRST = 0.08, -0.06  # seconds from step to step, and where the first one hears


@dataclass(frozen=True)
class Heard:
    """A word from `start` to `end`, in seconds, and the chances [SYMBOLS] that it is each digit, another word, or none."""

    start: float
    end: float
    chances: np.ndarray


def one_word(logarithms: np.ndarray) -> np.ndarray:
    """The chances [SYMBOLS] of a recording that holds one word at most: each digit, another word, nothing.

    logarithms: of the symbols' chances, float [steps, SYMBOLS]. A word may be said at any time: its chance is the sum over
    all ways to put it between blanks (the forward sum of CTC, for one symbol).
    """
    before, during, after = 0.0, np.full(BLANK, -np.inf), np.full(BLANK, -np.inf)
    for step in logarithms.astype(np.float64):
        after = np.logaddexp(after, during) + step[BLANK]
        during = np.logaddexp(during, before) + step[:BLANK]
        before += step[BLANK]
    sums = np.append(np.logaddexp(during, after), before)
    chances = np.exp(sums - sums.max())
    return chances / chances.sum()


def words(logarithms: np.ndarray) -> list[Heard]:
    """The words of a recording in their order: the likeliest symbol of each step, without repeats and blanks.

    Each lasts to the middle of the gap to its neighbour, and its chances are those of one word there.
    """
    best = logarithms.argmax(axis=1)
    changes = np.diff(best, prepend=BLANK, append=BLANK) != 0
    starts, ends = np.flatnonzero(changes[:-1] & (best != BLANK)), np.flatnonzero(changes[1:] & (best != BLANK)) + 1
    cuts = [0, *((ends[:-1] + starts[1:] + 1) // 2), len(best)] if len(starts) else []
    return [
        Heard(*(max(0.0, FIRST + STEP * (cut - 0.5)) for cut in (first, last)), one_word(logarithms[first:last]))
        for first, last in pairwise(cuts)
    ]


def digit_score(chances: np.ndarray) -> float:
    """How sure it is that any digit was said: the logarithm of that chance."""
    return float(np.log(chances[:DIGITS].sum() + 1e-12))
