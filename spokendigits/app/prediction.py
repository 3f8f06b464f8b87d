"""`spokendigits predict`: finds the words in recordings of any kind and length, and reads each as a digit.

Memory stays flat, however long a recording is and however many a folder holds: samples are read block by block, and only
the words are kept. PyTorch is not loaded for an exported model.
"""

import contextlib
import csv
import io
import itertools
import math
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import IO

import numpy as np
import soundfile
from tqdm import tqdm

from spokendigits import lanes
from spokendigits.clips import LONGEST, fit
from spokendigits.corpora import MADE, recording
from spokendigits.corpora.audit import SILENT
from spokendigits.corpora.corpus import PROBABILITIES
from spokendigits.devices import processes
from spokendigits.errors import CourseError, check_names
from spokendigits.files import locked, read_json, sha256, write_json
from spokendigits.recipe import Recipe
from spokendigits.topics import decoding, vad

STANDARD_INPUT = "-"
BATCH = 32  # words of one file that are read at once: batches across files would differ after an interruption
ROUND = 16  # files that each of several processes reads before the lines are put in order
WORDS = ("one", "many")  # in each recording
BRIEF = 3.0  # seconds; a recording of no more may be meant to hold one word
NOT_A_DIGIT, NO_SPEECH, UNREADABLE = "not a digit", "no speech found", "not readable"
COLUMNS = ["path", "start", "end", "digit", "probability", "score", *PROBABILITIES]
COURSE_MODEL = "_static/say/spotter.onnx"  # in the book: what answers in its page "Say a digit"
PIECE = 20.0  # seconds of speech without a pause that a spotter reads at once, which keeps memory flat


@dataclass(frozen=True)
class Model:
    """A trained model: `answer` takes clips float32 [n, samples] and gives probabilities [n, 10] and scores [n].

    A score (`losses.digit_score`) below `threshold` says that no digit was spoken; None: that is never said.
    A spotter has `spot` instead: from audio float32 [n] of any length to what `decoding` reads, [steps, 12].
    """

    recipe: Recipe
    answer: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]] | None
    threshold: float | None
    sha256: str
    spot: Callable[[np.ndarray], np.ndarray] | None = None


@dataclass(frozen=True)
class Spoken:
    """A word in a recording: `start` and `end` in seconds, `digit` None if it is not a digit, `probabilities` [10].

    A spotter's probabilities add up to the chance that any digit was said.
    """

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


def find_model(name: Path | str | None = None) -> Path:
    """The file that `--model` means: a file, a folder of `train` or `export`, or a name under runs/; None: the course's best."""
    path = lanes.shipped(COURSE_MODEL) if name is None else Path(name)
    if name is None and not path.is_file():
        raise CourseError(
            f"predict: the course's own model ({COURSE_MODEL} of the book) is not here. Name one: --model."
        )
    if (path / "digits.onnx").is_file():
        return path / "digits.onnx"
    if path.is_file() or path.suffix.lower() in (".onnx", ".safetensors"):
        return path
    from spokendigits.app import export

    return export.find_model(str(name))


def load(path: Path | str, threshold: float | None = None, device="cpu") -> Model:
    """Reads an exported model (.onnx) or a trained one (.safetensors).

    threshold: instead of the one that an exported model carries; a trained one carries none.
    Raises CourseError if there is no such file, if it is damaged, or if its answers are no numbers.
    """
    if threshold is not None and not math.isfinite(threshold):
        raise CourseError(f"predict: a threshold of {threshold} is no score. Give a number.")
    if _is_exported(path):
        from spokendigits.topics.onnx_reader import OnnxSpotter, load_onnx

        network = load_onnx(path)
        threshold = network.threshold if threshold is None else threshold
        if isinstance(network, OnnxSpotter):
            return _spotter(network, threshold, path)

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

    _check(answer(np.zeros((1, network.recipe.samples), np.float32)), path)
    return Model(network.recipe, answer, threshold, sha256(path))


def _check(answers: Iterable[np.ndarray], path: Path | str) -> None:
    if not all(np.isfinite(value).all() for value in answers):
        raise CourseError(f"{path}: its answers are no numbers, so its weights are damaged. Train or export it again.")


def _spotter(network, threshold: float | None, path: Path | str) -> Model:
    def spot(audio: np.ndarray) -> np.ndarray:
        return network(audio[None])[0][0]

    _check([spot(np.zeros(network.recipe.samples, np.float32))], path)
    return Model(network.recipe, None, threshold, sha256(path), spot)


def _is_exported(path: Path | str) -> bool:
    return Path(path).suffix.lower() == ".onnx"


def read_words(path: str, model: Model, words: str | None = None) -> list[Spoken]:
    """The words of one recording, in their order: any length, sample rate and number of channels (they are averaged).

    path: a file, or "-" for audio on standard input. words: "one" takes the whole recording for one word, cut as
    `clips.make_clips` does, so that a model reads what its evaluation read; "many" finds them; None: "one" if the
    recording is no longer than a word may be. A spotter finds several in speech without a pause.
    Raises CourseError if it cannot be read.
    """
    samples, spoken = model.recipe.samples, []
    with _opened(path) as file:
        one = words == "one" or (words is None and file.frames <= vad.LONGEST * file.samplerate)
        rate = model.recipe.sample_rate
        found = (
            _whole(file, rate, sure=words == "one" or model.spot is not None)
            if one
            else _words(file, rate, whole=model.spot is not None)
        )
        if model.spot:
            return [said for word, audio in found for said in _spotted(model, word, audio, one)]
        while batch := list(itertools.islice(found, BATCH)):
            chances, scores = model.answer(np.stack([fit(audio, samples) for _, audio in batch]))
            for (word, _), chance, score in zip(batch, chances.tolist(), scores.tolist(), strict=True):
                low = model.threshold is not None and score < model.threshold
                long = not one and word.end - word.start > vad.LONGEST
                spoken.append(
                    Spoken(word.start, word.end, None if low or long else int(np.argmax(chance)), score, tuple(chance))
                )
    return spoken


def _spotted(model: Model, word: vad.Word, audio: np.ndarray, one: bool) -> Iterator[Spoken]:
    """What a spotter hears in one spoken part: one word, or several in their order."""
    logarithms = model.spot(audio)
    parts = [] if one else decoding.words(logarithms)
    if len(parts) < 2 and (one or not parts or word.end - word.start <= vad.LONGEST):
        parts = [decoding.Heard(0.0, word.end - word.start, decoding.one_word(logarithms))]
    for part in parts:
        score, digits = decoding.digit_score(part.chances), part.chances[: decoding.DIGITS]
        digit = None if model.threshold is not None and score < model.threshold else int(digits.argmax())
        start, end = word.start + part.start, min(word.start + part.end, word.end)
        yield Spoken(start, end, digit, score, tuple(digits.tolist()))


@contextlib.contextmanager
def _opened(path: str) -> Iterator[soundfile.SoundFile]:
    with contextlib.ExitStack() as stack:
        if os.path.isdir(path):
            try:
                os.listdir(path)
            except OSError as error:
                raise CourseError(str(error.strerror)) from None
            raise CourseError("no recordings in this folder")
        if path == STANDARD_INPUT and sys.stdin is None:
            raise CourseError("standard input is closed")
        if path == STANDARD_INPUT:
            path = recording.kept(sys.stdin.buffer, stack)  # a recording is read twice
        elif Path(path).is_fifo():
            path = recording.kept(stack.enter_context(open(path, "rb")), stack)
        yield stack.enter_context(recording.opened(path))


def _whole(file: soundfile.SoundFile, rate: int, sure: bool) -> Iterator[tuple[vad.Word, np.ndarray]]:
    """A recording as its only word, float32 [n]; none if it is silent, or too soft, unless one is `sure` to be there."""
    if file.frames > LONGEST * file.samplerate:
        raise CourseError(f"{file.frames / file.samplerate:,.0f} s long, and no single word")
    audio = recording.read(file, rate)
    if np.abs(audio).max(initial=0) >= SILENT and (sure or vad.levels([audio], rate).max(initial=-np.inf) >= vad.QUIET):
        yield vad.Word(0.0, len(audio) / rate), audio


def _words(file: soundfile.SoundFile, rate: int, whole: bool = False) -> Iterator[tuple[vad.Word, np.ndarray]]:
    """The words of a recording, each with its samples, float32 [n]; of what is too long for one word the beginning, or all of it (`whole`) in pieces."""
    read = list(recording.blocks(file, rate)) if file.frames <= recording.BLOCK else None
    samples = 0

    def counted() -> Iterator[np.ndarray]:
        nonlocal samples
        for block in read or recording.blocks(file, rate):
            samples += len(block)
            yield block

    level = vad.levels(counted(), rate)
    words = vad.words_of(level, rate, samples)
    if whole:
        words = [piece for word in words for piece in _pieces(word, level)]
    # As the book's page cuts.
    ends = [min(word.end, word.start + (PIECE if whole else vad.LONGEST)) for word in words]
    places = [(round(word.start * rate), round(end * rate)) for word, end in zip(words, ends, strict=True)]
    return zip(words, _cut(read or recording.blocks(file, rate), places), strict=False)


def _pieces(word: vad.Word, level: np.ndarray) -> Iterator[vad.Word]:
    """A spoken part in pieces of at most PIECE seconds, cut where it is quietest."""
    start = word.start
    while word.end - start > PIECE:
        first, last = round((start + PIECE - 2) * vad.FRAMES), round((start + PIECE) * vad.FRAMES)
        start, before = (first + int(level[first:last].argmin())) / vad.FRAMES, start
        yield vad.Word(before, start)
    yield vad.Word(start, word.end)


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
        elif name.lower().endswith(recording.EXTENSIONS + recording.FOREIGN) and (
            os.path.isfile(path) or os.path.islink(path)
        ):
            yield path


def find_digits(
    inputs: Sequence[str],
    model_path: Path | str | None = None,
    out: Path | str | None = None,
    threshold: float | None = None,
    progress: bool = True,
    words: str | None = None,
) -> int:
    """Reads all recordings of `inputs`, prints a line for each word, and writes a table to `out`.

    inputs: files, folders, "-" for standard input. A line is path, start and end in seconds, the digit or "not a digit",
    and its probability, or the score of what is no digit, with tabs between them. words: as for `read_words`. The table (COLUMNS) has a row for each word, and one for a recording
    without any. A recording that cannot be read is named on standard error and left out. After an interruption the same
    call goes on with the table after the last whole recording; a file beside it says what made it. Under `accelerate launch`
    each process reads its share. Returns 0, or 1 if something could not be read. Raises CourseError for a model that cannot
    be loaded, or a table that is not this model's.
    """
    inputs, model_path = [str(path) for path in inputs], find_model(model_path)
    check_names([words or WORDS[0]], WORDS, "predict: unknown --words")
    world = _world(model_path)
    index, count, first = world.process_index, world.num_processes, world.process_index == 0
    if count > 1 and STANDARD_INPUT in inputs:
        raise CourseError("predict: standard input cannot be shared. Start one process, or name a file.")
    model = load(model_path, threshold, world.device)
    files, done, bad, size, odd, long, unsure = recordings(inputs), 0, 0, 0, 0, 0, 0
    recipe = model.recipe
    if first and not model.spot and recipe.corpus in MADE and recipe.weights in ("auto", "imagenet", "none"):
        print(
            f"note: this model has heard synthetic voices alone ({recipe.corpus}). It may misread people.",
            file=sys.stderr,
        )
    if out is not None:
        if Path(out).exists() and not Path(out).is_file():
            raise CourseError(f"predict: {out} is no file, and a table is continued in one. Give --out another name.")
        out, maker = Path(out), {"columns": COLUMNS, "model": model.sha256, "threshold": model.threshold}
        maker |= {"words": words} if words else {}
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
            answers = [(place, *_try_to_read(batch[place], model, words)) for place in range(index, len(batch), count)]
            if count > 1:
                from accelerate.utils import gather_object

                answers = gather_object(answers)
            for place, spoken, problem in sorted(answers, key=lambda answer: answer[0]):
                bad += problem is not None
                if first:
                    if model.spot:
                        unsure += sum(word.digit is not None and word.probability < decoding.SURE for word in spoken)
                    else:
                        long += words != WORDS[0] and sum(word.end - word.start > vad.LONGEST for word in spoken)
                    odd += not (problem or words or model.spot) and _is_odd(batch[place], spoken)
                    _tell(batch[place], spoken, problem, bar)
                    if table:
                        table.write(_rows(batch[place], spoken, problem))
                        table.flush()
                    bar.update()
    if long:
        print(
            f"note: {long:,} sounds are longer than {vad.LONGEST:g} s, and so no digit. One digit at a time is expected, and a pause "
            f"of {vad.GAP:g} s before the next.",
            file=sys.stderr,
        )
    if unsure:
        print(f"note: {unsure:,} digits are guesses, with a chance below {decoding.SURE:g}.", file=sys.stderr)
    if odd:
        print(
            f"note: {odd:,} recordings of at most {BRIEF:g} s gave no single word. If each holds one: --words one.",
            file=sys.stderr,
        )
    return int(bad > 0)


def _world(model_path: Path | str):
    """This process's place among those of `accelerate launch`; alone with an exported model, without loading PyTorch."""
    if _is_exported(model_path) and int(os.environ.get("WORLD_SIZE", "1")) == 1:
        return SimpleNamespace(process_index=0, num_processes=1, device="cpu", wait_for_everyone=lambda: None)
    return processes()


def _is_odd(path: str, spoken: list[Spoken]) -> bool:
    """Whether a brief recording gave no word, several, or one that is too long for one."""
    if (len(spoken) == 1 and spoken[0].end - spoken[0].start <= vad.LONGEST) or not os.path.isfile(path):
        return False
    with contextlib.suppress(soundfile.SoundFileError):
        return soundfile.info(path).duration <= BRIEF
    return False


def _try_to_read(path: str, model: Model, words: str | None) -> tuple[list[Spoken], str | None]:
    try:
        return read_words(path, model, words), None
    except CourseError as error:
        return [], str(error)
    except OSError as error:  # such as a name of 300 letters
        return [], str(error.strerror)


def _tell(path: str, words: list[Spoken], problem: str | None, bar: tqdm) -> None:
    path = os.fsencode(path).decode(errors="replace")  # a name need not be text, nor of one line
    path = re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda found: repr(found[0])[1:-1], path)
    if problem is not None:
        tqdm.write(f"error: {path}: {problem.rstrip('.')}. It is left out.", file=sys.stderr)
        return
    # Writing around a progress bar takes time, and is of use only where both share a screen.
    say = tqdm.write if sys.stdout.isatty() and not bar.disable else print
    for word in words:
        sure = f"score {word.score:.2f}" if word.digit is None else f"{word.probability:.4f}"
        say(f"{path}\t{word.start:.2f}\t{word.end:.2f}\t{word.said}\t{sure}")
    if not words:
        say(f"{path}\t{NO_SPEECH}")
    sys.stdout.flush()


def _rows(path: str, words: list[Spoken], problem: str | None) -> str:
    """A recording's rows of the table."""
    rows = [
        [path, f"{word.start:.3f}", f"{word.end:.3f}", word.said]
        + ["" if word.digit is None else f"{word.probability:.6f}", f"{word.score:.4f}"]
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
    with open(out, "a", encoding="utf-8", errors="surrogateescape", newline="") as file, locked(out) as held:
        if held is False:
            raise CourseError(f"{out}: another process writes this table. Wait until it ends, or choose another --out.")
        file.truncate(size)
        if not size:
            write_json(_record(out), maker)
            file.write(",".join(COLUMNS) + "\n")
        yield file


def _record(out: Path) -> Path:
    return out.with_name(out.name + ".json")


def _continued(out: Path, maker: dict, files: Iterator[str]) -> tuple[int, int, int]:
    """Where an interrupted run stopped: how many recordings are whole in the table, how many of them could not be read, and
    the bytes that they take. Takes these recordings out of `files`.

    The last recording of the table counts as half done. Raises CourseError if the table was made otherwise, or of others.
    """
    if not out.exists() or not out.stat().st_size:
        return 0, 0, 0
    again = "Choose another --out, or delete it to begin again"
    try:
        before = read_json(_record(out))
        differ = [name for name in maker | before if before.get(name) != maker.get(name)]
    except (OSError, ValueError, AttributeError, TypeError):
        raise CourseError(f"{out}: exists, and no {_record(out).name} says what made it. {again}.") from None
    if differ:
        facts = "; ".join(f"{name} {before.get(name)}, now {maker.get(name)}" for name in differ if name != "columns")
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
