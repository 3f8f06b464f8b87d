"""What is no digit: other words, said by the voices of the corpus `voices`, and noises.

A network that has only met digits takes everything for one. These clips, labelled -1, teach it to say no, and test
whether it does: with words that it has met in training (WORDS), and with words that it never has (UNHEARD). Speakers
have the names that they have in `voices`, so that both corpora can be split by speaker together. Noises are computed.
"""

import functools
import os
from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np
import soundfile

from spokendigits.corpora import espeak, voices
from spokendigits.corpora.corpus import Corpus
from spokendigits.errors import CourseError

RECIPE = 1  # raised whenever the same seed and programs would give other recordings
RECORD = "others.json"
NONE = -1  # the label of what is no digit
HEARD, NEW = 8, 6  # how many of WORDS and of UNHEARD each voice says
SLOW_HEARD, SLOW_NEW = (
    2,
    1,
)  # of a voice mixed from two of Kokoro's, of which there are many, and each word takes a second
NOISE_SPEAKERS, NOISE_HEARD, NOISE_TAKES = 6, 4, 25  # "speakers" of each noise, the first ones for training
LENGTHS = (0.2, 1.4)  # seconds of a noise
RATE = espeak.SAMPLE_RATE  # of noises, in hertz

# None of them sounds like a digit in any accent of `voices`. That is why "free" and "tree" are missing, which is how many
# people say three, and "toe", "van" and "once". The first of each list rhyme with digits, or begin or end as they do.
WORDS = (
    "sun", "run", "fun", "done", "shoe", "blue", "true", "who", "tool", "key", "bee", "tea", "wheel",
    "door", "more", "floor", "hive", "dive", "fire", "knife", "time", "sticks", "mix", "sink", "heaven", "given",
    "late", "gate", "wait", "plate", "mine", "wine", "sign", "nice", "night", "hero", "zebra", "near", "arrow",
    "yes", "no", "stop", "go", "left", "right", "hello", "please", "thanks", "apple", "banana", "orange", "water",
    "coffee", "bread", "butter", "sugar", "house", "window", "table", "garden", "music", "paper", "pencil", "letter",
    "mother", "brother", "friend", "dog", "cat", "bird", "fish", "horse", "tiger", "monkey", "summer", "winter",
    "morning", "evening", "monday", "river", "mountain", "ocean", "city", "street", "train", "bicycle", "doctor",
    "teacher", "school", "happy", "angry", "green", "yellow", "black", "white", "picture", "tomorrow", "hundred",
    "computer", "market",
)  # fmt: skip
UNHEARD = (
    "through", "glue", "bun", "gun", "knee", "store", "shore", "drive", "life", "bricks", "wink", "eleven", "leather",
    "never", "great", "date", "paint", "line", "dine", "shine", "narrow", "zipper", "ten", "fight", "tooth",
    "lemon", "flower", "kettle", "pocket", "ticket", "hammer", "village", "island", "castle", "candle", "blanket",
    "jacket", "camel", "rabbit", "purple", "thunder", "holiday", "sandwich", "goodbye", "maybe", "sister", "bottle",
    "kitchen", "father", "silver",
)  # fmt: skip


def _said(voice: voices.Voice, seed: int) -> tuple[list[str], np.random.Generator]:
    """The words that a voice says, in their order, and what draws how."""
    random = np.random.default_rng([seed, voices.voice_key(voice)])
    heard, new = (SLOW_HEARD, SLOW_NEW) if voice.engine == "blend" else (HEARD, NEW)
    words = [*random.choice(WORDS, heard, replace=False), *random.choice(UNHEARD, new, replace=False)]
    return [str(word) for word in random.permutation(words)], random


def _file(word: str, voice: voices.Voice, take: int) -> str:
    return f"{word}_{voice.speaker}_{take}.wav"


def _speak(half: Path, seed: int, voice: voices.Voice, own: voices.EspeakVoice | None) -> bool:
    """Lets one voice speak into `half`; says whether it said anything."""
    words, random = _said(voice, seed)
    if own:
        left = [own.says(word, _file(word, voice, take), random) for take, word in enumerate(words)]
        # A word that comes out broken ends the process; another one says those after it.
        while left:
            try:
                list(espeak.speak_all([own.job(left, str(half))], 1))
                break
            except CourseError:
                left = left[sum((half / one.file).is_file() for one in left) + 1 :]
    else:
        say = voices.ENGINES[voice.engine].say
        if voice.engine == "blend":
            say = functools.partial(
                say, is_phonemes=False
            )  # there are no phonemes of these words: all say them in English
        key = voices.voice_key(voice)
        # The numbers 0 to 9 in the last place draw how this voice says the digits.
        drawn = [np.random.default_rng([seed, key, take, 10]) for take in range(len(words))]
        files = [_file(word, voice, take) for take, word in enumerate(words)]
        voices.say_all(half, voice, say, zip(files, words, drawn, strict=True))
    return half.is_dir() and bool(os.listdir(half))


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
    "white": functools.partial(_coloured, slope=0),
    "pink": functools.partial(_coloured, slope=1),
    "brown": functools.partial(_coloured, slope=2),
    "hum": _hum,
    "babble": _babble,
    "chord": _chord,
    "melody": _melody,
    "clicks": _clicks,
    "breath": _breath,
    "silence": _silence,
}


def _noises() -> Iterator[voices.Voice]:
    for kind in NOISES:
        for number in range(NOISE_SPEAKERS):
            yield voices.Voice(f"noise-{kind}-{number}", "noise", kind, "")


def _heard_noise(speaker: str) -> bool:
    return int(speaker.rpartition("-")[2]) < NOISE_HEARD


def _make_noise(stage: Path, half: Path, seed: int, voice: voices.Voice) -> bool:
    """Writes the clips of one "speaker" of a noise into `half`. Babble is of the words that espeak-ng has said in `stage`."""
    recordings = []
    if voice.name == "babble":
        known = set(WORDS if _heard_noise(voice.speaker) else UNHEARD)
        said = sorted(stage.glob("espeak-*/*.wav"))  # of this engine alone: it is always there, and has one sample rate
        recordings = [path for path in said if path.name.partition("_")[0] in known]
        if not recordings:
            return False
    half.mkdir()
    for take in range(NOISE_TAKES):
        random = np.random.default_rng([seed, voices.voice_key(voice), take])
        samples = round(RATE * random.uniform(*LENGTHS))
        given = (recordings,) if recordings else ()
        noise = NOISES[voice.name](random, samples, *given)
        decibels = random.uniform(-75, -50) if voice.name == "silence" else random.uniform(-30, -1)
        noise *= 10 ** (decibels / 20) / np.abs(noise).max()
        soundfile.write(half / _file(voice.name, voice, take), noise, RATE, subtype="PCM_16")
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
    found = voices.found(engines)
    made = {"recipe": RECIPE, "seed": seed, "espeak": espeak.version(), "voices": [voice.speaker for voice in found]}
    espeak_voices = {voice.speaker: voice for voice, _ in voices.espeak_voices(seed)}
    speakers = [*(voice.voice() for voice in espeak_voices.values()), *found]

    def speak(stage: Path, voice: voices.Voice, half: Path) -> bool:
        return _speak(half, seed, voice, espeak_voices.get(voice.speaker))

    def make_noise(stage: Path, voice: voices.Voice, half: Path) -> bool:
        return _make_noise(stage, half, seed, voice)

    root = voices.default_folder("others", engines) if root is None else Path(root)
    return voices.make(root, RECORD, made, [(speakers, speak), (list(_noises()), make_noise)], progress)


def read(root: Path | str) -> Corpus:
    """Reads a corpus that `fetch` made.

    Columns beside a corpus's own: `word` (or which noise), `kind` ("word" or "noise"), `heard` (bool: may be used for
    training; the others are for tests alone), and `engine`, `voice`, `accent` as in `voices`. `digit` is -1. Speakers of
    noises, `noise-hum-0`, are heard or not as a whole.
    Raises CourseError if there is none at `root`, or clips are missing.
    """
    root = Path(root)
    made, table, facts = voices.listed(root, RECORD, "others")
    table = table.join(table["path"].str.extract(r"/(?P<word>[^_]+)_(?P<speaker>.+)_(?P<take>\d+)\.wav$"))
    noise = table["speaker"].str.startswith("noise-")
    table = table.assign(
        digit=NONE,
        take=table["take"].astype(int),
        kind=np.where(noise, "noise", "word"),
        heard=[
            _heard_noise(speaker) if is_noise else word in WORDS
            for word, speaker, is_noise in zip(table["word"], table["speaker"], noise, strict=True)
        ],
    )
    return Corpus(
        name="others",
        root=root,
        table=table.merge(facts, on="speaker", how="left", validate="many_to_one"),
        title="Other words by many voices, and noises",
        licence="Made on this machine; what may be done with it follows from the licence of each voice.",
        source=voices.spoken_by(facts, made["seed"]),
        synthetic=True,
    )
