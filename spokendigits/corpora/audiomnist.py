"""AudioMNIST: 30,000 recordings of sixty people, 48 kHz.

Becker et al., arXiv 1807.03418. Source: github.com/soerenab/AudioMNIST, licence MIT. Two more copies are known: one on
the Hugging Face hub (gilkeyio/AudioMNIST, 16 kHz, parquet files) and H2O's (22,050 Hz, a zip with a table of labels).
H2O's zip was never opened while this was written: its folder and table are known from a published configuration, and
its file names are expected to be AudioMNIST's own.
"""

import json
import os
import re
from collections import Counter
from pathlib import Path, PurePosixPath

import pandas as pd
import requests
from tqdm import tqdm

from spokendigits.corpora.audit import header_problem
from spokendigits.corpora.corpus import Corpus
from spokendigits.corpora.download import (
    STAMP,
    TIMEOUT,
    BadArchive,
    Unavailable,
    check_replaceable,
    disk_error,
    download,
    install,
)
from spokendigits.errors import CourseError
from spokendigits.files import atomic_folder, read_json, write_json

SOURCES = {
    "github": ("https://github.com/soerenab/AudioMNIST/archive/refs/heads/master.zip",),
    "h2o": ("https://h2o-ht-catalog.s3.amazonaws.com/amnist_audio_regression.zip",),
    "huggingface": ("https://huggingface.co",),
}
HUB_REPOSITORY = "gilkeyio/AudioMNIST"
SHAPE = {"speakers": 60, "digits": 10, "takes": 50}
FILE = re.compile(r"(?P<digit>\d)_(?P<speaker>\d{1,2})_(?P<take>\d{1,2})\.wav")
META = "audioMNIST_meta.txt"  # JSON by speaker
LABELS = "amnist_meta.csv"  # H2O's table: audio, label
FACTS = ["gender", "accent", "age", "native", "room", "origin"]
AGES = range(5, 111)  # years
EARLY = ("17", "22", "34")  # the speakers that commit 6c5eb77 lacks


def fetch(root: Path | str, source: Path | str | None = None, progress: bool = True) -> Path:
    """Puts AudioMNIST at `root`, as its repository lays it out, verified, and returns `root`.

    source: "github" (about 1 GB), "h2o" (no facts about the speakers), "huggingface" (1.5 GB, 16 kHz, needs pyarrow),
    or a local folder, zip or tar.gz of any of their layouts; None tries the three in this order.
    Raises CourseError when it cannot be had or is not whole; then `root` stays as it was.
    """
    root = Path(root)
    if source is None:
        return _fetch_first(root, progress)

    def finish(folder: Path) -> None:
        if problems := verify(folder, **SHAPE, progress=progress):
            more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
            raise BadArchive(
                f"{source}: not a whole AudioMNIST: {' '.join(problems[:3])}{more} "
                f"To use a part of it, give the folder itself as the corpus: it is read as your own recordings."
            )
        write_json(folder / STAMP, {"corpus": "audiomnist", "source": source if source in SOURCES else "a local copy"})

    if source == "huggingface":
        return _fetch_from_hub(root, finish, progress)
    if source not in SOURCES and not Path(source).exists():
        raise CourseError(f"{source}: no such file or folder, and none of AudioMNIST's sources: {', '.join(SOURCES)}.")
    origin = SOURCES[source] if source in SOURCES else Path(source)
    return install(origin, f"audiomnist-{source}.zip", root, _place, finish, progress)


def _fetch_first(root: Path, progress: bool) -> Path:
    errors = []
    for source in SOURCES:
        try:
            return fetch(root, source, progress)
        except (Unavailable, BadArchive) as error:
            errors.append(error)
            if progress:
                tqdm.write(f"AudioMNIST from {source}: {error}")
    raise Unavailable(f"AudioMNIST could not be had from {', '.join(SOURCES)}. {errors[0]}")


def _place(member: str) -> str | None:
    name = PurePosixPath(member).name
    if name in (META, LABELS):
        return f"data/{name}"
    found = FILE.fullmatch(name)
    return _path(found["digit"], found["speaker"], found["take"]) if found else None


def _path(digit: int | str, speaker: int | str, take: int | str) -> str:
    return f"data/{int(speaker):02d}/{digit}_{int(speaker):02d}_{int(take)}.wav"


def _fetch_from_hub(root: Path, finish, progress: bool) -> Path:
    try:
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise Unavailable(
            "AudioMNIST on the Hugging Face hub is in parquet files: `pip install pyarrow`, then run this again."
        ) from None
    check_replaceable(root)
    hub = os.environ.get("HF_ENDPOINT", SOURCES["huggingface"][0])
    try:
        answer = requests.get(f"{hub}/api/datasets/{HUB_REPOSITORY}/tree/main?recursive=true", timeout=TIMEOUT)
        answer.raise_for_status()
        files = [entry for entry in answer.json() if entry["path"].endswith(".parquet")]
    except requests.RequestException:
        raise Unavailable(f"{hub} did not list the files of {HUB_REPOSITORY}. Try again, or another source.") from None
    if not files:
        raise Unavailable(f"{hub}: {HUB_REPOSITORY} holds no parquet files any more. Try another source.")
    tables = [
        download(
            f"{hub}/datasets/{HUB_REPOSITORY}/resolve/main/{entry['path']}",
            entry.get("lfs", {}).get("oid"),
            root.parent / "downloads",
            f"audiomnist-{PurePosixPath(entry['path']).name}",
            progress,
        )
        for entry in files
    ]
    try:
        with atomic_folder(root) as folder:
            speakers, takes = {}, Counter()
            for table in tables:
                _unpack_table(ParquetFile(table), folder, speakers, takes, progress)
            write_json(folder / "data" / META, speakers)
            finish(folder)
    except OSError as error:
        raise disk_error(error, root) from None
    except (BadArchive, ValueError, KeyError) as error:  # pyarrow's errors are ValueErrors
        for table in tables:
            table.unlink()
        if isinstance(error, BadArchive):
            raise
        raise BadArchive(f"{HUB_REPOSITORY}: not the expected tables ({error}). Try another source.") from None
    for table in tables:
        table.unlink()
    return root


def _unpack_table(table, folder: Path, speakers: dict, takes: Counter, progress: bool) -> None:
    """Writes one parquet file's recordings as WAV files, and its facts in the form of AudioMNIST's metadata."""
    described = json.loads((table.schema_arrow.metadata or {}).get(b"huggingface", b"{}"))
    classes = described.get("info", {}).get("features", {}).get("gender", {}).get("names")
    with tqdm(total=table.metadata.num_rows, desc="unpacking", unit="file", disable=not progress) as bar:
        for batch in table.iter_batches(256):
            for row in batch.to_pylist():
                digit, speaker = int(row["digit"]), f"{int(row['speaker_id']):02d}"
                named = FILE.fullmatch(PurePosixPath(row["audio"]["path"] or "").name)
                take = named["take"] if named else takes[speaker, digit]
                takes[speaker, digit] += 1
                path = folder / _path(digit, speaker, take)
                if path.exists():
                    raise ValueError(f"{path.name} twice")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(row["audio"]["bytes"])
                gender = row.get("gender")
                native = row.get("native_speaker")
                speakers[speaker] = {
                    "accent": row.get("accent"),
                    "age": row.get("age"),
                    "gender": classes[gender] if classes and isinstance(gender, int) else gender,
                    "native speaker": {True: "yes", False: "no"}.get(native),
                    "origin": row.get("origin"),
                }
                bar.update()


def _recordings(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*.wav") if not path.name.startswith("."))


def verify(
    root: Path | str, speakers: int = 60, digits: int = 10, takes: int = 50, progress: bool = False
) -> list[str]:
    """Checks count, layout, every file's header, and metadata; returns one line a problem, nothing when all is well."""
    root = Path(root)
    files = _recordings(root)
    named = {path: FILE.fullmatch(path.name) for path in files}
    found = Counter(_path(*name.group("digit", "speaker", "take")) for name in named.values() if name)
    if not found:
        return [f"No recordings named as 7_01_32.wav (digit_speaker_take) in {root}."]
    expected = {
        _path(digit, speaker, take)
        for speaker in range(1, speakers + 1)
        for digit in range(digits)
        for take in range(takes)
    }
    problems = _missing(expected, set(found))
    strange = [path.name for path, name in named.items() if not name]
    strange += sorted(PurePosixPath(path).name for path in found.keys() - expected)
    astray = [
        path.relative_to(root).as_posix()
        for path, name in named.items()
        if name and path.parent.name.isdigit() and int(path.parent.name) != int(name["speaker"])
    ]
    bars = tqdm(files, "checking headers", unit="file", disable=not progress)
    broken = [f"{path.name}: {problem}" for path in bars if (problem := header_problem(path))]
    for what, names in [
        ("not part of AudioMNIST", strange),
        ("there twice", [PurePosixPath(path).name for path, count in found.items() if count > 1]),
        ("in another speaker's folder", astray),
        ("not usable", broken),
        (f"labelled otherwise in {LABELS}", _labelled_otherwise(root, files)),
    ]:
        if names:
            problems.append(f"{len(names):,} file(s) {what}: {_few(names)}.")
    try:
        meta = _metadata(root)
    except CourseError as error:
        return [*problems, str(error)]
    heard = {PurePosixPath(path).parent.name for path in found}
    if meta is not None and (silent := sorted(heard - meta.keys())):
        problems.append(f"{META} says nothing about speaker(s) {_few(silent)}.")
    return problems


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")


def _missing(expected: set[str], found: set[str]) -> list[str]:
    missing = sorted(expected - found)
    if not missing:
        return []
    absent = {PurePosixPath(path).parent.name for path in missing} - {PurePosixPath(path).parent.name for path in found}
    rest = [path for path in missing if PurePosixPath(path).parent.name not in absent]
    parts = []
    if absent:
        parts.append(f"nothing of speaker(s) {', '.join(sorted(absent))}")
    if rest:
        parts.append(_few([PurePosixPath(path).name for path in rest]))
    early = " (the early commit 6c5eb77 lacks these speakers: take a newer one)" if absent == set(EARLY) else ""
    return [f"{len(missing):,} of {len(expected):,} recordings are missing: {'; '.join(parts)}{early}."]


def _labelled_otherwise(root: Path, files: list[Path]) -> list[str]:
    table = next(root.rglob(LABELS), None)
    if table is None:
        return []
    try:
        labels = pd.read_csv(table, dtype=str)
        labels = dict(zip(labels["audio"].map(lambda name: PurePosixPath(name).name), labels["label"], strict=True))
    except (ValueError, KeyError, OSError) as error:
        return [f"the table cannot be read ({error})"]
    return [path.name for path in files if labels.get(path.name, path.name[0]) != path.name[0]]


def _metadata(root: Path) -> dict[str, dict] | None:
    """The metadata by speaker ("01".."60"); None for H2O's copy, which has none."""
    path = next(root.rglob(META), None)
    if path is None:
        if next(root.rglob(LABELS), None):
            return None
        raise CourseError(
            f"{root}: {META} is missing; it says who the speakers are. "
            f"Put it beside the speakers' folders, or run `spokendigits fetch audiomnist`."
        )
    try:
        return {str(speaker).zfill(2): dict(facts) for speaker, facts in read_json(path).items()}
    except (ValueError, TypeError, AttributeError, OSError) as error:
        raise CourseError(f"{path}: no speakers' facts ({error}). Run `spokendigits fetch audiomnist`.") from None


def read(root: Path | str) -> Corpus:
    """Reads AudioMNIST from a folder, in its repository's layout or H2O's.

    Facts about the speaker: `gender`, `accent`, `age` (years), `native` (of English), `room`, `origin`. What was
    repaired or is missing stands in the corpus's notes.
    Raises CourseError when there are no recordings, or no metadata beside them.
    """
    root = Path(root)
    names = [(path.relative_to(root).as_posix(), FILE.fullmatch(path.name)) for path in _recordings(root)]
    table = pd.DataFrame(
        [(path, int(name["digit"]), name["speaker"].zfill(2), int(name["take"])) for path, name in names if name],
        columns=["path", "digit", "speaker", "take"],
    )
    if table.empty:
        raise CourseError(
            f"{root}: no AudioMNIST recordings such as 7_01_32.wav here. Run `spokendigits fetch audiomnist`."
        )
    facts, notes = _facts(_metadata(root), sorted(table["speaker"].unique()))
    try:
        source = read_json(root / STAMP)["source"]
    except (OSError, ValueError, KeyError, TypeError):
        source = "a local copy"
    if source == "huggingface":
        notes.append(f"This is the copy {HUB_REPOSITORY} of the Hugging Face hub, resampled to 16 kHz.")
    whole = SHAPE["speakers"] * SHAPE["digits"] * SHAPE["takes"]
    if len(table) < whole:
        notes.append(f"A part of AudioMNIST: {len(table):,} of {whole:,} recordings.")
    return Corpus(
        name="audiomnist",
        root=root,
        table=table.merge(facts, on="speaker", how="left"),
        title="AudioMNIST",
        licence="MIT",
        source=f"github.com/soerenab/AudioMNIST ({source})",
        notes=tuple(notes),
    )


def _facts(meta: dict[str, dict] | None, speakers: list[str]) -> tuple[pd.DataFrame, list[str]]:
    """One row a speaker, and notes on what was repaired. The published file has ages as text, and slips."""
    notes = []
    if meta is None:
        notes.append("H2O's copy, resampled to 22,050 Hz: it says nothing about the speakers.")
    elif silent := [speaker for speaker in speakers if speaker not in meta]:
        notes.append(f"{META} says nothing about speaker(s) {', '.join(silent)}.")
    entries = [(meta or {}).get(speaker, {}) for speaker in speakers]
    facts = pd.DataFrame({"speaker": speakers})
    facts["gender"] = pd.array([_text(entry.get("gender")).lower() or pd.NA for entry in entries], dtype="string")
    facts["accent"] = _one_spelling("accent", [_text(entry.get("accent")) for entry in entries], notes)
    facts["age"] = _ages(speakers, [entry.get("age") for entry in entries], notes)
    native = [{"yes": True, "no": False}.get(_text(entry.get("native speaker")).lower(), pd.NA) for entry in entries]
    facts["native"] = pd.array(native, dtype="boolean")
    facts["room"] = _one_spelling("room", [_text(entry.get("recordingroom")) for entry in entries], notes)
    facts["origin"] = pd.array([_text(entry.get("origin")) or pd.NA for entry in entries], dtype="string")
    if "19" in speakers:
        notes.append('0_19_22.wav was reported to sound like "three" (soerenab/AudioMNIST, pull request 9): listen.')
    return facts, notes


def _text(value) -> str:
    return "" if value is None else str(value).strip()


def _ages(speakers: list[str], given: list, notes: list[str]):
    ages = []
    for speaker, value in zip(speakers, given, strict=True):
        age = int(_text(value)) if _text(value).isdecimal() else None
        if age not in AGES:
            if _text(value):
                notes.append(f"Speaker {speaker}: the age {_text(value)} is not plausible and counts as missing.")
            age = pd.NA
        ages.append(age)
    return pd.array(ages, dtype="Int64")


def _one_spelling(what: str, given: list[str], notes: list[str]):
    """Gives spellings that differ in case the commonest one among them, and mends a known typing error."""
    mended = [value.replace("romm", "room") for value in given]
    counts, common = Counter(mended), {}
    # On a tie the capital letter wins: it sorts first.
    for value in sorted(counts, key=lambda value: (-counts[value], value)):
        common.setdefault(value.casefold(), value)
    values = [common[value.casefold()] for value in mended]
    if changed := sorted({f"{old} = {new}" for old, new in zip(given, values, strict=True) if old != new}):
        notes.append(f"Spellings of the {what} unified: {', '.join(changed)}.")
    return pd.array([value or pd.NA for value in values], dtype="string")
