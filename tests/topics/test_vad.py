"""Voice activity detection: where the words of real recordings are, joined with pauses, and where there is none."""

import numpy as np
import pytest

from spokendigits.clips import read_audio
from spokendigits.corpora.recording import middle
from spokendigits.topics.vad import LONGEST, Word, find_words, levels, words_of

RATE = 16_000


@pytest.fixture(scope="module")
def digits(fsdd_root):
    """The ten digits by each of six people, read at 16 kHz."""
    return [
        read_audio(path, RATE)
        for digit in range(10)
        for path in sorted((fsdd_root / "recordings").glob(f"{digit}_*_3.wav"))
    ]


def hiss(seconds: float, decibels: float, seed: int = 0) -> np.ndarray:
    """White noise of a level in dB of full scale."""
    noise = np.random.default_rng(seed).standard_normal(round(seconds * RATE))
    return (10 ** (decibels / 20) * noise).astype(np.float32)


def tones(*parts: tuple[float, float]) -> np.ndarray:
    """A tone of 440 Hz in parts of (seconds, level in dB)."""
    pieces = [10 ** (db / 20) * np.sqrt(2) * np.sin(np.arange(round(s * RATE)) * 0.17) for s, db in parts]
    return np.concatenate(pieces).astype(np.float32)


def test_people_who_say_one_digit_after_another_are_found_word_by_word(digits):
    """Where each digit was put, a word is found, and hardly any elsewhere."""
    random = np.random.default_rng(0)
    pieces, places, at = [], [], 0
    for digit in digits:
        pause = hiss(random.uniform(0.5, 1.2), -70, at)
        # Peaks of people differ by a factor of ten; those in one recording do less.
        pieces += [pause, 0.5 * digit / np.abs(digit).max()]
        places.append(((at + len(pause)) / RATE, (at + len(pause) + len(digit)) / RATE))
        at += len(pause) + len(digit)
    words = find_words(np.concatenate(pieces), RATE)
    met = [[word for word in words if word.start < end and word.end > start] for start, end in places]
    assert sum(len(found) == 1 for found in met) >= 0.95 * len(places), "one word where one was said"
    assert all(met), "no digit is missed"
    heard = []
    for (start, end), found in zip(places, met, strict=True):
        assert start - 0.06 <= found[0].start and found[-1].end <= end + 0.06
        heard.append(sum(word.end - word.start for word in found) / (end - start))
    assert np.median(heard) > 0.8, "nor is most of it cut off"
    assert len(words) <= 1.05 * len(places)


def test_words_are_where_the_sound_is_with_a_margin():
    audio = tones((0.5, -80), (0.4, -20), (0.6, -80), (0.3, -25), (0.5, -80))
    first, second = find_words(audio, RATE)
    assert (first.start, first.end) == pytest.approx((0.45, 0.95), abs=0.011)
    assert (second.start, second.end) == pytest.approx((1.45, 1.85), abs=0.011)
    # Margins stay in the recording.
    assert find_words(tones((0.5, -20)), RATE) == [Word(0.0, 0.5)]
    assert find_words(tones((0.02, -90), (0.5, -20)), RATE) == [Word(0.0, 0.52)]


@pytest.mark.parametrize(
    ("parts", "count"),
    [
        # A shorter pause is within a word; what is shorter than a word is a click; and a peak can be too low.
        ([(0.3, -90), (0.2, -20), (0.19, -90), (0.2, -20), (0.3, -90)], 1),
        ([(0.3, -90), (0.2, -20), (0.21, -90), (0.2, -20), (0.3, -90)], 2),
        ([(0.3, -90), (0.07, -20), (0.3, -90)], 0),
        ([(0.3, -90), (0.08, -20), (0.3, -90)], 1),
        ([(0.3, -95), (0.3, -51), (0.3, -95)], 0),
        ([(0.3, -95), (0.3, -49), (0.3, -95)], 1),
        # 9 dB above the background is background; 11 dB is a word.
        ([(0.5, -45), (0.4, -20), (0.5, -45), (0.3, -36), (0.5, -45)], 1),
        ([(0.5, -45), (0.4, -20), (0.5, -45), (0.3, -34), (0.5, -45)], 2),
        # So it is with 31 and 29 dB below the loudest part, and with what lies below -60 dB in any case.
        ([(0.5, -95), (0.4, -20), (0.5, -95), (0.3, -51), (0.5, -95)], 1),
        ([(0.5, -95), (0.4, -20), (0.5, -95), (0.3, -49), (0.5, -95)], 2),
        ([(0.5, -95), (0.4, -40), (0.5, -95), (0.3, -61), (0.5, -95)], 1),
        ([(0.5, -95), (0.4, -40), (0.5, -95), (0.3, -59), (0.5, -95)], 2),
    ],
)
def test_what_counts_as_a_word(parts, count):
    """Whatever constant a sound card adds: it would be louder than all of them."""
    for constant in (0.0, 0.085):
        assert len(find_words(tones(*parts) + constant, RATE)) == count


def test_a_clip_without_background_is_a_word(digits):
    """A digit cut off at both ends has no quiet frames: 10 dB above its own tenth percentile may be above all of it."""
    assert len(find_words(tones((0.5, -20)), RATE)) == 1
    assert all(find_words(digit, RATE) for digit in digits)


@pytest.mark.parametrize("audio", [np.zeros(0), np.zeros(100), np.ones(100), np.zeros(RATE), hiss(2, -60)])
def test_silence_is_no_word(audio):
    assert find_words(audio, RATE) == []


def test_music_is_no_single_word():
    """A loud noise or tone without a pause is longer than any digit."""
    for audio in (hiss(5, -20), tones((3.0, -20))):
        assert all(word.end - word.start > LONGEST for word in find_words(audio, RATE))
        assert find_words(audio, RATE)


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000, 22_050, 44_100])
def test_every_rate_has_frames_of_whole_samples(rate):
    """At 22,050 Hz a hundredth of a second is 220.5 samples: over a minute, half a sample each would be half a second."""
    audio = np.zeros(60 * rate, np.float32)
    audio[50 * rate : 50 * rate + rate // 2] = 0.3
    (word,) = find_words(audio, rate)
    assert (word.start, word.end) == pytest.approx((49.95, 50.55), abs=0.011)


def test_blocks_give_the_levels_of_the_whole(digits):
    audio = np.concatenate(digits[:5])
    audio -= middle([audio[:, None]], 0.0)[0]
    whole = levels([audio], 22_050)
    random = np.random.default_rng(0)
    cuts = np.sort(random.integers(0, len(audio), 40))
    assert np.array_equal(levels(np.split(audio, cuts), 22_050), whole)
    assert words_of(whole, 22_050, len(audio)) == find_words(audio, 22_050)
    assert whole[0] == pytest.approx(10 * np.log10(np.mean(audio[:220].astype(float) ** 2) + 1e-10))
    assert len(whole) == len(audio) // 220 and levels([], RATE).shape == (0,)
