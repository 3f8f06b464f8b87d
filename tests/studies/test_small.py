"""The page's model, from corpora to files, on stand-ins: tones for voices and people, noise for other words."""

import json
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from spokendigits.corpora.corpus import Corpus
from spokendigits.errors import CourseError
from spokendigits.files import read_json, sha256
from spokendigits.topics.onnx_reader import load_onnx
from spokendigits.topics.onnx_writer import FILES
from studies import exports, small

ROOT = Path(__file__).resolve().parents[2]
TINY = {"batch_size": 16, "warmup_epochs": 0.0, "augment": "none", "mix_probability": 0.0}


def stand_in(folder, name: str, speakers: list[str], takes: int, **facts) -> Corpus:
    """Chords, one for each digit, or noise where the corpus is of other words."""
    random = np.random.default_rng(len(name))
    rows = []
    for number, speaker in enumerate(speakers):
        (folder / name / speaker).mkdir(parents=True)
        for digit in range(10):
            for take in range(takes):
                seconds = np.arange(6_000) / 16_000
                tone = np.sin(2 * np.pi * (300 + 300 * digit + 8 * number) * seconds) * (name != "others")
                path = f"{speaker}/{digit}_{speaker}_{take}.wav"
                noise = random.standard_normal(len(seconds))
                soundfile.write(folder / name / path, 0.3 * tone + (0.01 if name != "others" else 0.2) * noise, 16_000)
                rows.append({"path": path, "digit": digit, "speaker": speaker, "take": take, "word": str(digit)})
    table = pd.DataFrame(rows).assign(**facts)
    if name == "others":
        noise = table["speaker"].str.startswith("noise")
        table = table.assign(
            digit=-1,
            kind=np.where(noise, "noise", "word"),
            heard=np.where(noise, table["speaker"] == "noise-0", table["take"] == 0),
        )
    return Corpus(name, folder / name, table, name.title(), "none", "made by the tests", synthetic=name != "fsdd")


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """The corpora, quick recipes, and a checkout for what is stored; nothing is trained before it is asked for."""
    folder, names = tmp_path_factory.mktemp("small"), [f"v{number}" for number in range(10)]
    spoken = stand_in(folder, "voices", names, 3, engine="espeak", accent="en")
    engines = np.where(spoken.table["speaker"] == "v0", "flite", "espeak")
    spoken = replace(spoken, table=spoken.table.assign(engine=engines))
    refused = stand_in(folder, "others", [*names, "noise-0", "noise-1"], 2)
    people = stand_in(folder, "fsdd", ["ann", "bob"], 3, gender=pd.NA, accent="USA/neutral")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPOKENDIGITS_HOME", str(folder))
        for module, corpus in ((small.voices, spoken), (small.others, refused)):
            patch.setattr(module, "fetch", lambda **options: None)
            patch.setattr(module, "read", lambda root, corpus=corpus: corpus)
        patch.setattr(small.corpora, "load", lambda name, **options: people)
        patch.setattr(small, "TEACHER", small.TEACHER.but(backbone="test_resnet.r160_in1k", **TINY, epochs=1))
        patch.setattr(small, "STUDENT", small.STUDENT.but(**TINY, epochs=8))
        patch.setattr(small, "HUMAN", small.HUMAN.but(**TINY, epochs=2))
        patch.setattr(small, "NOISES", ["white"])
        patch.setattr(small, "CALIBRATION", 20)
        patch.setattr(exports, "TURNS", 1)
        networks = small.Networks(folder / "runs", progress=False)
        patch.setattr(small, "Networks", lambda folder: networks)
        patch.setattr(small.lanes, "repository", lambda: folder / "checkout")
        yield networks


def test_nobody_who_tests_has_been_heard(networks):
    table, parts, with_bob = networks.corpus.table, networks.parts, networks.with_people("ann")
    test, validation, train = (set(table["speaker"].iloc[rows]) for rows in (parts.test, parts.validation, parts.train))
    assert test.isdisjoint(validation) and train.isdisjoint(test | validation) and len(test) == len(validation) == 1
    assert (table["digit"].iloc[np.concatenate([parts.test, parts.validation])] >= 0).all()
    heard, times = table.iloc[parts.train], pd.Series(parts.train).value_counts()
    assert set(heard["corpus"]) == {"voices", "others"}, "people come later"
    assert heard.loc[heard["corpus"] == "others", "heard"].all() and "noise-0" in set(heard["speaker"])
    scarce = (table["engine"].iloc[times.index] == "flite").to_numpy()
    assert (times[scarce] == small.TIMES).all() and (times[~scarce] == 1).all() and scarce.any()
    # A person left out is in no part of the training.
    trained = table["speaker"].iloc[with_bob.train]
    assert "ann" not in set(trained) and set(table["speaker"].iloc[with_bob.validation]) == {"ann"}
    assert (trained == "bob").sum() == 30 * small.TIMES
    assert set(networks.people) <= set(table["speaker"].iloc[networks.with_people().train])


def test_a_leaked_voice_is_refused(networks, monkeypatch):
    groups = networks.groups
    monkeypatch.setitem(vars(networks), "groups", [*groups[:-1], np.append(groups[-1], groups[0][0])])
    monkeypatch.delitem(vars(networks), "parts", raising=False)
    with pytest.raises(CourseError, match="should be held apart"):
        _ = networks.parts


@pytest.mark.slow
def test_the_threshold_is_chosen_by_validation_voices_alone(networks, monkeypatch):
    """A clip's score is its row here, so that the scores say which clips are asked."""
    chosen_by, choose, table = [], small.choose_threshold, networks.corpus.table
    monkeypatch.setattr(
        small, "choose_threshold", lambda scores, *given: chosen_by.append(scores) or choose(scores, *given)
    )
    monkeypatch.setattr(type(networks), "final", lambda *given: None)
    monkeypatch.setattr(
        type(networks), "scored", lambda networks, model, rows: table.iloc[rows].assign(score=1.0 * rows)
    )
    assert small.rejection(networks)["threshold"] == choose(1.0 * networks.parts.validation, small.PASS)
    assert len(chosen_by) == 1 and np.array_equal(chosen_by[0], networks.parts.validation)


@pytest.mark.nightly  # seven trainings
def test_all_of_it_is_made_stored_and_said_in_words(networks):
    small.write_results()
    checkout = small.lanes.repository()
    measured, exported = (read_json(checkout / f"book/results/{name}.json") for name in ("small", "export"))
    page = checkout / small.PAGE_MODEL
    model = load_onnx(page)
    assert measured["made"]["sha256"] == sha256(page) and measured["sizes"]["bytes"]["int8"] == page.stat().st_size
    assert model.threshold == pytest.approx(measured["rejection"]["threshold"])
    assert model.recipe == networks.final().recipe
    assert measured["people"]["small"]["clips"] == 60 == measured["int8"]["people"]["clips"]
    for part in ("held_out", "people"):
        in_8_bits = measured["int8"][part]
        lost = measured[part]["small"]["accuracy"] - in_8_bits["accuracy"]
        assert in_8_bits["lost"]["difference"] == pytest.approx(lost)
    assert measured["people_in_training"] == 60 and measured["data"]["voices_train"] == 8
    for score in (*map(measured["held_out"].get, ("teacher", "alone", "taught", "small")), measured["people"]["small"]):
        assert 0 <= score["low"] <= score["accuracy"] <= score["high"] <= 1
    assert {row["model"] for row in measured["noise"]} == {"teacher", "taught", "small"}
    # White noise against chords is easy: a rejection that is upside down would show.
    rejection = measured["rejection"]
    assert rejection["noise"]["value"] > 0.9 and rejection["words"]["value"] > 0.9
    assert rejection["digits_rejected"]["value"] <= 0.3 and rejection["noises_accepted"]["value"] < 0.3
    assert all(isinstance(text, str) for text in {**measured["prose"], **exported["prose"]}.values())
    json.dumps(measured, allow_nan=False)

    # What is stored has the same keys as what the book shows.
    for name, record in (("small", measured), ("export", exported)):
        stored = read_json(ROOT / f"book/results/{name}.json")
        assert stored.keys() == record.keys() and stored["prose"].keys() == record["prose"].keys()
    assert max(exported["parity"].values()) < 1e-3
    rows = {(row["model"], row["precision"]): row for row in exported["rows"]}
    assert list(rows) == [(model, precision) for model in ("resnet50", "small") for precision in ("PyTorch", *FILES)]
    for (model, precision), row in rows.items():
        assert row.keys() == stored["rows"][0].keys() and row["clips"] == 30
        assert row["speedup"] == pytest.approx(rows["resnet50", "PyTorch"]["milliseconds"] / row["milliseconds"])
        assert row["speedup_own"] == pytest.approx(rows[model, "PyTorch"]["milliseconds"] / row["milliseconds"])
        assert row["milliseconds_low"] <= row["milliseconds"] <= row["milliseconds_high"]
        assert row["bytes"] == row["size_mb"] * 1e6 and row["low"] <= row["accuracy"] <= row["high"]
        in_full = rows[model, "PyTorch"]
        assert precision == "int8" or row["accuracy"] == in_full["accuracy"]
        assert row["largest_difference"] == 0 if precision == "PyTorch" else row["largest_difference"] > 0
    assert rows["small", "PyTorch"]["bytes"] == networks.weights("final").stat().st_size
    assert rows["small", "PyTorch"]["accuracy"] == pytest.approx(measured["held_out"]["small"]["accuracy"])
    assert rows["small", "fp32"]["largest_difference"] < 1e-3 < rows["small", "int8"]["largest_difference"]


def test_networks_take_turns_and_the_slower_takes_longer(monkeypatch):
    monkeypatch.setattr(exports, "TURNS", 4)
    order, before = [], torch.get_num_threads()

    def sleeper(name: str, seconds: float):
        def read(waveform):
            assert waveform.shape == (1, 100) and torch.get_num_threads() == 1
            order.append(name)
            time.sleep(seconds)

        return read

    times = exports.latency({"slow": sleeper("slow", 0.02), "fast": sleeper("fast", 0.005)}, np.zeros((3, 100)))
    assert torch.get_num_threads() == before and times["slow"]["median"] > 20 > times["fast"]["median"] > 5
    assert all(0 < taken["low"] <= taken["median"] <= taken["high"] for taken in times.values())
    assert sum(name != following for name, following in pairwise(order)) == 2 * (exports.TURNS + 1) - 1
