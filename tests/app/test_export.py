"""An exported model answers as PyTorch does, and whatever cannot be exported or opened is said in one line."""

import base64
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import types
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
import soundfile
import torch
from torch import nn

import spokendigits
from spokendigits.app import cli, export, product_yaml
from spokendigits.classifier import Classifier
from spokendigits.clips import fit, read_audio
from spokendigits.corpora.corpus import FULL_SCALE
from spokendigits.errors import CourseError
from spokendigits.files import read_json, sha256
from spokendigits.lanes import MODEL
from spokendigits.losses import digit_score, probabilities
from spokendigits.recipe import Recipe
from spokendigits.splits import split
from spokendigits.topics.onnx_reader import ENTRY, load_onnx
from spokendigits.topics.onnx_writer import FILES, log_probabilities, parity, write_onnx

pytestmark = pytest.mark.slow  # they wait for a training and its export
ROOT = Path(__file__).resolve().parents[2]
TOLERANCE = 1e-3  # of a log-probability
DECIBELS = 0.02  # of a picture that is in decibels; normalized ones have hardly more than 5 units from end to end
LOST = 0.005  # of accuracy, by 8 bits
LABELS = list("0123456789")
# The seed's recipe, whose pictures are in decibels, with the other loss; the trained network's are normalized.
SEED = Recipe.preset("seed").but(backbone="test_resnet.r160_in1k", weights="none", loss="cross_entropy")
KINDS = ["trained", "seed"]


def untrained(recipe: Recipe, waveforms: np.ndarray) -> Classifier:
    """Random weights, but with statistics of batches, and with answers to some clips as far apart as a trained network's."""
    torch.manual_seed(1)
    classifier = Classifier(recipe).eval()
    for module in classifier.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    clips = torch.from_numpy(waveforms[:32])
    with torch.no_grad():
        head = classifier.backbone.get_classifier()
        head.weight *= 4 / classifier(clips).std(dim=0)[:, None]
        head.bias -= classifier(clips).mean(dim=0)
    return classifier


def by_pytorch(classifier: Classifier, waveforms: np.ndarray) -> list[np.ndarray]:
    """Log-probabilities, scores and pictures, by PyTorch."""
    with torch.inference_mode():
        audio, loss = torch.from_numpy(waveforms), classifier.recipe.loss
        logits = classifier.eval()(audio)
        likely = log_probabilities(classifier, waveforms)
        assert np.allclose(np.exp(likely), probabilities(logits, loss), atol=1e-6)
        return [likely, digit_score(logits, loss).numpy(), classifier.frontend(audio).numpy()]


def differences(classifier: Classifier, model, waveforms: np.ndarray) -> list[float]:
    """The largest of log-probabilities, scores and pictures."""
    both = zip(by_pytorch(classifier, waveforms), model(waveforms), strict=True)
    return [float(np.abs(expected - given).max()) for expected, given in both]


@pytest.fixture(scope="module")
def pairs(people, trained, exported, tmp_path_factory) -> dict[str, tuple]:
    """For each of KINDS a classifier, its exported model, and every 20th clip of FSDD, int16 [150, samples]."""

    def heard(recipe: Recipe) -> np.ndarray:
        rows = range(0, len(people), 20)
        clips = [fit(read_audio(people.file(row), recipe.sample_rate), recipe.samples) for row in rows]
        return np.rint(np.stack(clips) * (FULL_SCALE - 1)).astype(np.int16)

    learned, clips = Classifier.load(trained.model), heard(SEED)
    random = untrained(SEED, clips)
    path = write_onnx(random, tmp_path_factory.mktemp("pairs") / "seed.onnx")
    return {
        "trained": (learned, load_onnx(exported[0] / FILES["fp32"]), heard(learned.recipe)),
        "seed": (random, load_onnx(path), clips),
    }


@pytest.mark.parametrize("kind", KINDS)
def test_answers_as_pytorch_on_people(pairs, kind):
    classifier, model, clips = pairs[kind]
    said, score, picture = differences(classifier, model, clips)
    answers = model(clips)[0]
    assert answers.std(axis=0).min() > 1 and len(set(answers.argmax(axis=1))) > 5, "or both could be deaf"
    assert said < TOLERANCE and score < TOLERANCE
    assert picture < (DECIBELS if kind == "seed" else TOLERANCE)
    for whole, fraction in zip(model(clips[:8]), model(clips[:8] / np.float64(FULL_SCALE)), strict=True):
        assert np.array_equal(whole, fraction), "samples may be whole numbers or fractions"
    loud = clips[:4].astype(np.float32) / 3  # far above full scale
    assert max(differences(classifier, model, loud)) < (DECIBELS if kind == "seed" else TOLERANCE)
    for count in (1, 3, 128):
        for together, alone in zip(model(clips[:count]), model(clips[count - 1 : count]), strict=True):
            assert together.shape == (count, *alone.shape[1:]) and together.dtype == np.float32
            assert np.abs(together[-1:] - alone).max() < TOLERANCE, "a clip has the same answer in any company"


@pytest.mark.parametrize("kind", KINDS)
def test_silence_and_extremes(pairs, kind):
    classifier, model, _ = pairs[kind]
    samples = classifier.recipe.samples
    random, full = np.random.default_rng(0), -FULL_SCALE
    click, last = np.zeros(samples), np.zeros(samples)
    click[samples // 2], last[-1] = full, 1
    extremes = {
        "silence": np.zeros(samples),
        "one click": click,
        "the last sample alone": last,
        "as loud as can be": np.where(np.arange(samples) % 2, -full - 1, full),
        "no sound but an offset": np.full(samples, -full - 1),
        "loud noise": random.integers(full, -full, samples),
        "noise of the last bit": random.integers(-1, 2, samples),
    }
    for name, waveform in extremes.items():
        waveform = np.asarray(waveform, np.int16)[None]
        answers = model(waveform)
        assert all(np.isfinite(values).all() for values in answers), name
        said, score, picture = differences(classifier, model, waveform)
        # A picture like no other has answers in the hundreds, and float32 has seven digits.
        likely, sure, _ = (np.abs(values).max() for values in answers)
        assert said < TOLERANCE * max(1, likely) and score < TOLERANCE * max(1, sure) and picture < DECIBELS, name


def test_the_command_writes_everything_and_says_so(trained, exported):
    out, said = exported
    names = {"README.md", "digits-int8.onnx", "digits.onnx", "labels.json", "model.safetensors", "recipe.yaml"}
    assert {file.name for file in out.iterdir()} == names | {"export.json"}
    lines = said.splitlines()
    assert len(lines) == len(names)
    for name in names:
        size = f"{(out / name).stat().st_size:,} bytes"
        assert any(line.endswith(f"{out / name}") and size in line for line in lines)
    record = read_json(out / "export.json")
    assert record["sha256"] == sha256(trained.model) == sha256(out / MODEL) and set(record["files"]) == names
    assert all(facts["sha256"] == sha256(out / name) for name, facts in record["files"].items())
    bundle = Classifier.load(out / MODEL)
    assert bundle.digest() == Classifier.load(trained.model).digest()
    assert (
        product_yaml.read_recipe(out / "recipe.yaml")[0] == bundle.recipe
        and json.loads((out / "labels.json").read_text()) == LABELS
    )
    card = (out / "README.md").read_text()
    assert record["sha256"] in card and "`digits-int8.onnx`" in card and "{" not in card
    for name in FILES.values():
        model = load_onnx(out / name)
        assert (model.threshold, model.sha256, model.recipe) == (-2.5, record["sha256"], bundle.recipe)
        assert (model.labels, model.weights) == (LABELS, bundle.weights)
    # Where the first weights lay, and where the course is installed, is not passed on.
    assert bundle.recipe.weights == "first.safetensors"
    for file in out.iterdir():
        content = file.read_bytes()
        assert str(trained.home.parent).encode() not in content and b"site-packages" not in content, file.name
        assert file.suffix != ".onnx" or b"spokendigits/" not in content


def test_a_file_says_what_it_is_and_comes_out_the_same_again(trained, exported, tmp_path):
    classifier = Classifier.load(trained.model).train()
    before = classifier.digest()
    path = write_onnx(classifier, tmp_path / "new" / "a.onnx", threshold=-2.5, sha256=sha256(trained.model))
    assert classifier.training and classifier.digest() == before
    assert path.read_bytes() == (exported[0] / "digits.onnx").read_bytes()
    file = onnx.load(path)
    (entry,) = (fact for fact in file.metadata_props if fact.key == ENTRY)
    facts = {"recipe": classifier.recipe.to_share().to_dict(), "labels": LABELS, "weights": classifier.weights}
    facts |= {"threshold": -2.5, "sha256": sha256(trained.model), "version": spokendigits.__version__}
    assert json.loads(entry.value) == facts
    shapes = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*file.graph.input, *file.graph.output)
    }
    answers = {"log_probabilities": ["batch", 10], "score": ["batch"], "picture": ["batch", 1, 48, 16_000 // 256 + 1]}
    assert shapes == {"waveform": ["batch", 16_000], **answers}
    # ONNX Runtime Web has the operators of the standard, and no model of a page should be larger for its frontend.
    assert {node.domain for node in file.graph.node} <= {"", "ai.onnx"}
    assert path.stat().st_size < 4 * sum(value.numel() for value in classifier.backbone.parameters()) + 100_000


def test_eight_bits_are_small_and_lose_little(people, trained, exported):
    files = {kind: exported[0] / name for kind, name in FILES.items()}
    size = {kind: file.stat().st_size for kind, file in files.items()}
    assert size["int8"] < 0.4 * size["fp32"] and size["int8"] < 1_500_000
    # All that were not heard: of 600 clips four would be too many, and as many are wrong by chance.
    rows = np.setdiff1d(np.arange(len(people)), trained.parts.train)
    digits, waveforms = people.table["digit"].to_numpy()[rows], trained.clips.read(rows)
    models = {kind: load_onnx(file) for kind, file in files.items()}
    said = {kind: log_probabilities(model, waveforms) for kind, model in models.items()}
    right = {kind: (answers.argmax(axis=1) == digits).mean() for kind, answers in said.items()}
    assert right["fp32"] > 0.85 and abs(right["fp32"] - right["int8"]) <= LOST
    first, second = np.sort(said["fp32"], axis=1)[:, :-3:-1].T
    sure = first > second + np.log(2)  # twice as likely as the next: only a toss-up may end another way
    assert sure.mean() > 0.5
    assert (said["fp32"].argmax(axis=1) == said["int8"].argmax(axis=1))[sure].mean() > 0.99
    pictures = [model(waveforms[:9])[2] for model in models.values()]
    assert np.abs(pictures[0] - pictures[1]).max() < 1e-6, "pictures have 32"
    assert np.abs(models["int8"](waveforms[:3])[0] - said["int8"][:3]).max() < 0.2, "in any company"
    assert {node.domain for node in onnx.load(files["int8"]).graph.node} <= {"", "ai.onnx"}
    classifier = Classifier.load(trained.model)
    assert parity(classifier, models["fp32"], waveforms) < TOLERANCE
    assert parity(classifier, models["int8"], waveforms[:64]) > TOLERANCE, "eight bits are no thirty-two"


@pytest.mark.parametrize("shape", [(16_000,), (2, 15_999), (0, 16_000), (1, 1, 16_000)])
def test_other_shapes_are_refused(exported, shape):
    with pytest.raises(CourseError, match=r"this model reads \[batch, 16000\], that is 1 s at 16,000 Hz"):
        load_onnx(exported[0] / "digits.onnx")(np.zeros(shape, np.float32))


def test_a_file_that_is_no_model_is_refused_in_one_line(exported, rewrite, tmp_path):
    whole = exported[0] / "digits.onnx"
    data = whole.read_bytes()

    def changed(name: str, change) -> None:
        model = onnx.load(whole)
        change(model)
        onnx.save(model, tmp_path / f"{name}.onnx")

    (tmp_path / "cut short.onnx").write_bytes(data[: len(data) // 2])
    (tmp_path / "empty.onnx").write_bytes(b"")
    (tmp_path / "text.onnx").write_text("digits\n" * 100)
    (tmp_path / "overwritten.onnx").write_bytes(data[:2000] + bytes(2000) + data[4000:])
    changed("of somebody else", lambda model: model.ClearField("metadata_props"))
    changed("not JSON", lambda model: onnx.helper.set_model_props(model, {ENTRY: "{"}))
    changed("a list", lambda model: onnx.helper.set_model_props(model, {ENTRY: "[]"}))
    changed("another output", lambda model: setattr(model.graph.output[1], "name", "picture"))
    rewrite(whole, tmp_path / "unknown setting.onnx", recipe={"hops": 3})
    rewrite(whole, tmp_path / "no recipe.onnx", recipe=None)
    paths = sorted(tmp_path.glob("*.onnx"))
    assert len(paths) == 10
    for path in (*paths, tmp_path / "missing.onnx", tmp_path):
        with pytest.raises(CourseError) as refused:
            load_onnx(path)
        said = str(refused.value)
        assert said.startswith(f"{path}: ") and "\n" not in said and len(said) < len(str(path)) + 400, said
        assert "Make one with `spokendigits export`." in said or "Export the model again." in said, said


def test_what_cannot_be_written_is_said_and_leaves_nothing(tmp_path):
    class Odd(nn.Module):
        def forward(self, picture):
            return picture.mean(dim=(1, 2, 3)).item() * torch.ones(len(picture), 10)

    classifier, none = Classifier(SEED, Odd()), np.zeros((0, SEED.samples), np.int16)
    for options, said in (
        ({"precision": "fp8"}, "unknown precision"),
        ({"precision": "int8"}, "int8 needs some clips"),
        ({"precision": "int8", "calibration": none}, "int8 needs some clips"),
        ({"threshold": float("nan")}, "a threshold of nan"),
        ({}, r"^export: PyTorch cannot write test_resnet.*Choose another backbone\.$"),
    ):
        with pytest.raises(CourseError, match=said):
            write_onnx(classifier, tmp_path / "a.onnx", **options)
        assert not list(tmp_path.iterdir())


def test_an_export_is_replaced_as_a_whole_and_nothing_else_is(trained, exported, monkeypatch, tmp_path, capsys):
    out, bundle = tmp_path / "out", ["export", str(trained.model), "--format", "bundle", "--out"]
    shutil.copytree(exported[0], out)

    def fails(*arguments, **options):
        raise CourseError("the card: no luck.")

    with monkeypatch.context() as patch:
        patch.setattr("spokendigits.publish.card.write", fails)
        assert [cli.main([*bundle, str(place)]) for place in (out, tmp_path / "new")] == [2, 2]
    assert capsys.readouterr().err == "error: the card: no luck.\n" * 2
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert sha256(out / "digits.onnx") == sha256(exported[0] / "digits.onnx")
    (out / "__pycache__").mkdir()
    (out / "__pycache__" / "left.pyc").touch()
    assert cli.main([*bundle, str(out)]) == 0
    names = {"README.md", "labels.json", "model.safetensors", "recipe.yaml"}
    assert {file.name for file in out.iterdir()} == {*names, "export.json"} and capsys.readouterr().err == ""
    # What the reader put there is worth more than an export.
    for elsewhere in (tmp_path / "nowhere", tmp_path):
        (out / "link").symlink_to(elsewhere)
        assert cli.main([*bundle, str(out)]) == 2 and str(out / "link") in capsys.readouterr().err
        (out / "link").unlink()
    (out / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for place, named in ((out, str(out / "notes.txt")), (tmp_path, ""), (tmp_path / "file", str(tmp_path / "file"))):
        assert cli.main([*bundle, str(place)]) == 2
        said = capsys.readouterr().err
        assert "would be lost. Choose another folder." in said and named in said and said.count("\n") == 1
    assert (out / "notes.txt").read_text() == (tmp_path / "file").read_text() == "mine"


def test_mistakes_are_said_before_anything_is_written(own_home, monkeypatch, tmp_path, capsys):
    monkeypatch.delenv("SPOKENDIGITS_DATA", raising=False)
    runs = own_home / "runs"
    for folder in ("mine", "several/a", "several/b"):
        (runs / folder).mkdir(parents=True)
        Classifier(SEED.but(corpus="tones")).save(runs / folder / MODEL)
        (runs / folder / "run.json").write_text('{"recipe": {}, "clips": ""}')
    shutil.copytree(runs / "mine", runs / "other")
    (runs / "other" / "run.json").write_text('{"other": 1}')
    (runs / "text.safetensors").write_text("no weights")
    mistakes = {
        "nobody": "nobody: no trained classifier there",
        "several": "several: holds several trainings. Choose one: ",
        "mine --format onxx": "unknown format",
        "mine --format onnx --threshold inf": "a threshold of inf is no score",
        "mine --format int8": "int8 needs some clips, and tones is not on this machine",
        "mine --format int8 --calibration voices": "and voices is not on this machine",
        "other --format onnx": "other/run.json: damaged (no 'recipe', 'clips' in it)",
        "text.safetensors": "not readable as safetensors",
    }
    if find_spec("mlflow") is None:
        mistakes["mine --format mlflow"] = "MLflow is not installed. Run `pip install mlflow`"
    for arguments, said in mistakes.items():
        assert cli.main(["export", *arguments.split(), "--out", str(tmp_path / "out")]) == 2
        error = capsys.readouterr().err
        assert error.startswith("error: ") and said in error and error.count("\n") == 1
        assert not (tmp_path / "out").exists()


def test_calibration_hears_clips_that_the_run_learned_from(people, tones, fsdd_root, monkeypatch, tmp_path):
    recipe = SEED.but(corpus="fsdd", split="one_speaker", fold=2)
    monkeypatch.setenv("SPOKENDIGITS_DATA", str(fsdd_root.parent))
    clips = export.calibration_clips(recipe)
    assert clips.shape == (export.CALIBRATION, recipe.samples) and clips.dtype == np.float32
    held_out = split(people, recipe.split, recipe.folds, recipe.fold, recipe.seed).validation
    unheard = {fit(read_audio(people.file(row), recipe.sample_rate), recipe.samples).tobytes() for row in held_out}
    assert len(unheard) == 500 and unheard.isdisjoint(clip.tobytes() for clip in clips)
    monkeypatch.delenv("SPOKENDIGITS_DATA", raising=False)
    clips = export.calibration_clips(SEED, str(tones.root))
    assert clips.shape == (180, SEED.samples) and np.abs(clips).max() > 0.1, "a folder of the reader's"


INSTALLED = """
import sys
from spokendigits import files
from spokendigits.app import cli

class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {extra!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Missing())
assert files.checkout() is None, "not the installed package"
print("status", *[cli.main(line.split()) for line in {lines!r}])
"""
EXTRA = (
    "captum cleanlab docutils ipykernel IPython ipywidgets jupyter_book jupyterlab librosa nbclient nbconvert nbformat "
)
EXTRA = (EXTRA + "papermill pyroomacoustics sphinx torchmetrics").split()


def test_an_installed_package_needs_no_checkout_and_no_extra(trained, exported, tones, fsdd_root, tmp_path):
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
    site, home = tmp_path / "site", tmp_path / "home"
    for package in setuptools["packages"]:  # as a wheel is made
        source = ROOT / setuptools["package-dir"].get(package, package.replace(".", "/"))
        for pattern in ("*.py", *setuptools["package-data"].get(package, [])):
            for file in source.glob(pattern):
                target = site / package.replace(".", "/") / file.relative_to(source)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, target)
    shutil.copytree(trained.model.parent, home / "runs" / "mine")
    lines = {
        f"train --name new --corpus {tones.root} --set epochs=1 --set backbone=test_resnet.r160_in1k --set weights=none": 0,
        "compare mine new": 0,
        f"predict {tones.file(0)} --model {home}/runs/new/model.safetensors": 0,
        f"predict {tones.file(0)} --model {exported[0]}/digits.onnx": 0,
        f"export mine --format onnx --format bundle --out {tmp_path}/out": 0,
        f"fetch fsdd --source {fsdd_root}": 0,
        "doctor": 0,
        "students": 2,
    }
    environment = os.environ | {"SPOKENDIGITS_HOME": str(home), "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1"}
    environment |= {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    code = INSTALLED.format(extra=EXTRA, lines=list(lines))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.stdout.splitlines()[-1:] == [f"status {' '.join(map(str, lines.values()))}"], done.stdout + done.stderr
    card = (tmp_path / "out" / "README.md").read_text()
    assert sha256(trained.model) in card and "{" not in card
    missing = r"^error: students needs the package (\w+)\. Run: pip install 'spokendigits\[course\]'$"
    (package,) = re.findall(missing, done.stderr, re.MULTILINE)
    assert package in EXTRA


def test_help_waits_for_nothing_heavy():
    code = "import sys; from spokendigits.app import cli; cli.parser().format_help(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"torch", "numpy", "pandas", "yaml", "matplotlib"} & set(done.stdout.split())


def test_an_mlflow_model_answers_by_itself(trained, tmp_path):
    pyfunc = pytest.importorskip("mlflow.pyfunc")
    out = export.write(str(trained.model), tmp_path / "out", ["mlflow"])
    model = pyfunc.load_model(str(out / "mlflow"))
    waveforms = trained.clips.read(trained.parts.validation[:3])
    said = model.predict(waveforms.astype(np.float32) / FULL_SCALE)
    expected = by_pytorch(Classifier.load(trained.model), waveforms)[0]
    assert np.abs(np.log([answer["probabilities"] for answer in said]) - expected).max() < TOLERANCE


@pytest.fixture
def mlflow(monkeypatch):
    """MLflow, or a stand-in with the names that the served module takes from there, which records what is saved."""
    if find_spec("mlflow") is not None:
        pytest.skip("MLflow is installed: the test before this one asks it")
    mlflow, exceptions = types.ModuleType("mlflow"), types.ModuleType("mlflow.exceptions")
    mlflow.saved, mlflow.pyfunc = {}, types.ModuleType("mlflow.pyfunc")
    mlflow.pyfunc.PythonModel = object
    exceptions.MlflowException = type(
        "MlflowException", (Exception,), {"invalid_parameter_value": classmethod(lambda cls, text: cls(text))}
    )
    for module in (mlflow, mlflow.pyfunc, exceptions):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.delitem(sys.modules, "spokendigits.app.serve", raising=False)
    return mlflow


def test_what_is_served_reads_files_and_waveforms(mlflow, trained, people, exported, rewrite, tmp_path):
    rows = trained.parts.validation[:3]
    waveforms = trained.clips.read(rows)
    expected, scores, _ = by_pytorch(Classifier.load(trained.model), waveforms)
    between = float(np.sort(scores)[:2].mean())
    model = rewrite(exported[0] / "digits.onnx", tmp_path / "digits.onnx", threshold=between)
    served = importlib.import_module("spokendigits.app.serve")
    digits = served.Digits()
    digits.load_context(types.SimpleNamespace(artifacts={"digits": str(model)}))
    files = [base64.b64encode(people.file(row).read_bytes()).decode() for row in rows]
    audio, _ = soundfile.read(people.file(rows[0]))
    soundfile.write(tmp_path / "stereo.flac", np.stack([audio, audio], axis=1), 8_000)
    forms = {
        "a data frame": pd.DataFrame({"audio": files}),
        "named lists": {"audio": files},
        "a list": files,
        "waveforms": waveforms.astype(np.float64) / FULL_SCALE,
        "lists of numbers": (waveforms / FULL_SCALE).tolist(),
    }
    for name, given in forms.items():
        answers = digits.predict(None, given)
        assert json.loads(json.dumps(answers)) == answers and len(answers) == 3, name
        for answer, said, score in zip(answers, expected, scores, strict=True):
            assert set(answer) == {"digit", "probability", "probabilities", "score"}
            assert np.abs(answer["probabilities"] - np.exp(said)).max() < 0.01, name
            assert answer["probability"] == max(answer["probabilities"]) and abs(answer["score"] - score) < 0.05
            assert answer["digit"] == (None if score == scores.min() else said.argmax()), name
    stereo = base64.b64encode((tmp_path / "stereo.flac").read_bytes()).decode()
    assert digits.predict(None, [stereo])[0]["probabilities"] == pytest.approx(np.exp(expected[0]), abs=0.01)
    broken = [np.where(np.arange(16_000) == 7, value, 0.0)[None] for value in (np.nan, np.inf, 1e300)]
    ragged = [[0.0] * 16_000, [0.0]]
    for wrong in (
        ["no base64!"],
        [base64.b64encode(b"no sound").decode()],
        np.zeros((1, 99)),
        {"audio": [3]},
        ragged,
        *broken,
    ):
        with pytest.raises(Exception, match=r"base64|recording|waveforms|no number") as refused:
            digits.predict(None, wrong)
        assert type(refused.value).__name__ == "MlflowException" and "\n" not in str(refused.value)
