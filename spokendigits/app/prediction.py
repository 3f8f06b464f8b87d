"""`spokendigits predict`: finds the words in recordings of any kind and length, and reads each as a digit.

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
from types import SimpleNamespace
from typing import IO

import numpy as np
import soundfile
import soxr
from tqdm import tqdm

from spokendigits.clips import fit
from spokendigits.corpora.audit import damage
from spokendigits.corpora.corpus import PROBABILITIES
from spokendigits.devices import processes
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
COLUMNS = ["path", "start", "end", "digit", "probability", "score", *PROBABILITIES]


@dataclass(frozen=True)
class Model:
    """A trained model: `answer` takes clips float32 [n, samples] and gives probabilities [n, 10] and scores [n].

    A score (`losses.digit_score`) below `threshold` says that no digit was spoken; None: that is never said.
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


def load(path: Path | str, threshold: float | None = None, device="cpu") -> Model:
    """Reads an exported model (.onnx) or a trained one (.safetensors).

    threshold: instead of the one that an exported model carries; a trained one carries none.
    Raises CourseError if there is no such file, or if it is damaged.
    """
    if _is_exported(path):
        from spokendigits.topics.onnx_reader import load_onnx

        network = load_onnx(path)
        threshold = network.threshold if threshold is None else threshold

        def answer(clips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            logarithms, scores, _ = network(clips)
            return np.exp(logarithms), scores
    else:
        import torch

        from spokendigits.classifier import Classifier
        from spokendigits.losses import digit_score, probabilities

        network = Classifier.load(path).to(device)

        @torch.inference_mode()
        def answer(clips: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            logits, loss = network(torch.from_numpy(clips).to(device)), network.recipe.loss
            return probabilities(logits, loss).cpu().numpy(), digit_score(logits, loss).cpu().numpy()

    return Model(network.recipe, answer, threshold, sha256(path))


def _is_exported(path: Path | str) -> bool:
    return Path(path).suffix.lower() == ".onnx"


def read_words(path: str, model: Model) -> list[Spoken]:
    """The words of one recording, in their order: any length, sample rate and number of channels (they are averaged).

    path: a file, or "-" for audio on standard input. Raises CourseError if it cannot be read.
    """
    samples, spoken = model.recipe.samples, []
    with _opened(path) as file:
        words = _words(file, model.recipe.sample_rate)
        while batch := list(itertools.islice(words, BATCH)):
            chances, scores = model.answer(np.stack([fit(audio, samples) for _, audio in batch]))
            for (word, _), chance, score in zip(batch, chances.tolist(), scores.tolist(), strict=True):
                low = model.threshold is not None and score < model.threshold
                digit = None if low or word.end - word.start > vad.LONGEST else int(np.argmax(chance))
                spoken.append(Spoken(word.start, word.end, digit, score, tuple(chance)))
    return spoken


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
            why = str(getattr(error, "error_string", error)).rstrip(".")
            raise CourseError(f"not readable as audio ({why})") from None
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
    frames = 0
    while len(block := file.read(BLOCK, "float32", always_2d=True)):
        frames += len(block)
        audio = block.mean(axis=1)
        if not np.isfinite(audio).all():
            raise CourseError("holds NaN or infinite samples")
        yield stream.resample_chunk(audio) if stream else audio
    # An MP3 may not know how long it is.
    if frames < file.frames and file.format != "MP3":
        raise CourseError(f"truncated ({frames:,} of {file.frames:,} samples)")
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
    # As the book's page cuts.
    ends = [min(word.end, word.start + vad.LONGEST) for word in words]
    places = [(round(word.start * rate), round(end * rate)) for word, end in zip(words, ends, strict=True)]
    return zip(words, _cut(whole or _blocks(file, rate), places), strict=False)


def _cut(blocks: Iterable[np.ndarray], places: Sequence[tuple[int, int]]) -> Iterator[np.ndarray]:
    """The samples from `start` to `end` of a recording in blocks, float [n] each, for `places` that follow one another."""
    blocks, ahead, first = iter(blocks), np.empty(0, np.float32), 0
    for start, end in places:
        while first + len(ahead) < end and (block := next(blocks, None)) is not None:
            passed = min(max(0, start - first), len(ahead))
            ahead, first = np.concatenate([ahead[passed:], block]), first + passed
        yield ahead[max(0, start - first) : end - first].copy()


def recordings(inputs: Iterable[str]) -> Iterator[str]:
    """The paths of all recordings: files as they are named, folders with all that they hold, sorted.

    Only the names in one folder at a time are in memory. Hidden files are left out, and so are links to folders. A folder
    without recordings, or that cannot be listed, comes as itself. What is named twice in a row comes once.
    """

    def below(path: str) -> Iterator[str]:
        inside = _walk(path) if path != STANDARD_INPUT and os.path.isdir(path) else iter(())
        yield next(inside, path)
        yield from inside

    for path, _ in itertools.groupby(itertools.chain.from_iterable(map(below, inputs))):
        yield path


def _walk(folder: str) -> Iterator[str]:
    try:
        names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError:
        yield folder
        return
    for name in names:
        path = os.path.join(folder, name)
        if os.path.isdir(path) and not os.path.islink(path):
            yield from _walk(path)
        # A link that leads nowhere is a recording that cannot be read.
        elif name.lower().endswith(EXTENSIONS) and (os.path.isfile(path) or os.path.islink(path)):
            yield path


def find_digits(
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
    world = _world(model_path)
    index, count, first = world.process_index, world.num_processes, world.process_index == 0
    if count > 1 and STANDARD_INPUT in inputs:
        raise CourseError("predict: standard input cannot be shared. Start one process, or name a file.")
    model = load(model_path, threshold, world.device)
    files, done, bad, size = recordings(inputs), 0, 0, 0
    if out is not None:
        out, maker = Path(out), {"columns": COLUMNS, "model": model.sha256, "threshold": model.threshold}
        done, bad, size = _continued(out, maker, files)
    world.wait_for_everyone()  # until all have looked at the table
    with contextlib.ExitStack() as stack:
        table = stack.enter_context(_table(out, maker, size)) if out is not None and first else None
        show = progress and first and any(map(os.path.isdir, inputs))
        total = sum(1 for _ in recordings(inputs)) if show else None
        bar = stack.enter_context(tqdm(desc="predict", total=total, initial=done, unit="file", disable=not show))
        if done and first:
            tqdm.write(f"continuing {out} after {done:,} recordings", file=sys.stderr)
        while batch := list(itertools.islice(files, 1 if count == 1 else ROUND * count)):
            answers = [(place, *_try_to_read(batch[place], model)) for place in range(index, len(batch), count)]
            if count > 1:
                from accelerate.utils import gather_object

                answers = gather_object(answers)
            for place, words, problem in sorted(answers, key=lambda answer: answer[0]):
                bad += problem is not None
                if first:
                    _tell(batch[place], words, problem, bar)
                    if table:
                        table.write(_rows(batch[place], words, problem))
                        table.flush()
                    bar.update()
    return int(bad > 0)


def _world(model_path: Path | str):
    """This process's place among those of `accelerate launch`; alone with an exported model, without loading PyTorch."""
    if _is_exported(model_path) and int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return SimpleNamespace(process_index=0, num_processes=1, device="cpu", wait_for_everyone=lambda: None)
    return processes()


def _try_to_read(path: str, model: Model) -> tuple[list[Spoken], str | None]:
    try:
        return read_words(path, model), None
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
    nothing = [path, "", "", NO_SPEECH if problem is None else UNREADABLE, *[""] * (len(COLUMNS) - 4)]
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows or [nothing])
    return text.getvalue()


@contextlib.contextmanager
def _table(out: Path, maker: dict, size: int) -> Iterator[IO[str]]:
    """The table, open to be continued after `size` bytes; 0: a new one, with what makes it beside it."""
    out.parent.mkdir(parents=True, exist_ok=True)
    if not size:
        write_json(_record(out), maker)
    with open(out, "a", encoding="utf-8", errors="surrogateescape", newline="") as file:
        file.truncate(size)
        if not size:
            file.write(",".join(COLUMNS) + "\n")
        yield file


def _record(out: Path) -> Path:
    return out.with_name(out.name + ".json")


def _continued(out: Path, maker: dict, files: Iterator[str]) -> tuple[int, int, int]:
    """Where an interrupted run stopped: how many recordings are whole in the table, how many of them could not be read, and
    the bytes that they take. Takes these recordings out of `files`.

    The last recording of the table counts as half done. Raises CourseError if the table was made otherwise, or of others.
    """
    if not out.exists():
        return 0, 0, 0
    again = "Choose another --out, or delete it to begin again"
    try:
        before = read_json(_record(out))
        differ = [name for name in maker if before.get(name) != maker[name]]
    except (OSError, ValueError, AttributeError):
        raise CourseError(f"{out}: exists, and no {_record(out).name} says what made it. {again}.") from None
    if differ:
        facts = "; ".join(f"{name} {before.get(name)}, now {maker[name]}" for name in differ if name != "columns")
        raise CourseError(f"{out}: was made otherwise ({facts or 'with other columns'}). {again}.")
    done = bad = size = 0
    last = None  # the row before this one
    for row, start, end in _whole_rows(out):
        if row == COLUMNS:
            size = end
            continue
        if last and row[0] != last[0]:
            if (expected := next(files, None)) != last[0]:
                raise CourseError(f"{out}: holds {last[0]} where {expected or 'nothing'} comes now. {again}.")
            done, bad, size = done + 1, bad + (last[3] == UNREADABLE), start
        last = row
    return done, bad, size


def _whole_rows(out: Path) -> Iterator[tuple[list[str], int, int]]:
    """The rows of a table, each with the bytes where it starts and ends; what a kill cut short at its end is left out."""
    with (
        open(out, "rb") as file,
        contextlib.suppress(csv.Error),
    ):  # cut within a name of two lines, a row is never closed
        whole = itertools.takewhile(lambda line: line.endswith(b"\n"), file)
        rows, start = csv.reader((line.decode("utf-8", "surrogateescape") for line in whole), strict=True), 0
        for row in rows:
            if len(row) != len(COLUMNS):
                raise CourseError(f"{out}: line {rows.line_num} is not of this table. Choose another --out.")
            yield row, start, file.tell()
            start = file.tell()
