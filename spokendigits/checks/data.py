"""Self-checks of notebook 1, Listen to the data."""

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from spokendigits.checks.judge import PERCENT, RATES, Lesson, Table, check, kind_of, number, row_numbers, so_many
from spokendigits.clips import Clips
from spokendigits.corpora.corpus import Corpus
from spokendigits.splits import Split

AT_ONCE = 128  # clips


@number
def longest_recording(seconds: Any, clips: Clips) -> Table:
    """How long the longest recording was before it became a clip, in seconds."""
    lengths, rate = clips.lengths, clips.sample_rate
    samples, whole = lengths.max(), clips.audio.shape[1] / rate
    yield "how long is the longest recording, in seconds?"
    yield samples / rate, Lesson("Samples become seconds with the sample rate, and only with it.")
    yield samples, "That is its number of samples. Divide by the samples in a second."
    yield round(samples / rate, 1), "That is rounded too far. Give two digits after the point."
    yield 1000 * samples / rate, "That is in milliseconds. Asked are seconds."
    yield rate / samples, "The fraction is upside down: divide the samples by the sample rate."
    yield whole, "That is the length of every clip, after padding. `clips.lengths` has the lengths before it."
    yield lengths.mean() / rate, "That is the mean. Asked is the longest."
    yield lengths.min() / rate, "That is the shortest. Asked is the longest."
    for other in set(RATES) - {rate}:
        yield samples / other, "That divides by another sample rate. `clips.sample_rate` is that of `clips.lengths`."
    yield "`clips.lengths` counts samples. Take its largest number, and divide by `clips.sample_rate`."


@check
def digit_voices(voices: Any, recordings: Corpus, parts: Split, apart: Split) -> Table:
    """How many speakers say each digit in the held-out part of a split; `apart` is the other split."""
    table = recordings.table

    def speakers(rows: Any) -> np.ndarray:
        return table.iloc[rows].groupby("digit")["speaker"].nunique().reindex(range(10), fill_value=0).to_numpy()

    right, held_out = speakers(parts.validation), table["digit"].iloc[parts.validation]
    yield "how many speakers say each digit in the test part of the random split?"
    if isinstance(voices, Mapping):
        voices = pd.Series(dict(voices), dtype=object)
    if isinstance(voices, pd.DataFrame) and voices.shape[1] == 1:
        voices = voices.iloc[:, 0]
    if isinstance(voices, pd.Series) and set(voices.index) <= set(range(10)) and voices.index.is_unique:
        voices = voices.reindex(range(10), fill_value=0)
    same = partial(np.allclose, so_many(voices, 10, "Expected ten numbers, one for each digit"))
    yield (
        same(right),
        Lesson(
            "However many clips a digit has, only so many voices say it. The speaker split has fewer, and all of them are new."
        ),
    )
    yield same(speakers(apart.validation)), "That is the speaker split. Asked is the random one."
    yield same(np.bincount(held_out, minlength=10)), "Those are clips. Asked are speakers: count each voice once."
    yield same(speakers(range(len(table)))), "That counts the whole table. Take the rows in `.validation` only."
    yield same(speakers(parts.train)), "Those are the rows for training. The test is in `.validation`."
    yield same(np.sort(right)) or same(np.sort(right)[::-1]), "The numbers are right, but not in the order 0 to 9."
    yield "Take `recordings.table.iloc[…]` with the rows of `.validation`, and count each digit's different speakers."


@number
def padding_share(share: Any, clips: Clips) -> Table:
    """Which share of all samples in the clips is padding."""
    lengths, samples, size = clips.lengths, clips.audio.shape[1], clips.audio.size
    sound, shrunk, padded = (
        np.minimum(lengths, samples).sum() / size,
        1 - lengths.sum() / size,
        (lengths < samples).mean(),
    )
    yield "which share of all samples in `clips.audio` is padding?"
    yield 1 - sound, Lesson("So much of what the network will see says nothing. It has to learn to ignore that.")
    yield 100 * (1 - sound), PERCENT
    yield sound, "That is the share of sound. Asked is the rest."
    yield shrunk, "A recording longer than a clip was cut. It has no padding, not less than none."
    yield padded, "That is the share of clips that have padding. Asked is that of samples."
    few = np.array_split(np.arange(len(clips)), len(clips) // AT_ONCE + 1)
    zeros = sum(np.count_nonzero(clips.read(rows) == 0) for rows in few) / size
    yield zeros, "That counts every zero. Recordings hold zeros of their own: use `clips.lengths`."
    yield "Padding begins where a recording ends: for each clip, `clips.audio.shape[1]` less its length, and never below 0."


@check
def audit_finds(findings: Any) -> Table:
    """Whether an audit of a folder found a cut file and an empty one."""
    yield "the table of an audit that found a cut file and an empty one."
    is_audit = isinstance(findings, pd.DataFrame) and {"check", "clips"} <= set(findings.columns)
    yield not is_audit, f"Expected the table that `corpora.audit` returns, not {kind_of(findings)}."
    clips = pd.to_numeric(findings["clips"], errors="coerce").fillna(0)
    sums = clips.groupby(findings["check"].astype(str)).sum()
    cut, empty, unreadable = (sums.get(name, 0) > 0 for name in ("truncated", "empty", "unreadable"))
    none, byteless = not (cut or empty or unreadable), unreadable and not empty
    yield none, "This audit found nothing wrong. Spoil the files first, then load that folder and audit it."
    yield byteless, "A file without a single byte is unreadable. An empty one has a header, but no samples."
    yield not cut, "No file is cut. Write back the first half of one file's bytes."
    yield not empty, "No file is empty. Write one with `soundfile.write` and no samples."
    yield unreadable, "One file cannot be read at all. Of three, one is to be cut, one empty, one whole."
    yield Lesson("Now you know that these two rows can show something else than 0.")


@check
def own_split(train: Any, test: Any, recordings: Corpus) -> Table:
    """Whether two arrays of row numbers hold out a fifth of the speakers, and let none of them leak."""
    speaker, count, names = recordings.table["speaker"], len(recordings), recordings.speakers
    yield "the row numbers of your two parts, with a fifth of the speakers in the second."
    train, test = row_numbers(train, count), row_numbers(test, count)
    known, new = set(speaker.iloc[train]), set(speaker.iloc[test])
    are_speakers = sorted([*train, *test]) == list(range(len(names))) and len(names) < count
    yield are_speakers, "Those number the speakers. Asked are the rows of their clips."
    yield {*train} & {*test}, "Some clips are on both sides."
    both, left = len(known & new), count - len({*train, *test})
    yield both, f"{both} speakers are on both sides: pass the speakers as `groups=`."
    yield left, f"{left} clips are on neither side. Every clip belongs to one."
    yield len(new) > len(known), "The larger part is for training. Are the two swapped?"
    fifth = abs(len(new) - len(names) / 5) < 1
    yield not fifth, f"{len(new)} of {len(names)} speakers are held out. A fifth was asked for."
    yield Lesson("Each voice is on one side only, and that is proved, not hoped.")
