"""Helpers of the course "Spoken digits". Read recipe, clips, frontend, classifier, training, evaluation, intervals."""

import os

for _name in ("ORT_DISABLE_TELEMETRY", "MLFLOW_DISABLE_TELEMETRY"):
    os.environ.setdefault(_name, "1")  # else these two tell their makers who uses them, as soon as they are imported

__version__ = "0.1.0"
