"""The command `spokendigits`."""

import argparse
import errno
import os
import sys
from pathlib import Path

from spokendigits import __version__
from spokendigits.errors import CourseError

# Heavy imports stand inside the commands: `--help` should not wait for torch.


def doctor(options) -> int:
    from spokendigits.doctor import report

    return report()


def fetch(options) -> int:
    from spokendigits import corpora

    root = corpora.fetch(options.corpus, source=options.source)
    if options.verify:
        problems = corpora.verify(options.corpus, root)
        for problem in problems:
            print(problem, file=sys.stderr)
        if problems:
            return 1
    corpus = corpora.read(options.corpus, root)
    print(f"{corpus.label}: {len(corpus):,} clips of {len(corpus.speakers)} speakers in {root}")
    for note in corpus.notes:
        print(f"note: {note}")
    return 0


def run(options) -> int:
    from spokendigits import course

    folder = course.run(options.corpus, options.lane, options.name)
    if options.book:
        print(f"\nThe book is ready. Open it in a browser:\n  {course.build_book(folder).as_uri()}")
    print(f"The executed notebooks are in {folder / 'notebooks'}")
    return 0


def train(options) -> int:
    from spokendigits import corpora, course
    from spokendigits.clips import make_clips
    from spokendigits.files import runs_folder
    from spokendigits.recipe import Recipe
    from spokendigits.splits import split
    from spokendigits.training import train_or_load

    unused = {}
    if options.recipe:
        recipe, unused = Recipe.read(options.recipe)
    else:
        recipe = course.recipe(options.lane, options.corpus or "synthetic")
    for name, value in unused.items():
        print(f"not used: {name}: {value}")
    if options.corpus:
        recipe = recipe.but(corpus=options.corpus)
    if options.split:
        recipe = recipe.but(split=options.split)
    if Path(options.name).name != options.name:
        raise CourseError(f"--name {options.name!r} is no name for a folder.")
    corpus = corpora.load(recipe.corpus, speakers=recipe.speakers, takes=recipe.takes)
    clips = make_clips(corpus, recipe)
    folder = runs_folder() / options.name
    train_or_load(recipe, corpus, clips, split(corpus, recipe.split, recipe.folds, recipe.fold, recipe.seed), folder)
    print((folder / "history.csv").read_text())
    print(f"The trained classifier is {folder / 'model.safetensors'}")
    return 0


def predict(options) -> int:
    import numpy as np
    import torch

    from spokendigits.classifier import Classifier
    from spokendigits.clips import fit, read_audio
    from spokendigits.evaluation import probabilities

    classifier = Classifier.load(options.model)
    recipe = classifier.recipe
    failed = False
    for path in options.files:
        try:
            audio = fit(read_audio(path, recipe.sample_rate), recipe.samples)
        except CourseError as error:
            print(f"error: {error}", file=sys.stderr)
            failed = True
            continue
        with torch.inference_mode():
            chances = probabilities(classifier(torch.from_numpy(audio)[None]), recipe.loss)[0].numpy()
        print(f"{path}\t{chances.argmax()}\t{np.max(chances):.4f}")
    return int(failed)


def build_book(options) -> int:
    from spokendigits import book, course

    source = course.notebooks_folder()
    index = book.build(source, source.parent / "_build" / "book", None)
    print(f"The book is ready. Open it in a browser:\n  {index.as_uri()}")
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line: one sub-command a task."""
    top = argparse.ArgumentParser(
        prog="spokendigits", description="The course Spoken Digits: data, notebooks, training, book."
    )
    top.add_argument("--version", action="version", version=f"spokendigits {__version__}")
    commands = top.add_subparsers(dest="command", required=True)

    def command(function, summary: str, name: str = "") -> argparse.ArgumentParser:
        sub = commands.add_parser(name or function.__name__, help=summary, description=summary)
        sub.set_defaults(function=function)
        return sub

    command(doctor, "check this computer, one OK or FAIL line each")

    sub = command(fetch, "make or download a corpus")
    sub.add_argument("corpus", help="synthetic, fsdd or audiomnist")
    sub.add_argument(
        "--source", help="a local folder or zip to take it from; for audiomnist also github, h2o or huggingface"
    )
    sub.add_argument("--verify", action="store_true", help="check every file")

    sub = command(run, "run the notebooks in order, then build the book")
    sub.add_argument(
        "--corpus",
        default="synthetic",
        help="synthetic, fsdd, audiomnist, or a folder with recordings (default: %(default)s)",
    )
    sub.add_argument(
        "--lane", default="fast", help="fast: minutes on a CPU; full: the seed's size (default: %(default)s)"
    )
    sub.add_argument("--name", default="", help="folder under runs/ (default: LANE-CORPUS)")
    sub.add_argument("--no-book", dest="book", action="store_false", help="stop after the notebooks")

    sub = command(train, "train one classifier without the notebooks")
    sub.add_argument("--name", required=True, help="folder under runs/")
    sub.add_argument("--corpus", help="as for run")
    sub.add_argument("--lane", default="fast", help="as for run")
    sub.add_argument("--recipe", help="a recipe in YAML, the course's or Hydrogen Torch's, instead of a lane")
    sub.add_argument("--split", help="random, speaker or published")

    sub = command(predict, "say which digit is spoken in each file: path, digit, probability")
    sub.add_argument("files", nargs="+", help="recordings of one digit each")
    sub.add_argument("--model", required=True, help="a model.safetensors of this course")

    command(build_book, "build the book from the outputs stored in the notebooks", "book")
    return top


def main(arguments: list[str] | None = None) -> int:
    """Runs one command. Returns 0 when all went well, 1 when something was found, 2 for a mistake, 130 for Ctrl-C."""
    options = parser().parse_args(arguments)
    try:
        return options.function(options)
    except CourseError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "\nstopped. Nothing half-done was kept; the same command continues from the last whole step.",
            file=sys.stderr,
        )
        return 130
    except BrokenPipeError:
        # `spokendigits … | head` closes the pipe early; Python would complain once more while it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EDQUOT):
            raise
        print(
            f"error: {error.filename or 'disk'}: {error.strerror}. Free some space or set SPOKENDIGITS_HOME to another folder.",
            file=sys.stderr,
        )
        return 2


if __name__ == "__main__":
    sys.exit(main())
