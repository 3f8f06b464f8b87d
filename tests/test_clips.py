"""Reading audio, and the array of clips: right samples, made once, nothing half-made."""

import os
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import soundfile
import soxr

from spokendigits import clips as module
from spokendigits.clips import fit, make_clips, read_audio
from spokendigits.corpora import fsdd
from spokendigits.corpora.corpus import Corpus
from spokendigits.errors import CourseError
from spokendigits.files import data_folder


def tone(seconds=0.5, rate=22_050, hertz=440.0):
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(seconds * rate)) / rate)


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_100, 48_000])
def test_resampling_keeps_the_tone(rate, tmp_path):
    soundfile.write(tmp_path / "a.wav", tone(rate=rate), rate)
    audio = read_audio(tmp_path / "a.wav", 22_050)
    assert audio.dtype == np.float32 and abs(len(audio) - 11_025) <= 1
    peak = np.abs(np.fft.rfft(audio)).argmax() * 22_050 / len(audio)
    assert abs(peak - 440) < 3


@pytest.mark.parametrize("rate", [8_000, 44_099, 44_100, 48_000])
def test_resampling_is_that_of_soxr(rate, tmp_path):
    random = np.random.default_rng(0)
    for samples in (1, 2, 3, 1_000, 20_001, 20_002, 20_003):
        sound = random.uniform(-1, 1, samples).astype(np.float32)
        soundfile.write(tmp_path / "a.wav", sound, rate, subtype="FLOAT")
        audio, expected = read_audio(tmp_path / "a.wav", 22_050), soxr.resample(sound, rate, 22_050)
        assert len(audio) == len(expected)
        assert np.allclose(audio[20:], expected[20:], atol=1e-5), "all but where soxr starts"


@pytest.mark.parametrize("rate", [8_000, 44_100, 48_000])
def test_a_recording_that_starts_loud_is_resampled_from_its_first_sample_on(rate, tmp_path):
    loud = 0.9 * np.sign(tone(rate=rate, hertz=1_000) + 0.1)
    silence = np.zeros(rate // 10)
    soundfile.write(tmp_path / "a.wav", loud, rate, subtype="FLOAT")
    soundfile.write(tmp_path / "later.wav", np.concatenate([silence, loud]), rate, subtype="FLOAT")
    later = read_audio(tmp_path / "later.wav", 22_050)[2_205:]
    assert np.allclose(read_audio(tmp_path / "a.wav", 22_050), later, atol=1e-5)


def test_stereo_is_averaged_and_eight_bits_are_read(tmp_path):
    left = tone()
    soundfile.write(tmp_path / "stereo.wav", np.stack([left, np.zeros_like(left)], 1), 22_050)
    assert np.allclose(read_audio(tmp_path / "stereo.wav", 22_050), left / 2, atol=1e-3)
    soundfile.write(tmp_path / "eight.wav", left, 22_050, subtype="PCM_U8")
    assert np.allclose(read_audio(tmp_path / "eight.wav", 22_050), left, atol=0.01)


def bad_files(folder):
    good = folder / "good.wav"
    soundfile.write(good, tone(), 22_050, subtype="PCM_16")
    cut = folder / "cut.wav"
    cut.write_bytes(good.read_bytes()[:5_000])
    soundfile.write(folder / "empty.wav", np.zeros(0), 22_050)
    (folder / "nothing.wav").write_bytes(b"")
    (folder / "text.wav").write_text("This is no sound.\n" * 50)
    soundfile.write(folder / "nan.wav", np.array([0.1, np.nan, 0.2]), 22_050, subtype="FLOAT")
    soundfile.write(folder / "infinite.wav", np.array([0.1, np.inf, 0.2]), 22_050, subtype="FLOAT")
    soundfile.write(folder / "long.wav", np.zeros(3 * 3600 * 100, np.int16), 100, subtype="PCM_U8")
    soundfile.write(folder / "minute.wav", np.zeros(61_000, np.int16), 1_000, subtype="PCM_16")
    return {
        "cut": "truncated",
        "empty": "0 samples",
        "nothing": "not readable",
        "text": "not readable",
        "nan": "NaN",
        "infinite": "infinite",
        "long": "10,800 s",
        "minute": "61 s",
        "missing": "not readable|No such file",
    }


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


def test_a_wav_written_to_a_pipe_is_no_cut_one(tmp_path):
    pipe(tmp_path / "pipe.wav")
    assert len(read_audio(tmp_path / "pipe.wav", 22_050)) == 11_025


def corpus_of(folder):
    """All files of a folder as a corpus."""
    paths = sorted(path.name for path in folder.iterdir())
    table = pd.DataFrame({"path": paths, "digit": 0, "speaker": "s", "take": range(len(paths))})
    return Corpus("files", folder, table, "Files", "none", "made by the tests")


def test_each_bad_file_is_told_of_in_the_same_words_when_clips_are_made(tmp_path, recipe):
    (tmp_path / "files").mkdir()
    for name in bad_files(tmp_path / "files"):
        path = tmp_path / "files" / f"{name}.wav"
        with pytest.raises(CourseError) as expected:
            read_audio(path, 22_050)
        if path.exists():
            corpus = corpus_of(tmp_path / "files")
            alone = replace(corpus, table=corpus.table[corpus.table["path"] == path.name])
            with pytest.raises(CourseError, match="1 of 1 files cannot be used") as caught:
                make_clips(alone, recipe, progress=False)
            assert str(expected.value) in str(caught.value)


def odd_files(folder):
    """Files of many kinds, all of them loud to their very ends: a silence too short between two would be heard."""
    random = np.random.default_rng(0)
    for number, seconds in enumerate((0.02, 0.5, 1.7, 0.3)):
        for rate in (8_000, 16_000, 22_050, 32_000, 44_099, 44_100, 48_000):
            noise = random.choice([-1.0, 1.0], int(seconds * rate)) * random.uniform(0.9, 1)
            soundfile.write(folder / f"{rate}_{number}.wav", noise, rate, subtype="PCM_16")
            soundfile.write(folder / f"{rate}_{number}_float.wav", noise, rate, subtype="FLOAT")
            soundfile.write(folder / f"{rate}_{number}_stereo.wav", np.stack([noise, -noise / 3], 1), rate)
    soundfile.write(folder / "lossless.flac", noise, rate)
    soundfile.write(folder / "one.wav", np.ones(1), 48_000)
    soundfile.write(folder / "big.wav", random.uniform(-1, 1, 7 * 48_000), 48_000)
    soundfile.write(folder / "eight.wav", noise, 48_000, subtype="PCM_U8")
    soundfile.write(folder / "extensible.wav", noise, 48_000, subtype="PCM_16", format="WAVEX")
    for name, text in (("titled", b"a digit."), ("tricky", b"data\2\0\0\0..")):
        soundfile.write(folder / f"{name}.wav", noise, 48_000, subtype="PCM_16")
        data = (folder / f"{name}.wav").read_bytes()
        chunk = b"note" + len(text).to_bytes(4, "little") + text
        (folder / f"{name}_before.wav").write_bytes(data[:36] + chunk + data[36:])
        (folder / f"{name}_behind.wav").write_bytes(data + chunk)
    pipe(folder / "pipe.wav")


def test_clips_hold_what_is_read_from_each_file_alone(tmp_path, recipe):
    (tmp_path / "files").mkdir()
    odd_files(tmp_path / "files")
    corpus = corpus_of(tmp_path / "files")
    clips = make_clips(corpus, recipe, progress=False)
    for row in range(len(corpus)):
        audio = read_audio(corpus.file(row), 22_050)
        expected = np.clip(np.rint(fit(audio, recipe.samples) * 32768), -32768, 32767)
        assert clips.lengths[row] == len(audio), corpus.file(row).name
        assert np.abs(clips.audio[row] - expected).max() <= 1, corpus.file(row).name


def test_only_whole_plain_wavs_are_read_without_libsndfile(tmp_path):
    for name, rate in (("low", 8_000), ("high", 48_000)):
        soundfile.write(tmp_path / f"{name}.wav", tone(rate=rate), rate, subtype="PCM_16")
        found, audio = module._plain_wav(tmp_path / f"{name}.wav")
        assert found == rate and np.array_equal(audio, soundfile.read(tmp_path / f"{name}.wav", dtype="int16")[0])
    (tmp_path / "odd").mkdir()
    soundfile.write(tmp_path / "odd" / "stereo.wav", np.zeros((100, 2)), 22_050, subtype="PCM_16")
    soundfile.write(tmp_path / "odd" / "float.wav", tone(), 22_050, subtype="FLOAT")
    soundfile.write(tmp_path / "odd" / "deep.wav", tone(), 22_050, subtype="PCM_24")
    soundfile.write(tmp_path / "odd" / "law.wav", tone(), 22_050, subtype="ULAW")
    soundfile.write(tmp_path / "odd" / "other.flac", tone(), 22_050)
    pipe(tmp_path / "odd" / "pipe.wav")
    bad = [tmp_path / "odd" / f"{name}.wav" for name in bad_files(tmp_path / "odd") if name != "good"]
    for path in {*bad, *(tmp_path / "odd").iterdir()} - {tmp_path / "odd" / "good.wav"}:
        assert module._plain_wav(path) is None, path.name


def test_fit_pads_on_the_right_and_keeps_the_loudest_stretch():
    assert fit(np.ones(3, np.float32), 5).tolist() == [1, 1, 1, 0, 0]
    audio = np.concatenate([np.zeros(100), np.ones(20), np.zeros(7)]).astype(np.float32)
    assert fit(audio, 20).sum() == 20


def test_clips_hold_the_files_samples(tones, recipe):
    clips = make_clips(tones, recipe, progress=False)
    assert clips.audio.shape == (180, 22_050) and clips.audio.dtype == np.int16
    for row in (0, 77, 179):
        audio, _ = soundfile.read(tones.file(row), dtype="int16")
        assert clips.lengths[row] == len(audio)
        assert np.array_equal(clips.audio[row, : len(audio)], audio)
        assert not clips.audio[row, len(audio) :].any()


def test_several_threads_make_the_same_array(tones, recipe, monkeypatch):
    one = np.array(make_clips(tones, recipe, threads=1, progress=False).audio)
    monkeypatch.setattr(module, "VERSION", -1)
    monkeypatch.setattr(module, "BATCH", 7)
    many = make_clips(tones, recipe, threads=5, progress=False)
    assert np.array_equal(one, many.audio)


def test_made_once_and_again_only_when_something_changes(tones, recipe, monkeypatch):
    calls = []
    decode = module._decode
    monkeypatch.setattr(module, "_decode", lambda *args: (calls.append(1), decode(*args)))
    make_clips(tones, recipe, progress=False)
    make_clips(tones, recipe.but(epochs=9, n_mels=16), progress=False)
    assert len(calls) == 1, "these settings do not touch the samples"
    make_clips(tones, recipe.but(sample_rate=16_000), progress=False)
    assert len(calls) == 2
    os.utime(tones.file(5), ns=(1, 1))
    make_clips(tones, recipe, progress=False)
    assert len(calls) == 3, "a file has changed"


def test_bad_files_are_all_counted_and_nothing_is_kept(tones, recipe):
    for row in (3, 50, 51, 120):
        tones.file(row).write_bytes(b"RIFF")
    with pytest.raises(CourseError, match=r"4 of 180 files.*0_t0_3|4 of 180 files") as caught:
        make_clips(tones, recipe, progress=False)
    assert "(and 1 more)" in str(caught.value)
    assert list((data_folder() / "clips").iterdir()) == []


def test_ctrl_c_leaves_no_half_made_array(tones, recipe, monkeypatch):
    def interrupted(job, **kwargs):
        if job[0] > 0:
            raise KeyboardInterrupt
        return decode(job, **kwargs)

    decode = module._decode_some
    monkeypatch.setattr(module, "_decode_some", interrupted)
    with pytest.raises(KeyboardInterrupt):
        make_clips(tones, recipe, threads=1, progress=False)
    assert list((data_folder() / "clips").iterdir()) == []
    monkeypatch.setattr(module, "_decode_some", decode)
    assert len(make_clips(tones, recipe, threads=1, progress=False)) == 180


def test_a_full_disk_says_so_before_anything_is_decoded(tones, recipe, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OSError, match="No space left"):
        make_clips(tones, recipe, progress=False)
    assert list((data_folder() / "clips").iterdir()) == []


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
