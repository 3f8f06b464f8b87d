"""`spokendigits doctor`: is everything here that the course needs? One line a question, and what to do where it is not."""

import importlib
import importlib.metadata
import io
import os
import platform
import shutil
import sys
import tempfile
import threading
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from spokendigits.devices import cores, has_bf16
from spokendigits.errors import CourseError
from spokendigits.files import data_folder, find_data

OK, WARN, FAIL = " OK ", "WARN", "FAIL"
PYTHONS = ((3, 11), (3, 12), (3, 13))
DISK = 2  # GB: 0.8 of clips, 0.7 decoded, and the runs
NETWORK_SECONDS = 3
SITES = {  # what is asked over the network: address, and what it is asked for
    "the Hugging Face hub": ("https://huggingface.co", "ImageNet weights"),
    "GitHub": ("https://github.com", "downloads of recordings"),
}


class Check(NamedTuple):
    """One answer. WARN: the course runs without it. FAIL: it does not, and `detail` says what to do next."""

    status: str
    name: str
    detail: str

    def __str__(self) -> str:
        return f"[{self.status}] {self.name}: {self.detail}"


def _judge(name: str, good: bool, fine: str, otherwise: str, bad: str = FAIL) -> Check:
    return Check(OK, name, fine) if good else Check(bad, name, otherwise)


def _python() -> Iterator[Check]:
    version, wanted = platform.python_version(), "{}.{} to {}.{}".format(*PYTHONS[0], *PYTHONS[-1])
    advice = f"{version}. Make an environment with Python {wanted}, then install the course in it"
    yield _judge("Python", sys.version_info[:2] in PYTHONS, version, advice)


def _required() -> list:
    from packaging.requirements import Requirement

    return [Requirement(line) for line in importlib.metadata.requires("spokendigits") or []]


def _packages() -> Iterator[Check]:
    # Only the metadata is read: importing them all would take half a minute.
    for wanted in _required():
        if wanted.marker is None or wanted.marker.evaluate({"extra": ""}):
            bad, install = FAIL, f"Run `pip install '{wanted.name}{wanted.specifier}'`"
        elif wanted.marker.evaluate({"extra": "course"}):
            bad, install = WARN, "For the notebooks and the book, run `pip install 'spokendigits[course]'`"
        else:
            continue
        try:
            version = importlib.metadata.version(wanted.name)
        except importlib.metadata.PackageNotFoundError:
            yield Check(bad, wanted.name, f"missing. {install}")
        else:
            good = wanted.specifier.contains(version, prereleases=True)
            yield _judge(wanted.name, good, version, f"{version} does not fit. {install}", bad)


def _torch() -> Iterator[Check]:
    names = ("torch", "torchaudio", "torchvision")
    try:
        versions = ", ".join(importlib.import_module(name).__version__ for name in names)
        yield Check(OK, ", ".join(names), f"{versions} load together")
    except Exception as error:  # a build that does not match fails with whatever its C++ raises
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        ranges = " ".join(f"'{one.name}{one.specifier}'" for one in _required() if one.name in names)
        advice = f"Install all three again with one command: `pip install --force-reinstall {ranges}`"
        yield Check(FAIL, ", ".join(names), f"they do not load together ({first}). {advice}")


def _audio() -> Iterator[Check]:
    import numpy as np
    import soundfile
    import soxr

    tone = (0.5 * np.sin(2 * np.pi * 440 * np.arange(22_050) / 22_050)).astype(np.float32)
    file = io.BytesIO()
    soundfile.write(file, tone, 22_050, format="WAV", subtype="PCM_16")
    file.seek(0)
    back, rate = soundfile.read(file, dtype="float32")
    half = soxr.resample(back, rate, rate // 2)
    good = np.abs(back - tone).max() < 1e-4 and abs(len(half) - len(tone) / 2) <= 1
    advice = "a WAV came back changed. Run `pip install --force-reinstall soundfile soxr`"
    yield _judge("audio", good, "WAV files are read, written and resampled", advice)


def _espeak() -> Iterator[Check]:
    from spokendigits.corpora import espeak, synthetic

    voice = synthetic.SPEAKERS[0]
    words = synthetic.utterances(voice, takes=1, seed=0)[:1]
    with tempfile.TemporaryDirectory() as folder:
        # In a process of its own, so that this one has never spoken.
        list(espeak.speak_all([voice.job(folder, words)], 1))
    yield Check(OK, "espeak-ng", f"{espeak.version()} speaks")


def _cache() -> Iterator[Check]:
    try:
        package = Path(importlib.metadata.distribution("librosa").locate_file("librosa"))
    except importlib.metadata.PackageNotFoundError:
        return
    # What librosa compiles is kept beside it, or in the account; with no place for that, it cannot be imported.
    own = os.environ.get("NUMBA_CACHE_DIR")
    places = [Path(own)] if own else [package, Path.home() / ".cache"]
    there = (next(folder for folder in (place, *place.parents) if folder.exists()) for place in places)
    good = any(os.access(folder, os.W_OK) for folder in there)
    advice = "nothing can be kept for librosa. For notebook 2, set NUMBA_CACHE_DIR to a folder of your own"
    yield _judge("cache", good, "there is a place for what librosa compiles", advice, WARN)


def _gpu() -> Iterator[Check]:
    import torch

    if torch.cuda.is_available():
        device, bf16 = torch.cuda.get_device_properties(0), has_bf16(torch.device("cuda"))
        memory = f"{device.total_memory / 1e9:.0f} GB, {'with' if bf16 else 'without'} bf16"
        yield Check(OK, "GPU", f"{device.name}, {memory}")
    else:
        bf16 = "has fast bf16" if has_bf16(torch.device("cpu")) else "has no fast bf16"
        yield Check(WARN, "GPU", f"none. The CPU is used, which {bf16}. The fast lane is made for this")


def _machine() -> Iterator[Check]:
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (AttributeError, ValueError, OSError):  # Windows
        yield Check(OK, "machine", f"{cores()} cores")
    else:
        size = f"{cores()} cores, {memory:.0f} GB of memory"
        advice = "4 GB are wanted: close other programs, and choose a small batch"
        yield _judge("machine", memory >= 4, size, f"{size}. {advice}", WARN)


def _disk() -> Iterator[Check]:
    folder = data_folder()
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(there).free / 1e9
    if not os.access(there, os.W_OK):
        yield Check(FAIL, "disk", f"{there} cannot be written. Set SPOKENDIGITS_HOME to a folder of your own")
        return
    advice = f"{DISK:.0f} GB are needed: make room, or set SPOKENDIGITS_HOME to a folder on another disk"
    tight = f"{free:.1f} GB free for {folder}. {advice}"
    yield _judge("disk", free >= DISK, f"{free:.0f} GB free for {folder}", tight)


def _network() -> Iterator[Check]:
    import httpx

    try:  # with the proxy that the environment names, as the hub is asked
        httpx.Client().close()
    except (ImportError, ValueError) as error:
        advice = "Weights cannot be fetched through it: unset ALL_PROXY, or name one that begins with `http://`"
        yield Check(WARN, "network", f"the proxy that is set is of no use here ({_line(error)}). {advice}")
    answered = set()

    def ask(site: str, address: str) -> None:
        request = urllib.request.Request(address, method="HEAD")
        try:
            urllib.request.urlopen(request, timeout=NETWORK_SECONDS).close()
        except urllib.error.HTTPError:
            pass  # that is an answer
        except (OSError, ValueError):
            return
        answered.add(site)

    # Daemons: looking up a name has no time limit of its own.
    threads = [threading.Thread(target=ask, args=(site, SITES[site][0]), daemon=True) for site in SITES]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(NETWORK_SECONDS)
    for site, (_, what) in SITES.items():
        silent = f"{site} does not answer: no {what}. Not needed for the synthetic corpus"
        yield _judge("network", site in answered, f"{site} answers", silent, WARN)


def _data() -> Iterator[Check]:
    from spokendigits import corpora

    for name in corpora.NAMES:
        folder, made = find_data(name), name in corpora.MADE
        if folder is None:
            when = "made when first needed" if made else f"run `spokendigits fetch {name}` to have it"
            yield Check(OK if made else WARN, "data", f"{name} is not here yet: {when}")
            continue
        try:
            yield Check(OK, "data", f"{name}: {len(corpora.read(name, folder)):,} clips in {folder}")
        except Exception as error:
            yield Check(WARN, "data", f"{name}: {_line(error)}")


QUESTIONS: dict[str, Callable[[], Iterator[Check]]] = {
    "Python": _python,
    "packages": _packages,
    "torch, torchaudio, torchvision": _torch,
    "audio": _audio,
    "espeak-ng": _espeak,
    "cache": _cache,
    "GPU": _gpu,
    "machine": _machine,
    "disk": _disk,
    "network": _network,
    "data": _data,
}


def _line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def checks() -> Iterator[Check]:
    """All answers, in the order of QUESTIONS, each as it comes. Raises nothing; a missing package is an answer."""
    for name, question in QUESTIONS.items():
        try:
            with warnings.catch_warnings(action="ignore"):
                yield from question()
        except CourseError as error:
            yield Check(FAIL, name, str(error))
        except ImportError as error:
            yield Check(FAIL, name, f"{_line(error)}. Run `pip install -e .` in the checkout")
        except Exception as error:  # a doctor who faints helps nobody
            advice = "Install the course again, in a fresh environment"
            yield Check(FAIL, name, f"{type(error).__name__}: {_line(error)}. {advice}")


def report() -> int:
    """Prints the answers, each as it comes. Returns the exit status: 1 if any is FAIL, else 0."""
    failed = 0
    for check in checks():
        print(check, flush=True)
        failed += check.status == FAIL
    print(f"{failed} problem(s) to mend, marked FAIL." if failed else "Ready.")
    return 1 if failed else 0
