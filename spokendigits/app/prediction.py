"""What `spokendigits predict` does: finds the words in recordings of any kind and length, and reads each as a digit.

Memory stays flat, however long a recording is and however many a folder holds: samples are read block by block, and only
the words are kept. PyTorch is not loaded for an exported model.
"""

import contextlib
import csv
import io
import itertools
import os
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np
import soundfile
import soxr
from tqdm import tqdm

from spokendigits.clips import fit
from spokendigits.corpora.audit import damage
from spokendigits.errors import CourseError
from spokendigits.files import read_json, sha256, write_json
from spokendigits.recipe import Recipe
from spokendigits.topics import vad

STANDARD_INPUT = "-"
EXTENSIONS = (
    ".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf", ".w64", ".rf64",
)  # fmt: skip  # what counts as a recording in a folder; a file that is named may be called anything
BLOCK = 2**17  # samples of each channel that are in memory at a time
BATCH = 32  # words of one file that are read at once: batches across files would differ after an interruption
ROUND = 16  # files that each of several processes reads before the lines are put in order
NOT_A_DIGIT, NO_SPEECH, UNREADABLE = "not a digit", "no speech found", "not readable"
COLUMNS = ["path", "start", "end", "digit", "probability", "score", *(f"p{digit}" for digit in range(10))]


@dataclass(frozen=True)
class Model:
    """A trained model: `answer` takes clips float32 [n, samples] and gives probabilities [n, 10] and scores [n].

    A score (`evaluation.digit_score`) below `threshold` says that no digit was spoken; None: that is never said.
    """

    recipe: Recipe
    answer: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
    threshold: float | None
    sha256: str


@dataclass(frozen=True)
class Spoken:
    """A word in a recording: `start` and `end` in seconds, `digit` None if it is not a digit, `probabilities` [10]."""

    start: float
    end: float
    digit: int | None
    score: float
    probabilities: tuple[float, ...]

    @property
    def probability(self) -> float:
        return max(self.probabilities)

    @property
    def said(self) -> str:
        return NOT_A_DIGIT if self.digit is None else str(self.digit)


def load(path: Path | str, threshold: float | None = None, device=None) -> Model:
    """Reads an exported model (.onnx) or a trained one (.safetensors).

    threshold: instead of the one that an exported model carries; a trained one carries none.
    Raises CourseError if there is no such file, or if it is damaged.
    """
    if Path(path).suffix.lower() == ".onnx":
        from spokendigits.topics.onnx_reader import load_onnx

        held = load_onnx(path)
        chosen = held.threshold if threshold is None else threshold

        def answer(clips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            logarithms, scores, _ = held(clips)
            return np.exp(logarithms), scores

        return Model(held.recipe, answer, chosen, sha256(path))

    import torch

    from spokendigits.classifier import Classifier
    from spokendigits.losses import digit_score, probabilities

    classifier = Classifier.load(path).to(device or "cpu")
    recipe = classifier.recipe

    def answer(clips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        with torch.inference_mode():
            logits = classifier(torch.from_numpy(clips).to(device or "cpu"))
            return probabilities(logits, recipe.loss).cpu().numpy(), digit_score(logits, recipe.loss).cpu().numpy()

    return Model(recipe, answer, threshold, sha256(path))


def read(path: str, model: Model) -> list[Spoken]:
    """The words of one recording, in their order: any length, sample rate and number of channels (they are averaged).

    path: a file, or "-" for audio on standard input. Raises CourseError if it cannot be read.
    """
    recipe, found = model.recipe, []
    with _opened(path) as file:
        words = _words(file, recipe.sample_rate)
        while batch := list(itertools.islice(words, BATCH)):
            chances, scores = model.answer(np.stack([fit(audio, recipe.samples) for _, audio in batch]))
            for (word, _), chance, score in zip(batch, chances.tolist(), scores.tolist(), strict=True):
                refused = word.end - word.start > vad.LONGEST or (
                    model.threshold is not None and score < model.threshold
                )
                digit = None if refused else int(np.argmax(chance))
                found.append(Spoken(word.start, word.end, digit, score, tuple(chance)))
    return found


@contextlib.contextmanager
def _opened(path: str) -> Iterator[soundfile.SoundFile]:
    with contextlib.ExitStack() as stack:
        try:
            if path == STANDARD_INPUT:
                source = _kept(sys.stdin.buffer, stack)
            elif os.path.isdir(path):
                os.listdir(path)
                raise CourseError("no recordings in this folder")
            else:
                raw = stack.enter_context(open(path, "rb"))
                regular = stat.S_ISREG(os.fstat(raw.fileno()).st_mode)
                source = os.fsencode(path) if regular else _kept(raw, stack)
            file = stack.enter_context(soundfile.SoundFile(source))
            if problem := damage(file):
                raise CourseError(problem)
            yield file
        except soundfile.SoundFileError as error:
            raise CourseError(
                f"not readable as audio ({str(getattr(error, 'error_string', error)).rstrip('.')})"
            ) from None
        except OSError as error:
            raise CourseError(str(error.strerror or error)) from None


def _kept(raw: IO[bytes], stack: contextlib.ExitStack) -> IO[bytes]:
    """What comes through a pipe, in a file: a recording is read twice."""
    file = stack.enter_context(tempfile.TemporaryFile())  # noqa: SIM115
    shutil.copyfileobj(raw, file)
    file.seek(0)
    return file


def _blocks(file: soundfile.SoundFile, rate: int) -> Iterator[np.ndarray]:
    """A whole recording, block by block: float32 [n], mono, resampled with soxr."""
    file.seek(0)
    try:
        stream = None if file.samplerate == rate else soxr.ResampleStream(file.samplerate, rate, 1)
    except (RuntimeError, ValueError):
        raise CourseError(f"its sample rate is {file.samplerate:,} Hz") from None
    had = 0
    while len(block := file.read(BLOCK, "float32", always_2d=True)):
        had += len(block)
        audio = block.mean(axis=1)
        if not np.isfinite(audio).all():
            raise CourseError("holds NaN or infinite samples")
        yield stream.resample_chunk(audio) if stream else audio
    # An MP3 may not know how long it is.
    if had < file.frames and file.format != "MP3":
        raise CourseError(f"truncated ({had:,} of {file.frames:,} samples)")
    if stream:
        yield stream.resample_chunk(np.empty(0, np.float32), last=True)


def _words(file: soundfile.SoundFile, rate: int) -> Iterator[tuple[vad.Word, np.ndarray]]:
    """The words of a recording, each with its samples, float32 [n]; of what is too long for one word, the beginning."""
    whole = list(_blocks(file, rate)) if file.frames <= BLOCK else None
    samples = 0

    def counted() -> Iterator[np.ndarray]:
        nonlocal samples
        for block in whole or _blocks(file, rate):
            samples += len(block)
            yield block

    level = vad.levels(counted(), rate)
    words = vad.words_of(level, rate, samples)
    places = [
        (round(word.start * rate), round(min(word.end, word.start + vad.LONGEST) * rate))  # as the book's page cuts
        for word in words
    ]
    return zip(words, _cut(whole or _blocks(file, rate), places), strict=False)


def _cut(blocks: Iterable[np.ndarray], places: Sequence[tuple[int, int]]) -> Iterator[np.ndarray]:
    """The samples from `start` to `end` for each of `places`, which follow one another."""
    blocks, held, first = iter(blocks), np.empty(0, np.float32), 0
    for start, end in places:
        while first + len(held) < end and (block := next(blocks, None)) is not None:
            passed = min(max(0, start - first), len(held))
            held, first = np.concatenate([held[passed:], block]), first + passed
        yield held[max(0, start - first) : end - first].copy()


def recordings(inputs: Iterable[str]) -> Iterator[str]:
    """The paths of all recordings: files as they are named, folders with all that they hold, sorted.

    Only the names in one folder at a time are in memory. Hidden files are left out, and so are links to folders. A folder
    without recordings, or that cannot be listed, comes as itself. What is named twice in a row comes once.
    """
    for path, _ in itertools.groupby(itertools.chain.from_iterable(map(_below, inputs))):
        yield path


def _below(path: str) -> Iterator[str]:
    if path == STANDARD_INPUT or not os.path.isdir(path):
        yield path
        return
    inside = _walk(path)
    yield next(inside, path)
    yield from inside


def _walk(folder: str) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            names = sorted(
                (entry.name, entry.is_dir(follow_symlinks=False))
                for entry in entries
                if not entry.name.startswith(".") and (entry.is_dir(follow_symlinks=False) or _is_recording(entry))
            )
    except OSError:
        yield folder
        return
    for name, is_folder in names:
        path = os.path.join(folder, name)
        if is_folder:
            yield from _walk(path)
        else:
            yield path


def _is_recording(entry: os.DirEntry) -> bool:
    # A link that leads nowhere is a recording that cannot be read.
    return entry.name.lower().endswith(EXTENSIONS) and (entry.is_file() or entry.is_symlink())


def predict(
    inputs: Sequence[str],
    model_path: Path | str,
    out: Path | str | None = None,
    threshold: float | None = None,
    progress: bool = True,
) -> int:
    """Reads all recordings of `inputs`, prints a line for each word, and writes a table to `out`.

    inputs: files, folders, "-" for standard input. A line is path, start and end in seconds, the digit or "not a digit",
    and its probability, with tabs between them. The table (COLUMNS) has a row for each word, and one for a recording
    without any. A recording that cannot be read is named on standard error and left out. After an interruption the same
    call goes on with the table after the last whole recording; a file beside it says what made it. Under `accelerate launch`
    each process reads its share. Returns 0, or 1 if something could not be read. Raises CourseError for a model that cannot
    be loaded, or a table that is not this model's.
    """
    inputs = [str(path) for path in inputs]
    us = _processes(model_path)
    if us.count > 1 and STANDARD_INPUT in inputs:
        raise CourseError("predict: standard input cannot be shared. Start one process, or name a file.")
    model = load(model_path, threshold, us.device)
    files, done, bad, bytes_done = recordings(inputs), 0, 0, 0
    if out is not None:
        out = Path(out)
        made = {"columns": COLUMNS, "model": model.sha256, "threshold": model.threshold}
        done, bad, bytes_done = _continued(out, made, files)
    first = us.index == 0
    us.wait()  # until all have looked at the table
    with contextlib.ExitStack() as stack:
        table = stack.enter_context(_table(out, made, bytes_done)) if out is not None and first else None
        show = progress and first and any(map(os.path.isdir, inputs))
        total = sum(1 for _ in recordings(inputs)) if show else None
        bar = stack.enter_context(tqdm(desc="predict", total=total, initial=done, unit="file", disable=not show))
        if done and first:
            tqdm.write(f"continuing {out} after {done:,} recordings", file=sys.stderr)
        while batch := list(itertools.islice(files, 1 if us.count == 1 else ROUND * us.count)):
            mine = range(us.index, len(batch), us.count)
            answers = us.gather([(place, *_answer(batch[place], model)) for place in mine])
            for place, words, problem in sorted(answers, key=lambda answer: answer[0]):
                bad += problem is not None
                if first:
                    _tell(batch[place], words, problem, bar)
                    if table:
                        table.write(_rows(batch[place], words, problem))
                        table.flush()
                    bar.update()
    return int(bad > 0)


def _answer(path: str, model: Model) -> tuple[list[Spoken], str | None]:
    try:
        return read(path, model), None
    except CourseError as error:
        return [], str(error)


def _tell(path: str, words: list[Spoken], problem: str | None, bar: tqdm) -> None:
    path = os.fsencode(path).decode(errors="replace")  # a name need not be text
    if problem is not None:
        tqdm.write(f"error: {path}: {problem}. It is left out.", file=sys.stderr)
        return
    # Writing around a progress bar takes time, and is of use only where both share a screen.
    say = tqdm.write if sys.stdout.isatty() and not bar.disable else print
    for word in words:
        say(f"{path}\t{word.start:.2f}\t{word.end:.2f}\t{word.said}\t{word.probability:.4f}")
    if not words:
        say(f"{path}\t{NO_SPEECH}")
    sys.stdout.flush()


def _rows(path: str, words: list[Spoken], problem: str | None) -> str:
    """A recording's rows of the table."""
    rows = [
        [path, f"{word.start:.3f}", f"{word.end:.3f}", word.said, f"{word.probability:.6f}", f"{word.score:.4f}"]
        + [f"{chance:.6f}" for chance in word.probabilities]
        for word in words
    ]
    if not rows:
        rows = [[path, "", "", NO_SPEECH if problem is None else UNREADABLE, *[""] * (len(COLUMNS) - 4)]]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()


@contextlib.contextmanager
def _table(out: Path, made: dict, bytes_done: int) -> Iterator[IO[str]]:
    """The table, open to be continued after so many bytes; 0: a new one, with what made it beside it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    if not bytes_done:
        write_json(_record(out), made)
    with open(out, "a", encoding="utf-8", errors="surrogateescape", newline="") as file:
        file.truncate(bytes_done)
        if not bytes_done:
            file.write(",".join(COLUMNS) + "\n")
        yield file


def _record(out: Path) -> Path:
    return out.with_name(out.name + ".json")


def _continued(out: Path, made: dict, files: Iterator[str]) -> tuple[int, int, int]:
    """Where an interrupted run stopped: how many recordings are whole in the table, how many of them could not be read, and
    the bytes that they take. Takes these recordings out of `files`.

    The last recording of the table counts as half done. Raises CourseError if the table was made otherwise, or of others.
    """
    if not out.exists():
        return 0, 0, 0
    again = "Choose another --out, or delete it to begin again"
    try:
        held = read_json(_record(out))
        differ = [name for name in made if held.get(name) != made[name]]
    except (OSError, ValueError, AttributeError):
        raise CourseError(f"{out}: exists, and no {_record(out).name} says what made it. {again}.") from None
    if differ:
        facts = "; ".join(f"{name} {held.get(name)}, now {made[name]}" for name in differ if name != "columns")
        raise CourseError(f"{out}: was made otherwise ({facts or 'with other columns'}). {again}.")
    done = bad = bytes_done = 0
    before = None  # the row before this one
    for row, start, end in _whole_rows(out):
        if row == COLUMNS:
            bytes_done = end
            continue
        if before and row[0] != before[0]:
            if (expected := next(files, None)) != before[0]:
                raise CourseError(f"{out}: holds {before[0]} where {expected or 'nothing'} comes now. {again}.")
            done, bytes_done = done + 1, start
            bad += before[3] == UNREADABLE
        before = row
    return done, bad, bytes_done


def _whole_rows(out: Path) -> Iterator[tuple[list[str], int, int]]:
    """The rows of a table, each with the bytes where it starts and ends; what a kill cut short at its end is left out."""
    with open(out, "rb") as file:
        start = end = 0

        def lines() -> Iterator[str]:
            nonlocal end
            for line in file:
                if not line.endswith(b"\n"):
                    return
                end += len(line)
                yield line.decode("utf-8", "surrogateescape")

        rows = csv.reader(lines(), strict=True)
        # Cut within a name that holds a line's end, a row is never closed.
        with contextlib.suppress(csv.Error):
            for row in rows:
                if len(row) != len(COLUMNS):
                    raise CourseError(f"{out}: line {rows.line_num} is not of this table. Choose another --out.")
                yield row, start, end
                start = end


class _Processes(NamedTuple):
    """This process's place among those of `accelerate launch`, or the only one, and how they meet."""

    index: int
    count: int
    device: Any
    wait: Callable[[], None]
    gather: Callable[[list], list]


def _processes(model_path: Path | str) -> _Processes:
    if Path(model_path).suffix.lower() == ".onnx" and int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return _Processes(0, 1, None, lambda: None, lambda answers: answers)  # without PyTorch
    from accelerate.utils import gather_object

    from spokendigits.devices import processes

    us = processes()
    return _Processes(us.process_index, us.num_processes, us.device, us.wait_for_everyone, gather_object)
