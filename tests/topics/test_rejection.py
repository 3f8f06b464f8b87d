"""Rejection: how sure a network is that a digit was said at all, how well that tells digits from the rest, and from where on."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from spokendigits.classifier import Classifier
from spokendigits.clips import make_clips
from spokendigits.errors import CourseError
from spokendigits.losses import digit_score
from spokendigits.splits import Split
from spokendigits.topics import rejection
from spokendigits.topics.rejection import auroc, choose_threshold, draw_roc, draw_scores, scores
from spokendigits.training import train


@pytest.mark.parametrize("loss", ["bce", "cross_entropy"])
def test_scores_belong_to_their_rows_whatever_the_batch(tones, recipe, monkeypatch, loss):
    clips = make_clips(tones, recipe, progress=False)
    torch.manual_seed(0)
    # Dropout would draw, were it not put to evaluation.
    classifier = Classifier(recipe.but(loss=loss, dropout=0.5)).train()
    rows = np.array([170, 3, 88, 3, 0])
    monkeypatch.setattr(rejection, "BATCH", 2)
    scored = scores(classifier, clips, tones, rows)
    with torch.inference_mode():
        one_by_one = [
            float(digit_score(classifier(torch.from_numpy(clips.read(np.array([row])))), loss)) for row in rows
        ]
    assert scored.shape == (5,) and scored.dtype == float
    assert scored == pytest.approx(one_by_one, abs=1e-4)
    assert np.ptp(scored) > 1e-3, "else no order could be wrong"
    assert scores(classifier, clips, tones, rows[:0]).shape == (0,)


@pytest.mark.slow
def test_a_trained_network_scores_digits_above_the_rest(tones, recipe, tmp_path):
    """Chords of 6 to 9 are called no digits, and the last two "speakers" are new to it."""
    digit = tones.table["digit"]
    corpus = replace(tones, table=tones.table.assign(digit=digit.where(digit < 6, -1)))
    clips = make_clips(corpus, recipe, progress=False)
    new = corpus.table["speaker"].isin(["t4", "t5"])
    rows = np.flatnonzero(new)
    digits = np.flatnonzero(new & (corpus.table["digit"] >= 0))
    parts = Split(np.flatnonzero(~new), digits, digits)
    model = train(recipe.but(epochs=8, learning_rate=0.003), corpus, clips, parts, tmp_path / "run", progress=False)
    table = corpus.table.iloc[rows]
    scored = scores(model, clips, corpus, rows)
    area = auroc(scored, table["digit"] >= 0, table["speaker"], rounds=2)
    assert area["value"] > 0.9
    threshold = choose_threshold(scored[table["digit"] >= 0], 0.9)
    assert (scored[table["digit"] < 0] >= threshold).mean() < 0.3


def test_auroc_counts_pairs_whatever_the_index():
    """Of the four pairs of a digit and another, three have the digit higher."""
    table = pd.DataFrame({"score": [3.0, 1.0, 2.0, 0.0], "digit": [7, 7, -1, -1], "speaker": list("abab")})
    table.index = [9, 2, 4, 0]
    area = auroc(table["score"].to_numpy(), table["digit"] >= 0, table["speaker"], rounds=100)
    assert area["value"] == 0.75 and 0 <= area["low"] <= 0.75 <= area["high"] <= 1
    assert auroc(-table["score"].to_numpy(), table["digit"] >= 0, table["speaker"], rounds=2)["value"] == 0.25
    for is_digit, which in ((True, "all 3 clips are digits"), (False, "all 3 clips are no digits")):
        with pytest.raises(CourseError, match=which):
            auroc(np.arange(3.0), np.full(3, is_digit), np.array(list("abc")))


def test_the_interval_of_auroc_respects_speakers():
    """With half of the speakers always right and half at chance, more clips of each say no more about other speakers."""
    random = np.random.default_rng(0)
    speakers = random.permutation(np.repeat([f"s{number}" for number in range(8)], 100))
    is_digit = random.random(800) < 0.5
    good = np.isin(speakers, ["s0", "s1", "s2", "s3"])
    scored = np.where(good, 10.0 * is_digit, 5 + random.standard_normal(800))
    told = auroc(scored, is_digit, speakers, rounds=200)
    # The same clips, each by a speaker of its own, or of speakers that are all alike.
    shuffled = auroc(scored, is_digit, random.permutation(speakers), rounds=200)
    assert told["value"] == shuffled["value"]
    assert told["high"] - told["low"] > 2 * (shuffled["high"] - shuffled["low"])
    assert auroc(scored, is_digit, speakers, rounds=200) == told, "the draws have a seed"


def test_draws_of_one_kind_alone_are_left_out():
    """Noises are "speakers" that say no digit: some draws have nothing but them."""
    speakers = np.array(["a", "a", "noise-0", "noise-0", "noise-1", "noise-1"])
    area = auroc(np.arange(6.0)[::-1], np.array([1, 1, 0, 0, 0, 0]), speakers, rounds=200)
    assert area == {"value": 1.0, "low": 1.0, "high": 1.0}


@pytest.mark.parametrize("clips", [1, 7, 50, 1000])
@pytest.mark.parametrize("share", [0.5, 0.9, 0.95, 0.98, 1.0])
def test_the_threshold_lets_the_share_through_and_hardly_more(clips, share):
    scored = np.random.default_rng(clips).standard_normal(clips).astype(np.float32)
    threshold = choose_threshold(scored, share)
    through = (scored >= threshold).sum()
    assert share * clips <= through < share * clips + 1
    assert threshold in scored, "a stored threshold must let the clip through that it came from"


def test_a_threshold_needs_scores_and_a_share():
    for scored, share in ((np.empty(0), 0.9), (np.ones(3), 0.0), (np.ones(3), 1.1), (np.ones(3), 98)):
        with pytest.raises(CourseError, match="share above 0, at most 1"):
            choose_threshold(scored, share)


def test_the_figures_say_their_numbers():
    digits, others = np.arange(21) / 2, np.arange(21) / 2 - 4.75
    alt = draw_scores({"digits": digits, "others": others}, limit=1.0)._repr_mimebundle_()["text/plain"]
    assert "Scores of 2 kinds of sounds, and a limit at 1.0." in alt
    assert "digits: half of 21 above 5.0, nine in ten between 0.5 and 9.5, 90% at or above the limit" in alt
    assert "limit" not in draw_scores({"digits": digits})._repr_mimebundle_()["text/plain"]
    fig, area = draw_roc({"others": (digits, others)}, limit=1.0), (digits[:, None] > others).mean()
    words = f"digits against others: {area:.3f}, at the limit 90 % of the digits and 43 % of the others pass"
    assert words in fig._repr_mimebundle_()["text/plain"]
    _, curve, limit = fig.axes[0].get_lines()
    assert curve.get_label() == f"others: {area:.3f}"
    assert (*limit.get_xdata(), *limit.get_ydata()) == pytest.approx((100 * 9 / 21, 100 * 19 / 21))
