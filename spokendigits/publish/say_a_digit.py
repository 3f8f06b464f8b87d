"""The pages "Say a digit" and "Teach it your own words": writes all that they load when a reader asks for it.

A browser that reads the book from a disk (file://) may neither fetch a file nor import a module, but it runs classic
scripts. So the runtime (ONNX Runtime Web), the model and the sample clips become scripts that carry them packed (gzip)
and as text (base64), in parts, so that a progress bar can move. book/_static/say/model.js puts them together again.
"""

import base64
import gzip
import json
import shutil
import tempfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import onnx
import soundfile
import soxr
from onnx import numpy_helper
from scipy.stats import norm, t

from spokendigits.corpora import espeak, recording
from spokendigits.corpora.synthetic import SPEAKERS
from spokendigits.devices import cores
from spokendigits.publish import npm
from spokendigits.topics import decoding, vad
from spokendigits.topics.onnx_reader import load_onnx

MODELS = {"spotter.onnx": "spotter", "digits.onnx": "small"}  # the one that answers, and the one that chapter 7 makes
PART = 1 << 19  # characters of a script: about a dozen for all, so that the bar moves on a slow line too
SCRIPTS = {"ort-wasm-simd-threaded.mjs": "loader", "ort-wasm-simd-threaded.wasm": "runtime", **MODELS}

# One clip a word, each by another of the synthetic corpus's voices; the last word is no digit.
SPOKEN = {"seven": "s12", "three": "s07", "nine": "s01", "zero": "s54", "banana": "s21"}
NOISE = "rustling"
# What the page "Teach it your own words" can be tried with: three recordings of each word by one German voice, and each
# word by another voice, as well as a word that is not taught.
TAUGHT, TAKES, TEACHER = ("Katze", "Hund", "Vogel"), 3, ("teacher", "de", "f3")
ASKED, STRANGER = (*TAUGHT, "Fenster"), ("stranger", "de", "m3")
KEPT, KEPT_RATE = "spokendigits words, version 1", 16_000  # what a file of that page begins with, and its sample rate
MOST_SPEAKERS = 100  # of which the browser knows Student's quantile
LEAD, TAIL, FLOOR = 0.5, 0.6, 0.0005  # seconds before and after a word; standard deviation of the noise floor


def stage(folder: Path | str, runtime: Path | str | None = None, files: Iterable[Path] = ()) -> dict:
    """Writes what the page loads into `folder`, the book's `_static/say`, and returns what it tells the page.

    The models are those of MODELS in `folder`. runtime: the folder of the runtime's files (None: `npm.RUNTIME.find`).
    files: what the figures that move read, by their names. Writes built.js (what is there, recipes, labels, thresholds), the scripts of runtime and model, and the sample clips.
    What is missing is no error: the page then says so.
    """
    folder, runtime = Path(folder), runtime or npm.RUNTIME.find()
    sources = {name: folder / name for name in MODELS if (folder / name).is_file()}
    models = {told: _facts(sources[name]) if name in sources else None for name, told in MODELS.items()}
    if models["spotter"]:
        models["spotter"]["scales"] = scales(sources["spotter.onnx"])
    if runtime is not None:
        sources |= {name: Path(runtime) / name for name in SCRIPTS if name not in MODELS}
        for path in (Path(runtime) / "ort.wasm.min.js", npm.RUNTIME.licence):
            shutil.copy(path, folder)
    told = {
        "runtime": npm.RUNTIME.version if runtime is not None else None,
        **models,
        # The constants of what the browser has copies of, so that these have no numbers of their own.
        "decoding": _constants(decoding),
        "quantiles": {
            "normal": norm.ppf(0.975),
            "student": t.ppf(0.975, np.arange(1, MOST_SPEAKERS)).round(9).tolist(),
        },
        "words": _constants(vad) | {"cancel": recording.CANCEL},
        "parts": {SCRIPTS[name]: _pack(SCRIPTS[name], path, folder) for name, path in sources.items()},
        "files": {path.name: _pack_file(path, folder) for path in files},
        "samples": _samples(folder),
        "teach": _words_to_teach(folder) | {"format": KEPT, "rate": KEPT_RATE},
    }
    (folder / "built.js").write_text(f"window.SPOKEN_BUILT = {json.dumps(told, indent=1)};\n", encoding="utf-8")
    return told


def _facts(model: Path) -> dict:
    """Recipe, labels and threshold of an exported model, which a browser cannot read from the file itself."""
    loaded = load_onnx(model)
    names = ("sample_rate", "seconds", "window", "hop", "n_mels", "f_min", "f_max", "mel_scale", "samples", "frames")
    recipe = {name: getattr(loaded.recipe, name) for name in names}
    return {"recipe": recipe, "labels": list(loaded.labels), "threshold": loaded.threshold}


def _constants(module) -> dict[str, float]:
    return {name.lower(): getattr(module, name) for name in sorted(vars(module)) if name.isupper()}


def scales(model: Path) -> dict[str, list[float]]:
    """Mean and spread of each number of the speech embedding in the speech that a spotter learned from: its first layer has them."""
    graph = onnx.load(model).graph
    (norm,) = (node for node in graph.node if node.op_type == "BatchNormalization")
    held = {value.name: value for value in graph.initializer}
    mean, variance = (numpy_helper.to_array(held[name]).astype(float) for name in norm.input[3:5])
    return {"mean": mean.round(5).tolist(), "spread": np.sqrt(variance).round(5).tolist()}


def _pack(name: str, source: Path, folder: Path) -> dict[str, int]:
    """Writes a file as scripts `name`-0.js, `name`-1.js …; returns how many, and how many bytes they have."""
    text = base64.b64encode(gzip.compress(source.read_bytes(), 9, mtime=0)).decode()
    parts = [text[start : start + PART] for start in range(0, len(text), PART)]
    for number, part in enumerate(parts):
        (folder / f"{name}-{number}.js").write_text(f'spokenPart("{name}", {number}, "{part}");\n', encoding="utf-8")
    return {"scripts": len(parts), "bytes": len(text)}


def _pack_file(path: Path, folder: Path) -> dict:
    part = f"file-{path.name.replace('.', '-')}"
    return {"part": part} | _pack(part, path, folder)


def _samples(folder: Path) -> list[dict]:
    """Makes the sample clips: a script of each, which carries a WAV file."""
    voices = {speaker.name: speaker for speaker in SPEAKERS}
    with tempfile.TemporaryDirectory(prefix="spokendigits-samples-") as fresh:
        how = {"peak": 0.6, "lead": LEAD, "tail": TAIL, "noise": FLOOR}
        jobs = [
            voices[name].job(fresh, [voices[name].says(f"{word}.wav", word, number, **how)])
            for number, (word, name) in enumerate(SPOKEN.items())
        ]
        list(espeak.speak_all(jobs, cores()))
        soundfile.write(Path(fresh) / f"{NOISE}.wav", _rustle(), espeak.SAMPLE_RATE, subtype="PCM_16")
        clips = {word: Path(fresh) / f"{word}.wav" for word in (*SPOKEN, NOISE)}
        return [{"name": word} | _pack(f"sample-{word}", clip, folder) for word, clip in clips.items()]


def _words_to_teach(folder: Path) -> dict:
    """Makes what the page "Teach it your own words" can be tried with: a file as it saves one, and clips of another voice."""
    with tempfile.TemporaryDirectory(prefix="spokendigits-teach-") as fresh:
        jobs = []
        for (name, *voice), words, takes in ((TEACHER, TAUGHT, TAKES), (STRANGER, ASKED, 1)):
            said = []
            for number, word in enumerate(words * takes):
                take = number // len(words)
                how = {"rate": 150 + 12 * take, "pitch": 50 + 6 * take, "range": 50, "peak": 0.6, "noise": FLOOR}
                said.append(
                    espeak.Utterance(
                        f"{word}-{take}.wav", word + ("", "?", "!")[take], number, lead=LEAD, tail=TAIL, **how
                    )
                )
            jobs.append(espeak.Job(name, *voice, str(Path(fresh) / name), said))
        list(espeak.speak_all(jobs, cores()))
        heard = {
            word: [_word_in(Path(fresh) / TEACHER[0] / f"{word}-{take}.wav") for take in range(TAKES)]
            for word in TAUGHT
        }
        (Path(fresh) / "words.json").write_text(kept(heard), encoding="utf-8")
        clips = {word: Path(fresh) / STRANGER[0] / f"{word}-0.wav" for word in ASKED}
        return {
            "words": {"name": "taught"} | _pack("sample-taught", Path(fresh) / "words.json", folder),
            "asked": [{"name": word} | _pack(f"sample-{word}", clip, folder) for word, clip in clips.items()],
        }


def _word_in(clip: Path) -> np.ndarray:
    """The spoken part of a WAV file of one word, int16 [n] at KEPT_RATE."""
    audio, rate = soundfile.read(clip, dtype="float32")
    audio = soxr.resample(audio, rate, KEPT_RATE)
    words = vad.find_words(audio, KEPT_RATE)
    part = audio[round(words[0].start * KEPT_RATE) : round(words[-1].end * KEPT_RATE)]
    return np.clip(np.round(part * 32767), -32768, 32767).astype("<i2")


def kept(words: dict[str, list[np.ndarray]]) -> str:
    """A file of the page "Teach it your own words": of each word its examples, int16 [n] at KEPT_RATE."""
    listed = [
        {"word": word, "examples": [base64.b64encode(one.astype("<i2").tobytes()).decode() for one in examples]}
        for word, examples in words.items()
    ]
    text = "\n".join(line for one in listed for line in (one["word"], *one["examples"]))
    told = {"format": KEPT, "rate": KEPT_RATE, "crc32": zlib.crc32(text.encode()), "words": listed}
    return json.dumps(told, indent=1, ensure_ascii=False)


def _rustle() -> np.ndarray:
    """int16 [n] at espeak-ng's rate: a second and a half of near silence with a rustling in it, half a second long."""
    random, rate = np.random.default_rng(6), espeak.SAMPLE_RATE
    burst = np.convolve(random.standard_normal(rate // 2), [0.25, 0.5, 0.25], mode="same")
    # Uneven, as leaves or paper: a slow random envelope, without clicks at either end.
    slow = np.interp(np.linspace(0, 12, burst.size), np.arange(13), random.uniform(0.3, 1.0, 13))
    burst *= slow * np.hanning(burst.size)
    clip = np.pad(burst / np.abs(burst).max() * 0.4, round(LEAD * rate))
    clip += random.standard_normal(clip.size) * FLOOR
    return np.round(clip * 32767).astype(np.int16)
