"""What a start is worth: the study itself, with one seed, few steps and few clips."""

import numpy as np
import pytest
import soundfile

from spokendigits.corpora.corpus import DIGITS
from spokendigits.corpora.synthetic import WORDS
from spokendigits.files import data_folder
from studies import transfer, words


@pytest.fixture
def small(monkeypatch):
    fast = transfer.FAST.but(speakers=5, takes=2)
    speech = transfer.SPEECH.but(speakers=5, takes=2)
    changes = {"SEEDS": 1, "STEPS": (1, 2), "EQUAL": 2, "CLIPS": (40, 60), "FAST": fast, "SPEECH": speech}
    changes |= {"PEOPLE_SEEDS": 1, "PEOPLE_STEPS": 1, "VOICES": 40, "VIEWS": 1}
    for name, value in changes.items():
        monkeypatch.setattr(transfer, name, value)
    starts = {name: recipe.but(speakers=5, takes=2) for name, recipe in transfer.STARTS.items()}
    monkeypatch.setattr(transfer, "STARTS", starts)
    heard = transfer.HEARD.but(speakers=5, takes=2)
    monkeypatch.setattr(transfer, "LADDER", {"twenty voices": heard.but(folds=5)})


@pytest.mark.nightly
def test_a_small_study_has_all_that_the_book_shows(small, tmp_path, fsdd_root, monkeypatch):
    monkeypatch.setenv("SPOKENDIGITS_DATA", str(fsdd_root.parent))
    strangers = data_folder() / "speech_commands"
    for digit, word in enumerate([*WORDS, "tree"]):
        (strangers / word).mkdir(parents=True)
        sound = np.random.default_rng(digit).normal(0, 0.1, 16_000)
        soundfile.write(strangers / word / "0a1b2c3d_nohash_0.wav", sound, 16_000)
    found = {
        "starts": transfer.starts(tmp_path / "runs", False),
        "people": transfer.people(tmp_path / "runs", False),
        "made": {"device": "CPU", **transfer.results.versions_and_time()},
    }
    assert found["people"]["ladder"]["speech_commands"]["and speech"]["clips"] == DIGITS
    assert {"random", "photographs", "speech", "regression"} == set(found["starts"]["clips"])
    texts = words.transfer(found)
    assert "%" in texts["transfer_photographs"] and texts["transfer_strangers_clips"] == "10"
