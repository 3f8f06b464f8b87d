"""Self-checks of notebook 2, From sound to picture."""

from functools import partial
from typing import Any

import numpy as np
import torch

from spokendigits.checks import judge
from spokendigits.checks.judge import Lesson, Table, check, number, whole_number
from spokendigits.frontend import LogMel
from spokendigits.recipe import Recipe

SILENCE = 1e-10  # power; what librosa's decibels take for the logarithm of nothing
ALIKE = 6.5  # decibels between two pictures, mean over what is not quiet: a right guess's lies far below, a wrong one's above


@number
def milliseconds(answer: Any, samples: int, sample_rate: int) -> Table:
    """How many milliseconds so many samples last."""
    right, times = 1000 * samples / sample_rate, samples / 1000 * sample_rate
    yield f"how many milliseconds do {samples:,} samples last, at {sample_rate:,} a second?"
    yield right, Lesson("Windows and hops are given in samples. Their meaning is in milliseconds.")
    yield right / 1000, "That is in seconds. A second has a thousand milliseconds."
    yield sample_rate / samples, "The fraction is upside down: divide the samples by the samples in a second."
    yield times, "Divide by the sample rate: the more samples a second, the shorter is each."
    for other in set(judge.RATES) - {sample_rate}:
        yield 1000 * samples / other, f"That takes {other:,} samples a second. Asked is {sample_rate:,}."
    yield "Divide the samples by the samples in a second, and turn seconds into milliseconds."


@check
def picture_shape(shape: Any, recipe: Recipe) -> Table:
    """The shape of one clip's picture in a batch: clips, channels, mel bins, frames."""
    bins, frames, hops = recipe.n_mels, recipe.frames, recipe.samples // recipe.hop
    before = recipe.samples // (2 * recipe.hop) + 1
    yield "the shape of the picture with half the hop, four numbers."
    given = judge.numbers_of(shape)
    unclear = given is None or given.ndim != 1 or not judge.are_whole(given)
    yield unclear, "Expected four whole numbers in round brackets: (clips, channels, mel bins, frames)."
    given = given.tolist()
    yield given == [bins, frames], "Those are its last two numbers. A batch has clips and channels before them."
    yield len(given) != 4, f"Expected four numbers, not {len(given)}: clips, channels, mel bins, frames."
    yield given == [1, 1, frames, bins], "Mel bins and frames are swapped: the rows are mel bins."
    *front, last = given
    yield front != [1, 1, bins], f"Only the frames depend on the hop. It is one clip, one channel, {bins} mel bins."
    yield last == before != frames, "That is the hop as it was. With half of it there are more frames."
    yield last == hops, "One frame is missing: windows are centred on the first sample and on the last hop."
    yield last == 2 * before, "Off by one: the number of hops doubles, and one frame is added, not two."
    yield last == recipe.samples // (4 * recipe.hop) + 1, "Half the hop makes more frames, not fewer."
    yield last != frames, "Count the hops in a clip, then add the frame that stands on its first sample."
    yield Lesson("Every number of the shape could be known before anything was computed.")


@check
def decibels_by_hand(answer: Any, mel: np.ndarray, top_db: float = 80.0) -> Table:
    """Power in decibels, and nothing quieter than `top_db` below the loudest bin."""
    power = np.maximum(np.asarray(mel, float), SILENCE)
    natural, whole = np.log(power), 10 * np.log10(power)
    right, loud = np.maximum(whole, whole.max() - top_db), whole > whole.max() - top_db + 1
    yield "`mel` in decibels, an array of its shape."
    given = judge.array_of(answer, "an array", right.shape, "mel bins x frames")
    near = partial(np.allclose, atol=0.02, rtol=0)

    def same(other: np.ndarray) -> bool:
        return near(given[loud], other[loud])

    yield same(natural) or same(10 * natural), "That is the natural logarithm. Decibels take `np.log10`."
    yield same(2 * whole), "Twenty is for amplitudes. Power takes ten: it is the amplitude's square."
    yield same(whole / 10), "Those are bels. A decibel is a tenth of one, so there are ten times as many."
    yield same(-whole), "The sign is turned: more power is more decibels."
    yield same(whole - whole.max()), "That counts from the loudest bin. Count from a power of 1: do not divide."
    yield same(power), "That is still power. Ten times its logarithm is asked."
    yield not same(right), "Take ten times the logarithm to base ten of each number in `mel`."
    loud_only = f"The loud bins are right. Raise what is more than {top_db:.0f} decibels below the loudest to that."
    yield not near(given, right), loud_only
    yield Lesson("A ratio became a difference: that is all a logarithm does.")


@whole_number
def empty_filters(count: Any, recipe: Recipe) -> Table:
    """How many mel filters of a recipe hold nothing but zeros."""

    def empty(dim: int = 0, **changes: Any) -> int:
        return int((LogMel(recipe.but(**changes)).filters.amax(dim=dim) == 0).sum())

    right, mended, other = empty(), empty(f_max=recipe.nyquist), "slaney" if recipe.mel_scale == "htk" else "htk"
    yield f"how many filters are empty with the mel scale of {recipe.mel_scale.upper()}?"
    lesson = "HTK's scale puts more of its filters high up, and so more of them beyond the Nyquist frequency."
    yield right, Lesson(lesson)
    yield empty(mel_scale=other), f"That is {other.capitalize()}'s number: set `mel_scale`."
    yield empty(dim=1), "That counts frequencies that no filter hears. A filter is a column, not a row."
    yield recipe.n_mels - right, "Those are the filters that are not empty."
    yield mended, "That is with the maximum frequency put right. Start from `seed`, the mistake included."
    yield right + 1, "One too many."
    yield right - 1, "One is missing."
    yield "Look at each column of `LogMel(…).filters`: an empty one has no weight above 0."


@check
def inverted(guess: Any, audio: np.ndarray, recipe: Recipe) -> Table:
    """Whether a sound was made that has the mel picture of `audio`, and is not `audio` itself."""
    audio = np.asarray(audio, np.float32)
    yield "a sound that `mel_to_audio` makes from the picture."
    given = judge.array_of(guess, "a sound, an array of samples")
    is_picture = given.ndim == 2 and len(given) == recipe.n_mels
    yield is_picture, "That is still a picture. `mel_to_audio` makes a sound of it."
    yield given.ndim != 1, f"Expected the samples of one sound, not the shape {given.shape}."
    infinite = not np.isfinite(given).all()
    yield infinite, "Some samples are not finite numbers. Was `decibels` turned back into power?"
    other = abs(len(given) - len(audio)) > 0.1 * len(audio)
    yield other, f"It has {len(given):,} samples, the clip {len(audio):,}. Pass `hop_length=recipe.hop`."
    yield np.abs(given).max() < 1e-6, "That is silence."
    copied = len(given) == len(audio) and np.allclose(given, audio, atol=1e-4)
    yield copied, "That is the clip itself. Make a sound from its picture alone."
    sounds = np.zeros((2, len(audio)), np.float32)
    sounds[0] = audio
    sounds[1, : len(given)] = given[: len(audio)]
    pictures = LogMel(recipe)(torch.from_numpy(sounds))
    wanted, heard = pictures - pictures.amax(dim=(1, 2, 3), keepdim=True)
    other = (wanted - heard)[wanted > -40].abs().mean() > ALIKE
    yield other, "Its picture is another one. `mel_to_audio` wants power, not decibels, and the picture's own settings."
    yield Lesson("The word is in the picture; much of the voice is not.")
