"""Recipes: the seed's settings, presets, YAML in and out, and mistakes named."""

import os
import re

import pytest
import yaml

from spokendigits.app import cli, product_yaml
from spokendigits.errors import CourseError
from spokendigits.recipe import Recipe

PRODUCT = """
architecture: {backbone: resnet50, dropout: 0, pool: Average, pretrained: true}
audio: {hop_size: 512, maximum_frequency: 16000, mel_frequency_bins: 128, minimum_frequency: 50, sample_rate: 22050,
  spectrogram_normalization: 'No', stft_window_size: 2048, training_chunk_seconds: 1}
augmentation: {mix_audio: Disabled, mix_concentration: 1.0, mix_iterations: 1, mix_probability: 1.0}
dataset: {folds: ['4'], group_fold_column: audio, label_columns: [label]}
environment: {gpus: ['0'], mixed_precision_inference: false, mixed_precision_training: true, seed: -1}
prediction: {metric: ROC_AUC, probability_threshold: 0.5}
training: {batch_size: 32, drop_last_batch: true, epochs: 5, grad_accumulation: 1, gradient_clip: 0.0, learning_rate: 0.001,
  loss_function: BCE, optimizer: AdamW, save_best_checkpoint: false, schedule: Cosine, warmup_epochs: 0, weight_decay: 0.0}
experiment_name: spoken
"""


def test_the_seed_preset_is_the_seed_experiment():
    recipe = Recipe.preset("seed")
    assert (recipe.batch_size, recipe.epochs, recipe.learning_rate, recipe.weight_decay) == (32, 5, 0.001, 0)
    assert (recipe.optimizer, recipe.schedule, recipe.gradient_clip, recipe.loss) == ("AdamW", "cosine", 0, "bce")
    assert (recipe.window, recipe.hop, recipe.n_mels, recipe.f_min, recipe.f_max) == (2048, 512, 128, 50, 16_000)
    assert (recipe.n_mels, recipe.frames) == (128, 44)
    assert (recipe.split, recipe.folds, recipe.fold, recipe.checkpoint) == ("random", 5, 4, "last")
    assert recipe.backbone == "resnet50.a1_in1k"


def test_the_fast_preset_wastes_no_mel_bin():
    assert Recipe.preset("fast").f_max == Recipe.preset("fast").nyquist


@pytest.mark.parametrize("preset", ["seed", "fast"])
def test_yaml_and_back(preset, tmp_path):
    recipe = Recipe.preset(preset).but(takes=7, seed=3, split="speaker")
    recipe.to_yaml(tmp_path / "recipe.yaml")
    assert product_yaml.read_recipe(tmp_path / "recipe.yaml")[0] == recipe
    assert set(yaml.safe_load((tmp_path / "recipe.yaml").read_text())) == set(Recipe.model_fields)


def test_the_products_yaml_gives_the_seed_recipe_and_names_what_it_leaves_out(tmp_path):
    (tmp_path / "cfg.yaml").write_text(PRODUCT)
    recipe, unused = product_yaml.read_recipe(tmp_path / "cfg.yaml")
    assert recipe == Recipe.preset("seed")
    assert unused["prediction.probability_threshold"] == 0.5
    assert unused["environment.gpus"] == ["0"]
    assert unused["experiment_name"] == "spoken"
    assert "training.epochs" not in unused
    assert product_yaml.read_recipe(tmp_path / "cfg.yaml") == (recipe, unused)
    recipe.to_yaml(tmp_path / "own.yaml")
    assert product_yaml.read_recipe(tmp_path / "own.yaml") == (recipe, {})


def test_the_products_settings_are_really_read(tmp_path):
    changed = PRODUCT.replace("epochs: 5", "epochs: 9").replace("mix_audio: Disabled", "mix_audio: Mixup")
    (tmp_path / "cfg.yaml").write_text(changed.replace("seed: -1", "seed: 11"))
    recipe, _ = product_yaml.read_recipe(tmp_path / "cfg.yaml")
    assert (recipe.epochs, recipe.mix_probability, recipe.seed) == (9, 1.0, 11)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"epoch": 3}, "epochs"),
        ({"epochs": 2.5}, "valid integer"),
        ({"epochs": 0}, "greater than or equal to 1"),
        ({"learning_rate": 0.0}, "greater than 0"),
        ({"loss": "hinge"}, "cross_entropy"),
        ({"optimizer": "SGD"}, "AdamW"),
        ({"fold": 5}, "folds"),
        ({"takes": 0}, "greater than or equal to 1"),
        ({"f_max": 20.0}, "above f_min"),
        ({"mixed_precision": 1}, "valid boolean"),
        ({"mix_concentration": 0.0}, "greater than or equal to 0.01"),
        ({"mix_probability": 5}, "less than or equal to 1"),
        ({"dropout": 2.0}, "less than 1"),
        ({"sample_rate": 10**9}, "less than or equal to 192000"),
        ({"sample_rate": 1}, "greater than or equal to 1000"),
        ({"seconds": 1e9}, "less than or equal to 60"),
        ({"seconds": float("inf")}, "finite"),
        ({"top_db": float("inf")}, "finite"),
        ({"n_mels": 10**9}, "less than or equal to 1024"),
        ({"window": 1, "hop": 1}, "greater than or equal to 16"),
        ({"window": 30_000}, "hop 512, window 30000, clip 22050"),
        ({"hop": 4096}, "hop 4096, window 2048, clip 22050"),
        ({"hop": 1}, "128 x 22051 is too large"),
        ({"f_min": 11_025.0}, "half of sample_rate"),
        ({"seed": 2**62}, "less than or equal to 4294967295"),
        ({"takes": 10**23}, "less than or equal to 1000000"),
        ({"folds": 1, "fold": 0}, "greater than or equal to 2"),
        ({"corpus": ["x" * 999] * 999}, "valid string"),
        ({"augment": "none+voice"}, "parts with +; unknown: 'none'"),
        ({"augment": "voice+all"}, "parts with +; unknown: 'all'"),
        ({"warmup_epochs": 6.0}, "warm-up of 6.0 of 5 epochs"),
        ({"seconds": 1e-6}, "1e-06 seconds"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_is_wrong(changes, words):
    with pytest.raises(CourseError) as caught:
        Recipe().but(**changes)
    assert words in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 600


def test_no_number_may_lie_below_zero():
    for name, value in Recipe(speakers=1, takes=1).to_dict().items():
        if type(value) in (int, float):
            with pytest.raises(CourseError, match=f"recipe: {name} is -1"):
                Recipe(**{name: type(value)(-1)})


LAUGHS = "corpus: [" + ", ".join(f"&a{n} [{', '.join([f'*a{n - 1}' if n else 'ha'] * 9)}]" for n in range(12)) + "]"


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[1, 2", "not readable as YAML"),
        ("just a word", "one 'name: value' a line"),
        ("", "one 'name: value' a line"),
        ("3: 4", "one 'name: value' a line"),
        ("epochs: 3\nepochs: 4", "epochs is given twice"),
        (LAUGHS, "alias"),
        ("corpus: " + "[" * 5000 + "]" * 5000, "recursion"),
        ("epochs: " + "9" * 5_000, "limit"),
        ("corpus: " + "x" * 10**6, "too large"),
    ],
    ids=range(9),
)
def test_a_file_that_is_no_recipe(text, words, tmp_path):
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(CourseError, match=rf"recipe\.yaml: .*{words}"):
        product_yaml.read_recipe(tmp_path / "recipe.yaml")


def test_a_missing_file_and_a_product_setting_out_of_reach(tmp_path):
    with pytest.raises(CourseError, match="no such file"):
        product_yaml.read_recipe(tmp_path / "nothing.yaml")[0]
    os.mkfifo(tmp_path / "pipe.yaml")
    for place in (tmp_path, tmp_path / "pipe.yaml"):
        with pytest.raises(CourseError, match="directory, a pipe"):
            product_yaml.read_recipe(place)[0]
    (tmp_path / "small.yaml").write_text("learning_rate: 1e-3\nf_min: .5E+2\n")
    recipe = product_yaml.read_recipe(tmp_path / "small.yaml")[0]
    assert (recipe.learning_rate, recipe.f_min) == (0.001, 50.0)


@pytest.mark.parametrize(
    ("before", "after", "words"),
    [
        ("optimizer: AdamW", "optimizer: RangerQH", "RangerQH"),
        ("drop_last_batch: true", "drop_last_batch: 'maybe'", "maybe"),
        ("epochs: 5", "epochs: 5.5", "5.5"),
        ("epochs: 5", "epochs: true", "True"),
        ("seed: -1", "seed: .inf", "inf"),
        ("folds: ['4']", "folds: []", "folds"),
    ],
)
def test_a_setting_of_the_product_that_is_out_of_reach(before, after, words, tmp_path):
    (tmp_path / "cfg.yaml").write_text(PRODUCT.replace(before, after))
    with pytest.raises(CourseError, match=r"which this course cannot follow") as caught:
        product_yaml.read_recipe(tmp_path / "cfg.yaml")
    assert words in str(caught.value)


def test_the_products_false_is_false_as_text_too_and_what_is_empty_is_left_out(tmp_path):
    changed = PRODUCT.replace("mixed_precision_training: true", "mixed_precision_training: 'False'")
    (tmp_path / "cfg.yaml").write_text(re.sub("augmentation: {.*?}", "augmentation: null", changed))
    recipe, _ = product_yaml.read_recipe(tmp_path / "cfg.yaml")
    assert not recipe.mixed_precision and recipe.mix_probability == 0


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("backbone=no", "no"),
        ("epochs=010", 10),
        ("epochs=1:30", "1:30"),
        ("seed=2001-01-01", "2001-01-01"),
        ("takes=~", None),
        ("drop_last=false", False),
        ("seconds=.5", 0.5),
        ("epochs=-3", -3),
        ("learning_rate=1e-3", 0.001),
    ],
)
def test_a_setting_is_read_as_it_looks(given, read):
    """As YAML 1.2 reads it: in YAML 1.1 the first four are False, 8, 90 and a date."""
    assert cli.setting(given) == (given.partition("=")[0], read)


def test_a_setting_without_a_value_is_refused():
    for given in ("epochs=", "epochs", "epochs= "):
        with pytest.raises(CourseError, match=f"--set {given}: write NAME=VALUE"):
            cli.setting(given)


def test_presets_by_name():
    assert product_yaml.read_recipe("own") == (Recipe.preset("own"), {}) and Recipe.preset("own").augment == "all"
