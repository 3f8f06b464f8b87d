"""Makes the pictures and the sounds of the front page from the course's own synthetic voices.

    python book/figures/make_front.py

They are book/figures/front.png and front_pair.png, and the .flac files of book/_static. Nothing in them is drawn by hand
or recorded: every waveform, mel picture and sound is a clip that this script makes.
"""

import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import soundfile
import torch
from matplotlib.figure import Figure
from PIL import Image

from spokendigits.clips import fit, read_audio
from spokendigits.corpora import synthetic
from spokendigits.frontend import LogMel
from spokendigits.recipe import Recipe

NAVY, PAPER, BLUE, ORANGE = "#10243a", "#e8eef4", "#6fc3f2", "#f5a05a"
HEARD, OTHER = "s01", "s05"  # the voice that is heard, and the one whose ten digits it is set beside
DIGIT = 7
PAIR, VOICE = (9, 5), "s12"  # the two words of the riddle, in the order of their pictures, and who says them
FOLDER = Path(__file__).parent


def main() -> None:
    recipe = Recipe(f_max=11_025.0)  # at the Nyquist frequency, so that no bin is empty
    frontend = LogMel(recipe)
    with tempfile.TemporaryDirectory() as folder:
        corpus = synthetic.read(synthetic.fetch(Path(folder) / "synthetic", takes=1))
        rows = {(row.speaker, row.digit): index for index, row in corpus.table.iterrows()}

        def clip(speaker: str, digit: int) -> np.ndarray:
            return fit(read_audio(corpus.file(rows[speaker, digit]), recipe.sample_rate), recipe.samples)

        heard = clip(HEARD, DIGIT)
        ten = [clip(OTHER, digit) for digit in range(10)]
        pair = [clip(VOICE, digit) for digit in PAIR]
        pictures = frontend(torch.from_numpy(np.stack([heard, *ten, *pair])))[:, 0].numpy()

    plt.rcParams.update({"font.family": "DejaVu Sans", "text.color": PAPER})
    save(draw_front(heard, pictures[0], pictures[1:11]), "front.png")
    save(draw_pair(pictures[11:]), "front_pair.png")
    for speaker, digit, audio in ((HEARD, DIGIT, heard), *zip((VOICE, VOICE), PAIR, pair, strict=True)):
        word = audio[: np.flatnonzero(audio)[-1] + 1]  # padding is silence that would only cost bytes
        path = FOLDER.parent / "_static" / f"{synthetic.WORDS[digit]}-{speaker}.flac"
        soundfile.write(path, word, recipe.sample_rate, format="FLAC", subtype="PCM_16")


def draw_front(heard: np.ndarray, picture: np.ndarray, ten: np.ndarray) -> Figure:
    """A waveform [n], its mel picture [n_mels, frames] and those of ten digits, with letters that a phone can show."""
    figure = plt.figure(figsize=(12, 5.4), facecolor=NAVY)
    left, middle, right = figure.subfigures(1, 3, width_ratios=[1, 1, 1.5])
    for part, title in zip((left, middle, right), ("You hear", "It sees", "Which digit is it?"), strict=True):
        part.set_facecolor(NAVY)
        part.suptitle(title, fontsize=28, y=0.96)

    axes = left.add_axes((0.08, 0.08, 0.88, 0.7))
    axes.plot(heard, color=BLUE, linewidth=0.9)
    axes.set(xlim=(0, len(heard)), ylim=(-abs(heard).max() * 1.05, abs(heard).max() * 1.05))
    axes.axis("off")

    draw(middle.add_axes((0.06, 0.08, 0.88, 0.7)), picture)
    for digit, one in enumerate(ten):
        row, column = divmod(digit, 5)
        axes = right.add_axes((0.04 + column * 0.192, 0.45 - row * 0.37, 0.168, 0.265))
        draw(axes, one)
        axes.set_title(str(digit), color=ORANGE if digit == DIGIT else PAPER, fontsize=24, pad=4)
        for spine in axes.spines.values():
            spine.set(color=ORANGE, linewidth=5, visible=digit == DIGIT)
    return figure


def draw_pair(pictures: np.ndarray) -> Figure:
    """Two mel pictures, A and B."""
    figure, both = plt.subplots(1, 2, figsize=(9, 4.2), facecolor=NAVY)
    figure.subplots_adjust(left=0.03, right=0.97, bottom=0.05, top=0.86, wspace=0.08)
    for axes, picture, title in zip(both, pictures, "AB", strict=True):
        draw(axes, picture)
        axes.set_title(title, fontsize=26)
        axes.spines[:].set_visible(False)
    return figure


def draw(axes: plt.Axes, picture: np.ndarray) -> None:
    axes.imshow(picture, origin="lower", aspect="auto", cmap="magma")
    axes.set(xticks=[], yticks=[])


def save(figure: Figure, name: str) -> None:
    path = FOLDER / name
    figure.savefig(path, dpi=120, facecolor=NAVY)
    Image.open(path).convert("RGB").quantize(256).save(path, optimize=True)  # a third of the size


if __name__ == "__main__":
    main()
