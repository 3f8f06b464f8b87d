"""Pretraining on synthetic speech: made once, found again, and only where it may be used."""

import dataclasses

import pandas as pd
import pytest
import torch

from spokendigits import pretraining, training
from spokendigits.classifier import Classifier, create
from spokendigits.corpora import synthetic
from spokendigits.errors import CourseError
from spokendigits.files import data_folder, read_json, sha256
from spokendigits.pretraining import synthetic_backbone
from spokendigits.recipe import Recipe

# Another value for every setting of a recipe: those that the pretraining shares with what starts from it ...
COMMON = {
    "sample_rate": 16_000,
    "seconds": 0.5,
    "window": 1024,
    "hop": 256,
    "n_mels": 40,
    "f_min": 0.0,
    "f_max": 8_000.0,
    "mel_scale": "htk",
    "top_db": 60.0,
    "normalization": "clip",
    "backbone": "resnet18.a1_in1k",
    "pool": "max",
}
# ... and those that belong to the later training alone.
LATER = {
    "corpus": "audiomnist",
    "speakers": 5,
    "takes": 2,
    "weights": "synthetic",
    "dropout": 0.5,
    "batch_size": 16,
    "epochs": 9,
    "optimizer": "AdamW",
    "learning_rate": 0.01,
    "weight_decay": 0.1,
    "schedule": "constant",
    "warmup_epochs": 1.0,
    "gradient_clip": 1.0,
    "grad_accumulation": 2,
    "drop_last": False,
    "loss": "cross_entropy",
    "mixed_precision": False,
    "mixed_precision_inference": True,
    "augment": "all",
    "mix_probability": 0.5,
    "mix_concentration": 0.2,
    "split": "speaker",
    "folds": 6,
    "fold": 0,
    "checkpoint": "best",
    "metric": "accuracy",
    "seed": 7,
}


@pytest.fixture
def recipe(recipe) -> Recipe:
    return recipe.but(corpus="fsdd")


@pytest.fixture(autouse=True)
def little(monkeypatch):
    """Three voices, two takes and two small epochs, of which nobody learns much."""
    monkeypatch.setattr(synthetic, "SPEAKERS", tuple(synthetic.SPEAKERS[number] for number in (0, 4, 17)))
    small = pretraining.PRETRAINING.but(speakers=3, takes=2, epochs=2, batch_size=8, folds=3, fold=2)
    monkeypatch.setattr(pretraining, "PRETRAINING", small)
    monkeypatch.setattr(pretraining, "LOWEST", 0.0)


def weights_of(path) -> dict[str, torch.Tensor]:
    return {name: value for name, value in Classifier.load(path).state_dict().items() if name.startswith("backbone.")}


def same(a, b) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_made_once_and_found_again(recipe, monkeypatch, capsys):
    path = synthetic_backbone(recipe)
    said = capsys.readouterr().out
    assert said.count("\n") == 1 and "60 synthetic clips" in said and "No hub is needed" in said
    assert path.is_relative_to(data_folder() / "weights")
    made = read_json(path.parent / "run.json")
    assert made["sha256"] == sha256(path) and made["clips_train"] == 40 and made["clips_validation"] == 20
    assert "synthetic speech" in made["corpus"]
    assert pd.read_csv(path.parent / "predictions.csv")["speaker"].nunique() == 1, "a voice held out"

    before = path.stat().st_mtime_ns
    monkeypatch.setattr(training, "train", lambda *args: pytest.fail("trained again"))
    monkeypatch.setattr(synthetic, "fetch", lambda *args, **options: pytest.fail("spoke again"))
    assert synthetic_backbone(recipe) == path and path.stat().st_mtime_ns == before
    assert capsys.readouterr() == ("", ""), "nothing to say when it is there"


def test_its_weights_arrive_in_the_classifier_that_starts_from_it(recipe, capsys):
    path = synthetic_backbone(recipe, progress=False)
    assert capsys.readouterr() == ("", ""), "asked to be quiet"
    classifier = create(recipe.but(weights=str(path), dropout=0.3, loss="cross_entropy", seed=5))
    held = weights_of(path)
    assert same({name: classifier.state_dict()[name] for name in held}, held)
    assert classifier.weights == f"model.safetensors {sha256(path)[:12]}"
    untrained = create(pretraining.PRETRAINING.but(**{name: getattr(recipe, name) for name in COMMON})).state_dict()
    assert not same({name: untrained[name] for name in held}, held), "it was trained"


def test_pictures_and_network_decide_which_weights_and_nothing_else_does(recipe, monkeypatch):
    fields = {field.name for field in dataclasses.fields(Recipe)}
    assert fields == COMMON.keys() | LATER.keys(), "a new setting: shared with the pretraining, or not?"
    asked = []

    def note(own, folder, progress):
        asked.append((folder, own))
        raise InterruptedError

    def folder(recipe):
        with pytest.raises(InterruptedError):
            synthetic_backbone(recipe)
        return asked[-1][0]

    monkeypatch.setattr(pretraining, "_pretrain", note)
    first = folder(recipe)
    for name, value in COMMON.items():
        assert folder(recipe.but(**{name: value})) != first, name
        assert getattr(asked[-1][1], name) == value, "pretrained with the recipe's own"
    assert all(folder(recipe.but(**{name: value})) == first for name, value in LATER.items())
    # So does how the pretraining itself is done.
    for name, value in (
        ("speakers", 2),
        ("takes", 1),
        ("epochs", 1),
        ("batch_size", 4),
        ("loss", "cross_entropy"),
        ("seed", 1),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(pretraining, "PRETRAINING", pretraining.PRETRAINING.but(**{name: value}))
            assert folder(recipe) != first, name
    for module, name, value in (
        (pretraining, "VERSION", 0),
        (synthetic, "RECIPE", 0),
        (pretraining.espeak, "version", lambda: "0"),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(module, name, value)
            assert folder(recipe) != first, name


def test_no_head_start_on_the_synthetic_corpus(recipe):
    with pytest.raises(CourseError, match=r"validation clips.*none or imagenet, or take another corpus"):
        synthetic_backbone(recipe.but(corpus="synthetic"))


def test_interrupted_it_goes_on_from_the_last_epoch(recipe, monkeypatch, tmp_path):
    check = training.check_finite

    def stop_in_the_second_epoch(loss, step, *args):
        if step == 7:
            raise KeyboardInterrupt
        check(loss, step, *args)

    monkeypatch.setattr(training, "check_finite", stop_in_the_second_epoch)
    with pytest.raises(KeyboardInterrupt):
        synthetic_backbone(recipe, progress=False)
    steps = []
    monkeypatch.setattr(training, "check_finite", lambda loss, step, *args: steps.append(step))
    resumed = weights_of(synthetic_backbone(recipe, progress=False))
    assert steps == [5, 6, 7, 8, 9], "the second epoch, not the first"
    monkeypatch.setenv("SPOKENDIGITS_HOME", str(tmp_path))
    assert same(resumed, weights_of(synthetic_backbone(recipe, progress=False))), "as if never interrupted"


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_a_damaged_file_is_made_again(recipe, damage):
    path = synthetic_backbone(recipe, progress=False)
    before = weights_of(path)
    if damage == "changed":
        data = bytearray(path.read_bytes())
        data[-5] ^= 1
        path.write_bytes(data)
        with pytest.raises(CourseError, match="SHA-256"):
            create(recipe.but(weights=str(path)))
    else:
        path.unlink()
    assert synthetic_backbone(recipe, progress=False) == path
    assert same(weights_of(path), before)
    create(recipe.but(weights=str(path)))


def test_one_that_learned_nothing_is_not_used(recipe, monkeypatch):
    monkeypatch.setattr(pretraining, "LOWEST", 0.99)
    with pytest.raises(CourseError, match=r"recognised only \d+% of the clips of voices held out.*none or imagenet"):
        synthetic_backbone(recipe, progress=False)
    monkeypatch.setattr(training, "train", lambda *args: pytest.fail("trained again"))
    with pytest.raises(CourseError, match="recognised only"):
        synthetic_backbone(recipe, progress=False)
