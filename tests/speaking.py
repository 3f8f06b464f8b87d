"""What stands in for speech programs in tests, and how what was spoken is compared."""

import sys
from pathlib import Path

import numpy as np

from spokendigits.corpora import engines
from spokendigits.files import sha256

# Speaks as flite does: a tone whose pitch and length follow the settings, or nothing for a voice that cannot say a word.
FLITE = """#!{python} -SE
import math, struct, sys
given = sys.argv[1:]
if given == ["-lv"]:
    print("Voices available: tom ann mute")
    sys.exit()
settings = dict(one.split("=") for one in given if "=" in one)
voice, word, path = given[given.index("-voice") + 1], given[given.index("-t") + 1], given[given.index("-o") + 1]
if voice == "mute" and word.startswith("seven"):
    sys.exit()
step = 2 * math.pi * (220 if voice == "ann" else 110) * float(settings["f0_shift"]) / 16000
tone = [round(9000 * math.sin(step * n)) for n in range(int(16000 * 0.4 * float(settings["duration_stretch"])))]
samples = [0] * 4000 + tone + [0] * 4000
data = struct.pack(f"<{{len(samples)}}h", *samples)
sizes = struct.pack("<IHHIIHH4sI", 16, 1, 1, 16000, 32000, 2, 16, b"data", len(data))
open(path, "wb").write(struct.pack("<4sI8s", b"RIFF", 36 + len(data), b"WAVEfmt ") + sizes + data)
"""


def install_flite(folder: Path) -> Path:
    """Puts what stands in for flite into a new folder."""
    folder.mkdir()
    program = folder / "flite"
    program.write_text(FLITE.format(python=sys.executable))
    program.chmod(0o755)
    return program


class Kokoro:
    """Stands in for kokoro-onnx's class: a tone for each voice, and what it was asked to say."""

    def __init__(self):
        self.said = []

    def get_voices(self):
        return ["af_one", "bm_two", "ff_three"]

    def get_voice_style(self, name):
        return np.full((510, 1, 256), float(self.get_voices().index(name)), np.float32) + np.arange(510)[:, None, None]

    def create(self, text, voice, speed=1.0, lang="en-us", is_phonemes=False):
        self.said.append((text, voice, is_phonemes))
        return 0.3 * np.sin(np.arange(int(12_000 / speed)) / 9).astype(np.float32), 24_000


def install_kokoro(monkeypatch, blends: int) -> Kokoro:
    """Puts the stand-in in the place of Kokoro, with one take of each digit and so many blends."""
    model = Kokoro()
    monkeypatch.setattr(engines, "kokoro_model", lambda: model)
    monkeypatch.setattr(engines, "has_kokoro", lambda: True)
    monkeypatch.setitem(engines.ENGINES, "kokoro", engines.ENGINES["kokoro"]._replace(takes=1))
    monkeypatch.setattr(engines, "BLENDS", blends)
    return model


def digests(root: Path) -> dict[str, str]:
    """The SHA-256 of every clip, by its path in a corpus."""
    return {path.relative_to(root).as_posix(): sha256(path) for path in sorted(root.rglob("*.wav"))}
