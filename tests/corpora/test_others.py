"""What is no digit: which words, what becomes of those that come out broken, and how noises sound."""

import numpy as np
import pytest
import soundfile

from spokendigits import corpora
from spokendigits.corpora import engines, others, voices
from spokendigits.corpora.others import NOISE_HEARD, NOISES, UNHEARD, WORDS
from spokendigits.errors import CourseError

pytestmark = pytest.mark.slow

# How people spell a digit, or something that sounds like one somewhere.
DIGITS = (
    {"zero", "oh", "naught", "one", "won", "two", "too", "to", "three", "tree", "free", "four", "for", "fore", "five"}
    | {"six", "sex", "seven", "eight", "ate", "hate", "nine", "nein", "none", "toe", "van", "wan", "once"}
)  # fmt: skip


@pytest.fixture(scope="module")
def noises(tmp_path_factory):
    """Each kind of noise as five "speakers" make it; espeak-ng says two words."""
    words = {"banana": 0.05, "silver": 0.5}

    def speak(voice, utterances, folder):
        folder.mkdir()
        for word, step in words.items():
            tone = 0.5 * np.sin(np.arange(8_000) * step)
            soundfile.write(folder / f"{word}_{voice.speaker}_0.wav", tone, others.RATE)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(voices, "ESPEAK_VOICES", 1)
        patch.setattr(others, "NOISE_SPEAKERS", NOISE_HEARD + 1)
        patch.setattr(voices.EspeakVoice, "speak", speak)
        root = others.fetch(tmp_path_factory.mktemp("noises") / "others", progress=False, engines=())

    def clips(kind: str, number: int = 0) -> list[np.ndarray]:
        return [soundfile.read(path)[0] for path in sorted(root.glob(f"noise-{kind}-{number}/*.wav"))]

    return clips


def test_no_word_is_a_digit_and_those_for_the_test_are_others():
    assert len(set(WORDS)) == len(WORDS) == 100 and len(set(UNHEARD)) == len(UNHEARD) == 50
    assert not set(WORDS) & set(UNHEARD)
    assert not (set(WORDS) | set(UNHEARD)) & (DIGITS | set(engines.SPELLINGS["en"]))
    assert all(word.isalpha() and word.islower() for word in (*WORDS, *UNHEARD)), "a file's name must tell the word"


def test_a_broken_word_is_left_out_and_the_others_keep_their_names(tmp_path, monkeypatch):
    """espeak-ng's process ends at a word that comes out silent; another one says the rest. No file gets another's word."""
    monkeypatch.setattr(voices, "ESPEAK_VOICES", 2)
    monkeypatch.setattr(voices, "ENDINGS", [""] * 4)
    monkeypatch.setattr(others, "NOISE_SPEAKERS", 0)
    monkeypatch.setattr(others, "WORDS", ["banana", "mountain", "tea", ",", ",,", ",,,"])
    monkeypatch.setattr(others, "UNHEARD", ["thunder"])
    monkeypatch.setattr(others, "HEARD", 6)
    monkeypatch.setattr(others, "NEW", 1)
    table = others.read(others.fetch(tmp_path / "others", progress=False, engines=())).table
    said = table[table["speaker"] == "espeak-001"].set_index("word")
    assert set(said.index) == {"banana", "mountain", "tea", "thunder"}
    assert said["take"].max() > 3, "no broken word was among the first ones, so this tests nothing"
    seconds = {word: soundfile.info(tmp_path / "others" / path).duration for word, path in said["path"].items()}
    assert seconds["tea"] == min(seconds.values()), "no file holds another's word"


def test_no_run_can_learn_from_what_is_no_digit():
    for ask in (corpora.check_name, corpora.load):
        with pytest.raises(CourseError, match="no such corpus, folder or CSV: 'others'"):
            ask("others")


def test_noises_are_as_long_and_as_loud_as_words(noises):
    for kind in NOISES:
        clips = noises(kind)
        seconds = np.array([len(clip) for clip in clips]) / others.RATE
        assert (seconds >= 0.199).all() and (seconds <= 1.401).all() and np.ptp(seconds) > 0.2, kind
        peaks = 20 * np.log10([np.abs(clip).max() for clip in clips])
        loudest, quietest = (-50, -75) if kind == "silence" else (-1, -30)
        assert (peaks <= loudest + 0.1).all() and (peaks >= quietest - 3).all() and np.ptp(peaks) > 3, kind
        assert len({clip.tobytes() for clip in clips}) == len(clips), kind
    assert noises("white")[0].tobytes() != noises("white", 1)[0].tobytes(), "speakers differ"


@pytest.mark.parametrize(("kind", "slope"), [("white", 0), ("pink", 1), ("brown", 2)])
def test_coloured_noise_falls_as_its_colour_says(noises, kind, slope):
    falls = []
    for clip in noises(kind):
        power = np.abs(np.fft.rfft(clip)) ** 2
        hertz = np.fft.rfftfreq(len(clip), 1 / others.RATE)
        low, high = (power[(hertz > at) & (hertz < 2 * at)].mean() for at in (200, 2_000))
        falls.append(np.log10(low / high))
    assert np.mean(falls) == pytest.approx(slope, abs=0.15)


def test_hum_has_the_mains_and_its_harmonics(noises):
    for number in range(4):
        clip = max(noises("hum", number), key=len)
        power = np.abs(np.fft.rfft(clip * np.hanning(len(clip)), 4 * others.RATE)) ** 2
        hertz = np.fft.rfftfreq(4 * others.RATE, 1 / others.RATE)
        apart = [np.abs(hertz - mains * np.round(hertz / mains)) for mains in (50, 60)]
        shares = [power[(distance < 6) & (hertz > 30)].sum() / power.sum() for distance in apart]
        assert max(shares) > 0.9


def test_babble_of_the_test_is_of_words_that_were_never_heard(noises):
    """`banana` is a low tone and may be learned from, `silver` a high one and may not."""
    for number, low in ((0, True), (NOISE_HEARD, False)):
        for clip in noises("babble", number):
            power = np.abs(np.fft.rfft(clip)) ** 2
            hertz = np.fft.rfftfreq(len(clip), 1 / others.RATE)
            assert (power[hertz < 1_000].sum() > 0.9 * power.sum()) == low
