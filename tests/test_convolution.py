"""Training on a CPU: the faster ways compute what the plain ones do."""

import pytest
import timm
import torch
from torch import nn

from spokendigits.convolution import FEW_POSITIONS, MatrixConv2d, Product, faster

LAYERS = {
    "1x1": dict(kernel_size=1),
    "1x1 with a stride": dict(kernel_size=1, stride=2),
    "3x3": dict(kernel_size=3, padding=1),
    "3x3 with a stride": dict(kernel_size=3, stride=2, padding=1),
    "not square": dict(kernel_size=(3, 5), stride=(2, 1), padding=(1, 0)),
    "without a bias": dict(kernel_size=3, padding=1, bias=False),
}


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("size", [(2, 6, 7, 5), (17, 6, 7, 6), (40, 6, 16, 12)], ids=["few", "not so few", "many"])
def test_a_product_of_matrices_is_the_convolution(name, size, monkeypatch):
    torch.manual_seed(0)
    plain = nn.Conv2d(6, 4, **LAYERS[name]).double().to(memory_format=torch.channels_last)
    ours = nn.Conv2d(6, 4, **LAYERS[name]).double().to(memory_format=torch.channels_last)
    ours.load_state_dict(plain.state_dict())
    ours = faster(nn.Sequential(ours))
    products = count_products(monkeypatch)
    found, wanted = [], []
    for layer, kept in ((plain, wanted), (ours, found)):
        pictures = torch.randn(size, generator=torch.Generator().manual_seed(1)).double().requires_grad_()
        out = layer.train()(pictures)
        (out * torch.arange(out.numel()).view_as(out).double().sin()).sum().backward()
        kept += [out, pictures.grad, *(parameter.grad for parameter in layer.parameters())]
    once = size[0] < 40 or name == "1x1 with a stride"
    assert len(products) == once, "or the plain way was compared with itself"
    for a, b in zip(found, wanted, strict=True):
        torch.testing.assert_close(a, b)
    ours.eval()(torch.randn(size).double())
    assert len(products) == once, "in evaluation it is a plain convolution"


def test_only_layers_that_it_is_right_for_are_changed():
    others = [
        nn.Conv2d(4, 4, 3, groups=2),
        nn.Conv2d(4, 4, 3, dilation=2),
        nn.Conv2d(4, 4, 3, padding="same"),
        nn.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
    ]
    network = nn.Sequential(*others, nn.Conv2d(4, 4, 3))
    faster(network)
    assert [type(layer) for layer in network] == [nn.Conv2d] * 4 + [MatrixConv2d]


@pytest.mark.parametrize("stride", [1, 2])
def test_half_precision_stays_inside(stride):
    """Autocast gives a convolution's outputs in bf16, and its weights' gradient in float32: so does the product."""
    found = []
    for change in (lambda layer: layer, faster):
        torch.manual_seed(0)
        layer = change(nn.Sequential(nn.Conv2d(6, 4, 3, stride, 1)))
        with torch.autocast("cpu", torch.bfloat16):
            out = layer.train()(torch.randn(2, 6, 7, 5))
        out.float().square().sum().backward()
        found.append([out, layer[0].weight.grad, layer[0].bias.grad])
    assert [value.dtype for value in found[1]] == [torch.bfloat16, torch.float32, torch.float32]
    for a, b in zip(*found, strict=True):
        torch.testing.assert_close(a, b, rtol=0.05, atol=0.05)


def test_a_resnet_keeps_its_weights_names_and_takes_the_same_step(monkeypatch):
    products = count_products(monkeypatch)
    found = []
    for change in (lambda backbone: backbone, faster):
        torch.manual_seed(0)
        backbone = timm.create_model("test_resnet.r160_in1k", in_chans=1, num_classes=10)
        names = list(backbone.state_dict())
        backbone.to(memory_format=torch.channels_last)
        change(backbone)
        assert list(backbone.state_dict()) == names
        pictures = torch.randn(8, 1, 32, 22)
        backbone.train()(pictures).square().sum().backward()
        found.append(torch.cat([parameter.grad.flatten() for parameter in backbone.parameters()]))
    assert products
    torch.testing.assert_close(found[0], found[1], rtol=1e-3, atol=1e-4)


def count_products(monkeypatch):
    calls, apply = [], Product.apply
    monkeypatch.setattr(Product, "apply", lambda *given: calls.append(1) or apply(*given))
    return calls


def test_few_positions_are_those_of_the_last_two_stages():
    """The seed's batch: 32 pictures of 128 x 44; the last stages see 8 x 3 and 4 x 2 positions, the one before 16 x 6."""
    assert 32 * 4 * 2 < FEW_POSITIONS // 2 < 32 * 8 * 3 < FEW_POSITIONS < 32 * 16 * 6
