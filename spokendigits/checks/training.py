"""Self-checks of notebook 3, Train a network."""

import math
from typing import Any

import numpy as np
import torch
from torch import nn

from spokendigits.checks.judge import (
    AT_ONCE,
    NEAR,
    Unclear,
    are_whole,
    first_true,
    judge_number,
    kind_of,
    numbers_of,
    one_number,
    plain,
    say,
)
from spokendigits.clips import Clips
from spokendigits.corpora.corpus import Corpus
from spokendigits.frontend import LogMel
from spokendigits.recipe import Recipe
from spokendigits.splits import Split
from spokendigits.training import learning_rate


def count_steps(steps: Any, clips: int, batch_size: int, epochs: int) -> bool:
    """How many steps a training makes when the last, incomplete batch of each epoch is dropped."""
    each = clips // batch_size
    return judge_number(
        steps,
        epochs * each,
        f"how many steps do {clips:,} clips make in {epochs} epochs?",
        "A step is a batch. The clips left over differ from epoch to epoch, so none is left out for good.",
        [
            (each, f"That is one epoch. There are {epochs}."),
            (epochs * math.ceil(clips / batch_size), "The last batch of an epoch is not full, and it is dropped."),
            (
                epochs * clips // batch_size,
                "A batch is dropped in every epoch: count whole batches first, then epochs.",
            ),
            (epochs * clips / batch_size, "There are no parts of steps: count the whole batches of an epoch first."),
            (epochs * clips, "Those are the clips. A step takes a whole batch of them."),
        ],
        "How many whole batches are in an epoch? Then take all epochs.",
        near=0,
    )


def halfway(half: Any, three_quarters: Any, recipe: Recipe) -> bool:
    """The learning rate after half and after three quarters of all steps."""
    first = recipe.learning_rate
    right = tuple(learning_rate(part, 1000, recipe) for part in (500, 750))

    def judge(answer: tuple) -> tuple[bool, str]:
        given = tuple(one_number(one) for one in answer)

        def same(*other: float) -> bool:
            return bool(np.allclose(given, other, rtol=NEAR, atol=0))

        if same(*right):
            return True, "A cosine falls slowly, then fast, then slowly again."
        return first_true(
            [
                (same(*right[::-1]), "The two are swapped."),
                (same(*(one / first for one in right)), "Those are shares of the first rate. Multiply by that rate."),
                (same(first / 2, first / 4), "That is a straight line. On a cosine less is left after three quarters."),
                (
                    same(*(first * (1 + math.cos(180 * part)) / 2 for part in (0.5, 0.75))),
                    "`math.cos` takes radians: write `math.pi`, not 180.",
                ),
                (same(*(first - one for one in right)), "That is how much is gone. Asked is what is left."),
                (math.isclose(given[0], right[0], rel_tol=NEAR), "The first is right. Look at the second again."),
                (math.isclose(given[1], right[1], rel_tol=NEAR), "The second is right. Look at the first again."),
                (True, "Start from the recipe's `learning_rate`, and go down half a cosine: from angle 0 to pi."),
            ],
            "",
        )

    return say("the learning rate after half of all steps, and after three quarters.", (half, three_quarters), judge)


def last_layer(count: Any, backbone: nn.Module, photo: nn.Module) -> bool:
    """How many numbers the new last layer learns."""

    def size(part: nn.Module) -> int:
        return sum(weight.numel() for weight in part.parameters())

    fc, old = backbone.fc, photo.fc
    return judge_number(
        count,
        size(fc),
        "how many numbers does the new last layer learn?",
        f"That is {size(fc) / size(backbone):.1%} of the network. All else can come from photographs.",
        [
            (fc.weight.numel(), "Those are its weights. Each answer also has a bias, a number that is added to it."),
            (size(old), "That is the old last layer, with its thousand answers. The new one has ten."),
            (old.weight.numel(), "That is the old last layer, with its thousand answers. The new one has ten."),
            (fc.in_features + fc.out_features, "Each answer weighs each number that comes in: multiply, do not add."),
            (fc.in_features, "That is what comes in. Each of the ten answers has so many weights."),
            (size(backbone.conv1), "That is the first layer."),
            (size(backbone), "That is the whole network. Asked is its last layer."),
        ],
        "How many numbers come in, how many answers go out? Do not forget the bias: one more number for each answer.",
        near=0,
    )


def wrong_labels(nonsense: Any, lost: Any, digit: torch.Tensor) -> bool:
    """Whether ten steps on a batch with shuffled labels, by a new network, made its loss fall."""
    true = np.asarray(plain(digit)).astype(int)

    def judge(answer: tuple) -> tuple[bool, str]:
        labels, losses = (numbers_of(one) for one in answer)
        if labels is not None and labels.ndim == 2 and labels.shape == (len(true), 10):
            labels = labels.argmax(axis=1)
        if labels is None or labels.shape != true.shape:
            raise Unclear(f"`nonsense` should be {len(true)} labels, or ten numbers for each of them.")
        if losses is None or losses.size != 10:
            size = kind_of(answer[1]) if losses is None else losses.size
            raise Unclear(f"`lost` should be ten losses, one a step, not {size}.")
        if not np.isfinite(losses).all():
            raise Unclear("A loss is no longer a number. Is the learning rate the recipe's?")
        same, start, last = (labels == true).mean(), *losses.reshape(-1)[[0, -1]]
        return first_true(
            [
                (same == 1, "The labels are still the true ones. `torch.randperm` gives a new order."),
                (not are_whole(labels) or labels.min() < 0 or labels.max() > 9, "The labels should be digits, 0 to 9."),
                (np.ptp(labels) == 0, "All clips have the same label now. Shuffle the digits of all training clips."),
                (same > 0.5, "Most labels are still the true ones. Shuffle the digits of all training clips."),
                (
                    abs(start - math.log(10)) < 0.25,
                    "That is the loss of one choice among ten. Ask ten questions, as above: binary cross-entropy.",
                ),
                (
                    abs(start - math.log(2)) > 0.25,
                    "The first loss is not that of a coin toss: a network that was trained before. Make a new one.",
                ),
                (last > start, "The loss rises. Is the gradient set to zero before each step?"),
                (
                    last > 0.6 * start,
                    "The loss hardly falls. Shuffle once, before the loop, and give the optimizer the new network's weights.",
                ),
            ],
            "It falls all the same: nonsense can be learned by heart. Only clips held out tell what was learned.",
        )

    return say("shuffled labels of one batch, and the ten losses of a new network.", (nonsense, lost), judge)


def nearest_mean(share: Any, clips: Clips, recordings: Corpus, parts: Split, recipe: Recipe) -> bool:
    """The accuracy, on held-out clips, of the rule: whichever digit's mean training picture is nearest."""
    digit = torch.tensor(recordings.table["digit"].to_numpy())
    frontend, rows = LogMel(recipe), np.arange(len(clips))
    with torch.inference_mode():
        pictures = torch.cat(
            [
                frontend(torch.from_numpy(clips.read(rows[first : first + AT_ONCE]))).flatten(1)
                for first in range(0, len(rows), AT_ONCE)
            ]
        )

    def read(train: np.ndarray, test: np.ndarray) -> float:
        means = torch.stack([pictures[train][digit[train] == one].mean(dim=0) for one in range(10)])
        return float((torch.cdist(pictures[test], means).argmin(dim=1) == digit[test]).double().mean())

    if share is None:  # nothing to compare with
        right, wrong, near = 0.0, [], 0.0
    else:
        right = read(parts.train, parts.validation)
        # Two clips may lie so near to two means that rounding decides.
        near = 2 / max(1.0, right * len(parts.validation))
        wrong = [
            (
                read(parts.train, parts.train),
                "That is tested on the clips that made the means. Test on those held out.",
            ),
            (
                read(parts.validation, parts.validation),
                "The means come from the held-out clips. Take those for training.",
            ),
            (read(rows, parts.validation), "The means hold the test's own clips. Take those for training only."),
            (1 - right, "That is the share of mistakes. Asked is the accuracy."),
            (right * len(parts.validation), "That is the number of clips. Divide by how many were read."),
        ]
    return judge_number(
        share,
        right,
        "which accuracy has the rule on the held-out clips?",
        "That is what the corpus gives away for free. A network is worth what it adds to it.",
        wrong,
        "One mean picture for each digit, from `parts.train`. Then the nearest of ten, for each clip of `parts.validation`.",
        near,
        share=True,
        near_wrong=1e-4,
    )
