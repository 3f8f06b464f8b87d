"""How far results on held-out synthetic speakers can be trusted: the whole study, small, on chords."""

import json

import numpy as np
import pandas as pd
import pytest

from spokendigits import corpora
from spokendigits.classifier import create
from spokendigits.splits import Split
from studies import new_voices, words

SMALL = {"n_mels": 32, "window": 1024, "hop": 512, "backbone": "test_resnet.r160_in1k"}
QUICK = {"epochs": 3, "batch_size": 8, "learning_rate": 0.003, "warmup_epochs": 0.0}
SIMULATED = {"speakers": (12,), "clips": (50,), "mean": (0.95, 0.97), "spread": (0.5,)}


def parts(corpus, how, folds, fold):
    assert how == "published"
    number = corpus.table["speaker"].map(corpus.speakers.index).to_numpy()
    away = (number - fold) % len(corpus.speakers)
    return Split(np.flatnonzero(away > 1), np.flatnonzero(away == 1), np.flatnonzero(away == 0))


@pytest.fixture(autouse=True)
def small(tones, monkeypatch):
    monkeypatch.setattr(new_voices, "RECIPE", new_voices.RECIPE.but(**SMALL, **QUICK))
    monkeypatch.setattr(new_voices, "DISTURBED", 20)
    monkeypatch.setattr(new_voices, "SIMULATED", SIMULATED)
    monkeypatch.setattr(corpora, "load", lambda name, progress: tones)
    monkeypatch.setattr(new_voices, "split", parts)


def test_the_temperature_is_chosen_by_validation_clips_alone(tones, tmp_path, monkeypatch):
    """With networks that learned nothing: which clips they are asked about is the same."""
    chosen_by, choose = [], new_voices.temperature
    monkeypatch.setattr(new_voices, "temperature", lambda table: chosen_by.append(set(table["clip"])) or choose(table))
    monkeypatch.setattr(new_voices.Folds, "train", lambda folds, name, recipe, parts: create(recipe))
    monkeypatch.setattr(new_voices.Folds, "disturbed", lambda folds: pd.DataFrame())
    monkeypatch.setattr(new_voices.Folds, "record", lambda *given: {"seconds": 1.0, "device": "CPU", "precision": "no"})
    new_voices.measure(tmp_path, progress=False)
    assert chosen_by == [set(parts(tones, "published", 5, fold).validation) for fold in range(5)]


@pytest.mark.nightly  # eleven trainings
def test_every_fold_is_tested_on_speakers_that_neither_trained_nor_set_the_temperature(tones, tmp_path):
    measured = new_voices.measure(tmp_path, progress=False)
    tested, drop = measured["speaker_disjoint"], measured["noise_10db_drop"]
    assert set(tested["speakers"]) == set(tones.speakers[:5]) and tested["clips"] == 5 * 30
    assert drop["clean"] == tested
    assert drop["value"] == pytest.approx(tested["accuracy"] - drop["noisy"]["accuracy"])
    assert len(measured["ece"]["temperatures"]) == 5 and len(set(measured["ece"]["temperatures"])) == 5
    for name in ("ece_before", "ece"):
        assert 0 <= measured[name]["value"] <= 1 and measured[name]["low"] <= measured[name]["high"]
    table = pd.DataFrame(json.loads(json.dumps(measured, allow_nan=False))["robustness"])
    assert set(table["model"]) == {"no augmentation", "noise only", "all augmentation"}
    assert table["level"].isna().any(), "the clean clips have none"
    assert all(words.synthetic(measured).values())


def test_the_simulation_reports_its_worst_case(monkeypatch):
    simulated = new_voices.simulated()
    held = [test["coverage"] for test in simulated["tests"]]
    assert (simulated["low"], simulated["high"]) == (min(held), max(held)) and len(held) == 2
    # A broken interval must show.
    monkeypatch.setattr(new_voices, "coverage", lambda **test: {"coverage": 0.5 if test["mean"] == 0.97 else 0.95})
    assert new_voices.simulated()["low"] == 0.5
