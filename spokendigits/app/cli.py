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
    from spokendigits.app.doctor import report

    return report()


def fetch(options) -> int:
    from spokendigits import corpora

    root = corpora.fetch(options.corpus, source=options.source)
    problems = corpora.verify(options.corpus, root) if options.verify else []
    if problems:
        print(*problems, sep="\n", file=sys.stderr)
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
    from spokendigits import corpora, lanes
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
    given = {name: value for name in ("corpus", "split") if (value := getattr(options, name))}
    recipe = recipe.but(**given).but(**dict(map(setting, options.set)))
    if Path(options.name).name != options.name:
        raise CourseError(f"--name {options.name!r} is no name for a folder.")
    world = processes()  # one, or one of those of `accelerate launch`
    first = world.is_main_process
    for name, value in unused.items() if first else ():
        print(f"not used: {name}: {value}")
    # The first process of each host makes what is missing; the others find it there.
    with world.local_main_process_first():
        corpus = corpora.load(recipe.corpus, speakers=recipe.speakers, takes=recipe.takes, progress=first)
        clips = make_clips(corpus, recipe, progress=first)
    how = {"trackers": options.tracker, "find_batch_size": options.find_batch_size}
    for fold in range(count_folds(corpus, recipe.split, recipe.folds)) if options.all_folds else [recipe.fold]:
        folder = runs_folder() / (f"{options.name}-{fold}" if options.all_folds else options.name)
        held_out = recipe.but(fold=fold, folds=max(recipe.folds, fold + 1))
        parts = split(corpus, held_out.split, held_out.folds, held_out.fold, held_out.seed)
        train_or_load(held_out, corpus, clips, parts, folder, **how)
        if first:
            print((folder / "history.csv").read_text())
            print(f"The trained classifier is {folder / lanes.MODEL}", flush=True)
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
    from spokendigits.app.prediction import find_digits

    return find_digits(options.inputs, options.model, options.out, options.threshold)


def export(options) -> int:
    from spokendigits.app.export import USUAL, sizes, write

    folder = write(options.model, options.out, options.format or USUAL, options.calibration, options.threshold)
    for name, size in sizes(folder).items():
        print(f"{size:>13,} bytes  {folder / name}")
    return 0


def compare(options) -> int:
    from spokendigits.app.compare import report

    print(report(options.runs, options.figure))
    return 0


def build_book(options) -> int:
    from spokendigits import lanes
    from spokendigits.publish import book, say_a_digit

    say_a_digit.prepare()
    source = lanes.repository() / "notebooks"
    index = book.build(source, source.parent / "_build" / "book", None)
    print(f"The book is ready. Open it in a browser:\n  {index.as_uri()}")
    return 0


def students(options) -> int:
    from spokendigits.publish.students import write

    print(f"The notebooks without their solutions are in {write()}")
    return 0


def parser() -> argparse.ArgumentParser:
    """The command line: one sub-command a task."""
    top = argparse.ArgumentParser(
        prog="spokendigits", description="The course Spoken Digits: data, notebooks, training, book."
    )
    top.add_argument("--version", action="version", version=f"spokendigits {__version__}")
    commands = top.add_subparsers(dest="command", required=True)

    def command(function, summary: str, name: str = ""):
        """Adds a sub-command; returns the function that adds an argument to it, given its name or flag and its help."""
        sub = commands.add_parser(name or function.__name__, help=summary, description=summary)
        sub.set_defaults(function=function)
        return lambda argument, about, **how: sub.add_argument(argument, help=about, **how)

    several = {"action": "append", "metavar": "NAME"}
    score = {"type": float, "metavar": "SCORE"}
    flag = {"action": "store_true"}

    command(doctor, "check this computer, one OK or FAIL line each")

    add = command(fetch, "make or download a corpus")
    add("corpus", "synthetic, voices, fsdd, audiomnist, or others: words and noises that are no digits")
    add("--source", "a local folder or zip to take it from; for audiomnist also github, h2o or huggingface")
    add("--verify", "check every file", **flag)

    add = command(run, "run the notebooks in order, then build the book")
    known = "synthetic, voices, fsdd, audiomnist, or a folder with recordings (default: %(default)s)"
    add("--corpus", known, default="synthetic")
    add("--lane", "fast: minutes on a CPU; full: the seed's size (default: %(default)s)", default="fast")
    add("--name", "folder under runs/ (default: LANE-CORPUS)", default="")
    add("--no-book", "stop after the notebooks", dest="book", action="store_false")

    add = command(train, "train one classifier without the notebooks")
    add("--name", "folder under runs/", required=True)
    add("--corpus", "as for run")
    add("--lane", "as for run", default="fast")
    add("--recipe", "a recipe in YAML, the course's or Hydrogen Torch's, instead of a lane")
    add("--split", "random, speaker, one_speaker or published")
    add("--set", "any setting of the recipe, as often as needed", action="append", default=[], metavar="NAME=VALUE")
    add("--all-folds", "one training a fold, into NAME-0, NAME-1 …", **flag)
    add("--tracker", "tensorboard or mlflow: follow the training there", default=[], **several)
    add("--find-batch-size", "let a small GPU take each batch in parts as large as fit", **flag)

    add = command(compare, "put trainings side by side: what differs, curves, scores")
    add("runs", "a folder, or a name under runs/", nargs="+", metavar="RUN")
    add("--figure", "where to draw the curves (default: compare.png under runs/)")

    lines = "find the digits in recordings, one line each: path, start and end in seconds, digit, probability"
    add = command(predict, lines)
    add("inputs", "a recording, a folder of them, or - for standard input", nargs="+", metavar="INPUT")
    add("--model", "a model.safetensors, or a .onnx that export wrote", required=True)
    add("--out", "write all probabilities there; the same command continues it", metavar="FILE.csv")
    usual = "(default: the exported model's own; without one, all are digits)"
    add("--threshold", f"a lower score is no digit {usual}", **score)

    files = "write a trained classifier as files that need no PyTorch: ONNX, weights with their card, MLflow"
    add = command(export, files)
    add("model", "a run's folder, its name under runs/, or a model.safetensors", metavar="MODEL")
    add("--out", "a new folder, or an earlier export to replace", required=True, metavar="FOLDER")
    add("--format", "onnx, int8, bundle or mlflow, as often as needed (default: the first three)", **several)
    usual = "(default: the run's own, or else fsdd)"
    add("--calibration", f"whose clips show int8 how large numbers get {usual}", metavar="CORPUS")
    add("--threshold", "written into the model: a lower score is no digit", **score)

    command(build_book, "build the book from the outputs stored in the notebooks", "book")
    command(students, "write copies of the notebooks without solutions and outputs")
    return top


def main(arguments: list[str] | None = None) -> int:
    """Runs one command. Returns 0 when all went well, 1 when something was found, 2 for a mistake, 130 for Ctrl-C."""
    options = parser().parse_args(arguments)
    try:
        return options.function(options)
    except CourseError as error:
        return _mistake(error)
    except ModuleNotFoundError as error:
        package = (error.name or "spokendigits").partition(".")[0]
        if package == "spokendigits":  # a fault of ours
            raise
        return _mistake(f"{options.command} needs the package {package}. Run: pip install 'spokendigits[course]'")
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
        way_out = "Free some space or set SPOKENDIGITS_HOME to another folder."
        return _mistake(f"{error.filename or 'disk'}: {error.strerror}. {way_out}")


def _mistake(what: object) -> int:
    print(f"error: {what}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
