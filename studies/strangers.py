"""The model that answers: a spotter taught with joined clips of synthetic voices and of people, and how it reads others.

    python -m studies.strangers [part ...]

Each part is one training, and who is asked was not in it: a fifth of Speech Commands' people and of its words, one of
FSDD's people, none of either, or ("final", the stored model) the people of other recordings. Parts that are done are kept.
On a GPU a part takes two minutes, on two cores an hour.
"""

import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import torch
from safetensors.torch import load_file, save_file
from tqdm import tqdm

from spokendigits import corpora, lanes
from spokendigits.augmentation import Augment
from spokendigits.clips import make_clips, read_audio
from spokendigits.corpora import others, voices
from spokendigits.corpora.corpus import DIGITS, FULL_SCALE
from spokendigits.corpora.recording import read as read_recording
from spokendigits.devices import device_name, processes
from spokendigits.files import atomic_file, find_data, read_json, runs_folder, sha256, write_json
from spokendigits.intervals import score
from spokendigits.recipe import Recipe
from spokendigits.topics.decoding import BLANK, OTHER, SYMBOLS, digit_score, one_word, words
from spokendigits.topics.onnx_writer import write_spotter
from spokendigits.topics.rejection import auroc, choose_threshold
from spokendigits.topics.spotting import DROPOUT, Spotter, ctc
from studies import results
from studies.results import Stopwatch

RECIPE = Recipe.preset("speech")
RATE = RECIPE.sample_rate
SHARES = {"voices": 0.4, "fsdd": 0.25, "speech_commands": 0.3}  # how often an example is of each corpus
OTHERS = {"voices": 0.3, "fsdd": 0.0, "speech_commands": 0.45}  # how many of its words are no digits
STRINGS, NOTHING = 0.4, 0.08  # of the batches hold several words an example; of the single examples are a noise
SINGLE, STRING = 2.0, 6.0  # seconds of an example, and the latest end of its words: `Augment` may make them slower
LATEST = {SINGLE: 1.0, STRING: 3.4}
MOST, FEW = 8, 6  # words in an example; who has said fewer words is joined with others
TIGHT, OVERLAP, PAUSE = 0.7, 0.12, 0.4  # share of examples with hardly a pause; seconds that words overlap, or pause
FADE = 0.02  # seconds
FOLDS = 5  # of Speech Commands' people and words
PASS = 0.97  # share of strangers' digits that the threshold lets through
KEPT = 0.95  # where other words are compared with what others report
PAGE_MODEL = "book/_static/say/spotter.onnx"


@dataclass(frozen=True)
class Plan:
    """How a spotter is taught."""

    steps: int = 1900
    batch: int = 128  # examples of one word; of several, as many seconds
    learning_rate: float = 0.003  # of the head
    embedding_rate: float = 0.0003  # of the speech embedding; 0: it stays as it was
    weight_decay: float = 0.001
    dropout: float = DROPOUT
    seed: int = 0


# Taught by synthetic voices alone, the embedding forgets how people sound: it stays as it was, and the head is held back
# from learning those voices by heart.
ALONE = Plan(embedding_rate=0.0, steps=1000, dropout=0.6)


class Heard:
    """All clips, int16 [n, samples], what is said in them, and where."""

    def __init__(self, progress: bool = True):
        corpora_of = {
            "voices": voices.read(voices.fetch(engines=(), progress=progress)),
            "others": others.read(others.fetch(engines=(), progress=progress)),
            "fsdd": corpora.load("fsdd", progress=progress),
            "speech_commands": corpora.load("speech_commands", kinds=("digit", "word"), progress=progress),
        }
        self.corpora = corpora_of
        tables, audio = [], []
        for name, corpus in corpora_of.items():
            files = [str(corpus.file(row)) for row in range(len(corpus))]
            table = corpus.table.assign(corpus=name, home="voices" if name == "others" else name, file=files)
            table = table.assign(**{column: value for column, value in (("kind", "digit"), ("heard", True)) if column not in table})  # fmt: skip
            tables.append(table.assign(word=table["word"] if "word" in table else table["digit"].astype(str)))
            audio.append(make_clips(corpus, RECIPE, progress=progress).audio)
        for file in sorted((corpora_of["speech_commands"].root / "_background_noise_").glob("*.wav")):
            with soundfile.SoundFile(file) as noise:
                whole = np.rint(read_recording(noise, RATE) * FULL_SCALE).astype(np.int16)
            seconds = whole[: len(whole) // RATE * RATE].reshape(-1, RATE)
            facts = {"corpus": "noises", "home": "speech_commands", "digit": -1, "kind": "noise", "heard": True}
            facts |= {"speaker": file.stem, "word": file.stem, "file": str(file)}
            tables.append(pd.DataFrame([facts] * len(seconds)))
            audio.append(seconds)
        columns = ["corpus", "home", "file", "speaker", "digit", "kind", "word", "heard"]
        self.table = pd.concat([table[columns] for table in tables], ignore_index=True).astype({"heard": bool})
        self.audio = np.concatenate(audio)

    @cached_property
    def bounds(self) -> np.ndarray:
        """Where the sound of each clip begins and ends, in samples, [n, 2]: up to 35 dB below its loudest."""
        frame, out = RATE // 100, []
        for block in np.array_split(self.audio, max(1, len(self.audio) // 1000)):
            power = ((block.astype(np.float32) / FULL_SCALE).reshape(len(block), -1, frame) ** 2).mean(axis=2)
            level = 10 * np.log10(power + 1e-10)
            peak, floor = level.max(axis=1), np.percentile(level, 10, axis=1)
            loud = level > np.minimum(np.maximum(peak - 35, floor + 8), peak - 12)[:, None]
            first, last = loud.argmax(axis=1) - 3, loud.shape[1] - loud[:, ::-1].argmax(axis=1) + 3
            out.append(np.stack([first.clip(min=0), last.clip(max=loud.shape[1])], axis=1) * frame)
        return np.concatenate(out)

    def people(self) -> str:
        """Who is heard, in words."""
        count = self.table.groupby("corpus")["speaker"].nunique()
        return (
            f"{count['voices']:,} synthetic voices, {count['fsdd']} people of FSDD "
            f"and {count['speech_commands']:,} of Speech Commands"
        )

    def parts(self) -> dict[str, tuple[np.ndarray, np.ndarray]]:
        """Of each training the rows that it may hear, and those that it is asked, digits and other words, bool [n] both."""
        table = self.table
        heard = table["heard"] | (table["corpus"] != "others")
        people, fsdd = table["corpus"] == "speech_commands", table["corpus"] == "fsdd"
        synthetic = heard & table["corpus"].isin(["voices", "others"])
        parts = {"final": (heard, heard & False), "nobody": (synthetic, fsdd | (people & (table["digit"] >= 0)))}
        for name in sorted(table["speaker"][fsdd].unique()):
            person = fsdd & (table["speaker"] == name)
            parts[f"fsdd-{name}"] = (heard & ~person, person)
        random = np.random.default_rng(0)
        speakers = random.permutation(sorted(table["speaker"][people].unique()))
        said = random.permutation(sorted(table["word"][people & (table["digit"] < 0)].unique()))
        for fold in range(FOLDS):
            who, word = table["speaker"].isin(speakers[fold::FOLDS]), table["word"].isin(said[fold::FOLDS])
            word &= table["digit"] < 0
            asked = people & who & ((table["digit"] >= 0) | word)
            # Neither the people, nor the words, of synthetic voices either, nor any recorded noise.
            barred = (people & who) | word | (table["corpus"] == "noises")
            parts[f"words-{fold}"] = (heard & ~barred, asked)
        return {name: (hear.to_numpy(bool), ask.to_numpy(bool)) for name, (hear, ask) in parts.items()}


class Examples:
    """Endless batches: clips of one speaker, joined. What is said in them is known, and not when."""

    def __init__(self, heard: Heard, rows: np.ndarray, plan: Plan, device: torch.device):
        self.audio, self.bounds, self.plan = torch.from_numpy(heard.audio).to(device), heard.bounds, plan
        self.random = np.random.default_rng(plan.seed)
        table = heard.table.iloc[rows].assign(row=rows)
        self.symbol = np.full(len(heard.table), BLANK)
        spoken = table[table["kind"] != "noise"]
        self.symbol[spoken["row"]] = np.where(spoken["digit"] < 0, OTHER, spoken["digit"])
        self.noises = table["row"][table["kind"] == "noise"].to_numpy()
        rare = spoken.groupby("speaker")["row"].transform("size") < FEW
        spoken = spoken.assign(group=np.where(rare, "", spoken["speaker"]))

        def kinds(part: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
            return part["row"].to_numpy()[part["digit"] >= 0], part["row"].to_numpy()[part["digit"] < 0]

        self.speakers = {home: [kinds(part) for _, part in of.groupby("group")] for home, of in spoken.groupby("home")}
        self.all = {home: kinds(of) for home, of in spoken.groupby("home")}
        shares = np.array([SHARES[home] for home in self.all])
        self.homes, self.shares = list(self.all), shares / shares.sum()

    def _rows(self, several: bool) -> list[int]:
        draw = self.random
        if not several and len(self.noises) and draw.random() < NOTHING:
            return [int(draw.choice(self.noises))]
        home = self.homes[draw.choice(len(self.homes), p=self.shares)]
        count, speakers = draw.integers(2, MOST + 1) if several else 1, self.speakers[home]
        digits, rest = speakers[draw.integers(len(speakers))] if several else self.all[home]
        kinds = [rest if (draw.random() < OTHERS[home] and len(rest)) or not len(digits) else digits for _ in range(count)]  # fmt: skip
        return [int(kind[draw.integers(len(kind))]) for kind in kinds]

    def batch(self, several: bool) -> tuple[torch.Tensor, list[list[int]]]:
        """Waveforms [batch, samples], and the symbols in each."""
        draw, device = self.random, self.audio.device
        seconds = STRING if several else SINGLE
        count, samples, longest = round(self.plan.batch * SINGLE / seconds), round(seconds * RATE), self.audio.shape[1]
        rows, start = np.zeros((count, MOST), int), np.zeros((count, MOST), int)
        gain, said = np.zeros((count, MOST), np.float32), []
        for example in range(count):
            at, tight, level, symbols = draw.uniform(0, 0.3), draw.random() < TIGHT, draw.uniform(-1.2, 0), []
            for slot, row in enumerate(self._rows(several)):
                length = (self.bounds[row, 1] - self.bounds[row, 0]) / RATE
                if not several:
                    at = draw.uniform(0, max(0.0, LATEST[seconds] - length))
                elif at + length > LATEST[seconds]:
                    break
                rows[example, slot], start[example, slot] = row, round(at * RATE)
                gain[example, slot] = 10 ** (level + draw.uniform(-0.3, 0))
                symbols += [int(self.symbol[row])] if self.symbol[row] != BLANK else []
                at += length + draw.uniform(*((-OVERLAP, 0.05) if tight else (-0.05, PAUSE)))
            said.append(symbols)
        wave, along = torch.zeros(count, samples + longest, device=device), torch.arange(longest, device=device)
        for slot in range(MOST if several else 1):
            chosen = torch.from_numpy(rows[:, slot]).to(device)
            first, last = torch.from_numpy(self.bounds[rows[:, slot]]).to(device).T[:, :, None]
            clip = self.audio[chosen].float().gather(1, (first + along).clamp(max=longest - 1))
            clip = clip * (torch.minimum(along, last - first - 1 - along) / (FADE * RATE)).clamp(0, 1)
            clip = clip / clip.abs().amax(dim=1, keepdim=True).clamp(min=1) * torch.from_numpy(gain[:, slot, None]).to(device)  # fmt: skip
            wave.scatter_add_(1, torch.from_numpy(start[:, slot, None]).to(device) + along, clip)
        return wave[:, :samples], said

    def __iter__(self) -> Iterator[tuple[torch.Tensor, list[list[int]]]]:
        while True:
            yield self.batch(self.random.random() < STRINGS)


def teach(examples: Examples, plan: Plan, progress: bool = True) -> Spotter:
    """A spotter that has seen `plan.steps` batches."""
    torch.manual_seed(plan.seed)
    device = examples.audio.device
    spotter, change = Spotter(dropout=plan.dropout).to(device).train(), Augment(RECIPE.but(augment="all"))
    spotter.embedding.requires_grad_(plan.embedding_rate > 0)
    groups = [{"params": list(spotter.head.parameters()), "lr": plan.learning_rate}]
    if plan.embedding_rate:
        groups.append({"params": list(spotter.embedding.layers.parameters()), "lr": plan.embedding_rate})
    optimizer = torch.optim.AdamW(groups, weight_decay=plan.weight_decay)
    rates = [group["lr"] for group in groups]
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=plan.steps, pct_start=0.1)
    bar = tqdm(range(plan.steps), "spotter", unit="batch", disable=not progress)
    for _, (wave, said) in zip(bar, examples, strict=False):
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logarithms = spotter(wave, change)
        loss = ctc(logarithms.float(), said).mean()
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(spotter.parameters(), 5.0)
        optimizer.step()
        schedule.step()
    return spotter.eval()


@torch.inference_mode()
def hear(spotter: Spotter, recordings: list[np.ndarray]) -> list[np.ndarray]:
    """The logarithms [steps, symbols] of recordings, float [n] each; those of about one length are read together."""
    device, out = next(spotter.parameters()).device, [np.empty(0)] * len(recordings)
    padded = [np.pad(audio, (0, -len(audio) % (RATE // 10))).astype(np.float32) for audio in recordings]
    lengths = np.array([len(audio) for audio in padded])
    for length in np.unique(lengths):
        alike = np.flatnonzero(lengths == length)
        for part in np.array_split(alike, max(1, len(alike) // 64)):
            batch = torch.from_numpy(np.stack([padded[number] for number in part])).to(device)
            for number, logarithms in zip(part, spotter(batch).cpu().numpy(), strict=True):
                out[number] = logarithms
    return out


def chances(spotter: Spotter, recordings: list[np.ndarray]) -> list[list[float]]:
    """What a spotter says of recordings of one word each, [recordings, symbols]."""
    return [one_word(logarithms).round(6).tolist() for logarithms in hear(spotter, recordings)]


def digits_in(logarithms: np.ndarray) -> str:
    """The digits of a string, other words left out."""
    symbols = [int(word.chances.argmax()) for word in words(logarithms)]
    return "".join(str(symbol) for symbol in symbols if symbol < DIGITS)


def elsewhere(spotter: Spotter) -> dict:
    """Recordings of nobody who is in any training, if they are on this machine: single digits, and strings of them."""
    out: dict = {}
    for name, where in (("connected", "digits"), ("audiomnist", "data")):
        if folder := find_data(name):
            files = sorted((folder / where).rglob("*.wav"))
            said = chances(spotter, [read_audio(file, RATE) for file in files])
            out[name] = {"digits": [int(file.stem[0]) for file in files], "chances": said}
    if folder := find_data("connected"):
        files = sorted((folder / "strings").glob("*.wav"))
        read = hear(spotter, [read_audio(file, RATE) for file in files])
        out["strings"] = [[file.stem, digits_in(one)] for file, one in zip(files, read, strict=True)]
    return out


def work(heard: Heard, name: str, folder: Path, progress: bool = True) -> dict:
    """What the spotter of one part says, from `folder`/`name`.json; taught first if it is not there."""
    path, plan = folder / f"{name}.json", ALONE if name == "nobody" else Plan()
    if path.is_file() and read_json(path)["plan"] == asdict(plan):
        return read_json(path)
    hears, asked = heard.parts()[name]
    device, watch = processes().device, Stopwatch()
    spotter = teach(Examples(heard, np.flatnonzero(hears), plan, device), plan, progress)
    watch.done("training")
    rows = np.flatnonzero(asked)
    noises = np.flatnonzero((heard.table["kind"] == "noise").to_numpy() & ~hears)
    made = {"plan": asdict(plan), "device": device_name(device), **watch.seconds, **results.versions_and_time()}
    with atomic_file(folder / f"{name}.safetensors") as temporary:
        save_file({key: value.contiguous().cpu() for key, value in spotter.state_dict().items()}, temporary)
    said = {
        "rows": rows.tolist(),
        "chances": chances(spotter, [read_audio(file, RATE) for file in heard.table["file"].iloc[rows]]),
        "noises": noises.tolist(),
        "noise_chances": chances(spotter, list(heard.audio[noises].astype(np.float32) / FULL_SCALE)),
        "elsewhere": elsewhere(spotter),
    }
    write_json(path, made | said)
    return read_json(path)


def answers(heard: Heard, rows: list[int], said: list[list[float]]) -> pd.DataFrame:
    """Rows of the table with the digit that is the likeliest (`predicted`), and its `digit_score`."""
    table, said = heard.table.iloc[rows].reset_index(drop=True), np.reshape(said, (len(rows), SYMBOLS))
    return table.assign(predicted=said[:, :DIGITS].argmax(axis=1), score=[digit_score(one) for one in said])


def edits(said: str, read: str) -> int:
    """How many digits have to be changed, added or taken out."""
    row = list(range(len(read) + 1))
    for i, one in enumerate(said, 1):
        before, row[0] = row[0], i
        for j, other in enumerate(read, 1):
            before, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, before + (one != other))
    return row[-1]


def share(table: pd.DataFrame, counted: pd.Series | np.ndarray) -> dict:
    """A share of clips, with its interval over speakers, and how many clips and speakers."""
    return score(table[["speaker"]].assign(digit=1, predicted=np.asarray(counted).astype(int)))


def measure(heard: Heard, said: dict[str, dict]) -> dict:
    """What `book/results/strangers.json` holds, from what the parts say."""
    folds = [said[f"words-{fold}"] for fold in range(FOLDS)]
    strangers = pd.concat([answers(heard, part["rows"], part["chances"]) for part in folds], ignore_index=True)
    noises = pd.concat([answers(heard, part["noises"], part["noise_chances"]) for part in folds], ignore_index=True)
    digits, rest = strangers[strangers["digit"] >= 0], strangers[strangers["digit"] < 0]
    people = {name: answers(heard, part["rows"], part["chances"]) for name, part in said.items()}
    left_out = pd.concat([table for name, table in people.items() if name.startswith("fsdd-")], ignore_index=True)
    threshold, at_kept = (choose_threshold(digits["score"].to_numpy(), part) for part in (PASS, KEPT))

    def whole(table: pd.DataFrame) -> pd.DataFrame:
        """The same with no digit predicted where the answer would be "not a digit"."""
        return table.assign(predicted=table["predicted"].where(table["score"] >= threshold, -1))

    def passing(table: pd.DataFrame) -> dict:
        return {
            "taken": share(table, table["score"] >= threshold),
            "at_kept": share(table, table["score"] >= at_kept),
        }

    alone, ends = people["nobody"], said["final"]["elsewhere"]
    single = {
        name: float(np.mean(np.argmax(part["chances"], axis=1) == part["digits"]))
        for name, part in ends.items()
        if name != "strings"
    }
    strings = ends.get("strings", [])
    recorded = noises[noises["corpus"] == "noises"]
    return {
        # What the figure "The price of a mistake" draws: [score, whether the likeliest digit is right], and scores alone.
        "scores": {
            "digits": [[round(row.score, 3), int(row.digit == row.predicted)] for row in digits.itertuples()],
            "other words": rest["score"].round(3).tolist(),
            "noises": recorded["score"].round(3).tolist(),
        },
        "strangers": {
            "digits": score(whole(digits)),
            "likeliest": score(digits),
            "words": passing(rest)
            | {"auroc": auroc(strangers["score"], strangers["digit"] >= 0, strangers["speaker"])},
            "by_word": rest.assign(taken=rest["score"] >= threshold)
            .groupby("word")["taken"]
            .agg(["sum", "size"])
            .T.to_dict(),
            "noises": passing(recorded),
            "synthetic_noises": passing(noises[noises["corpus"] == "others"]),
        },
        "fsdd": {"likeliest": score(left_out), "digits": score(whole(left_out))}
        | {"by_speaker": {name: score(table) for name, table in left_out.groupby("speaker")}},
        "nobody": {name: score(alone[alone["corpus"] == name]) for name in ("fsdd", "speech_commands")},
        "elsewhere": {name: {"right": single[name], "clips": len(ends[name]["digits"])} for name in single},
        "strings": {
            "recordings": len(strings),
            "digits": sum(len(truth) for truth, _ in strings),
            "edits": sum(edits(*pair) for pair in strings),
            "whole": sum(truth == read for truth, read in strings),
        },
        "threshold": threshold,
        "pass": PASS,
        "kept": {"share": KEPT, "threshold": at_kept},
    }


def write_results() -> None:
    """Makes the page's model and `book/results/strangers.json` (`make strangers`)."""
    heard, folder = Heard(), runs_folder() / "strangers"
    said = {name: work(heard, name, folder) for name in heard.parts()}
    found = measure(heard, said)
    spotter, weights = Spotter(), folder / "final.safetensors"
    spotter.load_state_dict(load_file(weights))
    page = write_spotter(
        spotter.eval(), lanes.repository() / PAGE_MODEL, found["threshold"], sha256(weights), heard.people()
    )
    sources = {
        name: {"title": corpus.title, "source": corpus.source, "licence": corpus.licence, "clips": len(corpus)}
        for name, corpus in heard.corpora.items()
    }

    def made(part: dict) -> dict:
        return {name: part[name] for name in ("plan", "device", "training", "versions", "finished")}

    results.write(
        "strangers",
        found
        | {
            "sources": sources,
            "bytes": page.stat().st_size,
            "sha256": sha256(page),
            "parameters": sum(value.numel() for value in spotter.parameters()),
            "made": made(said["final"]) | {"alone": made(said["nobody"]), "taught": heard.people()},
        },
    )


if __name__ == "__main__":
    if names := sys.argv[1:]:
        clips = Heard()
        for one in names:
            work(clips, one, runs_folder() / "strangers")
    else:
        write_results()
