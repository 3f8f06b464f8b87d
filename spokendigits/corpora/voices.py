"""Many voices: the digits as said by every speech synthesiser that this machine has. Notebook 6.

`synthetic` has AudioMNIST's shape and sixty voices; this corpus wants as many kinds of voice as can be had, so that a
model trained on it reads people. espeak-ng, which comes with the course, gives hundreds of voices, half of them with a
foreign accent: a Greek voice reads "θρι". The others are those of `engines`, where they are installed.
"""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from spokendigits.corpora import espeak
from spokendigits.corpora.corpus import NAME, Corpus, table_of
from spokendigits.corpora.engines import ENGINES, SPELLINGS, Voice, installed, say_all
from spokendigits.corpora.storage import check_replaceable, read_facts
from spokendigits.corpora.synthetic import ACCENTS, ENDINGS
from spokendigits.devices import cores
from spokendigits.errors import CourseError
from spokendigits.files import atomic_folder, data_folder, write_json

RECIPE = 1  # raised whenever the same seed and programs would give other recordings
ESPEAK_VOICES, ESPEAK_TAKES = 600, 2
HALF = ".half"  # the end of a folder's name while its voice speaks


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

    def speak(self, utterances: list[espeak.Utterance], folder: Path) -> None:
        """Speaks into `folder`. Raises CourseError at the first word that comes out broken."""
        list(espeak.speak_all([espeak.Job(self.speaker, self.accent, self.variant, str(folder), utterances)], 1))


def espeak_voices(seed: int) -> list[tuple[EspeakVoice, list[espeak.Utterance]]]:
    """Random voices of espeak-ng, and the digits as they say them: an accent or a foreign language, a variant, pitch, rate."""
    random = np.random.default_rng(seed)
    foreign = [language for language in SPELLINGS if language != "en"]
    voices = []
    for number in range(ESPEAK_VOICES):
        language = "en" if number % 2 else foreign[random.integers(len(foreign))]
        accent = list(ACCENTS)[random.integers(len(ACCENTS))] if language == "en" else language
        variant = espeak.variants()[random.integers(len(espeak.variants()))]
        manner = random.integers((15, 20, 105), (90, 80, 200))
        voice = EspeakVoice(f"espeak-{number:03}", language, accent, variant, *manner)
        said = [
            voice.says(word, f"{digit}_{voice.speaker}_{take}.wav", random)
            for take in range(ESPEAK_TAKES)
            for digit, word in enumerate(SPELLINGS[language])
        ]
        voices.append((voice, said))
    return voices


def _speak_espeak(voice: EspeakVoice, said: list[espeak.Utterance], folder: Path) -> bool:
    # One broken word, and the process ends: the voice is left out.
    with contextlib.suppress(CourseError):
        voice.speak(said, folder)
    return len(list(folder.glob("*"))) == len(said)


def _speak(voice: Voice, seed: int, folder: Path) -> bool:
    """Speaks the digits of one voice into `folder`; says whether each digit is there."""
    words = [
        (f"{digit}_{voice.speaker}_{take}.wav", word, np.random.default_rng([seed, voice.key(), take, digit]))
        for take in range(ENGINES[voice.engine].takes)
        for digit, word in enumerate(ENGINES[voice.engine].words[voice.language])
    ]
    say_all(voice, words, folder)
    return len({path.name[0] for path in folder.iterdir()}) == 10


def _speak_once(speak: Callable[[Path], bool], folder: Path) -> int:
    """Lets one voice speak into `folder`, whole or not at all; returns how many clips, 0 if it could not."""
    if not folder.is_dir():
        half = folder.with_name(folder.name + HALF)
        shutil.rmtree(half, ignore_errors=True)
        if not speak(half):
            shutil.rmtree(half, ignore_errors=True)
            half.mkdir()  # so that it is not tried again
        half.rename(folder)
    return len(os.listdir(folder))


def make(
    name: str, recipe: int, parts: Sequence[dict[Voice, Callable[[Path], bool]]], seed: int,
    root: Path | str | None, engines: Collection[str] | None, progress: bool,
) -> Path:  # fmt: skip
    """Makes a corpus at `root`, a folder for each voice; keeps one that is there and was made in the same way.

    parts: one after another, voices and what speaks each of them: it fills the folder that it is given, beside those of the
    voices that have spoken, and says whether that is to be kept. Where nothing but the voices differs from the corpus that
    is there, what was spoken is kept. What was spoken before an interruption is not spoken again.
    Raises CourseError if `root` holds something else.
    """
    if root is None:
        root = data_folder() / (name if engines is None else "-".join([name, "espeak", *engines]))
    root, stamp = Path(root), f"{name}.json"
    programs = [voice.speaker for part in parts for voice in part if voice.engine in ENGINES]
    record = {"recipe": recipe, "seed": seed, "espeak": espeak.version(), "voices": programs}
    check_replaceable(root, stamp)
    old = read_facts(root / stamp)
    if old == record:
        return root
    key = hashlib.sha256(json.dumps(record).encode()).hexdigest()[:8]
    stage = root.with_name(f".{root.name}-{key}")  # what was spoken before an interruption is found there
    stage.mkdir(parents=True, exist_ok=True)
    if {**old, "voices": programs} == record:
        for voice in (voice for part in parts for voice in part if (root / voice.speaker).is_dir()):
            shutil.copytree(root / voice.speaker, stage / voice.speaker, dirs_exist_ok=True)
    clips = {}
    for part in parts:
        with ThreadPoolExecutor(cores()) as threads:
            spoken = {voice: threads.submit(_speak_once, speak, stage / voice.speaker) for voice, speak in part.items()}
            try:
                bar = tqdm(spoken.items(), root.name, unit="voice", disable=not progress)
                clips |= {voice: count.result() for voice, count in bar}
            finally:
                threads.shutdown(cancel_futures=True)
    with atomic_folder(root) as folder:
        rows = [{**voice._asdict(), "clips": count} for voice, count in clips.items() if count]
        for row in rows:
            # A copy: were they moved, a failure here would lose them.
            shutil.copytree(stage / row["speaker"], folder / row["speaker"])
        pd.DataFrame(rows).to_csv(folder / "speakers.csv", index=False)
        write_json(folder / stamp, record)
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
    speakers = {voice.voice(): partial(_speak_espeak, voice, said) for voice, said in espeak_voices(seed)}
    speakers |= {voice: partial(_speak, voice, seed) for voice in installed(engines)}
    return make("voices", RECIPE, [speakers], seed, root, engines, progress)


def read_made(
    name: str,
    root: Path | str,
    title: str,
    pattern: str = NAME,
    complete: Callable[[pd.DataFrame], pd.DataFrame] | None = None,
) -> Corpus:
    """Reads a corpus that `make` left at `root`; `complete` adds columns to what the file names say (`pattern`).

    Raises CourseError if there is none, or clips are missing.
    """
    root = Path(root)
    record = read_facts(root / f"{name}.json")
    if not record or not (root / "speakers.csv").is_file():
        raise CourseError(f"{root}: no corpus of {name} here. Run `spokendigits fetch {name}`.")
    facts = pd.read_csv(root / "speakers.csv", dtype={"speaker": str})
    table = table_of(sorted(path.relative_to(root).as_posix() for path in root.glob("*/*.wav")), pattern)
    if len(table) != facts["clips"].sum():
        raise CourseError(
            f"{root}: {len(table):,} clips are here, {facts['clips'].sum():,} were made. "
            f"Delete the folder and run `spokendigits fetch {name}`."
        )
    engines = ", ".join(f"{engine} ({count} voices)" for engine, count in facts["engine"].value_counts().items())
    facts = facts.rename(columns={"name": "voice", "language": "accent"}).drop(columns="clips")
    table = complete(table) if complete else table
    table = table.merge(facts, on="speaker", how="left", validate="many_to_one")
    licence = "Made on this machine; what may be done with it follows from the licence of each voice."
    return Corpus(name, root, table, title, licence, f"{engines}, seed {record['seed']}", synthetic=True)


def read(root: Path | str) -> Corpus:
    """Reads a corpus that `fetch` made. Facts about the speaker: `engine`, `voice` and `accent` (a language's code).

    Raises CourseError if there is none at `root`, or clips are missing.
    """
    return read_made("voices", root, "Digits by many voices")
