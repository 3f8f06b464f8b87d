"""Near-duplicates: copies planted over a split are found, changed as they may be, and other takes are not."""

import numpy as np
import pandas as pd
import pytest

from spokendigits.clips import Clips, make_clips
from spokendigits.corpora import espeak, fsdd, synthetic
from spokendigits.corpora.corpus import Corpus
from spokendigits.recipe import Recipe
from spokendigits.splits import Split, split
from spokendigits.topics.duplicates import near_duplicates

pytestmark = pytest.mark.slow


@pytest.fixture
def people(fsdd_root):
    """Two takes of each digit by six people, as clips."""
    recordings = fsdd.read(fsdd_root).part(takes=2)
    return recordings, make_clips(recordings, Recipe(), progress=False)


def store(audio, folder) -> Clips:
    folder.mkdir()
    np.save(folder / "audio.npy", audio)
    return Clips(audio, np.full(len(audio), audio.shape[1], np.int32), 22_050, folder)


def later(audio, seconds):
    """A clip int16 [n] later (or, with its start cut off, earlier) by some time."""
    by, moved = round(22_050 * seconds), np.zeros_like(audio)
    moved[max(by, 0) : len(moved) + min(by, 0)] = audio[max(-by, 0) : len(audio) - max(by, 0)]
    return moved


def noisy(audio, decibels):
    """White noise as if recorded: not over the padding."""
    sound = audio != 0
    loudness = np.sqrt(np.mean(audio[sound].astype(float) ** 2))
    noise = np.random.default_rng(0).standard_normal(len(audio)) * loudness * 10 ** (decibels / 20)
    return np.rint(audio + sound * noise).astype(np.int16)


COPIES = {
    "exact": lambda audio: audio,
    "scaled": lambda audio: np.rint(0.3 * audio).astype(np.int16),
    "turned over": lambda audio: -audio,
    "50 ms later": lambda audio: later(audio, 0.05),
    "50 ms cut off": lambda audio: later(audio, -0.05),
    "noise": lambda audio: noisy(audio, -16),
    "all at once": lambda audio: noisy(np.rint(0.3 * later(audio, -0.02)).astype(np.int16), -25),
}


def test_copies_across_a_split_are_found_and_other_takes_are_not(people, tmp_path):
    recordings, clips = people
    parts = split(recordings, "random")
    assert near_duplicates(recordings, clips, parts, progress=False).empty
    audio, planted = np.array(clips.audio), {}
    # Over clips of other digits: labels must not matter.
    for into, of, (what, change) in zip(parts.validation[::3], parts.train[::12], COPIES.items(), strict=False):
        audio[into], planted[into, of] = change(clips.audio[of]), what
    assert len(planted) == len(COPIES)
    # Copies on one side of the split are none of its business.
    audio[parts.train[1]] = audio[parts.train[2]]
    copies = near_duplicates(recordings, store(audio, tmp_path / "changed"), parts, progress=False)
    assert {planted.get(pair) for pair in zip(copies["held_out"], copies["train"], strict=True)} == set(COPIES)
    assert len(copies) == len(COPIES) and copies["similarity"].is_monotonic_decreasing
    path = recordings.table["path"].to_numpy()
    assert (copies["train_path"] == path[copies["train"]]).all()
    assert (copies["held_out_path"] == path[copies["held_out"]]).all()


def test_a_copy_in_the_test_part_is_found_silence_is_none_and_nothing_held_out_no_fault(people, tmp_path):
    recordings, clips = people
    audio, rows = np.array(clips.audio), np.arange(len(recordings))
    audio[118] = later(audio[3], 0.03)
    audio[[0, 112]] = 0
    parts = Split(rows[:60], rows[90:95], rows[110:])
    copies = near_duplicates(recordings, store(audio, tmp_path / "changed"), parts, progress=False)
    assert copies[["train", "held_out"]].to_numpy().tolist() == [[3, 118]]
    assert near_duplicates(recordings, clips, Split(rows, rows[:0], rows[:0]), progress=False).empty


def test_takes_of_a_synthetic_voice_are_no_copies(tmp_path):
    """Of the voice whose takes are the most alike."""
    voice = synthetic.SPEAKERS[32]
    list(espeak.speak_all([voice.job(tmp_path / "s33", synthetic.utterances(voice, 8, 0))], 1))
    rows = [
        {"path": f"s33/{digit}_s33_{take}.wav", "digit": digit, "speaker": "s33", "take": take}
        for digit in range(10)
        for take in range(8)
    ]
    recordings = Corpus("s33", tmp_path, pd.DataFrame(rows), "One voice", "", "", synthetic=True)
    clips = make_clips(recordings, Recipe(), progress=False)
    take = recordings.table["take"]
    parts = Split(np.flatnonzero(take < 4), np.flatnonzero(take >= 4), np.empty(0, int))
    assert near_duplicates(recordings, clips, parts, progress=False).empty
    audio = np.array(clips.audio)
    audio[parts.validation[0]] = noisy(audio[parts.train[5]], -30)
    copies = near_duplicates(recordings, store(audio, tmp_path / "changed"), parts, progress=False)
    assert copies[["train", "held_out"]].to_numpy().tolist() == [[parts.train[5], parts.validation[0]]]
