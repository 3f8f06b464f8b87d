"""From synthetic speech to people: every training of the study, small, on stand-ins of the true shape."""

import numpy as np
import pandas as pd
import pytest

from spokendigits import corpora, real_voices
from spokendigits.evaluation import PROBABILITIES
from spokendigits.recipe import Recipe
from spokendigits.splits import split, subset


@pytest.fixture
def small(tones, monkeypatch):
    """Chords for both corpora, a tiny network, one epoch of each training."""
    small = {
        "n_mels": 32,
        "epochs": 1,
        "batch_size": 8,
        "backbone": "test_resnet.r160_in1k",
        "window": 1024,
        "hop": 512,
    }
    monkeypatch.setattr(real_voices, "SYNTHETIC", real_voices.SYNTHETIC.but(**small, folds=3))
    monkeypatch.setattr(real_voices, "HUMAN", real_voices.HUMAN.but(**small))
    monkeypatch.setattr(real_voices, "FIRST", 1)
    monkeypatch.setattr(real_voices, "READ", 0.0)
    monkeypatch.setattr(corpora, "load", lambda name, progress: tones)
    seen = []

    def parts(corpus, how, *given, **named):
        # The chords have no published takes: their first take of three stands for them.
        seen.append(how)
        if how != "published":
            return split(corpus, how, *given, **named)
        first = corpus.table["take"] == 0
        return split(corpus, "random", 3, 0).__class__(np.flatnonzero(~first), np.flatnonzero(first), np.array([], int))

    monkeypatch.setattr(real_voices, "split", parts)
    return seen


def test_the_study_holds_out_every_speaker_and_goes_on_where_it_was(small, tones, tmp_path):
    folder = tmp_path / "runs"
    found = real_voices.study(folder, progress=False)
    names = {path.name for path in folder.iterdir()}
    people = len(tones.speakers)
    assert len(names) == 2 + 2 * 3 * people + 1
    assert found["no_human_data"]["clips"] == len(tones)
    for key in ("synthetic_1", "synthetic_2", "synthetic_5", "none_1", "none_2", "none_5"):
        assert found[key]["clips"] == len(tones) and set(found[key]["speakers"]) == set(tones.speakers)
        assert found[key]["low"] <= found[key]["accuracy"] <= found[key]["high"]
    assert found["loso_worst"] == min(found["loso_mean"]["speakers"].values())
    assert found["official_split"]["clips"] == len(tones) / 3
    made = Recipe.from_yaml(folder / "synthetic-1-3" / "recipe.yaml")
    assert made.fold == 3 and made.epochs == 5 and made.weights.endswith("synthetic/model.safetensors")
    assert Recipe.from_yaml(folder / "none-5-0" / "recipe.yaml").weights == "none"

    before = {path: path.stat().st_mtime_ns for path in folder.rglob("model.safetensors")}
    assert real_voices.study(folder, progress=False)["synthetic_5"] == found["synthetic_5"]
    assert before == {path: path.stat().st_mtime_ns for path in folder.rglob("model.safetensors")}


def test_what_no_voice_of_a_speaker_says_is_left_out():
    table = pd.DataFrame({"speaker": ["a", "a", "a", "b"], "digit": [1, 1, 2, 1]})
    table[PROBABILITIES] = 0.0
    table["p1"], table["p2"] = [0.9, 0.1, 0.0, 0.2], [0.1, 0.9, 0.6, 0.8]
    assert real_voices.understood(table).tolist() == [True, True, True, False]


def test_every_speaker_is_new_when_tested(tones):
    for fold in range(len(tones.speakers)):
        parts = subset(split(tones, "one_speaker", fold=fold), tones, speakers=2, seed=fold)
        assert parts.shared_speakers(tones) == []
        assert tones.table["speaker"].iloc[parts.train].nunique() == 2
        assert set(tones.table["speaker"].iloc[parts.validation]) == {tones.speakers[fold]}
