"""Metrics against scikit-learn and against cases that can be worked out by hand."""

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import accuracy_score, roc_auc_score

from spokendigits import evaluation as ev
from spokendigits.classifier import create
from spokendigits.clips import make_clips


def table(digits, predicted, speakers=None, confidence=0.9) -> pd.DataFrame:
    chances = np.full((len(digits), 10), (1 - confidence) / 9)
    chances[np.arange(len(digits)), predicted] = confidence
    out = pd.DataFrame({"digit": digits, "predicted": predicted, "speaker": speakers or ["a"] * len(digits)})
    out[ev.PROBABILITIES] = chances
    return out.assign(loss=-np.log(chances[np.arange(len(digits)), digits]))


@pytest.fixture
def noisy_table():
    random = np.random.default_rng(0)
    digits = random.integers(0, 10, 400)
    chances = random.dirichlet(np.ones(10), 400) + np.eye(10)[digits] * 0.3
    chances /= chances.sum(axis=1, keepdims=True)
    out = table(digits, chances.argmax(axis=1), [f"s{i % 8}" for i in range(400)])
    out[ev.PROBABILITIES] = chances
    return out


def test_scores_agree_with_scikit_learn(noisy_table):
    chances = noisy_table[ev.PROBABILITIES].to_numpy()
    scores = ev.metrics(noisy_table)
    assert scores["accuracy"] == accuracy_score(noisy_table["digit"], noisy_table["predicted"])
    assert scores["roc_auc"] == pytest.approx(roc_auc_score(noisy_table["digit"], chances, multi_class="ovr"))
    true = chances[np.arange(400), noisy_table["digit"]]
    assert scores["log_loss"] == pytest.approx(-np.log(true).mean())


def test_roc_auc_with_a_digit_missing_or_only_one():
    assert ev.roc_auc(table([1, 1, 2, 2], [1, 1, 2, 2])) == 1
    assert np.isnan(ev.roc_auc(table([1, 1], [1, 2])))


def test_confusions_rows_are_said_and_columns_predicted():
    counts = ev.confusions(table([3, 3, 5], [3, 8, 5]))
    assert counts.loc[3, 8] == 1 and counts.loc[8, 3] == 0 and counts.to_numpy().sum() == 3


def test_recall_by_speaker_is_worst_first_with_wilsons_interval():
    out = ev.recall_by(table([1] * 10, [1] * 5 + [1] * 3 + [2] * 2, ["good"] * 5 + ["bad"] * 5), "speaker")
    assert list(out.index) == ["bad", "good"]
    assert out.loc["bad", "recall"] == 0.6 and out.loc["good", "recall"] == 1
    # Wilson 1927 for 5 of 5 at 95 %: 0.566 to 1
    assert out.loc["good", "low"] == pytest.approx(0.566, abs=1e-3) and out.loc["good", "high"] == 1


def test_mistakes_are_sorted_by_loss():
    out = ev.mistakes(table([1, 2, 3, 4], [1, 3, 4, 4]).assign(loss=[9.0, 1.0, 2.0, 8.0]))
    assert list(out["loss"]) == [2.0, 1.0]


def test_the_interval_respects_speakers():
    # Half of the speakers are always right, half always wrong: eight speakers, not 800 clips, are what is known.
    speakers = [f"s{i}" for i in range(8) for _ in range(100)]
    right = [int(int(name[1:]) < 4) for name in speakers]
    clustered = table([1] * 800, [1 if r else 2 for r in right], speakers)
    low, high = ev.interval(clustered, rounds=300)
    assert low <= 0.25 and high >= 0.75
    mixed = table([1] * 800, [1 if i % 2 else 2 for i in range(800)], speakers)
    low, high = ev.interval(mixed, rounds=300)
    assert 0.44 < low < 0.5 < high < 0.56


def test_no_mistakes_are_not_certainty():
    low, high = ev.interval(table([1] * 100, [1] * 100), rounds=50)
    # Wilson 1927 for 100 of 100 at 95 %: 0.963 to 1
    assert low == pytest.approx(0.963, abs=1e-3) and high == 1


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    random = np.random.default_rng(1)
    hit = 0
    for trial in range(60):
        skill = random.beta(16, 4, 20)  # 80 % on average, but speakers differ
        right = random.random((20, 20)) < skill[:, None]
        one = table([1] * 400, np.where(right.ravel(), 1, 2), [f"s{i}" for i in range(20) for _ in range(20)])
        low, high = ev.interval(one, rounds=200, seed=trial)
        hit += low <= 0.8 <= high
    assert hit / 60 > 0.85


def test_losses_and_probabilities():
    logits = torch.tensor([[2.0, -1.0] + [-3.0] * 8])
    target = F.one_hot(torch.tensor([0]), 10).float()
    by_hand = (
        -(np.log(1 / (1 + np.exp(-2))) + np.log(1 - 1 / (1 + np.exp(1))) + 8 * np.log(1 - 1 / (1 + np.exp(3)))) / 10
    )
    assert ev.losses(logits, target, "bce").item() == pytest.approx(by_hand)
    assert ev.losses(logits, target, "cross_entropy").item() == pytest.approx(-F.log_softmax(logits, 1)[0, 0].item())
    for kind in ("bce", "cross_entropy"):
        chances = ev.probabilities(logits, kind)
        assert chances.sum().item() == pytest.approx(1) and chances.argmax().item() == 0


def test_a_prediction_is_of_its_own_clip_whatever_the_batch(tones, recipe):
    clips = make_clips(tones, recipe, progress=False)
    classifier = create(recipe)
    rows = np.array([5, 170, 33, 34, 99])
    out = ev.predict(classifier, clips, tones, rows, batch_size=2, progress=False)
    assert list(out["clip"]) == list(rows)
    assert list(out["path"]) == list(tones.table["path"].iloc[rows])
    assert list(out["digit"]) == list(tones.table["digit"].iloc[rows])
    assert np.allclose(out[ev.PROBABILITIES].sum(axis=1), 1)
    assert (out[ev.PROBABILITIES].to_numpy().argmax(axis=1) == out["predicted"]).all()
    for i, row in enumerate(rows):
        with torch.inference_mode():
            alone = ev.probabilities(classifier(torch.from_numpy(clips.audio[[row]])), recipe.loss)[0].numpy()
        assert np.allclose(out.loc[i, ev.PROBABILITIES].to_numpy(float), alone, atol=1e-4)
