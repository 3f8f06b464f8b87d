"""Renews the outputs stored in the notebooks, book/results/fast.json and people.json, and book/moving (`make outputs`). Ten minutes on two cores."""

import hashlib
import json
import os
import tempfile
from pathlib import Path

import numpy as np

from spokendigits import corpora, lanes
from spokendigits.classifier import Classifier
from spokendigits.clips import make_clips
from spokendigits.evaluation import predict
from spokendigits.files import atomic_file, write_json
from spokendigits.intervals import score
from spokendigits.publish import runner, words
from studies import moving
from studies.results import place


def digests(folder: Path) -> dict[str, str]:
    """A SHA-256 of the outputs that each notebook of a folder stores, by its name."""
    paths = {path.stem: path for path in runner.notebooks(folder)}
    cells = {name: runner.read(path).cells for name, path in paths.items()}  # a text more or less is no other output
    outputs = {name: [cell.outputs for cell in held if cell.cell_type == "code"] for name, held in cells.items()}
    return {name: hashlib.sha256(json.dumps(one, sort_keys=True).encode()).hexdigest() for name, one in outputs.items()}


def people(folder: Path) -> dict:
    """How notebook 4's model for new voices, which heard no person, reads six takes of each digit by FSDD's six people."""
    asked = corpora.load("fsdd", takes=6)
    model = Classifier.load(folder / "speaker" / lanes.MODEL)
    table = predict(model, make_clips(asked, model.recipe), asked, np.arange(len(asked)), progress=False).round(4)
    made = {
        "recipe": model.recipe.to_dict(),
        "weights": model.weights,
        "source": asked.source,
        "licence": asked.licence,
    }
    scored = score(table)
    prose = {"accuracy_people": words.in_words(scored)}
    return {"table": table.to_dict("list"), "score": scored, "made": made, "prose": prose}


def renew() -> None:
    """Runs the fast lane afresh and stores its outputs in the notebooks, and its results for the book."""
    with tempfile.TemporaryDirectory() as fresh:
        os.environ |= {"SPOKENDIGITS_HOME": fresh, "HF_HUB_OFFLINE": "1"}
        folder = runner.run()
        notebooks = lanes.repository() / "notebooks"
        for path in sorted((folder / "notebooks").glob("*.ipynb")):
            with atomic_file(notebooks / path.name) as temporary:
                temporary.write_bytes(path.read_bytes())
        moving.write(folder)
        write_json(place("people"), people(folder))
        write_json(place("fast"), words.fast(folder) | {"outputs": digests(notebooks)})


if __name__ == "__main__":
    renew()
