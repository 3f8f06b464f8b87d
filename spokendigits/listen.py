"""Players for a notebook: short, labelled, their bytes stored once."""

import base64
import html
import io
from collections.abc import Iterable

import numpy as np
import soundfile
from IPython.display import HTML


def player(audio: np.ndarray, sample_rate: int, label: str) -> HTML:
    """A labelled player for one waveform [n] in -1..1."""
    return players([(audio, label)], sample_rate)


def players(clips: Iterable[tuple[np.ndarray, str]], sample_rate: int) -> HTML:
    """Labelled players side by side, for (waveform [n], label) pairs."""
    return HTML(f'<div class="players">{"".join(_figure(audio, sample_rate, label) for audio, label in clips)}</div>')


def _figure(audio: np.ndarray, sample_rate: int, label: str) -> str:
    file = io.BytesIO()
    # Padding is silence that would only cost bytes.
    sound = np.flatnonzero(audio)
    audio = audio[: sound[-1] + 1] if len(sound) else audio[:1]
    soundfile.write(file, audio, sample_rate, format="WAV", subtype="PCM_16")
    data = base64.b64encode(file.getvalue()).decode()
    text = html.escape(label)
    return (
        '<figure style="display:inline-block;margin:0.25em 1em 0.25em 0">'
        f"<figcaption>{text}</figcaption>"
        f'<audio controls preload="metadata" aria-label="{text}" style="width:16em;height:2.2em" src="data:audio/wav;base64,{data}"></audio>'
        "</figure>"
    )
