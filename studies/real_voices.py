"""From synthetic speech to people: how well FSDD's six speakers are read after none, a little, and much human speech."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.preprocessing import normalize

from spokendigits import corpora
from spokendigits.classifier import Classifier
from spokendigits.clips import make_clips
from spokendigits.corpora.corpus import PROBABILITIES
from spokendigits.errors import CourseError
from spokendigits.evaluation import recall_by
from spokendigits.files import read_json, runs_folder
from spokendigits.intervals import speaker_interval
from spokendigits.recipe import AUGMENTATIONS, Recipe
from spokendigits.runs import finished, read_table, write_table
from spokendigits.splits import Split, split, subset
from spokendigits.topics.explain import by_neighbours, embeddings, label_candidates, reported_ranks
from studies import results
from studies.trainings import Trainings

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


class People(Trainings):
    """Trainings on FSDD's people, and those on synthetic voices, in the same folder. All are read on the people."""

    def __init__(self, folder: Path, progress: bool = True):
        corpus = corpora.load("fsdd", progress=progress)
        super().__init__(folder, corpus, make_clips(corpus, HUMAN, progress=progress), progress)

    @cached_property
    def voices(self) -> Trainings:
        """An hour's work to make: only when something asks for it."""
        corpus = corpora.load(SYNTHETIC.corpus, progress=self.progress)
        return Trainings(self.folder, corpus, make_clips(corpus, SYNTHETIC, progress=self.progress), self.progress)

    @cached_property
    def understood(self) -> np.ndarray:
        """The voices' training clips without what a first model cannot read: some voices cannot say some digits."""
        model = Classifier.load(self.weights(self.train_on_voices("first", SYNTHETIC, SHORT)))
        train = split(self.voices.corpus, SYNTHETIC.split, SYNTHETIC.folds, SYNTHETIC.fold).train
        return train[understood(self.voices.read(model, train))]

    def train_on_voices(
        self, name: str, recipe: Recipe, steps: int | None = None, engine: str | None = None, rows=None
    ) -> str:
        """Trains on voices alone, and returns the folder's name; `steps` in place of the recipe's epochs."""
        parts = split(self.voices.corpus, recipe.split, recipe.folds, recipe.fold)
        engines = self.voices.corpus.table["engine"]
        train = parts.train if rows is None else rows
        if engine:
            train = train[engines.iloc[train] == engine]
        parts = replace(parts, train=np.repeat(train, engines.iloc[train].map(REPEATS).fillna(1).astype(int)))
        self.voices.train(name, _with_steps(recipe, parts, steps), parts)
        return name

    def train_on_understood(self, seed: int) -> str:
        """The whole training on voices that can be understood, and its folder's name."""
        name = f"voices-{seed}"
        # Its rows are asked for only if it is not there.
        rows = None if finished(self.folder / name) else self.understood
        return self.train_on_voices(name, SYNTHETIC.but(seed=seed), rows=rows)

    def train_on_people(self, name: str, recipe: Recipe, parts: Split, steps: int) -> str:
        """Trains on people, and returns the folder's name."""
        self.train(name, _with_steps(recipe, parts, steps), parts)
        return name

    def read_all(self, name: str, views: int = 1) -> pd.DataFrame:
        """How a model that was trained on voices alone reads all people."""
        return self._read(name, np.arange(len(self.corpus)), views)

    def read_held_out(self, name: str) -> pd.DataFrame:
        """How a model that was trained on people reads those held out, in many views if it has learned from such."""
        plain = self.record(name)["recipe"]["augment"] == "none"
        return self._read(name, read_table(self.folder / name)["clip"].to_numpy(), 1 if plain else VIEWS)

    def _read(self, name: str, rows: np.ndarray, views: int) -> pd.DataFrame:
        kept = self.folder / name / f"people-{views}.csv"
        if not kept.is_file():
            write_table(self.read(Classifier.load(self.weights(name)), rows, views=views), kept)
        return read_table(kept.parent, kept.name)

    def neighbours(self, names: Sequence[str]) -> pd.DataFrame:
        """How all people's clips are read by those that lie nearest, where models trained on voices alone put them."""
        everybody = np.arange(len(self.corpus))
        models = [Classifier.load(self.weights(name)) for name in names]
        heard = [
            normalize(embeddings(model, self.clips, self.corpus, everybody, progress=self.progress)) for model in models
        ]
        chances = by_neighbours(np.hstack(heard), self.corpus.table["digit"].to_numpy())
        columns = dict(zip(PROBABILITIES, chances.T, strict=True))
        return self.corpus.table.assign(predicted=chances.argmax(axis=1), **columns)

    def scored(self, names: Sequence[str], tables: Sequence[pd.DataFrame]) -> dict:
        """The score of some trainings' tables, and what made these trainings."""
        records = [self.record(name) for name in names]
        first = records[0]
        differs = {
            name: value
            for name, value in first["recipe"].items()
            if value != getattr(SYNTHETIC, name) and name not in ("fold", "seed", "weights")
        }
        return {
            **score_of_seeds(tables),
            "trainings": len(records),
            "recipe": differs,
            "clips_train": first["clips_train"],
            "weights": first["weights"],
            "seconds": round(sum(record["seconds"] for record in records)),
            "device": first["device"],
        }

    def folds(self, label: str, recipe: Recipe, how: str, folds: int, steps: int, **less) -> dict:
        """One training for each fold of a split, scored together; `less` data as for `splits.subset`."""
        names = []
        for fold in range(folds):
            parts = split(self.corpus, how, folds, fold)
            if less:
                parts = subset(parts, self.corpus, seed=fold, **less)
                parts = replace(parts, train=np.tile(parts.train, -(-FEW // len(parts.train))))
            fold_recipe = recipe.but(split=how, fold=fold, folds=max(folds, 2))
            names.append(self.train_on_people(f"{label}-{fold}", fold_recipe, parts, steps))
        return self.scored(names, [pd.concat(map(self.read_held_out, names), ignore_index=True)])


def measure(
    folder: Path | None = None,
    seeds: int = SEEDS,
    progress: bool = True,
    known: dict | None = None,
    keep: Callable[[dict], None] = lambda measured: None,
) -> dict:
    """Trains on synthetic voices, then on FSDD's people in all the ways that the chapters compare; returns how all of these read.

    On two CPU cores all of it takes hours; stopped, it goes on where it was. `keep` is called with all that was measured so
    far, after each part; `known` is what it was last called with: these parts are not made again.
    Raises CourseError if `known` was measured in another way than today's.
    """
    people = People(folder or runs_folder() / "real-voices", progress)
    settings = {"recipe": SYNTHETIC.to_dict(), "seeds": seeds, "views": VIEWS}
    out = {"steps": {}, "without": {}, "splits": {}, "by_takes": {}, **(known or {})}
    # The recipe that is known may lack newer settings.
    before = known and known["made"] | {"recipe": Recipe(**known["made"]["recipe"]).to_dict()}
    differs = [name for name, value in settings.items() if before and before.get(name) != value]
    if differs:
        raise CourseError(
            f"What is known was found with another {', '.join(differs)}. Delete or move it, and measure all anew."
        )

    def part(section: dict, name: str, work: Callable[..., dict], *given, **less) -> None:
        if name in section:
            return
        section[name] = work(*given, **less)
        sources = {**out.get("made", {}).get("corpus", {}), "people": people.corpus.source}
        if "voices" in vars(people):  # they were asked for
            sources["voices"] = people.voices.corpus.source
        out["made"] = {"corpus": sources, **settings, **results.versions_and_time()}
        keep(out)

    def understood_names() -> list[str]:
        return [people.train_on_understood(seed) for seed in range(seeds)]

    def voices_alone(names: list[str], views: int = 1) -> dict:
        return people.scored(names, [people.read_all(name, views) for name in names])

    def short(name: str, engine: str | None = None, **changes) -> dict:
        return voices_alone([people.train_on_voices(name, SYNTHETIC.but(**changes), SHORT, engine)])

    count = len(people.corpus.speakers)

    def one_out(label: str, **less) -> dict:
        start = str(people.weights(people.train_on_understood(0))) if label.startswith("synthetic") else "none"
        return people.folds(label, HUMAN.but(weights=start), "one_speaker", count, LONG, **less)

    def held_out() -> pd.DataFrame:
        return pd.concat([people.read_held_out(f"synthetic-5-{fold}") for fold in range(count)], ignore_index=True)

    def official() -> dict:
        start, parts = str(people.weights(people.train_on_understood(0))), split(people.corpus, "published")
        recipes = {f"official-{seed}": HUMAN.but(weights=start, split="published", seed=seed) for seed in range(seeds)}
        names = [people.train_on_people(name, recipe, parts, LONG) for name, recipe in recipes.items()]
        return people.scored(names, [people.read_held_out(name) for name in names])

    def labels() -> dict:
        tables = {"ranks": people.neighbours(understood_names()), "ranks_held_out": held_out()}
        ranks = {name: reported_ranks(label_candidates(table)).astype(int) for name, table in tables.items()}
        return {"clips": len(people.corpus), **{name: rank.to_dict() for name, rank in ranks.items()}}

    # Voices alone, and then people: all but the one held out.
    part(out, "no_human_data", lambda: voices_alone(understood_names(), VIEWS))
    part(out, "synthetic_5", one_out, "synthetic-5", speakers=SPEAKERS[-1])
    out["loso_mean"] = out["synthetic_5"]
    part(out, "loso_worst", lambda: worst(held_out()))
    part(out, "official_split", official)
    part(out, "labels", labels)
    for how, folds in SPLITS.items():
        part(out["splits"], how, people.folds, f"plain-{how}", PLAIN, how, folds or count, PLAIN_STEPS)

    # What each step bought.
    steps, without = out["steps"], out["without"]
    part(steps, "espeak-ng alone", short, "plain", "espeak", augment="none", mix_probability=0.0)
    part(steps, "and augmented", short, "augmented", "espeak")
    part(steps, "and other synthesisers", short, "first")
    part(steps, "and longer", lambda: voices_alone(understood_names()))
    steps["and read as by many voices"] = out["no_human_data"]

    # How much of people it takes, after voices and without them; and what each part of augmentation bought.
    for speakers in SPEAKERS[:-1]:
        part(out, f"synthetic_{speakers}", one_out, f"synthetic-{speakers}", speakers=speakers)
    without["all six"] = steps["and other synthesisers"]
    for gone in AUGMENTATIONS:
        kept = "+".join(name for name in AUGMENTATIONS if name != gone)
        part(without, f"without {gone}", short, f"without-{gone}", augment=kept)
    for speakers in SPEAKERS:
        part(out, f"none_{speakers}", one_out, f"none-{speakers}", speakers=speakers)
    for takes in TAKES:
        part(out["by_takes"], str(takes), one_out, f"takes-{takes}", takes=takes)
    out["by_takes"]["50"] = out["none_5"]
    out["by_speakers"] = {str(speakers): out[f"none_{speakers}"] for speakers in SPEAKERS}
    keep(out)
    return out


def split_tables(folder: Path) -> pd.DataFrame:
    """How the networks of the four `splits` read the people they held out: a row a clip, with path, speaker, digit and predicted,
    p0 to p9 to two places, and in front the split's name. From the trainings that `measure` left in `folder`.
    """
    kept = ["path", "speaker", "digit", "predicted", *PROBABILITIES]
    files = {how: sorted(folder.glob(f"plain-{how}-*/people-1.csv")) for how in SPLITS}
    tables = {how: pd.concat(read_table(path.parent, path.name) for path in paths) for how, paths in files.items()}
    return pd.concat(tables, names=["split"])[kept].round(2).reset_index("split").sort_values(["split", "path"])


def _with_steps(recipe: Recipe, parts: Split, steps: int | None) -> Recipe:
    """The recipe with as many epochs as make about so many steps (None: as it is)."""
    each = len(parts.train) // recipe.batch_size
    return recipe if steps is None else recipe.but(epochs=max(1, round(steps / max(1, each))))


def understood(table: pd.DataFrame) -> np.ndarray:
    """Which rows of a predictions table are of a speaker and digit that are read at all: bool [rows]."""
    right = pd.Series(table[PROBABILITIES].to_numpy()[np.arange(len(table)), table["digit"]])
    return (right.groupby([table["speaker"], table["digit"]]).transform("mean") > READ).to_numpy()


def score_of_seeds(tables: Sequence[pd.DataFrame]) -> dict:
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


def worst(table: pd.DataFrame) -> dict:
    """The speaker who is read worst, with the interval of that speaker's own clips."""
    row = recall_by(table, "speaker").iloc[0]
    score = {"accuracy": row["recall"], "low": row["low"], "high": row["high"]}
    return {"speaker": row.name, **{name: float(value) for name, value in score.items()}, "clips": int(row["clips"])}


def main() -> None:
    """Makes `book/results/fsdd.json` (`make real`): what it lacks, if it is there; and splits.csv, the tables of its four splits."""
    path, folder = results.place("fsdd"), runs_folder() / "real-voices"
    known = read_json(path) if path.is_file() else None
    new = not known or len(known["splits"]) < len(SPLITS)
    measure(folder, known=known, keep=lambda measured: results.write("fsdd", measured))
    if new:
        write_table(split_tables(folder), path.with_name("splits.csv"), float_format="%g")  # most chances are 0


if __name__ == "__main__":
    main()
