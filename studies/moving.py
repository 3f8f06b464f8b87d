"""What the figures of chapter 5 that move read, in book/moving: written at the end of `make outputs`, from its run.

mistakes.json holds words that the fast lane's model misread, and others that it read; map.json every held-out clip, on the
map of that model and on the spotter's; voices.mp3 the sound of both. All of it is synthetic speech.
"""

import base64
import json
from pathlib import Path

import numpy as np
import pandas as pd
import soundfile
import soxr
from sklearn.preprocessing import normalize

from spokendigits import corpora, lanes
from spokendigits.classifier import Classifier
from spokendigits.clips import make_clips, read_audio
from spokendigits.corpora.corpus import PROBABILITIES, Corpus
from spokendigits.evaluation import mistakes
from spokendigits.files import atomic_file
from spokendigits.publish import say_a_digit
from spokendigits.splits import split
from spokendigits.topics import explain, vad
from spokendigits.topics.onnx_reader import load_onnx

MOST = 20  # misread words to listen to
NEAR = 2  # training clips beside each, as on the chapter's cards
RATE = 16_000  # of the sound: mp3 keeps 8 kHz of it in 4 kB a second
LOUDNESS = 0.5  # of a word's peak: some were spoken far from the microphone
GAP = 0.1  # seconds of silence after each word: some browsers play an mp3 a twentieth of a second late
SIDE = 1000  # of a map, in steps


def spotter_model() -> Path:
    """The model of the page "Say a digit", which a reader's browser can run."""
    return lanes.shipped("_static/say/spotter.onnx")


def pooled(embedding: np.ndarray, scales: dict[str, list[float]]) -> np.ndarray:
    """A spotter's embedding [steps, 96] as one direction [96]: its mean over time on its usual scale. `pool` in model.js is the same."""
    point = (embedding.mean(axis=0) - scales["mean"]) / scales["spread"]
    return point / np.linalg.norm(point)


def heard(paths: list[Path], model: Path) -> np.ndarray:
    """Directions [clips, 96] of clips, each cut to the word in it, as a reader's own voice is."""
    spotter, scales = load_onnx(model), say_a_digit.scales(model)
    points = []
    for path in paths:
        audio = read_audio(path, spotter.recipe.sample_rate)
        bounds = vad.find_words(audio, spotter.recipe.sample_rate)
        first, end = (round(one * spotter.recipe.sample_rate) for one in (bounds[0].start, bounds[-1].end))
        points.append(pooled(spotter(audio[None, first:end])[1][0], scales))
    return np.stack(points)


def twins(table: pd.DataFrame, misread: pd.DataFrame) -> pd.DataFrame:
    """For each misread clip one of the same voice that was read rightly, and is the digit that the other was taken for.

    So nobody can tell from the digit whether the model erred. Where there is none left, it goes without.
    """
    right, chosen = table[table["digit"] == table["predicted"]], []
    for _, row in misread.iterrows():
        alike = right[(right["speaker"] == row["speaker"]) & (right["digit"] == row["predicted"])]
        chosen += list(alike.index.difference(chosen, sort=False)[:1])
    return table.loc[chosen]


def words_to_hear(table: pd.DataFrame, corpus: Corpus, near: np.ndarray, distances: np.ndarray) -> list[dict]:
    """Of each row of a predictions table: what was said and read, the ten probabilities, and its `near` training clips [n, k]."""
    others = corpus.table[["digit", "speaker"]]
    words = []
    for (_, row), places, apart in zip(table.iterrows(), near, distances, strict=True):
        beside = [
            {
                "clip": int(place),
                "digit": int(others["digit"][place]),
                "speaker": others["speaker"][place],
                "distance": round(float(far), 4),
            }
            for place, far in zip(places, apart, strict=True)
        ]
        word = {"clip": int(row["clip"]), "said": int(row["digit"]), "read": int(row["predicted"])}
        chances = [round(float(row[name]), 4) for name in PROBABILITIES]
        words.append(word | {"speaker": row["speaker"], "chances": chances, "near": beside})
    return words


def other_voices(embedded: np.ndarray, speaker: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Of each embedding of [n, d] the place of the nearest one by another speaker, and its cosine distance: both [n]."""
    apart = np.where(speaker == speaker[:, None], np.inf, 1 - normalize(embedded) @ normalize(embedded).T)
    return apart.argmin(axis=1), apart.min(axis=1)


def charted(embedded: np.ndarray, table: pd.DataFrame) -> dict:
    """A map of embeddings [n, d]: points [n, 2] in steps of its larger side, and shares of clips.

    digit, speaker: those whose nearest clip is of the same digit, or speaker, as the chapter counts them. across: those whose
    nearest clip of another speaker is of the same digit.
    """
    points = explain.embedding_map(embedded)
    points = (points - points.min(axis=0)) / np.ptp(points, axis=0).max()
    digit, speaker = (table[name].to_numpy() for name in ("digit", "speaker"))
    beside = explain.nearest(embedded, embedded, k=2)[0][:, 1]  # the first is the clip itself
    across = other_voices(embedded, speaker)[0]
    shares = {"digit": digit[beside] == digit, "speaker": speaker[beside] == speaker, "across": digit[across] == digit}
    alike = {name: round(float(share.mean()), 4) for name, share in shares.items()}
    return {"points": (SIDE * points).round().astype(int).tolist(), "alike": alike}


def packed(directions: np.ndarray) -> dict:
    """Directions [n, d] in a byte a number: `bytes`, base64 of int8, and by what they are multiplied, `scale`."""
    scale = float(np.abs(directions).max() / 127)
    return {"scale": scale, "bytes": base64.b64encode((directions / scale).round().astype(np.int8).tobytes()).decode()}


def write_sound(path: Path, sounds: dict[int, np.ndarray], rate: int) -> dict[int, list[float]]:
    """Writes sounds, one after the other, as an mp3; returns where each begins and ends, in seconds."""
    bounds, pieces, at = {}, [np.zeros(round(GAP * RATE), np.float32)], round(GAP * RATE)
    for name, sound in sounds.items():
        sound = soxr.resample(sound, rate, RATE)
        sound = LOUDNESS * sound / max(np.abs(sound).max(), 1e-9)
        bounds[name] = [round(at / RATE, 4), round((at + len(sound)) / RATE, 4)]
        pieces += [sound, np.zeros(round(GAP * RATE), np.float32)]
        at += len(sound) + len(pieces[-1])
    how = {"format": "MP3", "subtype": "MPEG_LAYER_III", "bitrate_mode": "VARIABLE", "compression_level": 0.7}
    with atomic_file(path) as temporary:
        soundfile.write(temporary, np.concatenate(pieces), RATE, **how)
    return bounds


def write_packed(path: Path, value: dict) -> None:
    """JSON on one line: long tables of numbers are for a browser, not for eyes."""
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(value, separators=(",", ":")) + "\n", encoding="utf-8")


def write(run: Path, folder: Path | None = None) -> None:
    """Writes all three files for the model for new voices of a course run (`run`/speaker) into `folder` (None: book/moving)."""
    trained, folder = run / "speaker", folder or lanes.repository() / "book" / "moving"
    model = Classifier.load(trained / lanes.MODEL)
    recipe = model.recipe
    corpus = corpora.load(recipe.corpus, speakers=recipe.speakers, takes=recipe.takes)
    clips = make_clips(corpus, recipe)
    parts = split(corpus, recipe.split, recipe.folds, recipe.fold, recipe.seed)
    table = pd.read_csv(trained / "predictions.csv")
    held_out, known = (
        explain.embeddings(model, clips, corpus, rows, progress=False) for rows in (parts.validation, parts.train)
    )
    directions = heard([corpus.root / path for path in table["path"]], spotter_model())

    wrong = mistakes(table)
    misread = wrong.head(MOST)
    asked = pd.concat([misread, twins(table, misread)])
    places, distances = explain.nearest(held_out[asked.index], known, k=NEAR)
    words = words_to_hear(asked, corpus, parts.train[places], distances)

    rows = dict.fromkeys([*map(int, table["clip"]), *(beside["clip"] for word in words for beside in word["near"])])
    sounds = {row: clips.waveform(row)[: clips.lengths[row]] for row in rows}
    bounds = write_sound(folder / "voices.mp3", sounds, recipe.sample_rate)
    for one in (*words, *(beside for word in words for beside in word["near"])):
        one["bounds"] = bounds[one["clip"]]
    facts = {"corpus": corpus.label, "gap": GAP, "clips": len(table), "mistakes": len(wrong)}
    write_packed(folder / "mistakes.json", facts | {"words": words})

    voices = sorted(table["speaker"].unique())
    apart = other_voices(directions, table["speaker"].to_numpy())[1]  # to compare a reader's voice with
    columns = {
        "digit": table["digit"].tolist(),
        "voice": [voices.index(name) for name in table["speaker"]],
        "read": table["predicted"].tolist(),
        "chance": table[PROBABILITIES].max(axis=1).round(4).tolist(),
        "bounds": [bounds[row] for row in table["clip"]],
    }
    maps = {
        "chapter": charted(held_out, table),
        "spotter": charted(directions, table) | {"directions": packed(directions), "apart": apart.round(4).tolist()},
    }
    told = {"corpus": corpus.label, "gap": GAP, "side": SIDE, "voices": voices, "columns": columns, "maps": maps}
    write_packed(folder / "map.json", told)
