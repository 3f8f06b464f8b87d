"""Players for a notebook: short, labelled, their bytes stored once. Chapters 1, 2 and 4 to 7 play clips.

How they look, and the cards of `topics.cards`, is in listen.html, beside this file.
"""

import base64
import io
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soundfile
from IPython.display import HTML
from jinja2 import Environment, FileSystemLoader

PAGE = Environment(
    loader=FileSystemLoader(Path(__file__).parent), autoescape=True, trim_blocks=True, lstrip_blocks=True
)


def player(audio: np.ndarray, sample_rate: int, label: str) -> HTML:
    """A labelled player for one waveform [n] in -1..1."""
    return players([(audio, label)], sample_rate)


def players(clips: Iterable[tuple[np.ndarray, str]], sample_rate: int) -> HTML:
    """Labelled players side by side, for (waveform [n], label) pairs."""
    return page("players", [{"label": label, "sound": flac(audio, sample_rate)} for audio, label in clips])


def page(macro: str, *content) -> HTML:
    """What a macro of listen.html makes of its content."""
    body = getattr(PAGE.get_template("listen.html").module, macro)(*content)
    return HTML(f'<div class="players">{body}</div>')  # the class that the book's style gives its colours to


def flac(audio: np.ndarray, sample_rate: int) -> str:
    """Base64. Without loss, as WAV is, in a third to two thirds of its bytes; browsers have played it since 2017."""
    file = io.BytesIO()
    # Padding is silence that would only cost bytes.
    audio = np.trim_zeros(audio, "b") if audio.any() else audio[:1]
    soundfile.write(file, audio, sample_rate, format="FLAC", subtype="PCM_16")
    return base64.b64encode(file.getvalue()).decode()
