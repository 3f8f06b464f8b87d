"""Corpora: fetch one, read it, get the same table whatever it is. Notebook 1 loads the first.

`synthetic` is spoken by a program on this machine, `voices` by all that are found there; `fsdd`, `audiomnist` and
`speech_commands` are recordings of people; a folder or CSV of anybody's own recordings works too. `others` holds no digits:
it is fetched and read by name, but no run can learn from it alone.
"""

import hashlib
import importlib
import sys
from collections.abc import Collection
from pathlib import Path
from types import ModuleType

from tqdm import tqdm

from spokendigits.corpora.audit import audit, header_problem
from spokendigits.corpora.corpus import DIGITS, Corpus
from spokendigits.corpora.storage import STAMP, alone, read_facts
from spokendigits.errors import CourseError, check_names
from spokendigits.files import data_folder, shared_folder

__all__ = ["MADE", "NAMES", "Corpus", "audit", "check_name", "fetch", "load", "part_of", "read", "verify"]

NAMES = ("synthetic", "voices", "fsdd", "audiomnist", "speech_commands")
MADE = ("synthetic", "voices", "others")  # by programs on this machine
FEW, SPEAKERS = 3_600, 20  # clips that can be learned from in minutes, and of how many speakers


def fetch(
    name: str, source: Path | str | None = None, root: Path | str | None = None, progress: bool = True, **options
) -> Path:
    """Makes or downloads a corpus, verifies it, and returns its folder: `root`, by default in the course's data folder.

    source: a local folder or archive, for `audiomnist` also "github", "h2o" or "huggingface".
    options: for `synthetic` takes, seed and processes. A whole corpus that is there already is kept.
    Two that fetch the same one take turns. Raises CourseError when it cannot be had; what was at `root` is then still there.
    """
    if name not in (*NAMES, *MADE) and Path(name).exists():
        raise CourseError(f"fetch: {name} is here already. Use it where it is: --corpus {name}")
    check_names([name], list(dict.fromkeys((*NAMES, *MADE))), "fetch: no such corpus:")
    if source is root is None and name not in MADE and (shared := shared_folder(name)):
        if problems := verify(name, shared, progress):
            why = f"{shared}, where SPOKENDIGITS_DATA leads: {' '.join(problems[:3])}"
            raise CourseError(f"{why} Complete it, or unset SPOKENDIGITS_DATA to fetch a copy of your own.")
        return shared
    root = data_folder() / name if root is None else Path(root)
    if name in MADE and source is not None:
        raise CourseError(f"{name}: is made, not fetched; it takes no source. Leave the source out.")
    with alone(root):
        if name in MADE:
            return _module(name).fetch(root, progress=progress, **options)
        if root.is_dir() and _came_from(root, source) and not verify(name, root, progress):
            return root
        return _module(name).fetch(root, source=source, progress=progress)


def read(name: str, root: Path | str) -> Corpus:
    """Reads a corpus that is at `root`. A name that `fetch` does not know reads `root` as anybody's own recordings."""
    return _module(name).read(root)


def verify(name: str, root: Path | str, progress: bool = False) -> list[str]:
    """Says what is wrong with the corpus at `root`: one line a problem, nothing when all is well."""
    if name == "fsdd":
        return _module(name).verify(root)
    if name == "audiomnist":
        return _module(name).verify(root, **_module(name).SHAPE, progress=progress)
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
    kinds: Collection[str] = ("digit",),
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
    kinds: what to keep of `speech_commands`, which also holds what is no digit: see its `read`.
    seed, processes: for making synthetic speech.
    Raises CourseError for an unknown name, a corpus that is not whole, or no way to get one.
    """
    if takes is not None and takes < 1:
        raise CourseError(f"takes={takes}: at least one take of each digit and speaker is needed.")
    check_name(name)
    if name not in NAMES:
        return read(name, name).part(speakers, takes, kinds)
    options = {"seed": seed} if name in MADE else {}
    if name == "synthetic":
        options |= {"processes": processes, "takes": takes or _module(name).TAKES}
    root = _find(name, source, progress, options)
    if name == "fsdd":
        _module(name).check(root)
    return read(name, root).part(speakers, takes, kinds)


def part_of(name: str, small: bool) -> dict[str, int | None]:
    """How many `speakers` of a corpus and how many `takes` of each digit to load: all (None), or about FEW clips' worth.

    Fetches nothing: what is not there yet counts as small, but for those of many speakers.
    """
    part = {"speakers": None, "takes": None}
    if small and name in ("voices", "speech_commands"):
        part["speakers"] = FEW // (2 * DIGITS)  # two takes of each digit by most
    elif small and name not in NAMES and Path(name).exists() and len(corpus := load(name)) > FEW:
        speakers = min(SPEAKERS, len(corpus.speakers))
        part = {"speakers": speakers, "takes": FEW // (speakers * DIGITS)}
    return part


def check_name(name: str) -> None:
    """CourseError unless `name` is one of NAMES, or a folder or CSV that exists."""
    if not name or not (Path(name).is_dir() or (Path(name).suffix.lower() == ".csv" and Path(name).is_file())):
        check_names([name], NAMES, "no such corpus, folder or CSV:")


def _module(name: str) -> ModuleType:
    """The module that fetches and reads a corpus; imported when it is asked for, because downloading takes much to import."""
    return importlib.import_module(f"{__name__}.{name if name in (*NAMES, *MADE) else 'folder'}")


def _find(name: str, source: Path | str | None, progress: bool, options: dict) -> Path:
    if source is not None and Path(source).is_dir():
        return Path(source)
    root = data_folder() / name
    if source is not None and Path(source).is_file():
        # Unpacked once, to a folder of its own, so that it replaces no corpus that was fetched.
        facts = Path(source).stat()
        key = f"{Path(source).resolve()}\0{facts.st_size}\0{facts.st_mtime_ns}"
        root = root.with_name(f"{name}-{hashlib.sha256(key.encode()).hexdigest()[:8]}")
        if (root / STAMP).is_file():
            return root
    elif source is None and (shared := shared_folder(name)):
        made = read_facts(shared / STAMP) | read_facts(shared / f"{name}.json")
        other = [what for what in options.keys() & made.keys() if made[what] != options[what]]
        if not other or (other == ["takes"] and made["takes"] > options["takes"]):
            return shared
        asked = " and ".join(f"{what} {made[what]}, not {options[what]}" for what in sorted(other))
        tqdm.write(f"{shared}: has {asked}. Another one is made in {root}.", file=sys.stderr)
    elif name not in MADE and (root / STAMP).is_file() and _came_from(root, source):
        # It was unpacked and verified beside its place and then renamed: one that has its stamp is whole.
        return root
    return fetch(name, source, root, progress, **options)


def _came_from(root: Path, source: Path | str | None) -> bool:
    """Whether the corpus at `root` came from `source`; None: from wherever."""
    return source is None or read_facts(root / STAMP).get("source") == str(source)
