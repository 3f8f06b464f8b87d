"""`Recipe`: every setting of an experiment, in the seed experiment's own words. Chapter 1."""

import reprlib
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from spokendigits.errors import CourseError, check_names
from spokendigits.files import atomic_file

Split = Literal["random", "speaker", "one_speaker", "published"]
SPLITS = get_args(Split)
AUGMENTATIONS = ("voice", "cut", "room", "band", "noise", "mask")  # `Augment` says what each of them is
# What pictures look like. Networks that see the same ones have these in common.
PICTURE = (
    "sample_rate", "seconds", "window", "hop", "n_mels", "f_min", "f_max", "mel_scale", "top_db", "normalization",
)  # fmt: skip

Count = Annotated[int, Field(ge=1, le=1_000_000)]
Whole = Annotated[int, Field(ge=0, le=2**32 - 1)]  # NumPy's largest seed
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]


class Recipe(BaseModel):
    """The settings of one experiment. The defaults are the seed experiment's (H2O Hydrogen Torch v1.2.0, use case 52).

    Units: `sample_rate`, `f_min`, `f_max` in hertz; `seconds` in seconds; `window` and `hop` in samples.
    Raises CourseError that names the first setting that is unknown, of another type or out of its range.
    """

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    # data
    corpus: str = "audiomnist"  # synthetic, voices, fsdd, audiomnist, speech_commands, or a folder
    speakers: Count | None = None  # how many of them; None: all there are
    takes: Count | None = None  # takes of each digit by each speaker; None: all there are
    # audio
    sample_rate: Annotated[int, Field(ge=1_000, le=192_000)] = 22_050
    seconds: Annotated[float, Field(gt=0, le=60)] = 1.0  # shorter clips are padded with zeros on the right
    window: Annotated[int, Field(ge=16)] = 2048
    hop: Count = 512
    n_mels: Annotated[int, Field(ge=1, le=1024)] = 128
    f_min: NotNegative = 50.0
    f_max: Positive = 16_000.0  # above the Nyquist frequency: the seed's mistake, kept so that it can be found
    mel_scale: Literal["slaney", "htk"] = "slaney"  # librosa's default; the seed's own choice is not recorded
    top_db: Positive = 80.0  # quieter than this below a clip's loudest point counts as silence; librosa's default
    normalization: Literal["none", "clip"] = "none"  # "clip": each picture to mean 0, standard deviation 1
    # architecture
    backbone: str = "resnet50.a1_in1k"
    weights: str = "auto"  # auto, imagenet, none, or a file
    freeze: Literal[False, True, "half"] = False  # only the last layer learns; "half": and the later half of the others
    pool: Literal["avg", "max"] = "avg"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    # training
    batch_size: Count = 32
    epochs: Count = 5
    optimizer: Literal["AdamW"] = "AdamW"
    learning_rate: Positive = 0.001
    weight_decay: NotNegative = 0.0
    schedule: Literal["cosine", "constant"] = "cosine"  # stepped every batch, down to 0
    warmup_epochs: NotNegative = 0.0
    gradient_clip: NotNegative = 0.0  # largest norm of the gradient; 0: off
    grad_accumulation: Count = 1
    drop_last: bool = True
    loss: Literal["bce", "cross_entropy"] = "bce"  # binary cross-entropy over ten outputs
    mixed_precision: bool = True
    mixed_precision_inference: bool = False
    # augmentation
    augment: str = "none"  # "all", or some of AUGMENTATIONS with + between them
    mix_probability: Share = 0.0  # chance that a batch mixes its clips in pairs (mixup); 0: off
    mix_concentration: Annotated[float, Field(ge=0.01, le=1000)] = 1.0  # of the ratio's Beta distribution, both
    # validation
    split: Split = "random"  # by clip, as the seed's: the same voices are on both sides
    folds: Annotated[int, Field(ge=2, le=1_000_000)] = 5
    fold: Whole = 4  # the fold held out; for "one_speaker" the number of the speaker
    checkpoint: Literal["last", "best"] = "last"  # the seed kept its last epoch, not its best
    metric: Literal["roc_auc", "accuracy", "log_loss"] = "roc_auc"
    # environment
    seed: Whole = 0

    def __init__(self, **settings: Any):
        check_names(settings, list(type(self).model_fields), "recipe: unknown setting")
        try:
            super().__init__(**settings)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            said = first["msg"].removeprefix("Value error, ").rstrip(".")
            if first["loc"]:
                said = f"{first['loc'][0]} is {reprlib.repr(first['input'])}; it{said.removeprefix('Input')}"
            raise CourseError(f"recipe: {said}.") from None

    @model_validator(mode="after")
    def _settings_fit_together(self) -> "Recipe":
        if not self.f_min < min(self.f_max, self.nyquist):
            raise ValueError(f"f_max ({self.f_max}) and half of sample_rate must lie above f_min ({self.f_min})")
        if not self.hop <= self.window <= self.samples:
            sizes = f"hop {self.hop}, window {self.window}, clip {self.samples} ({self.seconds} seconds)"
            raise ValueError(f"no part may be longer than what it is cut from, in samples: {sizes}")
        if self.n_mels * self.frames > 1_000_000:
            raise ValueError(f"a picture of {self.n_mels} x {self.frames} is too large. Set a longer hop")
        if self.warmup_epochs > self.epochs:
            raise ValueError(f"a warm-up of {self.warmup_epochs} of {self.epochs} epochs")
        if self.split != "one_speaker" and self.fold >= self.folds:
            raise ValueError(f"fold {self.fold} of {self.folds} folds; folds count from 0")
        if self.augment not in ("none", "all"):
            check_names(self.augment.split("+"), AUGMENTATIONS, "recipe: augment: all, none, or parts with +; unknown:")
        return self

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

    def but(self, **changes: Any) -> "Recipe":
        """A copy with some settings changed; an unknown name is an error that names the nearest known one."""
        return Recipe(**(self.to_dict() | changes))

    def to_dict(self) -> dict:
        """All settings, in the order of the class."""
        return self.model_dump()

    def to_share(self) -> "Recipe":
        """The same, for a model that is passed on: of a file of weights it has the name, and not where it lies."""
        return self.but(weights=Path(self.weights).name)

    def to_yaml(self, path: Path | str) -> None:
        """Writes all settings, atomically."""
        with atomic_file(path) as temporary:
            temporary.write_text(yaml.safe_dump(self.to_dict(), sort_keys=False), encoding="utf-8")

    @classmethod
    def preset(cls, name: str) -> "Recipe":
        """`seed`: the experiment that this course re-creates. `fast`: the same in minutes on a CPU. `voices`, `own`: chapter 6."""
        check_names([name], list(PRESETS), "unknown preset")
        return cls(**PRESETS[name])


PRESETS = {
    "seed": {},
    # The same recipe, made to fit minutes on two CPU cores: fewer clips, and half as many mel bins, which halves the
    # arithmetic. Twenty voices, not all: with few voices to learn from, a new one is as hard as people's voices are.
    # The maximum frequency is put right, so no bin is wasted.
    "fast": {"corpus": "synthetic", "speakers": 20, "takes": 6, "n_mels": 64, "f_max": 11_025.0},
    # To read people after hearing none. FSDD ends at 4 kHz, so the pictures do. The clips keep what lies above: a longer
    # vocal tract moves it down.
    "voices": dict(
        corpus="voices", sample_rate=16_000, window=512, hop=256, n_mels=48, f_min=60.0, f_max=4_000.0, mel_scale="htk",
        top_db=60.0, normalization="clip", backbone="resnet10t.c3_in1k", weights="none", dropout=0.2, augment="all",
        mix_probability=0.3, mix_concentration=0.4, loss="cross_entropy", batch_size=64, epochs=5, learning_rate=0.0015,
        warmup_epochs=0.2, weight_decay=0.02, gradient_clip=2.0, split="speaker", folds=20, fold=0,
    ),
}  # fmt: skip
# The pictures that the speech embedding was made for (`pretrained`); what it learned stays, and a last layer is put on it.
PRESETS["speech"] = dict(
    corpus="synthetic", sample_rate=16_000, window=400, hop=160, n_mels=32, f_min=60.0, f_max=3_800.0,
    backbone="speech_embedding", freeze=True, loss="cross_entropy", learning_rate=0.003, split="speaker",
)  # fmt: skip
# As chapter 6 learns from people, for a few hundred of their recordings: an epoch is short then, so there are more of them.
PRESETS["own"] = PRESETS["voices"] | dict(f_max=7_600.0, n_mels=64, batch_size=32, epochs=40, folds=5)
