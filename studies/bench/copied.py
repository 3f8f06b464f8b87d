"""What the course is measured against: the loops that tutorials show, with librosa and with torchaudio, in float32."""

import librosa
import soundfile
import timm
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, Dataset
from torchaudio.transforms import Resample

from spokendigits.corpora.corpus import Corpus
from spokendigits.recipe import Recipe
from studies.bench.pictures import FILE_RATE, librosa_picture, torchaudio_picture

WORKERS = 2


class LibrosaClips(Dataset):
    """A picture [1, n_mels, frames] and its digit for each file, made when it is asked for."""

    def __init__(self, corpus: Corpus, recipe: Recipe):
        self.paths = [str(corpus.root / path) for path in corpus.table["path"]]
        self.digits = corpus.table["digit"].tolist()
        self.recipe = recipe

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        audio, _ = librosa.load(self.paths[row], sr=self.recipe.sample_rate)
        audio = librosa.util.fix_length(audio, size=self.recipe.samples)
        return torch.from_numpy(librosa_picture(audio, self.recipe))[None], self.digits[row]


class TorchaudioClips(LibrosaClips):
    """The same with torchaudio's transforms. `torchaudio.load` needs one more package by now, so soundfile reads."""

    def __init__(self, corpus: Corpus, recipe: Recipe):
        super().__init__(corpus, recipe)
        self.resample = Resample(FILE_RATE, recipe.sample_rate)
        self.picture = torchaudio_picture(recipe)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        audio, _ = soundfile.read(self.paths[row], dtype="float32")
        waveform = self.resample(torch.from_numpy(audio)[None])[:, : self.recipe.samples]
        waveform = F.pad(waveform, (0, self.recipe.samples - waveform.shape[1]))
        return self.picture(waveform), self.digits[row]


def network(recipe: Recipe) -> nn.Module:
    """Pictures [batch, 1, n_mels, frames] to logits [batch, 10]: the course's network, from random weights."""
    return timm.create_model(recipe.backbone, in_chans=1, num_classes=10)


def train(dataset: Dataset, recipe: Recipe, device: torch.device) -> nn.Module:
    """Trains for `recipe.epochs` and returns the network."""
    model = network(recipe).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=recipe.learning_rate)
    batches = DataLoader(dataset, batch_size=recipe.batch_size, shuffle=True, num_workers=WORKERS)
    for _ in range(recipe.epochs):
        for picture, digit in batches:
            target = F.one_hot(digit.to(device), 10).float()
            loss = F.binary_cross_entropy_with_logits(model(picture.to(device)), target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


def predict(model: nn.Module, dataset: Dataset, device: torch.device) -> torch.Tensor:
    """Logits [n, 10] for every clip of a data set."""
    model.to(device).eval()
    batches = DataLoader(dataset, batch_size=128, num_workers=WORKERS)
    with torch.no_grad():
        return torch.cat([model(picture.to(device)).cpu() for picture, _ in batches])
