"""`write_onnx`: a classifier as one ONNX file, from waveform to answer. Chapter 7, and `spokendigits export`.

The file has three parts. The frontend is written out in ONNX's own text form (the folder onnx_graphs); PyTorch exports the
backbone; a few operators turn its logits into log-probabilities. ONNX Runtime and ONNX Runtime Web know all of them.
"""

import copy
import json
import math
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from string import Template

import numpy as np
import onnx
import pandas as pd
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure
from onnx import helper, numpy_helper
from onnx.compose import add_prefix_graph
from onnx.parser import parse_graph
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import nn

from spokendigits import __version__
from spokendigits.classifier import Classifier
from spokendigits.corpora.corpus import DIGITS
from spokendigits.errors import CourseError, check_names
from spokendigits.files import atomic_file
from spokendigits.frontend import LogMel
from spokendigits.plots import describe, figure, interval_words, looks
from spokendigits.recipe import Recipe
from spokendigits.topics.onnx_reader import ENTRY, OnnxClassifier
from spokendigits.topics.spotting import Spotter

OPSET, IR = 18, 8  # of ONNX 1.13: old enough for any runtime that a reader may have
FILES = {"fp32": "digits.onnx", "int8": "digits-int8.onnx"}
LABELS = [str(digit) for digit in range(DIGITS)]
AT_ONCE = 32  # clips
GRAPHS = Path(__file__).with_name("onnx_graphs")


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
        backbone = _exported(classifier.backbone, recipe, ["logits"], Path(folder))
        if precision == "int8":
            backbone = _quantized(Path(folder) / "folded.onnx", recipe, np.asarray(calibration))
        model = _joined(_frontend(classifier.frontend, recipe), backbone, _graph(recipe.loss))
    facts = {"weights": classifier.weights, "threshold": None if threshold is None else float(threshold)}
    return _write(model, path, recipe, facts | {"sha256": sha256})


def write_spotter(spotter: Spotter, path: Path | str, threshold: float, sha256: str | None, taught: str) -> Path:
    """Writes a spotter as one ONNX file, whole or not at all, and returns its path. The spotter stays as it is.

    taught: by whom, for the metadata's `weights`.

    Input: "waveform", float32 [batch, samples] in -1..1, of any length. Outputs: "log_probabilities", float32
    [batch, steps, 12] (`decoding`), "embedding", float32 [batch, steps, 96], and "picture", float32
    [batch, 1, n_mels, frames]. The metadata is as of `write_onnx`; the threshold is one of `decoding.digit_score`.
    """

    class Outputs(nn.Module):
        def __init__(self, embedding: nn.Module, head: nn.Module):
            super().__init__()
            self.embedding, self.head = embedding, head

        def forward(self, picture: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            embedded = self.embedding.forward_features(picture)[:, :, 0]
            return F.log_softmax(self.head(embedded).mT, dim=2), embedded.mT

    recipe, names = spotter.recipe, ["log_probabilities", "embedding"]
    with tempfile.TemporaryDirectory() as folder:
        network = _exported(Outputs(spotter.embedding, spotter.head), recipe, names, Path(folder), any_length=True)
        frontend = _frontend(spotter.frontend, recipe, any_length=True)
        model = _joined(frontend, network)
    return _write(
        model, path, recipe, {"weights": f"speech, then {taught}", "threshold": float(threshold), "sha256": sha256}
    )


def _write(model: onnx.ModelProto, path: Path | str, recipe: Recipe, facts: dict) -> Path:
    facts = {"recipe": recipe.to_share().to_dict(), "labels": LABELS, **facts, "version": __version__}
    helper.set_model_props(model, {ENTRY: json.dumps(facts)})
    onnx.checker.check_model(model, full_check=True)
    with atomic_file(path) as temporary:
        temporary.write_bytes(model.SerializeToString(deterministic=True))
    return Path(path)


def _graph(name: str, **values) -> onnx.GraphProto:
    return parse_graph(Template((GRAPHS / f"{name}.txt").read_text(encoding="utf-8")).substitute(values))


def _frontend(frontend: LogMel, recipe: Recipe, any_length: bool = False) -> onnx.GraphProto:
    """`LogMel`, operator by operator; for clips of the recipe's length, or of any.

    With a[n] = x[n] + x[N-n] and b[n] = x[n] - x[N-n] of a window of N samples, the real part of its spectrum is a sum of
    cosines over half of a, the imaginary part one of sines over half of b. Both are products of matrices, here only for
    the frequencies that a mel filter looks at. The runtime makes the matrices when it loads the model, so they take no
    room in the file. 4 k n is taken modulo 4 N as a whole number: a large angle would be inexact.
    """
    spectrogram, filters = frontend.spectrogram, frontend.filters.cpu().numpy()
    window, hop, half = spectrogram.n_fft, spectrogram.hop_length, spectrogram.n_fft // 2
    used = np.flatnonzero(filters.any(axis=1))
    lowest, past_highest = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 1)
    filters = filters[lowest:past_highest]
    n_mels, frames = filters.shape[1], (recipe.samples + 2 * half - window) // hop + 1
    numbers = {
        "samples": "samples" if any_length else recipe.samples,
        "window": window,
        "hop": hop,
        "half": half,
        "half_and_one": half + 1,
    }
    numbers |= {
        "n_mels": n_mels,
        "frames": "frames" if any_length else frames,
        "top_db": recipe.top_db,
        "decibels": 10 / math.log(10),
    }
    numbers |= {"lowest": lowest, "past_highest": past_highest, "frequencies": len(filters), "cells": filters.size}
    numbers |= {"turn": 4 * window, "angle": math.pi / (2 * window)}
    count = (GRAPHS / "frames.txt").read_text() if any_length else f"frames = Constant<value_int = {frames}>()"
    # The peak goes first: a silent clip, whose numbers are all the same, is then exactly 0, whatever the mean's rounding.
    ending = (GRAPHS / "normalized.txt").read_text() if frontend.normalize else "picture = Max(level, floor)"
    graph = _graph("frontend", ending=ending, count=count, **numbers)
    hann = spectrogram.window.cpu().numpy()[: half + 1, None]
    hann_of_sums = hann.copy()
    if window % 2 == 0:
        hann_of_sums[half] /= 2  # the sample in the middle is its own mirror image, and was added to itself
    places = np.flatnonzero(filters)
    constants = {"hann": hann, "hann_of_sums": hann_of_sums, "filter_places": places.astype(np.int64)}
    constants["filter_values"] = filters.ravel()[places]
    if frontend.normalize:
        constants |= {"pixels_but_one": np.float32(n_mels * frames - 1), "tiny": np.float32(1e-5)}
    graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items())
    return graph


def _exported(
    network: nn.Module, recipe: Recipe, outputs: list[str], folder: Path, any_length: bool = False
) -> onnx.ModelProto:
    """What follows the frontend, from "picture" [batch, 1, n_mels, frames] to `outputs`, its batch norms folded away."""
    network = copy.deepcopy(network).cpu().float().eval().to(memory_format=torch.contiguous_format)
    moving = {0: torch.export.Dim("batch")} | ({3: torch.export.Dim("frames", max=1_000_000)} if any_length else {})
    try:
        with warnings.catch_warnings(action="ignore"):
            program = torch.onnx.export(
                network,
                (LogMel(recipe)(torch.zeros(2, recipe.samples)),),
                dynamo=True,
                input_names=["picture"],
                output_names=outputs,
                opset_version=OPSET,
                dynamic_shapes=(moving,),
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        first = str(error).strip().splitlines()[0]
        raise CourseError(
            f"export: PyTorch cannot write {recipe.backbone} as ONNX ({first}). Choose another backbone."
        ) from None
    onnx.save(program.model_proto, folder / "plain.onnx")
    # As before any quantization: batch norms become part of the convolutions before them.
    quant_pre_process(folder / "plain.onnx", folder / "folded.onnx", skip_symbolic_shape=True)
    return onnx.load(folder / "folded.onnx")


def _quantized(backbone: Path, recipe: Recipe, calibration: np.ndarray) -> onnx.ModelProto:
    path, frontend, batches = backbone.with_name("int8.onnx"), LogMel(recipe), _batches(calibration)

    class Pictures(CalibrationDataReader):
        @torch.inference_mode()
        def get_next(self) -> dict[str, np.ndarray] | None:
            batch = next(batches, None)
            return None if batch is None else {"picture": frontend(torch.from_numpy(batch)).numpy()}

    # Seven bits for weights: with eight, the sums of a processor without VNNI overflow, and its answers are others.
    types = {"activation_type": QuantType.QUInt8, "weight_type": QuantType.QInt8, "reduce_range": True}
    quantize_static(backbone, path, Pictures(), op_types_to_quantize=["Conv"], per_channel=True, **types)
    return onnx.load(path)


def _joined(
    frontend: onnx.GraphProto, backbone: onnx.ModelProto, answers: onnx.GraphProto | None = None
) -> onnx.ModelProto:
    middle = add_prefix_graph(backbone.graph, "backbone/", rename_inputs=False, rename_outputs=False)
    parts = [frontend, middle] + ([answers] if answers else [])
    graph = helper.make_graph(
        [node for part in parts for node in part.node],
        "digits",
        frontend.input,
        [*parts[-1].output, *frontend.output],
        [value for part in parts for value in part.initializer],
    )
    for node in graph.node:
        # Where in PyTorch's source, and in which folder of this machine, it came from.
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    return helper.make_model(
        graph,
        producer_name="spokendigits",
        producer_version=__version__,
        opset_imports=[helper.make_opsetid("", OPSET), *(opset for opset in backbone.opset_import if opset.domain)],
        ir_version=IR,
    )


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
        logarithms = F.logsigmoid(logits) if network.recipe.loss == "bce" else logits
        return logarithms.log_softmax(dim=1).cpu().numpy()


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
