"""What a start is worth: the study itself on chords, with one seed and hardly any steps."""

from dataclasses import replace

import numpy as np
import pytest
import soundfile

from spokendigits import corpora
from spokendigits.corpora.corpus import DIGITS
from spokendigits.corpora.synthetic import WORDS
from spokendigits.errors import CourseError
from spokendigits.splits import split
from studies import transfer, words

SMALL = {"SEEDS": 1, "STEPS": (1, 2), "EQUAL": 2, "CLIPS": (40, 60), "PEOPLE_SEEDS": 1, "PEOPLE_STEPS": 1}


@pytest.fixture(autouse=True)
def small(tones, monkeypatch):
    """Chords for every corpus: the voices, and the people."""
    load = corpora.load
    monkeypatch.setattr(corpora, "load", lambda name, **how: load(name, **how) if name == "speech_commands" else tones)
    for name, value in (SMALL | {"VOICES": 40, "VIEWS": 2}).items():
        monkeypatch.setattr(transfer, name, value)
    ladder = {name: recipe.but(folds=5, backbone="test_resnet.r160_in1k") for name, recipe in transfer.LADDER.items()}
    monkeypatch.setattr(
        transfer, "LADDER", ladder | {"and photographs": transfer.LADDER["and photographs"].but(folds=5)}
    )


def leaky(corpus, *how):
    """A split by speakers, in which one of those held out is heard as well."""
    parts = split(corpus, *how)
    return replace(parts, train=np.append(parts.train, parts.validation[0]))


def test_a_speaker_in_both_parts_is_refused(tones, tmp_path, monkeypatch):
    monkeypatch.setattr(transfer, "split", leaky)
    with pytest.raises(CourseError, match="should be held apart"):
        transfer.Starts(tmp_path, tones, None).rows(transfer.FAST, 500, 0)


@pytest.mark.slow
def test_a_person_who_is_read_is_not_heard(tones, monkeypatch):
    """As after a slip of the order in which people join the training."""
    monkeypatch.setattr(np, "roll", lambda names, by: tones.speakers)
    heard = transfer.Heard(False)
    with pytest.raises(CourseError, match="should be held apart"):
        heard.one_out(tones, heard.embed(tones, np.arange(len(tones)), transfer.VIEWS), 1, False)


@pytest.mark.nightly  # twenty trainings
def test_a_small_study_has_all_that_the_book_shows(tones, tmp_path, monkeypatch):
    monkeypatch.setenv("SPOKENDIGITS_DATA", str(tmp_path))
    strangers = tmp_path / "speech_commands"
    for digit, word in enumerate([*WORDS, "tree"]):
        (strangers / word).mkdir(parents=True)
        sound = np.random.default_rng(digit).normal(0, 0.1, 16_000)
        soundfile.write(strangers / word / "0a1b2c3d_nohash_0.wav", sound, 16_000)
    found = {
        "starts": transfer.starts(tmp_path / "runs", False),
        "people": transfer.people(tmp_path / "runs", False),
        "made": {"device": "CPU", **transfer.results.versions_and_time()},
    }
    people = found["people"]
    assert people["ladder"]["speech_commands"]["and speech"]["clips"] == DIGITS
    assert {"random", "photographs", "speech", "regression"} == set(found["starts"]["clips"])
    assert all(set(one["speakers"]) == set(tones.speakers) for rows in people["few"].values() for one in rows.values())
    texts = words.transfer(found)
    assert "%" in texts["transfer_photographs"] and texts["transfer_strangers_clips"] == "10"
