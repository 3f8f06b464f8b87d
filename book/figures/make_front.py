"""Draws the picture of the front page, book/figures/front.png, from the course's own synthetic voices.

    python book/figures/make_front.py

Nothing in it is a drawing: the waveform and all mel pictures come from clips that this script makes.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import torch
from PIL import Image

from spokendigits.clips import fit, read_audio
from spokendigits.corpora import synthetic
from spokendigits.frontend import LogMel
from spokendigits.recipe import Recipe

NAVY, PAPER, BLUE, ORANGE = "#10243a", "#e8eef4", "#6fc3f2", "#f5a05a"
HEARD, OTHER = "s01", "s05"  # the voice that is heard, and the one whose ten digits it is set beside
DIGIT = 7


def main() -> None:
    recipe = Recipe(f_max=11_025.0)  # at the Nyquist frequency, so that no bin is empty
    frontend = LogMel(recipe)
    with tempfile.TemporaryDirectory() as folder:
        corpus = synthetic.read(synthetic.fetch(Path(folder) / "synthetic", takes=1))
        rows = {(row.speaker, row.digit): index for index, row in corpus.table.iterrows()}

        def clip(speaker: str, digit: int) -> np.ndarray:
            return fit(read_audio(corpus.file(rows[speaker, digit]), recipe.sample_rate), recipe.samples)

        heard = clip(HEARD, DIGIT)
        waveforms = np.stack([heard, *(clip(OTHER, digit) for digit in range(10))])
        pictures = frontend(torch.from_numpy(waveforms))[:, 0].numpy()

    plt.rcParams.update({"font.family": "DejaVu Sans", "text.color": PAPER, "font.size": 15})
    figure = plt.figure(figsize=(12, 4.6), facecolor=NAVY)
    left, middle, right = figure.subfigures(1, 3, width_ratios=[1, 0.8, 1.35])
    for part, title in zip((left, middle, right), ("you hear", "the network sees", "which of ten?"), strict=True):
        part.set_facecolor(NAVY)
        part.suptitle(title, color=PAPER, fontsize=19, y=0.95)

    axes = left.add_axes((0.06, 0.12, 0.88, 0.66))
    axes.plot(np.linspace(0, recipe.seconds, len(heard)), heard, color=BLUE, linewidth=0.8)
    axes.set(xlim=(0, recipe.seconds), ylim=(-abs(heard).max() * 1.05, abs(heard).max() * 1.05))
    axes.axis("off")

    axes = middle.add_axes((0.08, 0.12, 0.84, 0.66))
    axes.imshow(pictures[0], origin="lower", aspect="auto", cmap="magma")
    axes.axis("off")

    for digit in range(10):
        row, column = divmod(digit, 5)
        axes = right.add_axes((0.04 + column * 0.19, 0.49 - row * 0.37, 0.17, 0.29))
        axes.imshow(pictures[1 + digit], origin="lower", aspect="auto", cmap="magma")
        axes.set(xticks=[], yticks=[])
        axes.set_title(str(digit), color=ORANGE if digit == DIGIT else PAPER, fontsize=15, pad=3)
        for spine in axes.spines.values():
            spine.set(color=ORANGE, linewidth=4, visible=digit == DIGIT)

    path = Path(__file__).with_name("front.png")
    figure.savefig(path, dpi=120, facecolor=NAVY)
    Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)  # a third of the size


if __name__ == "__main__":
    main()
