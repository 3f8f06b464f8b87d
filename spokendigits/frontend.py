"""`LogMel`: from waveforms to the pictures that the network sees."""

import warnings

import torch
import torch.nn.functional as F
from torch import nn
from torchaudio.functional import melscale_fbanks
from torchaudio.transforms import AmplitudeToDB

from spokendigits.augmentation import Augment
from spokendigits.clips import FULL_SCALE
from spokendigits.cpu import keep_memory
from spokendigits.recipe import Recipe

AT_ONCE = 4  # clips: their spectra fit into a core's cache; 32 of them take twice as long a clip
NEIGHBOURS = 32  # mel bins: each is zero nearly everywhere, and together they look at a part of the spectrum only


def to_float(waveform: torch.Tensor) -> torch.Tensor:
    """Samples as float32 in -1..1, from int16 or any float."""
    return waveform.float() if waveform.is_floating_point() else waveform.float() / FULL_SCALE


def bands(filters: torch.Tensor) -> list[tuple[int, int, slice]]:
    """Neighbouring mel bins, `NEIGHBOURS` at a time, with the frequencies (first, last + 1) outside which all are zero."""
    found = []
    for first in range(0, filters.shape[1], NEIGHBOURS):
        bins = slice(first, first + NEIGHBOURS)
        used = filters[:, bins].any(dim=1).nonzero().flatten().tolist() or [0]
        found.append((used[0], used[-1] + 1, bins))
    return found


class LogMel(nn.Module):
    """Waveforms [batch, samples] to log-mel pictures [batch, 1, n_mels, frames] in decibels (float32).

    Equal to `librosa.power_to_db(librosa.feature.melspectrogram(..., pad_mode="constant"))` within 0.01 dB.
    Accepts floats in -1..1 or the int16 samples of `Clips`. Nothing is learned. With `f_max` above the Nyquist frequency
    the highest mel bins stay empty, as in the seed experiment. `filters` is [window // 2 + 1, n_mels].
    """

    def __init__(self, recipe: Recipe):
        super().__init__()
        keep_memory()  # the spectra of every four clips would be new memory: that takes as long as computing them
        self.window, self.hop = recipe.window, recipe.hop
        with warnings.catch_warnings():
            # torchaudio warns of empty filters; notebook 02 shows them instead.
            warnings.filterwarnings("ignore", "At least one mel filterbank")
            filters = melscale_fbanks(
                recipe.window // 2 + 1,
                recipe.f_min,
                recipe.f_max,
                recipe.n_mels,
                recipe.sample_rate,
                # Each library's usual pair: Slaney's scale with equal-area filters, or HTK's with equal-height ones.
                norm="slaney" if recipe.mel_scale == "slaney" else None,
                mel_scale=recipe.mel_scale,
            )
        # Not saved with the weights: both follow from the recipe.
        self.register_buffer("filters", filters, persistent=False)
        self.register_buffer("hann", torch.hann_window(recipe.window), persistent=False)
        self.bands = bands(filters)
        self.decibels = AmplitudeToDB("power", top_db=recipe.top_db)
        self.normalize = recipe.normalization == "clip"

    def power(self, waveform: torch.Tensor) -> torch.Tensor:
        """Power spectra [batch, frames, window // 2 + 1] of float waveforms [batch, samples]."""
        half = self.window // 2
        frames = F.pad(waveform, (half, half)).unfold(1, self.window, self.hop)
        spectrum = torch.fft.rfft(frames * self.hann)
        # The square of the absolute value, without the root that `abs` would take.
        return torch.addcmul(spectrum.real.square(), spectrum.imag, spectrum.imag)

    def mel(self, power: torch.Tensor) -> torch.Tensor:
        """Mel power [batch, frames, n_mels] of power spectra."""
        if power.device.type != "cpu":  # one large product is what a GPU does fastest
            return power @ self.filters
        return torch.cat(
            [power[..., low:high] @ self.filters[low:high, bins] for low, high, bins in self.bands], dim=-1
        )

    def forward(self, waveform: torch.Tensor, augment: Augment | None = None) -> torch.Tensor:
        # Half precision would lose the quiet bins, whatever the network around this runs in.
        with torch.autocast(waveform.device.type, enabled=False):
            # A whole batch at once would wait for main memory at every step; a GPU would wait for every small piece.
            parts = waveform.split(AT_ONCE if waveform.device.type == "cpu" else len(waveform))
            if augment is None:
                mel = torch.cat([self.mel(self.power(to_float(part))) for part in parts])
            else:
                spectrum = torch.cat([self.power(to_float(part)) for part in parts])
                mel = augment.mel(self.mel(augment.spectrum(spectrum)))
            picture = self.decibels(mel.transpose(1, 2).unsqueeze(1))
            if self.normalize:
                mean = picture.mean(dim=(2, 3), keepdim=True)
                picture = (picture - mean) / (picture.std(dim=(2, 3), keepdim=True) + 1e-5)
            return picture if augment is None else augment.picture(picture)
