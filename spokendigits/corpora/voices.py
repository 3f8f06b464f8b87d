"""Many voices: the digits as said by every speech synthesiser that this machine has.

`synthetic` has AudioMNIST's shape and sixty voices; this corpus wants as many kinds of voice as can be had, so that a
model trained on it reads people. espeak-ng, which comes with the course, gives hundreds of voices, half of them with a
foreign accent: a Greek voice reads "θρι". The others are built from recordings of people (not of these digits, but of a
speaker's diphones or sentences) and are used where they are installed: MBROLA, flite, Pico and RHVoice from Debian,
Kokoro from its published files. The course ships none of them. Their licences are their own: MBROLA's voices may not be
sold, some of RHVoice's may not be used commercially.
"""

import contextlib
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import soundfile
from tqdm import tqdm

from spokendigits.corpora import espeak
from spokendigits.corpora.corpus import Corpus
from spokendigits.corpora.synthetic import ACCENTS, ENDINGS, WORDS
from spokendigits.errors import CourseError
from spokendigits.files import atomic_folder, data_folder, read_json, write_json

RECIPE = 1  # raised whenever the same seed and programs would give other recordings
RECORD = "voices.json"
ESPEAK_VOICES, ESPEAK_TAKES = 600, 2
BLENDS = 300  # voices mixed from two of Kokoro's
RATES, PITCHES = (0.8, 1.3), (0.85, 1.18)  # around a voice's own
LONGEST = 1.4  # seconds of a digit; what is longer, or shorter than `espeak.SHORTEST`, went wrong
HALF = ".half"  # the end of a folder's name while its voice speaks
SECONDS = 60  # for one utterance; then a program is stuck

# English digits in the spelling of other languages: read aloud by a voice of that language, they have its accent.
SPELLINGS = {
    "en": WORDS,
    "cs": ["zírou", "uan", "tú", "srí", "fór", "fajv", "siks", "sevn", "ejt", "najn"],
    "da": ["siro", "wan", "tu", "tri", "for", "fajv", "siks", "seven", "ejt", "najn"],
    "de": ["siro", "wann", "tuh", "sri", "fohr", "faif", "ssix", "sewwen", "eht", "nein"],
    "el": ["ζίρο", "ουάν", "του", "θρι", "φορ", "φάιβ", "σιξ", "σέβεν", "έιτ", "νάιν"],
    "es": ["sirou", "uan", "tu", "zri", "for", "faiv", "siks", "seven", "eit", "nain"],
    "fi": ["siro", "uan", "tuu", "trii", "foor", "faiv", "siks", "seven", "eit", "nain"],
    "fr": ["ziro", "ouane", "tou", "sri", "faure", "faïve", "sixe", "sèveune", "éïte", "naïne"],
    "hi": ["ज़ीरो", "वन", "टू", "थ्री", "फ़ोर", "फ़ाइव", "सिक्स", "सेवन", "एट", "नाइन"],
    "hu": ["ziró", "van", "tú", "trí", "for", "fájv", "sziksz", "szeven", "éjt", "nájn"],
    "it": ["siro", "uan", "tu", "tri", "for", "faiv", "six", "seven", "eit", "nain"],
    "nl": ["ziero", "wan", "toe", "srie", "for", "faif", "siks", "sevven", "eet", "nain"],
    "pl": ["ziroł", "łan", "tu", "sri", "for", "fajw", "siks", "sewen", "ejt", "najn"],
    "pt": ["zirou", "uãn", "tu", "tri", "for", "faive", "siquis", "séven", "eit", "naine"],
    "ro": ["ziro", "uan", "tu", "tri", "for", "faiv", "sics", "seven", "eit", "nain"],
    "ru": ["зироу", "уан", "ту", "сри", "фор", "файв", "сикс", "сэвэн", "эйт", "найн"],
    "sv": ["siro", "oan", "to", "tri", "fårr", "fajv", "siks", "sevven", "ejt", "najn"],
    "tr": ["ziro", "van", "tu", "tri", "for", "fayv", "siks", "sevın", "eyt", "nayn"],
}


# The same as phonemes, for Kokoro, whose voices can be given any accent: a Spaniard's "five" may end on a b.
SOUNDS = {
    "en": ["zˈɪɹoʊ", "wˈʌn", "tˈu", "θɹˈi", "fˈɔɹ", "fˈaɪv", "sˈɪks", "sˈɛvən", "ˈeɪt", "nˈaɪn"],
    "gb": ["zˈɪəɹəʊ", "wˈʌn", "tˈuː", "θɹˈiː", "fˈɔː", "fˈaɪv", "sˈɪks", "sˈɛvən", "ˈeɪt", "nˈaɪn"],
    "de": ["zˈiʁo", "vˈan", "tˈu", "sʁˈi", "fˈoːɐ", "fˈaɪf", "zˈɪks", "zˈɛvən", "ˈeːt", "nˈaɪn"],
    "el": ["zˈiɾo", "uˈan", "tˈu", "θɾˈi", "fˈoɾ", "fˈaɪv", "sˈiks", "sˈeven", "ˈeɪt", "nˈaɪn"],
    "es": ["sˈiɾo", "wˈan", "tˈu", "tɾˈi", "fˈoɾ", "fˈaɪb", "sˈiks", "sˈeben", "ˈeɪt", "nˈaɪn"],
    "fr": ["zeʁˈo", "wˈan", "tˈu", "sʁˈi", "fˈɔʁ", "fˈaɪv", "sˈiks", "sɛvˈɛn", "ˈɛt", "nˈaɪn"],
    "hi": ["zˈiːɾo", "ʋˈʌn", "ʈˈuː", "tɾˈi", "fˈoːɾ", "fˈaɪʋ", "sˈɪks", "sˈeʋən", "ˈeːʈ", "nˈaɪn"],
    "it": ["dzˈɛɾo", "wˈan", "tˈu", "tɾˈi", "fˈɔɾ", "fˈaɪv", "sˈiks", "sˈɛven", "ˈɛɪt", "nˈaɪn"],
    "nl": ["zˈiɹo", "wˈɑn", "tˈu", "sɹˈi", "fˈoːɹ", "fˈaɪf", "sˈɪks", "sˈɛvə", "ˈeːt", "nˈɑɪn"],
    "ru": ["zˈiɾo", "uˈan", "tˈu", "sɾˈi", "fˈoɾ", "fˈaɪf", "sˈiks", "sˈɛvən", "ˈɛjt", "nˈajn"],
    "sv": ["sˈiɾo", "wˈɔn", "tˈuː", "tɹˈi", "fˈoːɾ", "fˈajv", "sˈɪks", "sˈɛvən", "ˈɛjt", "nˈajn"],
}


class Voice(NamedTuple):
    """One voice of one program."""

    speaker: str
    engine: str
    name: str  # the program's name of it
    language: str  # a key of the engine's words


class EspeakVoice(NamedTuple):
    """One voice of espeak-ng, and how it speaks."""

    speaker: str
    language: str  # a key of SPELLINGS
    accent: str  # espeak-ng's name of it
    variant: str  # a file of `voices/!v`
    pitch: int  # 0-99
    range: int  # 0-99
    rate: int  # words a minute

    def voice(self) -> Voice:
        return Voice(self.speaker, "espeak", f"{self.accent}+{self.variant}", self.language)

    def says(self, word: str, file: str, random: np.random.Generator) -> espeak.Utterance:
        """A word as this voice says it, a little faster or higher than the last time."""
        return espeak.Utterance(
            file=file,
            text=word + ENDINGS[random.integers(len(ENDINGS))],
            seed=int(random.integers(2**31)),
            rate=int(np.clip(self.rate * random.uniform(0.85, 1.15), 80, 450)),
            pitch=int(np.clip(self.pitch + random.integers(-8, 9), 0, 99)),
            range=int(np.clip(self.range + random.integers(-20, 21), 0, 99)),
            peak=0.9,
            lead=0.02,
            tail=0.02,
            noise=1e-4,
        )

    def job(self, utterances: list[espeak.Utterance], folder: str = "") -> espeak.Job:
        return espeak.Job(self.speaker, self.accent, self.variant, folder, utterances)


class Manner(NamedTuple):
    """How one take is said."""

    rate: float  # 1: the voice's own
    pitch: float
    ending: str


def _run(command: list[str], text: str | None = None) -> str:
    done = subprocess.run(
        command, input=text, capture_output=True, text=True, timeout=SECONDS, encoding="utf-8", errors="replace"
    )
    return done.stdout


def _mbrola() -> Iterator[tuple[str, str]]:
    """The MBROLA voices whose files are installed; espeak-ng's own program turns words into their phonemes."""
    if not (shutil.which("mbrola") and shutil.which("espeak-ng")):
        return
    for line in _run(["espeak-ng", "--voices=mbrola"]).splitlines()[1:]:
        fields = line.split()
        language, name = fields[1].split("-")[0], fields[4].removeprefix("mb/")
        database = name.split("-")[1]
        if language in SPELLINGS and Path("/usr/share/mbrola", database, database).is_file():
            yield name, language


def _say_mbrola(voice: Voice, word: str, manner: Manner, path: str) -> None:
    pitch = round(50 + 100 * (manner.pitch - 1))
    _run(["espeak-ng", "-v", voice.name, "-s", str(round(150 * manner.rate)), "-p", str(pitch), "-w", path, word])


def _flite() -> Iterator[tuple[str, str]]:
    if shutil.which("flite"):
        for name in _run(["flite", "-lv"]).partition(":")[2].split():
            yield name, "en"


def _say_flite(voice: Voice, word: str, manner: Manner, path: str) -> None:
    how = {"duration_stretch": 1 / manner.rate, "f0_shift": manner.pitch}
    settings = [part for key, value in how.items() for part in ("--setf", f"{key}={value:.3f}")]
    _run(["flite", "-voice", voice.name, *settings, "-t", word, "-o", path])


def _pico() -> Iterator[tuple[str, str]]:
    if shutil.which("pico2wave"):
        for name in ("en-US", "en-GB", "de-DE", "fr-FR", "it-IT", "es-ES"):
            yield name, name[:2]


def _say_pico(voice: Voice, word: str, manner: Manner, path: str) -> None:
    speed, pitch = round(100 * manner.rate), round(100 * manner.pitch)
    text = f'<speed level="{speed}"><pitch level="{pitch}">{word}</pitch></speed>'
    _run(["pico2wave", "-l", voice.name, "-w", path, text])


_RHVOICE_LANGUAGES = {"English": "en", "Russian": "ru", "Polish": "pl", "Brazilian-Portuguese": "pt", "Czech": "cs"}


def _rhvoice() -> Iterator[tuple[str, str]]:
    if not shutil.which("RHVoice-test"):
        return
    for path in sorted(Path("/usr/share/RHVoice/voices").glob("*/voice.info")):
        lines = path.read_text(encoding="utf-8-sig").splitlines()
        facts = dict(line.strip().split("=", 1) for line in lines if "=" in line)
        if language := _RHVOICE_LANGUAGES.get(facts.get("language", "")):
            yield facts["name"], language


def _say_rhvoice(voice: Voice, word: str, manner: Manner, path: str) -> None:
    rate, pitch = str(round(100 * manner.rate)), str(round(100 * manner.pitch))
    _run(["RHVoice-test", "-p", voice.name, "-r", rate, "-t", pitch, "-o", path], word)


def _kokoro_files() -> list[Path]:
    folder = data_folder() / "kokoro"
    return [*sorted(folder.glob("*.onnx"))[:1], *sorted(folder.glob("*.bin"))[:1]]


@cache
def _kokoro_model():
    import onnxruntime
    from kokoro_onnx import Kokoro

    # One thread for each voice: several voices speak at once already.
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    model, voices = map(str, _kokoro_files())
    return Kokoro.from_session(onnxruntime.InferenceSession(model, options), voices)


def _kokoro() -> Iterator[tuple[str, str]]:
    """Kokoro-82M's voices, if `pip install kokoro-onnx` was run, and its model and voices (.onnx, .bin) are in `data/kokoro`."""
    if find_spec("kokoro_onnx") and len(_kokoro_files()) == 2:
        for name in _kokoro_model().get_voices():
            yield name, "en"


def _say_kokoro(voice: Voice, word: str, manner: Manner, path: str) -> None:
    language = "en-gb" if voice.name.startswith("b") else "en-us"
    soundfile.write(path, *_kokoro_model().create(word, voice.name, manner.rate, language))


def _blends() -> Iterator[tuple[str, str]]:
    """More speakers than Kokoro has: its voices are vectors, and between two of them lies a third, here with any accent."""
    if not list(_kokoro()):
        return
    names, accents = sorted(_kokoro_model().get_voices()), list(SOUNDS)
    random, blends = np.random.default_rng(0), {}
    for _ in range(BLENDS):
        first, second = random.choice(names, 2, replace=False)
        blends[f"{first}+{second}+{random.integers(25, 76)}"] = accents[random.integers(len(accents))]
    yield from blends.items()


def _say_blend(voice: Voice, word: str, manner: Manner, path: str, is_phonemes: bool = True) -> None:
    first, second, percent = voice.name.split("+")
    model, share = _kokoro_model(), int(percent) / 100
    style = share * model.get_voice_style(first) + (1 - share) * model.get_voice_style(second)
    # A voice has a row for each length of a sentence. The rows of longer ones say a word with another melody.
    longer = round(12 * (manner.pitch - PITCHES[0]) / (PITCHES[1] - PITCHES[0]))
    soundfile.write(path, *model.create(word, np.roll(style, -longer, axis=0), manner.rate, is_phonemes=is_phonemes))


class Engine(NamedTuple):
    """A program that speaks: its voices (name, language), and how one of them says a word into a WAV file."""

    voices: Callable[[], Iterable[tuple[str, str]]]
    say: Callable[[Voice, str, Manner, str], None]
    takes: int = 12  # of each digit
    words: dict[str, list[str]] = SPELLINGS


ENGINES = {
    "mbrola": Engine(_mbrola, _say_mbrola),
    "flite": Engine(_flite, _say_flite),
    "pico": Engine(_pico, _say_pico),
    "rhvoice": Engine(_rhvoice, _say_rhvoice),
    "kokoro": Engine(_kokoro, _say_kokoro, takes=5),  # it takes a second each
    "blend": Engine(_blends, _say_blend, takes=1, words=SOUNDS),
}


def found(engines: Collection[str] | None = None) -> list[Voice]:
    """The voices of all `engines` (None: of ENGINES) that are installed, espeak-ng's left out: it is always there."""
    return [
        Voice(f"{engine}-{name.lower().replace('_', '-')}", engine, name, language)
        for engine, functions in ENGINES.items()
        if engines is None or engine in engines
        for name, language in functions.voices()
    ]


def _takes(seed: int, voice: Voice) -> Iterator[tuple[str, str, np.random.Generator]]:
    """What a voice says: file names, words, and what draws the manner of each."""
    key, engine = voice_key(voice), ENGINES[voice.engine]
    for take in range(engine.takes):
        for digit, word in enumerate(engine.words[voice.language]):
            yield f"{digit}_{voice.speaker}_{take}.wav", word, np.random.default_rng([seed, key, take, digit])


def voice_key(voice: Voice) -> int:
    """A number that is the voice's own, for seeds: the same whatever other voices there are."""
    return int.from_bytes(hashlib.sha256(voice.speaker.encode()).digest()[:4], "big")


def say_all(folder: Path, voice: Voice, say: Callable, words: Iterable[tuple[str, str, np.random.Generator]]) -> None:
    """Lets an engine's voice `say` all `words` (file, word, random) into `folder`; those that went wrong are left out."""
    folder.mkdir()
    with tempfile.TemporaryDirectory() as scratch:
        said = str(Path(scratch) / "said.wav")
        for file, word, random in words:
            speech = None
            manner = Manner(random.uniform(*RATES), random.uniform(*PITCHES), ENDINGS[random.integers(4)])
            with contextlib.suppress(subprocess.TimeoutExpired):
                say(voice, word + manner.ending, manner, said)
                speech = _speech(said)
            if speech is not None:
                soundfile.write(folder / file, *speech, subtype="PCM_16")
            Path(said).unlink(missing_ok=True)


def _speech(path: str) -> tuple[np.ndarray, int] | None:
    """What was said, without the silence around it, its peak at 0.9 of full scale; None if it went wrong."""
    try:
        audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except soundfile.LibsndfileError:  # the program wrote nothing
        return None
    speech = espeak.trim(audio.mean(axis=1))
    if not espeak.SHORTEST <= len(speech) / rate <= LONGEST or np.abs(speech).max() < espeak.SOFTEST:
        return None
    return speech * (0.9 / np.abs(speech).max()), rate


def espeak_voices(seed: int) -> list[tuple[EspeakVoice, list[espeak.Utterance]]]:
    """Random voices of espeak-ng, and the digits as they say them: an accent or a foreign language, a variant, pitch, rate."""
    random = np.random.default_rng(seed)
    foreign = [language for language in SPELLINGS if language != "en"]
    voices = []
    for number in range(ESPEAK_VOICES):
        language = "en" if number % 2 else foreign[random.integers(len(foreign))]
        accent = list(ACCENTS)[random.integers(len(ACCENTS))] if language == "en" else language
        variant = espeak.variants()[random.integers(len(espeak.variants()))]
        voice = EspeakVoice(
            f"espeak-{number:03}", language, accent, variant, *random.integers((15, 20, 105), (90, 80, 200))
        )
        said = [
            voice.says(word, f"{digit}_{voice.speaker}_{take}.wav", random)
            for take in range(ESPEAK_TAKES)
            for digit, word in enumerate(SPELLINGS[language])
        ]
        voices.append((voice, said))
    return voices


def _espeak_jobs(seed: int) -> list[espeak.Job]:
    return [voice.job(said) for voice, said in espeak_voices(seed)]


def _speak(half: Path, seed: int, voice: Voice, job: espeak.Job | None) -> bool:
    """Speaks the digits of one voice into `half`; says whether each digit is there."""
    if job:
        # One broken word, and the process ends: the voice is left out.
        with contextlib.suppress(CourseError):
            list(espeak.speak_all([job._replace(folder=str(half))], 1))
    else:
        say_all(half, voice, ENGINES[voice.engine].say, _takes(seed, voice))
    said = os.listdir(half) if half.is_dir() else []
    return len({name[0] for name in said}) == 10 and (job is None or len(said) == len(job.utterances))


def _whole(stage: Path, speaker: str, speak: Callable[[Path], bool]) -> int:
    """Lets one voice speak into its folder in `stage`, whole or not at all; returns how many clips, 0 if it could not."""
    own = stage / speaker
    if not own.is_dir():
        half = stage / f"{speaker}{HALF}"
        shutil.rmtree(half, ignore_errors=True)
        if not speak(half):
            shutil.rmtree(half, ignore_errors=True)
            half.mkdir()  # so that it is not tried again
        half.rename(own)
    return len(os.listdir(own))


def default_folder(name: str, engines: Collection[str] | None) -> Path:
    """Where a corpus by these engines (None: all that are found) is made unless another folder is named."""
    return data_folder() / (name if engines is None else "-".join([name, "espeak", *engines]))


def make(
    root: Path, record: str, made: dict, parts: Sequence[tuple[Sequence[Voice], Callable[[Path, Voice, Path], bool]]],
    progress: bool,
) -> Path:  # fmt: skip
    """Makes a corpus at `root`, a folder for each voice; keeps one that is there and was `made` in the same way.

    record: the name of the file that says how it was made; where nothing but the names under "voices" differs, what was
    spoken is kept. parts: one after another, voices and what speaks one of them: `speak(stage, voice, folder)` fills
    `folder` and says whether it is to be kept; `stage` holds the voices that have spoken. What was spoken before an
    interruption is not spoken again. Raises CourseError if `root` holds something else.
    """
    old = read_json(root / record) if (root / record).is_file() else None
    if old and all(old.get(key) == value for key, value in made.items()):
        return root
    if old is None and root.is_dir() and any(root.iterdir()):
        raise CourseError(f"{root}: holds something else. Choose another folder for the voices.")
    key = hashlib.sha256(json.dumps(made).encode()).hexdigest()[:8]
    stage = root.with_name(f".{root.name}-{key}")  # what was spoken before an interruption is found there
    stage.mkdir(parents=True, exist_ok=True)
    if old and {**old, "voices": None} == {**made, "voices": None}:
        for voice in (voice for voices, _ in parts for voice in voices):
            if (root / voice.speaker).is_dir():
                shutil.copytree(root / voice.speaker, stage / voice.speaker, dirs_exist_ok=True)
    clips = {}
    for voices, speak in parts:
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            waiting = {
                voice: threads.submit(_whole, stage, voice.speaker, partial(speak, stage, voice)) for voice in voices
            }
            try:
                bar = tqdm(waiting.items(), root.name, unit="voice", disable=not progress)
                clips |= {voice: spoken.result() for voice, spoken in bar}
            except BaseException:
                threads.shutdown(cancel_futures=True)
                raise
    with atomic_folder(root) as folder:
        for voice, count in clips.items():
            if count:
                # A copy: were they moved, a failure here would lose them.
                shutil.copytree(stage / voice.speaker, folder / voice.speaker)
        table = [{**voice._asdict(), "clips": count} for voice, count in clips.items() if count]
        pd.DataFrame(table).to_csv(folder / "speakers.csv", index=False)
        write_json(folder / record, made)
    shutil.rmtree(stage)
    return root


def fetch(
    root: Path | str | None = None, seed: int = 0, progress: bool = True, engines: Collection[str] | None = None
) -> Path:
    """Makes the corpus at `root` (default: in the course's data folder) with the programs that are installed.

    engines: some of ENGINES (None: all that are found); espeak-ng speaks in any case.

    About 12,000 clips of 600 espeak-ng voices, 10 of each of 300 blends of Kokoro's, 50 or 120 of each other voice:
    mono, 16-bit, at each program's sample rate, `{speaker}/{digit}_{speaker}_{take}.wav`. A voice that cannot say each
    digit once is left out. Takes minutes; Kokoro takes an hour. A corpus of the same seed and the same voices is kept; a
    new program's voices are added. What was spoken before an interruption is not spoken again.
    Raises CourseError if `root` holds something else.
    """
    others = found(engines)
    made = {"recipe": RECIPE, "seed": seed, "espeak": espeak.version(), "voices": [voice.speaker for voice in others]}
    jobs = {job.speaker: job for job in _espeak_jobs(seed)}
    speakers = [*(voice.voice() for voice, _ in espeak_voices(seed)), *others]

    def speak(stage: Path, voice: Voice, half: Path) -> bool:
        return _speak(half, seed, voice, jobs.get(voice.speaker))

    root = default_folder("voices", engines) if root is None else Path(root)
    return make(root, RECORD, made, [(speakers, speak)], progress)


def listed(root: Path, record: str, name: str) -> tuple[dict, pd.DataFrame, pd.DataFrame]:
    """What `make` left at `root`: how it was made, a table of all clips' paths, and one of facts about the speakers.

    Raises CourseError if there is none, or clips are missing.
    """
    try:
        made = read_json(root / record)
        facts = pd.read_csv(root / "speakers.csv", dtype={"speaker": str})
    except (OSError, ValueError):
        raise CourseError(f"{root}: no corpus of {name} here. Run `spokendigits fetch {name}`.") from None
    paths = sorted(path.relative_to(root).as_posix() for path in root.glob("*/*.wav"))
    if len(paths) != facts["clips"].sum():
        raise CourseError(
            f"{root}: {len(paths):,} clips are here, {facts['clips'].sum():,} were made. "
            f"Delete the folder and run `spokendigits fetch {name}`."
        )
    facts = facts.rename(columns={"name": "voice", "language": "accent"}).drop(columns="clips")
    return made, pd.DataFrame({"path": paths}), facts


def spoken_by(facts: pd.DataFrame, seed: int) -> str:
    """Which engines spoke, for a corpus's `source`."""
    counts = facts["engine"].value_counts()
    return f"{', '.join(f'{name} ({count} voices)' for name, count in counts.items())}, seed {seed}"


def read(root: Path | str) -> Corpus:
    """Reads a corpus that `fetch` made. Facts about the speaker: `engine`, `voice` and `accent` (a language's code).

    Raises CourseError if there is none at `root`, or clips are missing.
    """
    root = Path(root)
    made, table, facts = listed(root, RECORD, "voices")
    table = table.join(table["path"].str.extract(r"/(?P<digit>\d)_(?P<speaker>.+)_(?P<take>\d+)\.wav$"))
    table = table.astype({"digit": int, "take": int})
    return Corpus(
        name="voices",
        root=root,
        table=table.merge(facts, on="speaker", how="left", validate="many_to_one"),
        title="Digits by many voices",
        licence="Made on this machine; what may be done with it follows from the licence of each voice.",
        source=spoken_by(facts, made["seed"]),
        synthetic=True,
    )
