"""What is no digit: other words, said by the voices of the corpus `voices`, and noises. For notebook 7's small network.

A network that has only met digits takes everything for one. These clips, labelled -1, teach it to say no, and test
whether it does: with words that it has met in training (WORDS), and with words that it never has (UNHEARD). Speakers
have the names that they have in `voices`, so that both corpora can be split by speaker together. Noises are computed.
"""

import os
from collections.abc import Collection
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from spokendigits.corpora import espeak
from spokendigits.corpora.corpus import Corpus
from spokendigits.corpora.engines import Voice, installed, say_all, say_blend
from spokendigits.corpora.voices import EspeakVoice, espeak_voices, make, read_made
from spokendigits.errors import CourseError
from spokendigits.files import read_json

RECIPE = 1  # raised whenever the same seed and programs would give other recordings
NONE = -1  # the label of what is no digit
HEARD, NEW = 8, 6  # how many of WORDS and of UNHEARD each voice says
SLOW_HEARD, SLOW_NEW = 2, 1  # of a voice mixed from two of Kokoro's: there are many, and each word takes a second
NOISE_SPEAKERS, NOISE_HEARD, NOISE_TAKES = 6, 4, 25  # "speakers" of each noise, the first ones for training
LENGTHS = (0.2, 1.4)  # seconds of a noise
RATE = espeak.SAMPLE_RATE  # of noises, in hertz

# None of them sounds like a digit in any accent of `voices`. That is why "free" and "tree" are missing, which is how many
# people say three, and "toe", "van" and "once". The first of each list rhyme with digits, or begin or end as they do.
_WORDS = read_json(Path(__file__).with_name("words.json"))
WORDS, UNHEARD = _WORDS["heard"], _WORDS["unheard"]


def _words(voice: Voice, seed: int) -> tuple[list[tuple[str, str]], np.random.Generator]:
    """The words that a voice says, in their order, each with its file's name; and what draws how."""
    random = np.random.default_rng([seed, voice.key()])
    heard, new = (SLOW_HEARD, SLOW_NEW) if voice.engine == "blend" else (HEARD, NEW)
    words = [*random.choice(WORDS, heard, replace=False), *random.choice(UNHEARD, new, replace=False)]
    words = random.permutation(words).tolist()
    return [(word, f"{word}_{voice.speaker}_{take}.wav") for take, word in enumerate(words)], random


def _speak_espeak(voice: EspeakVoice, seed: int, folder: Path) -> bool:
    words, random = _words(voice.voice(), seed)
    left = [voice.says(word, file, random) for word, file in words]
    # A word that comes out broken ends the process; another one says those after it.
    while left:
        try:
            voice.speak(left, folder)
            break
        except CourseError:
            left = left[sum((folder / utterance.file).is_file() for utterance in left) + 1 :]
    return folder.is_dir() and bool(os.listdir(folder))


def _speak(voice: Voice, seed: int, folder: Path) -> bool:
    # The numbers 0 to 9 in the last place draw how this voice says the digits.
    words = [
        (file, word, np.random.default_rng([seed, voice.key(), take, 10]))
        for take, (word, file) in enumerate(_words(voice, seed)[0])
    ]
    # There are no phonemes of these words: all blends say them in English.
    say_all(voice, words, folder, partial(say_blend, is_phonemes=False) if voice.engine == "blend" else None)
    return bool(os.listdir(folder))


def _coloured(random: np.random.Generator, samples: int, slope: float) -> np.ndarray:
    """Noise whose power falls with the frequency to the power `slope`: 0 white, 1 pink, 2 brown."""
    spectrum = np.fft.rfft(random.standard_normal(samples))
    return np.fft.irfft(spectrum / np.maximum(np.arange(len(spectrum)), 1) ** (slope / 2), samples)


def _hum(random: np.random.Generator, samples: int) -> np.ndarray:
    """Mains hum: 50 or 60 hertz with harmonics, and a little noise."""
    number = np.arange(1, random.integers(5, 30))
    strength = random.uniform(0, 1, len(number)) / number ** random.uniform(0.3, 1.5)
    angle = 2 * np.pi * random.choice([50, 60]) * number[:, None] * np.arange(samples) / RATE
    hum = strength @ np.sin(angle + random.uniform(0, 2 * np.pi, (len(number), 1)))
    return hum + 0.02 * np.abs(hum).max() * random.standard_normal(samples)


def _note(random: np.random.Generator, samples: int, pitch: float) -> np.ndarray:
    """One tone of an instrument that does not exist: harmonics, an attack, a decay; `pitch` as MIDI counts it."""
    hertz = 440 * 2 ** ((pitch - 69) / 12)
    number = np.arange(1, 1 + min(12, int(RATE / 2 / hertz)))
    strength = random.uniform(0.2, 1, len(number)) / number ** random.uniform(0.5, 2)
    seconds = np.arange(samples) / RATE
    tone = strength @ np.sin(2 * np.pi * hertz * number[:, None] * seconds + random.uniform(0, 6, (len(number), 1)))
    return tone * np.minimum(1, seconds / random.uniform(0.003, 0.05)) * np.exp(-seconds * random.uniform(0.3, 6))


def _chord(random: np.random.Generator, samples: int) -> np.ndarray:
    notes = random.integers(40, 60) + random.choice([0, 3, 4, 7, 9, 10, 12, 16, 19, 24], random.integers(2, 6), False)
    return np.sum([_note(random, samples, note) for note in notes], axis=0)


def _melody(random: np.random.Generator, samples: int) -> np.ndarray:
    out, start, pitch = np.zeros(samples), 0, random.integers(48, 80)
    while start < samples:
        length = min(samples - start, round(RATE * random.uniform(0.08, 0.35)))
        out[start : start + length] += _note(random, length, pitch)
        start, pitch = start + length, np.clip(pitch + random.integers(-7, 8), 40, 90)
    return out


def _clicks(random: np.random.Generator, samples: int) -> np.ndarray:
    """Clicks and knocks: short bursts that ring."""
    out = np.zeros(samples)
    for _ in range(random.integers(1, 9)):
        seconds = np.arange(min(samples, RATE // 10)) / RATE
        ring = np.sin(2 * np.pi * 10 ** random.uniform(2, 3.8) * seconds) + random.standard_normal(len(seconds))
        start = random.integers(samples - len(seconds) + 1)
        out[start : start + len(ring)] += (
            random.uniform(0.2, 1) * ring * np.exp(-seconds / 10 ** random.uniform(-3, -1.7))
        )
    return out + 10 ** random.uniform(-5, -2.5) * random.standard_normal(samples)


def _breath(random: np.random.Generator, samples: int) -> np.ndarray:
    """A band of noise that swells and fades, as breathing, blowing and rustling do."""
    from scipy.signal import butter, sosfilt  # here, because the exported model reads audio without it

    band = (10 ** random.uniform(2, 3.2), 10 ** random.uniform(3.4, 4))
    noise = sosfilt(butter(2, band, "bandpass", fs=RATE, output="sos"), random.standard_normal(samples))
    return noise * np.sin(np.pi * np.linspace(0, 1, samples) ** random.uniform(0.4, 2)) ** random.uniform(0.5, 3)


def _silence(random: np.random.Generator, samples: int) -> np.ndarray:
    return _coloured(random, samples, random.uniform(0, 2))


def _babble(random: np.random.Generator, samples: int, recordings: list[Path]) -> np.ndarray:
    """Four to eight voices at once, one word after another."""
    out = np.zeros(samples)
    for _ in range(random.integers(4, 9)):
        talk = np.zeros(0)
        later = random.integers(RATE // 2)
        while len(talk) < later + samples:
            talk = np.concatenate([talk, soundfile.read(recordings[random.integers(len(recordings))])[0]])
        out += random.uniform(0.4, 1) * talk[later : later + samples]
    return out


NOISES = {
    "white": partial(_coloured, slope=0),
    "pink": partial(_coloured, slope=1),
    "brown": partial(_coloured, slope=2),
    "hum": _hum,
    "babble": _babble,
    "chord": _chord,
    "melody": _melody,
    "clicks": _clicks,
    "breath": _breath,
    "silence": _silence,
}


def _heard_noise(speaker: str) -> bool:
    return int(speaker.rpartition("-")[2]) < NOISE_HEARD


def _make_noise(voice: Voice, seed: int, folder: Path) -> bool:
    """Writes the clips of one "speaker" of a noise. Babble is of words that espeak-ng's voices, beside `folder`, have said."""
    given = ()
    if voice.name == "babble":
        known = set(WORDS if _heard_noise(voice.speaker) else UNHEARD)
        # Of this engine alone: it is always there, and has one sample rate.
        said = sorted(folder.parent.glob("espeak-*/*.wav"))
        given = ([path for path in said if path.name.partition("_")[0] in known],)
        if given == ([],):
            return False
    folder.mkdir()
    for take in range(NOISE_TAKES):
        random = np.random.default_rng([seed, voice.key(), take])
        noise = NOISES[voice.name](random, round(RATE * random.uniform(*LENGTHS)), *given)
        decibels = random.uniform(-75, -50) if voice.name == "silence" else random.uniform(-30, -1)
        noise *= 10 ** (decibels / 20) / np.abs(noise).max()
        soundfile.write(folder / f"{voice.name}_{voice.speaker}_{take}.wav", noise, RATE, subtype="PCM_16")
    return True


def fetch(
    root: Path | str | None = None, seed: int = 0, progress: bool = True, engines: Collection[str] | None = None
) -> Path:
    """Makes the corpus at `root` (default: in the course's data folder) with the programs that are installed.

    seed, engines: as for `voices.fetch`; the same ones give the same speakers.

    14 words of each voice, 3 of each blend of Kokoro's, and 1,500 noises of 0.2 to 1.4 seconds: mono, 16-bit,
    `{speaker}/{word}_{speaker}_{take}.wav`. A word that came out broken is left out. Takes minutes. A corpus of the same
    seed and the same voices is kept; a new program's voices are added. What was spoken before an interruption is not
    spoken again.
    Raises CourseError if `root` holds something else.
    """
    speakers = {voice.voice(): partial(_speak_espeak, voice, seed) for voice, _ in espeak_voices(seed)}
    speakers |= {voice: partial(_speak, voice, seed) for voice in installed(engines)}
    noises = [Voice(f"noise-{kind}-{n}", "noise", kind, "") for kind in NOISES for n in range(NOISE_SPEAKERS)]
    parts = [speakers, {voice: partial(_make_noise, voice, seed) for voice in noises}]
    return make("others", RECIPE, parts, seed, root, engines, progress)


def read(root: Path | str) -> Corpus:
    """Reads a corpus that `fetch` made.

    Columns beside a corpus's own: `word` (or which noise), `kind` ("word" or "noise"), `heard` (bool: may be used for
    training; the others are for tests alone), and `engine`, `voice`, `accent` as in `voices`. `digit` is -1. Speakers of
    noises, `noise-hum-0`, are heard or not as a whole.
    Raises CourseError if there is none at `root`, or clips are missing.
    """

    def describe(table: pd.DataFrame) -> pd.DataFrame:
        noise = table["speaker"].str.startswith("noise-")
        heard_noise = table["speaker"].where(noise, "-0").map(_heard_noise)
        heard = heard_noise.where(noise, table["word"].isin(WORDS))  # "white" is a noise, and a word
        return table.assign(digit=NONE, kind=np.where(noise, "noise", "word"), heard=heard)

    pattern = r"(?P<word>[^_]+)_(?P<speaker>.+)_(?P<take>\d+)\.wav"
    return read_made("others", root, "Other words by many voices, and noises", pattern, describe)
