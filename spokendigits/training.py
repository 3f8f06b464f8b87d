"""`train`: the loop, readable top to bottom, and the files that it leaves."""

import math
import shutil
import time
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast, find_executable_batch_size
from accelerate.utils.memory import should_reduce_batch_size
from torch import nn
from tqdm import tqdm

from spokendigits.classifier import RANDOM_WEIGHTS, Classifier, create, read_weights
from spokendigits.clips import Clips
from spokendigits.corpora.corpus import Corpus
from spokendigits.cpu import use_matrices
from spokendigits.devices import device_name, precision, processes
from spokendigits.distillation import distilled, ready
from spokendigits.errors import CourseError
from spokendigits.evaluation import interval, losses, metrics, mistakes, predict, targets
from spokendigits.files import atomic_file, atomic_folder, read_json, sha256, versions, write_json
from spokendigits.frontend import to_float
from spokendigits.loading import Loader
from spokendigits.recipe import Recipe, check_names
from spokendigits.splits import Split

MODEL = "model.safetensors"
RUN = "run.json"
TRACKERS = ("tensorboard", "mlflow")
LOOK = 50  # steps: looking at a GPU's loss means waiting for it


def learning_rate(step: int, steps: int, recipe: Recipe) -> float:
    """The learning rate of one step: a linear warm-up, then half a cosine down to 0 (Loshchilov & Hutter 2017)."""
    warmup = round(steps * recipe.warmup_epochs / recipe.epochs)
    if step < warmup:
        return recipe.learning_rate * (step + 1) / warmup
    if recipe.schedule == "constant":
        return recipe.learning_rate
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def mix(audio: torch.Tensor, target: torch.Tensor, recipe: Recipe, random: np.random.Generator):
    """Mixes each clip of a batch, and its target, with another one (mixup, Zhang et al. 2018)."""
    ratio = random.beta(recipe.mix_concentration, recipe.mix_concentration)
    partner = torch.from_numpy(random.permutation(len(audio))).to(audio.device)
    audio = to_float(audio)
    return ratio * audio + (1 - ratio) * audio[partner], ratio * target + (1 - ratio) * target[partner]


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

    Files: recipe.yaml, run.json (what made it), steps.csv (step, epoch, learning_rate, loss), history.csv (one row an
    epoch, measured on the validation part), model.safetensors, predictions.csv and metrics.json (the kept model's, on the
    validation part). Returns the classifier that the recipe's `checkpoint` keeps.

    Under `accelerate launch` every process takes an equal share of each batch, so that batch size and learning rate
    mean what the recipe says. `trackers` are names out of TRACKERS. `find_batch_size` lets a GPU that is too small take a
    batch in parts. `teacher` is a trained classifier that the new one also learns from (`distillation`). Clips whose digit
    is -1 are no digits: with the loss "bce" all ten answers should be no.
    Raises CourseError when the loss is no longer a number, when memory runs out (it says which batch would fit), or when
    `folder` holds another experiment.
    """
    started = processes()
    check_sizes(recipe, split, started.num_processes)
    check_digits(recipe, corpus, split)
    check_trackers(trackers)
    start = starting_point(recipe, progress)
    if started.is_main_process:
        claim(folder, recipe, clips, teacher)
    at_once = largest_batch(recipe) if find_batch_size else recipe.batch_size
    try:
        return _train(recipe, start, corpus, clips, split, folder, progress, trackers, at_once, teacher)
    except RuntimeError as error:
        if not should_reduce_batch_size(error):
            raise
        reason = f"training: a batch of {recipe.batch_size} clips does not fit into the memory of {device_name(started.device)}."
    fits = largest_batch(recipe)  # outside the handler, whose traceback would keep the memory
    raise CourseError(
        f"{reason} {fits} at once would fit. Set batch_size to {fits}, or keep the batch and let it go in parts with "
        "--find-batch-size."
    )


def _train(recipe, start, corpus, clips, split, folder, progress, trackers, at_once, teacher) -> Classifier:
    AcceleratorState._reset_state()  # it is shared by a whole process, and would refuse a second run's other precision
    accelerator = Accelerator(
        mixed_precision=precision(recipe, processes().device), log_with=list(trackers) or None, project_dir=folder
    )
    device, among = accelerator.device, accelerator.num_processes
    progress = progress and accelerator.is_main_process
    if trackers:
        accelerator.init_trackers("spokendigits", config={k: v for k, v in recipe.to_dict().items() if v is not None})
    classifier = create(start).to(device)
    classifier.recipe = recipe
    if recipe.weights == "synthetic":
        classifier.weights = f"synthetic {sha256(start.weights)[:12]}"
    classifier.backbone.to(memory_format=torch.channels_last)  # the layout that convolutions are fastest in
    if device.type == "cpu":
        use_matrices(classifier.backbone)
    optimizer = torch.optim.AdamW(
        classifier.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )
    state = resume(folder, classifier, optimizer)
    # Accelerate puts half precision around what it is given; wrapped, the classifier itself still predicts in float32.
    model = nn.Sequential(classifier.backbone)
    told = None if teacher is None else ready(teacher, recipe, device)
    if among > 1 and device.type == "cuda":
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)  # normalized over the recipe's batch, not over a share
    model, optimizer = accelerator.prepare(model, optimizer)
    loader = Loader(clips, corpus, device)
    steps = len(batches(split.train, recipe, 0))

    for epoch in range(len(state["history"]), recipe.epochs):
        # Everything random in an epoch follows from its number, so a resumed run draws what an unbroken one would.
        torch.manual_seed(recipe.seed * 1000 + epoch + 2**32 * accelerator.process_index)
        random = np.random.default_rng([recipe.seed, epoch])
        started = time.perf_counter()
        model.train()
        unseen = []  # losses that are still on the device
        shares = [rows[accelerator.process_index :: among] for rows in batches(split.train, recipe, epoch)]
        bar = tqdm(loader.each(shares), f"epoch {epoch + 1}/{recipe.epochs}", steps, unit="batch", disable=not progress)
        for step, (audio, digit) in enumerate(bar, epoch * steps):
            rate = learning_rate(step, recipe.epochs * steps, recipe)
            for group in optimizer.param_groups:
                group["lr"] = rate
            target = targets(digit)
            if random.random() < recipe.mix_probability:
                audio, target = mix(audio, target, recipe, random)
            ends_epoch = step + 1 == (epoch + 1) * steps
            moves = ends_epoch or (step + 1) % recipe.grad_accumulation == 0
            parts = list(zip(audio.split(at_once), target.split(at_once), strict=True))
            total = torch.zeros((), device=device)
            for number, (audio, target) in enumerate(parts, 1):
                # Processes exchange gradients once a step of the optimizer, not once a part.
                with nullcontext() if moves and number == len(parts) else accelerator.no_sync(model):
                    picture = classifier.frontend(audio, classifier.augment)
                    logits = model(picture)
                    if told is None:
                        loss = losses(logits, target, recipe.loss)
                    else:
                        with torch.no_grad(), accelerator.autocast():
                            answer = told(picture).float()
                        loss = distilled(logits, target, answer, recipe.loss)
                    loss = loss.sum() / len(digit)
                    accelerator.backward(loss / recipe.grad_accumulation)
                total += loss.detach()
            if moves:
                if recipe.gradient_clip:
                    accelerator.clip_grad_norm_(model.parameters(), recipe.gradient_clip)
                optimizer.step()
                optimizer.zero_grad()
            state["steps"].append({"step": step, "epoch": epoch + 1, "learning_rate": rate})
            unseen.append(total)
            if device.type != "cuda" or ends_epoch or len(unseen) == LOOK:
                look(unseen, state["steps"], accelerator, folder, recipe)
                bar.set_postfix(loss=f"{state['steps'][-1]['loss']:.4f}")
        seconds = time.perf_counter() - started

        for buffer in classifier.buffers():  # batch norm's averages are each process's own
            broadcast(buffer)
        table = predict(classifier, clips, corpus, split.validation, progress=False, loader=loader)
        scores = metrics(table)
        state["history"].append(
            {
                "epoch": epoch + 1,
                **scores,
                "seconds": seconds,
                "validation_seconds": time.perf_counter() - started - seconds,
            }
        )
        accelerator.log({f"validation/{name}": score for name, score in scores.items()}, step=(epoch + 1) * steps - 1)
        if accelerator.is_main_process:
            if recipe.checkpoint == "last" or state["kept"] is None or better(scores, state["kept"], recipe):
                state["kept"] = scores
                classifier.save(folder / MODEL)
                with atomic_file(folder / "predictions.csv") as temporary:
                    table.to_csv(temporary, index=False)
            save_checkpoint(folder, classifier, optimizer, state)
        accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        finish(folder, recipe, corpus, split, classifier, accelerator, state)
    for tracker in accelerator.trackers:  # `end_training` would end the processes' connection, too
        tracker.finish()
    return Classifier.load(folder / MODEL).to(device)


def better(scores: dict[str, float], others: dict[str, float], recipe: Recipe) -> bool:
    """Whether scores beat others by the recipe's metric."""
    ours, theirs = scores[recipe.metric], others[recipe.metric]
    return ours < theirs if recipe.metric == "log_loss" else ours > theirs


def batches(rows: np.ndarray, recipe: Recipe, epoch: int) -> list[np.ndarray]:
    """The batches of one epoch, as arrays of row numbers: another order for each seed and epoch."""
    order = torch.randperm(len(rows), generator=torch.Generator().manual_seed(recipe.seed * 1000 + epoch)).numpy()
    ends = range(recipe.batch_size, len(rows), recipe.batch_size)
    found = np.split(rows[order], ends)
    return found[:-1] if recipe.drop_last and len(found[-1]) < recipe.batch_size else found


def look(unseen: list[torch.Tensor], steps: list[dict], accelerator: Accelerator, folder: Path, recipe: Recipe) -> None:
    """Moves the latest losses, [1] each, from the device into the last of `steps`, and checks them."""
    values = accelerator.reduce(torch.stack(unseen), "mean").tolist()
    for row, value in zip(steps[-len(values) :], values, strict=True):
        check_finite(value, row["step"], folder, recipe)
        row["loss"] = value
        accelerator.log({"train/loss": value, "train/learning_rate": row["learning_rate"]}, step=row["step"])
    unseen.clear()


def starting_point(recipe: Recipe, progress: bool) -> Recipe:
    """The recipe with the file of its weights in place of "synthetic"."""
    if recipe.weights != "synthetic":
        return recipe
    from spokendigits.pretraining import synthetic_backbone  # it trains, with this module

    return recipe.but(weights=str(synthetic_backbone(recipe, progress)))


def check_sizes(recipe: Recipe, split: Split, among: int) -> None:
    """CourseError when the clips or the processes do not fit the batches."""
    if len(split.train) < recipe.batch_size and recipe.drop_last:
        raise CourseError(
            f"training: {len(split.train)} clips do not fill one batch of {recipe.batch_size}. Lower batch_size."
        )
    if among > 1 and (recipe.batch_size % among or not recipe.drop_last):
        raise CourseError(
            f"training: {among} processes must share every batch equally. Make batch_size ({recipe.batch_size}) a "
            "multiple of them, and keep drop_last on."
        )


def check_digits(recipe: Recipe, corpus: Corpus, split: Split) -> None:
    """CourseError when clips that are no digits meet a loss that must choose one."""
    if recipe.loss != "bce" and (corpus.table["digit"].iloc[split.train] < 0).any():
        raise CourseError(
            'training: some clips are no digits, and only the loss "bce" can answer ten times no. Set it.'
        )


def check_trackers(names: Sequence[str]) -> None:
    """CourseError for a tracker that is unknown or not installed: Accelerate would go on without it."""
    check_names(names, list(TRACKERS), "unknown tracker")
    for name in names:
        if find_spec(name) is None:
            raise CourseError(f"tracker {name!r} is not installed. Run: pip install {name}")


def largest_batch(recipe: Recipe) -> int:
    """The largest of a process's share of a batch, its half, its quarter … that trains without running out of memory."""
    device = processes().device
    half = torch.bfloat16 if precision(recipe, device) == "bf16" else torch.float16
    size = recipe.batch_size // processes().num_processes

    def halve() -> int:
        nonlocal size
        size //= 2
        return size

    @find_executable_batch_size(starting_batch_size=size, reduce_batch_size_fn=halve)
    def attempt(batch: int) -> int:
        classifier = create(recipe.but(weights="none")).to(device)
        optimizer = torch.optim.AdamW(classifier.parameters())
        with torch.autocast(device.type, half, enabled=precision(recipe, device) != "no"):
            logits = classifier(torch.zeros(batch, recipe.samples, device=device))
        losses(logits, torch.zeros_like(logits), recipe.loss).mean().backward()
        optimizer.step()
        return batch

    try:
        return attempt()
    except RuntimeError as error:
        if "No executable batch size" not in str(error):
            raise
        raise CourseError(
            f"training: not even one clip fits into the memory of {device_name(device)}. Choose a smaller backbone, "
            "or end what else uses the memory."
        ) from None


def train_or_load(
    recipe: Recipe, corpus: Corpus, clips: Clips, split: Split, folder: Path, progress: bool = True, **options
) -> Classifier:
    """The classifier of a finished run in `folder`, or a new one trained there; `options` as for `train`."""
    if finished(folder):
        claim(folder, recipe, clips, options.get("teacher"))
        return Classifier.load(folder / MODEL).to(processes().device)
    return train(recipe, corpus, clips, split, folder, progress, **options)


def finished(folder: Path) -> bool:
    """Whether `folder` holds a run that trained to its end."""
    return (folder / RUN).is_file() and "seconds" in read_json(folder / RUN)


def claim(folder: Path, recipe: Recipe, clips: Clips, teacher: Classifier | None = None) -> None:
    """Marks `folder` as this experiment's; CourseError if it holds something else."""
    taught_by = None if teacher is None else f"{teacher.recipe.backbone} {teacher.digest()[:12]}"
    way_out = "Choose another name for this run, or delete that folder."
    if (folder / RUN).is_file():
        other = read_json(folder / RUN)
        held = Recipe().but(**other["recipe"]).to_dict()
        differ = [
            f"{name}: {held[name]} there, {value} here"
            for name, value in recipe.to_dict().items()
            if held[name] != value
        ]
        if differ:
            raise CourseError(f"{folder} holds another experiment ({'; '.join(differ)}). {way_out}")
        if other["clips"] != clips.folder.name:
            raise CourseError(f"{folder}: the corpus has changed since that run was made. {way_out}")
        if other.get("teacher") != taught_by:
            raise CourseError(
                f"{folder}: that run had {other.get('teacher') or 'no teacher'}, this one {taught_by or 'none'}. {way_out}"
            )
        return
    if folder.is_dir() and any(folder.iterdir()):
        raise CourseError(f"{folder} holds something that is no run of this course. {way_out}")
    write_json(folder / RUN, {"recipe": recipe.to_dict(), "clips": clips.folder.name, "teacher": taught_by})
    recipe.to_yaml(folder / "recipe.yaml")


def check_finite(loss: float, step: int, folder: Path, recipe: Recipe) -> None:
    """Raises CourseError when the loss has become NaN or infinite."""
    if not math.isfinite(loss):
        raise CourseError(
            f"training: the loss became {loss} in step {step}. Lower the learning rate ({recipe.learning_rate}) "
            f"or turn mixed_precision off. Whole epochs so far are kept in {folder}."
        )


def save_checkpoint(folder: Path, classifier: Classifier, optimizer, state: dict) -> None:
    """Leaves all that is needed to go on after this epoch, whole or not at all."""
    with atomic_folder(folder / "checkpoint") as temporary:
        classifier.save(temporary / MODEL)
        torch.save(optimizer.state_dict(), temporary / "optimizer.pt")
        write_json(temporary / "state.json", {**state, "weights": classifier.weights})


def resume(folder: Path, classifier: Classifier, optimizer: torch.optim.Optimizer) -> dict:
    """Loads the last checkpoint, if there is one, and returns what was recorded so far."""
    held = folder / "checkpoint"
    if not held.is_dir():
        return {"steps": [], "history": [], "kept": None}
    state = read_json(held / "state.json")
    classifier.load_state_dict(read_weights(held / MODEL)[0])
    classifier.weights = state.pop("weights")
    optimizer.load_state_dict(torch.load(held / "optimizer.pt", weights_only=True))
    return state


def finish(
    folder: Path,
    recipe: Recipe,
    corpus: Corpus,
    split: Split,
    classifier: Classifier,
    accelerator: Accelerator,
    state: dict,
) -> None:
    """Writes the curves, the kept model's scores and what made them, then drops the checkpoint."""
    for name in ("steps", "history"):
        with atomic_file(folder / f"{name}.csv") as temporary:
            pd.DataFrame(state[name]).to_csv(temporary, index=False)
    table = pd.read_csv(folder / "predictions.csv", dtype={"speaker": str})
    low, high = interval(table)
    found = {"low": low, "high": high, "clips": len(table), "mistakes": len(mistakes(table))}
    write_json(folder / "metrics.json", state["kept"] | found)
    write_json(
        folder / RUN,
        {
            **read_json(folder / RUN),
            "corpus": corpus.label,
            # A part may name a clip more than once: an epoch then has it so often.
            "clips_train": len(np.unique(split.train)),
            "clips_epoch": len(split.train),
            "clips_validation": len(split.validation),
            "weights": classifier.weights,
            "warning": RANDOM_WEIGHTS if recipe.weights == "auto" and classifier.weights == "none" else None,
            "device": device_name(accelerator.device),
            "precision": accelerator.mixed_precision,
            "seconds": sum(epoch["seconds"] for epoch in state["history"]),
            "sha256": sha256(folder / MODEL),
            "versions": versions(),
            "finished": datetime.now(UTC).isoformat(timespec="seconds"),
        },
    )
    shutil.rmtree(folder / "checkpoint", ignore_errors=True)
