"""What the figure "Break it" disturbs with, made by `topics.robustness`, and the words that it hides: `python -m studies.break_it`.

A browser can compute noise and a pitch, but it knows neither rooms nor eight people at once. They are kept in
book/moving, as making the rooms takes longer than building a page.
"""

import base64
import json
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import torch
from scipy.signal import butter

from spokendigits.clips import read_audio
from spokendigits.corpora import espeak
from spokendigits.corpora.synthetic import SPEAKERS, WORDS
from spokendigits.devices import cores
from spokendigits.files import checkout
from spokendigits.recipe import Recipe
from spokendigits.topics.robustness import BAND, CONDITIONS, LINE, disturb

RATE, SECONDS = 16_000, 1.25  # of every clip in the figure
SAMPLES = round(RATE * SECONDS)
ECHOES = (*CONDITIONS["reverberation"].levels, 2.0)  # the last is a church's
# The picture: as the model's own, but finer, and up to the highest tone there is at this rate.
RECIPE = Recipe.preset("speech").but(window=512, n_mels=64, f_min=0.0, f_max=RATE / 2)
# Who says each hidden word, and who babbles: voices of the synthetic corpus. All these words are read right when nothing disturbs.
HIDDEN = dict(zip(WORDS, ("s10", "s17", "s09", "s21", "s05", "s15", "s23", "s07", "s19", "s24"), strict=True))
BABBLE = ("s02", "s06", "s08", "s11", "s14", "s20", "s22", "s25")


def facts() -> dict:
    """What is small: a clip's samples, the telephone, the picture's recipe."""
    names = ("sample_rate", "window", "hop", "n_mels", "f_min", "f_max", "top_db")
    telephone = {"line": LINE, "steps": 2 ** int(CONDITIONS["telephone"].levels[0]) - 1}
    telephone["sections"] = butter(4, BAND, "bandpass", fs=LINE, output="sos").tolist()
    return {"samples": SAMPLES, "telephone": telephone, "picture": {name: getattr(RECIPE, name) for name in names}}


def rooms() -> dict[str, str]:
    """Impulse responses [SAMPLES] by their T60 in seconds, int16 in base64: 32,767 is 1."""
    impulse = torch.zeros(1, SAMPLES)
    impulse[0, 0] = 1.0
    found = {t60: disturb(impulse, "reverberation", t60, RATE, [0], [1])[0].numpy() for t60 in ECHOES}
    return {f"{t60:g}": base64.b64encode((32_767 * room).round().astype("<i2")).decode() for t60, room in found.items()}


def speak(folder: Path) -> dict[str, np.ndarray]:
    """The hidden words by their names, and "babble": float32 [n] at RATE. Writes into `folder` what espeak-ng says."""
    said = {name: ((word, digit),) for digit, (word, name) in enumerate(HIDDEN.items())}
    said |= {
        name: tuple((WORDS[(number + turn) % 10], turn) for turn in range(2)) for number, name in enumerate(BABBLE)
    }
    how = {"peak": 0.6, "lead": 0.05, "tail": 0.05, "noise": 0.0005}
    jobs = [
        voice.job(
            folder, [voice.says(f"{voice.name}-{seed}.wav", word, seed, **how) for word, seed in said[voice.name]]
        )
        for voice in SPEAKERS
        if voice.name in said
    ]
    list(espeak.speak_all(jobs, cores()))
    clips = {
        word: read_audio(folder / f"{name}-{digit}.wav", RATE) for digit, (word, name) in enumerate(HIDDEN.items())
    }
    others = [np.concatenate([read_audio(folder / f"{name}-{turn}.wav", RATE) for turn in range(2)]) for name in BABBLE]
    # So far above a faint tone that nothing but the babble is left.
    faint = torch.full((1, SAMPLES), 1e-6)
    babble = disturb(faint, "babble", -80.0, RATE, [0], [SAMPLES], voices=[others])[0].numpy()
    babble -= babble.mean()  # as the page does with all that it reads
    return clips | {"babble": 0.9 * babble / np.abs(babble).max()}


def main() -> None:
    """Writes break.json and break-rooms.json into book/moving, and the sound of each hidden word and of the babble."""
    target = checkout() / "book" / "moving"
    target.mkdir(exist_ok=True)
    for name, told in (("break", facts()), ("break-rooms", rooms())):
        (target / f"{name}.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    with tempfile.TemporaryDirectory(prefix="spokendigits-break-") as folder:
        for name, audio in speak(Path(folder)).items():
            soundfile.write(target / f"break-{name}.flac", audio, RATE, subtype="PCM_16")


if __name__ == "__main__":
    main()
