"""The self-checks: the right answer in every form, each mistake with its own hint, and nothing that makes them raise."""

import ast
import inspect
import math
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import librosa
import numpy as np
import pandas as pd
import pytest
import timm
import torch

from spokendigits import checks
from spokendigits.classifier import Classifier
from spokendigits.clips import Clips
from spokendigits.corpora.corpus import Corpus
from spokendigits.evaluation import PROBABILITIES, metrics
from spokendigits.frontend import LogMel
from spokendigits.intervals import accuracy, interval
from spokendigits.losses import probabilities
from spokendigits.recipe import Recipe
from spokendigits.splits import Split, split

NAMES = [
    name
    for name, one in vars(checks).items()
    if inspect.isfunction(one) and one.__module__ == checks.__name__ and not name.startswith("_")
]
GARBAGE = [
    "what?", "", "3", b"3", [], [1, 2], {}, {"a": 1}, set(), object(), float("nan"), float("inf"), -math.inf, 1j, True,
    10**400, np.array(["a"]), np.array([np.nan] * 10), np.zeros((0, 3)), np.zeros((2, 3, 4)), [[1], [1, 2]], [None, 1],
    torch.tensor([]), torch.tensor([math.nan]), torch.zeros(3, device="meta"), pd.NA, pd.NaT, pd.DataFrame(),
    pd.DataFrame({"check": ["empty"], "clips": ["many"]}), pd.DataFrame([[1, 2]], columns=["clips", "clips"]),
    pd.Series(dtype=float), pd.Series([1, None]), print, int, np.datetime64("2026-01-01"), range(3), slice(3), {1, None},
]  # fmt: skip


class Case(NamedTuple):
    ask: Callable[..., bool]  # the check with its data: takes the answers alone
    right: tuple
    mistakes: list[tuple[tuple, str]]  # answers, and words of the hint that is theirs alone


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> dict:
    """A small corpus with unequal digits and noisy tones for speech, and tables of invented predictions."""
    random = np.random.default_rng(0)
    recipe = Recipe().but(
        sample_rate=8_000, seconds=0.5, window=256, hop=128, n_mels=16, f_max=4_000.0, backbone="test_resnet.r160_in1k"
    )
    rows = [
        {"path": f"{digit}_s{speaker}_{take}.wav", "digit": digit, "speaker": f"s{speaker}", "take": take}
        for speaker in range(10)
        for digit in range(10)
        for take in range(2 + (speaker + digit * digit) % 3)
    ]
    folder = tmp_path_factory.mktemp("clips")
    recordings = Corpus("noise", folder, pd.DataFrame(rows), "Noise", "none", "made by the tests")
    count, samples = len(recordings), recipe.samples
    lengths = random.integers(1500, 5000, count).astype(np.int32)
    time = np.arange(samples) / recipe.sample_rate
    tone = np.sin(2 * np.pi * (300 + 60 * recordings.table["digit"].to_numpy()[:, None]) * time)
    loud = random.uniform(1500, 9000, (count, 1))
    audio = loud * (0.05 * tone + random.standard_normal((count, samples)))
    audio[:, 200:260] = 0  # recordings have zeros of their own
    audio[np.arange(samples) >= lengths[:, None]] = 0
    audio = np.clip(np.rint(audio), -32768, 32767).astype(np.int16)
    np.save(folder / "audio.npy", audio)
    clips = Clips(audio, lengths, recipe.sample_rate, folder)
    parts = split(recordings, "speaker")

    def table(error: float) -> pd.DataFrame:
        part = recordings.table.iloc[parts.validation].reset_index(drop=True)
        part = pd.concat([part] * 4, ignore_index=True)  # a test of some hundred clips
        chances = random.dirichlet(np.full(10, 0.3), len(part))
        best = chances.argmax(axis=1)
        wanted = np.where(random.random(len(part)) < error, (part["digit"] + 1) % 10, part["digit"])
        every = np.arange(len(part))
        chances[every, best], chances[every, wanted] = chances[every, wanted], chances[every, best]
        part = part.assign(predicted=chances.argmax(axis=1), loss=random.uniform(0, 1, len(part)))
        part[PROBABILITIES] = chances
        return part.assign(clip=np.tile(parts.validation, 4))

    return {
        "random": random, "recipe": recipe, "recordings": recordings, "clips": clips, "parts": parts,
        "table": table(0.2), "known": table(0.05),
    }  # fmt: skip


@pytest.fixture(scope="module")
def cases(data) -> dict[str, Case]:
    return {name.removeprefix("case_"): one(data) for name, one in globals().items() if name.startswith("case_")}


def case_longest_recording(data) -> Case:
    lengths = data["clips"].lengths
    longest = lengths.max() / 8000
    return Case(lambda x: checks.longest_recording(x, data["clips"]), (longest,), [
        ((lengths.max(),), "its number of samples"),
        ((1000 * longest,), "in milliseconds"),
        ((1 / longest,), "upside down"),
        ((0.5,), "length of every clip"),
        ((lengths.mean() / 8000,), "the mean"),
        ((lengths.min() / 8000,), "the shortest"),
        ((lengths.max() / 22_050,), "another sample rate"),
        ((17.0,), "Take its largest number"),
    ])  # fmt: skip


def case_digit_counts(data) -> Case:
    table, parts = data["recordings"].table, data["parts"]
    held_out = table.iloc[parts.validation]
    counts = held_out["digit"].value_counts().sort_index()
    return Case(lambda x: checks.digit_counts(x, data["recordings"], parts), (counts,), [
        ((table["digit"].value_counts(),), "the whole table"),
        ((table.iloc[parts.train]["digit"].value_counts(),), "rows for training"),
        ((held_out["digit"].value_counts(normalize=True),), "Those are shares"),
        ((held_out.groupby("digit")["speaker"].nunique(),), "That counts speakers"),
        ((held_out["digit"].value_counts().to_numpy(),), "not in the order"),
        ((counts + 1,), "count its digits"),
        ((len(held_out),), "Expected ten counts, one for each digit, not 1."),
        ((held_out,), "one for each digit, not a DataFrame"),
    ])  # fmt: skip


def case_padding_share(data) -> Case:
    lengths, audio = data["clips"].lengths, data["clips"].audio
    padding = np.maximum(4000 - lengths, 0).sum() / audio.size
    return Case(lambda x: checks.padding_share(x, data["clips"]), (padding,), [
        ((1 - padding,), "the share of sound"),
        ((1 - lengths.sum() / audio.size,), "not less than none"),
        (((lengths < 4000).mean(),), "share of clips that have padding"),
        (((audio == 0).mean(),), "counts every zero"),
        ((100 * padding,), "in percent"),
        ((0.987,), "Padding begins where"),
    ])  # fmt: skip


def case_audit_finds(data) -> Case:
    def audit(unreadable=0, truncated=0, empty=0):
        rows = [
            ("unreadable", unreadable),
            ("truncated", truncated),
            ("empty", empty),
            ("note", pd.NA),
            ("note", pd.NA),
        ]
        return pd.DataFrame(rows, columns=["check", "clips"]).astype({"clips": "Int64"})

    return Case(checks.audit_finds, (audit(truncated=1, empty=1),), [
        ((audit(),), "found nothing wrong"),
        ((audit(unreadable=1, truncated=1),), "without a single byte"),
        ((audit(empty=1),), "No file is cut"),
        ((audit(truncated=1),), "No file is empty"),
        ((audit(unreadable=1, truncated=1, empty=1),), "cannot be read at all"),
        ((1,), "Expected the table that `corpora.audit` returns, not an int"),
    ])  # fmt: skip


def case_own_split(data) -> Case:
    recordings = data["recordings"]
    speaker, every = recordings.table["speaker"], np.arange(len(recordings))
    new = speaker.isin(["s1", "s4"]).to_numpy()
    train, test = every[~new], every[new]
    return Case(lambda one, other: checks.own_split(one, other, recordings), (train, test), [
        ((np.arange(8), np.arange(8, 10)), "Those number the speakers"),
        ((every, test), "Some clips are on both sides"),
        ((every[every % 5 > 0], every[every % 5 == 0]), "10 speakers are on both sides: pass the speakers as `groups=`"),
        ((train[1:], test), "1 clips are on neither side"),
        ((test, train), "Are the two swapped?"),
        ((every[speaker != "s1"], every[speaker == "s1"]), "1 of 10 speakers are held out"),
        ((~new, new), "a mask of True and False"),
        ((["s0", "s2"], ["s1", "s4"]), "Those are names"),
        ((train, test + 0.5), "Expected an array of row numbers"),
        ((train, test + len(every)), "Row numbers go from 0"),
        ((train, -test - 1), "Row numbers go from 0"),
    ])  # fmt: skip


def case_milliseconds(data) -> Case:
    return Case(lambda x: checks.milliseconds(x, 200, 8_000), (25.0,), [
        ((0.025,), "in seconds"),
        ((40,), "upside down"),
        ((1600,), "Divide by the sample rate"),
        ((1000 * 200 / 22_050,), "That takes 22,050 samples a second"),
        ((3,), "turn seconds into milliseconds"),
        ((len,), "not a function: call it"),
    ])  # fmt: skip


def case_picture_shape(data) -> Case:
    finer = data["recipe"].but(hop=64)  # 4000 samples: 62 whole hops, and 31 before
    return Case(lambda x: checks.picture_shape(x, finer), ((1, 1, 16, 63),), [
        (((16, 63),), "its last two numbers"),
        (((1, 16, 63),), "Expected four numbers, not 3"),
        (((1, 1, 63, 16),), "swapped"),
        (((1, 1, 32, 63),), "Only the frames depend on the hop"),
        (((1, 1, 16, 32),), "the hop as it was"),
        (((1, 1, 16, 62),), "One frame is missing"),
        (((1, 1, 16, 64),), "Off by one"),
        (((1, 1, 16, 16),), "more frames, not fewer"),
        (((1, 1, 16, 99),), "Count the hops in a clip"),
        ((63.5,), "Expected four whole numbers"),
    ])  # fmt: skip


def case_decibels_by_hand(data) -> Case:
    mel = 10 ** data["random"].uniform(-7, 4, (16, 33))
    mel[0, :5] = 0
    with np.errstate(divide="ignore"):
        raw = 10 * np.log10(mel)
    right = np.maximum(raw, raw.max() - 80)
    return Case(lambda x: checks.decibels_by_hand(x, mel), (right,), [
        ((np.log(np.maximum(mel, 1e-10)),), "natural logarithm"),
        ((10 * np.log(np.maximum(mel, 1e-10)),), "natural logarithm"),
        ((2 * right,), "Twenty is for amplitudes"),
        ((right / 10,), "Those are bels"),
        ((-right,), "The sign is turned"),
        ((right - right.max(),), "counts from the loudest bin"),
        ((mel,), "still power"),
        ((right + 5,), "Take ten times the logarithm"),
        ((raw,), "The loud bins are right. Raise what is more than 80"),
        ((right.T,), "Rows and columns are swapped: expected the shape (16, 33), mel bins x frames"),
        ((right[:5],), "Expected the shape (16, 33), mel bins x frames, not (5, 33)"),
        (("loud",), "Expected an array, not text"),
    ])  # fmt: skip


def case_empty_filters(data) -> Case:
    seed = Recipe.preset("seed")
    htk = seed.but(mel_scale="htk")
    filters = LogMel(htk).filters.numpy()
    empty = int((filters.max(axis=0) == 0).sum())
    slaney = int((LogMel(seed).filters.numpy().max(axis=0) == 0).sum())
    return Case(lambda x: checks.empty_filters(x, htk), (empty,), [
        ((slaney,), "Slaney's number"),
        (((filters.max(axis=1) == 0).sum(),), "A filter is a column"),
        ((seed.n_mels - empty,), "not empty"),
        ((0,), "Start from `seed`"),
        ((empty + 1,), "One too many"),
        ((empty - 1,), "One is missing"),
        ((99,), "no weight above 0"),
    ])  # fmt: skip


def case_inverted(data) -> Case:
    recipe = Recipe.preset("fast")
    time = np.arange(recipe.samples) / recipe.sample_rate
    sound = sum(np.sin(2 * np.pi * 140 * k * time + k * k) / k for k in range(1, 30)) * np.exp(
        -(((time - 0.3) / 0.1) ** 2)
    )
    audio = (0.2 * sound + 1e-4 * np.random.default_rng(0).standard_normal(len(sound))).astype(np.float32)
    picture = LogMel(recipe)(torch.from_numpy(audio)[None])[0, 0].numpy()

    def guess(mel):
        return librosa.feature.inverse.mel_to_audio(
            mel, sr=22_050, n_fft=2048, hop_length=512, pad_mode="constant", fmin=50, fmax=11_025, n_iter=8
        )

    right = guess(librosa.db_to_power(picture))
    return Case(lambda x: checks.inverted(x, audio, recipe), (right,), [
        ((picture,), "still a picture"),
        ((np.stack([right, right]),), "Expected the samples of one sound"),
        ((np.where(np.arange(len(right)) == 9, np.nan, right),), "not finite"),
        ((right[::2],), "Pass `hop_length=recipe.hop`"),
        ((0 * right,), "That is silence"),
        ((audio,), "the clip itself"),
        ((guess(np.abs(picture)),), "Its picture is another one"),
        ((np.random.default_rng(0).standard_normal(len(audio)),), "Its picture is another one"),
        (("sound",), "Expected a sound, an array of samples, not text"),
    ])  # fmt: skip


def case_count_steps(data) -> Case:
    return Case(lambda x: checks.count_steps(x, 1_000, 32, 5), (155,), [
        ((31,), "That is one epoch"),
        ((160,), "it is dropped"),
        ((156,), "A batch is dropped in every epoch"),
        ((156.25,), "no parts of steps"),
        ((5000,), "Those are the clips"),
        ((99,), "How many whole batches"),
    ])  # fmt: skip


def case_halfway(data) -> Case:
    recipe = data["recipe"]
    first = recipe.learning_rate
    half, three = (first * 0.5 * (1 + math.cos(math.pi * part)) for part in (0.5, 0.75))
    return Case(lambda one, other: checks.halfway(one, other, recipe), (half, three), [
        ((three, half), "The two are swapped"),
        ((half / first, three / first), "shares of the first rate"),
        ((first / 2, first / 4), "a straight line"),
        (tuple(first * 0.5 * (1 + math.cos(180 * part)) for part in (0.5, 0.75)), "takes radians"),
        ((half, first - three), "how much is gone"),
        ((half, 0.9 * three), "The first is right"),
        ((0.9 * half, three), "The second is right"),
        ((0.5 * half, 0.9 * three), "go down half a cosine"),
        ((half, [three, three]), "Expected one number, not 2"),
    ])  # fmt: skip


def case_last_layer(data) -> Case:
    photo = timm.create_model("resnet18")
    backbone = timm.create_model("resnet18", in_chans=1, num_classes=10)
    return Case(lambda x: checks.last_layer(x, backbone, photo), (512 * 10 + 10,), [
        ((512 * 10,), "Each answer also has a bias"),
        ((512 * 1000 + 1000,), "the old last layer"),
        ((512 * 1000,), "the old last layer"),
        ((522,), "multiply, do not add"),
        ((512,), "That is what comes in"),
        ((64 * 49,), "the first layer"),
        ((sum(weight.numel() for weight in backbone.parameters()),), "the whole network"),
        ((4,), "How many numbers come in"),
    ])  # fmt: skip


def case_wrong_labels(data) -> Case:
    digit = torch.arange(32) % 10
    mixed = digit.roll(3)
    lost = list(np.linspace(0.7, 0.2, 10))
    hot = torch.nn.functional.one_hot(mixed, 10).float()
    some = digit.clone()
    some[:8] = some[:8].roll(1)
    return Case(lambda one, other: checks.wrong_labels(one, other, digit), (hot, lost), [
        ((digit, lost), "still the true ones. `torch.randperm`"),
        ((some, lost), "Most labels are still the true ones"),
        ((torch.full((32,), 7), lost), "All clips have the same label now"),
        ((mixed + 10, lost), "digits, 0 to 9"),
        ((mixed, np.linspace(0.2, 0.1, 10)), "a network that was trained before"),
        ((mixed, np.linspace(2.3, 0.1, 10)), "one choice among ten"),
        ((mixed, np.linspace(0.7, 0.9, 10)), "The loss rises"),
        ((mixed, np.linspace(0.7, 0.6, 10)), "The loss hardly falls"),
        ((mixed[:5], lost), "`nonsense` should be 32 labels"),
        ((mixed, lost[:3]), "ten losses, one a step, not 3"),
        ((mixed, [*lost[:9], math.nan]), "no longer a number"),
    ])  # fmt: skip


def case_nearest_mean(data) -> Case:
    clips, recordings, recipe = data["clips"], data["recordings"], data["recipe"]
    parts, digit = data["parts"], recordings.table["digit"].to_numpy()
    pictures = LogMel(recipe)(torch.from_numpy(clips.audio)).flatten(1).double().numpy()

    def rule(train, test) -> float:
        means = [pictures[train][digit[train] == one].mean(axis=0) for one in range(10)]
        far = [((pictures[test] - mean) ** 2).sum(axis=1) for mean in means]
        return float((np.argmin(far, axis=0) == digit[test]).mean())

    right, every = rule(parts.train, parts.validation), np.arange(len(clips))
    return Case(lambda x: checks.nearest_mean(x, clips, recordings, parts, recipe), (right,), [
        ((rule(parts.train, parts.train),), "tested on the clips that made the means"),
        ((rule(parts.validation, parts.validation),), "The means come from the held-out clips"),
        ((rule(every, parts.validation),), "The means hold the test's own clips"),
        ((1 - right,), "the share of mistakes"),
        ((right * len(parts.validation),), "the number of clips"),
        ((100 * right,), "in percent"),
        ((0.0123,), "Then the nearest of ten"),
    ])  # fmt: skip


def case_count_people(data) -> Case:
    table = data["table"]
    return Case(lambda x: checks.count_people(x, table, data["recordings"]), (2,), [
        ((len(table),), "Those are the clips"),
        ((10,), "all speakers of the corpus"),
        ((8,), "the speakers for training"),
        ((7,), "Count each name"),
    ])  # fmt: skip


def case_precision(data) -> Case:
    table, known = data["table"], data["known"]

    def of(one):
        read = one[one["predicted"] == 9]
        return (read["digit"] == 9).mean()

    hits = ((table["digit"] == 9) & (table["predicted"] == 9)).sum()
    return Case(lambda x: checks.precision(x, 9, table, known), (of(table),), [
        (((table.loc[table["digit"] == 9, "predicted"] == 9).mean(),), "That is the recall"),
        ((accuracy(table),), "the accuracy of all clips"),
        ((of(known),), "That is of `known_voices`"),
        ((1 - of(table),), "the share of mistakes among them"),
        ((hits / len(table),), "not by all clips"),
        ((hits,), "That is a count"),
        ((100 * of(table),), "in percent"),
        ((0.0123,), "Take the rows whose `predicted` is 9"),
    ])  # fmt: skip


def case_log_loss(data) -> Case:
    table = data["table"]
    chances = table[PROBABILITIES].to_numpy()
    true = chances[np.arange(len(table)), table["digit"]]
    right = -np.log(true).mean()
    return Case(lambda x: checks.log_loss(x, table, data["known"]), (right,), [
        ((-np.log10(true).mean(),), "base ten"),
        ((-np.log2(true).mean(),), "base two"),
        ((-right,), "The sign is turned"),
        ((-np.log(true).sum(),), "That is the sum"),
        ((-np.log(chances.max(axis=1)).mean(),), "takes the largest probability"),
        ((-np.log(np.maximum(chances, 1e-16)).mean(),), "takes all ten probabilities"),
        ((-np.log(true.mean()),), "First the logarithm of each"),
        ((true.mean(),), "the mean probability"),
        ((table["loss"].mean(),), "the training's loss"),
        ((metrics(data["known"])["log_loss"],), "That is of `known_voices`"),
        ((99.0,), "For each clip"),
    ])  # fmt: skip


def case_clips_needed(data) -> Case:
    right = 1.96**2 * 0.95 * 0.05 / 0.01**2
    return Case(lambda x: checks.clips_needed(x, 0.95, 0.01), (right,), [
        ((0.95 * 0.05 / 0.01**2,), "one standard error"),
        ((1.96 * 0.95 * 0.05 / 0.01**2,), "inside the square"),
        ((1.96**2 * 0.95 * 0.05 / 0.01,), "Square the width"),
        ((1.96**2 * 0.95 * 0.05,), "A point is 0.01"),
        ((1.96**2 * 0.95 * 0.05 / 0.005**2,), "the whole interval so wide"),
        ((1.96**2 * 0.95 * 0.05 / 0.02**2,), "twice as far"),
        ((1.96**2 * 0.95 / 0.01**2,), "The variance of a share"),
        ((1.96**2 * 0.05 / 0.01**2,), "The variance of a share"),
        ((1.645**2 * 0.95 * 0.05 / 0.01**2,), "a 90 % interval"),
        ((2**2 * 0.95 * 0.05 / 0.01**2,), "takes 2 for 1.96"),
        ((3.0,), "Solve 1.96"),
    ])  # fmt: skip


def case_clip_interval(data) -> Case:
    table, random = data["table"], np.random.default_rng(1)
    right = (table["digit"] == table["predicted"]).to_numpy()
    drawn = random.choice(right, (1000, len(right))).mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    mean, spread = right.mean(), math.sqrt(right.mean() * (1 - right.mean()))
    half = (high - low) / 2
    return Case(lambda one, other: checks.clip_interval(one, other, table), (low, high), [
        ((high, low), "The lower end lies above"),
        ((100 * low, 100 * high), "Those are percent"),
        ((mean, mean), "It has no width"),
        (interval(table), "which looks at speakers"),
        ((high, high + 0.05), "The accuracy itself lies outside"),
        (tuple(np.quantile(drawn, [0.05, 0.95])), "between 5 and 95 % lie 90"),
        ((mean - 1.96 * spread, mean + 1.96 * spread), "how single clips spread"),
        ((mean - 1.7 * half, mean + 1.7 * half), "too wide"),
        ((mean - 0.4 * half, mean + 0.4 * half), "then take quantiles"),
    ])  # fmt: skip


def case_hardest_voice(data) -> Case:
    rows = [("s1", 10, 6), ("s2", 40, 30), ("s3", 20, 20), ("s4", 20, 19)]  # clips, right ones
    table = pd.DataFrame(
        [
            {"speaker": name, "digit": 1, "predicted": int(i < right)}
            for name, clips, right in rows
            for i in range(clips)
        ]
    )
    return Case(lambda x: checks.hardest_voice(x, table, data["recordings"]), ("s1",), [
        (("nobody",), "There is no speaker 'nobody'"),
        (("s7",), "s7 was heard in training"),
        (("s2",), "s2 has most mistakes, but also more clips"),
        (("s3",), "s3 is the one who is read best"),
        (("s4",), "Another voice"),
        ((1,), "Expected one name, in quotes, not an int"),
        ((["s1", "s2"],), "Expected one name, in quotes, not a list"),
    ])  # fmt: skip


def case_sure_and_wrong(data) -> Case:
    table = data["table"]
    chances = table[PROBABILITIES].to_numpy()
    sure, wrong = chances.max(axis=1) > 0.6, (table["digit"] != table["predicted"]).to_numpy()
    right = (sure & wrong).sum()
    return Case(lambda x: checks.sure_and_wrong(x, table, 0.6), (right,), [
        ((right / sure.sum(),), "That is a share"),
        ((wrong.sum(),), "Those are all mistakes"),
        ((sure.sum(),), "all clips of which the model is sure"),
        (((~sure & wrong).sum(),), "where it is not sure"),
        ((0,), "Look at the largest of the ten"),
        ((9999,), "Count the misread clips"),
    ])  # fmt: skip


def case_second_best(data) -> Case:
    table = data["table"]
    order, digit = table[PROBABILITIES].to_numpy().argsort(axis=1), table["digit"].to_numpy()
    wrong = order[:, -1] != digit
    right = (order[:, -2] == digit).sum()
    return Case(lambda x: checks.second_best(x, table), (right,), [
        ((right / wrong.sum(),), "That is a share"),
        ((wrong.sum(),), "Those are all mistakes"),
        (((order[:, -2:] == digit[:, None]).any(axis=1).sum(),), "counts the clips that are right, too"),
        ((wrong.sum() - right,), "not even second"),
        (((order[:, 1] == digit).sum(),), "begins with the smallest"),
        (((order[:, -3] == digit).sum(),), "That is the third"),
        ((9999,), "compare the last but one"),
    ])  # fmt: skip


def case_noise(data) -> Case:
    clips = data["clips"]
    rows = data["table"]["clip"].head(60)
    clean = np.stack([clips.waveform(row) for row in rows]).astype(float)
    hiss = np.random.default_rng(0).standard_normal(clean.shape)
    inside = np.arange(4000) < clips.lengths[rows][:, None]
    power = (clean**2).sum(axis=1, keepdims=True) / inside.sum(axis=1, keepdims=True)
    return Case(lambda x: checks.noise(x, rows, clips), (clean + np.sqrt(power / 10) * hiss,), [
        ((32768 * (clean + np.sqrt(power / 10) * hiss),), "whole numbers"),
        ((np.sqrt(power / 10) * hiss,), "The speech is gone"),
        ((clean,), "There is no noise in it yet"),
        ((clean + inside * np.sqrt(power / 10) * hiss,), "no noise in the padding"),
        ((clean + np.sqrt((clean**2).mean(axis=1, keepdims=True) / 10) * hiss,), "padding was counted as speech"),
        ((clean + np.sqrt(power * 10) * hiss,), "louder than the speech"),
        ((clean + np.sqrt(power) / 10 * hiss,), "twice as far"),
        ((clean + np.sqrt(power / np.sqrt(10)) * hiss,), "half as far"),
        ((clean + np.sqrt(power) * hiss,), "as loud as the speech"),
        ((clean + np.sqrt(np.median(power) / 10) * hiss,), "not for each clip"),
        ((clean + np.sqrt(power / 3000) * hiss,), "The noise lies 35 decibels below"),
        ((clean[:5],), "Expected the shape (60, 4000), clips x samples"),
        ((clean.T,), "Rows and columns are swapped"),
        ((np.full_like(clean, np.nan),), "not finite numbers"),
        (("noise",), "Expected an array of clips, not text"),
    ])  # fmt: skip


def case_cover(data) -> Case:
    table, clips = data["table"].copy(), data["clips"]
    table.loc[(table["digit"] != table["predicted"]).idxmax(), "loss"] = 2
    torch.manual_seed(0)
    model = Classifier(data["recipe"])
    with torch.no_grad():  # a random network hardly minds what it hears
        for _ in range(20):
            model(torch.tensor(clips.audio[:64]))
        model.backbone.get_classifier().weight.mul_(10)
    model.eval()
    read = table[table["digit"] == table["predicted"]]
    clip, other = read.loc[read["loss"].idxmax()], table.loc[table["loss"].idxmax()]
    assert clip["clip"] != other["clip"]

    def ask(sounds):
        with torch.inference_mode():
            return probabilities(model(torch.tensor(np.stack(sounds))), data["recipe"].loss).numpy()

    def covered(row, keep=False, pile=False):
        whole, sounds = clips.waveform(row), []
        sound = whole.copy()
        for part in np.split(np.arange(4000), 10):
            if not pile:
                sound = np.zeros_like(whole) if keep else whole.copy()
            sound[part] = whole[part] if keep else 0
            sounds.append(sound.copy())
        return sounds

    row, digit = clip["clip"], clip["digit"]
    right, whole = ask(covered(row)), ask([clips.waveform(row)])[0, digit]
    return Case(lambda x: checks.cover(x, table, model, clips), (right[:, digit],), [
        ((right,), "probabilities of all ten digits"),
        ((right[:4, digit],), "Expected 10 probabilities, one for each part that was covered, not 4"),
        ((whole - right[:, digit],), "how much was lost"),
        ((np.full(10, whole),), "Nothing was covered"),
        ((ask(covered(row, pile=True))[:, digit],), "More is covered each time"),
        ((ask(covered(row, keep=True))[:, digit],), "All but one part is covered"),
        ((right.max(axis=1),), "Follow the digit that was said"),
        ((ask(covered(other["clip"]))[:, other["digit"]],), "the clip of the largest loss. Look among"),
        ((np.linspace(-3, 5, 10),), "Probabilities lie between 0 and 1"),
        ((np.linspace(0, 1, 10),), "silence one of ten equal parts"),
    ])  # fmt: skip


def found() -> dict:
    """Invented results in the form of `book/results/fsdd.json`."""
    no_human = {"accuracy": 0.90, "seeds": [0.89, 0.91, 0.90, 0.905, 0.895]}
    steps = {"one voice": 0.30, "and augmented": 0.70, "and others": 0.80, "and views": 0.82}
    without = {"all six": 0.85, "without voice": 0.60, "without cut": 0.84, "without room": 0.86, "without band": 0.82}
    return {
        "no_human_data": no_human,
        "loso_mean": {"accuracy": 0.96},
        "loso_worst": {"accuracy": 0.912, "speaker": "somebody"},
        "official_split": {"accuracy": 0.99},
        "steps": {name: {"accuracy": value} for name, value in steps.items()},
        "without": {name: {"accuracy": value} for name, value in without.items()},
    }


def case_gap_to_worst(data) -> Case:
    return Case(lambda x: checks.gap_to_worst(x, found()), (4.8,), [
        ((0.048,), "multiply by 100"),
        ((-4.8,), "The sign is turned"),
        ((91.2,), "how well that person is read"),
        ((7.8,), "starts from the published split"),
        ((5.0,), "Points are a plain difference"),
        ((6.0,), "what people's recordings bought"),
        ((50,), "turn shares into points"),
    ])  # fmt: skip


def case_bought_most(data) -> Case:
    return Case(lambda x: checks.bought_most(x, found()), ("and augmented",), [
        (("music",), "no such step. They are: one voice, and augmented, and others, and views."),
        (("one voice",), "That is where it begins"),
        (("and views",), "the highest accuracy"),
        (("and others",), "Another step gained more"),
        ((0.4,), "Expected one name, in quotes, not a float"),
    ])  # fmt: skip


def case_mistakes_left(data) -> Case:
    return Case(lambda x: checks.mistakes_left(x, found()), (0.4,), [
        ((0.6,), "the share that is gone"),
        ((2.5,), "upside down"),
        ((0.96 / 0.90,), "Those are right answers"),
        ((0.90 / 0.96,), "Those are right answers"),
        ((0.06,), "That is a difference"),
        ((0.1,), "the published split"),
        ((0.04,), "a share of all clips"),
        ((40,), "in percent"),
        ((0.77,), "Mistakes are 1 less the accuracy"),
    ])  # fmt: skip


def case_more_than_luck(data) -> Case:
    seeds = np.array(found()["no_human_data"]["seeds"])
    return Case(lambda one, other: checks.more_than_luck(one, other, found()), (0.02, ["voice", "without band"]), [
        ((2.0, ["voice", "band"]), "`luck` is in points"),
        ((seeds.std(), ["voice", "band"]), "a standard deviation"),
        ((0.9, ["voice", "band"]), "the mean of the seeds"),
        ((-0.02, ["voice", "band"]), "`luck` is negative"),
        ((0.5, ["voice", "band"]), "`luck` is the largest of `seeds`"),
        ((0.02, 3), "`clear` should be a list of names, not an int"),
        ((0.02, [1, 2]), "a list of names, in quotes"),
        ((0.02, ["all six", "voice", "band"]), "what the others are compared with"),
        ((0.02, ["voices"]), "The parts are: voice, cut, room, band."),
        ((0.02, ["cut", "room"]), "Turned round"),
        ((0.02, ["voice", "band", "cut"]), "Leaving out cut costs no more than luck"),
        ((0.02, "voice"), "1 more of the parts"),
    ])  # fmt: skip


def case_later(data) -> Case:
    clips = data["clips"]
    first = clips.audio[:100].astype(int)

    def move(by):
        return np.pad(first, ((0, 0), (by, 0)))[:, :4000]

    return Case(lambda x: checks.later(x, clips), (move(800),), [
        ((first,), "Nothing has moved. A clip is a row"),
        ((np.pad(first, ((0, 0), (0, 800)))[:, 800:],), "The words come earlier"),
        ((np.roll(first, 800, axis=1),), "What left on the right came back"),
        ((np.roll(first, 800),), "ran into the next one"),
        ((np.roll(first, 800, axis=0),), "move along the samples, the second axis"),
        ((move(100),), "That moves by 100 samples, not milliseconds"),
        ((move(1600),), "another sample rate"),
        ((np.pad(first[:, 5:], ((0, 0), (805, 0)))[:, :4000],), "The zeros are there"),
        ((first * 0 + 1,), "Make an array of zeros"),
        ((np.pad(first, ((0, 0), (800, 0))),), "The clips are longer now"),
        ((move(800)[:3],), "Expected the shape (100, 4000), clips x samples, not (3, 4000)"),
        (("clips",), "Expected an array of clips, not text"),
    ])  # fmt: skip


def case_megabytes(data) -> Case:
    return Case(lambda x: checks.megabytes(x, 23_500_000), (23.5,), [
        ((188,), "megabits"),
        ((94,), "32 bits each"),
        ((47,), "16 bits each"),
        ((23_500_000,), "That is in bytes"),
        ((23_500,), "in kilobytes"),
        ((23.5e6 / 2**20,), "That divides by 1,048,576"),
        ((5,), "a megabyte a million bytes"),
    ])  # fmt: skip


def case_multiply_adds(data) -> Case:
    layer = torch.nn.Conv2d(3, 5, (3, 2), stride=2)
    return Case(lambda x: checks.multiply_adds(x, layer, 4, 7), (28 * 5 * 3 * 6,), [
        ((90,), "the layer's weights"),
        ((2 * 28 * 90,), "additions apart"),
        ((28 * 18,), "There are 5 of them"),
        ((28 * 30,), "reads all 3 channels"),
        ((28 * 15,), "looks at 3 x 2 places at once"),
        ((28 * 5,), "a kernel multiplies 3 x 3 x 2 times"),
        ((28,), "Those are the positions"),
        ((4 * 28 * 90,), "The stride leaves places out"),
        ((1001,), "times what one kernel reads"),
    ])  # fmt: skip


def case_eight_bits(data) -> Case:
    weights = np.array([0.31, -0.02, 0.0078, -0.54, 0.124])
    ratio = weights / 0.54 * 127
    right = np.rint(ratio)
    return Case(lambda x: checks.eight_bits(x, weights), (right.astype(int),), [
        ((weights,), "still the weights"),
        ((right * 0.54 / 127,), "how the weights come back"),
        ((ratio,), "not rounded"),
        ((ratio.astype(int),), "cuts off what follows the point"),
        ((np.floor(ratio),), "`astype(int)` does so"),
        ((np.rint(weights / 0.31 * 127),), "farthest from 0 may be negative"),
        ((np.rint(weights / 0.54 * 128),), "128 has no place"),
        ((np.rint((weights + 0.54) / 0.85 * 255),), "count from the lowest weight"),
        ((right + 0.25,), "Codes are whole numbers"),
        ((right * 3,), "Some codes do not fit"),
        ((right // 2,), "Divide each weight by the largest"),
        ((right[:3],), "Expected the shape (5,), one code a weight, not (3,)"),
        (("codes",), "Expected a whole number for each weight, not text"),
    ])  # fmt: skip


def case_limit(data) -> Case:
    random = np.random.default_rng(0)
    digits, others = random.normal(4, 1.5, 200), random.normal(0, 2, 150)
    return Case(lambda x: checks.limit(x, torch.tensor(digits), others), (float(np.quantile(digits, 0.05)),), [
        ((np.quantile(digits, 0.95),), "turn nearly all digits away"),
        ((np.quantile(others, 0.95),), "lets so few of the others through"),
        ((np.quantile(others, 0.05),), "the scores of the others"),
        ((0.05,), "That is the share"),
        ((5.0,), "has this share of digits below it"),
        ((digits.min() - 0.1,), "Some loss is allowed"),
        ((4.2,), "of the digits are turned away, not 5%"),
    ])  # fmt: skip


def case_soft_loss(data) -> Case:
    random = torch.Generator().manual_seed(0)
    student, teacher = (4 * torch.randn(8, 10, generator=random) for _ in range(2))

    def cost(one, told):
        return float(torch.nn.functional.binary_cross_entropy_with_logits(one, told))

    right = cost(student / 4, (teacher / 4).sigmoid())
    one_question = float(torch.nn.functional.cross_entropy(student / 4, (teacher / 4).softmax(dim=1)))
    return Case(lambda x: checks.soft_loss(x, student, teacher), (right,), [
        ((cost(student, teacher.sigmoid()),), "without a temperature"),
        ((cost(student, (teacher / 4).sigmoid()),), "Only the teacher was softened"),
        ((cost(student / 4, teacher.sigmoid()),), "Only the student was softened"),
        ((cost(4 * student, (4 * teacher).sigmoid()),), "the answers grow harder"),
        ((cost(student / 4, (teacher > 0).float()),), "Those targets are yes or no"),
        ((cost(teacher / 4, (student / 4).sigmoid()),), "Turned round: the teacher's"),
        ((one_question,), "one question with ten answers"),
        ((80 * right,), "That is the sum"),
        ((10 * right,), "the ten questions of a clip"),
        ((16 * right,), "the square of the temperature"),
        ((0.01,), "Divide both by the temperature"),
    ])  # fmt: skip


def forms(answer) -> list:
    """The same answer as Python, NumPy, pandas and PyTorch may hold it."""
    if isinstance(answer, pd.DataFrame):
        return [answer]
    if isinstance(answer, str):
        return [answer, np.str_(answer), np.array([answer]), pd.Series([answer]), f" {answer} "]
    if isinstance(answer, list) and isinstance(answer[0], str):
        return [answer, set(answer), tuple(answer), np.array(answer), pd.Series(answer), pd.Index(answer)]
    array = np.asarray(answer, dtype=float if isinstance(answer, list) else None)
    if array.ndim == 0:
        plain, kept = array.item(), torch.tensor(array.item(), requires_grad=isinstance(array.item(), float))
        return [plain, float(plain), array[()], array, torch.tensor(plain), kept, np.array([plain]), pd.Series([plain])]
    tensor = torch.tensor(array)
    out = [array, array.tolist(), tuple(array.tolist()), tensor, tensor.double(), tensor.double().requires_grad_()]
    if array.ndim == 1:
        out += [pd.Series(array), list(tensor), torch.Size(array) if array.dtype.kind == "i" else array]
    return [answer, *out]


@pytest.mark.parametrize("name", NAMES)
class TestEach:
    def test_the_right_answer_is_accepted_in_every_form(self, name, cases, capsys):
        ask, right, _ = cases[name]
        for place, answer in enumerate(right):
            for form in forms(answer):
                given = [*right[:place], form, *right[place + 1 :]]
                assert ask(*given) is True, (type(form), form, capsys.readouterr().out)
                assert capsys.readouterr().out.startswith("Right. ")

    def test_each_mistake_gets_its_own_hint(self, name, cases, capsys):
        ask, _, mistakes = cases[name]
        said = {}
        for answers, words in mistakes:
            assert ask(*answers) is False, words
            out = capsys.readouterr().out
            assert out.startswith("Not yet. ") and words in out, out
            assert out.count("\n") == 1
            said.setdefault(words, out)
        for words, own in said.items():
            assert {out for out in said.values() if words in out} == {own}, f"{words!r} belongs to more than one hint"

    def test_no_answer_says_what_is_asked(self, name, cases, capsys):
        ask, right, _ = cases[name]
        for place in range(len(right)):
            assert ask(*right[:place], None, *right[place + 1 :]) is False
            out = capsys.readouterr().out
            assert out.startswith("Not answered yet: ") and len(out) > 40 and out.count("\n") == 1

    def test_nothing_makes_it_raise(self, name, cases, capsys):
        ask, right, _ = cases[name]
        for garbage in GARBAGE:
            for place in range(len(right)):
                assert ask(*right[:place], garbage, *right[place + 1 :]) is False, garbage
                out = capsys.readouterr().out
                assert out.startswith("Not yet. ") and out.count("\n") == 1, out

    def test_it_says_what_it_does(self, name):
        assert getattr(checks, name).__doc__


def hints() -> list[str]:
    """Every sentence in the module that a learner may read: its longest part where values are put in."""
    tree = ast.parse(Path(checks.__file__).read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node):
            node.body[0].value.value = ""
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    sentences = [
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value for part in node.values if isinstance(part, ast.Constant)]
            sentences.append(max(parts, key=len, default=""))
    return [one for one in sentences if len(one) > 15 and " " in one.strip() and "cannot be compared" not in one]


def test_every_sentence_is_said_by_some_answer(cases, capsys):
    for ask, right, mistakes in cases.values():
        for answers in (right, [None] * len(right), *(answers for answers, _ in mistakes)):
            ask(*answers)
    out = capsys.readouterr().out
    assert len(hints()) > 200
    unsaid = [one for one in hints() if one not in out]
    assert not unsaid, unsaid


def test_every_check_has_its_cases(cases):
    assert list(cases) == NAMES


@pytest.mark.parametrize("given", [0.299, 0.3, 0.301])
def test_an_answer_may_be_rounded(given, capsys):
    assert checks._number(given, 0.2999, "a share?", "Good.") is True


def test_the_nearer_of_two_wins(capsys):
    """An answer that is exactly a mistake is no rounded right one."""
    assert checks._number(0.801, 0.8, "a share?", "Good.", [(0.801, "The wrong part.")]) is False
    assert "The wrong part." in capsys.readouterr().out
    assert checks._number(0.8, 0.8, "a share?", "Good.", [(0.8, "The wrong part.")]) is True
    assert checks._number(0.79, 0.8, "a share?", "Good.", [(0.8, "The wrong part.")], otherwise="Neither.") is False
    assert "Neither." in capsys.readouterr().out


def test_counts_are_not_rounded():
    assert checks._number(155.3, 155, "how many?", "Good.", near=0) is False


def test_a_fault_of_the_data_is_not_hidden(data):
    with pytest.raises(KeyError):
        checks.gap_to_worst(1.0, {})


def test_a_split_without_mistakes_leaves_an_empty_interval(data, capsys):
    table = data["table"].assign(predicted=data["table"]["digit"])
    assert checks.clip_interval(1.0, 1.0, table) is True


def test_a_tie_has_several_right_answers(data):
    table = pd.DataFrame({"speaker": ["s1", "s2"], "digit": [1, 1], "predicted": [1, 1]})
    assert checks.hardest_voice("s1", table, data["recordings"]) and checks.hardest_voice(
        "s2", table, data["recordings"]
    )


def test_parts_of_other_corpora(data):
    """With six speakers a fifth is one or two of them."""
    table = data["recordings"].table
    few = Corpus("few", Path(), table[table["speaker"] < "s6"], "Few", "none", "test")
    speaker, every = few.table["speaker"], np.arange(len(few))
    for names in (["s0"], ["s0", "s3"]):
        new = speaker.isin(names).to_numpy()
        assert checks.own_split(every[~new], every[new], few)
    assert isinstance(split(few), Split)
