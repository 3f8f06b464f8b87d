"""The corpus of what is no digit: other words by the voices of `voices`, and noises; the same again for the same seed."""

import os

import numpy as np
import pytest
import soundfile
from test_voices import Kokoro, digests, programs  # noqa: F401

from spokendigits import corpora
from spokendigits.corpora import espeak, others, voices
from spokendigits.corpora.corpus import join
from spokendigits.corpora.others import HEARD, NEW, NOISE_HEARD, NOISE_SPEAKERS, NOISES, UNHEARD, WORDS
from spokendigits.errors import CourseError
from spokendigits.files import sha256

# How people spell a digit, or something that sounds like one somewhere.
DIGITS = (
    {"zero", "oh", "naught", "one", "won", "two", "too", "to", "three", "tree", "free", "four", "for", "fore", "five"}
    | {"six", "sex", "seven", "eight", "ate", "hate", "nine", "nein", "none", "toe", "van", "wan", "once"}
)  # fmt: skip


@pytest.fixture
def few(programs, monkeypatch):  # noqa: F811
    monkeypatch.setattr(others, "NOISE_TAKES", 3)
    return programs


@pytest.fixture(scope="module")
def noises(tmp_path_factory):
    """Each kind of noise as one "speaker" makes it, and white noise by two."""
    stage = tmp_path_factory.mktemp("stage")
    (stage / "espeak-000").mkdir()
    for word in ("banana", "silver"):
        tone = 0.5 * np.sin(np.arange(8_000) * (0.05 if word == "banana" else 0.5))
        soundfile.write(stage / "espeak-000" / f"{word}_espeak-000_0.wav", tone, others.RATE)

    def make(kind: str, number: int = 0, takes: int = 6) -> list[np.ndarray]:
        half = stage / f"{kind}-{number}"
        if not half.is_dir():
            assert others._make_noise(stage, half, 0, voices.Voice(f"noise-{kind}-{number}", "noise", kind, ""))
        return [soundfile.read(path)[0] for path in sorted(half.glob("*.wav"))[:takes]]

    return make


def test_no_word_is_a_digit_and_those_for_the_test_are_others():
    assert len(set(WORDS)) == len(WORDS) and len(set(UNHEARD)) == len(UNHEARD)
    assert not set(WORDS) & set(UNHEARD)
    assert not (set(WORDS) | set(UNHEARD)) & (DIGITS | set(voices.SPELLINGS["en"]))
    assert all(word.isalpha() and word.islower() for word in (*WORDS, *UNHEARD)), "a file's name must tell the word"


def test_every_voice_says_words_that_may_be_learned_and_words_that_may_not(few, tmp_path):
    root = corpora.fetch("others", root=tmp_path / "others", progress=False)
    corpus = corpora.read("others", root)
    table = corpus.table
    assert corpora.verify("others", root) == []
    assert (table["digit"] == -1).all() and corpus.synthetic and "flite (3 voices)" in corpus.source
    words = table[table["kind"] == "word"]
    assert words["word"].isin(WORDS).eq(words["heard"]).all()
    assert words["word"].isin(UNHEARD).eq(~words["heard"]).all()
    counts = words.groupby(["speaker", "heard"]).size().unstack()
    assert counts.loc["flite-ann"].to_dict() == counts.loc["flite-tom"].to_dict() == {True: HEARD, False: NEW}
    assert counts.max().max() <= HEARD and len(counts) >= 6
    assert words["word"].nunique() > 30, "each voice draws its own words"
    noise = table[table["kind"] == "noise"]
    assert set(noise["word"]) == set(NOISES) and set(noise["engine"]) == {"noise"}
    assert (noise.groupby("speaker").size() == 3).all() and noise["speaker"].nunique() == NOISE_SPEAKERS * len(NOISES)
    assert noise.groupby("word")["heard"].sum().eq(3 * NOISE_HEARD).all()
    assert noise.groupby("speaker")["heard"].nunique().eq(1).all(), "one speaker's noises are alike"


def test_the_voices_are_those_of_voices(few, tmp_path):
    """Split by speaker, no voice that speaks in a test has been heard in training, whatever it says there."""
    spoken = voices.read(voices.fetch(tmp_path / "voices", seed=3, progress=False))
    refused = others.read(others.fetch(tmp_path / "others", seed=3, progress=False))
    words = refused.table[refused.table["kind"] == "word"]
    facts = ["speaker", "engine", "voice", "accent"]
    told = [table[facts].drop_duplicates().set_index("speaker") for table in (spoken.table, words)]
    common = told[0].index.intersection(told[1].index)
    assert len(common) >= 5 and told[0].loc[common].equals(told[1].loc[common])
    assert len(join("all", [spoken, refused])) == len(spoken) + len(refused)


def test_the_same_seed_says_the_same_and_nothing_is_spoken_twice(few, tmp_path, monkeypatch):
    root = others.fetch(tmp_path / "others", progress=False)
    held = digests(root)
    marker = root / "marker"
    marker.touch()
    assert others.fetch(root, progress=False) == root and marker.is_file(), "a corpus that is there is kept"
    assert digests(others.fetch(tmp_path / "again", progress=False)) == held
    other = digests(others.fetch(tmp_path / "other", seed=1, progress=False))
    assert not set(other.values()) & set(held.values())


def test_a_new_programs_voices_are_added(few, tmp_path):
    hidden = (few / "flite").rename(tmp_path / "flite")
    root = others.fetch(tmp_path / "others", progress=False)
    first, second = sorted(root.glob("espeak-*/*.wav"))[:2]
    first.write_bytes(second.read_bytes())  # as a speaker would not say it again
    kept = sha256(first)
    hidden.rename(few / "flite")
    others.fetch(root, progress=False)
    assert sha256(first) == kept
    assert set(others.read(root).table["engine"]) == {"espeak", "flite", "noise"}
    assert not list(tmp_path.glob(".others-*"))


def test_an_interruption_loses_one_voice_at_most(few, tmp_path, monkeypatch):
    whole = digests(others.fetch(tmp_path / "whole", progress=False))
    noise, engine, said = NOISES["melody"], voices.ENGINES["flite"], []

    def stop(random, samples):
        raise KeyboardInterrupt

    monkeypatch.setitem(NOISES, "melody", stop)
    with pytest.raises(KeyboardInterrupt):
        others.fetch(tmp_path / "others", progress=False)
    assert not (tmp_path / "others").exists()
    monkeypatch.setitem(NOISES, "melody", noise)
    monkeypatch.setitem(voices.ENGINES, "flite", engine._replace(say=lambda *given: said.append(given)))
    assert digests(others.fetch(tmp_path / "others", progress=False)) == whole
    assert not said, "the voices had spoken before the interruption"
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_a_broken_word_is_left_out_and_the_others_keep_their_names(tmp_path, monkeypatch):
    """espeak-ng's process ends at a word that comes out silent; another one says the rest. No file gets another's word."""
    own = voices.espeak_voices(0)[1][0]
    words = ["banana", ",", "mountain", ",", ",", "tea"]

    def said(voice, seed):
        return words, np.random.default_rng(0)

    monkeypatch.setattr(others, "_said", said)
    monkeypatch.setattr(voices, "ENDINGS", [""] * 4)
    half = tmp_path / "half"
    assert others._speak(half, 0, own.voice(), own)
    assert sorted(os.listdir(half)) == sorted(
        f"{word}_{own.speaker}_{take}.wav" for take, word in ((0, "banana"), (2, "mountain"), (5, "tea"))
    )
    # Each alone, by a process that has said nothing else: the same length within what a voice's state changes.
    random = np.random.default_rng(0)
    alone = [own.says(word, f"{take}.wav", random) for take, word in enumerate(words)]
    for take in (0, 2, 5):
        list(espeak.speak_all([own.job([alone[take]], str(tmp_path / "alone"))], 1))
        lengths = [
            soundfile.info(path).frames
            for path in (half / f"{words[take]}_{own.speaker}_{take}.wav", tmp_path / "alone" / f"{take}.wav")
        ]
        assert abs(lengths[0] - lengths[1]) < 0.1 * lengths[1]


def test_kokoros_blends_read_english_words_a_few_each(few, tmp_path, monkeypatch):
    model = Kokoro()
    Kokoro.said.clear()
    monkeypatch.setattr(voices, "_kokoro_model", lambda: model)
    monkeypatch.setattr(voices, "_kokoro", lambda: ((name, "en") for name in model.get_voices()))
    monkeypatch.setitem(voices.ENGINES, "kokoro", voices.ENGINES["kokoro"]._replace(voices=voices._kokoro))
    monkeypatch.setattr(voices, "BLENDS", 5)
    table = others.read(others.fetch(tmp_path / "others", progress=False, engines=["blend"])).table
    blends = table[table["engine"] == "blend"]
    assert (blends.groupby("speaker").size() == others.SLOW_HEARD + others.SLOW_NEW).all() and len(blends) >= 9
    assert not any(is_phonemes for *_, is_phonemes in model.said), "English spelling must not be read as phonemes"


def test_engines_have_folders_of_their_own(few, own_home):
    assert others.fetch(progress=False, engines=()).name == "others-espeak"
    assert others.fetch(progress=False).name == "others"


def test_what_is_missing_or_in_the_way_is_said(few, tmp_path):
    with pytest.raises(CourseError, match="spokendigits fetch others"):
        others.read(tmp_path)
    busy = tmp_path / "busy"
    busy.mkdir()
    (busy / "thesis.txt").touch()
    with pytest.raises(CourseError, match="holds something else"):
        others.fetch(busy, progress=False)
    root = others.fetch(tmp_path / "others", progress=False)
    next(root.glob("noise-hum-0/*.wav")).unlink()
    with pytest.raises(CourseError, match="clips are here"):
        others.read(root)


def test_no_run_can_learn_from_what_is_no_digit():
    for ask in (corpora.check_name, corpora.load):
        with pytest.raises(CourseError, match="others: no such corpus"):
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
    for clip in noises(kind, takes=25):
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
