"""Recipes: the seed's settings, presets, YAML in and out, and mistakes named."""

import pytest
import yaml

from spokendigits.app import product_yaml
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
    assert Recipe.from_yaml(tmp_path / "recipe.yaml") == recipe
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
        ({"learning_rate": -1.0}, "greater than 0"),
        ({"loss": "hinge"}, "cross_entropy"),
        ({"optimizer": "SGD"}, "AdamW"),
        ({"fold": 5}, "folds"),
        ({"takes": 0}, "greater than or equal to 1"),
        ({"f_max": 20.0}, "above f_min"),
        ({"mixed_precision": 1}, "valid boolean"),
        ({"mix_concentration": 0.0}, "greater than 0"),
        ({"mix_probability": 1.5}, "less than or equal to 1"),
        ({"warmup_epochs": 6.0}, "warm-up of 6.0 of 5 epochs"),
        ({"seconds": 1e-6}, "1e-06 seconds"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_is_wrong(changes, words):
    with pytest.raises(CourseError) as caught:
        Recipe().but(**changes)
    assert words in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["[1, 2", "just a word", ""])
def test_a_file_that_is_no_recipe(text, tmp_path):
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(CourseError, match=r"recipe\.yaml"):
        Recipe.from_yaml(tmp_path / "recipe.yaml")


def test_a_missing_file_and_a_product_setting_out_of_reach(tmp_path):
    with pytest.raises(CourseError, match="no such file"):
        Recipe.from_yaml(tmp_path / "nothing.yaml")
    with pytest.raises(CourseError, match="directory"):
        Recipe.from_yaml(tmp_path)
    (tmp_path / "small.yaml").write_text("learning_rate: 1e-3\nf_min: 5E+1\n")
    recipe = Recipe.from_yaml(tmp_path / "small.yaml")
    assert (recipe.learning_rate, recipe.f_min) == (0.001, 50.0)
    (tmp_path / "cfg.yaml").write_text(PRODUCT.replace("optimizer: AdamW", "optimizer: RangerQH"))
    with pytest.raises(CourseError, match="RangerQH"):
        product_yaml.read_recipe(tmp_path / "cfg.yaml")
