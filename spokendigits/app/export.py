"""`spokendigits export`: a trained classifier as files for elsewhere: ONNX, safetensors with a model card, and an MLflow model."""

import shutil
import tempfile
import warnings
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from spokendigits import __version__, corpora
from spokendigits.classifier import Classifier
from spokendigits.clips import fit, read_audio
from spokendigits.errors import CourseError, check_names
from spokendigits.files import atomic_folder, find_data, read_json, runs_folder, sha256, write_json
from spokendigits.lanes import MODEL
from spokendigits.publish import card
from spokendigits.recipe import Recipe
from spokendigits.runs import finished, trainings
from spokendigits.splits import split
from spokendigits.topics.onnx_writer import FILES, LABELS, write_onnx

FORMATS = ("onnx", "int8", "bundle", "mlflow")
USUAL = FORMATS[:3]  # what needs nothing but the course
RECORD = "export.json"  # what an exported folder holds, and the sign that it is one
CALIBRATION = 256  # clips that show the range of numbers in a network
# What the MLflow model imports, and no more: PyTorch would be a thousand times as large as the model.
SERVED = ("mlflow", "numpy", "onnxruntime", "pandas", "pydantic", "pyyaml", "soundfile", "soxr", "tqdm")


def write(
    model: str,
    out: Path | str,
    formats: Sequence[str] = USUAL,
    calibration: str | None = None,
    threshold: float | None = None,
) -> Path:
    """Writes a trained classifier into the folder `out`, whole or not at all, and returns that folder.

    model: a run's folder or its name under `runs_folder()`, or a model.safetensors. formats, out of FORMATS: "onnx" makes
    digits.onnx, "int8" digits-int8.onnx, "bundle" model.safetensors with recipe.yaml, labels.json and README.md (the model
    card), "mlflow" the folder mlflow (see `serve`). calibration: the corpus whose clips set the ranges of int8 (None: the
    run's training clips, or else FSDD, if they are on this machine). threshold: as for `write_onnx`.
    An earlier export at `out` is replaced. Raises CourseError if anything else is there, or if anything is missing.
    """
    check_names(formats, list(FORMATS), "export: unknown format")
    if "mlflow" in formats and find_spec("mlflow") is None:
        raise CourseError("export: MLflow is not installed. Run `pip install mlflow`, or leave that format out.")
    path, out = find_model(model), Path(out).resolve()
    if foreign := _foreign(out):
        raise CourseError(f"{foreign} is no part of an export, and would be lost. Choose another folder.")
    finished(path.parent)  # a record that cannot be read is said now
    classifier, digest = Classifier.load(path), sha256(path)
    clips = calibration_clips(classifier.recipe, calibration) if "int8" in formats else None
    with atomic_folder(out) as folder:
        if "onnx" in formats:
            write_onnx(classifier, folder / FILES["fp32"], "fp32", threshold, sha256=digest)
        if "int8" in formats:
            write_onnx(classifier, folder / FILES["int8"], "int8", threshold, clips, digest)
        if "bundle" in formats:
            shutil.copyfile(path, folder / MODEL)
            classifier.recipe.to_yaml(folder / "recipe.yaml")
            write_json(folder / "labels.json", LABELS)
            card.write(folder, path, name="README.md")
        if "mlflow" in formats:
            with tempfile.TemporaryDirectory() as other:
                digits = write_onnx(classifier, Path(other) / FILES["fp32"], "fp32", threshold, sha256=digest)
                _write_mlflow(digits, folder / "mlflow")
        files = {
            file.relative_to(folder).as_posix(): {"bytes": file.stat().st_size, "sha256": sha256(file)}
            for file in sorted(folder.rglob("*"))
            if file.is_file()
        }
        write_json(folder / RECORD, {"sha256": digest, "version": __version__, "files": files})
    return out


def sizes(folder: Path | str) -> dict[str, int]:
    """Bytes of each file that `write` wrote into a folder, those of a folder in it summed, by name."""
    total = Counter()
    for name, facts in read_json(Path(folder) / RECORD, "files")["files"].items():
        total[name.split("/")[0]] += facts["bytes"]
    return dict(total)


def _foreign(out: Path) -> Path | None:
    """A file at `out` that no export wrote, if there is one."""
    if not out.is_dir():
        return out if out.exists() else None
    record = out / RECORD
    known = {RECORD, *(read_json(record, "files")["files"] if record.is_file() else ())}
    there = (path for path in out.rglob("*") if not path.is_dir() or path.is_symlink())
    there = (path for path in there if "__pycache__" not in path.parts)
    return next((path for path in there if path.relative_to(out).as_posix() not in known), None)


def find_model(name: str) -> Path:
    """The safetensors file that a path, or a name under `runs_folder()`, stands for; CourseError if there is none, or several."""
    for place in (Path(name), runs_folder() / name):
        if place.is_file():
            return place
        models = [folder / MODEL for folder in (place, *trainings(place)) if (folder / MODEL).is_file()]
        if len(models) == 1 or (place / MODEL) in models:
            return models[0]
        if models:
            folders = ", ".join(str(path.parent) for path in models)
            raise CourseError(f"{name}: holds several trainings. Choose one: {folders}.")
    raise CourseError(
        f"{name}: no trained classifier there, or under {runs_folder()}. Train one: `spokendigits train`."
    )


def calibration_clips(recipe: Recipe, corpus: str | None = None) -> np.ndarray:
    """CALIBRATION clips, float32 [n, samples], of a corpus on this machine: that given, or the recipe's, or FSDD.

    Of the recipe's own corpus they are training clips. Nothing is fetched. Raises CourseError if no corpus is here.
    """
    for name in (corpus,) if corpus else (recipe.corpus, "fsdd"):
        root = find_data(name) if name in corpora.NAMES else Path(name)
        if root is None or not root.exists():
            continue
        clips = corpora.read(name, root)
        rows = np.arange(len(clips))
        if name == recipe.corpus:
            clips = clips.part(recipe.speakers, recipe.takes, ["digit"])
            rows = split(clips, recipe.split, recipe.folds, recipe.fold, recipe.seed).train
        rows = rows[clips.table["digit"].to_numpy()[rows] >= 0]
        drawn = np.sort(np.random.default_rng(0).permutation(rows)[:CALIBRATION])
        return np.stack([fit(read_audio(clips.file(row), recipe.sample_rate), recipe.samples) for row in drawn])
    raise CourseError(
        f"export: int8 needs some clips, and {corpus or recipe.corpus} is not on this machine. Run `spokendigits fetch fsdd`, "
        "name a corpus or folder with --calibration, or leave int8 out with --format onnx --format bundle."
    )


def _write_mlflow(digits: Path, folder: Path) -> None:
    """Writes an ONNX file as an MLflow model into `folder`; `serve` says how to call it."""
    import mlflow.pyfunc

    here = Path(__file__).resolve()
    with warnings.catch_warnings(action="ignore"):  # it would like a signature; two kinds of input fit none
        mlflow.pyfunc.save_model(
            folder,
            python_model=str(here.with_name("serve.py")),
            artifacts={"digits": str(digits)},
            code_paths=[str(here.parent.parent)],  # the whole package
            pip_requirements=[f"{name}=={version(name)}" for name in SERVED],
        )
