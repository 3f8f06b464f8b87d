"""The speech programs that a computer may have, and how each says a word. For the corpora `voices` and `others`.

Their voices are built from recordings of people (not of these digits, but of a speaker's diphones or sentences): MBROLA,
flite, Pico and RHVoice from Debian, Kokoro from its published files. The course ships none of them. Their licences are
their own: MBROLA's voices may not be sold, some of RHVoice's may not be used commercially.
"""

import contextlib
import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile

from spokendigits.corpora import espeak
from spokendigits.corpora.synthetic import ENDINGS, WORDS
from spokendigits.files import data_folder, read_json

BLENDS = 300  # voices mixed from two of Kokoro's
RATES, PITCHES = (0.8, 1.3), (0.85, 1.18)  # around a voice's own
LONGEST = 1.4  # seconds of a digit; what is longer, or shorter than `espeak.SHORTEST`, went wrong
SECONDS = 60  # for one utterance; then a program is stuck

# English digits in the spelling of other languages: read aloud by a voice of that language, they have its accent. And the
# same as phonemes, for Kokoro, whose voices can be given any accent: a Spaniard's "five" may end on a b.
_DIGITS = read_json(Path(__file__).with_name("digits.json"))
SPELLINGS, SOUNDS = {"en": WORDS, **_DIGITS["spellings"]}, _DIGITS["sounds"]


class Voice(NamedTuple):
    """One voice of one program."""

    speaker: str
    engine: str
    name: str  # the program's name of it
    language: str  # a key of the engine's words

    def key(self) -> int:
        """A number that is the voice's own, for seeds: the same whatever other voices there are."""
        return int.from_bytes(hashlib.sha256(self.speaker.encode()).digest()[:4], "big")


def _run(*command: str, text: str | None = None) -> str:
    options = {"capture_output": True, "text": True, "encoding": "utf-8", "errors": "replace"}
    return subprocess.run(command, input=text, timeout=SECONDS, **options).stdout


def _mbrola() -> Iterator[tuple[str, str]]:
    """The MBROLA voices whose files are installed; espeak-ng's own program turns words into their phonemes."""
    if not (shutil.which("mbrola") and shutil.which("espeak-ng")):
        return
    for line in _run("espeak-ng", "--voices=mbrola").splitlines()[1:]:
        fields = line.split()
        language, name = fields[1].split("-")[0], fields[4].removeprefix("mb/")
        database = name.split("-")[1]
        if language in SPELLINGS and Path("/usr/share/mbrola", database, database).is_file():
            yield name, language


def _say_mbrola(voice: Voice, word: str, rate: float, pitch: float, path: str) -> None:
    how = ["-s", f"{150 * rate:.0f}", "-p", f"{50 + 100 * (pitch - 1):.0f}"]
    _run("espeak-ng", "-v", voice.name, *how, "-w", path, word)


def _flite() -> Iterator[tuple[str, str]]:
    names = _run("flite", "-lv").partition(":")[2].split() if shutil.which("flite") else []
    return ((name, "en") for name in names)


def _say_flite(voice: Voice, word: str, rate: float, pitch: float, path: str) -> None:
    stretch, shift = f"duration_stretch={1 / rate:.3f}", f"f0_shift={pitch:.3f}"
    _run("flite", "-voice", voice.name, "--setf", stretch, "--setf", shift, "-t", word, "-o", path)


def _pico() -> Iterator[tuple[str, str]]:
    names = ("en-US", "en-GB", "de-DE", "fr-FR", "it-IT", "es-ES") if shutil.which("pico2wave") else ()
    return ((name, name[:2]) for name in names)


def _say_pico(voice: Voice, word: str, rate: float, pitch: float, path: str) -> None:
    how = f'<speed level="{100 * rate:.0f}"><pitch level="{100 * pitch:.0f}">{word}</pitch></speed>'
    _run("pico2wave", "-l", voice.name, "-w", path, how)


def _rhvoice() -> Iterator[tuple[str, str]]:
    languages = {"English": "en", "Russian": "ru", "Polish": "pl", "Brazilian-Portuguese": "pt", "Czech": "cs"}
    folder = Path("/usr/share/RHVoice/voices")
    for path in sorted(folder.glob("*/voice.info")) if shutil.which("RHVoice-test") else ():
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        facts = dict(line.strip().split("=", 1) for line in lines if "=" in line)
        if language := languages.get(facts.get("language", "")):
            yield facts["name"], language


def _say_rhvoice(voice: Voice, word: str, rate: float, pitch: float, path: str) -> None:
    how = ["-r", f"{100 * rate:.0f}", "-t", f"{100 * pitch:.0f}"]
    _run("RHVoice-test", "-p", voice.name, *how, "-o", path, text=word)


def _kokoro_files() -> list[Path]:
    return [path for kind in ("onnx", "bin") for path in sorted((data_folder() / "kokoro").glob(f"*.{kind}"))[:1]]


def has_kokoro() -> bool:
    """Whether `pip install kokoro-onnx` was run, and Kokoro-82M's model and voices (.onnx, .bin) are in `data/kokoro`."""
    return bool(find_spec("kokoro_onnx")) and len(_kokoro_files()) == 2


@cache
def kokoro_model():
    """Kokoro-82M, read once."""
    import onnxruntime
    from kokoro_onnx import Kokoro

    # One thread for each voice: several voices speak at once already.
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    model, voices = map(str, _kokoro_files())
    return Kokoro.from_session(onnxruntime.InferenceSession(model, options), voices)


def _kokoro() -> Iterator[tuple[str, str]]:
    return ((name, "en") for name in (kokoro_model().get_voices() if has_kokoro() else ()))


def _say_kokoro(voice: Voice, word: str, rate: float, pitch: float, path: str) -> None:
    language = "en-gb" if voice.name.startswith("b") else "en-us"
    soundfile.write(path, *kokoro_model().create(word, voice.name, rate, language))


def _blends() -> Iterator[tuple[str, str]]:
    """More speakers than Kokoro has: its voices are vectors, and between two of them lies a third, here with any accent."""
    names, accents = sorted(name for name, _ in _kokoro()), list(SOUNDS)
    random, blends = np.random.default_rng(0), {}
    for _ in range(BLENDS if names else 0):
        first, second = random.choice(names, 2, replace=False)
        blends[f"{first}+{second}+{random.integers(25, 76)}"] = accents[random.integers(len(accents))]
    return iter(blends.items())


def say_blend(voice: Voice, word: str, rate: float, pitch: float, path: str, is_phonemes: bool = True) -> None:
    """Lets a voice that is mixed of two of Kokoro's say a word, given as phonemes or in English spelling."""
    first, second, percent = voice.name.split("+")
    model, share = kokoro_model(), int(percent) / 100
    style = share * model.get_voice_style(first) + (1 - share) * model.get_voice_style(second)
    # A voice has a row for each length of a sentence. The rows of longer ones say a word with another melody.
    longer = round(12 * (pitch - PITCHES[0]) / (PITCHES[1] - PITCHES[0]))
    soundfile.write(path, *model.create(word, np.roll(style, -longer, axis=0), rate, is_phonemes=is_phonemes))


class Engine(NamedTuple):
    """A program that speaks: its voices (name, language), and how one of them says a word into a WAV file.

    It is given the rate and the pitch as multiples of the voice's own.
    """

    voices: Callable[[], Iterable[tuple[str, str]]]
    say: Callable[[Voice, str, float, float, str], None]
    takes: int = 12  # of each digit
    words: dict[str, list[str]] = SPELLINGS


ENGINES = {
    "mbrola": Engine(_mbrola, _say_mbrola),
    "flite": Engine(_flite, _say_flite),
    "pico": Engine(_pico, _say_pico),
    "rhvoice": Engine(_rhvoice, _say_rhvoice),
    "kokoro": Engine(_kokoro, _say_kokoro, takes=5),  # it takes a second each
    "blend": Engine(_blends, say_blend, takes=1, words=SOUNDS),
}


def installed(engines: Collection[str] | None = None) -> list[Voice]:
    """The voices of all `engines` (None: of ENGINES) that are installed, espeak-ng's left out: it is always there."""
    return [
        Voice(f"{engine}-{name.lower().replace('_', '-')}", engine, name, language)
        for engine, functions in ENGINES.items()
        if engines is None or engine in engines
        for name, language in functions.voices()
    ]


def say_all(
    voice: Voice, words: Iterable[tuple[str, str, np.random.Generator]], folder: Path, say: Callable | None = None
) -> None:
    """Lets a voice say all `words` (file, word, random) into `folder`; those that went wrong are left out."""
    folder.mkdir()
    say = say or ENGINES[voice.engine].say
    with tempfile.TemporaryDirectory() as scratch:
        said = Path(scratch, "said.wav")
        for file, word, random in words:
            rate, pitch, ending = random.uniform(*RATES), random.uniform(*PITCHES), ENDINGS[random.integers(4)]
            # A program that is stuck, or wrote nothing.
            with contextlib.suppress(subprocess.TimeoutExpired, soundfile.LibsndfileError):
                say(voice, word + ending, rate, pitch, str(said))
                audio, hertz = soundfile.read(said, dtype="float32", always_2d=True)
                speech = espeak.trim(audio.mean(axis=1))
                loudest = np.abs(speech).max(initial=0)
                if espeak.SHORTEST <= len(speech) / hertz <= LONGEST and loudest >= espeak.SOFTEST:
                    soundfile.write(folder / file, speech * (0.9 / loudest), hertz, subtype="PCM_16")
            said.unlink(missing_ok=True)
