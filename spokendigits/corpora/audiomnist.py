"""AudioMNIST: 30,000 recordings of sixty people, 48 kHz. For all notebooks, and `spokendigits fetch audiomnist`.

Becker et al., arXiv 1807.03418. Source: github.com/soerenab/AudioMNIST, licence MIT. Two more copies are known: one on
the Hugging Face hub (gilkeyio/AudioMNIST, 16 kHz, parquet files) and H2O's (22,050 Hz, a zip with a table of labels).
H2O's zip was never opened while this was written: its folder and table are known from a published configuration, and
its file names are expected to be AudioMNIST's own.
"""

import json
import os
import re
import shutil
from collections import Counter
from functools import partial
from pathlib import Path, PurePosixPath

import pandas as pd
from tqdm import tqdm

from spokendigits.corpora.audit import header_problem
from spokendigits.corpora.corpus import Corpus, table_of
from spokendigits.corpora.download import BadArchive, Unavailable, install
from spokendigits.corpora.storage import (
    STAMP,
    check_replaceable,
    complaints,
    disk_errors,
    few,
    read_facts,
    through_proxies,
)
from spokendigits.errors import CourseError
from spokendigits.files import atomic_folder, read_json, write_json

COMMIT = "630d7dab4c040882834de6fa21baf9a60372accd"  # the branch's last one in January 2026
SOURCES = {
    "github": (f"https://github.com/soerenab/AudioMNIST/archive/{COMMIT}.zip",),
    "h2o": ("https://h2o-ht-catalog.s3.amazonaws.com/amnist_audio_regression.zip",),
    "huggingface": ("https://huggingface.co",),
}
HUB_REPOSITORY = "gilkeyio/AudioMNIST"
SHAPE = {"speakers": 60, "digits": 10, "takes": 50}
FILE = re.compile(r"(?P<digit>\d)_(?P<speaker>\d{1,2})_(?P<take>\d{1,2})\.wav")
META = "audioMNIST_meta.txt"  # JSON by speaker
LABELS = "amnist_meta.csv"  # H2O's table: audio, label
AGES = range(5, 111)  # years
EARLY = ["17", "22", "34"]  # the speakers that commit 6c5eb77 lacks


def fetch(root: Path | str, source: Path | str | None = None, progress: bool = True) -> Path:
    """Puts AudioMNIST at `root`, as its repository lays it out, verified, and returns `root`.

    source: "github" (about 1 GB), "h2o" (no facts about the speakers), "huggingface" (1.5 GB, 16 kHz, needs pyarrow),
    or a local folder, zip or tar.gz of any of their layouts; None tries the three in this order.
    Raises CourseError when it cannot be had or is not whole; then `root` stays as it was.
    """
    root = Path(root)
    if source == "huggingface":
        return _fetch_from_hub(root, progress)
    if source is not None:
        check = partial(_check, source=source, progress=progress)
        return install("audiomnist", source, SOURCES, f"audiomnist-{source}.zip", root, _place, check, progress)
    errors = []
    for source in SOURCES:
        try:
            return fetch(root, source, progress)
        except (Unavailable, BadArchive) as error:
            errors.append(error)
            if progress:
                tqdm.write(f"AudioMNIST from {source}: {error}")
    raise Unavailable(f"AudioMNIST could not be had from {', '.join(SOURCES)}. {errors[0]}")


def _check(folder: Path, source: Path | str, progress: bool) -> None:
    if problems := verify(folder, **SHAPE, progress=progress):
        more = f" (and {len(problems) - 3} more)" if len(problems) > 3 else ""
        # What was unpacked has no place yet that a reader could look into.
        said = " ".join(problems[:3]).replace(f"{folder}: ", "").replace(f" in {folder}", "").replace(f"{folder}/", "")
        raise BadArchive(
            f"{source}: not a whole AudioMNIST: {said}{more} "
            f"To use a part of it, give the folder itself as the corpus: it is read as your own recordings."
        )


def _place(member: str) -> str | None:
    name = PurePosixPath(member).name
    if name in (META, LABELS):
        return f"data/{name}"
    match = FILE.fullmatch(name)
    return _path(match["digit"], match["speaker"], match["take"]) if match else None


def _path(digit: int | str, speaker: int | str, take: int | str) -> str:
    return f"data/{int(speaker):02d}/{digit}_{int(speaker):02d}_{int(take)}.wav"


def _fetch_from_hub(root: Path, progress: bool) -> Path:
    from huggingface_hub import HfApi
    from huggingface_hub.utils import disable_progress_bars

    try:
        from pyarrow.parquet import ParquetFile
    except ImportError:
        raise Unavailable(
            "AudioMNIST on the Hugging Face hub is in parquet files: `pip install pyarrow`, then run this again."
        ) from None
    check_replaceable(root)
    if not progress:
        disable_progress_bars()
    # Read here: huggingface_hub itself looks at the variable only once, when it is imported.
    hub = HfApi(endpoint=os.environ.get("HF_ENDPOINT", SOURCES["huggingface"][0]))
    downloads = root.parent / "downloads" / "audiomnist-huggingface"
    with disk_errors(root):
        try:
            files = [file.rfilename for file in hub.dataset_info(HUB_REPOSITORY).siblings]
            tables = [
                hub.hf_hub_download(HUB_REPOSITORY, file, repo_type="dataset", local_dir=downloads)
                for file in files
                if file.endswith(".parquet")
            ]
        except Exception as error:  # the network's errors are those of the library that the hub's client was built on
            if isinstance(error, OSError) and error.errno:
                raise
            raise Unavailable(
                f"{hub.endpoint} did not send {HUB_REPOSITORY} ({type(error).__name__}){through_proxies()}. "
                "Try again, or another source."
            ) from None
        try:
            with atomic_folder(root) as folder:
                speakers, takes = {}, Counter()
                for table in tables:
                    _unpack_table(ParquetFile(table), folder, speakers, takes, progress)
                write_json(folder / "data" / META, speakers)
                _check(folder, "huggingface", progress)
                write_json(folder / STAMP, {"corpus": "audiomnist", "source": "huggingface"})
        except (BadArchive, ValueError, KeyError) as error:  # pyarrow's errors are ValueErrors
            shutil.rmtree(downloads)
            if isinstance(error, BadArchive):
                raise
            raise BadArchive(f"{HUB_REPOSITORY}: not the expected tables ({error}). Try another source.") from None
    shutil.rmtree(downloads)
    return root


def _unpack_table(table, folder: Path, speakers: dict, takes: Counter, progress: bool) -> None:
    """Writes one parquet file's recordings as WAV files, and its facts in the form of AudioMNIST's metadata."""
    described = json.loads((table.schema_arrow.metadata or {}).get(b"huggingface", b"{}"))
    genders = described.get("info", {}).get("features", {}).get("gender", {}).get("names")
    rows = (row for batch in table.iter_batches(256) for row in batch.to_pylist())  # it need not fit the memory
    for row in tqdm(rows, "unpacking", table.metadata.num_rows, unit="file", disable=not progress):
        digit, speaker, gender = int(row["digit"]), f"{int(row['speaker_id']):02d}", row.get("gender")
        match = FILE.fullmatch(PurePosixPath(row["audio"]["path"] or "").name)
        path = folder / _path(digit, speaker, match["take"] if match else takes[speaker, digit])
        takes[speaker, digit] += 1
        if path.exists():
            raise ValueError(f"{path.name} twice")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(row["audio"]["bytes"])
        speakers[speaker] = {fact: row.get(fact) for fact in ("accent", "age", "origin")} | {
            "gender": genders[gender] if genders and isinstance(gender, int) else gender,
            "native speaker": {True: "yes", False: "no"}.get(row.get("native_speaker")),
        }


def _recordings(root: Path) -> list[str]:
    return sorted(path.relative_to(root).as_posix() for path in root.rglob("[!.]*.wav"))


def _table(files: list[str]) -> pd.DataFrame:
    table = table_of(files, FILE)
    return table.assign(speaker=table["speaker"].str.zfill(2))


def verify(
    root: Path | str, speakers: int = 60, digits: int = 10, takes: int = 50, progress: bool = False
) -> list[str]:
    """Checks count, layout, every file's header, and metadata; returns one line a problem, nothing when all is well."""
    root = Path(root)
    files = _recordings(root)
    table = _table(files)
    if table.empty:
        return [f"No recordings named as 7_01_32.wav (digit_speaker_take) in {root}."]
    names = table["digit"].astype(str) + "_" + table["speaker"] + "_" + table["take"].astype(str) + ".wav"
    expected = [
        f"{digit}_{speaker + 1:02d}_{take}.wav"
        for speaker in range(speakers)
        for digit in range(digits)
        for take in range(takes)
    ]
    folders = table["path"].str.extract(r"(?:^|/)(\d+)/[^/]*$")[0]
    bar = tqdm(files, "checking headers", unit="file", disable=not progress)
    problems = _missing(expected, set(names), set(table["speaker"])) + complaints(
        {
            "not part of AudioMNIST": sorted({PurePosixPath(path).name for path in set(files) - set(table["path"])})
            + sorted(set(names).difference(expected)),
            "there twice": sorted(set(names[names.duplicated()])),
            "in another speaker's folder": list(
                table["path"][folders.notna() & (folders.str.zfill(2) != table["speaker"])]
            ),
            "not usable": [f"{path.rpartition('/')[2]}: {why}" for path in bar if (why := header_problem(root / path))],
            f"labelled otherwise in {LABELS}": _labelled_otherwise(root, files),
        }
    )
    try:
        meta = _metadata(root)
    except CourseError as error:
        return [*problems, str(error)]
    if meta is not None and (silent := sorted(set(table["speaker"]) - meta.keys())):
        problems.append(f"{META} says nothing about speaker(s) {few(silent)}.")
    return problems


def _missing(expected: list[str], names: set[str], heard: set[str]) -> list[str]:
    missing = [name for name in expected if name not in names]
    absent = sorted({name[2:4] for name in missing} - heard)
    parts = [f"nothing of speaker(s) {', '.join(absent)}"] if absent else []
    if others := [name for name in missing if name[2:4] in heard]:
        parts.append(few(others))
    early = " (the early commit 6c5eb77 lacks these speakers: take a newer one)" if absent == EARLY else ""
    text = f"{len(missing):,} of {len(expected):,} recordings are missing: {'; '.join(parts)}{early}."
    return [text] if missing else []


def _labelled_otherwise(root: Path, files: list[str]) -> list[str]:
    table = next(root.rglob(LABELS), None)
    if table is None:
        return []
    try:
        labels = pd.read_csv(table, dtype=str)
        labels = dict(zip(labels["audio"].map(lambda path: PurePosixPath(path).name), labels["label"], strict=True))
    except (ValueError, KeyError, OSError) as error:
        return [f"the table cannot be read ({error})"]
    names = [PurePosixPath(path).name for path in files]
    return [name for name in names if labels.get(name, name[0]) != name[0]]


def _metadata(root: Path) -> dict[str, dict] | None:
    """The metadata by speaker ("01".."60"); None for H2O's copy, which has none."""
    path = next(root.rglob(META), None)
    if path is None:
        if next(root.rglob(LABELS), None):
            return None
        here, whole = len(_recordings(root)), SHAPE["speakers"] * SHAPE["digits"] * SHAPE["takes"]
        raise CourseError(
            f"{root}: {META} is missing; it says who the speakers are. {here:,} of {whole:,} recordings are here. "
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
    table = _table(_recordings(root))
    if table.empty:
        raise CourseError(
            f"{root}: no AudioMNIST recordings such as 7_01_32.wav here. Run `spokendigits fetch audiomnist`."
        )
    facts, notes = _facts(_metadata(root), sorted(table["speaker"].unique()))
    source = read_facts(root / STAMP).get("source", "a local copy")
    if source == "huggingface":
        notes.append(f"This is the copy {HUB_REPOSITORY} of the Hugging Face hub, resampled to 16 kHz.")
    whole = SHAPE["speakers"] * SHAPE["digits"] * SHAPE["takes"]
    if len(table) < whole:
        notes.append(f"A part of AudioMNIST: {len(table):,} of {whole:,} recordings.")
    table = table.merge(facts, on="speaker", how="left")
    source = f"github.com/soerenab/AudioMNIST ({source})"
    return Corpus("audiomnist", root, table, "AudioMNIST", "MIT", source, notes=tuple(notes))


def _facts(meta: dict[str, dict] | None, speakers: list[str]) -> tuple[pd.DataFrame, list[str]]:
    """One row a speaker, and notes on what was repaired. The published file has ages as text, and slips."""
    notes = []
    if meta is None:
        meta = {}
        notes.append("H2O's copy, resampled to 22,050 Hz: it says nothing about the speakers.")
    elif silent := [speaker for speaker in speakers if speaker not in meta]:
        notes.append(f"{META} says nothing about speaker(s) {', '.join(silent)}.")

    def given(fact: str) -> pd.Series:
        values = [meta.get(speaker, {}).get(fact) for speaker in speakers]
        return pd.Series(["" if value is None else str(value).strip() for value in values], dtype="string")

    facts = {"speaker": speakers, "gender": given("gender").str.lower(), "origin": given("origin")}
    for fact, key in (("accent", "accent"), ("room", "recordingroom")):
        # Of spellings that differ in case, the commonest; on a tie the capital letter, which sorts first.
        mended = given(key).str.replace("romm", "room")
        facts[fact] = mended.groupby(mended.str.casefold()).transform(lambda spelling: spelling.mode()[0])
        if changed := sorted(
            f"{old} = {new}" for old, new in set(zip(given(key), facts[fact], strict=True)) if old != new
        ):
            notes.append(f"Spellings of the {fact} unified: {', '.join(changed)}.")
    ages = pd.to_numeric(given("age"), errors="coerce")
    facts["age"] = ages.where(ages.isin(AGES)).astype("Int64")
    for speaker, said, age in zip(speakers, given("age"), facts["age"], strict=True):
        if said and age is pd.NA:
            notes.append(f"Speaker {speaker}: the age {said} is not plausible and counts as missing.")
    facts["native"] = given("native speaker").str.lower().map({"yes": True, "no": False}).astype("boolean")
    if "19" in speakers:
        notes.append('0_19_22.wav was reported to sound like "three" (soerenab/AudioMNIST, pull request 9): listen.')
    columns = ["speaker", "gender", "accent", "age", "native", "room", "origin"]
    return pd.DataFrame(facts, columns=columns).replace("", pd.NA), notes
