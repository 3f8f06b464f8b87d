"""Each disturbance is what it says, measured here in another way, on real recordings and on tones; then the table."""

import numpy as np
import pandas as pd
import pytest
import torch
from conftest import SMALL

from spokendigits.clips import make_clips
from spokendigits.corpora import fsdd
from spokendigits.corpora.corpus import FULL_SCALE
from spokendigits.errors import CourseError
from spokendigits.evaluation import predict
from spokendigits.intervals import accuracy
from spokendigits.plots import described
from spokendigits.recipe import Recipe
from spokendigits.splits import Split
from spokendigits.topics.robustness import (
    CONDITIONS,
    SNR,
    Disturbed,
    disturb,
    draw_robustness,
    other_voices,
    robustness,
)
from spokendigits.training import train

NOISES = ["white", "babble", "hum", "voice"]
LEVELS = {kind: condition.levels for kind, condition in CONDITIONS.items() if kind != "clean"}
RATE = 22_050


@pytest.fixture(scope="module")
def world(fsdd_root, tmp_path_factory):
    """Three people of FSDD, their clips, and a network that learned the later takes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPOKENDIGITS_HOME", str(tmp_path_factory.mktemp("robustness")))
        corpus = fsdd.read(fsdd_root).part(speakers=3, takes=8)
        recipe = Recipe.preset("fast").but(**SMALL).but(epochs=10)
        clips = make_clips(corpus, recipe, progress=False)
        held_out = corpus.table["take"].to_numpy() < 2
        parts = Split(np.flatnonzero(~held_out), np.flatnonzero(held_out), np.array([], int))
        classifier = train(recipe, corpus, clips, parts, tmp_path_factory.mktemp("run"), progress=False)
    return classifier, clips, corpus, parts.validation


@pytest.fixture(scope="module")
def spoken(world):
    """Twelve recordings: float32 [12, samples], their rows and their lengths; all shorter than a clip."""
    _, clips, _, _ = world
    rows = np.flatnonzero(clips.lengths < 0.8 * RATE)[::17][:12]
    return torch.from_numpy(clips.read(rows) / np.float32(FULL_SCALE)), rows, clips.lengths[rows]


def changed(world, spoken, kind, level, seed=0, volume=1.0):
    """The twelve recordings disturbed, at another volume; the voices of others at their own."""
    _, clips, corpus, _ = world
    audio, rows, lengths = spoken
    voices = None
    if kind in ("babble", "voice"):
        voices = other_voices(kind, clips, corpus, rows, np.arange(len(corpus)), seed)
    return disturb(audio * volume, kind, level, RATE, rows, lengths, seed, voices)


def tone(hertz, seconds=0.6):
    audio = torch.zeros(1, RATE)
    audio[0, : round(seconds * RATE)] = 0.3 * torch.sin(2 * np.pi * hertz * torch.arange(round(seconds * RATE)) / RATE)
    return audio, [round(seconds * RATE)]


def pitch_of(audio):
    """The frequency of the strongest sound, in hertz."""
    heard = audio[0].numpy() * (np.abs(audio[0].numpy()) > 0)
    return np.abs(np.fft.rfft(heard * np.hanning(len(heard)), 2**18)).argmax() * RATE / 2**18


@pytest.mark.parametrize("kind", NOISES)
def test_noise_has_the_level_asked_for_over_the_speech(kind, world, spoken):
    audio, _, lengths = spoken
    quiet = audio.numpy() * 0.05  # so that nothing has to be made quieter
    for level in SNR:
        noise = changed(world, spoken, kind, level, volume=0.05).numpy() - quiet
        for clean, added, length in zip(quiet, noise, lengths, strict=True):
            realised = 10 * np.log10((clean[:length] ** 2).sum() / (added[:length] ** 2).sum())
            assert realised == pytest.approx(level, abs=0.2)
            if kind != "voice":
                rest, before = (added[length:] ** 2).mean(), (added[:length] ** 2).mean()
                assert 0.2 < rest / before < 5, "the noise does not stop with the word"


def test_hum_is_at_multiples_of_50_hertz_with_a_phase_for_each_clip(world, spoken):
    noise = changed(world, spoken, "hum", 0.0, volume=0.05).numpy() - 0.05 * spoken[0].numpy()
    power = np.abs(np.fft.rfft(noise)) ** 2  # a bin a hertz
    lines = power[:, 50:501:50]
    assert (lines.sum(axis=1) > 0.999 * power.sum(axis=1)).all()
    assert (lines > 1e-3 * lines.max(axis=1, keepdims=True)).all()
    phases = np.angle(np.fft.rfft(noise)[:, [50, 100]])
    assert (np.ptp(phases, axis=0) > 1).all()


def test_every_clip_has_noise_of_its_own_and_the_same_at_every_level(world, spoken):
    for kind, most in (("white", 0.05), ("babble", 0.5), ("hum", 0.999)):
        noise = changed(world, spoken, kind, 0.0, volume=0.05).numpy() - 0.05 * spoken[0].numpy()
        assert np.abs(np.corrcoef(noise) - np.eye(len(noise))).max() < most, kind
        milder = changed(world, spoken, kind, 20.0, volume=0.05).numpy() - 0.05 * spoken[0].numpy()
        np.testing.assert_allclose(milder * 10, noise, atol=1e-5)


def test_babble_loops_its_voices_and_a_second_voice_speaks_once():
    random = np.random.default_rng(0)
    voice = random.standard_normal(3000).astype(np.float32)
    audio, lengths = tone(440, 0.4)
    added = [disturb(audio * 0.01, kind, 0.0, RATE, [7], lengths, voices=[[voice]])[0].numpy() - 0.01 * audio[0].numpy()
             for kind in ("babble", "voice")]  # fmt: skip
    np.testing.assert_allclose(added[0][3000:], added[0][:-3000], atol=1e-6)
    match = np.correlate(added[1], voice, "valid")
    place = int(match.argmax())
    once = np.zeros(RATE)
    once[place : place + 3000] = voice * match.max() / (voice**2).sum()
    np.testing.assert_allclose(added[1], once, atol=1e-5)
    assert place + 1500 == pytest.approx(lengths[0] / 2, abs=100), "in the middle of the word"
    first = np.argmax([np.dot(added[0][:3000], np.roll(voice, shift)) for shift in range(3000)])
    assert first > 0, "not from the beginning"


@pytest.mark.parametrize(("kind", "count"), [("babble", 8), ("voice", 1)])
def test_voices_are_of_other_speakers_and_without_padding(kind, count, world):
    _, clips, corpus, rows = world
    whose = {clips.waveform(row)[: clips.lengths[row]].tobytes(): row for row in range(len(corpus))}
    others = np.arange(len(corpus))[::2]
    found = other_voices(kind, clips, corpus, rows, others)
    speaker, digit = corpus.table["speaker"].to_numpy(), corpus.table["digit"].to_numpy()
    for row, voices in zip(rows, found, strict=True):
        heard = np.array([whose[voice.tobytes()] for voice in voices])
        assert len(set(heard)) == count and set(heard) <= set(others)
        assert (speaker[heard] != speaker[row]).all()
        assert kind == "babble" or (digit[heard] != digit[row]).all()
    alone = np.flatnonzero(speaker == speaker[0])
    with pytest.raises(CourseError, match=r"no clip of another speaker.*`others`"):
        other_voices(kind, clips, corpus, alone[:1], alone)


@pytest.mark.parametrize("kind", LEVELS)
def test_what_comes_out_has_the_shape_and_range_that_went_in_and_silence_stays_silence(kind, world, spoken):
    audio, silent = spoken[0], torch.zeros(2, RATE)
    before, nobody = audio.clone(), [[np.zeros(500, np.float32)]] * 2
    # As loud as 16 bits can be, so that every addition goes beyond.
    loudest = float(1 / audio.abs().max())
    for level in LEVELS[kind]:
        out = changed(world, spoken, kind, level, volume=loudest)
        assert out.shape == audio.shape and out.dtype == torch.float32 and torch.equal(audio, before)
        assert out.isfinite().all() and 0.01 < out.abs().max() <= 1
        assert not disturb(silent, kind, level, RATE, [0, 1], [100, RATE], voices=nobody).any()
    if kind in ("babble", "voice"):
        audio, rows, lengths = (part[:2] for part in spoken)
        assert torch.equal(disturb(audio, kind, 0.0, RATE, rows, lengths, voices=nobody), audio)


@pytest.mark.parametrize("kind", NOISES)
def test_what_would_be_too_loud_becomes_quieter_and_not_clipped(kind, world, spoken):
    volume = float(1 / spoken[0].abs().max())
    loud, quiet = (changed(world, spoken, kind, 0.0, volume=v).numpy() for v in (volume, 0.01))
    gain = (loud * quiet).sum(axis=1, keepdims=True) / (quiet**2).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(loud, gain * quiet, atol=1e-4)
    assert (gain < volume * 100 - 1).any(), "or this test would not notice"


def test_a_telephone_leaves_nothing_outside_its_band():
    noise = 0.1 * torch.randn(8, RATE, generator=torch.Generator().manual_seed(0))
    heard = disturb(noise, "telephone", 8.0, RATE, range(8), [RATE] * 8)
    before, after = ((np.abs(np.fft.rfft(part.numpy())) ** 2).mean(axis=0) for part in (noise, heard))

    def kept(low, high):  # dB; a bin a hertz
        return 10 * np.log10(after[low:high].sum() / before[low:high].sum())

    assert kept(0, 100) < -30 and kept(4200, RATE // 2) < -30, "30 dB and more"
    assert abs(kept(400, 3000)) < 0.5
    # What is left of 8 bits on the mu-law is some 38 dB above its noise, whatever the volume.
    audio, lengths = tone(1000)
    for volume in (1.0, 0.1):
        line = disturb(audio * volume, "telephone", 8.0, RATE, [0], lengths)[0, 2000:12_000].numpy()
        power = np.abs(np.fft.rfft(line * np.hanning(len(line)))) ** 2
        middle = round(1000 * len(line) / RATE)
        signal = power[middle - 4 : middle + 5].sum()
        assert 33 < 10 * np.log10(signal / (power.sum() - signal)) < 45


def test_speed_changes_length_and_pitch_by_its_factor_and_keeps_the_loudest_part():
    for factor in LEVELS["speed"]:
        audio, lengths = tone(440)
        out = disturb(audio, "speed", factor, RATE, [0], lengths)
        assert pitch_of(out) == pytest.approx(440 * factor, rel=1e-3)
        assert int(out[0].nonzero().max()) == pytest.approx(lengths[0] / factor, abs=10)
    audio = torch.full((1, RATE), 0.01)
    audio[0, -4000:] = 0.5 * torch.sin(torch.arange(4000) / 10)
    slow = disturb(audio, "speed", 0.7, RATE, [0], [RATE])
    assert float(slow.square().sum()) == pytest.approx(float(audio[:, -4000:].square().sum()) / 0.7, rel=0.02)


@pytest.mark.parametrize("semitones", LEVELS["pitch"])
def test_pitch_moves_a_tone_and_keeps_its_length(semitones, world, spoken):
    audio, lengths = tone(440)
    out = disturb(audio, "pitch", semitones, RATE, [0], lengths)
    assert 12 * np.log2(pitch_of(out) / 440) == pytest.approx(semitones, abs=0.05)
    inside = out[0, 1000 : lengths[0] - 1000]
    assert float(inside.norm()) == pytest.approx(float(audio[0, 1000 : lengths[0] - 1000].norm()), rel=0.1)
    assert int(out[0].abs().gt(0.01).nonzero().max()) == pytest.approx(lengths[0], abs=200)
    # Real words stay where they are: loud and quiet stretches of 50 ms keep their places.
    loudness = [
        part.square().unfold(1, 1102, 1102).mean(dim=2).sqrt().flatten().numpy()
        for part in (spoken[0], changed(world, spoken, "pitch", semitones))
    ]
    assert np.corrcoef(*loudness)[0, 1] > 0.9


def test_a_shift_is_exactly_as_long_as_it_says(world, spoken):
    for milliseconds in LEVELS["shift"]:
        audio, out = spoken[0], changed(world, spoken, "shift", milliseconds)
        samples = round(milliseconds * RATE / 1000)
        early, late = (audio, out) if samples > 0 else (out, audio)
        assert torch.equal(late[:, abs(samples) :], early[:, : -abs(samples)])
        assert not (out[:, :samples] if samples > 0 else out[:, samples:]).any(), "silence comes in"


@pytest.mark.parametrize("t60", LEVELS["reverberation"])
def test_a_room_fades_in_its_time_and_is_not_late(t60):
    click = torch.zeros(8, RATE)
    click[:, 0] = 0.5
    heard = disturb(click, "reverberation", t60, RATE, range(8), [1] * 8).numpy()
    assert len(np.unique(heard.round(4), axis=0)) > 1, "several rooms"
    for response in heard:
        assert np.abs(response).argmax() == 0, "direct sound first"
        left = 10 * np.log10(np.cumsum(response[::-1] ** 2)[::-1] / (response**2).sum() + 1e-12)  # Schroeder 1965
        fall = slice(np.argmax(left < -5), np.argmax(left < -20))
        slope = np.polyfit(np.arange(RATE)[fall] / RATE, left[fall], 1)[0]
        assert -60 / slope == pytest.approx(t60, rel=0.15)


def test_clipping_cuts_peaks_off_and_keeps_the_level(world, spoken):
    audio = spoken[0].numpy()
    for share in LEVELS["clipping"]:
        out = changed(world, spoken, "clipping", share).numpy()
        for before, after in zip(audio, out, strict=True):
            top = share * np.abs(before).max()
            np.testing.assert_allclose(after / np.abs(after).max(), np.clip(before, -top, top) / top, atol=1e-5)
            assert np.square(after).sum() == pytest.approx(np.square(before).sum(), rel=1e-4)


def test_padding_stays_silent_where_no_sound_is_added(world, spoken):
    _, _, lengths = spoken
    for kind in ("telephone", "clipping", "speed", "pitch"):
        for level in LEVELS[kind]:
            out = changed(world, spoken, kind, level)
            for one, length in zip(out, lengths, strict=True):
                after = round(length / level if kind == "speed" else length) + 500
                assert not (one[after:].abs() > 1e-6).any(), (kind, level)


@pytest.mark.parametrize("kind", LEVELS)
def test_the_seed_and_the_clips_number_decide_and_not_its_neighbours(kind, world, spoken):
    _, clips, corpus, _ = world
    _, rows, _ = spoken
    loader = Disturbed(clips, corpus, torch.device("cpu"), np.arange(len(corpus)), seed=3)
    loader.kind, loader.level = kind, LEVELS[kind][0]
    together, digit = loader.read(rows)
    assert together.dtype == torch.int16 and list(digit) == list(corpus.table["digit"].iloc[rows])
    assert torch.equal(loader.read(rows)[0], together)
    alone = torch.cat([loader.read(rows[[i]])[0] for i in range(len(rows))])
    assert int((alone.int() - together.int()).abs().max()) <= 1, "but for rounding"
    assert not torch.equal(together, torch.from_numpy(clips.read(rows)))
    loader.seed = 4
    alike = torch.equal(loader.read(rows)[0], together)
    assert alike == (kind in ("telephone", "clipping", "shift", "speed", "pitch")), "where nothing is drawn"


def test_accuracy_falls_with_noise_and_is_that_of_evaluation_without(world, monkeypatch):
    classifier, clips, corpus, rows = world
    # A network that heard so little goes wrong at levels that nobody hears.
    monkeypatch.setitem(CONDITIONS, "white", CONDITIONS["white"]._replace(levels=(60.0, 50.0, 0.0)))
    table = robustness(classifier, clips, corpus, rows, progress=False, kinds=["white"], model="small")
    assert list(table["kind"]) == ["clean", "white", "white", "white"]
    assert list(table["level"][1:]) == [60, 50, 0] and set(table["model"]) == {"small"} and set(table["clips"]) == {60}
    clean = predict(classifier, clips, corpus, rows, progress=False)
    assert table["accuracy"][0] == accuracy(clean) > 0.5
    assert not table.loc[0, ["drop", "drop_low", "drop_high"]].any()
    np.testing.assert_allclose(table["drop"], 100 * (table["accuracy"][0] - table["accuracy"]))
    assert (table["drop_low"] <= table["drop"]).all() and (table["drop"] <= table["drop_high"]).all()
    noisy = table.set_index("level")
    assert noisy.loc[60.0, "drop"] < 10 < noisy.loc[0.0, "drop_low"], "for certain, though the speakers are few"
    # The same by hand, from the disturbed waveforms of all clips at once.
    audio = torch.from_numpy(clips.read(rows) / np.float32(FULL_SCALE))
    audio = disturb(audio, "white", 50.0, RATE, rows, clips.lengths[rows])
    with torch.inference_mode():
        said = classifier((audio * FULL_SCALE).round().clamp(-32768, 32767).to(torch.int16)).argmax(dim=1).numpy()
    assert noisy.loc[50.0, "accuracy"] == (said == corpus.table["digit"].to_numpy()[rows]).mean()


def test_mistakes_of_the_reader(world):
    classifier, clips, corpus, rows = world
    with pytest.raises(CourseError, match=r"unknown disturbance 'babbel'\. Did you mean 'babble'"):
        robustness(classifier, clips, corpus, rows, progress=False, kinds=["babbel"])
    with pytest.raises(CourseError, match="second voice: no clip of another speaker and digit"):
        robustness(classifier, clips, corpus, rows[:5], progress=False, kinds=["voice"])
    with pytest.raises(CourseError, match="unknown disturbance"):
        disturb(torch.zeros(1, 9), "rain", 0.0, RATE, [0], [9])


def made_up(model, clean, **kinds):
    rows = [("clean", np.nan, clean)]
    rows += [(kind, *row) for kind, scores in kinds.items() for row in zip(LEVELS[kind], scores, strict=False)]
    table = pd.DataFrame(rows, columns=["kind", "level", "accuracy"])
    table["label"], table["unit"] = ([CONDITIONS[kind][i] for kind in table["kind"]] for i in (0, 1))
    return table.assign(model=model, low=table["accuracy"] - 0.1, high=table["accuracy"] + 0.05)


@pytest.mark.filterwarnings("error")
def test_the_figure_says_which_model_stands_more():
    plain = made_up("plain", 0.95, white=[0.9, 0.6, 0.2], telephone=[0.7], speed=[0.5, 0.8])
    tough = made_up("tough", 0.9, white=[0.9, 0.8, 0.7], telephone=[0.85], speed=[0.6, 0.8], pitch=[0.1])
    fig = draw_robustness(pd.concat([plain, tough]))
    fig.canvas.draw()
    shown = [ax for ax in fig.axes if ax.get_visible()]
    assert [ax.get_title() for ax in shown] == ["white noise", "telephone band", "speed", "pitch"]
    curve = shown[0].get_lines()[1]
    assert list(curve.get_xdata()) == [10, 20, 30] and list(curve.get_ydata()) == pytest.approx([20, 60, 90])
    assert shown[0].xaxis_inverted(), "more noise to the right"
    assert list(shown[2].get_lines()[1].get_ydata()) == pytest.approx([50, 80, 95]), "clean at its own speed"
    assert [text.get_text() for text in fig.legends[0].get_texts()] == ["plain", "tough", "undisturbed"]
    alt, _ = described(fig._repr_mimebundle_()["text/plain"])
    assert "plain: 95.0% clean, 61.7% on average over all disturbances, at worst 20.0% with white noise at 10 dB" in alt
    assert "tough: 90.0% clean, 77.5% on average" in alt and "at worst 10.0% with pitch at -6 semitones" in alt
    assert alt.endswith("Best on average: tough.")
    with pytest.raises(CourseError, match="two tables are of a model 'plain'"):
        draw_robustness(pd.concat([plain, plain]))
