"""How a corpus gets onto the disk: whole or not at all, and over nothing that somebody else put there. Notebook 1."""

import contextlib
import errno
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.request import getproxies_environment

from tqdm import tqdm

from spokendigits.errors import CourseError
from spokendigits.files import locked, read_json

STAMP = "corpus.json"  # lies in every corpus folder that this course fetched or made, and says where it came from


def read_facts(path: Path) -> dict:
    """What a JSON file, such as a corpus's stamp, says; nothing if there is none that can be read."""
    try:
        facts = read_json(path)
    except (OSError, ValueError):
        return {}
    return facts if isinstance(facts, dict) else {}


def check_replaceable(root: Path, stamp: str = STAMP) -> None:
    """Raises CourseError when `root` holds anything that this course did not put there."""
    if root.exists() and not (root / stamp).is_file() and (not root.is_dir() or any(root.iterdir())):
        raise CourseError(f"{root}: holds something else, and would be replaced. Move it away, or name another folder.")


@contextlib.contextmanager
def alone(root: Path) -> Iterator[None]:
    """Waits until no other process makes `root`, and lets none begin until this one is done, or dead."""
    path = root.with_name(f".{root.name}.lock")
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # whoever makes `root` will say what the disk does not let it do
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
            if stack.enter_context(locked(path)) is False:
                tqdm.write(f"{root.name}: another process is at it. Waiting until it is done.", file=sys.stderr)
                # Whoever held it takes its file away in the end: then another file is to be held.
                while stack.enter_context(locked(path, wait=True)) is False:
                    path.touch()
            stack.callback(path.unlink, missing_ok=True)
        yield


@contextlib.contextmanager
def disk_errors(folder: Path | str) -> Iterator[None]:
    """Turns what the disk would not do (OSError) into one line. folder: or the variable that names it."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            message = f"{folder}: the disk is full. Make room and run the same command again; nothing is lost."
        else:
            message = f"{error.filename or folder}: {error.strerror or error}."
        raise CourseError(message) from None


def through_proxies() -> str:
    """For a message of a network's failure: which variables name a proxy, in case one is mistyped; "" if none does."""
    names = [f"{kind.upper()}_PROXY" for kind in ("http", "https", "all") if kind in getproxies_environment()]
    return f" (asked through the proxy of {' and '.join(names)})" if names else ""


def complaints(faults: dict[str, list[str]]) -> list[str]:
    """One line for each kind of fault that some files have, naming the first of them."""
    return [f"{len(names):,} file(s) {fault}: {few(names)}." for fault, names in faults.items() if names]


def few(names: list[str]) -> str:
    """The first three names, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")
