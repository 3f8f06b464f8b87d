"""Metrics against scikit-learn and against cases that can be worked out by hand."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, roc_auc_score

from spokendigits import evaluation as ev
from spokendigits import intervals, losses
from spokendigits.classifier import create
from spokendigits.clips import make_clips
from spokendigits.corpora.corpus import PROBABILITIES
from spokendigits.errors import CourseError
from spokendigits.plots import described
from spokendigits.topics.coverage import coverage, draw_tests


def table(digits, predicted, speakers=None, confidence=0.9) -> pd.DataFrame:
    chances = np.full((len(digits), 10), (1 - confidence) / 9)
    chances[np.arange(len(digits)), predicted] = confidence
    out = pd.DataFrame({"digit": digits, "predicted": predicted, "speaker": speakers or ["a"] * len(digits)})
    out[PROBABILITIES] = chances
    return out.assign(loss=-np.log(chances[np.arange(len(digits)), digits]))


@pytest.fixture
def noisy_table():
    random = np.random.default_rng(0)
    digits = random.integers(0, 10, 400)
    chances = random.dirichlet(np.ones(10), 400) + np.eye(10)[digits] * 0.3
    chances /= chances.sum(axis=1, keepdims=True)
    out = table(digits, chances.argmax(axis=1), [f"s{i % 8}" for i in range(400)])
    out[PROBABILITIES] = chances
    return out


def test_scores_agree_with_scikit_learn(noisy_table):
    chances = noisy_table[PROBABILITIES].to_numpy()
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


def scored(right: dict) -> pd.DataFrame:
    """A table with paths, from {speaker: right or wrong of each clip}; what is wrong is read as 2."""
    flags = [flag for clips in right.values() for flag in clips]
    speakers = [speaker for speaker, clips in right.items() for _ in clips]
    out = table([1] * len(flags), [1 if flag else 2 for flag in flags], speakers)
    return out.assign(path=[f"{i}.wav" for i in range(len(out))])


def test_recall_by_speaker_is_worst_first_with_wilsons_interval():
    out = ev.recall_by(table([1] * 10, [1] * 5 + [1] * 3 + [2] * 2, ["good"] * 5 + ["bad"] * 5), "speaker")
    assert list(out.index) == ["bad", "good"]
    assert out.loc["bad", "recall"] == 0.6 and out.loc["good", "recall"] == 1
    # Wilson 1927 for 5 of 5 at 95 %: 0.566 to 1
    assert out.loc["good", "low"] == pytest.approx(0.566, abs=1e-3) and out.loc["good", "high"] == 1


def test_recall_of_a_group_respects_its_speakers_and_says_when_they_are_few():
    whole = scored({f"s{i}": [1] * 45 + [i % 2] * 5 for i in range(8)} | {"far": [1] * 9 + [0]})
    whole["accent"] = ["British"] * 300 + ["American"] * 100 + ["Scottish"] * 10
    out = ev.recall_by(whole, "accent")
    assert list(out["clips"]) == [10, 100, 300] and list(out["speakers"]) == [1, 2, 6]
    assert out["right"].sum() == intervals.accuracy(whole) * len(whole)
    british = intervals.interval(whole[whole["accent"] == "British"])
    assert tuple(out.loc["British", ["low", "high"]]) == british
    assert out["warning"].to_dict() == {
        "Scottish": "1 speaker: says little about others; 10 clips: one is 10 points",
        "British": "",
        "American": "2 speakers: says little about others",
    }
    assert (ev.recall_by(whole, "speaker")["warning"] != "").to_dict() == {
        name: name == "far" for name in whole["speaker"].unique()
    }, "a row of one speaker is about that speaker"


def test_mistakes_are_sorted_by_loss():
    out = ev.mistakes(table([1, 2, 3, 4], [1, 3, 4, 4]).assign(loss=[9.0, 1.0, 2.0, 8.0]))
    assert list(out["loss"]) == [2.0, 1.0]


def test_the_interval_respects_speakers():
    # Half of the speakers are always right, half always wrong: eight speakers, not 800 clips, are what is known.
    speakers = [f"s{i}" for i in range(8) for _ in range(100)]
    right = [int(int(name[1:]) < 4) for name in speakers]
    clustered = table([1] * 800, [1 if r else 2 for r in right], speakers)
    low, high = intervals.interval(clustered, rounds=300)
    assert low <= 0.25 and high >= 0.75
    mixed = table([1] * 800, [1 if i % 2 else 2 for i in range(800)], speakers)
    low, high = intervals.interval(mixed, rounds=300)
    assert 0.44 < low < 0.5 < high < 0.56


def test_no_mistakes_are_not_certainty():
    low, high = intervals.interval(table([1] * 100, [1] * 100))
    # Wilson 1927 for 100 of 100 at 95 %: 0.963 to 1
    assert low == pytest.approx(0.963, abs=1e-3) and high == 1
    low, high = intervals.interval(table([1] * 100, [1] * 100, [f"s{i % 5}" for i in range(100)]))
    assert low < 0.94 and high == 1, "five speakers say less about others than a hundred clips about one"


@pytest.mark.parametrize("speakers", [1, 2, 3, 7, 60])
@pytest.mark.parametrize("wrong", [0, 1, 5, 100])
def test_an_interval_holds_the_accuracy_stays_in_bounds_and_is_never_empty(speakers, wrong):
    random = np.random.default_rng(speakers)
    # Unevenly many clips, too.
    whole = table(
        [1] * 100,
        [2] * wrong + [1] * (100 - wrong),
        [f"s{i}" for i in (random.random(100) ** 2 * speakers).astype(int)],
    )
    low, high = intervals.interval(whole)
    assert 0 <= low <= intervals.accuracy(whole) <= high <= 1 and high - low > 0.01


def test_wilsons_interval_is_scipys():
    for right, clips in ((0, 10), (7, 7), (57, 60), (500, 1000)):
        for level in (0.8, 0.95):
            expected = binomtest(right, clips).proportion_ci(level, "wilson")
            assert intervals.wilson(right, clips, level) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_alike_speakers_leave_clips_that_are_independent():
    """Then only Student's t is left of the correction, and with many speakers nothing of that."""
    low, high = intervals.speaker_interval(np.full(1000, 9), np.full(1000, 10))
    assert (low, high) == pytest.approx(intervals.wilson(9000, 10_000), abs=1e-4)
    low, high = intervals.speaker_interval(np.full(4, 90), np.full(4, 100))
    # Student's t for four speakers at 95 % is 3.182, where the normal distribution has 1.960.
    assert (low, high) == pytest.approx(
        intervals.wilson(360 * (1.96 / 3.182) ** 2, 400 * (1.96 / 3.182) ** 2), abs=1e-4
    )


def test_other_statistics_are_bootstrapped_over_speakers_and_moved_apart():
    """The textbook's bootstrap, which draws speakers and then clips of each, lies inside: its percentiles promise more."""
    whole = scored({f"s{i}": [1] * (30 + 3 * i) + [0] * (20 - 3 * i) for i in range(6)})

    def share(drawn):
        return (drawn["predicted"] == 1).mean()

    low, high = intervals.interval(whole, share)
    assert (low, high) == intervals.interval(whole, share), "the same draws again"
    random, right = np.random.default_rng(1), np.array([30 + 3 * i for i in range(6)])
    drawn = [random.binomial(50, right[random.integers(6, size=6)] / 50).mean() / 50 for _ in range(4000)]
    plain = np.quantile(drawn, [0.025, 0.975])
    assert 0.01 < plain[0] - low < 0.08 and 0.01 < high - plain[1] < 0.08
    low, high = intervals.interval(whole[whole["speaker"] == "s0"], share)
    assert (low, high) == pytest.approx(np.quantile(random.binomial(50, 0.6, 4000) / 50, [0.025, 0.975]), abs=0.03)


@pytest.mark.parametrize("speakers", [6, 12, 60])
@pytest.mark.parametrize("mean", [0.9, 0.97])
def test_a_95_percent_interval_holds_the_truth_93_to_97_percent_of_the_time(speakers, mean):
    found = coverage(speakers, 100, mean)
    assert 0.93 <= found["coverage"] <= 0.97
    assert found["above"] < 0.05 and found["below"] < 0.05 and 0 < found["width"] < 0.3


def test_coverage_is_that_of_the_tables_an_interval_is_made_for():
    """One simulated test after the other, through `interval` itself."""
    random, hit = np.random.default_rng(1), 0
    for _ in range(300):
        skill = random.beta(16, 4, 12)  # 80 % on average, a spread of 0.44
        right = random.random((12, 20)) < skill[:, None]
        low, high = intervals.interval(scored({f"s{i}": flags for i, flags in enumerate(right)}))
        hit += low <= 0.8 <= high
    assert hit / 300 == pytest.approx(coverage(12, 20, 0.8, 0.4364)["coverage"], abs=0.03)


def clips_alone(right, clips, level):
    return intervals.wilson(right.sum(axis=-1), clips.sum(), level)


def off_by_a_tail(right, clips, level):
    return intervals.speaker_interval(right, clips, 2 * level - 1)


def one_sided(right, clips, level):
    low, _ = intervals.speaker_interval(right, clips, level)
    return low, right.sum(axis=-1) / clips.sum()


@pytest.mark.parametrize("broken", [clips_alone, off_by_a_tail, one_sided])
def test_coverage_shows_a_broken_interval(broken):
    found = coverage(6, 500, 0.97, 1, rounds=500, method=broken)
    assert found["coverage"] < 0.91
    assert coverage(6, 500, 0.97, 1, rounds=500)["coverage"] > 0.91


def test_coverage_of_what_cannot_be_is_refused():
    for mean, spread in ((1.0, 0.5), (0.5, 2.0)):
        with pytest.raises(CourseError, match="no distribution of accuracies"):
            coverage(mean=mean, spread=spread)


def test_speakers_with_many_clips_do_not_make_others_certain():
    """500 clips of one and 50 of each of five: about two speakers' worth."""
    random = np.random.default_rng(0)
    clips = np.array([500] + [50] * 5)
    right = random.binomial(clips, random.beta(9, 1, (5000, 6)))
    low, high = intervals.speaker_interval(right, clips)
    assert ((low <= 0.9) & (high >= 0.9)).mean() > 0.93


def pair(one, other, speakers=8):
    """Two tables on the same clips, from right and wrong of each, dealt to speakers in turn."""
    names = [f"s{i % speakers}" for i in range(len(one))]
    return (
        table([1] * len(flags), [1 if flag else 2 for flag in flags], names).assign(
            path=[f"{i}.wav" for i in range(len(flags))]
        )
        for flags in (one, other)
    )


def test_two_models_are_compared_in_pairs():
    one, other = pair([1] * 90 + [0] * 10 + [1] * 6 + [0] * 294, [1] * 80 + [0] * 20 + [0] * 4 + [1] * 2 + [0] * 294)
    found = ev.difference(one, other.sample(frac=1, random_state=0))
    assert (found["clips"], found["speakers"]) == (400, 8)
    assert (found["only_one"], found["only_other"]) == (14, 0)
    assert (
        found["difference"]
        == pytest.approx(intervals.accuracy(one) - intervals.accuracy(other))
        == pytest.approx(14 / 400)
    )
    assert found["p"] == pytest.approx(2 * 0.5**14), "McNemar's exact test: 14 coins that fall the same way"
    assert 0 < found["low"] < found["difference"] < found["high"]
    back = ev.difference(other, one)
    assert (back["low"], back["high"]) == pytest.approx((-found["high"], -found["low"]))


def test_a_difference_respects_speakers():
    better = [i % 8 < 2 for i in range(400)]  # the whole gain is two speakers'
    apart = ev.difference(*pair([1] * 400, [not flag for flag in better]))
    spread = ev.difference(*pair([1] * 400, [i >= 100 for i in range(400)]))
    assert apart["difference"] == spread["difference"] == 0.25
    assert apart["low"] < 0 < spread["low"]


def test_the_same_answers_are_no_proof_of_no_difference():
    found = ev.difference(*pair([1] * 380 + [0] * 20, [1] * 380 + [0] * 20))
    assert found["difference"] == 0 and found["p"] == 1
    assert -0.03 < found["low"] < 0 < found["high"] < 0.03


def test_a_difference_holds_the_truth_about_as_often_as_it_says():
    random, hit = np.random.default_rng(0), 0
    for _ in range(150):
        # Of each speaker, a share that only one model reads, and a share that only the other does
        shares = np.stack([random.beta(2, 18, 12), random.beta(2, 38, 12)])
        draw = random.random((100, 12))
        one, other = draw >= shares[1], (draw >= shares.sum(axis=0)) | (draw < shares[1])
        found = ev.difference(*pair(one.ravel(), other.ravel(), 12))
        hit += found["low"] <= 0.05 <= found["high"]
    assert 0.9 < hit / 150 < 0.99


def test_other_clips_or_shifted_labels_are_no_pair():
    one, other = pair([1] * 20, [1] * 20)
    with pytest.raises(CourseError, match=r"1 clip\(s\) are in one table only, 3\.wav first"):
        ev.difference(one, other.drop(3))
    with pytest.raises(CourseError, match=r"3\.wav is in one table twice"):
        ev.difference(one, pd.concat([other, other.iloc[[3]]]))
    said = np.arange(20) % 10
    with pytest.raises(CourseError, match=r"0\.wav has digit 0 in one table and 9 in the other"):
        ev.difference(one.assign(digit=said), other.assign(digit=np.roll(said, 1)))
    with pytest.raises(CourseError, match=r"0\.wav has speaker"):
        ev.difference(one, other.assign(speaker=np.roll(other["speaker"], 1)))


def test_shifted_labels_are_read_as_chance(noisy_table):
    honest = intervals.interval(noisy_table)
    low, high = intervals.interval(noisy_table.assign(digit=np.roll(noisy_table["digit"], 1)))
    assert low < 0.1 < high < honest[0]


def test_losses_and_probabilities():
    logits = torch.tensor([[2.0, -1.0] + [-3.0] * 8])
    target = F.one_hot(torch.tensor([0]), 10).float()
    by_hand = (
        -(np.log(1 / (1 + np.exp(-2))) + np.log(1 - 1 / (1 + np.exp(1))) + 8 * np.log(1 - 1 / (1 + np.exp(3)))) / 10
    )
    assert losses.losses(logits, target, "bce").item() == pytest.approx(by_hand)
    assert losses.losses(logits, target, "cross_entropy").item() == pytest.approx(
        -F.log_softmax(logits, 1)[0, 0].item()
    )
    for kind in ("bce", "cross_entropy"):
        chances = losses.probabilities(logits, kind)
        assert chances.sum().item() == pytest.approx(1) and chances.argmax().item() == 0


def test_a_prediction_is_of_its_own_clip_whatever_the_batch(tones, recipe):
    clips = make_clips(tones, recipe, progress=False)
    classifier = create(recipe)
    rows = np.array([5, 170, 33, 34, 99])
    out = ev.predict(classifier, clips, tones, rows, batch_size=2, progress=False)
    assert list(out["clip"]) == list(rows)
    assert list(out["path"]) == list(tones.table["path"].iloc[rows])
    assert list(out["digit"]) == list(tones.table["digit"].iloc[rows])
    assert np.allclose(out[PROBABILITIES].sum(axis=1), 1)
    assert (out[PROBABILITIES].to_numpy().argmax(axis=1) == out["predicted"]).all()
    for i, row in enumerate(rows):
        with torch.inference_mode():
            alone = losses.probabilities(classifier(torch.from_numpy(clips.audio[[row]])), recipe.loss)[0].numpy()
        assert np.allclose(out.loc[i, PROBABILITIES].to_numpy(float), alone, atol=1e-4)


def test_views_are_averaged_drawn_the_same_again_and_leave_others_draws_alone(tones, recipe):
    clips = make_clips(tones, recipe, progress=False)
    torch.manual_seed(1)
    classifier, rows = create(recipe), np.arange(12)
    plain, once, again = (ev.predict(classifier, clips, tones, rows, progress=False, views=n) for n in (1, 5, 5))
    pd.testing.assert_frame_equal(once, again)
    assert not np.allclose(plain[PROBABILITIES], once[PROBABILITIES], atol=1e-4)
    np.testing.assert_allclose(once[PROBABILITIES].sum(axis=1), 1)
    np.testing.assert_array_equal(plain["loss"], once["loss"])
    torch.manual_seed(2)
    expected = torch.rand(1)
    torch.manual_seed(2)
    ev.predict(classifier, clips, tones, rows, progress=False, views=2)
    assert torch.rand(1) == expected
    # Two views are the mean of the clip itself and of one other: so that other is a distribution as well.
    two = ev.predict(classifier, clips, tones, rows, progress=False, views=2)
    other = 2 * two[PROBABILITIES] - plain[PROBABILITIES]
    assert (other > -1e-9).all(axis=None) and np.allclose(other.sum(axis=1), 1)


def test_the_picture_of_pretended_tests_counts_those_that_hold_the_truth():
    methods = {
        "always": lambda right, clips, level: (0.0 * right[:, 0], 1.0 + 0.0 * right[:, 0]),
        "never": lambda right, clips, level: (1.0 + 0.0 * right[:, 0], 1.0 + 0.0 * right[:, 0]),
        "ours": intervals.speaker_interval,
    }
    plan = {"speakers": 12, "clips": 100, "mean": 0.97, "spread": 0.7}
    alt = described(draw_tests(methods, plan)._repr_mimebundle_()["text/plain"])[0]
    assert "always, 60" in alt and "never, 0" in alt
    ours = int(re.search(r"ours, (\d+)", alt)[1])
    assert ours / 60 == pytest.approx(coverage(**plan)["coverage"], abs=0.1)
