"""Synthetic digits: AudioMNIST's shape, spoken by a program. Notebook 1, and every other.

Sixty voices of the speech synthesiser espeak-ng say the digits 0-9, up to fifty takes each. Nothing is downloaded.
This is not human speech: wherever a clip is shown or heard, the course says so.

espeak-ng is GPL-3.0. It is loaded at run time from the package `espeakng-loader`; this course ships none of it, and
the recordings are its output.
"""

import contextlib
import csv
import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from spokendigits.corpora import espeak
from spokendigits.corpora.corpus import Corpus, table_of
from spokendigits.corpora.storage import STAMP, check_replaceable, disk_errors, read_facts
from spokendigits.devices import cores
from spokendigits.errors import CourseError
from spokendigits.files import atomic_folder, check_room, data_folder, write_json

TAKES = 50  # AudioMNIST's number, and the most there can be
RECIPE = 1  # raised whenever the same seed would give other bytes
WORDS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
ENDINGS = ("", ".", "!", "?")  # espeak-ng's intonation follows the punctuation
MEGABYTES = 16  # of one take of all speakers


class Speaker(NamedTuple):
    """One synthetic voice."""

    name: str
    gender: str
    accent: str  # espeak-ng's name of it
    variant: str  # espeak-ng's `voices/!v`
    pitch: int  # 0-99
    range: int  # 0-99
    rate: int  # words a minute

    def says(self, file: str, text: str, seed: int, **how) -> espeak.Utterance:
        """One clip in this voice's usual way of speaking; `how` as in `espeak.Utterance`: peak, lead, tail, noise."""
        return espeak.Utterance(file, text, seed, self.rate, self.pitch, self.range, **how)

    def job(self, folder: Path | str, utterances: list[espeak.Utterance]) -> espeak.Job:
        """These clips of this voice, to be spoken into `folder`."""
        return espeak.Job(self.name, self.accent, self.variant, str(folder), utterances)


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
with open(Path(__file__).with_name("speakers.csv"), encoding="utf-8", newline="") as _file:
    SPEAKERS = tuple(Speaker(*row[:4], *map(int, row[4:])) for row in list(csv.reader(_file))[1:])


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


def _record(root: Path) -> tuple[dict, list[str]]:
    """The corpus's own record, and the clips that it names, once every one was seen to be there."""
    record = read_facts(root / STAMP)
    if not {"takes", "speakers"} <= record.keys():
        raise CourseError(f"{root}: no synthetic corpus here. Run `spokendigits fetch synthetic`.")
    clips = [
        f"{speaker}/{digit}_{speaker}_{take}.wav"
        for speaker in record["speakers"]
        for digit in range(len(WORDS))
        for take in range(record["takes"])
    ]
    there = {
        path.relative_to(root).as_posix() for pattern in ("*/*.wav", "speakers.csv") for path in root.glob(pattern)
    }
    if missing := sorted({*clips, "speakers.csv"} - there):
        raise CourseError(
            f"{root}: {len(missing)} of {len(clips) + 1} files are missing, {missing[0]} first. "
            f"Delete the folder and run `spokendigits fetch synthetic`."
        )
    return record, clips


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
    # What decides which bytes a take has.
    made = {"seed": seed, "recipe": RECIPE, "espeak": espeak.version(), "speakers": [voice.name for voice in SPEAKERS]}
    with contextlib.suppress(CourseError):
        record, _ = _record(root)
        if record["takes"] >= takes and record.items() >= made.items():
            return root
    check_replaceable(root)
    check_room(root, takes * MEGABYTES * 1e6)
    with disk_errors(root), atomic_folder(root) as folder:
        jobs = [voice.job(folder / voice.name, utterances(voice, takes, seed)) for voice in SPEAKERS]
        spoken = espeak.speak_all(jobs, processes or cores())
        bar = tqdm(spoken, "synthetic speakers", len(jobs), unit="speaker", disable=not progress)
        digests = {job.speaker: digest for job, digest in bar}
        pd.DataFrame(SPEAKERS).rename(columns={"name": "speaker"}).to_csv(folder / "speakers.csv", index=False)
        digest = hashlib.sha256("".join(digests[voice.name] for voice in SPEAKERS).encode()).hexdigest()
        write_json(folder / STAMP, {"synthetic": True, "takes": takes, "sha256": digest, **made})
    return root


def read(root: Path | str) -> Corpus:
    """Reads a corpus that `fetch` made. Facts about the speaker: `gender`, `accent`, `voice`.

    Raises CourseError if there is none at `root` or clips are missing.
    """
    root = Path(root)
    record, clips = _record(root)
    facts = pd.read_csv(root / "speakers.csv", dtype=str).rename(columns={"variant": "voice"})
    facts = facts[["speaker", "gender", "accent", "voice"]].replace({"accent": ACCENTS})
    table = table_of(clips).merge(facts, on="speaker", how="left", validate="many_to_one")
    licence = "Made on this machine by espeak-ng (a GPL-3.0 program); the recordings are its output."
    source = f"espeak-ng {record['espeak']}, recipe {record['recipe']}, seed {record['seed']}"
    return Corpus("synthetic", root, table, "Synthetic digits", licence, source, synthetic=True)
