"""`coverage`: how often an interval holds the truth, by simulation. Chapter 4."""

from collections.abc import Callable

import numpy as np
from matplotlib.figure import Figure

from spokendigits.errors import CourseError
from spokendigits.intervals import speaker_interval
from spokendigits.plots import BLUE, GREY, ORANGE, describe, figure


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
    right = _tests(speakers, clips, mean, spread, rounds, seed)
    low, high = method(right, np.full(speakers, clips), level)
    above, below = float((low > mean).mean()), float((high < mean).mean())
    return {"speakers": speakers, "clips": clips, "mean": mean, "spread": spread, "level": level,
            "coverage": 1 - above - below, "above": above, "below": below, "width": float((high - low).mean())}  # fmt: skip


def _tests(speakers: int, clips: int, mean: float, spread: float, rounds: int, seed: int) -> np.ndarray:
    """Right answers of the speakers of pretended tests, [rounds, speakers]."""
    rate = 1 - mean
    # The variance of any share is below mean * (1 - mean).
    if not (0 < mean < 1 and rate * spread**2 < mean):
        raise CourseError(f"coverage: mean {mean} with spread {spread} is no distribution of accuracies. Lower one.")
    both = mean / (rate * spread**2) - 1 if spread else np.inf  # the Beta distribution's two parameters, added
    random = np.random.default_rng(seed)
    size = (rounds, speakers)
    wrong = random.beta(rate * both, mean * both, size) if spread else np.full(size, rate)
    return random.binomial(clips, 1 - wrong)


def draw_tests(methods: dict[str, Callable], plan: dict[str, float], level: float = 0.95, tests: int = 60) -> Figure:
    """The intervals of the same `tests` by each of two or more methods, {name: method}.

    plan: speakers, clips, mean and spread, as `coverage` takes them.
    """
    right = _tests(**plan, rounds=tests, seed=0)
    clips, mean = np.full(plan["speakers"], plan["clips"]), plan["mean"]
    fig, axes = figure(9, 3.4, 1, len(methods))
    parts = []
    for ax, (name, method) in zip(axes, methods.items(), strict=True):
        low, high = method(right, clips, level)
        holds = (low <= mean) & (mean <= high)
        for mark, colour, width in ((holds, BLUE, 1), (~holds, ORANGE, 2.5)):
            ax.hlines(np.flatnonzero(mark), 100 * low[mark], 100 * high[mark], color=colour, linewidth=width)
        ax.axvline(100 * mean, color=GREY, linestyle="--")
        ax.set(title=f"{name}: {holds.sum()} of {tests} hold the truth", xlabel="accuracy, in per cent", yticks=[])
        parts.append(f"{name}, {holds.sum()}")
    alt = (
        f"The intervals of {tests} pretended tests, one below the other, and the true accuracy of {mean:.0%} as a dashed line. "
        f"Intervals that hold it: {'; '.join(parts)}. Those that do not are drawn thick."
    )
    return describe(
        fig, alt, "Each line is one test with other speakers; a thick one misses the truth, the dashed line."
    )
