"""Reads an experiment's configuration as H2O Hydrogen Torch saves it: `spokendigits train --recipe cfg.yaml`."""

from pathlib import Path
from typing import Any

from spokendigits.errors import CourseError
from spokendigits.recipe import Recipe, read_settings

# The product's setting -> ours, and the change of value: a table of words, or a function. What is not here is unused.
SETTINGS: dict[str, tuple[str, Any]] = {
    "architecture.backbone": ("backbone", lambda name: {"resnet50": "resnet50.a1_in1k"}.get(name, str(name))),
    "architecture.dropout": ("dropout", float),
    "architecture.pool": ("pool", {"Average": "avg", "Max": "max"}),
    "architecture.pretrained": ("weights", {"True": "auto", "False": "none"}),
    "audio.hop_size": ("hop", int),
    "audio.maximum_frequency": ("f_max", float),
    "audio.mel_frequency_bins": ("n_mels", int),
    "audio.minimum_frequency": ("f_min", float),
    "audio.sample_rate": ("sample_rate", int),
    "audio.spectrogram_normalization": ("normalization", {"No": "none", "False": "none"}),
    "audio.stft_window_size": ("window", int),
    "audio.training_chunk_seconds": ("seconds", float),
    "augmentation.mix_concentration": ("mix_concentration", float),
    "augmentation.mix_probability": ("mix_probability", float),
    "dataset.folds": ("fold", lambda held_out: int(held_out[0])),
    "environment.mixed_precision_inference": ("mixed_precision_inference", bool),
    "environment.mixed_precision_training": ("mixed_precision", bool),
    "environment.seed": ("seed", lambda seed: max(int(seed), 0)),  # -1 is "draw one", and a course must be repeatable
    "prediction.metric": ("metric", {"ROC_AUC": "roc_auc", "Accuracy": "accuracy", "LogLoss": "log_loss"}),
    "training.batch_size": ("batch_size", int),
    "training.drop_last_batch": ("drop_last", bool),
    "training.epochs": ("epochs", int),
    "training.grad_accumulation": ("grad_accumulation", int),
    "training.gradient_clip": ("gradient_clip", float),
    "training.learning_rate": ("learning_rate", float),
    "training.loss_function": ("loss", {"BCE": "bce", "CrossEntropy": "cross_entropy"}),
    "training.optimizer": ("optimizer", {"AdamW": "AdamW"}),
    "training.save_best_checkpoint": ("checkpoint", {"True": "best", "False": "last"}),
    "training.schedule": ("schedule", {"Cosine": "cosine", "Constant": "constant"}),
    "training.warmup_epochs": ("warmup_epochs", float),
    "training.weight_decay": ("weight_decay", float),
}


def read(path: Path | str) -> tuple[Recipe, dict]:
    """Reads either form of YAML, the course's own or the product's.

    Returns the recipe, and the product's settings that it does not use as {"group.name": value} (none for the course's).
    Raises CourseError for a file that is neither, or a value that the course cannot follow.
    """
    product = read_settings(path)
    if "architecture" not in product:
        return Recipe.from_yaml(path), {}
    settings, unused = {}, {}
    for group, values in product.items():
        for name, value in values.items() if isinstance(values, dict) else [("", values)]:
            setting, convert = SETTINGS.get(f"{group}.{name}", (None, None))
            try:
                if setting is None:
                    unused[f"{group}.{name}".rstrip(".")] = value
                else:
                    settings[setting] = convert(value) if callable(convert) else convert[str(value)]
            except (KeyError, TypeError, ValueError, IndexError):
                raise CourseError(f"{path}: {group}.{name} is {value!r}, which this course cannot follow.") from None
    if not settings:
        raise CourseError(f"{path}: no setting of Hydrogen Torch found.")
    if product.get("augmentation", {}).get("mix_audio", "Disabled") == "Disabled":
        settings["mix_probability"] = 0.0
    return Recipe(**settings), unused
