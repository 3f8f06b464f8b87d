"""What all studies share: where their results are kept, what made them, and how long each stage took."""

import time
from datetime import UTC, datetime
from pathlib import Path

from spokendigits import lanes
from spokendigits.files import versions, write_json
from studies import words


def place(name: str) -> Path:
    """The file in which the book keeps a study's results: `place("fsdd")` is book/results/fsdd.json."""
    return lanes.repository() / "book" / "results" / f"{name}.json"


def write(name: str, results: dict, path: Path | None = None) -> None:
    """Writes a study's results (path None: to their `place`), worded for the book's pages under the key "prose"."""
    write_json(path or place(name), {"prose": {}} | results | {"prose": words.PROSE[name](results)})


def now() -> str:
    """The time of day in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions_and_time() -> dict:
    """What ends every record of what made a result."""
    return {"versions": versions(), "finished": now()}


class Stopwatch:
    """The seconds of the stages of some work, one after the other."""

    def __init__(self):
        self.seconds: dict[str, float] = {}
        self._since = time.perf_counter()

    def done(self, stage: str) -> None:
        """Ends a stage; the next one begins."""
        before, self._since = self._since, time.perf_counter()
        self.seconds[stage] = self._since - before
