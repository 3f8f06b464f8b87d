"""Reading audio, and the array of clips: right samples, made once, nothing half-made."""

import os
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import soundfile

from spokendigits import clips as module
from spokendigits.clips import fit, make_clips, read_audio
from spokendigits.corpora import fsdd, recording
from spokendigits.corpora.corpus import Corpus
from spokendigits.errors import CourseError
from spokendigits.files import data_folder


def tone(seconds=0.5, rate=22_050, hertz=440.0):
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)


@pytest.mark.parametrize("rate", [8_000, 44_099, 48_000])
def test_a_recording_is_resampled_whole(rate, tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(rate=rate), rate)
    audio = read_audio(tmp_path / "a.wav", 22_050)
    assert audio.dtype == np.float32 and abs(len(audio) - 11_025) <= 1
    assert abs(np.abs(np.fft.rfft(audio)).argmax() * 22_050 / len(audio) - 440) < 3
    assert np.abs(audio[-1_000:]).max() > 0.4, "to its end"


def test_stereo_is_averaged_and_eight_bits_are_read(tmp_path):
    left = tone()
    soundfile.write(tmp_path / "stereo.wav", np.stack([left, np.zeros_like(left)], 1), 22_050)
    assert np.allclose(read_audio(tmp_path / "stereo.wav", 22_050), left / 2, atol=1e-3)
    soundfile.write(tmp_path / "eight.wav", left, 22_050, subtype="PCM_U8")
    assert np.allclose(read_audio(tmp_path / "eight.wav", 22_050), left, atol=0.01)


def unfinished(path, audio, rate):
    """A recorder that lost its power: the header says that there is no sound."""
    soundfile.write(path, audio, rate, subtype="PCM_16")
    data = bytearray(path.read_bytes())
    data[4:8], data[40:44] = b"\x24\0\0\0", b"\0\0\0\0"
    path.write_bytes(data)


FAULTY = {
    "a sound card's constant": lambda path, audio, rate: soundfile.write(path, audio + 0.085, rate),
    "one of each channel": lambda path, audio, rate: soundfile.write(
        path, np.stack([audio - 0.1, audio + 0.05], 1), rate
    ),
    "one channel upside down": lambda path, audio, rate: soundfile.write(path, np.stack([audio, -audio], 1), rate),
    "nearly upside down": lambda path, audio, rate: soundfile.write(path, np.stack([-0.95 * audio, audio], 1), rate),
    "a header without an end": unfinished,
}


@pytest.mark.parametrize("fault", FAULTY)
def test_what_a_recorder_did_wrong_is_put_right(fault, tmp_path):
    """Also where the recording is longer than a block; and what is right stays as it is, bit by bit."""
    for seconds in (0.5, 8.0):
        audio = tone(seconds) * np.hanning(int(seconds * 22_050))
        soundfile.write(tmp_path / "good.wav", audio, 22_050, subtype="FLOAT")
        assert np.array_equal(read_audio(tmp_path / "good.wav", 22_050), audio.astype(np.float32))
        # A voice whose waves lean to one side, between pauses at zero, is a voice.
        lopsided = np.pad(np.abs(audio), len(audio))
        soundfile.write(tmp_path / "lopsided.wav", lopsided, 22_050, subtype="FLOAT")
        assert np.array_equal(read_audio(tmp_path / "lopsided.wav", 22_050), lopsided.astype(np.float32))
        FAULTY[fault](tmp_path / "faulty.wav", audio, 22_050)
        assert np.abs(read_audio(tmp_path / "faulty.wav", 22_050) - audio).max() < 1e-3


CUT = ("mp3", "flac", "aiff", "au", "w64", "rf64", "ogg", "caf")


def bad_files(folder):
    good = folder / "good.wav"
    soundfile.write(good, tone(), 22_050, subtype="PCM_16")
    cut = folder / "cut.wav"
    cut.write_bytes(good.read_bytes()[:5_000])
    soundfile.write(folder / "empty.wav", np.zeros(0), 22_050)
    (folder / "nothing.wav").write_bytes(b"")
    (folder / "rate.wav").write_bytes(good.read_bytes()[:24] + bytes(4) + good.read_bytes()[28:])
    for kind in CUT:  # whatever a file is called, its beginning says what it is
        soundfile.write(folder / f"half.{kind}", tone(), 22_050)
        (folder / f"{kind}.wav").write_bytes(
            (folder / f"half.{kind}").read_bytes()[: -2_000 if kind != "mp3" else -300]
        )
    (folder / "text.wav").write_text("This is no sound.\n" * 50)
    soundfile.write(folder / "nan.wav", np.array([0.1, np.nan, 0.2]), 22_050, subtype="FLOAT")
    soundfile.write(folder / "infinite.wav", np.array([0.1, np.inf, 0.2]), 22_050, subtype="FLOAT")
    soundfile.write(folder / "long.wav", np.zeros(3 * 3600 * 1000, np.int16), 1_000, subtype="PCM_U8")
    soundfile.write(folder / "slow.wav", np.zeros(100), 16)
    os.mkfifo(folder / "queue.wav")
    soundfile.write(folder / "minute.wav", np.zeros(61_000, np.int16), 1_000, subtype="PCM_16")
    return {
        "cut": "truncated",
        "empty": "0 samples",
        "nothing": r"empty \(0 bytes\)",
        "rate": "no usable sample rate",
        **dict.fromkeys(CUT, "truncated|cut off"),
        "text": "not readable",
        "nan": "NaN",
        "infinite": "infinite",
        "long": "10,800 s",
        "minute": "61 s",
        "slow": "its sample rate is 16 Hz",
        "queue": "no regular file",
        "missing": "not readable|No such file",
    }


@pytest.mark.timeout(60)  # a pipe without a writer would be waited for
def test_each_bad_file_gets_one_line_that_names_it(tmp_path):
    for name, words in bad_files(tmp_path).items():
        with pytest.raises(CourseError, match=words) as caught:
            read_audio(tmp_path / f"{name}.wav", 22_050)
        assert f"{name}.wav" in str(caught.value) and "\n" not in str(caught.value), name


def pipe(path):
    soundfile.write(path, tone(), 22_050, subtype="PCM_16")
    data = bytearray(path.read_bytes())
    data[4:8] = data[40:44] = b"\xff\xff\xff\xff"
    path.write_bytes(data)


def corpus_of(folder):
    """All files of a folder as a corpus."""
    paths = sorted(path.name for path in folder.iterdir())
    table = pd.DataFrame({"path": paths, "digit": 0, "speaker": "s", "take": range(len(paths))})
    return Corpus("files", folder, table, "Files", "none", "made by the tests")


def odd_files(folder):
    """Files of many kinds, rates and lengths."""
    random = np.random.default_rng(0)
    for seconds in (0.02, 0.5, 1.7):
        for rate in (8_000, 22_050, 44_099, 48_000):
            noise = random.uniform(-1, 1, int(seconds * rate))
            soundfile.write(folder / f"{rate}_{seconds}.wav", noise, rate, subtype="PCM_16")
            soundfile.write(folder / f"{rate}_{seconds}_float.wav", noise, rate, subtype="FLOAT")
            soundfile.write(folder / f"{rate}_{seconds}_stereo.wav", np.stack([noise, -noise / 3], 1), rate)
    soundfile.write(folder / "lossless.flac", noise, rate)
    soundfile.write(folder / "one.wav", np.ones(1), 48_000)
    soundfile.write(folder / "eight.wav", noise, 48_000, subtype="PCM_U8")
    soundfile.write(folder / "extensible.wav", noise, 48_000, subtype="PCM_16", format="WAVEX")
    pipe(folder / "pipe.wav")


def test_clips_hold_what_is_read_from_each_file_alone(tmp_path, recipe, monkeypatch):
    (tmp_path / "files").mkdir()
    odd_files(tmp_path / "files")
    corpus = corpus_of(tmp_path / "files")
    monkeypatch.setattr(module, "BATCH", 7)  # the last one is not full
    clips = make_clips(corpus, recipe, threads=5, progress=False)
    assert clips.audio.shape == (len(corpus), 22_050) and clips.audio.dtype == np.int16
    for row in range(len(corpus)):
        audio = read_audio(corpus.file(row), 22_050)
        expected = np.clip(np.rint(fit(audio, recipe.samples) * 32768), -32768, 32767)
        assert clips.lengths[row] == len(audio), corpus.file(row).name
        assert np.array_equal(clips.audio[row], expected), corpus.file(row).name
    assert len(read_audio(tmp_path / "files" / "pipe.wav", 22_050)) == 11_025, "what was piped is not cut"


@pytest.mark.parametrize("rate", [8_000, 22_050])
def test_what_is_louder_than_full_scale_is_heard_as_clips_hold_it(rate, tmp_path, recipe):
    """By `predict`, too, which hears what `read` and `blocks` give."""
    (tmp_path / "files").mkdir()
    for times in (3, 1e38):
        soundfile.write(tmp_path / "files" / f"{times:g}.wav", times * tone(rate=rate), rate, subtype="FLOAT")
    corpus = corpus_of(tmp_path / "files")
    clips = make_clips(corpus, recipe, progress=False)
    for row in range(len(corpus)):
        audio = fit(read_audio(corpus.file(row), 22_050), recipe.samples)
        assert np.abs(audio - clips.waveform(row)).max() <= 1 / 32_768 and np.abs(audio).max() == 1
        with recording.opened(corpus.file(row)) as file:
            assert np.abs(np.concatenate([*recording.blocks(file, 22_050)])).max() == 1


def test_a_full_disk_for_temporary_files_is_named(tmp_path, monkeypatch):
    unfinished(tmp_path / "a.wav", tone(), 22_050)
    monkeypatch.setattr("tempfile.TemporaryFile", lambda buffering: open("/dev/full", "w+b", buffering))  # noqa: SIM115
    with pytest.raises(CourseError, match=r"a\.wav: TMPDIR: the disk is full"):
        read_audio(tmp_path / "a.wav", 22_050)


def test_fit_pads_on_the_right_and_keeps_the_loudest_stretch():
    assert fit(np.ones(3, np.float32), 5).tolist() == [1, 1, 1, 0, 0]
    audio = np.concatenate([np.zeros(100), np.ones(20), np.zeros(7)]).astype(np.float32)
    assert fit(audio, 20).sum() == 20


def test_made_once_and_again_only_when_something_changes(tones, recipe):
    first = make_clips(tones, recipe, progress=False)
    again = make_clips(tones, recipe.but(epochs=9, n_mels=16), progress=False)
    assert again.folder == first.folder, "these settings do not touch the samples"
    made = (first.folder / "audio.npy").stat().st_mtime_ns
    assert make_clips(tones, recipe, progress=False).folder.joinpath("audio.npy").stat().st_mtime_ns == made
    other = make_clips(tones, recipe.but(sample_rate=16_000), progress=False)
    assert other.folder != first.folder and other.audio.shape[1] == 16_000
    os.utime(tones.file(5), ns=(1, 1))
    assert make_clips(tones, recipe, progress=False).folder != first.folder, "a file has changed"


def test_bad_files_are_all_counted_and_nothing_is_kept(tones, recipe):
    for row in (3, 50, 51, 120):
        tones.file(row).write_bytes(b"RIFF")
    with pytest.raises(CourseError, match=r"4 of 180 files.*0_t0_3|4 of 180 files") as caught:
        make_clips(tones, recipe, progress=False)
    assert "and 1 more" in str(caught.value)
    assert list((data_folder() / "clips").iterdir()) == []


@pytest.mark.parametrize("name", ["clips.json", "audio.npy", "lengths.npy"])
def test_a_damaged_array_is_made_again(tones, recipe, name):
    clips = make_clips(tones, recipe, progress=False)
    path, audio, lengths = clips.folder / name, np.array(clips.audio), clips.lengths
    whole = path.read_bytes()
    for damaged in (b"", b"[]", b"no array at all" * 9, whole[: len(whole) // 2], whole[:-1]):
        path.write_bytes(damaged)
        again = make_clips(tones, recipe, progress=False)
        assert np.array_equal(again.audio, audio) and np.array_equal(again.lengths, lengths), damaged[:20]


def test_ctrl_c_leaves_no_half_made_array(tones, recipe, monkeypatch):
    def interrupted(path, sample_rate):
        if path.endswith("t3_0.wav"):
            raise KeyboardInterrupt
        return read_audio(path, sample_rate)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(module, "read_audio", interrupted)
        make_clips(tones, recipe, threads=1, progress=False)
    assert list((data_folder() / "clips").iterdir()) == []
    assert len(make_clips(tones, recipe, threads=1, progress=False)) == 180


def test_a_full_disk_says_so_before_anything_is_decoded(tones, recipe, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=10**6))
    with pytest.raises(CourseError, match="8 MB are needed and 1 MB are free"):
        make_clips(tones, recipe, progress=False)
    assert not (data_folder() / "clips").exists()


def test_real_recordings_are_decoded(fsdd_root, recipe):
    corpus = fsdd.read(fsdd_root).part(takes=2)
    clips = make_clips(corpus, recipe, progress=False)
    assert len(clips) == 120
    for row in range(0, 120, 7):
        expected = fit(read_audio(corpus.file(row), 22_050), recipe.samples) * 32768
        assert np.abs(clips.audio[row] - expected).max() <= 1
    loud = np.abs(clips.audio.astype(int)).max(axis=1)
    assert (loud > 300).all(), "no recording is silent"
    spectrum = np.abs(np.fft.rfft(clips.audio[:, :].astype(float))).mean(axis=0)
    above = spectrum[len(spectrum) * 4_200 // 11_025 :].mean()
    assert above < 0.01 * spectrum.max(), "8 kHz recordings hold nothing above 4 kHz"
