"""How a corpus gets onto the disk: whole or not at all, and over nothing that somebody else put there. Notebook 1."""

import contextlib
import errno
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from tqdm import tqdm

try:
    import fcntl
except ImportError:  # Windows: nobody waits for another there
    fcntl = None

from spokendigits.errors import CourseError
from spokendigits.files import read_json

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
            while fcntl:
                lock = stack.enter_context(open(path, "w"))
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    tqdm.write(f"{root.name}: another process is at it. Waiting until it is done.", file=sys.stderr)
                    fcntl.flock(lock, fcntl.LOCK_EX)
                # Whoever held it takes its file away in the end: then another file is to be held.
                if path.exists() and os.path.samestat(os.fstat(lock.fileno()), os.stat(path)):
                    stack.callback(path.unlink, missing_ok=True)
                    break
        yield


def only_writer(file: IO) -> bool:
    """Whether no other process holds an open file; this one then does, until it closes it."""
    try:
        if fcntl:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # some network file systems know no locks
        pass
    return True


@contextlib.contextmanager
def disk_errors(folder: Path) -> Iterator[None]:
    """Turns what the disk would not do (OSError) into one line."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            message = f"{folder}: the disk is full. Make room and run the same command again; nothing is lost."
        else:
            message = f"{error.filename or folder}: {error.strerror or error}."
        raise CourseError(message) from None


def complaints(faults: dict[str, list[str]]) -> list[str]:
    """One line for each kind of fault that some files have, naming the first of them."""
    return [f"{len(names):,} file(s) {fault}: {few(names)}." for fault, names in faults.items() if names]


def few(names: list[str]) -> str:
    """The first three names, and how many more there are."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")
