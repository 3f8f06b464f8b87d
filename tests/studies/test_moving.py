"""The data of the figures of chapter 5: what they say is what the run's predictions say, and each sound is its clip."""

import base64
import json
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr

from spokendigits import corpora, lanes
from spokendigits.classifier import create
from spokendigits.clips import make_clips
from spokendigits.corpora.corpus import PROBABILITIES
from spokendigits.evaluation import mistakes, predict
from spokendigits.recipe import Recipe
from spokendigits.splits import split
from spokendigits.topics import explain
from studies import moving

pytestmark = pytest.mark.slow

SMALL = {"backbone": "test_resnet.r160_in1k", "weights": "none", "speakers": 6, "takes": 2, "n_mels": 32}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run of a model that has learned nothing, and what is written of it: (its table, clips, corpus, split, its files)."""
    home = tmp_path_factory.mktemp("moving")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPOKENDIGITS_HOME", str(home))
        recipe = Recipe.preset("fast").but(**SMALL, split="speaker", folds=3, fold=0)
        corpus = corpora.load(recipe.corpus, speakers=recipe.speakers, takes=recipe.takes)
        clips, model = make_clips(corpus, recipe), create(recipe)
        parts = split(corpus, recipe.split, recipe.folds, recipe.fold, recipe.seed)
        table = predict(model, clips, corpus, parts.validation, progress=False)
        # As if it had learned: of each word the first take is read rightly. The table is what the figures must follow.
        first = table["take"] == 0
        table.loc[first, "predicted"] = table.loc[first, "digit"]
        (home / "run" / "speaker").mkdir(parents=True)
        model.save(home / "run" / "speaker" / lanes.MODEL)
        table.to_csv(home / "run" / "speaker" / "predictions.csv", index=False)
        moving.write(home / "run", home / "moving")
        known = explain.embeddings(model, clips, corpus, parts.train, progress=False)
        held_out = explain.embeddings(model, clips, corpus, parts.validation, progress=False)
    files = {name: json.loads((home / "moving" / f"{name}.json").read_text()) for name in ("mistakes", "map")}
    sound = soundfile.read(home / "moving" / "voices.mp3")
    return (
        {"table": table, "clips": clips, "corpus": corpus, "parts": parts, "sound": sound}
        | files
        | {
            "held_out": held_out,
            "known": known,
        }
    )


def test_the_words_are_the_worst_mistakes_and_their_twins(made):
    table, words = made["table"].set_index("clip"), made["mistakes"]["words"]
    wrong = mistakes(made["table"])
    misread = [word for word in words if word["said"] != word["read"]]
    assert [word["clip"] for word in misread] == wrong["clip"].head(moving.MOST).tolist()
    assert (made["mistakes"]["clips"], made["mistakes"]["mistakes"]) == (len(table), len(wrong))
    assert len({word["clip"] for word in words}) == len(words)
    for word in words:
        row = table.loc[word["clip"]]
        assert (word["said"], word["read"], word["speaker"]) == (row["digit"], row["predicted"], row["speaker"])
        assert word["chances"] == pytest.approx(row[PROBABILITIES].tolist(), abs=5e-5)
    free = {(word["speaker"], word["read"]) for word in misread}
    right = [word for word in words if word["said"] == word["read"]]
    assert right and all((word["speaker"], word["said"]) in free for word in right)


def test_what_misled_it_is_what_the_chapters_cards_show(made):
    words, table, parts = made["mistakes"]["words"], made["table"], made["parts"]
    rows = [table.index[table["clip"] == word["clip"]][0] for word in words]
    places, distances = explain.nearest(made["held_out"][rows], made["known"], k=moving.NEAR)
    for word, near, apart in zip(words, parts.train[places], distances, strict=True):
        assert [one["clip"] for one in word["near"]] == near.tolist()
        assert [one["distance"] for one in word["near"]] == pytest.approx(apart.tolist(), abs=1e-3)
        for one in word["near"]:
            row = made["corpus"].table.loc[one["clip"]]
            assert (one["digit"], one["speaker"]) == (row["digit"], row["speaker"])


def test_each_sound_is_its_clip(made):
    """As an mp3 keeps it: of the same shape, and not late."""
    sound, rate = made["sound"]
    columns, words = made["map"]["columns"], made["mistakes"]["words"]
    bounds = dict(zip(made["table"]["clip"], columns["bounds"], strict=True))
    for one in (*words, *(near for word in words for near in word["near"])):
        assert bounds.setdefault(one["clip"], one["bounds"]) == one["bounds"]
    clips, ends = made["clips"], sorted(map(tuple, bounds.values()))
    assert all(start - end >= moving.GAP - 1e-3 for (_, end), (start, _) in pairwise(ends))
    for row, (start, end) in bounds.items():
        clip = soxr.resample(clips.waveform(row)[: clips.lengths[row]], clips.sample_rate, rate)
        part = sound[round(start * rate) : round(end * rate)]
        assert len(part) == pytest.approx(len(clip), abs=2)
        alike = np.correlate(part, clip[: len(part)], "full")
        late = int(alike.argmax()) - len(clip[: len(part)]) + 1
        assert abs(late) <= 0.002 * rate, (row, late)
        assert alike.max() / (np.linalg.norm(part) * np.linalg.norm(clip)) > 0.9, row
        assert np.abs(part).max() == pytest.approx(moving.LOUDNESS, rel=0.3)


def test_the_maps_are_those_of_both_embeddings(made):
    told, table = made["map"], made["table"]
    columns, digit, speaker = told["columns"], table["digit"].to_numpy(), table["speaker"].to_numpy()
    assert columns["digit"] == digit.tolist() and columns["read"] == table["predicted"].tolist()
    assert [told["voices"][one] for one in columns["voice"]] == speaker.tolist()
    assert columns["chance"] == pytest.approx(table[PROBABILITIES].max(axis=1).tolist(), abs=5e-5)

    paths = [made["corpus"].root / path for path in table["path"]]
    directions = moving.heard(paths, moving.spotter_model())
    packed = told["maps"]["spotter"]["directions"]
    unpacked = np.frombuffer(base64.b64decode(packed["bytes"]), np.int8).reshape(len(table), -1) * packed["scale"]
    assert np.abs(unpacked - directions).max() <= packed["scale"] / 2 + 1e-9
    for name, embedded in (("chapter", made["held_out"]), ("spotter", directions)):
        points = explain.embedding_map(embedded)
        steps = np.array(told["maps"][name]["points"])
        one = np.ptp(points, axis=0).max() / moving.SIDE  # a step of the map
        assert np.abs(steps * one + points.min(axis=0) - points).max() <= one
        unit = embedded / np.linalg.norm(embedded, axis=1, keepdims=True)
        apart = pd.DataFrame(1 - unit @ unit.T + np.diag(np.full(len(unit), np.inf)))  # no clip is its own neighbour
        others = apart.where(speaker != speaker[:, None])
        assert told["maps"][name]["alike"]["across"] == pytest.approx(
            (digit[others.idxmin(axis=1)] == digit).mean(), abs=1e-4
        )
        nearest = apart.idxmin(axis=1)
        for what, values in (("digit", digit), ("speaker", speaker)):
            assert told["maps"][name]["alike"][what] == pytest.approx((values[nearest] == values).mean(), abs=1e-4)
        if name == "spotter":
            assert told["maps"][name]["apart"] == pytest.approx(others.min(axis=1).tolist(), abs=1e-4)


def test_an_embedding_is_pooled_on_its_usual_scale():
    scales = {"mean": [1.0, 2.0], "spread": [2.0, 1.0]}
    # Means of 8 and 5 are 3.5 and 3 on their scales.
    assert moving.pooled(np.array([[7.0, 6.0], [9.0, 4.0]]), scales) == pytest.approx(
        np.array([3.5, 3]) / np.hypot(3.5, 3)
    )
