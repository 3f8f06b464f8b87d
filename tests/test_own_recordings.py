"""Anybody's own recordings, however odd: the recipe is made to fit, findings need not hold, and every notebook comes to its end."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from spokendigits import corpora, lanes
from spokendigits.checks import expect
from spokendigits.corpora.corpus import Corpus
from spokendigits.publish import runner
from spokendigits.splits import split


def corpus(rows: list[tuple[int, str, int]], name: str = "folder") -> Corpus:
    table = pd.DataFrame(rows, columns=["digit", "speaker", "take"])
    table.insert(0, "path", table.astype(str).agg("_".join, axis=1) + ".wav")
    return Corpus(name, Path("."), table, name, "", "")


def grid(speakers: int, digits: int = 10, takes: int = 1) -> list[tuple[int, str, int]]:
    return [(digit, f"s{who}", take) for who in range(speakers) for digit in range(digits) for take in range(takes)]


@pytest.mark.parametrize(
    ("rows", "honest", "folds", "batch"),
    [
        (grid(20, takes=3), "speaker", 5, 32),
        (grid(3, takes=9), "speaker", 3, 32),
        (grid(2), "speaker", 2, 10),
        (grid(1, takes=3), "random", 5, 24),
        (grid(1, digits=6, takes=2), "random", 5, 10),  # a digit has fewer clips than there are folds
        ([(who % 10, f"s{who}", 0) for who in range(8)], "speaker", 5, 7),  # one clip a speaker
        ([(0, "s0", take) for take in range(40)] + [(1, "s1", 0)], "speaker", 2, 21),  # uneven
    ],
)
def test_the_recipe_fits_a_small_corpus(rows, honest, folds, batch):
    recordings = corpus(rows)
    recipe = lanes.fitted(lanes.recipe("fast", "folder"), recordings)
    assert lanes.honest_split("fast", recordings) == honest
    assert (recipe.folds, recipe.fold, recipe.batch_size) == (folds, folds - 1, batch)
    for how in ("random", honest):
        parts = split(recordings, how, recipe.folds, recipe.fold, recipe.seed)
        assert len(parts.train) >= recipe.batch_size and len(parts.validation)


def test_what_the_course_found_holds_on_its_own_corpora_and_is_said_on_others(capsys):
    own, other = corpus(grid(1), "fsdd"), corpus(grid(1))
    expect(True, "so", own)
    expect(np.True_, "so", other)
    assert capsys.readouterr().out == ""
    with pytest.raises(AssertionError, match="the loss should fall"):
        expect(False, "the loss should fall", own)
    expect(np.False_, "the loss should fall", other)
    assert capsys.readouterr().out == "Other than with the course's own recordings: the loss should fall.\n"


def wrong(rows: list[tuple[int, str, int]]) -> list[tuple[int, str, int, int]]:
    """The same with labels that mean nothing; last in each row the digit that it sounds like."""
    return [((digit * 7 + take * 3) % 10, speaker, 10 * digit + take, digit) for digit, speaker, take in rows]


@pytest.mark.nightly
@pytest.mark.parametrize(
    ("rows", "rate", "seconds", "channels"),
    [
        (grid(1, digits=6, takes=2), 8_000, 0.4, 1),
        ([(who % 10, f"s{who}", 0) for who in range(8)], 16_000, 0.6, 1),
        (grid(2, takes=1), 48_000, 6.0, 2),
        (wrong(grid(4, takes=2)), 22_050, 0.3, 1),
    ],
    ids=[
        "one speaker, twelve clips, digits missing",
        "one clip a speaker",
        "two speakers, long, stereo",
        "wrong labels",
    ],
)
def test_every_notebook_ends(rows, rate, seconds, channels, tmp_path):
    folder = tmp_path / "odd"
    folder.mkdir()
    time, random = np.arange(int(rate * seconds)) / rate, np.random.default_rng(0)
    for number, (digit, speaker, take, *sounds_like) in enumerate(rows):
        pitch = 250 + 150 * (sounds_like or [digit])[0] + 7 * (number % 13)
        sound = 0.3 * np.hanning(len(time)) * sum(np.sin(2 * np.pi * pitch * k * time) / k for k in (1, 2, 3))
        sound += 0.005 * random.standard_normal(len(time))
        soundfile.write(folder / f"{digit}_{speaker}_{take}.wav", np.repeat(sound[:, None], channels, 1), rate)
    assert len(corpora.load(str(folder))) == len(rows)
    run = runner.run(corpus=str(folder))
    assert len(list((run / "notebooks").glob("*.ipynb"))) == 7
