"""Figures of recordings, their speakers, and what the ear's scale makes of them. Chapters 1 and 2."""

from itertools import cycle

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from scipy.signal import find_peaks, freqz

from spokendigits.plots import BLUE, GREEN, GREY, ORANGE, SOUND, describe, figure, grid
from spokendigits.splits import Split


def durations(seconds: pd.Series, limit: float) -> Figure:
    """A histogram of clip lengths, with the recipe's clip length as a line."""
    fig, ax = figure(8, 2.6)
    ax.hist(seconds, 40, color=BLUE, edgecolor="white", linewidth=0.5)
    ax.axvline(limit, color=ORANGE)
    words, place = f"the recipe's clip: {limit:g} s", ("data", "axes fraction")
    ax.annotate(words, (limit, 0.9), (-5, 0), place, "offset points", ha="right", color=ORANGE)
    ax.set(xlabel="length of a recording in seconds", ylabel="clips", xlim=(0, None))
    alt = (
        f"Histogram of recording lengths: half are shorter than {seconds.median():.2f} s, the longest is "
        f"{seconds.max():.2f} s; a line marks the recipe's clip of {limit:g} s."
    )
    return describe(
        fig, alt, "A recording left of the line fits into a clip, and the rest of the clip is filled with zeros."
    )


def speakers(table: pd.DataFrame) -> Figure:
    """Clips of each speaker, coloured by gender where it is known."""
    voices = table.groupby(table["speaker"].str.replace("$", r"\$"))  # a dollar sign would begin a formula
    counts, unknown = voices.size(), pd.Series("unknown", voices.size().index)
    gender = voices["gender"].first().fillna("unknown") if "gender" in table else unknown
    fig, ax = figure(8, 2.4)
    others = sorted({*gender} - {"female", "male", "unknown"})
    for kind, colour in (("female", ORANGE), ("male", BLUE), *((kind, GREEN) for kind in others), ("unknown", GREY)):
        shown = counts.where(gender == kind, 0)
        if shown.any():
            ax.bar(counts.index, shown, color=colour, label=f"{kind} ({(gender == kind).sum()})", width=0.8)
    ax.set(xlabel="speaker", ylabel="clips")
    ax.tick_params(axis="x", rotation=90, labelsize=7)
    ax.legend(ncols=3, loc="upper left", bbox_to_anchor=(0, 1.2))
    groups = ", ".join(f"{n} {kind}" for kind, n in gender.value_counts().items())
    alt = f"Bar chart of clips per speaker for {len(counts)} speakers ({groups}): from {counts.min()} to {counts.max()} clips each."
    return describe(
        fig, alt, "Each bar is one voice, and a short bar would be a voice that the model hardly gets to hear."
    )


def split_map(table: pd.DataFrame, splits: dict[str, Split]) -> Figure:
    """One row a split, one column a speaker: the share of each speaker's clips that is held out."""
    held_out = {
        name: table.index.isin(np.concatenate([parts.validation, parts.test])) for name, parts in splits.items()
    }
    share = pd.DataFrame(held_out).groupby(table["speaker"].str.replace("$", r"\$").to_numpy()).mean()
    fig, ax = figure(8, 0.9 + 0.5 * len(splits))
    bar = {"label": "share held out"}
    sns.heatmap(
        share.T, cmap="cividis", vmin=0, vmax=1, linewidths=0.5, ax=ax, cbar_kws=bar, xticklabels=len(share) <= 70
    )
    ax.set(xlabel="speaker", ylabel="")
    ax.tick_params(axis="x", labelsize=6, rotation=90)
    ax.tick_params(axis="y", rotation=0)
    mixed = [name for name in splits if share[name].between(0, 1, inclusive="neither").any()]
    apart = [name for name in splits if name not in mixed]
    alt = (
        "Map of the share of each speaker's clips that is held out. "
        f"In the {' and '.join(mixed) or 'no'} split, speakers are on both sides; "
        f"in the {' and '.join(apart) or 'no'} split, each speaker is wholly on one side."
    )
    return describe(
        fig, alt, "A square that is neither darkest nor brightest stands for a speaker on both sides of the split."
    )


def filters(weights: dict[str, np.ndarray], sample_rate: int) -> Figure:
    """Mel filters {title: [n_mels, frequencies]}: every eighth one, and how many are empty."""
    fig, axes = grid(len(weights), 1, 8, 2.2, sharex=True)
    notes = []
    for ax, (title, bank) in zip(axes, weights.items(), strict=True):
        hertz = np.linspace(0, sample_rate / 2, bank.shape[1])
        for row, colour in zip(bank[::8], cycle((BLUE, ORANGE, GREEN)), strict=False):
            ax.plot(hertz, row / max(row.max(), 1e-12), color=colour, linewidth=1)
        notes.append(f"{title}: {(bank.max(axis=1) == 0).sum()} of {len(bank)} are empty")
        ax.set(title=notes[-1], ylabel="of its peak", yticks=[0, 1])
    axes[-1].set_xlabel("hertz")
    alt = f"Every eighth mel filter as a triangle over frequency, narrow at low tones and wide at high ones. {'; '.join(notes)}."
    return describe(
        fig,
        alt,
        "Each triangle is one mel bin in eight: the wider, the more tones it adds up; an empty one cannot be drawn.",
    )


def spectrogram(power: np.ndarray, sample_rate: int, hop: int, title: str) -> Figure:
    """A power spectrogram [frequencies, frames] in decibels below its loudest point, down to -80."""
    decibels = 10 * np.log10(np.maximum(power / power.max(), 1e-8))
    fig, ax = figure(8, 3)
    extent = (0, power.shape[1] * hop / sample_rate, 0, sample_rate / 2)
    image = ax.imshow(decibels, origin="lower", aspect="auto", cmap=SOUND, extent=extent)
    ax.set(title=title, xlabel="seconds", ylabel="hertz")
    fig.colorbar(image, label="decibels")
    alt = f"Spectrogram of {title}: time to the right, frequency upwards, brightness in decibels. Vowels show as bright bands that move slowly, the formants."
    return describe(
        fig, alt, "Each column is one window of the sound, and brighter means more power at that frequency."
    )


def envelope(frame: np.ndarray, sample_rate: int, limit: float = 4500.0) -> tuple[np.ndarray, np.ndarray]:
    """What mouth and throat make of a short sound [samples], by linear prediction: hertz [512] up to `limit`, and decibels [512].

    Twelve weights that foretell each sample from the twelve before it are too few to know the pitch. What they do know is
    which tones the mouth lets through.
    """
    import librosa  # here: only chapter 2 needs it

    slow = librosa.resample(np.asarray(frame, np.float32), orig_sr=sample_rate, target_sr=int(2 * limit))
    raised = librosa.effects.preemphasis(slow) * np.hanning(len(slow))  # a voice is weaker at its high tones
    hertz, response = freqz(1, librosa.lpc(raised, order=12), worN=512, fs=int(2 * limit))
    return hertz, 20 * np.log10(np.abs(response))


def spectra(frames: dict[str, np.ndarray], sample_rate: int, caption: str) -> Figure:
    """Spectra of short sounds {title: [samples]} in decibels; over each the curve of `envelope`, its two lowest peaks marked."""
    fig, axes = grid(len(frames), 1, 8, 2.0, sharex=True)
    notes = []
    for ax, (title, frame) in zip(axes, frames.items(), strict=True):
        hertz, curve = envelope(frame, sample_rate)
        power = np.abs(np.fft.rfft(frame * np.hanning(len(frame)))) ** 2
        tones = 10 * np.log10(np.maximum(power / power.max(), 1e-8))
        ax.plot(np.fft.rfftfreq(len(frame), 1 / sample_rate), tones, color=BLUE, linewidth=0.8)
        ax.plot(hertz, curve - curve.max(), color=ORANGE, linewidth=2)
        peaks = find_peaks(curve)[0][:2]
        for number, peak in enumerate(peaks, 1):
            words, place = f"formant {number}\n{hertz[peak]:.0f} Hz", (hertz[peak], curve[peak] - curve.max())
            side = {"xytext": (-6, 4), "ha": "right"} if number == 1 else {"xytext": (6, 4)}
            ax.annotate(words, place, textcoords="offset points", fontsize=8, color=ORANGE, **side)
        ax.set(title=title, ylabel="decibels", xlim=(0, hertz[-1]), ylim=(-75, 18))
        notes.append(f"{title}: {' and '.join(f'{hertz[peak]:.0f}' for peak in peaks)} hertz")
    axes[-1].set_xlabel("hertz")
    alt = f"Spectra of short sounds, decibels over frequency: close teeth under a smooth curve. Its first peaks: {'; '.join(notes)}."
    return describe(fig, alt, caption)
