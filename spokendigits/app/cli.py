"""The command `spokendigits`."""

import argparse
import errno
import os
import sys
from pathlib import Path

from spokendigits import __version__, lanes
from spokendigits.errors import CourseError

# Heavy imports stand inside the commands: `--help` should not wait for torch.


def doctor(options) -> int:
    from spokendigits.app.doctor import report

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
    from spokendigits.publish import runner

    folder = runner.run(options.corpus, options.lane, options.name)
    if options.book:
        from spokendigits.publish import book, say_a_digit

        say_a_digit.prepare()
        print(f"\nThe book is ready. Open it in a browser:\n  {book.build_run(folder).as_uri()}")
    print(f"The executed notebooks are in {folder / 'notebooks'}")
    return 0


def train(options) -> int:
    from spokendigits import corpora
    from spokendigits.app import product_yaml
    from spokendigits.clips import make_clips
    from spokendigits.devices import processes
    from spokendigits.files import runs_folder
    from spokendigits.splits import count_folds, split
    from spokendigits.training import train_or_load

    unused = {}
    if options.recipe:
        recipe, unused = product_yaml.read(options.recipe)
    else:
        recipe = lanes.recipe(options.lane, options.corpus or "synthetic")
    if options.corpus:
        recipe = recipe.but(corpus=options.corpus)
    if options.split:
        recipe = recipe.but(split=options.split)
    recipe = recipe.but(**dict(map(setting, options.set)))
    if Path(options.name).name != options.name:
        raise CourseError(f"--name {options.name!r} is no name for a folder.")
    us = processes()  # one, or one of those of `accelerate launch`
    first = us.is_main_process
    for name, value in unused.items() if first else ():
        print(f"not used: {name}: {value}")
    # The first process of each host makes what is missing; the others find it there.
    with us.local_main_process_first():
        corpus = corpora.load(recipe.corpus, speakers=recipe.speakers, takes=recipe.takes, progress=first)
        clips = make_clips(corpus, recipe, progress=first)
    folds = range(count_folds(corpus, recipe.split, recipe.folds)) if options.all_folds else [recipe.fold]
    for fold in folds:
        folder = runs_folder() / (f"{options.name}-{fold}" if options.all_folds else options.name)
        one = recipe.but(fold=fold, folds=max(recipe.folds, fold + 1))
        parts = split(corpus, one.split, one.folds, one.fold, one.seed)
        train_or_load(
            one, corpus, clips, parts, folder, trackers=options.tracker, find_batch_size=options.find_batch_size
        )
        if first:
            print((folder / "history.csv").read_text())
            print(f"The trained classifier is {folder / 'model.safetensors'}", flush=True)
    return 0


def setting(text: str) -> tuple[str, object]:
    """A recipe's setting given as NAME=VALUE, the value read as in a recipe's YAML."""
    import yaml

    name, equals, value = text.partition("=")
    if not equals:
        raise CourseError(f"--set {text}: write NAME=VALUE, for example --set epochs=3.")
    try:
        return name, yaml.safe_load(value)
    except yaml.YAMLError:
        raise CourseError(f"--set {text}: {value!r} cannot be read as a value.") from None


def predict(options) -> int:
    from spokendigits.app import prediction

    return prediction.predict(options.inputs, options.model, options.out, options.threshold)


def export(options) -> int:
    from spokendigits.app import export as exports

    folder = exports.export(
        options.model, options.out, options.format or exports.USUAL, options.calibration, options.threshold
    )
    for name, size in exports.sizes(folder).items():
        print(f"{size:>13,} bytes  {folder / name}")
    return 0


def compare(options) -> int:
    from spokendigits.app import compare as runs

    print(runs.compare(options.runs, options.figure))
    return 0


def build_book(options) -> int:
    from spokendigits.publish import book, say_a_digit

    say_a_digit.prepare()
    source = lanes.repository() / "notebooks"
    index = book.build(source, source.parent / "_build" / "book", None)
    print(f"The book is ready. Open it in a browser:\n  {index.as_uri()}")
    return 0


def students(options) -> int:
    from spokendigits.publish import students as copies

    print(f"The notebooks without their solutions are in {copies.write()}")
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
    sub.add_argument(
        "corpus", help="synthetic, voices, fsdd, audiomnist, or others: words and noises that are no digits"
    )
    sub.add_argument(
        "--source", help="a local folder or zip to take it from; for audiomnist also github, h2o or huggingface"
    )
    sub.add_argument("--verify", action="store_true", help="check every file")

    sub = command(run, "run the notebooks in order, then build the book")
    sub.add_argument(
        "--corpus",
        default="synthetic",
        help="synthetic, voices, fsdd, audiomnist, or a folder with recordings (default: %(default)s)",
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
    sub.add_argument("--split", help="random, speaker, one_speaker or published")
    sub.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="any setting of the recipe, as often as needed"
    )
    sub.add_argument("--all-folds", action="store_true", help="one training a fold, into NAME-0, NAME-1 …")
    sub.add_argument(
        "--tracker",
        action="append",
        default=[],
        metavar="NAME",
        help="tensorboard or mlflow: follow the training there",
    )
    sub.add_argument(
        "--find-batch-size", action="store_true", help="let a small GPU take each batch in parts as large as fit"
    )

    sub = command(compare, "put trainings side by side: what differs, curves, scores")
    sub.add_argument("runs", nargs="+", metavar="RUN", help="a folder, or a name under runs/")
    sub.add_argument("--figure", help="where to draw the curves (default: compare.png under runs/)")

    sub = command(
        predict, "find the digits in recordings, one line each: path, start and end in seconds, digit, probability"
    )
    sub.add_argument(
        "inputs", nargs="+", metavar="INPUT", help="a recording, a folder of them, or - for standard input"
    )
    sub.add_argument("--model", required=True, help="a model.safetensors, or a .onnx that export wrote")
    sub.add_argument("--out", metavar="FILE.csv", help="write all probabilities there; the same command continues it")
    sub.add_argument(
        "--threshold",
        type=float,
        metavar="SCORE",
        help="a lower score is no digit (default: the exported model's own; without one, all are digits)",
    )

    sub = command(
        export, "write a trained classifier as files that need no PyTorch: ONNX, weights with their card, MLflow"
    )
    sub.add_argument("model", metavar="MODEL", help="a run's folder, its name under runs/, or a model.safetensors")
    sub.add_argument("--out", required=True, metavar="FOLDER", help="a new folder, or an earlier export to replace")
    sub.add_argument(
        "--format",
        action="append",
        metavar="NAME",
        help="onnx, int8, bundle or mlflow, as often as needed (default: the first three)",
    )
    sub.add_argument(
        "--calibration",
        metavar="CORPUS",
        help="whose clips show int8 how large numbers get (default: the run's own, or else fsdd)",
    )
    sub.add_argument(
        "--threshold", type=float, metavar="SCORE", help="written into the model: a lower score is no digit"
    )

    command(build_book, "build the book from the outputs stored in the notebooks", "book")
    command(students, "write copies of the notebooks without solutions and outputs")
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
