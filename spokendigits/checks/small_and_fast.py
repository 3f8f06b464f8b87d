"""Self-checks of notebook 7, Small and fast."""

import math
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from spokendigits.checks.judge import (
    NEAR,
    Unclear,
    are_whole,
    check_shape,
    first_true,
    judge_number,
    kind_of,
    numbers_of,
    one_number,
    plain,
    say,
)


def megabytes(size: Any, weights: int, bits: int = 8) -> bool:
    """How many megabytes so many weights take, at so many bits each."""
    right = weights * bits / 8 / 1e6
    return judge_number(
        size,
        right,
        f"how many megabytes do {weights:,} weights take, at {bits} bits each?",
        "That is most of a model's file. The rest says how its layers are wired.",
        [
            (weights * bits / 1e6, "Those are megabits. A byte has eight bits."),
            (weights * 4 / 1e6, "That is at 32 bits each, as PyTorch keeps them: four bytes."),
            (weights * 2 / 1e6, "That is at 16 bits each: two bytes."),
            (weights * bits / 8, "That is in bytes. A megabyte is a million of them."),
            (weights * bits / 8 / 1e3, "That is in kilobytes. A megabyte is a thousand of them."),
            (weights * bits / 8 / 2**20, "That divides by 1,048,576, as some programs do. A megabyte is 1,000,000 bytes."),
        ],
        "A byte has eight bits, and a megabyte a million bytes.",
    )  # fmt: skip


def multiply_adds(count: Any, layer: nn.Conv2d, height: int, width: int) -> bool:
    """How many multiplications, each with an addition, a convolution makes for one picture of `height` x `width` outputs."""
    out, into, kernel = layer.out_channels, layer.in_channels // layer.groups, math.prod(layer.kernel_size)
    positions = height * width
    right = positions * out * into * kernel
    high, wide = layer.kernel_size
    return judge_number(
        count,
        right,
        "how many multiply-adds does this layer make for one picture?",
        "Few weights, many products: a convolution uses each of its weights once at every position.",
        [
            (out * into * kernel, "Those are the layer's weights. Each is used once at every position of the output."),
            (2 * right, "That counts multiplications and additions apart. A multiply-add is one of each."),
            (positions * into * kernel, f"That is one channel of the output. There are {out} of them."),
            (positions * out * kernel, f"Each kernel reads all {into} channels of the input, not one."),
            (positions * out * into, f"A kernel looks at {high} x {wide} places at once, not at one."),
            (positions * out, f"Those are the numbers that come out. For each, a kernel multiplies {into} x {high} x {wide} times."),
            (positions, "Those are the positions. At each of them all kernels multiply."),
            (right * math.prod(layer.stride), "That takes every place of the input. The stride leaves places out: take the output's."),
        ],
        "Positions of the output, times its channels, times what one kernel reads: channels of the input, height, width.",
        near=0,
    )  # fmt: skip


def eight_bits(codes: Any, weights: Any) -> bool:
    """Weights as whole numbers from -127 to 127, of which 127 stands for the largest weight without its sign."""
    weights = np.asarray(weights, float)
    largest = np.abs(weights).max()
    ratio = weights / largest * 127
    right = np.rint(ratio)

    def judge(answer: Any) -> tuple[bool, str]:
        found = numbers_of(answer)
        if found is None:
            raise Unclear(f"Expected a whole number for each weight, not {kind_of(answer)}.")
        check_shape(found, weights.shape, "one code a weight")

        def same(other: np.ndarray) -> bool:
            return np.allclose(found, other, atol=1e-6)

        if same(right):
            return True, "One more number has to be kept, the size of a step. All else now fits into a byte a weight."
        return first_true(
            [
                (same(weights), "Those are still the weights."),
                (same(right * largest / 127), "That is how the weights come back. Asked are the codes in between."),
                (same(ratio), "They are divided, but not rounded."),
                (
                    same(np.trunc(ratio)) or same(np.floor(ratio)),
                    "That cuts off what follows the point: `astype(int)` does so. Round to the nearest, `np.rint`.",
                ),
                (
                    same(np.rint(weights / weights.max() * 127)),
                    "The weight farthest from 0 may be negative. Divide by the largest of `np.abs`.",
                ),
                (
                    same(np.rint(weights / largest * 128)),
                    "128 has no place in 8 bits, which hold -128 to 127. Take 127 on both sides.",
                ),
                (
                    same(np.rint((weights - weights.min()) / np.ptp(weights) * 255)),
                    "Those count from the lowest weight, so 0 is no 0 any more. Asked is -127 to 127.",
                ),
                (not are_whole(found), "Codes are whole numbers. Round them."),
                (bool(np.abs(found).max() > 127), "Some codes do not fit: 8 bits hold nothing above 127."),
                (True, "Divide each weight by the largest of `np.abs`, multiply by 127, and round."),
            ],
            "",
        )

    return say("a whole number from -127 to 127 for each weight.", codes, judge)


def limit(score: Any, digits: Any, others: Any, lost: float = 0.05) -> bool:
    """The score below which so large a share of the digits lies: whatever has less counts as no digit."""
    digits, others = (np.asarray(plain(one), float).reshape(-1) for one in (digits, others))
    right = float(np.quantile(digits, lost))
    step = NEAR * float(np.ptp(digits))  # answers may be rounded

    def judge(answer: Any) -> tuple[bool, str]:
        value = one_number(answer)

        def same(other: float) -> bool:
            return abs(value - other) <= step

        turned_away, through = (digits < value).mean(), (others >= value).mean()
        # Any value between two neighbouring scores does the same.
        if abs((digits < value).sum() - lost * len(digits)) <= 1 or same(right):
            return (
                True,
                f"At this price {through:.0%} of the rest still pass for digits. Only better scores would lower both.",
            )
        return first_true(
            [
                (same(np.quantile(digits, 1 - lost)), "That would turn nearly all digits away. Take the other end of their scores."),
                (same(np.quantile(others, 1 - lost)), "That lets so few of the others through. Asked is how few digits are lost."),
                (same(np.quantile(others, lost)), "Those are the scores of the others. Take those of the digits."),
                (same(lost) or same(100 * lost), "That is the share. Asked is the score that has this share of digits below it."),
                (
                    value <= digits.min(),
                    f"With this, no digit is turned away, but {through:.0%} of the others pass. Some loss is allowed.",
                ),
                (True, f"With this, {turned_away:.0%} of the digits are turned away, not {lost:.0%}. `np.quantile` finds it."),
            ],
            "",
        )  # fmt: skip

    return say(f"the score that {lost:.0%} of the digits do not reach.", score, judge)


def soft_loss(loss: Any, student: torch.Tensor, teacher: torch.Tensor, temperature: float = 4.0) -> bool:
    """The mean binary cross-entropy between a student's and its teacher's logits [batch, 10], both divided by a temperature."""
    student, teacher = (one.detach().cpu().double() for one in (student, teacher))

    def cost(one: torch.Tensor, other: torch.Tensor) -> float:
        return float(binary_cross_entropy_with_logits(one, other.sigmoid()))

    warm, told = student / temperature, teacher / temperature
    right = cost(warm, told)
    return judge_number(
        loss,
        right,
        f"the student's loss against its teacher's answers, at temperature {temperature:g}.",
        "It is 0 for no student: where the teacher is unsure, so should the student be, and that has a price.",
        [
            (lambda: cost(student, teacher), "That is without a temperature. Divide the logits of both by it."),
            (lambda: cost(student, told), "Only the teacher was softened. Divide the student's logits, too."),
            (lambda: cost(warm, teacher), "Only the student was softened. Divide the teacher's logits, too."),
            (lambda: cost(student * temperature, teacher * temperature), "Multiplied, the answers grow harder. Divide."),
            (
                lambda: float(binary_cross_entropy_with_logits(warm, (teacher > 0).double())),
                "Those targets are yes or no. Asked are the teacher's probabilities.",
            ),
            (lambda: cost(told, warm), "Turned round: the teacher's answers are the target."),
            (
                lambda: float(cross_entropy(warm, told.softmax(dim=1))),
                "That is one question with ten answers. This course's networks answer ten: take `sigmoid`.",
            ),
            (right * student.numel(), "That is the sum. Asked is the mean over clips and digits."),
            (right * student.shape[1], "That adds up the ten questions of a clip. Take the mean of those, too."),
            (right * temperature**2, "That has the square of the temperature in it, as `train` does. Asked is the loss before."),
        ],
        "Divide both by the temperature, make probabilities of the teacher's, then `F.binary_cross_entropy_with_logits`.",
    )  # fmt: skip
