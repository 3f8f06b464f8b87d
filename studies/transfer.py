"""What a start is worth: random weights, photographs, speech. On new synthetic voices, and on people none of whose digits was heard."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from spokendigits import corpora
from spokendigits.augmentation import Augment
from spokendigits.classifier import Classifier, create
from spokendigits.clips import make_clips
from spokendigits.corpora.corpus import Corpus
from spokendigits.devices import device_name, processes
from spokendigits.evaluation import difference, predict
from spokendigits.files import find_data, runs_folder
from spokendigits.frontend import LogMel
from spokendigits.pretrained import PHOTOGRAPHS
from spokendigits.recipe import Recipe
from spokendigits.runs import read_table
from spokendigits.splits import Split, check_speakers, split
from spokendigits.topics.explain import embeddings
from spokendigits.topics.heads import fit_head
from studies import results
from studies.real_voices import score_of_seeds
from studies.trainings import Trainings

SEEDS, STEPS, CLIPS = 5, (25, 50, 100), (60, 240, 960)
EQUAL = 100  # steps, where starts and numbers of clips are compared
FAST = Recipe.preset("fast").but(split="speaker", backbone=PHOTOGRAPHS)
SPEECH = Recipe.preset("speech").but(speakers=FAST.speakers, takes=FAST.takes)
STARTS = {
    "random": FAST.but(weights="none"),
    "photographs": FAST,
    # What was learned from speech is near already: the early layers keep it, and the steps are smaller while the last layer
    # knows nothing. Chosen by leaving out four of the training voices at a time.
    "speech": SPEECH.but(freeze="half", learning_rate=0.001, warmup_epochs=0.1),
    # Frozen layers keep the averages that batch norm took of photographs: pictures have to be scaled as those were.
    "photographs, frozen": FAST.but(freeze=True, normalization="clip", learning_rate=0.01),
    "speech, frozen": SPEECH,
}
# Towards people: each row changes one thing of the row above it.
PEOPLE_SEEDS, PEOPLE_STEPS = 3, 300
HEARD = Recipe.preset("voices").but(corpus="synthetic", speakers=20, takes=6, backbone=PHOTOGRAPHS, batch_size=32, augment="none", mix_probability=0.0, epochs=1)  # fmt: skip
LADDER = {
    "twenty voices": HEARD,
    "hundreds of voices": HEARD.but(corpus="voices", speakers=None, takes=None),
    "and augmentation": HEARD.but(corpus="voices", speakers=None, takes=None, augment="all"),
    "and photographs": HEARD.but(corpus="voices", speakers=None, takes=None, augment="all", weights="auto"),
}
# The last row: a frozen embedding sees as many clips as 300 steps do, each as it is and changed twice; `fit_head`'s strength.
# Strength and views were chosen by looking at the people who are read: the pages say so.
VOICES, VIEWS, STRENGTH = 3_200, 3, 0.0005
FEW = (1, 2, 5)  # people in training when another is read
OWN = 2.0  # how much each of their clips counts beside a voice's


class Starts(Trainings):
    """Trainings of one number of steps each, whatever the number of clips."""

    def rows(self, recipe: Recipe, clips: int, seed: int) -> Split:
        """The recipe's split by speakers, with so many of its clips to train on, in an order of their own."""
        parts = split(self.corpus, recipe.split, recipe.folds, recipe.fold)
        check_speakers(parts, self.corpus)
        return replace(parts, train=np.random.default_rng(seed).permutation(parts.train)[:clips])

    def run(self, name: str, recipe: Recipe, parts: Split, steps: int) -> pd.DataFrame:
        """How a training of so many steps, in one epoch, reads the validation part."""
        epoch = replace(parts, train=np.resize(parts.train, steps * recipe.batch_size))
        self.train(name, recipe.but(epochs=1), epoch)
        return read_table(self.folder / name)


def starts(folder: Path, progress: bool) -> dict:
    """The three starts by steps, and by clips at EQUAL steps; what one has more right than another; the regression."""
    tables: dict[tuple, pd.DataFrame] = {}
    wanted = [(start, steps, max(CLIPS)) for start in list(STARTS)[:3] for steps in STEPS]
    wanted += [(start, EQUAL, clips) for start in list(STARTS)[:3] for clips in CLIPS[:-1]]
    wanted += [(start, EQUAL, max(CLIPS)) for start in list(STARTS)[3:]]
    for start, steps, clips in wanted:
        recipe = STARTS[start]
        corpus = corpora.load(recipe.corpus, speakers=recipe.speakers, takes=recipe.takes, progress=progress)
        work = Starts(folder, corpus, make_clips(corpus, recipe, progress=progress), progress)
        for seed in range(SEEDS):
            name = f"{start.replace(', ', '-').replace(' ', '-')}-{steps}-{clips}-{seed}"
            tables[start, steps, clips, seed] = work.run(
                name, recipe.but(seed=seed), work.rows(recipe, clips, seed), steps
            )
    tables |= {("regression", 0, *key): table for key, table in regressions(progress).items()}

    def seeds(*key) -> list[pd.DataFrame]:
        return [tables[*key, seed] for seed in range(SEEDS)]

    def pair(one: tuple, other: tuple) -> dict:
        """Clips of one seed are no other clips than those of the next: the interval counts speakers."""
        both = [
            pd.concat([table.assign(path=f"{seed}/" + table["path"]) for seed, table in enumerate(seeds(*key))])
            for key in (one, other)
        ]
        return difference(*both)

    most = max(CLIPS)
    return {
        "steps": {start: {str(n): score_of_seeds(seeds(start, n, most)) for n in STEPS} for start in list(STARTS)[:3]},
        "clips": {start: {str(n): score_of_seeds(seeds(start, EQUAL, n)) for n in CLIPS} for start in list(STARTS)[:3]}
        | {"regression": {str(n): score_of_seeds(seeds("regression", 0, n)) for n in CLIPS}},
        "layers": {start: score_of_seeds(seeds(start, EQUAL, most)) for start in list(STARTS)[1:]},
        "pairs": {
            f"{one} against {other}": pair((one, EQUAL, most), (other, EQUAL, most))
            for one, other in (
                ("photographs", "random"),
                ("speech", "photographs"),
                ("photographs", "photographs, frozen"),
            )
        }
        | {"photographs against regression": pair(("photographs", EQUAL, most), ("regression", 0, most))},
    }


def regressions(progress: bool) -> dict[tuple[int, int], pd.DataFrame]:
    """The floor: logistic regressions on the fast lane's pictures, each pixel scaled; by number of clips and seed."""
    corpus = corpora.load(FAST.corpus, speakers=FAST.speakers, takes=FAST.takes, progress=progress)
    held = make_clips(corpus, FAST, progress=progress)
    work = Starts(Path(), corpus, held)
    frontend, digit = LogMel(FAST), corpus.table["digit"].to_numpy()
    pictures = torch.cat(
        [frontend(torch.from_numpy(held.read(rows))) for rows in np.array_split(np.arange(len(corpus)), 20)]
    )
    pictures = pictures.flatten(1).numpy()
    tables = {}
    for clips in CLIPS:
        for seed in range(SEEDS):
            parts = work.rows(FAST, clips, seed)
            fitted = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=300))
            fitted.fit(pictures[parts.train], digit[parts.train])
            table = corpus.table.iloc[parts.validation].reset_index(drop=True)
            tables[clips, seed] = table.assign(predicted=fitted.predict(pictures[parts.validation]))
    return tables


class Heard:
    """The speech embedding on synthetic voices, with heads that read people."""

    def __init__(self, progress: bool):
        self.recipe, self.progress = Recipe.preset("speech").but(corpus="voices"), progress
        self.classifier = create(self.recipe)
        voices = corpora.load("voices", progress=progress)
        rows = np.sort(np.random.default_rng(0).permutation(len(voices))[:VOICES])
        self.voices = self.embed(voices, rows, VIEWS), np.tile(voices.table["digit"].to_numpy()[rows], VIEWS)

    def embed(self, corpus: Corpus, rows: np.ndarray, views: int) -> np.ndarray:
        """Embeddings of each clip as it is, and of changed copies, [views * rows, features]."""
        clips = make_clips(corpus, self.recipe, progress=self.progress)
        changes = [None] + [Augment(self.recipe.but(augment="all"))] * (views - 1)
        parts = []
        for seed, change in enumerate(changes):
            torch.manual_seed(seed)
            parts.append(embeddings(self.classifier, clips, corpus, rows, progress=self.progress, augment=change))
        return np.concatenate(parts)

    def read(self, classifier: Classifier, corpus: Corpus, rows: np.ndarray | None = None) -> pd.DataFrame:
        """The predictions table of some rows of a corpus (None: of all)."""
        clips = make_clips(corpus, self.recipe, progress=self.progress)
        rows = np.arange(len(corpus)) if rows is None else rows
        return predict(classifier, clips, corpus, rows, progress=self.progress)

    def one_out(self, people: Corpus, embedded: np.ndarray, number: int, voices: bool) -> pd.DataFrame:
        """Each person as read by a head that learned from `number` others, and from the voices or not."""
        digit, speaker = (np.tile(people.table[name].to_numpy(), VIEWS) for name in ("digit", "speaker"))
        tables = []
        for fold, held_out in enumerate(people.speakers):
            others = [name for name in people.speakers if name != held_out]
            heard = np.isin(speaker, np.roll(others, -fold)[:number])
            asked = np.flatnonzero(people.table["speaker"] == held_out)
            check_speakers(Split(np.flatnonzero(heard[: len(people)]), asked, asked[:0]), people)
            parts = [(embedded[heard], digit[heard], np.full(heard.sum(), OWN))]
            parts += [(*self.voices, np.ones(len(self.voices[1])))] if voices else []
            known, said, weight = map(np.concatenate, zip(*parts, strict=True))
            classifier = fit_head(self.classifier, known, said, STRENGTH, weight)
            tables.append(self.read(classifier, people, asked))
        return pd.concat(tables, ignore_index=True)


def people(folder: Path, progress: bool) -> dict:
    """From twenty synthetic voices to people, one change a row, at equal work; then with some people's own digits.

    The digits of Speech Commands, or of a part of it, are read as well if they are on this machine.
    """
    heard_by = corpora.load("fsdd", progress=progress)
    tests = {"fsdd": heard_by}
    if find_data("speech_commands"):
        tests["speech_commands"] = corpora.load("speech_commands", progress=progress)
    out: dict = {"ladder": {name: {} for name in tests}, "few": {}, "sources": {}}
    for step, recipe in LADDER.items():
        corpus = corpora.load(recipe.corpus, speakers=recipe.speakers, takes=recipe.takes, progress=progress)
        work = Starts(folder, corpus, make_clips(corpus, recipe, progress=progress), progress)
        models = []
        for seed in range(PEOPLE_SEEDS):
            name = f"{step.replace(' ', '-')}-{seed}"
            work.run(name, recipe.but(seed=seed), work.rows(recipe, len(corpus), seed), PEOPLE_STEPS)
            models.append(Classifier.load(work.weights(name)))
        for test, corpus in tests.items():
            clips, rows = make_clips(corpus, recipe, progress=progress), np.arange(len(corpus))
            tables = [predict(model, clips, corpus, rows, progress=progress) for model in models]
            out["ladder"][test][step] = _summed(test, tables)
    heard = Heard(progress)
    head = fit_head(heard.classifier, *heard.voices, STRENGTH)
    for test, corpus in tests.items():
        out["ladder"][test]["and speech"] = _summed(test, [heard.read(head, corpus)])
        out["sources"][test] = {"source": corpus.source, "licence": corpus.licence}
    own = heard.embed(heard_by, np.arange(len(heard_by)), VIEWS)
    out["few"] = {
        name: {str(number): score_of_seeds([heard.one_out(heard_by, own, number, voices)]) for number in FEW}
        for name, voices in (("after synthetic voices", True), ("people alone", False))
    }
    out["few"]["after synthetic voices"]["0"] = out["ladder"]["fsdd"]["and speech"]
    return out


def _summed(test: str, tables: list[pd.DataFrame]) -> dict:
    """The score, with each person's own only for FSDD's six: other tests have many people with few clips each."""
    return {name: value for name, value in score_of_seeds(tables).items() if test == "fsdd" or name != "speakers"}


def main() -> None:
    """Makes `book/results/transfer.json` (`make transfer`)."""
    folder = runs_folder() / "transfer"
    found = {"starts": starts(folder, True), "people": people(folder, True)}
    made = {
        "seeds": SEEDS,
        "recipe": FAST.to_dict(),
        "device": device_name(processes().device),
        **results.versions_and_time(),
    }
    results.write("transfer", found | {"made": made})


if __name__ == "__main__":
    main()
