"""`robustness`: accuracy when the same recordings come with noise, from a room, over a telephone, faster or higher.

Chapter 4; chapter 6 trains against it.
"""

import functools
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
import torchaudio.functional as F
from matplotlib.figure import Figure
from scipy.signal import butter, sosfilt
from torch.nn.functional import pad
from tqdm import tqdm

from spokendigits.classifier import Classifier
from spokendigits.clips import Clips, fit
from spokendigits.corpora.corpus import FULL_SCALE, Corpus
from spokendigits.errors import CourseError, check_names
from spokendigits.evaluation import difference, predict
from spokendigits.frontend import to_float
from spokendigits.intervals import score
from spokendigits.loading import Loader
from spokendigits.plots import describe, draw_band, grid, looks

VOICES = {"babble": 8, "voice": 1}  # recordings of other speakers that a clip needs
HUM, HARMONICS = 50.0, 10  # hertz; each harmonic's amplitude is the fundamental's by its number
ROOMS = 4  # of each reverberation time
SOUND = 343.0  # metres a second
BAND, LINE = (300.0, 3400.0), 8000  # hertz: a telephone's band, and its sample rate (ITU-T G.711, G.712)


class Condition(NamedTuple):
    """A kind of disturbance for readers: its name, the unit of its levels, and the level that would change nothing."""

    label: str
    unit: str
    levels: tuple[float, ...]
    clean: float = math.nan


SNR = (30.0, 20.0, 10.0, 5.0, 0.0)
CONDITIONS = {
    "clean": Condition("clean", "", (math.nan,)),
    "white": Condition("white noise", "dB signal-to-noise", SNR, math.inf),
    "babble": Condition("babble of voices", "dB signal-to-noise", SNR, math.inf),
    "hum": Condition("mains hum", "dB signal-to-noise", SNR, math.inf),
    "voice": Condition("second voice", "dB signal-to-noise", SNR, math.inf),
    "reverberation": Condition("reverberation", "seconds (T60)", (0.2, 0.4, 0.6, 0.8, 1.0), 0.0),
    "telephone": Condition("telephone band", "bits a sample", (8.0,)),
    "clipping": Condition("clipping", "of the peak", (0.5, 0.2, 0.1, 0.05, 0.02), 1.0),
    "shift": Condition("time shift", "milliseconds later", (-200.0, -100.0, -50.0, 50.0, 100.0, 200.0), 0.0),
    "speed": Condition("speed", "times as fast", (0.7, 0.8, 0.9, 1.1, 1.2, 1.4), 1.0),
    "pitch": Condition("pitch", "semitones higher", (-6.0, -3.0, -1.0, 1.0, 3.0, 6.0), 0.0),
}


def robustness(
    classifier: Classifier,
    clips: Clips,
    corpus: Corpus,
    rows: np.ndarray,
    seed: int = 0,
    progress: bool = True,
    kinds: Sequence[str] | None = None,
    others: np.ndarray | None = None,
    model: str = "model",
) -> pd.DataFrame:
    """Accuracy on the clips `rows`, clean and under every condition: a row for each kind and level of `CONDITIONS`.

    Columns: model (as given, so that tables of several can be joined), kind, label, level, unit, clips, speakers,
    accuracy with low and high (`intervals.interval`), and drop with drop_low and drop_high: points lost against the
    same clips undisturbed, in pairs (`evaluation.difference`).
    `kinds`: some of `CONDITIONS` (None: all); the clean row always comes first. `others`: the rows whose recordings
    make up babble and second voices (None: `rows`); those of a clip's own speaker are left out.
    Under `accelerate launch` all processes have to call this, as `evaluation.predict`.
    Raises CourseError for an unknown kind, or when `others` holds no other speaker.
    """
    kinds = list(CONDITIONS) if kinds is None else list(kinds)
    check_names(kinds, list(CONDITIONS), "unknown disturbance")
    device = next(classifier.parameters()).device
    others = rows if others is None else others
    for kind in VOICES.keys() & kinds:
        _draw_others(kind, corpus, rows, others, seed)  # a mistake shows now, not after half of the work
    loader = Disturbed(clips, corpus, device, others, seed)
    wanted = [(kind, level) for kind in dict.fromkeys(["clean", *kinds]) for level in CONDITIONS[kind].levels]
    measured, clean = [], None
    for kind, level in tqdm(wanted, desc="robustness", unit="condition", disable=not progress):
        loader.kind, loader.level = kind, level
        table = predict(classifier, clips, corpus, rows, progress=False, loader=loader)
        lost = dict.fromkeys(("difference", "low", "high"), 0.0) if clean is None else difference(clean, table)
        clean = table if clean is None else clean
        drop = {"drop": lost["difference"], "drop_low": lost["low"], "drop_high": lost["high"]}
        condition = {"model": model, "kind": kind, "label": CONDITIONS[kind].label, "level": level}
        condition |= {"unit": CONDITIONS[kind].unit, **score(table)}
        measured.append({**condition, **{name: 100 * share for name, share in drop.items()}})
    return pd.DataFrame(measured)


class Disturbed(Loader):
    """A `Loader` whose clips are disturbed, by the `kind` and `level` that it is set to, as they are read.

    That happens on the CPU, so that the samples are the same whatever computes the network.
    """

    def __init__(self, clips: Clips, corpus: Corpus, device: torch.device, others: np.ndarray, seed: int = 0):
        super().__init__(clips, corpus, device)
        self.corpus, self.others, self.seed = corpus, others, seed
        self.kind, self.level = "clean", math.nan

    def _hold(self) -> None:
        return None  # a GPU has no use for the clean clips

    def read(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        clips, kind = self.clips, self.kind
        audio, digit = torch.from_numpy(clips.read(rows)), self.digit[torch.from_numpy(rows).to(self.device)]
        if kind != "clean":
            voices = other_voices(kind, clips, self.corpus, rows, self.others, self.seed) if kind in VOICES else None
            facts = (clips.sample_rate, rows, clips.lengths[rows], self.seed, voices)
            audio = FULL_SCALE * disturb(to_float(audio), kind, self.level, *facts)
            audio = audio.round().clamp(-FULL_SCALE, FULL_SCALE - 1).to(torch.int16)
        return audio.to(self.device), digit


def other_voices(
    kind: str, clips: Clips, corpus: Corpus, rows: np.ndarray, others: np.ndarray, seed: int = 0
) -> list[list[np.ndarray]]:
    """The recordings that "babble" or a second "voice" adds to each of `rows`: float32 [n] in -1..1, without padding.

    They are drawn from the rows `others`, by other speakers than the clip's; a second voice says another digit, too.
    """
    return [
        [
            audio[:length] / np.float32(FULL_SCALE)
            for audio, length in zip(clips.read(few), clips.lengths[few], strict=True)
        ]
        for few in _draw_others(kind, corpus, rows, others, seed)
    ]


def _draw_others(kind: str, corpus: Corpus, rows: np.ndarray, others: np.ndarray, seed: int) -> np.ndarray:
    """For each of `rows` the rows that it is mixed with: [rows, voices]. CourseError where there is none."""
    speaker, digit = pd.factorize(corpus.table["speaker"])[0], corpus.table["digit"].to_numpy()
    drawn = np.empty((len(rows), VOICES[kind]), int)
    for mine, row in zip(drawn, rows, strict=True):
        allowed = speaker[others] != speaker[row]
        if kind == "voice":
            allowed &= digit[others] != digit[row]
        if not allowed.any():
            raise CourseError(
                f"{CONDITIONS[kind].label}: no clip of another speaker{' and digit' if kind == 'voice' else ''} for "
                f"{corpus.table['path'].iloc[row]}. Name rows of other speakers as `others`."
            )
        # Not the numbers that `disturb` draws, or a voice would have the same offset wherever it is heard.
        random = np.random.default_rng((seed, row, 1))
        mine[:] = random.choice(others[allowed], len(mine), replace=allowed.sum() < len(mine))
    return drawn


def disturb(
    audio: torch.Tensor,
    kind: str,
    level: float,
    sample_rate: int,
    numbers: Sequence[int],
    lengths: Sequence[int],
    seed: int = 0,
    voices: Sequence[Sequence[np.ndarray]] | None = None,
) -> torch.Tensor:
    """Waveforms disturbed: float32 [batch, samples] in -1..1 on the CPU to the same. Kinds and levels: `CONDITIONS`.

    What is random depends on `seed` and on the clip's number out of `numbers` [batch], not on its neighbours or the
    level: a clip meets the same noise at every level. `lengths` [batch] are the samples before padding. `voices` are
    what `other_voices` finds, for babble and a second voice.

    white, babble, hum, voice: `level` is the signal-to-noise ratio. Both powers are means over the recording; padding
    does not count, but noise goes on through it. reverberation: `level` is the time in which a room's sound fades by
    60 dB. telephone: 300-3400 Hz at 8 kHz, coded by the mu-law of ITU-T G.711. clipping: cut off at a share of the
    peak, then as loud as before. shift: what leaves the clip is lost. speed: the pitch follows; of what becomes longer
    than the clip the loudest stretch stays, as of every long recording. pitch: a phase vocoder; the length stays,
    formants move along.

    Where the result would leave -1..1 the whole clip is made quieter: clipping is a kind of its own.
    Raises CourseError for an unknown kind.
    """
    check_names([kind], list(CONDITIONS), "unknown disturbance")
    if kind == "clean":
        return audio
    lengths = torch.as_tensor(np.asarray(lengths)).clamp(max=audio.shape[1])
    random = [np.random.default_rng((seed, int(number))) for number in numbers]
    if kind == "reverberation":
        out = _reverberate(audio, rooms(level, sample_rate, audio.shape[1], seed), random)
    elif kind == "telephone":
        out = _telephone(audio, level, sample_rate)
    elif kind == "clipping":
        limit = level * audio.abs().amax(dim=1, keepdim=True)
        cut = audio.clamp(-limit, limit)
        out = cut * (audio.norm(dim=1, keepdim=True) / cut.norm(dim=1, keepdim=True).clamp(min=1e-9))
    elif kind == "shift":
        later = round(level / 1000 * sample_rate)
        out = pad(audio, (later, -later))
    elif kind == "speed":
        out = _speed(audio, level, lengths)
    elif kind == "pitch":
        out = _pitch(audio, level, sample_rate, lengths)
    else:
        noise = _noise(kind, audio, lengths, sample_rate, random, voices)
        out = F.add_noise(audio, noise, torch.full((len(audio),), level), lengths)
        # No gain makes a silent voice louder.
        out = torch.where(out.isfinite().all(dim=1, keepdim=True), out, audio)
    return out / out.abs().amax(dim=1, keepdim=True).clamp(min=1)


def _noise(kind, audio, lengths, sample_rate, random, voices) -> torch.Tensor:
    """Noise [batch, samples] of any level."""
    samples = audio.shape[1]
    if kind == "white":
        return torch.from_numpy(np.stack([draw.standard_normal(samples, np.float32) for draw in random]))
    if kind == "hum":
        number = np.arange(1, HARMONICS + 1)
        number = number[number * HUM < sample_rate / 2]
        angle = 2 * np.pi * HUM * number[:, None] * np.arange(samples) / sample_rate
        phase = np.stack([draw.uniform(0, 2 * np.pi, len(number)) for draw in random])
        # sin(angle + phase) as a product of matrices, for all clips at once
        hum = (np.cos(phase) / number) @ np.sin(angle) + (np.sin(phase) / number) @ np.cos(angle)
        return torch.from_numpy(hum.astype(np.float32))
    noise = torch.zeros_like(audio)
    for out, clip, length, draw, mine in zip(noise, audio, lengths, random, voices, strict=True):
        for voice in mine:
            if kind == "babble":
                looped = np.resize(np.roll(voice, draw.integers(len(voice))), samples)
                out += torch.from_numpy(looped / max(float(np.sqrt(np.mean(voice**2))), 1e-9))
            else:
                # Both words are heard at once: started together, a long one could fall silent before the other speaks.
                later = round(_centre(clip[:length].numpy()) - _centre(voice))
                out += pad(torch.from_numpy(voice), (later, samples - len(voice) - later))
    return noise


def _centre(audio: np.ndarray) -> float:
    """The sample at the centre of a waveform's energy."""
    energy = np.square(audio, dtype=np.float64)
    return float(energy @ np.arange(len(audio)) / max(energy.sum(), 1e-12))


@functools.cache
def rooms(t60: float, sample_rate: int, samples: int, seed: int = 0) -> torch.Tensor:
    """Impulse responses [ROOMS, samples + 1] of rooms whose sound fades by 60 dB in `t60` seconds, of energy 1.

    Someone speaks 1 to 2 m away, in a room that is the larger the longer it echoes. By the image source method
    (pyroomacoustics). The direct sound is the first sample, so that reverberation is not also a time shift.
    """
    import pyroomacoustics  # slow to import, and only needed here
    from pyroomacoustics.experimental import measure_rt60

    responses = torch.zeros(ROOMS, samples + 1)  # one more: a convolution then has 2 * samples, which FFTs are fast at
    for number in range(ROOMS):
        random = np.random.default_rng((seed, round(1000 * t60), number))
        size = random.uniform((3.0, 3.0, 2.4), (5.0, 4.0, 3.0)) * (1 + t60)
        absorption, order = pyroomacoustics.inverse_sabine(t60, size)
        room = pyroomacoustics.ShoeBox(
            size, fs=sample_rate, materials=pyroomacoustics.Material(absorption), max_order=order
        )
        # Whole samples away: between samples the direct sound would be spread over its neighbours on either side.
        away = round(random.uniform(1, 2) * sample_rate / SOUND)
        turn = random.uniform(0, np.pi / 2)
        mouth = size * (0.3, 0.35, 0.55)
        room.add_source(mouth)
        room.add_microphone(mouth + away * SOUND / sample_rate * np.array([np.cos(turn), np.sin(turn), 0]))
        room.compute_rir()
        first = away + pyroomacoustics.constants.get("frac_delay_length") // 2
        response = room.rir[0][0][first:]
        # Sabine's formula takes every direction for alike. Bent by what it is off, the decay is the one asked for.
        off = 1 / t60 - 1 / measure_rt60(response, fs=sample_rate, decay_db=30)
        response *= 10 ** (-3 * off * np.arange(len(response)) / sample_rate)
        response = torch.from_numpy(response[: samples + 1]).float()
        responses[number, : len(response)] = response / response.norm()
    return responses


def _reverberate(audio: torch.Tensor, responses: torch.Tensor, random: list) -> torch.Tensor:
    out = torch.empty_like(audio)
    here = torch.tensor([int(draw.integers(len(responses))) for draw in random])
    for room in here.unique():
        inside = here == room
        out[inside] = F.fftconvolve(audio[inside], responses[room][None])[:, : audio.shape[1]]
    return out


def _telephone(audio: torch.Tensor, bits: float, sample_rate: int) -> torch.Tensor:
    narrow = F.resample(audio, sample_rate, LINE).numpy()
    line = torch.from_numpy(sosfilt(butter(4, BAND, "bandpass", fs=LINE, output="sos"), narrow).astype(np.float32))
    # One step less than the bits allow, so that silence has one: G.711's two zeros are one, too.
    steps = 2 ** int(bits) - 1
    coded = F.mu_law_decoding(F.mu_law_encoding(line.clamp(-1, 1), steps), steps)
    return F.resample(coded, LINE, sample_rate)[:, : audio.shape[1]]


def _speed(audio: torch.Tensor, factor: float, lengths: torch.Tensor) -> torch.Tensor:
    ratio = Fraction(factor).limit_denominator(100)  # torchaudio's filters grow with both numbers
    changed = F.resample(audio, ratio.numerator, ratio.denominator).numpy()
    lengths = (lengths / factor).ceil().int().tolist()
    return torch.from_numpy(
        np.stack([fit(one[:length], audio.shape[1]) for one, length in zip(changed, lengths, strict=True)])
    )


def _pitch(audio: torch.Tensor, semitones: float, sample_rate: int, lengths: torch.Tensor) -> torch.Tensor:
    # First faster, then as long again: the slow part, the phase vocoder, then makes as few frames as it can.
    ratio = Fraction(2 ** (semitones / 12)).limit_denominator(100)
    faster = F.resample(audio, ratio.numerator, ratio.denominator)
    window = 2 ** round(math.log2(0.04 * sample_rate))  # about 40 ms: several periods of a low voice
    hop, hann = window // 4, torch.hann_window(window)
    advance = torch.linspace(0, math.pi * hop, window // 2 + 1)[:, None]
    out = torch.zeros_like(audio)
    for here, one, length in zip(out, faster, lengths.tolist(), strict=True):  # padding would take as long as speech
        one = pad(one[: math.ceil(length / ratio)], (0, window))
        spectrum = torch.stft(one, window, hop, window=hann, pad_mode="constant", return_complex=True)
        stretched = F.phase_vocoder(spectrum, float(1 / ratio), advance)
        here[:length] = torch.istft(stretched, window, hop, window=hann, length=length)
    return out


def draw_robustness(table: pd.DataFrame) -> Figure:
    """One chart a kind of disturbance: accuracy against its level with 95 % intervals, a colour a model, clean dashed.

    table: from `robustness.robustness`, or several of them joined. Kinds that it lacks are left out.
    Raises CourseError where two of the tables have one name of a model.
    """
    if (again := table.duplicated(["model", "kind", "level"])).any():
        name = table.loc[again, "model"].iloc[0]
        raise CourseError(f"robustness: two tables are of a model {name!r}. Give each its own name as `model`.")
    models = dict(list(table.groupby("model", sort=False)))
    kinds = [kind for kind in CONDITIONS if kind != "clean" and kind in set(table["kind"])]
    fig, axes = grid(len(kinds), 2, 6.5, 1.75, more=0.8, sharey=True, dpi=150)
    lines = {}
    for ax, kind in zip(axes, kinds, strict=True):
        condition, levels = CONDITIONS[kind], set()
        for (name, rows), (colour, marker, _) in zip(models.items(), looks(), strict=False):
            clean, shown = rows[rows["kind"] == "clean"], rows[rows["kind"] == kind]
            undisturbed = ax.axhline(clean["accuracy"].item() * 100, color=colour, linestyle="--", linewidth=0.8)
            if np.isfinite(condition.clean):  # the curve begins, or has its middle, where nothing is disturbed
                shown = pd.concat([shown, clean.assign(level=condition.clean)])
            shown = shown.sort_values("level")
            lines[name] = draw_band(ax, shown["level"], shown, "accuracy", colour, marker=marker, markersize=4)
            if len(shown) == 1:  # a band needs two points
                ax.vlines(shown["level"], shown["low"] * 100, shown["high"] * 100, color=colour)
            levels.update(shown["level"])
        ax.set(title=condition.label, xlabel=condition.unit, ylim=(0, 103))
        if kind == "clipping":
            ax.set_xscale("log")
            ax.minorticks_off()
        ax.set_xticks(sorted(levels), [f"{level:g}" for level in sorted(levels)])
        if kind == "clipping" or np.isinf(condition.clean):
            ax.invert_xaxis()  # worse to the right, as in the other charts
    fig.supylabel("clips recognised, in per cent", fontsize=10)
    fig.get_layout_engine().set(hspace=0.12)  # a title belongs to the chart below it
    lines["undisturbed"] = undisturbed
    columns = max(1, min(3, 60 // (max(map(len, lines)) + 6)))
    fig.legend(lines.values(), lines, loc="outside lower center", ncols=columns)
    disturbed = table[table["kind"] != "clean"]
    # Only what all models met can be compared; and not by the points lost: a poor model has few to lose.
    met = disturbed.pivot(index=["kind", "level"], columns="model", values="accuracy").dropna().mean()
    parts = []
    for name, rows in models.items():
        clean = rows.loc[rows["kind"] == "clean", "accuracy"].item()
        worst = rows[rows["kind"] != "clean"].sort_values("accuracy").iloc[0]
        where = f"{worst['accuracy']:.1%} with {worst['label']} at {worst['level']:g} {worst['unit']}"
        parts.append(f"{name}: {clean:.1%} clean, {met[name]:.1%} on average over all disturbances, at worst {where}")
    best = f" Best on average: {met.idxmax()}." if len(parts) > 1 else ""
    alt = (
        f"{len(kinds)} charts of accuracy against the level of a disturbance, with intervals. {'; '.join(parts)}.{best}"
    )
    return describe(
        fig, alt, "Each line is one model: the nearer it stays to its dashed line, the less the disturbance does to it."
    )
