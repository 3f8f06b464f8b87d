"""The notebooks' self-checks: each one says whether an answer is right, or which mistake it looks like.

A check prints one or two short lines, and returns True or False. Whatever it is given, it never raises: an answer may
be a Python number, of NumPy, pandas or PyTorch, or something else altogether. What is right is computed from the data
that the notebook passes in.
"""

import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from scipy.stats import binom, norm
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from spokendigits.clips import FULL_SCALE, Clips
from spokendigits.corpora.corpus import Corpus
from spokendigits.evaluation import PROBABILITIES, accuracy, interval, mistakes, probabilities, recall_by
from spokendigits.frontend import LogMel
from spokendigits.recipe import Recipe
from spokendigits.splits import Split
from spokendigits.training import learning_rate

NEAR = 0.005  # relative: answers may be rounded to three digits
RATES = (8_000, 16_000, 22_050, 44_100, 48_000)  # hertz that recordings often have
SILENCE = 1e-10  # power; what librosa's decibels take for the logarithm of nothing
SMALLEST = 1e-16  # probability; what scikit-learn's log-loss takes for 0, nearly
ALIKE = 6.5  # decibels between two pictures, mean over what is not quiet: a right guess's lies far below, a wrong one's above
AT_ONCE = 128  # clips

# A wrong answer, or a test for it, or a function without arguments that works it out; and the hint.
Mistakes = Sequence[tuple[Any, str]]


class _Unclear(Exception):
    """An answer that cannot be compared at all; says what was expected."""


def _say(asked: str, answer: Any, judge: Callable[[Any], tuple[bool, str]]) -> bool:
    """Prints what `judge` says of an answer; None, or None among several answers, was not given yet."""
    if answer is None or (type(answer) is tuple and any(one is None for one in answer)):
        print(f"Not answered yet: {asked}")
        return False
    try:
        right, words = judge(answer)
    except _Unclear as problem:
        right, words = False, str(problem)
    except Exception as error:  # whatever was given: a learner gets a line, not a traceback
        right, words = False, f"This cannot be compared ({type(error).__name__}). Asked: {asked}"
    print(f"{'Right.' if right else 'Not yet.'} {words}")
    return right


def _first(tests: Sequence[tuple[bool | Callable[[], bool], str]], lesson: str) -> tuple[bool, str]:
    """The hint of the first test that is true; where none is, the answer is right."""
    for failed, hint in tests:
        if failed() if callable(failed) else failed:
            return False, hint
    return True, lesson


def _number(
    answer: Any,
    right: float,
    asked: str,
    lesson: str,
    wrong: Mistakes = (),
    otherwise: str = "",
    near: float = NEAR,
    share: bool = False,
    near_wrong: float | None = None,
) -> bool:
    """Judges one number.

    near: how far off it may be, relative; 0 for counts. near_wrong: the same for mistakes, if it differs.
    share: it lies in 0..1, and in percent gets a hint of its own.
    """

    def judge(answer: Any) -> tuple[bool, str]:
        value = _one_number(answer)
        candidates = [(right, None, near), *((one, words, near_wrong) for one, words in wrong)]
        if share:
            candidates.append((100 * right, "That is in percent. A share lies between 0 and 1.", near))
        # The nearest one: a mistake may lie so close that both are near.
        distance, hint = math.inf, otherwise
        for candidate, words, allowed in candidates:
            candidate = float(candidate() if callable(candidate) else candidate)
            gap = abs(value - candidate)
            if gap <= (near if allowed is None else allowed) * abs(candidate) + 1e-9 and gap < distance - 1e-12:
                distance, hint = gap, words
            if hint is None and distance <= 1e-9:  # it is that very number
                break
        return (True, lesson) if hint is None else (False, hint)

    return _say(asked, answer, judge)


def _plain(answer: Any) -> Any:
    """An answer with PyTorch's tensors, its own or in a list, as arrays of NumPy."""
    if isinstance(answer, torch.Tensor):
        values = answer.detach().cpu()
        return (values.double() if values.is_floating_point() else values).numpy()
    if type(answer) in (list, tuple):
        return [_plain(one) for one in answer]
    return answer


def _numbers(answer: Any) -> np.ndarray | None:
    """The numbers of an answer, float64 of its shape, whatever carries them; None where it is not numbers."""
    try:
        array = np.asarray(_plain(answer))
        if array.dtype.kind == "O" and all(_is_number(one) for one in array.flat):  # as pandas's Int64
            array = array.astype(float)
    except (TypeError, ValueError, RuntimeError, OverflowError):
        return None
    return array.astype(float) if array.dtype.kind in "iuf" else None


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _what(answer: Any) -> str:
    """An answer in a word or two, as a hint names it."""
    if isinstance(answer, str):
        return "text"
    if isinstance(answer, bool | np.bool_):
        return "True or False"
    if callable(answer):
        return "a function: call it"
    name = type(answer).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def _one_number(answer: Any) -> float:
    found = _numbers(answer)
    if found is None:
        raise _Unclear(f"Expected one number, not {_what(answer)}.")
    if found.size != 1:
        raise _Unclear(f"Expected one number, not {found.size}.")
    value = float(found.reshape(-1)[0])
    if not math.isfinite(value):
        raise _Unclear(f"{value} cannot be compared. Was something divided by zero, or its logarithm taken?")
    return value


def _whole(found: np.ndarray) -> bool:
    return bool(np.isfinite(found).all() and (found == np.floor(found)).all())


def _rows(answer: Any, count: int) -> np.ndarray:
    """Row numbers of a table of `count` rows, int [n]."""
    found = _numbers(answer)
    if found is None and isinstance(answer, list | tuple | np.ndarray | pd.Series | pd.Index | torch.Tensor):
        array = np.asarray(_plain(answer), dtype=object).reshape(-1)
        if len(array) and all(isinstance(one, bool | np.bool_) for one in array):
            raise _Unclear("That is a mask of True and False. `np.flatnonzero` makes row numbers of it.")
        if len(array) and all(isinstance(one, str) for one in array):
            raise _Unclear("Those are names. Asked are row numbers.")
    if found is None or found.ndim != 1 or not len(found) or not _whole(found):
        raise _Unclear(f"Expected an array of row numbers, not {_what(answer)} like this.")
    if found.min() < 0 or found.max() >= count:
        raise _Unclear(f"Row numbers go from 0 to {count - 1}.")
    return found.astype(int)


def _name(answer: Any) -> str:
    """A name, in whatever holds it."""
    if not isinstance(answer, str):
        try:
            array = np.asarray(answer, dtype=object).reshape(-1)
        except (TypeError, ValueError, RuntimeError):
            array = np.empty(0)
        if len(array) == 1:
            answer = array[0]
    if not isinstance(answer, str):
        raise _Unclear(f"Expected one name, in quotes, not {_what(answer)}.")
    return str(answer).strip()


def _shape_is(found: np.ndarray, shape: tuple[int, ...], named: str) -> None:
    """Says so where an array has another shape, above all a transposed one."""
    if found.shape == shape:
        return
    if found.ndim > 1 and found.shape == shape[::-1]:
        raise _Unclear(f"Rows and columns are swapped: expected the shape {shape}, {named}.")
    raise _Unclear(f"Expected the shape {shape}, {named}, not {found.shape}.")


# 1 · Listen to the data


def longest_recording(seconds: Any, clips: Clips) -> bool:
    """How long the longest recording was before it became a clip, in seconds."""
    samples, rate = clips.lengths.max(), clips.sample_rate
    return _number(
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
        found = _numbers(answer)
        if found is None or found.size != 10:
            size = _what(answer) if found is None else found.size
            raise _Unclear(f"Expected ten counts, one for each digit, not {size}.")
        found = found.reshape(-1)

        def same(other: Any) -> bool:
            return np.allclose(found, other)

        if same(right):
            return True, "Where one digit is far rarer than the others, the accuracy hardly shows how it fares."
        speakers = held_out.groupby("digit")["speaker"].nunique().reindex(range(10), fill_value=0)
        return _first(
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

    return _say("how many clips of each digit are in the test part of the speaker split?", counts, judge)


def padding_share(share: Any, clips: Clips) -> bool:
    """Which share of all samples in the clips is padding."""
    samples = clips.audio.shape[1]
    sound = np.minimum(clips.lengths, samples).sum() / clips.audio.size
    return _number(
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
            raise _Unclear(f"Expected the table that `corpora.audit` returns, not {_what(answer)}.")
        clips = pd.to_numeric(answer["clips"], errors="coerce").fillna(0)
        found = clips.groupby(answer["check"].astype(str)).sum()
        cut, empty, unreadable = (float(found.get(name, 0)) for name in ("truncated", "empty", "unreadable"))
        return _first(
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

    return _say("the table of an audit that found a cut file and an empty one.", findings, judge)


def own_split(train: Any, test: Any, recordings: Corpus) -> bool:
    """Whether two arrays of row numbers hold out a fifth of the speakers, and let none of them leak."""
    speaker, count = recordings.table["speaker"], len(recordings)
    names = recordings.speakers

    def judge(answer: tuple) -> tuple[bool, str]:
        train, test = (_rows(rows, count) for rows in answer)
        known, new = set(speaker.iloc[train]), set(speaker.iloc[test])
        both = len(known & new)
        left = count - len({*train, *test})
        fifth = len(names) / 5
        return _first(
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
    return _say(asked, (train, test), judge)


# 2 · From sound to picture


def milliseconds(answer: Any, samples: int, sample_rate: int) -> bool:
    """How many milliseconds so many samples last."""
    right = 1000 * samples / sample_rate
    return _number(
        answer,
        right,
        f"how many milliseconds do {samples:,} samples last, at {sample_rate:,} a second?",
        "Windows and hops are given in samples. Their meaning is in milliseconds.",
        [
            (right / 1000, "That is in seconds. A second has a thousand milliseconds."),
            (sample_rate / samples, "The fraction is upside down: divide the samples by the samples in a second."),
            (
                samples / 1000 * sample_rate,
                "Divide by the sample rate: the more samples a second, the shorter is each.",
            ),
            *(
                (1000 * samples / other, f"That takes {other:,} samples a second. Asked is {sample_rate:,}.")
                for other in RATES
                if other != sample_rate
            ),
        ],
        "Divide the samples by the samples in a second, and turn seconds into milliseconds.",
    )


def picture_shape(shape: Any, recipe: Recipe) -> bool:
    """The shape of one clip's picture in a batch: clips, channels, mel bins, frames."""
    bins, frames, hops = recipe.n_mels, recipe.frames, recipe.samples // recipe.hop
    before = recipe.samples // (2 * recipe.hop) + 1

    def judge(answer: Any) -> tuple[bool, str]:
        found = _numbers(answer)
        if found is None or found.ndim != 1 or not _whole(found):
            raise _Unclear("Expected four whole numbers in round brackets: (clips, channels, mel bins, frames).")
        given = tuple(int(one) for one in found)
        *front, last = given if given else (0,)
        return _first(
            [
                (given == (bins, frames), "Those are its last two numbers. A batch has clips and channels before them."),
                (len(given) != 4, f"Expected four numbers, not {len(given)}: clips, channels, mel bins, frames."),
                (given == (1, 1, frames, bins), "Mel bins and frames are swapped: the rows are mel bins."),
                (front != [1, 1, bins], f"Only the frames depend on the hop. It is one clip, one channel, {bins} mel bins."),
                (last == before and last != frames, "That is the hop as it was. With half of it there are more frames."),
                (last == hops, "One frame is missing: windows are centred on the first sample and on the last hop."),
                (last == 2 * before, "Off by one: the number of hops doubles, and one frame is added, not two."),
                (last == recipe.samples // (4 * recipe.hop) + 1, "Half the hop makes more frames, not fewer."),
                (last != frames, "Count the hops in a clip, then add the frame that stands on its first sample."),
            ],
            "Every number of the shape could be known before anything was computed.",
        )  # fmt: skip

    return _say("the shape of the picture with half the hop, four numbers.", shape, judge)


def decibels_by_hand(answer: Any, mel: np.ndarray, top_db: float = 80.0) -> bool:
    """Power in decibels, and nothing quieter than `top_db` below the loudest bin."""
    power = np.maximum(np.asarray(mel, float), SILENCE)
    whole = 10 * np.log10(power)
    right = np.maximum(whole, whole.max() - top_db)
    loud = whole > whole.max() - top_db + 1

    def judge(answer: Any) -> tuple[bool, str]:
        found = _numbers(answer)
        if found is None:
            raise _Unclear(f"Expected an array, not {_what(answer)}.")
        _shape_is(found, right.shape, "mel bins x frames")

        def same(other: np.ndarray) -> bool:
            return np.allclose(found[loud], other[loud], atol=0.02, rtol=0)

        return _first(
            [
                (same(np.log(power)) or same(10 * np.log(power)), "That is the natural logarithm. Decibels take `np.log10`."),
                (same(2 * whole), "Twenty is for amplitudes. Power takes ten: it is the amplitude's square."),
                (same(whole / 10), "Those are bels. A decibel is a tenth of one, so there are ten times as many."),
                (same(-whole), "The sign is turned: more power is more decibels."),
                (same(whole - whole.max()), "That counts from the loudest bin. Count from a power of 1: do not divide."),
                (same(power), "That is still power. Ten times its logarithm is asked."),
                (not same(right), "Take ten times the logarithm to base ten of each number in `mel`."),
                (
                    not np.allclose(found, right, atol=0.02, rtol=0),
                    f"The loud bins are right. Raise what is more than {top_db:.0f} decibels below the loudest to that.",
                ),
            ],
            "A ratio became a difference: that is all a logarithm does.",
        )  # fmt: skip

    return _say("`mel` in decibels, an array of its shape.", answer, judge)


def empty_filters(count: Any, recipe: Recipe) -> bool:
    """How many mel filters of a recipe hold nothing but zeros."""

    def empty(recipe: Recipe, dim: int = 0) -> int:
        return int((LogMel(recipe).filters.amax(dim=dim) == 0).sum())

    other = "slaney" if recipe.mel_scale == "htk" else "htk"
    right = empty(recipe)
    return _number(
        count,
        right,
        f"how many filters are empty with the mel scale of {recipe.mel_scale.upper()}?",
        "HTK's scale puts more of its filters high up, and so more of them beyond the Nyquist frequency.",
        [
            (empty(recipe.but(mel_scale=other)), f"That is {other.capitalize()}'s number: set `mel_scale`."),
            (empty(recipe, dim=1), "That counts frequencies that no filter hears. A filter is a column, not a row."),
            (recipe.n_mels - right, "Those are the filters that are not empty."),
            (
                empty(recipe.but(f_max=recipe.nyquist)),
                "That is with the maximum frequency put right. Start from `seed`, the mistake included.",
            ),
            (right + 1, "One too many."),
            (right - 1, "One is missing."),
        ],
        "Look at each column of `LogMel(…).filters`: an empty one has no weight above 0.",
        near=0,
    )


def inverted(guess: Any, audio: np.ndarray, recipe: Recipe) -> bool:
    """Whether a sound was made that has the mel picture of `audio`, and is not `audio` itself."""
    audio = np.asarray(audio, np.float32)

    def picture(sound: np.ndarray) -> torch.Tensor:
        return LogMel(recipe)(torch.from_numpy(sound.astype(np.float32))[None])[0, 0]

    def judge(answer: Any) -> tuple[bool, str]:
        found = _numbers(answer)
        if found is None:
            raise _Unclear(f"Expected a sound, an array of samples, not {_what(answer)}.")
        if found.ndim == 2 and found.shape[0] == recipe.n_mels:
            raise _Unclear("That is still a picture. `mel_to_audio` makes a sound of it.")
        if found.ndim != 1:
            raise _Unclear(f"Expected the samples of one sound, not the shape {found.shape}.")
        if not np.isfinite(found).all():
            raise _Unclear("Some samples are not finite numbers. Was `decibels` turned back into power?")
        if abs(len(found) - len(audio)) > 0.1 * len(audio):
            raise _Unclear(f"It has {len(found):,} samples, the clip {len(audio):,}. Pass `hop_length=recipe.hop`.")
        if np.abs(found).max() < 1e-6:
            raise _Unclear("That is silence.")
        if len(found) == len(audio) and np.allclose(found, audio, atol=1e-4):
            raise _Unclear("That is the clip itself. Make a sound from its picture alone.")
        fitted = np.zeros_like(audio)
        fitted[: len(found)] = found[: len(audio)]
        heard, made = picture(audio), picture(fitted)
        heard, made = heard - heard.max(), made - made.max()
        there = heard > -40
        return _first(
            [
                (
                    float((heard - made)[there].abs().mean()) > ALIKE,
                    "Its picture is another one. `mel_to_audio` wants power, not decibels, and the picture's own settings.",
                )
            ],
            "The word is in the picture; much of the voice is not.",
        )

    return _say("a sound that `mel_to_audio` makes from the picture.", guess, judge)


# 3 · Train a network


def count_steps(steps: Any, clips: int, batch_size: int, epochs: int) -> bool:
    """How many steps a training makes when the last, incomplete batch of each epoch is dropped."""
    each = clips // batch_size
    return _number(
        steps,
        epochs * each,
        f"how many steps do {clips:,} clips make in {epochs} epochs?",
        "A step is a batch. The clips left over differ from epoch to epoch, so none is left out for good.",
        [
            (each, f"That is one epoch. There are {epochs}."),
            (epochs * math.ceil(clips / batch_size), "The last batch of an epoch is not full, and it is dropped."),
            (
                epochs * clips // batch_size,
                "A batch is dropped in every epoch: count whole batches first, then epochs.",
            ),
            (epochs * clips / batch_size, "There are no parts of steps: count the whole batches of an epoch first."),
            (epochs * clips, "Those are the clips. A step takes a whole batch of them."),
        ],
        "How many whole batches are in an epoch? Then take all epochs.",
        near=0,
    )


def halfway(half: Any, three_quarters: Any, recipe: Recipe) -> bool:
    """The learning rate after half and after three quarters of all steps."""
    first = recipe.learning_rate
    right = tuple(learning_rate(part, 1000, recipe) for part in (500, 750))

    def judge(answer: tuple) -> tuple[bool, str]:
        given = tuple(_one_number(one) for one in answer)

        def same(*other: float) -> bool:
            return bool(np.allclose(given, other, rtol=NEAR, atol=0))

        if same(*right):
            return True, "A cosine falls slowly, then fast, then slowly again."
        return _first(
            [
                (same(*right[::-1]), "The two are swapped."),
                (same(*(one / first for one in right)), "Those are shares of the first rate. Multiply by that rate."),
                (same(first / 2, first / 4), "That is a straight line. On a cosine less is left after three quarters."),
                (
                    same(*(first * (1 + math.cos(180 * part)) / 2 for part in (0.5, 0.75))),
                    "`math.cos` takes radians: write `math.pi`, not 180.",
                ),
                (same(*(first - one for one in right)), "That is how much is gone. Asked is what is left."),
                (math.isclose(given[0], right[0], rel_tol=NEAR), "The first is right. Look at the second again."),
                (math.isclose(given[1], right[1], rel_tol=NEAR), "The second is right. Look at the first again."),
                (True, "Start from the recipe's `learning_rate`, and go down half a cosine: from angle 0 to pi."),
            ],
            "",
        )

    return _say("the learning rate after half of all steps, and after three quarters.", (half, three_quarters), judge)


def last_layer(count: Any, backbone: nn.Module, photo: nn.Module) -> bool:
    """How many numbers the new last layer learns."""

    def size(part: nn.Module) -> int:
        return sum(weight.numel() for weight in part.parameters())

    fc, old = backbone.fc, photo.fc
    return _number(
        count,
        size(fc),
        "how many numbers does the new last layer learn?",
        f"That is {size(fc) / size(backbone):.1%} of the network. All else can come from photographs.",
        [
            (fc.weight.numel(), "Those are its weights. Each answer also has a bias, a number that is added to it."),
            (size(old), "That is the old last layer, with its thousand answers. The new one has ten."),
            (old.weight.numel(), "That is the old last layer, with its thousand answers. The new one has ten."),
            (fc.in_features + fc.out_features, "Each answer weighs each number that comes in: multiply, do not add."),
            (fc.in_features, "That is what comes in. Each of the ten answers has so many weights."),
            (size(backbone.conv1), "That is the first layer."),
            (size(backbone), "That is the whole network. Asked is its last layer."),
        ],
        "How many numbers come in, how many answers go out? Do not forget the bias: one more number for each answer.",
        near=0,
    )


def wrong_labels(nonsense: Any, lost: Any, digit: torch.Tensor) -> bool:
    """Whether ten steps on a batch with shuffled labels, by a new network, made its loss fall."""
    true = np.asarray(_plain(digit)).astype(int)

    def judge(answer: tuple) -> tuple[bool, str]:
        labels, losses = (_numbers(one) for one in answer)
        if labels is not None and labels.ndim == 2 and labels.shape == (len(true), 10):
            labels = labels.argmax(axis=1)
        if labels is None or labels.shape != true.shape:
            raise _Unclear(f"`nonsense` should be {len(true)} labels, or ten numbers for each of them.")
        if losses is None or losses.size != 10:
            size = _what(answer[1]) if losses is None else losses.size
            raise _Unclear(f"`lost` should be ten losses, one a step, not {size}.")
        if not np.isfinite(losses).all():
            raise _Unclear("A loss is no longer a number. Is the learning rate the recipe's?")
        same, start, last = (labels == true).mean(), *losses.reshape(-1)[[0, -1]]
        return _first(
            [
                (same == 1, "The labels are still the true ones. `torch.randperm` gives a new order."),
                (not _whole(labels) or labels.min() < 0 or labels.max() > 9, "The labels should be digits, 0 to 9."),
                (np.ptp(labels) == 0, "All clips have the same label now. Shuffle the digits of all training clips."),
                (same > 0.5, "Most labels are still the true ones. Shuffle the digits of all training clips."),
                (
                    abs(start - math.log(10)) < 0.25,
                    "That is the loss of one choice among ten. Ask ten questions, as above: binary cross-entropy.",
                ),
                (
                    abs(start - math.log(2)) > 0.25,
                    "The first loss is not that of a coin toss: a network that was trained before. Make a new one.",
                ),
                (last > start, "The loss rises. Is the gradient set to zero before each step?"),
                (
                    last > 0.6 * start,
                    "The loss hardly falls. Shuffle once, before the loop, and give the optimizer the new network's weights.",
                ),
            ],
            "It falls all the same: nonsense can be learned by heart. Only clips held out tell what was learned.",
        )

    return _say("shuffled labels of one batch, and the ten losses of a new network.", (nonsense, lost), judge)


def nearest_mean(share: Any, clips: Clips, recordings: Corpus, parts: Split, recipe: Recipe) -> bool:
    """The accuracy, on held-out clips, of the rule: whichever digit's mean training picture is nearest."""
    digit = torch.tensor(recordings.table["digit"].to_numpy())
    frontend, rows = LogMel(recipe), np.arange(len(clips))
    with torch.inference_mode():
        pictures = torch.cat(
            [
                frontend(torch.from_numpy(clips.read(rows[first : first + AT_ONCE]))).flatten(1)
                for first in range(0, len(rows), AT_ONCE)
            ]
        )

    def read(train: np.ndarray, test: np.ndarray) -> float:
        means = torch.stack([pictures[train][digit[train] == one].mean(dim=0) for one in range(10)])
        return float((torch.cdist(pictures[test], means).argmin(dim=1) == digit[test]).double().mean())

    if share is None:  # nothing to compare with
        right, wrong, near = 0.0, [], 0.0
    else:
        right = read(parts.train, parts.validation)
        # Two clips may lie so near to two means that rounding decides.
        near = 2 / max(1.0, right * len(parts.validation))
        wrong = [
            (
                read(parts.train, parts.train),
                "That is tested on the clips that made the means. Test on those held out.",
            ),
            (
                read(parts.validation, parts.validation),
                "The means come from the held-out clips. Take those for training.",
            ),
            (read(rows, parts.validation), "The means hold the test's own clips. Take those for training only."),
            (1 - right, "That is the share of mistakes. Asked is the accuracy."),
            (right * len(parts.validation), "That is the number of clips. Divide by how many were read."),
        ]
    return _number(
        share,
        right,
        "which accuracy has the rule on the held-out clips?",
        "That is what the corpus gives away for free. A network is worth what it adds to it.",
        wrong,
        "One mean picture for each digit, from `parts.train`. Then the nearest of ten, for each clip of `parts.validation`.",
        near,
        share=True,
        near_wrong=1e-4,
    )


# 4 · Evaluate it honestly


def count_people(people: Any, table: pd.DataFrame, recordings: Corpus) -> bool:
    """How many speakers a table of predictions is about."""
    right, everybody = table["speaker"].nunique(), len(recordings.speakers)
    return _number(
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
    return _number(
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
    return _number(
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
    return _number(
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
        given = np.array([_one_number(one) for one in answer])

        def same(low: float, high: float, near: float = near) -> bool:
            return bool(np.allclose(given, (low, high), atol=near, rtol=0))

        spread = 1.96 * math.sqrt(right * (1 - right))
        return _first(
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

    return _say("the two ends of an interval that draws clips.", (low, high), judge)


# 5 · Hear the mistakes


def hardest_voice(name: Any, table: pd.DataFrame, recordings: Corpus) -> bool:
    """The speaker of whose clips the largest share was misread."""
    rows = recall_by(table, "speaker")
    misread = rows["clips"] - rows["right"]

    def judge(answer: Any) -> tuple[bool, str]:
        given = _name(answer)
        return _first(
            [
                (given not in recordings.speakers, f"There is no speaker {given!r} in this corpus."),
                (given not in rows.index, f"{given} was heard in training. Choose among the voices in `table`."),
                (
                    lambda: rows["recall"][given] > rows["recall"].min() and misread[given] == misread.max(),
                    f"{given} has most mistakes, but also more clips. Compare shares.",
                ),
                (
                    lambda: rows["recall"][given] == rows["recall"].max() > rows["recall"].min(),
                    f"{given} is the one who is read best.",
                ),
                (
                    lambda: rows["recall"][given] > rows["recall"].min(),
                    "Another voice has a smaller share of its clips read correctly.",
                ),
            ],
            "An average would have hidden this voice.",
        )

    return _say("the name of the new voice that is hardest to read.", name, judge)


def sure_and_wrong(count: Any, table: pd.DataFrame, level: float = 0.9) -> bool:
    """How many clips were misread with a probability above `level`."""
    chances = table[PROBABILITIES].to_numpy()
    sure, wrong = chances.max(axis=1) > level, (table["digit"] != table["predicted"]).to_numpy()
    true = chances[np.arange(len(table)), table["digit"]] > level
    right = int((sure & wrong).sum())
    return _number(
        count,
        right,
        f"how many clips does the model misread with a probability above {level}?",
        "A user sees the probability, but not the truth. Sure and wrong is what nobody notices.",
        [
            (right / max(1, sure.sum()), "That is a share. Asked is the number of clips."),
            (wrong.sum(), "Those are all mistakes. Take only those where the model is sure."),
            (sure.sum(), "Those are all clips of which the model is sure. Most of them are right."),
            ((~sure & wrong).sum(), "Those are the mistakes where it is not sure."),
            ((true & wrong).sum(), "That looks at the true digit's probability. Look at the largest of the ten."),
        ],
        "The largest of the ten probabilities says how sure it is. Count the misread clips where that is above the level.",
        near=0,
    )


def second_best(count: Any, table: pd.DataFrame) -> bool:
    """In how many misread clips the true digit has the second-largest probability."""
    order = table[PROBABILITIES].to_numpy().argsort(axis=1)
    digit = table["digit"].to_numpy()
    right, wrong = int((order[:, -2] == digit).sum()), len(mistakes(table))
    return _number(
        count,
        right,
        "of how many misread clips is the true digit the second answer?",
        "A mistake that nearly was right needs another cure than one that is far off.",
        [
            (right / max(1, wrong), "That is a share. Asked is the number of clips."),
            (wrong, "Those are all mistakes. Look at the second-largest probability of each."),
            (right + len(table) - wrong, "That counts the clips that are right, too. Look at the misread ones."),
            (wrong - right, "Those are the mistakes where it is not even second."),
            (
                (order[:, 1] == digit).sum(),
                "`argsort` begins with the smallest. The second-largest is the last but one.",
            ),
            ((order[:, -3] == digit).sum(), "That is the third. The largest is number -1, the second-largest -2."),
        ],
        "Sort the ten probabilities of each row of `wrong`, and compare the last but one with `digit`.",
        near=0,
    )


def noise(noisy: Any, rows: Any, clips: Clips, decibels: float = 10.0) -> bool:
    """Whether white noise was added to clips, so many decibels below the speech of each."""
    rows = np.asarray(rows, int)
    clean = clips.read(rows).astype(float) / FULL_SCALE
    sound = np.arange(clean.shape[1]) < clips.lengths[rows][:, None]

    def judge(answer: Any) -> tuple[bool, str]:
        found = _numbers(answer)
        if found is None:
            raise _Unclear(f"Expected an array of clips, not {_what(answer)}.")
        _shape_is(found, clean.shape, "clips x samples")
        if not np.isfinite(found).all():
            raise _Unclear("Some samples are not finite numbers. Was a power of 0 divided by?")
        kept = (found * clean).sum() / (clean**2).sum()
        added = found - clean
        there = np.maximum((added**2).mean(axis=1), 1e-20)
        speech = (clean**2).sum(axis=1) / sound.sum(axis=1)
        below = 10 * np.log10(np.maximum(speech, 1e-20) / there)
        below_all = 10 * np.log10(np.maximum((clean**2).mean(axis=1), 1e-20) / there)
        padding = ~sound & (sound.sum(axis=1, keepdims=True) < clean.shape[1])

        def near(what: np.ndarray, by: float) -> bool:
            return bool((np.abs(what - decibels - by) < 0.5).mean() > 0.9)

        return _first(
            [
                (kept > 100, "Those are the files' whole numbers. `clips.waveform` gives samples between -1 and 1."),
                (abs(kept) < 0.1, "The speech is gone: add the noise to it."),
                ((there < 1e-12).all(), "There is no noise in it yet."),
                (
                    padding.any() and (np.abs(added[padding]) < 1e-9).all(),
                    "There is no noise in the padding. A room is noisy after the word, too.",
                ),
                (
                    not near(below, 0) and near(below_all, 0),
                    "The padding was counted as speech. Take the power of the recording only: `clips.lengths`.",
                ),
                (
                    near(below, -2 * decibels),
                    "The noise is louder than the speech: divide its power, do not multiply it.",
                ),
                (near(below, decibels), "That is twice as far: scale the noise's power, the square of its amplitude."),
                (
                    near(below, -decibels / 2),
                    "That is half as far: divide the power by ten, the amplitude by its root.",
                ),
                (near(below, -decibels), "The noise is as loud as the speech. Make its power a tenth."),
                (
                    not near(below, 0) and abs(np.median(below) - decibels) < 3,
                    "About right on average, but not for each clip. Each has a power of its own.",
                ),
                (
                    not near(below, 0),
                    f"The noise lies {np.median(below):.0f} decibels below the speech, not {decibels:.0f}.",
                ),
            ],
            "Now every clip is as noisy as any other, and their scores can be compared.",
        )

    return _say(f"the clips with noise {decibels:.0f} decibels below the speech, clips x samples.", noisy, judge)


def cover(chances: Any, table: pd.DataFrame, model: nn.Module, clips: Clips, parts: int = 10) -> bool:
    """The true digit's probability while each tenth of the most doubtful right clip is silent."""

    def ask(sounds: np.ndarray) -> np.ndarray:
        device = next(model.parameters()).device
        training = model.training
        model.eval()
        with torch.inference_mode():
            logits = model(torch.from_numpy(np.asarray(sounds, np.float32)).to(device)).float().cpu()
        model.train(training)
        return probabilities(logits, model.recipe.loss).numpy()

    def covered(row: int) -> np.ndarray:
        sounds = np.repeat(clips.waveform(row)[None], parts, axis=0)
        for sound, part in zip(sounds, _tenths(sounds.shape[1], parts), strict=True):
            sound[part] = 0
        return sounds

    def judge(answer: Any) -> tuple[bool, str]:
        found = _numbers(answer)
        if found is None or found.size != parts:
            if found is not None and found.size == 10 * parts:
                raise _Unclear("Those are the probabilities of all ten digits. Take the one that was said.")
            size = _what(answer) if found is None else found.size
            raise _Unclear(f"Expected {parts} probabilities, one for each part that was covered, not {size}.")
        found = found.reshape(-1)
        read = table[table["digit"] == table["predicted"]]
        clip = read.loc[read["loss"].idxmax()]
        row, digit = int(clip["clip"]), int(clip["digit"])
        whole = clips.waveform(row)
        sounds = covered(row)
        answers = ask(sounds)
        right, before = answers[:, digit], ask(whole[None])[0, digit]

        def same(other: np.ndarray) -> bool:
            return np.allclose(found, other, atol=0.005)

        def worst() -> bool:
            other = table.loc[table["loss"].idxmax()]
            return same(ask(covered(int(other["clip"])))[:, int(other["digit"])])

        def more_and_more() -> bool:
            silent = np.minimum.accumulate(sounds != 0, axis=0)
            return same(ask(whole * silent)[:, digit])

        return _first(
            [
                (not same(right) and same(before - right), "That is how much was lost. Asked is what is left."),
                (not same(right) and same(np.full(parts, before)), "Nothing was covered: set a part of a copy to 0."),
                (lambda: not same(right) and more_and_more(), "More is covered each time. Start from a fresh copy."),
                (lambda: not same(right) and same(ask(whole - sounds)[:, digit]), "All but one part is covered. Turn it round."),
                (not same(right) and same(answers.max(axis=1)), "Those are the largest ones. Follow the digit that was said."),
                (lambda: not same(right) and worst(), "That is the clip of the largest loss. Look among those read correctly."),
                (
                    (found < 0).any() or (found > 1).any(),
                    "Probabilities lie between 0 and 1. `probabilities` makes them of the model's ten numbers.",
                ),
                (
                    not same(right),
                    "Take the clip of the largest loss among those read correctly, and silence one of ten equal parts at a time.",
                ),
            ],
            "Where the number falls most, the model was listening.",
        )  # fmt: skip

    return _say(f"{parts} probabilities of the digit that was said, one for each part covered.", chances, judge)


def _tenths(samples: int, parts: int) -> list[np.ndarray]:
    return np.array_split(np.arange(samples), parts)


# 6 · Read real voices


def gap_to_worst(points: Any, found: Mapping) -> bool:
    """How many points the worst-read person lies below the mean of all."""
    mean, worst, official = (found[name]["accuracy"] for name in ("loso_mean", "loso_worst", "official_split"))
    right = 100 * (mean - worst)
    return _number(
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
        given = _name(answer)
        return _first(
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

    return _say("the name of the step that gained most over the one before.", step, judge)


def mistakes_left(share: Any, found: Mapping) -> bool:
    """Of the mistakes without any human recording, which share is left after five other people."""
    none, five, official = (found[name]["accuracy"] for name in ("no_human_data", "loso_mean", "official_split"))
    right = (1 - five) / (1 - none)
    return _number(
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
        number, names = _one_number(answer[0]), answer[1]

        def same(other: float) -> bool:
            return math.isclose(number, other, rel_tol=NEAR, abs_tol=1e-9)

        if not same(range_):
            return _first(
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
            raise _Unclear(f"`clear` should be a list of names, not {_what(names)}.") from None
        if not all(isinstance(name, str) for name in names):
            raise _Unclear("`clear` should be a list of names, in quotes.")
        given = {name.strip().removeprefix("without ") for name in names}
        return _first(
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

    return _say("`luck`, a difference of accuracies, and `clear`, a list of parts.", (luck, clear), judge)


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
        found = _numbers(answer)
        if found is None:
            raise _Unclear(f"Expected an array of clips, not {_what(answer)}.")
        if found.shape == (len(clean), clean.shape[1] + by):
            raise _Unclear("The clips are longer now. What is pushed out on the right has to go.")
        _shape_is(found, clean.shape, "clips x samples")
        whole = found * FULL_SCALE if np.abs(found).max(initial=0) <= 1 else found

        def same(other: np.ndarray) -> bool:
            return np.allclose(whole, other, atol=0.6)

        if same(move(by)):
            return (
                True,
                "Only zeros were lost, or the end of a long word. A network that saw this reads late speakers, too.",
            )
        return _first(
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

    return _say(f"the first {len(clean)} clips, each {seconds} seconds later.", moved, judge)


# 7 · Small and fast


def megabytes(size: Any, weights: int, bits: int = 8) -> bool:
    """How many megabytes so many weights take, at so many bits each."""
    right = weights * bits / 8 / 1e6
    return _number(
        size,
        right,
        f"how many megabytes do {weights:,} weights take, at {bits} bits each?",
        "That is most of a model's file. The rest says how its layers are wired.",
        [
            (weights * bits / 1e6, "Those are megabits. A byte has eight bits."),
            (weights * 4 / 1e6, "That is at 32 bits each, as PyTorch keeps them: four bytes."),
            (weights * 2 / 1e6, "That is at 16 bits each: two bytes."),
            (weights * bits / 8, "That is in bytes. A megabyte is a million of them."),
            (weights * bits / 8 / 1e3, "That is in kilobytes. A megabyte is a thousand of them."),
            (weights * bits / 8 / 2**20, "That divides by 1,048,576, as some programs do. A megabyte is 1,000,000 bytes."),
        ],
        "A byte has eight bits, and a megabyte a million bytes.",
    )  # fmt: skip


def multiply_adds(count: Any, layer: nn.Conv2d, height: int, width: int) -> bool:
    """How many multiplications, each with an addition, a convolution makes for one picture of `height` x `width` outputs."""
    out, into, kernel = layer.out_channels, layer.in_channels // layer.groups, math.prod(layer.kernel_size)
    positions = height * width
    right = positions * out * into * kernel
    high, wide = layer.kernel_size
    return _number(
        count,
        right,
        "how many multiply-adds does this layer make for one picture?",
        "Few weights, many products: a convolution uses each of its weights once at every position.",
        [
            (out * into * kernel, "Those are the layer's weights. Each is used once at every position of the output."),
            (2 * right, "That counts multiplications and additions apart. A multiply-add is one of each."),
            (positions * into * kernel, f"That is one channel of the output. There are {out} of them."),
            (positions * out * kernel, f"Each kernel reads all {into} channels of the input, not one."),
            (positions * out * into, f"A kernel looks at {high} x {wide} places at once, not at one."),
            (positions * out, f"Those are the numbers that come out. For each, a kernel multiplies {into} x {high} x {wide} times."),
            (positions, "Those are the positions. At each of them all kernels multiply."),
            (right * math.prod(layer.stride), "That takes every place of the input. The stride leaves places out: take the output's."),
        ],
        "Positions of the output, times its channels, times what one kernel reads: channels of the input, height, width.",
        near=0,
    )  # fmt: skip


def eight_bits(codes: Any, weights: Any) -> bool:
    """Weights as whole numbers from -127 to 127, of which 127 stands for the largest weight without its sign."""
    weights = np.asarray(weights, float)
    largest = np.abs(weights).max()
    ratio = weights / largest * 127
    right = np.rint(ratio)

    def judge(answer: Any) -> tuple[bool, str]:
        found = _numbers(answer)
        if found is None:
            raise _Unclear(f"Expected a whole number for each weight, not {_what(answer)}.")
        _shape_is(found, weights.shape, "one code a weight")

        def same(other: np.ndarray) -> bool:
            return np.allclose(found, other, atol=1e-6)

        if same(right):
            return True, "One more number has to be kept, the size of a step. All else now fits into a byte a weight."
        return _first(
            [
                (same(weights), "Those are still the weights."),
                (same(right * largest / 127), "That is how the weights come back. Asked are the codes in between."),
                (same(ratio), "They are divided, but not rounded."),
                (
                    same(np.trunc(ratio)) or same(np.floor(ratio)),
                    "That cuts off what follows the point: `astype(int)` does so. Round to the nearest, `np.rint`.",
                ),
                (
                    same(np.rint(weights / weights.max() * 127)),
                    "The weight farthest from 0 may be negative. Divide by the largest of `np.abs`.",
                ),
                (
                    same(np.rint(weights / largest * 128)),
                    "128 has no place in 8 bits, which hold -128 to 127. Take 127 on both sides.",
                ),
                (
                    same(np.rint((weights - weights.min()) / np.ptp(weights) * 255)),
                    "Those count from the lowest weight, so 0 is no 0 any more. Asked is -127 to 127.",
                ),
                (not _whole(found), "Codes are whole numbers. Round them."),
                (bool(np.abs(found).max() > 127), "Some codes do not fit: 8 bits hold nothing above 127."),
                (True, "Divide each weight by the largest of `np.abs`, multiply by 127, and round."),
            ],
            "",
        )

    return _say("a whole number from -127 to 127 for each weight.", codes, judge)


def limit(score: Any, digits: Any, others: Any, lost: float = 0.05) -> bool:
    """The score below which so large a share of the digits lies: whatever has less counts as no digit."""
    digits, others = (np.asarray(_plain(one), float).reshape(-1) for one in (digits, others))
    right = float(np.quantile(digits, lost))
    step = NEAR * float(np.ptp(digits))  # answers may be rounded

    def judge(answer: Any) -> tuple[bool, str]:
        value = _one_number(answer)

        def same(other: float) -> bool:
            return abs(value - other) <= step

        turned_away, through = (digits < value).mean(), (others >= value).mean()
        # Any value between two neighbouring scores does the same.
        if abs((digits < value).sum() - lost * len(digits)) <= 1 or same(right):
            return (
                True,
                f"At this price {through:.0%} of the rest still pass for digits. Only better scores would lower both.",
            )
        return _first(
            [
                (same(np.quantile(digits, 1 - lost)), "That would turn nearly all digits away. Take the other end of their scores."),
                (same(np.quantile(others, 1 - lost)), "That lets so few of the others through. Asked is how few digits are lost."),
                (same(np.quantile(others, lost)), "Those are the scores of the others. Take those of the digits."),
                (same(lost) or same(100 * lost), "That is the share. Asked is the score that has this share of digits below it."),
                (
                    value <= digits.min(),
                    f"With this, no digit is turned away, but {through:.0%} of the others pass. Some loss is allowed.",
                ),
                (True, f"With this, {turned_away:.0%} of the digits are turned away, not {lost:.0%}. `np.quantile` finds it."),
            ],
            "",
        )  # fmt: skip

    return _say(f"the score that {lost:.0%} of the digits do not reach.", score, judge)


def soft_loss(loss: Any, student: torch.Tensor, teacher: torch.Tensor, temperature: float = 4.0) -> bool:
    """The mean binary cross-entropy between a student's and its teacher's logits [batch, 10], both divided by a temperature."""
    student, teacher = (one.detach().cpu().double() for one in (student, teacher))

    def cost(one: torch.Tensor, other: torch.Tensor) -> float:
        return float(binary_cross_entropy_with_logits(one, other.sigmoid()))

    warm, told = student / temperature, teacher / temperature
    right = cost(warm, told)
    return _number(
        loss,
        right,
        f"the student's loss against its teacher's answers, at temperature {temperature:g}.",
        "It is 0 for no student: where the teacher is unsure, so should the student be, and that has a price.",
        [
            (lambda: cost(student, teacher), "That is without a temperature. Divide the logits of both by it."),
            (lambda: cost(student, told), "Only the teacher was softened. Divide the student's logits, too."),
            (lambda: cost(warm, teacher), "Only the student was softened. Divide the teacher's logits, too."),
            (lambda: cost(student * temperature, teacher * temperature), "Multiplied, the answers grow harder. Divide."),
            (
                lambda: float(binary_cross_entropy_with_logits(warm, (teacher > 0).double())),
                "Those targets are yes or no. Asked are the teacher's probabilities.",
            ),
            (lambda: cost(told, warm), "Turned round: the teacher's answers are the target."),
            (
                lambda: float(cross_entropy(warm, told.softmax(dim=1))),
                "That is one question with ten answers. This course's networks answer ten: take `sigmoid`.",
            ),
            (right * student.numel(), "That is the sum. Asked is the mean over clips and digits."),
            (right * student.shape[1], "That adds up the ten questions of a clip. Take the mean of those, too."),
            (right * temperature**2, "That has the square of the temperature in it, as `train` does. Asked is the loss before."),
        ],
        "Divide both by the temperature, make probabilities of the teacher's, then `F.binary_cross_entropy_with_logits`.",
    )  # fmt: skip
