"""A network, opened: its stages, how far each of them sees, what they make of one clip, and its first filters. Chapter 3."""

import copy

import numpy as np
import pandas as pd
import torch
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, Rectangle

from spokendigits.classifier import Classifier
from spokendigits.frontend import LogMel
from spokendigits.plots import BLUE, GREY, ORANGE, SOUND, describe, figure, looks


def stages(classifier: Classifier, audio: torch.Tensor) -> dict[str, np.ndarray]:
    """What each stage of a backbone makes of one clip [samples]: float32 [channels, rows, columns], by the stage's name."""
    model, seen = _watched(classifier)
    with torch.inference_mode():
        model(audio[None])
    return {name: out[0].float().numpy() for name, out in seen.items()}


def _watched(classifier: Classifier) -> tuple[Classifier, dict[str, torch.Tensor]]:
    """A copy of a classifier, and what the stages of its backbone made of what it last read, by their names."""
    model, seen = copy.deepcopy(classifier).cpu().eval(), {}
    for info in model.backbone.feature_info:
        keep = lambda _, __, out, name=info["module"]: seen.update({name: out})  # noqa: E731
        model.backbone.get_submodule(info["module"]).register_forward_hook(keep)
    return model, seen


def receptive_fields(classifier: Classifier) -> pd.DataFrame:
    """How far one position of each stage sees: a row a stage, with channels, rows, columns, milliseconds and mel bins.

    Found by asking which pixels of a picture move the middle position: those whose gradient is not 0. What a stage sees may
    be larger than the picture; then it is the picture.
    """
    recipe, rows, (model, seen) = classifier.recipe, {}, _watched(classifier)
    picture = torch.randn(1, 1, recipe.n_mels, recipe.frames, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode(False), torch.enable_grad():
        picture.requires_grad_()
        model.backbone(picture)
        for name, out in seen.items():
            channels, height, width = out.shape[1:]
            middle = out[0, :, height // 2, width // 2].sum()
            (gradient,) = torch.autograd.grad(middle, picture, retain_graph=True)
            bins, frames = ((gradient[0, 0] != 0).any(dim=axis).nonzero() for axis in (1, 0))
            seconds = (int(frames[-1] - frames[0]) * recipe.hop + recipe.window) / recipe.sample_rate
            milliseconds = round(1000 * min(seconds, recipe.seconds))
            rows[name] = (channels, height, width, milliseconds, int(bins[-1] - bins[0]) + 1)
    return pd.DataFrame.from_dict(rows, orient="index", columns=["channels", "rows", "columns", "ms", "mel bins"])


def draw_network(fields: pd.DataFrame, classifier: Classifier) -> Figure:
    """A drawing of a network from its picture to its ten answers; `fields` from `receptive_fields`."""
    recipe = classifier.recipe
    boxes = [("mel picture", 1, recipe.n_mels, recipe.frames)]
    boxes += [(name, *map(int, row)) for name, *row in fields[["channels", "rows", "columns"]].itertuples()]
    boxes += [("average", boxes[-1][1], 1, 1), ("answers", 10, 1, 1)]
    fig, ax = figure(8, 3.2)
    x = 0.0
    for place, (name, channels, height, width) in enumerate(boxes):
        wide, high = 0.35 + 0.16 * np.log2(channels + 1), 0.25 + 2.4 * height / recipe.n_mels
        colour = (ORANGE if place == 0 else GREY) if place in (0, len(boxes) - 1) else BLUE
        ax.add_patch(Rectangle((x, -high / 2), wide, high, color=colour, alpha=0.75))
        shape = f"{channels} × {height} × {width}" if height > 1 or width > 1 else f"{channels}"
        low = -1.5 - 0.6 * (place % 2)  # in turn, so that no two touch
        ax.text(x + wide / 2, low, f"{name}\n{shape}", ha="center", va="top", fontsize=9)
        if place:
            ax.add_patch(FancyArrowPatch((x - 0.32, 0), (x - 0.02, 0), arrowstyle="-|>", mutation_scale=9, color=GREY))
        x += wide + 0.35
    ax.set(xlim=(-0.2, x), ylim=(-2.7, 1.6))
    ax.set_axis_off()
    last = boxes[-3]
    alt = (
        f"A drawing of {recipe.backbone}: a mel picture of {recipe.n_mels} x {recipe.frames} goes through {len(fields)} stages. "
        f"Each has more channels and fewer positions; the last has {last[1]} channels of {last[2]} x {last[3]}. Their average "
        "over all positions goes to ten answers."
    )
    return describe(
        fig,
        alt,
        "A box is as high as its picture has rows, and the wider the more channels; below stand channels × rows × columns.",
    )


def draw_stages(seen: dict[str, np.ndarray], classifier: Classifier, audio: torch.Tensor, title: str) -> Figure:
    """One clip's mel picture, and beside it what four or five stages make of it: the strongest channel of each."""
    with torch.inference_mode():
        picture = LogMel(classifier.recipe)(audio[None])[0, 0].numpy()
    fig, axes = figure(8, 2.3, 1, len(seen) + 1)
    parts = []
    for ax, (name, maps) in zip(axes, {title: picture[None], **seen}.items(), strict=True):
        strongest = maps[maps.std(axis=(1, 2)).argmax()]
        ax.imshow(strongest, origin="lower", aspect="auto", cmap=SOUND, interpolation="nearest")
        ax.set_title(f"{name}\n{maps.shape[1]} × {maps.shape[2]}", fontsize=9)
        ax.set(xticks=[], yticks=[])
        parts.append(f"{name} {maps.shape[1]} by {maps.shape[2]}")
    alt = f"One clip in {len(seen) + 1} pictures that grow coarser from left to right: {', '.join(parts)}."
    return describe(
        fig, alt, "Left is the mel picture, and to its right stands of each stage the channel that varies most."
    )


def draw_filters(learned: torch.Tensor, random: torch.Tensor, count: int = 16) -> Figure:
    """First filters [n, 3, height, width] as learned from photographs: in colour, added up; and random ones below.

    The order is that of their strength.
    """
    order = learned.flatten(1).norm(dim=1).argsort(descending=True)[:count]
    colours = learned[order]
    scaled = (colours / colours.abs().amax(dim=(1, 2, 3), keepdim=True) + 1) / 2
    rows = {
        "photographs": scaled.permute(0, 2, 3, 1),
        "added up": colours.sum(dim=1),
        "random": random[order].sum(dim=1),
    }
    fig, axes = figure(8, 2.1, len(rows), count)
    for line, (name, filters) in zip(axes, rows.items(), strict=True):
        for ax, values in zip(line, filters, strict=True):
            ax.imshow(values.detach().numpy(), cmap="gray", interpolation="nearest")
            ax.set(xticks=[], yticks=[])
        line[0].set_ylabel(name, rotation=0, ha="right", va="center")
    smooth = {name: _smoothness(rows[name]) for name in ("added up", "random")}
    alt = (
        f"The {count} strongest first filters, 3 x 3 pixels each: as learned from photographs in colour, the same added up to one "
        "channel, and random ones. Neighbouring "
        f"pixels agree to {smooth['added up']:.2f} in the learned ones and to {smooth['random']:.2f} in the random ones."
    )
    return describe(fig, alt, "Grey is nothing, and what is brighter or darker is what that filter looks for.")


def _smoothness(filters: torch.Tensor) -> float:
    """The correlation of neighbouring pixels in filters [n, height, width]."""
    pairs = [(filters[:, 1:], filters[:, :-1]), (filters[:, :, 1:], filters[:, :, :-1])]
    one, other = (torch.cat([pair[side].flatten() for pair in pairs]) for side in (0, 1))
    return float(torch.corrcoef(torch.stack([one, other]))[0, 1])


def draw_curves(steps: pd.DataFrame, history: pd.DataFrame) -> Figure:
    """The seed experiment's four charts: learning rate, training loss, validation loss, validation ROC-AUC."""
    fig, axes = figure(8, 5, 2, 2)
    panels = [(steps, "step", "learning_rate", "learning rate"), (steps, "step", "loss", "training loss of each batch"),
              (history, "epoch", "loss", "validation loss"), (history, "epoch", "roc_auc", "validation ROC-AUC")]  # fmt: skip
    for ax, (table, x, column, title) in zip(axes.flat, panels, strict=True):
        style, colour = ("-", BLUE) if x == "step" else ("o-", ORANGE)
        ax.plot(table[x], table[column], style, color=colour, linewidth=0.8 if title.startswith("training") else None)
        ax.set(title=title, xlabel=x, yscale="log" if column == "loss" else "linear")
        if x == "epoch":
            ax.set_xticks(table[x])
    axes[0, 0].set_ylim(0, None)
    axes[1, 1].ticklabel_format(axis="y", useOffset=False)
    last, rate = history.iloc[-1], steps["learning_rate"]
    ending = "near zero" if rate.iloc[-1] < rate.max() / 100 else f"at {rate.iloc[-1]:.2g}"
    alt = (
        f"Four charts over training. The learning rate is {rate.max():.2g} at most and ends {ending}. The training loss "
        f"goes from {steps['loss'].iloc[0]:.2f} to {steps['loss'].iloc[-10:].mean():.4f}. The validation loss ends at "
        f"{last['loss']:.4f}, the validation ROC-AUC at {last['roc_auc']:.4f}."
    )
    return describe(
        fig, alt, "The two upper charts have a point for each step, and the two lower ones a point for each epoch."
    )


def draw_starts(histories: dict[str, pd.DataFrame], steps: int) -> Figure:
    """Validation accuracy after each epoch, one line for each start: {name: history.csv}; `steps` is an epoch's."""
    fig, ax = figure(8, 3.2)
    parts = []
    for (name, history), (colour, marker, style) in zip(histories.items(), looks(), strict=False):
        ax.plot(history["epoch"] * steps, 100 * history["accuracy"], style, marker=marker, color=colour, label=name)
        values = ", ".join(f"{value:.1%}" for value in history["accuracy"])
        parts.append(f"{name}: {values}")
    ax.set(xlabel="steps", ylabel="accuracy in per cent", ylim=(0, 102))
    ax.legend(loc="center left", bbox_to_anchor=(1, 0.5))
    alt = f"Validation accuracy after each epoch of {steps} steps. {'; '.join(parts)}."
    return describe(fig, alt, "All lines made as many steps with the same clips: look how early each of them rises.")
