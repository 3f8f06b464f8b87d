"""`train`: the loop, readable top to bottom. What it keeps, and how it goes on after a stop, is in `runs`. Chapter 3."""

import math
import time
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import GradientAccumulationPlugin, broadcast
from accelerate.utils.memory import should_reduce_batch_size
from torch import nn
from tqdm import tqdm

from spokendigits import distillation, runs
from spokendigits.classifier import Classifier, create
from spokendigits.clips import Clips
from spokendigits.corpora.corpus import Corpus
from spokendigits.devices import device_name, precision, processes
from spokendigits.errors import CourseError
from spokendigits.evaluation import metrics, predict
from spokendigits.frontend import to_float
from spokendigits.lanes import MODEL
from spokendigits.loading import Loader
from spokendigits.losses import losses, targets
from spokendigits.recipe import Recipe
from spokendigits.splits import Split

LOOK = 50  # steps: looking at a GPU's loss means waiting for it


def learning_rate(step: int, steps: int, recipe: Recipe) -> float:
    """The learning rate of one step: a linear warm-up, then half a cosine down to 0 (Loshchilov & Hutter 2017), or constant."""
    warmup = round(steps * recipe.warmup_epochs / recipe.epochs)
    if step < warmup:
        return recipe.learning_rate * (step + 1) / warmup
    if recipe.schedule == "constant":
        return recipe.learning_rate
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def mix(
    audio: torch.Tensor, target: torch.Tensor, recipe: Recipe, random: np.random.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Mixes each clip of a batch [batch, samples], and its target [batch, 10], with another (mixup, Zhang et al. 2018)."""
    ratio = random.beta(recipe.mix_concentration, recipe.mix_concentration)
    partner = torch.from_numpy(random.permutation(len(audio))).to(audio.device)
    audio = to_float(audio)
    return ratio * audio + (1 - ratio) * audio[partner], ratio * target + (1 - ratio) * target[partner]


def batches(rows: np.ndarray, recipe: Recipe, epoch: int) -> list[np.ndarray]:
    """The batches of one epoch, as arrays of row numbers: another order for each seed and epoch."""
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(recipe.seed * 1000 + epoch)).numpy()
    parts = np.split(rows[order], range(recipe.batch_size, len(rows), recipe.batch_size))
    return parts[:-1] if recipe.drop_last and len(parts[-1]) < recipe.batch_size else parts


class Learner:
    """A classifier that learns, with its optimizer: `step` is one batch. Alone, or one of several processes."""

    def __init__(self, classifier: Classifier, accelerator: Accelerator, at_once: int, teacher: Classifier | None):
        self.accelerator, self.at_once, device = accelerator, at_once, accelerator.device
        self.classifier, self.recipe = classifier.to(device), classifier.recipe
        self.classifier.backbone.to(memory_format=torch.channels_last)  # the layout that convolutions are fastest in
        if self.recipe.freeze:
            weights = list(self.classifier.backbone.requires_grad_(False).parameters())
            later = weights[len(weights) // 2 :] if self.recipe.freeze == "half" else []
            for weight in [*later, *self.classifier.backbone.get_classifier().parameters()]:
                weight.requires_grad_(True)
        learns = [weight for weight in self.classifier.parameters() if weight.requires_grad]
        self.optimizer = torch.optim.AdamW(
            learns, lr=self.recipe.learning_rate, weight_decay=self.recipe.weight_decay, fused=True
        )
        self.teacher = None if teacher is None else distillation.ready(teacher, self.recipe, device)
        # Accelerate puts half precision, and the exchange of gradients between processes, around what it is given:
        # wrapped, the classifier itself still predicts in float32.
        model = nn.Sequential(self.classifier.backbone)
        if accelerator.num_processes > 1 and device.type == "cuda":
            model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # over the recipe's batch, not over a share
        self.model, self.optimizer = accelerator.prepare(model, self.optimizer)

    def step(self, audio: torch.Tensor, target: torch.Tensor, rate: float, moves: bool) -> torch.Tensor:
        """One step on clips [batch, samples] and targets [batch, 10]; returns its loss, still on the device.

        moves: whether the optimizer moves, or gradients are added up until it does (the recipe's `grad_accumulation`).
        """
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        parts = list(zip(audio.split(self.at_once), target.split(self.at_once), strict=True))
        total = torch.zeros((), device=audio.device)
        for number, part in enumerate(parts, 1):
            # Processes exchange gradients once a step of the optimizer, not once a part.
            with nullcontext() if moves and number == len(parts) else self.accelerator.no_sync(self.model):
                loss = self.loss(*part).sum() / len(audio)
                self.accelerator.backward(loss / self.recipe.grad_accumulation)
            total += loss.detach()
        if moves:
            if self.recipe.gradient_clip:
                self.accelerator.clip_grad_norm_(self.model.parameters(), self.recipe.gradient_clip)
            self.optimizer.step()
            self.optimizer.zero_grad()
        return total

    def loss(self, audio: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """The loss of each clip, [batch]: the labels', or with a teacher the labels' and the teacher's."""
        picture = self.classifier.frontend(audio, self.classifier.augment)
        logits = self.model(picture)
        if self.teacher is None:
            return losses(logits, target, self.recipe.loss)
        with torch.no_grad(), self.accelerator.autocast():
            told = self.teacher(picture).float()
        return distillation.distilled(logits, target, told, self.recipe.loss)


def train(
    recipe: Recipe,
    corpus: Corpus,
    clips: Clips,
    split: Split,
    folder: Path,
    progress: bool = True,
    trackers: Sequence[str] = (),
    find_batch_size: bool = False,
    teacher: Classifier | None = None,
) -> Classifier:
    """Trains a classifier and leaves its files in `folder`; goes on from the last whole epoch if it was stopped.

    Files: those that `runs` lists. Returns the classifier that the recipe's `checkpoint` keeps.

    Under `accelerate launch` every process takes an equal share of each batch, so that batch size and learning rate
    mean what the recipe says. `trackers` are names out of `runs.TRACKERS`. `find_batch_size` lets a GPU that is too small
    take a batch in parts. `teacher` is a trained classifier that the new one also learns from (`distillation`). Clips whose
    digit is -1 are no digits: with the loss "bce" all ten answers should be no.
    Raises CourseError when the loss is no longer a number, when memory runs out (it says which batch would fit), or when
    `folder` holds another experiment.
    """
    here = processes()
    check_sizes(recipe, corpus, split, here.num_processes)
    runs.check_trackers(trackers)
    at_once = largest_batch(recipe) if find_batch_size else recipe.batch_size
    AcceleratorState._reset_state()  # it is shared by a whole process, and would refuse a second run's other precision
    # The recipe alone says how gradients are added up, not `accelerate config`; nor is anything compiled.
    options = {"log_with": list(trackers) or None, "project_dir": folder, "dynamo_backend": "no"}
    options["gradient_accumulation_plugin"] = GradientAccumulationPlugin(num_steps=1)
    classifier = create(recipe)
    accelerator = Accelerator(mixed_precision=precision(classifier.recipe, here.device), **options)
    try:
        learner = Learner(classifier, accelerator, at_once, teacher)
        with runs.claimed(folder, recipe, corpus, clips, split, teacher) if here.is_main_process else nullcontext():
            _loop(learner, corpus, clips, split, folder, progress)
    except RuntimeError as error:
        if not should_reduce_batch_size(error):
            raise
    else:
        return Classifier.load(folder / MODEL).to(here.device)
    fits = largest_batch(recipe)  # outside the handler, whose traceback would keep the memory
    raise CourseError(
        f"training: a batch of {recipe.batch_size} clips does not fit into the memory of {device_name(here.device)}. {fits} at "
        f"once would fit. Set batch_size to {fits}, or keep the batch and let it go in parts with --find-batch-size."
    )


def _loop(learner: Learner, corpus: Corpus, clips: Clips, split: Split, folder: Path, progress: bool) -> None:
    recipe, classifier, accelerator = learner.recipe, learner.classifier, learner.accelerator
    place, among, device = accelerator.process_index, accelerator.num_processes, accelerator.device
    runs.start_trackers(accelerator, recipe)
    state = runs.resume(folder, classifier, learner.optimizer)
    loader = Loader(clips, corpus, device)
    steps = len(batches(split.train, recipe, 0))
    for epoch in range(len(state["history"]), recipe.epochs):
        # Everything random in an epoch follows from its number, so a resumed run draws what an unbroken one would.
        torch.manual_seed(recipe.seed * 1000 + epoch + 2**32 * place)
        random = np.random.default_rng([recipe.seed, epoch])
        started = time.perf_counter()
        learner.model.train(not recipe.freeze)  # what is frozen keeps batch norm's averages, too
        classifier.backbone.get_classifier().train()
        unseen = []  # losses that are still on the device
        shares = [rows[place::among] for rows in batches(split.train, recipe, epoch)]
        hidden = not (progress and accelerator.is_main_process)
        bar = tqdm(loader.each(shares), f"epoch {epoch + 1}/{recipe.epochs}", steps, unit="batch", disable=hidden)
        for number, (audio, digit) in enumerate(bar, 1):
            step = epoch * steps + number - 1
            rate, target = learning_rate(step, recipe.epochs * steps, recipe), targets(digit)
            if random.random() < recipe.mix_probability:
                audio, target = mix(audio, target, recipe, random)
            ends_epoch = number == steps
            moves = ends_epoch or number % recipe.grad_accumulation == 0
            unseen.append(learner.step(audio, target, rate, moves))
            state["steps"].append({"step": step, "epoch": epoch + 1, "learning_rate": rate})
            if device.type != "cuda" or ends_epoch or len(unseen) == LOOK:
                look(unseen, state["steps"], accelerator, folder, recipe)
                bar.set_postfix(loss=f"{state['steps'][-1]['loss']:.4f}")
        trained = time.perf_counter()
        for buffer in classifier.backbone.buffers():  # batch norm's averages are each process's own
            broadcast(buffer)
        table = predict(classifier, clips, corpus, split.validation, progress=False, loader=loader)
        scores = metrics(table)
        seconds = {"seconds": trained - started, "validation_seconds": time.perf_counter() - trained}
        state["history"].append({"epoch": epoch + 1, **scores, **seconds})
        accelerator.log({f"validation/{name}": score for name, score in scores.items()}, step=(epoch + 1) * steps - 1)
        if accelerator.is_main_process:
            runs.keep_epoch(folder, classifier, learner.optimizer, state, table, scores)
        accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        computed = {"device": device_name(device), "precision": accelerator.mixed_precision}
        runs.finish(folder, corpus, split, classifier, state, computed)
    for tracker in accelerator.trackers:  # `end_training` would end the processes' connection, too
        tracker.finish()
    accelerator.wait_for_everyone()


def train_or_load(
    recipe: Recipe, corpus: Corpus, clips: Clips, split: Split, folder: Path, progress: bool = True, **options
) -> Classifier:
    """The classifier of a finished run in `folder`, or a new one trained there; `options` as for `train`."""
    if runs.finished(folder):
        runs.claim(folder, recipe, corpus, clips, split, options.get("teacher"))
        return Classifier.load(folder / MODEL).to(processes().device)
    return train(recipe, corpus, clips, split, folder, progress, **options)


def look(unseen: list[torch.Tensor], steps: list[dict], accelerator: Accelerator, folder: Path, recipe: Recipe) -> None:
    """Moves the latest losses, scalars, from the device into the last of `steps`; CourseError if one is no number."""
    values = accelerator.reduce(torch.stack(unseen), "mean").tolist()
    for row, value in zip(steps[-len(values) :], values, strict=True):
        if not math.isfinite(value):
            raise CourseError(
                f"training: the loss became {value} in step {row['step']}. Lower the learning rate ({recipe.learning_rate}) "
                f"or turn mixed_precision off. Whole epochs so far are kept in {folder}."
            )
        row["loss"] = value
        accelerator.log({"train/loss": value, "train/learning_rate": row["learning_rate"]}, step=row["step"])
    unseen.clear()


def check_sizes(recipe: Recipe, corpus: Corpus, split: Split, among: int) -> None:
    """CourseError when the clips, their digits or the processes do not fit the recipe."""
    clips, batch = len(split.train), recipe.batch_size
    if clips < batch and recipe.drop_last:
        raise CourseError(f"training: {clips} clips do not fill one batch of {batch}. Lower batch_size.")
    if among > 1 and (batch % among or not recipe.drop_last):
        raise CourseError(
            f"training: {among} processes must share every batch equally. Make batch_size ({batch}) a multiple of them, "
            "and keep drop_last on."
        )
    no_digit = corpus.table["digit"] < 0
    if no_digit.iloc[split.validation].any():
        raise CourseError("training: some validation clips are no digits. Keep them in the training part.")
    if recipe.loss != "bce" and no_digit.iloc[split.train].any():
        raise CourseError(
            'training: some clips are no digits, and only the loss "bce" can answer ten times no. Set it.'
        )


def largest_batch(recipe: Recipe) -> int:
    """The largest of a process's share of a batch, its half, its quarter … that trains without running out of memory."""
    here = processes()
    size, device, number_format = recipe.batch_size // here.num_processes, here.device, precision(recipe, here.device)
    half = torch.bfloat16 if number_format == "bf16" else torch.float16
    while size:
        try:
            classifier = create(recipe.but(weights="none")).to(device)
            with torch.autocast(device.type, half, enabled=number_format != "no"):
                logits = classifier(torch.zeros(size, recipe.samples, device=device))
            losses(logits, torch.zeros_like(logits), recipe.loss).mean().backward()
            torch.optim.AdamW(classifier.parameters()).step()
            return size
        except RuntimeError as error:
            if not should_reduce_batch_size(error):
                raise
        size //= 2  # outside the handler, whose traceback would keep the memory
    raise CourseError(
        f"training: not even one clip fits into the memory of {device_name(device)}. Choose a smaller backbone, or end what "
        "else uses the memory."
    )
