"""One recording: opened, seen to be whole, made mono. Clips, the audit and `spokendigits predict` hear the same by it."""

import contextlib
import errno
import os
import re
import stat
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

import numpy as np
import soundfile
import soxr

from spokendigits.corpora.storage import disk_errors
from spokendigits.errors import CourseError

EXTENSIONS = (
    ".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".w64", ".rf64",
)  # fmt: skip  # what counts as a recording in a folder; a file that is named may be called anything
FOREIGN = (".m4a", ".mp4", ".webm", ".aac", ".wma", ".amr", ".3gp", ".mka", ".mov")  # fmt: skip  # cannot be read here
RATES = (1_000, 1_000_000)  # hertz; beyond them a header is wrong, and resampling would fill the memory
LARGEST = 2**32  # bytes: what comes through a pipe without an end is no recording
BLOCK = 2**17  # samples of each channel that are in memory at a time
OFFSET = 0.01  # further from zero is a sound card's constant; FSDD's reach 0.008, and its clips stay as they are
# In an MP3's first frame: how many bytes there are.
XING = re.compile(rb"\xff[\xe0-\xff].{11,36}?(?:Xing|Info)\0{3}[\x03\x07\x0b\x0f].{4}(.{4})", re.DOTALL)
# What libsndfile says of damaged files, and what it means.
MEANT = {
    "SF_INFO": "its header gives no usable sample rate",
    "psf_fseek|lost sync|malformed|internal error|regular file": "cut off or damaged",
}
CANCEL = 0.05  # the mean of channels is so much softer than of channels that are not alike: they take each other away


@contextlib.contextmanager
def opened(source: Path | str | IO[bytes]) -> Iterator[soundfile.SoundFile]:
    """A recording, open to be read. CourseError says in a few words what is wrong with it, and does not name it."""
    with contextlib.ExitStack() as stack:
        try:
            if isinstance(source, str | Path):
                if not stat.S_ISREG(os.stat(source).st_mode):
                    raise CourseError("no regular file")
                source = os.fsencode(source)
            raw = stack.enter_context(open(source, "rb")) if isinstance(source, bytes) else source
            if problem := _missing(raw):
                raise CourseError(problem)
            file = stack.enter_context(soundfile.SoundFile(source))
            if not file.frames and (finished := _finished(raw, stack)):
                file = stack.enter_context(soundfile.SoundFile(finished))
            if problem := damage(file):
                raise CourseError(problem)
            yield file
        except soundfile.SoundFileError as error:
            why = str(getattr(error, "error_string", error)).rstrip(".")
            why = next((meant for said, meant in MEANT.items() if re.search(said, why)), why)
            raise CourseError(f"not readable as audio ({why})") from None
        except OSError as error:
            raise CourseError(str(error.strerror or error)) from None


def _missing(raw: IO[bytes]) -> str | None:
    """What is missing of a file without any bytes, or of an MP3 that says how many it has. None: nothing is known to be.

    libsndfile reads what is left of a cut MP3, and has a warning printed.
    """
    size = raw.seek(0, os.SEEK_END)
    raw.seek(0)
    start = raw.read(3)
    said = XING.search(start + raw.read(BLOCK)) if start == b"ID3" or start[:1] == b"\xff" else None
    raw.seek(0)
    whole = int.from_bytes(said[1]) if said else 0
    if size < 0.99 * whole:  # programs do not agree on what they count; libmpg123 bears as much
        return f"truncated ({size} of {whole} bytes)"
    return None if size else "empty (0 bytes)"


def _finished(raw: IO[bytes], stack: contextlib.ExitStack) -> IO[bytes] | None:
    """A copy of a WAV whose recorder never came to write how long it is; None if the file is empty indeed."""
    size = raw.seek(0, os.SEEK_END)
    raw.seek(0)
    start = raw.read(BLOCK)
    raw.seek(0)
    data, whole = start.find(b"data\0\0\0\0"), int.from_bytes(start[4:8], "little")
    if start[:4] != b"RIFF" or data < 0 or data + 8 == size or data < whole <= size - 8:
        return None
    copy = kept(raw, stack)
    for place in (4, data + 4):
        copy.seek(place)
        copy.write(b"\xff" * 4)  # as long as can be: libsndfile then reads to the end
    copy.seek(0)
    return copy


def kept(raw: IO[bytes], stack: contextlib.ExitStack) -> IO[bytes]:
    """A copy in a file of its own, until `stack` ends. CourseError if there is no room, or more comes than a recording can hold."""
    with disk_errors("TMPDIR"):
        # Without a buffer: it would fail once more when it is closed.
        file = stack.enter_context(tempfile.TemporaryFile(buffering=0))  # noqa: SIM115
        while file.tell() <= LARGEST and (data := raw.read(BLOCK)):
            if file.write(data) < len(data):
                raise OSError(errno.ENOSPC, "")
    if file.tell() > LARGEST:
        raise CourseError("more came through the pipe than a recording can hold")
    file.seek(0)
    return file


def damage(file: soundfile.SoundFile) -> str | None:
    """What an opened file's header says against it, in a few words: truncated, empty, an odd rate. None: nothing."""
    if file.frames == 0:
        # Without its last page an Ogg file does not know how long it is.
        return "truncated (its end is missing)" if file.format == "OGG" else "empty (0 samples)"
    if not RATES[0] <= file.samplerate <= RATES[1]:
        return f"its sample rate is {file.samplerate:,} Hz"
    # libsndfile reads what is left of a cut WAV, AIFF, AU, W64 or RF64 without complaint; only its log tells.
    names = "data|SSND|Data Size|riff|Riff size"
    cut = re.search(rf"^ *(?:{names}) *: (\d+) \(should be (\d+)\)", file.extra_info, re.MULTILINE)
    # Programs that write to a pipe announce "as long as can be": that is no cut.
    if cut and int(cut[2]) < int(cut[1]) < 2**31 - 2**16:
        return f"truncated ({cut[2]} of {cut[1]} bytes of audio)"
    return None


def read(file: soundfile.SoundFile, rate: int) -> np.ndarray:
    """A whole recording: float32 [n] in -1..1, mono, resampled with soxr; what is louder is cut, as 16 bits would."""
    audio = np.concatenate([*_mono(file)])
    return (audio if file.samplerate == rate else soxr.resample(audio, file.samplerate, rate)).clip(-1, 1)


def blocks(file: soundfile.SoundFile, rate: int) -> Iterator[np.ndarray]:
    """The same block by block, for a recording of any length; around zero, however little was missing."""
    stream = None if file.samplerate == rate else soxr.ResampleStream(file.samplerate, rate, 1)
    for audio in _mono(file, 0.0):
        yield (stream.resample_chunk(audio) if stream else audio).clip(-1, 1)
    if stream:
        yield stream.resample_chunk(np.empty(0, np.float32), last=True).clip(-1, 1)


def _mono(file: soundfile.SoundFile, least: float = OFFSET) -> Iterator[np.ndarray]:
    """Channels averaged, or the loudest of channels that cancel each other; without a constant above `least`."""
    whole = [*_channels(file)] if file.frames <= BLOCK else None
    offsets, cancel, loudest = middle(whole or _channels(file), least)
    for block in whole or _channels(file):
        block = block - offsets if offsets.any() else block
        yield block[:, loudest] if cancel else block.mean(axis=1)


def _channels(file: soundfile.SoundFile) -> Iterator[np.ndarray]:
    """float32 [n, channels] at the file's own rate. CourseError if a sample is no number, or the end is missing."""
    if file.seekable():  # telephone speech is not; its first reading starts there anyway
        file.seek(0)
    frames = 0
    while len(block := file.read(BLOCK, "float32", always_2d=True)):
        frames += len(block)
        if not np.isfinite(block).all():
            raise CourseError("holds NaN or infinite samples")
        yield block.clip(-1, 1)
    # An MP3, also one in a WAV, may not know how long it is.
    if not frames or (frames < file.frames and not file.subtype.startswith("MPEG")):
        raise CourseError(f"truncated ({frames:,} of {file.frames:,} samples)")


def middle(blocks: Iterable[np.ndarray], least: float = OFFSET) -> tuple[np.ndarray, bool, int]:
    """Of a recording in blocks [n, channels]: what to take from each channel [channels], if it is more than `least`;
    whether the channels cancel each other, and which is the loudest.

    A constant is in the mean and in each block's median: that of a lopsided voice is no fault, for its pauses are at zero.
    """
    count, sums, nearest, squares, square = 0, 0.0, np.inf, 0.0, 0.0
    for block in blocks:
        count, sums = count + len(block), sums + block.sum(axis=0, dtype=float)
        nearest = _nearer(np.median(block, axis=0), nearest)
        squares = squares + np.square(block, dtype=float).sum(axis=0)
        square += np.square(block.mean(axis=1), dtype=float).sum() if block.shape[1] > 1 else 0
    means = sums / count
    nearest = _nearer(means, nearest)
    offsets = np.where(np.abs(nearest) > least, nearest, 0).astype(np.float32)
    powers, power = squares / count - means**2, square / count - means.mean() ** 2
    # Of channels that have nothing in common, the mean has the mean power, divided by how many there are.
    cancel = len(means) > 1 and power < CANCEL * powers.mean() / len(powers)
    return offsets, bool(cancel), int(powers.argmax())


def _nearer(values: np.ndarray, others: np.ndarray | float) -> np.ndarray:
    """Of each two numbers the one that is nearer to zero."""
    return np.where(np.abs(values) < np.abs(others), values, others)
