"""`train`: the loop, readable top to bottom, and the files that it leaves."""

import math
import os
import shutil
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from torch import nn
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from spokendigits.classifier import DIGITS, RANDOM_WEIGHTS, Classifier, create
from spokendigits.clips import Clips
from spokendigits.corpora.corpus import Corpus
from spokendigits.errors import CourseError
from spokendigits.evaluation import losses, metrics, predict
from spokendigits.files import atomic_file, atomic_folder, read_json, sha256, versions, write_json
from spokendigits.recipe import Recipe
from spokendigits.splits import Split

MODEL = "model.safetensors"
RUN = "run.json"


class ClipBatches(Dataset):
    """Rows of `Clips` with their digits, read a whole batch at a time: int16 [batch, samples], int64 [batch]."""

    def __init__(self, clips: Clips, corpus: Corpus, rows: np.ndarray):
        self.audio, self.rows = clips.audio, rows
        self.digit = corpus.table["digit"].to_numpy()

    def __len__(self) -> int:
        return len(self.rows)

    def __getitems__(self, items: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        rows = self.rows[items]
        return torch.from_numpy(self.audio[rows]), torch.from_numpy(self.digit[rows])


def learning_rate(step: int, steps: int, recipe: Recipe) -> float:
    """The learning rate of one step: a linear warm-up, then half a cosine down to 0 (Loshchilov & Hutter 2017)."""
    warmup = round(steps * recipe.warmup_epochs / recipe.epochs)
    if step < warmup:
        return recipe.learning_rate * (step + 1) / warmup
    if recipe.schedule == "constant":
        return recipe.learning_rate
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def precision(recipe: Recipe, device: torch.device) -> str:
    """Accelerate's name for the number format: "bf16" where the hardware has it, "fp16" on older GPUs, else "no"."""
    if not recipe.mixed_precision:
        return "no"
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    # Emulated on other CPUs, where it would be slower than float32. torch has no public question for this.
    native = getattr(torch.cpu, "_is_avx512_bf16_supported", lambda: False)
    return "bf16" if device.type == "cpu" and native() else "no"


def mix(audio: torch.Tensor, target: torch.Tensor, recipe: Recipe, random: np.random.Generator):
    """Mixes each clip of a batch, and its target, with another one (mixup, Zhang et al. 2018)."""
    ratio = random.beta(recipe.mix_concentration, recipe.mix_concentration)
    partner = torch.from_numpy(random.permutation(len(audio))).to(audio.device)
    audio = audio.float() / 32768
    return ratio * audio + (1 - ratio) * audio[partner], ratio * target + (1 - ratio) * target[partner]


def train(
    recipe: Recipe, corpus: Corpus, clips: Clips, split: Split, folder: Path, progress: bool = True
) -> Classifier:
    """Trains a classifier and leaves its files in `folder`; goes on from the last whole epoch if it was stopped.

    Files: recipe.yaml, run.json (what made it), steps.csv (step, epoch, learning_rate, loss), history.csv (one row an
    epoch, measured on the validation part), model.safetensors. Returns the classifier that the recipe's `checkpoint` keeps.
    Raises CourseError when the loss is no longer a number, or when `folder` holds another experiment.
    """
    if len(split.train) < recipe.batch_size and recipe.drop_last:
        raise CourseError(
            f"training: {len(split.train)} clips do not fill one batch of {recipe.batch_size}. Lower batch_size."
        )
    claim(folder, recipe, clips)
    AcceleratorState._reset_state()  # it is shared by a whole process, and would refuse a second run's other precision
    accelerator = Accelerator(
        mixed_precision=precision(recipe, PartialState().device),
        gradient_accumulation_steps=recipe.grad_accumulation,
    )
    classifier = create(recipe).to(accelerator.device)
    classifier.backbone.to(memory_format=torch.channels_last)  # the layout that convolutions are fastest in
    optimizer = torch.optim.AdamW(classifier.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay)
    order = torch.Generator()
    batches = DataLoader(
        ClipBatches(clips, corpus, split.train),
        batch_size=recipe.batch_size,
        shuffle=True,
        drop_last=recipe.drop_last,
        generator=order,
        collate_fn=lambda batch: batch,
    )
    state = resume(folder, classifier, optimizer)
    # Accelerate puts half precision around what it is given; wrapped, the classifier itself still predicts in float32.
    model, optimizer, batches = accelerator.prepare(nn.Sequential(classifier), optimizer, batches)
    total = recipe.epochs * len(batches)

    for epoch in range(len(state["history"]), recipe.epochs):
        # Everything random in an epoch follows from its number, so a resumed run draws what an unbroken one would.
        order.manual_seed(recipe.seed * 1000 + epoch)
        torch.manual_seed(recipe.seed * 1000 + epoch)
        random = np.random.default_rng([recipe.seed, epoch])
        started = time.perf_counter()
        model.train()
        bar = tqdm(batches, desc=f"epoch {epoch + 1}/{recipe.epochs}", unit="batch", disable=not progress)
        for step, (audio, digit) in enumerate(bar, epoch * len(batches)):
            rate = learning_rate(step, total, recipe)
            for group in optimizer.param_groups:
                group["lr"] = rate
            target = F.one_hot(digit, DIGITS).float()
            if random.random() < recipe.mix_probability:
                audio, target = mix(audio, target, recipe, random)
            with accelerator.accumulate(model):
                loss = losses(model(audio), target, recipe.loss).mean()
                check_finite(loss, step, folder, recipe)
                accelerator.backward(loss)
                if recipe.gradient_clip and accelerator.sync_gradients:
                    accelerator.clip_grad_norm_(model.parameters(), recipe.gradient_clip)
                optimizer.step()
                optimizer.zero_grad()
            state["steps"].append({"step": step, "epoch": epoch + 1, "learning_rate": rate, "loss": loss.item()})
            bar.set_postfix(loss=f"{loss.item():.4f}")
        seconds = time.perf_counter() - started

        scores = metrics(predict(classifier, clips, corpus, split.validation, progress=False))
        state["history"].append({"epoch": epoch + 1, **scores, "seconds": seconds})
        score = scores[recipe.metric] * (-1 if recipe.metric == "log_loss" else 1)
        if recipe.checkpoint == "last" or state["best"] is None or score > state["best"]:
            state["best"] = score
            classifier.save(folder / MODEL)
        save_checkpoint(folder, classifier, optimizer, state)
    finish(folder, recipe, corpus, split, classifier, accelerator, state)
    return Classifier.load(folder / MODEL).to(accelerator.device)


def train_or_load(
    recipe: Recipe, corpus: Corpus, clips: Clips, split: Split, folder: Path, progress: bool = True
) -> Classifier:
    """The classifier of a finished run in `folder`, or a new one trained there."""
    if finished(folder):
        claim(folder, recipe, clips)
        return Classifier.load(folder / MODEL).to(PartialState().device)
    return train(recipe, corpus, clips, split, folder, progress)


def finished(folder: Path) -> bool:
    """Whether `folder` holds a run that trained to its end."""
    return (folder / RUN).is_file() and "seconds" in read_json(folder / RUN)


def claim(folder: Path, recipe: Recipe, clips: Clips) -> None:
    """Marks `folder` as this experiment's; CourseError if it holds something else."""
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
        return
    if folder.is_dir() and any(folder.iterdir()):
        raise CourseError(f"{folder} holds something that is no run of this course. {way_out}")
    recipe.to_yaml(folder / "recipe.yaml")
    write_json(folder / RUN, {"recipe": recipe.to_dict(), "clips": clips.folder.name})


def check_finite(loss: torch.Tensor, step: int, folder: Path, recipe: Recipe) -> None:
    """Raises CourseError when the loss has become NaN or infinite."""
    if not torch.isfinite(loss):
        raise CourseError(
            f"training: the loss became {loss.item()} in step {step}. Lower the learning rate ({recipe.learning_rate}) "
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
        return {"steps": [], "history": [], "best": None}
    state = read_json(held / "state.json")
    classifier.load_state_dict(Classifier.load(held / MODEL).state_dict())
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
    """Writes the curves and what made them, then drops the checkpoint."""
    for name in ("steps", "history"):
        with atomic_file(folder / f"{name}.csv") as temporary:
            pd.DataFrame(state[name]).to_csv(temporary, index=False)
    write_json(
        folder / RUN,
        {
            **read_json(folder / RUN),
            "corpus": corpus.label,
            "clips_train": len(split.train),
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


def device_name(device: torch.device) -> str:
    """What a reader would call the device: "NVIDIA H100", or "CPU, 2 cores"."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU, {os.cpu_count()} cores" if device.type == "cpu" else device.type.upper()
