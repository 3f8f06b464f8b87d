"""What an exported network weighs, how long a clip takes and how well it reads, beside the same in PyTorch."""

import contextlib
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from spokendigits.classifier import Classifier
from spokendigits.clips import Clips, make_clips
from spokendigits.corpora.corpus import Corpus
from spokendigits.intervals import accuracy, interval
from spokendigits.recipe import Recipe
from spokendigits.topics.onnx_reader import OnnxClassifier, load_onnx
from spokendigits.topics.onnx_writer import FILES, _by_onnx, _by_torch, write_onnx

CALIBRATION = 256  # clips that show the range of numbers in a network
TURNS, IN_A_ROW = 20, 5  # how often each network has its turn when they are timed, and how many clips it then reads


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def latency(networks: dict[str, Classifier | OnnxClassifier], waveforms: np.ndarray) -> dict[str, dict[str, float]]:
    """Milliseconds from one waveform to its answer, frontend included, on one core: median, low and high (quartiles).

    waveforms: for each name, clips [n, samples] of its recipe; or one array for all. The networks take turns, so that
    whatever else the machine does meanwhile, it does to all of them. Load models with `load_onnx(path, threads=1)`.
    """
    taken = {name: [] for name in networks}
    with _one_thread(), torch.inference_mode():
        for turn in range(TURNS + 1):
            for name, network in networks.items():
                clips = waveforms[name] if isinstance(waveforms, dict) else waveforms
                for number in range(IN_A_ROW):
                    clip = clips[(turn * IN_A_ROW + number) % len(clips)][None]
                    given = torch.from_numpy(clip) if isinstance(network, Classifier) else clip
                    started = time.perf_counter()
                    network(given)
                    if turn:  # the first one warms up
                        taken[name].append(1000 * (time.perf_counter() - started))
    return {
        name: dict(zip(("low", "median", "high"), statistics.quantiles(times, n=4), strict=True))
        for name, times in taken.items()
    }


def study(
    models: dict[str, Classifier],
    clips: Clips,
    corpus: Corpus,
    rows: np.ndarray,
    calibration: np.ndarray | None = None,
    progress: bool = True,
) -> dict[str, dict]:
    """Each model in PyTorch and as ONNX with 32 and with 8 bits: what it weighs, how long a clip takes, how well it reads.

    rows: of the corpus, to read. calibration: other rows, for the ranges of int8 (None: CALIBRATION of the remaining
    digits). A model whose recipe wants other clips gets its own. The models are moved to the CPU, and set to evaluate.
    Returns a row for each, under names such as "resnet50 int8", of plain JSON: model, precision ("PyTorch", "fp32",
    "int8"), bytes, size_mb, milliseconds (median on one core, frontend included) with low and high quartile, speedup
    (against the first model in PyTorch), speedup_own (against the same model in PyTorch), accuracy with low and high
    (`evaluation.interval`), clips, and largest_difference of a log-probability from the same model in PyTorch.
    Raises CourseError if no clips are left to calibrate with.
    """
    if calibration is None:
        rest = np.setdiff1d(np.flatnonzero(corpus.table["digit"] >= 0), rows)
        calibration = np.sort(np.random.default_rng(0).permutation(rest)[:CALIBRATION])
    facts = corpus.table.iloc[rows][["digit", "speaker"]].reset_index(drop=True)
    found, networks, heard = {}, {}, {}
    with tempfile.TemporaryDirectory() as folder:
        for name, classifier in models.items():
            classifier.cpu().eval()
            own = _fitting(clips, corpus, classifier.recipe, progress)
            waveforms, known = own.read(rows), None
            for precision in ("PyTorch", *FILES):
                path = Path(folder) / f"{len(networks)}"
                if precision == "PyTorch":
                    classifier.save(path)
                    network = classifier
                    answers = known = _by_torch(classifier, waveforms, progress)
                else:
                    write_onnx(classifier, path, precision, calibration=own.read(calibration))
                    answers = _by_onnx(load_onnx(path), waveforms, progress)
                    network = load_onnx(path, threads=1)
                table = facts.assign(predicted=answers.argmax(axis=1))
                low, high = interval(table)
                row = f"{name} {precision}"
                networks[row], heard[row] = network, waveforms
                found[row] = {
                    "model": name,
                    "precision": precision,
                    "bytes": path.stat().st_size,
                    "size_mb": path.stat().st_size / 1e6,
                    "accuracy": accuracy(table),
                    "low": low,
                    "high": high,
                    "clips": len(table),
                    "largest_difference": float(np.abs(answers - known).max()),
                }
        times = latency(networks, heard)
    first = times[next(iter(times))]["median"]
    for row, its in times.items():
        own = times[f"{found[row]['model']} PyTorch"]["median"]
        found[row] |= {
            "milliseconds": its["median"],
            "milliseconds_low": its["low"],
            "milliseconds_high": its["high"],
            "speedup": first / its["median"],
            "speedup_own": own / its["median"],
        }
    return found


def _fitting(clips: Clips, corpus: Corpus, recipe: Recipe, progress: bool) -> Clips:
    same = (clips.sample_rate, clips.audio.shape[1]) == (recipe.sample_rate, recipe.samples)
    return clips if same else make_clips(corpus, recipe, progress=progress)
