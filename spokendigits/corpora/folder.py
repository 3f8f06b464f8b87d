"""Anybody's own recordings: a folder whose file names say what was said, or a CSV. Notebook 6."""

import re
from pathlib import Path

import pandas as pd

from spokendigits.corpora.corpus import Corpus, table_of
from spokendigits.errors import CourseError

PATTERN = "{digit}_{speaker}_{take}.wav"
EXTENSIONS = (".wav", ".flac", ".ogg", ".mp3")
FACTS = ["gender", "accent", "age", "native", "room", "origin"]
FIELDS = {"digit": "[0-9]", "speaker": "[^/]+?", "take": "[0-9]+"}


def read(root: Path | str, pattern: str = PATTERN, csv: Path | str | None = None) -> Corpus:
    """Reads recordings (.wav, .flac, .ogg, .mp3) below the folder `root`, or those that a CSV lists.

    pattern: `{digit}` (0-9) must be in it; `{speaker}` and `{take}` (a number) may be, and `*` and `**/` stand for
    anything. It is compared with the file's name, or with its path inside `root` if it holds a slash, as in
    `{speaker}/{digit}-{take}.wav`. Its extension stands for all four.
    csv: a file with the columns path (relative to the CSV) and digit; speaker, take, and facts (gender, accent, age,
    native, room, origin) may follow. `root` may be the CSV itself. Without takes, clips are numbered in order.
    Raises CourseError for a file without a digit, a column or file that is missing, and when there is nothing at all.
    """
    root = Path(root)
    if csv is None and root.suffix.lower() == ".csv":
        csv = root
    if csv is not None:
        root = Path(csv).parent
    table = _from_names(root, pattern) if csv is None else _from_csv(Path(csv))
    notes = ()
    speakers = table.get("speaker", pd.Series(pd.NA, table.index, dtype=object))
    table["speaker"] = speakers.fillna("unknown")
    if speakers.isna().any():
        notes = ("Clips without a speaker: nothing can be said about voices that were never heard.",)
    elif speakers.nunique() < 2:
        notes = ("All clips are of one speaker: they cannot show how well another voice is understood.",)
    if "take" not in table:
        table = table.sort_values("path")
        table["take"] = table.groupby(["speaker", "digit"]).cumcount()
    title = f"Recordings in {root.resolve().name}"
    return Corpus("folder", root, table, title, "unknown", "your own files", notes=notes)


def _from_names(root: Path, pattern: str) -> pd.DataFrame:
    expression = _expression(pattern)
    if not root.is_dir():
        raise CourseError(f"{root}: no such folder.")
    inside = [path.relative_to(root) for path in root.rglob("*") if path.suffix.lower() in EXTENSIONS]
    paths = sorted(path.as_posix() for path in inside if not any(part.startswith(".") for part in path.parts))
    if not paths:
        raise CourseError(f"{root}: no recordings here ({', '.join(EXTENSIONS)}). Check the folder.")
    table = table_of(paths, expression, whole="/" in pattern)
    if odd := sorted(set(paths).difference(table["path"])):
        raise CourseError(
            f"{root}: {len(odd):,} of {len(paths):,} file names say no digit as {pattern} does: {odd[0]} first. "
            f"Rename or remove them, give another pattern, or list the files in a CSV (path,digit,speaker,take)."
        )
    return table


def _expression(pattern: str) -> re.Pattern:
    stem = pattern[: -len(Path(pattern).suffix)] if Path(pattern).suffix.lower() in EXTENSIONS else pattern
    parts, seen = [], set()
    for part in re.split(r"(\{.*?\}|\*\*/|\*)", stem):
        field = part[1:-1]
        if part == "**/":
            parts.append("(?:.*/)?")
        elif part == "*":
            parts.append("[^/]*")
        elif not part.startswith("{"):
            parts.append(re.escape(part))
        elif field not in FIELDS:
            raise CourseError(f"pattern {pattern!r}: {part} is not known; known: {{digit}}, {{speaker}}, {{take}}.")
        else:
            parts.append(f"(?P={field})" if field in seen else f"(?P<{field}>{FIELDS[field]})")
            seen.add(field)
    if "digit" not in seen:
        raise CourseError(f"pattern {pattern!r}: holds no {{digit}}. An example: {PATTERN}")
    return re.compile("".join(parts) + r"\.[A-Za-z0-9]+")


def _from_csv(csv: Path) -> pd.DataFrame:
    try:
        # utf-8-sig: spreadsheets put a mark before the first column's name.
        table = pd.read_csv(csv, dtype=str, encoding="utf-8-sig", skipinitialspace=True)
    except (OSError, ValueError) as error:
        raise CourseError(f"{csv}: cannot be read as a CSV ({error}).".replace("\n", " ")) from None
    table.columns = table.columns.str.strip()
    if missing := {"path", "digit"} - set(table.columns):
        raise CourseError(
            f"{csv}: the column(s) {', '.join(sorted(missing))} are missing; found {', '.join(table.columns)}. "
            f"Its first line must be path,digit or path,digit,speaker,take."
        )
    table = table[[column for column in ["path", "digit", "speaker", "take", *FACTS] if column in table]]
    table = table.assign(path=table["path"].str.replace("\\", "/", regex=False))  # written on Windows
    for column, kind, good in [
        ("digit", "a digit 0-9", table["digit"].str.fullmatch("[0-9]")),
        ("take", "a number", table.get("take", pd.Series("0", table.index)).str.fullmatch("[0-9]+")),
        ("path", "a file that is there", table["path"].map(lambda path: (csv.parent / str(path)).is_file())),
    ]:
        if bad := list(table.index[~good.fillna(False).astype(bool)]):
            # The header is line 1, and people count from 1.
            raise CourseError(
                f"{csv}: {column} is not {kind} in {len(bad):,} of {len(table):,} rows, line {bad[0] + 2} first "
                f"({table[column][bad[0]]}). Correct or remove them."
            )
    if "age" in table:
        table["age"] = pd.to_numeric(table["age"], errors="coerce").astype("Int64")
    return table.astype({column: int for column in ("digit", "take") if column in table})
