"""Self-checks of notebook 1, Listen to the data."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from spokendigits.checks.judge import (
    AT_ONCE,
    RATES,
    Unclear,
    first_true,
    judge_number,
    kind_of,
    numbers_of,
    row_numbers,
    say,
)
from spokendigits.clips import Clips
from spokendigits.corpora.corpus import Corpus
from spokendigits.splits import Split


def longest_recording(seconds: Any, clips: Clips) -> bool:
    """How long the longest recording was before it became a clip, in seconds."""
    samples, rate = clips.lengths.max(), clips.sample_rate
    return judge_number(
        seconds,
        samples / rate,
        "how long is the longest recording, in seconds?",
        "Samples become seconds with the sample rate, and only with it.",
        [
            (samples, "That is its number of samples. Divide by the samples in a second."),
            (1000 * samples / rate, "That is in milliseconds. Asked are seconds."),
            (rate / samples, "The fraction is upside down: divide the samples by the sample rate."),
            (
                clips.audio.shape[1] / rate,
                "That is the length of every clip, after padding. `clips.lengths` has the lengths before it.",
            ),
            (clips.lengths.mean() / rate, "That is the mean. Asked is the longest."),
            (clips.lengths.min() / rate, "That is the shortest. Asked is the longest."),
            *(
                (
                    samples / other,
                    "That divides by another sample rate. `clips.sample_rate` is that of `clips.lengths`.",
                )
                for other in RATES
                if other != rate
            ),
        ],
        "`clips.lengths` counts samples. Take its largest number, and divide by `clips.sample_rate`.",
    )


def digit_counts(counts: Any, recordings: Corpus, parts: Split) -> bool:
    """How many clips of each digit are in the held-out part of a split."""
    table = recordings.table
    held_out = table.iloc[parts.validation]

    def count(part: pd.DataFrame) -> np.ndarray:
        return np.bincount(part["digit"], minlength=10)

    right = count(held_out)

    def judge(answer: Any) -> tuple[bool, str]:
        if isinstance(answer, Mapping):
            answer = pd.Series(dict(answer), dtype=object)
        if isinstance(answer, pd.DataFrame) and answer.shape[1] == 1:
            answer = answer.iloc[:, 0]
        if isinstance(answer, pd.Series) and set(answer.index) <= set(range(10)) and answer.index.is_unique:
            answer = answer.reindex(range(10), fill_value=0)
        found = numbers_of(answer)
        if found is None or found.size != 10:
            size = kind_of(answer) if found is None else found.size
            raise Unclear(f"Expected ten counts, one for each digit, not {size}.")
        found = found.reshape(-1)

        def same(other: Any) -> bool:
            return np.allclose(found, other)

        if same(right):
            return True, "Where one digit is far rarer than the others, the accuracy hardly shows how it fares."
        speakers = held_out.groupby("digit")["speaker"].nunique().reindex(range(10), fill_value=0)
        return first_true(
            [
                (same(count(table)), "That counts the whole table. Take the rows in `.validation` only."),
                (same(count(table.iloc[parts.train])), "Those are the rows for training. The test is in `.validation`."),
                (same(right / right.sum()), "Those are shares. Asked are counts of clips."),
                (same(speakers), "That counts speakers. Asked are clips: each speaker has several of each digit."),
                (same(np.sort(right)) or same(np.sort(right)[::-1]), "The counts are right, but not in the order 0 to 9."),
                (True, "Take `recordings.table.iloc[…]` with the rows of `.validation`, and count its digits."),
            ],
            "",
        )  # fmt: skip

    return say("how many clips of each digit are in the test part of the speaker split?", counts, judge)


def padding_share(share: Any, clips: Clips) -> bool:
    """Which share of all samples in the clips is padding."""
    samples = clips.audio.shape[1]
    sound = np.minimum(clips.lengths, samples).sum() / clips.audio.size
    return judge_number(
        share,
        1 - sound,
        "which share of all samples in `clips.audio` is padding?",
        "So much of what the network will see says nothing. It has to learn to ignore that.",
        [
            (sound, "That is the share of sound. Asked is the rest."),
            (
                1 - clips.lengths.sum() / clips.audio.size,
                "A recording longer than a clip was cut. It has no padding, not less than none.",
            ),
            (
                (clips.lengths < samples).mean(),
                "That is the share of clips that have padding. Asked is that of samples.",
            ),
            (
                lambda: _zeros(clips),
                "That counts every zero. Recordings hold zeros of their own: use `clips.lengths`.",
            ),
        ],
        "Padding begins where a recording ends: for each clip, `clips.audio.shape[1]` less its length, and never below 0.",
        share=True,
    )


def _zeros(clips: Clips) -> float:
    rows = np.arange(len(clips))
    parts = (rows[first : first + AT_ONCE] for first in range(0, len(rows), AT_ONCE))
    return sum(int((clips.read(part) == 0).sum()) for part in parts) / clips.audio.size


def audit_finds(findings: Any) -> bool:
    """Whether an audit of a folder found a cut file and an empty one."""

    def judge(answer: Any) -> tuple[bool, str]:
        if not isinstance(answer, pd.DataFrame) or not {"check", "clips"} <= set(answer.columns):
            raise Unclear(f"Expected the table that `corpora.audit` returns, not {kind_of(answer)}.")
        clips = pd.to_numeric(answer["clips"], errors="coerce").fillna(0)
        found = clips.groupby(answer["check"].astype(str)).sum()
        cut, empty, unreadable = (float(found.get(name, 0)) for name in ("truncated", "empty", "unreadable"))
        return first_true(
            [
                (
                    not (cut or empty or unreadable),
                    "This audit found nothing wrong. Spoil the files first, then load that folder and audit it.",
                ),
                (
                    unreadable > 0 and not empty,
                    "A file without a single byte is unreadable. An empty one has a header, but no samples.",
                ),
                (not cut, "No file is cut. Write back the first half of one file's bytes."),
                (not empty, "No file is empty. Write one with `soundfile.write` and no samples."),
                (unreadable > 0, "One file cannot be read at all. Of three, one is to be cut, one empty, one whole."),
            ],
            "Now you know that these two rows can show something else than 0.",
        )

    return say("the table of an audit that found a cut file and an empty one.", findings, judge)


def own_split(train: Any, test: Any, recordings: Corpus) -> bool:
    """Whether two arrays of row numbers hold out a fifth of the speakers, and let none of them leak."""
    speaker, count = recordings.table["speaker"], len(recordings)
    names = recordings.speakers

    def judge(answer: tuple) -> tuple[bool, str]:
        train, test = (row_numbers(rows, count) for rows in answer)
        known, new = set(speaker.iloc[train]), set(speaker.iloc[test])
        both = len(known & new)
        left = count - len({*train, *test})
        fifth = len(names) / 5
        return first_true(
            [
                (
                    sorted([*train, *test]) == list(range(len(names))) and len(names) < count,
                    "Those number the speakers. Asked are the rows of their clips.",
                ),
                (bool({*train} & {*test}), "Some clips are on both sides."),
                (both > 0, f"{both} speakers are on both sides: pass the speakers as `groups=`."),
                (left > 0, f"{left} clips are on neither side. Every clip belongs to one."),
                (len(new) > len(known), "The larger part is for training. Are the two swapped?"),
                (abs(len(new) - fifth) >= 1, f"{len(new)} of {len(names)} speakers are held out. A fifth was asked for."),
            ],
            "Each voice is on one side only, and that is proved, not hoped.",
        )  # fmt: skip

    asked = "the row numbers of your two parts, with a fifth of the speakers in the second."
    return say(asked, (train, test), judge)
