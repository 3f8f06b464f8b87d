"""Self-checks of notebook 6, Read real voices."""

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from spokendigits.checks import judge
from spokendigits.checks.judge import PERCENT, Lesson, Table, check, number
from spokendigits.clips import Clips
from spokendigits.corpora.corpus import FULL_SCALE


@number
def gap_to_worst(points: Any, found: Mapping) -> Table:
    """How many points the worst-read person lies below the mean of all."""
    results = ("loso_mean", "loso_worst", "official_split", "no_human_data")
    mean, worst, official, none = (found[name]["accuracy"] for name in results)
    right, published = 100 * (mean - worst), 100 * (official - worst)
    yield "how many points does the worst-read person lie below the mean of the six?"
    yield right, Lesson("Report both: the mean is about the test, the worst is about a person.")
    yield mean - worst, "That is a share. A point is a hundredth, so multiply by 100."
    yield -right, "The sign is turned. How far *below* the mean?"
    yield 100 * worst, "That is how well that person is read. Asked is the distance from the mean."
    yield published, "That starts from the published split, which knows its voices. Take `loso_mean`."
    yield right / mean, "That is a share of the mean. Points are a plain difference."
    yield 100 * (mean - none), "That is what people's recordings bought, on average."
    yield "`loso_mean` and `loso_worst` each have an `accuracy`. Subtract, and turn shares into points."


@check
def bought_most(step: Any, ladder: Mapping) -> Table:
    """The step that gained most over the step before it."""
    scores = pd.Series({name: result["accuracy"] for name, result in ladder.items()})
    gains = scores.diff()
    yield "the name of the step that gained most over the one before."
    step = judge.one_name(step)
    yield step not in scores.index, f"There is no such step. They are: {', '.join(scores.index)}."
    yield step == scores.index[0], "That is where it begins. A gain needs a row above it."
    lesson = "The rows in between tell that. From the first and the last alone, each step could have been it."
    yield gains[step] == gains.max(), Lesson(lesson)
    highest = step == scores.idxmax()
    yield highest, "That row has the highest accuracy. Asked is the largest gain over the row above."
    yield "Another step gained more over the row above it."


@number
def mistakes_left(share: Any, found: Mapping) -> Table:
    """Of the mistakes without any human recording, which share is left after five other people."""
    none, five, official = (found[name]["accuracy"] for name in ("no_human_data", "loso_mean", "official_split"))
    right, published = (1 - five) / (1 - none), (1 - official) / (1 - none)
    yield "of the mistakes without human recordings, which share is left after five people?"
    yield right, Lesson("Near 100 %, count mistakes: the accuracies hardly differ, the mistakes do.")
    yield 100 * right, PERCENT
    yield 1 - right, "That is the share that is gone. Asked is what is left."
    turned = 1 / right if right else math.nan
    yield turned, "The fraction is upside down: what is left, divided by what there was."
    for ratio in (five / none, none / five):
        yield ratio, "Those are right answers. Divide the shares of mistakes, 1 less the accuracy."
    yield five - none, "That is a difference. Of the mistakes that there were, which share is left?"
    yield published, "That is the published split, which knows its voices. Take `loso_mean`."
    yield 1 - five, "That is a share of all clips. Divide it by the share of mistakes before."
    yield "Mistakes are 1 less the accuracy: those of `loso_mean`, divided by those of `no_human_data`."


@check
def more_than_luck(luck: Any, clear: Any, found: Mapping) -> Table:
    """How far trainings differ by their seed alone, and which parts of augmentation are worth more than that."""
    seeds = np.array(found["no_human_data"]["seeds"], float)
    range_ = np.ptp(seeds)
    scores = {name.removeprefix("without "): result["accuracy"] for name, result in found["without"].items()}
    whole = scores.pop("all six")
    costs = {name: whole - score for name, score in scores.items()}
    right = {name for name, cost in costs.items() if cost > range_}
    yield "`luck`, a difference of accuracies, and `clear`, a list of parts."
    same = partial(math.isclose, judge.one_number(luck), rel_tol=judge.NEAR, abs_tol=1e-9)
    if not same(range_):
        yield same(100 * range_), "`luck` is in points. Take shares, as the accuracies are."
        deviation = same(seeds.std()) or same(seeds.std(ddof=1))
        yield deviation, "`luck` is a standard deviation. Asked is the range."
        yield same(seeds.mean()), "`luck` is the mean of the seeds. Asked is largest less smallest."
        yield same(-range_), "`luck` is negative: the largest less the smallest."
        yield "`luck` is the largest of `seeds` in `no_human_data`, less the smallest."
    names = [clear] if isinstance(clear, str) else clear
    yield not np.iterable(names), f"`clear` should be a list of names, not {judge.kind_of(names)}."
    names = list(names)
    yield not all(isinstance(name, str) for name in names), "`clear` should be a list of names, in quotes."
    given = {name.strip().removeprefix("without ") for name in names}
    yield "all six" in given, "*all six* is what the others are compared with."
    yield given - {*costs}, f"`clear` has a name that is no part. The parts are: {', '.join(costs)}."
    yield given == {*costs} - right != right, "Turned round: those cost less than luck alone."
    cheap = ", ".join(sorted(given - right))
    yield cheap, f"Leaving out {cheap} costs no more than luck. Compare with *all six*."
    yield right - given, f"{len(right - given)} more of the parts cost more than luck."
    yield Lesson(
        "Of the other parts this test cannot tell. That is not the same as knowing that they are worth nothing."
    )


@check
def later(moved: Any, clips: Clips, count: int = 100, seconds: float = 0.1) -> Table:
    """Whether the first clips were moved to the right by so many seconds, with zeros in front."""
    clean = clips.read(np.arange(min(count, len(clips)))).astype(float)
    by, milli = round(seconds * clips.sample_rate), round(1000 * seconds)

    def move(by: int) -> np.ndarray:
        out = np.zeros_like(clean)
        out[:, by:] = clean[:, : max(0, clean.shape[1] - by)]
        return out

    yield f"the first {len(clean)} clips, each {seconds} seconds later."
    longer = np.shape(judge.numbers_of(moved)) == (len(clean), clean.shape[1] + by)
    yield longer, "The clips are longer now. What is pushed out on the right has to go."
    given = judge.array_of(moved, "an array of clips", clean.shape, "clips x samples")
    whole = given * FULL_SCALE if np.abs(given).max(initial=0) <= 1 else given
    same = partial(np.allclose, whole, atol=0.6)
    lesson = "Only zeros were lost, or the end of a long word. A network that saw this reads late speakers, too."
    yield same(move(by)), Lesson(lesson)
    yield same(clean), "Nothing has moved. A clip is a row: move along the samples, the second axis."
    earlier = np.pad(clean, ((0, 0), (0, by)))[:, by:]
    yield same(earlier), "The words come earlier. Zeros go in front, on the left."
    yield same(np.roll(clean, by, axis=1)), "What left on the right came back on the left. Put zeros there."
    yield same(np.roll(clean, by)), "The end of each clip ran into the next one. Move along the samples: `axis=1`."
    yield same(move(milli)), f"That moves by {milli} samples, not milliseconds. Use the sample rate."
    other_rate = any(same(move(round(seconds * rate))) for rate in {*judge.RATES} - {clips.sample_rate})
    yield other_rate, "That takes another sample rate. Use `clips.sample_rate`."
    zeros = not whole[:, :by].any()
    yield zeros, "The zeros are there. What follows them should be the clip from its first sample on."
    yield "Make an array of zeros, and write each clip into it, `by` samples to the right."
