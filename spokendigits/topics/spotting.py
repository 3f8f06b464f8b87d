"""`Spotter`: which digits are said in a recording of any length, which words are none, and when. Chapter 7.

The speech embedding of chapter 3 gives 96 numbers every 80 milliseconds. Two convolutions over time turn them into the
chances of twelve symbols: the ten digits, another word, and the blank, which stands between words and in silence. They
are taught by CTC (Graves et al. 2006), which is told what was said and not when.
"""

import torch
import torch.nn.functional as F
from torch import nn

from spokendigits.augmentation import Augment
from spokendigits.classifier import create
from spokendigits.frontend import LogMel
from spokendigits.recipe import Recipe
from spokendigits.topics.decoding import BLANK, SYMBOLS

WIDTH, KERNEL, DROPOUT = 128, 3, 0.3


class Spotter(nn.Module):
    """Waveforms [batch, samples] (as of `LogMel`) to logarithms of the symbols' chances, [batch, steps, SYMBOLS]."""

    def __init__(self, recipe: Recipe | None = None, dropout: float = DROPOUT):
        super().__init__()
        self.recipe = recipe or Recipe.preset("speech")
        self.frontend, self.embedding = LogMel(self.recipe), create(self.recipe).backbone
        self.embedding.to(memory_format=torch.channels_last)  # half as fast without, on any device
        features = self.embedding.feature_info[0]["num_chs"]
        self.head = nn.Sequential(
            nn.BatchNorm1d(features),
            nn.Dropout(dropout),
            nn.Conv1d(features, WIDTH, KERNEL, padding=KERNEL // 2),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Conv1d(WIDTH, SYMBOLS, KERNEL, padding=KERNEL // 2),
        )

    def embed(self, waveform: torch.Tensor, augment: Augment | None = None) -> torch.Tensor:
        """The speech embedding, [batch, 96, steps]; step i hears around 0.08 i - 0.06 seconds."""
        return self.embedding.forward_features(self.frontend(waveform, augment))[:, :, 0]

    def forward(self, waveform: torch.Tensor, augment: Augment | None = None) -> torch.Tensor:
        return F.log_softmax(self.head(self.embed(waveform, augment)).mT, dim=2)


def ctc(logarithms: torch.Tensor, said: list[list[int]]) -> torch.Tensor:
    """The loss of each recording, [batch]: how unlikely its symbols are, in their order, at whatever times."""
    lengths = torch.tensor([len(symbols) for symbols in said])
    symbols = torch.tensor([symbol for line in said for symbol in line], dtype=torch.long, device=logarithms.device)
    steps = torch.full((len(said),), logarithms.shape[1])
    return F.ctc_loss(logarithms.transpose(0, 1), symbols, steps, lengths, BLANK, reduction="none", zero_infinity=True)
