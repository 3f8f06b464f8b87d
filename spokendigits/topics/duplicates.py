"""`near_duplicates`: recordings that are in training and, perhaps changed a little, in the test as well. Chapter 4."""

import numpy as np
import pandas as pd
import scipy.fft
from tqdm import tqdm

from spokendigits.clips import Clips
from spokendigits.corpora.corpus import Corpus
from spokendigits.splits import Split

BAND = (50.0, 4000.0)  # hertz; what FSDD holds of speech
BIN = 8.0  # hertz of one number of a fingerprint
SHIFT, FRAME = 0.05, 0.02  # seconds
NOTHING = 1e-3  # of the loudest frame: below it there is nothing to compare
SIMILAR = 0.998
PAIRS = 20_000  # compared sample by sample, with 3 to 100 for each held-out clip
BLOCK = 256  # clips in memory at a time


# How the threshold was found. 400 clips of FSDD and 400 of the synthetic corpus were copied as they are and changed in
# eight ways: gain of 0.02 in 16 bits, 50 ms later, 50 ms cut off at the start, white noise 40, 30 and 20 dB below the
# recording, the last also without its padding, and a cut start with less gain and noise at 25 dB at once. 7,198 of these
# 7,200 copies reach 0.998. (So do 369 of FSDD's 400 with a floor of -60 dBFS; the others are too quiet.) Different takes
# of a word by one speaker reach 0.943 at most in FSDD (all 73,500 pairs), different synthetic voices 0.942. Of the
# 735,000 pairs of takes in the full synthetic corpus two reach 0.998, and rightly: espeak-ng drew nearly the same
# settings twice.
def near_duplicates(corpus: Corpus, clips: Clips, split: Split, progress: bool = True) -> pd.DataFrame:
    """Recordings that are in training and, perhaps changed a little, in validation or test as well; most similar first.

    Columns: train and held_out (rows of the corpus), similarity, train_path, held_out_path. Found are copies that were
    scaled, shifted by up to 50 ms, cut off by as much, saved again, or have noise 20 dB or more below the recording; other
    takes of the same word are not. Labels do not matter. For each held-out clip at least the three clips of the
    most similar spectrum are compared, sample by sample: of more copies than that, some may not be listed.
    """
    held_out = np.concatenate([split.validation, split.test])
    columns = ["train", "held_out", "similarity", "train_path", "held_out_path"]
    if not (len(split.train) and len(held_out)):
        return pd.DataFrame(columns=columns)
    known, new = _fingerprints(clips, split.train), _fingerprints(clips, held_out)
    count = min(len(split.train), int(np.clip(PAIRS // len(held_out), 3, 100)))
    # Copies: a view would keep the order of all training clips in memory.
    near = [np.argpartition(part @ known.T, -count, axis=1)[:, -count:].copy() for part in _blocks(new)]
    pairs = pd.DataFrame({"train": split.train[np.concatenate(near).ravel()], "held_out": np.repeat(held_out, count)})
    blocks = tqdm(_blocks(pairs.to_numpy()), "near-duplicates", unit="block", disable=not progress)
    pairs["similarity"] = np.concatenate(
        [_similarity(clips.read(block[:, 0]), clips.read(block[:, 1]), clips.sample_rate) for block in blocks]
    )
    copies = pairs[pairs["similarity"] >= SIMILAR].sort_values("similarity", ascending=False, kind="stable")
    path = corpus.table["path"].to_numpy()
    copies = copies.assign(train_path=path[copies["train"]], held_out_path=path[copies["held_out"]])
    return copies[columns].reset_index(drop=True)


def _blocks(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[first : first + BLOCK] for first in range(0, len(rows), BLOCK)]


def _fingerprints(clips: Clips, rows: np.ndarray) -> np.ndarray:
    """Spectra of whole clips, float32 [rows, bins], of length 1: neither a shift in time nor a gain changes them."""
    hertz = clips.sample_rate / clips.audio.shape[1]
    first, width = round(BAND[0] / hertz), max(1, round(BIN / hertz))
    bins = int(min(BAND[1], clips.sample_rate / 2) / hertz - first) // width
    spectra = []
    for block in _blocks(rows):
        spectrum = scipy.fft.rfft(clips.read(block).astype(np.float32))[:, first : first + bins * width]
        power = (np.abs(spectrum) ** 2).reshape(len(block), bins, width).sum(axis=2)
        spectra.append(np.sqrt(power / np.maximum(power.sum(axis=1, keepdims=True), 1e-9)))
    return np.concatenate(spectra)


def _similarity(ours: np.ndarray, theirs: np.ndarray, sample_rate: int) -> np.ndarray:
    """How much recordings [pairs, samples] are the same apart from gain, a shift and steady noise: 1 if they are.

    They are put over each other where their cross-correlation peaks. What then differs, relative to the recordings, is
    counted in frames; noise differs everywhere alike, another take more in some frames. So what the frames that
    differ least have is taken off all of them.
    """
    samples, shift, frame = ours.shape[1], round(SHIFT * sample_rate), round(FRAME * sample_rate)
    length = scipy.fft.next_fast_len(samples + shift, real=True)
    hertz = scipy.fft.rfftfreq(length, 1 / sample_rate)
    spectra = scipy.fft.rfft(np.stack([ours, theirs]).astype(np.float32), length)
    spectra *= (hertz >= BAND[0]) & (hertz < BAND[1])
    product = scipy.fft.irfft(spectra[0] * spectra[1].conj(), length)
    later = np.arange(-shift, shift + 1)
    later = later[np.abs(product[:, later]).argmax(axis=1)]
    similarity = np.zeros(len(later))
    for pair, (first, second) in enumerate(scipy.fft.irfft(spectra, length)[..., :samples].swapaxes(0, 1)):
        by = later[pair]
        both = np.stack([first[max(by, 0) : samples + min(by, 0)], second[max(-by, 0) : samples - max(by, 0)]])
        both = both[:, : both.shape[1] // frame * frame].reshape(2, -1, frame).astype(np.float64)
        energy = (both**2).sum(axis=2)
        total = energy.sum(axis=1)
        if total.all():
            common = (both[0] * both[1]).sum(axis=1) / np.sqrt(total.prod())
            share = (energy / total[:, None]).mean(axis=0)
            differs = (share - np.sign(common.sum()) * common)[share > NOTHING * share.max()]
            similarity[pair] = 1 - max(0.0, (differs - np.quantile(differs, 0.1)).sum())
    return similarity
