"""Mistakes that can be heard and seen: cards with a player, and a confusion matrix that opens into its clips. Chapter 5."""

import base64
import io

import matplotlib as mpl
import numpy as np
import pandas as pd
import torch
from IPython.display import HTML
from PIL import Image

from spokendigits.classifier import Classifier
from spokendigits.clips import Clips
from spokendigits.corpora.corpus import PROBABILITIES, Corpus
from spokendigits.evaluation import confusions, mistakes
from spokendigits.listen import flac, page


def error_cards(
    classifier: Classifier,
    clips: Clips,
    corpus: Corpus,
    table: pd.DataFrame,
    neighbours: np.ndarray | None = None,
    distances: np.ndarray | None = None,
) -> HTML:
    """A card for each row of a predictions table: player and log-mel picture; the answer, the ten probabilities and the
    neighbours open with a click, so that one can listen first.

    neighbours: rows of the corpus [len(table), k], such as `split.train[places]` with `places` of `topics.explain.nearest`, which
    also gives `distances`. In the fast recipe a clip costs about 13 KB of the page for FSDD and 26 KB for
    synthetic speech.
    """
    cards = []
    for place, (_, row) in enumerate(table.iterrows()):
        said, read = row["digit"], row["predicted"]
        near = []
        for k, other in enumerate(() if neighbours is None else neighbours[place]):
            note = "" if distances is None else f", distance {distances[place][k]:.2f}"
            near.append(_clip(classifier, clips, corpus, other, f"{corpus.table['digit'].iloc[other]}", note))
        clip = _clip(classifier, clips, corpus, row["clip"], f"clip {place + 1}")
        cards.append({"clip": clip, "said": said, "read": read, "chances": list(row[PROBABILITIES]), "near": near})
    return page("cards", cards)


def confusion_clips(classifier: Classifier, clips: Clips, corpus: Corpus, table: pd.DataFrame, most: int = 3) -> HTML:
    """The confusion matrix of a predictions table; below each row, its kinds of mistakes open into their clips.

    Each kind shows its clips with the largest loss, `most` at most, with the bytes that `error_cards` says.
    """
    rows = [{"counts": counts, "kinds": []} for counts in confusions(table).to_numpy()]
    for (said, read), alike in mistakes(table).groupby(["digit", "predicted"]):
        shown = []
        for _, row in alike.head(most).iterrows():
            words, note = f"said {said}, read as {read}", f", probability {row[f'p{read}']:.2f}"
            shown.append(_clip(classifier, clips, corpus, row["clip"], words, note))
        rows[said]["kinds"].append({"read": read, "count": len(alike), "clips": shown})
    return page("matrix", rows, most)


def _clip(classifier: Classifier, clips: Clips, corpus: Corpus, row: int, words: str, note: str = "") -> dict[str, str]:
    """What the page says, shows and plays of one clip; its label is `words` and the speaker."""
    label = f"{words}, speaker {corpus.table['speaker'].iloc[row]}{', synthetic' if corpus.synthetic else ''}"
    sound = flac(clips.waveform(row), clips.sample_rate)
    return {"label": label, "note": note, "sound": sound, "picture": _png(classifier, clips, row)}


def _png(classifier: Classifier, clips: Clips, row: int) -> str:
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
