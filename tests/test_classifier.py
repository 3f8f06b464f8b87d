"""The classifier: shapes, saved and loaded, and weights from a hub that this test serves itself."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import timm
import torch
from safetensors.torch import save_file

from spokendigits.classifier import Classifier, create
from spokendigits.errors import CourseError
from spokendigits.files import write_json
from spokendigits.recipe import Recipe

SMALLEST = "test_resnet.r160_in1k"


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
    digest = create(recipe).save(path)
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    with pytest.raises(CourseError, match="SHA-256"):
        Classifier.load(path)
    (tmp_path / "model.sha256.json").unlink()  # a run says it once more
    write_json(tmp_path / "run.json", {"sha256": digest})
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


@pytest.mark.parametrize("weights", ["auto", "imagenet", "none"])
@pytest.mark.parametrize("backbone", ["resnt50", "resnet50.nope"])
def test_a_backbone_that_timm_does_not_know(backbone, weights, recipe):
    with pytest.raises(CourseError, match=f"knows no backbone '{backbone}'"):
        create(recipe.but(backbone=backbone, weights=weights))
    with pytest.raises(CourseError, match=f"knows no backbone '{backbone}'"):
        Classifier(recipe.but(backbone=backbone))  # as a model that was saved with another timm


@pytest.mark.parametrize("backbone", ["vit_tiny_patch16_224", "swin_tiny_patch4_window7_224"])
def test_a_backbone_for_pictures_of_one_size(backbone, recipe):
    with pytest.raises(CourseError, match=rf"{backbone} reads no pictures of 32 x 44 .*Choose another backbone"):
        create(recipe.but(backbone=backbone))


@pytest.mark.parametrize("weights", ["auto", "imagenet"])
def test_a_backbone_whose_weights_nobody_publishes(weights, recipe):
    with pytest.raises(CourseError, match="timm publishes no weights for 'lcnet_035'"):
        create(recipe.but(backbone="lcnet_035", weights=weights))


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
    data, busy = b"", ""

    def reply(self, body: bool):
        self.requests.append(f"{self.command} {self.path}")
        if self.command in self.busy:
            self.send_response(429)
            self.send_header("Retry-After", "300")
            self.send_header("RateLimit", '"api";r=0;t=300')
            self.end_headers()
        elif self.path != f"/timm/{SMALLEST}/resolve/main/model.safetensors":
            self.send_response(404)
            self.end_headers()
        else:
            self.send_response(200)
            self.send_header("ETag", f'"{hashlib.sha256(self.data).hexdigest()}"')
            self.send_header("X-Repo-Commit", "0" * 40)
            self.send_header("Content-Length", str(len(self.data)))
            self.end_headers()
            self.wfile.write(self.data if body else b"")

    def do_HEAD(self):
        self.reply(False)

    def do_GET(self):
        self.reply(True)

    def log_message(self, *args):
        pass


@pytest.mark.timeout(60)  # a hub's client that is told to wait would wait for minutes
def test_imagenet_weights_from_a_hub_from_its_cache_and_not_at_all(recipe, tmp_path, monkeypatch):
    """With the smallest network that has its weights on the hub; resnet50's way is the same."""
    torch.manual_seed(0)
    photo = timm.create_model(SMALLEST, pretrained=False)
    save_file(photo.state_dict(), tmp_path / "published.safetensors")
    Hub.data = (tmp_path / "published.safetensors").read_bytes()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint, cache = f"http://127.0.0.1:{server.server_port}", tmp_path / "cache"
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    for place in ("huggingface_hub.constants", "spokendigits.pretrained"):
        monkeypatch.setattr(f"{place}.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", endpoint)
    template = f"{endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(cache))

    def first_layer(weights: str) -> torch.Tensor:
        classifier = create(recipe.but(backbone=SMALLEST, weights=weights))
        assert classifier.weights == "imagenet" and classifier.backbone.get_classifier().out_features == 10
        return classifier.backbone.conv1[0].weight

    expected = photo.conv1[0].weight.sum(dim=1, keepdim=True)
    for count, busy in enumerate(("HEAD GET", "GET"), 1):  # some let everybody look
        monkeypatch.setattr(Hub, "busy", busy)
        with pytest.raises(CourseError, match="429"):
            create(recipe.but(weights="imagenet"))
        assert sum("safetensors" in request for request in Hub.requests) == count, (
            "asked once: its client would wait for minutes"
        )
    monkeypatch.setattr(Hub, "busy", "")
    assert torch.allclose(first_layer("auto"), expected), "three channels become one"
    server.shutdown()
    server.server_close()
    assert any(request.startswith("GET ") for request in Hub.requests)
    assert torch.allclose(first_layer("imagenet"), expected), "no server, but the cache has it"
    for file in cache.rglob("*"):
        if file.is_file() and not file.is_symlink() and file.stat().st_size == len(Hub.data):
            file.write_bytes(Hub.data[:-4] + b"\1\2\3\4")
    with pytest.raises(CourseError, match="SHA-256"):
        first_layer("imagenet")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "none"))
    monkeypatch.delenv("NO_PROXY")
    for proxy in ("", "nonsense", "socks5://127.0.0.1:1", "socks://127.0.0.1:1", "http://127.0.0.1:1", "no proxy"):
        monkeypatch.setenv("ALL_PROXY", proxy)
        with pytest.raises(CourseError, match="could not be had.*ALL_PROXY" if proxy else "could not be had"):
            first_layer("imagenet")
    with pytest.raises(CourseError, match=r"Learned weights of \S+ could not be had"):
        create(recipe.but(backbone=SMALLEST, weights="auto"))  # and not random ones
