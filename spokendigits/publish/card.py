"""The model card, for the course's own small model (its page in the book) or for a reader's run (`spokendigits export`).

Its words are book/model_card.md, and book/model_card.jinja for what depends on the model; here are the values alone.
"""

import contextlib
import re
from pathlib import Path

import jinja2
import pandas as pd
from pybtex.database import parse_file

from spokendigits import lanes
from spokendigits.corpora.corpus import COLUMNS, PROBABILITIES
from spokendigits.errors import CourseError
from spokendigits.files import atomic_file, read_json, sha256
from spokendigits.intervals import accuracy, interval
from spokendigits.publish import words

REPOSITORY = "https://github.com/spokendigits/course"
CARD = "MODEL_CARD.md"
MOST = 12  # rows of a table of groups; of more, the worst are shown
UNKNOWN, NOT_RECORDED = "not measured", "not recorded"
# The course's own corpora: nobody in them is a child, and all say English words. Of a reader's folder nothing is known.
KNOWN_CORPORA = ("synthetic", "voices", "fsdd", "audiomnist")
NEEDED = ("data", "held_out", "made", "people", "training")  # parts of book/results/small.json
# Watts. What Green Algorithms (Lannelongue et al. 2021, doi:10.1002/advs.202100707) takes for a core and a GPU that it does
# not know (its file TDP_cpu.csv, row "Any"), and the highest power that NVIDIA states for some GPUs.
CORE, GPU = 12.0, 200.0
GPUS = {"H100": 700.0, "H200": 700.0, "A100": 400.0, "V100": 300.0, "T4": 70.0}


def energy(seconds: float, device: str) -> dict:
    """An estimate of the energy of a training in kilowatt-hours: its seconds times the power of what computed.

    device: as run.json names it ("CPU, 2 cores", "NVIDIA H100 80GB HBM3"). Returns kwh, watts and device. The processor
    counts as busy all the time. Memory, screen, cooling and the making of the computer are left out. Nothing is measured:
    where a computer has no meter that may be read, tools such as codecarbon multiply by a stated power too.
    """
    cores = re.fullmatch(r"CPU, (\d+) cores?", device)
    watts = CORE * int(cores[1]) if cores else next((most for name, most in GPUS.items() if name in device), GPU)
    return {"kwh": seconds * watts / 3.6e6, "watts": watts, "device": device}


def of_course(small: dict, export: dict, strangers: dict | None = None) -> dict:
    """The card's values for the course's own models, from `book/results/small.json`, `export.json` and `strangers.json`.

    Raises CourseError when a part of small.json is missing.
    """
    if lacks := [part for part in NEEDED if part not in small]:
        raise CourseError(f"book/results/small.json: no {', '.join(lacks)} in it. Run `make small`.")
    recipe, sizes = small["made"]["recipe"], small.get("sizes", {})
    disturbances: dict[tuple[str, str], dict[str, dict]] = {}
    for row in small.get("noise", []):
        level = "" if row["level"] is None else f"{row['level']:g} {row['unit']}"
        disturbances.setdefault((row["label"], level), {})[row["model"]] = row
    trainings = {"the small network": small["training"].get("small"), "its teacher": small["training"].get("teacher")}
    return {
        "small": small,
        "export": export,
        "strangers": strangers and strangers["prose"] | {"taught": strangers["made"]["taught"]},
        "recipe": recipe,
        "record": small["made"],
        "known": True,
        "parameters": sizes.get("parameters"),
        "start": words.weights_name(recipe["weights"]),
        "digest": small["made"].get("sha256"),
        "tables": {
            f"{who}, by {fact}": rows
            for who, part in (("People", small["people"]), ("Synthetic voices", small["held_out"]))
            for fact, rows in part.get("by", {}).items()
        },
        "disturbances": disturbances,
        "trainings": _trainings(trainings | {row["what"]: row for row in small["training"].get("others", [])}),
        "bytes": sizes.get("bytes"),
    }


def of_run(run: Path | str, exported: Path | str | None = None) -> dict:
    """The card's values for a run of `spokendigits train`, from its run.json, metrics.json and predictions.csv.

    run: the folder, or the model.safetensors in it. exported: the folder whose model files are listed with their sizes.
    What no file says becomes a sentence that says so.
    """
    from spokendigits.classifier import Classifier  # here: it imports torch

    model = Path(run) if Path(run).is_file() else Path(run) / lanes.MODEL
    folder, exported = model.parent, Path(exported or model.parent)
    if not model.is_file() and not (folder / lanes.RUN).is_file():
        raise CourseError(
            f"{run}: neither a run's folder nor a model.safetensors. Train one: `spokendigits train --name mine`."
        )
    record, score = (
        read_json(path) if (path := folder / name).is_file() else {} for name in (lanes.RUN, "metrics.json")
    )
    recipe, weights, parameters, table = record.get("recipe") or {}, record.get("weights"), None, None
    with contextlib.suppress(CourseError):  # no classifier of the course: then only the other files speak
        classifier = Classifier.load(model)
        recipe, weights = classifier.recipe.to_share().to_dict(), classifier.weights
        parameters = sum(part.numel() for part in classifier.backbone.parameters())
    if (folder / "predictions.csv").is_file():
        table = pd.read_csv(folder / "predictions.csv", dtype={"speaker": str})
        table = table[table["digit"] >= 0]  # without what is no digit
    if table is not None and len(table):
        score = dict(zip(("low", "high"), interval(table), strict=True)) | {"accuracy": accuracy(table)}
        score |= {"clips": len(table), "speakers": table["speaker"].nunique()}
    split, corpus = recipe.get("split"), recipe.get("corpus")
    files = sorted(path for path in exported.rglob("*") if path.suffix in (".onnx", ".safetensors"))
    return {
        "run": {
            "name": folder.resolve().name,
            "model": model.name,
            "corpus": record.get("corpus") or corpus or "A corpus that is not recorded",
            "score": score if {"accuracy", "low", "high"} <= score.keys() else None,
            "split": split,
            # FSDD's own split goes by take, all others that are published by speaker.
            "same_voices": split == "random" or (split, corpus) == ("published", "fsdd"),
            "gender": table is not None and "gender" in table,
        },
        "recipe": recipe,
        "record": record,
        "known": corpus in KNOWN_CORPORA,
        "parameters": parameters,
        "start": words.weights_name(weights or NOT_RECORDED),
        "digest": sha256(model) if model.is_file() else None,
        "tables": None if table is None else _groups(table),
        "trainings": _trainings({"this model": record if "seconds" in record else None}),
        "bytes": {f"`{path.relative_to(exported).as_posix()}`": path.stat().st_size for path in files},
    }


def render(values: dict) -> str:
    """The card as a page of the book (MyST), from the values of `of_course` or `of_run`."""
    folder = lanes.shipped("model_card.md").parent
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder), undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "whole": "{:,.0f}".format,
        "kilobytes": lambda size: f"{size / 1000:,.0f} kB",
        "percent": lambda score: words.in_words(score) if score else UNKNOWN,
    }
    constants = {"unknown": UNKNOWN, "not_recorded": NOT_RECORDED, "most": MOST, "core": CORE, "gpu": GPU}
    card = environment.get_template("model_card.jinja").make_module(
        {"run": None, "strangers": None, "repository": REPOSITORY} | constants | values
    )
    return re.sub(r"\n{3,}", "\n\n", environment.get_template("model_card.md").render(card=card))


def plain(text: str) -> str:
    """MyST to plain Markdown: terms to their words, citations and links within the book to absolute links."""
    text = re.sub(r"\{cite:(\w)\w*\}`([^`]+)`", _cited, text)
    text = re.sub(r"\{[\w:-]+\}`([^`<]*?)\s*(?:<[^`>]*>)?`", r"\1", text)
    text = re.sub(r"\]\(\.\./", f"]({REPOSITORY}/blob/main/", text)
    return re.sub(r"\]\((?!https://|#)", f"]({REPOSITORY}/blob/main/book/", text).strip() + "\n"


def write(folder: Path | str, run: Path | str | None = None, name: str = CARD) -> Path:
    """Writes the card, in plain Markdown, into `folder`, and returns its path.

    run: a run's folder or its model.safetensors (None: the course's own small model). Raises CourseError if the stored
    results of the course's own are missing.
    """
    path = Path(folder) / name
    values = of_course(*map(words.stored, ("small", "export", "strangers"))) if run is None else of_run(run, folder)
    with atomic_file(path) as temporary:
        temporary.write_text(plain(render(values)), encoding="utf-8")
    return path


def _cited(citation: re.Match) -> str:
    """What a citation would say, as links: Author et al. (2019), or (Author et al., 2019)."""
    in_sentence, entries = citation[1] == "t", parse_file(lanes.shipped("references.bib")).entries
    links = []
    for key in map(str.strip, citation[2].split(",")):
        if key not in entries:
            raise CourseError(f"book/references.bib: no {key}. Add it, or take the citation out.")
        fields = entries[key].fields
        names = [" ".join(map(str, person.rich_last_names)) for person in entries[key].persons["author"]]
        who = names[0] + (" et al." if len(names) > 2 else f" and {names[1]}" if names[1:] else "")
        said = f"{who} ({fields['year']})" if in_sentence else f"{who}, {fields['year']}"
        links.append(f"[{said}]({fields.get('url') or 'https://doi.org/' + fields['doi']})")
    return ", ".join(links) if in_sentence else f"({'; '.join(links)})"


def _trainings(steps: dict[str, dict | None]) -> dict[str, dict | None]:
    return {what: step and {**step, **energy(step["seconds"], step["device"])} for what, step in steps.items()}


def _groups(table: pd.DataFrame) -> dict[str, list[dict]]:
    """Rows of `evaluation.recall_by` for each fact about speakers that a predictions table has, and by speaker."""
    from spokendigits.evaluation import recall_by  # here: it imports torch

    said = {*COLUMNS, *PROBABILITIES, "clip", "predicted", "loss", "corpus"}
    # A fact that every speaker has for himself is no group.
    facts = [name for name in table if name not in said and table[name].nunique() <= MOST]
    named = table.assign(**{fact: table[fact].astype(object).fillna(NOT_RECORDED) for fact in [*facts, "speaker"]})
    return {
        f"By {fact}": recall_by(named, fact).rename_axis("group").reset_index().to_dict("records")
        for fact in [*facts, "speaker"]
    }
