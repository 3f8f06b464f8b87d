"""Voice activity detection: the spoken parts of a recording, by its level. For `spokendigits predict`, and the page "Say a digit".

The book's page "Say a digit" does the same in JavaScript, with the constants of this module.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from spokendigits.corpora.recording import middle

# Levels are in decibels of full scale, times in seconds.
FRAMES = 100  # a second, each of which has a level
FAINTEST = 1e-10  # added to the power, so that silence has a level: -100 dB
QUIET = -50.0  # a recording with a lower peak is too quiet
ABOVE_FLOOR = 10.0  # so far above the background a word has to be,
BELOW_PEAK = 30.0  # and at most so far below the loudest frame,
LEAST = -60.0  # and above this
HEADROOM = 6.0  # but what is so near to the loudest frame is always part of a word
FLOOR = 10  # the percentile of all levels that counts as the background
GAP = 0.2  # a shorter pause is within a word, as before the t of "eight"
SHORTEST = 0.08  # what is shorter is a click
MARGIN = 0.05  # added on both sides, for a word's soft beginning and end
LONGEST = 1.5  # what is longer is no single word, but music, a noise or a sentence without a pause


@dataclass(frozen=True)
class Word:
    """A spoken part of a recording, in seconds from its start."""

    start: float
    end: float


def find_words(audio: np.ndarray, sample_rate: int) -> list[Word]:
    """The spoken parts of a recording, float [n] in -1..1, in their order; none if it is too quiet.

    A word longer than LONGEST is no single word: who calls this decides what it is. A constant is taken away first.
    """
    audio = audio - middle([audio[:, None]], 0.0)[0] if len(audio) else audio
    return words_of(levels([audio], sample_rate), sample_rate, len(audio))


def levels(blocks: Iterable[np.ndarray], sample_rate: int) -> np.ndarray:
    """The level of every hundredth of a second, in dB of full scale, float64 [frames].

    blocks: the recording, float [n] each, cut anywhere. What is left of it after the last whole frame has no level.
    """
    size = sample_rate // FRAMES
    parts, rest = [np.empty(0)], np.empty(0)
    for block in blocks:
        rest = np.concatenate([rest, block.astype(np.float64)])
        frames = len(rest) // size
        power = np.square(rest[: frames * size]).reshape(frames, size).mean(axis=1)
        parts.append(10 * np.log10(power + FAINTEST))
        rest = rest[frames * size :]
    return np.concatenate(parts)


def words_of(level: np.ndarray, sample_rate: int, samples: int) -> list[Word]:
    """`find_words` for a recording of so many samples whose `levels` are known."""
    if not len(level) or level.max() < QUIET:
        return []
    threshold = max(np.percentile(level, FLOOR) + ABOVE_FLOOR, level.max() - BELOW_PEAK, LEAST)
    loud = level > min(threshold, level.max() - HEADROOM)
    # Where loud frames begin and end, in turn.
    edges = np.flatnonzero(np.diff(loud, prepend=False, append=False))
    first, last = edges[::2], edges[1::2]
    pause = first[1:] - last[:-1] >= round(GAP * FRAMES)
    first, last = first[np.r_[True, pause]], last[np.r_[pause, True]]
    long = last - first >= round(SHORTEST * FRAMES)
    frame = sample_rate // FRAMES / sample_rate
    # Words are further apart than two margins.
    return [
        Word(max(0.0, float(start * frame - MARGIN)), min(samples / sample_rate, float(end * frame + MARGIN)))
        for start, end in zip(first[long], last[long], strict=True)
    ]
