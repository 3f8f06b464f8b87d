"""Self-checks of notebook 5, Hear the mistakes."""

from functools import partial
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from spokendigits.checks import judge
from spokendigits.checks.judge import Lesson, Table, check, whole_number
from spokendigits.clips import Clips
from spokendigits.corpora.corpus import FULL_SCALE, PROBABILITIES, Corpus
from spokendigits.evaluation import mistakes, recall_by
from spokendigits.losses import probabilities


@check
def hardest_voice(name: Any, table: pd.DataFrame, recordings: Corpus) -> Table:
    """The speaker of whose clips the largest share was misread."""
    rows = recall_by(table, "speaker")
    recall, misread = rows["recall"], rows["clips"] - rows["right"]
    yield "the name of the new voice that is hardest to read."
    name = judge.one_name(name)
    yield name not in recordings.speakers, f"There is no speaker {name!r} in this corpus."
    yield name not in rows.index, f"{name} was heard in training. Choose among the voices in `table`."
    yield recall[name] == recall.min(), Lesson("An average would have hidden this voice.")
    yield misread[name] == misread.max(), f"{name} has most mistakes, but also more clips. Compare shares."
    yield recall[name] == recall.max(), f"{name} is the one who is read best."
    yield "Another voice has a smaller share of its clips read correctly."


@whole_number
def sure_and_wrong(count: Any, table: pd.DataFrame, level: float = 0.9) -> Table:
    """How many clips were misread with a probability above `level`."""
    chances = table[PROBABILITIES].to_numpy()
    sure, wrong = chances.max(axis=1) > level, (table["digit"] != table["predicted"]).to_numpy()
    right, of_true = (sure & wrong).sum(), chances[np.arange(len(table)), table["digit"]] > level
    yield f"how many clips does the model misread with a probability above {level}?"
    yield right, Lesson("A user sees the probability, but not the truth. Sure and wrong is what nobody notices.")
    yield right / max(1, sure.sum()), "That is a share. Asked is the number of clips."
    yield wrong.sum(), "Those are all mistakes. Take only those where the model is sure."
    yield sure.sum(), "Those are all clips of which the model is sure. Most of them are right."
    yield (~sure & wrong).sum(), "Those are the mistakes where it is not sure."
    yield (of_true & wrong).sum(), "That looks at the true digit's probability. Look at the largest of the ten."
    yield "The largest of the ten probabilities says how sure it is. Count the misread clips where that is above the level."


@whole_number
def second_best(count: Any, table: pd.DataFrame) -> Table:
    """In how many misread clips the true digit has the second-largest probability."""
    places = table[PROBABILITIES].to_numpy().argsort(axis=1) == table[["digit"]].to_numpy()
    first, third, right, wrong = places[:, 1].sum(), places[:, -3].sum(), places[:, -2].sum(), len(mistakes(table))
    both = right + len(table) - wrong
    yield "of how many misread clips is the true digit the second answer?"
    yield right, Lesson("A mistake that nearly was right needs another cure than one that is far off.")
    yield right / max(1, wrong), "That is a share. Asked is the number of clips."
    yield wrong, "Those are all mistakes. Look at the second-largest probability of each."
    yield both, "That counts the clips that are right, too. Look at the misread ones."
    yield wrong - right, "Those are the mistakes where it is not even second."
    yield first, "`argsort` begins with the smallest. The second-largest is the last but one."
    yield third, "That is the third. The largest is number -1, the second-largest -2."
    yield "Sort the ten probabilities of each row of `wrong`, and compare the last but one with `digit`."


@check
def noise(noisy: Any, rows: np.ndarray, clips: Clips, decibels: float = 10.0) -> Table:
    """Whether white noise was added to clips, so many decibels below the speech of each."""
    rows = np.asarray(rows, int)
    clean = clips.read(rows).astype(float) / FULL_SCALE
    sound = np.arange(clean.shape[1]) < clips.lengths[rows][:, None]
    yield f"the clips with noise {decibels:.0f} decibels below the speech, clips x samples."
    given = judge.array_of(noisy, "an array of clips", clean.shape, "clips x samples")
    infinite = not np.isfinite(given).all()
    yield infinite, "Some samples are not finite numbers. Was a power of 0 divided by?"
    kept, added = (given * clean).sum() / (clean**2).sum(), given - clean
    yield kept > 100, "Those are the files' whole numbers. `clips.waveform` gives samples between -1 and 1."
    yield abs(kept) < 0.1, "The speech is gone: add the noise to it."
    power = (added**2).mean(axis=1)
    yield (power < 1e-12).all(), "There is no noise in it yet."
    padding = ~sound & (sound.sum(axis=1, keepdims=True) < clean.shape[1])
    silent = padding.any() and (np.abs(added[padding]) < 1e-9).all()
    yield silent, "There is no noise in the padding. A room is noisy after the word, too."

    # Decibels from the speech of each clip down to the noise, and from the speech with padding counted as such.
    below, below_all = (
        10 * np.log10(np.maximum((clean**2).sum(axis=1) / samples, 1e-20) / np.maximum(power, 1e-20))
        for samples in (sound.sum(axis=1), clean.shape[1])
    )

    def near(wanted: float, below: np.ndarray = below) -> bool:
        return (np.abs(below - wanted) < 0.5).mean() > 0.9

    yield near(decibels), Lesson("Now every clip is as noisy as any other, and their scores can be compared.")
    padded = near(decibels, below_all)
    yield padded, "The padding was counted as speech. Take the power of the recording only: `clips.lengths`."
    yield near(-decibels), "The noise is louder than the speech: divide its power, do not multiply it."
    yield near(2 * decibels), "That is twice as far: scale the noise's power, the square of its amplitude."
    yield near(decibels / 2), "That is half as far: divide the power by ten, the amplitude by its root."
    yield near(0), "The noise is as loud as the speech. Make its power a tenth."
    middle = np.median(below)
    yield abs(middle - decibels) < 3, "About right on average, but not for each clip. Each has a power of its own."
    yield f"The noise lies {middle:.0f} decibels below the speech, not {decibels:.0f}."


@check
def cover(chances: Any, table: pd.DataFrame, model: nn.Module, clips: Clips, parts: int = 10) -> Table:
    """The true digit's probability while each tenth of the most doubtful right clip is silent."""
    yield f"{parts} probabilities of the digit that was said, one for each part covered."
    given = judge.numbers_of(chances)
    of_all = given is not None and given.size == 10 * parts
    yield of_all, "Those are the probabilities of all ten digits. Take the one that was said."
    given = judge.so_many(chances, parts, f"Expected {parts} probabilities, one for each part that was covered")
    same = partial(np.allclose, given, atol=0.005)

    def ask(sounds: np.ndarray) -> np.ndarray:
        device, training = next(model.parameters()).device, model.training
        model.eval()
        with torch.inference_mode():
            logits = model(torch.from_numpy(np.asarray(sounds, np.float32)).to(device)).float().cpu()
        model.train(training)
        return probabilities(logits, model.recipe.loss).numpy()

    def doubtful(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray, int]:
        """The clip of the largest loss [samples], the same with one part silent at a time [parts, samples], its digit."""
        row = table.loc[table["loss"].idxmax()]
        whole = clips.waveform(int(row["clip"]))
        covered = np.repeat(whole[None], parts, axis=0)
        for sound, part in zip(covered, np.array_split(np.arange(len(whole)), parts), strict=True):
            sound[part] = 0
        return whole, covered, int(row["digit"])

    whole, covered, digit = doubtful(table[table["digit"] == table["predicted"]])
    answers, before = ask(covered), ask(whole[None])[0, digit]
    right = answers[:, digit]
    yield same(right), Lesson("Where the number falls most, the model was listening.")
    yield same(before - right), "That is how much was lost. Asked is what is left."
    yield same(np.full(parts, before)), "Nothing was covered: set a part of a copy to 0."
    more_and_more = whole * np.minimum.accumulate(covered != 0, axis=0)
    yield same(ask(more_and_more)[:, digit]), "More is covered each time. Start from a fresh copy."
    yield same(ask(whole - covered)[:, digit]), "All but one part is covered. Turn it round."
    yield same(answers.max(axis=1)), "Those are the largest ones. Follow the digit that was said."
    _, misread, other = doubtful(table)
    worst = same(ask(misread)[:, other])
    yield worst, "That is the clip of the largest loss. Look among those read correctly."
    outside = (given < 0).any() or (given > 1).any()
    yield outside, "Probabilities lie between 0 and 1. `probabilities` makes them of the model's ten numbers."
    yield "Take the clip of the largest loss among those read correctly, and silence one of ten equal parts at a time."
