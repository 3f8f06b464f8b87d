"""The seed experiment at full size: book/results/full.json (`make full`). Half an hour on two cores."""

import os
import tempfile
from pathlib import Path

from spokendigits import corpora, lanes
from spokendigits.clips import make_clips
from spokendigits.files import write_json
from spokendigits.publish import book, words
from spokendigits.splits import split
from spokendigits.training import train
from studies.results import Stopwatch, place


def write_results(corpus: str = "synthetic") -> None:
    """Runs the seed's recipe afresh at full size, to the book's results page, and stores what came of it."""
    recipe = lanes.recipe("full", corpus)
    with tempfile.TemporaryDirectory() as fresh:
        os.environ["SPOKENDIGITS_HOME"] = fresh
        watch = Stopwatch()
        recordings = corpora.load(recipe.corpus, speakers=recipe.speakers, takes=recipe.takes)
        watch.done("corpus")
        clips = make_clips(recordings, recipe)
        watch.done("clips")
        folder = Path(fresh) / "runs" / "full"
        parts = split(recordings, recipe.split, recipe.folds, recipe.fold, recipe.seed)
        train(recipe, recordings, clips, parts, folder)
        watch.done("whole training")
        epochs = words.full(folder)  # what the page needs; the page's own time comes later
        write_json(place("full"), epochs)
        book.build(lanes.repository() / "notebooks", Path(fresh) / "book")
        watch.done("page")
        # The checkpoints and the model's last reading, beside the epochs that `words.full` counts.
        stages = watch.seconds
        stages["checkpoints"] = stages.pop("whole training") - sum(epochs["stages"].values())
        write_json(place("full"), words.full(folder, stages))


if __name__ == "__main__":
    write_results()
