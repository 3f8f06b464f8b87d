"""`coverage`: how often an interval holds the truth, by simulation. Chapter 4."""

from collections.abc import Callable

import numpy as np

from spokendigits.errors import CourseError
from spokendigits.intervals import speaker_interval


def coverage(
    speakers: int = 12,
    clips: int = 100,
    mean: float = 0.97,
    spread: float = 0.7,
    level: float = 0.95,
    rounds: int = 20_000,
    seed: int = 0,
    method: Callable = speaker_interval,
) -> dict[str, float]:
    """How often an interval holds the truth, by simulation: `rounds` tests with a known mean accuracy of all people.

    Each test draws `speakers` whose rates of mistakes follow a Beta distribution around 1 - `mean` with a standard
    deviation of `spread` times that rate (0: all alike; 1: many near 0, one in seven above twice the mean), and `clips`
    of each. `method` takes right [rounds, speakers], clips [speakers] and the level. Returns the settings, coverage
    (share of intervals that hold the truth), above and below (shares that lie above and below it) and width (mean).
    Raises CourseError if no rates in 0..1 have that spread.
    """
    rate = 1 - mean
    # The variance of any share is below mean * (1 - mean).
    if not (0 < mean < 1 and rate * spread**2 < mean):
        raise CourseError(f"coverage: mean {mean} with spread {spread} is no distribution of accuracies. Lower one.")
    both = mean / (rate * spread**2) - 1 if spread else np.inf  # the Beta distribution's two parameters, added
    random = np.random.default_rng(seed)
    size = (rounds, speakers)
    wrong = random.beta(rate * both, mean * both, size) if spread else np.full(size, rate)
    low, high = method(random.binomial(clips, 1 - wrong), np.full(speakers, clips), level)
    above, below = float((low > mean).mean()), float((high < mean).mean())
    return {"speakers": speakers, "clips": clips, "mean": mean, "spread": spread, "level": level,
            "coverage": 1 - above - below, "above": above, "below": below, "width": float((high - low).mean())}  # fmt: skip
