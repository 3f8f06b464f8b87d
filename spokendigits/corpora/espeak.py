"""Speaks short texts with espeak-ng into WAV files, each speaker in a process of its own. Notebook 7 asks it directly.

espeak-ng (GPL-3.0) comes in the PyPI package `espeakng-loader`: it is loaded at run time, not shipped with this course.

Why a fresh process each: espeak-ng keeps state from one utterance to the next, and initialising it again does not reset
all of it. The same list of utterances, in the same order, from the same random seeds, in a process that has not spoken
before, gives the same samples. So the caller never speaks, and the audio does not depend on how many processes share
the work. This file is run as a script by `speak_all`; it imports little, because sixty processes pay for every import.
"""

import contextlib
import ctypes
import functools
import hashlib
import json
import os
import signal
import subprocess
import sys
import wave
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

import numpy as np

from spokendigits.errors import CourseError

SAMPLE_RATE = 22_050  # Hz; what libespeak-ng produces
QUIET = 0.01  # of the peak: softer than this before and after the word counts as silence
SHORTEST = 0.12  # seconds of speech; the shortest good "two" lasts longer
SOFTEST = 0.02  # of full scale: the peak of espeak-ng's own output; a good voice reaches 0.2

ODD = {"AnxiousAndy", "Demonic", "Storm", "Tweaky", "announcer", "antonio", "aunty", "croak", "fast", "zac"}

_PARAMETERS = {"rate": 1, "volume": 2, "pitch": 3, "range": 4}  # espeak_PARAMETER in speak_lib.h
_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)


class Utterance(NamedTuple):
    """One clip to speak, and how."""

    file: str  # name inside the speaker's folder
    text: str
    seed: int  # of espeak-ng's own randomness and of the noise floor
    rate: int  # words a minute, 80-450
    pitch: int  # 0-99, 50 is the voice's own
    range: int  # 0-99, how far the pitch moves, 50 is the voice's own
    peak: float  # of the finished clip, of full scale
    lead: float  # seconds of noise floor before the word
    tail: float  # seconds of noise floor after it
    noise: float  # standard deviation of the noise floor, of full scale


class Job(NamedTuple):
    """What one process speaks: one speaker's utterances, in this order."""

    speaker: str
    voice: str  # an espeak-ng accent, "en-us"
    variant: str  # a file of `voices/!v`, "f3"
    folder: str
    utterances: list[Utterance]


def _library() -> ctypes.CDLL:
    try:
        import espeakng_loader

        library = ctypes.CDLL(espeakng_loader.get_library_path())
    except (ImportError, OSError) as error:
        raise CourseError(f"espeak-ng cannot be loaded ({error}). Run `pip install espeakng-loader`.") from None
    library.espeak_Info.restype = ctypes.c_char_p
    library.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
    library.espeak_Synth.argtypes = [
        ctypes.c_char_p, ctypes.c_size_t, ctypes.c_uint, ctypes.c_int, ctypes.c_uint, ctypes.c_uint, ctypes.c_void_p,
        ctypes.c_void_p,
    ]  # fmt: skip
    return library


def _data() -> Path:
    import espeakng_loader

    return Path(espeakng_loader.get_data_path())


def version() -> str:
    """The version of espeak-ng, such as "1.52.0". Speaks nothing."""
    return _library().espeak_Info(None).decode()


@functools.cache
def variants() -> list[str]:
    """The names of espeak-ng's voice variants that sound like a person: no robots and no whispers."""
    names = sorted(os.listdir(_data() / "voices" / "!v"))
    return [name for name in names if name not in ODD and not any(kind in name.lower() for kind in ("robo", "whisper"))]


def _voices(job: Job) -> Iterator[tuple[Utterance, np.ndarray]]:
    """Speaks a job: each utterance with espeak-ng's raw samples, float32 [n] in -1..1, at 22,050 Hz.

    Call it once in a process, from first to last: see the module's text. A second start was seen to crash.
    """
    library = _library()
    # espeak-ng takes an unknown variant for the plain voice, without a word.
    if not (_data() / "voices" / "!v" / job.variant).is_file():
        raise CourseError(f"speaker {job.speaker}: espeak-ng has no voice variant '{job.variant}'.")
    synchronous, utf8, dont_exit = 2, 1, 1 << 15
    rate = library.espeak_Initialize(synchronous, 0, os.fsencode(_data()), dont_exit)
    if rate != SAMPLE_RATE:
        raise CourseError(
            f"espeak-ng could not be started from {_data()} (it answered {rate}). Reinstall espeakng-loader."
        )
    if library.espeak_SetVoiceByName(f"{job.voice}+{job.variant}".encode()):
        raise CourseError(f"speaker {job.speaker}: espeak-ng has no voice '{job.voice}'.")

    pieces = []

    @_CALLBACK
    def keep(samples, count, events):
        if samples and count > 0:
            pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    library.espeak_SetSynthCallback(keep)
    for utterance in job.utterances:
        pieces.clear()
        for name, number in _PARAMETERS.items():
            library.espeak_SetParameter(number, 100 if name == "volume" else getattr(utterance, name), 0)
        library.espeak_ng_SetRandSeed(utterance.seed)
        text = utterance.text.encode()
        if library.espeak_Synth(text, len(text) + 1, 0, 1, 0, utf8, None, None):
            raise CourseError(f"speaker {job.speaker}: espeak-ng refused to say '{utterance.text}'.")
        samples = np.concatenate(pieces) if pieces else np.zeros(0, np.int16)
        yield utterance, samples.astype(np.float32) / 32768


def trim(samples: np.ndarray) -> np.ndarray:
    """float [n] without what is softer than a hundredth of the peak at either end."""
    loud = np.flatnonzero(np.abs(samples) > QUIET * np.abs(samples).max(initial=0))
    return samples[loud[0] : loud[-1] + 1] if loud.size else samples[:0]


def finish(samples: np.ndarray, utterance: Utterance) -> np.ndarray:
    """Raw speech float32 [n] to a clip int16 [m]: trimmed, levelled, a little room before and after, a noise floor."""
    speech = trim(samples)
    loudest = np.abs(speech).max(initial=0)
    if loudest < SOFTEST or speech.size < SHORTEST * SAMPLE_RATE:
        raise CourseError(
            f"'{utterance.text}' came out silent or broken ({speech.size / SAMPLE_RATE:.2f} s, peak {loudest:.3f})."
        )
    clip = np.pad(speech / loudest, (round(utterance.lead * SAMPLE_RATE), round(utterance.tail * SAMPLE_RATE)))
    floor = np.random.default_rng(utterance.seed).standard_normal(clip.size)
    clip = clip * utterance.peak + floor * utterance.noise
    return np.clip(np.round(clip * 32767), -32768, 32767).astype("<i2")


def speak(job: Job) -> str:
    """Writes a job's clips as 16-bit mono WAV and returns a SHA-256 over all of them, in order.

    Raises CourseError naming speaker and text if the voice is unknown, or a clip is silent or broken.
    """
    digest = hashlib.sha256()
    folder = Path(job.folder)
    folder.mkdir(parents=True, exist_ok=True)
    for utterance, samples in _voices(job):
        try:
            clip = finish(samples, utterance)
        except CourseError as error:
            raise CourseError(f"speaker {job.speaker} ({job.voice}+{job.variant}), {utterance.file}: {error}") from None
        with open(folder / utterance.file, "wb") as raw, wave.open(raw, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(SAMPLE_RATE)
            file.writeframes(clip.tobytes())
        digest.update(clip.tobytes())
    return digest.hexdigest()


def _speak_apart(job: Job, children: set[subprocess.Popen]) -> str:
    """As `speak`, in a process of its own, which is among `children` until it has ended."""
    # The child imports from where its parent does, installed or not. More threads only slow numpy's import.
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)
    environment = {**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    command = [
        sys.executable,
        "-P",
        __file__,
        str(os.getpid()),
    ]  # -P: this folder's files must not stand in for other modules
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, **pipes, env=environment) as child:
        children.add(child)
        said = child.communicate(json.dumps(job).encode())[0]
        children.remove(child)
    with contextlib.suppress(ValueError):
        answer = json.loads(said)
        if "error" in answer:
            raise CourseError(answer["error"])
        return answer["digest"]
    raise CourseError(f"speaker {job.speaker}: the process that speaks ended with status {child.returncode}.")


def speak_all(jobs: Iterable[Job], processes: int) -> Iterator[tuple[Job, str]]:
    """Speaks jobs, `processes` at a time; yields each job with its digest as it ends, in no fixed order.

    Raises CourseError for the first job that fails. Leaves no process behind, whatever ends it.
    """
    children = set()
    with ThreadPoolExecutor(processes) as threads:
        spoken = {threads.submit(_speak_apart, job, children): job for job in jobs}
        try:
            for digest in as_completed(spoken):
                yield spoken[digest], digest.result()
        finally:
            threads.shutdown(wait=False, cancel_futures=True)
            for child in list(children):
                child.kill()


def _main() -> None:
    if sys.platform == "linux":
        set_death_signal = 1  # PR_SET_PDEATHSIG: a parent that is killed does not leave its children speaking
        ctypes.CDLL(None).prctl(set_death_signal, signal.SIGKILL)
        if os.getppid() != int(sys.argv[1]):  # it was killed before that
            return
    speaker, voice, variant, folder, utterances = json.load(sys.stdin)
    try:
        answer = {"digest": speak(Job(speaker, voice, variant, folder, [Utterance(*one) for one in utterances]))}
    except (CourseError, OSError) as error:
        answer = {"error": str(error)}
    print(json.dumps(answer))


if __name__ == "__main__":
    _main()
