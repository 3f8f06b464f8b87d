"""Synthetic digits: AudioMNIST's shape, spoken by a program.

Sixty voices of the speech synthesiser espeak-ng say the digits 0-9, up to fifty takes each. Nothing is downloaded.
This is not human speech: wherever a clip is shown or heard, the course says so.

espeak-ng is GPL-3.0. It is loaded at run time from the package `espeakng-loader`; this course ships none of it, and
the recordings are its output.
"""

import hashlib
import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from spokendigits.corpora import espeak
from spokendigits.corpora.corpus import Corpus
from spokendigits.errors import CourseError
from spokendigits.files import atomic_folder, data_folder, read_json, write_json

TAKES = 50  # AudioMNIST's number, and the most there can be
RECIPE = 1  # raised whenever the same seed would give other bytes
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ENDINGS = ("", ".", "!", "?")  # espeak-ng's intonation follows the punctuation
RECORD = "corpus.json"


class Speaker(NamedTuple):
    """One synthetic voice."""

    name: str
    gender: str
    accent: str  # espeak-ng's name of it
    variant: str  # espeak-ng's `voices/!v`
    pitch: int  # 0-99
    range: int  # 0-99
    rate: int  # words a minute


# espeak-ng's English accents under short names. They are its imitations, not samples of how people there speak.
ACCENTS = {
    "en": "British",
    "en-029": "Caribbean",
    "en-gb-scotland": "Scottish",
    "en-gb-x-gbclan": "Lancastrian",
    "en-gb-x-gbcwmd": "West Midlands",
    "en-gb-x-rp": "Received Pronunciation",
    "en-us": "American",
    "en-us-nyc": "New York",
}

# How these sixty were chosen, once: 79 variants, with whispers, monotones and robots left out, were rendered with 8
# accents and 4 pitches. A candidate had to be voiced (in 78 % of its loud frames), neither clipped nor cut short, with
# a median pitch of 75-165 Hz (male) or 160-275 Hz (female), and a classifier trained on other variants had to
# recognise all of its ten digits: 1,264 of 2,528 passed. Then the one farthest from all chosen before was taken, again
# and again, so the first speakers differ most. Distance: mean MFCC 1-12 and median pitch over the ten digits at 8 kHz,
# each divided by its spread from take to take of one FSDD speaker, root mean square. FSDD's six people are 2.3 (the
# closest two) to 6.1 apart. In the finished clips the closest two of these sixty are 1.9 apart, 58 are all more than
# 2.3 from one another and 20 more than 6.1; two takes of one of them are 0.6 apart (median; 2.2 at most). Rates were
# set for words of about 0.45 s. `gender` is what the variant's file says, or else what the pitch suggests.
SPEAKERS = (
    Speaker("s01", "male", "en-us", "m1", 40, 40, 131),
    Speaker("s02", "male", "en-us", "kaukovalta", 80, 70, 157),
    Speaker("s03", "male", "en-us", "travis", 60, 63, 133),
    Speaker("s04", "male", "en-us", "boris", 80, 58, 135),
    Speaker("s05", "female", "en-029", "anika", 60, 33, 99),
    Speaker("s06", "female", "en-029", "grandma", 80, 30, 140),
    Speaker("s07", "female", "en-gb-x-gbcwmd", "Alicia", 60, 48, 197),
    Speaker("s08", "male", "en-gb-x-gbcwmd", "gustave", 80, 63, 168),
    Speaker("s09", "male", "en-us-nyc", "Andy", 80, 60, 193),
    Speaker("s10", "male", "en-us", "pablo", 80, 42, 157),
    Speaker("s11", "male", "en-029", "marcelo", 80, 50, 130),
    Speaker("s12", "male", "en-us", "Lee", 80, 34, 181),
    Speaker("s13", "male", "en-gb-x-gbclan", "ian", 60, 35, 142),
    Speaker("s14", "male", "en-029", "Tweaky", 40, 44, 160),
    Speaker("s15", "male", "en-029", "norbert", 80, 56, 172),
    Speaker("s16", "male", "en-gb-x-gbcwmd", "Nguyen", 60, 59, 147),
    Speaker("s17", "male", "en-029", "miguel", 80, 52, 136),
    Speaker("s18", "female", "en-029", "Andrea", 20, 31, 111),
    Speaker("s19", "female", "en-us", "belinda", 60, 43, 172),
    Speaker("s20", "male", "en-029", "Denis", 60, 47, 171),
    Speaker("s21", "male", "en-us", "david", 60, 42, 127),
    Speaker("s22", "male", "en-gb-x-gbcwmd", "iven3", 40, 68, 133),
    Speaker("s23", "male", "en-gb-x-gbcwmd", "Mr serious", 40, 44, 141),
    Speaker("s24", "female", "en-gb-x-gbclan", "f2", 60, 46, 179),
    Speaker("s25", "male", "en-us-nyc", "quincy", 80, 55, 149),
    Speaker("s26", "male", "en-gb-x-gbcwmd", "Marco", 80, 61, 237),
    Speaker("s27", "male", "en-gb-scotland", "Gene2", 80, 39, 142),
    Speaker("s28", "male", "en-gb-x-gbcwmd", "Reed", 80, 65, 156),
    Speaker("s29", "female", "en-gb-scotland", "anika", 40, 67, 118),
    Speaker("s30", "female", "en-gb-x-gbclan", "Andrea", 60, 41, 90),
    Speaker("s31", "male", "en-us-nyc", "m5", 60, 35, 169),
    Speaker("s32", "male", "en-gb-x-gbcwmd", "m8", 80, 31, 127),
    Speaker("s33", "female", "en-gb-scotland", "steph2", 60, 50, 162),
    Speaker("s34", "male", "en-gb-x-gbclan", "edward", 60, 39, 147),
    Speaker("s35", "female", "en-gb-scotland", "linda", 40, 69, 166),
    Speaker("s36", "male", "en-gb-x-gbclan", "Mario", 80, 61, 155),
    Speaker("s37", "female", "en-us-nyc", "shelby", 80, 52, 172),
    Speaker("s38", "male", "en-gb-x-rp", "michel", 40, 66, 173),
    Speaker("s39", "male", "en-gb-x-gbclan", "pedro", 80, 33, 111),
    Speaker("s40", "male", "en-us-nyc", "m7", 40, 53, 138),
    Speaker("s41", "male", "en-gb-scotland", "Michael", 40, 51, 166),
    Speaker("s42", "female", "en-gb-x-gbclan", "f5", 80, 65, 166),
    Speaker("s43", "female", "en-gb-x-gbclan", "Annie", 80, 69, 127),
    Speaker("s44", "male", "en-us-nyc", "Hugo", 80, 45, 167),
    Speaker("s45", "male", "en-gb-x-rp", "klatt3", 80, 54, 151),
    Speaker("s46", "male", "en-gb-scotland", "victor", 40, 58, 138),
    Speaker("s47", "female", "en", "Alicia", 20, 64, 178),
    Speaker("s48", "male", "en-gb-x-rp", "sandro", 80, 37, 164),
    Speaker("s49", "male", "en-us-nyc", "Gene", 40, 49, 126),
    Speaker("s50", "male", "en-gb-scotland", "m6", 80, 57, 134),
    Speaker("s51", "female", "en", "Annie", 40, 62, 175),
    Speaker("s52", "female", "en-us-nyc", "linda", 60, 54, 165),
    Speaker("s53", "female", "en-gb-scotland", "f3", 80, 36, 162),
    Speaker("s54", "female", "en-gb-x-rp", "belinda", 40, 67, 164),
    Speaker("s55", "female", "en", "grandma", 60, 48, 147),
    Speaker("s56", "female", "en", "f1", 60, 37, 191),
    Speaker("s57", "female", "en", "f2", 80, 38, 201),
    Speaker("s58", "female", "en", "Nguyen", 80, 46, 129),
    Speaker("s59", "female", "en", "f3", 40, 32, 156),
    Speaker("s60", "female", "en", "f5", 60, 56, 183),
)


def utterances(speaker: Speaker, takes: int, seed: int) -> list[espeak.Utterance]:
    """What one speaker says, take by take, so that the first takes are the same however many follow.

    A take differs from the next as two tries of a person do: a little faster or higher, another melody, nearer to
    the microphone or farther from it.
    """
    spoken = []
    for take in range(takes):
        for digit, word in enumerate(WORDS):
            random = np.random.default_rng([seed, int(speaker.name[1:]), take, digit])
            spoken.append(
                espeak.Utterance(
                    file=f"{digit}_{speaker.name}_{take}.wav",
                    text=word + ENDINGS[random.integers(len(ENDINGS))],
                    seed=int(random.integers(2**31)),
                    rate=max(80, round(speaker.rate * random.uniform(0.9, 1.12))),
                    pitch=int(np.clip(speaker.pitch + random.integers(-6, 7), 0, 99)),
                    range=int(np.clip(speaker.range + random.integers(-20, 21), 0, 99)),
                    peak=round(random.uniform(0.25, 0.8), 3),
                    lead=round(random.uniform(0.03, 0.12), 3),
                    tail=round(random.uniform(0.04, 0.14), 3),
                    noise=round(10 ** random.uniform(-3.5, -2.7), 6),
                )
            )
    return spoken


def _files(record: dict) -> list[str]:
    return [
        f"{speaker}/{digit}_{speaker}_{take}.wav"
        for speaker in record["speakers"]
        for digit in range(len(WORDS))
        for take in range(record["takes"])
    ]


def _record(root: Path) -> dict:
    """The corpus's own record, once every clip it names was seen to be there."""
    try:
        record = read_json(root / RECORD)
        expected = {*_files(record), "speakers.csv"}
    except (OSError, ValueError, KeyError, TypeError):
        raise CourseError(f"{root}: no synthetic corpus here. Run `spokendigits fetch synthetic`.") from None
    found = {f"{speaker}/{file}" for speaker in record["speakers"] for file in _listed(root / speaker)}
    found.update(_listed(root))
    if missing := sorted(expected - found):
        raise CourseError(
            f"{root}: {len(missing)} of {len(expected)} files are missing, {missing[0]} first. "
            f"Delete the folder and run `spokendigits fetch synthetic`."
        )
    return record


def _listed(folder: Path) -> list[str]:
    return os.listdir(folder) if folder.is_dir() else []


def _done(root: Path, takes: int, seed: int) -> bool:
    try:
        record = _record(root)
    except CourseError:
        return False
    made = {"seed": seed, "recipe": RECIPE, "espeak": espeak.version(), "speakers": [one.name for one in SPEAKERS]}
    return record["takes"] >= takes and all(record.get(key) == value for key, value in made.items())


def fetch(
    root: Path | str | None = None,
    takes: int = TAKES,
    seed: int = 0,
    processes: int | None = None,
    progress: bool = True,
) -> Path:
    """Makes the corpus at `root` (default: the course's data folder) and returns the folder.

    60 speakers x 10 digits x `takes` (1-50) WAV files, mono, 16-bit, 22,050 Hz, `{speaker}/{digit}_{speaker}_{take}.wav`.
    The same seed gives the same bytes, whatever the number of processes. Does nothing if a whole corpus with this seed
    and at least as many takes is there; otherwise makes it all again. An interrupted making leaves what was there before.
    Raises CourseError if espeak-ng cannot speak, a clip is silent, or `root` holds something else.
    """
    root = data_folder() / "synthetic" if root is None else Path(root)
    if not 1 <= takes <= TAKES:
        raise CourseError(f"takes={takes}: the synthetic corpus has 1 to {TAKES} takes of each digit and speaker.")
    if _done(root, takes, seed):
        return root
    if root.exists() and not (root / RECORD).is_file() and (not root.is_dir() or any(root.iterdir())):
        raise CourseError(f"{root}: holds something else. Choose another folder for the synthetic corpus.")
    try:
        with atomic_folder(root) as folder:
            _make(folder, takes, seed, processes or os.cpu_count() or 1, progress)
    except OSError as error:
        raise CourseError(
            f"{root}: the synthetic corpus could not be written ({error.strerror or error}). "
            f"{takes} takes need about {takes * 16} MB; make room or choose another folder."
        ) from None
    return root


def _make(folder: Path, takes: int, seed: int, processes: int, progress: bool) -> None:
    jobs = [
        espeak.Job(one.name, one.accent, one.variant, str(folder / one.name), utterances(one, takes, seed))
        for one in SPEAKERS
    ]
    spoken = espeak.speak_all(jobs, processes)
    bar = tqdm(spoken, "synthetic speakers", len(jobs), unit="speaker", disable=not progress)
    digests = {job.speaker: digest for job, digest in bar}
    pd.DataFrame(SPEAKERS).rename(columns={"name": "speaker"}).to_csv(folder / "speakers.csv", index=False)
    names = [one.name for one in SPEAKERS]
    record = {
        "synthetic": True,
        "takes": takes,
        "seed": seed,
        "recipe": RECIPE,
        "espeak": espeak.version(),
        "sha256": hashlib.sha256("".join(digests[name] for name in names).encode()).hexdigest(),
        "speakers": names,
    }
    write_json(folder / RECORD, record)


def read(root: Path | str) -> Corpus:
    """Reads a corpus that `fetch` made. Facts about the speaker: `gender`, `accent`, `voice`.

    Raises CourseError if there is none at `root` or clips are missing.
    """
    root = Path(root)
    record = _record(root)
    facts = pd.read_csv(root / "speakers.csv", dtype=str).rename(columns={"variant": "voice"})
    table = pd.DataFrame({"path": _files(record)})
    name = table["path"].str.extract(r"/(?P<digit>\d)_(?P<speaker>\w+)_(?P<take>\d+)\.wav$")
    table = table.join(name.astype({"digit": int, "take": int}))
    facts["accent"] = facts["accent"].replace(ACCENTS)
    table = table.merge(
        facts[["speaker", "gender", "accent", "voice"]], on="speaker", how="left", validate="many_to_one"
    )
    return Corpus(
        name="synthetic",
        root=root,
        table=table,
        title="Synthetic digits",
        licence="Made on this machine by espeak-ng (a GPL-3.0 program); the recordings are its output.",
        source=f"espeak-ng {record['espeak']}, recipe {record['recipe']}, seed {record['seed']}",
        synthetic=True,
    )
