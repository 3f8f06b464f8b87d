"""Log-mel pictures as librosa and torchaudio make them, with a recipe's settings."""

import librosa
from torch import nn
from torchaudio.transforms import AmplitudeToDB, MelSpectrogram

from spokendigits.recipe import Recipe

FILE_RATE = 48_000  # Hz of the recordings, AudioMNIST's


def librosa_picture(audio, recipe: Recipe):
    """A waveform [samples] to a log-mel picture [n_mels, frames] in decibels."""
    power = librosa.feature.melspectrogram(
        y=audio,
        sr=recipe.sample_rate,
        n_fft=recipe.window,
        hop_length=recipe.hop,
        n_mels=recipe.n_mels,
        fmin=recipe.f_min,
        fmax=recipe.f_max,
        pad_mode="constant",
    )
    return librosa.power_to_db(power)


def torchaudio_picture(recipe: Recipe) -> nn.Module:
    """Waveforms [..., 1, samples] to log-mel pictures [..., 1, n_mels, frames] in decibels."""
    mel = MelSpectrogram(
        sample_rate=recipe.sample_rate,
        n_fft=recipe.window,
        hop_length=recipe.hop,
        n_mels=recipe.n_mels,
        f_min=recipe.f_min,
        f_max=recipe.f_max,
        pad_mode="constant",
        norm="slaney",
        mel_scale="slaney",
    )
    return nn.Sequential(mel, AmplitudeToDB("power", top_db=80.0))
