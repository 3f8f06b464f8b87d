"""FSDD, the Free Spoken Digit Dataset: 3,000 recordings of six people, 8 kHz.

Source: github.com/Jakobovski/free-spoken-digit-dataset, tag v1.0.10, licence CC BY-SA 4.0.
"""

import hashlib
import re
from pathlib import Path, PurePosixPath

import pandas as pd

from spokendigits.corpora.corpus import Corpus
from spokendigits.corpora.download import STAMP, BadArchive, install
from spokendigits.errors import CourseError
from spokendigits.files import sha256, write_json

SOURCES = {
    "github": (
        "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.zip",
        "https://codeload.github.com/Jakobovski/free-spoken-digit-dataset/zip/refs/tags/v1.0.10",
    )
}
# One digest vouches for all files: that of the list of their digests, as `sha256sum *.wav` prints it.
DIGEST = "1801eae019c063377d98f831d3f93574f259475df7332bb0e3d1b080fb5e6959"
SUMS = "SHA256SUMS"
SPEAKERS = pd.DataFrame(
    [
        ("george", "male", "Greek"),
        ("jackson", "male", "US, neutral"),
        ("lucas", "male", "German"),
        ("nicolas", "male", "Belgian French"),
        ("theo", "male", "US, neutral"),
        ("yweweler", "male", "German"),
    ],
    columns=["speaker", "gender", "accent"],
)
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

    root = Path(root)
    source = "github" if source is None else source
    origin = SOURCES[source] if source in SOURCES else Path(source)
    if isinstance(origin, Path) and origin.is_dir():
        origin = _recordings(origin)

    def finish(folder: Path) -> None:
        check(folder, source)
        # With the list beside them, files that are changed later can be named.
        (folder / SUMS).write_text(_listed(_digests(folder)), encoding="utf-8", newline="\n")
        write_json(folder / STAMP, {"corpus": "fsdd", "source": source if source in SOURCES else "a local copy"})

    return install(origin, "fsdd-1.0.10.zip", root, _place, finish, progress)


def check(root: Path, origin: Path | str | None = None) -> None:
    """Raises CourseError with the first problem that `verify` finds."""
    if problems := verify(root):
        raise BadArchive(
            f"{origin or root}: not FSDD v1.0.10: {' '.join(problems)} Run `spokendigits fetch fsdd` for a whole copy, "
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
        digests = _digests(root)
    except (CourseError, OSError) as error:
        return [str(error)]
    if _digest(_listed(digests)) == DIGEST:
        return []
    expected = {f"{d}_{speaker}_{take}.wav" for d in range(10) for speaker in SPEAKERS["speaker"] for take in range(50)}
    published = _published(_recordings(root))
    changed = sorted(name for name in expected & digests.keys() if published.get(name, digests[name]) != digests[name])
    found = [
        ("missing", sorted(expected - digests.keys())),
        ("changed", changed),
        ("not part of it", sorted(digests.keys() - expected)),
    ]
    problems = [f"{len(names)} file(s) {what}: {_few(names)}." for what, names in found if names]
    return problems or [f"At least one of {len(digests):,} files was changed; {SUMS} beside them would tell which."]


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (" ..." if len(names) > 3 else "")


def _recordings(root: Path | str) -> Path:
    root = Path(root)
    for folder in (root / "recordings", root):
        if any(folder.glob("[0-9]_*_*.wav")):
            return folder
    raise CourseError(f"{root}: no FSDD recordings such as 7_jackson_32.wav here. Run `spokendigits fetch fsdd`.")


def _digests(root: Path | str) -> dict[str, str]:
    files = sorted(path for path in _recordings(root).glob("*.wav") if not path.name.startswith("."))
    return {path.name: sha256(path) for path in files}


def _listed(digests: dict[str, str]) -> str:
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items()))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _published(folder: Path) -> dict[str, str]:
    """The digests by name, from a list beside the recordings that is itself the published one."""
    for place in (folder / SUMS, folder.parent / SUMS):
        if place.is_file() and sha256(place) == DIGEST:
            lines = place.read_text(encoding="utf-8").splitlines()
            return {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    return {}


def read(root: Path | str) -> Corpus:
    """Reads FSDD from a folder (the recordings, or what holds `recordings/`). Facts: `gender`, `accent`.

    Raises CourseError when there are no recordings. It does not compare them with the published ones; `verify` does.
    """
    root = Path(root)
    folder = _recordings(root)
    found = [(path, FILE.fullmatch(path.name)) for path in folder.glob("*.wav")]
    table = pd.DataFrame(
        [(path.relative_to(root).as_posix(), int(n["digit"]), n["speaker"], int(n["take"])) for path, n in found if n],
        columns=["path", "digit", "speaker", "take"],
    )
    return Corpus(
        name="fsdd",
        root=root,
        table=table.merge(SPEAKERS, on="speaker", how="left"),
        title="Free Spoken Digit Dataset",
        licence="CC BY-SA 4.0",
        source="github.com/Jakobovski/free-spoken-digit-dataset, tag v1.0.10",
        notes=NOTES,
    )
