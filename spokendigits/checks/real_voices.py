"""Self-checks of notebook 6, Read real voices."""

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from spokendigits.checks.judge import (
    NEAR,
    RATES,
    Unclear,
    check_shape,
    first_true,
    judge_number,
    kind_of,
    numbers_of,
    one_name,
    one_number,
    say,
)
from spokendigits.clips import Clips
from spokendigits.corpora.corpus import FULL_SCALE


def gap_to_worst(points: Any, found: Mapping) -> bool:
    """How many points the worst-read person lies below the mean of all."""
    mean, worst, official = (found[name]["accuracy"] for name in ("loso_mean", "loso_worst", "official_split"))
    right = 100 * (mean - worst)
    return judge_number(
        points,
        right,
        "how many points does the worst-read person lie below the mean of the six?",
        "Report both: the mean is about the test, the worst is about a person.",
        [
            (mean - worst, "That is a share. A point is a hundredth, so multiply by 100."),
            (-right, "The sign is turned. How far *below* the mean?"),
            (100 * worst, "That is how well that person is read. Asked is the distance from the mean."),
            (
                100 * (official - worst),
                "That starts from the published split, which knows its voices. Take `loso_mean`.",
            ),
            (right / mean, "That is a share of the mean. Points are a plain difference."),
            (100 * (mean - found["no_human_data"]["accuracy"]), "That is what people's recordings bought, on average."),
        ],
        "`loso_mean` and `loso_worst` each have an `accuracy`. Subtract, and turn shares into points.",
    )


def bought_most(step: Any, found: Mapping) -> bool:
    """The step that gained most over the step before it."""
    scores = pd.Series({name: one["accuracy"] for name, one in found["steps"].items()})
    gains = scores.diff()

    def judge(answer: Any) -> tuple[bool, str]:
        given = one_name(answer)
        return first_true(
            [
                (given not in scores.index, f"There is no such step. They are: {', '.join(scores.index)}."),
                (given == scores.index[0], "That is where it begins. A gain needs a row above it."),
                (
                    lambda: gains[given] < gains.max() and given == scores.idxmax(),
                    "That row has the highest accuracy. Asked is the largest gain over the row above.",
                ),
                (lambda: gains[given] < gains.max(), "Another step gained more over the row above it."),
            ],
            "Without the rows in between, the praise would have gone to the last step.",
        )

    return say("the name of the step that gained most over the one before.", step, judge)


def mistakes_left(share: Any, found: Mapping) -> bool:
    """Of the mistakes without any human recording, which share is left after five other people."""
    none, five, official = (found[name]["accuracy"] for name in ("no_human_data", "loso_mean", "official_split"))
    right = (1 - five) / (1 - none)
    return judge_number(
        share,
        right,
        "of the mistakes without human recordings, which share is left after five people?",
        "Near 100 %, count mistakes: the accuracies hardly differ, the mistakes do.",
        [
            (1 - right, "That is the share that is gone. Asked is what is left."),
            (1 / right if right else math.nan, "The fraction is upside down: what is left, divided by what there was."),
            (five / none, "Those are right answers. Divide the shares of mistakes, 1 less the accuracy."),
            (none / five, "Those are right answers. Divide the shares of mistakes, 1 less the accuracy."),
            (five - none, "That is a difference. Of the mistakes that there were, which share is left?"),
            ((1 - official) / (1 - none), "That is the published split, which knows its voices. Take `loso_mean`."),
            (1 - five, "That is a share of all clips. Divide it by the share of mistakes before."),
        ],
        "Mistakes are 1 less the accuracy: those of `loso_mean`, divided by those of `no_human_data`.",
        share=True,
    )


def more_than_luck(luck: Any, clear: Any, found: Mapping) -> bool:
    """How far trainings differ by their seed alone, and which parts of augmentation are worth more than that."""
    seeds = np.array(found["no_human_data"]["seeds"], float)
    range_ = float(seeds.max() - seeds.min())
    scores = {name.removeprefix("without "): one["accuracy"] for name, one in found["without"].items()}
    whole = scores.pop("all six")
    costs = {name: whole - score for name, score in scores.items()}
    right = {name for name, cost in costs.items() if cost > range_}

    def judge(answer: tuple) -> tuple[bool, str]:
        number, names = one_number(answer[0]), answer[1]

        def same(other: float) -> bool:
            return math.isclose(number, other, rel_tol=NEAR, abs_tol=1e-9)

        if not same(range_):
            return first_true(
                [
                    (same(100 * range_), "`luck` is in points. Take shares, as the accuracies are."),
                    (
                        same(seeds.std()) or same(seeds.std(ddof=1)),
                        "`luck` is a standard deviation. Asked is the range.",
                    ),
                    (same(seeds.mean()), "`luck` is the mean of the seeds. Asked is largest less smallest."),
                    (same(-range_), "`luck` is negative: the largest less the smallest."),
                    (True, "`luck` is the largest of `seeds` in `no_human_data`, less the smallest."),
                ],
                "",
            )
        try:
            names = {names} if isinstance(names, str) else set(names)
        except TypeError:
            raise Unclear(f"`clear` should be a list of names, not {kind_of(names)}.") from None
        if not all(isinstance(name, str) for name in names):
            raise Unclear("`clear` should be a list of names, in quotes.")
        given = {name.strip().removeprefix("without ") for name in names}
        return first_true(
            [
                ("all six" in given, "*all six* is what the others are compared with."),
                (bool(given - set(costs)), f"`clear` has a name that is no part. The parts are: {', '.join(costs)}."),
                (given != right and given == set(costs) - right, "Turned round: those cost less than luck alone."),
                (
                    bool(given - right),
                    f"Leaving out {', '.join(sorted(given - right))} costs no more than luck. Compare with *all six*.",
                ),
                (given != right, f"{len(right - given)} more of the parts cost more than luck."),
            ],
            "Of the other parts this test cannot tell. That is not the same as knowing that they are worth nothing.",
        )

    return say("`luck`, a difference of accuracies, and `clear`, a list of parts.", (luck, clear), judge)


def later(moved: Any, clips: Clips, count: int = 100, seconds: float = 0.1) -> bool:
    """Whether the first clips were moved to the right by so many seconds, with zeros in front."""
    clean = clips.read(np.arange(min(count, len(clips)))).astype(float)
    by = round(seconds * clips.sample_rate)

    def move(by: int) -> np.ndarray:
        out = np.zeros_like(clean)
        if by >= 0:
            out[:, by:] = clean[:, : max(0, clean.shape[1] - by)]
        else:
            out[:, :by] = clean[:, -by:]
        return out

    def judge(answer: Any) -> tuple[bool, str]:
        found = numbers_of(answer)
        if found is None:
            raise Unclear(f"Expected an array of clips, not {kind_of(answer)}.")
        if found.shape == (len(clean), clean.shape[1] + by):
            raise Unclear("The clips are longer now. What is pushed out on the right has to go.")
        check_shape(found, clean.shape, "clips x samples")
        whole = found * FULL_SCALE if np.abs(found).max(initial=0) <= 1 else found

        def same(other: np.ndarray) -> bool:
            return np.allclose(whole, other, atol=0.6)

        if same(move(by)):
            return (
                True,
                "Only zeros were lost, or the end of a long word. A network that saw this reads late speakers, too.",
            )
        return first_true(
            [
                (same(clean), "Nothing has moved. A clip is a row: move along the samples, the second axis."),
                (same(move(-by)), "The words come earlier. Zeros go in front, on the left."),
                (same(np.roll(clean, by, axis=1)), "What left on the right came back on the left. Put zeros there."),
                (
                    same(np.roll(clean, by)),
                    "The end of each clip ran into the next one. Move along the samples: `axis=1`.",
                ),
                (
                    same(move(round(1000 * seconds))),
                    f"That moves by {round(1000 * seconds)} samples, not milliseconds. Use the sample rate.",
                ),
                (
                    any(same(move(round(seconds * rate))) for rate in RATES if rate != clips.sample_rate),
                    "That takes another sample rate. Use `clips.sample_rate`.",
                ),
                (
                    not whole[:, :by].any(),
                    "The zeros are there. What follows them should be the clip from its first sample on.",
                ),
                (True, "Make an array of zeros, and write each clip into it, `by` samples to the right."),
            ],
            "",
        )

    return say(f"the first {len(clean)} clips, each {seconds} seconds later.", moved, judge)
