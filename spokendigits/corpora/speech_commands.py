"""Speech Commands: 105,829 recordings of 35 words by 2,618 people on their own microphones, 16 kHz; ten words are the digits.

P. Warden, arXiv 1804.03209, version 0.02, licence CC BY 4.0. No larger set of people who say these digits is known.
The other 25 words, and six long noises, are no digits.
"""

import hashlib
import re
from collections import Counter
from functools import partial
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from spokendigits.corpora.corpus import Corpus, table_of
from spokendigits.corpora.download import BadArchive, install
from spokendigits.corpora.others import NONE
from spokendigits.corpora.storage import STAMP
from spokendigits.corpora.synthetic import WORDS
from spokendigits.errors import CourseError

ARCHIVE = "speech_commands_v0.02.tar.gz"
SOURCES = {"tensorflow": (f"https://download.tensorflow.org/data/{ARCHIVE}",)}
DIGEST = "af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58"  # as torchaudio has it, too
SHAPE = (105_829, 35)  # recordings of words, and words
FILE = re.compile(r"(?P<word>[a-z]+)/(?P<speaker>[0-9a-f]{8})_nohash_(?P<take>\d+)\.wav")
NOISES = "_background_noise_"
LISTS = {"validation": "validation_list.txt", "test": "testing_list.txt"}  # of all that is not for training


def fetch(root: Path | str, source: Path | str | None = None, progress: bool = True) -> Path:
    """Puts Speech Commands at `root`, as its archive lays it out, verified, and returns `root`.

    source: a local folder, zip or tar.gz; "tensorflow" or None downloads it: 2.4 GB, and 3.5 GB more once it is unpacked.
    Raises CourseError when it cannot be had or is not whole; then `root` stays as it was.
    """
    source = "tensorflow" if source is None else source
    check = partial(_check, source=source)
    return install("speech_commands", source, SOURCES, ARCHIVE, Path(root), _place, check, progress, DIGEST)


def _check(folder: Path, source: Path | str) -> None:
    words = Counter(path.parent.name for path in folder.glob("*/*_nohash_*.wav"))
    if (words.total(), len(words)) != SHAPE:
        raise BadArchive(
            f"{source}: {words.total():,} recordings of {len(words)} words, and Speech Commands has {SHAPE[0]:,} of {SHAPE[1]}. "
            "To use a part of it, set SPOKENDIGITS_DATA to the folder that holds it as speech_commands."
        )


def _place(member: str) -> str | None:
    *_, folder, name = ("", *PurePosixPath(member).parts)
    if FILE.fullmatch(f"{folder}/{name}") or folder == NOISES:
        return f"{folder}/{name}"
    return name if name in ("README.md", "LICENSE", *LISTS.values()) else None


def part_of(speaker: str) -> str:
    """The part that a speaker is of by the data set's own rule: a tenth validates, a tenth tests, by a hash of the name."""
    share = int(hashlib.sha1(speaker.encode()).hexdigest(), 16) % 2**27 / (2**27 - 1)
    return "validation" if share < 0.1 else "test" if share < 0.2 else "train"


def read(root: Path | str) -> Corpus:
    """Reads Speech Commands, or a part of it, from a folder in its archive's layout.

    Columns beside a corpus's own: `word` (or which noise), `kind` ("digit", "word" or "noise") and `part` ("train",
    "validation" or "test"), by the lists in the folder, or by the rule that made them. `digit` is -1 for words and noises.
    A noise, of the speaker "noise", lasts a minute and more: cut it before clips are made of it.
    Raises CourseError when there are no recordings, or not all that were fetched.
    """
    root = Path(root)
    paths = sorted(path.relative_to(root).as_posix() for path in root.glob("*/*.wav"))
    said = table_of(paths, FILE, whole=True)
    if said.empty or ((root / STAMP).is_file() and len(said) < SHAPE[0]):
        raise CourseError(
            f"{root}: {len(said):,} of {SHAPE[0]:,} recordings such as zero/0a1b2c3d_nohash_0.wav are here. "
            "Run `spokendigits fetch speech_commands`."
        )
    digit = said["word"].map({word: digit for digit, word in enumerate(WORDS)}).fillna(NONE).astype(int)
    lists = {part: root / name for part, name in LISTS.items()}
    listed = all(path.is_file() for path in lists.values())
    if listed:
        parts = {line: part for part, path in lists.items() for line in path.read_text(encoding="utf-8").split()}
        part = said["path"].map(parts).fillna("train")
    else:
        part = said["speaker"].map(part_of)
    said = said.assign(digit=digit, kind=np.where(digit >= 0, "digit", "word"), part=part)
    noise = table_of(paths, rf"{NOISES}/(?P<word>.+)\.wav", whole=True)
    noise = noise.assign(digit=NONE, speaker="noise", take=range(len(noise)), kind="noise", part="train")
    notes = []
    if len(said) < SHAPE[0]:
        notes.append(f"A part of Speech Commands: {len(said):,} of {SHAPE[0]:,} recordings.")
    if not listed:
        notes.append("Its lists are not here: who trains, validates and tests follows from the rule that made them.")
    table, source = pd.concat([said, noise]), "Speech Commands (Warden, arXiv 1804.03209)"
    return Corpus("speech_commands", root, table, "Speech Commands", "CC BY 4.0", source, notes=tuple(notes))
