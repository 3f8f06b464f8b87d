"""`Clips`: a whole corpus as one array of samples on disk, made once. Chapter 1."""

import hashlib
import json
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from spokendigits.corpora import recording
from spokendigits.corpora.corpus import FULL_SCALE, Corpus
from spokendigits.corpora.storage import few
from spokendigits.devices import cores
from spokendigits.errors import CourseError
from spokendigits.files import atomic_folder, check_room, data_folder, read_json, write_json
from spokendigits.recipe import Recipe

VERSION = 3  # raise it when the same files and recipe would give other samples
LONGEST = 60.0  # seconds; above that a file is no single clip
BATCH = 32  # files that one thread decodes at a time


def read_audio(path: Path | str, sample_rate: int) -> np.ndarray:
    """Reads one recording: float32 [n] in -1..1, mono, around zero, resampled with soxr.

    Raises CourseError for a file that is not audio, has no samples, is longer than a minute, or holds NaN or infinity.
    """
    path = Path(path)
    try:
        with recording.opened(path) as file:
            if (length := file.frames / file.samplerate) <= LONGEST:
                return recording.read(file, sample_rate)
    except CourseError as error:
        raise CourseError(f"{path.name}: {error}. Replace or remove it.") from None
    raise CourseError(f"{path.name}: {length:,.0f} s long; a clip holds one digit. Cut it up first.")


def fit(audio: np.ndarray, samples: int) -> np.ndarray:
    """Makes a recording exactly `samples` long: zeros on the right, or its loudest stretch if it is longer."""
    if len(audio) <= samples:
        return np.pad(audio, (0, samples - len(audio)))
    energy = np.concatenate([[0.0], np.cumsum(np.square(audio, dtype=np.float64))])
    start = int(np.argmax(energy[samples:] - energy[:-samples]))
    return audio[start : start + samples]


@dataclass(frozen=True)
class Clips:
    """All clips of a corpus at one sample rate and length.

    `audio` is int16 [n, samples], memory-mapped; `lengths` is int32 [n], the samples before padding or cutting.
    Row i belongs to row i of the corpus table.
    """

    audio: np.ndarray
    lengths: np.ndarray
    sample_rate: int
    folder: Path

    def __len__(self) -> int:
        return len(self.audio)

    def waveform(self, row: int) -> np.ndarray:
        """One clip as float32 [samples] in -1..1, padding included."""
        return self.audio[row].astype(np.float32) / FULL_SCALE

    def read(self, rows: np.ndarray) -> np.ndarray:
        """The clips of an array of row numbers, int16 [rows, samples], copied: pages read through `audio` stay in memory, this map's do not."""
        return np.load(self.folder / "audio.npy", mmap_mode="r")[rows]


def make_clips(corpus: Corpus, recipe: Recipe, threads: int | None = None, progress: bool = True) -> Clips:
    """Decodes a corpus once, in several threads; opens what is there, whole, when nothing it depends on has changed.

    It depends on the sample rate, the clip's length, and the path, size and time of change of every file (synthetic
    speech: what made it, instead of the time).
    Raises CourseError that names the files that cannot be used.
    """
    key = _key(corpus, recipe)
    folder = data_folder() / "clips" / f"{corpus.name}-{key[:12]}"
    shape = (len(corpus), recipe.samples)
    if not (arrays := _open(folder, key, shape)):
        check_room(folder, 2 * len(corpus) * recipe.samples)
        with atomic_folder(folder) as temporary:
            _decode(corpus, recipe, temporary, threads or min(cores(), 16), progress)
            write_json(temporary / "clips.json", {"key": key, "clips": len(corpus), "sample_rate": recipe.sample_rate})
        arrays = _open(folder, key, shape)
    return Clips(*arrays, recipe.sample_rate, folder)


def _open(folder: Path, key: str, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray] | None:
    """The arrays in a folder; None if there is none of this key and shape, or it is damaged."""
    try:
        audio, lengths = np.load(folder / "audio.npy", mmap_mode="r"), np.load(folder / "lengths.npy")
        whole = audio.dtype == np.int16 and audio.shape == shape and lengths.shape == shape[:1]
        return (audio, lengths) if whole and read_json(folder / "clips.json")["key"] == key else None
    except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _key(corpus: Corpus, recipe: Recipe) -> str:
    digest = hashlib.sha256(json.dumps([VERSION, recipe.sample_rate, recipe.samples]).encode())
    for path in corpus.table["path"]:
        try:
            facts = os.stat(os.path.join(corpus.root, path))  # pathlib takes as long as the system
        except OSError as error:
            raise CourseError(f"{corpus.root / path}: {error.strerror}. Fetch the corpus again.") from None
        # Synthetic speech made again is the same speech: what made it counts, not when.
        stamp = corpus.source if corpus.synthetic else facts.st_mtime_ns
        digest.update(f"{path}\0{facts.st_size}\0{stamp}\n".encode())
    return digest.hexdigest()


def _decode(corpus: Corpus, recipe: Recipe, folder: Path, threads: int, progress: bool) -> None:
    """Writes audio.npy and lengths.npy into `folder`. Threads, not processes: soundfile and soxr run side by side."""
    paths = [os.path.join(corpus.root, path) for path in corpus.table["path"]]
    target = folder / "audio.npy"
    start = np.lib.format.open_memmap(target, "w+", np.int16, (len(paths), recipe.samples)).offset
    lengths, problems = np.zeros(len(paths), np.int32), []
    with (
        ThreadPoolExecutor(threads) as pool,
        tqdm(total=len(paths), desc=f"clips of {corpus.name}", unit="clip", disable=not progress) as bar,
    ):

        def decode(first: int) -> list[str]:
            clips, before, bad = _decode_batch(paths[first : first + BATCH], recipe)
            lengths[first : first + BATCH] = before
            # Written, not mapped: mapped pages would count as this process's memory, and a full disk would kill it.
            with open(target, "r+b") as file:
                file.seek(start + first * clips.strides[0])
                file.write(clips)
            return bad

        for bad in pool.map(decode, range(0, len(paths), BATCH)):
            problems += bad
            bar.update(min(BATCH, len(paths) - bar.n))
    if problems:
        raise CourseError(f"{corpus.root}: {len(problems)} of {len(paths)} files cannot be used: {few(problems)}.")
    np.save(folder / "lengths.npy", lengths)


def _decode_batch(paths: list[str], recipe: Recipe) -> tuple[np.ndarray, list[int], list[str]]:
    """Clips int16 [paths, samples], the lengths of their recordings at the recipe's rate, and what is wrong with files."""
    clips, lengths, problems = np.zeros((len(paths), recipe.samples), np.int16), [0] * len(paths), []
    for row, path in enumerate(paths):
        try:
            audio = read_audio(path, recipe.sample_rate)
        except CourseError as error:
            problems.append(str(error).rstrip("."))
            continue
        lengths[row] = len(audio)
        clips[row] = np.clip(np.rint(fit(audio, recipe.samples) * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1)
    return clips, lengths, problems
