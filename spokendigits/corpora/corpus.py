"""`Corpus`: a table of clips and where it came from. Notebook 1."""

import os
import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pandas as pd

from spokendigits.errors import CourseError

COLUMNS = ["path", "digit", "speaker", "take"]
DIGITS = 10
PROBABILITIES = [f"p{digit}" for digit in range(DIGITS)]  # columns of a predictions table
FULL_SCALE = 32768  # the int16 sample that stands for 1.0
NAME = r"(?P<digit>\d)_(?P<speaker>.+)_(?P<take>\d+)\.wav"  # of a clip that this course made


@dataclass(frozen=True)
class Corpus:
    """One row a clip, and what a reader must know of its origin.

    `table` has the columns `path` (relative to `root`, forward slashes), `digit` (int, 0-9; -1: no digit), `speaker` (str)
    and `take` (int), then facts about the speaker under names such as `gender`, `accent`, `age` (missing: NA).
    Rows are sorted by speaker, digit, take and numbered 0..n-1.
    """

    name: str
    root: Path
    table: pd.DataFrame
    title: str
    licence: str
    source: str
    synthetic: bool = False
    notes: tuple[str, ...] = field(default=())  # what `read` repaired, or what a reader should know

    def __post_init__(self):
        missing = [column for column in COLUMNS if column not in self.table.columns]
        if missing:
            raise CourseError(f"{self.root}: the corpus table lacks the column(s) {', '.join(missing)}.")
        if self.table.empty:
            raise CourseError(f"{self.root}: no clips found. Check the folder, or fetch the corpus again.")
        table = self.table.sort_values(["speaker", "digit", "take", "path"], kind="stable").reset_index(drop=True)
        object.__setattr__(self, "table", table)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def label(self) -> str:
        """The name to show wherever the corpus is seen or heard: synthetic speech says so."""
        return f"{self.title} (synthetic speech)" if self.synthetic else self.title

    @property
    def speakers(self) -> list[str]:
        """Speaker names, sorted."""
        return sorted(self.table["speaker"].unique())

    @property
    def digit_speakers(self) -> list[str]:
        """Names of those who say digits, sorted: a corpus may hold others, who say other words alone."""
        return sorted(self.table["speaker"][self.table["digit"] >= 0].unique())

    def part(
        self, speakers: int | None = None, takes: int | None = None, kinds: Collection[str] | None = None
    ) -> "Corpus":
        """The same corpus with only the first `speakers` of digits, and the first `takes` of each digit (None: all).

        kinds: what to keep of a corpus that has the column `kind`.
        """
        table = self.table
        if kinds is not None and "kind" in table:
            table = table[table["kind"].isin(kinds)]
        if speakers is not None:
            table = table[table["speaker"].isin(self.digit_speakers[:speakers])]
        if takes is not None:
            table = table[table.groupby(["speaker", "digit"])["take"].rank(method="first") <= takes]
        return self if len(table) == len(self.table) else replace(self, table=table)

    def file(self, row: int) -> Path:
        """The audio file of one row."""
        return self.root / self.table["path"].iloc[row]


def table_of(paths: Iterable[str], pattern: str | re.Pattern = NAME, whole: bool = False) -> pd.DataFrame:
    """One row for each path (forward slashes) whose file name matches the regular expression `pattern`.

    whole: compare the path, not the file's name. Columns: `path` and the expression's groups; digit and take are numbers.
    """
    expression = re.compile(pattern)
    matches = {path: expression.fullmatch(path if whole else path.rpartition("/")[2]) for path in paths}
    rows = [(path, *match.groups()) for path, match in matches.items() if match]
    table = pd.DataFrame(rows, columns=["path", *expression.groupindex])
    return table.astype({column: int for column in ("digit", "take") if column in table})


def join(name: str, corpora: Sequence[Corpus]) -> Corpus:
    """One corpus of several; a new column `corpus` says which of them a clip is from, and facts that one lacks are NA."""
    root = Path(os.path.commonpath([corpus.root.resolve() for corpus in corpora]))
    tables = [
        corpus.table.assign(
            path=f"{corpus.root.resolve().relative_to(root).as_posix()}/" + corpus.table["path"], corpus=corpus.name
        )
        for corpus in corpora
    ]
    return Corpus(
        name=name,
        root=root,
        table=pd.concat(tables, ignore_index=True),
        title=" and ".join(corpus.title for corpus in corpora),
        licence=" ".join(dict.fromkeys(corpus.licence for corpus in corpora)),
        source="; ".join(corpus.source for corpus in corpora),
        synthetic=all(corpus.synthetic for corpus in corpora),
        notes=tuple(note for corpus in corpora for note in corpus.notes),
    )
