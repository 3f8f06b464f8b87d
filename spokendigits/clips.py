"""`Clips`: a whole corpus as one array of samples on disk, made once."""

import hashlib
import json
import math
import os
import struct
from collections import defaultdict
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
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

VERSION = 2  # raise it when the same files and recipe would give other samples
FULL_SCALE = 32768  # the int16 sample that stands for 1.0
LONGEST = 60.0  # seconds; above that a file is no single clip
BATCH = 64  # files one thread decodes at a time; with fewer, threads wait for each other more often
SMALL = 2**18  # bytes; the file of a spoken digit is smaller
PLAIN = struct.Struct("<4s4x8sIHHi4xHH")  # RIFF, WAVEfmt and its length, PCM, channels, rate, bytes a frame, bits
SILENCE = 128  # samples at the lower rate; soxr's filter (HQ) reaches 100 of them to either side
STEP = 2048  # samples; soxr knows the place of every sample exactly up to such ratios of the rates


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
    return _resample([audio], rate, sample_rate)[0]


def _resample(recordings: Sequence[np.ndarray], rate: int, sample_rate: int) -> list[np.ndarray]:
    """Resamples recordings [n] of one rate with soxr: float32, in the units that they have.

    They are joined, with silence between them, and cut apart afterwards: setting up the filter for each would take as
    long as the resampling. The silence before the first one also spares its first samples an error of soxr's start.
    """
    if rate == sample_rate:
        return list(recordings)
    step = rate // math.gcd(rate, sample_rate)  # a start at a multiple of it falls on a sample of the result, too
    if step > STEP:
        return [soxr.resample(recording.astype(np.float32), rate, sample_rate) for recording in recordings]
    silence = SILENCE * max(1, rate / sample_rate)
    steps = [math.ceil((length + silence) / step) for length in (0, *map(len, recordings))]
    *starts, end = (np.cumsum(steps) * step).tolist()
    joined = np.zeros(end, np.float32)
    for start, recording in zip(starts, recordings, strict=True):
        joined[start : start + len(recording)] = recording
    joined = soxr.resample(joined, rate, sample_rate)
    starts = [start * sample_rate // rate for start in starts]
    lengths = [int(len(recording) / (rate / sample_rate) + 0.5) for recording in recordings]  # as soxr rounds
    return [joined[start : start + length] for start, length in zip(starts, lengths, strict=True)]


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
        """The clips of an array of row numbers, int16 [rows, samples], copied into memory.

        The file is mapped for this call only: pages read through `audio` stay with the process, until the whole corpus
        counts as its memory.
        """
        return np.load(self.folder / "audio.npy", mmap_mode="r")[rows]


def make_clips(corpus: Corpus, recipe: Recipe, threads: int | None = None, progress: bool = True) -> Clips:
    """Decodes a corpus once, in several threads; opens what is there when nothing it depends on has changed.

    It depends on the sample rate, the clip's length, and the path, size and time of change of every file (synthetic
    speech: what made it, instead of the time).
    Raises CourseError that names the files that cannot be used.
    """
    key = _key(corpus, recipe)
    folder = data_folder() / "clips" / f"{corpus.name}-{key[:12]}"
    facts = folder / "clips.json"
    if not (facts.exists() and read_json(facts).get("key") == key):
        with atomic_folder(folder) as temporary:
            _decode(corpus, recipe, temporary, threads, progress)
            write_json(temporary / "clips.json", {"key": key, "clips": len(corpus), "sample_rate": recipe.sample_rate})
    audio = np.load(folder / "audio.npy", mmap_mode="r")
    return Clips(audio, np.load(folder / "lengths.npy"), recipe.sample_rate, folder)


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


def _decode(corpus: Corpus, recipe: Recipe, folder: Path, threads: int | None, progress: bool) -> None:
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
    paths = [os.path.join(corpus.root, path) for path in corpus.table["path"]]
    jobs = [(i, paths[i : i + BATCH]) for i in range(0, len(paths), BATCH)]
    decode = partial(_decode_some, target=folder / "audio.npy", start=start, recipe=recipe)
    lengths, problems = np.zeros(len(paths), np.int32), []
    # Threads, not processes: nearly all the time goes into reading, resampling and writing, which run side by side.
    with (
        ThreadPoolExecutor(threads or min(os.cpu_count() or 1, 16)) as pool,
        tqdm(total=len(paths), desc=f"clips of {corpus.name}", unit="clip", disable=not progress) as bar,
    ):
        for first, found, bad in pool.map(decode, jobs):
            lengths[first : first + len(found)] = found
            problems += bad
            bar.update(len(found))
    if problems:
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        raise CourseError(
            f"{corpus.root}: {len(problems)} of {len(paths)} files cannot be used: {' '.join(problems[:3])}{more}"
        )
    np.save(folder / "lengths.npy", lengths)


def _decode_some(job: tuple, target: Path, start: int, recipe: Recipe) -> tuple[int, np.ndarray, list[str]]:
    first, paths = job
    same_rate, problems = defaultdict(list), []
    for row, path in enumerate(paths):
        try:
            rate, audio = _plain_wav(path) or (recipe.sample_rate, read_audio(path, recipe.sample_rate) * FULL_SCALE)
            same_rate[rate].append((row, audio))
        except CourseError as error:
            problems.append(str(error))
    lengths = np.zeros(len(paths), np.int32)
    with open(target, "r+b") as file:
        for rate, pairs in same_rate.items():
            numbers, recordings = zip(*pairs, strict=True)
            for row, audio in zip(numbers, _resample(recordings, rate, recipe.sample_rate), strict=True):
                lengths[row] = len(audio)
                clip = audio if len(audio) <= recipe.samples else fit(audio, recipe.samples)
                if clip.dtype != np.int16:
                    clip = np.clip(np.rint(clip), -FULL_SCALE, FULL_SCALE - 1).astype(np.int16)
                file.seek(start + (first + row) * recipe.samples * clip.itemsize)
                file.write(clip)  # what follows it in its row is zero as it is
    return first, lengths, problems


def _plain_wav(path: str) -> tuple[int, np.ndarray] | None:
    """Sample rate and samples, int16 [n], of a small, faultless WAV of 16 bits, mono; None for every other file.

    libsndfile reads it too, but takes several times as long.
    """
    try:
        file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))  # half as long as a file object's
        try:
            data = os.read(file, SMALL)
        finally:
            os.close(file)
    except OSError:
        return None
    start = data.find(b"data", PLAIN.size) + 8
    size = int.from_bytes(data[start - 4 : start], "little")
    if start < PLAIN.size or start + size != len(data) or size % 2:
        return None
    *kind, rate, frame, bits = PLAIN.unpack_from(data)
    if (*kind, frame, bits) != (b"RIFF", b"WAVEfmt ", 16, 1, 1, 2, 16) or not 0 < size <= 2 * LONGEST * rate:
        return None
    return rate, np.frombuffer(data, "<i2", offset=start)
