"""An exported model answers as PyTorch does, and whatever cannot be exported or opened is said in one line."""

import base64
import importlib
import itertools
import json
import subprocess
import sys
import time
import types
from dataclasses import replace
from importlib.util import find_spec

import numpy as np
import onnx
import pandas as pd
import pytest
import soundfile
import torch
import torch.nn.functional as F
from torch import nn

import spokendigits
from spokendigits import corpora
from spokendigits.app import cli, export
from spokendigits.classifier import Classifier
from spokendigits.clips import fit, make_clips, read_audio
from spokendigits.convolution import MatrixConv2d, use_matrices
from spokendigits.corpora.corpus import FULL_SCALE
from spokendigits.errors import CourseError
from spokendigits.evaluation import predict
from spokendigits.files import read_json, sha256
from spokendigits.intervals import accuracy
from spokendigits.lanes import MODEL
from spokendigits.losses import digit_score, probabilities
from spokendigits.recipe import Recipe
from spokendigits.splits import split
from spokendigits.topics.onnx_reader import load_onnx
from spokendigits.topics.onnx_writer import FILES, write_onnx
from spokendigits.training import train
from studies.real_voices import SYNTHETIC

TOLERANCE = 1e-3  # of a log-probability
DECIBELS = 0.02  # of a picture that is in decibels; normalized ones have hardly more than 5 units from end to end
LOST = 0.005  # of accuracy, by 8 bits
PLAIN = {"backbone": "test_resnet.r160_in1k", "weights": "none"}
# The two recipes that the course exports: the small network's, with each picture normalized, and the seed's in decibels.
PICTURES = {"clip": SYNTHETIC.but(**PLAIN, augment="none"), "none": Recipe.preset("seed").but(**PLAIN)}
KINDS = [(picture, loss) for picture in PICTURES for loss in ("bce", "cross_entropy")]


def untrained(recipe: Recipe, waveforms: np.ndarray | None = None) -> Classifier:
    """Random weights, but with statistics of batches, and with answers to some clips as far apart as a trained network's."""
    torch.manual_seed(1)
    classifier = Classifier(recipe).eval()
    for module in classifier.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    clips = torch.randn(32, recipe.samples) if waveforms is None else torch.from_numpy(waveforms[:32])
    with torch.no_grad():
        logits, head = classifier(clips), classifier.backbone.get_classifier()
        head.weight *= 4 / logits.std(dim=0)[:, None]
        head.bias -= classifier(clips).mean(dim=0)
    return classifier


def by_pytorch(classifier: Classifier, waveforms: np.ndarray) -> list[np.ndarray]:
    """Log-probabilities, scores and pictures, from the functions of `evaluation` and the frontend itself."""
    with torch.inference_mode():
        audio, loss = torch.from_numpy(waveforms), classifier.recipe.loss
        logits = classifier.eval()(audio)
        each = F.logsigmoid(logits.double()) if loss == "bce" else logits.double()
        said = each.log_softmax(dim=1)
        likely = probabilities(logits, loss)
        assert torch.allclose(said.exp(), likely, atol=1e-9)
        return [said.numpy(), digit_score(logits, loss).numpy(), classifier.frontend(audio).numpy()]


def differences(classifier: Classifier, model, waveforms: np.ndarray) -> list[float]:
    """The largest of log-probabilities, scores and pictures."""
    pairs = zip(by_pytorch(classifier, waveforms), model(waveforms), strict=True)
    return [float(np.abs(one - other).max()) for one, other in pairs]


@pytest.fixture(scope="module")
def people(fsdd_root):
    return corpora.read("fsdd", fsdd_root)


@pytest.fixture(scope="module")
def heard(people) -> dict[str, np.ndarray]:
    """Every 20th clip of FSDD, int16 [150, samples], for each of PICTURES."""
    return {
        name: np.stack(
            [
                np.rint(fit(read_audio(people.file(row), recipe.sample_rate), recipe.samples) * (FULL_SCALE - 1))
                for row in range(0, len(people), 20)
            ]
        ).astype(np.int16)
        for name, recipe in PICTURES.items()
    }


@pytest.fixture(scope="module")
def pairs(heard, tmp_path_factory) -> dict[tuple[str, str], tuple]:
    """A classifier and its model, for each of KINDS."""
    folder, made = tmp_path_factory.mktemp("pairs"), {}
    for number, (picture, loss) in enumerate(KINDS):
        classifier = untrained(PICTURES[picture].but(loss=loss), heard[picture])
        made[picture, loss] = classifier, load_onnx(write_onnx(classifier, folder / f"{number}.onnx"))
    return made


@pytest.fixture(scope="module")
def trained(people, tmp_path_factory):
    """A run that learned from people, on its own home: the home, its folder, the clips and the parts."""
    home = tmp_path_factory.mktemp("trained")
    recipe = PICTURES["clip"].but(
        corpus="fsdd", mix_probability=0.0, split="random", folds=5, fold=4, epochs=10, learning_rate=0.003, loss="bce"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SPOKENDIGITS_HOME", str(home))
        clips = make_clips(people, recipe, progress=False)
        parts = split(people, recipe.split, recipe.folds, recipe.fold, recipe.seed)
        parts = replace(parts, train=parts.train[::2])
        train(recipe, people, clips, parts, home / "runs" / "mine", progress=False)
    return home / "runs" / "mine" / MODEL, clips, parts


@pytest.mark.parametrize("kind", KINDS)
def test_answers_as_pytorch_on_people(pairs, heard, kind):
    classifier, model = pairs[kind]
    said, score, picture = differences(classifier, model, heard[kind[0]])
    spread = model(heard[kind[0]])[0]
    assert spread.std(axis=0).min() > 1 and len(set(spread.argmax(axis=1))) > 5, "or they could agree without listening"
    assert said < TOLERANCE and score < TOLERANCE
    assert picture < (DECIBELS if kind[0] == "none" else TOLERANCE)


@pytest.mark.parametrize("batch", [1, 3, 128])
@pytest.mark.parametrize("picture", PICTURES)
def test_a_clip_has_the_same_answer_in_any_company(pairs, heard, picture, batch):
    classifier, model = pairs[picture, "bce"]
    waveforms = heard[picture][:batch]
    assert max(differences(classifier, model, waveforms)[:2]) < TOLERANCE
    for one, answer in zip(model(waveforms), model(waveforms[-1:]), strict=True):
        assert one.shape == (batch, *answer.shape[1:]) and one.dtype == np.float32
        assert np.abs(one[-1:] - answer).max() < TOLERANCE


@pytest.mark.parametrize("kind", KINDS)
def test_silence_and_extremes(pairs, kind):
    classifier, model = pairs[kind]
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
        assert all(np.isfinite(one).all() for one in model(waveform)), name
        said, score, picture = differences(classifier, model, waveform)
        # A picture like no other has answers in the hundreds, and float32 has seven digits.
        likely, sure, _ = (np.abs(one).max() for one in model(waveform))
        assert said < TOLERANCE * max(1, likely) and score < TOLERANCE * max(1, sure) and picture < DECIBELS, name


def test_a_sound_far_above_full_scale(pairs, heard):
    classifier, model = pairs["clip", "bce"]
    waveforms = heard["clip"][:4].astype(np.float32) / 3
    assert max(differences(classifier, model, waveforms)) < TOLERANCE


@pytest.mark.parametrize("kind", KINDS)
def test_samples_may_be_whole_numbers_or_fractions(pairs, heard, kind):
    _, model = pairs[kind]
    whole = heard[kind[0]][:8]
    for one, other in zip(model(whole), model(whole / np.float64(FULL_SCALE)), strict=True):
        assert np.array_equal(one, other)


def test_says_what_it_is_and_where_it_came_from(tmp_path):
    recipe = PICTURES["clip"].but(loss="cross_entropy")
    classifier = Classifier(recipe, weights="imagenet").train()
    use_matrices(classifier.backbone)
    before = classifier.digest()
    path = write_onnx(classifier, tmp_path / "new" / "a.onnx", threshold=-1.5, sha256="0" * 64)
    assert classifier.training and classifier.digest() == before
    assert any(type(module) is MatrixConv2d for module in classifier.modules())
    file = onnx.load(path)
    (entry,) = (one for one in file.metadata_props if one.key == onnx_reader.ENTRY)
    assert json.loads(entry.value) == {
        "recipe": recipe.to_dict(),
        "labels": list("0123456789"),
        "weights": "imagenet",
        "threshold": -1.5,
        "sha256": "0" * 64,
        "version": spokendigits.__version__,
    }
    model = load_onnx(path)
    assert (model.recipe, model.labels, model.threshold) == (recipe, list("0123456789"), -1.5)
    assert (model.weights, model.sha256) == ("imagenet", "0" * 64)
    shapes = {
        one.name: [dim.dim_param or dim.dim_value for dim in one.type.tensor_type.shape.dim]
        for one in (*file.graph.input, *file.graph.output)
    }
    frames = 16_000 // 256 + 1
    assert shapes == {
        "waveform": ["batch", 16_000],
        "log_probabilities": ["batch", 10],
        "score": ["batch"],
        "picture": ["batch", 1, 48, frames],
    }
    # ONNX Runtime Web has the operators of the standard, and no model of a page should be larger for its frontend.
    assert {one.domain for one in file.graph.node} <= {"", "ai.onnx"}
    weights = 4 * sum(value.numel() for value in classifier.backbone.parameters())
    assert path.stat().st_size < weights + 100_000
    held = path.read_bytes()
    assert str(tmp_path.parent).encode() not in held and b"site-packages" not in held and b"spokendigits/" not in held
    assert write_onnx(classifier, tmp_path / "b.onnx", threshold=-1.5, sha256="0" * 64).read_bytes() == held
    assert load_onnx(write_onnx(classifier, tmp_path / "c.onnx")).threshold is None


def test_where_its_weights_lay_is_not_passed_on(tmp_path):
    classifier = Classifier(PICTURES["clip"].but(weights=str(tmp_path / "first.safetensors")))
    path = write_onnx(classifier, tmp_path / "a.onnx")
    assert str(tmp_path).encode() not in path.read_bytes() and load_onnx(path).recipe.weights == "first.safetensors"
    classifier.save(tmp_path / MODEL)
    (tmp_path / "out").mkdir()
    export.write_bundle(classifier, tmp_path / "out", tmp_path / MODEL)
    for passed_on in (tmp_path / "out").iterdir():
        assert str(tmp_path).encode() not in passed_on.read_bytes(), passed_on.name


def test_runs_without_pytorch(pairs, tmp_path):
    path = write_onnx(pairs["clip", "bce"][0], tmp_path / "a.onnx")
    code = (
        "import sys, numpy; sys.modules['torch'] = None; from spokendigits.exported import load_onnx; "
        f"print(load_onnx({str(path)!r})(numpy.zeros((2, 16000)))[0].shape)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "(2, 10)\n", done.stderr


@pytest.mark.parametrize("shape", [(16_000,), (2, 15_999), (0, 16_000), (1, 1, 16_000)])
def test_other_shapes_are_refused(pairs, shape):
    with pytest.raises(CourseError, match=r"this model reads \[batch, 16000\], that is 1 s at 16,000 Hz"):
        pairs["clip", "bce"][1](np.zeros(shape, np.float32))


def test_a_file_that_is_no_model_is_refused_in_one_line(pairs, tmp_path):
    whole = write_onnx(pairs["clip", "bce"][0], tmp_path / "whole.onnx")
    data = whole.read_bytes()

    def changed(name: str, change) -> None:
        model = onnx.load(whole)
        change(model)
        onnx.save(model, tmp_path / f"{name}.onnx")

    def entry(**changes):
        def change(model) -> None:
            held = json.loads(model.metadata_props[0].value) | changes
            onnx.helper.set_model_props(model, {onnx_reader.ENTRY: json.dumps(held)})

        return change

    (tmp_path / "cut short.onnx").write_bytes(data[: len(data) // 2])
    (tmp_path / "empty.onnx").write_bytes(b"")
    (tmp_path / "text.onnx").write_text("digits\n" * 100)
    (tmp_path / "overwritten.onnx").write_bytes(data[:2000] + bytes(2000) + data[4000:])
    changed("of somebody else", lambda model: model.ClearField("metadata_props"))
    changed("not JSON", lambda model: onnx.helper.set_model_props(model, {onnx_reader.ENTRY: "{"}))
    changed("a list", lambda model: onnx.helper.set_model_props(model, {onnx_reader.ENTRY: "[]"}))
    changed("unknown setting", entry(recipe={"hops": 3}))
    changed("no recipe", entry(recipe=None))
    changed("another output", lambda model: setattr(model.graph.output[1], "name", "picture"))
    names = sorted(path for path in tmp_path.glob("*.onnx") if path != whole)
    assert len(names) == 10
    for path in (*names, tmp_path / "missing.onnx", tmp_path):
        with pytest.raises(CourseError) as refused:
            load_onnx(path)
        said = str(refused.value)
        assert said.startswith(f"{path}: ") and "\n" not in said and len(said) < len(str(path)) + 400, said
        assert "Make one with `spokendigits export`." in said or "Export the model again." in said, said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"precision": "fp8"}, "unknown precision"),
        ({"precision": "int8"}, "int8 needs some clips"),
        ({"precision": "int8", "calibration": np.zeros((0, 16_000), np.int16)}, "int8 needs some clips"),
        ({"threshold": float("nan")}, "a threshold of nan"),
    ],
)
def test_what_cannot_be_written_is_said_and_leaves_nothing(pairs, tmp_path, options, said):
    with pytest.raises(CourseError, match=said):
        write_onnx(pairs["clip", "bce"][0], tmp_path / "a.onnx", **options)
    assert not list(tmp_path.iterdir())


def test_a_backbone_that_cannot_be_exported(tmp_path):
    class Odd(nn.Module):
        def forward(self, picture):
            return picture.mean(dim=(1, 2, 3)).item() * torch.ones(len(picture), 10)

    with pytest.raises(CourseError, match=r"^export: PyTorch cannot write test_resnet.*Choose another backbone\.$"):
        write_onnx(Classifier(PICTURES["clip"], Odd()), tmp_path / "a.onnx")
    assert not list(tmp_path.iterdir())


def test_eight_bits_are_small_and_lose_little(trained, people, tmp_path):
    path, clips, parts = trained
    classifier = Classifier.load(path)
    calibration = clips.read(parts.train[:200])
    files = {kind: write_onnx(classifier, tmp_path / f"{kind}.onnx", kind, -1.0, calibration) for kind in FILES}
    size = {kind: file.stat().st_size for kind, file in files.items()}
    assert size["int8"] < 0.4 * size["fp32"] and size["int8"] < 1_500_000
    digits, waveforms = people.table["digit"].to_numpy()[parts.validation], clips.read(parts.validation)
    said = {kind: export._by_onnx(load_onnx(file), waveforms) for kind, file in files.items()}
    right = {kind: (its.argmax(axis=1) == digits).mean() for kind, its in said.items()}
    assert right["fp32"] > 0.85 and abs(right["fp32"] - right["int8"]) <= LOST
    assert (said["fp32"].argmax(axis=1) == said["int8"].argmax(axis=1)).mean() > 0.98
    model = load_onnx(files["int8"])
    assert model.threshold == -1.0 and model.recipe == classifier.recipe
    assert np.abs(load_onnx(files["fp32"])(waveforms[:9])[2] - model(waveforms[:9])[2]).max() < 1e-6, "pictures have 32"
    assert np.abs(model(waveforms[:3])[0] - said["int8"][:3]).max() < 0.2, "in any company"
    assert {one.domain for one in onnx.load(files["int8"]).graph.node} <= {"", "ai.onnx"}
    assert export.parity(classifier, load_onnx(files["fp32"]), waveforms) < TOLERANCE
    assert export.parity(classifier, model, waveforms) > TOLERANCE, "eight bits are no thirty-two"


def test_networks_take_turns_and_the_slower_takes_longer(pairs, heard):
    classifier, model = pairs["clip", "bce"]
    order = []

    def sleeper(name: str, seconds: float):
        def read(waveform):
            assert waveform.shape == (1, 16_000) and torch.get_num_threads() == 1
            order.append(name)
            time.sleep(seconds)

        return read

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    networks = {"slow": sleeper("slow", 0.02), "fast": sleeper("fast", 0.005), "PyTorch": classifier, "ONNX": model}
    found = export.latency(networks, heard["clip"])
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)
    assert list(found) == list(networks) and found["slow"]["median"] > 20 > found["fast"]["median"] > 5
    assert all(0 < its["low"] <= its["median"] <= its["high"] for its in found.values())
    switches = sum(one != other for one, other in itertools.pairwise(order))
    assert switches == 2 * (export.TURNS + 1) - 1


def test_the_study_measures_each_model_in_each_form(trained, people, monkeypatch, tmp_path):
    monkeypatch.setenv("SPOKENDIGITS_HOME", str(tmp_path))
    path, clips, parts = trained
    monkeypatch.setattr(export, "TURNS", 1)
    rows, calibration = parts.validation[:120], parts.train[:40]
    models = {"resnet50": untrained(PICTURES["clip"].but(sample_rate=8_000, loss="cross_entropy")).train()}
    models["small"] = Classifier.load(path)
    found = export.study(models, clips, people, rows, calibration, progress=False)
    assert json.loads(json.dumps(found)) == found
    assert list(found) == [f"{model} {kind}" for model in models for kind in ("PyTorch", *FILES)]
    keys = {"model", "precision", "bytes", "size_mb", "accuracy", "low", "high", "clips", "largest_difference"}
    keys |= {"milliseconds", "milliseconds_low", "milliseconds_high", "speedup", "speedup_own"}
    for name, row in found.items():
        assert set(row) == keys and name == f"{row['model']} {row['precision']}" and row["clips"] == 120
        assert row["low"] <= row["accuracy"] <= row["high"] and row["size_mb"] == row["bytes"] / 1e6
        assert row["speedup"] == pytest.approx(found["resnet50 PyTorch"]["milliseconds"] / row["milliseconds"])
        assert row["speedup_own"] == pytest.approx(
            found[f"{row['model']} PyTorch"]["milliseconds"] / row["milliseconds"]
        )
    assert found["small PyTorch"]["bytes"] == path.stat().st_size
    table = predict(models["small"], clips, people, rows, progress=False)
    assert found["small PyTorch"]["accuracy"] == pytest.approx(accuracy(table)) and accuracy(table) > 0.85
    assert found["small PyTorch"]["largest_difference"] == 0
    for model in models:
        assert found[f"{model} fp32"]["largest_difference"] < TOLERANCE < found[f"{model} int8"]["largest_difference"]
        assert found[f"{model} fp32"]["accuracy"] == found[f"{model} PyTorch"]["accuracy"]
    with pytest.raises(CourseError, match="int8 needs some clips"):
        export.study({"small": models["small"]}, clips, people, np.arange(len(people)), progress=False)


def test_the_command_writes_everything_and_says_so(trained, fsdd_root, monkeypatch, tmp_path, capsys):
    path, clips, parts = trained
    monkeypatch.setenv("SPOKENDIGITS_HOME", str(path.parents[2]))
    monkeypatch.setenv("SPOKENDIGITS_DATA", str(fsdd_root.parent))
    out = tmp_path / "out"
    assert cli.main(["export", "mine", "--out", str(out), "--threshold", "-2.5"]) == 0
    names = {"README.md", "digits-int8.onnx", "digits.onnx", "labels.json", "model.safetensors", "recipe.yaml"}
    assert {file.name for file in out.iterdir()} == names | {"export.json"}
    said = capsys.readouterr().out.splitlines()
    assert len(said) == len(names)
    for name in names:
        assert any(line.endswith(f"{out / name}") and f"{(out / name).stat().st_size:,} bytes" in line for line in said)
    record = read_json(out / "export.json")
    assert record["sha256"] == sha256(path) == sha256(out / MODEL) and set(record["files"]) == names
    assert all(its["sha256"] == sha256(out / name) for name, its in record["files"].items())
    bundle = Classifier.load(out / MODEL)
    assert bundle.digest() == Classifier.load(path).digest()
    assert Recipe.from_yaml(out / "recipe.yaml") == bundle.recipe and read_json(out / "labels.json") == list(
        "0123456789"
    )
    card = (out / "README.md").read_text()
    assert record["sha256"] in card and "`digits-int8.onnx`" in card and "{" not in card
    for name in FILES.values():
        model = load_onnx(out / name)
        assert (model.threshold, model.sha256, model.recipe) == (-2.5, record["sha256"], bundle.recipe)
    waveforms = clips.read(parts.validation[:64])
    assert export.parity(bundle, load_onnx(out / "digits.onnx"), waveforms) < TOLERANCE
    # Again, with less: the folder is replaced as a whole.
    assert cli.main(["export", str(path.parent), "--out", str(out), "--format", "onnx"]) == 0
    assert {file.name for file in out.iterdir()} == {"digits.onnx", "export.json"}
    assert load_onnx(out / "digits.onnx").threshold is None and capsys.readouterr().err == ""


def test_a_failure_leaves_what_was_there(trained, monkeypatch, tmp_path, capsys):
    path, out = trained[0], tmp_path / "out"
    assert cli.main(["export", str(path), "--out", str(out), "--format", "onnx"]) == 0
    before = sha256(out / "digits.onnx")

    def fails(*arguments, **options):
        raise CourseError("the card: no luck.")

    with monkeypatch.context() as patch:
        patch.setattr("spokendigits.card.write", fails)
        for place in (out, tmp_path / "new"):
            assert cli.main(["export", str(path), "--out", str(place), "--format", "bundle"]) == 2
    assert capsys.readouterr().err == "error: the card: no luck.\n" * 2
    assert sha256(out / "digits.onnx") == before
    assert [one.name for one in tmp_path.iterdir()] == ["out"] and len(list(out.iterdir())) == 2
    # What the reader put there is worth more than an export.
    (out / "__pycache__").mkdir()
    (out / "__pycache__" / "left.pyc").touch()
    assert cli.main(["export", str(path), "--out", str(out), "--format", "onnx"]) == 0
    (out / "notes.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for place, named in ((out, out / "notes.txt"), (tmp_path, None), (tmp_path / "file", tmp_path / "file")):
        assert cli.main(["export", str(path), "--out", str(place), "--format", "onnx"]) == 2
        said = capsys.readouterr().err
        assert "would be lost. Choose another folder." in said and said.count("\n") == 1
        assert named is None or str(named) in said
    assert (out / "notes.txt").read_text() == (tmp_path / "file").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nobody"], "nobody: no trained classifier there"),
        (["several"], "several: holds several trainings. Choose one: "),
        (["mine", "--format", "onxx"], "unknown format"),
        (["mine", "--format", "onnx", "--threshold", "inf"], "a threshold of inf is no score"),
        (["mine", "--format", "int8"], "int8 needs some clips, and tones is not on this machine"),
        (["mine", "--format", "int8", "--calibration", "voices"], "and voices is not on this machine"),
        (["text.safetensors"], "not readable as safetensors"),
    ],
)
def test_mistakes_are_said_before_anything_is_written(own_home, monkeypatch, tmp_path, capsys, arguments, said):
    monkeypatch.setenv("SPOKENDIGITS_DATA", str(tmp_path / "nothing"))
    runs = own_home / "runs"
    for folder in ("mine", "several/a", "several/b"):
        (runs / folder).mkdir(parents=True)
        Classifier(PICTURES["clip"].but(corpus="tones")).save(runs / folder / MODEL)
        (runs / folder / "history.csv").touch()
        (runs / folder / "run.json").write_text("{}")
    (runs / "text.safetensors").write_text("no weights")
    assert cli.main(["export", *arguments, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and said in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_calibration_hears_clips_that_the_run_learned_from(people, fsdd_root, monkeypatch, tmp_path):
    recipe = PICTURES["clip"].but(corpus="fsdd", split="one_speaker", fold=2)
    monkeypatch.setenv("SPOKENDIGITS_DATA", str(fsdd_root.parent))
    found = export.calibration_clips(recipe)
    assert found.shape == (export.CALIBRATION, recipe.samples) and found.dtype == np.float32
    held_out = split(people, recipe.split, recipe.folds, recipe.fold, recipe.seed).validation
    unheard = {fit(read_audio(people.file(row), recipe.sample_rate), recipe.samples).tobytes() for row in held_out}
    assert len(unheard) == 500 and unheard.isdisjoint(clip.tobytes() for clip in found)


def test_calibration_from_a_folder_of_the_readers(tones, monkeypatch, tmp_path):
    monkeypatch.setenv("SPOKENDIGITS_DATA", str(tmp_path / "nothing"))
    found = export.calibration_clips(PICTURES["clip"], str(tones.root))
    assert found.shape == (180, 16_000) and np.abs(found).max() > 0.1


@pytest.mark.skipif(find_spec("mlflow") is not None, reason="MLflow is installed")
def test_without_mlflow_nothing_is_written(trained, tmp_path, capsys):
    assert cli.main(["export", str(trained[0]), "--out", str(tmp_path / "out"), "--format", "mlflow"]) == 2
    assert "MLflow is not installed. Run `pip install mlflow`" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_an_mlflow_model_answers_by_itself(trained, monkeypatch, tmp_path):
    pyfunc = pytest.importorskip("mlflow.pyfunc")
    path, clips, parts = trained
    out = export.export(path, tmp_path / "out", ["mlflow"])
    model = pyfunc.load_model(str(out / "mlflow"))
    waveforms = clips.read(parts.validation[:3])
    said = model.predict(waveforms.astype(np.float32) / FULL_SCALE)
    expected = by_pytorch(Classifier.load(path), waveforms)[0]
    assert np.abs(np.log([one["probabilities"] for one in said]) - expected).max() < TOLERANCE


@pytest.fixture
def served(monkeypatch):
    """The module behind MLflow, with the two names that it takes from there."""
    if find_spec("mlflow") is None:
        mlflow, exceptions = types.ModuleType("mlflow"), types.ModuleType("mlflow.exceptions")
        mlflow.pyfunc = types.SimpleNamespace(PythonModel=object)
        exceptions.MlflowException = type(
            "MlflowException", (Exception,), {"invalid_parameter_value": classmethod(lambda cls, text: cls(text))}
        )
        monkeypatch.setitem(sys.modules, "mlflow", mlflow)
        monkeypatch.setitem(sys.modules, "mlflow.exceptions", exceptions)
        monkeypatch.delitem(sys.modules, "spokendigits.served", raising=False)
    return importlib.import_module("spokendigits.served")


def test_what_is_served_reads_files_and_waveforms(served, trained, people, tmp_path):
    path, clips, parts = trained
    classifier = Classifier.load(path)
    rows = parts.validation[:3]
    expected, scores, _ = by_pytorch(classifier, clips.read(rows))
    model = write_onnx(classifier, tmp_path / "digits.onnx", threshold=float(np.sort(scores)[:2].mean()))
    digits = served.Digits()
    digits.load_context(types.SimpleNamespace(artifacts={"digits": str(model)}))
    files = [base64.b64encode(people.file(row).read_bytes()).decode() for row in rows]
    audio, _ = soundfile.read(people.file(rows[0]))
    soundfile.write(tmp_path / "stereo.flac", np.stack([audio, audio], axis=1), 8_000)
    forms = {
        "a data frame": pd.DataFrame({"audio": files}),
        "named lists": {"audio": files},
        "a list": files,
        "waveforms": clips.read(rows).astype(np.float64) / FULL_SCALE,
        "lists of numbers": (clips.read(rows) / FULL_SCALE).tolist(),
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
    for wrong in (["no base64!"], [base64.b64encode(b"no sound").decode()], np.zeros((1, 99)), {"audio": [3]}):
        with pytest.raises(Exception, match=r"base64|recording|waveforms") as refused:
            digits.predict(None, wrong)
        assert type(refused.value).__name__ == "MlflowException" and "\n" not in str(refused.value)
