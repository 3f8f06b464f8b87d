"""The self-checks: the right answer in every form, each mistake with its own hint, and nothing that makes them raise."""

import ast
import contextlib
import io
import math
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NamedTuple

import nbformat
import numpy as np
import pandas as pd
import pytest
import timm
import torch
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy, one_hot

from spokendigits.checks import data, error_analysis, evaluation, features, judge, real_voices, small_and_fast, training
from spokendigits.classifier import Classifier
from spokendigits.clips import Clips
from spokendigits.corpora.corpus import PROBABILITIES, Corpus
from spokendigits.evaluation import metrics
from spokendigits.frontend import LogMel
from spokendigits.intervals import accuracy, interval
from spokendigits.losses import probabilities
from spokendigits.recipe import Recipe
from spokendigits.splits import split

MODULES = (data, features, training, evaluation, error_analysis, real_voices, small_and_fast)
CHECKS = [name for module in MODULES for name, check in vars(module).items() if hasattr(check, "__wrapped__")]
GARBAGE = [
    "what?", "", "3", b"3", [], [1, 2], {}, {"a": 1}, set(), object(), float("nan"), float("inf"), -math.inf, 1j, True,
    10**400, np.array(["a"]), np.array([np.nan] * 10), np.zeros((0, 3)), np.zeros((2, 3, 4)), [[1], [1, 2]], [None, 1],
    torch.tensor([]), torch.tensor([math.nan]), torch.zeros(3, device="meta"), pd.NA, pd.NaT, pd.DataFrame(),
    pd.DataFrame({"check": ["empty"], "clips": ["many"]}), pd.DataFrame([[1, 2]], columns=["clips", "clips"]),
    pd.Series(dtype=float), pd.Series([1, None]), print, int, np.datetime64("2026-01-01"), range(3), slice(3), {1, None},
]  # fmt: skip


class Case(NamedTuple):
    check: Callable[..., bool]
    right: tuple
    data: tuple
    mistakes: list[tuple]  # the answers, and words of the hint that is theirs alone

    def say(self, *answers: Any) -> tuple[bool, str]:
        """The verdict, and what was printed."""
        with contextlib.redirect_stdout(io.StringIO()) as out:
            verdict = self.check(*answers, *self.data)
        return verdict, out.getvalue()


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> SimpleNamespace:
    """A small corpus with unequal digits and noisy tones for speech, and tables of invented predictions."""
    random = np.random.default_rng(0)
    settings = {"sample_rate": 8_000, "seconds": 0.5, "window": 256, "hop": 128, "n_mels": 16, "f_max": 4_000.0}
    recipe = Recipe().but(**settings, backbone="test_resnet.r160_in1k")
    takes = np.add.outer(range(10), np.square(range(10))) % 3 + 2  # of each speaker and digit
    rows = [(s, digit, take) for (s, digit), count in np.ndenumerate(takes) for take in range(count)]
    speech = pd.DataFrame([(f"{d}_s{s}_{take}.wav", d, f"s{s}", take) for s, d, take in rows])
    folder = tmp_path_factory.mktemp("clips")
    speech = speech.set_axis(["path", "digit", "speaker", "take"], axis=1)
    recordings = Corpus("noise", folder, speech, "Noise", "none", "made by the tests")
    count, time = len(recordings), np.arange(recipe.samples)
    lengths = random.integers(1500, 5000, count).astype(np.int32)
    digit = recordings.table["digit"].to_numpy()
    tone = np.sin(2 * np.pi * (300 + 60 * digit[:, None]) * time / recipe.sample_rate)
    audio = random.uniform(1500, 9000, (count, 1)) * (0.05 * tone + random.standard_normal(tone.shape))
    audio[:, 200:260] = 0  # recordings have zeros of their own
    audio[time >= lengths[:, None]] = 0
    audio = np.clip(np.rint(audio), -32768, 32767).astype(np.int16)
    np.save(folder / "audio.npy", audio)
    parts = split(recordings, "speaker")

    def table(error: float) -> pd.DataFrame:
        clip = np.tile(parts.validation, 4)  # a test of some hundred clips
        part = recordings.table.iloc[clip].reset_index(drop=True)
        chances = random.dirichlet(np.full(10, 0.3), len(part))
        best, every = chances.argmax(axis=1), np.arange(len(part))
        wanted = np.where(random.random(len(part)) < error, (part["digit"] + 1) % 10, part["digit"])
        chances[every, best], chances[every, wanted] = chances[every, wanted], chances[every, best]
        part = part.assign(predicted=chances.argmax(axis=1), loss=random.uniform(0, 1, len(part)), clip=clip)
        return part.join(pd.DataFrame(chances, columns=PROBABILITIES))

    fast = Recipe.preset("fast")
    time = np.arange(fast.samples) / fast.sample_rate
    voice = sum(np.sin(2 * np.pi * 140 * k * time + k * k) / k for k in range(1, 30))
    hiss = 1e-4 * np.random.default_rng(0).standard_normal(fast.samples)
    voice = 0.2 * voice * np.exp(-(((time - 0.3) / 0.1) ** 2)) + hiss
    picture = LogMel(fast)(torch.from_numpy(voice.astype(np.float32))[None])[0, 0].numpy()
    return SimpleNamespace(
        recipe=recipe, recordings=recordings, speech=recordings.table, parts=parts, digit=digit,
        clips=Clips(audio, lengths, recipe.sample_rate, folder), audio=audio, lengths=lengths,
        table=table(0.2), known=table(0.05), voice=voice, picture=picture,
    )  # fmt: skip


@pytest.fixture(scope="module")
def cases(world) -> dict[str, Case]:
    tables = (data_cases, features_cases, training_cases, evaluation_cases, error_cases, voices_cases, small_cases)
    return {case.check.__name__: case for table in tables for case in table(world)}


def data_cases(world) -> Iterator[Case]:
    lengths, audio, clips, parts, recordings = world.lengths, world.audio, world.clips, world.parts, world.recordings
    longest = lengths.max() / 8000
    yield Case(data.longest_recording, (longest,), (clips,), [
        (lengths.max(), "its number of samples"), (1000 * longest, "in milliseconds"), (1 / longest, "upside down"),
        (0.5, "length of every clip"), (lengths.mean() / 8000, "the mean"), (lengths.min() / 8000, "the shortest"),
        (lengths.max() / 22_050, "another sample rate"), (round(longest, 1), "rounded too far"), (17.0, "Take its largest number"),
        (math.inf, "Was something divided by zero"),
    ])  # fmt: skip

    mixed = split(recordings, "random")
    held_out = world.speech.iloc[mixed.validation]
    voices, apart, train, everywhere = (
        world.speech.iloc[rows].groupby("digit")["speaker"].nunique()
        for rows in (mixed.validation, parts.validation, mixed.train, world.speech.index)
    )
    yield Case(data.digit_voices, (voices,), (recordings, mixed, parts), [
        (apart, "That is the speaker split"), (held_out["digit"].value_counts(), "Those are clips"),
        (everywhere, "the whole table"), (train, "rows for training"),
        (voices.sort_values().to_numpy(), "not in the order"), (voices + 1, "count each digit's different speakers"),
        ([24] * 10, "count each digit's different speakers"),
        (len(held_out), "Expected ten numbers, one for each digit, not 1."),
        (held_out, "one for each digit, not a DataFrame"),
    ])  # fmt: skip

    padding = np.maximum(4000 - lengths, 0).sum() / audio.size
    yield Case(data.padding_share, (padding,), (clips,), [
        (1 - padding, "the share of sound"), (1 - lengths.sum() / audio.size, "not less than none"),
        ((lengths < 4000).mean(), "share of clips that have padding"), ((audio == 0).mean(), "counts every zero"),
        (100 * padding, "in percent"), (0.987, "Padding begins where"),
    ])  # fmt: skip

    def audit(**clips: int) -> pd.DataFrame:
        none = {"unreadable": 0, "truncated": 0, "empty": 0}
        rows = [*(none | clips).items(), ("note", pd.NA), ("note", pd.NA)]
        return pd.DataFrame(rows, columns=["check", "clips"]).astype({"clips": "Int64"})

    yield Case(data.audit_finds, (audit(truncated=1, empty=1),), (), [
        (audit(), "found nothing wrong"), (audit(unreadable=1, truncated=1), "without a single byte"),
        (audit(empty=1), "No file is cut"), (audit(truncated=1), "No file is empty"),
        (audit(unreadable=1, truncated=1, empty=1), "cannot be read at all"),
        (1, "Expected the table that `corpora.audit` returns, not an int"),
        (pd.DataFrame([["empty", 1, 2]], columns=["check", "clips", "clips"]), "This cannot be compared (TypeError)"),
    ])  # fmt: skip

    speaker, every = world.speech["speaker"], np.arange(len(recordings))
    new = speaker.isin(["s1", "s4"]).to_numpy()
    train, test = every[~new], every[new]
    yield Case(data.own_split, (train, test), (recordings,), [
        (np.arange(8), np.arange(8, 10), "Those number the speakers"),
        (every, test, "Some clips are on both sides"),
        (every[every % 5 > 0], every[every % 5 == 0], "10 speakers are on both sides: pass the speakers as `groups=`"),
        (train[1:], test, "1 clips are on neither side"),
        (test, train, "Are the two swapped?"),
        (every[speaker != "s1"], every[speaker == "s1"], "1 of 10 speakers are held out"),
        (~new, new, "a mask of True and False"), (torch.tensor(~new), test, "a mask of True and False"),
        (["s0", "s2"], ["s1", "s4"], "Those are names"), (train, test + 0.5, "Expected an array of row numbers"),
        (train, test + len(every), "Row numbers go from 0"), (train, -test - 1, "Row numbers go from 0"),
    ])  # fmt: skip


def features_cases(world) -> Iterator[Case]:
    yield Case(features.milliseconds, (25.0,), (200, 8_000), [
        (0.025, "in seconds"), (40, "upside down"), (1600, "Divide by the sample rate"), (3, "turn seconds into"),
        (1000 * 200 / 22_050, "That takes 22,050 samples a second"), (len, "not a function: call it"),
    ])  # fmt: skip

    finer = world.recipe.but(hop=64)  # 4000 samples: 62 whole hops, and 31 before
    yield Case(features.picture_shape, ((1, 1, 16, 63),), (finer,), [
        ((16, 63), "its last two numbers"), ((1, 16, 63), "Expected four numbers, not 3"),
        ((1, 1, 63, 16), "swapped"), ((1, 1, 32, 63), "Only the frames depend on the hop"),
        ((1, 1, 16, 32), "the hop as it was"), ((1, 1, 16, 62), "One frame is missing"),
        ((1, 1, 16, 64), "Off by one"), ((1, 1, 16, 16), "more frames, not fewer"),
        ((1, 1, 16, 99), "Count the hops in a clip"), (63.5, "Expected four whole numbers"),
    ])  # fmt: skip

    mel = 10 ** np.random.default_rng(0).uniform(-7, 4, (16, 33))
    mel[0, :5] = 0
    with np.errstate(divide="ignore"):
        raw, natural = 10 * np.log10(mel), np.log(np.maximum(mel, 1e-10))
    right = np.maximum(raw, raw.max() - 80)
    yield Case(features.decibels_by_hand, (right,), (mel,), [
        (natural, "natural logarithm"), (10 * natural, "natural logarithm"), (2 * right, "Twenty is for amplitudes"),
        (right / 10, "Those are bels"), (-right, "The sign is turned"), (mel, "still power"),
        (right - right.max(), "counts from the loudest bin"), (right + 5, "Take ten times the logarithm"),
        (raw, "The loud bins are right. Raise what is more than 80"), ("loud", "Expected an array, not text"),
        (right.T, "Rows and columns are swapped: expected the shape (16, 33), mel bins x frames"),
        (right[:5], "Expected the shape (16, 33), mel bins x frames, not (5, 33)"),
    ])  # fmt: skip

    seed, htk = Recipe.preset("seed"), Recipe.preset("seed").but(mel_scale="htk")
    filters, slaney = (LogMel(recipe).filters.numpy().max(axis=0) == 0 for recipe in (htk, seed))
    empty, unheard = filters.sum(), (LogMel(htk).filters.numpy().max(axis=1) == 0).sum()
    yield Case(features.empty_filters, (int(empty),), (htk,), [
        (slaney.sum(), "Slaney's number"), (unheard, "A filter is a column"), (seed.n_mels - empty, "not empty"),
        (0, "Start from `seed`"), (empty + 1, "One too many"), (empty - 1, "One is missing"), (99, "no weight above 0"),
    ])  # fmt: skip

    right = -world.voice  # sounds the same
    yield Case(features.inverted, (right,), (world.voice, Recipe.preset("fast")), [
        (world.picture, "still a picture"), (np.stack([right, right]), "Expected the samples of one sound"),
        (np.where(right == right[9], np.nan, right), "not finite"), (0 * right, "That is silence"),
        (right[::2], "Pass `hop_length=recipe.hop`"), (world.voice, "the clip itself"),
        (np.random.default_rng(1).standard_normal(len(right)), "Its picture is another one"),
        ("sound", "Expected a sound, an array of samples, not text"),
    ])  # fmt: skip


def training_cases(world) -> Iterator[Case]:
    yield Case(training.count_steps, (155,), (1_000, 32, 5), [
        (31, "That is one epoch"), (160, "it is dropped"), (156, "A batch is dropped in every epoch"),
        (156.25, "no parts of steps"), (5000, "Those are the clips"), (99, "How many whole batches"),
    ])  # fmt: skip

    first, angles = world.recipe.learning_rate, np.pi * np.array([0.5, 0.75])
    half, three = first * 0.5 * (1 + np.cos(angles))
    yield Case(training.halfway, (half, three), (world.recipe,), [
        (three, half, "The two are swapped"), (half / first, three / first, "shares of the first rate"),
        (first / 2, first / 4, "a straight line"), (half, first - three, "how much is gone"),
        (*first * 0.5 * (1 + np.cos(180 / np.pi * angles)), "takes radians"),
        (half, 0.9 * three, "The first is right"), (0.9 * half, three, "The second is right"),
        (0.5 * half, 0.9 * three, "go down half a cosine"), (half, [three, three], "Expected one number, not 2"),
    ])  # fmt: skip

    photo = timm.create_model("resnet18")
    backbone = timm.create_model("resnet18", in_chans=1, num_classes=10)
    yield Case(training.last_layer, (512 * 10 + 10,), (backbone, photo), [
        (512 * 10, "Each answer also has a bias"), (512 * 1000 + 1000, "the old last layer"),
        (512 * 1000, "the old last layer"), (522, "multiply, do not add"), (512, "That is what comes in"),
        (64 * 49, "the first layer"), (sum(weight.numel() for weight in backbone.parameters()), "the whole network"),
        (4, "How many numbers come in"),
    ])  # fmt: skip

    digit = torch.arange(32) % 10
    mixed, lost = digit.roll(3), list(np.linspace(0.7, 0.2, 10))
    some = torch.cat([digit[:8].roll(1), digit[8:]])
    yield Case(training.wrong_labels, (one_hot(mixed, 10).float(), lost), (digit,), [
        (digit, lost, "still the true ones. `torch.randperm`"), (some, lost, "Most labels are still the true ones"),
        (torch.full((32,), 7), lost, "All clips have the same label now"), (mixed + 10, lost, "digits, 0 to 9"),
        (mixed, np.linspace(0.2, 0.1, 10), "a network that was trained before"),
        (mixed, np.linspace(2.3, 0.1, 10), "one choice among ten"), (mixed, np.linspace(0.7, 0.9, 10), "The loss rises"),
        (mixed, np.linspace(0.7, 0.6, 10), "The loss hardly falls"), (mixed[:5], lost, "`nonsense` should be 32 labels"),
        (mixed, lost[:3], "ten losses, one a step, not 3"), (mixed, [*lost[:9], math.nan], "no longer a number"),
    ])  # fmt: skip

    train, test, every = world.parts.train, world.parts.validation, np.arange(len(world.clips))
    pictures = LogMel(world.recipe)(torch.from_numpy(world.audio)).flatten(1).double().numpy()

    def rule(train: np.ndarray, test: np.ndarray) -> float:
        means = [pictures[train][world.digit[train] == digit].mean(axis=0) for digit in range(10)]
        far = [((pictures[test] - mean) ** 2).sum(axis=1) for mean in means]
        return float((np.argmin(far, axis=0) == world.digit[test]).mean())

    right = rule(train, test)
    yield Case(training.nearest_mean, (right,), (world.clips, world.recordings, world.parts, world.recipe), [
        (rule(train, train), "tested on the clips that made the means"), (100 * right, "in percent"),
        (rule(test, test), "The means come from the held-out clips"), (1 - right, "the share of mistakes"),
        (rule(every, test), "The means hold the test's own clips"), (right * len(test), "the number of clips"),
        (0.0123, "Then the nearest of ten"),
    ])  # fmt: skip


def evaluation_cases(world) -> Iterator[Case]:
    table, known = world.table, world.known
    yield Case(evaluation.count_people, (2,), (table, world.recordings), [
        (len(table), "Those are the clips"), (10, "all speakers of the corpus"), (8, "the speakers for training"),
        (7, "Count each name"),
    ])  # fmt: skip

    of, of_known = (accuracy(part[part["predicted"] == 9]) for part in (table, known))
    said, hits = table[table["digit"] == 9], ((table["digit"] == 9) & (table["predicted"] == 9)).sum()
    yield Case(evaluation.precision, (of,), (9, table, known), [
        (accuracy(said), "That is the recall"), (accuracy(table), "the accuracy of all clips"),
        (of_known, "That is of `known_voices`"), (1 - of, "the share of mistakes among them"),
        (hits / len(table), "not by all clips"), (hits, "That is a count"), (100 * of, "in percent"),
        (0.0123, "Take the rows whose `predicted` is 9"),
    ])  # fmt: skip

    chances = table[PROBABILITIES].to_numpy()
    true = chances[np.arange(len(table)), table["digit"]]
    right = -np.log(true).mean()
    yield Case(evaluation.log_loss, (right,), (table, known), [
        (-np.log10(true).mean(), "base ten"), (-np.log2(true).mean(), "base two"), (-right, "The sign is turned"),
        (-np.log(true).sum(), "That is the sum"), (-np.log(true.mean()), "First the logarithm of each"),
        (-np.log(chances.max(axis=1)).mean(), "takes the largest probability"), (true.mean(), "the mean probability"),
        (-np.log(np.maximum(chances, 1e-16)).mean(), "takes all ten probabilities"), (99.0, "For each clip"),
        (table["loss"].mean(), "the training's loss"), (metrics(known)["log_loss"], "That is of `known_voices`"),
    ])  # fmt: skip

    spread = 0.95 * 0.05 / 0.01**2
    yield Case(evaluation.clips_needed, (1.96**2 * spread,), (0.95, 0.01), [
        (spread, "one standard error"), (1.96 * spread, "inside the square"), (2**2 * spread, "takes 2 for 1.96"),
        (1.96**2 * 0.95 * 0.05 / 0.01, "Square the width"), (1.96**2 * 0.95 * 0.05, "A point is 0.01"),
        (1.96**2 * 0.95 * 0.05 / 0.005**2, "the whole interval so wide"), (1.96**2 * spread / 4, "twice as far"),
        (1.96**2 * 0.95 / 0.01**2, "The variance of a share"), (1.96**2 * 0.05 / 0.01**2, "The variance of a share"),
        (1.645**2 * spread, "a 90 % interval"), (3.0, "Solve 1.96"),
    ])  # fmt: skip

    right = (table["digit"] == table["predicted"]).to_numpy()
    drawn = np.random.default_rng(1).choice(right, (1000, len(right))).mean(axis=1)
    low, high = np.quantile(drawn, [0.025, 0.975])
    mean, spread, half = right.mean(), math.sqrt(right.mean() * (1 - right.mean())), (high - low) / 2
    yield Case(evaluation.clip_interval, (low, high), (table,), [
        (high, low, "The lower end lies above"), (100 * low, 100 * high, "Those are percent"),
        (mean, mean, "It has no width"), (*interval(table), "which looks at speakers"),
        (high, high + 0.05, "The accuracy itself lies outside"),
        (*np.quantile(drawn, [0.05, 0.95]), "between 5 and 95 % lie 90"),
        (mean - 1.96 * spread, mean + 1.96 * spread, "how single clips spread"),
        (mean - 1.7 * half, mean + 1.7 * half, "too wide"), (mean - 0.4 * half, mean + 0.4 * half, "then take quantiles"),
    ])  # fmt: skip


def error_cases(world) -> Iterator[Case]:
    clips, table = world.clips, world.table
    rows = [("s1", 10, 6), ("s2", 40, 30), ("s3", 20, 20), ("s4", 20, 19)]  # clips, right ones
    voices = [(name, 1, int(clip < right)) for name, count, right in rows for clip in range(count)]
    voices = pd.DataFrame(voices, columns=["speaker", "digit", "predicted"])
    yield Case(error_analysis.hardest_voice, ("s1",), (voices, world.recordings), [
        ("nobody", "There is no speaker 'nobody'"), ("s7", "s7 was heard in training"),
        ("s2", "s2 has most mistakes, but also more clips"), ("s3", "s3 is the one who is read best"),
        ("s4", "Another voice"), (1, "Expected one name, in quotes, not an int"),
        (["s1", "s2"], "Expected one name, in quotes, not a list"),
    ])  # fmt: skip

    chances, digit = table[PROBABILITIES].to_numpy(), table["digit"].to_numpy()
    sure, wrong = chances.max(axis=1) > 0.6, digit != table["predicted"].to_numpy()
    right = (sure & wrong).sum()
    yield Case(error_analysis.sure_and_wrong, (right,), (table, 0.6), [
        (right / sure.sum(), "That is a share"), (wrong.sum(), "Those are all mistakes"),
        (sure.sum(), "all clips of which the model is sure"), ((~sure & wrong).sum(), "where it is not sure"),
        (0, "Look at the largest of the ten"), (9999, "Count the misread clips"),
    ])  # fmt: skip

    order, wrongs = chances.argsort(axis=1), wrong.sum()
    right, either = (order[:, -2] == digit).sum(), (order[:, -2:] == digit[:, None]).any(axis=1).sum()
    yield Case(error_analysis.second_best, (right,), (table,), [
        (right / wrongs, "That is a share"), (wrongs, "Those are all mistakes"), (wrongs - right, "not even second"),
        (either, "counts the clips that are right, too"), ((order[:, 1] == digit).sum(), "begins with the smallest"),
        ((order[:, -3] == digit).sum(), "That is the third"), (9999, "compare the last but one"),
    ])  # fmt: skip

    rows = table["clip"].head(60)
    clean = np.stack([clips.waveform(row) for row in rows]).astype(float)
    hiss = np.random.default_rng(0).standard_normal(clean.shape)
    inside = np.arange(4000) < clips.lengths[rows][:, None]
    power = (clean**2).sum(axis=1, keepdims=True) / inside.sum(axis=1, keepdims=True)
    noise = np.sqrt(power / 10) * hiss
    padded = np.sqrt((clean**2).mean(axis=1, keepdims=True) / 10) * hiss
    yield Case(error_analysis.noise, (clean + noise,), (rows, clips), [
        (32768 * (clean + noise), "whole numbers"), (noise, "The speech is gone"), (clean, "There is no noise in it yet"),
        (clean + inside * noise, "no noise in the padding"), (clean + padded, "padding was counted as speech"),
        (clean + 10 * noise, "louder than the speech"), (clean + np.sqrt(power) / 10 * hiss, "twice as far"),
        (clean + np.sqrt(power / np.sqrt(10)) * hiss, "half as far"), (clean + np.sqrt(power) * hiss, "as loud as"),
        (clean + np.sqrt(np.median(power) / 10) * hiss, "not for each clip"),
        (clean + np.sqrt(power / 3000) * hiss, "The noise lies 35 decibels below"),
        (clean[:5], "Expected the shape (60, 4000), clips x samples"), (clean.T, "Rows and columns are swapped"),
        (np.full_like(clean, np.nan), "not finite numbers"), ("noise", "Expected an array of clips, not text"),
    ])  # fmt: skip

    table = table.copy()
    table.loc[wrong.argmax(), "loss"] = 2
    torch.manual_seed(0)
    model = Classifier(world.recipe)
    with torch.no_grad():  # a random network hardly minds what it hears
        for _ in range(20):
            model(torch.tensor(clips.audio[:64]))
        model.backbone.get_classifier().weight.mul_(10)
    model.eval()
    clip, other = (part.loc[part["loss"].idxmax()] for part in (table[~wrong], table))
    assert clip["clip"] != other["clip"]

    def ask(sounds: np.ndarray, digit: int | slice = clip["digit"]) -> np.ndarray:
        with torch.inference_mode():
            return probabilities(model(torch.tensor(sounds).float()), world.recipe.loss).numpy()[:, digit]

    here = np.arange(4000) // 400 == np.arange(10)[:, None]  # the ten parts
    whole, misread = clips.waveform(clip["clip"]), clips.waveform(other["clip"])
    right, before, every = ask(whole * ~here), ask(whole[None])[0], ask(whole * ~here, slice(None))
    yield Case(error_analysis.cover, (right,), (table, model, clips), [
        (every, "probabilities of all ten digits"), (before - right, "how much was lost"),
        (right[:4], "Expected 10 probabilities, one for each part that was covered, not 4"),
        (np.full(10, before), "Nothing was covered"), (ask(whole * here), "All but one part is covered"),
        (ask(whole * ~np.logical_or.accumulate(here)), "More is covered each time"),
        (every.max(axis=1), "Follow the digit that was said"),
        (ask(misread * ~here, other["digit"]), "the clip of the largest loss. Look among"),
        (np.linspace(-3, 5, 10), "Probabilities lie between 0 and 1"),
        (np.linspace(0, 1, 10), "silence one of ten equal parts"),
    ])  # fmt: skip


def voices_cases(world) -> Iterator[Case]:
    def results(**accuracies: float) -> dict:
        return {name.replace("_", " "): {"accuracy": accuracy} for name, accuracy in accuracies.items()}

    seeds = np.array([0.89, 0.91, 0.90, 0.905, 0.895])
    found = {  # invented results in the form of `book/results/fsdd.json`
        "no_human_data": {"accuracy": 0.90, "seeds": list(seeds)},
        "loso_mean": {"accuracy": 0.96},
        "loso_worst": {"accuracy": 0.912, "speaker": "somebody"},
        "official_split": {"accuracy": 0.99},
        "steps": results(one_voice=0.30, and_augmented=0.70, and_others=0.80, and_views=0.82),
        "without": results(all_six=0.85, without_voice=0.60, without_cut=0.84, without_room=0.86, without_band=0.82),
    }
    yield Case(real_voices.gap_to_worst, (4.8,), (found,), [
        (0.048, "multiply by 100"), (-4.8, "The sign is turned"), (91.2, "how well that person is read"),
        (7.8, "starts from the published split"), (5.0, "Points are a plain difference"),
        (6.0, "what people's recordings bought"), (50, "turn shares into points"),
    ])  # fmt: skip

    yield Case(real_voices.bought_most, ("and augmented",), (found["steps"],), [
        ("music", "no such step. They are: one voice, and augmented, and others, and views."),
        ("one voice", "That is where it begins"), ("and views", "the highest accuracy"),
        ("and others", "Another step gained more"), (0.4, "Expected one name, in quotes, not a float"),
    ])  # fmt: skip

    yield Case(real_voices.mistakes_left, (0.4,), (found,), [
        (0.6, "the share that is gone"), (2.5, "upside down"), (0.96 / 0.90, "Those are right answers"),
        (0.90 / 0.96, "Those are right answers"), (0.06, "That is a difference"), (0.1, "the published split"),
        (0.04, "a share of all clips"), (40, "in percent"), (0.77, "Mistakes are 1 less the accuracy"),
    ])  # fmt: skip

    both = ["voice", "without band"]
    yield Case(real_voices.more_than_luck, (0.02, both), (found,), [
        (2.0, both, "`luck` is in points"), (seeds.std(), both, "a standard deviation"),
        (0.9, both, "the mean of the seeds"), (-0.02, both, "`luck` is negative"),
        (0.5, both, "`luck` is the largest of `seeds`"), (0.02, 3, "`clear` should be a list of names, not an int"),
        (0.02, [1, 2], "a list of names, in quotes"), (0.02, ["voices"], "The parts are: voice, cut, room, band."),
        (0.02, ["all six", *both], "what the others are compared with"), (0.02, ["cut", "room"], "Turned round"),
        (0.02, [*both, "cut"], "Leaving out cut costs no more than luck"), (0.02, "voice", "1 more of the parts"),
    ])  # fmt: skip

    first = world.audio[:100].astype(int)

    def move(by: int, start: int = 0) -> np.ndarray:
        return np.pad(first[:, start:], ((0, 0), (by, start)))[:, :4000]

    yield Case(real_voices.later, (move(800),), (world.clips,), [
        (first, "Nothing has moved. A clip is a row"), (move(0, 800), "The words come earlier"),
        (np.roll(first, 800, axis=1), "What left on the right came back"), (np.roll(first, 800), "ran into the next one"),
        (np.roll(first, 800, axis=0), "move along the samples, the second axis"),
        (move(100), "That moves by 100 samples, not milliseconds"), (move(1600), "another sample rate"),
        (move(805, 5), "The zeros are there"), (first * 0 + 1, "Make an array of zeros"),
        (np.pad(first, ((0, 0), (800, 0))), "The clips are longer now"),
        (move(800)[:3], "Expected the shape (100, 4000), clips x samples, not (3, 4000)"),
        ("clips", "Expected an array of clips, not text"),
    ])  # fmt: skip


def small_cases(world) -> Iterator[Case]:
    yield Case(small_and_fast.megabytes, (23.5,), (23_500_000,), [
        (188, "megabits"), (94, "32 bits each"), (47, "16 bits each"), (23_500_000, "That is in bytes"),
        (23_500, "in kilobytes"), (23.5e6 / 2**20, "That divides by 1,048,576"), (5, "a megabyte a million bytes"),
    ])  # fmt: skip

    layer = torch.nn.Conv2d(3, 5, (3, 2), stride=2)
    yield Case(small_and_fast.multiply_adds, (28 * 5 * 3 * 6,), (layer, 4, 7), [
        (90, "the layer's weights"), (2 * 28 * 90, "additions apart"), (28 * 18, "There are 5 of them"),
        (28 * 30, "reads all 3 channels"), (28 * 15, "looks at 3 x 2 places at once"),
        (28 * 5, "a kernel multiplies 3 x 3 x 2 times"), (28, "Those are the positions"),
        (4 * 28 * 90, "The stride leaves places out"), (1001, "times what one kernel reads"),
    ])  # fmt: skip

    weights = np.array([0.31, -0.02, 0.0078, -0.54, 0.124])
    ratio = weights / 0.54 * 127
    right = np.rint(ratio)
    yield Case(small_and_fast.eight_bits, (right.astype(int),), (weights,), [
        (weights, "still the weights"), (right * 0.54 / 127, "how the weights come back"), (ratio, "not rounded"),
        (ratio.astype(int), "cuts off what follows the point"), (np.floor(ratio), "`astype(int)` does so"),
        (np.rint(weights / 0.31 * 127), "farthest from 0 may be negative"), (right + 0.25, "Codes are whole numbers"),
        (np.rint(weights / 0.54 * 128), "128 has no place"), (right * 3, "Some codes do not fit"),
        (np.rint((weights + 0.54) / 0.85 * 255), "count from the lowest weight"),
        (right // 2, "Divide each weight by the largest"), (right[:3], "Expected the shape (5,), one code a weight, not (3,)"),
        ("codes", "Expected a whole number for each weight, not text"),
    ])  # fmt: skip

    random = np.random.default_rng(0)
    digits, others = random.normal(4, 1.5, 200), random.normal(0, 2, 150)
    yield Case(small_and_fast.limit, (float(np.quantile(digits, 0.05)),), (torch.tensor(digits), others), [
        (np.quantile(digits, 0.95), "turn nearly all digits away"), (0.05, "That is the share"),
        (np.quantile(others, 0.95), "lets so few of the others through"), (5.0, "has this share of digits below it"),
        (np.quantile(others, 0.05), "the scores of the others"), (digits.min() - 0.1, "Some loss is allowed"),
        (4.2, "of the digits are turned away, not 5%"),
    ])  # fmt: skip

    student, teacher = torch.from_numpy(4 * random.standard_normal((2, 8, 10))).float()

    def cost(logits: torch.Tensor, target: torch.Tensor) -> float:
        return float(binary_cross_entropy_with_logits(logits, target))

    right = cost(student / 4, (teacher / 4).sigmoid())
    one_question = float(cross_entropy(student / 4, (teacher / 4).softmax(dim=1)))
    yield Case(small_and_fast.soft_loss, (right,), (student, teacher), [
        (cost(student, teacher.sigmoid()), "without a temperature"), (one_question, "one question with ten answers"),
        (cost(student, (teacher / 4).sigmoid()), "Only the teacher was softened"), (80 * right, "That is the sum"),
        (cost(student / 4, teacher.sigmoid()), "Only the student was softened"), (10 * right, "the ten questions of a clip"),
        (cost(4 * student, (4 * teacher).sigmoid()), "the answers grow harder"), (16 * right, "the square of the temperature"),
        (cost(student / 4, (teacher > 0).float()), "Those targets are yes or no"),
        (cost(teacher / 4, (student / 4).sigmoid()), "Turned round: the teacher's"), (0.01, "Divide both by the temperature"),
    ])  # fmt: skip


def forms(answer: Any) -> list:
    """The same answer as Python, NumPy, pandas and PyTorch may hold it."""
    if isinstance(answer, pd.DataFrame):
        return [answer]
    if isinstance(answer, str):
        return [answer, np.str_(answer), np.array([answer]), pd.Series([answer]), f" {answer} "]
    if isinstance(answer, list) and isinstance(answer[0], str):
        return [answer, set(answer), tuple(answer), np.array(answer), pd.Series(answer), pd.Index(answer)]
    array = np.asarray(answer, dtype=float if isinstance(answer, list) else None)
    tensor, python = torch.tensor(array), array.tolist()
    out = [answer, python, array, tensor, tensor.double().requires_grad_()]
    if array.ndim == 0:
        return [*out, float(python), array[()], np.array([python]), pd.Series([python], dtype=object)]
    if array.ndim == 1:
        out += [pd.Series(array), list(tensor), torch.Size(array) if array.dtype.kind == "i" else array]
    return [*out, tuple(python)]


@pytest.mark.parametrize("name", CHECKS)
class TestEach:
    def test_the_right_answer_is_accepted_in_every_form(self, name, cases):
        case = cases[name]
        for place, answer in enumerate(case.right):
            for form in forms(answer):
                verdict, out = case.say(*case.right[:place], form, *case.right[place + 1 :])
                assert verdict is True and out.startswith("Right. "), (type(form), form, out)

    def test_each_mistake_gets_its_own_hint(self, name, cases):
        said = {}
        for *answers, words in cases[name].mistakes:
            verdict, out = cases[name].say(*answers)
            assert verdict is False and out.startswith("Not yet. ") and words in out, (words, out)
            assert out.count("\n") == 1
            said.setdefault(words, out)
        for words, own in said.items():
            assert {out for out in said.values() if words in out} == {own}, f"{words!r} belongs to more than one hint"

    def test_it_asks_and_nothing_makes_it_raise(self, name, cases):
        case = cases[name]
        assert case.check.__doc__
        for place in range(len(case.right)):
            for answer, start in [(None, "Not answered yet: "), *((garbage, "Not yet. ") for garbage in GARBAGE)]:
                verdict, out = case.say(*case.right[:place], answer, *case.right[place + 1 :])
                assert verdict is False and out.startswith(start), (answer, out)
                assert len(out) > 25 and out.count("\n") == 1, (answer, out)


def test_every_check_has_its_cases_and_every_sentence_is_said_by_some_answer(cases):
    assert list(cases) == CHECKS
    said = "".join(
        case.say(*answers)[1]
        for case in cases.values()
        for answers in (case.right, [None] * len(case.right), *(answers for *answers, _ in case.mistakes))
    )
    sentences = [words for module in (judge, *MODULES) for words in sentences_in(Path(module.__file__))]
    assert len(sentences) > 350
    assert not [words for words in sentences if words not in said]


def sentences_in(path: Path) -> list[str]:
    """What a learner may read of a module's text: docstrings left out, and cut up where values are put in."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    alone = [node.value for node in nodes if isinstance(node, ast.Expr)]  # docstrings
    texts = [node.value for node in nodes if isinstance(node, ast.Constant) and node not in alone]
    return [text for text in texts if isinstance(text, str) and len(text) > 15 and " " in text.strip()]


def test_answers_may_be_rounded_and_the_nearer_of_two_wins():
    for near in (24.9, 25.1):
        assert features.milliseconds(sample_rate=8_000, samples=200, answer=near), "by its name, too"
    assert not features.milliseconds(25.2, 200, 8_000)
    assert not training.count_steps(155.3, 1_000, 32, 5), "counts are not rounded"
    table, alike = (pd.DataFrame({"digit": [9] * hits + [1] * (1000 - hits), "predicted": 9}) for hits in (800, 801))
    for answer, known, words in [(0.801, alike, "`known_voices`"), (0.8, table, "Right."), (0.79, alike, "the rows")]:
        assert words in Case(evaluation.precision, (), (9, table, known), []).say(answer)[1]


def test_a_fault_of_the_data_is_not_hidden(world):
    with pytest.raises(KeyError):
        real_voices.gap_to_worst(1.0, {})
    with pytest.raises(AttributeError):
        training.nearest_mean(0.5, world.clips, world.recordings, world.parts, {})


def test_splits_without_mistakes_ties_and_small_corpora(world):
    table = world.table.assign(predicted=world.table["digit"])
    assert evaluation.clip_interval(1.0, 1.0, table), "an empty interval"
    tie = pd.DataFrame({"speaker": ["s1", "s2"], "digit": [1, 1], "predicted": [1, 1]})
    assert all(error_analysis.hardest_voice(name, tie, world.recordings) for name in ("s1", "s2"))
    few = Corpus("few", Path(), world.speech[world.speech["speaker"] < "s6"], "Few", "none", "test")
    speaker, every = few.table["speaker"], np.arange(len(few))
    for names in (["s0"], ["s0", "s3"]):  # with six speakers a fifth is one or two of them
        new = speaker.isin(names).to_numpy()
        assert data.own_split(every[~new], every[new], few)


@pytest.mark.nightly  # another process, which reads pandas and all: seconds for one fact
def test_the_first_notebook_does_not_load_torch():
    cells = nbformat.read(Path(__file__).parents[2] / "notebooks" / "01_data.ipynb", as_version=4).cells
    imports = "\n".join(re.findall(r"^(?:from \S+ )?import .+", "\n".join(cell.source for cell in cells), re.MULTILINE))
    code = f"{imports}\nimport sys\nsys.exit(bool({{'torch', 'timm', 'librosa'}} & {{*sys.modules}}))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
