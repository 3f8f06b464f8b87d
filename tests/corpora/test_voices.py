"""The corpus of many voices: whatever programs are there, whole or not at all, the same again."""

import stat
import sys

import numpy as np
import pytest
import soundfile

from spokendigits import corpora
from spokendigits.corpora import espeak, voices
from spokendigits.errors import CourseError
from spokendigits.files import sha256

# Speaks as flite does: a tone whose pitch and length follow the settings, or nothing for a voice that cannot say a word.
STAND_IN = """#!{python} -SE
import math, struct, sys
given = sys.argv[1:]
if given == ["-lv"]:
    print("Voices available: tom ann mute")
    sys.exit()
settings = dict(one.split("=") for one in given if "=" in one)
voice, word, path = given[given.index("-voice") + 1], given[given.index("-t") + 1], given[given.index("-o") + 1]
if voice == "mute" and word.startswith("seven"):
    sys.exit()
step = 2 * math.pi * (220 if voice == "ann" else 110) * float(settings["f0_shift"]) / 16000
tone = [round(9000 * math.sin(step * n)) for n in range(int(16000 * 0.4 * float(settings["duration_stretch"])))]
samples = [0] * 4000 + tone + [0] * 4000
data = struct.pack(f"<{{len(samples)}}h", *samples)
header = struct.pack("<4sI8sIHHIIHH4sI", b"RIFF", 36 + len(data), b"WAVEfmt ", 16, 1, 1, 16000, 32000, 2, 16, b"data", len(data))
open(path, "wb").write(header + data)
"""


@pytest.fixture
def programs(tmp_path, monkeypatch):
    """A machine with flite alone, or what stands in for it; four voices of espeak-ng."""
    folder = tmp_path / "bin"
    folder.mkdir()
    program = folder / "flite"
    program.write_text(STAND_IN.format(python=sys.executable))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(voices, "ESPEAK_VOICES", 4)
    flite = voices.ENGINES["flite"]._replace(takes=3)
    monkeypatch.setitem(voices.ENGINES, "flite", flite)
    return folder


def digests(root):
    return {path.relative_to(root).as_posix(): sha256(path) for path in sorted(root.rglob("*.wav"))}


def test_every_program_that_is_there_speaks(programs, tmp_path):
    root = corpora.fetch("voices", root=tmp_path / "voices", progress=False)
    corpus = corpora.read("voices", root)
    assert corpora.verify("voices", root) == []
    counts = corpus.table.groupby("engine")["speaker"].nunique()
    assert counts["flite"] == 2, "a voice that cannot say seven is left out"
    assert 3 <= counts["espeak"] <= 4, "and so is one of espeak-ng's that came out broken"
    assert corpus.synthetic and "synthetic speech" in corpus.label and "flite (2 voices)" in corpus.source
    said = corpus.table.groupby(["speaker", "digit"]).size().unstack()
    assert (said.loc[["flite-ann", "flite-tom"]] == 3).all(axis=None)
    assert not (root / "flite-mute").exists()


def test_the_same_seed_says_the_same_and_a_new_program_makes_it_again(programs, tmp_path):
    first = voices.fetch(tmp_path / "voices", progress=False)
    held = digests(first)
    marker = first / "marker"
    marker.touch()
    voices.fetch(first, progress=False)
    assert marker.is_file(), "a corpus that is there is kept"
    other = voices.fetch(tmp_path / "other", progress=False)
    assert digests(other) == held
    assert digests(voices.fetch(tmp_path / "third", seed=1, progress=False)) != held
    (programs / "flite").unlink()
    voices.fetch(first, progress=False)
    assert not marker.exists() and set(voices.read(first).table["engine"]) == {"espeak"}


def test_takes_differ_in_rate_and_pitch_and_silence_is_gone(programs, tmp_path):
    root = voices.fetch(tmp_path / "voices", progress=False)
    clips = [soundfile.read(path)[0] for path in sorted((root / "flite-tom").glob("*.wav"))]
    seconds = np.array([len(clip) for clip in clips]) / 16000
    assert (seconds > 1 / 1.3 * 0.4 - 0.01).all() and (seconds < 0.4 / 0.8 + 0.01).all()
    assert len(set(seconds.round(4))) > 20
    hertz = np.array([np.abs(np.fft.rfft(clip, 16000)).argmax() for clip in clips])
    assert hertz.min() < 100 and hertz.max() > 122 and hertz.min() >= 92 and hertz.max() <= 131
    assert all(abs(np.abs(clip).max() - 0.9) < 0.01 for clip in clips)


def test_what_is_missing_or_in_the_way_is_said(programs, tmp_path):
    with pytest.raises(CourseError, match="spokendigits fetch voices"):
        voices.read(tmp_path)
    busy = tmp_path / "busy"
    busy.mkdir()
    (busy / "thesis.txt").touch()
    with pytest.raises(CourseError, match="holds something else"):
        voices.fetch(busy, progress=False)
    root = voices.fetch(tmp_path / "voices", progress=False)
    next(root.glob("flite-ann/*.wav")).unlink()
    with pytest.raises(CourseError, match="clips are here"):
        voices.read(root)
    assert corpora.verify("voices", root)


def test_foreign_voices_read_ten_words_and_robots_are_left_out():
    assert all(len(words) == 10 for words in voices.SPELLINGS.values())
    assert {"m1", "f2"} < set(espeak.variants()) and not {"robosoft", "whisper"} & set(espeak.variants())
    languages = {job.voice for job in voices._espeak_jobs(0)}
    assert {"el", "de", "fr", "en-us"} < languages


def test_an_interruption_loses_one_voice_at_most(programs, tmp_path, monkeypatch):
    whole = digests(voices.fetch(tmp_path / "whole", progress=False))
    said, engine = [], voices.ENGINES["flite"]

    def stops(voice, word, manner, path):
        said.append(voice.name)
        if voice.name == "ann" and len([name for name in said if name == "ann"]) == 15:
            raise KeyboardInterrupt
        engine.say(voice, word, manner, path)

    monkeypatch.setitem(voices.ENGINES, "flite", engine._replace(say=stops))
    with pytest.raises(KeyboardInterrupt):
        voices.fetch(tmp_path / "voices", progress=False)
    assert not (tmp_path / "voices").exists()
    said.clear()
    monkeypatch.setitem(
        voices.ENGINES, "flite", engine._replace(say=lambda *given: said.append(given[0].name) or engine.say(*given))
    )
    assert digests(voices.fetch(tmp_path / "voices", progress=False)) == whole
    assert "ann" in said and "tom" not in said
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_program_that_hangs_loses_its_word_only(programs, tmp_path, monkeypatch):
    flite = programs / "flite"
    # Longer than the tests wait; the first take of "tom" alone.
    hang = f"import os, time\nif {{'tom', 'three'}} <= set(given) and not os.path.exists({str(tmp_path / 'hung')!r}):\n    open({str(tmp_path / 'hung')!r}, 'w')\n    time.sleep(60)\n"
    flite.write_text(flite.read_text().replace("settings =", hang + "settings =", 1))
    monkeypatch.setattr(voices, "ENDINGS", [""] * 4)
    monkeypatch.setattr(voices, "SECONDS", 5)
    root = voices.fetch(tmp_path / "voices", progress=False)
    said = voices.read(root).table.groupby(["speaker", "digit"]).size().unstack()
    assert (tmp_path / "hung").exists()
    assert said.loc["flite-tom", 3] == 2 and said.loc["flite-tom"].sum() == 29
    assert said.loc["flite-ann"].sum() == 30


def test_engines_can_be_left_out_into_a_folder_of_their_own(programs, tmp_path, monkeypatch):
    monkeypatch.setenv("SPOKENDIGITS_HOME", str(tmp_path))
    alone = voices.fetch(progress=False, engines=())
    assert alone.name == "voices-espeak" and set(voices.read(alone).table["engine"]) == {"espeak"}
    both = voices.fetch(progress=False)
    assert both != alone and set(voices.read(both).table["engine"]) == {"espeak", "flite"}
    assert voices.read(voices.fetch(progress=False, engines=["flite"])).table["engine"].nunique() == 2


def test_a_new_programs_voices_are_added_and_nothing_is_spoken_twice(programs, tmp_path):
    hidden = (programs / "flite").rename(tmp_path / "flite")
    root = voices.fetch(tmp_path / "voices", progress=False)
    first, other = sorted(root.glob("espeak-*/*.wav"))[:2]
    first.write_bytes(other.read_bytes())  # as a speaker would not say it again
    kept = sha256(first)
    hidden.rename(programs / "flite")
    voices.fetch(root, progress=False)
    assert sha256(first) == kept
    assert set(voices.read(root).table["engine"]) == {"espeak", "flite"}
    assert not list(tmp_path.glob(".voices-*"))


class Kokoro:
    """Stands in for kokoro-onnx's class: a tone for each voice, and what it was asked to say."""

    said: list = []

    def get_voices(self):
        return ["af_one", "bm_two", "ff_three"]

    def get_voice_style(self, name):
        return np.full((510, 1, 256), float(self.get_voices().index(name)), np.float32) + np.arange(510)[:, None, None]

    def create(self, text, voice, speed=1.0, lang="en-us", is_phonemes=False):
        self.said.append((text, voice, is_phonemes))
        return 0.3 * np.sin(np.arange(int(12_000 / speed)) / 9).astype(np.float32), 24_000


def test_kokoros_voices_are_mixed_and_get_accents(programs, tmp_path, monkeypatch):
    model = Kokoro()
    Kokoro.said.clear()
    monkeypatch.setattr(voices, "_kokoro_model", lambda: model)
    monkeypatch.setattr(voices, "_kokoro", lambda: ((name, "en") for name in model.get_voices()))
    monkeypatch.setitem(voices.ENGINES, "kokoro", voices.ENGINES["kokoro"]._replace(voices=voices._kokoro, takes=1))
    monkeypatch.setattr(voices, "BLENDS", 20)
    root = voices.fetch(tmp_path / "voices", progress=False, engines=["kokoro", "blend"])
    table = voices.read(root).table
    blends = table[table["engine"] == "blend"]
    assert 3 <= blends["speaker"].nunique() <= 20 and blends["accent"].nunique() > 3
    assert (blends.groupby("speaker").size() == 10).all(), "one take of each digit"
    phonemes = [(text, style) for text, style, is_phonemes in model.said if is_phonemes]
    assert len(phonemes) == 10 * blends["speaker"].nunique()
    known = {word for words in voices.SOUNDS.values() for word in words}
    assert all(any(text.startswith(word) for word in known) for text, _ in phonemes)
    # Between two voices, and a row or more further on.
    shares = np.array([style[0, 0, 0] for _, style in phonemes])
    assert (shares % 1 != 0).mean() > 0.5 and shares.max() <= 2 + 12 and np.ptp(shares) > 2
