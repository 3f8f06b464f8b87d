"""`Recipe`: every setting of an experiment, in the seed experiment's own words."""

import dataclasses
import difflib
import typing
from dataclasses import dataclass
from pathlib import Path

import yaml

from spokendigits.errors import CourseError
from spokendigits.files import write_yaml

CHOICES = {
    "mel_scale": ("slaney", "htk"),
    "normalization": ("none", "clip"),
    "pool": ("avg", "max"),
    "optimizer": ("AdamW",),
    "schedule": ("cosine", "constant"),
    "loss": ("bce", "cross_entropy"),
    "split": ("random", "speaker", "one_speaker", "published"),
    "checkpoint": ("last", "best"),
    "metric": ("roc_auc", "accuracy", "log_loss"),
}
AUGMENTATIONS = ("voice", "cut", "room", "band", "noise", "mask")  # `Augment` says what each of them is
# What pictures look like. Networks that see the same ones have these in common.
PICTURE = (
    "sample_rate",
    "seconds",
    "window",
    "hop",
    "n_mels",
    "f_min",
    "f_max",
    "mel_scale",
    "top_db",
    "normalization",
)
POSITIVE = (
    "sample_rate",
    "seconds",
    "window",
    "hop",
    "n_mels",
    "f_max",
    "top_db",
    "batch_size",
    "epochs",
    "learning_rate",
)
NOT_NEGATIVE = ("f_min", "dropout", "weight_decay", "warmup_epochs", "gradient_clip", "mix_probability", "fold", "seed")


@dataclass(frozen=True)
class Recipe:
    """The settings of one experiment. The defaults are the seed experiment's (H2O Hydrogen Torch v1.2.0, use case 52).

    Units: `sample_rate`, `f_min`, `f_max` in hertz; `seconds` in seconds; `window` and `hop` in samples.
    """

    # data
    corpus: str = "audiomnist"  # synthetic, voices, fsdd, audiomnist, or a folder
    speakers: int | None = None  # how many of them; None: all there are
    takes: int | None = None  # takes of each digit by each speaker; None: all there are
    # audio
    sample_rate: int = 22_050
    seconds: float = 1.0  # shorter clips are padded with zeros on the right
    window: int = 2048
    hop: int = 512
    n_mels: int = 128
    f_min: float = 50.0
    f_max: float = 16_000.0  # above the Nyquist frequency: the seed's mistake, kept so that it can be found
    mel_scale: str = "slaney"  # librosa's default; the seed's own choice is not recorded
    top_db: float = 80.0  # quieter than this below a clip's loudest point counts as silence; librosa's default
    normalization: str = "none"  # "clip": each picture to mean 0, standard deviation 1
    # architecture
    backbone: str = "resnet50.a1_in1k"
    weights: str = "auto"  # auto, imagenet, none, synthetic, or a file
    pool: str = "avg"
    dropout: float = 0.0
    # training
    batch_size: int = 32
    epochs: int = 5
    optimizer: str = "AdamW"
    learning_rate: float = 0.001
    weight_decay: float = 0.0
    schedule: str = "cosine"  # stepped every batch, down to 0
    warmup_epochs: float = 0.0
    gradient_clip: float = 0.0  # largest norm of the gradient; 0: off
    grad_accumulation: int = 1
    drop_last: bool = True
    loss: str = "bce"  # binary cross-entropy over ten outputs
    mixed_precision: bool = True
    mixed_precision_inference: bool = False
    # augmentation
    augment: str = "none"  # "all", or some of AUGMENTATIONS with + between them
    mix_probability: float = 0.0  # chance that a batch mixes its clips in pairs (mixup); 0: off
    mix_concentration: float = 1.0  # both parameters of the Beta distribution that draws the mixing ratio
    # validation
    split: str = "random"  # by clip, as the seed's: the same voices are on both sides
    folds: int = 5
    fold: int = 4  # the fold held out; for "one_speaker" the number of the speaker
    checkpoint: str = "last"  # the seed kept its last epoch, not its best
    metric: str = "roc_auc"
    # environment
    seed: int = 0

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            kinds = typing.get_args(field.type) or (field.type,)
            if float in kinds and type(value) is int:
                object.__setattr__(self, field.name, float(value))
            elif type(value) not in kinds:
                names = " or ".join(kind.__name__ for kind in kinds)
                raise CourseError(f"recipe: {field.name} is {value!r}; it must be of type {names}.")
        for name, allowed in CHOICES.items():
            if getattr(self, name) not in allowed:
                raise CourseError(f"recipe: {name} is {getattr(self, name)!r}; known: {', '.join(allowed)}.")
        for name in POSITIVE:
            if not getattr(self, name) > 0:
                raise CourseError(f"recipe: {name} is {getattr(self, name)}; it must be above 0.")
        for name in NOT_NEGATIVE:
            if not getattr(self, name) >= 0:
                raise CourseError(f"recipe: {name} is {getattr(self, name)}; it must not be negative.")
        if self.f_max <= self.f_min:
            raise CourseError(f"recipe: f_max ({self.f_max}) must lie above f_min ({self.f_min}).")
        if self.split != "one_speaker" and (self.folds < 2 or self.fold >= self.folds):
            raise CourseError(
                f"recipe: fold {self.fold} of {self.folds} folds; folds count from 0, and there are at least 2."
            )
        if self.augment not in ("none", "all"):
            check_names(self.augment.split("+"), ["none", "all", *AUGMENTATIONS], "recipe: augment has an unknown part")
        counts = (self.speakers, self.takes, self.grad_accumulation)
        if any(count is not None and count < 1 for count in counts):
            raise CourseError("recipe: speakers, takes and grad_accumulation must be at least 1.")

    @property
    def samples(self) -> int:
        """Samples in one clip."""
        return round(self.sample_rate * self.seconds)

    @property
    def frames(self) -> int:
        """Columns of one mel picture (frames are centred, so one more than whole hops)."""
        return self.samples // self.hop + 1

    @property
    def nyquist(self) -> float:
        """The highest frequency that the sample rate can carry, in hertz."""
        return self.sample_rate / 2

    def but(self, **changes) -> "Recipe":
        """A copy with some settings changed; an unknown name is an error that names the nearest known one."""
        check_names(changes, [field.name for field in dataclasses.fields(self)], "recipe: unknown setting")
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict:
        """All settings, in the order of the class."""
        return dataclasses.asdict(self)

    def to_share(self) -> "Recipe":
        """The same, for a model that is passed on: of a file of weights it has the name, and not where it lies."""
        return self.but(weights=Path(self.weights).name)

    def to_yaml(self, path: Path | str) -> None:
        """Writes all settings, atomically."""
        write_yaml(path, self.to_dict())

    @classmethod
    def preset(cls, name: str) -> "Recipe":
        """`seed`: the experiment that this course re-creates. `fast`: the same in minutes on a CPU."""
        check_names([name], list(PRESETS), "unknown preset")
        return cls(**PRESETS[name])

    @classmethod
    def from_yaml(cls, path: Path | str) -> "Recipe":
        """Reads a recipe written by `to_yaml`; settings left out take the seed experiment's values."""
        return cls().but(**_read_mapping(path))

    @classmethod
    def read(cls, path: Path | str) -> tuple["Recipe", dict]:
        """Reads either form of YAML, the course's or the product's; returns what is not used as `from_product_yaml` does."""
        return cls.from_product_yaml(path) if "architecture" in _read_mapping(path) else (cls.from_yaml(path), {})

    @classmethod
    def from_product_yaml(cls, path: Path | str) -> tuple["Recipe", dict]:
        """Reads a configuration saved by H2O Hydrogen Torch.

        Returns the recipe and the product's settings that it does not use, as {"group.name": value}.
        """
        product = _read_mapping(path)
        settings, unused = {}, {}
        for group, values in product.items():
            for name, value in values.items() if isinstance(values, dict) else [("", values)]:
                rule = PRODUCT.get(f"{group}.{name}")
                if rule is None:
                    unused[f"{group}.{name}".rstrip(".")] = value
                    continue
                setting, convert = rule
                try:
                    settings[setting] = convert(value)
                except (KeyError, TypeError, ValueError, IndexError) as error:
                    raise CourseError(
                        f"{path}: {group}.{name} is {value!r}, which this course cannot follow."
                    ) from error
        if not settings:
            raise CourseError(
                f"{path}: no setting of Hydrogen Torch found. For the course's own YAML use Recipe.from_yaml."
            )
        mix = product.get("augmentation", {}).get("mix_audio", "Disabled")
        if mix == "Disabled":
            settings["mix_probability"] = 0.0
        # The product writes -1 for "draw a seed"; a course must be repeatable.
        settings["seed"] = max(settings.get("seed", 0), 0)
        return cls().but(**settings), unused


def check_names(given, known: list[str], what: str) -> None:
    """Raises a CourseError that names the nearest known name for the first unknown one."""
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(str(name), known, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise CourseError(f"{what} {name!r}.{hint} Known: {', '.join(known)}.")


def _read_mapping(path: Path | str) -> dict:
    try:
        value = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CourseError(f"{path}: no such file.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CourseError(f"{path}: not readable as YAML ({str(error).splitlines()[0]}).") from error
    if not isinstance(value, dict):
        raise CourseError(f"{path}: expected settings, one 'name: value' a line.")
    return value


PRESETS = {
    "seed": {},
    # The same recipe, made to fit minutes on two CPU cores: fewer clips, and half as many mel bins, which halves the
    # arithmetic. Twenty voices, not all: with few voices to learn from, a new one is as hard as people's voices are.
    # The maximum frequency is put right, so no bin is wasted.
    "fast": {"corpus": "synthetic", "speakers": 20, "takes": 6, "n_mels": 64, "f_max": 11_025.0},
}


def _one_of(names: dict):
    return lambda value: names[str(value)]


# The product's setting -> ours, with the change of value. What is not here is reported as unused.
PRODUCT = {
    "architecture.backbone": ("backbone", lambda value: {"resnet50": "resnet50.a1_in1k"}.get(value, str(value))),
    "architecture.dropout": ("dropout", float),
    "architecture.pool": ("pool", _one_of({"Average": "avg", "Max": "max"})),
    "architecture.pretrained": ("weights", lambda value: "auto" if value else "none"),
    "audio.hop_size": ("hop", int),
    "audio.maximum_frequency": ("f_max", float),
    "audio.mel_frequency_bins": ("n_mels", int),
    "audio.minimum_frequency": ("f_min", float),
    "audio.sample_rate": ("sample_rate", int),
    "audio.spectrogram_normalization": ("normalization", _one_of({"No": "none", "False": "none"})),
    "audio.stft_window_size": ("window", int),
    "audio.training_chunk_seconds": ("seconds", float),
    "augmentation.mix_concentration": ("mix_concentration", float),
    "augmentation.mix_probability": ("mix_probability", float),
    "dataset.folds": ("fold", lambda value: int(value[0])),
    "environment.mixed_precision_inference": ("mixed_precision_inference", bool),
    "environment.mixed_precision_training": ("mixed_precision", bool),
    "environment.seed": ("seed", int),
    "prediction.metric": ("metric", _one_of({"ROC_AUC": "roc_auc", "Accuracy": "accuracy", "LogLoss": "log_loss"})),
    "training.batch_size": ("batch_size", int),
    "training.drop_last_batch": ("drop_last", bool),
    "training.epochs": ("epochs", int),
    "training.grad_accumulation": ("grad_accumulation", int),
    "training.gradient_clip": ("gradient_clip", float),
    "training.learning_rate": ("learning_rate", float),
    "training.loss_function": ("loss", _one_of({"BCE": "bce", "CrossEntropy": "cross_entropy"})),
    "training.optimizer": ("optimizer", _one_of({"AdamW": "AdamW"})),
    "training.save_best_checkpoint": ("checkpoint", lambda value: "best" if value else "last"),
    "training.schedule": ("schedule", _one_of({"Cosine": "cosine", "Constant": "constant"})),
    "training.warmup_epochs": ("warmup_epochs", float),
    "training.weight_decay": ("weight_decay", float),
}
