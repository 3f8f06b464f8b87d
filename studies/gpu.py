"""The seed experiment on one CUDA GPU, and what each part of a step costs there: book/results/gpu.json.

    python -m studies.gpu

The whole training is the course's own (`training.train`). The parts, and two ways to launch a step with less waiting (CUDA
graphs, `torch.compile`), are timed apart on the same clips, so that a way is kept only if it pays.
"""

import os
import sys
import tempfile
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F

from spokendigits import corpora, lanes
from spokendigits.classifier import create
from spokendigits.clips import make_clips
from spokendigits.devices import device_name
from spokendigits.files import read_json
from spokendigits.loading import Loader
from spokendigits.losses import losses
from spokendigits.recipe import Recipe
from spokendigits.splits import split
from spokendigits.training import batches, train
from studies import results
from studies.results import Stopwatch

STEPS, WARM_UP = 200, 20


def milliseconds(work: Callable[[], object]) -> float:
    """Mean time of one call on the GPU, gaps between its kernels included."""
    for _ in range(WARM_UP):
        work()
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize()
    start.record()
    for _ in range(STEPS):
        work()
    end.record()
    torch.cuda.synchronize()
    return start.elapsed_time(end) / STEPS


class Step:
    """One training step on clips that lie on the GPU, with no look back at the computer: it can be captured."""

    def __init__(self, recipe: Recipe, loader: Loader, rows: np.ndarray, compiled: bool = False):
        torch.manual_seed(recipe.seed)
        self.recipe, self.loader = recipe, loader
        self.classifier = create(recipe.but(weights="none")).cuda().train()
        self.classifier.backbone.to(memory_format=torch.channels_last)
        self.backbone = torch.compile(self.classifier.backbone) if compiled else self.classifier.backbone
        # A captured step takes its rate from the GPU's memory.
        rate = torch.tensor(recipe.learning_rate, device="cuda")
        self.optimizer = torch.optim.AdamW(
            self.classifier.parameters(), lr=rate, weight_decay=recipe.weight_decay, fused=True, capturable=True
        )
        self.index = torch.from_numpy(rows).cuda()

    def gather(self) -> torch.Tensor:
        return self.loader.held[self.index]

    def pictures(self) -> torch.Tensor:
        return self.classifier.frontend(self.gather())

    def forward(self) -> torch.Tensor:
        # Without its cache, whose half-precision weights a captured step would keep for ever.
        with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
            logits = self.backbone(self.pictures())
        target = F.one_hot(self.loader.digit[self.index], 10).float()
        return losses(logits.float(), target, self.recipe.loss).mean()

    def backward(self) -> torch.Tensor:
        self.optimizer.zero_grad()
        loss = self.forward()
        loss.backward()
        return loss

    def __call__(self) -> torch.Tensor:
        loss = self.backward()
        self.optimizer.step()
        return loss.detach()


def captured(step: Step) -> Callable[[], None]:
    """The step as one CUDA graph: its kernels are launched together, with no gaps between them."""
    aside = torch.cuda.Stream()
    aside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(aside):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(aside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return graph.replay


def costs(recipe: Recipe, loader: Loader, rows: np.ndarray) -> dict[str, float]:
    """Milliseconds of each part of a step, each with all before it, and of the whole step launched in three ways."""
    step = Step(recipe, loader, rows)
    parts = {
        "clips": milliseconds(step.gather),
        "clips and pictures": milliseconds(step.pictures),
        "and forward": milliseconds(step.forward),
        "and backward": milliseconds(step.backward),
        "whole step": milliseconds(step),
    }
    ways = {
        "whole step, CUDA graph": lambda: captured(Step(recipe, loader, rows)),
        "whole step, compiled": lambda: Step(recipe, loader, rows, compiled=True),
        "whole step, compiled, CUDA graph": lambda: captured(Step(recipe, loader, rows, compiled=True)),
    }
    for name, way in ways.items():
        try:
            parts[name] = milliseconds(way())
        except Exception as error:  # one way that does not work here must not hide the others
            print(f"{name}: {type(error).__name__}: {str(error).splitlines()[0]}", file=sys.stderr)
    return parts


def main() -> int:
    if not torch.cuda.is_available():
        print("error: no CUDA GPU here. On a CPU, `make bench` measures the same training.", file=sys.stderr)
        return 2
    recipe = Recipe.preset("seed").but(corpus="synthetic", weights="none")
    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as home:
        os.environ["SPOKENDIGITS_HOME"] = home
        corpus = corpora.load("synthetic")
        watch.done("corpus")
        clips = make_clips(corpus, recipe)
        watch.done("clips")
        parts = split(corpus, recipe.split, recipe.folds, recipe.fold, recipe.seed)
        folder = lanes.run_folder("gpu", "full", "synthetic")
        train(recipe, corpus, clips, parts, folder)
        torch.cuda.synchronize()
        watch.done("training with validation")
        run, metrics = read_json(folder / lanes.RUN), read_json(folder / "metrics.json")
        loader = Loader(clips, corpus, torch.device("cuda"))
        watch.done("clips to the GPU, again")
        parts_ms = costs(recipe, loader, batches(parts.train, recipe, 0)[0])
    for unit, times in {"s": watch.seconds, "ms": parts_ms}.items():
        for name, time in times.items():
            print(f"{f'{name} ({unit})':45} {time:9.3f}")
    today = results.versions_and_time()
    measured = {
        "seconds": watch.seconds,
        "milliseconds": parts_ms,
        "metrics": metrics,
        "made": run,
        "device": device_name(torch.device("cuda")),
        **today,
        "versions": {**today["versions"], "cuda": torch.version.cuda},
    }
    results.write("gpu", measured)
    print(f"written: {results.place('gpu')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
