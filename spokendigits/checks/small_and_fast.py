"""Self-checks of notebook 7, Small and fast."""

import math
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from spokendigits.checks import judge
from spokendigits.checks.judge import Lesson, Table, check, number, whole_number


@number
def megabytes(size: Any, weights: int, bits: int = 8) -> Table:
    """How many megabytes so many weights take, at so many bits each."""
    total = weights * bits / 8
    yield f"how many megabytes do {weights:,} weights take, at {bits} bits each?"
    yield total / 1e6, Lesson("That is most of a model's file. The rest says how its layers are wired.")
    yield weights * bits / 1e6, "Those are megabits. A byte has eight bits."
    yield weights * 4 / 1e6, "That is at 32 bits each, as PyTorch keeps them: four bytes."
    yield weights * 2 / 1e6, "That is at 16 bits each: two bytes."
    yield total, "That is in bytes. A megabyte is a million of them."
    yield total / 1e3, "That is in kilobytes. A megabyte is a thousand of them."
    yield total / 2**20, "That divides by 1,048,576, as some programs do. A megabyte is 1,000,000 bytes."
    yield "A byte has eight bits, and a megabyte a million bytes."


@whole_number
def multiply_adds(count: Any, layer: nn.Conv2d, height: int, width: int) -> Table:
    """How many multiplications, each with an addition, a convolution makes for one picture of `height` x `width` outputs."""
    out, into, kernel = layer.out_channels, layer.in_channels // layer.groups, math.prod(layer.kernel_size)
    positions, size = height * width, " x ".join(map(str, layer.kernel_size))
    weights, results, right = out * into * kernel, positions * out, positions * out * into * kernel
    yield "how many multiply-adds does this layer make for one picture?"
    yield right, Lesson("Few weights, many products: a convolution uses each of its weights once at every position.")
    yield weights, "Those are the layer's weights. Each is used once at every position of the output."
    yield 2 * right, "That counts multiplications and additions apart. A multiply-add is one of each."
    yield positions * into * kernel, f"That is one channel of the output. There are {out} of them."
    yield positions * out * kernel, f"Each kernel reads all {into} channels of the input, not one."
    yield positions * out * into, f"A kernel looks at {size} places at once, not at one."
    yield results, f"Those are the numbers that come out. For each, a kernel multiplies {into} x {size} times."
    yield positions, "Those are the positions. At each of them all kernels multiply."
    unstrided = right * math.prod(layer.stride)
    yield unstrided, "That takes every place of the input. The stride leaves places out: take the output's."
    yield "Positions of the output, times its channels, times what one kernel reads: channels of the input, height, width."


@check
def eight_bits(codes: Any, weights: np.ndarray) -> Table:
    """Weights as whole numbers from -127 to 127, of which 127 stands for the largest weight without its sign."""
    weights = np.asarray(weights, float)
    size = np.abs(weights).max()
    ratio, right, to_128 = weights / size * 127, np.rint(weights / size * 127), np.rint(weights / size * 128)
    signed = np.rint(weights / weights.max() * 127)
    from_lowest = np.rint((weights - weights.min()) / np.ptp(weights) * 255)
    yield "a whole number from -127 to 127 for each weight."
    given = judge.array_of(codes, "a whole number for each weight", weights.shape, "one code a weight")
    same = partial(np.allclose, given, atol=1e-6)
    lesson = "One more number has to be kept, the size of a step. All else now fits into a byte a weight."
    yield same(right), Lesson(lesson)
    yield same(weights), "Those are still the weights."
    yield same(right * size / 127), "That is how the weights come back. Asked are the codes in between."
    yield same(ratio), "They are divided, but not rounded."
    cut = same(np.trunc(ratio)) or same(np.floor(ratio))
    yield cut, "That cuts off what follows the point: `astype(int)` does so. Round to the nearest, `np.rint`."
    yield same(signed), "The weight farthest from 0 may be negative. Divide by the largest of `np.abs`."
    yield same(to_128), "128 has no place in 8 bits, which hold -128 to 127. Take 127 on both sides."
    yield same(from_lowest), "Those count from the lowest weight, so 0 is no 0 any more. Asked is -127 to 127."
    yield not judge.are_whole(given), "Codes are whole numbers. Round them."
    yield np.abs(given).max() > 127, "Some codes do not fit: 8 bits hold nothing above 127."
    yield "Divide each weight by the largest of `np.abs`, multiply by 127, and round."


@check
def limit(score: Any, digits: np.ndarray, others: np.ndarray, lost: float = 0.05) -> Table:
    """The score below which so large a share of the digits lies: whatever has less counts as no digit."""
    digits, others = (np.asarray(judge.plain(scores), float).reshape(-1) for scores in (digits, others))
    yield f"the score that {lost:.0%} of the digits do not reach."
    value = judge.one_number(score)
    turned_away, through = (digits < value).mean(), (others >= value).mean()
    # Answers may be rounded; and any value between two neighbouring scores does the same.
    same = partial(math.isclose, value, rel_tol=0, abs_tol=judge.NEAR * np.ptp(digits))
    right = abs((digits < value).sum() - lost * len(digits)) <= 1 or same(np.quantile(digits, lost))
    lesson = f"At this price {through:.0%} of the rest still pass for digits. Only better scores would lower both."
    yield right, Lesson(lesson)
    upper, few, swapped = (np.quantile(*at) for at in ((digits, 1 - lost), (others, 1 - lost), (others, lost)))
    yield same(upper), "That would turn nearly all digits away. Take the other end of their scores."
    yield same(few), "That lets so few of the others through. Asked is how few digits are lost."
    yield same(swapped), "Those are the scores of the others. Take those of the digits."
    share = same(lost) or same(100 * lost)
    yield share, "That is the share. Asked is the score that has this share of digits below it."
    low = f"With this, no digit is turned away, but {through:.0%} of the others pass. Some loss is allowed."
    yield value <= digits.min(), low
    yield f"With this, {turned_away:.0%} of the digits are turned away, not {lost:.0%}. `np.quantile` finds it."


@number
def soft_loss(loss: Any, student: torch.Tensor, teacher: torch.Tensor, temperature: float = 4.0) -> Table:
    """The mean binary cross-entropy between a student's and its teacher's logits [batch, 10], both divided by a temperature."""
    student, teacher = (logits.detach().cpu().double() for logits in (student, teacher))
    warm, told = student / temperature, teacher / temperature

    def cost(logits: torch.Tensor, target: torch.Tensor) -> float:
        return float(binary_cross_entropy_with_logits(logits, target.sigmoid()))

    right, square = cost(warm, told), cost(warm, told) * temperature**2
    hard = float(binary_cross_entropy_with_logits(warm, (teacher > 0).double()))
    of_ten = float(cross_entropy(warm, told.softmax(dim=1)))
    yield f"the student's loss against its teacher's answers, at temperature {temperature:g}."
    lesson = "It is 0 for no student: where the teacher is unsure, so should the student be, and that has a price."
    yield right, Lesson(lesson)
    yield cost(student, teacher), "That is without a temperature. Divide the logits of both by it."
    yield cost(student, told), "Only the teacher was softened. Divide the student's logits, too."
    yield cost(warm, teacher), "Only the student was softened. Divide the teacher's logits, too."
    yield cost(student * temperature, teacher * temperature), "Multiplied, the answers grow harder. Divide."
    yield hard, "Those targets are yes or no. Asked are the teacher's probabilities."
    yield cost(told, warm), "Turned round: the teacher's answers are the target."
    of_ten = float(cross_entropy(warm, told.softmax(dim=1)))
    yield of_ten, "That is one question with ten answers. This course's networks answer ten: take `sigmoid`."
    yield right * student.numel(), "That is the sum. Asked is the mean over clips and digits."
    yield right * student.shape[1], "That adds up the ten questions of a clip. Take the mean of those, too."
    yield square, "That has the square of the temperature in it, as `train` does. Asked is the loss before."
    yield "Divide both by the temperature, make probabilities of the teacher's, then `F.binary_cross_entropy_with_logits`."
