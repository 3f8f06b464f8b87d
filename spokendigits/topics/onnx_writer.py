"""`write_onnx`: a classifier as one ONNX file, from waveform to answer. Chapter 7.

The file has three parts. The frontend is written out here, in ONNX's own text form; PyTorch exports the backbone; a few
operators turn its logits into log-probabilities. ONNX Runtime and ONNX Runtime Web know all of them.
"""

import copy
import json
import math
import tempfile
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import helper, numpy_helper
from onnx.compose import add_prefix_graph
from onnx.parser import parse_graph
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from tqdm import tqdm

from spokendigits import __version__
from spokendigits.classifier import Classifier
from spokendigits.corpora.corpus import DIGITS
from spokendigits.errors import CourseError, check_names
from spokendigits.files import atomic_file
from spokendigits.frontend import LogMel, to_float
from spokendigits.recipe import Recipe
from spokendigits.topics.onnx_reader import ENTRY, OnnxClassifier

OPSET, IR = 18, 8  # of ONNX 1.13: old enough for any runtime that a reader may have
FILES = {"fp32": "digits.onnx", "int8": "digits-int8.onnx"}
LABELS = [str(digit) for digit in range(DIGITS)]
AT_ONCE = 32  # clips

# `LogMel`, operator by operator. With a[n] = x[n] + x[N-n] and b[n] = x[n] - x[N-n] of a window of N samples, the real part
# of its spectrum is a sum of cosines over half of a, the imaginary part one of sines over half of b. Both are products of
# matrices, here only for the frequencies that a mel filter looks at. The runtime makes the matrices when it loads the
# model, so they take no room in the file. 4 k n is taken modulo 4 N as a whole number: a large angle would be inexact.
FRONTEND = """
digits (float[batch, {samples}] waveform) => (float[batch, 1, {n_mels}, {frames}] picture)
<
  int64 zero = {{0}}, int64 one = {{1}}, int64 four = {{4}}, int64 window = {{{window}}}, int64 turn = {{{turn}}},
  int64 frames = {{{frames}}}, int64 hop = {{{hop}}}, int64 half_and_one = {{{half_and_one}}},
  int64 lowest = {{{lowest}}}, int64 past_highest = {{{past_highest}}}, double angle = {{{angle}}},
  int64[4] pads = {{0, {half}, 0, {half}}}, int64[1] at_1 = {{1}}, int64[2] picture_axes = {{2, 3}},
  int64[1] cells = {{{cells}}}, int64[2] table = {{{frequencies}, {n_mels}}},
  float least = {{1e-10}}, float decibels = {{{decibels}}}, float top_db = {{{top_db}}}
>
{{
  frame = Range(zero, frames, one)
  first = Mul(frame, hop)
  start = Unsqueeze(first, at_1)
  sample = Range(zero, half_and_one, one)
  from_end = Sub(window, sample)
  mirrored = Mod(from_end, window)
  places = Add(start, sample)
  mirrored_places = Add(start, mirrored)

  frequency = Range(lowest, past_highest, one)
  row = Unsqueeze(sample, at_1)
  products = Mul(row, frequency)
  fourfold = Mul(products, four)
  a_quarter_on = Add(fourfold, window)
  sine_turns = Mod(fourfold, turn)
  cosine_turns = Mod(a_quarter_on, turn)
  sine_number = Cast<to = 11>(sine_turns)
  cosine_number = Cast<to = 11>(cosine_turns)
  sine_angle = Mul(sine_number, angle)
  cosine_angle = Mul(cosine_number, angle)
  exact_sine = Sin(sine_angle)
  exact_cosine = Sin(cosine_angle)
  sine = Cast<to = 1>(exact_sine)
  cosine = Cast<to = 1>(exact_cosine)
  sine_basis = Mul(sine, hann)
  cosine_basis = Mul(cosine, hann_of_sums)

  no_filters = ConstantOfShape(cells)
  flat_filters = ScatterElements(no_filters, filter_places, filter_values)
  filters = Reshape(flat_filters, table)

  padded = Pad(waveform, pads)
  forward = Gather<axis = 1>(padded, places)
  backward = Gather<axis = 1>(padded, mirrored_places)
  sums = Add(forward, backward)
  differences = Sub(forward, backward)
  real = MatMul(sums, cosine_basis)
  imaginary = MatMul(differences, sine_basis)
  real_power = Mul(real, real)
  imaginary_power = Mul(imaginary, imaginary)
  power = Add(real_power, imaginary_power)
  mel_by_frame = MatMul(power, filters)
  mel_rows = Transpose<perm = [0, 2, 1]>(mel_by_frame)
  mel = Unsqueeze(mel_rows, at_1)

  audible = Max(mel, least)
  logarithm = Log(audible)
  level = Mul(logarithm, decibels)
  peak = ReduceMax(level, picture_axes)
  floor = Sub(peak, top_db)
  {ending}
}}
"""
AS_IT_IS = "picture = Max(level, floor)"
# The peak goes first: a silent clip, whose numbers are all the same, is then exactly 0, whatever the mean's rounding.
NORMALIZED = """loud = Max(level, floor)
  below_peak = Sub(loud, peak)
  mean = ReduceMean(below_peak, picture_axes)
  centred = Sub(below_peak, mean)
  squares = Mul(centred, centred)
  spread = ReduceSum(squares, picture_axes)
  variance = Div(spread, pixels_but_one)
  deviation = Sqrt(variance)
  divisor = Add(deviation, tiny)
  picture = Div(centred, divisor)"""

# `evaluation.probabilities` as logarithms, and `evaluation.digit_score`.
ANSWERS = {
    "bce": """answers (float[batch, 10] logits) => (float[batch, 10] log_probabilities, float[batch] score)
<int64[1] classes = {1}>
{
  negative = Neg(logits)
  doubt = Softplus(negative)
  each = Neg(doubt)
  log_probabilities = LogSoftmax<axis = 1>(each)
  score = ReduceMax<keepdims = 0>(logits, classes)
}""",
    "cross_entropy": """answers (float[batch, 10] logits) => (float[batch, 10] log_probabilities, float[batch] score)
<int64[1] classes = {1}>
{
  log_probabilities = LogSoftmax<axis = 1>(logits)
  score = ReduceLogSumExp<keepdims = 0>(logits, classes)
}""",
}


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
    `evaluation.probabilities`), "score", float32 [batch] (`evaluation.digit_score`), and "picture", float32
    [batch, 1, n_mels, frames] (`LogMel`). The metadata's entry "spokendigits" is JSON: recipe, labels, weights, threshold
    (a score below it: no digit), sha256 (of the safetensors file it came from) and version.

    precision: "fp32", or "int8": the backbone's convolutions have weights of 8 bits, for each channel its own scale, and
    inputs of 8 bits, whose ranges are those on the `calibration` clips, float32 or int16 [n, samples]. The frontend and
    the last layer stay in float32. Raises CourseError for int8 without calibration, or a backbone that cannot be exported.
    """
    check_names([precision], list(FILES), "export: unknown precision")
    if threshold is not None and not math.isfinite(threshold):
        raise CourseError(f"export: a threshold of {threshold} is no score. Give a number.")
    backbone = _backbone(classifier)
    if precision == "int8":
        if calibration is None or not len(calibration):
            raise CourseError("export: int8 needs some clips to see how large numbers get. Give them as calibration.")
        backbone = _quantized(backbone, _pictures(classifier.recipe, calibration))
    model = _joined(_frontend(classifier.frontend, classifier.recipe), backbone, ANSWERS[classifier.recipe.loss])
    facts = {
        "recipe": classifier.recipe.to_share().to_dict(),
        "labels": LABELS,
        "weights": classifier.weights,
        "threshold": None if threshold is None else float(threshold),
        "sha256": sha256,
        "version": __version__,
    }
    helper.set_model_props(model, {ENTRY: json.dumps(facts)})
    onnx.checker.check_model(model, full_check=True)
    path = Path(path)
    with atomic_file(path) as temporary:
        temporary.write_bytes(model.SerializeToString(deterministic=True))
    return path


def _frontend(frontend: LogMel, recipe: Recipe) -> onnx.GraphProto:
    window, hop, filters = frontend.window, frontend.hop, frontend.filters.cpu().numpy()
    used = np.flatnonzero(filters.any(axis=1))
    lowest, past_highest = (int(used[0]), int(used[-1]) + 1) if len(used) else (0, 1)
    filters = filters[lowest:past_highest]
    half = window // 2
    n_mels, frames = filters.shape[1], (recipe.samples + 2 * half - window) // hop + 1
    graph = parse_graph(
        FRONTEND.format(
            samples=recipe.samples,
            n_mels=n_mels,
            frames=frames,
            window=window,
            turn=4 * window,
            hop=hop,
            half=half,
            half_and_one=half + 1,
            lowest=lowest,
            past_highest=past_highest,
            frequencies=past_highest - lowest,
            cells=filters.size,
            angle=math.pi / (2 * window),
            decibels=10 / math.log(10),
            top_db=recipe.top_db,
            ending=NORMALIZED if frontend.normalize else AS_IT_IS,
        )
    )
    hann = frontend.hann.cpu().numpy()[: half + 1, None]
    hann_of_sums = hann.copy()
    if window % 2 == 0:
        hann_of_sums[half] /= 2  # the sample in the middle is its own mirror image, and was added to itself
    places = np.flatnonzero(filters)
    constants = {
        "hann": hann,
        "hann_of_sums": hann_of_sums,
        "filter_places": places.astype(np.int64),
        "filter_values": filters.ravel()[places],
    }
    if frontend.normalize:
        constants |= {"pixels_but_one": np.float32(n_mels * frames - 1), "tiny": np.float32(1e-5)}
    graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items())
    return graph


def _backbone(classifier: Classifier) -> onnx.ModelProto:
    """The backbone, from "picture" [batch, 1, n_mels, frames] to "logits" [batch, 10], its batch norms folded away."""
    backbone = copy.deepcopy(classifier.backbone).cpu().float().eval().to(memory_format=torch.contiguous_format)
    picture = LogMel(classifier.recipe)(torch.zeros(2, classifier.recipe.samples))
    try:
        with warnings.catch_warnings(action="ignore"):
            program = torch.onnx.export(
                backbone,
                (picture,),
                dynamo=True,
                input_names=["picture"],
                output_names=["logits"],
                opset_version=OPSET,
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                verbose=False,
            )
    except torch.onnx.OnnxExporterError as error:
        first = str(error).strip().splitlines()[0]
        raise CourseError(
            f"export: PyTorch cannot write {classifier.recipe.backbone} as ONNX ({first}). Choose another backbone."
        ) from None
    with tempfile.TemporaryDirectory() as folder:
        onnx.save(program.model_proto, Path(folder) / "plain.onnx")
        # As before any quantization: batch norms become part of the convolutions before them.
        quant_pre_process(Path(folder) / "plain.onnx", Path(folder) / "folded.onnx", skip_symbolic_shape=True)
        return onnx.load(Path(folder) / "folded.onnx")


class _Pictures(CalibrationDataReader):
    """What the quantizer wants: one batch of pictures at each call, then None."""

    def __init__(self, pictures: torch.Tensor):
        self.parts = iter(pictures.split(AT_ONCE))

    def get_next(self) -> dict[str, np.ndarray] | None:
        part = next(self.parts, None)
        return None if part is None else {"picture": part.numpy()}


def _pictures(recipe: Recipe, waveforms: np.ndarray) -> torch.Tensor:
    with torch.inference_mode():
        return LogMel(recipe)(to_float(torch.from_numpy(np.asarray(waveforms))))


def _quantized(backbone: onnx.ModelProto, pictures: torch.Tensor) -> onnx.ModelProto:
    with tempfile.TemporaryDirectory() as folder:
        onnx.save(backbone, Path(folder) / "backbone.onnx")
        quantize_static(
            Path(folder) / "backbone.onnx",
            Path(folder) / "int8.onnx",
            _Pictures(pictures),
            op_types_to_quantize=["Conv"],
            per_channel=True,
            # Seven bits for weights: with eight, the sums of a processor without VNNI overflow, and its answers are others.
            reduce_range=True,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        return onnx.load(Path(folder) / "int8.onnx")


def _joined(frontend: onnx.GraphProto, backbone: onnx.ModelProto, answers: str) -> onnx.ModelProto:
    middle = add_prefix_graph(backbone.graph, "backbone/", rename_inputs=False, rename_outputs=False)
    answers = parse_graph(answers)
    parts = (frontend, middle, answers)
    graph = helper.make_graph(
        [node for part in parts for node in part.node],
        "digits",
        frontend.input,
        [*answers.output, *frontend.output],
        [value for part in parts for value in part.initializer],
    )
    for node in graph.node:
        # Where in PyTorch's source, and in which folder of this machine, it came from.
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    domains = [one for one in backbone.opset_import if one.domain]
    return helper.make_model(
        graph,
        producer_name="spokendigits",
        producer_version=__version__,
        opset_imports=[helper.make_opsetid("", OPSET), *domains],
        ir_version=IR,
    )


def parity(classifier: Classifier, model: OnnxClassifier, waveforms: np.ndarray) -> float:
    """The largest difference of a log-probability between a classifier and its exported model.

    waveforms: [n, samples], float in -1..1 or int16; as many as there are, for they are read AT_ONCE at a time.
    """
    return float(np.abs(_by_torch(classifier, waveforms) - _by_onnx(model, waveforms)).max())


def _by_torch(classifier: Classifier, waveforms: np.ndarray, progress: bool = False) -> np.ndarray:
    """Log-probabilities, float64 [n, 10], in the classifier's own mode of evaluation and without half precision."""
    device = next(classifier.parameters()).device
    found = []
    with torch.inference_mode():
        for part in tqdm(_parts(waveforms), "PyTorch", unit="batch", disable=not progress):
            logits = classifier(torch.from_numpy(part).to(device)).double()
            each = F.logsigmoid(logits) if classifier.recipe.loss == "bce" else logits
            found.append(each.log_softmax(dim=1).cpu().numpy())
    return np.concatenate(found)


def _by_onnx(model: OnnxClassifier, waveforms: np.ndarray, progress: bool = False) -> np.ndarray:
    parts = tqdm(_parts(waveforms), "ONNX Runtime", unit="batch", disable=not progress)
    return np.concatenate([model(part)[0] for part in parts])


def _parts(waveforms: np.ndarray) -> list[np.ndarray]:
    return [waveforms[first : first + AT_ONCE] for first in range(0, len(waveforms), AT_ONCE)]
