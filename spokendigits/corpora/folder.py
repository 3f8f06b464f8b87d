"""Anybody's own recordings: a folder whose file names say what was said, or a CSV. Notebook 6."""

import csv
import io
import os
import re
from codecs import BOM_UTF16_BE, BOM_UTF16_LE
from collections import Counter
from pathlib import Path

import pandas as pd

from spokendigits.corpora.corpus import Corpus, table_of
from spokendigits.corpora.recording import EXTENSIONS, FOREIGN
from spokendigits.errors import CourseError

PATTERN = "{digit}_{speaker}_{take}.wav"
FACTS = ["gender", "accent", "age", "native", "room", "origin"]
FIELDS = {"digit": "[0-9]", "speaker": "[^/]+?", "take": "[0-9]{1,9}"}
GENDERS = {"m": "male", "man": "male", "boy": "male", "f": "female", "w": "female", "woman": "female", "girl": "female"}
AGES = (0, 120)  # years


def read(root: Path | str, pattern: str = PATTERN, csv: Path | str | None = None) -> Corpus:
    """Reads recordings (EXTENSIONS) below the folder `root`, or those that a CSV lists.

    pattern: `{digit}` (0-9) must be in it; `{speaker}` and `{take}` (a number) may be, and `*` and `**/` stand for
    anything. It is compared with the file's name, or with its path inside `root` if it holds a slash, as in
    `{speaker}/{digit}-{take}.wav`. Its extension stands for all of them.
    csv: a file with the columns path (relative to the CSV) and digit; speaker, take, and facts (gender, accent, age,
    native, room, origin) may follow. `root` may be the CSV itself. Without takes, clips are numbered in order.
    Notes say what was left out, or may be a mistake. Raises CourseError for a file without a digit, a column or file that
    is missing, and when there is nothing at all.
    """
    root = Path(root)
    if csv is None and root.suffix.lower() == ".csv":
        csv = root
    if csv is not None:
        root = Path(csv).parent
    table, notes = _from_names(root, pattern) if csv is None else _from_csv(Path(csv))
    speakers = table.get("speaker", pd.Series(pd.NA, table.index, dtype=object))
    table["speaker"] = speakers.fillna("unknown")
    if speakers.isna().any():
        notes.append("Clips without a speaker: nothing can be said about voices that were never heard.")
    elif speakers.nunique() < 2:
        notes.append("All clips are of one speaker: they cannot show how well another voice is understood.")
    if "take" not in table:
        table = table.sort_values("path")
        table["take"] = table.groupby(["speaker", "digit"]).cumcount()
    elif len(same := table[table.duplicated(["digit", "speaker", "take"], keep=False)].sort_values(["digit", "path"])):
        notes.append(
            f"{len(same):,} clips share digit, speaker and take with another, {' and '.join(same['path'][:2])} first: "
            "two people of one name? Give each a name of their own."
        )
    title = f"Recordings in {root.resolve().name}"
    return Corpus("folder", root, table, title, "unknown", "your own files", notes=tuple(notes))


def _from_names(root: Path, pattern: str) -> tuple[pd.DataFrame, list[str]]:
    expression, there, strange, notes = _expression(pattern), [], Counter(), []

    def refuse(error: OSError) -> None:
        raise CourseError(f"{error.filename}: {error.strerror}.")

    for folder, inside, names in os.walk(root, onerror=refuse):
        inside[:] = [name for name in inside if not name.startswith(".")]
        for path in (Path(folder, name) for name in names if not name.startswith(".")):
            kind = path.suffix.lower()
            if kind in EXTENSIONS and path.is_file():
                there.append(path.relative_to(root).as_posix())
            elif kind in EXTENSIONS + FOREIGN:
                strange[kind if kind in FOREIGN else "no regular file"] += 1
    if strange:
        kinds = ", ".join(f"{kind} ({count})" for kind, count in sorted(strange.items()))
        notes.append(
            f"{strange.total():,} recordings were left out, for they cannot be read here: {kinds}. Save as WAV."
        )
    if not there:
        raise CourseError(
            " ".join([f"{root}: no recordings here ({', '.join(EXTENSIONS)}). Check the folder.", *notes])
        )
    table = table_of(sorted(there), expression, whole="/" in pattern)
    if odd := sorted(set(there).difference(table["path"])):
        raise CourseError(
            f"{root}: {len(odd):,} of {len(there):,} file names say no digit as {pattern} does: {odd[0]} first. "
            f"Rename or remove them, give another pattern, or list the files in a CSV (path,digit,speaker,take)."
        )
    return table, notes


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


def _from_csv(path: Path) -> tuple[pd.DataFrame, list[str]]:
    table, notes = _cells(path), []
    if missing := {"path", "digit"} - set(table.columns):
        raise CourseError(
            f"{path}: the column(s) {', '.join(sorted(missing))} are missing; found {', '.join(table.columns)}. "
            f"Its first line must be path,digit or path,digit,speaker,take."
        )
    table = table[[column for column in ["path", "digit", "speaker", "take", *FACTS] if column in table]]
    table = table.assign(path=table["path"].str.replace("\\", "/", regex=False))  # written on Windows
    for column, kind, good in [
        ("digit", "a digit 0-9", table["digit"].str.fullmatch("[0-9]")),
        ("take", "a number", table.get("take", pd.Series("0", table.index)).str.fullmatch(FIELDS["take"])),
        ("path", "a file that is there", table["path"].map(lambda name: os.path.isfile(path.parent / str(name)))),
    ]:
        if bad := list(table.index[~good.fillna(False).astype(bool)]):
            raise CourseError(
                f"{path}: {column} is not {kind} in {len(bad):,} of {len(table):,} rows, line {bad[0]} first "
                f"({str(table[column][bad[0]])[:100]}). Correct or remove them."
            )
    if table["path"].duplicated().any():
        twice = table["path"][table["path"].duplicated(keep=False)]
        lines = " and ".join(map(str, twice.index[twice == twice.iloc[0]][:2]))
        raise CourseError(
            f"{path}: {twice.iloc[0]} is listed twice, in lines {lines}. Each file holds one digit: keep one."
        )
    if "age" in table:
        ages = pd.to_numeric(table["age"], errors="coerce") // 1
        good = ages.between(*AGES)
        if len(odd := table["age"][~good & table["age"].notna()].unique()):
            notes.append(f"Ages that are none count as missing: {', '.join(odd[:3])}.")
        table["age"] = ages.where(good).astype("Int64")
    if "gender" in table:
        table["gender"] = table["gender"].str.lower().replace(GENDERS)
    return table.astype({column: int for column in ("digit", "take") if column in table}).reset_index(drop=True), notes


def _cells(path: Path) -> pd.DataFrame:
    """A CSV's cells, without blanks around them (empty ones: NA), by the line of the file that they stand in.

    In UTF-8, or in UTF-16 with its mark; commas, semicolons or tabs between the cells, whichever the first line has most of.
    """
    try:
        data = path.read_bytes()
        # utf-8-sig: spreadsheets put a mark before the first column's name.
        text = data.decode("utf-16" if data[:2] in (BOM_UTF16_LE, BOM_UTF16_BE) else "utf-8-sig")
        between = max(",;\t", key=text.lstrip().partition("\n")[0].count)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=between, skipinitialspace=True)
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    except UnicodeError:
        raise CourseError(f"{path}: its letters are not in UTF-8. Save it as 'CSV UTF-8'.") from None
    except (OSError, csv.Error) as error:
        raise CourseError(f"{path}: cannot be read as a CSV ({error}).".replace("\n", " ")) from None
    lines = {line: row for line, row in rows if any(row)}
    if len(lines) < 2:
        raise CourseError(
            f"{path}: names no recording. After its first line, path,digit,speaker,take, comes one for each."
        )
    header, *rows = lines.values()
    header = [cell.lower() for cell in header]
    while header[-1] == "":  # lines that end with a comma
        header.pop()
    if len(set(header)) < len(header):
        raise CourseError(f"{path}: two columns have the same name. Its first line is {','.join(header)}.")
    for line, row in lines.items():
        if any(row[len(header) :]):
            raise CourseError(f"{path}: line {line} has more cells than the first line. Correct it.")
    rows = [(row + [""] * len(header))[: len(header)] for row in rows]
    return pd.DataFrame(rows, index=[*lines][1:], columns=header, dtype=object).replace("", pd.NA)
