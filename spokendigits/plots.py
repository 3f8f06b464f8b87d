"""One function a figure. Each returns a matplotlib figure that carries its own alt text."""

import io
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter
from scipy.spatial import KDTree

from spokendigits.errors import CourseError
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


def over_seed(ours: dict, seed: dict, label: str) -> Figure:
    """Our curves over the seed experiment's. Both: `loss` (means over `steps_averaged` steps), `validation_loss` and
    `validation_roc_auc` (one value an epoch)."""
    fig, axes = figure(9, 3.2, 1, 3)
    lines = ((seed, "the original, AudioMNIST", GREY, "--"), (ours, label, BLUE, "-"))
    for run, name, colour, style in lines:
        epochs = np.arange(1, len(run["validation_loss"]) + 1)
        done = np.linspace(0, len(epochs), len(run["loss"]) + 1)[1:]
        axes[0].plot(done, run["loss"], style, color=colour, linewidth=1, label=name)
        axes[1].plot(epochs, run["validation_loss"], style, marker="o", color=colour)
        # Distance from a perfect score. A perfect one has no place on a logarithmic axis: it stands at the bottom.
        missing = np.maximum(1 - np.array(run["validation_roc_auc"]), 1e-9)
        axes[2].plot(epochs, missing, style, marker="o", color=colour)
    for ax, title in zip(axes, ("training loss", "validation loss", "1 − validation ROC-AUC"), strict=True):
        ax.set(title=title, xlabel="epoch", yscale="log")
    fig.legend(loc="outside lower center", ncols=2)
    alt = (
        "Three charts on logarithmic axes, the original experiment dashed and this run solid: training loss, validation loss and "
        f"the distance of the ROC-AUC from 1, over {len(epochs)} epochs. The validation loss ends at "
        f"{seed['validation_loss'][-1]:.5f} in the original and at {ours['validation_loss'][-1]:.5f} here, "
        f"the ROC-AUC at {seed['validation_roc_auc'][-1]:.6f} and {ours['validation_roc_auc'][-1]:.6f}."
    )
    return describe(fig, alt, "Where the solid line lies below the dashed one, this run has the smaller loss or error.")


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


def card(audio: np.ndarray, picture: np.ndarray, row: pd.Series, recipe: Recipe, mark: str = "") -> Figure:
    """One clip as a card: waveform, log-mel picture and the ten probabilities; `mark` follows the speaker's name."""
    fig, (left, middle, right) = figure(8, 2.2, 1, 3, width_ratios=[1.2, 1.2, 1])
    draw_waveform(left, audio, recipe.sample_rate)
    draw_mel(middle, picture, recipe)
    chances = row[[f"p{digit}" for digit in range(10)]].to_numpy(float)
    colours = [GREEN if digit == row["digit"] else ORANGE if digit == row["predicted"] else GREY for digit in range(10)]
    right.barh(range(10), chances, color=colours)
    right.set(yticks=range(10), xlim=(0, 1), xlabel="probability", ylabel="digit")
    right.invert_yaxis()
    title = f"said {row['digit']} by speaker {row['speaker']}{mark}, read as {row['predicted']}"
    fig.suptitle(title, fontsize=10)
    alt = f"Waveform, log-mel picture and probabilities of a clip: {title} with probability {chances[row['predicted']]:.2f}; the true digit got {chances[row['digit']]:.2f}."
    return describe(
        fig, alt, "The green bar is the digit that was said; an orange one is the digit that was read instead."
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


def curves_of_runs(runs: dict[str, tuple[pd.DataFrame, pd.DataFrame]], label: str) -> Figure:
    """Four charts with a line for each run: training loss, and validation loss, accuracy and ROC-AUC error.

    runs: {name: (steps, history)}, tables as `training.train` writes them, of one epoch or more. `label` names the corpus.
    """
    # Line styles and markers tell runs apart without colour; as there is one colour more, 42 runs look different.
    colours = [BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9", GREY]
    styles = ["-", "--", "-.", ":", (0, (6, 1, 1, 1, 1, 1)), (0, (10, 2))]
    fig, axes = figure(8, 6, 2, 2, dpi=150)
    # Rounded, so that a mean of ten areas that are all 1 counts as no error.
    errors = [(1 - history["roc_auc"]).round(12) for _, history in runs.values()]
    for i, ((name, (steps, history)), error) in enumerate(zip(runs.items(), errors, strict=True)):
        look = {"color": colours[i % 7], "linestyle": styles[i % 6], "linewidth": 1.5, "zorder": 3}
        smooth = steps["loss"].rolling(max(1, len(steps) // 20), center=True, min_periods=1).median()
        axes[0, 0].plot(steps["step"], steps["loss"], color=colours[i % 7], linewidth=0.5, alpha=0.2)
        axes[0, 0].plot(steps["step"], smooth, **look)
        for ax, values in zip(axes.flat[1:], (history["loss"], history["accuracy"] * 100, error), strict=True):
            (line,) = ax.plot(history["epoch"], values, marker="os^DvP"[i % 6], markersize=4.5, **look)
            ax.set_xlabel("epoch")
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        line.set_label(name)
    axes[0, 0].set(title="training loss of each batch, and its running median", xlabel="step")
    axes[0, 1].set(title="validation loss")
    axes[1, 0].set(title="validation accuracy in per cent")
    axes[1, 1].set(title="validation ROC-AUC error (1 - ROC-AUC)")
    known = pd.concat(errors)
    logarithmic = [axes[0, 0], axes[0, 1], axes[1, 1]]
    if (known == 0).any():  # a logarithm would drop these points
        logarithmic.remove(axes[1, 1])
        axes[1, 1].set_yscale("symlog", linthresh=known[known > 0].min() if (known > 0).any() else 0.001)
        axes[1, 1].set_ylim(0, None)
        plt.setp(axes[1, 1].get_lines(), clip_on=False)  # points on the axis are shown whole
        axes[1, 1].yaxis.set_major_formatter("{x:g}")
    for ax in logarithmic:
        ax.set_yscale("log")
        low, high = ax.get_ylim()
        if high < 1000 * low:  # beyond three powers of ten, these are enough
            ax.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        ax.yaxis.set_major_formatter("{x:g}")
        ax.yaxis.set_minor_formatter(NullFormatter())
    # Names can be long paths: then one a line.
    fig.legend(loc="outside lower center", ncols=max(1, min(3, 90 // (max(map(len, runs)) + 8))), handlelength=4)
    fig.suptitle(label, fontsize=10)
    ends = pd.DataFrame([history.iloc[-1].rename(name) for name, (_, history) in runs.items()])
    best = [
        f"{what} {end:{form}} by {' and '.join(ends.index[ends[column] == end])}"
        for column, end, what, form in (
            ("loss", ends["loss"].min(), "validation loss", ".4f"),
            ("accuracy", ends["accuracy"].max(), "accuracy", ".1%"),
            ("roc_auc", ends["roc_auc"].max(), "ROC-AUC", ".5f"),
        )
        if not np.isnan(end)
    ]
    alt = (
        f"{label}: four charts of training loss, and validation loss, accuracy and ROC-AUC error, with a line for each "
        f"run: {', '.join(runs)}. Best last epochs: {'; '.join(best)}."
    )
    return describe(
        fig, alt, "Each line is one run: the lower its losses and the higher its accuracy, the better it learned."
    )


def robustness(table: pd.DataFrame) -> Figure:
    """One chart a kind of disturbance: accuracy against its level with 95 % intervals, a colour a model, clean dashed.

    table: from `robustness.robustness`, or several of them joined. Kinds that it lacks are left out.
    Raises CourseError where two of the tables have one name of a model.
    """
    from spokendigits.robustness import CONDITIONS  # here: other figures need not wait for what it imports

    if (again := table.duplicated(["model", "kind", "level"])).any():
        name = table.loc[again, "model"].iloc[0]
        raise CourseError(f"robustness: two tables are of a model {name!r}. Give each its own name as `model`.")
    colours = [BLUE, ORANGE, GREEN, "#CC79A7", "#E69F00", "#56B4E9", GREY]
    models = dict(list(table.groupby("model", sort=False)))
    kinds = [kind for kind in CONDITIONS if kind != "clean" and kind in set(table["kind"])]
    down, lines = -(-len(kinds) // 2), {}
    fig, axes = figure(6.5, 0.8 + 1.75 * down, down, 2, sharey=True, squeeze=False, dpi=150)
    for ax in axes.flat[len(kinds) :]:
        ax.set_visible(False)
    for ax, kind in zip(axes.flat, kinds, strict=False):
        condition, levels = CONDITIONS[kind], set()
        for i, (name, rows) in enumerate(models.items()):
            clean, shown, colour = rows[rows["kind"] == "clean"], rows[rows["kind"] == kind], colours[i % 7]
            undisturbed = ax.axhline(clean["accuracy"].item() * 100, color=colour, linestyle="--", linewidth=0.8)
            if np.isfinite(condition.clean):  # the curve begins, or has its middle, where nothing is disturbed
                shown = pd.concat([shown, clean.assign(level=condition.clean)])
            shown = shown.sort_values("level")
            level, accuracy, low, high = (shown[column] for column in ("level", "accuracy", "low", "high"))
            (lines[name],) = ax.plot(level, accuracy * 100, color=colour, marker="os^DvP"[i % 6], markersize=4)
            ax.fill_between(level, low * 100, high * 100, color=colour, alpha=0.2, linewidth=0)
            if len(shown) == 1:  # a band needs two points
                ax.vlines(level, low * 100, high * 100, color=colour)
            levels.update(level)
        ax.set(title=condition.label, xlabel=condition.unit, ylim=(0, 103))
        if kind == "clipping":
            ax.set_xscale("log")
            ax.minorticks_off()
        ax.set_xticks(sorted(levels), [f"{level:g}" for level in sorted(levels)])
        if kind == "clipping" or np.isinf(condition.clean):
            ax.invert_xaxis()  # worse to the right, as in the other charts
    fig.supylabel("clips recognised, in per cent", fontsize=10)
    lines["undisturbed"] = undisturbed
    fig.legend(
        lines.values(), lines, loc="outside lower center", ncols=max(1, min(3, 60 // (max(map(len, lines)) + 6)))
    )
    return describe(
        fig,
        _robustness_alt(table, len(kinds)),
        "Each line is one model: the nearer it stays to its dashed line, the less the disturbance does to it.",
    )


def _robustness_alt(table: pd.DataFrame, kinds: int) -> str:
    disturbed = table[table["kind"] != "clean"]
    # Only what all models met can be compared; and not by the points lost: a poor model has few to lose.
    met = disturbed.pivot(index=["kind", "level"], columns="model", values="accuracy").dropna().mean()
    parts = []
    for name, rows in table.groupby("model", sort=False):
        clean = rows.loc[rows["kind"] == "clean", "accuracy"].item()
        worst = disturbed[disturbed["model"] == name].sort_values("accuracy").iloc[0]
        parts.append(
            f"{name}: {clean:.1%} clean, {met[name]:.1%} on average over all disturbances, at worst "
            f"{worst['accuracy']:.1%} with {worst['label']} at {worst['level']:g} {worst['unit']}"
        )
    best = f" Best on average: {met.idxmax()}." if len(parts) > 1 else ""
    return f"{kinds} charts of accuracy against the level of a disturbance, with intervals. {'; '.join(parts)}.{best}"


def embedding_map(points: np.ndarray, table: pd.DataFrame, label: str) -> Figure:
    """Clips as points [n, 2] of `explain.embedding_map`, each drawn as its digit; rings around those that were misread.

    table: their n predictions, in the order of the points.
    """
    colours = plt.get_cmap("tab10").colors
    fig, ax = figure(7, 6)
    for digit in range(10):
        x, y = points[(table["digit"] == digit).to_numpy()].T
        ax.scatter(x, y, s=32, marker=f"${digit}$", color=colours[digit], linewidth=0.3)
    wrong = (table["digit"] != table["predicted"]).to_numpy()
    ax.scatter(*points[wrong].T, s=130, facecolors="none", edgecolors="black", linewidth=0.6, label="misread")
    ax.set(title=label, xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    if wrong.any():
        fig.legend(loc="outside lower center")
    digits, (_, closest) = table["digit"].to_numpy(), KDTree(points).query(points, 2)
    alike = (digits[closest[:, 1]] == digits).mean()
    alt = (
        f"{label}: map of {len(points)} clips, each drawn as its digit; near means alike to the model. {alike:.0%} lie next to a "
        f"clip of the same digit. {wrong.sum()} misread clips are ringed."
    )
    return describe(fig, alt, "Each digit on the map is one clip, and a ring marks a clip that was misread.")


def cams(pictures: np.ndarray, maps: dict[str, np.ndarray], titles: Sequence[str], recipe: Recipe) -> Figure:
    """A row for each clip: its log-mel picture [n, n_mels, frames], then the same in grey under each of the maps.

    maps: {heading: [n, n_mels, frames]} in 0 ... 1, such as of `explain.grad_cam` for a classifier and for its randomised copy.
    """
    count = len(pictures)
    fig, axes = figure(8, 0.4 + 1.9 * count, count, 1 + len(maps), squeeze=False, sharex=True, sharey=True)
    red, green, blue = to_rgb(ORANGE)
    notes = []
    for i, title in enumerate(titles):
        draw_mel(axes[i, 0], pictures[i], recipe, axes=False)
        axes[i, 0].set_ylabel(title, fontsize=9)
        places = []
        for ax, (heading, values) in zip(axes[i, 1:], maps.items(), strict=True):
            draw_mel(ax, pictures[i], recipe, axes=False).set_cmap("gray")
            overlay = np.full((*values[i].shape, 4), (red, green, blue, 0.0))
            overlay[..., 3] = 0.8 * values[i]
            ax.imshow(overlay, origin="lower", aspect="auto", interpolation="nearest")
            row, frame = np.unravel_index(values[i].argmax(), values[i].shape)
            seconds = frame * recipe.hop / recipe.sample_rate
            where = f"strongest at {seconds:.2f} s, mel bin {row}" if values[i].any() else "nothing"
            places.append(f"{heading}: {where}")
        notes.append(f"{title} ({', '.join(places)})")
    for ax, heading in zip(axes[0], ["log-mel picture", *maps], strict=True):
        ax.set_title(heading)
    return describe(
        fig,
        f"Log-mel pictures of {count} clips; beside each, in orange on grey, where evidence lies: {'; '.join(notes)}.",
        "The more orange a place is, the more it speaks for the digit that was asked about.",
    )


def cam_sanity(checks: dict[str, pd.DataFrame]) -> Figure:
    """Rank correlation of maps before and after weights are drawn anew: a line for each {name: `explain.cam_sanity`}."""
    fig, ax = figure(8, 3)
    for i, (name, check) in enumerate(checks.items()):
        look = {"marker": "os^D"[i % 4], "color": [BLUE, ORANGE, GREEN, GREY][i % 4], "label": name}
        ax.plot(check["stage"], check["correlation"], **look)
    ax.axhline(0, color=GREY, linewidth=0.8)
    ax.set(xlabel="weights drawn anew, from the last part down to this one", ylabel="rank correlation")
    ax.set_ylim(min(-0.1, ax.get_ylim()[0]), 1.05)
    fig.legend(loc="outside lower center", ncols=2)
    parts = [
        f"{name}: {check['correlation'].iloc[0]:.2f} after the last part, {check['correlation'].iloc[-1]:.2f} after all"
        for name, check in checks.items()
    ]
    return describe(
        fig,
        f"Rank correlation between maps before and after weights are drawn anew, part by part from the last. {'; '.join(parts)}. "
        "A map that depends on what was learned falls towards 0.",
        "A line that falls to 0 needs what was learned; a line that stays at 1 does not.",
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


def reliability(tables: dict[str, pd.DataFrame]) -> Figure:
    """Accuracy against confidence, bin by bin: a chart for each {name: `calibration.reliability`}."""
    fig, axes = figure(
        4.2 * len(tables), 4.6, 2, len(tables), squeeze=False, sharex=True, sharey="row", height_ratios=[3, 1]
    )
    parts = []
    for (top, bottom), (name, table) in zip(axes.T, tables.items(), strict=True):
        gap = table["confidence"] - table["accuracy"]
        error = np.average(gap.abs(), weights=table["clips"])
        top.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1)
        top.vlines(table["confidence"], table["accuracy"], table["confidence"], color=ORANGE, linewidth=4, alpha=0.5)
        top.plot(table["confidence"], table["accuracy"], "o-", color=BLUE)
        top.set(title=f"{name}: calibration error {error:.2%}", xlim=(0, 1.02), ylim=(0, 1.05))
        bottom.bar(
            table["low"], table["clips"], table["high"] - table["low"], align="edge", color=BLUE, edgecolor="white"
        )
        bottom.set(xlabel="confidence", yscale="log")
        way = "above" if np.average(gap, weights=table["clips"]) > 0 else "below"
        parts.append(f"{name}, an expected calibration error of {error:.2%}, confidence on average {way} accuracy")
    axes[0, 0].set_ylabel("accuracy")
    axes[1, 0].set_ylabel("clips")
    return describe(
        fig,
        f"Reliability: accuracy against confidence in bins, the diagonal being perfect, and below it clips in each bin. {'; '.join(parts)}.",
        "On the dashed diagonal confidence keeps its word, and orange is how far it does not.",
    )


def risk_coverage(curves: dict[str, pd.DataFrame]) -> Figure:
    """Share of wrong answers against share of clips answered, the surest first: {name: `calibration.risk_coverage`}."""
    fig, ax = figure(8, 3.4)
    parts, top = [], 0.0
    for place, (name, curve) in enumerate(curves.items()):
        look = {"color": [BLUE, ORANGE, GREEN, GREY][place % 4]}
        ax.plot(100 * curve["coverage"], 100 * curve["risk"], ["-", "--", "-.", ":"][place % 4], label=name, **look)
        ax.fill_between(
            100 * curve["coverage"], 100 * curve["low"], 100 * curve["high"], alpha=0.15, linewidth=0, **look
        )
        half = curve.iloc[(curve["coverage"] - 0.5).abs().argmin()]
        # Of the first few answers nothing is known: their intervals would press the rest flat.
        top = max(top, curve["risk"].max(), curve["high"].iloc[-1], half["high"])
        parts.append(
            f"{name} misreads {curve['risk'].iloc[-1]:.1%} if it answers all clips, {half['risk']:.1%} of the surest {half['coverage']:.0%}"
        )
    ax.set(xlabel="clips answered, in per cent, the surest first", ylabel="misread, in per cent", xlim=(0, 100))
    ax.set_ylim(0, 100 * min(1, 1.1 * top))
    ax.legend(loc="upper center")
    return describe(
        fig,
        f"Risk against coverage, with 95 % intervals: {'; '.join(parts)}.",
        "Further to the left the model answers fewer clips, only those that it is surest of.",
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


def digit_scores(groups: dict[str, np.ndarray], limit: float | None = None) -> Figure:
    """How the scores of several kinds of sounds are spread: {name: scores [n]}, a strip each; `limit` is drawn as a line."""
    fig, ax = figure(8, 1.0 + 0.7 * len(groups))
    random, parts = np.random.default_rng(0), []
    for place, (name, values) in enumerate(groups.items()):
        values, colour = np.asarray(values, float), [BLUE, ORANGE, GREEN, GREY][place % 4]
        ax.scatter(values, place + random.uniform(-0.28, 0.28, len(values)), s=9, alpha=0.5, linewidth=0, color=colour)
        low, middle, high = np.quantile(values, [0.05, 0.5, 0.95])
        ax.plot([middle, middle], [place - 0.38, place + 0.38], color="black", linewidth=1.5)
        part = f"{name}: half of {len(values)} above {middle:.1f}, nine in ten between {low:.1f} and {high:.1f}"
        parts.append(part if limit is None else f"{part}, {np.mean(values >= limit):.0%} at or above the limit")
    if limit is not None:
        ax.axvline(limit, color=GREY, linestyle="--")
        ax.annotate("limit", (limit, 1), (4, -2), ("data", "axes fraction"), "offset points", color=GREY, va="top")
    ax.set_yticks(range(len(groups)), groups)
    ax.set(xlabel="score: how sure the network is that a digit was said")
    ax.set_ylim(len(groups) - 0.5, -0.5)
    return describe(
        fig,
        f"Scores of {len(groups)} kinds of sounds{'' if limit is None else f', and a limit at {limit:.1f}'}. {'; '.join(parts)}.",
        "Each dot is one sound, and the black line is the middle of its kind; up and down means nothing.",
    )


def roc(curves: dict[str, tuple[np.ndarray, np.ndarray]], limit: float | None = None) -> Figure:
    """ROC curves of digits against other sounds: {name: (scores of digits [n], scores of the others [m])}; where `limit` lies."""
    from sklearn.metrics import roc_auc_score, roc_curve

    fig, ax = figure(5, 4.4)
    ax.plot([0, 100], [0, 100], color=GREY, linestyle="--", linewidth=1)
    parts = []
    for place, (name, (digits, others)) in enumerate(curves.items()):
        truth = np.repeat([1, 0], [len(digits), len(others)])
        values = np.concatenate([digits, others])
        false, true, _ = roc_curve(truth, values)
        area, look = roc_auc_score(truth, values), {"color": [BLUE, ORANGE, GREEN, GREY][place % 4]}
        ax.plot(100 * false, 100 * true, ["-", "-.", ":", "--"][place % 4], label=f"{name}: {area:.3f}", **look)
        parts.append(f"digits against {name}: {area:.3f}")
        if limit is not None:
            let_in, kept = 100 * np.mean(others >= limit), 100 * np.mean(digits >= limit)
            ax.plot(let_in, kept, "os^D"[place % 4], markersize=8, **look)
            parts[-1] += f", at the limit {kept:.0f} % of the digits and {let_in:.0f} % of the others pass"
    ax.set(xlabel="other sounds that pass, in per cent", ylabel="digits that pass, in per cent")
    ax.legend(loc="lower right", title="area under the curve")
    return describe(
        fig,
        f"ROC curves: digits that pass against other sounds that pass, for every limit. Area under the curve, {'; '.join(parts)}.",
        "Each point of a line is one limit: further up loses fewer digits, further left lets fewer others in.",
    )
