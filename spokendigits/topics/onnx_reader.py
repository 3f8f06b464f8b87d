"""`load_onnx`: a model that `spokendigits export` wrote, run by ONNX Runtime. No PyTorch is needed here. Chapter 7."""

import json
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten

import numpy as np
import onnxruntime

from spokendigits.corpora.corpus import DIGITS, FULL_SCALE
from spokendigits.devices import cores
from spokendigits.errors import CourseError
from spokendigits.recipe import Recipe

ENTRY = "spokendigits"  # of the file's metadata: what is known of the model, as JSON
INPUT, OUTPUTS = "waveform", ["log_probabilities", "score", "picture"]
SPOTS = ["log_probabilities", "embedding", "picture"]  # the outputs of a spotter


@dataclass(frozen=True)
class _Exported:
    recipe: Recipe
    labels: list[str]
    threshold: float | None
    weights: str
    sha256: str | None
    session: onnxruntime.InferenceSession


class OnnxClassifier(_Exported):
    """An exported classifier. `threshold`: a `score` below it says that no digit was spoken (None: none was chosen).

    `weights` says where its training began, `sha256` is that of the safetensors file it came from (None: from none).
    """

    def __call__(self, waveform: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Reads waveforms [batch, samples], float in -1..1 or int16, of the recipe's sample rate and length.

        Returns log-probabilities [batch, 10], scores [batch] (`losses.digit_score`) and the pictures that the network
        saw [batch, 1, n_mels, frames], all float32. Raises CourseError for another shape, and
        for what is no number.
        """
        waveform = np.asarray(waveform)
        if waveform.ndim != 2 or waveform.shape[1] != self.recipe.samples or not len(waveform):
            raise CourseError(
                f"waveforms of shape {list(waveform.shape)}: this model reads [batch, {self.recipe.samples}], that is "
                f"{self.recipe.seconds:g} s at {self.recipe.sample_rate:,} Hz. Use `clips.fit`."
            )
        return _run(self.session, OUTPUTS, waveform)


class OnnxSpotter(_Exported):
    """An exported spotter: it reads recordings of any length. The fields are those of `OnnxClassifier`."""

    def __call__(self, waveform: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Reads waveforms [batch, samples], float in -1..1 or int16, of the recipe's sample rate.

        Returns logarithms of the symbols' chances [batch, steps, 12] (`decoding`), the speech embedding
        [batch, steps, 96] and the pictures [batch, 1, n_mels, frames], all float32. Raises CourseError as `OnnxClassifier`.
        """
        waveform = np.asarray(waveform)
        if waveform.ndim != 2 or not waveform.size:
            raise CourseError(f"waveforms of shape {list(waveform.shape)}: this model reads [batch, samples].")
        return _run(self.session, SPOTS, waveform)


def _run(session: onnxruntime.InferenceSession, outputs: list[str], waveform: np.ndarray) -> tuple[np.ndarray, ...]:
    if waveform.dtype == np.int16:
        waveform = waveform.astype(np.float32) / FULL_SCALE
    waveform = waveform.astype(np.float32, copy=False)
    answers = session.run(outputs, {INPUT: waveform})
    if not (np.isfinite(waveform).all() and np.isfinite(answers[1]).all() and not np.isnan(answers[0]).any()):
        raise CourseError("the answer is no number: samples are no numbers of about -1..1, or weights are damaged.")
    return tuple(answers)


def load_onnx(path: Path | str, threads: int | None = None) -> OnnxClassifier | OnnxSpotter:
    """Reads what `onnx_writer.write_onnx` or `write_spotter` wrote. `threads`: how many compute (None: one for each core that may be used).

    Raises CourseError if there is no such file, if it is damaged, or if it is no model of this course.
    """
    if not Path(path).is_file():
        raise CourseError(f"{path}: no such model. Make one with `spokendigits export`.")
    options = onnxruntime.SessionOptions()
    # The runtime's own default would try to tie threads to cores that a container may not use, and complain of each.
    options.intra_op_num_threads = threads or cores()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the runtime has a dozen, with no common ancestor but this one
        first = str(error).strip().splitlines()[0][:200]
        raise CourseError(f"{path}: not readable as ONNX ({first}). Export the model again.") from None
    try:
        facts = json.loads(session.get_modelmeta().custom_metadata_map[ENTRY])
        recipe = Recipe().but(**facts["recipe"])
        rest = [facts[name] for name in ("labels", "threshold", "weights", "sha256")]
        if (
            not (rest[1] is None or (isinstance(rest[1], int | float) and np.isfinite(rest[1])))
            or len(list(rest[0])) != DIGITS
        ):
            raise CourseError(f"its threshold is {rest[1]!r}, its labels are {rest[0]!r}")
        names = [value.name for value in (*session.get_inputs(), *session.get_outputs())]
        kinds = {(INPUT, *OUTPUTS): OnnxClassifier, (INPUT, *SPOTS): OnnxSpotter}
        if tuple(names) not in kinds:
            raise CourseError(f"it has {', '.join(names)}")
    except (KeyError, TypeError, ValueError, CourseError) as error:
        why = str(error) if isinstance(error, CourseError) else f"{type(error).__name__}: {error}"
        raise CourseError(
            f"{path}: no model of this course ({shorten(why, 200)}). Make one with `spokendigits export`."
        ) from None
    return kinds[tuple(names)](recipe, *rest, session)
