"""The study of the model that answers: what an example holds is what it says, nobody who is asked was heard, and the sums are right."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from spokendigits.corpora.corpus import FULL_SCALE
from spokendigits.topics.decoding import BLANK, OTHER, SYMBOLS
from studies import strangers
from studies.strangers import RATE, Examples, Heard, Plan, edits, measure

PEOPLE = [f"p{number}" for number in range(10)]
WORDS = ["bed", "bird", "cat", "dog", "go", "no"]


def rows(corpus: str, home: str, speaker: str, said: list, kind: str = "digit", heard: bool = True) -> list[dict]:
    facts = {"corpus": corpus, "home": home, "speaker": speaker, "kind": kind, "heard": heard, "file": "x.wav"}
    return [facts | {"digit": one if isinstance(one, int) else -1, "word": str(one)} for one in said]


class Small(Heard):
    """A stand-in of the study's shape: each clip is a tone that tells its row, half a second within silence."""

    def __init__(self):
        table = [row for voice in "abc" for row in rows("voices", "voices", voice, list(range(10)))]
        table += [row for voice in "abc" for row in rows("others", "voices", voice, ["bed", "house"], "word")]
        table += rows("others", "voices", "a", ["mouse"], "word", heard=False)
        table += rows("others", "voices", "noise-hum-0", ["hum"] * 3, "noise")
        table += rows("others", "voices", "noise-hum-5", ["hum"] * 3, "noise", heard=False)
        table += [row for person in ("jo", "lu") for row in rows("fsdd", "fsdd", person, list(range(10)))]
        for number, person in enumerate(PEOPLE):
            table += rows("speech_commands", "speech_commands", person, [number])
            table += rows("speech_commands", "speech_commands", person, WORDS, "word")
        table += rows("noises", "speech_commands", "bike", ["bike"] * 2, "noise")
        self.table = pd.DataFrame(table)
        time = np.arange(RATE // 2) / RATE
        self.audio = np.zeros((len(table), RATE), np.int16)
        self.hertz = 300 + 20 * np.arange(len(table))
        for row, hertz in enumerate(self.hertz):
            self.audio[row, 2000 : 2000 + len(time)] = 0.3 * FULL_SCALE * np.sin(2 * np.pi * hertz * time)


@pytest.fixture(scope="module")
def small():
    return Small()


def test_sound_is_found_within_its_silence(small):
    starts, ends = small.bounds.T
    assert np.abs(starts - 2000).max() <= 0.04 * RATE and np.abs(ends - 10_000).max() <= 0.04 * RATE


def loudest(wave: np.ndarray, at: float) -> float:
    """The strongest frequency in the 0.2 seconds around a time."""
    first, length = int((at - 0.1) * RATE), int(0.2 * RATE)
    part = wave[first : first + length] * np.hanning(length)
    return np.abs(np.fft.rfft(part, 4 * RATE)).argmax() / 4


def test_an_example_says_what_is_in_it_and_one_speaker_says_all(small, monkeypatch):
    monkeypatch.setattr(strangers, "TIGHT", 0.0)  # with pauses, so that its words can be told apart here
    monkeypatch.setattr(strangers, "PAUSE", 0.4)
    allowed = small.parts()["final"][0]
    examples = Examples(small, np.flatnonzero(allowed), Plan(batch=32), torch.device("cpu"))
    seen = set()
    for _ in range(4):
        waves, said = examples.batch(several=True)
        assert waves.shape[1] == strangers.STRING * RATE
        for wave, symbols in zip(waves.numpy(), said, strict=True):
            assert 1 <= len(symbols) <= strangers.MOST
            level = np.abs(wave).reshape(-1, RATE // 100).max(axis=1)
            assert level[round(100 * strangers.LATEST[strangers.STRING]) + 1 :].max() == 0, "Augment may make it slower"
            loud = np.flatnonzero(np.diff(level > 0.02 * level.max(), prepend=False, append=False))
            spans = [(first / 100, last / 100) for first, last in loud.reshape(-1, 2)]
            if len(spans) != len(symbols):
                continue  # two that overlap
            found = [int(np.abs(small.hertz - loudest(wave, (first + last) / 2)).argmin()) for first, last in spans]
            table = small.table.iloc[found]
            assert np.where(table["digit"] < 0, OTHER, table["digit"]).tolist() == symbols
            assert allowed[found].all() and table["home"].nunique() == 1
            seen.add(len(symbols))
            if table["home"].iloc[0] != "speech_commands":  # of whom each says few words
                assert table["speaker"].nunique() == 1
    assert len(seen) > 2


def test_single_examples_hold_a_word_or_a_noise_that_is_none(small):
    examples = Examples(small, np.flatnonzero(small.parts()["final"][0]), Plan(batch=400), torch.device("cpu"))
    waves, said = examples.batch(several=False)
    lengths = np.array([len(symbols) for symbols in said])
    assert set(lengths) == {0, 1} and 0.03 < np.mean(lengths == 0) < 0.15
    for wave, symbols in zip(waves.numpy(), said, strict=True):
        loud = np.flatnonzero(np.abs(wave) > 0.3 * np.abs(wave).max())
        row = int(np.abs(small.hertz - loudest(wave, loud.mean() / RATE)).argmin())
        assert (small.table["kind"].iloc[row] == "noise") == (not symbols)
    assert {symbol for symbols in said for symbol in symbols} == set(range(BLANK))


def test_nobody_who_is_asked_was_heard_nor_any_of_the_words(small):
    parts, table = small.parts(), small.table
    assert set(parts) == {"final", "nobody", "fsdd-jo", "fsdd-lu", *(f"words-{fold}" for fold in range(5))}
    asked = np.zeros(len(table), int)
    for name, (hears, asks) in parts.items():
        assert not (hears & asks).any()
        assert not set(table["speaker"][hears]) & set(table["speaker"][asks]), name
        words = set(table["word"][asks & (table["digit"] < 0)])
        assert not words & set(table["word"][hears & (table["digit"] < 0)]), name
        assert not hears[(table["corpus"] == "others") & ~table["heard"]].any(), (
            "words and noises that are kept for tests"
        )
        if name.startswith("words-"):
            assert not hears[table["corpus"] == "noises"].any()
            asked += asks
    assert (asked[(table["corpus"] == "speech_commands") & (table["digit"] >= 0)] == 1).all()
    assert set(table["corpus"][parts["nobody"][0]]) == {"voices", "others"}


def test_edits_are_counted():
    assert [edits("123", said) for said in ("123", "13", "1233", "923", "", "321")] == [0, 1, 1, 1, 3, 2]


def said_of(small, asks: np.ndarray, right: bool = True) -> list[list[float]]:
    """Chances as of a model that knows all, or that takes each digit for the next and each word for a digit."""
    chances = np.full((asks.sum(), SYMBOLS), 0.001)
    for row, digit in enumerate(small.table["digit"][asks]):
        symbol = OTHER if digit < 0 else digit
        chances[row, symbol if right else (symbol + 1) % 10] = 0.98
    return (chances / chances.sum(axis=1, keepdims=True)).tolist()


def test_what_is_measured_is_what_the_parts_say(small):
    noises = np.flatnonzero(small.table["kind"] == "noise")
    said = {}
    for name, (_, asks) in small.parts().items():
        right = name != "fsdd-lu"
        said[name] = {"rows": np.flatnonzero(asks).tolist(), "chances": said_of(small, asks, right)}
        said[name] |= {"noises": noises.tolist(), "noise_chances": np.eye(SYMBOLS)[[BLANK] * len(noises)].tolist()}
    ends = {"connected": {"digits": [1, 2], "chances": np.eye(SYMBOLS)[[1, 3]].tolist()}}
    said["final"]["elsewhere"] = ends | {"strings": [["12", "12"], ["345", "35"]]}
    found = measure(small, said)
    people = found["strangers"]
    assert people["digits"]["accuracy"] == people["likeliest"]["accuracy"] == people["words"]["auroc"]["value"] == 1
    assert people["digits"]["speakers"] == len(PEOPLE)
    assert people["words"]["taken"]["accuracy"] == people["noises"]["taken"]["accuracy"] == 0
    each = {name: score["accuracy"] for name, score in found["fsdd"]["by_speaker"].items()}
    assert each == {"jo": 1.0, "lu": 0.0} and found["fsdd"]["likeliest"]["accuracy"] == 0.5
    assert found["elsewhere"]["connected"] == {"right": 0.5, "clips": 2}
    assert found["strings"] == {"recordings": 2, "digits": 5, "edits": 1, "whole": 1}
    # A word that is taken for a digit by one fold's model is counted.
    words = next(
        name for name in said if name.startswith("words-") and (small.table["digit"].iloc[said[name]["rows"]] < 0).any()
    )
    rest = np.flatnonzero(small.table["digit"].iloc[said[words]["rows"]] < 0)
    said[words]["chances"][rest[0]] = np.eye(SYMBOLS)[3].tolist()
    again = measure(small, said)["strangers"]["words"]
    assert again["taken"]["accuracy"] * again["taken"]["clips"] == pytest.approx(1) and again["auroc"]["value"] < 1


def test_a_part_is_taught_once_and_again_if_the_plan_is_another(small, tmp_path, monkeypatch):
    taught = []

    def teach(examples, plan, progress):
        taught.append(plan)
        return strangers.Spotter().eval()

    monkeypatch.setattr(strangers, "teach", teach)
    monkeypatch.setattr(strangers, "read_audio", lambda file, rate: np.zeros(rate, np.float32))
    monkeypatch.setattr(strangers, "elsewhere", lambda spotter: {})
    one = strangers.work(small, "fsdd-jo", tmp_path, progress=False)
    assert one == strangers.work(small, "fsdd-jo", tmp_path, progress=False) and len(taught) == 1
    assert len(one["chances"]) == 10 and len(one["noise_chances"]) == 3
    monkeypatch.setattr(strangers, "Plan", lambda: replace(Plan(), steps=7))
    strangers.work(small, "fsdd-jo", tmp_path, progress=False)
    assert [plan.steps for plan in taught] == [Plan().steps, 7]


@pytest.mark.parametrize("rate", [0.0, 0.0003])
def test_the_embedding_moves_only_if_it_may(small, rate):
    examples = Examples(small, np.flatnonzero(small.parts()["final"][0]), Plan(batch=6), torch.device("cpu"))
    before = strangers.Spotter().embedding.layers.state_dict()
    spotter = strangers.teach(examples, Plan(steps=2, batch=6, embedding_rate=rate), progress=False)
    moved = [not torch.equal(value, before[name]) for name, value in spotter.embedding.layers.state_dict().items()]
    assert all(moved) if rate else not any(moved)
    assert not spotter.training
