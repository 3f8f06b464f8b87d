"""What is wrong, odd or missing in a corpus, as one table. Notebook 1."""

import hashlib
import multiprocessing
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from tqdm import tqdm

from spokendigits.corpora import recording
from spokendigits.corpora.corpus import COLUMNS, Corpus
from spokendigits.devices import cores
from spokendigits.errors import CourseError

SILENT = 10 ** (-60 / 20)  # peak, -60 dBFS
RAIL = 0.999  # of full scale; 16-bit audio that clips stays just below 1
SHORT, LONG = 0.15, 1.0  # seconds
POOL_FROM = 5_000  # clips; below that, starting processes costs more than it saves


def header_problem(path: Path | str) -> str | None:
    """What a file's header says against it, in a few words: unreadable, truncated, empty. None: nothing."""
    try:
        with recording.opened(path):
            return None
    except CourseError as error:
        return _kind(str(error))


def _kind(problem: str) -> str:
    return problem if problem.startswith(("truncated", "empty")) else f"unreadable ({problem})"


class _Facts(NamedTuple):
    problem: str = ""
    digest: str = ""
    rate: int = 0
    channels: int = 0
    seconds: float = np.nan
    peak: float = np.nan
    clipped: bool = False
    finite: bool = True
    offset: float = 0.0
    cancel: bool = False


def _look(path: str) -> _Facts:
    peak, clipped, finite = 0.0, False, True

    def seen(blocks: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
        nonlocal peak, clipped, finite
        for block in blocks:
            loud = np.abs(block)
            finite &= bool(np.isfinite(loud).all())
            peak = max(peak, float(np.nan_to_num(loud, nan=0, posinf=0).max(initial=0)))
            rail = loud >= RAIL
            # One sample at full scale is a well-levelled recording; three in a row are a flattened wave.
            clipped |= bool((rail[:-2] & rail[1:-1] & rail[2:]).any())
            yield np.nan_to_num(block, posinf=0, neginf=0)

    try:
        with recording.opened(path) as file:
            # In blocks: a recording of three hours must not fill the memory.
            offsets, cancel, _ = recording.middle(seen(file.blocks(1 << 20, dtype="float32", always_2d=True)))
            seconds, offset = file.frames / file.samplerate, float(np.abs(offsets).max())
            facts = (file.samplerate, file.channels, seconds, peak, clipped, finite, offset, cancel)
        with open(path, "rb") as raw:
            return _Facts("", hashlib.file_digest(raw, "sha256").hexdigest(), *facts)
    except CourseError as error:
        return _Facts(_kind(str(error)))


def _look_at_all(paths: list[str], progress: bool) -> pd.DataFrame:
    bar = {"desc": "audit", "unit": "clip", "total": len(paths), "disable": not progress}
    if len(paths) < POOL_FROM:
        return pd.DataFrame(tqdm(map(_look, paths), **bar), columns=_Facts._fields)
    # spawn: forking a process that has used torch's threads can hang.
    with ProcessPoolExecutor(min(cores(), 16), multiprocessing.get_context("spawn")) as pool:
        return pd.DataFrame(tqdm(pool.map(_look, paths, chunksize=256), **bar), columns=_Facts._fields)


def audit(corpus: Corpus, progress: bool = True) -> pd.DataFrame:
    """Looks at every file of a corpus once and says what to know before training on it.

    Returns one row a check: `check`, `clips` (how many it concerns; 0 when clean), `example`, `advice`. The corpus's
    notes follow as rows of their own, with `clips` missing (NA). A file that is gone or broken is counted, not raised.
    """
    clips = corpus.table.join(_look_at_all([str(corpus.root / path) for path in corpus.table["path"]], progress))
    problem = clips["problem"]
    heard = clips[problem == ""]
    common = heard["rate"].mode().iloc[0] if len(heard) else 0
    twins = clips[(clips["digest"] != "") & clips.duplicated("digest", keep=False)]
    labels = twins.groupby("digest")[["digit", "speaker"]].transform("nunique")
    advice_on_rate = f"Most have {common:,} Hz. All are resampled, but these have more or fewer high frequencies."
    advice_on_labels = "The same recording under two labels: at most one is right."
    checks = [
        ("unreadable", clips[problem.str.startswith("unreadable")], "Replace or remove them.", "{path}: {problem}"),
        ("truncated", clips[problem.str.startswith("truncated")], "Fetch them again.", "{path}: {problem}"),
        ("empty", clips[problem.str.startswith("empty")], "Fetch or record them again."),
        ("NaN or infinite samples", heard[~heard["finite"]], "Replace or remove them."),
        ("silent", heard[heard["peak"] < SILENT], "Peak below -60 dBFS: listen, then record again or remove."),
        ("clipped", heard[heard["clipped"]], "Three samples in a row at full scale: recorded too loud."),
        ("off zero", heard[heard["offset"] > 0], "A sound card's constant: it is taken away.", "{path} ({offset:.3f})"),
        ("not mono", heard[heard["channels"] > 1], "Averaged to mono: listen.", "{path} ({channels} channels)"),
        ("channels that cancel", heard[heard["cancel"]], "One of them is the other upside down: the loudest is used."),
        ("another sample rate", heard[heard["rate"] != common], advice_on_rate, "{path} ({rate:,} Hz)"),
        ("shorter than 0.15 s", heard[heard["seconds"] < SHORT], "Is it cut off?", "{path} ({seconds:.2f} s)"),
        ("longer than 1 s", heard[heard["seconds"] > LONG], "Its loudest second is used.", "{path} ({seconds:.2f} s)"),
        ("identical files", twins, "One recording counted twice: remove the copy.", "{twins}"),
        ("identical files, other digit or speaker", twins[labels.gt(1).any(axis=1)], advice_on_labels, "{twins}"),
    ]
    rows = []
    for check, faulty, advice, *example in checks:
        if faulty.empty:
            rows.append((check, 0, "", ""))
            continue
        first = faulty.iloc[0]
        same = faulty.loc[faulty["digest"] == first["digest"], "path"]
        example = (example or ["{path}"])[0].format(**first, twins=" = ".join(same[:2]))
        rows.append((check, len(faulty), example, advice))
    rows += [_missing_takes(corpus.table), _missing_facts(corpus.table)]
    rows += [("note", pd.NA, "", note) for note in corpus.notes]
    return pd.DataFrame(rows, columns=["check", "clips", "example", "advice"]).astype({"clips": "Int64"})


def _missing_takes(table: pd.DataFrame) -> tuple:
    counts = table.groupby(["digit", "speaker"]).size()
    takes = counts.unstack(fill_value=0).reindex(range(10), fill_value=0)
    most = counts.mode().max()  # what is usual: one who said more has not made all others lack takes
    lacking = (most - takes).clip(lower=0).unstack()
    if not lacking.any():
        return "missing takes", 0, "", ""
    speaker, digit = lacking[lacking > 0].index[0]
    example = f"speaker {speaker}, digit {digit}: {takes.loc[digit, speaker]} of {most}"
    return "missing takes", int(lacking.sum()), example, "Digits or speakers weigh unequally: report results for each."


def _missing_facts(table: pd.DataFrame) -> tuple:
    lacking = table.drop(columns=COLUMNS).isna()
    rows = lacking.any(axis=1)
    if not rows.any():
        return "missing facts", 0, "", ""
    first = rows.idxmax()
    example = f"speaker {table['speaker'][first]}: {', '.join(lacking.columns[lacking.loc[first]])}"
    return "missing facts", int(rows.sum()), example, "Leave these clips out of results by that fact."
