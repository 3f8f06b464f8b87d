"""The small network that answers in the book's page: what it learned from, who taught it, and how well it hears."""

import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from spokendigits import corpora, lanes
from spokendigits.classifier import Classifier
from spokendigits.clips import Clips, make_clips
from spokendigits.corpora import others, voices
from spokendigits.corpora.corpus import Corpus, join
from spokendigits.errors import CourseError
from spokendigits.evaluation import difference, predict, recall_by
from spokendigits.files import atomic_file, read_json, runs_folder, sha256, versions, write_json
from spokendigits.intervals import accuracy, interval
from spokendigits.lanes import MODEL, RUN
from spokendigits.publish.words import in_words
from spokendigits.splits import Split, check_speakers
from spokendigits.topics.onnx_reader import load_onnx
from spokendigits.topics.onnx_writer import parity, write_onnx
from studies import exports
from spokendigits.topics.rejection import auroc, choose_threshold, scores
from spokendigits.topics.robustness import robustness
from spokendigits.training import train_or_load
from studies.real_voices import SYNTHETIC

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
AT_ONCE = 64  # clips that an exported model reads


class Study:
    """Corpora, parts and trainings, each made when it is asked for and found again below `folder`."""

    def __init__(self, folder: Path | None = None, progress: bool = True):
        self.folder = folder or runs_folder() / "small"
        self.progress = progress

    @cached_property
    def corpus(self) -> Corpus:
        """Digits of many voices, other words and noises, and FSDD's people; the column `corpus` says which."""
        spoken = voices.read(voices.fetch(engines=ENGINES, progress=self.progress))
        refused = others.read(others.fetch(engines=ENGINES, progress=self.progress))
        return join("small", [spoken, refused, corpora.load("fsdd", progress=self.progress)])

    @cached_property
    def clips(self) -> Clips:
        return make_clips(self.corpus, TEACHER, progress=self.progress)

    def rows(self, corpus: str, speakers: np.ndarray | None = None, **facts) -> np.ndarray:
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

    def with_people(self, left_out: str | None = None) -> Split:
        """The same with FSDD's people to learn from; one of them validates instead, if named."""
        people = [name for name in self.people if name != left_out]
        train = np.concatenate([self.parts.train, np.repeat(self.rows("fsdd", people), TIMES)])
        return replace(
            self.parts, train=train, validation=self.rows("fsdd", [left_out]) if left_out else self.parts.validation
        )

    @cached_property
    def people(self) -> list[str]:
        return sorted(self.corpus.table["speaker"][self.rows("fsdd")].unique())

    def trained(self, name: str, recipe, parts: Split, **options) -> Classifier:
        return train_or_load(recipe, self.corpus, self.clips, parts, self.folder / name, self.progress, **options)

    def teacher(self) -> Classifier:
        return self.trained("teacher", TEACHER, self.parts)

    def alone(self) -> Classifier:
        """The small network without a teacher."""
        return self.trained("alone", STUDENT, self.parts)

    def taught(self) -> Classifier:
        return self.trained("taught", STUDENT, self.parts, teacher=self.teacher())

    def final(self, left_out: str | None = None) -> Classifier:
        """The small network that heard people, too: all of them, or all but one."""
        self.taught()
        recipe = HUMAN.but(weights=str(self.folder / "taught" / MODEL))
        return self.trained(f"without-{left_out}" if left_out else "final", recipe, self.with_people(left_out))

    def read(self, model: Classifier, rows: np.ndarray) -> pd.DataFrame:
        return predict(model, self.clips, self.corpus, rows, progress=self.progress)

    def scores(self, model: Classifier, rows: np.ndarray) -> np.ndarray:
        return scores(model, self.clips, self.corpus, rows)


def study(folder: Path | None = None, progress: bool = True) -> tuple[dict, Study]:
    """Trains all of it and returns what was found, for `book/results/small.json`, with the models."""
    at = Study(folder, progress)
    models = {"teacher": at.teacher(), "alone": at.alone(), "taught": at.taught(), "small": at.final()}
    test, people = at.parts.test, at.rows("fsdd")
    held_out = {name: at.read(model, test) for name, model in models.items()}
    unheard = {name: at.read(models[name], people) for name in ("teacher", "alone", "taught")}  # these heard no people
    left_out = pd.concat([at.read(at.final(one), at.rows("fsdd", [one])) for one in at.people], ignore_index=True)
    noise = [
        robustness(
            model,
            at.clips,
            at.corpus,
            test,
            progress=progress,
            kinds=NOISES,
            others=at.parts.train[at.corpus.table["digit"].iloc[at.parts.train] >= 0],
            model=name,
        )
        for name, model in models.items()
        if name != "alone"
    ]
    found = {
        "held_out": {
            **{name: _score(table) for name, table in held_out.items()},
            "lost": _lost(held_out["teacher"], held_out["small"]),
            "gained": _lost(held_out["taught"], held_out["alone"]),  # what the teacher brought
            "by": {column: _by(held_out["small"], column) for column in ("engine", "accent")},
        },
        "people": {
            "small": _score(left_out),
            **{f"{name}_alone": _score(table) for name, table in unheard.items()},
            "gained_alone": _lost(unheard["taught"], unheard["alone"]),
            "by": {
                column: _by(left_out, column)
                for column in ("speaker", "gender", "accent")
                if left_out[column].notna().any()
            },
        },
        "people_in_training": len(people),
        # JSON has no number for a level that is none.
        "noise": pd.concat(noise, ignore_index=True).replace({np.nan: None}).to_dict("records"),
        "noise_corpus": "voices",
        "rejection": _rejection(at, models["small"]),
        "data": _data(at),
        "sizes": {
            "parameters": _parameters(models["small"]),
            "teacher_parameters": _parameters(models["teacher"]),
            "bytes": {
                "safetensors": (at.folder / "final" / MODEL).stat().st_size,
                "teacher": (at.folder / "teacher" / MODEL).stat().st_size,
            },
        },
        "training": {
            "small": _trained(at.folder / "taught", at.folder / "final"),
            "teacher": _trained(at.folder / "teacher"),
            "others": [
                {
                    "what": "six trainings, one person left out of each",
                    **_trained(*(at.folder / f"without-{one}" for one in at.people)),
                }
            ],
        },
    }
    return found, at


def _score(table: pd.DataFrame) -> dict:
    low, high = interval(table)
    return {
        "accuracy": accuracy(table),
        "low": low,
        "high": high,
        "clips": len(table),
        "speakers": table["speaker"].nunique(),
    }


def _lost(one: pd.DataFrame, other: pd.DataFrame) -> dict:
    return {name: value for name, value in difference(one, other).items() if name in ("difference", "low", "high")}


def _points(found: dict) -> str:
    low, high = (f"{100 * found[name]:.1f}" for name in ("low", "high"))
    return f"{100 * found['difference']:+.1f} points (95 % interval {low} to {high})"


def _by(table: pd.DataFrame, column: str) -> list[dict]:
    return recall_by(table, column).reset_index().rename(columns={column: "group"}).to_dict("records")


def _parameters(model: Classifier) -> int:
    return sum(value.numel() for value in model.backbone.parameters())


def _trained(*folders: Path) -> dict:
    made = [read_json(folder / RUN) for folder in folders]
    return {
        "seconds": sum(one["seconds"] for one in made),
        "epochs": sum(one["recipe"]["epochs"] for one in made),
        "device": made[0]["device"],
        "precision": made[0]["precision"],
    }


def _rejection(at: Study, model: Classifier) -> dict:
    """How well digits are told from what is none: test voices' digits, words never heard, noises never heard."""
    table = at.corpus.table
    kinds = {
        "validation": at.parts.validation,
        "digits": at.parts.test,
        "words": at.rows("others", at.groups[0], kind="word", heard=False),
        "noise": at.rows("others", kind="noise", heard=False),
    }
    found = {name: at.scores(model, rows) for name, rows in kinds.items()}
    threshold = choose_threshold(found["validation"], PASS)

    def refused(name: str, scored: np.ndarray, below: bool) -> dict:
        """A share of clips, with its interval over speakers."""
        said = (scored < threshold) if below else (scored >= threshold)
        speakers = table["speaker"].iloc[kinds[name]].reset_index(drop=True)
        low, high = interval(pd.DataFrame({"digit": 1, "predicted": said.astype(int), "speaker": speakers}))
        return {"value": float(said.mean()), "low": low, "high": high}

    left_out = [(at.scores(at.final(one), at.rows("fsdd", [one])), at.rows("fsdd", [one])) for one in at.people]
    kinds["people"] = np.concatenate([rows for _, rows in left_out])
    people = np.concatenate([scored for scored, _ in left_out])

    def against(*names: str) -> dict:
        rows = np.concatenate([kinds["digits"], *(kinds[name] for name in names)])
        scored = np.concatenate([found["digits"], *(found[name] for name in names)])
        return auroc(scored, table["digit"].iloc[rows].to_numpy() >= 0, table["speaker"].iloc[rows].to_numpy())

    return {
        "words": against("words"),
        "noise": against("noise"),
        "both": against("words", "noise"),
        "threshold": float(threshold),
        "pass": PASS,
        "digits_rejected": refused("digits", found["digits"], below=True),
        "digits_rejected_people": refused("people", people, below=True),
        "words_accepted": refused("words", found["words"], below=False),
        "noises_accepted": refused("noise", found["noise"], below=False),
        "digits": len(kinds["digits"]),
        "other_words": len(kinds["words"]),
        "noises": len(kinds["noise"]),
        "threshold_from": "validation voices",
    }


def _data(at: Study) -> dict:
    table, train = at.corpus.table, at.parts.train
    digits = train[table["digit"].iloc[train] >= 0]
    return {
        "corpus": at.corpus.label,
        "source": at.corpus.source,
        "engines": table.iloc[digits]["engine"].value_counts().to_dict(),
        "voices_train": table.iloc[digits]["speaker"].nunique(),
        "clips_train": len(digits),
        "voices_held_out": len(at.groups[0]),
        "clips_held_out": len(at.parts.test),
        "others_train": len(train) - len(digits),
        "people": len(at.people),
        "people_clips": len(at.rows("fsdd")),
    }


def prose(found: dict) -> dict[str, str]:
    """What was found, as text for the book's pages."""
    rejection, held_out, people = found["rejection"], found["held_out"], found["people"]
    return {
        "small_held_out": in_words(held_out["small"]),
        "small_teacher": in_words(held_out["teacher"]),
        "small_taught": in_words(held_out["taught"]),
        "small_alone": in_words(held_out["alone"]),
        "small_gained": _points(held_out["gained"]),
        "small_people_gained": _points(people["gained_alone"]),
        "small_people": in_words(people["small"]),
        "small_people_taught": in_words(people["taught_alone"]),
        "small_people_alone": in_words(people["alone_alone"]),
        "small_people_teacher": in_words(people["teacher_alone"]),
        "small_auroc_words": f"{rejection['words']['value']:.3f}",
        "small_auroc_noise": f"{rejection['noise']['value']:.3f}",
        "small_int8_lost": f"{100 * found['int8']['held_out']['lost']['difference']:.1f} points",
        "small_people_int8_lost": f"{100 * found['int8']['people']['lost']['difference']:.1f} points",
        "small_parameters": f"{found['sizes']['parameters'] / 1e6:.2f} million",
        "small_teacher_parameters": f"{found['sizes']['teacher_parameters'] / 1e6:.1f} million",
        "small_clips_train": f"{found['data']['clips_train']:,}",
        "small_others_train": f"{found['data']['others_train']:,}",
        "small_voices_train": f"{found['data']['voices_train']:,}",
        "small_device": found["training"]["small"]["device"],
        "small_date": found["made"]["finished"][:10],
        "small_torch": found["made"]["versions"]["torch"],
    }


def store() -> None:
    """Makes the page's model, `book/results/small.json` and `book/results/export.json` (`make small`).

    Raises CourseError if the model is too large for a page.
    """
    checkout = lanes.repository()
    found, at = study()
    calibration = _calibration(at)
    threshold, digest = found["rejection"]["threshold"], sha256(at.folder / "final" / MODEL)
    with tempfile.TemporaryDirectory() as folder:
        made = {
            precision: write_onnx(
                at.final(), Path(folder) / f"{precision}.onnx", precision, threshold, at.clips.read(calibration), digest
            )
            for precision in ("fp32", "int8")
        }
        found["sizes"]["bytes"] |= {precision: path.stat().st_size for precision, path in made.items()}
        if found["sizes"]["bytes"]["int8"] > LARGEST:
            raise CourseError(
                f"{found['sizes']['bytes']['int8']:,} bytes are too many for a page. Choose a smaller backbone."
            )
        found["int8"] = _quantized(at, made["int8"])
        page = checkout / PAGE_MODEL
        page.parent.mkdir(parents=True, exist_ok=True)
        with atomic_file(page) as temporary:
            temporary.write_bytes(made["int8"].read_bytes())
    found["made"] = {
        "recipe": HUMAN.to_dict(),
        "student_recipe": STUDENT.to_dict(),
        "teacher_recipe": TEACHER.to_dict(),
        "seed": HUMAN.seed,
        "sha256": sha256(page),
        "versions": versions(),
        "finished": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    rows = exports.study(
        {"resnet50": at.teacher(), "small": at.final()},
        at.clips,
        at.corpus,
        at.parts.test,
        calibration=calibration,
        progress=at.progress,
    )
    people = at.clips.read(at.rows("fsdd"))
    exported = {
        "rows": list(rows.values()),
        "corpus": "voices that nobody trained on",
        "parity": {name: _parity(model, people) for name, model in (("resnet50", at.teacher()), ("small", at.final()))},
        "parity_clips": len(people),
        "device": found["training"]["small"]["device"],
        "made": found["made"],
    }
    results = checkout / "book" / "results"
    write_json(results / "export.json", {"prose": export_prose(exported), **exported})
    write_json(results / "small.json", {"prose": prose(found), **found})


def _parity(model: Classifier, waveforms: np.ndarray) -> float:
    """The largest difference of a log-probability between PyTorch and ONNX in 32 bits."""
    with tempfile.TemporaryDirectory() as folder:
        return parity(model, load_onnx(write_onnx(model, Path(folder) / "fp32.onnx")), waveforms)


def _calibration(at: Study, left_out: str | None = None) -> np.ndarray:
    """Rows of some clips that the final network learned from: voices and people, or people's numbers are clipped."""
    train = at.with_people(left_out).train
    return np.sort(np.random.default_rng(0).choice(train, CALIBRATION, replace=False))


def _quantized(at: Study, path: Path) -> dict:
    """What 8 bits read: the page's file the held-out voices, and each person a file of the network that left them out.

    With what that loses, in the same clips, against 32 bits.
    """
    left_out = []
    with tempfile.TemporaryDirectory() as folder:
        for one in at.people:
            calibration = at.clips.read(_calibration(at, one))
            other = write_onnx(at.final(one), Path(folder) / f"{one}.onnx", "int8", calibration=calibration)
            left_out.append(_read_onnx(at, other, at.rows("fsdd", [one])))
    read = {"held_out": _read_onnx(at, path, at.parts.test), "people": pd.concat(left_out, ignore_index=True)}
    in_full = {
        "held_out": at.read(at.final(), at.parts.test),
        "people": pd.concat([at.read(at.final(one), at.rows("fsdd", [one])) for one in at.people], ignore_index=True),
    }
    return {name: _score(table) | {"lost": _lost(in_full[name], table)} for name, table in read.items()}


def _read_onnx(at: Study, path: Path, rows: np.ndarray) -> pd.DataFrame:
    model = load_onnx(path)
    parts = [rows[first : first + AT_ONCE] for first in range(0, len(rows), AT_ONCE)]
    predicted = np.concatenate([model(at.clips.read(part))[0].argmax(axis=1) for part in parts])
    return at.corpus.table.iloc[rows].assign(predicted=predicted)


def export_prose(found: dict) -> dict[str, str]:
    """The table of sizes, times and accuracies, as text for the book's pages: `export_small_int8_mb` and so on."""
    out = {
        "export_device": found["device"],
        "export_parity_clips": f"{found['parity_clips']:,}",
        "export_parity_resnet50": f"{found['parity']['resnet50']:.1e}",
        "export_parity_small": f"{found['parity']['small']:.1e}",
    }
    for row in found["rows"]:
        name = f"export_{row['model']}_{row['precision'].lower()}"
        out |= {
            f"{name}_mb": f"{row['size_mb']:.2f}",
            f"{name}_times": f"{row['speedup']:.1f}",
            f"{name}_accuracy": in_words(row),
        }
    return out


if __name__ == "__main__":
    store()
