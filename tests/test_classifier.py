"""The classifier: shapes, saved and loaded, and weights from a hub that this test serves itself."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file

from spokendigits.classifier import Classifier, create
from spokendigits.errors import CourseError
from spokendigits.recipe import Recipe


@pytest.fixture
def audio(recipe):
    return torch.randn(3, recipe.samples, generator=torch.Generator().manual_seed(0)) / 10


def test_waveforms_in_ten_logits_out(recipe, audio):
    assert create(recipe).eval()(audio).shape == (3, 10)


def test_the_seed_recipe_is_a_resnet50_with_one_input_channel():
    classifier = create(Recipe.preset("seed").but(weights="none"))
    assert classifier.backbone.conv1.weight.shape == (64, 1, 7, 7)
    assert classifier.backbone.fc.weight.shape == (10, 2048)
    assert 23.5e6 < sum(p.numel() for p in classifier.parameters()) < 23.6e6


def test_the_seed_decides_the_random_weights(recipe):
    first, again, other = (create(recipe.but(seed=seed)).state_dict() for seed in (1, 1, 2))
    name = (
        "backbone.conv1.weight" if "backbone.conv1.weight" in first else next(k for k in first if k.endswith("weight"))
    )
    assert torch.equal(first[name], again[name]) and not torch.equal(first[name], other[name])


def test_saved_and_loaded_it_answers_the_same(recipe, audio, tmp_path):
    classifier = create(recipe).eval()
    digest = classifier.save(tmp_path / "model.safetensors")
    assert digest == hashlib.sha256((tmp_path / "model.safetensors").read_bytes()).hexdigest()
    loaded = Classifier.load(tmp_path / "model.safetensors")
    assert loaded.recipe == recipe and not loaded.training
    assert torch.equal(loaded(audio), classifier(audio))


def test_a_changed_byte_is_refused(recipe, tmp_path):
    path = tmp_path / "model.safetensors"
    create(recipe).save(path)
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    with pytest.raises(CourseError, match="SHA-256"):
        Classifier.load(path)


def test_what_is_no_classifier_says_so(tmp_path):
    with pytest.raises(CourseError, match="no such checkpoint"):
        Classifier.load(tmp_path / "model.safetensors")
    (tmp_path / "text.safetensors").write_text("no weights at all")
    with pytest.raises(CourseError, match="not readable as safetensors"):
        Classifier.load(tmp_path / "text.safetensors")


def test_a_file_of_three_channel_weights_is_summed_into_one(tmp_path):
    recipe = Recipe.preset("fast").but(backbone="resnet18.a1_in1k")
    photo = timm.create_model("resnet18", pretrained=False)
    save_file(photo.state_dict(), tmp_path / "photo.safetensors")
    classifier = create(recipe.but(weights=str(tmp_path / "photo.safetensors")))
    assert torch.allclose(classifier.backbone.conv1.weight, photo.conv1.weight.sum(dim=1, keepdim=True))
    assert torch.equal(classifier.backbone.layer4[1].conv2.weight, photo.layer4[1].conv2.weight)
    assert classifier.weights.startswith("photo.safetensors ")


def test_a_classifier_of_the_course_can_be_the_start_of_another(recipe, audio, tmp_path):
    first = create(recipe).eval()
    first.save(tmp_path / "model.safetensors")
    second = create(recipe.but(weights=str(tmp_path / "model.safetensors"), seed=9)).eval()
    assert torch.equal(first(audio), second(audio))
    second.save(tmp_path / "second.safetensors")
    assert str(tmp_path).encode() not in (tmp_path / "second.safetensors").read_bytes(), "a model may be passed on"


@pytest.mark.parametrize(
    ("weights", "words"), [("nowhere.safetensors", "no file of that name"), ("model.pth", "safetensors files only")]
)
def test_weights_that_cannot_be_used(weights, words, recipe, tmp_path):
    if weights == "model.pth":
        (tmp_path / weights).write_bytes(b"pickle")
    with pytest.raises(CourseError, match=words):
        create(recipe.but(weights=str(tmp_path / weights)))


def test_weights_that_do_not_fit(recipe, tmp_path):
    create(recipe).save(tmp_path / "small.safetensors")
    other = Recipe.preset("fast").but(backbone="resnet18.a1_in1k", weights=str(tmp_path / "small.safetensors"))
    with pytest.raises(CourseError, match="does not fit"):
        create(other)
    with pytest.raises(CourseError, match="no backbone"):
        create(recipe.but(backbone="resnet51"))


class Hub(BaseHTTPRequestHandler):
    """Enough of the Hugging Face hub's protocol to download one file."""

    requests: list[str] = []
    data = b""

    def reply(self, body: bool):
        self.requests.append(f"{self.command} {self.path}")
        if self.path != "/timm/resnet50.a1_in1k/resolve/main/model.safetensors":
            self.send_response(404)
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha256(self.data).hexdigest()}"')
        self.send_header("X-Repo-Commit", "0" * 40)
        self.send_header("Content-Length", str(len(self.data)))
        self.end_headers()
        if body:
            self.wfile.write(self.data)

    def do_HEAD(self):
        self.reply(False)

    def do_GET(self):
        self.reply(True)

    def log_message(self, *args):
        pass


PROGRAM = """
import json, sys, warnings
warnings.simplefilter("always")
from spokendigits.classifier import create
from spokendigits.errors import CourseError
from spokendigits.recipe import Recipe
try:
    classifier = create(Recipe.preset("seed").but(weights=sys.argv[1]))
except CourseError as error:
    print(json.dumps({"error": str(error)}))
else:
    first = classifier.backbone.conv1.weight
    print(json.dumps({"weights": classifier.weights, "first": float(first.detach().sum()), "classes": classifier.backbone.fc.out_features}))
"""


def ask(endpoint: str, cache, weights: str) -> dict:
    # A fresh process: the hub's client reads its address when it is imported.
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "HUGGINGFACE_"))}
    environment = {**kept, "HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "NO_PROXY": "127.0.0.1"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, weights], capture_output=True, text=True, env=environment, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return {**json.loads(done.stdout.splitlines()[-1]), "warned": "RANDOM weights" in done.stderr}


def test_imagenet_weights_from_a_hub_from_its_cache_and_not_at_all(tmp_path):
    torch.manual_seed(0)
    photo = timm.create_model("resnet50", pretrained=False)
    checkpoint, cache = tmp_path / "published.safetensors", tmp_path / "cache"
    save_file(photo.state_dict(), checkpoint)
    assert load_file(checkpoint)["fc.weight"].shape == (1000, 2048), "of the true shape"
    Hub.data = checkpoint.read_bytes()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.server_port}"

    fetched = ask(endpoint, cache, "auto")
    server.shutdown()
    server.server_close()
    expected = float(photo.conv1.weight.detach().sum())
    assert fetched["weights"] == "imagenet" and fetched["classes"] == 10 and not fetched["warned"]
    assert fetched["first"] == pytest.approx(expected, abs=1e-2)
    assert any(request.startswith("GET ") for request in Hub.requests)

    cached = ask(endpoint, cache, "imagenet")
    assert cached["first"] == pytest.approx(expected, abs=1e-2), "no server, but the cache has it"

    for file in cache.rglob("*"):
        if file.is_file() and not file.is_symlink() and file.stat().st_size == len(Hub.data):
            file.write_bytes(Hub.data[:-4] + b"\1\2\3\4")
    assert "SHA-256" in ask(endpoint, cache, "imagenet")["error"], "a damaged cache is noticed"

    assert "could not be had" in ask(endpoint, tmp_path / "none", "imagenet")["error"]
    alone = ask(endpoint, tmp_path / "none", "auto")
    assert alone["weights"] == "none" and alone["warned"], "random weights are announced"
