"""Self-checks of notebook 2, From sound to picture."""

from typing import Any

import numpy as np
import torch

from spokendigits.checks.judge import (
    ALIKE,
    RATES,
    SILENCE,
    Unclear,
    are_whole,
    check_shape,
    first_true,
    judge_number,
    kind_of,
    numbers_of,
    say,
)
from spokendigits.frontend import LogMel
from spokendigits.recipe import Recipe


def milliseconds(answer: Any, samples: int, sample_rate: int) -> bool:
    """How many milliseconds so many samples last."""
    right = 1000 * samples / sample_rate
    return judge_number(
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
        found = numbers_of(answer)
        if found is None or found.ndim != 1 or not are_whole(found):
            raise Unclear("Expected four whole numbers in round brackets: (clips, channels, mel bins, frames).")
        given = tuple(int(one) for one in found)
        *front, last = given if given else (0,)
        return first_true(
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

    return say("the shape of the picture with half the hop, four numbers.", shape, judge)


def decibels_by_hand(answer: Any, mel: np.ndarray, top_db: float = 80.0) -> bool:
    """Power in decibels, and nothing quieter than `top_db` below the loudest bin."""
    power = np.maximum(np.asarray(mel, float), SILENCE)
    whole = 10 * np.log10(power)
    right = np.maximum(whole, whole.max() - top_db)
    loud = whole > whole.max() - top_db + 1

    def judge(answer: Any) -> tuple[bool, str]:
        found = numbers_of(answer)
        if found is None:
            raise Unclear(f"Expected an array, not {kind_of(answer)}.")
        check_shape(found, right.shape, "mel bins x frames")

        def same(other: np.ndarray) -> bool:
            return np.allclose(found[loud], other[loud], atol=0.02, rtol=0)

        return first_true(
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

    return say("`mel` in decibels, an array of its shape.", answer, judge)


def empty_filters(count: Any, recipe: Recipe) -> bool:
    """How many mel filters of a recipe hold nothing but zeros."""

    def empty(recipe: Recipe, dim: int = 0) -> int:
        return int((LogMel(recipe).filters.amax(dim=dim) == 0).sum())

    other = "slaney" if recipe.mel_scale == "htk" else "htk"
    right = empty(recipe)
    return judge_number(
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
        found = numbers_of(answer)
        if found is None:
            raise Unclear(f"Expected a sound, an array of samples, not {kind_of(answer)}.")
        if found.ndim == 2 and found.shape[0] == recipe.n_mels:
            raise Unclear("That is still a picture. `mel_to_audio` makes a sound of it.")
        if found.ndim != 1:
            raise Unclear(f"Expected the samples of one sound, not the shape {found.shape}.")
        if not np.isfinite(found).all():
            raise Unclear("Some samples are not finite numbers. Was `decibels` turned back into power?")
        if abs(len(found) - len(audio)) > 0.1 * len(audio):
            raise Unclear(f"It has {len(found):,} samples, the clip {len(audio):,}. Pass `hop_length=recipe.hop`.")
        if np.abs(found).max() < 1e-6:
            raise Unclear("That is silence.")
        if len(found) == len(audio) and np.allclose(found, audio, atol=1e-4):
            raise Unclear("That is the clip itself. Make a sound from its picture alone.")
        fitted = np.zeros_like(audio)
        fitted[: len(found)] = found[: len(audio)]
        heard, made = picture(audio), picture(fitted)
        heard, made = heard - heard.max(), made - made.max()
        there = heard > -40
        return first_true(
            [
                (
                    float((heard - made)[there].abs().mean()) > ALIKE,
                    "Its picture is another one. `mel_to_audio` wants power, not decibels, and the picture's own settings.",
                )
            ],
            "The word is in the picture; much of the voice is not.",
        )

    return say("a sound that `mel_to_audio` makes from the picture.", guess, judge)
