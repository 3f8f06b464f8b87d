"""One function a figure. Each returns a matplotlib figure that carries its own alt text. Every chapter shows some."""

import io
from collections.abc import Iterator, Sequence
from itertools import cycle

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.ticker import NullFormatter

from spokendigits.recipe import Recipe

# Okabe and Ito's palette, told apart with any kind of colour vision.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#767676"
SOUND = "magma"
plt.rcdefaults()  # figures are the same whatever a `matplotlibrc` says
plt.rc("figure", dpi=96, facecolor="white")  # a white card, so that axis labels stay readable on a dark page
plt.rc("font", size=10)
plt.rc("axes", titlesize=10)
plt.rc("axes.spines", top=False, right=False)
plt.rc("legend", frameon=False)


def looks() -> Iterator[tuple[str, str, str]]:
    """Colour, marker and line style of the first, second, third … of several things in one figure, without an end."""
    colours = cycle((BLUE, ORANGE, GREEN, GREY, "#CC79A7", "#E69F00", "#56B4E9"))
    return zip(colours, cycle("os^DvP"), cycle(("-", "-.", ":", "--")), strict=False)


def describe(fig: Figure, alt: str, caption: str = "") -> Figure:
    """Gives a figure its alt text (what is shown, and what to see in it) and the sentence that the book shows below it.

    Use it as the last line of a cell. Jupyter stores both beside the picture, as its text form, with an empty line between
    them; the book makes them the image's alt attribute and its caption (`described` takes them apart). A caption tells how
    to read the figure and does not repeat the alt text: a screen reader says both.
    """
    plt.close(fig)  # otherwise Jupyter would show it a second time

    def bundle(include=None, exclude=None) -> dict:
        png = io.BytesIO()
        fig.savefig(png, format="png", bbox_inches="tight", metadata={"Software": None})
        return {"image/png": png.getvalue(), "text/plain": f"{alt}\n\n{caption}".strip()}

    fig._repr_mimebundle_ = bundle
    return fig


def described(text: str) -> tuple[str, str]:
    """Alt text and caption of a figure, from its text form as `describe` stores it. The caption is "" where there is none."""
    alt, _, caption = text.partition("\n\n")
    return " ".join(alt.split()).strip("'\""), " ".join(caption.split())


def figure(
    width: float = 8.0, height: float = 3.0, rows: int = 1, columns: int = 1, **options
) -> tuple[Figure, np.ndarray | Axes]:
    """`plt.subplots` in the course's size (inches), with room for labels."""
    return plt.subplots(rows, columns, figsize=(width, height), layout="constrained", **options)


def grid(
    count: int, columns: int, width: float, height: float, more: float = 0.0, **options
) -> tuple[Figure, np.ndarray]:
    """A figure and the axes [count] of its charts, so many in a row, each `height` inches high, and `more` around them."""
    rows = -(-count // columns)
    fig, axes = figure(width, more + height * rows, rows, columns, squeeze=False, **options)
    for ax in axes.flat[count:]:
        ax.set_visible(False)
    return fig, axes.flat[:count]


def draw_mel(ax: Axes, picture: np.ndarray, recipe: Recipe, hertz: bool = False) -> AxesImage:
    """Draws a log-mel picture [n_mels, frames] in decibels, seconds below it, and hertz at its left where it is a row's first."""
    marks = np.array([max(recipe.f_min, 1.0), recipe.f_max, 500, 1000, 2000, 4000, 8000, 16_000])
    slaney = np.where(marks < 1000, 0.015 * marks, 15 + 27 * np.log(marks / 1000) / np.log(6.4))
    mel = np.log1p(marks / 700) if recipe.mel_scale == "htk" else slaney
    rows = np.minimum((mel[2:] - mel[0]) / (mel[1] - mel[0]) * (recipe.n_mels + 1) - 1, recipe.n_mels - 0.5)
    ax.spines[:].set_visible(False)
    ax.set_yticks(rows, [f"{mark:,.0f}" if mark <= recipe.f_max else "" for mark in marks[2:]])
    ax.set_xticks(np.linspace(0, recipe.samples / recipe.hop, 3), ["0", "", f"{recipe.seconds:g} s"])
    ax.tick_params(length=2, labelsize=7, color=GREY, left=True, labelleft=hertz or ax.get_subplotspec().is_first_col())
    return ax.imshow(picture, origin="lower", aspect="auto", cmap=SOUND, interpolation="nearest")


def draw_band(ax: Axes, x: pd.Series, table: pd.DataFrame, column: str, colour: str, **look) -> Line2D:
    """Draws shares over `x` as a line, in per cent, with the band of their intervals from the columns low and high."""
    (line,) = ax.plot(x, 100 * table[column], color=colour, **look)
    ax.fill_between(x, 100 * table["low"], 100 * table["high"], color=colour, alpha=0.15, linewidth=0)
    return line


def waveforms(clips: Sequence[np.ndarray], titles: Sequence[str], sample_rate: int, caption: str) -> Figure:
    """Waveforms below one another on one scale. The caption says what to look for, as in all these figures."""
    fig, axes = grid(len(clips), 1, 8, 1.5, sharex=True, sharey=True)
    notes = []
    for ax, audio, title in zip(axes, clips, titles, strict=True):
        ax.plot(np.arange(len(audio)) / sample_rate, audio, color=BLUE, linewidth=0.6)
        ax.set(title=title, ylabel="amplitude")
        loudest = np.abs(audio).argmax() / sample_rate
        notes.append(f"{title}, {len(audio) / sample_rate:.2f} s long, loudest at {loudest:.2f} s")
    axes[-1].set(xlabel="seconds", xlim=(0, max(map(len, clips)) / sample_rate))
    alt = f"Waveforms, amplitude against time: {'; '.join(notes)}."
    return describe(fig, alt, caption)


def mel_pictures(pictures: np.ndarray, titles: Sequence[str], *recipes: Recipe, caption: str) -> Figure:
    """A grid of log-mel pictures [n, n_mels, frames], four in a row, on one colour scale; of one recipe, or of one each."""
    fig, axes = grid(len(pictures), 4, 8, 2.2)
    low, high, notes = np.min(pictures), np.max(pictures), []
    for ax, picture, title, recipe in zip(axes, pictures, titles, cycle(recipes), strict=False):
        draw_mel(ax, picture, recipe, hertz=len(recipes) > 1).set_clim(low, high)
        ax.set_title(title, fontsize=9)
        row, frame = np.unravel_index(picture.argmax(), picture.shape)
        seconds, bright = frame * recipe.hop / recipe.sample_rate, (picture > (low + high) / 2).mean()
        note, blank = f"{title}: {bright:.0%} of it bright, loudest at", (np.ptp(picture, axis=1) == 0).sum()
        silent = f", {blank} mel bins without any sound" if blank else ""
        notes.append(f"{note} {seconds:.2f} s in mel bin {row}{silent}")
    alt = f"{len(pictures)} log-mel pictures. {'; '.join(notes)}."
    return describe(fig, alt, caption)


def confusion(counts: pd.DataFrame) -> Figure:
    """The confusion matrix, from `evaluation.confusions`."""
    import seaborn as sns  # here: every chapter draws, and few of them this

    fig, ax = figure(6, 4.8)
    sns.heatmap(counts, annot=True, fmt="d", cmap="Blues", square=True, linewidths=0.5, cbar_kws={"label": "clips"})
    ax.set(xlabel="predicted digit", ylabel="digit that was said")
    ax.tick_params(axis="y", rotation=0)
    wrong = counts.to_numpy() * (1 - np.eye(len(counts), dtype=int))
    said, predicted = np.unravel_index(wrong.argmax(), wrong.shape)
    most = "There are no mistakes."
    if wrong.any():
        most = f"The most frequent mistake: {said} read as {predicted}, {wrong.max()} times."
    alt = f"Confusion matrix of ten digits. {np.trace(counts.to_numpy())} of {counts.to_numpy().sum()} clips lie on the diagonal. {most}"
    return describe(fig, alt, "Off the diagonal stand clips of the row's digit that were read as the column's.")


def predictions(pictures: np.ndarray, table: pd.DataFrame, recipe: Recipe, label: str) -> Figure:
    """The seed's picture of predictions: mel pictures [n, n_mels, frames] with loss, true and predicted digit, probability."""
    fig, axes = grid(len(table), 4, 8, 2.6)
    for ax, picture, (_, row) in zip(axes, pictures, table.iterrows(), strict=True):
        draw_mel(ax, picture, recipe)
        said, read = row["digit"], row["predicted"]
        words = f"said {said}, read {read}\nprobability {row[f'p{read}']:.2f}\nloss {row['loss']:.4f}"
        ax.set_title(words, fontsize=9, color="black" if said == read else ORANGE)
    fig.suptitle(label, fontsize=10)
    wrong = (table["digit"] != table["predicted"]).sum()
    alt = f"{label}: {len(table)} log-mel pictures with the digit said, the digit read, its probability and the loss; {wrong} of them are misread."
    return describe(fig, alt, "Orange titles are mistakes: another digit was read than was said.")


def _intervals(
    table: pd.DataFrame, column: str, labels: Sequence, height: float, reference: float | None = None, **dots
) -> tuple[Figure, Axes]:
    """A row, `height` inches high, for each of the table, first on top: its share as a dot on the line of its interval.

    The interval is that of the columns low and high; a dashed line stands at `reference`; `dots` is what `scatter` takes.
    """
    fig, ax = figure(8, 0.9 + height * len(table))
    places = range(len(table))
    if reference is not None:
        ax.axvline(100 * reference, color=GREY, linestyle="--", linewidth=1)
    ax.hlines(places, 100 * table["low"], 100 * table["high"], color=GREY)
    ax.scatter(100 * table[column], places, zorder=3, **{"s": 64, "color": BLUE, **dots})
    ax.set_yticks(places, labels)
    ax.set(xlabel=f"{'accuracy' if column == 'accuracy' else 'clips recognised,'} in per cent, with 95 % interval")
    ax.set_ylim(len(table) - 0.4, -0.6)
    return fig, ax


def interval_words(row: pd.Series) -> str:
    """The interval of a row, from its columns low and high, as alt texts say it."""
    return f"(95 % interval {row['low']:.1%} to {row['high']:.1%})"


def comparison(scores: pd.DataFrame, caption: str) -> Figure:
    """Scores of several evaluations side by side; a row each with accuracy, low, high (shares), by name."""
    fig, _ = _intervals(scores, "accuracy", scores.index, 0.45)
    parts = [f"{name} {row['accuracy']:.1%} {interval_words(row)}" for name, row in scores.iterrows()]
    return describe(fig, f"Accuracy with intervals: {'; '.join(parts)}.", caption)


def split_gap(scores: pd.DataFrame) -> Figure:
    """One model's accuracies by several ways of splitting, and how far each lies from the first.

    scores: a row for each split by its name, with accuracy, low, high (shares).
    """
    first, colours, parts = scores["accuracy"].iloc[0], [BLUE] + [ORANGE] * (len(scores) - 1), []
    fig, ax = _intervals(scores, "accuracy", scores.index, 0.6, first, color=colours)
    for place, ((name, row), colour) in enumerate(zip(scores.iterrows(), colours, strict=True)):
        accuracy = row["accuracy"]
        ax.hlines(place, 100 * accuracy, 100 * first, color=colour, linewidth=8, alpha=0.35)
        words = f"{accuracy:.1%}" + (f", {100 * (accuracy - first):+.1f} points" if place else "")
        note = ax.annotate(words, (100 * accuracy, place), (0, 9), "data", "offset points", ha="center", color=colour)
        note.set_bbox({"facecolor": "white", "edgecolor": "none", "pad": 1})  # the dashed line stops at the words
        parts.append(f"{name} {words} {interval_words(row)}")
    alt = f"Accuracy by the way of splitting; a bar spans the gap to the first: {'; '.join(parts)}."
    return describe(fig, alt, "The shaded bar is how far an accuracy lies from the first one, by the dashed line.")


def recall(table: pd.DataFrame, by: str) -> Figure:
    """Recall with its interval for each digit or speaker, from `evaluation.recall_by`, the worst twenty, worst at the top."""
    shown, worst = table.iloc[:20], table.iloc[0]
    labels = [f"{name}  ({clips} clips)" for name, clips in shown["clips"].items()]
    fig, ax = _intervals(shown, "recall", labels, 0.24, s=36)
    ax.set_ylabel(by)
    alt = (
        f"Recall by {by}, with intervals; the worst{' 20' if len(table) > 20 else ''} are at the top. {by} {table.index[0]} is worst with "
        f"{worst['recall']:.1%} of {worst['clips']:.0f} clips. With few clips the intervals are wide."
    )
    return describe(fig, alt, "The dot is the share that was recognised, and the line is its 95 % interval.")


def groups(table: pd.DataFrame, by: str) -> Figure:
    """Recall of groups with intervals and sizes, from `evaluation.recall_by`; rows that say little are hollow."""
    overall, small, labels, shown = table["right"].sum() / table["clips"].sum(), table["warning"] != "", [], []
    for name, row in table.iterrows():
        people = f"{row['speakers']} speaker{'s' * (row['speakers'] > 1)}, " if by != "speaker" else ""
        labels.append(f"{name}  ({people}{row['clips']} clip{'s' * (row['clips'] > 1)})")
        shown.append(f"{name} {row['recall']:.1%} ({row['low']:.1%} to {row['high']:.1%})")
    areas, fill = 20 + 100 * table["clips"] / table["clips"].max(), np.where(small, "white", BLUE)
    fig, ax = _intervals(table, "recall", labels, 0.32, overall, s=areas, color=fill, edgecolor=BLUE)
    ax.set(xlabel=f"{ax.get_xlabel()}; dashed: all together", ylabel=by)
    alt = f"Recall by {by} with 95 % intervals, worst first, {overall:.1%} over all: {'; '.join(shown[:5])}."
    if small.any():
        alt += f" Hollow, as too small to say much: {', '.join(map(str, table.index[small]))}."
    hollow = "; a hollow dot says little" if small.any() else ""
    return describe(fig, alt, f"Each dot is a group, as large as its number of clips{hollow}.")


def learning_curve(curves: dict[str, pd.DataFrame], by: str, caption: str) -> Figure:
    """Accuracy against how much there was to learn from; `by` says of what: "speakers", "clips a speaker".

    curves: {name: a row for each size, with number (0 or more), accuracy, low, high (shares)}.
    """
    fig, ax = figure(8, 3.6)
    parts, numbers = [], sorted({number for curve in curves.values() for number in curve["number"]})
    for (name, curve), (colour, marker, _) in zip(curves.items(), looks(), strict=False):
        curve = curve.sort_values("number")
        draw_band(ax, curve["number"], curve, "accuracy", colour, marker=marker, label=name)
        steps = ", ".join(f"{row.accuracy:.1%} with {row.number:g}" for row in curve.itertuples())
        parts.append(f"{name}: {steps}")
    ax.set_xscale("symlog", linthresh=1, linscale=0.3)  # a logarithm that has room for 0
    ax.set_xticks(numbers, [f"{number:g}" for number in numbers])
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.minorticks_off()
    ax.set(xlabel=f"{by} to learn from", ylabel="accuracy in per cent")
    ax.legend(loc="lower right")
    alt = f"Accuracy, with 95 % intervals, against the number of {by} to learn from. {'; '.join(parts)}."
    return describe(fig, alt, caption)
