"""What a network's ten answers cost, and what they mean: targets, losses, probabilities. Chapter 3."""

import torch
import torch.nn.functional as F

from spokendigits.corpora.corpus import DIGITS


def targets(digit: torch.Tensor) -> torch.Tensor:
    """What ten outputs should say of digits [batch]: float32 [batch, 10], 1 for the digit; all 0 for -1, which is none."""
    return F.one_hot(digit.clamp(min=0), DIGITS).float() * (digit >= 0)[:, None]


def losses(logits: torch.Tensor, target: torch.Tensor, kind: str) -> torch.Tensor:
    """The loss of each clip, [batch], from logits and targets [batch, 10].

    "bce" is the mean over ten yes-or-no answers, as in the seed experiment; "cross_entropy" is one choice among ten.
    """
    if kind == "bce":
        return F.binary_cross_entropy_with_logits(logits, target, reduction="none").mean(dim=1)
    return F.cross_entropy(logits, target, reduction="none")


def probabilities(logits: torch.Tensor, kind: str) -> torch.Tensor:
    """Logits [batch, 10] to probabilities that sum to 1, float64.

    "bce" trains ten separate answers; they are divided by their sum, because exactly one digit was said.
    """
    if kind == "bce":
        each = logits.double().sigmoid()
        return each / each.sum(dim=1, keepdim=True)
    return logits.double().softmax(dim=1)


def digit_score(logits: torch.Tensor, kind: str) -> torch.Tensor:
    """How sure a network is that any digit was said, [batch], from logits [batch, 10]; of no fixed scale.

    "bce": the largest logit, for ten yes-or-no answers can all be no. "cross_entropy": the logarithm of the summed
    exponentials, which is minus the energy of Liu et al. (2020, arXiv 2010.03759).
    """
    return logits.amax(dim=1) if kind == "bce" else logits.logsumexp(dim=1)
