"""`spokendigits export`: a trained classifier as files for elsewhere: ONNX, safetensors with a model card, and an MLflow model."""

import os
import shutil
import tempfile
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from spokendigits import __version__, corpora
from spokendigits.classifier import Classifier
from spokendigits.clips import fit, read_audio
from spokendigits.errors import CourseError, check_names
from spokendigits.files import atomic_folder, data_folder, read_json, runs_folder, sha256, write_json
from spokendigits.lanes import MODEL
from spokendigits.recipe import Recipe
from spokendigits.runs import trainings
from spokendigits.splits import split
from spokendigits.topics.onnx_writer import FILES, LABELS, write_onnx

FORMATS = ("onnx", "int8", "bundle", "mlflow")
USUAL = FORMATS[:3]  # what needs nothing but the course
RECORD = "export.json"  # what an exported folder holds, and the sign that it is one
CALIBRATION = 256  # clips that show the range of numbers in a network
# What the MLflow model imports, and no more: PyTorch would be a thousand times as large as the model.
SERVED = ("mlflow", "numpy", "onnxruntime", "pandas", "pooch", "pyyaml", "soundfile", "soxr", "tqdm")


def export(
    model: str,
    out: Path | str,
    formats: Sequence[str] = USUAL,
    calibration: str | None = None,
    threshold: float | None = None,
) -> Path:
    """Writes a trained classifier into the folder `out`, whole or not at all, and returns that folder.

    model: a run's folder or its name under `runs_folder()`, or a model.safetensors. formats, out of FORMATS: "onnx" makes
    digits.onnx, "int8" digits-int8.onnx, "bundle" model.safetensors with recipe.yaml, labels.json and README.md (the model
    card), "mlflow" the folder mlflow (see `served`). calibration: the corpus whose clips set the ranges of int8 (None: the
    run's training clips, or else FSDD, if they are on this machine). threshold: as for `write_onnx`.
    An earlier export at `out` is replaced. Raises CourseError if anything else is there, or if anything is missing.
    """
    check_names(formats, list(FORMATS), "export: unknown format")
    if "mlflow" in formats and find_spec("mlflow") is None:
        raise CourseError("export: MLflow is not installed. Run `pip install mlflow`, or leave that format out.")
    path, out = find_model(model), Path(out).resolve()
    if foreign := _foreign(out):
        raise CourseError(f"{foreign} is no part of an export, and would be lost. Choose another folder.")
    classifier = Classifier.load(path)
    clips = calibration_clips(classifier.recipe, calibration) if "int8" in formats else None
    digest = sha256(path)
    with atomic_folder(out) as folder:
        for precision, name in FILES.items():
            if {"fp32": "onnx"}.get(precision, precision) in formats:
                write_onnx(classifier, folder / name, precision, threshold, clips, digest)
        if "bundle" in formats:
            write_bundle(classifier, folder, path)
        if "mlflow" in formats:
            with tempfile.TemporaryDirectory() as other:
                write_mlflow(
                    write_onnx(classifier, Path(other) / FILES["fp32"], "fp32", threshold, sha256=digest),
                    folder / "mlflow",
                )
        held = sorted(file for file in folder.rglob("*") if file.is_file())
        write_json(
            folder / RECORD,
            {
                "sha256": digest,
                "version": __version__,
                "files": {
                    file.relative_to(folder).as_posix(): {"bytes": file.stat().st_size, "sha256": sha256(file)}
                    for file in held
                },
            },
        )
    return out


def sizes(folder: Path | str) -> dict[str, int]:
    """Bytes of each file that `export` wrote into a folder, those of a folder in it summed, by name."""
    found = {}
    for name, its in read_json(Path(folder) / RECORD)["files"].items():
        first = name.split("/")[0]
        found[first] = found.get(first, 0) + its["bytes"]
    return found


def _foreign(out: Path) -> Path | None:
    """A file at `out` that no export wrote, if there is one."""
    if not out.is_dir():
        return out if out.exists() else None
    record = out / RECORD
    known = {RECORD, *(read_json(record)["files"] if record.is_file() else ())}
    there = (path for path in out.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return next((path for path in there if path.relative_to(out).as_posix() not in known), None)


def find_model(name: str) -> Path:
    """The safetensors file that a path, or a name under `runs_folder()`, stands for; CourseError if there is none, or several."""
    for place in (Path(name), runs_folder() / name):
        if place.is_file():
            return place
        if (place / MODEL).is_file():
            return place / MODEL
        found = [run / MODEL for run in trainings(place) if (run / MODEL).is_file()] if place.is_dir() else []
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(str(path.parent) for path in found)
            raise CourseError(f"{name}: holds several trainings. Choose one: {names}.")
    raise CourseError(
        f"{name}: no trained classifier there, or under {runs_folder()}. Train one: `spokendigits train`."
    )


def calibration_clips(recipe: Recipe, corpus: str | None = None) -> np.ndarray:
    """CALIBRATION clips, float32 [n, samples], of a corpus on this machine: that given, or the recipe's, or FSDD.

    Of the recipe's own corpus they are training clips. Nothing is fetched. Raises CourseError if no corpus is here.
    """
    for name in (corpus,) if corpus else dict.fromkeys((recipe.corpus, "fsdd")):
        root = _corpus_root(name)
        if root is None:
            continue
        held = corpora.read(name, root)
        rows = np.flatnonzero(held.table["digit"] >= 0)
        if name == recipe.corpus:
            held = held.part(recipe.speakers, recipe.takes)
            rows = split(held, recipe.split, recipe.folds, recipe.fold, recipe.seed).train
            rows = rows[held.table["digit"].to_numpy()[rows] >= 0]
        drawn = np.sort(np.random.default_rng(0).permutation(rows)[:CALIBRATION])
        return np.stack([fit(read_audio(held.file(row), recipe.sample_rate), recipe.samples) for row in drawn])
    raise CourseError(
        f"export: int8 needs some clips, and {corpus or recipe.corpus} is not on this machine. Run `spokendigits fetch fsdd`, "
        "name a corpus or folder with --calibration, or leave int8 out with --format onnx --format bundle."
    )


def _corpus_root(name: str) -> Path | None:
    if name not in corpora.NAMES:
        return Path(name) if Path(name).exists() else None
    shared = os.environ.get("SPOKENDIGITS_DATA")
    places = [Path(shared).expanduser() / name] if shared else []
    return next((place for place in (*places, data_folder() / name) if place.is_dir()), None)


def write_bundle(classifier: Classifier, folder: Path, source: Path) -> None:
    """Writes model.safetensors (a copy of `source`), recipe.yaml, labels.json and README.md, the model card, into `folder`."""
    from spokendigits.publish import card

    shutil.copyfile(source, folder / MODEL)
    classifier.recipe.to_share().to_yaml(folder / "recipe.yaml")
    write_json(folder / "labels.json", LABELS)
    card.write(folder, source, name="README.md")


def write_mlflow(model: Path, folder: Path) -> None:
    """Writes an ONNX model as an MLflow model into `folder`; `served` says how to call it. CourseError without MLflow."""
    # It reports its use to its makers unless told not to. A course sends nothing.
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    try:
        import mlflow.pyfunc
    except ImportError:
        raise CourseError(
            "export: MLflow is not installed. Run `pip install mlflow`, or leave that format out."
        ) from None
    package = Path(__file__).resolve().parent
    with warnings.catch_warnings(action="ignore"):  # it would like a signature; two kinds of input fit none
        mlflow.pyfunc.save_model(
            folder,
            python_model=str(package / "served.py"),
            artifacts={"digits": str(model)},
            code_paths=[str(package)],
            pip_requirements=[f"{name}=={version(name)}" for name in SERVED],
        )
