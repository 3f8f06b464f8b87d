"""From synthetic speech to people: how well FSDD's six speakers are read after none, a little, and much human speech."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.preprocessing import normalize

from spokendigits import corpora, lanes
from spokendigits.classifier import Classifier
from spokendigits.clips import Clips, make_clips
from spokendigits.corpora.corpus import Corpus
from spokendigits.errors import CourseError
from spokendigits.evaluation import PROBABILITIES, predict, recall_by
from spokendigits.files import atomic_file, read_json, runs_folder, versions, write_json
from spokendigits.intervals import speaker_interval
from spokendigits.lanes import MODEL, RUN
from spokendigits.publish.words import in_words
from spokendigits.recipe import AUGMENTATIONS, Recipe
from spokendigits.runs import finished
from spokendigits.splits import Split, split, subset
from spokendigits.topics.explain import by_neighbours, embeddings, label_candidates, reported_ranks
from spokendigits.training import train_or_load

SYNTHETIC = Recipe.preset("voices")
HUMAN = SYNTHETIC.but(corpus="fsdd", learning_rate=0.0007, split="one_speaker")
# What a first course would do: no augmentation, so that nothing but the way of splitting makes the difference.
PLAIN = HUMAN.but(augment="none", mix_probability=0.0, dropout=0.0, weight_decay=0.0, learning_rate=0.001)
SHORT, LONG, PLAIN_STEPS = 900, 400, 200  # steps: a short training on voices, one on people, a plain one on people
READ = 0.3  # mean probability of what was said
REPEATS = {"kokoro": 4, "blend": 3}  # the most human engine's clips are few; an epoch has them several times
VIEWS = 16  # of a clip, when it is read by a model that was trained with augmentation
SPEAKERS = (1, 2, 5)  # in training, when the sixth is held out; the last is all
TAKES = (2, 10)  # of each digit by each of the five; all are 50
FEW = 400  # clips: an epoch of fewer is over so soon that validation would take longer; it has them several times
SPLITS = {"random": 5, "published": 1, "speaker": 3, "one_speaker": None}  # folds; None: as many as there are speakers
SEEDS = 5


class Study:
    """The corpora, and the folder below which every training has one of its own: none is repeated when it is there."""

    def __init__(self, folder: Path | None = None, progress: bool = True):
        self.folder = folder or runs_folder() / "real-voices"
        self.progress = progress
        self.people = corpora.load("fsdd", progress=progress)
        self.people_clips = make_clips(self.people, HUMAN, progress=progress)
        self.everybody = np.arange(len(self.people))

    # An hour's work to make: only when something asks for them.
    @cached_property
    def voices(self) -> Corpus:
        return corpora.load(SYNTHETIC.corpus, progress=self.progress)

    @cached_property
    def voice_clips(self) -> Clips:
        return make_clips(self.voices, SYNTHETIC, progress=self.progress)

    @cached_property
    def understood(self) -> np.ndarray:
        """The voices' training clips without what a first model cannot read: some voices cannot say some digits."""
        model = Classifier.load(self.folder / self.spoken("first", SYNTHETIC, SHORT) / MODEL)
        train = split(self.voices, SYNTHETIC.split, SYNTHETIC.folds, SYNTHETIC.fold).train
        return train[understood(predict(model, self.voice_clips, self.voices, train, progress=self.progress))]

    def taught(self, seed: int) -> str:
        """The whole training on voices that can be understood, and its folder's name."""
        name = f"voices-{seed}"
        # Its rows are asked for only if it is not there.
        rows = None if finished(self.folder / name) else self.understood
        return self.spoken(name, SYNTHETIC.but(seed=seed), rows=rows)

    def start(self) -> str:
        """The weights that people's trainings start from."""
        return str(self.folder / self.taught(0) / MODEL)

    def spoken(self, name: str, recipe: Recipe, steps: int | None = None, engine: str | None = None, rows=None) -> str:
        """Trains on voices alone, and returns the folder's name; `steps` in place of the recipe's epochs."""
        parts = split(self.voices, recipe.split, recipe.folds, recipe.fold)
        engines = self.voices.table["engine"]
        train = parts.train if rows is None else rows
        if engine:
            train = train[engines.iloc[train] == engine]
        train = np.repeat(train, engines.iloc[train].map(REPEATS).fillna(1).astype(int))
        parts = replace(parts, train=train)
        train_or_load(
            _steps(recipe, parts, steps), self.voices, self.voice_clips, parts, self.folder / name, self.progress
        )
        return name

    def heard(self, name: str, recipe: Recipe, parts: Split, steps: int) -> str:
        """Trains on people, and returns the folder's name."""
        train_or_load(
            _steps(recipe, parts, steps), self.people, self.people_clips, parts, self.folder / name, self.progress
        )
        return name

    def unheard(self, name: str, views: int = 1) -> pd.DataFrame:
        """How a model that was trained on voices alone reads all people."""
        return self._read(name, self.everybody, views)

    def held_out(self, name: str) -> pd.DataFrame:
        """How a model that was trained on people reads those held out, in many views if it has learned from such."""
        plain = read_json(self.folder / name / RUN)["recipe"]["augment"] == "none"
        rows = _table(self.folder / name / "predictions.csv")["clip"].to_numpy()
        return self._read(name, rows, 1 if plain else VIEWS)

    def neighbours(self, names: Sequence[str]) -> pd.DataFrame:
        """How all people's clips are read by those that lie nearest, where models trained on voices alone put them."""
        models = [Classifier.load(self.folder / name / MODEL) for name in names]
        heard = [
            normalize(embeddings(model, self.people_clips, self.people, self.everybody, progress=self.progress))
            for model in models
        ]
        chances = by_neighbours(np.hstack(heard), self.people.table["digit"].to_numpy())
        said = dict(zip(PROBABILITIES, chances.T, strict=True))
        return self.people.table.assign(predicted=chances.argmax(axis=1), **said)

    def _read(self, name: str, rows: np.ndarray, views: int) -> pd.DataFrame:
        kept = self.folder / name / f"people-{views}.csv"
        if not kept.is_file():
            model = Classifier.load(self.folder / name / MODEL)
            table = predict(model, self.people_clips, self.people, rows, progress=self.progress, views=views)
            with atomic_file(kept) as temporary:
                table.to_csv(temporary, index=False)
        return _table(kept)

    def found(self, names: Sequence[str], tables: Sequence[pd.DataFrame]) -> dict:
        """The score of some tables, and what made them."""
        made = [read_json(self.folder / name / RUN) for name in names]
        differs = {
            name: value
            for name, value in made[0]["recipe"].items()
            if value != getattr(SYNTHETIC, name) and name not in ("fold", "seed", "weights")
        }
        return {
            **score(tables),
            "trainings": len(made),
            "recipe": differs,
            "clips_train": made[0]["clips_train"],
            "weights": made[0]["weights"],
            "seconds": round(sum(one["seconds"] for one in made)),
            "device": made[0]["device"],
        }

    def folds(self, label: str, recipe: Recipe, how: str, folds: int, steps: int, **less) -> dict:
        """One training for each fold of a split, scored together."""
        names = []
        for fold in range(folds):
            parts = split(self.people, how, folds, fold)
            if less:
                parts = subset(parts, self.people, seed=fold, **less)
                parts = replace(parts, train=np.tile(parts.train, -(-FEW // len(parts.train))))
            names.append(
                self.heard(f"{label}-{fold}", recipe.but(split=how, fold=fold, folds=max(folds, 2)), parts, steps)
            )
        return self.found(names, [pd.concat(map(self.held_out, names), ignore_index=True)])


def study(
    folder: Path | None = None,
    seeds: int = SEEDS,
    progress: bool = True,
    known: dict | None = None,
    keep: Callable[[dict], None] = lambda found: None,
) -> dict:
    """Trains on synthetic voices, then on FSDD's people in all the ways that the chapters compare; returns what was found.

    On two CPU cores all of it takes hours; stopped, it goes on where it was. `keep` is called with all that was found so
    far, after each part; `known` is what it was last called with: these parts are not made again.
    Raises CourseError if `known` was found in another way than today's.
    """
    at = Study(folder, progress)
    made = {"recipe": SYNTHETIC.to_dict(), "seeds": seeds, "views": VIEWS}
    out = {"steps": {}, "without": {}, "splits": {}, "by_takes": {}, **(known or {})}
    differs = [name for name, value in made.items() if known and known["made"].get(name) != value]
    if differs:
        raise CourseError(
            f"What is known was found with another {', '.join(differs)}. Delete or move it, and measure all anew."
        )

    def part(section: dict, name: str, measure: Callable[..., dict], *given, **less) -> None:
        if name in section:
            return
        section[name] = measure(*given, **less)
        corpus = {**out.get("made", {}).get("corpus", {}), "people": at.people.source}
        if "voices" in vars(at):  # they were asked for
            corpus["voices"] = at.voices.source
        finished = datetime.now(UTC).isoformat(timespec="seconds")
        out["made"] = {"corpus": corpus, **made, "versions": versions(), "finished": finished}
        keep(out)

    def taught() -> list[str]:
        return [at.taught(seed) for seed in range(seeds)]

    def unheard(name: str, engine: str | None = None, **changes) -> dict:
        return scored([at.spoken(name, SYNTHETIC.but(**changes), SHORT, engine)])

    def scored(names: list[str], views: int = 1) -> dict:
        return at.found(names, [at.unheard(name, views) for name in names])

    count = len(at.people.speakers)

    def one_out(label: str, **less) -> dict:
        weights = at.start() if label.startswith("synthetic") else "none"
        return at.folds(label, HUMAN.but(weights=weights), "one_speaker", count, LONG, **less)

    def held_out() -> list[pd.DataFrame]:
        return [at.held_out(f"synthetic-5-{fold}") for fold in range(count)]

    def official() -> dict:
        recipe, parts = HUMAN.but(weights=at.start(), split="published"), split(at.people, "published")
        names = [at.heard(f"official-{seed}", recipe.but(seed=seed), parts, LONG) for seed in range(seeds)]
        return at.found(names, [at.held_out(name) for name in names])

    def labels() -> dict:
        ranks = {"ranks": at.neighbours(taught()), "ranks_held_out": pd.concat(held_out(), ignore_index=True)}
        return {"clips": len(at.people), **{name: _ranks(table) for name, table in ranks.items()}}

    # Voices alone, and then people: all but the one held out.
    part(out, "no_human_data", lambda: scored(taught(), VIEWS))
    part(out, "synthetic_5", one_out, "synthetic-5", speakers=SPEAKERS[-1])
    out["loso_mean"] = out["synthetic_5"]
    part(out, "loso_worst", lambda: worst(held_out()))
    part(out, "official_split", official)
    part(out, "labels", labels)
    for how, folds in SPLITS.items():
        part(out["splits"], how, at.folds, f"plain-{how}", PLAIN, how, folds or count, PLAIN_STEPS)

    # What each step bought.
    steps, without = out["steps"], out["without"]
    part(steps, "espeak-ng alone", unheard, "plain", "espeak", augment="none", mix_probability=0.0)
    part(steps, "and augmented", unheard, "augmented", "espeak")
    part(steps, "and other synthesisers", unheard, "first")
    part(steps, "and longer", lambda: scored(taught()))
    steps["and read as by many voices"] = out["no_human_data"]

    # How much of people it takes, after voices and without them; and what each part of augmentation bought.
    for speakers in SPEAKERS[:-1]:
        part(out, f"synthetic_{speakers}", one_out, f"synthetic-{speakers}", speakers=speakers)
    without["all six"] = steps["and other synthesisers"]
    for gone in AUGMENTATIONS:
        others = "+".join(name for name in AUGMENTATIONS if name != gone)
        part(without, f"without {gone}", unheard, f"without-{gone}", augment=others)
    for speakers in SPEAKERS:
        part(out, f"none_{speakers}", one_out, f"none-{speakers}", speakers=speakers)
    for takes in TAKES:
        part(out["by_takes"], str(takes), one_out, f"takes-{takes}", takes=takes)
    out["by_takes"]["50"] = out["none_5"]
    out["by_speakers"] = {str(speakers): out[f"none_{speakers}"] for speakers in SPEAKERS}
    keep(out)
    return out


def _steps(recipe: Recipe, parts: Split, steps: int | None) -> Recipe:
    """The recipe with as many epochs as make about so many steps (None: as it is)."""
    each = len(parts.train) // recipe.batch_size
    return recipe if steps is None else recipe.but(epochs=max(1, round(steps / max(1, each))))


def _ranks(table: pd.DataFrame) -> dict[str, int]:
    return reported_ranks(label_candidates(table)).astype(int).to_dict()


def _table(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype={"speaker": str})


def understood(table: pd.DataFrame) -> np.ndarray:
    """Which rows of a predictions table are of a speaker and digit that are read at all: bool [rows]."""
    right = pd.Series(table[PROBABILITIES].to_numpy()[np.arange(len(table)), table["digit"]])
    return (right.groupby([table["speaker"], table["digit"]]).transform("mean") > READ).to_numpy()


def score(tables: Sequence[pd.DataFrame]) -> dict:
    """Accuracy, the mean over the tables of several seeds, with its interval over speakers, and each speaker's own."""
    rows = [recall_by(table, "speaker").sort_index() for table in tables]
    right, clips = np.mean([row["right"] for row in rows], axis=0), rows[0]["clips"].to_numpy()
    low, high = speaker_interval(right, clips)
    return {
        "accuracy": float(right.sum() / clips.sum()),
        "low": float(low),
        "high": float(high),
        "clips": int(clips.sum()),
        "seeds": [float(row["right"].sum() / clips.sum()) for row in rows],
        "speakers": dict(zip(rows[0].index, (right / clips).tolist(), strict=True)),
    }


def worst(tables: Sequence[pd.DataFrame]) -> dict:
    """The speaker who is read worst, with the interval of that speaker's own clips."""
    row = recall_by(pd.concat(tables), "speaker").iloc[0]
    return {"speaker": row.name, "accuracy": float(row["recall"]), "low": float(row["low"]), "high": float(row["high"]),
            "clips": int(row["clips"])}  # fmt: skip


def prose(found: dict) -> dict[str, str]:
    """What `study` found so far, as text for the book's pages."""
    scores = {
        name: found[name] for name in ("no_human_data", "loso_mean", "loso_worst", "official_split") if name in found
    }
    scores |= {f"split_{how}": one for how, one in found["splits"].items()}
    if "none_5" in found:
        scores["alone"] = found["none_5"]
    text = {f"fsdd_{name}": in_words(one) for name, one in scores.items()}
    if "loso_worst" in found:
        text["fsdd_worst_speaker"] = found["loso_worst"]["speaker"]
    if "labels" in found:
        text |= {f"fsdd_{name}": _places(found["labels"][name]) for name in ("ranks", "ranks_held_out")}
    return {
        **text,
        "fsdd_seeds": str(found["made"]["seeds"]),
        "fsdd_views": str(found["made"]["views"]),
        "fsdd_voices": f"{found['no_human_data']['clips_train']:,}",
        "fsdd_device": found["no_human_data"]["device"],
        "fsdd_torch": found["made"]["versions"]["torch"],
        "fsdd_date": found["made"]["finished"][:10],
    }


def _places(ranks: dict[str, int]) -> str:
    return ", ".join(str(rank) for rank in sorted(ranks.values()))


def store() -> None:
    """Makes `book/results/fsdd.json` (`make real`): what it lacks, if it is there."""
    path = lanes.repository() / "book" / "results" / "fsdd.json"
    known = read_json(path) if path.is_file() else None
    study(known=known, keep=lambda found: write_json(path, {**found, "prose": prose(found)}))


if __name__ == "__main__":
    store()
