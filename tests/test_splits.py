"""Splits: nothing lost, nothing twice, and no shared speaker where none may be."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from spokendigits import splits
from spokendigits.corpora.corpus import Corpus
from spokendigits.errors import CourseError
from spokendigits.splits import AUDIOMNIST_GROUPS, check_speakers, split, subset


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


def test_one_speaker_at_a_time_whatever_the_number_of_folds():
    clips = corpus(speakers=7)
    for fold, speaker in enumerate(clips.speakers):
        parts = split(clips, "one_speaker", 5, fold)
        assert set(clips.table["speaker"].iloc[parts.validation]) == {speaker}
        assert len(parts.validation) == 50 and len(parts.train) == 300 and len(parts.test) == 0
        assert parts.shared_speakers(clips) == []


def test_leakage_is_seen():
    clips = corpus()
    honest = split(clips, "speaker")
    check_speakers(honest, clips)
    leaked = clips.table["speaker"].iloc[honest.train[0]]
    for part in ("validation", "test"):
        leaky = replace(honest, **{part: np.append(getattr(honest, part), honest.train[0])})
        assert leaky.shared_speakers(clips) == [leaked]
        with pytest.raises(CourseError, match=f"but {leaked} are on both sides"):
            check_speakers(leaky, clips)


@pytest.mark.parametrize("how", ["speaker", "one_speaker", "published"])
def test_a_split_that_leaks_a_speaker_is_refused(monkeypatch, how):
    clips = corpus("audiomnist", speakers=60, takes=1)
    honest = splits._held_out
    # A row too few is held out, of the clips of a speaker who is.
    monkeypatch.setattr(splits, "_held_out", lambda rows, out: honest(rows, out[:-1]))
    if how == "published":
        monkeypatch.setitem(AUDIOMNIST_GROUPS, "A", (*AUDIOMNIST_GROUPS["A"], AUDIOMNIST_GROUPS["C"][0]))
    with pytest.raises(CourseError, match="on both sides"):
        split(clips, how)


def test_less_to_learn_from_is_part_of_more():
    clips = corpus("audiomnist", speakers=60, takes=5)
    whole = split(clips, "published")
    before = np.empty(0, int)
    for speakers in (1, 2, 5, 36):
        part = subset(whole, clips, speakers=speakers, seed=3)
        assert clips.table["speaker"].iloc[part.train].nunique() == speakers and len(part.train) == 50 * speakers
        assert set(before) < set(part.train) <= set(whole.train)
        assert part.validation is whole.validation and part.test is whole.test
        before = part.train
    before = np.empty(0, int)
    for takes in (1, 2, 4):
        part = subset(whole, clips, speakers=5, takes=takes, seed=3)
        assert (clips.table.iloc[part.train].groupby(["speaker", "digit"]).size() == takes).all()
        assert len(part.train) == 50 * takes and set(before) < set(part.train)
        before = part.train
    assert set(before) < set(subset(whole, clips, speakers=5, seed=3).train)
    assert set(subset(whole, clips, speakers=1, seed=3).train) != set(subset(whole, clips, speakers=1, seed=4).train)
    assert np.array_equal(subset(whole, clips).train, whole.train)
    for wanted in ({"speakers": 37}, {"speakers": 0}, {"takes": 6}):
        with pytest.raises(CourseError, match="training has"):
            subset(whole, clips, **wanted)


@pytest.mark.parametrize(
    ("clips", "how", "folds", "fold", "words"),
    [
        (corpus(), "sorted", 5, 4, "random, speaker, one_speaker, published"),
        (corpus(), "one_speaker", 5, 12, "speaker 12 of 12"),
        (corpus(), "one_speaker", 5, -1, "count from 0"),
        (corpus(speakers=1), "one_speaker", 5, 0, "one speaker cannot be held apart"),
        (corpus(), "random", 5, 5, "count from 0"),
        (corpus(speakers=1), "speaker", 5, 4, "1 speaker"),
        (replace(corpus(), table=corpus().table[:4]), "random", 5, 4, "4 clips are too few"),
        (corpus(), "published", 5, 0, "no published folds"),
    ],
)
def test_what_cannot_be_split_says_why(clips, how, folds, fold, words):
    with pytest.raises(CourseError, match=words):
        split(clips, how, folds, fold)


def test_digits_with_fewer_clips_than_folds_are_dealt_out_too():
    clips = corpus(speakers=1, takes=2)
    folds = [split(clips, "random", 5, fold).validation for fold in range(5)]
    assert sorted(np.concatenate(folds)) == list(range(20)) and {len(fold) for fold in folds} == {4}
