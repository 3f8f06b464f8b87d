"""The command `spokendigits`."""

import argparse
import contextlib
import errno
import os
import signal
import sys
import tempfile
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
    from spokendigits import corpora, lanes
    from spokendigits.publish import runner

    settings = dict(map(setting, options.set))
    if options.corpus not in corpora.NAMES:
        corpora.check_name(options.corpus)
    announce(lanes.recipe(options.lane, options.corpus).but(**settings))
    folder = runner.run(options.corpus, options.lane, options.name or "", settings=settings)
    if options.book:
        from spokendigits.publish import npm
        from spokendigits.publish.book import build_run

        npm.prepare()
        print(f"\nThe book is ready. Open it in a browser:\n  {build_run(folder).as_uri()}")
    print(f"The executed notebooks are in {folder / 'notebooks'}")
    return 0


def train(options) -> int:
    from spokendigits import corpora, lanes
    from spokendigits.app import product_yaml
    from spokendigits.clips import make_clips
    from spokendigits.devices import processes
    from spokendigits.files import runs_folder
    from spokendigits.splits import AUDIOMNIST_GROUPS, split
    from spokendigits.training import train_or_load

    unused = {}
    if options.recipe:
        recipe, unused = product_yaml.read_recipe(options.recipe)
    else:
        recipe = lanes.recipe(options.lane, "synthetic" if options.corpus is None else options.corpus)
    given = {name: value for name in ("corpus", "split") if (value := getattr(options, name)) is not None}
    recipe = recipe.but(**given).but(**dict(map(setting, options.set)))
    lanes.run_folder(options.name, "", "")  # a name that is none is refused before anything is made
    world = processes()  # one, or one of those of `accelerate launch`
    first = world.is_main_process
    for name, value in unused.items() if first else ():
        print(f"not used: {name}: {value}")
    # The first process of each host makes what is missing; the others find it there.
    with world.local_main_process_first():
        # Ten yes-or-no answers can all be no: then a training learns from other words, too.
        kinds = ("digit", "word") if recipe.loss == "bce" else ("digit",)
        part = {"speakers": recipe.speakers, "takes": recipe.takes, "kinds": kinds}
        corpus = corpora.load(recipe.corpus, **part, progress=first)
        clips = make_clips(corpus, recipe, progress=first)
    for note in corpus.notes if first and corpus.name == "folder" else ():
        print(f"note: {note}", file=sys.stderr)
    if first:
        advise(recipe, corpus, clips.lengths / recipe.sample_rate)
    how = {"trackers": options.tracker, "find_batch_size": options.find_batch_size}
    published = 1 if corpus.name in ("fsdd", "speech_commands") else len(AUDIOMNIST_GROUPS)
    own = {"one_speaker": len(corpus.digit_speakers), "published": published}
    for fold in range(own.get(recipe.split, recipe.folds)) if options.all_folds else [recipe.fold]:
        folder = runs_folder() / (f"{options.name}-{fold}" if options.all_folds else options.name)
        held_out = recipe.but(fold=fold, folds=max(recipe.folds, fold + 1))
        parts = split(corpus, held_out.split, held_out.folds, held_out.fold, held_out.seed)
        train_or_load(held_out, corpus, clips, parts, folder, **how)
        if first:
            print((folder / "history.csv").read_text())
            print(f"The trained classifier is {folder / lanes.MODEL}", flush=True)
    return 0


def announce(recipe) -> None:
    """Says how long the notebooks take, as measured on two processor cores, and what a setting could mend."""
    import soundfile

    from spokendigits import corpora, lanes
    from spokendigits.files import find_data
    from spokendigits.recipe import Recipe

    clips = (recipe.speakers or 60) * (recipe.takes or 50) * 10  # of a corpus that is not here yet
    if root := find_data(recipe.corpus) if recipe.corpus in corpora.NAMES else recipe.corpus:
        corpus = corpora.read(recipe.corpus, root).part(recipe.speakers, recipe.takes, ["digit"])
        clips = len(corpus)
        with contextlib.suppress(RuntimeError, OSError):  # notebook 1 says which files cannot be read
            some = range(0, clips, max(1, clips // 500))
            advise(recipe, corpus, [soundfile.info(corpus.file(row)).duration for row in some])
    measured, usual = lanes.stored("fast")["course"]["seconds"], Recipe.preset("fast")
    share = clips * recipe.epochs / (usual.speakers * usual.takes * 10 * usual.epochs)
    minutes = sum(measured.values()) * (0.2 + 0.8 * share) / 60  # a fifth does not depend on the clips
    print(f"{clips:,} clips: about {minutes:,.0f} minutes on two processor cores", flush=True)


def advise(recipe, corpus, seconds) -> None:
    """Names the setting that helps where clips cut recordings, which last so many `seconds` each, or there are few of them."""
    import numpy as np

    from spokendigits import corpora

    if (longer := np.mean(np.array(seconds) > recipe.seconds)) > 0.05:
        enough = np.ceil(10 * np.quantile(seconds, 0.95)) / 10
        what = f"{longer:.1%} of the recordings are longer than a clip, and only their loudest {recipe.seconds:g} s are kept."
        print(f"note: {what} To keep more: --set seconds={enough:g}", file=sys.stderr)
    if recipe.corpus not in corpora.NAMES and len(corpus) < 3_000 and recipe.augment == "none":
        print("note: from so few clips augmentation learns more: spokendigits train --recipe own", file=sys.stderr)


def setting(text: str) -> tuple[str, object]:
    """A recipe's setting given as NAME=VALUE, the value read as in a recipe's YAML."""
    import yaml

    from spokendigits.app.product_yaml import parse

    name, equals, value = text.partition("=")
    if not (equals and value.strip()):
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
    from spokendigits.publish import npm
    from spokendigits.publish.book import build

    source = lanes.repository() / "notebooks"  # first: without a checkout nothing is to be fetched
    npm.prepare()
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
    """Runs one command. Returns 0 when all went well, 1 when something was found, 2 for a mistake, 130 when stopped."""
    options = parser().parse_args(arguments)
    if arguments is None:  # a program of its own: who ends it politely, as Docker and hubs do, gets what Ctrl-C gets
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115  # services may close it
        sys.stdout.reconfigure(errors="backslashreplace")  # a name in letters that this terminal has not
        os.environ.pop("MPLBACKEND", None)  # figures go to files; a name that matplotlib does not know would end it
    try:
        for name, value in vars(options).items():
            if not all(str(one).strip() for one in (value if isinstance(value, list) else [value])):
                raise CourseError(
                    f"{options.command}: {name} is empty, which is no name for a folder or anything else."
                )
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
        # The last one without a name: there is no folder for temporary files.
        if not error.filename and error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOENT):
            raise
        meant = [name for name, folder in _places(options) if not error.filename or _inside(error.filename, folder)]
        which = f": {' or '.join(meant[:1] if error.filename else meant)}" if meant else ""
        what = f"{str(error.filename or 'disk')[:200]}: {error.strerror}"
        return _mistake(f"{what}. Mend that, or name another place{which}.")
    except UnicodeEncodeError as error:
        return _mistake(f"{error.object[:200]!a} is no UTF-8. Rename it.")


def _places(options) -> list[tuple[str, Path]]:
    """The folders that a command writes to, by the options and variables that name them."""
    from spokendigits.files import home

    given = {f"--{name}": Path(value).parent for name in ("out", "figure") if (value := getattr(options, name, None))}
    temporary = Path(tempfile.tempdir or os.environ.get("TMPDIR", "/tmp"))
    return list((given | {"SPOKENDIGITS_HOME": home(), "TMPDIR": temporary}).items())


def _inside(name: str | bytes, folder: Path) -> bool:
    path = Path(os.fsdecode(name))  # one that is relative was given so: it is none of a variable's
    return path.is_relative_to(folder.absolute() if path.is_absolute() else folder)


def _mistake(what: object) -> int:
    print(f"error: {what}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
