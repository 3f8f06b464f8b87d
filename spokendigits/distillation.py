"""Knowledge distillation: a network learns from the labels and from what a larger one, its teacher, says of the same pictures. Chapter 7."""

import copy

import torch
from torch import nn

from spokendigits.classifier import Classifier
from spokendigits.errors import CourseError
from spokendigits.losses import losses
from spokendigits.recipe import PICTURE, Recipe

TEMPERATURE = 2.0  # divides logits: how unsure a teacher is between two digits then shows
SHARE = 0.5  # of the loss that is the teacher's; the rest is the labels'


def distilled(
    logits: torch.Tensor, target: torch.Tensor, told: torch.Tensor, kind: str, share: float = SHARE
) -> torch.Tensor:
    """The loss of each clip, [batch]: from logits, targets and the teacher's logits `told`, all [batch, 10].

    Hinton, Vinyals and Dean (2015, arXiv 1503.02531). `kind` is the recipe's loss. The square of the temperature makes
    the teacher's gradients as large as they would be without it.
    """
    told = told / TEMPERATURE
    soft = told.sigmoid() if kind == "bce" else told.softmax(dim=1)
    taught = TEMPERATURE**2 * losses(logits / TEMPERATURE, soft, kind)
    return (1 - share) * losses(logits, target, kind) + share * taught


def ready(teacher: Classifier, recipe: Recipe, device: torch.device) -> nn.Module:
    """The teacher's backbone as `train` asks it, a copy: on a device, in evaluation mode.

    Raises CourseError if it was trained on other pictures than the recipe's.
    """
    differ = [name for name in PICTURE if getattr(teacher.recipe, name) != getattr(recipe, name)]
    if differ:
        raise CourseError(
            f"training: the teacher has learned from other pictures ({', '.join(differ)} differ). Give both the same settings."
        )
    backbone = copy.deepcopy(teacher.backbone).to(device, memory_format=torch.channels_last)
    return backbone.eval().requires_grad_(False)
