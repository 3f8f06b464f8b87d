"""What `mlflow models serve` runs: the MLflow model of `spokendigits export --format mlflow`.

Serve it, on this machine alone and in the environment that the course is installed in:

    mlflow models serve -m exported/mlflow --env-manager local --host 127.0.0.1 --port 5001

Then send recordings, each one digit: audio files as base64 text, of any length up to a minute, rate and format that the
course reads, or waveforms of the recipe's rate and length, numbers in -1..1:

    printf '{"inputs": {"audio": ["%s"]}}' "$(base64 -w0 seven.wav)" |
        curl http://127.0.0.1:5001/invocations -H 'Content-Type: application/json' -d @-
    curl http://127.0.0.1:5001/invocations -H 'Content-Type: application/json' -d '{"inputs": [[0.0, 0.01, ...]]}'

Each recording has an answer: {"digit": 7, "probability": 0.98, "probabilities": [...], "score": 4.2}. The digit is null if
the model has a threshold and the score lies below it: no digit was said. MLflow counts its users: set
MLFLOW_DISABLE_TELEMETRY=true before it starts.
"""

import base64
import binascii
import tempfile
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException

from spokendigits.clips import fit, read_audio
from spokendigits.errors import CourseError
from spokendigits.topics.onnx_reader import load_onnx


class Digits(mlflow.pyfunc.PythonModel):
    """The exported model behind MLflow's interface."""

    def load_context(self, context) -> None:
        self.model = load_onnx(context.artifacts["digits"])

    def predict(self, context, model_input, params=None) -> list[dict]:
        """Answers, one for each recording: base64 texts in a column or list "audio", or waveforms [n, samples]."""
        try:
            return answers(self.model, model_input)
        except CourseError as error:
            raise MlflowException.invalid_parameter_value(str(error)) from None


def answers(model, given) -> list[dict]:
    """What the model says of recordings, given as MLflow hands them on. CourseError if they are none."""
    if isinstance(given, dict | pd.DataFrame) and "audio" in given:
        given = given["audio"]
    try:
        given = np.asarray(given)
    except ValueError:
        raise CourseError("waveforms of different lengths. Give each as many numbers as the model reads.") from None
    if given.dtype.kind in "OU":
        waveforms = np.stack([_decoded(text, model.recipe) for text in given.ravel()])
    else:
        with np.errstate(over="ignore"):  # the model refuses what is too large for a number
            waveforms = given.astype(np.float32)
    chances, scores, _ = model(waveforms)
    return [
        {
            "digit": int(chance.argmax()) if model.threshold is None or score >= model.threshold else None,
            "probability": float(chance.max()),
            "probabilities": chance.tolist(),
            "score": float(score),
        }
        for chance, score in zip(np.exp(chances), scores, strict=True)
    ]


def _decoded(text: str, recipe) -> np.ndarray:
    """One recording, a file as base64 text, as float32 [samples]."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise CourseError("a recording is no base64 text. Encode the whole file, as `base64 -w0` does.") from None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "recording"
        path.write_bytes(data)
        return fit(read_audio(path, recipe.sample_rate), recipe.samples)


if hasattr(mlflow, "models") and __name__ != "spokendigits.app.serve":  # MLflow runs this file as a script
    mlflow.models.set_model(Digits())
