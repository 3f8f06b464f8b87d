"""Folds of a corpus: random (the seed's), by speaker, one speaker at a time, and published. Checks that nothing leaks."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import scipy.fft
from sklearn.model_selection import StratifiedKFold
from tqdm import tqdm

from spokendigits.clips import Clips
from spokendigits.corpora.corpus import Corpus
from spokendigits.errors import CourseError
from spokendigits.recipe import CHOICES

# Becker et al. (arXiv 1807.03418) publish five speaker-disjoint folds for digits (audiomnist/train/splits.py in
# their repository): three groups train, the next validates, the one after tests.
AUDIOMNIST_GROUPS = {
    "A": (28, 56, 7, 19, 35, 1, 6, 16, 23, 34, 46, 53),
    "B": (36, 57, 9, 24, 37, 2, 8, 17, 29, 39, 48, 54),
    "C": (43, 58, 14, 25, 38, 3, 10, 20, 30, 40, 49, 55),
    "D": (12, 47, 59, 15, 27, 41, 4, 11, 21, 31, 44, 50),
    "E": (26, 52, 60, 18, 32, 42, 5, 13, 22, 33, 45, 51),
}
FSDD_TEST_TAKES = range(5)
NUMBERED = {"audiomnist": r"(\d+)", "synthetic": r"s(\d+)"}  # corpora whose 60 speakers are numbered from 1
KINDS = CHOICES["split"]

# Near-duplicates, see `near_duplicates`.
BAND = (50.0, 4000.0)  # hertz; what FSDD holds of speech
BIN = 8.0  # hertz of one number of a fingerprint
SHIFT, FRAME = 0.05, 0.02  # seconds
NOTHING = 1e-3  # of the loudest frame: below it there is nothing to compare
SIMILAR = 0.998
PAIRS = 20_000  # compared sample by sample, with 3 to 100 for each held-out clip
BLOCK = 256  # clips in memory at a time


@dataclass(frozen=True)
class Split:
    """Row numbers of the corpus table: `train`, `validation` and, for published folds, `test` (else empty)."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    def shared_speakers(self, corpus: Corpus) -> list[str]:
        """Speakers that are heard in training and again in validation or test."""
        speaker = corpus.table["speaker"]
        held_out = np.concatenate([self.validation, self.test])
        return sorted(set(speaker.iloc[self.train]) & set(speaker.iloc[held_out]))


def split(corpus: Corpus, how: str = "random", folds: int = 5, fold: int = 4, seed: int = 0) -> Split:
    """Splits a corpus.

    how: "random" draws folds by clip, each with its share of every digit: the same voices are on both sides.
    "speaker" draws folds by speaker: no voice is on both sides. "one_speaker" holds out a single one: `fold` counts the
    corpus's speakers, whatever `folds` says. "published" takes the corpus's own: AudioMNIST's five speaker-disjoint folds
    with a test part, for its own 60 speakers or the 60 synthetic ones of the same numbers, and FSDD's takes 0-4 (speakers
    shared). `fold` is the one held out.
    Raises CourseError when the corpus cannot be split so, or speakers to be held apart are on both sides.
    """
    if how == "one_speaker":
        parts = _one_speaker(corpus, fold)
    elif not 0 <= fold < folds:
        raise CourseError(f"split: fold {fold} of {folds} folds; folds count from 0.")
    elif how == "random":
        return _held_out(np.arange(len(corpus)), _random_fold(corpus, folds, fold, seed))
    elif how == "speaker":
        parts = _held_out(np.arange(len(corpus)), _speaker_fold(corpus, folds, fold, seed))
    elif how == "published":
        parts = _published(corpus, fold)
        if corpus.name == "fsdd":
            return parts
    else:
        raise CourseError(f"split: unknown kind {how!r}; known: {', '.join(KINDS)}.")
    check_speakers(parts, corpus)
    return parts


def count_folds(corpus: Corpus, how: str, folds: int) -> int:
    """How many folds a kind of split has: `folds`, unless the corpus itself says how many."""
    if how == "one_speaker":
        return len(corpus.speakers)
    if how == "published":
        return 1 if corpus.name == "fsdd" else len(AUDIOMNIST_GROUPS)
    return folds


def side_by_side(corpus: Corpus, folds: int = 5, seed: int = 0) -> dict[str, list[Split]]:
    """Every fold of every kind of split that the corpus allows, by kind: {"random": [Split, ...], ...}."""
    found = {}
    for how in KINDS:
        count = count_folds(corpus, how, folds)
        try:
            found[how] = [split(corpus, how, count, fold, seed) for fold in range(count)]
        except CourseError:  # too few speakers or clips, or nothing published
            continue
    return found


def check_speakers(split: Split, corpus: Corpus) -> None:
    """Raises CourseError that names the speakers who are heard in training and again in validation or test."""
    if shared := split.shared_speakers(corpus):
        raise CourseError(
            f"split: speakers should be held apart, but {', '.join(shared)} are on both sides. Move each of them to one side."
        )


def subset(split: Split, corpus: Corpus, speakers: int | None = None, takes: int | None = None, seed: int = 0) -> Split:
    """The same split with less to train on: `speakers` of its speakers, `takes` of each digit by each (None: all).

    For learning curves: with one seed, what fewer speakers or takes keep is part of what more of them keep. Validation
    and test stay. Raises CourseError when training has fewer speakers or takes than that.
    """
    table = corpus.table.iloc[split.train]
    random = np.random.default_rng(seed)
    names, order = random.permutation(sorted(table["speaker"].unique())), random.permutation(len(table))
    number = pd.Series(order, table.index).groupby([table["speaker"], table["digit"]]).rank()
    for wanted, there, what in ((speakers, len(names), "speakers"), (takes, int(number.max()), "takes of a digit")):
        if wanted is not None and not 1 <= wanted <= there:
            raise CourseError(f"subset: {wanted} {what} asked for; training has {there}.")
    kept = table["speaker"].isin(names[:speakers])
    if takes is not None:
        kept &= number <= takes
    return Split(split.train[kept.to_numpy()], split.validation, split.test)


def _held_out(rows: np.ndarray, validation: np.ndarray) -> Split:
    return Split(np.setdiff1d(rows, validation), validation, rows[:0])


def _random_fold(corpus: Corpus, folds: int, fold: int, seed: int) -> np.ndarray:
    digit = corpus.table["digit"].to_numpy()
    said, counts = np.unique(digit, return_counts=True)
    if counts.min() < folds:
        raise CourseError(
            f"split: digit {said[counts.argmin()]} has {counts.min()} clips, too few for {folds} folds. Record more, or ask for fewer folds."
        )
    parts = StratifiedKFold(folds, shuffle=True, random_state=seed).split(digit, digit)
    return np.sort(list(parts)[fold][1])


def _speaker_fold(corpus: Corpus, folds: int, fold: int, seed: int) -> np.ndarray:
    speakers = np.array(corpus.speakers)
    if len(speakers) < folds:
        raise CourseError(
            f"split: {len(speakers)} speaker(s) cannot be held apart in {folds} folds. Ask for fewer folds, or use the random split."
        )
    held_out = np.array_split(np.random.default_rng(seed).permutation(speakers), folds)[fold]
    return np.flatnonzero(corpus.table["speaker"].isin(held_out))


def _one_speaker(corpus: Corpus, fold: int) -> Split:
    speakers = corpus.speakers
    if len(speakers) < 2:
        raise CourseError("split: one speaker cannot be held apart from others. Record more, or use the random split.")
    if not 0 <= fold < len(speakers):
        raise CourseError(f"split: speaker {fold} of {len(speakers)} speakers; they count from 0 ({speakers[0]}).")
    return _held_out(np.arange(len(corpus)), np.flatnonzero(corpus.table["speaker"] == speakers[fold]))


def _published(corpus: Corpus, fold: int) -> Split:
    if corpus.name == "fsdd":
        return _held_out(np.arange(len(corpus)), np.flatnonzero(corpus.table["take"].isin(FSDD_TEST_TAKES)))
    if corpus.name not in NUMBERED:
        raise CourseError(f"split: no published folds for {corpus.name}; use 'random' or 'speaker'.")
    if fold > 4:
        raise CourseError(f"split: AudioMNIST publishes folds 0-4, not {fold}.")
    order = [list(AUDIOMNIST_GROUPS)[(fold + step) % 5] for step in range(5)]
    speaker = corpus.table["speaker"].str.extract(NUMBERED[corpus.name], expand=False).astype(int)
    if set(speaker) != set(range(1, 61)):
        raise CourseError(f"split: the published folds need all 60 speakers, and {speaker.nunique()} are here.")

    def part(*groups: str) -> np.ndarray:
        return np.flatnonzero(speaker.isin([number for group in groups for number in AUDIOMNIST_GROUPS[group]]))

    return Split(part(*order[:3]), part(order[3]), part(order[4]))


def check_duplicates(corpus: Corpus, clips: Clips, split: Split, progress: bool = True) -> None:
    """Raises CourseError that names the first pair of `near_duplicates` and says how many there are."""
    found = near_duplicates(corpus, clips, split, progress)
    if len(found):
        first = found.iloc[0]
        raise CourseError(
            f"split: {first['held_out_path']} is held out, and {first['train_path']} in training is the same recording "
            f"({len(found)} such pair(s)). Remove one of each pair, or put both on one side."
        )


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
    pairs["similarity"] = np.concatenate(
        [
            _similarity(clips.read(part[:, 0]), clips.read(part[:, 1]), clips.sample_rate)
            for part in tqdm(_blocks(pairs.to_numpy()), "near-duplicates", unit="block", disable=not progress)
        ]
    )
    found = pairs[pairs["similarity"] >= SIMILAR].sort_values("similarity", ascending=False, kind="stable")
    path = corpus.table["path"].to_numpy()
    found = found.assign(train_path=path[found["train"]], held_out_path=path[found["held_out"]])
    return found[columns].reset_index(drop=True)


def _blocks(rows: np.ndarray) -> list[np.ndarray]:
    return [rows[first : first + BLOCK] for first in range(0, len(rows), BLOCK)]


def _fingerprints(clips: Clips, rows: np.ndarray) -> np.ndarray:
    """Spectra of whole clips, float32 [rows, bins], of length 1: neither a shift in time nor a gain changes them."""
    hertz = clips.sample_rate / clips.audio.shape[1]
    first, width = round(BAND[0] / hertz), max(1, round(BIN / hertz))
    bins = int(min(BAND[1], clips.sample_rate / 2) / hertz - first) // width
    found = []
    for part in _blocks(rows):
        spectrum = scipy.fft.rfft(clips.read(part).astype(np.float32))[:, first : first + bins * width]
        power = (np.abs(spectrum) ** 2).reshape(len(part), bins, width).sum(axis=2)
        found.append(np.sqrt(power / np.maximum(power.sum(axis=1, keepdims=True), 1e-9)))
    return np.concatenate(found)


def _similarity(one: np.ndarray, other: np.ndarray, sample_rate: int) -> np.ndarray:
    """How much recordings [pairs, samples] are the same apart from gain, a shift and steady noise: 1 if they are.

    They are put over each other where their cross-correlation peaks. What then differs, relative to the recordings, is
    counted in frames; noise differs everywhere alike, another take more in some frames. So what the frames that
    differ least have is taken off all of them.
    """
    samples, shift, frame = one.shape[1], round(SHIFT * sample_rate), round(FRAME * sample_rate)
    length = scipy.fft.next_fast_len(samples + shift, real=True)
    hertz = scipy.fft.rfftfreq(length, 1 / sample_rate)
    band = (hertz >= BAND[0]) & (hertz < BAND[1])
    spectra = [scipy.fft.rfft(part.astype(np.float32), length) * band for part in (one, other)]
    product = scipy.fft.irfft(spectra[0] * spectra[1].conj(), length)
    later = np.arange(-shift, shift + 1)
    later = later[np.abs(product[:, later]).argmax(axis=1)]
    found = []
    for first, second, by in zip(*(scipy.fft.irfft(part, length)[:, :samples] for part in spectra), later, strict=True):
        both = np.stack([first[max(by, 0) : samples + min(by, 0)], second[max(-by, 0) : samples - max(by, 0)]])
        both = both[:, : both.shape[1] // frame * frame].reshape(2, -1, frame).astype(np.float64)
        energy = (both**2).sum(axis=2)
        total = energy.sum(axis=1)
        if not total.all():
            found.append(0.0)
            continue
        common = (both[0] * both[1]).sum(axis=1) / np.sqrt(total.prod())
        share = (energy / total[:, None]).mean(axis=0)
        differs = share - np.sign(common.sum()) * common
        differs = differs[share > NOTHING * share.max()]
        found.append(1 - max(0.0, (differs - np.quantile(differs, 0.1)).sum()))
    return np.array(found)
