"""Where the course keeps its files, and how it writes them: whole or not at all. Every chapter uses it."""

import contextlib
import functools
import hashlib
import json
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from spokendigits.errors import CourseError

HALF = "-unfinished-"  # in the names of files and folders that are being written
SIGNS = {"run.json", "course.json", "state.json", "clips.json", "corpus.json", "export.json"}  # what a folder is


class Damaged(CourseError, ValueError):
    """A file of this course holds something else than the course wrote into it."""


def checkout() -> Path | None:
    """The clone of the repository that this package is imported from; None for an installed package, as on Colab."""
    folder = Path(__file__).resolve().parent.parent
    return folder if (folder / "pyproject.toml").is_file() else None


def home() -> Path:
    """The folder of `data/` and `runs/`: SPOKENDIGITS_HOME, else the checkout (notebooks have working folders of their own), else the working folder."""
    if given := os.environ.get("SPOKENDIGITS_HOME"):
        return Path(given).expanduser().resolve()
    return checkout() or Path.cwd()


def data_folder() -> Path:
    """Where corpora and decoded clips are kept."""
    return home() / "data"


def runs_folder() -> Path:
    """Where runs are kept, one folder each."""
    return home() / "runs"


def shared_folder(name: str) -> Path | None:
    """`SPOKENDIGITS_DATA/<name>`: a corpus that somebody else keeps for this machine; None if it is not there."""
    if not (shared := os.environ.get("SPOKENDIGITS_DATA")):
        return None
    folder = (checkout() or Path.cwd()) / Path(shared).expanduser()
    if not folder.is_dir() and folder != data_folder():  # which the first fetch makes
        raise CourseError(f"SPOKENDIGITS_DATA={shared}: no such folder. Correct or unset it.")
    return folder / name if (folder / name).is_dir() else None


def find_data(name: str) -> Path | None:
    """Where a corpus is on this machine, `shared_folder` first; None if it is in neither place. Fetches nothing."""
    own = data_folder() / name
    return shared_folder(name) or (own if own.is_dir() else None)


def check_room(folder: Path, size: float) -> None:
    """CourseError if the disk of `folder` has not so many bytes free."""
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(there).free
    if size > free:
        raise CourseError(
            f"{folder}: {size / 1e6:,.0f} MB are needed and {free / 1e6:,.0f} MB are free. Make room and run it again."
        )


@contextlib.contextmanager
def locked(path: Path, wait: bool = False) -> Iterator[bool | None]:
    """Holds a file or folder until the end, or the end of this process: False if another has it or took it away.

    None where there are no locks: on Windows and some network disks nobody waits, and what is half-made stays there.
    """
    with contextlib.ExitStack() as stack:
        try:
            import fcntl

            handle = os.open(path, os.O_RDONLY)
            stack.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            held = os.fstat(handle).st_nlink > 0
        except (BlockingIOError, FileNotFoundError):
            held = False
        except (ImportError, OSError):
            held = None
        yield held


@functools.cache  # once a process and folder
def _sweep(folder: Path) -> None:
    """Removes what killed processes left half-made in a folder, and nothing that a live one holds."""
    for left in folder.glob(f".*{HALF}*"):
        path, old = folder / left.name[1:].partition(HALF)[0], left / "old"
        with contextlib.suppress(OSError), locked(left) as held:
            if held and time.time() - left.stat().st_mtime > 1:  # else its lock may still be on the way
                if old.exists() and not path.exists():  # killed between two renames
                    os.replace(old, path)
                shutil.rmtree(left)


@contextlib.contextmanager
def half_made(path: Path) -> Iterator[Path]:
    """A folder beside `path` for what is being made: removed at the end, or in the `_sweep` of a later process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path.parent)
    folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}{HALF}"))
    with locked(folder, wait=True), contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        yield folder


@contextlib.contextmanager
def atomic_file(path: Path | str) -> Iterator[Path]:
    """Yields a path to write to, of the same name; moves what is there to `path` on success, removes it on any failure.

    A reader of `path` sees the old file or the whole new one, never a half.
    """
    path = Path(path)
    with half_made(path) as folder:
        yield folder / path.name
        os.replace(folder / path.name, path)


@contextlib.contextmanager
def atomic_folder(path: Path | str) -> Iterator[Path]:
    """As `atomic_file`, for a folder: what stood at `path` is replaced only when the new one is whole."""
    path = Path(path)
    with half_made(path) as folder:
        new, old = folder / "new", folder / "old"
        new.mkdir()
        yield new
        try:
            if path.exists():
                os.replace(path, old)
            os.replace(new, path)
        except BaseException:
            if old.exists():
                os.replace(old, path)
            raise


def write_json(path: Path | str, value) -> None:
    """Writes `value` as indented JSON, atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path | str, *names: str) -> dict:
    """What a JSON file of this course says. Raises Damaged, with what to delete, if it is no object or lacks one of `names`."""
    path = Path(path)
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        problem = f"no {', '.join(map(repr, names)) or 'names'} in it"
        if isinstance(value, dict) and all(name in value for name in names):
            return value
    except (ValueError, RecursionError) as error:
        problem = str(error)
    raise Damaged(
        f"{path}: damaged ({problem}). Delete {path.parent if path.name in SIGNS else 'it'}, and make it again."
    )


def sha256(path: Path | str) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def versions() -> dict[str, str]:
    """The versions that can change a result."""
    names = ("spokendigits", "torch", "torchaudio", "timm", "accelerate", "numpy", "scikit-learn")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}
