"""The small network that answers in the book's page: what it learned from, who taught it, and how well it hears."""

import tempfile
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from spokendigits import corpora, lanes
from spokendigits.classifier import Classifier
from spokendigits.clips import make_clips
from spokendigits.corpora import others, voices
from spokendigits.corpora.corpus import join
from spokendigits.errors import CourseError
from spokendigits.evaluation import difference, recall_by
from spokendigits.files import atomic_file, runs_folder, sha256
from spokendigits.intervals import interval, score
from spokendigits.splits import Split, check_speakers
from spokendigits.topics.onnx_reader import load_onnx
from spokendigits.topics.onnx_writer import FILES, parity, write_onnx
from spokendigits.topics.rejection import auroc, choose_threshold, scores
from spokendigits.topics.robustness import robustness
from studies import exports, results
from studies.exports import read_onnx
from studies.real_voices import SYNTHETIC
from studies.trainings import Trainings

# The engine beside espeak-ng, from Debian, whose voices may be used for anything.
ENGINES = ("flite",)
# The pictures of chapter 6. Ten yes-or-no answers, which can all be no: that is how other words are refused.
TEACHER = SYNTHETIC.but(backbone="resnet50.a1_in1k", loss="bce", epochs=10, learning_rate=0.001)
STUDENT = TEACHER.but(backbone="test_resnet.r160_in1k", epochs=8, learning_rate=0.003, dropout=0.0, weight_decay=0.0)
HUMAN = STUDENT.but(epochs=6, learning_rate=0.002)  # goes on from the student, with people's clips among the others
TIMES = 4  # an epoch has each clip of a person, or of a voice that was built from a person's, so often: they are few
FOLDS = 10  # of the voices: one tests, one chooses the threshold
PASS = 0.98  # share of digits that the threshold lets through
NOISES = ["white", "babble"]  # kinds of disturbance
CALIBRATION = 500  # clips that show the range of numbers in the network, for int8
LARGEST = 1_500_000  # bytes of the model for the page
PAGE_MODEL = "book/_static/say/digits.onnx"


class Networks(Trainings):
    """The small network, its teacher and its twins, on digits of many voices, other words and noises, and FSDD's people.

    The column `corpus` says which a clip is of.
    """

    def __init__(self, folder: Path, progress: bool = True):
        spoken = voices.read(voices.fetch(engines=ENGINES, progress=progress))
        refused = others.read(others.fetch(engines=ENGINES, progress=progress))
        corpus = join("small", [spoken, refused, corpora.load("fsdd", progress=progress)])
        super().__init__(folder, corpus, make_clips(corpus, TEACHER, progress=progress), progress)

    def rows(self, corpus: str, speakers: np.ndarray | list[str] | None = None, **facts) -> np.ndarray:
        """Row numbers of one corpus, of some speakers, with columns that have given values."""
        table = self.corpus.table
        wanted = table["corpus"] == corpus
        if speakers is not None:
            wanted &= table["speaker"].isin(speakers)
        for name, value in facts.items():
            wanted &= table[name] == value
        return np.flatnonzero(wanted)

    @cached_property
    def groups(self) -> list[np.ndarray]:
        """The voices' names in FOLDS groups, drawn at random."""
        names = self.corpus.table["speaker"][self.rows("voices")].unique()
        return np.array_split(np.random.default_rng(0).permutation(np.sort(names)), FOLDS)

    @cached_property
    def parts(self) -> Split:
        """Voices that test, voices that choose the threshold, and the rest to learn from: digits, other words, noises."""
        test, validation, *rest = self.groups
        rest = np.concatenate(rest)
        heard = [
            self.rows("voices", rest),
            *[self.rows("voices", rest, engine=engine) for engine in ENGINES] * (TIMES - 1),
            self.rows("others", rest, heard=True),
            self.rows("others", kind="noise", heard=True),
        ]
        parts = Split(np.sort(np.concatenate(heard)), self.rows("voices", validation), self.rows("voices", test))
        check_speakers(parts, self.corpus)
        return parts

    @cached_property
    def people(self) -> dict[str, np.ndarray]:
        """The rows of each of FSDD's people, by name."""
        names = sorted(self.corpus.table["speaker"][self.rows("fsdd")].unique())
        return {name: self.rows("fsdd", [name]) for name in names}

    def with_people(self, left_out: str | None = None) -> Split:
        """The same with FSDD's people to learn from; one of them validates instead, if named."""
        people = self.rows("fsdd", [name for name in self.people if name != left_out])
        train = np.concatenate([self.parts.train, np.repeat(people, TIMES)])
        return replace(self.parts, train=train, validation=self.people.get(left_out, self.parts.validation))

    def teacher(self) -> Classifier:
        return self.train("teacher", TEACHER, self.parts)

    def alone(self) -> Classifier:
        """The small network without a teacher."""
        return self.train("alone", STUDENT, self.parts)

    def taught(self) -> Classifier:
        return self.train("taught", STUDENT, self.parts, teacher=self.teacher())

    def final(self, left_out: str | None = None) -> Classifier:
        """The small network that heard people, too: all of them, or all but one."""
        self.taught()
        recipe = HUMAN.but(weights=str(self.weights("taught")))
        return self.train(f"without-{left_out}" if left_out else "final", recipe, self.with_people(left_out))

    def left_out(self, read: Callable[[Classifier, np.ndarray], pd.DataFrame]) -> pd.DataFrame:
        """Each person as the network reads them that learned from all others: `read(model, rows)`, one below the other."""
        return pd.concat([read(self.final(name), rows) for name, rows in self.people.items()], ignore_index=True)

    def scored(self, model: Classifier, rows: np.ndarray) -> pd.DataFrame:
        """Rows of the corpus with the column `score`: how sure the model is that any digit was said."""
        return self.corpus.table.iloc[rows].assign(score=scores(model, self.clips, self.corpus, rows))

    def calibration(self, left_out: str | None = None) -> np.ndarray:
        """Some clips that the final network learned from: voices and people, or people's numbers are clipped."""
        train = self.with_people(left_out).train
        return self.clips.read(np.sort(np.random.default_rng(0).choice(train, CALIBRATION, replace=False)))


def measure(networks: Networks) -> dict:
    """Trains all of it and returns how it reads, for `book/results/small.json`."""
    models = {
        "teacher": networks.teacher(),
        "alone": networks.alone(),
        "taught": networks.taught(),
        "small": networks.final(),
    }
    test, people = networks.parts.test, networks.rows("fsdd")
    held_out = {name: networks.read(model, test) for name, model in models.items()}
    unheard = {name: networks.read(models[name], people) for name in ("teacher", "alone", "taught")}
    left_out = networks.left_out(networks.read)
    train = networks.parts.train
    digits = train[networks.corpus.table["digit"].iloc[train] >= 0]
    noise = [
        robustness(
            models[name],
            networks.clips,
            networks.corpus,
            test,
            progress=networks.progress,
            kinds=NOISES,
            others=digits,
            model=name,
        )
        for name in ("teacher", "taught", "small")
    ]
    groups = [column for column in ("speaker", "gender", "accent") if left_out[column].notna().any()]
    twins = _training(networks, *(f"without-{name}" for name in networks.people))
    return {
        "held_out": {
            **{name: score(table) for name, table in held_out.items()},
            "lost": _change(held_out["teacher"], held_out["small"]),
            "gained": _change(held_out["taught"], held_out["alone"]),  # what the teacher brought
            "by": {column: _by(held_out["small"], column) for column in ("engine", "accent")},
        },
        "people": {
            "small": score(left_out),
            **{f"{name}_alone": score(table) for name, table in unheard.items()},  # these heard no people
            "gained_alone": _change(unheard["taught"], unheard["alone"]),
            "by": {column: _by(left_out, column) for column in groups},
        },
        "people_in_training": len(people),
        # JSON has no number for a level that is none.
        "noise": pd.concat(noise, ignore_index=True).replace({np.nan: None}).to_dict("records"),
        "noise_corpus": "voices",
        "rejection": rejection(networks),
        "data": _data(networks, digits),
        "sizes": {
            "parameters": _parameters(models["small"]),
            "teacher_parameters": _parameters(models["teacher"]),
            "bytes": {
                "safetensors": networks.weights("final").stat().st_size,
                "teacher": networks.weights("teacher").stat().st_size,
            },
        },
        "training": {
            "small": _training(networks, "taught", "final"),
            "teacher": _training(networks, "teacher"),
            "others": [{"what": "six trainings, one person left out of each", **twins}],
        },
    }


def _change(table: pd.DataFrame, other: pd.DataFrame) -> dict:
    return {name: value for name, value in difference(table, other).items() if name in ("difference", "low", "high")}


def _by(table: pd.DataFrame, column: str) -> list[dict]:
    return recall_by(table, column).reset_index().rename(columns={column: "group"}).to_dict("records")


def _parameters(model: Classifier) -> int:
    return sum(value.numel() for value in model.backbone.parameters())


def _training(networks: Networks, *names: str) -> dict:
    records = [networks.record(name) for name in names]
    return {
        "seconds": sum(record["seconds"] for record in records),
        "epochs": sum(record["recipe"]["epochs"] for record in records),
        "device": records[0]["device"],
        "precision": records[0]["precision"],
    }


def rejection(networks: Networks) -> dict:
    """How well digits are told from what is none: test voices' digits, words never heard, noises never heard."""
    rows = {
        "validation": networks.parts.validation,
        "digits": networks.parts.test,
        "words": networks.rows("others", networks.groups[0], kind="word", heard=False),
        "noise": networks.rows("others", kind="noise", heard=False),
    }
    tables = {name: networks.scored(networks.final(), part) for name, part in rows.items()}
    threshold = choose_threshold(tables["validation"]["score"].to_numpy(), PASS)

    def share(table: pd.DataFrame, accepted: bool) -> dict:
        """A share of clips that are accepted or refused, with its interval over speakers."""
        counted = (table["score"] >= threshold) == accepted
        low, high = interval(table[["speaker"]].assign(digit=1, predicted=counted.astype(int)))
        return {"value": float(counted.mean()), "low": low, "high": high}

    def against(*names: str) -> dict:
        table = pd.concat([tables["digits"], *(tables[name] for name in names)])
        return auroc(table["score"].to_numpy(), table["digit"].to_numpy() >= 0, table["speaker"].to_numpy())

    return {
        "words": against("words"),
        "noise": against("noise"),
        "both": against("words", "noise"),
        "threshold": float(threshold),
        "pass": PASS,
        "digits_rejected": share(tables["digits"], accepted=False),
        "digits_rejected_people": share(networks.left_out(networks.scored), accepted=False),
        "words_accepted": share(tables["words"], accepted=True),
        "noises_accepted": share(tables["noise"], accepted=True),
        "digits": len(rows["digits"]),
        "other_words": len(rows["words"]),
        "noises": len(rows["noise"]),
        "threshold_from": "validation voices",
    }


def _data(networks: Networks, digits: np.ndarray) -> dict:
    heard, parts = networks.corpus.table.iloc[digits], networks.parts
    return {
        "corpus": networks.corpus.label,
        "source": networks.corpus.source,
        "engines": heard["engine"].value_counts().to_dict(),
        "voices_train": heard["speaker"].nunique(),
        "clips_train": len(digits),
        "voices_held_out": len(networks.groups[0]),
        "clips_held_out": len(parts.test),
        "others_train": len(parts.train) - len(digits),
        "people": len(networks.people),
        "people_clips": len(networks.rows("fsdd")),
    }


def quantized(networks: Networks, path: Path) -> dict:
    """What 8 bits read: the page's file the held-out voices, and each person a file of the network that left them out.

    With what that loses, in the same clips, against 32 bits.
    """
    test, tables = networks.parts.test, []
    with tempfile.TemporaryDirectory() as folder:
        for name, rows in networks.people.items():
            calibration = networks.calibration(name)
            file = write_onnx(networks.final(name), Path(folder) / f"{name}.onnx", "int8", calibration=calibration)
            tables.append(read_onnx(networks, load_onnx(file), rows))
    both = {
        "held_out": (networks.read(networks.final(), test), read_onnx(networks, load_onnx(path), test)),
        "people": (networks.left_out(networks.read), pd.concat(tables, ignore_index=True)),
    }
    return {part: score(in_8) | {"lost": _change(in_32, in_8)} for part, (in_32, in_8) in both.items()}


def write_page_model(networks: Networks, threshold: float) -> tuple[Path, dict[str, int]]:
    """Writes the final network in 8 bits to the book's page; returns its path, and the bytes of both ONNX files.

    Raises CourseError if the file is too large for a page.
    """
    digest, calibration = sha256(networks.weights("final")), networks.calibration()
    page = lanes.repository() / PAGE_MODEL
    with tempfile.TemporaryDirectory() as folder:
        files = {
            precision: write_onnx(
                networks.final(), Path(folder) / f"{precision}.onnx", precision, threshold, calibration, digest
            )
            for precision in FILES
        }
        sizes = {precision: path.stat().st_size for precision, path in files.items()}
        if sizes["int8"] > LARGEST:
            raise CourseError(f"{sizes['int8']:,} bytes are too many for a page. Choose a smaller backbone.")
        with atomic_file(page) as temporary:
            temporary.write_bytes(files["int8"].read_bytes())
    return page, sizes


def write_results() -> None:
    """Makes the page's model, `book/results/small.json` and `book/results/export.json` (`make small`)."""
    networks = Networks(runs_folder() / "small")
    measured = measure(networks)
    page, sizes = write_page_model(networks, measured["rejection"]["threshold"])
    measured["sizes"]["bytes"] |= sizes
    measured["int8"] = quantized(networks, page)
    measured["made"] = {
        "recipe": HUMAN.to_dict(),
        "student_recipe": STUDENT.to_dict(),
        "teacher_recipe": TEACHER.to_dict(),
        "seed": HUMAN.seed,
        "sha256": sha256(page),
        **results.versions_and_time(),
    }
    models = {"resnet50": networks.teacher(), "small": networks.final()}
    people = networks.clips.read(networks.rows("fsdd"))
    exported = {
        "rows": exports.measure(models, networks, networks.parts.test, networks.calibration()),
        "corpus": "voices that nobody trained on",
        "parity": {name: _parity(model, people) for name, model in models.items()},
        "parity_clips": len(people),
        "device": measured["training"]["small"]["device"],
        "made": measured["made"],
    }
    results.write("export", exported)
    results.write("small", measured)


def _parity(model: Classifier, waveforms: np.ndarray) -> float:
    """The largest difference of a log-probability between PyTorch and ONNX in 32 bits."""
    with tempfile.TemporaryDirectory() as folder:
        return parity(model, load_onnx(write_onnx(model, Path(folder) / "fp32.onnx")), waveforms)


if __name__ == "__main__":
    write_results()
