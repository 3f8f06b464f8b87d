"""`LogMel`: from waveforms to the pictures that the network sees. Chapter 2."""

import warnings

import torch
from torch import nn
from torchaudio.transforms import AmplitudeToDB, MelScale, Spectrogram

from spokendigits.augmentation import Augment
from spokendigits.corpora.corpus import FULL_SCALE
from spokendigits.recipe import Recipe

AT_ONCE = 4  # clips: the spectra of 32 would leave a core's cache, and take twice as long


def to_float(waveform: torch.Tensor) -> torch.Tensor:
    """Samples as float32 in -1..1, from int16 or any float."""
    return waveform.float() if waveform.is_floating_point() else waveform.float() / FULL_SCALE


class LogMel(nn.Module):
    """Waveforms [batch, samples] to log-mel pictures [batch, 1, n_mels, frames], float32: in decibels, or as the recipe
    normalizes them, without a unit. `augment` changes spectrum and picture on the way.

    Equal to `librosa.power_to_db(librosa.feature.melspectrogram(..., pad_mode="constant"))` within 0.01 dB.
    Accepts floats in -1..1 or the int16 samples of `Clips`. Nothing is learned. With `f_max` above the Nyquist frequency
    the highest mel bins stay empty, as in the seed experiment. `filters` is [window // 2 + 1, n_mels].
    """

    def __init__(self, recipe: Recipe):
        super().__init__()
        self.spectrogram = Spectrogram(recipe.window, hop_length=recipe.hop, power=2.0, pad_mode="constant")
        with warnings.catch_warnings():
            # torchaudio warns of empty filters; notebook 02 shows them instead.
            warnings.filterwarnings("ignore", "At least one mel filterbank")
            self.mel_scale = MelScale(
                recipe.n_mels,
                recipe.sample_rate,
                recipe.f_min,
                recipe.f_max,
                recipe.window // 2 + 1,
                # Each library's usual pair: Slaney's scale with equal-area filters, or HTK's with equal-height ones.
                norm="slaney" if recipe.mel_scale == "slaney" else None,
                mel_scale=recipe.mel_scale,
            )
        self.decibels = AmplitudeToDB("power", top_db=recipe.top_db)
        self.normalize = recipe.normalization == "clip"

    @property
    def filters(self) -> torch.Tensor:
        return self.mel_scale.fb

    def forward(self, waveform: torch.Tensor, augment: Augment | None = None) -> torch.Tensor:
        # Half precision would lose the quiet bins, whatever the network around this runs in.
        with torch.autocast(waveform.device.type, enabled=False):
            parts = waveform.split(AT_ONCE if waveform.device.type == "cpu" else len(waveform))
            if augment is None:
                mel = torch.cat([self.mel_scale(self.spectrogram(to_float(part))) for part in parts])
            else:  # which has frames before frequencies
                power = torch.cat([self.spectrogram(to_float(part)) for part in parts])
                mel = augment.mel(self.mel_scale(augment.spectrum(power.mT).mT).mT).mT
            picture = self.decibels(mel.unsqueeze(1))
            if self.normalize:
                mean = picture.mean(dim=(2, 3), keepdim=True)
                picture = (picture - mean) / (picture.std(dim=(2, 3), keepdim=True) + 1e-5)
            return picture if augment is None else augment.picture(picture)
