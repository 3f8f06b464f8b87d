"""`LogMel`: from waveforms to the pictures that the network sees."""

import warnings

import torch
from torch import nn
from torchaudio.transforms import AmplitudeToDB, MelSpectrogram

from spokendigits.recipe import Recipe


class LogMel(nn.Module):
    """Waveforms [batch, samples] to log-mel pictures [batch, 1, n_mels, frames] in decibels (float32).

    Equal to `librosa.power_to_db(librosa.feature.melspectrogram(..., pad_mode="constant"))` within 0.01 dB.
    Accepts floats in -1..1 or the int16 samples of `Clips`. Nothing is learned. With `f_max` above the Nyquist frequency
    the highest mel bins stay empty, as in the seed experiment.
    """

    def __init__(self, recipe: Recipe):
        super().__init__()
        with warnings.catch_warnings():
            # torchaudio warns of empty filters; notebook 02 shows them instead.
            warnings.filterwarnings("ignore", "At least one mel filterbank")
            self.mel = MelSpectrogram(
                sample_rate=recipe.sample_rate,
                n_fft=recipe.window,
                hop_length=recipe.hop,
                f_min=recipe.f_min,
                f_max=recipe.f_max,
                n_mels=recipe.n_mels,
                pad_mode="constant",
                # Each library's usual pair: Slaney's scale with equal-area filters, or HTK's with equal-height ones.
                norm="slaney" if recipe.mel_scale == "slaney" else None,
                mel_scale=recipe.mel_scale,
            )
        # 80 dB below each clip's loudest point is the floor, as in librosa.
        self.decibels = AmplitudeToDB("power", top_db=80.0)
        self.normalize = recipe.normalization == "clip"

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        if not waveform.is_floating_point():
            waveform = waveform.float() / 32768
        # Half precision would lose the quiet bins, whatever the network around this runs in.
        with torch.autocast(waveform.device.type, enabled=False):
            picture = self.decibels(self.mel(waveform.float()).unsqueeze(1))
            if self.normalize:
                mean = picture.mean(dim=(2, 3), keepdim=True)
                picture = (picture - mean) / (picture.std(dim=(2, 3), keepdim=True) + 1e-5)
        return picture
