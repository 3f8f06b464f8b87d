"""What an exported network weighs, how long a clip takes and how well it reads, beside the same in PyTorch."""

import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from spokendigits.classifier import Classifier
from spokendigits.intervals import score
from spokendigits.topics.onnx_reader import OnnxClassifier, load_onnx
from spokendigits.topics.onnx_writer import FILES, parity, write_onnx
from studies.trainings import Trainings

TURNS, IN_A_ROW = 20, 5  # how often each network has its turn when they are timed, and how many clips it then reads
AT_ONCE = 64  # clips that an exported model reads


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def latency(networks: dict[str, Callable], waveforms: np.ndarray) -> dict[str, dict[str, float]]:
    """Milliseconds from one waveform to its answer, frontend included, on one core: median, low and high (quartiles).

    networks: classifiers, or models from `load_onnx(path, threads=1)`. waveforms: clips [n, samples]. The networks take
    turns, so that whatever else the machine does meanwhile, it does to all of them.
    """
    times = {name: [] for name in networks}
    with _one_thread(), torch.inference_mode():
        for turn in range(TURNS + 1):
            for name, network in networks.items():
                for number in range(IN_A_ROW):
                    clip = waveforms[(turn * IN_A_ROW + number) % len(waveforms)][None]
                    given = torch.from_numpy(clip) if isinstance(network, Classifier) else clip
                    started = time.perf_counter()
                    network(given)
                    if turn:  # the first one warms up
                        times[name].append(1000 * (time.perf_counter() - started))
    return {
        name: dict(zip(("low", "median", "high"), statistics.quantiles(taken, n=4), strict=True))
        for name, taken in times.items()
    }


def read_onnx(trainings: Trainings, model: OnnxClassifier, rows: np.ndarray) -> pd.DataFrame:
    """The rows of a corpus as an exported model reads them: its columns, and `predicted`."""
    parts = [rows[first : first + AT_ONCE] for first in range(0, len(rows), AT_ONCE)]
    predicted = np.concatenate([model(trainings.clips.read(part))[0].argmax(axis=1) for part in parts])
    return trainings.corpus.table.iloc[rows].assign(predicted=predicted)


def measure(
    models: dict[str, Classifier], trainings: Trainings, rows: np.ndarray, calibration: np.ndarray
) -> list[dict]:
    """Each model in PyTorch and as ONNX with 32 and with 8 bits: what it weighs, how long a clip takes, how well it reads.

    rows: of the corpus, to read. calibration: clips [n, samples], for the ranges of int8. The models are moved to the CPU, and set
    to evaluate. Returns rows of plain JSON: model, precision ("PyTorch", "fp32", "int8"), bytes, size_mb, milliseconds
    (median on one core, frontend included) with low and high quartile, speedup (against the first model in PyTorch),
    speedup_own (against the same model in PyTorch), accuracy with low and high (`intervals.interval`), clips, and
    largest_difference of a log-probability from the same model in PyTorch.
    """
    measured, networks = [], {}
    waveforms = trainings.clips.read(rows)
    with tempfile.TemporaryDirectory() as folder:
        for name, classifier in models.items():
            classifier.cpu().eval()
            for precision in ("PyTorch", *FILES):
                path = Path(folder) / f"{len(networks)}"
                if precision == "PyTorch":
                    classifier.save(path)
                    network, table, differs = classifier, trainings.read(classifier, rows), 0.0
                else:
                    write_onnx(classifier, path, precision, calibration=calibration)
                    network, model = load_onnx(path, threads=1), load_onnx(path)
                    table, differs = read_onnx(trainings, model, rows), parity(classifier, model, waveforms)
                networks[name, precision] = network
                facts = {key: value for key, value in score(table).items() if key != "speakers"}
                size = {"bytes": path.stat().st_size, "size_mb": path.stat().st_size / 1e6}
                measured.append({"model": name, "precision": precision, **size, **facts, "largest_difference": differs})
        times = latency(networks, waveforms)
    medians = {key: taken["median"] for key, taken in times.items()}
    for row in measured:
        taken = times[row["model"], row["precision"]]
        row |= {
            "milliseconds": taken["median"],
            "milliseconds_low": taken["low"],
            "milliseconds_high": taken["high"],
            "speedup": next(iter(medians.values())) / taken["median"],
            "speedup_own": medians[row["model"], "PyTorch"] / taken["median"],
        }
    return measured
