"""FSDD, the Free Spoken Digit Dataset: 3,000 recordings of six people, 8 kHz. Notebook 6.

Source: github.com/Jakobovski/free-spoken-digit-dataset, tag v1.0.10, licence CC BY-SA 4.0.
"""

import hashlib
import re
from pathlib import Path, PurePosixPath

from spokendigits.corpora.corpus import Corpus, table_of
from spokendigits.corpora.download import BadArchive, install
from spokendigits.corpora.storage import complaints
from spokendigits.errors import CourseError
from spokendigits.files import sha256

SOURCES = {
    "github": (
        "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.zip",
        "https://codeload.github.com/Jakobovski/free-spoken-digit-dataset/zip/refs/tags/v1.0.10",
    )
}
# One digest vouches for all files: that of the list of their digests, as `sha256sum *.wav` prints it.
DIGEST = "1801eae019c063377d98f831d3f93574f259475df7332bb0e3d1b080fb5e6959"
SUMS = "SHA256SUMS"
ACCENTS = {"george": "Greek", "jackson": "US, neutral", "lucas": "German", "nicolas": "Belgian French"}
ACCENTS |= {"theo": "US, neutral", "yweweler": "German"}
FILE = re.compile(r"(?P<digit>\d)_(?P<speaker>[a-z]+)_(?P<take>\d+)\.wav")
NOTES = (
    "8 kHz recordings: there is nothing above 4 kHz. Band-limit both sides before comparing with wide-band speech.",
    "Labels reported as doubtful (by cleanlab): 6_yweweler_14, 6_yweweler_35, 6_nicolas_8.",
    "The official test split, takes 0-4, shares its speakers with the training part.",
)


def fetch(root: Path | str, source: Path | str | None = None, progress: bool = True) -> Path:
    """Puts FSDD v1.0.10 at `root`, every file verified, and returns `root`.

    source: a local folder (the recordings, or what holds `recordings/`) or zip; "github" or None downloads it (16 MB).
    Raises CourseError when it cannot be had or is not v1.0.10 byte for byte; then `root` stays as it was.
    """
    source = "github" if source is None else source

    def finish(folder: Path) -> None:
        check(folder, source)
        # With the list beside them, files that are changed later can be named.
        (folder / SUMS).write_text(_listed(_digests(folder / "recordings")), encoding="utf-8", newline="\n")

    if Path(source).is_dir():
        source = _recordings(source)
    return install("fsdd", source, SOURCES, "fsdd-1.0.10.zip", Path(root), _place, finish, progress)


def check(root: Path, origin: Path | str | None = None) -> None:
    """Raises CourseError with the first problem that `verify` finds."""
    if problems := verify(root):
        # What was unpacked has no place yet that a reader could look into.
        said = " ".join(problems).replace(f"{root}: ", "")
        raise BadArchive(
            f"{origin or root}: not FSDD v1.0.10: {said} Run `spokendigits fetch fsdd` for a whole copy, "
            f"or give the folder itself as the corpus to read it as your own recordings."
        )


def _place(member: str) -> str | None:
    name = PurePosixPath(member).name
    return f"recordings/{name}" if FILE.fullmatch(name) else None


def verify(root: Path | str) -> list[str]:
    """Compares every recording with v1.0.10; returns one line a problem, nothing when all is well.

    The package knows one digest of all files, so changed files are named only if the list `SHA256SUMS` lies beside
    the recordings (a fetched corpus has it).
    """
    try:
        folder = _recordings(root)
        digests = _digests(folder)
    except (CourseError, OSError) as error:
        return [str(error)]
    if hashlib.sha256(_listed(digests).encode()).hexdigest() == DIGEST:
        return []
    expected = {f"{d}_{speaker}_{take}.wav" for d in range(10) for speaker in ACCENTS for take in range(50)}
    published = {}
    for place in (folder / SUMS, folder.parent / SUMS):
        if place.is_file() and sha256(place) == DIGEST:  # the published list itself, not another
            lines = place.read_text(encoding="utf-8").splitlines()
            published = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    problems = complaints(
        {
            "missing": sorted(expected - digests.keys()),
            "changed": sorted(
                name for name in expected & published.keys() & digests.keys() if published[name] != digests[name]
            ),
            "not part of it": sorted(digests.keys() - expected),
        }
    )
    return problems or [f"At least one of {len(digests):,} files was changed; {SUMS} beside them would tell which."]


def _recordings(root: Path | str) -> Path:
    root = Path(root)
    for folder in (root / "recordings", root):
        if any(folder.glob("[0-9]_*_*.wav")):
            return folder
    raise CourseError(f"{root}: no FSDD recordings such as 7_jackson_32.wav here.")


def _digests(folder: Path) -> dict[str, str]:
    return {path.name: sha256(path) for path in sorted(folder.glob("[!.]*.wav")) if path.is_file()}


def _listed(digests: dict[str, str]) -> str:
    return "".join(f"{digest}  {name}\n" for name, digest in digests.items())


def read(root: Path | str) -> Corpus:
    """Reads FSDD from a folder (the recordings, or what holds `recordings/`). Facts: `gender`, `accent`.

    Raises CourseError when there are no recordings. It does not compare them with the published ones; `verify` does.
    """
    root = Path(root)
    table = table_of((path.relative_to(root).as_posix() for path in _recordings(root).glob("*.wav")), FILE)
    table = table.assign(gender="male", accent=table["speaker"].map(ACCENTS))
    source = "github.com/Jakobovski/free-spoken-digit-dataset, tag v1.0.10"
    return Corpus("fsdd", root, table, "Free Spoken Digit Dataset", "CC BY-SA 4.0", source, notes=NOTES)
