"""The page "Say a digit": writes all that it loads when a reader asks for it.

A browser that reads the book from a disk (file://) may neither fetch a file nor import a module, but it runs classic
scripts. So the runtime (ONNX Runtime Web), the model and the sample clips become scripts that carry them packed (gzip)
and as text (base64), in parts, so that a progress bar can move. book/_static/say/say.js puts them together again.
"""

import base64
import contextlib
import gzip
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import wave
from pathlib import Path

import numpy as np

from spokendigits.corpora import espeak
from spokendigits.errors import CourseError
from spokendigits.files import atomic_folder, data_folder, sha256
from spokendigits.topics import vad

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
# SHA-256 of the files of that npm package which the page uses: the build for WebAssembly alone is the smallest one.
FILES = {
    "ort.wasm.min.js": "faece07e84faa9001f5104bbe4e5c70861d06cb2376a0dea1fa0ad33a67adc81",
    "ort-wasm-simd-threaded.mjs": "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
    "ort-wasm-simd-threaded.wasm": "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
LICENCE = "LICENSE.txt"
MODEL = "digits.onnx"
PART = 1 << 19  # characters of a script: about a dozen for all, so that the bar moves on a slow line too
SCRIPTS = {"ort-wasm-simd-threaded.mjs": "loader", "ort-wasm-simd-threaded.wasm": "runtime", MODEL: "model"}

# One clip a word, each by another of the synthetic corpus's voices; the last word is no digit.
SPOKEN = (("seven", "s12"), ("three", "s07"), ("nine", "s01"), ("zero", "s54"), ("banana", "s21"))
NOISE = "rustling"
LEAD, TAIL, FLOOR = 0.5, 0.6, 0.0005  # seconds before and after a word; standard deviation of the noise floor

# The licence in the package's repository, which is not in what npm delivers.
MIT = f"""{PACKAGE} {VERSION}, https://github.com/microsoft/onnxruntime
It contains libraries of others. What their authors want said is in ThirdPartyNotices.txt at that address.

MIT License

Copyright (c) Microsoft Corporation

Permission is hereby granted, free of charge, to any person obtaining a copy
of this software and associated documentation files (the "Software"), to deal
in the Software without restriction, including without limitation the rights
to use, copy, modify, merge, publish, distribute, sublicense, and/or sell
copies of the Software, and to permit persons to whom the Software is
furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all
copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR
IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY,
FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE
AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER
LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE
SOFTWARE.
"""


def find_runtime() -> Path | None:
    """The folder that holds the runtime's files, each with its pinned SHA-256; None if there is none.

    Looks in SPOKENDIGITS_DATA, then where `fetch_runtime` puts them. Files of another version count as missing.
    """
    shared = os.environ.get("SPOKENDIGITS_DATA")
    for folder in (Path(shared).expanduser() if shared else None, data_folder()):
        if folder and whole(folder / PACKAGE):
            return folder / PACKAGE
    return None


def fetch_runtime() -> Path:
    """The folder of the runtime's files; brought by `npm pack` if they are not here yet.

    Raises CourseError without npm or a network, or if a file is not the pinned one.
    """
    if found := find_runtime():
        return found
    folder = data_folder() / PACKAGE
    npm = shutil.which("npm")
    if npm is None:
        raise CourseError(f"{PACKAGE} comes through npm, and there is no npm here. Install Node.js, then try again.")
    print(f"{PACKAGE} {VERSION}: fetching", flush=True)
    with tempfile.TemporaryDirectory(prefix="spokendigits-npm-") as fresh:
        command = [npm, "pack", f"{PACKAGE}@{VERSION}", "--silent", "--fetch-retries=1", "--fetch-timeout=60000"]
        done = subprocess.run(command, cwd=fresh, capture_output=True, text=True, timeout=900, check=False)
        archives = list(Path(fresh).glob("*.tgz"))
        if done.returncode or not archives:
            raise CourseError(
                f"npm could not get {PACKAGE} {VERSION}. Look at the network and at npm's settings, then try again."
            )
        with atomic_folder(folder) as temporary:
            _unpack(archives[0], temporary)
            (temporary / LICENCE).write_text(MIT, encoding="utf-8")
            for name, digest in FILES.items():
                if sha256(temporary / name) != digest:
                    raise CourseError(f"{PACKAGE} {VERSION}: the SHA-256 of {name} is not the known one. Not used.")
    return folder


def prepare() -> None:
    """Fetches the runtime if it is not here; a book without it is still a book, so this only says why it could not."""
    try:
        fetch_runtime()
    except (CourseError, OSError, subprocess.TimeoutExpired) as error:
        print(f'note: the page "Say a digit" will not answer. {error}', file=sys.stderr, flush=True)


def _unpack(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as tar:
        for name in FILES:
            try:
                member = tar.extractfile(f"package/dist/{name}")
            except KeyError:
                raise CourseError(f"{archive.name}: holds no {name}. Not used.") from None
            (folder / name).write_bytes(member.read())


def whole(folder: Path) -> bool:
    return all((folder / name).is_file() and sha256(folder / name) == digest for name, digest in FILES.items())


def stage(folder: Path | str, runtime: Path | str | None = None) -> dict:
    """Writes what the page loads into `folder`, the book's `_static/say`, and returns what it tells the page.

    The model is `folder`/digits.onnx if there is one. runtime: the folder of the runtime's files (None: `find_runtime`).
    Writes built.js (what is there, recipe, labels, threshold), the scripts of runtime and model, and the sample clips.
    What is missing is no error: the page then says so.
    """
    folder = Path(folder)
    runtime = runtime or find_runtime()
    sources = {}
    if (folder / MODEL).is_file():
        sources[MODEL] = folder / MODEL
    if runtime is not None:
        sources |= {name: Path(runtime) / name for name in FILES}
        (folder / f"{PACKAGE}-{LICENCE}").write_text(MIT, encoding="utf-8")
        shutil.copyfile(sources.pop("ort.wasm.min.js"), folder / "ort.wasm.min.js")
    told = {
        "runtime": VERSION if runtime is not None else None,
        "model": describe(folder / MODEL) if MODEL in sources else None,
        "words": words(),
        "parts": {SCRIPTS[name]: _pack(SCRIPTS[name], path.read_bytes(), folder) for name, path in sources.items()},
        "samples": _samples(folder),
    }
    (folder / "built.js").write_text(f"window.SAY_BUILT = {json.dumps(told, indent=1)};\n", encoding="utf-8")
    return told


def describe(model: Path | str) -> dict:
    """Recipe, labels and threshold of an exported model, which a browser cannot read from the file itself."""
    from spokendigits.topics.onnx_reader import load_onnx

    loaded = load_onnx(model)
    recipe = loaded.recipe
    names = ("sample_rate", "seconds", "window", "hop", "n_mels", "f_min", "f_max", "mel_scale")
    facts = {name: getattr(recipe, name) for name in names} | {"samples": recipe.samples, "frames": recipe.frames}
    return {"recipe": facts, "labels": list(loaded.labels), "threshold": loaded.threshold}


def words() -> dict[str, float]:
    """The constants of `vad.find_words`, so that the browser's copy of it has no numbers of its own."""
    return {name.lower(): getattr(vad, name) for name in sorted(vars(vad)) if name.isupper()}


def _pack(name: str, content: bytes, folder: Path) -> dict[str, int]:
    """Writes `content` as scripts `name`-0.js, `name`-1.js …; returns how many, and how many bytes they have."""
    text = base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()
    parts = [text[start : start + PART] for start in range(0, len(text), PART)]
    for number, part in enumerate(parts):
        (folder / f"{name}-{number}.js").write_text(f'sayPart("{name}", {number}, "{part}");\n', encoding="utf-8")
    return {"scripts": len(parts), "bytes": len(text)}


def _samples(folder: Path) -> list[dict]:
    """Makes the sample clips: a script of each, which carries a WAV file."""
    made = []
    with tempfile.TemporaryDirectory(prefix="spokendigits-samples-") as fresh:
        _speak(Path(fresh))
        _write(Path(fresh) / f"{NOISE}.wav", _rustle())
        for word in (*(word for word, _ in SPOKEN), NOISE):
            parts = _pack(f"sample-{word}", (Path(fresh) / f"{word}.wav").read_bytes(), folder)
            made.append({"name": word} | parts)
    return made


def _speak(folder: Path) -> None:
    from spokendigits.corpora.synthetic import SPEAKERS

    by_name = {speaker.name: speaker for speaker in SPEAKERS}
    jobs = []
    for number, (word, name) in enumerate(SPOKEN):
        voice = by_name[name]
        how = {"rate": voice.rate, "pitch": voice.pitch, "range": voice.range}
        said = espeak.Utterance(f"{word}.wav", word, number, **how, peak=0.6, lead=LEAD, tail=TAIL, noise=FLOOR)
        jobs.append(espeak.Job(name, voice.accent, voice.variant, str(folder), [said]))
    for _ in espeak.speak_all(jobs, os.cpu_count() or 1):
        pass


def _rustle() -> np.ndarray:
    """int16 [n] at espeak-ng's rate: a second and a half of near silence with a rustling in it, half a second long."""
    random = np.random.default_rng(6)
    rate = espeak.SAMPLE_RATE
    burst = np.convolve(random.standard_normal(rate // 2), [0.25, 0.5, 0.25], mode="same")
    # Uneven, as leaves or paper: a slow random envelope, without clicks at either end.
    slow = np.interp(np.linspace(0, 12, burst.size), np.arange(13), random.uniform(0.3, 1.0, 13))
    burst *= slow * np.hanning(burst.size)
    clip = np.pad(burst / np.abs(burst).max() * 0.4, (round(LEAD * rate), round(LEAD * rate)))
    clip += random.standard_normal(clip.size) * FLOOR
    return np.round(clip * 32767).astype("<i2")


def _write(path: Path, samples: np.ndarray) -> None:
    with open(path, "wb") as raw, contextlib.closing(wave.open(raw, "wb")) as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(espeak.SAMPLE_RATE)
        file.writeframes(samples.tobytes())


if __name__ == "__main__":
    prepare()
