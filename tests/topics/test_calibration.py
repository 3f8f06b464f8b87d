"""Calibration, against cases worked out by hand and probabilities whose truth is known."""

import numpy as np
import pandas as pd
import pytest
import torch

from spokendigits.corpora.corpus import PROBABILITIES
from spokendigits.evaluation import metrics
from spokendigits.intervals import accuracy, interval
from spokendigits.losses import probabilities
from spokendigits.topics.calibration import (
    TEMPERATURES,
    calibrated,
    calibration_error,
    coverage_at,
    draw_reliability,
    draw_risk_coverage,
    reliability,
    risk_coverage,
    temperature,
)


def table(chances, digits, speakers=12) -> pd.DataFrame:
    chances = np.asarray(chances)
    out = pd.DataFrame({"digit": digits, "predicted": chances.argmax(axis=1)})
    out["speaker"] = [f"s{i % speakers}" for i in range(len(out))]
    out[PROBABILITIES] = chances
    return out.assign(loss=-np.log(np.maximum(chances[np.arange(len(out)), digits], 1e-300)))


def sure(confidence, right) -> pd.DataFrame:
    """A table of clips read as 1, each with its confidence, and right or wrong (a 2)."""
    confidence = np.asarray(confidence, float)
    chances = np.repeat((1 - confidence)[:, None] / 9, 10, axis=1)
    chances[:, 1] = confidence
    return table(chances, np.where(right, 1, 2))


def drawn(clips, sharpness=1.0, seed=0) -> tuple[torch.Tensor, pd.DataFrame]:
    """Logits [clips, 10] that are `sharpness` times those that the digits were drawn by, and their table."""
    random = np.random.default_rng(seed)
    logits = 2 * random.standard_normal((clips, 10))
    logits[np.arange(clips), random.integers(10, size=clips)] += 5
    truth = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    digits = (truth.cumsum(axis=1) > random.random((clips, 1))).argmax(axis=1)
    logits = torch.tensor(sharpness * logits)
    return logits, table(probabilities(logits, "cross_entropy").numpy(), digits)


def test_the_error_by_hand():
    # 0.9 sure and right in 7 of 10; 0.5 sure and right in 5 of 10: gaps of 0.2 and 0
    half = sure([0.9] * 10 + [0.5] * 10, [1] * 7 + [0] * 3 + [1] * 5 + [0] * 5)
    assert calibration_error(half) == pytest.approx(0.1)
    out = reliability(half, bins=10)
    assert out[["low", "high"]].to_numpy() == pytest.approx(np.array([[0.5, 0.6], [0.9, 1.0]]))
    assert list(out["clips"]) == [10, 10]
    assert out[["confidence", "accuracy"]].to_numpy() == pytest.approx(np.array([[0.5, 0.5], [0.9, 0.7]]))


@pytest.mark.parametrize("bins", [5, 15])
def test_the_figure_shows_what_the_error_averages(bins):
    _, unsure = drawn(2000, 2.0)
    out = reliability(unsure, bins)
    assert out["clips"].sum() == 2000 and ((out["low"] <= out["confidence"]) & (out["confidence"] < out["high"])).all()
    gaps = np.average((out["confidence"] - out["accuracy"]).abs(), weights=out["clips"])
    assert gaps == pytest.approx(calibration_error(unsure, bins), abs=1e-6) and gaps > 0.05


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 2.5])
def test_the_temperature_undoes_what_was_done_to_the_logits(sharpness):
    logits, unsure = drawn(5000, sharpness)
    degree = temperature(unsure)
    assert degree == pytest.approx(sharpness, rel=0.05)
    cooled = calibrated(unsure, degree)
    assert np.allclose(cooled[PROBABILITIES], (logits / degree).softmax(dim=1), atol=1e-9), "softmax(logits / T)"
    assert list(cooled["predicted"]) == list(cooled[PROBABILITIES].to_numpy().argmax(axis=1))
    assert temperature(cooled) == pytest.approx(1, abs=0.01), "what was scaled before needs no more"
    # On clips that it was not fitted on
    _, others = drawn(5000, sharpness, seed=1)
    mended = calibrated(others, degree)
    assert calibration_error(mended) < 0.02
    assert calibration_error(mended.assign(digit=np.roll(mended["digit"], 1))) > 0.6, "labels of other clips"
    if sharpness != 1:
        assert calibration_error(others) > 0.08
        best = metrics(cooled)["log_loss"]
        assert best < metrics(unsure)["log_loss"] - 0.01
        for near in (0.9 * degree, 1.1 * degree):
            assert best < metrics(calibrated(unsure, near))["log_loss"]


def test_normalised_sigmoids_are_scaled_by_their_own_logarithms():
    logits, unsure = drawn(3000)
    # Ten separate answers, each twice as sure as is right
    unsure[PROBABILITIES] = probabilities(2 * logits.softmax(dim=1).logit(), "bce").numpy()
    found = temperature(unsure)
    assert found > 1.2
    cooled = calibrated(unsure, found)
    assert np.allclose(cooled[PROBABILITIES].sum(axis=1), 1)
    assert metrics(cooled)["log_loss"] < metrics(unsure)["log_loss"]
    assert calibration_error(cooled) < calibration_error(unsure) / 2


def test_probabilities_of_zero_and_one():
    certain = sure([1.0] * 50, [1] * 45 + [0] * 5)
    found = temperature(certain)
    assert found == pytest.approx(max(TEMPERATURES), rel=0.01), "certain, and wrong in one of ten"
    cooled = calibrated(certain, found)[PROBABILITIES]
    assert ((cooled > 0) & np.isfinite(cooled)).all(axis=None)
    assert calibration_error(certain) == pytest.approx(0.1)
    assert reliability(certain)["high"].tolist() == [1.0]


def test_a_table_without_mistakes_does_not_ask_for_certainty():
    assert temperature(sure([1.0] * 50, [1] * 50)) == pytest.approx(1, abs=1e-3)
    assert 0.1 < temperature(sure([0.9] * 500, [1] * 500)) < 0.6, "not sure enough, but no proof that it is never wrong"


def test_risk_and_coverage_by_hand():
    # The surest two are right; then two of one confidence, one of them wrong; then a wrong one.
    five = sure([0.7, 0.99, 0.8, 0.9, 0.8], [0, 1, 1, 1, 0])
    out = risk_coverage(five)
    assert list(out["threshold"]) == pytest.approx([0.99, 0.9, 0.8, 0.7])
    assert list(out["coverage"]) == pytest.approx([0.2, 0.4, 0.8, 1.0])
    assert list(out["risk"]) == pytest.approx([0, 0, 1 / 4, 2 / 5])
    assert coverage_at(five, 0.0) == pytest.approx(0.4)
    assert coverage_at(five, 0.3) == pytest.approx(0.8) and coverage_at(five, 0.4) == 1
    assert coverage_at(sure([0.9, 0.8], [0, 1]), 0.1) == 0


def test_who_answers_everything_has_the_models_own_accuracy():
    _, unsure = drawn(600)
    out = risk_coverage(unsure)
    low, high = interval(unsure)
    last = out.iloc[-1]
    assert last["coverage"] == 1 and last["risk"] == pytest.approx(1 - accuracy(unsure))
    assert (last["low"], last["high"]) == pytest.approx((1 - high, 1 - low))
    assert ((out["low"] <= out["risk"] + 1e-12) & (out["risk"] <= out["high"] + 1e-12)).all()
    assert out["coverage"].is_monotonic_increasing and out["threshold"].is_monotonic_decreasing
    # Some row in the middle: as a table of those clips alone
    row = out.iloc[300]
    answered = unsure[unsure[PROBABILITIES].max(axis=1) >= row["threshold"]]
    low, high = interval(answered)
    assert row["risk"] == pytest.approx(1 - accuracy(answered))
    assert (row["low"], row["high"]) == pytest.approx((1 - high, 1 - low))
    assert out["risk"].iloc[300] < last["risk"], "the surer the answer, the more often it is right"


def test_the_figures_say_their_numbers():
    _, unsure = drawn(600, 2.0)
    tables = {"as trained": unsure, "after": calibrated(unsure, temperature(unsure))}
    alt = draw_reliability({name: reliability(shown) for name, shown in tables.items()})._repr_mimebundle_()[
        "text/plain"
    ]
    for name, shown in tables.items():
        assert f"{name}, an expected calibration error of {calibration_error(shown):.2%}" in alt
    assert "confidence on average above accuracy; after" in alt
    fig = draw_risk_coverage({"as trained": risk_coverage(unsure)})
    alt = fig._repr_mimebundle_()["text/plain"]
    assert f"as trained misreads {1 - accuracy(unsure):.1%} if it answers all clips" in alt and "surest 50%" in alt
    assert fig.axes[0].get_lines()[0].get_ydata()[-1] == pytest.approx(100 * (1 - accuracy(unsure)))
