"""Renews the outputs stored in the notebooks, and book/results/fast.json (`make outputs`). Ten minutes on two cores."""

import os
import tempfile

from spokendigits import lanes
from spokendigits.files import atomic_file, write_json
from spokendigits.publish import runner, words
from studies.results import place


def renew() -> None:
    """Runs the fast lane afresh and stores its outputs in the notebooks, and its results for the book."""
    with tempfile.TemporaryDirectory() as fresh:
        os.environ["SPOKENDIGITS_HOME"] = fresh
        folder = runner.run()
        for path in sorted((folder / "notebooks").glob("*.ipynb")):
            with atomic_file(lanes.repository() / "notebooks" / path.name) as temporary:
                temporary.write_bytes(path.read_bytes())
        write_json(place("fast"), words.fast(folder))


if __name__ == "__main__":
    renew()
