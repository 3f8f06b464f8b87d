"""Why a clip was misread: its neighbours in training, what in its picture spoke for a digit, whether its label is right.

Chapter 5.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePosixPath

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from captum.attr import LayerGradCam
from cleanlab.rank import get_label_quality_scores
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from scipy.stats import spearmanr
from sklearn.decomposition import PCA
from sklearn.manifold import TSNE
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize
from tqdm import tqdm

from spokendigits.augmentation import Augment
from spokendigits.classifier import Classifier
from spokendigits.clips import Clips
from spokendigits.corpora.corpus import DIGITS, PROBABILITIES, Corpus
from spokendigits.errors import CourseError
from spokendigits.intervals import accuracy
from spokendigits.loading import Loader
from spokendigits.plots import GREY, ORANGE, describe, draw_mel, figure, looks
from spokendigits.recipe import Recipe

Values = torch.Tensor | np.ndarray | pd.Series
# Clips of FSDD whose labels cleanlab's authors report as wrong: Kuan, Mueller and Athalye, "Finding Label Issues in Audio
# Classification Datasets", 27 April 2022, cleanlab.ai/blog/label-errors-audio-datasets
REPORTED = ("6_yweweler_14", "6_yweweler_35", "6_nicolas_8")
# Blotting out the fifth of a picture that Grad-CAM marks hurt a resnet50 of the fast recipe most with the 4 x 3 positions of
# its layer3, and least with the 2 x 2 of its last stage.
POSITIONS = 12
COMPONENTS = 50  # kept by the PCA before t-SNE, as van der Maaten and Hinton (2008) advise: faster, and less noise


def embeddings(
    classifier: Classifier,
    clips: Clips,
    corpus: Corpus,
    rows: np.ndarray,
    batch_size: int = 128,
    progress: bool = True,
    augment: Augment | None = None,
) -> np.ndarray:
    """What the backbone makes of each of `rows`: float32 [rows, features], its pooled features before the last layer.

    `augment` changes each clip first, as PyTorch's generator draws.
    """
    device, model = next(classifier.parameters()).device, copy.deepcopy(classifier).eval()
    parts = [rows[first : first + batch_size] for first in range(0, len(rows), batch_size)]
    embedded = [torch.empty(0, model.backbone.head_hidden_size)]
    with torch.inference_mode():
        batches = Loader(clips, corpus, device).each(parts)
        for audio, _ in tqdm(batches, "embed", len(parts), unit="batch", disable=not progress):
            features = model.backbone.forward_features(model.frontend(audio, augment))
            embedded.append(model.backbone.forward_head(features, pre_logits=True).flatten(1).float().cpu())
    return torch.cat(embedded).numpy()


def nearest(held_out: np.ndarray, training: np.ndarray, k: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """The `k` embeddings in `training` [m, d] nearest to each one in `held_out` [n, d], nearest first.

    Returns their places in `training` [n, k] and their cosine distances [n, k]: 0 is the same direction, 1 nothing shared.
    Raises CourseError when there are fewer than `k`.
    """
    if len(training) < k:
        raise CourseError(f"nearest: {len(training)} training clips have no {k} nearest ones. Ask for fewer.")
    if not len(held_out):
        return np.empty((0, k), int), np.empty((0, k))
    search = NearestNeighbors(n_neighbors=k, metric="cosine").fit(training)
    distances, places = search.kneighbors(held_out)
    return places, distances


def by_neighbours(embedded: np.ndarray, digits: np.ndarray, k: int = 20) -> np.ndarray:
    """Probabilities [n, 10] of n clips, from embeddings [n, d] and labels [n]: what the `k` nearest others are labelled.

    A neighbour twice as far away counts half as much. No clip has a say about itself, so these are out-of-sample
    probabilities, as `label_candidates` needs them, without a training: and a model that learned from none of these labels
    cannot have learned a wrong one.
    """
    if len(embedded) <= k:
        raise CourseError(f"by_neighbours: {len(embedded)} clips have no {k} neighbours each. Ask for fewer.")
    # Of what it was fitted to, it leaves each clip itself out.
    distances, places = NearestNeighbors(n_neighbors=k, metric="cosine").fit(embedded).kneighbors()
    weights = 1 / np.maximum(distances, 1e-6)
    votes = np.stack([(weights * (digits[places] == digit)).sum(axis=1) for digit in range(DIGITS)], axis=1)
    return votes / votes.sum(axis=1, keepdims=True)


def embedding_map(embeddings: np.ndarray, seed: int = 0) -> np.ndarray:
    """Embeddings [n, d] as points of a map [n, 2]: PCA, then t-SNE (van der Maaten and Hinton 2008).

    Near means alike by cosine, as for `nearest`. Far, and the size of a group, mean nothing.
    """
    if len(embeddings) < 5:
        raise CourseError(f"embedding_map: {len(embeddings)} clips make no map. Give it 5 or more.")
    directions = normalize(embeddings)
    parts = min(COMPONENTS, *directions.shape)
    reduced = PCA(parts, random_state=seed).fit_transform(directions)
    return TSNE(perplexity=min(30, (len(reduced) - 1) / 3), random_state=seed).fit_transform(reduced)


def grad_cam(classifier: Classifier, audio: Values, digits: Values) -> np.ndarray:
    """Where in a clip's picture the evidence for a digit lies: float32 [batch, n_mels, frames], 1 at the strongest place.

    audio [batch, samples], such as `clips.read(rows)`; digits [batch]: the digits asked about, those said or those read.
    Gradients weigh the channels of the last stage that has `POSITIONS` or more (Selvaraju et al. 2017, by captum). Where
    nothing speaks for the digit, the map is 0. The classifier stays as it was. Positions are put where networks look that
    pad strided layers on both sides (ResNets, MobileNets).
    Raises CourseError for a backbone whose stages are no pictures, such as a transformer's.
    """
    recipe, device = classifier.recipe, next(classifier.parameters()).device
    with torch.inference_mode(False), torch.enable_grad():
        # Copies: what inference mode made, or pandas lends, cannot take part in gradients.
        model = copy.deepcopy(classifier).eval()
        audio, digits = (
            part.to(device).clone() if torch.is_tensor(part) else torch.tensor(np.array(part), device=device)
            for part in (audio, digits)
        )
        picture = model.frontend(audio).detach().requires_grad_()
        # Every stage's module, the pixels from one of its positions to the next, and how many of them there should be.
        stages = [(info["module"], info["reduction"], [-(-pixels // info["reduction"]) for pixels in picture.shape[2:]])
                  for info in model.backbone.feature_info]  # fmt: skip
        enough = [stage for stage in stages if np.prod(stage[2]) >= POSITIONS]
        name, step, shape = (enough or stages[:1])[-1]
        cam = LayerGradCam(model.backbone, model.backbone.get_submodule(name))
        maps = cam.attribute(picture, digits.long(), relu_attributions=True).detach()
    # Pooling may drop a last position.
    fits = [expected - 1 <= positions <= expected for expected, positions in zip(shape, maps.shape[2:], strict=False)]
    if maps.dim() != 4 or not all(fits):
        raise CourseError(f"grad_cam: the stages of {recipe.backbone} are no pictures. Use a convolutional backbone.")
    # Position i looks at the surroundings of pixel i * step. Stretched over the whole picture, as usual, it would lie half a
    # step too far right and too high.
    height, width = ((positions - 1) * step + 1 for positions in maps.shape[2:])
    maps = F.interpolate(maps, (height, width), mode="bilinear", align_corners=True)
    maps = F.pad(maps, (0, recipe.frames - width, 0, recipe.n_mels - height), mode="replicate")[:, 0]
    strongest = maps.amax(dim=(1, 2), keepdim=True)
    return (maps / strongest.where(strongest > 0, 1)).float().cpu().numpy()


def cam_sanity(
    classifier: Classifier, audio: Values, digits: Values, seed: int = 0, cam: Callable[..., np.ndarray] = grad_cam
) -> pd.DataFrame:
    """Whether maps depend on what was learned (Adebayo et al. 2018): a row for each part of the backbone, last part first.

    Columns: stage, the part whose weights are drawn anew, after all those above it; correlation, Spearman's between the
    maps before and after, the mean over clips. It should fall towards 0; a map that ignores the classifier stays at 1.
    A map that is the same everywhere counts as 0. `cam` is what is checked, called as `grad_cam` is.
    """
    before, rows = cam(classifier, audio, digits), []
    for stage, changed in _cascade(classifier, seed):
        pairs = zip(before, cam(changed, audio, digits), strict=True)
        ranks = [spearmanr(a.ravel(), b.ravel()).statistic if np.ptp(a) and np.ptp(b) else 0.0 for a, b in pairs]
        rows.append({"stage": stage, "correlation": float(np.mean(ranks))})
    return pd.DataFrame(rows, columns=["stage", "correlation"])


def randomised(classifier: Classifier, seed: int = 0) -> Classifier:
    """A copy of the classifier that has learned nothing: all weights of its backbone are drawn anew."""
    *_, (_, changed) = _cascade(classifier, seed)
    return changed


def _cascade(classifier: Classifier, seed: int) -> Iterator[tuple[str, Classifier]]:
    """One copy of the classifier whose backbone loses what it learned part by part, from the last to the first."""
    changed = copy.deepcopy(classifier)
    device = next(changed.parameters()).device
    parts = [(name, part) for name, part in changed.backbone.named_children() if any(True for _ in part.parameters())]
    for number, (name, part) in enumerate(reversed(parts)):
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(seed * 1000 + number)
            for module in part.modules():
                if hasattr(module, "reset_parameters"):
                    module.reset_parameters()
        yield name, changed


def label_candidates(table: pd.DataFrame, least: float = 0.5) -> pd.DataFrame:
    """The predictions table, most suspicious labels first, with the columns rank, quality and suggested before its own.

    quality is cleanlab's normalized margin (Northcutt et al. 2021): the label's probability less the largest other one, -1
    to 1 scaled to 0 to 1. Of cleanlab's rankings it and self-confidence found planted errors best, equally often, and it
    puts FSDD's reported ones higher. suggested is the most probable other digit.
    Every probability must come from a model that did not train on that clip, best from `predict` on the held-out part of
    each fold, joined: a model that has seen a wrong label may have learned it. That cannot be seen in a table; what can
    is refused with a CourseError: a clip that occurs twice, probabilities that are no numbers, and a table where a share below
    `least` of the predictions agree with the labels, so that these must belong to other clips.
    """
    if missing := {"path", "digit", "predicted", *PROBABILITIES}.difference(table):
        raise CourseError(
            f"label_candidates: the table lacks {', '.join(sorted(missing))}. Give it a table of `predict`."
        )
    if len(twice := table["path"][table["path"].duplicated()]):
        raise CourseError(
            f"label_candidates: {len(twice)} clip(s) occur twice, {twice.iloc[0]} for one. Join only tables of held-out parts."
        )
    chances, label = table[PROBABILITIES].to_numpy(float), table["digit"].to_numpy()
    if not np.isfinite(chances).all():
        raise CourseError("label_candidates: some probabilities are no numbers. Predict these clips again.")
    if accuracy(table) < least:
        raise CourseError(
            f"label_candidates: predictions agree with only {accuracy(table):.0%} of the labels, so either is of no use. "
            "Check that each row's label is that of its clip, and that the model was trained."
        )
    ranked = table.copy()
    ranked.insert(0, "quality", get_label_quality_scores(label, chances, method="normalized_margin"))
    ranked.insert(1, "suggested", np.where(np.eye(DIGITS)[label], -1, chances).argmax(axis=1))
    ranked = ranked.sort_values("quality", kind="stable")
    ranked.insert(0, "rank", np.arange(1, len(ranked) + 1))
    return ranked


def reported_ranks(candidates: pd.DataFrame) -> pd.Series:
    """Where the labels of FSDD that are REPORTED stand among candidates: rank by name, <NA> for a clip that is not there."""
    names = candidates["path"].map(lambda path: PurePosixPath(path).stem)
    return candidates.set_index(names.rename("clip"))["rank"].reindex(REPORTED).astype("Int64")


def draw_map(points: np.ndarray, table: pd.DataFrame, label: str) -> Figure:
    """Clips as points [n, 2] of `explain.embedding_map`, each drawn as its digit; rings around those that were misread.

    table: their n predictions, in the order of the points.
    """
    fig, ax = figure(7, 6)
    digits, wrong = table["digit"].to_numpy(), (table["digit"] != table["predicted"]).to_numpy()
    for digit, colour in enumerate(plt.get_cmap("tab10").colors):
        ax.scatter(*points[digits == digit].T, s=32, marker=f"${digit}$", color=colour, linewidth=0.3)
    ax.scatter(*points[wrong].T, s=130, facecolors="none", edgecolors="black", linewidth=0.6, label="misread")
    ax.set(title=label, xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    if wrong.any():
        fig.legend(loc="outside lower center")
    closest = NearestNeighbors(n_neighbors=1).fit(points).kneighbors(return_distance=False)[:, 0]
    alike = (digits[closest] == digits).mean()
    alt = (
        f"{label}: map of {len(points)} clips, each drawn as its digit; near means alike to the model. {alike:.0%} lie next to a "
        f"clip of the same digit. {wrong.sum()} misread clips are ringed."
    )
    return describe(fig, alt, "Each digit on the map is one clip, and a ring marks a clip that was misread.")


def draw_cams(
    pictures: np.ndarray, maps: dict[str, np.ndarray], titles: Sequence[str], recipe: Recipe, caption: str
) -> Figure:
    """A row for each clip: its log-mel picture [n, n_mels, frames], then the same in grey under each of the maps.

    maps: {heading: [n, n_mels, frames]} in 0 ... 1, such as of `explain.grad_cam` for a classifier and for its randomised copy.
    """
    count = len(pictures)
    fig, axes = figure(8, 0.4 + 1.9 * count, count, 1 + len(maps), squeeze=False, sharex=True, sharey=True)
    notes = []
    for i, (row, picture, title) in enumerate(zip(axes, pictures, titles, strict=True)):
        draw_mel(row[0], picture, recipe)
        row[0].set_ylabel(title, fontsize=9)
        places = []
        for ax, (heading, values) in zip(row[1:], maps.items(), strict=True):
            draw_mel(ax, picture, recipe).set_cmap("gray")
            overlay = np.full((*values[i].shape, 4), (*to_rgb(ORANGE), 0.0))
            overlay[..., 3] = 0.8 * values[i]
            ax.imshow(overlay, origin="lower", aspect="auto", interpolation="nearest")
            mel_bin, frame = np.unravel_index(values[i].argmax(), values[i].shape)
            where = f"strongest at {frame * recipe.hop / recipe.sample_rate:.2f} s, mel bin {mel_bin}"
            places.append(f"{heading}: {where if values[i].any() else 'nothing'}")
        notes.append(f"{title} ({', '.join(places)})")
    for ax, heading in zip(axes[0], ["log-mel picture", *maps], strict=True):
        ax.set_title(heading)
    alt = f"Log-mel pictures of {count} clips; beside each, in orange on grey, where evidence lies: {'; '.join(notes)}."
    return describe(fig, alt, caption)


def draw_cam_sanity(checks: dict[str, pd.DataFrame]) -> Figure:
    """Rank correlation of maps before and after weights are drawn anew: a line for each {name: `explain.cam_sanity`}."""
    fig, ax = figure(8, 3)
    parts = []
    for (name, check), (colour, marker, _) in zip(checks.items(), looks(), strict=False):
        ax.plot(check["stage"], check["correlation"], marker=marker, color=colour, label=name)
        last, whole = check["correlation"].iloc[[0, -1]]
        parts.append(f"{name}: {last:.2f} after the last part, {whole:.2f} after all")
    ax.axhline(0, color=GREY, linewidth=0.8)
    ax.set(xlabel="weights drawn anew, from the last part down to this one", ylabel="rank correlation")
    ax.set_ylim(min(-0.1, ax.get_ylim()[0]), 1.05)
    fig.legend(loc="outside lower center", ncols=2)
    alt = (
        f"Rank correlation between maps before and after weights are drawn anew, part by part from the last. {'; '.join(parts)}. "
        "A map that depends on what was learned falls towards 0."
    )
    return describe(fig, alt, "A line that falls to 0 needs what was learned; a line that stays at 1 does not.")
