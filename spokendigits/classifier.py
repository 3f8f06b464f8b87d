"""`Classifier`: waveforms in, logits out; a frontend and a timm backbone. Chapter 3."""

import functools
import hashlib
import json
import sys
from pathlib import Path

import timm
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from spokendigits import pretrained
from spokendigits.augmentation import Augment
from spokendigits.corpora.corpus import DIGITS
from spokendigits.errors import CourseError, first_line
from spokendigits.files import atomic_file, read_json, sha256, write_json
from spokendigits.frontend import LogMel
from spokendigits.lanes import MODEL, RUN
from spokendigits.recipe import Recipe

SUBSTITUTE = (
    "resnet50's learned weights could not be had, so EfficientNet-Lite0 takes its place: "
    "a smaller network, which learned from the same photographs."
)


class Classifier(nn.Module):
    """Waveforms [batch, samples] (float in -1..1, or int16) to logits [batch, 10].

    `weights` says where the backbone started: "imagenet", "speech", "none", or a file's name and digest.
    """

    def __init__(self, recipe: Recipe, backbone: nn.Module | None = None, weights: str = "none"):
        super().__init__()
        self.recipe = recipe
        self.weights = weights
        self.frontend = LogMel(recipe)
        self.augment = None if recipe.augment == "none" else Augment(recipe)
        self.backbone = backbone if backbone is not None else _create(recipe)

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        return self.backbone(self.frontend(waveform, self.augment if self.training else None))

    def save(self, path: Path | str) -> str:
        """Writes the backbone's weights and the recipe as safetensors, and the file's SHA-256 beside it; returns the digest.

        The frontend has none: it follows from the recipe.
        """
        path = Path(path)
        # One entry: safetensors writes several in any order, and the same weights would have another digest each time.
        metadata = {"spokendigits": json.dumps({"recipe": self.recipe.to_share().to_dict(), "weights": self.weights})}
        with atomic_file(path) as temporary:
            state = {f"backbone.{name}": value.contiguous() for name, value in self.backbone.state_dict().items()}
            save_file(state, temporary, metadata)
            digest = sha256(temporary)
        write_json(_digest_file(path), {"sha256": digest})
        return digest

    def digest(self) -> str:
        """A SHA-256 of all weights, in hex."""
        digest = hashlib.sha256()
        for value in self.backbone.state_dict().values():
            digest.update(value.detach().cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    @classmethod
    def load(cls, path: Path | str) -> "Classifier":
        """Reads what `save` wrote, in evaluation mode. A file that changed since is refused."""
        try:
            state, metadata = read_weights(path)
            held = json.loads(metadata["spokendigits"])
            classifier = cls(Recipe().but(**held["recipe"]), weights=held["weights"])
            classifier.backbone.load_state_dict(backbone_weights(state))
        except (KeyError, RuntimeError, TypeError, ValueError) as error:
            raise CourseError(
                f"{path}: not a classifier of this course ({first_line(error)}). Train it again."
            ) from None
        return classifier.eval()


def read_weights(path: Path | str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """All weights of a safetensors file, by name, and its metadata; CourseError if it is damaged or was changed."""
    path = Path(path)
    _check_digest(path)
    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise CourseError(f"{path}: not readable as safetensors ({first_line(error)}). Name another file.") from None


def backbone_weights(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Of the weights in a file of this course those of the backbone, by timm's names."""
    return {name.removeprefix("backbone."): value for name, value in state.items() if name.startswith("backbone.")}


def create(recipe: Recipe) -> Classifier:
    """A new classifier as the recipe's `weights` says.

    "auto": published weights, learned from photographs, or of `speech_embedding` from speech; CourseError if they cannot
    be had. For the seed's resnet50 there is another way out then: EfficientNet-Lite0, whose weights were installed with
    the course. The classifier's recipe names it. "imagenet": the same without that. "none": random. Else a file: the
    weights of a backbone (timm's names) or of a classifier of this course.
    """
    torch.manual_seed(recipe.seed)
    _check_backbone(recipe)
    if recipe.weights == "none":
        return Classifier(recipe)
    if recipe.weights not in ("auto", "imagenet"):
        return Classifier(recipe, _from_file(recipe), f"{Path(recipe.weights).name} {sha256(recipe.weights)[:12]}")
    try:
        learned = _create(recipe, pretrained.published(recipe.backbone))
    except OSError as error:
        if recipe.weights == "imagenet" or recipe.backbone != Recipe().backbone:
            raise CourseError(
                f"Learned weights of {recipe.backbone} could not be had ({first_line(error)}). "
                "Connect to the network once, or set weights to 'none' (random) or a file."
            ) from None
        _announce(SUBSTITUTE)
        return create(recipe.but(backbone=pretrained.PHOTOGRAPHS))
    return Classifier(recipe, learned, "speech" if recipe.backbone == pretrained.SPEECH else "imagenet")


@functools.cache  # once a process is loud enough
def _announce(note: str) -> None:
    print(note, file=sys.stderr, flush=True)


@functools.cache
def _check_backbone(recipe: Recipe) -> None:
    name, _, tag = recipe.backbone.partition(".")
    if not timm.is_model(name) or (tag and recipe.backbone not in timm.list_models(f"{name}.*", pretrained=True)):
        raise CourseError(f"recipe: timm knows no backbone {recipe.backbone!r}. `timm.list_models()` lists them.")


def _create(recipe: Recipe, learned: dict | None = None) -> nn.Module:
    """A backbone with random weights, or with those that timm's `pretrained_cfg_overlay` names."""
    _check_backbone(recipe)
    backbone = timm.create_model(
        recipe.backbone,
        pretrained=learned is not None,
        pretrained_cfg_overlay=learned,
        in_chans=1,
        num_classes=DIGITS,
        global_pool=recipe.pool,
        drop_rate=recipe.dropout,
    )
    try:
        with torch.inference_mode():  # some read pictures of one size alone, or none so small
            backbone.eval()(torch.zeros(1, 1, recipe.n_mels, recipe.frames))
    except Exception as error:
        raise CourseError(
            f"recipe: {recipe.backbone} reads no pictures of {recipe.n_mels} x {recipe.frames} ({first_line(error)}). "
            f"Choose another backbone, such as {Recipe().backbone}."
        ) from None
    return backbone.train()


def _from_file(recipe: Recipe) -> nn.Module:
    path = Path(recipe.weights)
    if not path.is_file():
        raise CourseError(f"weights: {str(path)!r} is none of auto, imagenet, none, and no file of that name exists.")
    if path.suffix != ".safetensors":
        raise CourseError(f"{path}: weights are read from safetensors files only (others can run code when opened).")
    mine = backbone_weights(read_weights(path)[0])
    try:
        if not mine:
            return _create(recipe, {"file": str(path)})
        backbone = _create(recipe)
        backbone.load_state_dict(mine)
        return backbone
    except (RuntimeError, KeyError) as error:
        raise CourseError(f"{path}: does not fit {recipe.backbone} ({first_line(error)}).") from None


def _digest_file(path: Path) -> Path:
    return path.with_name(path.stem + ".sha256.json")


def _check_digest(path: Path) -> None:
    if not path.is_file():
        raise CourseError(f"{path}: no such checkpoint. Train first.")
    beside = [_digest_file(path), path.with_name(RUN)] if path.name == MODEL else [_digest_file(path)]
    known = {read_json(file).get("sha256") for file in beside if file.is_file()} - {None}
    if known and known != {sha256(path)}:
        raise CourseError(f"{path}: its SHA-256 is not the one written beside it: damaged or changed. Train it again.")
