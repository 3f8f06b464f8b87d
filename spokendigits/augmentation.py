"""`Augment`: training clips changed at random, as if other people had said them in other rooms.

All of it happens to spectra, for a whole batch at once and with other draws for each clip: on two CPU cores the network
does not wait for it. Libraries that change waveforms take longer than a small network's step, and none moves formants.
Chapter 6.
"""

import math

import torch
import torch.nn.functional as F
from torchaudio.transforms import FrequencyMasking, TimeMasking

from spokendigits.recipe import AUGMENTATIONS, Recipe

STRETCH = 0.5  # time: up to exp(0.5) = 1.6 times as long, or as short
WARP = 0.18  # frequency: vocal tracts up to 20 % shorter or longer, with the pitch
FORMANT = 125.0  # hertz that formants move apart
DRIFT = 0.03  # seconds by which parts of a word come early or late
LATEST = 0.5  # seconds of silence before the word
ROOMS = (0.1, 0.7)  # seconds until an echo has faded by 60 dB
ECHO = (-20.0, 0.0)  # dB, echo against direct sound
TILT = 6.0  # dB at either end of the band: dull or sharp microphones
COLOUR = 4.0  # dB of smaller bumps
GATE = (-40.0, -6.0)  # dB below the loudest frame: what is quieter, before and after the word, was cut off
SNR = (3.0, 40.0)  # dB, the loudest frame against the noise
MASKS = 2  # of each kind, as in SpecAugment
MASK_BINS, MASK_SECONDS = 1 / 6, 0.1  # the widest


class Augment:
    """The parts of augmentation that `recipe.augment` names, called by `LogMel` while a classifier trains, and for more views of a clip (`evaluation.predict`).

    voice: vocal tract, tempo, onset. cut: a word's quiet beginning and end gone. room: an echo. band: the microphone's
    colour. noise: of any colour and level. mask: SpecAugment (Park et al. 2019). Draws come from PyTorch's generator of
    the device.
    """

    def __init__(self, recipe: Recipe):
        self.parts = set(AUGMENTATIONS if recipe.augment == "all" else recipe.augment.split("+"))
        self.frame = recipe.hop / recipe.sample_rate  # seconds
        self.bin = recipe.sample_rate / recipe.window  # hertz
        bins, frames = math.ceil(recipe.n_mels * MASK_BINS), math.ceil(MASK_SECONDS / self.frame)
        self.masks = [FrequencyMasking(bins, iid_masks=True), TimeMasking(frames, iid_masks=True)] * MASKS

    def spectrum(self, power: torch.Tensor) -> torch.Tensor:
        """Another voice: power [batch, frames, frequencies] with both axes bent."""
        if "voice" not in self.parts:
            return power
        count, frames, bins = power.shape
        between = _drawer(power)
        time = torch.arange(frames, device=power.device)
        onset = LATEST * between(0, 1) ** 2 / self.frame - 1
        wave = torch.sin(2 * math.pi * (time / frames * between(1, 3) + between(0, 1)))
        from_time = (time - onset) * torch.exp(between(-STRETCH, STRETCH)) + between(0, DRIFT / self.frame) * wave
        place = torch.arange(bins, device=power.device)
        bump = torch.sin(2 * math.pi * (place / bins + between(0, 1))) * (4 * place / bins).clamp(max=1)
        from_place = place * torch.exp(between(-WARP, WARP)) + between(-FORMANT, FORMANT) / self.bin * bump
        grid = torch.stack(
            [
                (from_place * 2 / (bins - 1) - 1)[:, None, :].expand(count, frames, bins),
                (from_time * 2 / (frames - 1) - 1)[:, :, None].expand(count, frames, bins),
            ],
            dim=-1,
        )
        return F.grid_sample(power[:, None], grid, align_corners=True)[:, 0]

    def mel(self, power: torch.Tensor) -> torch.Tensor:
        """Other surroundings: mel power [batch, frames, n_mels] with echo, colour and noise."""
        frames, bins = power.shape[1:]
        draw = _drawer(power)

        def between(low: float, high: float, values: int = 1) -> torch.Tensor:
            return draw(low, high, values)[:, None, :]

        def bumps(points: int, decibels: float) -> torch.Tensor:
            return F.interpolate(between(-decibels, decibels, points), bins, mode="linear", align_corners=True)

        def word(gate) -> tuple[torch.Tensor, torch.Tensor]:
            """The first and the last frame [batch, 1, 1] that is louder than a gate in dB below the loudest."""
            level = power.mean(dim=2, keepdim=True)
            loud = level >= level.amax(dim=1, keepdim=True) * _decibels(gate)
            return torch.where(loud, time, frames).amin(1, keepdim=True), (loud * time).amax(1, keepdim=True)

        across = torch.linspace(-1, 1, bins, device=power.device)
        time = torch.arange(frames, device=power.device)[None, :, None]
        if "cut" in self.parts:
            first, last = word(between(*GATE))
            whole = between(0, 1) < 0.4
            power = power * (((time >= first) & (time <= last)) | whole)
        if "room" in self.parts:
            later = (time - time.transpose(1, 2)).clamp(min=0)  # frames from one to another
            echo = torch.tril((10 ** (-6 * self.frame / between(*ROOMS))) ** later) @ power
            power = power + _decibels(between(*ECHO)) * (between(0, 1) < 0.3) * echo
        if "band" in self.parts:
            power = power * _decibels(between(-TILT, TILT) * across + bumps(6, COLOUR))
        if "noise" in self.parts:
            colour = _decibels(between(-12, 12) * across + bumps(5, 5.0))
            # The power of Gaussian noise in one bin is exponentially distributed.
            noise = torch.empty_like(power).exponential_() * colour / colour.mean(dim=2, keepdim=True)
            # Some recordings were cut out tightly, and silence was put around them: there is no noise in that.
            first, last = word(torch.tensor(-40.0, device=power.device))
            there = (time >= first - between(0, 0.15) / self.frame) & (time <= last + between(0, 0.3) / self.frame)
            there = (there | (between(0, 1) < 0.5)) & (between(0, 1) < 0.8)
            loudest = power.mean(dim=2, keepdim=True).amax(dim=1, keepdim=True)
            power = power + loudest * _decibels(-between(*SNR)) * noise * there
        return power

    def picture(self, picture: torch.Tensor) -> torch.Tensor:
        """Parts of log-mel pictures [batch, 1, n_mels, frames] taken out."""
        if "mask" in self.parts:
            mean = picture.mean(dim=(2, 3), keepdim=True)
            picture = picture - mean
            for mask in self.masks:
                picture = mask(picture)
            picture = picture + mean
        return picture


def _drawer(power: torch.Tensor):
    def between(low: float, high: float, values: int = 1) -> torch.Tensor:
        return low + (high - low) * torch.rand(len(power), values, device=power.device)

    return between


def _decibels(value: torch.Tensor) -> torch.Tensor:
    return 10 ** (value / 10)
