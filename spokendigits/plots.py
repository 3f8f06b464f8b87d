"""One function a figure. Each returns a matplotlib figure that carries its own alt text."""

import io
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from spokendigits.recipe import Recipe

# Okabe and Ito's palette, told apart with any kind of colour vision.
BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#767676"
SOUND = "magma"
plt.rcParams.update(
    {
        "figure.dpi": 96,
        "figure.facecolor": "white",  # a white card, so that axis labels stay readable on a dark page
        "font.size": 10,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 10,
        "legend.frameon": False,
    }
)


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


def draw_waveform(ax: Axes, audio: np.ndarray, sample_rate: int) -> None:
    """Draws a waveform [n] against seconds."""
    ax.plot(np.arange(len(audio)) / sample_rate, audio, color=BLUE, linewidth=0.6)
    ax.set(xlabel="seconds", ylabel="amplitude", xlim=(0, len(audio) / sample_rate))


def draw_mel(ax: Axes, picture: np.ndarray, recipe: Recipe, axes: bool = True):
    """Draws a log-mel picture [n_mels, frames] in decibels; returns the image, for a colour bar."""
    image = ax.imshow(picture, origin="lower", aspect="auto", cmap=SOUND, interpolation="nearest")
    ax.spines[:].set_visible(False)
    if not axes:
        ax.set(xticks=[], yticks=[])
        return image
    seconds = np.linspace(0, recipe.seconds, 5)
    ax.set_xticks(seconds * recipe.sample_rate / recipe.hop, [f"{s:g}" for s in seconds])
    ax.set(xlabel="seconds", ylabel="mel bin")
    return image


def waveforms(clips: Sequence[np.ndarray], titles: Sequence[str], sample_rate: int) -> Figure:
    """Waveforms below one another on one scale."""
    fig, axes = figure(8, 1.5 * len(clips), len(clips), 1, sharex=True, sharey=True, squeeze=False)
    for ax, audio, title in zip(axes[:, 0], clips, titles, strict=True):
        draw_waveform(ax, audio, sample_rate)
        ax.set(title=title, xlabel="")
    axes[-1, 0].set_xlabel("seconds")
    axes[-1, 0].set_xlim(0, max(map(len, clips)) / sample_rate)
    notes = [
        f"{title}, {len(audio) / sample_rate:.2f} s long, loudest at {np.abs(audio).argmax() / sample_rate:.2f} s"
        for audio, title in zip(clips, titles, strict=True)
    ]
    return describe(
        fig,
        f"Waveforms, amplitude against time: {'; '.join(notes)}.",
        "The further a wave swings from its middle line, the louder the sound is at that moment.",
    )


def durations(seconds: pd.Series, limit: float) -> Figure:
    """A histogram of clip lengths, with the recipe's clip length as a line."""
    fig, ax = figure(8, 2.6)
    sns.histplot(x=seconds, bins=40, color=BLUE, ax=ax)
    ax.axvline(limit, color=ORANGE)
    ax.annotate(f"the recipe's clip: {limit:g} s", (limit, 0.9), xycoords=("data", "axes fraction"), ha="right", color=ORANGE,
                xytext=(-5, 0), textcoords="offset points")  # fmt: skip
    ax.set(xlabel="length of a recording in seconds", ylabel="clips", xlim=(0, None))
    alt = (
        f"Histogram of recording lengths: half are shorter than {seconds.median():.2f} s, the longest is {seconds.max():.2f} s; "
        f"a line marks the recipe's clip of {limit:g} s."
    )
    return describe(
        fig, alt, "A recording left of the line fits into a clip, and the rest of the clip is filled with zeros."
    )


def speakers(table: pd.DataFrame) -> Figure:
    """Clips of each speaker, coloured by gender where it is known."""
    counts = table.groupby("speaker").size()
    gender = table.groupby("speaker")["gender"].first() if "gender" in table else pd.Series("unknown", counts.index)
    gender = gender.fillna("unknown")
    fig, ax = figure(8, 2.4)
    for kind, colour in (("female", ORANGE), ("male", BLUE), ("unknown", GREY)):
        shown = counts.where(gender == kind, 0)
        if shown.any():
            ax.bar(counts.index, shown, color=colour, label=f"{kind} ({(gender == kind).sum()})", width=0.8)
    ax.set(xlabel="speaker", ylabel="clips")
    ax.tick_params(axis="x", rotation=90, labelsize=7)
    ax.legend(ncols=3, loc="upper left", bbox_to_anchor=(0, 1.2))
    groups = ", ".join(f"{n} {kind}" for kind, n in gender.value_counts().items())
    return describe(
        fig,
        f"Bar chart of clips per speaker for {len(counts)} speakers ({groups}): from {counts.min()} to {counts.max()} clips each.",
        "Each bar is one voice, and a short bar would be a voice that the model hardly gets to hear.",
    )


def split_map(table: pd.DataFrame, splits: dict) -> Figure:
    """One row a split, one column a speaker: the share of each speaker's clips that is held out."""
    names = sorted(table["speaker"].unique())
    share = {}
    for name, parts in splits.items():
        held_out = np.zeros(len(table), bool)
        held_out[np.concatenate([parts.validation, parts.test])] = True
        share[name] = pd.Series(held_out).groupby(table["speaker"].to_numpy()).mean()
    fig, ax = figure(8, 0.9 + 0.5 * len(splits))
    sns.heatmap(pd.DataFrame(share, index=names).T, cmap="cividis", vmin=0, vmax=1, linewidths=0.5, ax=ax,
                cbar_kws={"label": "share held out"}, xticklabels=len(names) <= 70)  # fmt: skip
    ax.set(xlabel="speaker", ylabel="")
    ax.tick_params(axis="x", labelsize=6, rotation=90)
    ax.tick_params(axis="y", rotation=0)
    mixed = [name for name in splits if share[name].between(0, 1, inclusive="neither").any()]
    apart = [name for name in splits if name not in mixed]
    alt = (
        f"Map of the share of each speaker's clips that is held out. In the {' and '.join(mixed) or 'no'} split, speakers are on both sides; "
        f"in the {' and '.join(apart) or 'no'} split, each speaker is wholly on one side."
    )
    return describe(
        fig, alt, "A square that is neither darkest nor brightest stands for a speaker on both sides of the split."
    )


def mel_pictures(pictures: np.ndarray, titles: Sequence[str], recipe: Recipe) -> Figure:
    """A grid of log-mel pictures [n, n_mels, frames], four in a row, on one colour scale."""
    rows = -(-len(pictures) // 4)
    fig, axes = figure(8, 2.2 * rows, rows, 4, squeeze=False)
    low, high, notes = np.min(pictures), np.max(pictures), []
    for ax in axes.flat[len(pictures) :]:
        ax.set_visible(False)
    for ax, picture, title in zip(axes.flat, pictures, titles, strict=False):
        draw_mel(ax, picture, recipe, axes=False).set_clim(low, high)
        ax.set_title(title, fontsize=9)
        row, frame = np.unravel_index(picture.argmax(), picture.shape)
        bright = (picture > (low + high) / 2).mean()
        note = f"{title}: {bright:.0%} of it bright, loudest at {frame * recipe.hop / recipe.sample_rate:.2f} s in mel bin {row}"
        if blank := int((np.ptp(picture, axis=1) == 0).sum()):
            note += f", {blank} mel bins without any sound"
        notes.append(note)
    return describe(
        fig,
        f"{len(pictures)} log-mel pictures. {'; '.join(notes)}.",
        "Time runs to the right, low tones lie at the bottom, and bright is loud.",
    )


def filters(weights: dict[str, np.ndarray], sample_rate: int) -> Figure:
    """Mel filters {title: [n_mels, frequencies]}: every eighth one, and how many are empty."""
    fig, axes = figure(8, 2.2 * len(weights), len(weights), 1, sharex=True, squeeze=False)
    notes = []
    for ax, (title, bank) in zip(axes[:, 0], weights.items(), strict=True):
        hertz = np.linspace(0, sample_rate / 2, bank.shape[1])
        for i, row in enumerate(bank[::8]):
            ax.plot(hertz, row / max(row.max(), 1e-12), color=[BLUE, ORANGE, GREEN][i % 3], linewidth=1)
        empty = int((bank.max(axis=1) == 0).sum())
        notes.append(f"{title}: {empty} of {len(bank)} are empty")
        ax.set(title=notes[-1], ylabel="weight", yticks=[0, 1])
    axes[-1, 0].set_xlabel("hertz")
    return describe(
        fig,
        f"Every eighth mel filter as a triangle over frequency, narrow at low tones and wide at high ones. {'; '.join(notes)}.",
        "Each triangle is one mel bin, and its height says how much of a tone that bin takes.",
    )


def curves(steps: pd.DataFrame, history: pd.DataFrame) -> Figure:
    """The seed experiment's four charts: learning rate, training loss, validation loss, validation ROC-AUC."""
    fig, axes = figure(8, 5, 2, 2)
    axes[0, 0].plot(steps["step"], steps["learning_rate"], color=BLUE)
    axes[0, 0].set(title="learning rate", xlabel="step", ylim=(0, None))
    axes[0, 1].plot(steps["step"], steps["loss"], color=BLUE, linewidth=0.8)
    axes[0, 1].set(title="training loss of each batch", xlabel="step", yscale="log")
    for ax, column, title in ((axes[1, 0], "loss", "validation loss"), (axes[1, 1], "roc_auc", "validation ROC-AUC")):
        ax.plot(history["epoch"], history[column], "o-", color=ORANGE)
        ax.set(title=title, xlabel="epoch", xticks=history["epoch"])
    axes[1, 0].set_yscale("log")
    axes[1, 1].ticklabel_format(useOffset=False)
    alt = (
        f"Four charts over training. The learning rate falls along half a cosine to zero. The training loss falls from {steps['loss'].iloc[0]:.2f} "
        f"to {steps['loss'].iloc[-10:].mean():.4f}. The validation loss ends at {history['loss'].iloc[-1]:.4f}, the validation ROC-AUC at "
        f"{history['roc_auc'].iloc[-1]:.4f}."
    )
    return describe(
        fig, alt, "The two upper charts have a point for each step, and the two lower ones a point for each epoch."
    )


def confusion(counts: pd.DataFrame) -> Figure:
    """The confusion matrix, from `evaluation.confusions`."""
    fig, ax = figure(6, 4.8)
    sns.heatmap(
        counts, annot=True, fmt="d", cmap="Blues", square=True, linewidths=0.5, cbar_kws={"label": "clips"}, ax=ax
    )
    ax.set(xlabel="predicted digit", ylabel="digit that was said")
    ax.tick_params(axis="y", rotation=0)
    wrong = counts.to_numpy() * (1 - np.eye(len(counts), dtype=int))
    said, predicted = np.unravel_index(wrong.argmax(), wrong.shape)
    most = (
        f"The most frequent mistake: {said} read as {predicted}, {wrong.max()} times."
        if wrong.max()
        else "There are no mistakes."
    )
    return describe(
        fig,
        f"Confusion matrix of ten digits. {np.trace(counts.to_numpy())} of {counts.to_numpy().sum()} clips lie on the diagonal. {most}",
        "A number beside the diagonal counts clips of the row's digit that were read as the column's.",
    )


def recall(table: pd.DataFrame, by: str) -> Figure:
    """Recall with its interval for each digit or speaker, from `evaluation.recall_by`, worst at the top."""
    shown = table.iloc[:20][::-1]
    fig, ax = figure(8, 0.8 + 0.24 * len(shown))
    centre = shown["recall"] * 100
    ax.errorbar(centre, range(len(shown)), xerr=[centre - shown["low"] * 100, shown["high"] * 100 - centre], fmt="o", color=BLUE,
                ecolor=GREY, capsize=2)  # fmt: skip
    ax.set_yticks(range(len(shown)), [f"{name}  ({clips} clips)" for name, clips in shown["clips"].items()])
    ax.set(xlabel="clips recognised, in per cent, with 95 % interval", ylabel=by)
    worst = table.iloc[0]
    alt = (
        f"Recall by {by}, with intervals; the worst are at the top. {by} {table.index[0]} is worst with {worst['recall']:.1%} of {worst['clips']:.0f} "
        "clips. With few clips the intervals are wide."
    )
    return describe(fig, alt, "The dot is the share that was recognised, and the line is its 95 % interval.")


def predictions(pictures: np.ndarray, table: pd.DataFrame, recipe: Recipe, label: str) -> Figure:
    """The seed's picture of predictions: mel pictures [n, n_mels, frames] with loss, true and predicted digit, probability."""
    fig, axes = figure(8, 2.6 * -(-len(table) // 4), -(-len(table) // 4), 4, squeeze=False)
    for ax in axes.flat[len(table) :]:
        ax.set_visible(False)
    for ax, picture, row in zip(axes.flat, pictures, table.itertuples(), strict=False):
        draw_mel(ax, picture, recipe, axes=False)
        right = row.digit == row.predicted
        chance = getattr(row, f"p{row.predicted}")
        ax.set_title(f"said {row.digit}, read {row.predicted}\nprobability {chance:.2f}\nloss {row.loss:.4f}", fontsize=9,
                     color="black" if right else ORANGE)  # fmt: skip
    fig.suptitle(label, fontsize=10)
    wrong = int((table["digit"] != table["predicted"]).sum())
    return describe(
        fig,
        f"{label}: {len(table)} log-mel pictures with the digit said, the digit read, its probability and the loss; {wrong} of them are misread.",
        "Orange titles are mistakes: there the digit that was read is not the digit that was said.",
    )


def comparison(scores: pd.DataFrame) -> Figure:
    """Scores of several evaluations side by side; a row each with accuracy, low, high (shares), by name."""
    fig, ax = figure(8, 0.9 + 0.45 * len(scores))
    centre = scores["accuracy"] * 100
    ax.errorbar(centre, range(len(scores)), xerr=[centre - scores["low"] * 100, scores["high"] * 100 - centre], fmt="o", markersize=8,
                color=BLUE, ecolor=GREY, capsize=3)  # fmt: skip
    ax.set_yticks(range(len(scores)), scores.index)
    ax.set(xlabel="accuracy in per cent, with 95 % interval", ylim=(-0.6, len(scores) - 0.4))
    ax.invert_yaxis()
    parts = [
        f"{name} {row.accuracy:.1%} (95 % interval {row.low:.1%} to {row.high:.1%})" for name, row in scores.iterrows()
    ]
    return describe(
        fig,
        f"Accuracy with intervals: {'; '.join(parts)}.",
        "Each dot is an accuracy, and the line through it is its 95 % interval.",
    )


def spectrogram(power: np.ndarray, sample_rate: int, hop: int, title: str) -> Figure:
    """A power spectrogram [frequencies, frames] in decibels below its loudest point, down to -80."""
    decibels = 10 * np.log10(np.maximum(power / power.max(), 1e-8))
    fig, ax = figure(8, 3)
    image = ax.imshow(decibels, origin="lower", aspect="auto", cmap=SOUND,
                      extent=(0, power.shape[1] * hop / sample_rate, 0, sample_rate / 2))  # fmt: skip
    ax.set(title=title, xlabel="seconds", ylabel="hertz")
    fig.colorbar(image, label="decibels")
    return describe(
        fig,
        f"Spectrogram of {title}: time to the right, frequency upwards, brightness in decibels. Voiced sounds show as stacked horizontal stripes, the harmonics.",
        "Each column is one window of the sound, and brighter means more power at that frequency.",
    )


def split_gap(scores: pd.DataFrame) -> Figure:
    """One model's accuracies by several ways of splitting, and how far each lies from the first.

    scores: a row for each split by its name, with accuracy, low, high (shares).
    """
    first, points = scores["accuracy"].iloc[0], 100 * (scores["accuracy"] - scores["accuracy"].iloc[0])
    fig, ax = figure(8, 1.0 + 0.6 * len(scores))
    ax.axvline(100 * first, color=GREY, linestyle="--", linewidth=1)
    parts = []
    for place, (name, row) in enumerate(scores.iterrows()):
        colour = ORANGE if place else BLUE
        ax.hlines(place, 100 * row["low"], 100 * row["high"], color=GREY)
        ax.hlines(place, 100 * row["accuracy"], 100 * first, color=colour, linewidth=8, alpha=0.35)
        ax.plot(100 * row["accuracy"], place, "o" if place else "s", color=colour, markersize=8)
        words = f"{row['accuracy']:.1%}" + (f", {points[name]:+.1f} points" if place else "")
        ax.annotate(
            words, (100 * row["accuracy"], place), (0, 9), textcoords="offset points", ha="center", color=colour
        )
        parts.append(f"{name} {words} (95 % interval {row['low']:.1%} to {row['high']:.1%})")
    ax.set_yticks(range(len(scores)), scores.index)
    ax.set(xlabel="accuracy in per cent, with 95 % interval", ylim=(len(scores) - 0.4, -0.8))
    return describe(
        fig,
        f"Accuracy by the way of splitting; a bar spans the gap to the first: {'; '.join(parts)}.",
        "The shaded bar is how far an accuracy lies from the first one, by the dashed line.",
    )


def learning_curve(curves: dict[str, pd.DataFrame], by: str) -> Figure:
    """Accuracy against how much there was to learn from; `by` says of what: "speakers", "clips a speaker".

    curves: {name: a row for each size, with number (0 or more), accuracy, low, high (shares)}.
    """
    fig, ax = figure(8, 3.6)
    parts = []
    for place, (name, curve) in enumerate(curves.items()):
        curve, look = curve.sort_values("number"), {"color": [BLUE, ORANGE, GREEN, GREY][place % 4]}
        ax.plot(curve["number"], 100 * curve["accuracy"], marker="os^D"[place % 4], label=name, **look)
        ax.fill_between(curve["number"], 100 * curve["low"], 100 * curve["high"], alpha=0.15, linewidth=0, **look)
        steps = ", ".join(f"{row.accuracy:.1%} with {row.number:g}" for row in curve.itertuples())
        parts.append(f"{name}: {steps}")
    numbers = sorted({number for curve in curves.values() for number in curve["number"]})
    ax.set_xscale("symlog", linthresh=1, linscale=0.3)  # a logarithm that has room for 0
    ax.set_xticks(numbers, [f"{number:g}" for number in numbers])
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.minorticks_off()
    ax.set(xlabel=f"{by} to learn from", ylabel="accuracy in per cent")
    ax.legend(loc="lower right")
    return describe(
        fig,
        f"Accuracy, with 95 % intervals, against the number of {by} to learn from. {'; '.join(parts)}.",
        "Each step to the right had more to learn from, and the shaded band is the 95 % interval.",
    )


def groups(table: pd.DataFrame, by: str) -> Figure:
    """Recall of groups with intervals and sizes, from `evaluation.recall_by`; rows that say little are hollow."""
    fig, ax = figure(8, 1.0 + 0.32 * len(table))
    overall = table["right"].sum() / table["clips"].sum()
    ax.axvline(100 * overall, color=GREY, linestyle="--", linewidth=1)
    # The area of a marker is as large as its group is.
    areas = 20 + 100 * table["clips"] / table["clips"].max()
    labels = []
    for place, ((name, row), area) in enumerate(zip(table.iterrows(), areas, strict=True)):
        ax.hlines(place, 100 * row["low"], 100 * row["high"], color=GREY)
        ax.scatter(
            100 * row["recall"], place, area, color="white" if row["warning"] else BLUE, edgecolor=BLUE, zorder=3
        )
        people = f"{row['speakers']} speaker{'s' * (row['speakers'] > 1)}, " if by != "speaker" else ""
        labels.append(f"{name}  ({people}{row['clips']} clip{'s' * (row['clips'] > 1)})")
    ax.set_yticks(range(len(table)), labels)
    ax.set(xlabel="clips recognised, in per cent, with 95 % interval; dashed: all together", ylabel=by)
    ax.set_ylim(len(table) - 0.5, -0.5)
    little = table.index[table["warning"] != ""]
    shown = [
        f"{name} {row['recall']:.1%} ({row['low']:.1%} to {row['high']:.1%})" for name, row in table.head(5).iterrows()
    ]
    alt = f"Recall by {by} with 95 % intervals, worst first, {overall:.1%} over all: {'; '.join(shown)}."
    if len(little):
        alt += f" Hollow, as too small to say much: {', '.join(map(str, little))}."
    return describe(fig, alt, "Each dot is a group, as large as its number of clips; a hollow dot says little.")


def sizes(scores: pd.DataFrame) -> Figure:
    """Accuracy against the size of a model's file: a row for each model by its name, with bytes, accuracy, low, high (shares)."""
    fig, ax = figure(8, 3.6)
    parts = []
    for place, (name, row) in enumerate(scores.iterrows()):
        look = {"color": [BLUE, ORANGE, GREEN, GREY, "#CC79A7", "#E69F00"][place % 6]}
        size = row["bytes"] / 1e6
        ax.vlines(size, 100 * row["low"], 100 * row["high"], linewidth=1.2, **look)
        ax.plot(size, 100 * row["accuracy"], "os^DvP"[place % 6], markersize=8, label=name, **look)
        parts.append(
            f"{name}: {size:.2g} MB, {row['accuracy']:.1%} (95 % interval {row['low']:.1%} to {row['high']:.1%})"
        )
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter("")
    ax.set(xlabel="size of the file in megabytes", ylabel="accuracy in per cent")
    fig.legend(loc="outside lower center", ncols=3)
    return describe(
        fig,
        f"Accuracy, with 95 % intervals, against the size of a model's file on a logarithmic axis. {'; '.join(parts)}.",
        "The further to the left a point lies, the smaller is its file; its line is the 95 % interval.",
    )
