"""Convolutions that train faster on a CPU, as products of matrices: a step of the fast recipe's resnet50 takes 0.7 of its time.

oneDNN is slow at the gradient of kernels that see few positions. `faster` is the one call; `training.Learner` makes it on a CPU. Chapter 3.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.grad import conv2d_input

# Fewer positions than this in a batch's pictures, and the gradient of a convolution's weights is faster as a product of
# matrices. With fewer than half of them the outputs of a large kernel are, too.
FEW_POSITIONS = 1024


def faster(network: nn.Module) -> nn.Module:
    """Puts a `MatrixConv2d` in the place of each convolution without groups or dilation below `network`; returns it.

    Weights, their names and, but for rounding, the outputs stay as they were.
    """
    for name, layer in network.named_children():
        plain = type(layer) is nn.Conv2d and not isinstance(layer.padding, str)
        if plain and (layer.groups, layer.dilation, layer.padding_mode) == (1, (1, 1), "zeros"):
            setattr(network, name, MatrixConv2d(layer))
        else:
            faster(layer)
    return network


class MatrixConv2d(nn.Conv2d):
    """A convolution whose batches with few positions, and whose 1x1 kernels with a stride, train as `Product`.

    In evaluation it is a plain one. Weight and bias are those of the layer that it is made from.
    """

    def __init__(self, layer: nn.Conv2d):
        sizes = (layer.in_channels, layer.out_channels, layer.kernel_size, layer.stride, layer.padding)
        super().__init__(*sizes, bias=layer.bias is not None, device="meta")
        self.weight, self.bias = layer.weight, layer.bias

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return super().forward(input)
        few = len(input) * math.prod(positions(input, self.weight, self.stride, self.padding)) < FEW_POSITIONS
        if not few and not (is_pixel(self.weight, self.padding) and self.stride != (1, 1)):
            return super().forward(input)
        weight, kind = self.weight, input.device.type
        if torch.is_autocast_enabled(kind):
            input, weight = (given.to(torch.get_autocast_dtype(kind)) for given in (input, weight))
        out = Product.apply(input, weight, self.stride, self.padding)
        return out if self.bias is None else out + self.bias.to(out.dtype)[:, None, None]


class Product(torch.autograd.Function):
    """A convolution as a product of two matrices: its input's patches, a row for each position, and its kernels.

    Larger kernels leave to oneDNN the gradient of their input, where patches overlap, and, unless positions are very few,
    their outputs.
    """

    @staticmethod
    def forward(ctx, pictures, weight, stride, padding):
        ctx.save_for_backward(pictures, weight)
        ctx.stride, ctx.padding = stride, padding
        size = positions(pictures, weight, stride, padding)
        if not is_pixel(weight, padding) and len(pictures) * math.prod(size) >= FEW_POSITIONS // 2:
            return F.conv2d(pictures, weight, None, stride, padding)
        return as_pictures(patches(pictures, weight, stride, padding) @ rows(weight).T, len(pictures), size)

    @staticmethod
    def backward(ctx, gradient):
        pictures, weight = ctx.saved_tensors
        flat, to_input = rows(gradient).view(-1, len(weight)), None
        if ctx.needs_input_grad[0] and is_pixel(weight, ctx.padding):
            to_input = as_pictures(flat @ rows(weight), len(pictures), gradient.shape[2:])
            if ctx.stride != (1, 1):  # positions that no kernel saw
                seen, (down, across) = to_input, ctx.stride
                to_input = torch.zeros_like(pictures)
                to_input[:, :, ::down, ::across] = seen
        elif ctx.needs_input_grad[0]:
            to_input = conv2d_input(pictures.shape, weight, gradient, ctx.stride, ctx.padding)
        to_weight = flat.T @ patches(pictures, weight, ctx.stride, ctx.padding)
        return to_input, as_pictures(to_weight, len(weight), weight.shape[2:]), None, None


def is_pixel(weight: torch.Tensor, padding: tuple[int, int]) -> bool:
    """Whether a kernel sees one position alone, so that patches do not overlap."""
    return weight.shape[2:] == (1, 1) and padding == (0, 0)


def positions(pictures, weight, stride, padding) -> list[int]:
    """Height and width of a convolution's outputs."""
    sizes = zip(pictures.shape[2:], weight.shape[2:], stride, padding, strict=True)
    return [(size + 2 * around - kernel) // step + 1 for size, kernel, step, around in sizes]


def patches(pictures, weight, stride, padding) -> torch.Tensor:
    """What a kernel sees at each position: [n * positions, kernel height * kernel width * channels]."""
    (height, width), (down, across), (pad_y, pad_x) = weight.shape[2:], stride, padding
    pictures = pictures.permute(0, 2, 3, 1)
    if pad_y or pad_x:
        pictures = F.pad(pictures, (0, 0, pad_x, pad_x, pad_y, pad_y))
    seen = pictures.unfold(1, height, down).unfold(2, width, across).permute(0, 1, 2, 4, 5, 3)
    return seen.reshape(-1, height * width * pictures.shape[3])


def rows(pictures: torch.Tensor) -> torch.Tensor:
    """[n, channels, height, width] to [n, height * width * channels]: a view, if the memory format is channels_last."""
    return pictures.permute(0, 2, 3, 1).flatten(1)


def as_pictures(matrix: torch.Tensor, count: int, size: Sequence[int]) -> torch.Tensor:
    """`rows` backwards: `count` pictures [count, channels, height, width] of a `size` (height, width)."""
    return matrix.view(count, *size, -1).permute(0, 3, 1, 2)
