"""Self-checks of notebook 3, Train a network."""

import math
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from spokendigits.checks import judge
from spokendigits.checks.judge import PERCENT, Lesson, Table, check, number, one_number, whole_number
from spokendigits.clips import Clips
from spokendigits.corpora.corpus import Corpus
from spokendigits.frontend import LogMel
from spokendigits.recipe import Recipe
from spokendigits.splits import Split
from spokendigits.training import learning_rate

AT_ONCE = 128  # clips


@whole_number
def count_steps(steps: Any, clips: int, batch_size: int, epochs: int) -> Table:
    """How many steps a training makes when the last, incomplete batch of each epoch is dropped."""
    each, once, parts = clips // batch_size, epochs * clips // batch_size, epochs * clips / batch_size
    yield f"how many steps do {clips:,} clips make in {epochs} epochs?"
    lesson = "A step is a batch. The clips left over differ from epoch to epoch, so none is left out for good."
    yield epochs * each, Lesson(lesson)
    yield each, f"That is one epoch. There are {epochs}."
    yield epochs * math.ceil(clips / batch_size), "The last batch of an epoch is not full, and it is dropped."
    yield once, "A batch is dropped in every epoch: count whole batches first, then epochs."
    yield parts, "There are no parts of steps: count the whole batches of an epoch first."
    yield epochs * clips, "Those are the clips. A step takes a whole batch of them."
    yield "How many whole batches are in an epoch? Then take all epochs."


@check
def halfway(half: Any, three_quarters: Any, recipe: Recipe) -> Table:
    """The learning rate after half and after three quarters of all steps."""
    first, right = recipe.learning_rate, np.array([learning_rate(step, 1000, recipe) for step in (500, 750)])
    yield "the learning rate after half of all steps, and after three quarters."
    given = np.array([one_number(half), one_number(three_quarters)])
    straight, degrees = [first / 2, first / 4], [first * (1 + math.cos(180 * part)) / 2 for part in (0.5, 0.75)]
    same = partial(np.allclose, given, rtol=judge.NEAR, atol=0)
    yield same(right), Lesson("A cosine falls slowly, then fast, then slowly again.")
    yield same(right[::-1]), "The two are swapped."
    yield same(right / first), "Those are shares of the first rate. Multiply by that rate."
    yield same(straight), "That is a straight line. On a cosine less is left after three quarters."
    yield same(degrees), "`math.cos` takes radians: write `math.pi`, not 180."
    yield same(first - right), "That is how much is gone. Asked is what is left."
    near = np.isclose(given, right, rtol=judge.NEAR, atol=0)
    yield near[0], "The first is right. Look at the second again."
    yield near[1], "The second is right. Look at the first again."
    yield "Start from the recipe's `learning_rate`, and go down half a cosine: from angle 0 to pi."


@whole_number
def last_layer(count: Any, backbone: nn.Module, photo: nn.Module) -> Table:
    """How many numbers the new last layer learns."""

    def size(part: nn.Module) -> int:
        return sum(weight.numel() for weight in part.parameters())

    new, old = backbone.fc, photo.fc
    weights, added, share = new.weight.numel(), new.in_features + new.out_features, size(new) / size(backbone)
    yield "how many numbers does the new last layer learn?"
    yield size(new), Lesson(f"That is {share:.1%} of the network. All else can come from photographs.")
    yield weights, "Those are its weights. Each answer also has a bias, a number that is added to it."
    for thousand in (size(old), old.weight.numel()):
        yield thousand, "That is the old last layer, with its thousand answers. The new one has ten."
    yield added, "Each answer weighs each number that comes in: multiply, do not add."
    yield new.in_features, "That is what comes in. Each of the ten answers has so many weights."
    yield size(backbone.conv1), "That is the first layer."
    yield size(backbone), "That is the whole network. Asked is its last layer."
    yield "How many numbers come in, how many answers go out? Do not forget the bias: one more number for each answer."


@check
def wrong_labels(nonsense: Any, lost: Any, digit: torch.Tensor) -> Table:
    """Whether ten steps on a batch with shuffled labels, by a new network, made its loss fall."""
    true = np.asarray(judge.plain(digit)).astype(int)
    yield "shuffled labels of one batch, and the ten losses of a new network."
    labels = judge.numbers_of(nonsense)
    if labels is not None and labels.shape == (len(true), 10):
        labels = labels.argmax(axis=1)
    other = labels is None or labels.shape != true.shape
    yield other, f"`nonsense` should be {len(true)} labels, or ten numbers for each of them."
    losses = judge.so_many(lost, 10, "`lost` should be ten losses, one a step")
    yield not np.isfinite(losses).all(), "A loss is no longer a number. Is the learning rate the recipe's?"
    same, start, last = (labels == true).mean(), losses[0], losses[-1]
    yield same == 1, "The labels are still the true ones. `torch.randperm` gives a new order."
    digits = judge.are_whole(labels) and labels.min() >= 0 and labels.max() <= 9
    yield not digits, "The labels should be digits, 0 to 9."
    yield np.ptp(labels) == 0, "All clips have the same label now. Shuffle the digits of all training clips."
    yield same > 0.5, "Most labels are still the true ones. Shuffle the digits of all training clips."
    of_ten, trained = abs(start - math.log(10)) < 0.25, abs(start - math.log(2)) > 0.25
    yield of_ten, "That is the loss of one choice among ten. Ask ten questions, as above: binary cross-entropy."
    yield trained, "The first loss is not that of a coin toss: a network that was trained before. Make a new one."
    yield last > start, "The loss rises. Is the gradient set to zero before each step?"
    flat = "The loss hardly falls. Shuffle once, before the loop, and give the optimizer the new network's weights."
    yield last > 0.6 * start, flat
    yield Lesson("It falls all the same: nonsense can be learned by heart. Only clips held out tell what was learned.")


@number
def nearest_mean(share: Any, clips: Clips, recordings: Corpus, parts: Split, recipe: Recipe) -> Table:
    """The accuracy, on held-out clips, of the rule: whichever digit's mean training picture is nearest."""
    yield "which accuracy has the rule on the held-out clips?"
    digit, frontend, rows = torch.tensor(recordings.table["digit"].to_numpy()), LogMel(recipe), np.arange(len(clips))
    few = (torch.from_numpy(clips.read(some)) for some in np.array_split(rows, len(rows) // AT_ONCE + 1))
    with torch.inference_mode():
        pictures = torch.cat([frontend(sounds).flatten(1) for sounds in few])

    def read(train: np.ndarray, test: np.ndarray) -> float:
        means = torch.stack([pictures[train][digit[train] == value].mean(dim=0) for value in range(10)])
        apart = torch.cdist(pictures[test], means).nan_to_num(torch.inf)  # a digit never heard has no mean
        return float((apart.argmin(dim=1) == digit[test]).double().mean())

    held_out, exact = parts.validation, 1e-4
    right, in_training, own = (read(*rows) for rows in ((parts.train, held_out), (parts.train,) * 2, (held_out,) * 2))
    near = 2 / max(1.0, right * len(held_out))  # two clips may lie so near to two means that rounding decides
    lesson = "That is what the corpus gives away for free. A network is worth what it adds to it."
    yield right, Lesson(lesson), near
    yield 100 * right, PERCENT, near
    yield in_training, "That is tested on the clips that made the means. Test on those held out.", exact
    yield own, "The means come from the held-out clips. Take those for training.", exact
    yield read(rows, held_out), "The means hold the test's own clips. Take those for training only.", exact
    yield 1 - right, "That is the share of mistakes. Asked is the accuracy.", exact
    yield right * len(held_out), "That is the number of clips. Divide by how many were read.", exact
    yield "One mean picture for each digit, from `parts.train`. Then the nearest of ten, for each clip of `parts.validation`."
