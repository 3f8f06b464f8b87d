"""Where the course keeps its files, and how it writes them: whole or not at all. Every chapter uses it."""

import contextlib
import hashlib
import json
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from spokendigits.errors import CourseError


def checkout() -> Path | None:
    """The clone of the repository that this package is imported from; None for an installed package, as on Colab."""
    folder = Path(__file__).resolve().parent.parent
    return folder if (folder / "pyproject.toml").is_file() else None


def home() -> Path:
    """The folder that holds `data/` and `runs/`.

    `SPOKENDIGITS_HOME` if set, else the checkout, else the working folder. Notebooks have their own working folder, so it
    decides nothing when there is a checkout.
    """
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
    shared = os.environ.get("SPOKENDIGITS_DATA")
    folder = (checkout() or Path.cwd()) / Path(shared).expanduser() / name if shared else None
    return folder if folder and folder.is_dir() else None


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
def atomic_file(path: Path | str) -> Iterator[Path]:
    """Yields a temporary path beside `path`; renames it to `path` on success, removes it on any failure.

    A reader of `path` sees the old file or the whole new one, never a half. The temporary name keeps the suffix.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_folder(path: Path | str) -> Iterator[Path]:
    """As `atomic_file`, for a folder: what stood at `path` is replaced only when the new one is whole."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}-"))
    old = temporary.with_name(temporary.name + "-old")
    try:
        yield temporary
        temporary.chmod(0o755)
        if path.exists():
            os.replace(path, old)
        try:
            os.replace(temporary, path)
        except OSError:
            if old.exists():
                os.replace(old, path)
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


def write_json(path: Path | str, value) -> None:
    """Writes `value` as indented JSON, atomically."""
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=2) + "\n", encoding="utf-8")


def read_json(path: Path | str):
    """Reads a JSON file."""
    return json.loads(Path(path).read_text(encoding="utf-8"))


def sha256(path: Path | str) -> str:
    """The SHA-256 of a file's bytes, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def versions() -> dict[str, str]:
    """The versions that can change a result."""
    names = ("spokendigits", "torch", "torchaudio", "timm", "accelerate", "numpy", "scikit-learn")
    return {"python": platform.python_version(), **{name: version(name) for name in names}}
