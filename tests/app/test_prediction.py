"""`spokendigits predict`: real digits in recordings of any kind are found and read, and a broken run goes on where it stopped."""

import contextlib
import csv
import errno
import fcntl
import io
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr
from safetensors.numpy import save_file

from spokendigits import evaluation, lanes
from spokendigits.app import cli, prediction
from spokendigits.app.prediction import COLUMNS, Model, find_digits, read_words, recordings
from spokendigits.classifier import Classifier
from spokendigits.clips import fit, read_audio
from spokendigits.corpora import recording
from spokendigits.corpora.corpus import PROBABILITIES
from spokendigits.errors import CourseError
from spokendigits.recipe import Recipe
from spokendigits.topics import vad

ROOT = Path(__file__).resolve().parents[2]
RATE = 16_000
RECIPE = Recipe().but(sample_rate=RATE, f_max=8_000.0)
PI = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9]


@pytest.fixture(scope="session")
def said(fsdd_root) -> list[np.ndarray]:
    """Each digit once, by real people, at 16 kHz: takes in which one word is found."""
    found = []
    for digit in range(10):
        for path in sorted((fsdd_root / "recordings").glob(f"{digit}_*_1*.wav")):
            audio = read_audio(path, RATE)
            if len(vad.find_words(np.pad(audio, RATE), RATE)) == 1 and 0.3 < len(audio) / RATE < 0.8:
                found.append(0.4 * audio / np.abs(audio).max())
                break
    assert len(found) == 10
    return found


class Ear:
    """Stands in for a network: knows the ten recordings of `said` by their spectra. Its score is how alike they are, times 10."""

    def __init__(self, said):
        self.known = np.stack([self.spectrum(fit(audio, RATE)) for audio in said])
        self.heard, self.last = 0, None

    def spectrum(self, clip: np.ndarray) -> np.ndarray:
        power = np.abs(np.fft.rfft(clip * 1.0))[50:3500] ** 2
        bands = np.sqrt(power.reshape(-1, 25).sum(axis=1) + 1e-12)
        return (bands - bands.mean()) / np.linalg.norm(bands - bands.mean())

    def __call__(self, clips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert clips.shape[1:] == (RATE,) and clips.dtype == np.float32 and len(clips) <= prediction.BATCH
        self.heard, self.last = self.heard + len(clips), clips
        alike = np.stack([self.spectrum(clip) for clip in clips]) @ self.known.T
        chances = np.exp(20 * alike)
        return chances / chances.sum(axis=1, keepdims=True), 10 * alike.max(axis=1)


@pytest.fixture
def ear(said):
    return Ear(said)


@pytest.fixture
def model(ear, monkeypatch):
    """What `find_digits` gets for the model "ear.onnx"; without a threshold."""
    monkeypatch.setattr(
        prediction, "load", lambda path, threshold=None, device=None: Model(RECIPE, ear, threshold, Path(path).stem)
    )
    return Model(RECIPE, ear, None, "ear")


def spoken(said, digits: list[int], pause: float = 0.6, seed: int = 0) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """One digit after another at 16 kHz, with a faint hiss between them, and where each is, in seconds."""
    random = np.random.default_rng(seed)
    parts, places, at = [], [], 0
    for digit in digits:
        quiet = 3e-4 * random.standard_normal(round(RATE * random.uniform(pause, 1.5 * pause)))
        parts += [quiet, said[digit]]
        at += len(quiet)
        places.append((at / RATE, (at + len(said[digit])) / RATE))
        at += len(said[digit])
    parts.append(3e-4 * random.standard_normal(RATE // 2))
    return np.concatenate(parts).astype(np.float32), places


def check(found, digits, places) -> None:
    assert [word.digit for word in found] == digits
    for word, (start, end) in zip(found, places, strict=True):
        # The recordings have some silence of their own.
        assert start - 0.07 <= word.start < word.end <= end + 0.07 and word.end - word.start > 0.5 * (end - start)


FORMATS = {
    "8 kHz": (8_000, 1, "wav", "PCM_16"),
    "16 kHz in 24 bits": (16_000, 1, "wav", "PCM_24"),
    "stereo at 44.1 kHz": (44_100, 2, "wav", "PCM_16"),
    "FLAC at 48 kHz": (48_000, 2, "flac", "PCM_24"),
    "six channels": (22_050, 6, "wav", "FLOAT"),
    "Ogg Vorbis": (44_100, 1, "ogg", "VORBIS"),
    "MP3": (44_100, 2, "mp3", "MPEG_LAYER_III"),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_digits_are_read_from_recordings_of_any_kind(said, model, tmp_path, kind):
    rate, channels, suffix, subtype = FORMATS[kind]
    if suffix.upper() not in soundfile.available_formats():
        pytest.skip(f"this libsndfile writes no {suffix}")
    audio, places = spoken(said, PI)
    audio = soxr.resample(audio, RATE, rate)
    # Microphones are not equally near: averaged, they are as the one was.
    shares = np.linspace(0.5, 1.5, channels) if channels > 1 else np.ones(1)
    path = tmp_path / f"pi.{suffix}"
    soundfile.write(path, audio[:, None] * shares, rate, subtype=subtype)
    check(read_words(str(path), model), PI, places)


@pytest.mark.parametrize("block", [recording.BLOCK, 5_003])
def test_digits_are_read_whatever_the_recorder_did(said, model, tmp_path, monkeypatch, block):
    """On one channel alone, one channel upside down, off zero, a header without an end; soft digits too are found then."""
    monkeypatch.setattr(recording, "BLOCK", block)
    audio, places = spoken(said, [6, 1, 4], seed=1)
    soundfile.write(tmp_path / "right.wav", np.stack([np.zeros_like(audio), audio], axis=1), RATE)
    soundfile.write(tmp_path / "upside down.wav", np.stack([audio, -audio], axis=1), RATE)
    soundfile.write(tmp_path / "off zero.wav", audio / 2 + 0.085, RATE)
    soundfile.write(tmp_path / "unfinished.wav", audio, RATE)
    data = bytearray((tmp_path / "unfinished.wav").read_bytes())
    data[4:8] = data[40:44] = bytes(4)
    (tmp_path / "unfinished.wav").write_bytes(data)
    for path in sorted(tmp_path.glob("*.wav")):
        check(read_words(str(path), model), [6, 1, 4], places)
    with open(tmp_path / "unfinished.wav", "rb") as pipe, monkeypatch.context() as patch:
        patch.setattr(sys, "stdin", io.TextIOWrapper(pipe))
        check(read_words("-", model), [6, 1, 4], places)


def test_one_word_in_each_recording_is_a_mode_and_the_default_for_the_shortest(said, ear, model, tmp_path, capsys):
    """As in training: the loudest second, whatever pauses, softness or length the word has."""
    hiss, quiet = 3e-4 * np.random.default_rng(0).standard_normal((2, RATE)), np.zeros(RATE // 4)
    words = {
        "split": np.concatenate([said[8], quiet, said[8][: RATE // 5], hiss[0, : RATE // 2]]),
        "soft": 0.004 * np.pad(said[3], RATE // 2),
        "long": np.pad(np.tile(said[7], 5)[: int(1.8 * RATE)], RATE // 10),
    }
    for name, audio in words.items():
        audio = np.pad(audio, (0, max(0, int(1.6 * RATE) - len(audio))))
        soundfile.write(tmp_path / f"{name}.wav", audio, RATE, subtype="FLOAT")
        many = read_words(str(tmp_path / f"{name}.wav"), model)
        assert len(many) != 1 or many[0].digit is None, "else nothing is to be told"
        (one,) = read_words(str(tmp_path / f"{name}.wav"), model, "one")
        assert np.array_equal(ear.last[0], fit(read_audio(tmp_path / f"{name}.wav", RATE), RATE))
        assert one.digit is not None and (one.start, one.end) == (0, len(audio) / RATE)
    assert find_digits([str(tmp_path)], "ear.onnx", progress=False) == 0
    long, odd = capsys.readouterr().err.splitlines()
    assert long.startswith("note: 1 sounds are longer than 1.5 s") and "a pause of 0.2 s before the next" in long
    assert odd == "note: 3 recordings of at most 3 s gave no single word. If each holds one: --words one."
    assert find_digits([str(tmp_path)], "ear.onnx", progress=False, words="one") == 0
    assert capsys.readouterr().err == ""
    # No longer than a word may be: one word, a breath and all; but silence is none.
    soundfile.write(tmp_path / "brief.wav", np.concatenate([said[1], quiet, 0.2 * said[6][: RATE // 4]]), RATE)
    assert [word.digit for word in read_words(str(tmp_path / "brief.wav"), model)] == [1]
    assert len(read_words(str(tmp_path / "brief.wav"), model, "many")) == 2
    soundfile.write(tmp_path / "hiss.wav", hiss[0], RATE)
    soundfile.write(tmp_path / "silent.wav", hiss[0] / 9, RATE)
    assert read_words(str(tmp_path / "hiss.wav"), model) == read_words(str(tmp_path / "silent.wav"), model, "one") == []
    soundfile.write(tmp_path / "minute.wav", np.tile(hiss[0], 61), RATE)
    with pytest.raises(CourseError, match="61 s long, and no single word"):
        read_words(str(tmp_path / "minute.wav"), model, "one")
    with pytest.raises(CourseError, match=r"unknown --words 'several'.*Known: one, many"):
        find_digits([str(tmp_path)], "ear.onnx", words="several")


def test_an_mp3_in_a_wav_need_not_know_its_length(said, model, tmp_path):
    audio, places = spoken(said, [6, 1], seed=1)
    soundfile.write(tmp_path / "a.mp3", soxr.resample(audio, RATE, 44_100), 44_100, subtype="MPEG_LAYER_III")
    chunks = {
        b"fmt ": struct.pack("<HHIIHHHHIHHH", 0x55, 1, 44_100, 16_000, 1, 0, 12, 1, 2, 417, 1, 1393),
        b"fact": struct.pack("<I", round(len(audio) * 44_100 / RATE) + 5_000),
        b"data": (tmp_path / "a.mp3").read_bytes()[:-1_500],  # the last frames, of silence, are missing
    }
    data = b"".join(name + struct.pack("<I", len(part)) + part for name, part in chunks.items())
    (tmp_path / "a.wav").write_bytes(b"RIFF" + struct.pack("<I", 4 + len(data)) + b"WAVE" + data)
    check(read_words(str(tmp_path / "a.wav"), model), [6, 1], places)


def test_a_minute_and_more_is_read_block_by_block(said, model, tmp_path, monkeypatch):
    """A recording's length does not matter, nor where blocks end: within words, too."""
    digits = PI * 5
    audio, places = spoken(said, digits, pause=0.7)
    assert len(audio) > 60 * RATE
    soundfile.write(tmp_path / "long.flac", soxr.resample(audio, RATE, 44_100), 44_100)
    once = None
    for block in (2**24, 3_001, 2**15):
        monkeypatch.setattr(recording, "BLOCK", block)
        words = read_words(str(tmp_path / "long.flac"), model)
        check(words, digits, places)
        once = once or words
        assert [word.start for word in words] == pytest.approx([word.start for word in once], abs=0.0101)
        assert [word.score for word in words] == pytest.approx([word.score for word in once], abs=0.05)


def test_a_network_hears_a_word_as_clips_are_made(said, ear, model, tmp_path):
    """Of what is longer than a clip it hears the loudest part; 1.4 s may still be a digit."""
    tone = 0.3 * np.sin(np.arange(int(1.3 * RATE)) * np.linspace(0.02, 0.4, int(1.3 * RATE)))
    tone[: RATE // 4] *= 0.1
    path = tmp_path / "word.wav"
    for audio, rate in ((said[7], 22_050), (tone, RATE)):
        soundfile.write(path, soxr.resample(np.pad(audio, RATE), RATE, rate), rate, subtype="FLOAT")
        whole = read_audio(path, RATE)
        (expected,), (word,) = vad.find_words(whole, RATE), read_words(str(path), model)
        assert (word.start, word.end) == pytest.approx((expected.start, expected.end), abs=1e-3)
        clip = fit(whole[round(word.start * RATE) : round(word.end * RATE)], RATE)
        assert np.allclose(ear.last[0], clip, atol=1e-3) and word.digit is not None
        assert word.probabilities == pytest.approx(model.answer(clip[None])[0][0].tolist(), abs=2e-3)


def test_what_scores_below_the_threshold_is_not_a_digit(said, ear, tmp_path):
    audio, _ = spoken(said, [2, 8])
    noise = np.random.default_rng(0).standard_normal(RATE // 2) * 0.1
    soundfile.write(tmp_path / "a.wav", np.concatenate([audio, noise, np.zeros(RATE // 2)]), RATE)
    words = read_words(str(tmp_path / "a.wav"), Model(RECIPE, ear, None, ""))
    assert [word.digit for word in words[:2]] == [2, 8] and words[2].digit is not None, (
        "without a threshold, all are digits"
    )
    between = (words[2].score + min(word.score for word in words[:2])) / 2
    assert words[2].score < between
    refusing = read_words(str(tmp_path / "a.wav"), Model(RECIPE, ear, between, ""))
    assert [word.said for word in refusing] == ["2", "8", "not a digit"]
    assert [word.probabilities for word in refusing] == [word.probabilities for word in words]
    exactly = read_words(str(tmp_path / "a.wav"), Model(RECIPE, ear, words[2].score, ""))
    assert exactly[2].digit is not None, "a score at the threshold passes"


def test_a_sound_longer_than_any_digit_is_none(ear, model, tmp_path, monkeypatch):
    """Without a threshold, too; and an hour of hum is not kept in memory."""
    hum = 0.2 * np.sin(np.arange(70 * RATE) * 0.05)
    soundfile.write(tmp_path / "hum.wav", hum, RATE)
    monkeypatch.setattr(recording, "BLOCK", 2**14)
    tracemalloc.start()
    (word,) = read_words(str(tmp_path / "hum.wav"), model)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert word.digit is None and word.said == "not a digit" and word.end - word.start > 60
    assert ear.heard == 1 and peak < 2_000_000 < hum.nbytes / 4


@pytest.fixture
def folder(said, tmp_path) -> Path:
    """Seven recordings in nested folders, one of them bad, one silent, two words in one; and files that are none."""
    root = tmp_path / "folder"
    names = {"b/2.wav": [2], "b/deep/er/4.flac": [4], "a.wav": [1, 0], "b.wav": [5], 'c, "d".wav': [6], "ü\n.wav": [8]}
    for name, digits in names.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / name, spoken(said, digits, seed=len(name))[0], RATE)
    soundfile.write(root / "b" / "silence.wav", np.zeros(RATE), RATE)
    (root / "b" / "bad.WAV").write_text("no sound")
    (root / "notes.txt").write_text("none")
    (root / ".hidden.wav").write_text("none")
    return root


ORDER = ["a.wav", "b/2.wav", "b/bad.WAV", "b/deep/er/4.flac", "b/silence.wav", "b.wav", 'c, "d".wav', "ü\n.wav"]
SAID = ["1", "0", "2", "not readable", "4", "no speech found", "5", "6", "8"]


def test_folders_are_walked_in_order(folder):
    paths = [str(folder / name) for name in ORDER]
    assert list(recordings([str(folder)])) == paths
    (folder / "b" / "loop").symlink_to(folder)
    (folder / "y.m4a").write_text("what a phone makes")
    (folder / "z.wav").symlink_to(folder / "nowhere")
    os.mkfifo(folder / "zz.wav")
    unread = [str(folder / name) for name in ("y.m4a", "z.wav")]  # and each is said to be none
    assert list(recordings([str(folder)])) == [*paths[:-1], *unread, paths[-1]]
    named = [str(folder / "notes.txt"), "-"]
    assert list(recordings([*named, str(folder / "b")])) == [*named, *paths[1:5]]
    assert list(recordings([paths[0]] * 2)) == paths[:1], "what is named twice in a row comes once"


def test_a_folder_is_read_and_what_is_bad_is_said(folder, model, tmp_path, capsys):
    assert find_digits([str(folder)], "ear.onnx", tmp_path / "out.csv") == 1
    out, err = capsys.readouterr()
    table = pd.read_csv(tmp_path / "out.csv", dtype={"digit": str})
    assert list(table) == COLUMNS and table["digit"].tolist() == SAID
    assert list(dict.fromkeys(table["path"])) == [str(folder / name) for name in ORDER]
    words = table[table["digit"].str.isdigit()]
    chances = words[PROBABILITIES].to_numpy()
    assert "\\n.wav\t" in out and len(out.splitlines()) == len(table) - 1, "a line for each, whatever its name"
    assert chances.sum(axis=1) == pytest.approx(1, abs=1e-4)
    assert chances.argmax(axis=1).tolist() == words["digit"].astype(int).tolist()
    assert chances.max(axis=1) == pytest.approx(words["probability"])
    assert (words["score"] > 9).all() and (words["start"] < words["end"]).all()
    assert table[~table["digit"].str.isdigit()].drop(columns=["path", "digit"]).isna().all(axis=None)
    lines, first = out.splitlines(), words.iloc[0]
    assert lines[0] == f"{first['path']}\t{first['start']:.2f}\t{first['end']:.2f}\t1\t{first['probability']:.4f}"
    assert f"{folder / 'b' / 'silence.wav'}\tno speech found" in lines
    assert "bad.WAV" not in out and "not readable" not in out
    (problem,) = [line for line in err.replace("\r", "\n").splitlines() if "error" in line]
    assert problem.startswith(f"error: {folder / 'b' / 'bad.WAV'}: not readable as audio (")
    assert "8/8" in err, "a bar tells how far it is"
    assert find_digits([str(folder / "b.wav")], "ear.onnx") == 0
    out, err = capsys.readouterr()
    assert out.count("\n") == 1 and out.split("\t")[3] == "5" and err == "", "a file alone has no bar and no table"


@pytest.mark.timeout(60)  # one of them has no end
def test_what_cannot_be_read_is_one_line_each(said, model, tmp_path, capsys, monkeypatch):
    for suffix in ("wav", "flac"):
        soundfile.write(tmp_path / f"whole.{suffix}", spoken(said, PI)[0], RATE)
        data = (tmp_path / f"whole.{suffix}").read_bytes()
        (tmp_path / f"cut.{suffix}").write_bytes(data[: len(data) // 2])
    soundfile.write(tmp_path / "none.wav", np.zeros(0), RATE)
    soundfile.write(tmp_path / "nan.wav", np.where(np.arange(RATE) == 9_000, np.nan, 0.1), RATE, subtype="FLOAT")
    (tmp_path / "empty.wav").touch()
    (tmp_path / "nothing").mkdir()
    (tmp_path / "phone.m4a").write_text("what a phone makes")
    (tmp_path / "zero.wav").symlink_to("/dev/zero")
    soundfile.write(tmp_path / "slow.wav", np.ones(44_000) / 2, 16)
    for name, problem in {
        "cut.wav": "truncated",
        "cut.flac": "cut off or damaged",
        "none.wav": "empty",
        "nan.wav": "NaN",
        "empty.wav": "empty (0 bytes)",
        "nothing": "no recordings in this folder",
        "missing.wav": "No such file",
        "x" * 300: "File name too long",
        "phone.m4a": "not readable as audio",
        "zero.wav": "no regular file",
        "slow.wav": "its sample rate is 16 Hz",
    }.items():
        table = tmp_path / f"{name[:20]}.csv"
        assert find_digits([str(tmp_path / name)], "ear.onnx", table, progress=False) == 1
        out, err = capsys.readouterr()
        assert out == "" and err.count("\n") == 1, name
        assert err.startswith(f"error: {tmp_path / name}: ") and problem in err
        assert pd.read_csv(table)["digit"].tolist() == ["not readable"]

    def forbidden(folder):  # root may read all
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "listdir", forbidden)
    assert find_digits([str(tmp_path)], "ear.onnx", progress=False) == 1
    assert capsys.readouterr().err == f"error: {tmp_path}: Permission denied. It is left out.\n"


def test_silence_and_soft_noise_are_no_speech(model, tmp_path, capsys):
    soundfile.write(tmp_path / "silence.wav", np.zeros(3 * RATE), RATE)
    soundfile.write(tmp_path / "noise.wav", 1e-3 * np.random.default_rng(0).standard_normal(3 * RATE), RATE)
    soundfile.write(tmp_path / "short.wav", np.full(50, 0.5), RATE)
    assert find_digits([str(tmp_path)], "ear.onnx", progress=False) == 0
    assert [line.split("\t")[1:] for line in capsys.readouterr().out.splitlines()] == [["no speech found"]] * 3


def test_standard_input_and_pipes_are_recordings(said, model, tmp_path, monkeypatch, capsys):
    audio, places = spoken(said, [9, 0])
    buffer = io.BytesIO()
    soundfile.write(buffer, soxr.resample(audio, RATE, 44_100), 44_100, format="FLAC")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(buffer.getvalue())))
    assert find_digits(["-"], "ear.onnx") == 0
    assert [line.split("\t")[0::3] for line in capsys.readouterr().out.splitlines()] == [["-", "9"], ["-", "0"]]
    os.mkfifo(tmp_path / "pipe")
    writer = threading.Thread(target=(tmp_path / "pipe").write_bytes, args=(buffer.getvalue(),))
    writer.start()
    check(read_words(str(tmp_path / "pipe"), model), [9, 0], places)
    writer.join()
    for given, said in ((io.TextIOWrapper(io.BytesIO(b"")), "empty (0 bytes)"), (None, "standard input is closed")):
        monkeypatch.setattr(sys, "stdin", given)
        assert find_digits(["-"], "ear.onnx") == 1
        assert capsys.readouterr().err == f"error: -: {said}. It is left out.\n"
    blocks = iter([recording.BLOCK] * 9)
    endless = SimpleNamespace(buffer=SimpleNamespace(read=lambda size: bytes(next(blocks))))
    monkeypatch.setattr(recording, "LARGEST", 2 * recording.BLOCK)
    monkeypatch.setattr(sys, "stdin", endless)
    with pytest.raises(CourseError, match="more came through the pipe than a recording can hold"):
        read_words("-", model)


def test_a_table_cut_anywhere_ends_the_same(folder, said, model, ear, tmp_path, capsys):
    """Whatever a kill leaves: the rest is read, no recording before the last is read again, and the status is the same."""
    whole = tmp_path / "whole.csv"
    find_digits([str(folder)], "ear.onnx", whole, progress=False)
    data, heard = whole.read_bytes(), ear.heard
    lines = [at + 1 for at, byte in enumerate(data) if byte == ord("\n")]
    cut = tmp_path / "cut.csv"
    (tmp_path / "cut.csv.json").write_bytes((tmp_path / "whole.csv.json").read_bytes())
    for length in sorted({0, 3, *lines, *(line + 5 for line in lines[:-1]), *range(7, len(data), 61)}):
        cut.write_bytes(data[:length])
        ear.heard = 0
        assert find_digits([str(folder)], "ear.onnx", cut, progress=False) == 1
        assert cut.read_bytes() == data, length
        rows = csv.reader(io.StringIO(data[: data.rfind(b"\n", 0, length) + 1].decode()))
        rows = [row for row in rows if len(row) == len(COLUMNS)]
        kept = [row for row in rows[1:] if row[0] != rows[-1][0] and row[3].isdigit()]
        assert ear.heard == heard - len(kept), "what is whole is not read again"
    with open(whole, "a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(CourseError, match=r"whole\.csv: another process writes this table"):
            find_digits([str(folder)], "ear.onnx", whole, progress=False)
    assert ear.heard <= 1, "a whole table has its last recording read again, and no other"
    assert "continuing" in capsys.readouterr().err
    soundfile.write(folder / "ÿ.wav", spoken(said, [7])[0], RATE)
    find_digits([str(folder)], "ear.onnx", whole, progress=False)
    assert pd.read_csv(whole)["digit"].tolist() == [*SAID, "7"], "recordings that came later are added"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are text")
def test_a_name_that_is_no_text_is_read_and_its_table_continued(said, model, tmp_path, capsys):
    path = os.fsencode(tmp_path) + b"/caf\xe9.wav"
    soundfile.write(path, spoken(said, [7])[0], RATE)
    for _ in range(2):
        assert find_digits([os.fsdecode(path)], "ear.onnx", tmp_path / "out.csv") == 0
        assert capsys.readouterr().out.split("\t")[3] == "7"
    assert (tmp_path / "out.csv").read_bytes().count(b"/caf\xe9.wav,") == 1


def test_a_table_is_continued_only_by_what_began_it(folder, model, tmp_path):
    out = tmp_path / "out.csv"
    find_digits([str(folder)], "ear.onnx", out, threshold=1.0, progress=False)
    held = out.read_bytes()
    for name, threshold, words, why in (
        ("eye.onnx", 1.0, None, "model ear, now eye"),
        ("ear.onnx", None, None, "threshold 1.0, now None"),
        ("ear.onnx", 1.0, "one", "words None, now one"),
    ):
        with pytest.raises(CourseError, match=why):
            find_digits([str(folder)], name, out, threshold, progress=False, words=words)
    with pytest.raises(CourseError, match=r"a\.wav where .*2\.wav comes now"):
        find_digits([str(folder / "b")], "ear.onnx", out, 1.0, progress=False)
    with pytest.raises(CourseError, match="where nothing comes now"):
        find_digits([str(folder / "a.wav")], "ear.onnx", out, 1.0, progress=False)
    assert out.read_bytes() == held
    other = tmp_path / "thesis.csv"
    other.write_text("chapter\n1\n")
    with pytest.raises(CourseError, match=r"no thesis\.csv\.json says what made it"):
        find_digits([str(folder)], "ear.onnx", other, progress=False)
    assert other.read_text() == "chapter\n1\n"
    (tmp_path / "thesis.csv.json").write_bytes((tmp_path / "out.csv.json").read_bytes())
    with pytest.raises(CourseError, match="line 1 is not of this table"):
        find_digits([str(folder)], "ear.onnx", other, threshold=1.0, progress=False)


def test_memory_does_not_grow_with_the_folder(said, model, tmp_path, capsys):
    """Thirty and three hundred recordings take the same."""
    data = io.BytesIO()
    soundfile.write(data, np.pad(said[3], 2_000), RATE, format="WAV")
    for folder, count in (("few", 30), ("many", 300)):
        (tmp_path / folder).mkdir()
        for number in range(count):
            (tmp_path / folder / f"{number:03}.wav").write_bytes(data.getvalue())
    peaks = {}
    for name in ("few", "few", "many"):  # the first one also loads what is loaded once
        tracemalloc.start()
        with capsys.disabled(), open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
            find_digits([str(tmp_path / name)], "ear.onnx", tmp_path / f"{len(peaks)}{name}.csv", progress=False)
        peaks[name] = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peaks["many"] - peaks["few"] < 150_000  # a name in a list takes 150 bytes, a word's answer some 700


# From here on with a trained network, in each form that a reader has it.


@pytest.fixture(scope="module")
def models(trained, exported, rewrite, tmp_path_factory) -> Path:
    """The same network as .safetensors and as .onnx, which holds a threshold that no score reaches."""
    folder = tmp_path_factory.mktemp("models")
    shutil.copy(trained.model, folder / "digits.safetensors")
    rewrite(exported[0] / "digits.onnx", folder / "digits.onnx", threshold=1e6)
    return folder


def test_both_kinds_of_model_answer_alike(models, folder, tmp_path, capsys):
    tables = {}
    for name, options in (("safetensors", []), ("onnx", ["--threshold=-1e6"])):
        command = ["predict", str(folder), "--model", str(models / f"digits.{name}"), *options]
        assert cli.main([*command, "--out", str(tmp_path / f"{name}.csv")]) == 1
        tables[name] = pd.read_csv(tmp_path / f"{name}.csv")
    columns = ["score", *PROBABILITIES]
    assert np.allclose(*(table[columns].dropna() for table in tables.values()), atol=1e-3)
    assert tables["onnx"]["digit"].tolist() == tables["safetensors"]["digit"].tolist()
    capsys.readouterr()
    options = ["--model", str(models / "digits.safetensors"), "--threshold", "1e6"]
    assert cli.main(["predict", str(folder / "b.wav"), *options]) == 0
    assert re.fullmatch(r"not a digit\tscore -?\d+\.\d\d\n", capsys.readouterr().out.split("\t", 3)[3])


def test_a_model_reads_what_its_evaluation_read(trained, people):
    """The same answers to the same recordings, the held-out ones, whole; and nearly so where words are searched for."""
    model, rows = prediction.load(trained.model), trained.parts.validation[::6]
    table = evaluation.predict(Classifier.load(trained.model), trained.clips, people, rows, progress=False)
    paths = [str(people.file(row)) for row in rows]
    for mode in ("one", None):
        read = [read_words(path, model, mode) for path in paths]
        brief = np.array([len(words) == 1 and words[0].start == 0 for words in read])
        same = [words[0].digit == said for words, said in zip(read, table["predicted"], strict=True)]
        assert brief.mean() > 0.98 and np.mean(same) > 0.99
    chances = np.array([read_words(path, model, "one")[0].probabilities for path in paths])
    assert np.abs(chances - table[PROBABILITIES].to_numpy()).max() < 0.02


def test_one_word_stays_one_word(fsdd_root):
    """Recordings of one digit in which a breath after it, or a pause in it, was taken for a second word."""
    model = prediction.load(prediction.find_model())
    for name in ("1_theo_31", "7_theo_37", "8_theo_22"):
        (word,) = read_words(str(fsdd_root / "recordings" / f"{name}.wav"), model)
        assert word.said == name[0]


def test_the_courses_best_model_answers_unless_another_is_named(
    fsdd_root, models, tones, tmp_path, monkeypatch, capsys
):
    path = str(fsdd_root / "recordings" / "7_jackson_3.wav")
    assert cli.main(["predict", path]) == 0
    out, err = capsys.readouterr()
    assert out.split("\t")[3] == "7" and err == "", "it has heard people"
    monkeypatch.setattr(lanes, "shipped", lambda name: tmp_path / name)
    assert cli.main(["predict", path]) == 2 and "is not here. Name one: --model." in capsys.readouterr().err
    # A run's folder, its name under runs/, an export's folder.
    monkeypatch.setenv("SPOKENDIGITS_HOME", str(tmp_path))
    synthetic = Classifier(Recipe.preset("fast").but(backbone="test_resnet.r160_in1k", weights="none"))
    synthetic.save(tmp_path / "runs" / "new" / lanes.MODEL)
    (tmp_path / "runs" / "new" / "run.json").write_text("{}")
    for name in (str(tmp_path / "runs/new"), "new"):
        assert prediction.find_model(name) == tmp_path / "runs" / "new" / lanes.MODEL
    assert prediction.find_model(models) == models / "digits.onnx"
    assert cli.main(["predict", path, "--model", "new"]) == 0
    said = "note: this model has heard synthetic voices alone (synthetic). It may misread people.\n"
    assert capsys.readouterr().err == said
    assert (
        cli.main(["predict", path, "--model", "old"]) == 2 and "old: no trained classifier" in capsys.readouterr().err
    )


def test_what_answers_without_numbers_is_refused(models, exported, rewrite, tmp_path, capsys):
    network = Classifier.load(models / "digits.safetensors")
    for value in network.backbone.parameters():
        value.data[:] = np.nan
    network.save(tmp_path / "nan.safetensors")
    for name, weights in {
        "json": "[]",
        "list": '{"recipe": []}',
        "none": '{"recipe": null, "weights": "none"}',
    }.items():
        save_file({}, tmp_path / f"{name}.safetensors", {"spokendigits": weights})
    rewrite(exported[0] / "digits.onnx", tmp_path / "text.onnx", threshold="much")
    rewrite(exported[0] / "digits.onnx", tmp_path / "nan.onnx", threshold=float("nan"))
    for path in (*tmp_path.glob("*.safetensors"), *tmp_path.glob("*.onnx")):
        assert cli.main(["predict", "a.wav", "--model", str(path)]) == 2
        err = capsys.readouterr().err
        assert err.startswith(f"error: {path}: ") and err.count("\n") == 1
    for threshold in ("nan", "inf"):
        assert cli.main(["predict", "a.wav", "--threshold", threshold]) == 2
        assert f"a threshold of {threshold} is no score" in capsys.readouterr().err


QUIET = """
import os, sys, pathlib
told = []
def hook(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.gethostbyname"):
        told.append((event, str(arguments)))
sys.addaudithook(hook)
from spokendigits.app import cli
status = cli.main(sys.argv[1:])
print(status, told, sorted(map(str, pathlib.Path.home().rglob("*"))))
"""


TRAIN = "train --name a --corpus {tones} --set backbone=test_resnet.r160_in1k --set weights=none --set epochs=1"


@pytest.mark.parametrize("command", ["predict {wav}", pytest.param(TRAIN, marks=pytest.mark.slow)])
def test_a_command_asks_nobody_and_leaves_nothing_behind(command, said, tones, tmp_path):
    """ONNX Runtime would write an identity into the reader's home, and tell its makers what runs it."""
    soundfile.write(tmp_path / "a.wav", said[7], RATE)
    (tmp_path / "home").mkdir()
    kept = {name: os.environ[name] for name in ("PATH", "SPOKENDIGITS_HOME")}
    environment = kept | {"HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"}
    line = command.format(wav=tmp_path / "a.wav", tones=tones.root).split()
    done = subprocess.run(
        [sys.executable, "-c", QUIET, *line], capture_output=True, text=True, env=environment, cwd=tmp_path
    )
    assert done.stdout.splitlines()[-1:] == ["0 [] []"], done.stdout + done.stderr


def test_an_exported_model_has_its_own_threshold_and_needs_no_pytorch(models, folder):
    code = (
        "import sys; sys.modules |= {'torch': None, 'sklearn': None}; from spokendigits.app import cli; "
        f"sys.exit(cli.main(['predict', {str(folder / 'a.wav')!r}, '--model', {str(models / 'digits.onnx')!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [line.split("\t")[3] for line in done.stdout.splitlines()] == ["not a digit"] * 2


def test_killed_and_started_again_it_ends_the_same(models, said, tmp_path):
    root = tmp_path / "many"
    root.mkdir()
    for number in range(120):
        audio, _ = spoken(said, [number % 10, number // 10 % 10], seed=number)
        soundfile.write(root / f"{number:03}.wav", audio, RATE)
    (root / "050.wav").write_text("no sound")

    command = ["predict", str(root), "--model", str(models / "digits.onnx"), "--out"]

    def start() -> subprocess.Popen:
        pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen([sys.executable, "-m", "spokendigits", *command, str(tmp_path / "killed.csv")], **pipes)

    def rows(out: str) -> int:
        return (tmp_path / out).read_bytes().count(b"\n") if (tmp_path / out).exists() else 0

    assert cli.main([*command, str(tmp_path / "whole.csv")]) == 1 and rows("whole.csv") == 1 + 2 * 119 + 1
    running = start()
    while rows("killed.csv") < 130 and running.poll() is None:  # past the bad recording
        time.sleep(0.001)
    running.send_signal(signal.SIGKILL)
    assert running.wait() == -signal.SIGKILL and rows("killed.csv") < rows("whole.csv")
    last = start()
    problems = last.stderr.read()
    assert last.wait() == 1, "a bad recording of an earlier start counts"
    assert "continuing" in problems and "050.wav" not in problems
    assert (tmp_path / "killed.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()


@pytest.mark.parametrize(
    ("error", "place", "says"),
    [
        (errno.EACCES, "/elsewhere", "name another place."),
        (errno.EACCES, "here/data/fsdd", "name another place: SPOKENDIGITS_HOME."),
        (errno.EROFS, "out/.a.csv-unfinished-x", "name another place: --out."),
        (errno.EROFS, "temporary/x", "name another place: TMPDIR."),
        (errno.ENOENT, "out", "name another place: --out."),
        (errno.ENOSPC, None, "name another place: --out or SPOKENDIGITS_HOME or TMPDIR."),
        (errno.ENOENT, None, "name another place: --out or SPOKENDIGITS_HOME or TMPDIR."),  # no folder for these
    ],
)
def test_what_the_disk_does_not_allow_names_the_place_that_is_meant(error, place, says, tmp_path, monkeypatch, capsys):
    def refused(options):
        raise OSError(error, os.strerror(error), *([str(tmp_path / place)] if place else []))

    monkeypatch.setenv("SPOKENDIGITS_HOME", str(tmp_path / "here"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    monkeypatch.setitem(cli.COMMANDS, "predict", refused)
    assert cli.main(["predict", "a.wav", "--out", str(tmp_path / "out" / "a.csv")]) == 2
    place = tmp_path / place if place else "disk"
    assert capsys.readouterr().err == f"error: {place}: {os.strerror(error)}. Mend that, or {says}\n"


def test_a_model_that_cannot_be_had_is_said(tmp_path, capsys):
    (tmp_path / "README.md").write_text("A model has other words.")
    for name, why in {
        "no.safetensors": "",
        "no.onnx": "",
        "README.md": "Name another file",
        ".": "",
        "": "empty",
    }.items():
        assert cli.main(["predict", "a.wav", "--model", name and str(tmp_path / name)]) == 2
        err = capsys.readouterr().err
        assert (str(tmp_path / name) if name else "model is") in err and why in err and err.count("\n") == 1


@pytest.mark.skipif(os.name == "nt", reason="of files that are none")
def test_a_name_in_letters_that_the_terminal_has_not_is_printed_all_the_same(models, said, tmp_path):
    audio, _ = spoken(said, [7], seed=0)
    soundfile.write(tmp_path / "7_\u0141ukasz_0.wav", audio, RATE)
    line = [sys.executable, "-m", "spokendigits", "predict", str(tmp_path), "--model", str(models / "digits.onnx")]
    done = subprocess.run(line, capture_output=True, env={**os.environ, "PYTHONIOENCODING": "cp1252"}, check=True)
    assert b"7_\\u0141ukasz_0.wav\t" in done.stdout
    with pytest.raises(CourseError, match="is no file, and a table is continued in one"):
        prediction.find_digits([str(tmp_path)], models / "digits.onnx", "/dev/null")


@pytest.fixture(scope="module")
def spotter():
    return prediction.load(prediction.find_model())


@pytest.fixture(scope="module")
def clear(fsdd_root) -> list[np.ndarray]:
    """Each digit once, by a person who speaks clearly, at 16 kHz and without the silence around it."""
    clips = [read_audio(fsdd_root / f"recordings/{digit}_jackson_3.wav", RATE) for digit in range(10)]
    return [0.4 * audio / np.abs(audio).max() for audio in clips]


def test_the_courses_own_model_reads_a_telephone_number_said_without_a_pause(spotter, clear, tmp_path):
    number = [3, 1, 4, 1, 5, 9, 2, 6]
    # One after another, each with the end of the one before it: no pause that finds words would see.
    audio = np.concatenate([np.zeros(4000), *(clear[digit] for digit in number), np.zeros(4000)])
    soundfile.write(tmp_path / "a.wav", audio, RATE)
    assert len(vad.find_words(audio, RATE)) < len(number)
    found = read_words(str(tmp_path / "a.wav"), spotter)
    assert [word.digit for word in found] == number
    ends = 0.25 + np.cumsum([len(clear[digit]) for digit in number]) / RATE
    middles = (np.append(0.25, ends[:-1]) + ends) / 2
    assert all(word.start - 0.1 < at < word.end + 0.1 for word, at in zip(found, middles, strict=True))
    assert all(1 >= sum(word.probabilities) > 0.5 for word in found)


def test_a_spotter_answers_one_word_when_there_is_one(spotter, clear, tmp_path):
    for digit, audio in enumerate(clear):
        soundfile.write(tmp_path / f"{digit}.wav", audio, RATE)
        (word,) = read_words(str(tmp_path / f"{digit}.wav"), spotter, words="one")
        assert (word.digit, word.start, word.end) == (digit, 0.0, pytest.approx(len(audio) / RATE, abs=1e-3))


def test_a_long_noise_is_no_digit(spotter, tmp_path):
    noise = 0.1 * np.random.default_rng(0).standard_normal(5 * RATE)
    soundfile.write(tmp_path / "a.wav", np.pad(noise, RATE), RATE)
    assert [word.digit for word in read_words(str(tmp_path / "a.wav"), spotter)] == [None]


def test_speech_without_a_pause_is_read_in_pieces_cut_where_it_is_quiet(tmp_path):
    heard = []

    def spot(audio: np.ndarray) -> np.ndarray:
        heard.append(audio)
        return np.log(np.full((3, 12), 1 / 12))

    random, seconds = np.random.default_rng(0), 50
    loud = 0.1 * random.standard_normal(seconds * RATE)
    loud[19 * RATE : 19 * RATE + 800] *= 0.2  # no pause, but quieter
    soundfile.write(tmp_path / "a.wav", loud, RATE)
    read_words(str(tmp_path / "a.wav"), Model(RECIPE, None, None, "", spot))
    lengths = [len(audio) / RATE for audio in heard]
    assert max(lengths) <= prediction.PIECE and sum(lengths) == pytest.approx(seconds, abs=0.1)
    assert lengths[0] == pytest.approx(19.0, abs=0.06)


def test_a_guess_is_named_as_one(monkeypatch, said, tmp_path, capsys):
    chances = np.full(12, 0.3 / 11)
    chances[3] = 0.4
    chances[10] = 0.3
    monkeypatch.setattr(prediction.decoding, "one_word", lambda logarithms: chances / chances.sum())
    sure = Model(RECIPE, None, -5.0, "", lambda audio: np.log(np.full((3, 12), 1 / 12)))
    monkeypatch.setattr(prediction, "load", lambda *arguments: sure)
    soundfile.write(tmp_path / "a.wav", said[3], RATE)
    assert find_digits([str(tmp_path / "a.wav")], tmp_path / "x.onnx") == 0
    out = capsys.readouterr()
    assert "\t3\t0.4" in out.out and out.err == "note: 1 digits are guesses, with a chance below 0.5.\n"
