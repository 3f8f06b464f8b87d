"""Two measures that make training on a CPU faster. `make bench` shows what they bring."""

import ctypes
import sys

import torch
import torch.nn.functional as F
from torch import nn

# Fewer positions than this in a batch's pictures, and a convolution is slower than a product of matrices.
FEW_POSITIONS = 512
TRIM_THRESHOLD, MMAP_MAX = -1, -4  # glibc's numbers, from malloc.h


def keep_memory() -> None:
    """Lets glibc keep what is freed, for the next step. Does nothing where there is no glibc.

    By default every large tensor of every step is new memory, which the kernel hands out and clears page by page.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt:
        mallopt(MMAP_MAX, 0)  # no allocation of its own for a large tensor
        mallopt(TRIM_THRESHOLD, 2**31 - 1)  # and nothing goes back


def use_matrices(backbone: nn.Module) -> None:
    """Makes convolutions without groups or dilation train as products of matrices where that is faster.

    Weights, their names and, but for rounding, the outputs stay as they were.
    """
    for module in backbone.modules():
        if type(module) is not nn.Conv2d or isinstance(module.padding, str):
            continue
        if (module.groups, module.dilation, module.padding_mode) == (1, (1, 1), "zeros"):
            module.__class__ = MatrixConv2d


class MatrixConv2d(nn.Conv2d):
    """A convolution whose batches with few positions, and whose 1x1 kernels with a stride, go through `F.linear`.

    The gradient of such a layer's weights is what takes oneDNN so long. In evaluation it is a plain convolution.
    """

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        (height, width), (down, across) = self.kernel_size, self.stride
        pixel = self.kernel_size == (1, 1) and self.padding == (0, 0)
        positions = len(input) * (input.shape[2] // down) * (input.shape[3] // across)
        if not (self.training and (positions < FEW_POSITIONS or (pixel and self.stride != (1, 1)))):
            return super().forward(input)
        pictures = input.permute(0, 2, 3, 1)  # a view, where the memory format is channels_last
        if pixel:
            patches = pictures[:, ::down, ::across]
        else:
            pad_y, pad_x = self.padding
            patches = (
                F.pad(pictures, (0, 0, pad_x, pad_x, pad_y, pad_y)).unfold(1, height, down).unfold(2, width, across)
            )
            patches = patches.permute(0, 1, 2, 4, 5, 3).flatten(3)
        weight = self.weight.permute(0, 2, 3, 1).flatten(1)
        return F.linear(patches, weight, self.bias).permute(0, 3, 1, 2)
