"""The model card: one text, `book/model_card.md`, filled for the course's own small model or for a reader's run."""

import json
import math
import re
from pathlib import Path

import pandas as pd

from spokendigits import lanes
from spokendigits.corpora.corpus import COLUMNS
from spokendigits.errors import CourseError
from spokendigits.files import atomic_file, read_json, sha256

REPOSITORY = "https://github.com/spokendigits/course"
CARD = "MODEL_CARD.md"
MOST = 12  # rows of a table of groups; of more, the worst are shown
UNKNOWN, NOT_RECORDED = "not measured", "not recorded"
# The course's own corpora: nobody in them is a child, and all say English words. Of a reader's folder nothing is known.
KNOWN_CORPORA = ("synthetic", "voices", "fsdd", "audiomnist")
NEEDED = ("data", "held_out", "made", "people", "training")  # parts of book/results/small.json
LICENCES = {  # of what the course's own model learned from
    "espeak": ("espeak-ng's voices, computed", "none on its speech; the program: GPL-3.0"),
    "flite": ("flite's voices, built from recordings of people", "free for any use, in the manner of BSD"),
    "fsdd": ("FSDD's people", "CC BY-SA 4.0"),
}
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


def prose(small: dict, export: dict | None = None) -> dict[str, str]:
    """The card's names for the course's own small model, from `book/results/small.json` and `export.json`.

    Raises CourseError when a part of small.json is missing.
    """
    if lacks := [part for part in NEEDED if part not in small]:
        raise CourseError(f"book/results/small.json: no {', '.join(lacks)} in it. Run `make small`.")
    data, made, people, voices = (small[part] for part in ("data", "made", "people", "held_out"))
    recipe, rejection = made["recipe"], small.get("rejection", {})
    engines, quantized = data.get("engines", {}), small.get("int8") or {}
    scores = [
        ("FSDD's people, each read by a twin of this model that learned from the others", people.get("small")),
        ("the same, all weights in 8 bits as in this file", quantized.get("people")),
        ("FSDD's people, read by this model before it learned from any person", people.get("taught_alone")),
        ("FSDD's people, read by its teacher, which heard no person either", people.get("teacher_alone")),
        ("synthetic voices that were not in training", voices.get("small")),
        ("the same, read by this file itself", quantized.get("held_out")),
        ("the same, read by its teacher", voices.get("teacher")),
    ]
    groups = [
        _groups(f"{who}, by {fact}", rows)
        for who, part in (("People", people), ("Synthetic voices", voices))
        for fact, rows in part.get("by", {}).items()
    ]
    steps = {"the small network": small["training"].get("small"), "its teacher": small["training"].get("teacher")}
    steps |= {one["what"]: one for one in small["training"].get("others", [])}
    genders = {row["group"] for row in people.get("by", {}).get("gender", [])}
    return {
        **_same("voices", recipe),
        "card_name": "`digits.onnx`, the small model of the course; its weights have 8 bits",
        "card_network": _network(recipe, small.get("sizes", {})) + f", taught by {made['teacher_recipe']['backbone']}",
        "card_weights": lanes.weights_name(recipe["weights"]),
        "card_made": _made(made),
        "card_sha256": f"`{made['sha256']}`" if "sha256" in made else NOT_RECORDED,
        "card_data": (
            f"{data['clips_train']:,} clips of digits by {data['voices_train']:,} synthetic voices, "
            f"{data['others_train']:,} clips of other words and of noises, and {small.get('people_in_training', 0):,} "
            f"clips of people: all {data['people']} that FSDD has, the Free Spoken Digit Dataset "
            "{cite:p}`jackson2018fsdd`. So it knows these people. A test that lets this very file read them would flatter "
            "it; none is on this card.\n\n"
            + _table(
                ["learned from", "clips of digits", "licence"], _sources(engines, small.get("people_in_training", 0))
            )
        ),
        "card_scores": _scores(scores),
        "card_split": (
            "**What may a new person expect?** The first row. Each person in it was read by a network of the same recipe "
            "that had heard the other people and not this one. "
            f"They are only {people['small']['speakers']}, so the interval is wide. {_lost(voices.get('lost'))}"
        ),
        "card_groups": "\n\n".join(groups) or f"By groups: {UNKNOWN}.",
        "card_noise": _noise(small.get("noise", [])),
        **_rejection(rejection),
        "card_microphones": (
            "Most of its training had no microphone: rooms, bands and noise were computed. FSDD's recordings end at 4 kHz. "
            "Telephones, headsets and far microphones were not tested, but for what stands above."
        ),
        "card_gender": (
            "All people in its training and in the test are men. How it reads women is known of synthetic voices at best."
            if genders == {"male"}
            else f"Genders among the people of the test: {', '.join(sorted(genders)) or NOT_RECORDED}."
        ),
        "card_training": _training(steps),
        "card_sizes": _sizes(small, export or {}),
        "card_sizes_why": _latency(export or {}),
        "card_licence": _licence(
            "So are the weights, as far as they are the course's to give. What they learned from has licences of its own: "
            "they stand in the table above. Whether the licence of a recording reaches a network is not settled. "
            "So name FSDD, and its licence, when you pass the model on."
        ),
    }


def of_run(run: Path | str, exported: Path | str | None = None) -> dict[str, str]:
    """The card's names for a run of `spokendigits train`, from its run.json, metrics.json and predictions.csv.

    run: the folder, or the model.safetensors in it. exported: the folder whose model files are listed with their sizes.
    What no file says becomes a sentence that says so.
    """
    model = Path(run) if Path(run).is_file() else Path(run) / "model.safetensors"
    folder = model.parent
    if not model.is_file() and not (folder / "run.json").is_file():
        raise CourseError(
            f"{run}: neither a run's folder nor a model.safetensors. Train one: `spokendigits train --name mine`."
        )
    made, found = (
        read_json(path) if (path := folder / name).is_file() else {} for name in ("run.json", "metrics.json")
    )
    held, table = _held(model), _predictions(folder / "predictions.csv")
    recipe = held.get("recipe") or made.get("recipe") or {}
    corpus = made.get("corpus") or recipe.get("corpus") or "A corpus that is not recorded"
    clips = f"{made['clips_train']:,} clips in training" if "clips_train" in made else "how many clips, is not recorded"
    gender = (
        "See the table by gender."
        if table is not None and "gender" in table
        else "The speakers' genders are not recorded."
    )
    return {
        **_same(recipe.get("corpus"), recipe),
        "card_name": f"`{folder.resolve().name}`, a run of this course",
        "card_network": _network(recipe, held),
        "card_weights": lanes.weights_name(held.get("weights") or made.get("weights") or NOT_RECORDED),
        "card_made": _made(made),
        "card_sha256": f"`{sha256(model)}`, of `{model.name}`" if model.is_file() else NOT_RECORDED,
        "card_data": f"{corpus}: {clips}.",
        "card_scores": _scores([("the part of the corpus that was held out of training", _score_of(table, found))]),
        "card_split": _split(recipe),
        "card_groups": _groups_of(table),
        "card_noise": f"{UNKNOWN.capitalize()} for this model. `spokendigits.robustness` measures it.",
        **_rejection({}),
        "card_gender": gender,
        "card_training": _training({"this model": made if "seconds" in made else None}),
        "card_sizes": _files(Path(exported or folder)),
        "card_sizes_why": f"How long a clip takes: {UNKNOWN}.",
        "card_licence": _licence(
            "The weights belong to whoever trained them. The recordings that they learned from have a licence of their own."
        ),
    }


def fill(names: dict[str, str]) -> str:
    """The card as plain Markdown, for a file outside the book: no name, role or link within the book is left.

    Raises CourseError if `names` lacks one that the text has.
    """
    text = _source("model_card.md")
    wanted = re.findall(r"\{\{ *(\w+) *\}\}", text)
    if lacks := sorted(set(wanted) - names.keys()):
        raise CourseError(f"book/model_card.md: no value for {', '.join(lacks)}. Add it to spokendigits/card.py.")
    return plain(re.sub(r"\{\{ *(\w+) *\}\}", lambda name: names[name[1]], text))


def plain(text: str) -> str:
    """MyST to plain Markdown: terms to their words, citations and links within the book to absolute links."""
    text = re.sub(r"\{cite:(\w)\w*\}`([^`]+)`", lambda found: _cited(found[2].split(","), found[1] == "t"), text)
    text = re.sub(r"\{[\w:-]+\}`([^`<]*?)\s*(?:<[^`>]*>)?`", r"\1", text)
    return re.sub(r"\]\((?!https://|#)([^)\s]+)\)", _absolute, text).strip() + "\n"


def write(folder: Path | str, run: Path | str | None = None, name: str = CARD) -> Path:
    """Writes the card, in plain Markdown, into `folder`, and returns its path.

    run: a run's folder or its model.safetensors (None: the course's own small model). Raises CourseError if the stored
    results of the course's own are missing.
    """
    path = Path(folder) / name
    text = fill(_own() if run is None else of_run(run, folder))
    with atomic_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def _own() -> dict[str, str]:
    found = {}
    for what in ("small", "export"):
        try:
            found[what] = lanes.stored(what)
        except FileNotFoundError:
            raise CourseError(
                f"book/results/{what}.json: missing, so the card has no numbers. Run `make small`."
            ) from None
    return prose(found["small"], found["export"])


def _source(name: str) -> str:
    """A file of the book; it comes with the package, too."""
    package = Path(__file__).resolve().parent
    return next(
        path.read_text(encoding="utf-8")
        for path in (package.parent / "book" / name, package / "pages" / name)
        if path.is_file()
    )


def _absolute(link: re.Match) -> str:
    place = link[1].removeprefix("../") if link[1].startswith("../") else f"book/{link[1]}"
    return f"]({REPOSITORY}/blob/main/{place})"


def _cited(keys: list[str], in_sentence: bool) -> str:
    """What a citation would say, as links: Author et al. (2019), or (Author et al., 2019)."""
    entries = _source("references.bib")
    said = []
    for key in map(str.strip, keys):
        entry = re.search(rf"^@\w+\{{{key},\n(.*?)^\}}", entries, re.MULTILINE | re.DOTALL)
        if entry is None:
            raise CourseError(f"book/references.bib: no {key}. Add it, or take the citation out.")
        fields = dict(re.findall(r"^ *(\w+) *= *\{(.*)\},?$", entry[1], re.MULTILINE))
        authors = fields["author"].replace("{", "").replace("}", "").split(" and ")
        first = authors[0].split(",")[0] if "," in authors[0] else authors[0].split()[-1]
        who = first + (" et al." if len(authors) > 2 else f" and {authors[1].split()[-1]}" if authors[1:] else "")
        where = fields.get("url") or f"https://doi.org/{fields['doi']}"
        said.append(f"[{who} ({fields['year']})]({where})" if in_sentence else f"[{who}, {fields['year']}]({where})")
    return ", ".join(said) if in_sentence else f"({'; '.join(said)})"


def _same(corpus: str | None, recipe: dict) -> dict[str, str]:
    """What follows from the corpus and the recipe alone, and what all cards say."""
    known = corpus in KNOWN_CORPORA
    audio = NOT_RECORDED
    if recipe:
        audio = (
            f"a waveform of {recipe['seconds']:g} s at {recipe['sample_rate']:,} Hz, one channel; it makes its picture "
            f"itself, {recipe['n_mels']} mel bins up to {recipe['f_max']:,.0f} Hz"
        )
    return {
        "card_input": audio,
        "card_seconds": f"{recipe['seconds']:g} s" if recipe else "a length that is not recorded",
        "card_microphones": "Which microphones and rooms, is not recorded. With others it may do worse.",
        "card_language": (
            "It knows English words. An accent that is in no table was not tested. "
            "A word of another language gets an English digit, or none."
            if known
            else "Which language and which accents, is not recorded. A word of another language gets some digit, or none."
        ),
        "card_children": (
            "No child is known to speak in its training or in its tests. Expect it to do worse."
            if known
            else "Whether children are among the speakers, is not recorded."
        ),
        "card_energy_why": (
            f"The energy is an estimate, and no measurement: the seconds times {CORE:.0f} W for each core "
            "([Lannelongue et al., 2021](https://doi.org/10.1002/advs.202100707)), or times the highest power that a "
            f"GPU's maker states, {GPU:.0f} W for an unknown one. It can be wrong by a factor of two. Memory, cooling, "
            "the making of the speech, and trainings that came to nothing are not in it."
        ),
        "card_cite": (
            f"Cite the course by its [CITATION.cff]({REPOSITORY}/blob/main/CITATION.cff), and each corpus by its own "
            f"paper: the [references]({REPOSITORY}/blob/main/book/references.bib) have them."
        ),
    }


def _made(made: dict) -> str:
    if "finished" not in made:
        return NOT_RECORDED
    return f"{made['finished'][:10]}, course {made['versions']['spokendigits']}, PyTorch {made['versions']['torch']}"


def _network(recipe: dict, sizes: dict) -> str:
    count = f", {sizes['parameters']:,} parameters" if "parameters" in sizes else ""
    return f"{recipe.get('backbone', NOT_RECORDED)}{count}"


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _percent(score: dict | None, places: int = 1) -> str:
    from spokendigits.publish.words import in_words  # here: it imports torch

    return in_words(score, places) if score else UNKNOWN


def _number(share: dict | None) -> str:
    if not share:
        return UNKNOWN
    return f"{share['value']:.3f} (95 % interval {share['low']:.3f} to {share['high']:.3f})"


def _scores(rows: list[tuple[str, dict | None]]) -> str:
    """Whom a test asked about, and the score: accuracy, low, high, clips, speakers."""
    shown = [
        [
            who,
            *(f"{score[name]:,}" if score and name in score else "?" for name in ("clips", "speakers")),
            _percent(score),
        ]
        for who, score in rows
    ]
    return _table(["whom the test asks about", "clips", "speakers", "accuracy"], shown)


def _lost(lost: dict | None) -> str:
    if not lost:
        return f"What it loses against its teacher: {UNKNOWN}."
    ahead, behind, sign = (
        ("its teacher", "this model", 1) if lost["difference"] >= 0 else ("this model", "its teacher", -1)
    )
    value, low, high = (100 * sign * lost[name] for name in ("difference", *("low", "high")[::sign]))
    text = (
        f"On synthetic voices, {ahead} reads {value:.1f} points more than {behind} "
        f"(95 % interval {low:.1f} to {high:.1f}), clip by clip."
    )
    return text if low * high > 0 else f"{text} That may be chance."


def _groups(title: str, rows: list[dict]) -> str:
    """One table of `evaluation.recall_by`'s rows, the worst first; of many only the worst."""
    rows = sorted(rows, key=lambda row: row["recall"])
    more = f", the worst {MOST} of {len(rows)}" if len(rows) > MOST else ""
    shown = [
        [
            str(row["group"]),
            f"{row['speakers']:,}",
            f"{row['clips']:,}",
            _percent({"value": row["recall"], "low": row["low"], "high": row["high"]}),
            row["warning"],
        ]
        for row in rows[:MOST]
    ]
    return f"**{title}{more}**\n\n" + _table(["group", "speakers", "clips", "accuracy", "take care"], shown)


def _groups_of(table: pd.DataFrame | None) -> str:
    """Tables for each fact about speakers that a predictions table has, and one by speaker."""
    if table is None:
        return "There is no predictions.csv beside the model, so groups of speakers are unknown."
    from spokendigits.evaluation import PROBABILITIES, recall_by

    said = {*COLUMNS, *PROBABILITIES, "clip", "predicted", "loss", "corpus"}
    # A fact that every speaker has for himself is no group.
    facts = [name for name in table if name not in said and table[name].nunique() <= MOST]
    return "\n\n".join(
        _groups(
            f"By {fact}",
            recall_by(table.assign(**{fact: table[fact].astype(object).fillna("not recorded")}), fact)
            .reset_index()
            .rename(columns={fact: "group"})
            .to_dict("records"),
        )
        for fact in [*facts, "speaker"]
    )


def _noise(rows: list[dict]) -> str:
    """A table of `robustness.robustness`'s rows, with a column for this model and one for its teacher."""
    if not rows:
        return f"{UNKNOWN.capitalize()}."
    found: dict[tuple[str, str], dict[str, dict]] = {}
    for row in rows:
        level = "" if row["level"] is None else f"{row['level']:g} {row['unit']}"
        found.setdefault((row["label"], level), {})[row["model"]] = row
    models = {"small": "accuracy of this model", "teacher": "accuracy of its teacher"}
    shown = [[*place, *(_percent(by.get(model)) for model in models)] for place, by in found.items()]
    return (
        "Asked of synthetic voices that were not in training. At 0 dB the noise is as loud as the speech.\n\n"
        + _table(["disturbance", "level", *models.values()], shown)
    )


def _rejection(found: dict) -> dict[str, str]:
    shown = [
        ["AUROC: a digit scores higher than another word", _number(found.get("words"))],
        ["AUROC: a digit scores higher than a noise", _number(found.get("noise"))],
        ["synthetic digits that are turned away", _percent(found.get("digits_rejected"))],
        ["people's digits that are turned away", _percent(found.get("digits_rejected_people"))],
        ["other words that are taken for digits", _percent(found.get("words_accepted"))],
        ["noises that are taken for digits", _percent(found.get("noises_accepted"))],
    ]
    clips = [
        f"{found[name]:,} {what}"
        for name, what in (("digits", "digits"), ("other_words", "other words"), ("noises", "noises"))
        if name in found
    ]
    threshold = found.get("threshold")
    return {
        "card_rejection": _table(["what was asked", "answer"], shown)
        + (f"\n\nThe test had {', '.join(clips)}, all synthetic." if clips else ""),
        "card_threshold": (
            "No threshold comes with it: it answers with a digit, whatever it hears."
            if threshold is None
            else f"Below a score of {threshold:.2f} the answer is *not a digit*. "
            f"That threshold lets {100 * found['pass']:.0f} % of the digits pass that other synthetic voices say."
        ),
    }


def _training(steps: dict[str, dict | None]) -> str:
    """A table of what was trained: seconds, device, energy; and their sum."""
    known = {what: one for what, one in steps.items() if one}
    if not known:
        return f"Time and energy of the training: {UNKNOWN}."
    spent = {what: energy(one["seconds"], one["device"]) for what, one in known.items()}
    shown = [
        [what, f"{one['seconds']:,.0f}", one["device"], f"{spent[what]['watts']:,.0f}", _kwh(spent[what]["kwh"])]
        for what, one in known.items()
    ]
    shown += [[what, UNKNOWN, "?", "?", UNKNOWN] for what in steps.keys() - known.keys()]
    if len(known) > 1:
        seconds, kwh = (
            sum(values)
            for values in ([one["seconds"] for one in known.values()], [one["kwh"] for one in spent.values()])
        )
        shown.append(["all", f"{seconds:,.0f}", "", "", _kwh(kwh)])
    return _table(["training", "seconds", "device", "watts, assumed", "kWh, estimated"], shown)


def _kwh(value: float) -> str:
    return f"{value:.2g}"


def _sizes(small: dict, export: dict) -> str:
    """A table of this model and its teacher in each form: bytes, milliseconds a clip and accuracy, or the bytes alone."""
    rows = export.get("rows", [])
    if not rows:
        sizes = small.get("sizes", {}).get("bytes", {})
        return (
            _table(["form", "size"], [[name, _size(size)] for name, size in sizes.items()])
            if sizes
            else f"Sizes: {UNKNOWN}."
        )
    forms = {"PyTorch": "PyTorch, 32 bits", "fp32": "ONNX, 32 bits", "int8": "ONNX, 8 bits"}
    shown = [
        [
            "this model" if row["model"] == "small" else "its teacher",
            forms[row["precision"]] + (", this file" if (row["model"], row["precision"]) == ("small", "int8") else ""),
            _size(row["bytes"]),
            f"{row['milliseconds']:.1f} ({row['milliseconds_low']:.1f} to {row['milliseconds_high']:.1f})",
            f"{row['speedup']:.1f}",
            _percent(row),
        ]
        for row in sorted(rows, key=lambda row: (row["model"] != "small", row["bytes"]))
    ]
    return _table(["model", "form", "size", "milliseconds a clip", "times as fast", "accuracy"], shown)


def _latency(export: dict) -> str:
    """How the times of that table were taken, and how far ONNX is from PyTorch."""
    if not export.get("rows"):
        return f"How long a clip takes: {UNKNOWN}."
    parity = export.get("parity", {}).get("small")
    said = (
        f"Measured on {export['device']}, one core, one clip at a time, picture included: median, and the middle half of "
        "all times. *Times as fast* compares with the teacher in PyTorch, in the same run. The accuracy is that on "
        f"{export['corpus']}."
    )
    return said + (
        f" On {export['parity_clips']:,} clips of people, no log-probability of ONNX in 32 bits was further than "
        f"{parity:.1e} from PyTorch's."
        if parity is not None
        else ""
    )


def _sources(engines: dict[str, int], people: int) -> list[list[str]]:
    """What digits were learned from: the name, how many clips, and the licence."""
    rows = [[*(LICENCES.get(name, (name, NOT_RECORDED))), f"{clips:,}"] for name, clips in engines.items()]
    rows += [[*LICENCES["fsdd"], f"{people:,}"]] if people else []
    return [[name, clips, licence] for name, licence, clips in rows]


def _size(size: int) -> str:
    return f"{size / 1000:,.0f} kB"


def _files(folder: Path) -> str:
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".onnx", ".safetensors"))
    shown = [[f"`{path.relative_to(folder).as_posix()}`", _size(path.stat().st_size)] for path in files]
    return _table(["file", "size"], shown) if shown else f"Sizes: {UNKNOWN}."


def _licence(weights: str) -> str:
    return (
        f"The course's code is under the [Apache License 2.0]({REPOSITORY}/blob/main/LICENSE), this text under "
        f"[CC BY 4.0]({REPOSITORY}/blob/main/LICENSE-CONTENT.md). {weights}"
    )


def _split(recipe: dict) -> str:
    """What a test on a run's validation part says of new voices."""
    split = recipe.get("split")
    if split is None:
        return "How training and test were divided, is not recorded. Perhaps the same voices are in both."
    # FSDD's own split goes by take, all others that are published by speaker.
    if split == "random" or (split, recipe.get("corpus")) == ("published", "fsdd"):
        return (
            f"The split is *{split}*: the voices of this test were in training, too. "
            "Of new voices it says little. Expect less of them."
        )
    return f"The split is *{split}*: no voice of this test was in training. The run was watched on this part, though."


def _predictions(path: Path) -> pd.DataFrame | None:
    """The predictions of digits; rows of what is no digit are left out."""
    if not path.is_file():
        return None
    table = pd.read_csv(path, dtype={"speaker": str})
    return table[table["digit"] >= 0]


def _score_of(table: pd.DataFrame | None, found: dict) -> dict | None:
    if table is not None and len(table):
        from spokendigits.intervals import accuracy, interval

        low, high = interval(table)
        return {
            "accuracy": accuracy(table),
            "low": low,
            "high": high,
            "clips": len(table),
            "speakers": table["speaker"].nunique(),
        }
    return found if {"accuracy", "low", "high"} <= found.keys() else None


def _held(model: Path) -> dict:
    """What a safetensors file says of itself: recipe, weights, and how many parameters; nothing if it is none of the course's."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(model, "np") as file:
            held = json.loads((file.metadata() or {}).get("spokendigits", "{}"))
            names = [
                name
                for name in file.keys()  # noqa: SIM118
                if name.startswith("backbone.") and not re.search(r"\.(running_\w+|num_batches_tracked)$", name)
            ]
            return {**held, "parameters": sum(math.prod(file.get_slice(name).get_shape()) for name in names)}
    except (SafetensorError, OSError, ValueError):
        return {}
