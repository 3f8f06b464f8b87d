"""Folds of a corpus: random (the seed's), by speaker, one speaker at a time, and published. Checks that nothing leaks. Chapter 1."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from spokendigits.corpora.corpus import Corpus
from spokendigits.errors import CourseError
from spokendigits.recipe import SPLITS

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


@dataclass(frozen=True)
class Split:
    """Row numbers of the corpus table: `train`, `validation` and, for published folds, `test` (else empty)."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray

    def shared_speakers(self, corpus: Corpus) -> list[str]:
        """Speakers that are heard in more than one of the three."""
        train, held, test = (set(corpus.table["speaker"].iloc[rows]) for rows in vars(self).values())
        return sorted(train & held | train & test | held & test)


def split(corpus: Corpus, how: str = "random", folds: int = 5, fold: int = 4, seed: int = 0) -> Split:
    """Splits a corpus.

    how: "random" draws folds by clip, each with its share of every digit if there are enough: the same voices are on both sides.
    "speaker" draws folds by speaker: no voice is on both sides. "one_speaker" holds out a single one: `fold` counts the
    corpus's speakers, whatever `folds` says. "published" takes the corpus's own: AudioMNIST's five speaker-disjoint folds
    with a test part, for its own 60 speakers or the 60 synthetic ones of the same numbers, FSDD's takes 0-4 (speakers
    shared), and Speech Commands' lists. `fold` is the one held out. What is no digit (-1) trains, or is in no part.
    Raises CourseError when the corpus cannot be split so, or speakers to be held apart are on both sides.
    """
    if how == "one_speaker":
        parts = _one_speaker(corpus, fold)
    elif not 0 <= fold < folds:
        raise CourseError(f"split: fold {fold} of {folds} folds; folds count from 0.")
    elif how == "random":
        return _held_out(corpus, _random_fold(corpus, folds, fold, seed))
    elif how == "speaker":
        parts = _held_out(corpus, _speaker_fold(corpus, folds, fold, seed))
    elif (how, corpus.name) == ("published", "fsdd"):
        return _held_out(corpus, np.flatnonzero(corpus.table["take"].isin(FSDD_TEST_TAKES)))
    elif how == "published":
        parts = _published(corpus, fold)
    else:
        raise CourseError(f"split: unknown kind {how!r}; known: {', '.join(SPLITS)}.")
    check_speakers(parts, corpus)
    return parts


def check_speakers(split: Split, corpus: Corpus) -> None:
    """Raises CourseError that names the speakers who are heard in more than one part."""
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
    kept = table["speaker"].isin(names[:speakers]) & (number <= (takes or np.inf))
    return Split(split.train[kept.to_numpy()], split.validation, split.test)


def _held_out(corpus: Corpus, rows: np.ndarray) -> Split:
    digits = rows[corpus.table["digit"].to_numpy()[rows] >= 0]
    return Split(np.setdiff1d(np.arange(len(corpus)), rows), digits, rows[:0])


def _random_fold(corpus: Corpus, folds: int, fold: int, seed: int) -> np.ndarray:
    rows = np.flatnonzero(corpus.table["digit"] >= 0)
    digit = corpus.table["digit"].to_numpy()[rows]
    if len(digit) < folds:
        raise CourseError(
            f"split: {len(digit)} clips are too few for {folds} folds. Record more, or ask for fewer folds."
        )
    from sklearn.model_selection import KFold, StratifiedKFold  # here: `predict` starts in a third of the time without

    # A digit with fewer clips than folds cannot have its share in each.
    kind = StratifiedKFold if np.unique(digit, return_counts=True)[1].min() >= folds else KFold
    parts = kind(folds, shuffle=True, random_state=seed).split(digit, digit)
    return rows[np.sort(list(parts)[fold][1])]


def _speaker_fold(corpus: Corpus, folds: int, fold: int, seed: int) -> np.ndarray:
    speakers = np.array(corpus.digit_speakers)
    if len(speakers) < folds:
        raise CourseError(
            f"split: {len(speakers)} speaker(s) cannot be held apart in {folds} folds. Ask for fewer folds, or use the random split."
        )
    held_out = np.array_split(np.random.default_rng(seed).permutation(speakers), folds)[fold]
    return np.flatnonzero(corpus.table["speaker"].isin(held_out))


def _one_speaker(corpus: Corpus, fold: int) -> Split:
    speakers = corpus.digit_speakers
    if len(speakers) < 2:
        raise CourseError("split: one speaker cannot be held apart from others. Record more, or use the random split.")
    if not 0 <= fold < len(speakers):
        raise CourseError(f"split: speaker {fold} of {len(speakers)} speakers; they count from 0 ({speakers[0]}).")
    return _held_out(corpus, np.flatnonzero(corpus.table["speaker"] == speakers[fold]))


def _published(corpus: Corpus, fold: int) -> Split:
    if corpus.name == "speech_commands":
        parts = _held_out(corpus, np.flatnonzero(corpus.table["part"] != "train"))
        tests = (corpus.table["part"] == "test").to_numpy()[parts.validation]
        if tests.all():
            raise CourseError("split: no validation speaker is here. Take more speakers, or the split 'speaker'.")
        return Split(parts.train, parts.validation[~tests], parts.validation[tests])
    if corpus.name not in NUMBERED:
        raise CourseError(f"split: no published folds for {corpus.name}; use 'random' or 'speaker'.")
    if fold > 4:
        raise CourseError(f"split: AudioMNIST publishes folds 0-4, not {fold}.")
    order = [list(AUDIOMNIST_GROUPS)[(fold + step) % 5] for step in range(5)]
    speaker = corpus.table["speaker"].str.extract(NUMBERED[corpus.name], expand=False).astype(int)
    if set(speaker) != set(range(1, 61)):
        raise CourseError(f"split: the published folds need all 60 speakers, and {speaker.nunique()} are here.")
    *train, validation, test = (np.flatnonzero(speaker.isin(AUDIOMNIST_GROUPS[group])) for group in order)
    return Split(np.sort(np.concatenate(train)), validation, test)
