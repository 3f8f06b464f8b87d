"""The page's model, from corpora to files, on stand-ins: tones for voices and people, noise for other words."""

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import soundfile

from spokendigits.corpora.corpus import Corpus
from spokendigits.errors import CourseError
from spokendigits.files import read_json, sha256
from spokendigits.topics.onnx_reader import load_onnx
from studies import small


def corpus(folder, name: str, speakers: list[str], takes: int, **facts) -> Corpus:
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


VOICES = [f"v{number}" for number in range(10)]


@pytest.fixture
def study(tmp_path, monkeypatch):
    monkeypatch.setattr(small.voices, "fetch", lambda **options: None)
    monkeypatch.setattr(small.others, "fetch", lambda **options: None)
    voices = corpus(tmp_path, "voices", VOICES, 3, engine="espeak", accent="en")
    voices = replace(
        voices, table=voices.table.assign(engine=np.where(voices.table["speaker"] == "v0", "flite", "espeak"))
    )
    refused = corpus(tmp_path, "others", [*VOICES, "noise-0", "noise-1"], 2)
    people = corpus(tmp_path, "fsdd", ["ann", "bob"], 3, gender=pd.NA, accent="USA/neutral")
    monkeypatch.setattr(small.voices, "read", lambda root: voices)
    monkeypatch.setattr(small.others, "read", lambda root: refused)
    monkeypatch.setattr(small.corpora, "load", lambda name, **options: people)
    quick = {"epochs": 1, "batch_size": 16, "warmup_epochs": 0.0}
    monkeypatch.setattr(small, "TEACHER", small.TEACHER.but(backbone="test_resnet.r160_in1k", **quick))
    monkeypatch.setattr(small, "STUDENT", small.STUDENT.but(**quick))
    monkeypatch.setattr(small, "HUMAN", small.HUMAN.but(**quick))
    monkeypatch.setattr(small, "NOISES", ["white"])
    monkeypatch.setattr(small, "CALIBRATION", 20)
    return small.Study(tmp_path / "runs", progress=False)


def test_nobody_who_tests_has_been_heard(study):
    table, parts = study.corpus.table, study.parts
    test, validation, train = (set(table["speaker"].iloc[rows]) for rows in (parts.test, parts.validation, parts.train))
    assert test.isdisjoint(validation) and train.isdisjoint(test | validation) and len(test) == len(validation) == 1
    assert (table["digit"].iloc[np.concatenate([parts.test, parts.validation])] >= 0).all()
    heard = table.iloc[parts.train]
    assert set(heard["corpus"]) == {"voices", "others"}, "people come later"
    assert heard.loc[heard["corpus"] == "others", "heard"].all() and "noise-0" in set(heard["speaker"])
    times = pd.Series(parts.train).value_counts()
    assert (times[table["engine"].iloc[times.index].to_numpy() == "flite"] == small.TIMES).all()
    assert (times[(table["engine"].iloc[times.index] != "flite").to_numpy()] == 1).all()


def test_a_person_left_out_is_in_no_part_of_the_training(study):
    table, parts = study.corpus.table, study.with_people("ann")
    trained = table["speaker"].iloc[parts.train]
    assert "ann" not in set(trained) and set(table["speaker"].iloc[parts.validation]) == {"ann"}
    assert (trained == "bob").sum() == 30 * small.TIMES
    assert set(study.people) <= set(table["speaker"].iloc[study.with_people().train])


def test_a_leaked_voice_is_refused(study, monkeypatch):
    groups = study.groups
    monkeypatch.setattr(study, "groups", [*groups[:-1], np.append(groups[-1], groups[0][0])])
    with pytest.raises(CourseError, match="should be held apart"):
        _ = study.parts


def test_all_of_it_is_made_stored_and_said_in_words(study, tmp_path, monkeypatch):
    (tmp_path / "checkout" / "notebooks").mkdir(parents=True)
    monkeypatch.setattr(runner, "notebooks_folder", lambda: tmp_path / "checkout" / "notebooks")
    monkeypatch.setattr(small, "Study", lambda *args, **options: study)
    small.store()
    results = tmp_path / "checkout" / "book" / "results"
    found, exported = read_json(results / "small.json"), read_json(results / "export.json")
    page = tmp_path / "checkout" / small.PAGE_MODEL
    model = load_onnx(page)
    assert found["made"]["sha256"] == sha256(page) and found["sizes"]["bytes"]["int8"] == page.stat().st_size
    assert model.threshold == pytest.approx(found["rejection"]["threshold"]) and model.recipe == study.final().recipe
    assert found["people"]["small"]["clips"] == 60 == found["int8"]["people"]["clips"]
    for part in ("held_out", "people"):
        quantized = found["int8"][part]
        lost = found[part]["small"]["accuracy"] - quantized["accuracy"]
        assert quantized["lost"]["difference"] == pytest.approx(lost)
    assert found["people_in_training"] == 60 and found["data"]["voices_train"] == 8
    for score in (
        *[found["held_out"][name] for name in ("teacher", "alone", "taught", "small")],
        found["people"]["small"],
    ):
        assert 0 <= score["low"] <= score["accuracy"] <= score["high"] <= 1
    assert {row["model"] for row in found["noise"]} == {"teacher", "taught", "small"}
    assert max(exported["parity"].values()) < 1e-3
    assert {(row["model"], row["precision"]) for row in exported["rows"]} >= {
        ("small", "int8"),
        ("resnet50", "PyTorch"),
    }
    assert all(isinstance(text, str) for text in {**found["prose"], **exported["prose"]}.values())
    json.dumps(found, allow_nan=False)


def test_noise_never_heard_is_told_from_digits(study, monkeypatch):
    """White noise against chords is easy: a rejection that is upside down would show."""
    monkeypatch.setattr(small, "STUDENT", small.STUDENT.but(epochs=8, augment="none", mix_probability=0.0))
    monkeypatch.setattr(small, "HUMAN", small.HUMAN.but(epochs=2, augment="none", mix_probability=0.0))
    found = small._rejection(study, study.final())
    assert found["noise"]["value"] > 0.9 and found["words"]["value"] > 0.9
    assert found["digits_rejected"]["value"] <= 0.3 and found["noises_accepted"]["value"] < 0.3
