"""The command `spokendigits`."""

import argparse
import errno
import os
import sys
import tomllib
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
        from spokendigits.publish import say_a_digit
        from spokendigits.publish.book import build_run

        say_a_digit.prepare()
        print(f"\nThe book is ready. Open it in a browser:\n  {build_run(folder).as_uri()}")
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
        recipe, unused = product_yaml.read_recipe(options.recipe)
    else:
        recipe = lanes.recipe(options.lane, options.corpus or "synthetic")
    given = {name: value for name in ("corpus", "split") if (value := getattr(options, name))}
    recipe = recipe.but(**given).but(**dict(map(setting, options.set)))
    if options.name in ("", "..") or Path(options.name).name != options.name:
        raise CourseError(f"--name {options.name!r} is no name for a folder.")
    world = processes()  # one, or one of those of `accelerate launch`
    first = world.is_main_process
    for name, value in unused.items() if first else ():
        print(f"not used: {name}: {value}")
    # The first process of each host makes what is missing; the others find it there.
    with world.local_main_process_first():
        corpus = corpora.load(recipe.corpus, speakers=recipe.speakers, takes=recipe.takes, progress=first)
        clips = make_clips(corpus, recipe, progress=first)
    for note in corpus.notes if first and corpus.name == "folder" else ():
        print(f"note: {note}", file=sys.stderr)
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

    from spokendigits.recipe import parse

    name, equals, value = text.partition("=")
    if not equals:
        raise CourseError(f"--set {text}: write NAME=VALUE, for example --set epochs=3.")
    try:
        return name, parse(value)
    except yaml.YAMLError:
        raise CourseError(f"--set {text}: {value!r} cannot be read as a value.") from None


def predict(options) -> int:
    from spokendigits.app.prediction import find_digits

    return find_digits(options.inputs, options.model, options.out, options.threshold, words=options.words)


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


def book(options) -> int:
    from spokendigits import lanes
    from spokendigits.publish import say_a_digit
    from spokendigits.publish.book import build

    say_a_digit.prepare()
    source = lanes.repository() / "notebooks"
    index = build(source, source.parent / "_build" / "book", None)
    print(f"The book is ready. Open it in a browser:\n  {index.as_uri()}")
    return 0


def students(options) -> int:
    from spokendigits.publish.students import write

    print(f"The notebooks without their solutions are in {write()}")
    return 0


COMMANDS = {task.__name__: task for task in (doctor, fetch, run, train, predict, export, compare, book, students)}


def parser() -> argparse.ArgumentParser:
    """The command line: one sub-command a task. commands.toml says what each does and takes."""
    top = argparse.ArgumentParser(
        prog="spokendigits", description="The course Spoken Digits: data, notebooks, training, book."
    )
    top.add_argument("--version", action="version", version=f"spokendigits {__version__}")
    commands = top.add_subparsers(dest="command", required=True)
    for name, command in tomllib.loads(Path(__file__).with_name("commands.toml").read_text(encoding="utf-8")).items():
        sub = commands.add_parser(name, help=command["summary"], description=command["summary"])
        sub.set_defaults(function=COMMANDS[name])
        for argument, how in command.get("arguments", {}).items():
            kind = {"type": float} if argument == "--threshold" else {}  # all others are text
            sub.add_argument(argument, **how, **kind)
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
        way_out = "Set SPOKENDIGITS_HOME to a folder of yours."
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            way_out = "Free some space or set SPOKENDIGITS_HOME to another folder."
        return _mistake(f"{error.filename or 'disk'}: {error.strerror}. {way_out}")


def _mistake(what: object) -> int:
    print(f"error: {what}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
