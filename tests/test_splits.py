"""Splits: nothing lost, nothing twice, and no shared speaker where none may be."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from spokendigits.corpora.corpus import Corpus
from spokendigits.errors import CourseError
from spokendigits.splits import AUDIOMNIST_GROUPS, split


def corpus(name="own", speakers=12, takes=5) -> Corpus:
    width = 2 if name == "audiomnist" else 1
    rows = [
        {"path": f"{d}_{s}_{t}.wav", "digit": d, "speaker": f"{s:0{width}d}", "take": t}
        for s in range(1, speakers + 1)
        for d in range(10)
        for t in range(takes)
    ]
    return Corpus(name, ".", pd.DataFrame(rows), name, "", "")


@pytest.mark.parametrize("how", ["random", "speaker"])
def test_five_folds_cover_every_clip_once(how):
    clips = corpus()
    folds = [split(clips, how, 5, fold) for fold in range(5)]
    assert sorted(np.concatenate([fold.validation for fold in folds])) == list(range(len(clips)))
    for fold in folds:
        assert not set(fold.train) & set(fold.validation)
        assert len(fold.train) + len(fold.validation) == len(clips)


def test_random_folds_share_speakers_and_keep_digits_balanced():
    clips = corpus()
    fold = split(clips, "random")
    assert fold.shared_speakers(clips) == clips.speakers
    assert (clips.table["digit"].iloc[fold.validation].value_counts() == len(clips) / 50).all()


def test_speaker_folds_share_none():
    clips = corpus()
    for fold in range(5):
        assert split(clips, "speaker", 5, fold).shared_speakers(clips) == []


def test_the_same_seed_draws_the_same_fold_and_another_seed_another():
    clips = corpus()
    for how in ("random", "speaker"):
        first, again, other = (split(clips, how, seed=seed).validation for seed in (1, 1, 2))
        assert np.array_equal(first, again) and not np.array_equal(first, other)


def test_published_folds_of_audiomnist():
    assert sorted(number for group in AUDIOMNIST_GROUPS.values() for number in group) == list(range(1, 61))
    clips = corpus("audiomnist", speakers=60, takes=1)
    tested = []
    for fold in range(5):
        parts = split(clips, "published", 5, fold)
        assert [len(part) for part in (parts.train, parts.validation, parts.test)] == [360, 120, 120]
        assert parts.shared_speakers(clips) == []
        tested += list(parts.test)
    assert sorted(tested) == list(range(600))
    # fold 0: ABC train, D validates, E tests
    speaker = clips.table["speaker"].astype(int)
    assert set(speaker.iloc[split(clips, "published", 5, 0).test]) == set(AUDIOMNIST_GROUPS["E"])
    assert set(speaker.iloc[split(clips, "published", 5, 4).validation]) == set(AUDIOMNIST_GROUPS["C"])


def test_published_folds_of_the_synthetic_speakers():
    """Their 60 speakers are numbered like AudioMNIST's, so the same numbers meet."""
    numbers = {}
    for name in ("audiomnist", "synthetic"):
        clips = corpus(name, speakers=60, takes=1)
        if name == "synthetic":
            clips = replace(
                clips, table=clips.table.assign(speaker="s" + clips.table["speaker"].astype(str).str.zfill(2))
            )
        speaker = clips.table["speaker"].str.removeprefix("s").astype(int)
        numbers[name] = [sorted(set(speaker.iloc[rows])) for rows in vars(split(clips, "published", 5, 2)).values()]
    assert numbers["synthetic"] == numbers["audiomnist"]
    with pytest.raises(CourseError, match="all 60 speakers, and 20 are here"):
        split(corpus("audiomnist", speakers=20, takes=1), "published")


def test_the_official_split_of_fsdd():
    clips = corpus("fsdd", speakers=6, takes=50)
    parts = split(clips, "published")
    assert len(parts.validation) == 300 and set(clips.table["take"].iloc[parts.validation]) == set(range(5))


def test_leakage_is_seen():
    clips = corpus()
    honest = split(clips, "speaker")
    leaky = type(honest)(honest.train, np.append(honest.validation, honest.train[0]), honest.test)
    assert leaky.shared_speakers(clips) == [clips.table["speaker"].iloc[honest.train[0]]]


@pytest.mark.parametrize(
    ("clips", "how", "folds", "fold", "words"),
    [
        (corpus(), "sorted", 5, 4, "random, speaker, published"),
        (corpus(), "random", 5, 5, "count from 0"),
        (corpus(speakers=1), "speaker", 5, 4, "1 speaker"),
        (corpus(speakers=1, takes=2), "random", 5, 4, "too few"),
        (corpus(), "published", 5, 0, "no published folds"),
    ],
)
def test_what_cannot_be_split_says_why(clips, how, folds, fold, words):
    with pytest.raises(CourseError, match=words):
        split(clips, how, folds, fold)
