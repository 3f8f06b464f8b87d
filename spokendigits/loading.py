"""From `Clips` on disk to batches on the device that computes. Chapter 3."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

from spokendigits.clips import Clips
from spokendigits.corpora.corpus import Corpus

BLOCK = 4096  # clips moved to a GPU at a time


class Loader:
    """Batches of clips and their digits, on a device.

    A GPU takes all clips at once, as int16, if they fill at most half of its free memory (1.3 GB for all 30,000). Else, and
    on a CPU, a thread reads the next batch while this one is computed.
    """

    def __init__(self, clips: Clips, corpus: Corpus, device: torch.device):
        self.clips, self.device = clips, device
        self.digit = torch.tensor(corpus.table["digit"].to_numpy(), device=device)
        self.held = self._hold() if device.type == "cuda" else None

    def _hold(self) -> torch.Tensor | None:
        shape = self.clips.audio.shape
        if 2 * shape[0] * shape[1] > torch.cuda.mem_get_info(self.device)[0] // 2:
            return None
        held = torch.empty(shape, dtype=torch.int16, device=self.device)
        for first in range(0, len(held), BLOCK):
            rows = np.arange(first, min(first + BLOCK, len(held)))
            held[first : first + BLOCK] = torch.from_numpy(self.clips.read(rows))
        return held

    def read(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """The clips int16 [rows, samples] and digits int64 [rows] of an array of row numbers."""
        index = torch.from_numpy(rows).to(self.device)
        audio = torch.from_numpy(self.clips.read(rows)).to(self.device) if self.held is None else self.held[index]
        return audio, self.digit[index]

    def each(self, batches: Iterable[np.ndarray]) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """`read` for one array of row numbers after another."""
        if self.held is not None:
            yield from map(self.read, batches)
            return
        with ThreadPoolExecutor(1) as thread:
            ahead = None
            for rows in batches:
                ready, ahead = ahead, thread.submit(self.read, rows)
                if ready:
                    yield ready.result()
            if ahead:
                yield ahead.result()
