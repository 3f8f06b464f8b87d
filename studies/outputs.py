"""Renews the outputs stored in the notebooks, and book/results/fast.json (`make outputs`). Ten minutes on two cores."""

import hashlib
import json
import os
import tempfile
from pathlib import Path

from spokendigits import lanes
from spokendigits.files import atomic_file, write_json
from spokendigits.publish import runner, words
from studies.results import place


def digests(folder: Path) -> dict[str, str]:
    """A SHA-256 of the outputs that each notebook of a folder stores, by its name."""
    paths = {path.stem: path for path in runner.notebooks(folder)}
    outputs = {name: [cell.get("outputs") for cell in runner.read(path).cells] for name, path in paths.items()}
    return {name: hashlib.sha256(json.dumps(one, sort_keys=True).encode()).hexdigest() for name, one in outputs.items()}


def renew() -> None:
    """Runs the fast lane afresh and stores its outputs in the notebooks, and its results for the book."""
    with tempfile.TemporaryDirectory() as fresh:
        os.environ["SPOKENDIGITS_HOME"] = fresh
        folder = runner.run()
        notebooks = lanes.repository() / "notebooks"
        for path in sorted((folder / "notebooks").glob("*.ipynb")):
            with atomic_file(notebooks / path.name) as temporary:
                temporary.write_bytes(path.read_bytes())
        write_json(place("fast"), words.fast(folder) | {"outputs": digests(notebooks)})


if __name__ == "__main__":
    renew()
