"""`write_onnx`: a classifier as one ONNX file, from waveform to answer. Chapter 7, and `spokendigits export`.

PyTorch exports the whole of it. ONNX Runtime and ONNX Runtime Web know all of its operators.
"""

import copy
import json
import math
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxscript.optimizer
import pandas as pd
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from onnx import helper
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import nn

from spokendigits import __version__
from spokendigits.classifier import Classifier
from spokendigits.corpora.corpus import DIGITS
from spokendigits.errors import CourseError, check_names
from spokendigits.files import atomic_file
from spokendigits.frontend import LogMel, to_float
from spokendigits.losses import digit_score
from spokendigits.plots import describe, figure, interval_words, looks
from spokendigits.topics.onnx_reader import ENTRY, INPUT, OUTPUTS, OnnxClassifier

OPSET, IR = 18, 8  # of ONNX 1.13: old enough for any runtime that a reader may have
FILES = {"fp32": "digits.onnx", "int8": "digits-int8.onnx"}
LABELS = [str(digit) for digit in range(DIGITS)]
AT_ONCE = 32  # clips


def write_onnx(
    classifier: Classifier,
    path: Path | str,
    precision: str = "fp32",
    threshold: float | None = None,
    calibration: np.ndarray | None = None,
    sha256: str | None = None,
) -> Path:
    """Writes a classifier as one ONNX file, whole or not at all, and returns its path. The classifier stays as it is.

    Input: "waveform", float32 [batch, samples] in -1..1. Outputs: "log_probabilities", float32 [batch, 10] (of
    `losses.probabilities`), "score", float32 [batch] (`losses.digit_score`), and "picture", float32
    [batch, 1, n_mels, frames] (`LogMel`). The metadata's entry "spokendigits" is JSON: recipe, labels, weights, threshold
    (a score below it: no digit), sha256 (of the safetensors file it came from) and version.

    precision: "fp32", or "int8": the backbone's convolutions have weights of 8 bits, for each channel its own scale, and
    inputs of 8 bits, whose ranges are those on the `calibration` clips, float32 or int16 [n, samples]. The frontend and
    the last layer stay in float32. Raises CourseError for int8 without calibration, or a backbone that cannot be exported.
    """
    check_names([precision], list(FILES), "export: unknown precision")
    if threshold is not None and not math.isfinite(threshold):
        raise CourseError(f"export: a threshold of {threshold} is no score. Give a number.")
    if precision == "int8" and (calibration is None or not len(calibration)):
        raise CourseError("export: int8 needs some clips to see how large numbers get. Give them as calibration.")
    recipe = classifier.recipe
    with tempfile.TemporaryDirectory() as folder:
        file = _exported(classifier, Path(folder, "plain.onnx"))
        model = onnx.load(file if precision == "fp32" else _quantized(file, np.asarray(calibration)))
    model.producer_name, model.producer_version, model.ir_version = "spokendigits", __version__, IR
    for part in (model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer):
        # Where in PyTorch's source, and in which folder of this machine, it came from.
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    facts = {"recipe": recipe.to_share().to_dict(), "labels": LABELS, "weights": classifier.weights}
    facts |= {"threshold": None if threshold is None else float(threshold), "sha256": sha256, "version": __version__}
    helper.set_model_props(model, {ENTRY: json.dumps(facts)})
    onnx.checker.check_model(model, full_check=True)
    with atomic_file(path) as temporary:
        temporary.write_bytes(model.SerializeToString(deterministic=True))
    return Path(path)


class _Whole(nn.Module):
    """What is exported of a classifier: waveforms to log-probabilities, scores and pictures."""

    def __init__(self, classifier: Classifier):
        super().__init__()
        self.frontend, self.loss = LogMel(classifier.recipe), classifier.recipe.loss
        # A copy: the exporter rewrites what it is given.
        self.backbone = (
            copy.deepcopy(classifier.backbone).cpu().float().eval().to(memory_format=torch.contiguous_format)
        )
        # Nearly all of the filters is 0. The file holds the rest, and the runtime puts it in its places.
        filters = self.frontend.filters.T.flatten()
        places = filters.nonzero()[:, 0]
        for name, values in {"places": places, "values": filters[places], "nothing": torch.zeros(1)}.items():
            self.register_buffer(name, values)

    def forward(self, waveform: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        count, bins = self.frontend.filters.shape
        filters = self.nothing.expand(count * bins).scatter(0, self.places, self.values).view(bins, count)
        # As `LogMel.forward`, whose loop over a few clips at a time no graph can hold.
        picture = self.frontend.decibels((filters @ self.frontend.spectrogram(waveform)).unsqueeze(1))
        if self.frontend.normalize:
            centred = picture - picture.mean(dim=(2, 3), keepdim=True)
            picture = centred / (picture.std(dim=(2, 3), keepdim=True) + 1e-5)
        logits = self.backbone(picture)
        return log_likelihood(logits, self.loss), digit_score(logits, self.loss), picture


def _exported(classifier: Classifier, path: Path) -> Path:
    recipe, whole = classifier.recipe, _Whole(classifier)
    try:
        with warnings.catch_warnings(action="ignore"):
            program = torch.onnx.export(
                whole,
                (torch.zeros(2, recipe.samples),),
                dynamo=True,
                input_names=[INPUT],
                output_names=OUTPUTS,
                opset_version=OPSET,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                verbose=False,
                optimize=False,
            )
            # Batch norms become part of the convolutions before them; what is large once computed is not stored.
            onnxscript.optimizer.optimize(program.model, input_size_limit=1000, output_size_limit=5000)
    except torch.onnx.OnnxExporterError as error:
        first = str(error).strip().splitlines()[0]
        raise CourseError(
            f"export: PyTorch cannot write {recipe.backbone} as ONNX ({first}). Choose another backbone."
        ) from None
    onnx.save(program.model_proto, path)
    return path


def _quantized(plain: Path, calibration: np.ndarray) -> Path:
    path, batches = plain.with_name("int8.onnx"), _batches(to_float(torch.from_numpy(calibration)).numpy())

    class Waveforms(CalibrationDataReader):
        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(batches, None)
            return None if batch is None else {INPUT: batch}

    # The network sees the picture in 8 bits; the one that is returned is another.
    model = onnx.load(plain)
    nodes = model.graph.node
    readers = [place for place, node in enumerate(nodes) if "picture" in node.input]
    for place in readers:
        nodes[place].input[:] = ["seen" if name == "picture" else name for name in nodes[place].input]
    nodes.insert(readers[0], helper.make_node("Identity", ["picture"], ["seen"]))
    quant_pre_process(model, path, skip_optimization=True, skip_symbolic_shape=True)
    # Seven bits for weights: with eight, the sums of a processor without VNNI overflow, and its answers are others.
    types = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8, "reduce_range": True}
    quantize_static(path, path, Waveforms(), op_types_to_quantize=["Conv"], per_channel=True, **types)
    return path


def log_likelihood(logits: torch.Tensor, loss: str) -> torch.Tensor:
    """The logarithms of `losses.probabilities`, of logits [batch, 10] and in their precision."""
    return (F.logsigmoid(logits) if loss == "bce" else logits).log_softmax(dim=1)


def parity(classifier: Classifier, model: OnnxClassifier, waveforms: np.ndarray) -> float:
    """The largest difference of a log-probability between a classifier and its exported model; see `log_probabilities`."""
    return float(np.abs(log_probabilities(classifier, waveforms) - log_probabilities(model, waveforms)).max())


def log_probabilities(network: Classifier | OnnxClassifier, waveforms: np.ndarray) -> np.ndarray:
    """What a network, exported or not, says of clips: float [n, 10].

    waveforms: [n, samples], float in -1..1 or int16; as many as there are, for they are read AT_ONCE at a time. A classifier
    reads them where it is, in its own mode, without half precision, and its answers are float64.
    """
    if isinstance(network, OnnxClassifier):
        return np.concatenate([network(batch)[0] for batch in _batches(waveforms)])
    device = next(network.parameters()).device
    with torch.inference_mode():
        logits = torch.cat([network(torch.from_numpy(batch).to(device)) for batch in _batches(waveforms)]).double()
        return log_likelihood(logits, network.recipe.loss).cpu().numpy()


def _batches(waveforms: np.ndarray) -> Iterator[np.ndarray]:
    return (waveforms[first : first + AT_ONCE] for first in range(0, len(waveforms), AT_ONCE))


def draw_sizes(scores: pd.DataFrame) -> Figure:
    """Accuracy against the size of a model's file: a row for each model by its name, with bytes, accuracy, low, high (shares)."""
    fig, ax = figure(8, 3.6)
    parts = []
    for (name, row), (colour, marker, _) in zip(scores.iterrows(), looks(), strict=False):
        size = row["bytes"] / 1e6
        ax.vlines(size, 100 * row["low"], 100 * row["high"], color=colour, linewidth=1.2)
        ax.plot(size, 100 * row["accuracy"], marker, color=colour, markersize=8, label=name)
        parts.append(f"{name}: {size:.2g} MB, {row['accuracy']:.1%} {interval_words(row)}")
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter("{x:g}")
    ax.xaxis.set_minor_formatter("")
    ax.set(xlabel="size of the file in megabytes", ylabel="accuracy in per cent")
    fig.legend(loc="outside lower center", ncols=3)
    alt = (
        f"Accuracy, with 95 % intervals, against the size of a model's file on a logarithmic axis. {'; '.join(parts)}."
    )
    return describe(
        fig, alt, "The further to the left a point lies, the smaller is its file; its line is the 95 % interval."
    )
