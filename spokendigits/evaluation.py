"""`predict` gives one table; metrics with intervals are functions of that table."""

from collections.abc import Callable

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from accelerate.utils import gather_object
from scipy.stats import binomtest, norm, t
from sklearn.metrics import confusion_matrix, log_loss, roc_auc_score
from tqdm import tqdm

from spokendigits.augmentation import Augment
from spokendigits.classifier import DIGITS, Classifier
from spokendigits.clips import Clips
from spokendigits.corpora.corpus import COLUMNS, Corpus
from spokendigits.devices import processes
from spokendigits.errors import CourseError
from spokendigits.loading import Loader

PROBABILITIES = [f"p{digit}" for digit in range(DIGITS)]
ENOUGH_SPEAKERS, ENOUGH_CLIPS = 5, 30  # below them, a row of `recall_by` carries a warning


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
    """Logits [batch, 10] to probabilities that sum to 1.

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


def predict(
    classifier: Classifier,
    clips: Clips,
    corpus: Corpus,
    rows: np.ndarray,
    batch_size: int = 128,
    progress: bool = True,
    loader: Loader | None = None,
    views: int = 1,
) -> pd.DataFrame:
    """The predictions table, one row for each of `rows`.

    Columns: clip (row of the corpus), path, digit, speaker, take, predicted, p0..p9, loss (the recipe's), and the facts of the
    speaker that the corpus has. Under `accelerate launch` each process predicts its share, and all get the whole table:
    all processes have to call this. `loader` is one that exists already for these clips, so that a GPU need not hold them
    twice. `views`: the probabilities are means over so many copies of each clip, the first as it is, the others as if
    another voice had said it (`Augment`'s part "voice"); `loss` is that of the first.
    """
    device = next(classifier.parameters()).device
    recipe = classifier.recipe
    us = processes()
    places = np.arange(len(rows))[us.process_index :: us.num_processes]
    share = rows[places]
    chances, lost = np.empty((len(share), DIGITS)), np.empty(len(share), np.float32)
    parts = [slice(first, first + batch_size) for first in range(0, len(share), batch_size)]
    classifier.eval()
    change = Augment(recipe.but(augment="voice"))
    with (
        torch.inference_mode(),
        torch.random.fork_rng([device] if device.type == "cuda" else []),
        torch.autocast(device.type, enabled=recipe.mixed_precision_inference, dtype=torch.bfloat16),
        tqdm(total=len(parts), desc="predict", unit="batch", disable=not progress) as bar,
    ):
        torch.manual_seed(0)
        batches = (loader or Loader(clips, corpus, device)).each(share[part] for part in parts)
        for part, (audio, digit) in zip(parts, batches, strict=True):
            logits = classifier(audio).float()
            mean = probabilities(logits, recipe.loss)
            for view in range(1, views):
                other = classifier.backbone(classifier.frontend(audio, change)).float()
                mean = (view * mean + probabilities(other, recipe.loss)) / (view + 1)
            chances[part] = mean.cpu()
            lost[part] = losses(logits, targets(digit), recipe.loss).cpu()
            bar.update()
    if us.num_processes > 1:
        gathered = zip(*gather_object([(places, chances, lost)]), strict=True)
        places, chances, lost = (np.concatenate(part) for part in gathered)
        order = np.argsort(places)
        chances, lost = chances[order], lost[order]
    facts = corpus.table.iloc[rows].reset_index(drop=True)
    said = {"predicted": chances.argmax(axis=1), **dict(zip(PROBABILITIES, chances.T, strict=True)), "loss": lost}
    rest = facts.columns.difference(COLUMNS, sort=False)
    return pd.concat([pd.Series(rows, name="clip"), facts[COLUMNS], pd.DataFrame(said), facts[rest]], axis=1)


def accuracy(table: pd.DataFrame) -> float:
    """Share of clips whose most probable digit is the true one."""
    return float((table["digit"] == table["predicted"]).mean())


def roc_auc(table: pd.DataFrame) -> float:
    """Area under the ROC curve: each digit against the rest, then the mean over digits that occur (NaN if only one does)."""
    digit = table["digit"].to_numpy()
    present = [k for k in range(DIGITS) if 0 < (digit == k).sum() < len(digit)]
    return float(np.mean([roc_auc_score(digit == k, table[f"p{k}"]) for k in present])) if present else float("nan")


def metrics(table: pd.DataFrame) -> dict[str, float]:
    """accuracy, roc_auc, log_loss (of the probabilities) and loss (the mean of the training loss)."""
    chances = table[PROBABILITIES].to_numpy()
    return {
        "loss": float(table["loss"].mean()),
        "roc_auc": roc_auc(table),
        "accuracy": accuracy(table),
        "log_loss": float(log_loss(table["digit"], chances / chances.sum(axis=1, keepdims=True), labels=range(DIGITS))),
    }


def interval(
    table: pd.DataFrame,
    statistic: Callable[[pd.DataFrame], float] = accuracy,
    rounds: int = 1000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """An interval that respects speakers: what another sample of speakers, and of their clips, would give.

    Clips of one speaker are alike, so an interval over clips alone would promise too much. For accuracy it is
    `speaker_interval`, which draws nothing. Any other statistic is bootstrapped in `rounds`: speakers are drawn with
    replacement, then clips of each. Percentiles of few speakers' draws lie too close together; they are moved apart by
    what Student's t demands of so many speakers (the expanded percentile interval of Hesterberg 2015, The American
    Statistician 69:371-386). With one speaker only clips count, and the interval says nothing about other voices.
    """
    if statistic is accuracy:
        low, high = speaker_interval(*_counts(table), level)
        return float(low), float(high)
    random = np.random.default_rng(seed)
    groups = [np.asarray(rows) for rows in table.groupby("speaker").indices.values()]
    values = []
    for _ in range(rounds):
        drawn = random.integers(len(groups), size=len(groups))
        rows = np.concatenate([random.choice(groups[g], len(groups[g])) for g in drawn])
        values.append(statistic(table.iloc[rows]))
    tail = (1 - level) / 2
    if (n := len(groups)) > 1:
        tail = norm.cdf(t.ppf(tail, n - 1) * np.sqrt(n / (n - 1)))
    return float(np.nanquantile(values, tail)), float(np.nanquantile(values, 1 - tail))


def _counts(table: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Right answers and clips of each speaker, both [speakers]."""
    out = (table["digit"] == table["predicted"]).groupby(table["speaker"]).agg(["sum", "size"])
    return out["sum"].to_numpy(float), out["size"].to_numpy(float)


def speaker_interval(right: np.ndarray, clips: np.ndarray, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
    """The interval for accuracy from each speaker's right answers: low and high [...] from right [..., speakers].

    clips: [..., speakers], or [speakers] for all of them. It is Wilson's interval for the number of independent clips
    that these are worth, by Kish's design effect and Student's t: Korn and Graubard's effective sample size (1998,
    Survey Methodology 24:193-201) in the interval that Franco et al. recommend (2019, J. Survey Statistics and
    Methodology 7:334-364). It stays in 0..1 and is never empty, with no mistake either.

    How often 95 % intervals held the truth, by `coverage`, for mean accuracies of 90, 95, 97, 99 and 99.5 % and 50, 100
    and 500 clips of each speaker, in per cent (lowest to highest); the last column is `bootstrap_interval`'s:

        speakers   spread 0.5   0.7          1            1.4          bootstrap, spread 1
        5          94.6-99.3    94.3-99.1    92.9-98.9    89.3-98.8    67-91
        6          94.8-98.9    94.1-98.8    92.7-98.4    89.9-98.3    75-93
        12         94.9-97.8    94.2-97.5    93.2-96.9    91.2-97.0    89-96
        60         94.8-95.7    94.6-95.5    94.3-95.1    93.6-94.6    92-99

    The high ends are few speakers with hardly a mistake: nothing then shows how uneven they are, and the interval is
    wider than it need be (all of them for speakers who are quite alike: 96 to 99.8). The low ends are few speakers of
    whom most are near perfect and one in many is not: no interval knows of those who were not met.
    """
    right, clips = np.asarray(right, float), np.asarray(clips, float)
    total = clips.sum(axis=-1)
    share = right.sum(axis=-1) / total
    worth = _effective_clips(right, clips, share * (1 - share) / total, level)
    return wilson(share * worth, worth, level)


def _effective_clips(score: np.ndarray, clips: np.ndarray, variance: np.ndarray, level: float) -> np.ndarray:
    """How many independent clips, with the normal quantile, would say as much about the mean score: [...].

    score and clips: sums for each speaker, [..., speakers]; variance: of the mean if the clips were independent, [...].
    """
    total = clips.sum(axis=-1)
    # Kish: speakers who count more than others are worth fewer. Twelve, one of them with half of all clips, make 3.7.
    speakers = total**2 / (clips**2).sum(axis=-1)
    alone = speakers <= 1
    others = np.where(alone, 1, speakers - 1)
    residual = score - (score.sum(axis=-1) / total)[..., None] * clips
    between = (residual**2).sum(axis=-1) / total**2 * speakers / others
    # Never more than the clips: speakers who happen to be equally good promise nothing.
    effect = np.divide(variance, between, out=np.ones_like(total + between), where=between > variance)
    few = (norm.ppf((1 + level) / 2) / t.ppf((1 + level) / 2, others)) ** 2
    return total * np.where(alone, 1, effect * few)


def wilson(
    right: np.ndarray | float, clips: np.ndarray | float, level: float = 0.95
) -> tuple[np.ndarray | float, np.ndarray | float]:
    """Wilson's interval (1927) for a share: sensible near 100 % and for few clips, as long as clips are independent."""
    z = norm.ppf((1 + level) / 2)
    centre = right + z**2 / 2
    half = z * np.sqrt(np.maximum(right * (1 - right / np.maximum(clips, 1e-300)), 0) + z**2 / 4)
    low, high = (centre - half) / (clips + z**2), (centre + half) / (clips + z**2)
    # Rounding must not keep an interval from holding 0 or 1.
    return np.where(right <= 0, 0.0, low)[()], np.where(right >= clips, 1.0, high)[()]


def bootstrap_interval(
    right: np.ndarray, clips: np.ndarray, level: float = 0.95, rounds: int = 1000, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """The textbook's bootstrap of accuracy, to compare with `speaker_interval`: speakers are drawn, then clips of each.

    Shapes as there. Drawing n clips with replacement from a speaker with r of n right is a binomial draw, so no clip is
    touched. Of few speakers its percentiles promise too much, of many with few clips too little: the chance of clips
    is in the speakers' own scores already, and drawing clips again counts it twice (Davison and Hinkley 1997, 3.8).
    """
    right, clips = np.broadcast_arrays(np.asarray(right, float), np.asarray(clips, int))
    random = np.random.default_rng(seed)
    bounds = np.empty((2, *right.shape[:-1]))
    for place in np.ndindex(right.shape[:-1]):
        one, n = right[place], clips[place]
        drawn = random.integers(len(n), size=(rounds, len(n)))
        share = random.binomial(n[drawn], (one / n)[drawn]).sum(axis=1) / n[drawn].sum(axis=1)
        bounds[(slice(None), *place)] = np.quantile(share, [(1 - level) / 2, (1 + level) / 2])
    return bounds[0], bounds[1]


def coverage(
    speakers: int = 12,
    clips: int = 100,
    mean: float = 0.97,
    spread: float = 0.7,
    level: float = 0.95,
    rounds: int = 20_000,
    seed: int = 0,
    method: Callable = speaker_interval,
) -> dict[str, float]:
    """How often an interval holds the truth, by simulation: `rounds` tests with a known mean accuracy of all people.

    Each test draws `speakers` whose rates of mistakes follow a Beta distribution around 1 - `mean` with a standard
    deviation of `spread` times that rate (0: all alike; 1: many near 0, one in seven above twice the mean), and `clips`
    of each. `method` takes right [rounds, speakers], clips [speakers] and the level. Returns the settings, coverage
    (share of intervals that hold the truth), above and below (shares that lie above and below it) and width (mean).
    Raises CourseError if no rates in 0..1 have that spread.
    """
    rate = 1 - mean
    # The variance of any share is below mean * (1 - mean).
    if not (0 < mean < 1 and rate * spread**2 < mean):
        raise CourseError(f"coverage: mean {mean} with spread {spread} is no distribution of accuracies. Lower one.")
    both = mean / (rate * spread**2) - 1 if spread else np.inf  # the Beta distribution's two parameters, added
    random = np.random.default_rng(seed)
    size = (rounds, speakers)
    wrong = random.beta(rate * both, mean * both, size) if spread else np.full(size, rate)
    low, high = method(random.binomial(clips, 1 - wrong), np.full(speakers, clips), level)
    above, below = float((low > mean).mean()), float((high < mean).mean())
    return {"speakers": speakers, "clips": clips, "mean": mean, "spread": spread, "level": level,
            "coverage": 1 - above - below, "above": above, "below": below, "width": float((high - low).mean())}  # fmt: skip


def in_words(score: dict, places: int = 1) -> str:
    """An accuracy with its interval as pages show it, such as "93.8 % (95 % interval 67.0 % to 99.1 %)".

    score: accuracy, or any share under the name value, with low and high.
    """
    share, low, high = (
        f"{100 * one:.{places}f} %" for one in (score.get("accuracy", score.get("value")), score["low"], score["high"])
    )
    return f"{share} (95 % interval {low} to {high})"


def recall_by(table: pd.DataFrame, column: str, level: float = 0.95) -> pd.DataFrame:
    """Share of clips recognised for each value of `column` (digit, speaker, gender …), worst first.

    Columns: clips, speakers, right, recall, low, high (`interval`), warning (empty, or why the row says little).
    """
    found = {}
    for value, group in table.groupby(column):
        right, clips = _counts(group)
        low, high = speaker_interval(right, clips, level)
        found[value] = {
            "clips": len(group),
            "speakers": len(clips),
            "right": int(right.sum()),
            "recall": right.sum() / len(group),
            "low": low,
            "high": high,
            "warning": _warning(len(group), len(clips), column),
        }
    out = pd.DataFrame.from_dict(found, orient="index").rename_axis(column)
    return out.sort_values(["recall", "clips"], kind="stable")


def _warning(clips: int, speakers: int, column: str) -> str:
    words = []
    # A row that is one speaker is about that speaker, not about others.
    if column != "speaker" and speakers < ENOUGH_SPEAKERS:
        words.append(f"{speakers} speaker{'s' * (speakers > 1)}: says little about others")
    if clips < ENOUGH_CLIPS:
        words.append(f"{clips} clip{'s' * (clips > 1)}: one is {100 / clips:.0f} points")
    return "; ".join(words)


def difference(one: pd.DataFrame, other: pd.DataFrame, level: float = 0.95) -> dict[str, float]:
    """Compares two models on the same clips, in pairs: what `one` has more right than `other`.

    Returns clips, speakers, difference (of the accuracies), low, high, only_one and only_other (clips that only that
    model got right) and p (McNemar's exact test). The interval respects speakers as `speaker_interval` does, here in
    Bonett and Price's (2012, J. Educational and Behavioral Statistics 37:479-488); a clip that both models misread
    says nothing about their difference. The test does not respect speakers: where the two disagree, believe the interval.
    Raises CourseError unless both tables hold the same clips, by their paths, with the same digits and speakers.
    """
    one, other = (table.set_index("path").sort_index() for table in (one, other))
    for table in (one, other):
        if twice := list(table.index[table.index.duplicated()][:1]):
            raise CourseError(f"difference: {twice[0]} is in one table twice. Give one prediction for each clip.")
    if alone := sorted(set(one.index) ^ set(other.index)):
        raise CourseError(
            f"difference: {len(alone)} clip(s) are in one table only, {alone[0]} first. Predict the same clips with both models."
        )
    for column in ("digit", "speaker"):
        if (differs := one[column].astype(str) != other[column].astype(str)).any():
            raise CourseError(
                f"difference: {differs.idxmax()} has {column} {one[column][differs.idxmax()]} in one table and "
                f"{other[column][differs.idxmax()]} in the other. Predict both from the same corpus."
            )
    gain, loss = (
        (first["digit"] == first["predicted"]) & (second["digit"] != second["predicted"])
        for first, second in ((one, other), (other, one))
    )
    only_one, only_other, clips = int(gain.sum()), int(loss.sum()), len(one)
    mean, differing = (only_one - only_other) / clips, (only_one + only_other) / clips
    by_speaker = (gain.astype(float) - loss).groupby(one["speaker"]).agg(["sum", "size"])
    worth = _effective_clips(
        by_speaker["sum"].to_numpy(), by_speaker["size"].to_numpy(float), np.array((differing - mean**2) / clips), level
    )
    first, second = ((only * worth / clips + 1) / (worth + 2) for only in (only_one, only_other))
    half = norm.ppf((1 + level) / 2) * np.sqrt((first + second - (first - second) ** 2) / (worth + 2))
    return {
        "clips": clips,
        "speakers": len(by_speaker),
        "difference": mean,
        "low": float(max(first - second - half, -1)),
        "high": float(min(first - second + half, 1)),
        "only_one": only_one,
        "only_other": only_other,
        "p": float(binomtest(only_one, only_one + only_other).pvalue) if only_one + only_other else 1.0,
    }


def confusions(table: pd.DataFrame) -> pd.DataFrame:
    """The confusion matrix [10, 10]: a row for each digit said, a column for each digit predicted, counts of clips."""
    counts = confusion_matrix(table["digit"], table["predicted"], labels=range(DIGITS))
    return pd.DataFrame(
        counts, index=pd.RangeIndex(DIGITS, name="said"), columns=pd.RangeIndex(DIGITS, name="predicted")
    )


def mistakes(table: pd.DataFrame) -> pd.DataFrame:
    """The clips that were misread, largest loss first."""
    return table[table["digit"] != table["predicted"]].sort_values("loss", ascending=False, kind="stable")
