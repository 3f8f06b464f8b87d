"""`Clips`: a whole corpus as one array of samples on disk, made once."""

import hashlib
import json
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import soxr
from tqdm import tqdm

from spokendigits.corpora.audit import damage
from spokendigits.corpora.corpus import Corpus
from spokendigits.errors import CourseError
from spokendigits.files import atomic_folder, data_folder, read_json, write_json
from spokendigits.recipe import Recipe

VERSION = 1  # raise it when the same files and recipe would give other samples
LONGEST = 60.0  # seconds; above that a file is no single clip
BATCH = 64  # files one process decodes at a time
SERIAL = 2048  # fewer files are decoded before a second process has even started


def read_audio(path: Path | str, sample_rate: int) -> np.ndarray:
    """Reads one recording: float32 [n] in -1..1, mono (channels averaged), resampled with soxr.

    Raises CourseError for a file that is not audio, has no samples, is longer than a minute, or holds NaN or infinity.
    """
    path = Path(path)
    try:
        with soundfile.SoundFile(path) as file:
            if problem := damage(file):
                raise CourseError(f"{path.name}: {problem}. Fetch or record it again.")
            if file.frames > LONGEST * file.samplerate:
                length = file.frames / file.samplerate
                raise CourseError(f"{path.name}: {length:,.0f} s long; a clip holds one digit. Cut it up first.")
            rate = file.samplerate
            audio = file.read(dtype="float32", always_2d=True).mean(axis=1)
    except soundfile.LibsndfileError as error:
        raise CourseError(f"{path.name}: not readable as audio ({error.error_string}). Replace or remove it.") from None
    except OSError as error:
        raise CourseError(f"{path}: {error.strerror}.") from None
    if not np.isfinite(audio).all():
        raise CourseError(f"{path.name}: holds NaN or infinite samples. Replace or remove it.")
    return audio if rate == sample_rate else soxr.resample(audio, rate, sample_rate)


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
        return self.audio[row].astype(np.float32) / 32768


def make_clips(corpus: Corpus, recipe: Recipe, processes: int | None = None, progress: bool = True) -> Clips:
    """Decodes a corpus once, in several processes; opens what is there when nothing it depends on has changed.

    It depends on the sample rate, the clip's length, and the path, size and time of change of every file (synthetic
    speech: what made it, instead of the time).
    Raises CourseError that names the files that cannot be used.
    """
    key = _key(corpus, recipe)
    folder = data_folder() / "clips" / f"{corpus.name}-{key[:12]}"
    facts = folder / "clips.json"
    if not (facts.exists() and read_json(facts).get("key") == key):
        with atomic_folder(folder) as temporary:
            _decode(corpus, recipe, temporary, processes, progress)
            write_json(temporary / "clips.json", {"key": key, "clips": len(corpus), "sample_rate": recipe.sample_rate})
    audio = np.load(folder / "audio.npy", mmap_mode="r")
    return Clips(audio, np.load(folder / "lengths.npy"), recipe.sample_rate, folder)


def _key(corpus: Corpus, recipe: Recipe) -> str:
    digest = hashlib.sha256(json.dumps([VERSION, recipe.sample_rate, recipe.samples]).encode())
    for path in corpus.table["path"]:
        try:
            facts = os.stat(corpus.root / path)
        except OSError as error:
            raise CourseError(f"{corpus.root / path}: {error.strerror}. Fetch the corpus again.") from None
        # Synthetic speech made again is the same speech: what made it counts, not when.
        stamp = corpus.source if corpus.synthetic else facts.st_mtime_ns
        digest.update(f"{path}\0{facts.st_size}\0{stamp}\n".encode())
    return digest.hexdigest()


def _decode(corpus: Corpus, recipe: Recipe, folder: Path, processes: int | None, progress: bool) -> None:
    shape = (len(corpus), recipe.samples)
    # Allocated, not sparse: a disk too small for the clips must say so here, not kill the process at a later write.
    with open(folder / "audio.npy", "wb") as file:
        np.lib.format.write_array_header_2_0(file, {"descr": "<i2", "fortran_order": False, "shape": shape})
        start = file.tell()
        file.flush()
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(file.fileno(), start, shape[0] * shape[1] * 2)
        else:
            file.truncate(start + shape[0] * shape[1] * 2)
    paths = [str(corpus.root / path) for path in corpus.table["path"]]
    jobs = [(i, paths[i : i + BATCH], folder / "audio.npy", recipe.sample_rate) for i in range(0, len(paths), BATCH)]
    lengths, problems = np.zeros(len(paths), np.int32), []
    with tqdm(total=len(paths), desc=f"clips of {corpus.name}", unit="clip", disable=not progress) as bar:
        for first, found, bad in _each(jobs, processes):
            lengths[first : first + len(found)] = found
            problems += bad
            bar.update(len(found))
    if problems:
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        raise CourseError(
            f"{corpus.root}: {len(problems)} of {len(paths)} files cannot be used: {' '.join(problems[:3])}{more}"
        )
    np.save(folder / "lengths.npy", lengths)


def _each(jobs: list, processes: int | None) -> Iterator:
    processes = processes or min(os.cpu_count() or 1, 16)
    if processes == 1 or len(jobs) * BATCH <= SERIAL:
        yield from map(_decode_some, jobs)
        return
    # spawn: forking a process that has used torch's threads can hang.
    pool = ProcessPoolExecutor(processes, mp_context=multiprocessing.get_context("spawn"))
    try:
        yield from pool.map(_decode_some, jobs)
    except BrokenProcessPool:
        raise CourseError("clips: a decoding process was ended from outside (out of memory?). Run it again.") from None
    finally:
        pool.shutdown(cancel_futures=True)


def _decode_some(job: tuple) -> tuple[int, list[int], list[str]]:
    first, paths, target, sample_rate = job
    clips = np.load(target, mmap_mode="r+")
    lengths, problems = [], []
    for row, path in enumerate(paths, first):
        try:
            audio = read_audio(path, sample_rate)
        except CourseError as error:
            problems.append(str(error))
            lengths.append(0)
            continue
        clips[row] = np.clip(np.rint(fit(audio, clips.shape[1]) * 32768), -32768, 32767)
        lengths.append(len(audio))
    return first, lengths, problems
