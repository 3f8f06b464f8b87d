"""What networks learned before: weights out of packages are whole, in their places, and stay there when they should."""

import shutil
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from spokendigits import pretrained
from spokendigits.classifier import Classifier, create
from spokendigits.clips import make_clips, read_audio
from spokendigits.errors import CourseError
from spokendigits.files import read_json
from spokendigits.pretrained import PACKAGES, PHOTOGRAPHS, SPEECH
from spokendigits.recipe import Recipe
from spokendigits.splits import split
from spokendigits.training import train

SPEECH_RECIPE = Recipe.preset("speech")


def session(name: str) -> onnxruntime.InferenceSession:
    """A network that the package of the speech embedding carries, run by another library."""
    package, file = PACKAGES[SPEECH]
    return onnxruntime.InferenceSession(Path(distribution(package).locate_file(file)).with_name(name))


@pytest.fixture(scope="module")
def seven(fsdd_root) -> np.ndarray:
    return read_audio(fsdd_root / "recordings" / "7_theo_0.wav", SPEECH_RECIPE.sample_rate)


def test_the_speech_embedding_answers_as_the_published_one(seven):
    theirs = session("melspectrogram.onnx").run(None, {"input": np.tile(seven, 4)[None] * 32768})[0] / 10 + 2
    windows = np.stack([theirs[0, 0, first : first + 76] for first in range(0, theirs.shape[2] - 75, 8)])
    theirs_embedded = session("embedding_model.onnx").run(None, {"input_1": windows[..., None]})[0][:, 0, 0]
    layers = create(SPEECH_RECIPE).backbone.layers
    with torch.inference_mode():
        embedded = layers(torch.from_numpy(theirs).mT)[0, :, 0].T
    assert len(embedded) == len(theirs_embedded) > 1
    assert np.abs(embedded.numpy() - theirs_embedded).max() < 1e-3


def test_the_courses_pictures_are_those_that_the_speech_embedding_was_made_for(seven):
    theirs = session("melspectrogram.onnx").run(None, {"input": seven[None] * 32768})[0][0, 0].T
    ours = create(SPEECH_RECIPE).frontend(torch.from_numpy(seven)[None])[0, 0].numpy()
    # Theirs begin a whole window later, and their spectrum has more points: 1.07 dB more in every bin.
    ours = ours[:, 2 : 2 + theirs.shape[1]] + 20 * np.log10(32768) + 10 * np.log10(512 / 400)
    loud = theirs > theirs.max() - 40
    gap = (ours - theirs)[loud]
    assert abs(np.median(gap)) < 0.5 and np.corrcoef(ours[loud], theirs[loud])[0, 1] > 0.97
    assert 0.9 < np.polyfit(theirs[loud], ours[loud], 1)[0] < 1.1


def familiar(classifier: Classifier, seven: np.ndarray) -> float:
    """How well what reaches each batch norm agrees with the means that it learned from photographs: a correlation."""
    agreed = []

    def look(layer, given, _):
        seen = given[0].mean(dim=(0, 2, 3))
        agreed.append(float(torch.corrcoef(torch.stack([seen, layer.running_mean]))[0, 1]))

    for layer in classifier.backbone.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            layer.register_forward_hook(look)
    picture = classifier.frontend(torch.from_numpy(seven)[None])
    picture = (picture - picture.mean()) / picture.std()
    with torch.inference_mode():
        classifier.backbone.eval()(picture)
    return float(np.median(agreed))


def test_photographs_weights_are_in_their_places(seven):
    recipe = SPEECH_RECIPE.but(backbone=PHOTOGRAPHS, n_mels=64)
    right = create(recipe)
    assert right.weights == "imagenet" and familiar(right, seven) > 0.6
    shuffled = create(recipe)
    with torch.no_grad():
        for value in shuffled.backbone.state_dict().values():
            if value.dim() == 4:
                value.copy_(value[torch.randperm(len(value), generator=torch.Generator().manual_seed(0))])
    assert familiar(shuffled, seven) < 0.3


def test_colours_are_added_up():
    package, file = PACKAGES[PHOTOGRAPHS]
    published = torch.load(distribution(package).locate_file(file), weights_only=True)["_conv_stem.weight"]
    stem = create(Recipe.preset("fast").but(backbone=PHOTOGRAPHS)).backbone.conv_stem.weight
    assert torch.allclose(stem, published.sum(dim=1, keepdim=True))


def test_where_resnet50s_weights_cannot_be_had(capfd):
    with pytest.raises(CourseError, match=r"resnet50\.a1_in1k could not be had"):
        create(Recipe.preset("fast").but(weights="imagenet"))
    classifier = create(Recipe.preset("fast"))
    assert (classifier.recipe.backbone, classifier.weights) == (PHOTOGRAPHS, "imagenet")
    assert classifier.recipe == Recipe.preset("fast").but(backbone=PHOTOGRAPHS)


@pytest.mark.parametrize("backbone", [PHOTOGRAPHS, SPEECH])
def test_a_package_that_is_not_there_or_damaged(backbone, tmp_path, monkeypatch):
    package, file = PACKAGES[backbone]
    held = Path(distribution(package).locate_file(file))

    class Damaged:
        def locate_file(self, name):
            return tmp_path / "weights"

    shutil.copyfile(held, tmp_path / "weights")
    with open(tmp_path / "weights", "r+b") as weights:
        weights.seek(100_000)
        weights.write(b"damaged")
    monkeypatch.setattr(pretrained, "distribution", lambda name: Damaged())
    with pytest.raises(CourseError, match=f"not the file that {package} published"):
        create(Recipe.preset("speech").but(backbone=backbone))

    def missing(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(pretrained, "distribution", missing)
    with pytest.raises(CourseError, match=f"pip install {package}"):
        create(Recipe.preset("speech").but(backbone=backbone))


@pytest.mark.slow
@pytest.mark.parametrize("freeze", [True, "half"])
@pytest.mark.parametrize("backbone", [PHOTOGRAPHS, SPEECH])
def test_what_is_frozen_stays_and_the_last_layer_learns(backbone, freeze, tones, tmp_path):
    recipe = SPEECH_RECIPE.but(backbone=backbone, normalization="clip", epochs=1, batch_size=8, takes=None)
    recipe = recipe.but(freeze=freeze)
    before = create(recipe)
    clips = make_clips(tones, recipe, progress=False)
    after = train(recipe, tones, clips, split(tones, "speaker"), tmp_path / "run", progress=False)
    last = next(name for name, part in after.backbone.named_modules() if part is after.backbone.get_classifier())
    weights = [name for name, _ in before.backbone.named_parameters()]
    later = set(weights[len(weights) // 2 :] if freeze == "half" else ())
    for name, value in before.backbone.state_dict().items():
        learns = name in later or name.startswith(f"{last}.")
        assert torch.equal(value, after.backbone.state_dict()[name]) != learns, name
    run = read_json(tmp_path / "run" / "run.json")
    assert run["backbone"] == backbone and run["weights"] == ("speech" if backbone == SPEECH else "imagenet")


def test_level_and_scale_of_what_the_embedding_sees_are_the_published_ones(seven):
    classifier = create(SPEECH_RECIPE).eval()
    second = np.tile(seven, 4)[None, : SPEECH_RECIPE.samples] * np.float32(32768)
    mel = session("melspectrogram.onnx")
    loudest = mel.run(None, {"input": second})[0].max()
    gain = np.float32(10 ** ((classifier.backbone.LOUDEST - loudest) / 20))
    theirs = mel.run(None, {"input": gain * second})[0][:, 0, 2:78, :, None] / 10 + 2
    expected = session("embedding_model.onnx").run(None, {"input_1": theirs})[0].ravel()
    with torch.inference_mode():  # the window that begins at the same sound: silence lies before it
        features = classifier.backbone.forward_features(classifier.frontend(torch.from_numpy(second / 32768)))
    ours = features[0, :, 0, 6].numpy()
    assert np.abs(ours - expected).mean() < 0.15 * np.abs(expected).mean()
