"""Self-checks of notebook 5, Hear the mistakes."""

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from spokendigits.checks.judge import Unclear, check_shape, first_true, judge_number, kind_of, numbers_of, one_name, say
from spokendigits.clips import Clips
from spokendigits.corpora.corpus import FULL_SCALE, Corpus
from spokendigits.evaluation import PROBABILITIES, mistakes, recall_by
from spokendigits.losses import probabilities


def hardest_voice(name: Any, table: pd.DataFrame, recordings: Corpus) -> bool:
    """The speaker of whose clips the largest share was misread."""
    rows = recall_by(table, "speaker")
    misread = rows["clips"] - rows["right"]

    def judge(answer: Any) -> tuple[bool, str]:
        given = one_name(answer)
        return first_true(
            [
                (given not in recordings.speakers, f"There is no speaker {given!r} in this corpus."),
                (given not in rows.index, f"{given} was heard in training. Choose among the voices in `table`."),
                (
                    lambda: rows["recall"][given] > rows["recall"].min() and misread[given] == misread.max(),
                    f"{given} has most mistakes, but also more clips. Compare shares.",
                ),
                (
                    lambda: rows["recall"][given] == rows["recall"].max() > rows["recall"].min(),
                    f"{given} is the one who is read best.",
                ),
                (
                    lambda: rows["recall"][given] > rows["recall"].min(),
                    "Another voice has a smaller share of its clips read correctly.",
                ),
            ],
            "An average would have hidden this voice.",
        )

    return say("the name of the new voice that is hardest to read.", name, judge)


def sure_and_wrong(count: Any, table: pd.DataFrame, level: float = 0.9) -> bool:
    """How many clips were misread with a probability above `level`."""
    chances = table[PROBABILITIES].to_numpy()
    sure, wrong = chances.max(axis=1) > level, (table["digit"] != table["predicted"]).to_numpy()
    true = chances[np.arange(len(table)), table["digit"]] > level
    right = int((sure & wrong).sum())
    return judge_number(
        count,
        right,
        f"how many clips does the model misread with a probability above {level}?",
        "A user sees the probability, but not the truth. Sure and wrong is what nobody notices.",
        [
            (right / max(1, sure.sum()), "That is a share. Asked is the number of clips."),
            (wrong.sum(), "Those are all mistakes. Take only those where the model is sure."),
            (sure.sum(), "Those are all clips of which the model is sure. Most of them are right."),
            ((~sure & wrong).sum(), "Those are the mistakes where it is not sure."),
            ((true & wrong).sum(), "That looks at the true digit's probability. Look at the largest of the ten."),
        ],
        "The largest of the ten probabilities says how sure it is. Count the misread clips where that is above the level.",
        near=0,
    )


def second_best(count: Any, table: pd.DataFrame) -> bool:
    """In how many misread clips the true digit has the second-largest probability."""
    order = table[PROBABILITIES].to_numpy().argsort(axis=1)
    digit = table["digit"].to_numpy()
    right, wrong = int((order[:, -2] == digit).sum()), len(mistakes(table))
    return judge_number(
        count,
        right,
        "of how many misread clips is the true digit the second answer?",
        "A mistake that nearly was right needs another cure than one that is far off.",
        [
            (right / max(1, wrong), "That is a share. Asked is the number of clips."),
            (wrong, "Those are all mistakes. Look at the second-largest probability of each."),
            (right + len(table) - wrong, "That counts the clips that are right, too. Look at the misread ones."),
            (wrong - right, "Those are the mistakes where it is not even second."),
            (
                (order[:, 1] == digit).sum(),
                "`argsort` begins with the smallest. The second-largest is the last but one.",
            ),
            ((order[:, -3] == digit).sum(), "That is the third. The largest is number -1, the second-largest -2."),
        ],
        "Sort the ten probabilities of each row of `wrong`, and compare the last but one with `digit`.",
        near=0,
    )


def noise(noisy: Any, rows: Any, clips: Clips, decibels: float = 10.0) -> bool:
    """Whether white noise was added to clips, so many decibels below the speech of each."""
    rows = np.asarray(rows, int)
    clean = clips.read(rows).astype(float) / FULL_SCALE
    sound = np.arange(clean.shape[1]) < clips.lengths[rows][:, None]

    def judge(answer: Any) -> tuple[bool, str]:
        found = numbers_of(answer)
        if found is None:
            raise Unclear(f"Expected an array of clips, not {kind_of(answer)}.")
        check_shape(found, clean.shape, "clips x samples")
        if not np.isfinite(found).all():
            raise Unclear("Some samples are not finite numbers. Was a power of 0 divided by?")
        kept = (found * clean).sum() / (clean**2).sum()
        added = found - clean
        there = np.maximum((added**2).mean(axis=1), 1e-20)
        speech = (clean**2).sum(axis=1) / sound.sum(axis=1)
        below = 10 * np.log10(np.maximum(speech, 1e-20) / there)
        below_all = 10 * np.log10(np.maximum((clean**2).mean(axis=1), 1e-20) / there)
        padding = ~sound & (sound.sum(axis=1, keepdims=True) < clean.shape[1])

        def near(what: np.ndarray, by: float) -> bool:
            return bool((np.abs(what - decibels - by) < 0.5).mean() > 0.9)

        return first_true(
            [
                (kept > 100, "Those are the files' whole numbers. `clips.waveform` gives samples between -1 and 1."),
                (abs(kept) < 0.1, "The speech is gone: add the noise to it."),
                ((there < 1e-12).all(), "There is no noise in it yet."),
                (
                    padding.any() and (np.abs(added[padding]) < 1e-9).all(),
                    "There is no noise in the padding. A room is noisy after the word, too.",
                ),
                (
                    not near(below, 0) and near(below_all, 0),
                    "The padding was counted as speech. Take the power of the recording only: `clips.lengths`.",
                ),
                (
                    near(below, -2 * decibels),
                    "The noise is louder than the speech: divide its power, do not multiply it.",
                ),
                (near(below, decibels), "That is twice as far: scale the noise's power, the square of its amplitude."),
                (
                    near(below, -decibels / 2),
                    "That is half as far: divide the power by ten, the amplitude by its root.",
                ),
                (near(below, -decibels), "The noise is as loud as the speech. Make its power a tenth."),
                (
                    not near(below, 0) and abs(np.median(below) - decibels) < 3,
                    "About right on average, but not for each clip. Each has a power of its own.",
                ),
                (
                    not near(below, 0),
                    f"The noise lies {np.median(below):.0f} decibels below the speech, not {decibels:.0f}.",
                ),
            ],
            "Now every clip is as noisy as any other, and their scores can be compared.",
        )

    return say(f"the clips with noise {decibels:.0f} decibels below the speech, clips x samples.", noisy, judge)


def cover(chances: Any, table: pd.DataFrame, model: nn.Module, clips: Clips, parts: int = 10) -> bool:
    """The true digit's probability while each tenth of the most doubtful right clip is silent."""

    def ask(sounds: np.ndarray) -> np.ndarray:
        device = next(model.parameters()).device
        training = model.training
        model.eval()
        with torch.inference_mode():
            logits = model(torch.from_numpy(np.asarray(sounds, np.float32)).to(device)).float().cpu()
        model.train(training)
        return probabilities(logits, model.recipe.loss).numpy()

    def covered(row: int) -> np.ndarray:
        sounds = np.repeat(clips.waveform(row)[None], parts, axis=0)
        for sound, part in zip(sounds, _tenths(sounds.shape[1], parts), strict=True):
            sound[part] = 0
        return sounds

    def judge(answer: Any) -> tuple[bool, str]:
        found = numbers_of(answer)
        if found is None or found.size != parts:
            if found is not None and found.size == 10 * parts:
                raise Unclear("Those are the probabilities of all ten digits. Take the one that was said.")
            size = kind_of(answer) if found is None else found.size
            raise Unclear(f"Expected {parts} probabilities, one for each part that was covered, not {size}.")
        found = found.reshape(-1)
        read = table[table["digit"] == table["predicted"]]
        clip = read.loc[read["loss"].idxmax()]
        row, digit = int(clip["clip"]), int(clip["digit"])
        whole = clips.waveform(row)
        sounds = covered(row)
        answers = ask(sounds)
        right, before = answers[:, digit], ask(whole[None])[0, digit]

        def same(other: np.ndarray) -> bool:
            return np.allclose(found, other, atol=0.005)

        def worst() -> bool:
            other = table.loc[table["loss"].idxmax()]
            return same(ask(covered(int(other["clip"])))[:, int(other["digit"])])

        def more_and_more() -> bool:
            silent = np.minimum.accumulate(sounds != 0, axis=0)
            return same(ask(whole * silent)[:, digit])

        return first_true(
            [
                (not same(right) and same(before - right), "That is how much was lost. Asked is what is left."),
                (not same(right) and same(np.full(parts, before)), "Nothing was covered: set a part of a copy to 0."),
                (lambda: not same(right) and more_and_more(), "More is covered each time. Start from a fresh copy."),
                (lambda: not same(right) and same(ask(whole - sounds)[:, digit]), "All but one part is covered. Turn it round."),
                (not same(right) and same(answers.max(axis=1)), "Those are the largest ones. Follow the digit that was said."),
                (lambda: not same(right) and worst(), "That is the clip of the largest loss. Look among those read correctly."),
                (
                    (found < 0).any() or (found > 1).any(),
                    "Probabilities lie between 0 and 1. `probabilities` makes them of the model's ten numbers.",
                ),
                (
                    not same(right),
                    "Take the clip of the largest loss among those read correctly, and silence one of ten equal parts at a time.",
                ),
            ],
            "Where the number falls most, the model was listening.",
        )  # fmt: skip

    return say(f"{parts} probabilities of the digit that was said, one for each part covered.", chances, judge)


def _tenths(samples: int, parts: int) -> list[np.ndarray]:
    return np.array_split(np.arange(samples), parts)
