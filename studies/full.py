"""The seed experiment at full size: book/results/full.json (`make full`). Half an hour on two cores."""

import os
import tempfile
import time
from pathlib import Path

from spokendigits import corpora, lanes
from spokendigits.clips import make_clips
from spokendigits.files import write_json
from spokendigits.publish import book, words
from spokendigits.splits import split
from spokendigits.training import train


def store(corpus: str = "synthetic") -> None:
    """Runs the seed's recipe afresh at full size, to the book's results page, and stores what it found (`make full`)."""
    checkout = lanes.repository()
    recipe = lanes.recipe("full", corpus)
    with tempfile.TemporaryDirectory() as fresh:
        os.environ["SPOKENDIGITS_HOME"] = fresh
        stages, started = {}, time.perf_counter()

        def done(stage: str) -> None:
            nonlocal started
            stages[stage], started = time.perf_counter() - started, time.perf_counter()

        recordings = corpora.load(recipe.corpus, speakers=recipe.speakers, takes=recipe.takes)
        done("corpus")
        clips = make_clips(recordings, recipe)
        done("clips")
        folder = Path(fresh) / "runs" / "full"
        train(
            recipe, recordings, clips, split(recordings, recipe.split, recipe.folds, recipe.fold, recipe.seed), folder
        )
        done("whole training")
        epochs = words.full(folder)  # what the page needs; the page's own time comes later
        write_json(checkout / "book" / "results" / "full.json", epochs)
        book.build(checkout / "notebooks", Path(fresh) / "book")
        done("page")
        # The checkpoints and the model's last reading, beside the epochs that `words.full` counts.
        stages["checkpoints"] = stages.pop("whole training") - sum(epochs["stages"].values())
        write_json(checkout / "book" / "results" / "full.json", words.full(folder, stages))


if __name__ == "__main__":
    store()
