"""How far results on held-out synthetic speakers can be trusted: the whole study, small, on chords."""

import json

import numpy as np
import pandas as pd
import pytest

from spokendigits import corpora, plots
from spokendigits.splits import Split
from studies import new_voices


@pytest.fixture
def small(tones, monkeypatch):
    recipe = new_voices.RECIPE.but(
        n_mels=32,
        epochs=3,
        batch_size=8,
        backbone="test_resnet.r160_in1k",
        window=1024,
        hop=512,
        learning_rate=0.003,
        warmup_epochs=0.0,
    )
    monkeypatch.setattr(new_voices, "RECIPE", recipe)
    monkeypatch.setattr(new_voices, "DISTURBED", 20)
    monkeypatch.setattr(
        new_voices, "SIMULATED", {"speakers": (6,), "clips": (50,), "mean": (0.9,), "spread": (0.5, 0.7)}
    )
    monkeypatch.setattr(corpora, "load", lambda name, progress: tones)

    def parts(corpus, how, folds, fold):
        assert how == "published"
        number = corpus.table["speaker"].map(corpus.speakers.index).to_numpy()
        away = (number - fold) % len(corpus.speakers)
        return Split(np.flatnonzero(away > 1), np.flatnonzero(away == 1), np.flatnonzero(away == 0))

    monkeypatch.setattr(new_voices, "split", parts)


def test_every_fold_is_tested_on_speakers_that_neither_trained_nor_set_the_temperature(small, tones, tmp_path):
    found = new_voices.study(tmp_path, progress=False)
    tested = found["speaker_disjoint"]
    assert set(tested["speakers"]) == set(tones.speakers[:5]) and tested["clips"] == 5 * 30
    assert found["noise_10db_drop"]["clean"] == tested
    noisy = found["noise_10db_drop"]["noisy"]["accuracy"]
    assert found["noise_10db_drop"]["value"] == pytest.approx(tested["accuracy"] - noisy)
    assert len(found["ece"]["temperatures"]) == 5 and len(set(found["ece"]["temperatures"])) == 5
    for name in ("ece_before", "ece"):
        assert 0 <= found[name]["value"] <= 1 and found[name]["low"] <= found[name]["high"]
    table = pd.DataFrame(found["robustness"])
    assert set(table["model"]) == {"no augmentation", "noise only", "all augmentation"}
    text = json.dumps(found, allow_nan=False)
    again = pd.DataFrame(json.loads(text)["robustness"]).astype({"level": float})
    assert "no augmentation" in plots.robustness(again)._repr_mimebundle_()["text/plain"]
    assert all(new_voices.prose(found).values())


def test_the_simulation_reports_its_worst_case(monkeypatch):
    monkeypatch.setattr(
        new_voices, "SIMULATED", {"speakers": (12,), "clips": (100,), "mean": (0.95, 0.97), "spread": (0.5,)}
    )
    found = new_voices.simulated()
    held = [test["coverage"] for test in found["tests"]]
    assert (found["low"], found["high"]) == (min(held), max(held)) and len(held) == 2
    # A broken interval must show.
    monkeypatch.setattr(new_voices, "coverage", lambda **test: {"coverage": 0.5 if test["mean"] == 0.97 else 0.95})
    assert new_voices.simulated()["low"] == 0.5
