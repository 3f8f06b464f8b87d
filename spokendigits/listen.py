"""Players for a notebook: short, labelled, their bytes stored once; and cards that show a clip beside its player.

All of it is HTML with its style in the elements themselves, without scripts, style sheets or links within the page:
JupyterLab takes those out of a notebook that it did not run itself. Colours keep to what light and dark pages share.
"""

import base64
import html
import io
from collections.abc import Iterable

import matplotlib as mpl
import numpy as np
import pandas as pd
import soundfile
import torch
from IPython.display import HTML
from PIL import Image

from spokendigits.classifier import Classifier
from spokendigits.clips import Clips
from spokendigits.corpora.corpus import DIGITS, Corpus
from spokendigits.evaluation import PROBABILITIES, confusions, mistakes

RIGHT, WRONG, OTHER, LINE = "#0072B2", "#D55E00", "#767676", "rgba(128,128,128,0.4)"
ROW = "display:flex;flex-wrap:wrap;gap:1em"


def player(audio: np.ndarray, sample_rate: int, label: str) -> HTML:
    """A labelled player for one waveform [n] in -1..1."""
    return players([(audio, label)], sample_rate)


def players(clips: Iterable[tuple[np.ndarray, str]], sample_rate: int) -> HTML:
    """Labelled players side by side, for (waveform [n], label) pairs."""
    figures = [
        '<figure style="display:inline-block;margin:0.25em 1em 0.25em 0">'
        f"<figcaption>{html.escape(label)}</figcaption>{_audio(audio, sample_rate, label, 'width:16em')}</figure>"
        for audio, label in clips
    ]
    return _page("".join(figures))


def error_cards(
    classifier: Classifier,
    clips: Clips,
    corpus: Corpus,
    table: pd.DataFrame,
    neighbours: np.ndarray | None = None,
    distances: np.ndarray | None = None,
) -> HTML:
    """A card for each row of a predictions table: player, log-mel picture, the ten probabilities, its neighbours.

    neighbours: rows of the corpus [len(table), k], such as `split.train[places]` with `places` of `explain.nearest`, which
    also gives `distances`. In the fast recipe a clip costs about 13 KB of the page for FSDD and 26 KB for
    synthetic speech.
    """
    if neighbours is None:
        neighbours = np.empty((len(table), 0), int)
    near = [[""] * len(rows) for rows in neighbours]
    if distances is not None:
        near = [[f", distance {distance:.2f}" for distance in row] for row in distances]
    cards = []
    for (_, row), others, notes in zip(table.iterrows(), neighbours, near, strict=True):
        words = f"said {row['digit']}, read as {row['predicted']}"
        parts = [
            _clip(classifier, clips, corpus, row["clip"], words, 13),
            f'<div style="flex:1 1 12em;max-width:24em"><strong>probabilities</strong>{_bars(row)}</div>',
        ]
        if len(others):
            shown = "".join(
                _clip(classifier, clips, corpus, other, f"{corpus.table['digit'].iloc[other]}", 9, note)
                for other, note in zip(others, notes, strict=True)
            )
            parts.append(
                f'<div style="flex:1 1 30em"><strong>nearest training clips</strong><div style="{ROW}">{shown}</div></div>'
            )
        style = f"{ROW};border:1px solid {LINE};border-radius:0.5em;padding:0.8em;margin:0 0 1em 0"
        cards.append(f'<div style="{style}">{"".join(parts)}</div>')
    return _page("".join(cards) or "<p>No mistakes.</p>")


def confusion_clips(classifier: Classifier, clips: Clips, corpus: Corpus, table: pd.DataFrame, most: int = 3) -> HTML:
    """The confusion matrix of a predictions table; below each row, its kinds of mistakes open into their clips.

    Each kind shows its clips with the largest loss, `most` at most, with the bytes that `error_cards` says.
    """
    counts, wrong = confusions(table), mistakes(table)
    cell = "text-align:center;padding:0.3em 0;border:0"
    head = "".join(f'<th scope="col" style="{cell}">{digit}</th>' for digit in range(DIGITS))
    rows = [f'<tr><th scope="col" style="{cell}">said</th>{head}</tr>']
    for said in range(DIGITS):
        total = max(1, counts.loc[said].sum())
        tints = [
            f"background:rgba({'0,114,178' if digit == said else '213,94,0'},{0.15 + 0.5 * count / total:.2f})"
            if count
            else "opacity:0.55"
            for digit, count in counts.loc[said].items()
        ]
        cells = [f'<td style="{cell};{tint}">{count}</td>' for tint, count in zip(tints, counts.loc[said], strict=True)]
        rows.append(f'<tr><th scope="row" style="{cell}">{said}</th>{"".join(cells)}</tr>')
        kinds = []
        for predicted, found in wrong[wrong["digit"] == said].groupby("predicted", sort=True):
            number = f"{len(found)} clip{'s' if len(found) > 1 else ''}"
            if len(found) > most:
                number += f", the worst {most} here"
            shown = "".join(
                _clip(classifier, clips, corpus, row["clip"], f"said {said}, read as {predicted}", 9,
                      f", probability {row[f'p{predicted}']:.2f}")
                for _, row in found.head(most).iterrows()
            )  # fmt: skip
            kinds.append(
                f'<details style="margin:0"><summary style="cursor:pointer">{said} read as {predicted}: {number}</summary>'
                f'<div style="{ROW};padding:0.5em 0 1em 0">{shown}</div></details>'
            )
        if kinds:
            style = "text-align:left;padding:0.2em 0 0.6em 9%;border:0"
            rows.append(f'<tr><td colspan="{DIGITS + 1}" style="{style}">{"".join(kinds)}</td></tr>')
    caption = "Rows: the digit said. Columns: the digit read. Lines below a row open into its mistakes."
    return _page(
        '<table style="table-layout:fixed;border-collapse:collapse;width:100%;max-width:44em;margin:0">'
        f'<caption style="text-align:left;caption-side:top">{caption}</caption>{"".join(rows)}</table>'
    )


def _page(body: str) -> HTML:
    return HTML(f'<div class="players">{body}</div>')  # the class that the book's style gives its colours to


def _clip(classifier, clips, corpus, row: int, words: str, width: int, note: str = "") -> str:
    """One clip's picture and player below a caption of `words`, the speaker and a `note`; `width` in em."""
    label = f"{words}, speaker {corpus.table['speaker'].iloc[row]}{', synthetic' if corpus.synthetic else ''}"
    alt = f"Log-mel picture of {label}: time to the right, low tones at the bottom."
    style = f"display:block;width:100%;height:{0.6 * width:g}em;padding:0;border-radius:0;image-rendering:pixelated"
    return (
        f'<figure style="margin:0;padding:0;width:{width}em"><figcaption>{html.escape(label + note)}</figcaption>'
        f'<img alt="{html.escape(alt)}" style="{style}" src="data:image/png;base64,{_picture(classifier, clips, row)}">'
        f"{_audio(clips.waveform(row), clips.sample_rate, label, 'width:100%')}</figure>"
    )


def _audio(audio: np.ndarray, sample_rate: int, label: str, style: str) -> str:
    file = io.BytesIO()
    # Padding is silence that would only cost bytes.
    sound = np.flatnonzero(audio)
    audio = audio[: sound[-1] + 1] if len(sound) else audio[:1]
    # Without loss, as WAV is, in a third to two thirds of its bytes; browsers have played it since 2017.
    soundfile.write(file, audio, sample_rate, format="FLAC", subtype="PCM_16")
    data, text = base64.b64encode(file.getvalue()).decode(), html.escape(label)
    return (
        f'<audio controls preload="metadata" aria-label="{text}" title="{text}" style="{style};height:2.2em" '
        f'src="data:audio/flac;base64,{data}"></audio>'
    )


def _picture(classifier: Classifier, clips: Clips, row: int) -> str:
    """A clip's log-mel picture as a PNG of one pixel a value, in the colours of the course's figures, as base64."""
    device = next(classifier.parameters()).device
    with torch.inference_mode():
        mel = classifier.frontend(torch.from_numpy(clips.read(np.array([row]))).to(device))[0, 0].cpu().numpy()
    shades = (255 * (mel - mel.min()) / max(np.ptp(mel), 1e-9)).round().astype(np.uint8)
    image = Image.fromarray(shades[::-1])
    image.putpalette((mpl.colormaps["magma"](np.arange(256))[:, :3] * 255).round().astype(np.uint8).tobytes())
    file = io.BytesIO()
    image.save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()


def _bars(row: pd.Series) -> str:
    """The ten probabilities as bars with their numbers."""
    lines = []
    for digit, chance in enumerate(row[PROBABILITIES]):
        mark = [word for word, of in (("said", row["digit"]), ("read", row["predicted"])) if of == digit]
        colour = RIGHT if "said" in mark else WRONG if mark else OTHER
        lines.append(
            '<div style="display:flex;gap:0.4em;line-height:1.3">'
            f'<span style="width:4em">{" ".join([str(digit), *mark])}</span>'
            '<span style="flex:1 1 4em;background-color:rgba(128,128,128,0.15)">'
            f'<span style="display:block;height:0.7em;margin-top:0.3em;width:{100 * chance:.0f}%;background-color:{colour}"></span></span>'
            f'<span style="width:2.5em;text-align:right">{chance:.2f}</span></div>'
        )
    return "".join(lines)
