"""Corpora: fetch one, read it, get the same table whatever it is.

`synthetic` is spoken by a program on this machine, `voices` by all that are found there; `fsdd` and `audiomnist` are recordings of people; a folder or CSV
of anybody's own recordings works too. `others` holds no digits: it is fetched and read by name, but no run can learn
from it alone.
"""

import difflib
import hashlib
import os
from pathlib import Path

from tqdm import tqdm

from spokendigits.corpora import audiomnist, folder, fsdd, others, synthetic, voices
from spokendigits.corpora.audit import audit, header_problem
from spokendigits.corpora.corpus import Corpus
from spokendigits.corpora.download import STAMP
from spokendigits.errors import CourseError
from spokendigits.files import data_folder, read_json

__all__ = ["NAMES", "Corpus", "audit", "check_name", "fetch", "load", "read", "verify"]

NAMES = ("synthetic", "voices", "fsdd", "audiomnist")
MADE = ("synthetic", "voices", "others")  # by programs on this machine
_MODULES = {"synthetic": synthetic, "voices": voices, "fsdd": fsdd, "audiomnist": audiomnist, "others": others}


def fetch(
    name: str, source: Path | str | None = None, root: Path | str | None = None, progress: bool = True, **options
) -> Path:
    """Makes or downloads a corpus, verifies it, and returns its folder: `root`, by default in the course's data folder.

    source: for `fsdd` a local folder or zip, for `audiomnist` that or "github", "h2o" or "huggingface".
    options: for `synthetic` takes, seed and processes. A whole corpus that is there already is kept.
    Raises CourseError when it cannot be had; what was at `root` is then still there.
    """
    module = _module(name)
    root = data_folder() / name if root is None else Path(root)
    if name in MADE:
        if source is not None:
            raise CourseError(f"{name}: is made, not fetched; it takes no source. Leave the source out.")
        return module.fetch(root, progress=progress, **options)
    if root.is_dir() and _has(root, source) and not verify(name, root, progress):
        return root
    return module.fetch(root, source=source, progress=progress)


def read(name: str, root: Path | str) -> Corpus:
    """Reads a corpus that is at `root`. A name that `fetch` does not know reads `root` as anybody's own recordings."""
    return _MODULES.get(name, folder).read(root)


def verify(name: str, root: Path | str, progress: bool = False) -> list[str]:
    """Says what is wrong with the corpus at `root`: one line a problem, nothing when all is well."""
    if name == "fsdd":
        return fsdd.verify(root)
    if name == "audiomnist":
        return audiomnist.verify(root, **audiomnist.SHAPE, progress=progress)
    try:
        corpus = read(name, root)
    except CourseError as error:
        return [str(error)]
    paths = tqdm(corpus.table["path"], "checking headers", unit="file", disable=not progress)
    return [f"{path}: {problem}." for path in paths if (problem := header_problem(corpus.root / path))]


def load(
    name: str,
    source: Path | str | None = None,
    speakers: int | None = None,
    takes: int | None = None,
    seed: int = 0,
    processes: int | None = None,
    progress: bool = True,
) -> Corpus:
    """Finds a corpus, or fetches it, and reads it.

    name: one of NAMES, or a folder or CSV of your own recordings (see `folder.read`).
    source: where to take it from: a local folder (read where it is), a zip, or a source that `fetch` knows. Without
    one, the first of these: SPOKENDIGITS_DATA/<name>, the course's data folder, `fetch`.
    speakers: how many speakers to keep (default all).
    takes: how many takes of each digit and speaker to make (synthetic, default 50) or keep (recordings, default all).
    seed, processes: for making synthetic speech.
    Raises CourseError for an unknown name, a corpus that is not whole, or no way to get one.
    """
    if takes is not None and takes < 1:
        raise CourseError(f"takes={takes}: at least one take of each digit and speaker is needed.")
    check_name(name)
    if name not in NAMES:
        return folder.read(name).part(speakers, takes)
    options = {"seed": seed} if name in MADE else {}
    if name == "synthetic":
        options |= {"takes": takes or synthetic.TAKES, "processes": processes}
    root = _find(name, source, progress, options)
    if name == "fsdd":
        fsdd.check(root)
    return read(name, root).part(speakers, takes)


def check_name(name: str) -> None:
    """CourseError unless `name` is one of NAMES, or a folder or CSV that exists."""
    if name not in NAMES and not (
        Path(name).is_dir() or (Path(name).suffix.lower() == ".csv" and Path(name).is_file())
    ):
        raise _unknown(name)


def _module(name: str):
    if name not in _MODULES:
        raise _unknown(name)
    return _MODULES[name]


def _unknown(name: str) -> CourseError:
    near = difflib.get_close_matches(name.lower(), NAMES, n=1)
    hint = f" Did you mean {near[0]}?" if near else ""
    return CourseError(f"{name}: no such corpus, folder or CSV.{hint} Known: {', '.join(NAMES)}.")


def _find(name: str, source: Path | str | None, progress: bool, options: dict) -> Path:
    if source is not None:
        if Path(source).is_dir():
            return Path(source)
        if Path(source).is_file():
            return _unpacked(name, Path(source), progress)
    elif shared := os.environ.get("SPOKENDIGITS_DATA"):
        root = Path(shared).expanduser() / name
        if root.is_dir():
            return root
    root = data_folder() / name
    if name not in MADE and _is_complete(root) and _has(root, source):
        return root
    return fetch(name, source, root, progress, **options)


def _unpacked(name: str, archive: Path, progress: bool) -> Path:
    """Unpacks an archive to a folder of its own, once, so that it replaces no corpus that was fetched."""
    facts = archive.stat()
    key = hashlib.sha256(f"{archive.resolve()}\0{facts.st_size}\0{facts.st_mtime_ns}".encode()).hexdigest()[:8]
    root = data_folder() / f"{name}-{key}"
    return root if _is_complete(root) else fetch(name, archive, root, progress)


def _is_complete(root: Path) -> bool:
    # A corpus is unpacked and verified beside its place and then renamed, so one that has its stamp is whole.
    return (root / STAMP).is_file()


def _has(root: Path, source: Path | str | None) -> bool:
    """Whether the corpus at `root` came from `source`; None: from wherever."""
    if source is None:
        return True
    try:
        return read_json(root / STAMP)["source"] == str(source)
    except (OSError, ValueError, KeyError, TypeError):
        return False
