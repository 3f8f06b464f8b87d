"""The corpora of many voices, digits and other words: whatever programs are there, whole or not at all, the same again."""

import numpy as np
import pytest
import soundfile
from speaking import digests, install_kokoro

from spokendigits import corpora
from spokendigits.corpora import engines, espeak, others, voices
from spokendigits.corpora.corpus import join
from spokendigits.errors import CourseError
from spokendigits.files import read_json, sha256

pytestmark = pytest.mark.slow

both = pytest.mark.parametrize("corpus", [voices, others])


@pytest.fixture(autouse=True)
def quick(programs, monkeypatch):
    """Two takes of each noise, of two "speakers": one for training, one for tests."""
    monkeypatch.setattr(others, "NOISE_TAKES", 2)
    monkeypatch.setattr(others, "NOISE_SPEAKERS", 2)
    monkeypatch.setattr(others, "NOISE_HEARD", 1)


def engines_in(corpus, root) -> set[str]:
    return set(corpus.read(root).table["engine"]) - {"noise"}


def test_every_program_that_is_there_speaks_and_each_voice_says_other_words(tmp_path):
    spoken = corpora.read("voices", corpora.fetch("voices", root=tmp_path / "voices", seed=3, progress=False))
    refused = corpora.read("others", corpora.fetch("others", root=tmp_path / "others", seed=3, progress=False))
    for corpus in (spoken, refused):
        assert corpora.verify(corpus.name, corpus.root) == []
        assert corpus.synthetic and "synthetic speech" in corpus.label
    # Digits.
    assert "flite (2 voices)" in spoken.source, "a voice that cannot say seven is left out"
    assert not (spoken.root / "flite-mute").exists()
    counts = spoken.table.groupby("engine")["speaker"].nunique()
    assert 3 <= counts["espeak"] <= 4, "and so is one of espeak-ng's that came out broken"
    said = spoken.table.groupby(["speaker", "digit"]).size().unstack()
    assert (said.loc[["flite-ann", "flite-tom"]] == 3).all(axis=None)
    # Other words, and noises.
    table = refused.table
    assert (table["digit"] == -1).all() and "flite (3 voices)" in refused.source
    words, noises = (table[table["kind"] == kind] for kind in ("word", "noise"))
    assert words["word"].isin(others.WORDS).eq(words["heard"]).all()
    assert words["word"].isin(others.UNHEARD).eq(~words["heard"]).all()
    counts = words.groupby(["speaker", "heard"]).size().unstack()
    assert (counts.loc[["flite-ann", "flite-tom"]] == {True: others.HEARD, False: others.NEW}).all(axis=None)
    assert counts.max().max() <= others.HEARD and len(counts) >= 6
    assert words["word"].nunique() > 30, "each voice draws its own words"
    assert set(noises["word"]) == set(others.NOISES) and set(noises["engine"]) == {"noise"}
    assert (noises.groupby("speaker").size() == 2).all() and noises["speaker"].nunique() == 2 * len(others.NOISES)
    assert noises.groupby("speaker")["heard"].nunique().eq(1).all(), "one speaker's noises are alike"
    assert noises.groupby("word")["heard"].sum().eq(2).all()
    # Split by speaker, no voice that speaks in a test has been heard in training, whatever it says there.
    facts = ["speaker", "engine", "voice", "accent"]
    told = [table[facts].drop_duplicates().set_index("speaker") for table in (spoken.table, words)]
    common = told[0].index.intersection(told[1].index)
    assert len(common) >= 5 and told[0].loc[common].equals(told[1].loc[common])
    assert len(join("all", [spoken, refused])) == len(spoken) + len(refused)


def test_a_voice_of_espeak_that_cannot_say_a_digit_is_left_out(tmp_path, monkeypatch):
    words = list(voices.SPELLINGS["en"])
    monkeypatch.setitem(voices.SPELLINGS, "en", [*words[:4], ",", *words[5:]])
    monkeypatch.setattr(voices, "ENDINGS", [""] * 4)
    said = voices.read(voices.fetch(tmp_path / "voices", progress=False, engines=())).table
    assert said.groupby("speaker").size().to_dict() == {"espeak-000": 20, "espeak-002": 20}


@both
def test_the_same_seed_says_the_same_whatever_happens_on_the_way(programs, tmp_path, corpus, monkeypatch):
    root = tmp_path / "corpus"
    hidden = (programs / "flite").rename(tmp_path / "flite")
    corpus.fetch(root, progress=False)
    assert engines_in(corpus, root) == {"espeak"}
    marker = root / "marker"
    marker.touch()
    assert corpus.fetch(root, progress=False) == root and marker.is_file(), "a corpus that is there is kept"
    # A new program's voices are added, and what was spoken is not spoken again; also after an interruption.
    first, second = sorted(root.glob("espeak-*/*.wav"))[:2]
    original = first.read_bytes()
    first.write_bytes(second.read_bytes())  # as a speaker would not say it again
    kept = sha256(first)
    hidden.rename(programs / "flite")
    flite, said = engines.ENGINES["flite"], []

    def say(voice, *given):
        said.append(voice.name)
        if voice.name == "ann" and said.count("ann") == 10:
            raise KeyboardInterrupt
        flite.say(voice, *given)

    monkeypatch.setitem(engines.ENGINES, "flite", flite._replace(say=say))
    with pytest.raises(KeyboardInterrupt):
        corpus.fetch(root, progress=False)
    assert marker.is_file() and engines_in(corpus, root) == {"espeak"}, "what was there is there"
    said[:] = ["ann"] * 10
    corpus.fetch(root, progress=False)
    assert "ann" in said[10:] and "tom" not in said[10:], "an interruption loses one voice at most"
    assert sha256(first) == kept and engines_in(corpus, root) == {"espeak", "flite"}
    assert not list(tmp_path.glob(".*"))
    first.write_bytes(original)
    assert digests(corpus.fetch(tmp_path / "again", progress=False)) == digests(root)
    other = digests(corpus.fetch(tmp_path / "other", seed=1, progress=False, engines=()))
    assert not set(other.values()) & set(digests(root).values())


def test_takes_differ_in_rate_and_pitch_and_silence_is_gone(tmp_path, monkeypatch):
    monkeypatch.setattr(voices, "ESPEAK_VOICES", 1)
    root = voices.fetch(tmp_path / "voices", progress=False)
    clips = [soundfile.read(path)[0] for path in sorted((root / "flite-tom").glob("*.wav"))]
    seconds = np.array([len(clip) for clip in clips]) / 16000
    assert (seconds > 1 / 1.3 * 0.4 - 0.01).all() and (seconds < 0.4 / 0.8 + 0.01).all()
    assert len(set(seconds.round(4))) > 20
    hertz = np.array([np.abs(np.fft.rfft(clip, 16000)).argmax() for clip in clips])
    assert hertz.min() < 100 and hertz.max() > 122 and hertz.min() >= 92 and hertz.max() <= 131
    assert all(abs(np.abs(clip).max() - 0.9) < 0.01 for clip in clips)


@both
def test_what_is_missing_or_in_the_way_is_said(tmp_path, corpus):
    name = corpus.__name__.rpartition(".")[2]
    with pytest.raises(CourseError, match=f"spokendigits fetch {name}"):
        corpus.read(tmp_path)
    busy = tmp_path / "busy"
    busy.mkdir()
    (busy / "thesis.txt").touch()
    with pytest.raises(CourseError, match="holds something else"):
        corpus.fetch(busy, progress=False)
    root = corpus.fetch(tmp_path / name, progress=False, engines=())
    assert read_json(root / f"{name}.json").keys() == {"recipe", "seed", "espeak", "voices"}
    next(root.glob("espeak-*/*.wav")).unlink()
    with pytest.raises(CourseError, match="clips are here"):
        corpus.read(root)
    assert corpora.verify(name, root)


def test_foreign_voices_read_ten_words_and_robots_are_left_out(monkeypatch):
    monkeypatch.setattr(voices, "ESPEAK_VOICES", 600)
    assert all(len(words) == 10 for words in [*engines.SPELLINGS.values(), *engines.SOUNDS.values()])
    assert {"m1", "f2"} < set(espeak.variants()) and not {"robosoft", "whisper"} & set(espeak.variants())
    assert {"el", "de", "fr", "en-us"} < {voice.accent for voice, _ in voices.espeak_voices(0)}


def test_a_program_that_hangs_loses_its_word_only(programs, tmp_path, monkeypatch):
    flite = programs / "flite"
    # Longer than the tests wait; the first take of "tom" alone.
    hang = f"import os, time\nif {{'tom', 'three'}} <= set(given) and not os.path.exists({str(tmp_path / 'hung')!r}):\n    open({str(tmp_path / 'hung')!r}, 'w')\n    time.sleep(60)\n"
    flite.write_text(flite.read_text().replace("settings =", hang + "settings =", 1))
    monkeypatch.setattr(engines, "ENDINGS", [""] * 4)
    monkeypatch.setattr(engines, "SECONDS", 3)
    said = voices.read(voices.fetch(tmp_path / "voices", progress=False)).table
    said = said.groupby(["speaker", "digit"]).size().unstack()
    assert (tmp_path / "hung").exists()
    assert said.loc["flite-tom", 3] == 2 and said.loc["flite-tom"].sum() == 29
    assert said.loc["flite-ann"].sum() == 30


@both
def test_engines_can_be_left_out_into_a_folder_of_their_own(monkeypatch, corpus):
    monkeypatch.setattr(voices, "ESPEAK_VOICES", 1)
    name = corpus.__name__.rpartition(".")[2]
    for chosen, folder, spoken in (
        ((), f"{name}-espeak", set()),
        (None, name, {"flite"}),
        (["flite"], None, {"flite"}),
    ):
        root = corpus.fetch(progress=False, engines=chosen)
        assert root.name == (folder or f"{name}-espeak-flite") and engines_in(corpus, root) - {"espeak"} == spoken


def test_kokoros_voices_are_mixed_and_get_accents_and_read_english_words(tmp_path, monkeypatch):
    model = install_kokoro(monkeypatch, blends=20)
    table = voices.read(voices.fetch(tmp_path / "voices", progress=False, engines=["kokoro", "blend"])).table
    blends = table[table["engine"] == "blend"]
    assert 3 <= blends["speaker"].nunique() <= 20 and blends["accent"].nunique() > 3
    assert (blends.groupby("speaker").size() == 10).all(), "one take of each digit"
    phonemes = [(text, style) for text, style, is_phonemes in model.said if is_phonemes]
    assert len(phonemes) == 10 * blends["speaker"].nunique()
    known = {word for words in engines.SOUNDS.values() for word in words}
    assert all(any(text.startswith(word) for word in known) for text, _ in phonemes)
    # Between two voices, and a row or more further on.
    shares = np.array([style[0, 0, 0] for _, style in phonemes])
    assert (shares % 1 != 0).mean() > 0.5 and shares.max() <= 2 + 12 and np.ptp(shares) > 2
    model.said.clear()
    table = others.read(others.fetch(tmp_path / "others", progress=False, engines=["blend"])).table
    words = table[table["engine"] == "blend"].groupby("speaker").size()
    assert (words == others.SLOW_HEARD + others.SLOW_NEW).all() and words.sum() >= 9
    assert not any(is_phonemes for *_, is_phonemes in model.said), "English spelling must not be read as phonemes"
