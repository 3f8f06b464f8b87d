"""The contestants, each run in a fresh process: `python -m studies.bench.contestants NAME FILES ANSWER [--quick]`.

Each writes what it measured as JSON to ANSWER. Imports stand inside the functions, before the clock starts: no time
holds an import, and the processes that `make_clips` starts import this file again.
"""

import functools
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

THREADS = 2  # for decoding, as many as the copied loops have workers
BATCH = 64  # clips that a frontend is given at once
WARM_UP = 3  # steps
VALIDATION = 32  # clips; train() always validates, the others never do
FURTHEST = 0.05  # decibels between two frontends that count as equal
SMALL = {"backbone": "test_resnet.r160_in1k", "n_mels": 32, "hop": 1024, "epochs": 1}


@dataclass(frozen=True)
class Sizes:
    """How much work there is; counts of clips, where nothing else is said."""

    speakers: int = 60
    takes: int = 10  # of each digit by each speaker
    clips: int = 6_000
    frontend: int = 2_400
    steps: int = 30
    loop: int = 320
    predict: int = 960
    memory: int = 3_000  # the smallest of the three corpora
    changes: dict = field(default_factory=dict)  # to the seed's recipe

    def recipe(self):
        """The seed's recipe from random weights: the benchmark needs no network."""
        from spokendigits.recipe import Recipe

        return Recipe.preset("seed").but(weights="none", **self.changes)


FULL = Sizes()
QUICK = Sizes(
    speakers=4,
    takes=3,
    clips=120,
    frontend=64,
    steps=4,
    loop=32,
    predict=64,
    memory=50,
    changes={"backbone": SMALL["backbone"], "n_mels": 32, "batch_size": 8, "epochs": 2},
)


def prepare(files: Path, sizes: Sizes) -> dict:
    """Writes AudioMNIST's shape of recordings: 48 kHz, 16 bit, mono, `<speaker>/<digit>_<speaker>_<take>.wav`."""
    import tempfile

    import soundfile
    import soxr

    from spokendigits.corpora import espeak, synthetic
    from spokendigits.devices import device_name, precision
    from studies.bench.pictures import FILE_RATE

    with tempfile.TemporaryDirectory() as spoken:
        jobs = [
            voice.job(f"{spoken}/{voice.name}", synthetic.utterances(voice, sizes.takes, 0))
            for voice in synthetic.SPEAKERS[: sizes.speakers]
        ]
        for job, _ in espeak.speak_all(jobs, os.cpu_count() or 1):
            (files / job.speaker).mkdir(parents=True)
            for path in Path(job.folder).iterdir():
                audio, rate = soundfile.read(path, dtype="float32")
                audio = soxr.resample(audio, rate, FILE_RATE)
                soundfile.write(files / job.speaker / path.name, audio, FILE_RATE, subtype="PCM_16")
    # Once through the page cache: every contestant reads warm files.
    read = sum(len(path.read_bytes()) for path in files.rglob("*.wav"))
    return {"device": device_name(device()), "precision": precision(sizes.recipe(), device()), "bytes": read}


def part(files: Path, clips: int):
    """A corpus of `clips` of the files, drawn at random, with as many of each digit."""
    from dataclasses import replace

    from spokendigits.corpora import folder

    corpus = folder.read(files)
    drawn = corpus.table.sample(frac=1, random_state=0).groupby("digit").head(-(-clips // 10))
    return replace(corpus, table=drawn.head(clips))


def held_out(corpus):
    """A split that trains on all clips but the last `VALIDATION`."""
    import numpy as np

    from spokendigits.splits import Split

    rows = np.random.default_rng(0).permutation(len(corpus))
    return Split(rows[:-VALIDATION], rows[-VALIDATION:], rows[:0])


def device():
    """Where everything computes: where the course would."""
    from spokendigits.devices import processes

    return processes().device


def wait() -> None:
    """Waits for an accelerator, if there is one, to end what it was given."""
    import torch

    if torch.accelerator.is_available():
        torch.accelerator.synchronize()


def since(started: float, clips: int) -> dict:
    """What a contestant answers: seconds since `started`, and the clips of these seconds."""
    return {"seconds": time.perf_counter() - started, "clips": clips}


def clips_ours(files: Path, sizes: Sizes) -> dict:
    """`make_clips`, the start of its threads included."""
    from spokendigits.clips import make_clips

    corpus, recipe = part(files, sizes.clips), sizes.recipe()
    started = time.perf_counter()
    clips = make_clips(corpus, recipe, THREADS, progress=False)
    return since(started, len(clips))


def clips_librosa(files: Path, sizes: Sizes) -> dict:
    """The same clips with `librosa.load`, stacked into an array in memory."""
    import librosa
    import numpy as np

    corpus, recipe = part(files, sizes.clips), sizes.recipe()

    def load(row: int) -> np.ndarray:
        audio, _ = librosa.load(corpus.file(row), sr=recipe.sample_rate)
        return librosa.util.fix_length(audio, size=recipe.samples)

    load(0)  # librosa imports most of itself when it is first used
    started = time.perf_counter()
    audio = np.stack([load(row) for row in range(len(corpus))])
    return since(started, len(audio))


def _frontend(files: Path, sizes: Sizes, make: Callable) -> dict:
    """Pictures of all clips, a batch at a time; `make(recipe)` gives the frontend: int16 [batch, samples] to pictures."""
    import torch

    from spokendigits.clips import make_clips

    corpus, recipe = part(files, sizes.frontend), sizes.recipe()
    place = device()
    # Read beforehand: this is about the frontend alone.
    audio = torch.tensor(make_clips(corpus, recipe, progress=False).audio, device=place)
    os.sync()  # or the clips are still being written in the frontend's time
    frontend = make(recipe).to(place)
    with torch.inference_mode():
        for _ in range(2):  # the first pass is the warm-up
            wait()
            started = time.perf_counter()
            for batch in audio.split(BATCH):
                frontend(batch)
        wait()
    return since(started, len(audio))


def frontend_ours(files: Path, sizes: Sizes) -> dict:
    """`LogMel` on batches."""
    from spokendigits.frontend import LogMel

    return _frontend(files, sizes, LogMel)


def frontend_torchaudio(files: Path, sizes: Sizes) -> dict:
    """torchaudio's transforms on the same batches."""
    from torch import nn

    from spokendigits.frontend import to_float
    from studies.bench.pictures import torchaudio_picture

    class Pictures(nn.Module):
        def __init__(self, recipe):
            super().__init__()
            self.picture = torchaudio_picture(recipe)

        def forward(self, audio):
            return self.picture(to_float(audio).unsqueeze(1))

    return _frontend(files, sizes, Pictures)


def frontend_librosa(files: Path, sizes: Sizes) -> dict:
    """librosa clip by clip; afterwards its pictures are compared with those of the other two."""
    import numpy as np
    import torch

    from spokendigits.clips import make_clips
    from spokendigits.errors import CourseError
    from spokendigits.frontend import LogMel, to_float
    from studies.bench.pictures import librosa_picture, torchaudio_picture

    corpus, recipe = part(files, sizes.frontend), sizes.recipe()
    clips = make_clips(corpus, recipe, progress=False)
    os.sync()  # or the clips are still being written in the frontend's time
    waveforms = [clips.waveform(row) for row in range(len(clips))]
    for _ in range(2):  # the first pass is the warm-up
        started = time.perf_counter()
        pictures = [librosa_picture(audio, recipe) for audio in waveforms]
    answer = since(started, len(pictures))

    furthest = 0.0
    ours, torchaudios = LogMel(recipe), torchaudio_picture(recipe)
    with torch.inference_mode():
        for first in range(0, len(clips), BATCH):
            audio = torch.tensor(clips.audio[first : first + BATCH])
            expected = torch.from_numpy(np.stack(pictures[first : first + BATCH]))[:, None]
            for picture in (ours(audio), torchaudios(to_float(audio).unsqueeze(1))):
                furthest = max(furthest, (picture - expected).abs().max().item())
    if furthest > FURTHEST:
        raise CourseError(
            f"the frontends differ by {furthest:.3f} dB: they do not do the same work. Mend LogMel first."
        )
    return {**answer, "furthest_db": furthest}


def step_bare(files: Path, sizes: Sizes) -> dict:
    """Training steps as PyTorch runs them by default, on one batch that is ready, with nothing around them."""
    import torch
    import torch.nn.functional as F

    from spokendigits.devices import precision
    from studies.bench.copied import network

    recipe, place = sizes.recipe(), device()
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision(recipe, place))
    model = network(recipe).to(place, memory_format=torch.channels_last).train()
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True
    )
    picture = torch.randn(recipe.batch_size, 1, recipe.n_mels, recipe.frames, device=place)
    picture = picture.contiguous(memory_format=torch.channels_last)
    target = F.one_hot(torch.arange(recipe.batch_size, device=place) % 10, 10).float()
    for step in range(WARM_UP + sizes.steps):
        if step == WARM_UP:
            wait()
            started = time.perf_counter()
        with torch.autocast(place.type, half, enabled=half is not None):
            logits = model(picture)
        F.binary_cross_entropy_with_logits(logits.float(), target).backward()
        optimizer.step()
        optimizer.zero_grad()
    wait()
    return since(started, sizes.steps * recipe.batch_size)


def step_ours(files: Path, sizes: Sizes) -> dict:
    """`train`: the training part of its second epoch, by its own record. The first epoch is the warm-up."""
    import pandas as pd

    from spokendigits.clips import make_clips
    from spokendigits.files import runs_folder
    from spokendigits.training import train

    recipe = sizes.recipe().but(epochs=2)
    corpus = part(files, sizes.steps * recipe.batch_size + VALIDATION)
    clips = make_clips(corpus, recipe, progress=False)
    train(recipe, corpus, clips, held_out(corpus), runs_folder() / "bench", progress=False)
    history = pd.read_csv(runs_folder() / "bench" / "history.csv")
    return {"seconds": float(history["seconds"].iloc[1]), "clips": sizes.steps * recipe.batch_size}


def loop_ours(files: Path, sizes: Sizes) -> dict:
    """From the files to a trained classifier: `make_clips` and `train`, its validation and its files included."""
    from spokendigits.clips import make_clips
    from spokendigits.files import runs_folder
    from spokendigits.training import train

    corpus, recipe = part(files, sizes.loop + VALIDATION), sizes.recipe()
    started = time.perf_counter()
    clips = make_clips(corpus, recipe, THREADS, progress=False)
    train(recipe, corpus, clips, held_out(corpus), runs_folder() / "bench", progress=False)
    return since(started, sizes.loop * recipe.epochs)


def _loop_copied(files: Path, sizes: Sizes, name: str) -> dict:
    """From the files to a trained network with one of the copied loops."""

    from studies.bench import copied

    corpus, recipe = part(files, sizes.loop), sizes.recipe()
    dataset = getattr(copied, name)(corpus, recipe)
    place = device()
    dataset[0]  # librosa imports most of itself when it is first used
    started = time.perf_counter()
    copied.train(dataset, recipe, place)
    wait()
    return since(started, sizes.loop * recipe.epochs)


def predict_ours(files: Path, sizes: Sizes) -> dict:
    """From the files to the predictions table: `make_clips` and `predict`."""
    import numpy as np

    from spokendigits.classifier import create
    from spokendigits.clips import make_clips
    from spokendigits.evaluation import predict

    corpus, recipe = part(files, sizes.predict), sizes.recipe()
    classifier = create(recipe).to(device())
    started = time.perf_counter()
    clips = make_clips(corpus, recipe, THREADS, progress=False)
    decoded = time.perf_counter()
    table = predict(classifier, clips, corpus, np.arange(len(corpus)), progress=False)
    return {**since(started, len(table)), "predict_seconds": time.perf_counter() - decoded}


def predict_librosa(files: Path, sizes: Sizes) -> dict:
    """From the files to logits of the same network, with the copied loop's data set."""

    from spokendigits.classifier import create
    from studies.bench import copied

    corpus, recipe = part(files, sizes.predict), sizes.recipe()
    dataset, model = copied.LibrosaClips(corpus, recipe), create(recipe).backbone
    place = device()
    dataset[0]
    started = time.perf_counter()
    logits = copied.predict(model, dataset, place)
    return since(started, len(logits))


def memory(files: Path, sizes: Sizes, times: int) -> dict:
    """Clips, one whole epoch and all predictions for a corpus whose rows name the same files `times` over.

    The smallest backbone: an epoch that shuffles every clip is then minutes, and little memory of its own hides growth.
    """
    from dataclasses import replace

    import numpy as np

    from spokendigits.clips import make_clips
    from spokendigits.evaluation import predict
    from spokendigits.files import runs_folder
    from spokendigits.splits import split
    from spokendigits.training import train

    corpus, recipe = part(files, sizes.memory), sizes.recipe().but(**SMALL)
    corpus = replace(corpus, table=corpus.table.loc[corpus.table.index.repeat(times)])
    stages, started = {}, time.perf_counter()

    def done(stage: str) -> None:
        before = sum(stage["seconds"] for stage in stages.values())
        stages[stage] = {"seconds": time.perf_counter() - started - before, "peak_mb": peak_mb()}

    clips = make_clips(corpus, recipe, THREADS, progress=False)
    done("clips")
    parts = split(corpus, recipe.split, recipe.folds, recipe.fold, recipe.seed)
    classifier = train(recipe, corpus, clips, parts, runs_folder() / "bench", progress=False)
    done("train")
    table = predict(classifier, clips, corpus, np.arange(len(corpus)), progress=False)
    done("predict")
    return {**since(started, len(table)), "stages": stages}


def peak_mb() -> float:
    """The largest resident memory so far, in MB, of this process or of a child that has ended, whichever is larger.

    Pages of mapped files count, although the system can drop them at any time: the strict measure.
    """
    import resource  # not on Windows

    unit = 1 if sys.platform == "darwin" else 1024  # bytes
    peak = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return peak * unit / 1e6


CONTESTANTS: dict[str, Callable[[Path, Sizes], dict]] = {
    "prepare": prepare,
    "clips-ours": clips_ours,
    "clips-librosa": clips_librosa,
    "frontend-ours": frontend_ours,
    "frontend-librosa": frontend_librosa,
    "frontend-torchaudio": frontend_torchaudio,
    "step-bare": step_bare,
    "step-ours": step_ours,
    "loop-ours": loop_ours,
    "loop-librosa": functools.partial(_loop_copied, name="LibrosaClips"),
    "loop-torchaudio": functools.partial(_loop_copied, name="TorchaudioClips"),
    "predict-ours": predict_ours,
    "predict-librosa": predict_librosa,
    "memory-1": functools.partial(memory, times=1),
    "memory-10": functools.partial(memory, times=10),
    "memory-100": functools.partial(memory, times=100),
}


def main(name: str, files: str, answer: str, quick: str = "") -> None:
    from spokendigits.files import write_json

    measured = CONTESTANTS[name](Path(files), QUICK if quick else FULL)
    write_json(answer, {**measured, "peak_mb": peak_mb()})


if __name__ == "__main__":
    main(*sys.argv[1:])
